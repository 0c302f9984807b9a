"""The verbs of schedules, as generators like those of `steps`."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from torrelque.error import (
    ServerStaleError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueTypeError,
    of_queue,
)
from torrelque.model import Duration, TorrelqueSchedule, TorrelqueTaskId

from .calls import Calls
from .check import check_name
from .replies import read_outcomes
from .scheduling import Instant, Rule, instants, read_fire, read_schedules
from .steps import Steps
from .transition import Arg
from .words import read_words

logger = logging.getLogger('torrelque')


def set_schedule(
    calls: Calls,
    name: str,
    task: Any,
    rule: Rule,
    lease: Duration,
    max_attempts: int | None,
    group: str | None,
    priority: int,
) -> Steps[bool]:
    """Set a schedule; whether that has changed it."""
    return _done('schedule', calls.schedule(name, task, lease, max_attempts, group, priority, rule))


def extend_schedule(
    calls: Calls, name: str, times: Iterable[Instant], after: Instant | None, spec: Any
) -> Steps[bool]:
    """Append instants to a schedule; whether it was as the caller knew it."""
    return _done('extend', calls.extend(name, times, after, spec))


def remove_schedule(calls: Calls, name: str, source: str | None, revision: int | None) -> Steps[bool]:
    """Forget a schedule; whether it was there, and might be removed."""
    return _done('unschedule', calls.unschedule(name, source, revision))


def _done(script: str, args: list[Arg]) -> Steps[bool]:
    return (yield from _outcome_of(script, args)) == 'ok'


def _outcome_of(script: str, args: list[Arg]) -> Steps[object]:
    while True:
        [outcome] = read_outcomes(script, (yield script, args), 1)
        # What is due by then is fired before anything is changed, and by one call no more than goes in a script.
        if outcome == 'stale':
            raise ServerStaleError('the group of the schedule is in another shard by now')
        if outcome != 'due':
            return outcome


def hold_schedule(calls: Calls, name: str, paused: bool) -> Steps[bool]:
    """Pause a schedule, or have it go on; whether that has changed it."""
    return _hold_schedule(calls, check_name(name, 'the name of a schedule'), paused)


def _hold_schedule(calls: Calls, name: str, paused: bool) -> Steps[bool]:
    outcome = yield from _outcome_of('hold', calls.hold(name, paused))
    if outcome == 'unknown':
        raise _unknown(calls, name)
    return outcome == 'ok'


def fire(calls: Calls, name: str, times: Sequence[Instant]) -> Steps[list[TorrelqueTaskId]]:
    """Fire a schedule now, or for some instants; the ids of its tasks."""
    return _fire(calls, check_name(name, 'the name of a schedule'), instants(times, None))


def _fire(calls: Calls, name: str, times: Sequence[str]) -> Steps[list[TorrelqueTaskId]]:
    found: list[TorrelqueTaskId] = []
    most = calls.bounds.grouped_tasks
    for start in range(0, max(1, len(times)), most):
        ids = read_fire((yield 'fire', calls.fire(name, times[start : start + most])))
        if ids is None:
            raise _unknown(calls, name)
        found += ids
    return found


def get_schedule(calls: Calls, name: str) -> Steps[TorrelqueSchedule]:
    """A schedule."""
    return _get_schedule(calls, check_name(name, 'the name of a schedule'))


def _get_schedule(calls: Calls, name: str) -> Steps[TorrelqueSchedule]:
    found = yield from _read_some(calls, [name])
    if not found:
        raise _unknown(calls, name)
    [schedule] = found
    if isinstance(schedule, TorrelqueError):
        raise of_queue(calls.name, schedule)
    return schedule


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
        fresh = [name for name in dict.fromkeys(words[::2]) if name.startswith(self._prefix) and name not in self._seen]
        self._seen.update(fresh)
        found: list[TorrelqueSchedule] = []
        for schedule in (yield from _read_some(self._calls, fresh)) if fresh else ():
            if isinstance(schedule, TorrelqueError):
                logger.error('queue %r: %s', self._calls.name, schedule)
            else:
                found.append(schedule)
        return found


def _read_some(calls: Calls, names: Sequence[Arg]) -> Steps[list[TorrelqueSchedule | TorrelqueError]]:
    found: list[TorrelqueSchedule | TorrelqueError] = []
    most = calls.bounds.grouped_tasks
    for start in range(0, len(names), most):
        reply = yield 'schedules', calls.schedules(names[start : start + most])
        found += read_schedules(reply, calls.serialiser)
    return found


def _unknown(calls: Calls, name: str) -> Exception:
    return of_queue(calls.name, TorrelqueLookupError(f'there is no schedule {name!r}'))
