"""``torrelque schedules``, ``schedule``, ``unschedule`` and ``fire``: what is enqueued again and again."""

import argparse
import dataclasses
import datetime
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torrelque import Torrelque, TorrelqueError, TorrelqueLookupError
from torrelque.operate import Operator, ScheduleView

from . import target
from .answers import EnqueueAnswer, ScheduleAnswer
from .consent import answer_act
from .enqueuing import find_caller
from .failure import Exit, Failure
from .filters import in_zone
from .listing import ALL, SMALL, Shown, lay
from .naming import not_known
from .out import Column, Out, ago, number
from .payloads import check_call, read_tasks
from .session import Session, answer, quoted

if TYPE_CHECKING:
    from torrelque.cron import Calendar

API = 'api'
"""The ``source`` of what is set by hand, or by a call of an application."""
CRON = "cron expressions need cronsim, of the extra 'cron': pip install 'torrelque[cron]'; --every and --at do not"

LEAST, MOST, WEEK = 32, 1000, 7 * 86400.0
"""Instants of a cron expression that are stored at the least and at the most, and for how long (s) if between."""

# What there is


def schedules(found: argparse.Namespace) -> int:
    """Carry ``schedules`` out; its exit code."""
    return answer(found, _schedules, several=True)


async def _schedules(session: Session) -> int:
    found, out = session.found, session.out
    views = await session.operator.schedules(found.prefix, payload=ALL if found.payload else SMALL)
    if not views:
        out.tell('no schedule is set' if not found.prefix else f'no schedule begins with {found.prefix!r}')
        return Exit.ILL
    if out.as_json:
        for view in views:
            out.json(view if found.payload else dataclasses.replace(view, payload=None, raw=None))
        return Exit.WELL
    shown = [it for it in SCHEDULES if session.several or it[0].title != 'QUEUE']
    details = [_payload_of(view) for view in views] if found.payload else None
    out.table(*lay(views, out, shown), details)
    if any(view.state == 'dry' for view in views):
        out.tell('dry: no instant is left; a worker of an app with the extra cron, or one that knows the calendar, '
                 'gives it more, and so does setting it again')  # fmt: skip
    return Exit.WELL


def made_from(view: ScheduleView) -> str:
    """What the instants of a schedule are made from, in a few words."""
    if view.every is not None:
        behind = f', {ago(view.phase)} behind' if view.phase else ''
        return f'every {ago(view.every)}{behind}'
    if isinstance(view.spec, dict) and isinstance(view.spec.get('cron'), str):
        jitter = view.spec.get('jitter')
        later = f', up to {ago(jitter)} later' if isinstance(jitter, (int, float)) and jitter else ''
        return ' '.join(str(view.spec[name]) for name in ('cron', 'timezone') if name in view.spec) + later
    if isinstance(view.spec, dict) and isinstance(view.spec.get('calendar'), str):
        return f'calendar {view.spec["calendar"]}'
    if view.spec is not None:
        return json.dumps(view.spec, ensure_ascii=False)
    return f'{number(view.left)} instants' if view.left != 1 else '1 instant'


def _payload_of(view: ScheduleView) -> str:
    if view.raw is not None:
        return view.raw.decode('utf-8', 'backslashreplace')
    return 'the payload is gone' if view.size is None else f'a payload of {view.size:,} bytes'


def _state_of(view: ScheduleView) -> str:
    return f'broken: {view.broken}' if view.broken else '' if view.state == 'on' else view.state


def _in(instant: float | None, now: float) -> str:
    """How long it is until an instant; one that is due waits for whoever sweeps."""
    if instant is None:
        return '-'
    return f'in {ago(instant - now)}' if instant > now else 'due'


SCHEDULES: tuple[tuple[Column, Shown], ...] = (
    (Column('NAME', kept=24), lambda view, _: view.name),
    (Column('QUEUE', rank=1), lambda view, _: view.queue),
    (Column('NEXT', whole=True), lambda view, out: out.when(view.next)),
    (Column('IN', True), lambda view, _: _in(view.next, view.server_time).removeprefix('in ')),
    (Column('STATE', kept=12), lambda view, _: _state_of(view)),
    (Column('FROM', rank=2, kept=16), lambda view, _: made_from(view)),
    (Column('TASK', rank=5), lambda view, _: view.function or ''),
    (Column('LAST', whole=True, rank=4), lambda view, out: '' if view.last is None else out.when(view.last)),
    (Column('FIRED', True, rank=3), lambda view, _: number(view.fired)),
    (Column('SKIPPED', True, rank=3), lambda view, _: number(view.skipped)),
    (Column('SOURCE', rank=6), lambda view, _: view.source or ''),
)


# What is set


def schedule(found: argparse.Namespace) -> int:
    """Carry ``schedule`` out; its exit code.

    :raises Failure: it cannot be meant; nothing was set.
    """
    if found.timezone is not None and found.cron is None:
        raise Failure('--timezone is that of --cron; an instant of --at may have one: 2026-11-29T14:00+01:00')
    if found.phase is not None and found.every is None:
        raise Failure('--phase goes with --every')
    check_call(found)
    if found.task is None and found.payload is None:
        raise Failure("there is nothing to enqueue: give a PAYLOAD as JSON, such as '{\"n\": 1}', or - or --task NAME")
    [task] = read_tasks(found)
    calendar = None if found.cron is None else _make_calendar(found)

    async def call(session: Session) -> int:
        return await _schedule(session, task, calendar)

    return answer_act(found, call, new=True)


