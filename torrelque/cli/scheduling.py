"""``torrelque schedule`` and ``unschedule``: what is enqueued again and again, set by hand."""

import argparse
import bisect
import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from torrelque import TorrelqueError, TorrelqueQueue
from torrelque.operate import Operator
from torrelque.operate.parts import limits_of

from . import target
from .answers import ScheduleAnswer
from .consent import answer_act
from .enqueuing import find_caller
from .failure import Exit, Failure
from .filters import in_zone
from .out import number
from .payloads import check_call, read_tasks
from .session import Session, quoted
from .timetable import find_schedule, load_cron, look_up, next_in_words, schedule_named

if TYPE_CHECKING:
    from torrelque.cron import Line

API = 'api'
"""The ``source`` of what is set by hand, or by a call of an application."""


class Due(NamedTuple):
    """When a schedule fires, as far as it was said."""

    line: 'Line | None'
    """The instants of a cron expression."""
    spec: Any
    """What these are made of."""
    phase: float
    """By how much (s) those of a period are later than its multiples since 1970."""


# What is set


def schedule(found: argparse.Namespace) -> int:
    """Carry ``schedule`` out; its exit code.

    :raises Failure: it cannot be meant; nothing was set.
    """
    if found.timezone is not None and found.cron is None:
        raise Failure('--timezone is that of --cron; an instant of --at may have one: 2026-11-29T14:00+01:00')
    if found.phase is not None and found.every is None:
        raise Failure('--phase goes with --every')
    if found.jitter is not None and found.at is not None:
        raise Failure('--jitter goes with --cron and --every')
    check_call(found)
    if found.task is None and found.payload is None:
        raise Failure("there is nothing to enqueue: give a PAYLOAD as JSON, such as '{\"n\": 1}', or - or --task NAME")
    [task] = read_tasks(found)
    due = _read_due(found)

    async def call(session: Session) -> int:
        return await _schedule(session, task, due)

    return answer_act(found, call, new=True if found.yes else None)


async def _schedule(session: Session, task: Any, due: Due) -> int:
    found, options, ordered = session.found, _given(session.found), None
    if found.task is not None and found.app is not None:
        # As the app itself does it: in the queue of its function, and with options of its for what is not said here.
        work = find_caller(found, **options).s(*task.get('args', ()), **task.get('kwargs', {})).pack()
        task, options, ordered = work.payload, work.options, work.fifo
        # It may be another one than those that this command is about.
        queue = next(one for one in target.find(found.app).queues if one.name == work.queue)
        operator = Operator(queue)
    else:
        operator, queue = session.operator, session.operator.queue()
    now = await ask_time(queue)
    until = None if found.until is None else settled(found.until, now, found.utc)
    when = _when(found, due, now, until)
    before = await look_up(operator, found.name, queue.name)
    await _keep_order(operator, ordered)
    done = await operator.set_schedule(
        found.name, task, queue=queue.name, overlap=found.overlap, missed=found.missed, grace=found.grace, until=until,
        source=API, **when, **options,
    )  # fmt: skip
    view = await operator.schedule(found.name, payload=0, queue=queue.name)
    if session.out.as_json:
        session.out.json(ScheduleAnswer(queue=view.queue, name=view.name, changed=done, next=view.next))
        return Exit.WELL
    word = 'was set already' if not done else 'is set' if before is None else 'is changed'
    session.out.line(f'{schedule_named(view)} {word}: {next_in_words(session.out, view)}')
    whole = view.until is not None and view.end is not None and view.end > view.until
    if due.line is not None and view.left is not None and view.end is not None and not whole:
        session.out.tell(f'{number(view.left)} instants are known, the last {session.out.when(view.end)}; workers with '
                         'the extra cron, of an app that has a name, or schedules of its own, add more')  # fmt: skip
    if view.paused:
        command = session.command(f'torrelque resume --schedule {quoted(view.name)}', view.queue)
        session.out.tell(f'it is paused, so it fires nothing until:  {command}')
    if before is not None and (before.source or API) != API:
        session.out.tell(f'it was of {before.source}, which removes it no more when it declares it no longer; the next '
                         'worker that begins and declares it sets it as declared')  # fmt: skip
    return Exit.WELL


