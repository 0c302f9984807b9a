"""``torrelque fire``: the task of a schedule now, or those of its instants in the past."""

import argparse
import datetime
import itertools
from collections.abc import Sequence

from torrelque.operate import ScheduleView

from .answers import EnqueueAnswer
from .consent import agree, answer_act, interruptible, may_ask
from .failure import Exit, Failure
from .out import number
from .scheduling import ask_time, settled
from .session import Session
from .timetable import find_schedule, load_cron, schedule_named

TOGETHER = 100
"""Instants of one call."""
MOST = 100_000
"""Instants of one command: more are a slip, as a rule."""


def fire(found: argparse.Namespace) -> int:
    """Carry ``fire`` out; its exit code.

    :raises Failure: it cannot be meant; nothing was fired.
    """
    if found.start is None and found.until is not None:
        raise Failure('--until goes with --from')
    return answer_act(found, _fire if found.start is None else _backfill)


async def _fire(session: Session) -> int:
    view = await find_schedule(session, session.found.name)
    ids = await session.operator.fire(view.name, queue=view.queue)
    _tell(session, view, ids)
    if not ids:
        raise Failure(f'nothing was fired: task {view.last_id} is not finished, and {schedule_named(view)} skips '
                      'firings that overlap', Exit.ILL)  # fmt: skip
    return Exit.WELL


def _tell(session: Session, view: ScheduleView, ids: Sequence[str]) -> None:
    for task_id in ids:
        if session.out.as_json:
            session.out.json(EnqueueAnswer(queue=view.queue, id=task_id))
        else:
            session.out.line(task_id)


# The past


async def _backfill(session: Session) -> int:
    """Fire the instants of a time that the queue does not know."""
    found, out = session.found, session.out
    view = await find_schedule(session, found.name)
    times = await _times_of(session, view)
    if not times:
        raise Failure(f'nothing was fired: no instant of {schedule_named(view)} is in that time', Exit.ILL)
    if len(times) > 1 and not found.yes:
        if not may_ask(found):
            raise Failure(f'{number(len(times))} instants of the schedule are in that time, and nobody can be asked: '
                          '--yes fires them')  # fmt: skip
        question = f'{number(len(times))} instants of {schedule_named(view)} are in that time.  '
        if not await agree(out, f'{question}Are those to be fired whose tasks the queue does not know?'):
            return Exit.ILL
    fired = await interruptible(_fire_all(session, view, times))
    if fired is None:
        out.tell('it was ended; the same command does the rest')
        return Exit.INTERRUPTED
    if not fired:
        instants = 'the instant' if len(times) == 1 else f'all {number(len(times))} instants'
        raise Failure(f'nothing was fired: the queue knows the tasks of {instants}', Exit.ILL)
    if fired < len(times):
        of = f'of {number(len(times))} instants {"was" if fired == 1 else "were"}'
        out.tell(f'{number(fired)} {of} fired; the queue knows the tasks of the others')
    return Exit.WELL


async def _times_of(session: Session, view: ScheduleView) -> Sequence[float]:
    """The instants that are meant.

    :raises Failure: the time is none of the past, or has too many.
    """
    found, queue = session.found, session.operator.queue(view.queue)
    now = await ask_time(queue)
    start = _past(found.start, now, found.utc)
    end = now if found.until is None else _past(found.until, now, found.utc)
    if end > now:
        raise Failure('a time of the past is fired again, and --until is to come')
    if start >= end:
        raise Failure('--from is not before --until')
    cron = load_cron('--from needs')
    begin = datetime.datetime.fromtimestamp(start, datetime.timezone.utc) - datetime.timedelta(microseconds=1)
    instants = (one.timestamp() for one in cron.instants_after(await queue.get_schedule(view.name), begin))
    times = [*itertools.islice(itertools.takewhile(lambda one: one < end, instants), MOST + 1)]
    if len(times) > MOST:
        raise Failure(f'more than {number(MOST)} instants of {schedule_named(view)} are in that time')
    return times


def _past(given: float | datetime.datetime, now: float, utc: bool) -> float:
    """An instant; a time is as long ago."""
    return settled(given if isinstance(given, datetime.datetime) else -given, now, utc)


async def _fire_all(session: Session, view: ScheduleView, times: Sequence[float]) -> int:
    """Fire instants; how many were not known.  What is done is on record, whatever ends it."""
    queue, fired = session.operator.queue(view.queue), 0
    try:
        for begin in range(0, len(times), TOGETHER):
            ids = await queue.fire(view.name, *times[begin : begin + TOGETHER])
            fired += len(ids)
            _tell(session, view, ids)
    finally:
        if fired:
            await session.operator.record('fire', f'schedule {view.name}', fired, queue=view.queue)
    return fired
