"""Schedules: their calls, what comes back, and the verbs, as generators like those of `steps`."""

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from torrelque.codec import TorrelqueSerialiser, serialise
from torrelque.error import TorrelqueLookupError, TorrelqueTypeError, TorrelqueValueError, of_queue
from torrelque.model import Duration, TorrelqueSchedule, TorrelqueTaskId

from .calls import Calls, enqueue_options
from .check import check_name, check_whole, milliseconds
from .replies import UNREADABLE, read_outcomes, read_words, text, unreadable
from .steps import Steps
from .transition import Arg

OVERLAPS = ('skip', 'allow', 'replace', 'queue')
"""What becomes of a firing while the task of the one before is not finished."""
MISSED = ('latest', 'all', 'none')
"""Which instants fire of several that are due at once."""
GROUP = 'schedule:'
"""The group of a schedule whose firings queue up is that and its name."""

_LATEST = 253_402_300_800_000
"""The end of the year 9999 (ms), beyond which no calendar goes."""


# What a caller gives


def instant_of(instant: datetime | float, what: str) -> int:
    """An instant as whole milliseconds since 1970."""
    if isinstance(instant, datetime):
        try:
            instant = instant.timestamp()
        except (OverflowError, OSError, ValueError) as exc:
            raise TorrelqueValueError(f'{what} is no instant of this clock: {instant}') from exc
    if isinstance(instant, bool) or not isinstance(instant, (int, float)):
        raise TorrelqueTypeError(f'{what} must be a datetime or seconds since 1970, not {type(instant).__name__}')
    if not 0 <= instant * 1000 < _LATEST:  # nan as well
        raise TorrelqueValueError(f'{what} must be an instant from 1970 to 9999, not {instant!r}')
    return round(instant * 1000)


def _instants(times: Iterable[datetime | float], most: int | None) -> list[str]:
    if isinstance(times, (str, bytes)) or not isinstance(times, Iterable):
        raise TorrelqueTypeError(f'times must be a list of instants, not {type(times).__name__}')
    taken = itertools.islice(times, None if most is None else most + 1)
    found = [instant_of(instant, 'an instant') for instant in taken]
    if most is not None and len(found) > most:
        raise TorrelqueValueError(f'times must have at most {most} instants')
    if any(one >= other for one, other in itertools.pairwise(found)):
        raise TorrelqueValueError('times must be in their order, none of them twice')
    return [str(instant) for instant in found]


def _word(value: str, what: str, words: Sequence[str]) -> str:
    if not isinstance(value, str):
        raise TorrelqueTypeError(f'{what} must be a str, not {type(value).__name__}')
    if value not in words:
        raise TorrelqueValueError(f'{what} must be {", ".join(words[:-1])} or {words[-1]}, not {value!r}')
    return value


