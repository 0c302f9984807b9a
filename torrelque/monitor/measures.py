"""What a rule can be about: each measure is one number, read of what `torrelque.operate` answers.

For all rules of a queue each answer is asked for once, and only where one of them needs it: the overview is two calls
of some 60 µs of the server, the minutes one more.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torrelque import TorrelqueServerError
from torrelque.operate import Operator, Overview, Record

from .wording import duration, plural

WINDOW, LONG_WINDOW, SHORT_WINDOW = 300.0, 600.0, 120.0
"""s of minutes' records that the share of failures, the deaths, and what was finished are counted over."""


class Seen(NamedTuple):
    """What was read of a queue."""

    overview: Overview
    minutes: Sequence[Record] = ()
    """Of the last ten, where a rule needs them."""
    running: float = 0.0
    """For how long (s) the longest task runs, as far as hearts tell."""
    ended: float = 0.0
    """For how long (s) the first lease has ended that nobody has seen to."""
    grouped: float = 0.0
    """For how long (s) the oldest task of any group has been ready."""

    def last(self, seconds: float) -> list[Record]:
        """The minutes that began so long ago at the most."""
        return [one for one in self.minutes if one.start > self.overview.server_time - seconds]


class Measure(NamedTuple):
    """One kind of number."""

    kind: str
    """'time' (s), 'number', 'share' (0 to 1), 'flag' (0 or 1)."""
    value: Callable[[Seen], float | None]
    """None is nothing that could be measured."""
    words: Callable[[Seen, float | None], str]
    verb: str
    """The command that tells more."""
    above: float | None = None
    """Where a rule rises that does not say; None is that it has to."""
    for_: float = 60.0
    needs: str = 'overview'
    """What is read for it: 'overview', 'minutes', 'running', 'ended', 'groups'."""


# Of the overview


def _counted(one: str, many: str, verb: str) -> Callable[[str], Measure]:
    """A count of the overview."""

    def make(name: str) -> Measure:
        def value(seen: Seen) -> float:
            return float(getattr(seen.overview, name))

        return Measure('number', value, lambda _, found: plural(found or 0, one, many), verb)

    return make


_COUNTS = {
    'tasks': _counted('task is there', 'tasks are there', 'stats'),
    'pending': _counted('task is pending', 'tasks are pending', 'why'),
    'ready': _counted('task is ready', 'tasks are ready', 'why'),
    'working': _counted('task is worked on', 'tasks are worked on', 'tasks working'),
    'delayed': _counted('task is delayed', 'tasks are delayed', 'tasks delayed'),
    'dead': _counted('task is dead', 'tasks are dead', 'errors'),
    'waiting': _counted('task of a flow waits', 'tasks of flows wait', 'tasks waiting'),
    'priority': _counted('task with a priority is pending', 'tasks with a priority are pending', 'tasks priority'),
    'groups': _counted('group has tasks', 'groups have tasks', 'groups'),
    'rated': _counted('group waits for a token', 'groups wait for a token', 'groups'),
    'paused_groups': _counted('group is paused', 'groups are paused', 'groups'),
    'overdue_leases': _counted('lease has ended', 'leases have ended', 'sweep'),
    'workers': _counted('worker lives', 'workers live', 'workers'),
    'lost': _counted('worker was lost in the last hour', 'workers were lost in the last hour', 'workers --lost'),
    'slots': _counted('task can be in hand', 'tasks can be in hand', 'workers'),
    'busy': _counted('task is in hand', 'tasks are in hand', 'workers'),
    'schedules': _counted('schedule is there', 'schedules are there', 'schedules'),
    'late_schedules': _counted('schedule is late', 'schedules are late', 'schedules'),
    'dry_schedules': _counted('schedule is dry', 'schedules are dry', 'schedules'),
    'paused_schedules': _counted('schedule is paused', 'schedules are paused', 'schedules'),
}
"""Figures of the overview that are numbers, and have no measure of their own."""


def _age(since: float | None, seen: Seen) -> float:
    return 0.0 if since is None else max(0.0, seen.overview.server_time - since)


def _no_worker(seen: Seen) -> float:
    return float(not seen.overview.workers and seen.overview.pending > 0)


def _tell_no_worker(seen: Seen, _value: float | None) -> str:
    one = seen.overview
    alive = plural(one.workers, 'worker lives', 'workers live') if one.workers else 'no worker lives'
    pending = plural(one.pending, 'task is', 'tasks are') if one.pending else 'nothing is'
    return f'{alive}, and {pending} pending'


def _stuck(seen: Seen) -> float:
    return float(seen.overview.stuck + seen.overview.lost)


def _tell_stuck(seen: Seen, _value: float | None) -> str:
    stuck = plural(seen.overview.stuck, 'worker is stuck', 'workers are stuck')
    return f'{stuck}, and {seen.overview.lost:,} {"was" if seen.overview.lost == 1 else "were"} lost in the last hour'


def _tell_away(seen: Seen, _value: float | None) -> str:
    names = ', '.join(str(shard.number) for shard in seen.overview.away)
    return f'no answer of shard {names}' if names else 'all shards answer'


def _overdue(seen: Seen) -> float:
    late = _age(seen.overview.next_delayed, seen) if seen.overview.overdue else 0.0
    return max(late, seen.ended)


# Of minutes


def _failed_share(seen: Seen, at_least: int) -> float | None:
    failed, attempts = _failures(seen)
    return failed / attempts if attempts and attempts >= at_least else None


def _failures(seen: Seen) -> tuple[int, int]:
    """Attempts that failed, of how many."""
    totals = [one.totals for one in seen.last(WINDOW)]
    failed = sum(one.failed for one in totals)
    return failed, failed + sum(one.succeeded for one in totals)