async def _schedule(session: Session, task: Any, calendar: 'Calendar | None') -> int:
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
    now = await _ask_time(queue)
    until = None if found.until is None else _settled(found.until, now, found.utc)
    when = _when(found, calendar, now, until)
    before = await _find(operator, found.name, queue.name)
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
    session.out.line(f'{schedule_named(view)} {word}: {_next(session.out, view)}')
    if calendar is not None and view.left is not None and view.end is not None:
        session.out.tell(f'{number(view.left)} instants are known, the last {session.out.when(view.end)}; workers with '
                         'the extra cron, of an app that has a name or schedules of its own, add more')  # fmt: skip
    if view.paused:
        command = session.command(f'torrelque resume --schedule {quoted(view.name)}', view.queue)
        session.out.tell(f'it is paused, so it fires nothing until:  {command}')
    if done and before is not None and (before.source or API) != API:
        session.out.tell(f'it was of {before.source}, whose workers set it again when they begin')
    return Exit.WELL


async def _keep_order(operator: Operator, group: str | None) -> None:
    """Have the calls of an ordered function run one at a time; what else limits its group stays."""
    if group is not None:
        limit = (await operator.queue().get_limits()).get(group)
        if limit is None or limit.concurrency != 1:
            await operator.set_limit(group, concurrency=1, rate=None if limit is None else limit.rate)


def _make_calendar(found: argparse.Namespace) -> 'Calendar':
    try:
        from torrelque.cron import Calendar
    except ImportError as exc:
        raise Failure(CRON) from exc
    try:
        return Calendar(found.cron, found.timezone or 'UTC')
    except TorrelqueError as exc:
        raise Failure(str(exc)) from exc


def _when(
    found: argparse.Namespace, calendar: 'Calendar | None', now: float, until: float | None
) -> dict[str, Any]:  # fmt: skip
    """When it fires, as the queue's verb takes it."""
    if found.every is not None:
        return {'every': found.every, 'phase': found.phase or 0}
    if calendar is not None:
        times = [*_ahead(calendar, now, math.inf if until is None else until)]
        if not times:
            raise Failure('it would never fire: its first instant is behind --until')
        return {'times': times, 'spec': calendar.spec}
    times = sorted({_settled(one, now, found.utc) for one in found.at})
    ahead = [one for one in times if one > now and (until is None or one <= until)]
    if not ahead:
        raise Failure('it would never fire: its instants are over, or behind --until')
    return {'times': ahead}


def _ahead(calendar: 'Calendar', now: float, until: float) -> Iterator[float]:
    """The instants of a calendar that are stored at first: those of a week, but at least 32, and at most 1,000.

    Workers with the extra cron add more.
    """
    begin = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    for count, instant in enumerate(calendar.after(begin)):
        found = instant.timestamp()
        if found > until or count >= MOST or count >= LEAST and found - now > WEEK:
            break
        yield found


def _given(found: argparse.Namespace) -> dict[str, Any]:
    """What is said of its tasks."""
    given = {'group': found.group, 'priority': found.priority, 'max_attempts': found.max_attempts,
             'task_timeout': found.lease}  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def _settled(given: float | datetime.datetime, now: float, utc: bool) -> float:
    """An instant as Unix time, of one that was given as such or as a time from now."""
    if not isinstance(given, datetime.datetime):
        return now + given
    try:
        return in_zone(given, utc).timestamp()
    except (ValueError, OverflowError) as exc:
        raise Failure(f'{given.isoformat()} is no instant of this clock') from exc


async def _ask_time(queue: Torrelque) -> float:
    seconds, fraction = await queue.command('TIME')
    return int(seconds) + int(fraction) / 1e6


def _next(out: Out, view: ScheduleView) -> str:
    if view.next is None:
        return 'it fires no more'
    return f'next {out.when(view.next)}, {_in(view.next, view.server_time)}'


# What is removed, and fired


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
        session.out.tell(f'it was of {view.source}, whose workers set it again when they begin; a pause lasts:  '
                         f'{command}')  # fmt: skip
    return Exit.WELL


def fire(found: argparse.Namespace) -> int:
    """Carry ``fire`` out; its exit code."""
    return answer_act(found, _fire)


async def _fire(session: Session) -> int:
    view = await find_schedule(session, session.found.name)
    ids = await session.operator.fire(view.name, queue=view.queue)
    for task_id in ids:
        if session.out.as_json:
            session.out.json(EnqueueAnswer(queue=view.queue, id=task_id))
        else:
            session.out.line(task_id)
    if not ids:
        raise Failure(f'nothing was fired: task {view.last_id} is not finished, and {schedule_named(view)} skips '
                      'firings that overlap', Exit.ILL)  # fmt: skip
    return Exit.WELL


# Which is meant


def schedule_named(view: ScheduleView) -> str:
    """A schedule in words."""
    return f'schedule {view.name!r} of queue {view.queue!r}'


async def find_schedule(session: Session, name: str) -> ScheduleView:
    """A schedule, in whichever of the queues has it.

    :raises Failure: none has.
    """
    found = await _find(session.operator, name)
    if found is None:
        names = [view.name for view in await session.operator.schedules(payload=0)]
        raise Failure(not_known('schedule', name, names), Exit.ILL)
    return found


async def _find(operator: Operator, name: str, queue: str | None = None) -> ScheduleView | None:
    try:
        return await operator.schedule(name, payload=0, queue=queue)
    except TorrelqueLookupError:
        return None
