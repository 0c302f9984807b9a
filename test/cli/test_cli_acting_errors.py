"""``--error`` on the command line: the beginning of a fingerprint is one error, or refused; or it is a text."""

from __future__ import annotations

import re

import pytest

from support.acting import Commands, bury_all, recorded
from torrelque import Torrelque
from torrelque.operate.faults import find_fault

pytestmark = pytest.mark.one_server


def twins() -> tuple[str, str, str]:
    """The first four digits of a fingerprint, and two errors whose fingerprints begin with it."""
    seen: dict[str, str] = {}
    for n in range(100_000):
        error = f'{"".join(chr(ord("A") + int(digit)) for digit in str(n))}Error: no'
        print_ = find_fault(error).fingerprint[:4]
        if print_ in seen and not print_.isdecimal():
            return print_, seen[print_], error
        seen[print_] = error
    raise AssertionError


async def test_the_beginning_of_a_fingerprint_is_the_error_that_it_is_of(queue: Torrelque, command: Commands) -> None:
    await bury_all(queue, [1, 2], 'KeyError: 1')
    whole = find_fault('KeyError: 1').fingerprint
    # A text that has the same digits is of another error, which is not meant.
    await bury_all(queue, [3], f'ValueError: no {whole[:5]}')
    said = await command('tasks', '--error', whole[:5])
    assert (len(said.lines), said.err) == (3, '')
    said = await command('redrive', '--error', whole[:4], '--yes')
    assert (said.lines, said.err) == (['2 redriven'], '')
    assert await recorded(queue) == [('redrive', f'--error {whole}', 2)]


async def test_a_beginning_that_several_errors_have_is_refused(queue: Torrelque, command: Commands) -> None:
    start, one, other = twins()
    for error in one, other:
        await bury_all(queue, [1], error)
    prints = [find_fault(error).fingerprint for error in (one, other)]
    for words in ('redrive', '--yes'), ('redrive', '--dry-run'), ('tasks',):
        said = await command(*words, '--error', start, code=2)
        assert said.out == '' and said.err.startswith(f'torrelque: --error {start} is the beginning of 2 errors: ')
        told = re.findall(r'([0-9a-f]{8}) \((\w+)\)', said.err)
        assert sorted(told) == sorted(zip(prints, [one[:-4], other[:-4]], strict=True))
    assert await recorded(queue) == []
    assert (await command('redrive', '--error', prints[0], '--yes')).lines == ['1 redriven']


@pytest.mark.parametrize('digits', ['40001', '5432', 'dead', '20261129', 'ab1', 'DEAD'])
async def test_digits_that_begin_no_fingerprint_are_a_text(queue: Torrelque, command: Commands, digits: str) -> None:
    [dead] = await bury_all(queue, [1], f'OperationalError: SQLSTATE {digits}')
    await bury_all(queue, [1], 'KeyError: 1')
    said = await command('redrive', '--error', digits, '--yes')
    assert said.lines == ['1 redriven'] and str((await queue.get_task_state(dead)).status) != 'dead'
    short = 4 <= len(digits) < 8 and digits.islower() | digits.isdecimal()
    begins = f"no error of 'torrelque errors --most 10000' begins with {digits}"
    text = f'{begins}, so it is taken as a text that the error has\n'
    assert said.err == (text if short else '')
