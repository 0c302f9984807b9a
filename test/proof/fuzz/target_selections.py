"""Selections, as JSON and as options of commands: tasks are meant, or it is said why none can be; and what is
written is
read as the same."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import json
import math
import shlex
from typing import Any

from proof.fuzz.feed import Feed
from proof.fuzz.judging import Refused, attempt, strict_json
from torrelque import TorrelqueTaskStatus, TorrelqueTypeError, TorrelqueValueError
from torrelque.cli.failure import Failure
from torrelque.cli.filters import add_filters, selection_of
from torrelque.cli.parser import _joined
from torrelque.operate import Selection, TaskView
from torrelque.operate.selection import STATUSES, check_selection, escape_name, exact_name

NOW = 1_800_000_000.0
FIELDS = [field.name for field in dataclasses.fields(Selection)]
INSTANTS = (
    '2026-11-29T14:00', '2026-11-29T14:00:00.123456+02:00', '2026-11-29T14:00Z', '0001-01-01T00:00',
    '0001-01-01T00:00+23:59',
    '9999-12-31T23:59:59.999999', '9999-12-31T23:59-23:59', '2026-11-29', '-2h', '5m', '1.5d', '0', '1e3',
    '99999999999d', 'nan',
    '٣m', '-5', '--5m', '12:00', '20261129T14', '2026-W48-7', '',
)  # fmt: skip
NONE: dict[str, Any] = {field.name: None for field in dataclasses.fields(TaskView)}


def _pattern(feed: Feed) -> str:
    if feed.flag():
        return feed.text()
    return ''.join(feed.some(lambda: feed.pick(('*', '?', '[*]', '[?]', '[[]', '[', ']', '[!', 'a', 'B', '-', '\\',
        '\n', '.')), 12))


def _value(feed: Feed, name: str) -> Any:
    if feed.byte() % 8 == 0:
        return feed.json(2)
    if name == 'status':
        return feed.pick(STATUSES)
    if name in ('function', 'group'):
        return _pattern(feed)
    if name in ('older', 'newer'):
        return feed.pick(INSTANTS) if feed.flag() else feed.float()
    if name == 'attempts':
        return feed.number()
    if name == 'ids':
        return feed.some(feed.text, 3)
    return feed.pick(('0a1b2c3d', 'ValueError', feed.text()))


def _view(feed: Feed) -> TaskView:
    given: dict[str, Any] = {
        'queue': 'q', 'id': feed.text(), 'server_time': NOW, 'priority': 0, 'attempt': feed.byte() % 4, 'forgiven': 0,
        'requeue_count': 0, 'history': (), 'token': '', 'function_known': feed.flag(),
        'status': feed.pick((None, *TorrelqueTaskStatus)), 'place': feed.pick((None, 'dead', 'working', 'delayed')),
        'function': feed.pick((None, feed.text())), 'group': feed.pick((None, feed.text())),
        'error': feed.pick((None, feed.text())), 'raw': feed.pick((None, feed.raw(20))),
    }  # fmt: skip
    for name in feed.some(lambda: feed.pick(('died', 'enqueue_time', 'ready_since', 'last_dequeue_time',
        'release_time')), 3):
        given[name] = feed.pick((NOW, 0.0, NOW - 60, 253402300799.0))
    return TaskView(**{**NONE, **given})


def _judge(feed: Feed, selection: Selection) -> None:
    assert check_selection(selection) is selection
    strict_json(selection.as_json())
    again = Selection.from_json(json.loads(json.dumps(selection.as_json())))
    assert _same(again, selection), f'{selection} came as {again}'
    task = _view(feed)
    found = selection.matches(task)
    assert found is again.matches(task) or _is_fine(selection), (selection, task)
    first, last = selection.since(NOW)
    assert not math.isnan(first) and not math.isnan(last)
    texts = [getattr(selection, name) for name in FIELDS if isinstance(getattr(selection, name), str)]
    if '--' in (*texts, *(selection.ids or ())):
        # Two hyphens alone are no text in all Pythons.
        return
    # What the command line has of it is the same selection: to the millisecond.
    words = shlex.split(selection.describe())
    read = _parse(words)
    assert not isinstance(read, Refused), f'{selection} is written as {words}, which is refused: {read}'
    assert _same(read, selection, 0.0006), f'{selection} is written as {words}, which is {read}'


def _is_fine(selection: Selection) -> bool:
    return any(isinstance(one, datetime.datetime) for one in (selection.older, selection.newer))


def _same(first: Selection, second: Selection, within: float = 0.0) -> bool:
    for name in FIELDS:
        one, other = getattr(first, name), getattr(second, name)
        if name in ('older', 'newer') and one is not None and other is not None:
            if isinstance(one, datetime.datetime) != isinstance(other, datetime.datetime):
                return False
            one, other = (x.timestamp() if isinstance(x, datetime.datetime) else x for x in (one, other))
            if abs(one - other) > within:
                return False
        elif name == 'ids':
            if [*(one or ())] != [*(other or ())]:
                return False
        elif name == 'attempts':
            if (one or 0) != (other or 0):
                return False
        elif one != other:
            return False
    return True


def selections(feed: Feed) -> None:
    """A selection in JSON; and a name as a pattern."""
    given: Any = {feed.pick(FIELDS): None for _ in range(feed.below(5))}
    given = {name: _value(feed, name) for name in given}
    if feed.byte() % 8 == 0:
        given = feed.json(2)
    selection = attempt(lambda: Selection.from_json(given), TorrelqueTypeError, TorrelqueValueError)
    if not isinstance(selection, Refused):
        _judge(feed, selection)
    name = _pattern(feed)
    if name:
        assert exact_name(escape_name(name)) == name
        task = dataclasses.replace(_view(feed), function=name, function_known=True)
        if len(escape_name(name)) <= 1000 and not isinstance(attempt(lambda: name.encode('utf-8', 'surrogateescape'),
            UnicodeError), Refused):
            assert Selection(function=escape_name(name)).matches(task)


# Options of commands


@functools.cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument('ids', nargs='*')
    parser.print_help = lambda file=None: None  # type: ignore[method-assign]
    add_filters(parser)
    return parser


class Ended(Exception):  # noqa: N818 - not an error of ours
    """Whoever parses says what is wrong, and ends the process."""


def _parse(words: list[str]) -> Selection | Refused:
    parser = _parser()

    def error(message: str) -> Any:
        raise Ended(message)

    parser.error = error  # type: ignore[method-assign]

    def read() -> Selection:
        found = parser.parse_args(_joined(words))
        found.utc = False
        return check_selection(selection_of(found, found.ids))

    if any(word.startswith(('-h', '--h')) for word in words):
        return Refused('whoever asks for help has it')
    return attempt(read, Ended, argparse.ArgumentError, argparse.ArgumentTypeError, Failure, TorrelqueValueError,
        TorrelqueTypeError)


def filters(feed: Feed) -> None:
    """Words of a command line."""
    words: list[str] = []
    for _ in range(feed.below(6)):
        name = feed.pick([*FIELDS[:-1], 'help'[:3]])
        value = _value(feed, name) if feed.byte() % 8 else feed.text()
        text = value if isinstance(value, str) else str(value)
        words += [f'--{name}={text}'] if feed.flag() else [f'--{name}', text]
    if feed.byte() % 4 == 0:
        words += ['--', *feed.some(feed.text, 2)]
    selection = _parse(words)
    if not isinstance(selection, Refused):
        _judge(feed, selection)
