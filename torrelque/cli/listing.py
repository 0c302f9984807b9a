"""``torrelque tasks``, ``functions``, ``groups`` and ``acts``: lists."""

import argparse
import contextlib
import dataclasses
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from torrelque import TorrelqueConnectionError, TorrelqueLookupError, TorrelqueTaskStatus
from torrelque.operate import Act, FunctionView, GroupView, Selection, TaskView

from .amounts import spelt
from .failure import Exit, Failure
from .filters import STATUSES, is_filtered, selection_of, settle
from .out import Column, Out, ago, number, share, shortened
from .progress import Course, looking, total_of
from .session import Session, answer
from .tables import Cell

PAGE = 250
"""Tasks that are asked for at a time."""
EVERYWHERE = ('pending', 'working', 'delayed', 'dead', 'waiting')
"""Where tasks are looked for that match, where no place is named."""
SMALL, ALL = 4096, 2**31
"""Bytes of a payload that are asked for: those from which its function is known, or all."""

Shown = Callable[[Any, Out], Cell]
"""What a column shows of a row; '' is nothing."""


def lay(rows: Sequence[Any], out: Out, shown: Iterable[tuple[Column, Shown]]) -> tuple[list[Column], list[list[Cell]]]:
    """Columns and cells of a table, without the columns in which no row has anything."""
    columns = [(column, [cell(row, out) for row in rows]) for column, cell in shown]
    kept = [(column, cells) for column, cells in columns if not (column.rank or column.title == 'STATE') or any(cells)]
    return [column for column, _ in kept], [[*row] for row in zip(*(cells for _, cells in kept), strict=True)]


def _tell(session: Session, rows: Sequence[Any], columns: Sequence[tuple[Column, Shown]], none: str) -> int:
    """Tell of some values, as JSON or as a table, or that there is none; the exit code."""
    out = session.out
    if out.as_json:
        for one in rows:
            out.json(one)
    elif rows:
        shown = columns if session.several else [it for it in columns if it[0].title != 'QUEUE']
        out.table(*lay(rows, out, shown))
    else:
        out.tell(none)
    return Exit.WELL if rows else Exit.ILL


# Tasks


def tasks(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _tasks)


async def _tasks(session: Session) -> int:
    found, out = session.found, session.out
    rows: list[TaskView] = []
    away: TorrelqueConnectionError | None = None
    try:
        async for task in _find(session):
            rows.append(task)
            if out.as_json:
                out.json(task if found.payload else dataclasses.replace(task, payload=None, raw=None))
    except TorrelqueConnectionError as exc:
        # Those that others have are worth to be shown; behind them it is told who is away.
        away = exc
    if away is not None and not rows:
        raise away
    if not rows:
        out.tell('no task matches' if is_filtered(found) else 'no task is there')
        return Exit.ILL
    if not out.as_json:
        hidden = () if session.several else ('QUEUE',)
        columns, cells = lay(rows, out, [it for it in tasks_shown(rows) if it[0].title not in hidden])
        out.table(columns, cells, [payload_of(task) for task in rows] if found.payload else None)
    if away is not None:
        raise away
    if len(rows) == found.most:
        out.tell(f'the first {number(found.most)}; --most N shows more')
    return Exit.WELL


async def _find(session: Session) -> AsyncIterator[TaskView]:
    """The tasks that are meant; as they are found, and not more than are asked for."""
    found = session.found
    size = ALL if found.payload else SMALL
    place = found.place or found.status
    if found.place and found.status and found.place != found.status:
        raise Failure(f'{found.place} and --status {found.status} contradict each other')
    if place is None or is_filtered(found):
        selection = await settle(session, _selection(found, place))
        course = Course(None, await total_of(session, selection, EVERYWHERE), looking=True)
        with looking(session.out, course) as tell:
            walk = session.operator.tasks(selection, most=found.most, payload=size, on_progress=tell)
            async for task in walk:
                yield task
        return
    left = found.most
    for queue in session.queues:
        after = None
        while left > 0:
            page = await session.operator.page(
                place, after=after, most=min(left, PAGE), payload=size, newest_first=place == 'dead', queue=queue.name
            )
            if page.broken:
                session.out.tell(f'queue {queue.name}: tasks may be missing, for keys hold something else than they '
                                 f"should: {', '.join(page.broken)}; 'torrelque doctor' tells more")  # fmt: skip
            for task in page.tasks:
                left -= 1
                yield task
            after = page.cursor
            if after is None:
                break


