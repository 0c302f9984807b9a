"""Acts on queues and groups that are not there: a slip of the pen is told, and changes nothing."""

from __future__ import annotations

import pytest

from support.acting import Commands
from torrelque import Torrelque
from torrelque.operate import note


@pytest.mark.one_server
@pytest.mark.parametrize(
    'words',
    ['pause', 'pause --group x', 'resume', 'limit', 'limit x --rate 5/s', 'sweep', 'redrive --yes', 'cancel x',
     'cancel --all --dry-run', 'requeue --all --yes', 'bury x'],
)  # fmt: skip
async def test_a_slip_of_the_pen_is_no_queue(words: str, queue: Torrelque, command: Commands) -> None:
    await queue.enqueue('a')
    await note(queue)
    slip = queue.name[:-1] + 'x'
    said = await command(*words.split(), '-q', slip, code=1)
    assert said.out == '' and f'no queue {slip!r} is known; did you mean {queue.name!r}' in said.err
    assert not [key async for key in queue.client.scan_iter(f'*{slip}*')]
    answer = await command(*words.split(), '-q', slip, '--json', code=1)
    assert (answer.out, answer.err) == ('', said.err)


@pytest.mark.one_server
async def test_a_queue_that_nothing_is_known_of_can_be_meant(queue: Torrelque, command: Commands) -> None:
    # An enqueue makes a queue, and a pause or a limit before its first task is for whoever says so.
    assert '--yes does it all the same' in (await command('pause', code=1)).err
    assert 'is paused' in (await command('pause', '--yes')).out
    assert 'goes on' in (await command('resume')).out
    await command('enqueue', '1', '-q', f'{queue.name}-new')
    assert 'is paused' in (await command('pause', '-q', f'{queue.name}-new')).out


@pytest.mark.one_server
async def test_a_group_without_a_task_is_told(queue: Torrelque, command: Commands) -> None:
    await queue.enqueue('a', group='acme')
    for words in ('pause --group', 'limit --concurrency 4'):
        assert (await command(*words.split(), 'acme')).err == ''
        assert (await command(*words.split(), 'amce')).err == (
            f"group 'amce' of queue {queue.name!r} has no task that waits or is worked on\n"
        )