async def _keep_order(operator: Operator, group: str | None) -> None:
    """Have the calls of an ordered function run one at a time; what else limits its group stays."""
    if group is not None:
        limit = (await limits_of(operator.queue())).get(group)
        if limit is None or limit.concurrency != 1:
            await operator.set_limit(group, concurrency=1, rate=None if limit is None else limit.rate)


def _read_due(found: argparse.Namespace) -> Due:
    """When it is to fire.

    :raises Failure: it cannot be meant, or the extra is missing.
    """
    if found.cron is None and not found.jitter:
        return Due(None, None, found.phase or 0)
    cron = load_cron('cron expressions need' if found.cron is not None else '--jitter needs')
    zone = found.timezone or 'UTC'
    try:
        return Due(*cron.When(found.cron, found.every, zone, found.phase or 0, found.jitter or 0).due(found.name))
    except TorrelqueError as exc:
        raise Failure(str(exc)) from exc


def _when(found: argparse.Namespace, due: Due, now: float, until: float | None) -> dict[str, Any]:
    """When it fires, as the queue's verb takes it."""
    behind = 'it would never fire: its first instant is behind --until'
    if found.every is not None:
        if until is not None and found.every > 0 and now + found.every - (now - due.phase) % found.every > until:
            raise Failure(behind)
        return {'every': found.every, 'phase': due.phase}
    if due.line is not None:
        times = due.line.first(datetime.datetime.fromtimestamp(now, datetime.timezone.utc))
        count = len(times) if until is None else bisect.bisect_right(times, until)
        if not count:
            raise Failure(behind)
        # The first one behind the end is stored as well, from which all can tell that nothing is missing.
        times = times[: count + 1]
        return {'times': times, 'spec': due.spec}
    times = sorted({settled(one, now, found.utc) for one in found.at})
    ahead = [one for one in times if one > now and (until is None or one <= until)]
    if not ahead:
        raise Failure('it would never fire: its instants are over, or behind --until')
    return {'times': ahead}


def _given(found: argparse.Namespace) -> dict[str, Any]:
    """What is said of its tasks."""
    given = {'group': found.group, 'priority': found.priority, 'max_attempts': found.max_attempts,
             'task_timeout': found.lease}  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def settled(given: float | datetime.datetime, now: float, utc: bool) -> float:
    """An instant as Unix time, of one that was given as such or as a time from now."""
    if not isinstance(given, datetime.datetime):
        return now + given
    try:
        return in_zone(given, utc).timestamp()
    except (ValueError, OverflowError) as exc:
        raise Failure(f'{given.isoformat()} is no instant of this clock') from exc


async def ask_time(queue: TorrelqueQueue) -> float:
    """The server's time (s)."""
    seconds, fraction = await queue.command('TIME')
    return int(seconds) + int(fraction) / 1e6


# What is removed


def unschedule(found: argparse.Namespace) -> int:
    """Carry ``unschedule`` out; its exit code."""
    return answer_act(found, _unschedule)


async def _unschedule(session: Session) -> int:
    view = await find_schedule(session, session.found.name)
    done = await session.operator.remove_schedule(view.name, queue=view.queue)
    if session.out.as_json:
        session.out.json(ScheduleAnswer(queue=view.queue, name=view.name, changed=done, next=None))
        return Exit.WELL
    session.out.line(f'{schedule_named(view)} is removed; tasks that it has enqueued stay')
    if view.source is not None and view.source != API:
        command = session.command(f'torrelque pause --schedule {quoted(view.name)}', view.queue)
        session.out.tell(f'it was of {view.source}, and the next worker that begins and declares it sets it again; '
                         f'a pause lasts:  {command}')  # fmt: skip
    return Exit.WELL