def _tell_failed_share(seen: Seen, value: float | None) -> str:
    failed, attempts = _failures(seen)
    if not attempts:
        return 'nothing was tried in 5 minutes'
    few = '' if value is not None else ', too few for a share'
    part = f'{failed / attempts:.0%}'
    return f'{failed:,} of {plural(attempts, "attempt", "attempts")} failed in 5 minutes ({part}{few})'


def _dead_new(seen: Seen) -> float:
    return float(sum(one.totals.dead for one in seen.last(LONG_WINDOW)))


def _stalled(seen: Seen) -> float:
    one = seen.overview
    if one.paused or not one.ready or one.slots <= one.busy:
        return 0.0
    totals = [it.totals for it in seen.last(SHORT_WINDOW)]
    return float(not sum(it.succeeded + it.failed for it in totals))


def _tell_stalled(seen: Seen, value: float | None) -> str:
    one = seen.overview
    if not value:
        return 'what is ready is taken'
    free = plural(one.slots - one.busy, 'place is free', 'places are free')
    return f'{plural(one.ready, "task is ready", "tasks are ready")}, {free}, and nothing was finished in 2 minutes'


MEASURES: dict[str, Measure] = {
    'oldest': Measure(
        'time', lambda seen: _age(seen.overview.oldest, seen),
        lambda _, value: f'the oldest task has waited for {duration(value or 0)} or longer', 'why', 300.0, 120.0,
    ),
    **{name: make(name) for name, make in _COUNTS.items()},
    'failed_share': Measure(
        'share', lambda seen: _failed_share(seen, 1), _tell_failed_share, 'errors', 0.2, needs='minutes'
    ),
    'dead_new': Measure(
        'number', _dead_new,
        lambda _, value: f'{plural(value or 0, "task has", "tasks have")} died in 10 minutes', 'errors', 1.0, 0.0,
        'minutes',
    ),
    'dead_age': Measure(
        'time', lambda seen: _age(seen.overview.oldest_dead, seen),
        lambda _, value: f'a task has been dead for {duration(value)}' if value else 'no task is dead', 'errors',
    ),
    'no_worker': Measure('flag', _no_worker, _tell_no_worker, 'workers', 1.0),
    'stalled': Measure('flag', _stalled, _tell_stalled, 'why', 1.0, 120.0, 'minutes'),
    'stuck': Measure('number', _stuck, _tell_stuck, 'workers', 1.0, 0.0),
    'running': Measure(
        'time', lambda seen: seen.running, lambda _, value: f'the longest task runs for {duration(value or 0)}',
        'tasks working', needs='running',
    ),
    'overdue': Measure(
        'time', _overdue,
        lambda _, value: f'a task is overdue by {duration(value)}: nobody sweeps' if value else 'nothing is overdue',
        'sweep', 30.0, needs='ended',
    ),
    'paused': Measure(
        'flag', lambda seen: float(seen.overview.paused),
        lambda _, value: f'the queue is {"" if value else "not "}paused', 'resume', 1.0, 3600.0,
    ),
    'group_oldest': Measure(
        'time', lambda seen: seen.grouped,
        lambda _, value: f'the oldest task of a group has waited for {duration(value or 0)}', 'groups --by oldest',
        needs='groups',
    ),
    'shards_away': Measure(
        'number', lambda seen: float(len(seen.overview.away)), _tell_away, 'shards', 1.0,
    ),
    'late': Measure(
        'time', lambda seen: seen.overview.late_by,
        lambda _, value: f'a schedule is late by {duration(value)}' if value else 'no schedule is late', 'schedules',
        60.0,
    ),
    'dry': Measure(
        'number', lambda seen: float(seen.overview.dry_schedules),
        lambda _, value: plural(value or 0, 'schedule is dry', 'schedules are dry'), 'schedules', 1.0,
    ),
}  # fmt: skip
"""What ``when`` of a rule can be."""


def measure(name: str, seen: Seen, at_least: int) -> tuple[float | None, str]:
    """The value of a measure, and what it is in words.

    :param at_least: attempts below which there is no share of failures.
    """
    found = MEASURES[name]
    value = _failed_share(seen, at_least) if name == 'failed_share' else found.value(seen)
    value = None if value is None or not math.isfinite(value) else value
    return value, found.words(seen, value)


async def read(operator: Operator, names: Iterable[str]) -> Seen:
    """What the measures of these names need of a queue.

    :raises TorrelqueServerError: the server refuses to tell.
    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    needs = {MEASURES[name].needs for name in names}
    [queue] = operator.queues
    calls: dict[str, Any] = {'overview': operator.overview()}
    if 'minutes' in needs:
        calls['minutes'] = operator.history(LONG_WINDOW)
    found = dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))
    one: Overview = found['overview']
    if one.error is not None:
        raise TorrelqueServerError(one.error.removeprefix(f'queue {queue.name!r}: '))
    seen = Seen(one, found.get('minutes', ()))
    if 'running' in needs and one.busy:
        since = [task.since for worker in await operator.workers() if worker.state != 'lost'
                 for task in worker.running if task.queue in ('', queue.name)]  # fmt: skip
        seen = seen._replace(running=_age(min(since, default=None), seen))
    if 'ended' in needs and one.overdue_leases:
        seen = seen._replace(ended=_age(one.overdue_since, seen))
    if 'groups' in needs and one.groups:
        groups = await operator.groups(by='oldest', most=1)
        oldest = next((group.oldest for group in groups), None)
        seen = seen._replace(grouped=_age(oldest, seen))
    return seen