def _spec(spec: Any) -> str:
    """What a schedule was made from, as JSON that is the same for what is equal."""
    if spec is None:
        return ''
    try:
        return json.dumps(spec, sort_keys=True, separators=(',', ':'), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise TorrelqueValueError(f'spec must be what JSON can have: {exc}') from exc


def _optional(value: Duration | None, what: str) -> str:
    return '' if value is None else str(milliseconds(value, what))


# Verbs


def set_schedule(
    calls: Calls,
    name: str,
    task: Any,
    *,
    times: Iterable[datetime | float] | None,
    every: Duration | None,
    phase: Duration,
    lease: Duration,
    max_attempts: int | None,
    group: str | None,
    priority: int,
    overlap: str,
    missed: str,
    grace: Duration | None,
    until: datetime | float | None,
    spec: Any,
    source: str | None,
    revision: int | None,
) -> Steps[bool]:
    """Set a schedule; whether that has changed it."""
    check_name(name, 'a schedule')
    if (times is None) == (every is None):
        raise TorrelqueTypeError('a schedule has either times or every')
    if every is not None and not milliseconds(every, 'every'):
        raise TorrelqueValueError('every must be more than 0 seconds')
    if _word(overlap, 'overlap', OVERLAPS) == 'queue':
        if group is not None:
            raise TorrelqueTypeError("with overlap='queue' tasks have a group of the schedule's own: give no other")
        group = GROUP + name
    options = enqueue_options(lease, None, max_attempts, None, group, priority)
    args: list[Arg] = [
        calls.mark(),
        calls.heads.words['block'],
        name,
        serialise(calls.serialiser, task, 'the task'),
        options if options.startswith('{') else f'{{"timeout":{options}}}',
        overlap,
        _word(missed, 'missed', MISSED),
        _optional(grace, 'grace'),
        '' if until is None else str(instant_of(until, 'until')),
        _optional(every, 'every'),
        '' if every is None else str(milliseconds(phase, 'phase')),
        _spec(spec),
        '' if source is None else check_name(source, 'source'),
        '' if revision is None else str(check_whole(revision, 'revision')),
        *([] if times is None else _instants(times, calls.bounds.instants)),
    ]
    return _set_schedule(args)


def _set_schedule(args: list[Arg]) -> Steps[bool]:
    return read_outcomes('schedule', (yield 'schedule', args), 1) == ['ok']


def extend_schedule(
    calls: Calls, name: str, times: Iterable[datetime | float], after: datetime | float | None, spec: Any
) -> Steps[bool]:
    """Append instants to a schedule; whether it was as the caller knew it."""
    args: list[Arg] = [
        calls.mark(),
        calls.heads.words['block'],
        check_name(name, 'a schedule'),
        '' if after is None else str(instant_of(after, 'after')),
        _spec(spec),
        str(calls.bounds.instants),
        *_instants(times, calls.bounds.instants),
    ]
    return _extend_schedule(args)


def _extend_schedule(args: list[Arg]) -> Steps[bool]:
    return read_outcomes('extend', (yield 'extend', args), 1) == ['ok']


def remove_schedule(calls: Calls, name: str, source: str | None, revision: int | None) -> Steps[bool]:
    """Forget a schedule; whether it was there, and might be removed."""
    args: list[Arg] = [
        check_name(name, 'a schedule'),
        '' if source is None else check_name(source, 'source'),
        '' if revision is None else str(check_whole(revision, 'revision')),
    ]
    return _remove_schedule(args)


def _remove_schedule(args: list[Arg]) -> Steps[bool]:
    return read_outcomes('unschedule', (yield 'unschedule', args), 1) == ['ok']


def hold_schedule(calls: Calls, name: str, paused: bool) -> Steps[bool]:
    """Pause a schedule, or have it go on; whether that has changed it."""
    return _hold_schedule(calls, check_name(name, 'a schedule'), paused)


def _hold_schedule(calls: Calls, name: str, paused: bool) -> Steps[bool]:
    [outcome] = read_outcomes('hold', (yield 'hold', [name, '1' if paused else '']), 1)
    if outcome == 'unknown':
        raise _unknown(calls, name)
    return outcome == 'ok'


def fire(calls: Calls, name: str, times: Sequence[datetime | float]) -> Steps[list[TorrelqueTaskId]]:
    """Fire a schedule now, or for some instants; the ids of its tasks."""
    return _fire(calls, check_name(name, 'a schedule'), _instants(times, None))


def _fire(calls: Calls, name: str, times: Sequence[str]) -> Steps[list[TorrelqueTaskId]]:
    found: list[TorrelqueTaskId] = []
    most = calls.bounds.grouped_tasks
    for start in range(0, max(1, len(times)), most):
        reply = yield 'fire', [calls.mark(), name, *times[start : start + most]]
        if reply == [b'unknown']:
            raise _unknown(calls, name)
        found += _read_fire(reply)
    return found


def get_schedule(calls: Calls, name: str) -> Steps[TorrelqueSchedule]:
    """A schedule."""
    return _get_schedule(calls, check_name(name, 'a schedule'))


def _get_schedule(calls: Calls, name: str) -> Steps[TorrelqueSchedule]:
    found = yield from _read_some(calls, [name])
    if not found:
        raise _unknown(calls, name)
    return found[0]


class ScheduleScan:
    """Schedules whose names begin with a prefix, a page at a time."""

    def __init__(self, calls: Calls, prefix: str) -> None:
        if not isinstance(prefix, str):
            raise TorrelqueTypeError(f'prefix must be a str, not {type(prefix).__name__}')
        self.over = False
        self._calls = calls
        self._prefix = prefix.encode('utf-8', 'surrogateescape')
        self._cursor: Arg = b'0'
        self._seen: set[bytes] = set()

    def read(self) -> Steps[list[TorrelqueSchedule]]:
        """The next schedules, each of which comes once."""
        most = str(self._calls.bounds.grouped_tasks)
        following, page = yield None, ['ZSCAN', self._calls.keys['schedules'], self._cursor, 'COUNT', most]
        words = read_words(page)
        if type(following) is not bytes or len(words) % 2 or following == self._cursor != b'0':
            raise ValueError('not a page, or one that leads to itself')
        self._cursor = following
        self.over = following == b'0'
        fresh = [name for name in words[::2] if name.startswith(self._prefix) and name not in self._seen]
        self._seen.update(fresh)
        return (yield from _read_some(self._calls, fresh)) if fresh else []


def _read_some(calls: Calls, names: Sequence[Arg]) -> Steps[list[TorrelqueSchedule]]:
    found: list[TorrelqueSchedule] = []
    most = calls.bounds.grouped_tasks
    for start in range(0, len(names), most):
        reply = yield 'schedules', [str(calls.bounds.told_instants), *names[start : start + most]]
        found += read_schedules(reply, calls.serialiser)
    return found


def _unknown(calls: Calls, name: str) -> Exception:
    return of_queue(calls.name, TorrelqueLookupError(f'there is no schedule {name!r}'))


# What comes back


def _read_fire(reply: Any) -> list[TorrelqueTaskId]:
    try:
        if reply[0] != b'ok':
            raise ValueError
        return [TorrelqueTaskId(text(word)) for word in read_words(reply[1:])]
    except UNREADABLE as exc:
        raise unreadable('fire', reply) from exc


def read_schedules(reply: Any, serialiser: TorrelqueSerialiser) -> list[TorrelqueSchedule]:
    """The reply of schedules."""
    try:
        if not isinstance(reply, list) or reply[0] != b'ok':
            raise ValueError
        return [_schedule_of(serialiser, *item) for item in reply[1:]]
    except UNREADABLE as exc:
        raise unreadable('schedules', reply) from exc


def _schedule_of(
    serialiser: TorrelqueSerialiser,
    name: bytes,
    score: Any,
    left: int,
    end: bytes,
    times: list[bytes],
    words: list[bytes],
) -> TorrelqueSchedule:
    fields = {text(key): value for key, value in zip(words[::2], words[1::2], strict=True)}

    def number(field: str) -> float | None:
        value = fields.get(field)
        return float(value) if value else None

    def seconds(field: str) -> float | None:
        value = number(field)
        return None if value is None else value / 1000

    def word(field: str) -> str | None:
        return text(fields[field]) if fields.get(field) else None

    following, every = float(score), seconds('every')
    first = None if math.isinf(following) else following / 1000
    options = json.loads(fields['options'])
    if every is None:
        known = tuple(float(one) / 1000 for one in times)
    else:
        until = seconds('until')
        ahead = () if first is None else tuple(round(first + k * every, 3) for k in range(10))
        known = tuple(one for one in ahead if until is None or one <= until)
    revision = number('revision')
    return TorrelqueSchedule(
        name=text(name),
        task=serialiser.loads(fields['payload']),
        next=first,
        times=known,
        left=None if every is not None else int(left),
        end=float(end) / 1000 if end and every is None else None,
        every=every,
        phase=seconds('phase') or 0.0,
        overlap=text(fields['overlap']),
        missed=text(fields['missed']),
        grace=seconds('grace'),
        until=seconds('until'),
        spec=json.loads(fields['spec']) if fields.get('spec') else None,
        source=word('source'),
        revision=None if revision is None else int(revision),
        paused='paused' in fields,
        last=seconds('last'),
        last_id=None if (last := word('last_id')) is None else TorrelqueTaskId(last),
        fired=int(number('fired') or 0),
        skipped=int(number('skipped') or 0),
        task_timeout=options['timeout'] / 1000,
        max_attempts=options.get('max_attempts'),
        group=options.get('group'),
        priority=options.get('priority', 0),
    )
