"""The commands that look, on values made by hand: their JSON, and how they end."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from support.made import BUSY, NOW, PAUSED, MadeOperator, Say, error, make_say, minute, overview, task, worker
from support.schemas import FOLDER, TYPES, read_as, schema_of
from torrelque import TorrelqueServerError, TorrelqueTaskStatus
from torrelque.cli import main
from torrelque.cli.asking import ASKING
from torrelque.cli.session import quoted
from torrelque.operate import (
    Act,
    Attempt,
    Errors,
    Finding,
    Found,
    FunctionView,
    Groups,
    GroupView,
    Holder,
    Page,
    Reason,
    Totals,
)

ID = '42956eda000000000000000000000000'


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return make_say(monkeypatch, capsys)


# JSON, and how commands end


@pytest.mark.parametrize('name', TYPES)
def test_the_schemas_are_those_of_the_values(name: str) -> None:
    """Where it is red: a field must not be renamed or taken away; then ``python -m support.schemas`` writes it."""
    assert (FOLDER / f'{name}.json').read_text() == schema_of(TYPES[name])


def test_each_value_is_one_line_of_json(say: Say) -> None:
    one = task(ID, history=(Attempt(1, 1.0, 2.0, 'x'),), raw=b'\xff', payload=2**63, status=TorrelqueTaskStatus.DEAD)
    group = GroupView('mail', 'acme', 1, 1, math.inf, (5, 1.0), 0.5, True, False, False, None, None, None)
    function = FunctionView('mail', 'send', Totals(1), 1.0, 1.0, 2.5)
    operator = MadeOperator(
        overviews=[BUSY, PAUSED], history=[minute(NOW), minute(NOW)], tasks=[one], functions=[function],
        groups=Groups('mail', NOW, 0.1, (group,), 1), workers=[worker('a')], acts=[Act('mail', 1.0, 'a', 'b', 'c', 1)],
        errors=Errors('mail', NOW, (error('4f1a', 2**63, 1, by_function=((None, 1),)),), 1, 1, 1, 1),
        explain=[Reason('behind', 'x', holders=(Holder('a', 'next', None, None, None, None, None, None),))],
        examine=[Finding('mail', 'ok', 'a', 'b', None)], page=Page('mail', 'dead', NOW, (one,), None, 1),
    )  # fmt: skip
    for words, name, count in (
        ('stats', 'overview', 2), ('stats --history 1h', 'record', 2), ('tasks --payload', 'task', 1),
        ('tasks dead', 'task', 1), (f'show {ID}', 'task', 1), (f'why {ID}', 'reason', 1), ('why', 'reason', 1),
        ('errors', 'errors', 1), ('functions', 'function', 1), ('groups', 'group', 1), ('workers', 'worker', 1),
        ('acts', 'act', 1), ('doctor', 'finding', 1), ('queues', 'found', 2), ('queues --scan', 'found', 2),
    ):  # fmt: skip
        said = say(f'{words} --json', operator, [Found('a', 1.0), Found('b', None)])
        assert said.code == 0 and len(said.out) == count, words
        for line in said.out:
            assert line.isascii()
            read_as(TYPES[name], line)
    assert read_as(GroupView, say('groups --json', operator).out[0]) == group
    assert json.loads(say('tasks --payload --json', operator).out[0])['payload'] == 2**63


def test_each_command_tells_an_error_by_its_exit_code(say: Say) -> None:
    for words in ('stats', 'tasks dead', 'errors', 'functions', 'groups', 'workers', 'acts', 'check', 'doctor'):
        name = {'stats': 'overviews', 'tasks dead': 'page', 'check': 'overviews', 'doctor': 'examine'}.get(words, words)
        answers: dict[str, Any] = {name: TorrelqueServerError('NOPERM of \x1b[2J')}
        refused = say(words, MadeOperator(**answers))
        assert (refused.code, refused.out) == (4, []) and refused.err == [
            r'torrelque: the server refuses it: NOPERM of \x1b[2J'], words  # fmt: skip
        answers = {name: RuntimeError('\x1b[2J')}
        broken = say(words, MadeOperator(**answers))
        assert broken.code == 1 and broken.err[-1] == 'torrelque: the command has failed: RuntimeError'
        assert r'RuntimeError: \x1b[2J' in broken.err[-2] and '\x1b' not in ''.join(broken.err)


def test_commands_are_copied_whatever_is_in_a_name(say: Say) -> None:
    for text, word in {
        'mail': 'mail', 'a b': "'a b'", "it's": '\'it\'"\'"\'s\'', '-x': '-x', '': "''", 'żółw': "'żółw'",
        'a\n\x1b': r"$'a\n\x1b'", "\t'\\": r"$'\t\'\\'", '\u202e': r"$'\u202e'", 'a\udcff': r"$'a\xff'",
    }.items():  # fmt: skip
        assert quoted(text) == word
    bad = MadeOperator(['a b'], overviews=[overview('a b', dead=1)], history=[])
    assert say('stats --url redis://db:7000', bad).out[-1].endswith("torrelque errors -q 'a b' --url redis://db:7000")
    said = say('stats --url redis://:secret@db', bad)
    assert 'db' not in said.out[-1] and 'secret' not in ''.join(said.out)


def test_each_command_has_help_and_can_be_carried_out(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ASKING:
        with pytest.raises(SystemExit) as ended:
            main([command.name, '--help'])
        shown = capsys.readouterr()
        assert ended.value.code == 0 and re.search(rf'usage: torrelque {command.name} ', shown.out)
        assert '--json' in shown.out and not command.acts
