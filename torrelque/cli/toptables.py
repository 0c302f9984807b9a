"""The tables of ``torrelque top``: rows of what is known, in an order, as far as the filter lets them through."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torrelque.operate import FunctionView, GroupView, Overview, RunningView, TaskView, WorkerView

from .amounts import spelt
from .out import Column, ago, number
from .stats import LATE
from .topkeys import SORTS, Row, Spot
from .toplook import Look

Cells = tuple[str | tuple[str, str], ...]
"""Texts, or texts with styles of rich."""

ID = 12
"""Characters of an id in a list."""

BAD, FINE, QUIET = 'red', 'green', 'dim'


class Line(NamedTuple):
    """A row of a table."""

    row: Row
    cells: Cells
    orders: tuple[Any, ...]
    """By what it is put in order, for each order of `SORTS`; the smallest first."""


_N = True
COLUMNS = {
    'queues': (
        Column('QUEUE'), Column('PENDING', _N), Column('OLDEST', _N), Column('READY', _N, rank=3),
        Column('WORKING', _N, rank=1), Column('DELAYED', _N, rank=4), Column('WAITING', _N, rank=6), Column('DEAD', _N),
        Column('WORKERS', _N, rank=5),
        Column('BUSY', _N, rank=2), Column(''),
    ),
    'functions': (
        Column('FUNCTION'), Column('DONE', _N), Column('FAILED', _N), Column('DEAD', _N, rank=1),
        Column('MEAN', _N, rank=3), Column('P50', _N, rank=4), Column('P95', _N, rank=2),
    ),
    'groups': (
        Column('GROUP'), Column('WAITING', _N), Column('OLDEST', _N, rank=2), Column('SLOTS', _N, rank=1),
        Column('RATE', _N, rank=3), Column(''),
    ),
    'workers': (
        Column('WORKER'), Column('STATE', whole=True), Column('BUSY', _N), Column('CLAIMED', _N, rank=2),
        Column('LAG', _N, rank=4), Column('MEMORY', _N, rank=5), Column('DONE', _N, rank=6),
        Column('FAILED', _N, rank=3), Column('LONGEST', rank=1),
    ),
    'dead': (
        Column('ID'), Column('DIED', _N), Column('TRIED', _N, rank=1), Column('FUNCTION', rank=2),
        Column('GROUP', rank=3), Column('ERROR'),
    ),
    'group': (
        Column('ID'), Column('WAITED', _N), Column('TRIED', _N, rank=1), Column('FUNCTION', rank=2),
        Column('ERROR', rank=3),
    ),
    'function': (
        Column('ID'), Column('DIED', _N), Column('TRIED', _N, rank=1), Column('GROUP', rank=2), Column('ERROR'),
    ),
    'worker': (
        Column('ID'), Column('FOR', _N), Column('TRIED', _N, rank=1), Column('FUNCTION'), Column('GROUP', rank=2),
        Column('QUEUE', rank=3),
    ),
}  # fmt: skip


def columns_of(view: str) -> Sequence[Column]:
    """The columns of a view; those of the highest rank are left out first where there is no room."""
    return COLUMNS[view]


def lines_of(spot: Spot, look: Look, now: float) -> list[Line]:
    """The rows of a view.

    :param now: the time of the server.
    """
    if spot.view == 'task':
        return []
    lines = _MADE[spot.view](spot, look, now)
    word = spot.filter.casefold()
    if word:
        lines = [line for line in lines if word in line.row.key.casefold() or _has(line.cells, word)]
    sort = min(spot.sort, len(SORTS[spot.view]) - 1)
    return sorted(lines, key=lambda line: line.orders[sort])


def _has(cells: Cells, word: str) -> bool:
    return any(word in (cell if isinstance(cell, str) else cell[0]).casefold() for cell in cells)


def _age(now: float, since: float | None) -> str:
    return '-' if since is None else ago(max(0.0, now - since))


def _counted(value: int, style: str) -> tuple[str, str]:
    """A count that is bad where there is any."""
    return number(value), style if value else ''


# Queues


def _queues(spot: Spot, look: Look, now: float) -> list[Line]:
    return [_queue(one) for one in look.overviews]


def _queue(one: Overview) -> Line:
    if one.error is not None:
        return Line(Row(one.queue), (one.queue, *['-'] * 9, (one.error, BAD)), (one.queue, 0.0, 0, 0))
    age = one.oldest_age
    oldest = '-' if age is None else ago(age) if 'oldest' in one.exact else f'≥ {ago(age)}'
    lost = f' -{one.lost}' if one.lost else ''
    cells: Cells = (
        one.queue, number(one.pending), oldest, number(one.ready), number(one.working), number(one.delayed),
        number(one.waiting), _counted(one.dead, BAD), (f'{one.workers}{lost}', BAD if one.lost or one.stuck else ''),
        f'{one.busy}/{one.slots}' if one.workers else '-', _mark(one),
    )  # fmt: skip
    return Line(Row(one.queue, one.paused), cells, (one.queue, -(age or 0.0), -one.pending, -one.dead))


def _mark(one: Overview) -> tuple[str, str] | str:
    if one.paused:
        return 'paused', 'yellow'
    if one.late_schedules and one.late_by > LATE:
        return f'{number(one.late_schedules)} late', BAD
    return (f'{number(one.dry_schedules)} dry', BAD) if one.dry_schedules else ''


# Of one queue


def _functions(spot: Spot, look: Look, now: float) -> list[Line]:
    return [_function(one) for one in look.functions.get(spot.queue, [])]


def _function(one: FunctionView) -> Line:
    all_of_them = one.totals.succeeded + one.totals.failed
    cells: Cells = (
        one.name or '(no call of a function)', number(one.totals.succeeded),
        _share(one.totals.failed, all_of_them), _counted(one.totals.dead, BAD), ago(one.mean), ago(one.p50),
        ago(one.p95),
    )  # fmt: skip
    orders = -all_of_them, -one.totals.failed, -(one.p95 or one.mean or 0.0), one.name
    return Line(Row(one.name), cells, orders)


def _share(some: int, of: int) -> tuple[str, str]:
    return (f'{number(some)} {100 * some / of:.1f}%', BAD) if some and of else (number(some), '')


def _groups(spot: Spot, look: Look, now: float) -> list[Line]:
    found = look.groups.get(spot.queue)
    return [] if found is None else [_group(one, now) for one in found.groups]


def _group(one: GroupView, now: float) -> Line:
    full = one.slots >= one.limit
    cells: Cells = (
        one.name, number(one.waiting), _age(now, one.oldest),
        (f'{one.slots}/{spelt(one.limit)}', 'yellow' if full and one.waiting else ''),
        '-' if one.rate is None else spelt(one.rate), ('paused', 'yellow') if one.paused else '',
    )  # fmt: skip
    orders = -one.waiting, now if one.oldest is None else one.oldest, -one.slots, one.name
    return Line(Row(one.name, one.paused), cells, orders)


def _workers(spot: Spot, look: Look, now: float) -> list[Line]:
    own = [one for one in look.workers if spot.queue in (one.queue, *one.queues)]
    return [_worker(one, now) for one in own]


def _worker(one: WorkerView, now: float) -> Line:
    longest = one.running[0] if one.running else None
    memory = '-' if one.rss is None else f'{one.rss / 2**20:.0f} MB'
    bad = one.state in ('stuck', 'lost')
    state = f'{one.state} {_age(now, one.seen)}' if one.state == 'lost' else one.state
    cells: Cells = (
        one.name, (state, BAD if bad else ''), f'{one.busy}/{one.concurrency}',
        ago(one.claimed if one.claimed is None else round(one.claimed, 1)), ago(one.lag), memory,
        number(one.succeeded), _share(one.failed, one.succeeded + one.failed),
        f'{longest.name} {_age(now, longest.since)}' if longest else (one.why or '-' if bad else '-'),
    )  # fmt: skip
    return Line(Row(one.name), cells, (one.name, -one.busy, (not bad, one.state, one.name)))


def _dead(spot: Spot, look: Look, now: float) -> list[Line]:
    page = look.dead.get(spot.queue)
    return [] if page is None else [_task(one, now) for one in page.tasks]


def _task(one: TaskView, now: float) -> Line:
    error = one.broken or one.error_line or '-'
    cells: Cells = (
        _short(one.id), _age(now, one.died), number(one.attempt), one.function or '-', one.group or '-', error,
    )  # fmt: skip
    died = one.died or 0.0
    return Line(Row(one.id), cells, (-died, died, one.function or '', error))


def _short(task_id: str) -> str:
    # An id is read whole where its task is looked at; what went wrong is more worth the room.
    return task_id if len(task_id) <= ID else f'{task_id[:ID - 1]}…'


# Of one function, group or worker


def _of_function(spot: Spot, look: Look, now: float) -> list[Line]:
    page = look.function.get((spot.queue, spot.of))
    lines = [] if page is None else [(_task(one, now), one.group or '') for one in page.tasks]
    return [
        Line(line.row, (*line.cells[:3], *line.cells[4:]), (*line.orders[:2], group, line.orders[3]))
        for line, group in lines
    ]


def _of_group(spot: Spot, look: Look, now: float) -> list[Line]:
    page, _ = look.group.get((spot.queue, spot.of), (None, ()))
    return [] if page is None else [_waiting(turn, one, now) for turn, one in enumerate(page.tasks)]


def _waiting(turn: int, one: TaskView, now: float) -> Line:
    cells: Cells = (
        _short(one.id), _age(now, one.ready_since), number(one.attempt), one.function or '-',
        one.broken or one.error_line or '-',
    )  # fmt: skip
    return Line(Row(one.id), cells, (turn, now if one.ready_since is None else one.ready_since))


def _of_worker(spot: Spot, look: Look, now: float) -> list[Line]:
    own = [one for one in look.workers if one.name == spot.of and spot.queue in (one.queue, *one.queues)]
    return [_running(one, now) for worker in own for one in worker.running]


def _running(one: RunningView, now: float) -> Line:
    cells: Cells = (
        _short(one.id), _age(now, one.since), number(one.attempt), one.name or '-', one.group or '-', one.queue,
    )  # fmt: skip
    return Line(Row(one.id, queue=one.queue), cells, (one.since, one.name))


_MADE: dict[str, Callable[[Spot, Look, float], list[Line]]] = {
    'queues': _queues, 'functions': _functions, 'groups': _groups, 'workers': _workers, 'dead': _dead,
    'function': _of_function, 'group': _of_group, 'worker': _of_worker,
}  # fmt: skip


def rows_of(lines: Iterable[Line]) -> list[Row]:
    """What keys have to know of them."""
    return [line.row for line in lines]
