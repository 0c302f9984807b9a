"""``torrelque schedules``: what is enqueued again and again, and when; and which schedule a command is about."""

import argparse
import dataclasses
import datetime
import itertools
import json
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from torrelque import TorrelqueConnectionError, TorrelqueError, TorrelqueLookupError, TorrelqueServerError
from torrelque.operate import Operator, ScheduleView

from .answers import InstantAnswer
from .failure import Exit, Failure
from .listing import ALL, SMALL, Shown, lay
from .naming import not_known
from .out import Column, Out, ago, number
from .session import Session, answer, quoted
from .tables import Cell

if TYPE_CHECKING:
    from torrelque.cron import Calendar

PREVIEWED = 10
"""Instants of an expression that are told, where nothing says how many."""
WETTING = (
    'no instant is left; a worker of an app with the extra cron, or one that knows the calendar, gives it more, and so '
    'does setting it again'
)
"""What is said of a schedule that is dry."""
TROUBLES = {'dry': WETTING, 'paused': 'it passes these instants over'}
"""What is said of a schedule with its instants."""

# What there is


def schedules(found: argparse.Namespace) -> int:
    """Carry ``schedules`` out; its exit code.

    :raises Failure: it cannot be meant.
    """
    if found.cron is not None:
        return _preview(found)
    if found.timezone is not None:
        raise Failure('--timezone is that of --cron')
    return answer(found, _schedules if found.next is None else _following, several=True)


async def _schedules(session: Session) -> int:
    found, out = session.found, session.out
    views = await session.operator.schedules(found.prefix, payload=ALL if found.payload else SMALL)
    if not views:
        return _tell_none(session)
    if out.as_json:
        for view in views:
            out.json(view if found.payload else dataclasses.replace(view, payload=None, raw=None))
        return Exit.WELL
    shown = [it for it in SCHEDULES if session.several or it[0].title != 'QUEUE']
    details = [_payload_of(view) for view in views] if found.payload else None
    out.table(*lay(views, out, shown), details)
    if any(view.state == 'dry' for view in views):
        out.tell(f'dry: {WETTING}')
    return Exit.WELL


# When they fire


def _preview(found: argparse.Namespace) -> int:
    """Tell the instants of an expression; its exit code."""
    if found.prefix:
        raise Failure('--cron is set nowhere: it goes with no PREFIX')
    calendar = make_calendar(found.cron, found.timezone)
    out, zone, now = Out(as_json=found.json, utc=found.utc), ZoneInfo(calendar.timezone), time.time()
    begin = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    rows = list[list[Cell]]()
    for instant in itertools.islice(calendar.after(begin), found.next or PREVIEWED):
        if out.as_json:
            out.json(InstantAnswer(queue=None, name=None, instant=instant.timestamp()))
            continue
        there = instant.astimezone(zone).isoformat(' ', 'seconds')
        here = out.when(instant.timestamp())
        rows.append([here if out.utc else there, ago(instant.timestamp() - now)])
        if not out.utc or calendar.timezone != 'UTC':
            rows[-1][:1] = [there, here]
    if rows:
        titles = [calendar.timezone, 'UTC' if out.utc else 'LOCAL', 'IN'][-len(rows[0]):]
        out.table([Column(title, title == 'IN', whole=True) for title in titles], rows)
    return Exit.WELL


async def _following(session: Session) -> int:
    """Tell the next instants of schedules; its exit code."""
    found, out = session.found, session.out
    views = await session.operator.schedules(found.prefix, payload=0, instants=found.next)
    if not views:
        return _tell_none(session)
    rows = list[list[Cell]]()
    for view in views:
        if view.state in TROUBLES:
            out.tell(f'{view.name!r} is {view.state}: {TROUBLES[view.state]}')
        for instant in await _instants_of(session, view, found.next):
            if out.as_json:
                out.json(InstantAnswer(queue=view.queue, name=view.name, instant=instant))
            queue: list[Cell] = [view.queue] if session.several else []
            rows.append([view.name, *queue, out.when(instant), _in(instant, view.server_time).removeprefix('in ')])
    if not out.as_json and rows:
        queues = [Column('QUEUE', rank=1)] if session.several else []
        out.table([Column('NAME', kept=24), *queues, Column('INSTANT', whole=True), Column('IN', True)], rows)
    return Exit.WELL if rows else Exit.ILL


async def _instants_of(session: Session, view: ScheduleView, count: int) -> Sequence[float]:
    """The next instants of a schedule: those that are stored, and behind them those of its calendar."""
    known = [*view.times]
    if view.left is None or len(known) >= count or view.spec is None or view.state not in ('on', 'paused'):
        return known
    try:
        cron = load_cron('more needs')
        record = await session.operator.queue(view.queue).get_schedule(view.name)
        begin = datetime.datetime.fromtimestamp(known[-1] if known else view.server_time, datetime.timezone.utc)
        more = itertools.islice(cron.instants_after(record, begin), count - len(known))
        end = math.inf if view.until is None else view.until
        return [*known, *itertools.takewhile(lambda it: it <= end, (instant.timestamp() for instant in more))]
    except (TorrelqueConnectionError, TorrelqueServerError):
        raise
    except (Failure, TorrelqueError) as exc:
        # Of one that is not what it should be, or is gone meanwhile.
        session.out.tell(f'what is stored is told; {exc}')
        return known