def _selection(found: argparse.Namespace, place: str | None) -> Selection:
    selection = selection_of(found)
    if place is None:
        return selection
    if place.startswith('group:') and selection.group is None:
        return dataclasses.replace(selection, status='pending', group=place.removeprefix('group:'))
    if place not in STATUSES:
        raise Failure(f'filters go with {", ".join(STATUSES)}, not with {place}')
    return dataclasses.replace(selection, status=place)


async def find_tasks(session: Session, task_id: str, payload: int) -> list[TaskView]:
    """A task of this id in each queue that knows it, with a payload up to so many bytes.

    :raises TorrelqueLookupError: none does.
    """
    found: list[TaskView] = []
    for queue in session.queues:
        with contextlib.suppress(TorrelqueLookupError):
            found.append(await session.operator.task(task_id, payload=payload, queue=queue.name))
    return found or [await session.operator.task(task_id, payload=payload)]


def status_of(task: TaskView) -> str:
    """The status in a word, or what is wrong with the task."""
    if task.broken is not None:
        return f'broken: {task.broken}'
    return '-' if task.status is None else task.status.name.lower()


def since_of(task: TaskView) -> float | None:
    """Since when it has been what it is."""
    if task.status is None:
        return None
    return {
        TorrelqueTaskStatus.PENDING: task.ready_since,
        TorrelqueTaskStatus.WORKING: task.last_dequeue_time,
        TorrelqueTaskStatus.DELAYED: task.last_requeue_time or task.enqueue_time,
        TorrelqueTaskStatus.DEAD: task.died,
        TorrelqueTaskStatus.WAITING: task.enqueue_time,
    }.get(task.status, task.release_time)


def age(since: float | None, now: float) -> str:
    """For how long; of a moment, by two clocks that may differ."""
    return '-' if since is None else ago(max(0.0, now - since))


def due_of(task: TaskView) -> str:
    """When it is due, or its lease ends, from now on."""
    due = next((it for it in (task.due, task.lease_end, task.gives_up) if it is not None), None)
    if due is None:
        return ''
    left = due - task.server_time
    return f'in {ago(left)}' if left >= 0 else f'{ago(-left)} ago'


def payload_of(task: TaskView) -> str:
    """The payload in a line, all of it."""
    if task.raw is not None:
        return task.raw.decode('utf-8', 'backslashreplace')
    return 'the payload is gone' if task.size is None else f'a payload of {task.size:,} bytes'


TASKS: tuple[tuple[Column, Shown], ...] = (
    (Column('ID', whole=True), lambda task, _: task.id),
    (Column('QUEUE', rank=1), lambda task, _: task.queue),
    (Column('STATUS', rank=5), lambda task, _: status_of(task)),
    (Column('FUNCTION', rank=6), lambda task, _: task.function or ''),
    (Column('GROUP', rank=8), lambda task, _: task.group or ''),
    (Column('PRIORITY', True, rank=10), lambda task, _: number(task.priority) if task.priority else ''),
    (Column('FOR', True, rank=4), lambda task, _: age(since_of(task), task.server_time)),
    (Column('DUE', True, rank=2), lambda task, _: due_of(task)),
    (Column('LEFT', True, rank=3), lambda task, _: '' if task.total is None else f'{task.left or 0:,}/{task.total:,}'),
    (Column('ATTEMPT', True, rank=9, short='TRIED'), lambda task, _: number(task.attempt) if task.attempt else ''),
    (Column('WORKER', rank=3), lambda task, _: task.worker or ''),
    (Column('ERROR', rank=7, kept=16), lambda task, _: shortened(task.error_line or '', 400)),
)


def tasks_shown(rows: Sequence[TaskView]) -> list[tuple[Column, Shown]]:
    """The columns of some tasks: where all have the same status, that is what matters least."""
    if len({status_of(task) for task in rows}) > 1:
        return [*TASKS]
    return [(column._replace(rank=11) if column.title == 'STATUS' else column, cell) for column, cell in TASKS]


# Functions


def functions(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _functions, several=True)


async def _functions(session: Session) -> int:
    rows = await session.operator.functions(since=session.found.since)
    none = 'nothing is counted: no worker with a heartbeat has finished anything in this time'
    return _tell(session, rows, FUNCTIONS, none)


def name_of(view: FunctionView) -> str:
    """The name of a function, or what stands for those that have none."""
    return {'': '(no function)', '*other': '(others)'}.get(view.name, view.name)


