"""``torrelque pause``, ``resume``, ``limit`` and ``sweep``: what a queue, or a group of it, hands out."""

import argparse
from typing import Any

from torrelque import TorrelqueLimit, TorrelqueQueue
from torrelque.operate import ScheduleView
from torrelque.operate.parts import is_paused, limits_of

from .amounts import DEFAULT, KEEP, spelt
from .answers import LimitAnswer, PauseAnswer, SweepAnswer
from .consent import agree, answer_act, answer_known, may_ask, refuse_to_act
from .failure import Exit, Failure
from .out import Column, ago, number
from .session import Session
from .timetable import find_schedule, schedule_named

LIMITS = (Column('QUEUE'), Column('GROUP'), Column('CONCURRENCY', True), Column('RATE', True))

# Pauses


def pause(found: argparse.Namespace) -> int:
    """Carry ``pause`` out; its exit code."""
    if found.schedule is not None:
        _check_alone(found, found.probe)
        return answer_act(found, _pause_schedule)
    return answer_act(found, _pause, new=True if found.yes else None)


def resume(found: argparse.Namespace) -> int:
    """Carry ``resume`` out; its exit code."""
    if found.schedule is not None:
        _check_alone(found)
        return answer_act(found, _resume_schedule)
    return answer_act(found, _resume)


async def _pause(session: Session) -> int:
    found, out = session.found, session.out
    for queue in session.queues:
        before = await is_paused(queue, found.group)
        await session.operator.pause(found.group, probe=found.probe, queue=queue.name)
        name = _named(queue, found.group)
        if out.as_json:
            out.json(PauseAnswer(
                queue=queue.name, group=found.group, schedule=None, paused=True, was_paused=before, probe=found.probe
            ))  # fmt: skip
            continue
        out.line(f'{name} was paused before' if before else f'{name} is paused: no task is handed out any more')
        if found.probe:
            out.line(f'one task goes through all the same each {ago(found.probe)}'
                     + (', unless the pause before was one without' if before else ''))  # fmt: skip
    await _tell_empty(session)
    return Exit.WELL


async def _resume(session: Session) -> int:
    found, out = session.found, session.out
    code = Exit.WELL
    for queue in session.queues:
        before = await is_paused(queue, found.group)
        if before:
            await session.operator.resume(found.group, queue=queue.name)
        else:
            code = Exit.ILL
        if out.as_json:
            out.json(PauseAnswer(
                queue=queue.name, group=found.group, schedule=None, paused=False, was_paused=before, probe=None
            ))  # fmt: skip
            continue
        name = _named(queue, found.group)
        out.line(f'{name} goes on: its tasks are handed out' if before else f'{name} is not paused')
        if found.group is not None and await is_paused(queue, None):
            out.line(f'the whole queue {queue.name!r} is paused, so nothing is handed out all the same')
    return code


def _check_alone(found: argparse.Namespace, probe: float | None = None) -> None:
    if found.group is not None or probe is not None:
        raise Failure('a pause is of a schedule, of a group, or of the whole queue, and a schedule has no probe')


async def _pause_schedule(session: Session) -> int:
    view = await find_schedule(session, session.found.schedule)
    before = not await session.operator.pause_schedule(view.name, queue=view.queue)
    if not _answered(session, view, True, before):
        session.out.line(f'{schedule_named(view)} was paused before' if before else
                         f'{schedule_named(view)} is paused: it passes over what is due')  # fmt: skip
    return Exit.WELL


async def _resume_schedule(session: Session) -> int:
    view = await find_schedule(session, session.found.schedule)
    done = await session.operator.resume_schedule(view.name, queue=view.queue)
    if not _answered(session, view, False, done):
        session.out.line(f'{schedule_named(view)} goes on: it fires what is due from now on' if done else
                         f'{schedule_named(view)} is not paused')  # fmt: skip
    return Exit.WELL if done else Exit.ILL


def _answered(session: Session, view: ScheduleView, paused: bool, before: bool) -> bool:
    """Write what became of a schedule as JSON, where that is wanted."""
    if session.out.as_json:
        session.out.json(PauseAnswer(
            queue=view.queue, group=None, schedule=view.name, paused=paused, was_paused=before, probe=None
        ))  # fmt: skip
    return session.out.as_json


