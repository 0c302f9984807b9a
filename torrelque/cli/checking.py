"""``torrelque check`` and ``torrelque doctor``: whether all is well."""

import argparse
import dataclasses
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torrelque.operate import Finding, Overview

from .alertfile import Watched
from .failure import Exit
from .filed import read_watched
from .naming import unknown
from .out import Column, ago, number
from .session import Session, answer
from .stats import paused_schedules, plural
from .tables import Cell

OVERDUE = 30.0
"""s after which what is due, or has a lease that has ended, and was not moved is nobody's."""
UNFIRED = 60.0
"""s after which nobody fires a schedule that is late: a worker whose call has failed looks again within half of it."""
UNSERVED = 60.0
"""s that something may be ready while no worker lives."""
GROUPS = 10_000
"""Groups that are looked at where one is paused."""
ORPHANS = 1000
"""Tasks of lost workers that are counted."""
NAMES = 3
"""Names that are told."""

STYLES = {'error': 'red', 'warning': 'yellow', 'ok': 'green'}
ILL = ('error', 'warning')


class Limits(NamedTuple):
    """What may be."""

    oldest: float = 3600.0
    """s that the oldest task may wait."""
    pending: int | None = None
    dead: int | None = None
    workers: int | None = None
    """So many must live; None is one, where workers with a heartbeat were there before."""


class More(NamedTuple):
    """What the figures of a queue do not tell, and is asked for where they give reason to."""

    unknown: str | None = None
    """That nothing is known of the queue, in words."""
    paused: Sequence[str] = ()
    """Groups that are paused and have tasks that are pending."""
    orphaned: int = 0
    """Tasks that lost workers still have in hand."""
    ended: float = 0.0
    """For how long (s) the first lease that has ended was not seen to."""
    stalled: Sequence[Finding] = ()
    """What is the matter with flows."""
    served: bool = False
    """Whether workers with a heartbeat were there before."""


# Figures against limits


def check(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _check, several=True)


async def _check(session: Session) -> int:
    found, out = session.found, session.out
    given = {name: getattr(found, name) for name in Limits._fields if getattr(found, name) is not None}
    watched = read_watched(found)
    if watched.rules:
        # The rules say how long the oldest may wait, if anything does.
        given.setdefault('oldest', math.inf)
    overviews = await session.operator.overviews()
    wrong = [finding for one in overviews for finding in judge(one, Limits(**given), await look_closer(session, one))]
    wrong += await _find_breaches(session, watched, [one.queue for one in overviews if one.error is None])
    try:
        for finding in wrong:
            if out.as_json:
                out.json(finding)
            else:
                command = None if finding.advice is None else session.command(finding.advice, finding.queue)
                out.sentence(f'{finding.queue}: {finding.text}', command=command)
        sys.stdout.flush()
    except BrokenPipeError:
        # The exit code is right even if nobody reads what is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not wrong and found.verbose:
        out.tell(f'all is well with {", ".join(one.queue for one in overviews)}')
    for one in overviews if found.verbose else ():
        if one.paused_schedules:
            out.tell(f'{one.queue}: {paused_schedules(one)}')
    return Exit.ILL if wrong else Exit.WELL


async def _find_breaches(session: Session, watched: Watched, queues: Sequence[str]) -> list[Finding]:
    """What rules of a file say of now."""
    if not watched.rules:
        return []
    from torrelque.monitor import breaches

    return [it for name in queues for it in await breaches(session.operator.queue(name), watched.rules)]


async def look_closer(session: Session, one: Overview) -> More:
    """What more is to be known of a queue, by its figures."""
    operator, more = session.operator, More()
    if one.error is not None:
        return more
    if not (one.tasks or one.workers or one.lost) and session.found.app is None:
        more = more._replace(unknown=await unknown(operator.queue(one.queue)))
    if one.paused_groups and one.pending:
        groups = await operator.groups(by='waiting', most=GROUPS, queue=one.queue)
        more = more._replace(paused=[group.name for group in groups if group.paused and group.waiting])
    if one.lost and one.working:
        page = await operator.page('orphaned', most=ORPHANS, payload=0, queue=one.queue)
        more = more._replace(orphaned=len(page))
    if one.overdue_leases:
        page = await operator.page('working', most=1, payload=0, queue=one.queue)
        late = [page.server_time - task.lease_end for task in page if task.lease_end is not None]
        more = more._replace(ended=max(late, default=0.0))
    if one.waiting:
        more = more._replace(stalled=await operator.stalled(queue=one.queue))
    if one.ready and not one.workers and one.workers_known:
        counted = one.lost or [view for view in await operator.functions() if view.queue == one.queue]
        more = more._replace(served=bool(counted))
    return more


def judge(one: Overview, limits: Limits, more: More = More()) -> Iterator[Finding]:  # noqa: B008 - it is frozen
    """What is wrong with a queue."""
    if one.error is not None:
        yield _wrong(one, 'error', f'it cannot be read: {one.error}', 'doctor')
        return
    for shard in one.away:
        yield _wrong(one, 'shards', f'{shard} is away: {shard.why}', 'shards')
    if more.unknown is not None:
        yield _wrong(one, 'unknown', more.unknown, None)
    if one.broken:
        yield _wrong(one, 'broken', f'keys hold something else than they should: {", ".join(one.broken)}', 'doctor')
    yield from _of_pauses(one, more)
    yield from _of_figures(one, limits)
    yield from _of_workers(one, limits, more)
    yield from _of_unmoved(one, more)
    yield from (dataclasses.replace(finding, level='error') for finding in more.stalled)
    yield from _of_schedules(one)