FUNCTIONS: tuple[tuple[Column, Shown], ...] = (
    (Column('FUNCTION', kept=24), lambda view, _: name_of(view)),
    (Column('QUEUE', rank=1), lambda view, _: view.queue),
    (Column('DONE', True), lambda view, _: number(view.totals.succeeded)),
    (Column('FAILED', True), lambda view, _: number(view.totals.failed)),
    (Column('SHARE', True, rank=4),
     lambda view, _: share(view.totals.failed, view.totals.failed + view.totals.succeeded)),
    (Column('DEAD', True, rank=2), lambda view, _: number(view.totals.dead)),
    (Column('LOST', True, rank=6), lambda view, _: number(view.totals.lost)),
    (Column('MEAN', True, rank=3), lambda view, _: ago(view.mean)),
    (Column('P50', True, rank=7), lambda view, _: _bound(view.p50)),
    (Column('P95', True, rank=5), lambda view, _: _bound(view.p95)),
)  # fmt: skip


def _bound(seconds: float | None) -> str:
    return '> 30m' if seconds == math.inf else ago(seconds)


# Groups


def groups(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _groups)


async def _groups(session: Session) -> int:
    found, out = session.found, session.out
    seen = False
    for queue in session.queues:
        answered = await session.operator.groups(
            by=found.by, most=found.most, pattern=found.pattern, queue=queue.name
        )
        seen = seen or bool(answered.groups)
        if out.as_json:
            for one in answered.groups:
                out.json(one)
            continue
        if session.several:
            out.line(queue.name, 'bold')
        if answered.broken:
            out.tell(f'queue {queue.name}: groups may be missing, for keys hold something else than they should: '
                     f"{', '.join(answered.broken)}; 'torrelque doctor' tells more")  # fmt: skip
        if answered.groups:
            out.table(*lay([(one, answered.server_time) for one in answered.groups], out, GROUPS))
        else:
            out.tell('no group has a task or a slot in use' if found.pattern is None else 'no group matches')
        if len(answered.groups) < answered.total:
            shown, total = number(len(answered.groups)), number(answered.total)
            out.tell(f'{shown} of {total} groups, looked at in {ago(answered.took)}')
    return Exit.WELL if seen else Exit.ILL


def slots_of(view: GroupView) -> str:
    """Slots in use, and how many there are."""
    return number(view.slots) if view.limit == math.inf else f'{view.slots:,}/{view.limit:,.0f}'


def state_of(view: GroupView, now: float) -> str:
    """Whether it is paused."""
    if not view.paused:
        return ''
    return 'paused' if view.probe is None else f'paused, probe in {ago(max(0.0, view.probe - now))}'


GROUPS: tuple[tuple[Column, Shown], ...] = (
    (Column('GROUP', kept=16), lambda pair, _: pair[0].name),
    (Column('WAITING', True), lambda pair, _: number(pair[0].waiting)),
    (Column('OLDEST', True), lambda pair, _: age(pair[0].oldest, pair[1])),
    (Column('SLOTS', True), lambda pair, _: slots_of(pair[0])),
    (Column('RATE', True, rank=3),
     lambda pair, _: '' if pair[0].rate is None else spelt(pair[0].rate)),
    (Column('TOKENS', True, rank=4),
     lambda pair, _: '' if pair[0].tokens is None else f'{pair[0].tokens:,.1f}'.removesuffix('.0')),
    (Column('STATE', kept=21), lambda pair, _: state_of(*pair)),
    (Column('NEXT', whole=True, rank=5), lambda pair, _: pair[0].head or ''),
)  # fmt: skip


# Acts


def acts(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _acts, several=True)


async def _acts(session: Session) -> int:
    return _tell(session, await session.operator.acts(), ACTS, 'no act is on record')


def _count_of(act: Act) -> str:
    return number(act.count) if act.count else ''


ACTS: tuple[tuple[Column, Shown], ...] = (
    (Column('TIME', whole=True), lambda act, out: out.when(act.time)),
    (Column('QUEUE', rank=1), lambda act, _: act.queue),
    (Column('WHO', rank=3), lambda act, _: act.who),
    (Column('ACT'), lambda act, _: act.act),
    (Column('TASKS', True, rank=2), lambda act, _: _count_of(act)),
    (Column('WHAT', fold=True, kept=34), lambda act, _: act.what),
)