def _named(queue: TorrelqueQueue, group: str | None) -> str:
    return f'queue {queue.name!r}' if group is None else f'group {group!r} of queue {queue.name!r}'


# Limits


def limit(found: argparse.Namespace) -> int:
    """Carry ``limit`` out; its exit code."""
    if found.group == DEFAULT:
        # As files say it; a group of this name has its limit by Python alone.
        found.group = None
    if found.concurrency is KEEP and found.rate is KEEP:
        return answer_known(found, _show_limits)
    refuse_to_act(found)
    if found.group is None and not found.yes and not may_ask(found):
        raise Failure('without a GROUP the default of all groups is set, and nobody can be asked: --yes does it')
    return answer_act(found, _set_limit, new=True if found.yes else None)


async def _show_limits(session: Session) -> int:
    named = session.found.group
    rows: list[tuple[str, str | None, TorrelqueLimit]] = []
    for queue in session.queues:
        limits = await limits_of(queue)
        wanted = sorted(limits, key=lambda name: (name is not None, name)) if named is None else [named]
        rows += [(queue.name, group, limits.get(group, TorrelqueLimit(None, None))) for group in wanted]
    _tell_limits(session, rows)
    return Exit.WELL


async def _set_limit(session: Session) -> int:
    found = session.found
    if found.group is None and not found.yes:
        names = ', '.join(repr(queue.name) for queue in session.queues)
        words = f'This sets the default of all groups of {names} that have no limit of their own'
        if not await agree(session.out, f'{words}.  Is that meant?'):
            return Exit.ILL
    rows = []
    for queue in session.queues:
        # Both limits are set at once, so the one that nothing is said of is set to what it is.
        before = (await limits_of(queue)).get(found.group, TorrelqueLimit(None, None))
        slots = before.concurrency if found.concurrency is KEEP else found.concurrency
        starts = before.rate if found.rate is KEEP else found.rate
        await session.operator.set_limit(found.group, queue=queue.name, concurrency=slots, rate=starts)
        rows.append((queue.name, found.group, TorrelqueLimit(slots, starts)))
    _tell_limits(session, rows)
    await _tell_empty(session)
    return Exit.WELL


async def _tell_empty(session: Session) -> None:
    """Say where a group has no task: its name may be a slip, and may be one that comes."""
    name = session.found.group
    if name is None or session.out.as_json:
        return
    for queue in session.queues:
        group = await session.operator.group(name, queue=queue.name)
        if not group.waiting and not group.slots:
            session.out.tell(f'{_named(queue, name)} has no task that waits or is worked on')


def _tell_limits(session: Session, rows: list[tuple[str, str | None, TorrelqueLimit]]) -> None:
    out = session.out
    if out.as_json:
        for queue, group, one in rows:
            slots, starts = _plain(one.concurrency), _plain(one.rate)
            out.json(LimitAnswer(queue=queue, group=group, concurrency=slots, rate=starts))
        return
    if not rows:
        out.line('no limit is set')
        return
    # Of the default of all groups, the default is no limit.
    cells = [
        [spelt(value) if group is not None or value is not None else 'none' for value in one] for _, group, one in rows
    ]
    table = [
        (queue, '(all groups)' if group is None else group, *texts)
        for (queue, group, _), texts in zip(rows, cells, strict=True)
    ]
    out.table(LIMITS, table)


def _plain(value: tuple[int, float] | float | None) -> Any:
    return list(value) if isinstance(value, tuple) else value if isinstance(value, int) else spelt(value)


# What is due


def sweep(found: argparse.Namespace) -> int:
    """Carry ``sweep`` out; its exit code."""
    return answer_act(found, _sweep)


async def _sweep(session: Session) -> int:
    out = session.out
    for queue in session.queues:
        result = await session.operator.sweep(queue=queue.name)
        if out.as_json:
            out.json(SweepAnswer(
                queue=queue.name, stale=result.stale, delayed=result.delayed, dead=result.dead, fired=result.fired
            ))  # fmt: skip
            continue
        fired = f'schedules have enqueued {number(result.fired)}; ' if result.fired else ''
        out.line(
            f'queue {queue.name!r}: {fired}{number(result.delayed)} were due and are pending; the leases of '
            f'{number(result.stale + result.dead)} had ended: {number(result.stale)} are pending again, '
            f'{number(result.dead)} are dead'
        )
    return Exit.WELL