def _wrong(one: Overview, subject: str, text: str, advice: str | None) -> Finding:
    return Finding(one.queue, 'error', subject, text, None if advice is None else f'torrelque {advice}')


def _of_pauses(one: Overview, more: More) -> Iterator[Finding]:
    if one.paused and one.pending:
        pending = plural(one.pending, 'task is', 'tasks are')
        yield _wrong(one, 'paused', f'the queue is paused, and {pending} pending', 'resume')
    if more.paused:
        groups = plural(len(more.paused), 'group that has tasks is', 'groups that have tasks are')
        yield _wrong(one, 'paused', f'{groups} paused: {_named(more.paused, len(more.paused))}', 'groups')


def _of_figures(one: Overview, limits: Limits) -> Iterator[Finding]:
    age = one.oldest_age
    if age is not None and age > limits.oldest:
        text = f'the oldest task has waited for {ago(age)} or longer, more than {ago(limits.oldest)}'
        yield _wrong(one, 'oldest', text, 'why')
    if limits.pending is not None and one.pending > limits.pending:
        text = f'{number(one.pending)} tasks are pending, more than {number(limits.pending)}'
        yield _wrong(one, 'pending', text, 'why')
    if limits.dead is not None and one.dead > limits.dead:
        dead = plural(one.dead, 'task is', 'tasks are')
        yield _wrong(one, 'dead', f'{dead} dead, more than {number(limits.dead)}', 'errors')


def _of_workers(one: Overview, limits: Limits, more: More) -> Iterator[Finding]:
    age = one.oldest_age
    if not one.workers_known:
        return
    if limits.workers is not None and one.workers < limits.workers:
        alive = plural(one.workers, 'worker lives', 'workers live')
        yield _wrong(one, 'workers', f'{alive}, fewer than {number(limits.workers)}', 'workers')
    elif limits.workers is None and not one.workers and one.ready and more.served and age and age > UNSERVED:
        ready = plural(one.ready, 'task is', 'tasks are')
        yield _wrong(one, 'workers', f'no worker lives, and {ready} ready, for {ago(age)} or longer', 'workers')
    if one.stuck:
        yield _wrong(one, 'stuck', f'{plural(one.stuck, "worker is", "workers are")} stuck', 'workers --stuck')
    if more.orphaned:
        lost = plural(one.lost, 'worker was', 'workers were')
        orphaned = plural(more.orphaned, 'task is', 'tasks are')
        yield _wrong(one, 'lost', f'{lost} lost, and {orphaned} worked on by nobody, as far as is known',
                     'tasks orphaned')  # fmt: skip


def _of_unmoved(one: Overview, more: More) -> Iterator[Finding]:
    late = None if one.next_delayed is None else one.server_time - one.next_delayed
    if one.overdue and late is not None and late > OVERDUE:
        due = plural(one.overdue, 'delayed task is', 'delayed tasks are')
        yield _wrong(one, 'overdue', f'{due} due, for up to {ago(late)}, and nobody moves them', 'sweep')
    if one.overdue_leases and more.ended > OVERDUE:
        ended = plural(one.overdue_leases, 'lease has', 'leases have')
        text = f'{ended} ended, up to {ago(more.ended)} ago, and nobody brings the tasks back'
        yield _wrong(one, 'overdue', text, 'sweep')


def _of_schedules(one: Overview) -> Iterator[Finding]:
    if one.late_schedules and one.late_by > UNFIRED:
        schedules = plural(one.late_schedules, 'schedule is', 'schedules are')
        names = _named(one.late_names, one.late_schedules)
        text = f'{schedules} late, by up to {ago(one.late_by)}, and nobody waits for tasks, or sweeps: {names}'
        yield _wrong(one, 'late', text, 'sweep')
    if one.dry_schedules:
        schedules = plural(one.dry_schedules, 'schedule is', 'schedules are')
        names = _named(one.dry_names, one.dry_schedules)
        yield _wrong(one, 'dry', f'{schedules} dry, so that nothing more fires: {names}', 'schedules')


def _named(names: Sequence[str], count: int) -> str:
    """The first of some names, and how many there are more."""
    rest = count - len(names[:NAMES])
    return ', '.join(names[:NAMES]) + (f' and {number(rest)} more' if rest > 0 else '')


# Queue and server


def doctor(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _doctor, several=True)


async def _doctor(session: Session) -> int:
    out = session.out
    findings = await session.operator.examine()
    if out.as_json:
        for one in findings:
            out.json(one)
    elif findings:
        columns = [Column('LEVEL'), Column('SUBJECT', whole=True, rank=2), Column('FINDING', fold=True)]
        if session.several:
            columns.insert(1, Column('QUEUE', rank=1))
        out.table(columns, [row(one, session.several) for one in findings])
    else:
        out.line('nothing was found that is wrong')
    return Exit.ILL if any(one.level in ILL for one in findings) else Exit.WELL


def row(one: Finding, several: bool) -> list[Cell]:
    """The line of a finding."""
    advice = f' ({one.advice})' if one.advice else ''
    queue: list[Cell] = [one.queue] if several else []
    return [(one.level, STYLES.get(one.level, '')), *queue, one.subject, one.text + advice]
