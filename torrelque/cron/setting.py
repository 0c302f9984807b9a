"""Setting a schedule, and filling up its list of instants: any number of processes may do so at once.

A list is only gone on with where its last instant is the one from which was computed, and only replaced where what was
said of the schedule has changed, or where a new edition of the time zones says otherwise.
"""

import functools
import itertools
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from torrelque import Schedule, TorrelqueError, TorrelqueLookupError, TorrelqueQueue, TorrelqueValueError

from .ahead import Line, half_of, line_of, runs_low
from .asking import EPOCH, Time, ask_time, read_times
from .plan import Plan

logger = logging.getLogger(__package__)

API = 'api'
"""The ``source`` of a schedule that was set by a call."""
EDITION = 'edition'
"""In a ``spec``: how often the list was replaced because the time zones had changed."""


async def put(queue: TorrelqueQueue, plan: Plan, source: str, revision: int | None = None) -> bool:
    """Set a schedule: True where it is new or was changed; False where the very same is there, which was filled up, or
    where what is declared in code is over.

    :raises TorrelqueValueError: it is set by a call, and would never fire.
    """
    time = await ask_time(queue)
    policies, end = plan.policies, plan.policies.end
    spec, times = plan.spec, None
    record = await _get(queue, plan.name)
    if plan.line is not None:
        times = plan.line.ahead(time, time.now, until=end)
    first = _first(plan, time) if times is None else time.instant(times[0]) if times else None
    over = first is None or end is not None and (end <= time.now or first > end)
    if over and source == API:
        why = f'until is past, {end}' if end is not None and end <= time.now else 'it has nothing to come'
        raise TorrelqueValueError(f'the schedule {plan.name!r} would never fire: {why}')
    if over and record is None:
        # What is declared in code stays there when it is over.
        logger.info('queue %r: the schedule %r is not set, because it is over', queue.name, plan.name)
        return False
    if plan.line is not None and record is not None and without_edition(record.spec) == spec:
        edition = record.spec.get(EDITION, 0)
        edition = edition if isinstance(edition, int) else 0
        if plan.line.agrees(await read_times(queue, plan.name), time):
            await fill_up(queue, record, plan.line, time)
        else:
            edition += 1
        spec = {**spec, EDITION: edition} if edition else spec
    change = functools.partial(
        queue.set_schedule, plan.name, plan.work.payload, times=times, every=plan.every,
        phase=time.phase(plan.phase, plan.every), overlap=policies.overlap, missed=policies.missed,
        grace=policies.grace, until=None if end is None else time.stored(end), spec=spec, **plan.work.options,
    )  # fmt: skip
    if source != API or record is None or record.source == API:
        new = await change(source=source, revision=revision)
        if new and source != API:
            says = 'queue %r: the schedule %r is changed' if record else 'queue %r: the schedule %r is set'
            logger.info(says, queue.name, plan.name)
        return new
    # The very same stays whose it was, so whether it is that is asked in the name of its owner.
    if not await change(source=record.source, revision=record.revision):
        return False
    await change(source=source, revision=revision)
    return True


def _first(plan: Plan, time: Time) -> datetime:
    """The next instant of a period."""
    period, phase = timedelta(seconds=plan.every or 0), EPOCH + timedelta(seconds=plan.phase)
    return phase + ((time.now - phase) // period + 1) * period


async def _get(queue: TorrelqueQueue, name: str) -> Schedule | None:
    try:
        return await queue.get_schedule(name)
    except TorrelqueLookupError:
        return None
    except TorrelqueError as exc:
        if type(exc) is not TorrelqueError:
            raise
    logger.warning('queue %r: the schedule %r was spoilt, and is made anew', queue.name, name)
    await queue.remove_schedule(name)
    return None


async def fill_up(queue: TorrelqueQueue, record: Schedule, line: Line, time: Time) -> float | None:
    """Go on with a list of which half is used up; after how long (s) to look again, None where it needs nobody."""
    if record.end is not None and record.until is not None and record.end > record.until:
        return None
    if not runs_low(record, time):
        return half_of(record, time)
    known = record.last if record.end is None else record.end
    start = time.now if known is None else time.instant(known)
    if record.missed != 'all':
        # Of what would have been due since the list was used up, nothing is made up.
        start = max(start, time.now)
    until = None if record.until is None else time.instant(record.until)
    times = line.ahead(time, start, record.left or 0, until)
    if not times:
        # The schedule comes to its end, and what is known of it is all there is.
        return None
    await queue.extend_schedule(record.name, times, after=record.end, spec=record.spec)
    return (times[-1] - time.stored(time.now)) / 2


def without_edition(spec: Any) -> Any:
    """What a schedule is made of, without how often its list was replaced."""
    return {name: value for name, value in spec.items() if name != EDITION} if isinstance(spec, dict) else spec


def instants_after(record: Schedule, instant: datetime) -> Iterable[datetime]:
    """The instants of a schedule that is set, after one, in UTC; without end, or until its calendar ends, and whatever
    its ``until`` says.

    :raises TorrelqueValueError: its calendar is not known here.
    """
    return following(record, Time(instant, timedelta()), instant, None)


def following(record: Schedule, time: Time, instant: datetime, declared: Plan | None) -> Iterable[datetime]:
    """The same where a clock of a test may have been moved, and a calendar may be declared here."""
    if record.every is not None:
        return _multiples(record, time, instant)
    line = find_line(record, declared)
    if line is None:
        raise TorrelqueValueError(f'the calendar of the schedule {record.name!r} is not known here')
    return line.after(instant)


def _multiples(record: Schedule, time: Time, instant: datetime) -> Iterator[datetime]:
    """Instants of a schedule by a period."""
    period = round((record.every or 0) * 1000)
    known = round((record.phase if record.next is None else record.next) * 1000)
    after = round(time.stored(instant) * 1000)
    for count in itertools.count((after - known) // period + 1):
        yield time.instant((known + count * period) / 1000)


def find_line(record: Schedule, declared: Plan | None) -> Line | None:
    """The instants of a schedule: by its ``spec``, or, for a calendar of the caller's own, by what is declared here.

    :raises TorrelqueValueError: its expression is not understood here.
    """
    if declared is not None and declared.line is not None and without_edition(record.spec) == declared.spec:
        return declared.line
    return line_of(record)
