"""Calls of scripts, read from the arguments that were sent, and what a claim replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

BLOCK = 2000
"""ms that consumers block at the bell."""


class Enqueue(NamedTuple):
    task_id: str
    payload: bytes
    timeout: int
    delay: int = 0
    max_attempts: int | None = None
    mark: str | None = None
    group: str | None = None
    priority: int = 0


class Requeue(NamedTuple):
    task_id: str
    token: str
    mark: str
    delay: int
    timeout: int | None
    forgive: bool
    error: str


class Release(NamedTuple):
    task_id: str
    token: str
    status: str | None = None
    ttl: int = 0
    result: bytes | None = None
    held: Any = None
    """For how long (ms) after the claim the caller held the lease at the least; None where it is sure to hold it."""


class Touch(NamedTuple):
    task_id: str
    token: str
    timeout: int | None
    progress: bytes | None


class Bury(NamedTuple):
    task_id: str
    token: str
    mark: str
    error: str
    tell_after: int | None = None


class Cancel(NamedTuple):
    task_id: str
    mark: str
    only: str = ''


class Redrive(NamedTuple):
    task_id: str
    mark: str


class Claim(NamedTuple):
    record: str
    wanted: int
    stays: int
    """Whoever gets fewer than that stays, and keeps the time."""
    most_bytes: int


class Sweep(NamedTuple):
    most: int


class Tell(NamedTuple):
    most: int
    again: int
    most_bytes: int


class Told(NamedTuple):
    task_id: str
    token: str


class Limit(NamedTuple):
    group: str
    value: str


class Resume(NamedTuple):
    group: str
    probing: bool


class Schedule(NamedTuple):
    mark: str
    name: str
    said: dict[str, str]
    """The fields of its hash."""
    most: int
    times: list[int]


class Extend(NamedTuple):
    mark: str
    name: str
    after: int | None
    spec: str
    most: int
    times: list[int]


class Unschedule(NamedTuple):
    name: str
    source: str
    revision: str


class Hold(NamedTuple):
    mark: str
    name: str
    held: bool


class Fire(NamedTuple):
    mark: str
    name: str
    instants: list[str]


class Schedules(NamedTuple):
    most: int
    names: list[str]


class State(NamedTuple):
    task_id: str
    fields: list[str]


class Call(NamedTuple):
    """One call of a script."""

    name: str
    items: list[Any]
    acknowledged: str = ''
    limit: int | None = None


class Given(NamedTuple):
    """Reply of a claim: id, payload, attempt and token of each task, ms to the next deadline, whether more is there."""

    tasks: list[tuple[str, bytes, int, str]]
    wait: int | None
    more: bool


# Reading calls

Arg = str | bytes


def _text(arg: str | bytes) -> str:
    # Plain, without the token of an id.
    return arg.decode() if isinstance(arg, bytes) else str(arg)


def _data(arg: str | bytes) -> bytes:
    return arg if isinstance(arg, bytes) else arg.encode()


def _number(arg: str | bytes) -> int | None:
    return int(arg) if arg else None


def _value(arg: str | bytes) -> bytes | None:
    data = _data(arg)
    assert data[:1] in (b'', b'=')
    return data[1:] if data else None


def _read_enqueue(task_id: str | bytes, payload: str | bytes, options: str | bytes) -> Enqueue:
    given = json.loads(_text(options))
    if isinstance(given, int):
        given = {'timeout': given}
    return Enqueue(_text(task_id), _data(payload), **given)


def _read_releases(args: Sequence[str | bytes]) -> Iterable[Release]:
    rest = list(args)
    while rest:
        task_id, holder, keep = (_text(rest.pop(0)) for _ in range(3))
        token, _, held = holder.partition('?')
        if keep:
            status, ttl = keep.split()
            yield Release(task_id, token, status, int(ttl), _value(rest.pop(0)), _number(held))
        else:
            yield Release(task_id, token, held=_number(held))


def _read_bury(task_id: Arg, token: Arg, mark: Arg, error: Arg, after: Arg) -> Bury:
    return Bury(_text(task_id), _text(token), _text(mark), _text(error), _number(after))


FIELDS = [
    *('payload', 'options', 'overlap', 'missed', 'grace', 'until', 'every', 'phase', 'spec'),
    *('source', 'revision'),
]
"""What a call says of a schedule, in its order."""


def _read_schedule_call(name: str, words: list[str]) -> Any:
    if name == 'schedule':
        _, mark, schedule, *words = words
        said = dict(zip(FIELDS, words, strict=False))
        return Schedule(mark, schedule, said, int(words[len(said)]), [*map(int, words[len(said) + 1 :])])
    if name == 'extend':
        _, mark, schedule, after, spec, most, *times = words
        return Extend(mark, schedule, _number(after), spec, int(most), [*map(int, times)])
    if name == 'unschedule':
        return Unschedule(*words)
    if name == 'hold':
        return Hold(words[0], words[1], words[2] == '1')
    if name == 'fire':
        return Fire(words[0], words[1], words[2:])
    assert name == 'schedules'
    return Schedules(int(words[0]), words[1:])


SCHEDULES = {'schedule', 'extend', 'unschedule', 'hold', 'fire', 'schedules'}
"""Transitions of schedules."""


def read_call(name: str, args: Sequence[str | bytes]) -> Call:
    """A call by the arguments behind `resent`."""

    def several(start: int, width: int, read: Callable[..., Any]) -> list[Any]:
        assert (len(args) - start) % width == 0
        return [read(*args[i : i + width]) for i in range(start, len(args), width)]

    first = _text(args[0]) if args else ''
    if name in ('enqueue', 'requeue', 'touch', 'leave'):
        assert int(args[1]) == BLOCK
    if name in ('schedule', 'extend'):
        assert int(first) == BLOCK
    if name in SCHEDULES:
        return Call(name, [_read_schedule_call(name, [*map(_text, args)])])
    if name == 'enqueue':
        return Call(name, several(2, 3, _read_enqueue), limit=_number(first))
    if name == 'requeue':
        return Call(
            name,
            several(
                2,
                7,
                lambda i, token, mark, delay, lease, forgive, error: Requeue(
                    _text(i), _text(token), _text(mark), int(delay), _number(lease), forgive == '1', _text(error)
                ),
            ),
            first,
        )
    if name == 'release':
        return Call(name, list(_read_releases(args[1:])), first)
    if name == 'touch':
        return Call(
            name,
            several(2, 4, lambda i, token, lease, value: Touch(_text(i), _text(token), _number(lease), _value(value))),
            first,
        )
    if name == 'bury':
        return Call(name, several(1, 5, _read_bury), first)
    if name == 'cancel':
        return Call(name, several(0, 3, lambda *words: Cancel(*map(_text, words))))
    if name == 'redrive':
        return Call(name, several(3, 1, lambda i: Redrive(_text(i), first)))
    if name == 'tell':
        return Call(name, [Tell(*map(int, args))])
    if name == 'told':
        return Call(name, several(0, 2, lambda *words: Told(*map(_text, words))))
    if name == 'claim':
        record, wanted, stays, block, most = map(_text, args[1:])
        assert int(block) == BLOCK
        return Call(name, [Claim(record, int(wanted), int(stays), int(most))], first)
    if name == 'sweep':
        return Call(name, [Sweep(int(first))])
    if name == 'leave':
        return Call(name, [], first)
    if name == 'limit':
        return Call(name, [Limit(*map(_text, args))])
    if name == 'resume':
        return Call(name, [Resume(_text(args[0]), _text(args[1]) == '1')])
    if name in ('advance', 'pause', 'group'):
        return Call(name, [*map(_text, args)])
    if name == 'state':
        fields = [*map(_text, args[2 : 2 + int(args[1])])]
        return Call(name, [State(_text(task_id), fields) for task_id in args[2 + len(fields) :]])
    assert name == 'stats' and not args
    return Call(name, [])