def make_calendar(expression: str, timezone: str | None) -> 'Calendar':
    """The calendar of an expression.

    :raises Failure: it cannot be meant, or the extra is missing.
    """
    cron = load_cron('cron expressions need')
    try:
        found: Calendar = cron.Calendar(expression, timezone or 'UTC')
    except TorrelqueError as exc:
        raise Failure(str(exc)) from exc
    return found


def load_cron(what: str) -> Any:
    """The layer that knows calendars.

    :param what: what needs it, and the verb.
    :raises Failure: it is not there.
    """
    try:
        import torrelque.cron
    except ImportError as exc:
        raise Failure(
            f"{what} cronsim, of the extra 'cron': pip install 'torrelque[cron]'; --every and --at alone do not"
        ) from exc
    return torrelque.cron


def _tell_none(session: Session) -> int:
    prefix = session.found.prefix
    session.out.tell(f'no schedule begins with {prefix!r}' if prefix else 'no schedule is set')
    return Exit.ILL


def made_from(view: ScheduleView) -> str:
    """What the instants of a schedule are made from, in a few words."""
    if view.every is not None:
        behind = f', {_exactly(view.phase)} behind' if view.phase else ''
        return f'every {_exactly(view.every)}{behind}'
    if isinstance(view.spec, dict) and isinstance(view.spec.get('cron'), str):
        jitter = view.spec.get('jitter')
        later = f', up to {_exactly(jitter)} later' if isinstance(jitter, (int, float)) and jitter else ''
        return ' '.join(str(view.spec[name]) for name in ('cron', 'timezone') if name in view.spec) + later
    if isinstance(view.spec, dict) and isinstance(view.spec.get('calendar'), str):
        return f'calendar {view.spec["calendar"]}'
    if view.spec is not None:
        return json.dumps(view.spec, ensure_ascii=False)
    return f'{number(view.left)} instants' if view.left != 1 else '1 instant'


def _exactly(seconds: float) -> str:
    """A time that somebody has set: ``5m``, ``1d``, ``1m30s``, ``250ms``; it is not rounded, as that of `ago` is."""
    if not math.isfinite(seconds) or seconds < 1:
        return ago(seconds)
    whole, rest = divmod(round(seconds * 1000), 1000)
    words = []
    for size, unit in ((86400, 'd'), (3600, 'h'), (60, 'm')):
        many, whole = divmod(whole, size)
        words += [f'{many}{unit}'] if many else []
    words += [f'{whole + rest / 1000:g}s'] if whole or rest else []
    return ''.join(words)


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
    if instant > now:
        return f'in {ago(instant - now)}'
    return 'due' if now - instant < 1 else f'due {ago(now - instant)} ago'


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
    (Column('UNTIL', whole=True, rank=7), lambda view, out: '' if view.until is None else out.when(view.until)),
    (Column('OVERLAP', rank=7), lambda view, _: '' if view.overlap == 'skip' else view.overlap or ''),
    (Column('MISSED', rank=7), lambda view, _: '' if view.missed == 'latest' else view.missed or ''),
    (Column('GRACE', True, rank=7), lambda view, _: '' if view.grace is None else _exactly(view.grace)),
)


async def tell_schedules(session: Session, name: str) -> list[ScheduleView]:
    """Say of a name that no task has which schedules have it, and how these are; which they are."""
    found = [await look_up(session.operator, name, queue.name) for queue in session.queues]
    views = [view for view in found if view is not None]
    for view in () if session.out.as_json else views:
        words, command = how(session.out, view)
        session.out.sentence(f'{name!r} is no task, but a schedule of queue {view.queue!r}: {words}',
                             command=session.command(command, view.queue))  # fmt: skip
    return views


def how(out: Out, view: ScheduleView) -> tuple[str, str]:
    """How a schedule is, in words, and the command that changes it, or tells more."""
    name = quoted(view.name)
    shows = 'torrelque schedules' if name.startswith('-') else f'torrelque schedules {name}'
    if view.state == 'paused':
        return 'it is paused, and fires nothing', f'torrelque resume --schedule {name}'
    if view.state == 'on' and view.next is not None and view.next <= view.server_time:
        late = f'it is late by {ago(view.server_time - view.next)}'
        return f'{late}, because no consumer waits, and nobody sweeps', 'torrelque sweep'
    words = {'broken': f'it is broken: {view.broken}', 'over': 'it is over', 'dry': f'it is dry: {WETTING}'}
    return words.get(view.state, f'it fires {next_in_words(out, view)}'), shows


def next_in_words(out: Out, view: ScheduleView) -> str:
    """When a schedule fires next."""
    if view.next is None:
        return 'it fires no more'
    return f'next {out.when(view.next)}, {_in(view.next, view.server_time)}'


# Which is meant


def schedule_named(view: ScheduleView) -> str:
    """A schedule in words."""
    return f'schedule {view.name!r} of queue {view.queue!r}'


async def find_schedule(session: Session, name: str) -> ScheduleView:
    """A schedule, in whichever of the queues has it.

    :raises Failure: none has.
    """
    found = await look_up(session.operator, name)
    if found is None:
        names = [view.name for view in await session.operator.schedules(payload=0)]
        raise Failure(not_known('schedule', name, names), Exit.ILL)
    return found


async def look_up(operator: Operator, name: str, queue: str | None = None) -> ScheduleView | None:
    """A schedule, in a queue or in whichever has it; None where there is none."""
    try:
        return await operator.schedule(name, payload=0, queue=queue)
    except TorrelqueLookupError:
        return None
