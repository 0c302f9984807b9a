"""``torrelque stats``: how much there is, how long it waits, and what is wrong."""

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from torrelque import TorrelqueConnectionError
from torrelque.operate import Overview

from .failure import Exit
from .out import Column, Out, ago, number, share
from .rates import RECENT, Rate, Step, rate_of, steps_of
from .session import Session, answer
from .tables import Cell

COLUMNS = (
    Column('QUEUE', kept=16), Column('PENDING', True), Column('OLDEST', True), Column('READY', True, rank=5),
    Column('WORKING', True, rank=1, short='WORK'), Column('DELAYED', True, rank=6, short='DELAY'),
    Column('WAITING', True, rank=8, short='WAIT'), Column('DEAD', True), Column('WORKERS', True, rank=7),
    Column('BUSY', True, rank=4), Column('DONE/MIN', True, rank=2, short='/MIN'), Column('FAILED', True, rank=3),
)  # fmt: skip
HISTORY = (
    Column('FROM', whole=True), Column('DONE', True), Column('FAILED', True), Column('DEAD', True, rank=3),
    Column('LOST', True, rank=7), Column('RUN P95', True, rank=2), Column('WAITED', True, rank=1),
    Column('PENDING', True), Column('OLDEST', True, rank=4), Column('WORKERS', True, rank=6),
    Column('BUSY', True, rank=5),
)  # fmt: skip
WATCHED = (Column('TIME', whole=True), *(column._replace(least=9, rank=0) for column in COLUMNS))
LONG = 300.0
"""s that the oldest task may wait before it is worth a word."""
LATE = 1.0
"""s that a schedule may be late before that is worth a word."""
QUEUES = 10
"""Queues of which it is told what is wrong, where there are several."""

Doubt = tuple[str, str | None]
"""What is wrong, in words, and the command that tells more of it."""


def stats(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _stats, several=True)


async def _stats(session: Session) -> int:
    if session.found.history is not None:
        return await _history(session)
    if session.found.watch is not None:
        return await _watch(session)
    overviews = await session.operator.overviews()
    if session.out.as_json:
        for one in overviews:
            session.out.json(one)
    else:
        rates = await asyncio.gather(*(read_rate(session, one) for one in overviews))
        session.out.table(*shown(session.out, [*zip(overviews, rates, strict=True)]))
        found = doubts_of(overviews)
        if found:
            session.out.line()
        for one, (words, command) in found:
            session.out.sentence(words, command=again(session, one, command))
    return Exit.ILL if any(one.error or one.away for one in overviews) else Exit.WELL


async def read_rate(session: Session, overview: Overview) -> Rate | None:
    """The present rate of a queue, by what workers have counted."""
    if overview.error is not None or not overview.workers_known:
        return None
    records = await session.operator.history(RECENT + 60, queue=overview.queue)
    return rate_of(records, overview.server_time)


def shown(out: Out, pairs: Sequence[tuple[Overview, Rate | None]]) -> tuple[list[Column], list[list[Cell]]]:
    """The table of some queues; what waits for other tasks has a column where there is any."""
    rows, columns = [row(out, *pair) for pair in pairs], [*COLUMNS]
    if not any(one.waiting for one, _ in pairs):
        place = next(place for place, column in enumerate(columns) if column.title == 'WAITING')
        del columns[place]
        rows = [[*cells[:place], *cells[place + 1 :]] for cells in rows]
    return columns, rows


def row(out: Out, one: Overview, rate: Rate | None) -> list[Cell]:
    """The line of a queue."""
    if one.error is not None:
        return [one.queue, ('cannot be read', 'red'), *['-'] * (len(COLUMNS) - 2)]
    return [
        one.queue + ('  paused' if one.paused else ''), number(one.pending), oldest(one), number(one.ready),
        number(one.working), number(one.delayed), number(one.waiting), (number(one.dead), 'red' if one.dead else ''),
        number(one.workers) if one.workers else '-', f'{one.busy:,}/{one.slots:,}' if one.workers else '-',
        '-' if rate is None else number(rate.done),
        '-' if rate is None else share(rate.totals.failed, rate.totals.failed + rate.totals.succeeded),
    ]  # fmt: skip


def oldest(one: Overview) -> str:
    """For how long the oldest task has waited, at least."""
    age = one.oldest_age
    return '-' if age is None else ago(age) if 'oldest' in one.exact else f'≥ {ago(age)}'


# What is wrong


def doubts_of(overviews: Sequence[Overview]) -> list[tuple[Overview, Doubt]]:
    """What is wrong with a queue; of several, the gravest of each, those that cannot be read first."""
    if len(overviews) == 1:
        return [(overviews[0], doubt) for doubt in doubts(overviews[0])]
    found = []
    for one in sorted(overviews, key=lambda it: it.error is None):
        # That nobody counts is said of one queue only.
        grave = [doubt for doubt in doubts(one) if doubt[1] is not None]
        if grave:
            [(words, more), *others] = grave
            rest = f', and {number(len(others))} more' if others else ''
            found.append((one, (f'{one.queue}: {words}{rest}', 'stats' if others else more)))
    return found[:QUEUES]


def again(session: Session, one: Overview, command: str | None) -> str | None:
    """The command line that tells more of a queue."""
    return None if command is None else session.command(f'torrelque {command}', one.queue)


def doubts(one: Overview) -> Iterator[Doubt]:
    """What is wrong with a queue, or worth a word; the gravest first."""
    if one.error is not None:
        yield f'it cannot be read: {one.error}', 'doctor'
        return
    for shard in one.away:
        yield f'{shard} is away: {shard.why}', 'shards'
    if one.broken:
        yield f'keys hold something else than they should: {", ".join(one.broken)}', 'doctor'
    if one.paused:
        probe = '' if one.probe is None else f', with a probe in {ago(max(0.0, one.probe - one.server_time))}'
        yield f'the queue is paused{probe}', 'resume'
    if one.paused_groups:
        yield f'{plural(one.paused_groups, "group is", "groups are")} paused', 'groups'
    if one.pending and not one.ready and not one.broken:
        pending = 'the task that is' if one.pending == 1 else f'none of the {number(one.pending)} tasks that are'
        can = 'pending cannot' if one.pending == 1 else 'pending can'
        yield f'{pending} {can} be handed out now: groups are paused, at their limits, or wait for their rates', 'why'
    if one.oldest_age is not None and one.oldest_age >= LONG:
        yield f'the oldest task has waited for {ago(one.oldest_age)} or longer', 'why'
    if one.overdue_leases:
        yield (f'{plural(one.overdue_leases, "lease has", "leases have")} ended, and the tasks were not brought back',
               'sweep')  # fmt: skip
    if one.overdue:
        yield f'{plural(one.overdue, "delayed task is", "delayed tasks are")} due, and not pending yet', 'sweep'
    yield from _of_schedules(one)
    if one.stuck:
        yield f'{plural(one.stuck, "worker is", "workers are")} stuck', 'workers --stuck'
    if one.lost:
        yield f'{plural(one.lost, "worker was", "workers were")} lost in the last hour', 'workers --lost'
    if one.dead:
        last = ''
        if one.newest_dead is not None:
            last = f', the newest {ago(max(0.0, one.server_time - one.newest_dead))} ago'
        yield f'{plural(one.dead, "task is", "tasks are")} dead{last}', 'errors'
    if one.paused_schedules:
        yield paused_schedules(one), 'schedules'
    if not one.workers and one.workers_known:
        yield 'no worker of this queue has a heartbeat, so throughput is not known', None


def _of_schedules(one: Overview) -> Iterator[Doubt]:
    if one.late_schedules and one.late_by > LATE:
        late = plural(one.late_schedules, 'schedule is', 'schedules are')
        yield f'{late} late, by up to {ago(one.late_by)}', 'sweep'
    if one.dry_schedules:
        yield f'{plural(one.dry_schedules, "schedule is", "schedules are")} dry', 'schedules'


def paused_schedules(one: Overview) -> str:
    """How many schedules are paused, or at least."""
    sign = '' if 'paused_schedules' in one.exact else '≥ '
    return f'{sign}{plural(one.paused_schedules, "schedule is", "schedules are")} paused'


def plural(count: int, one: str, many: str) -> str:
    """A number and its noun."""
    return f'{number(count)} {one if count == 1 else many}'


# History, and again and again


async def _history(session: Session) -> int:
    """Records of each queue; as a table in so few lines that it can be read."""
    out, length = session.out, session.found.history
    found = False
    for queue in session.queues:
        records = await session.operator.history(length, queue=queue.name)
        found = found or bool(records)
        if out.as_json:
            for record in records:
                out.json(record)
            continue
        steps = steps_of(records, length)
        if session.several:
            out.line(queue.name, 'bold')
        if steps:
            out.table(HISTORY, [history_row(out, step) for step in steps])
            out.tell(f'each line is {ago(steps[0].length)}; pending, oldest, workers and busy are the most in it')
        else:
            out.tell(f'queue {queue.name}: no worker with a heartbeat has written anything in {ago(length)}')
    return Exit.WELL if found else Exit.ILL


def history_row(out: Out, step: Step) -> list[Cell]:
    """A line of a history."""
    totals, sizes = step.totals, step.sizes
    if totals is None:
        return [out.when(step.start)[:16], *['-'] * (len(HISTORY) - 1)]
    return [
        out.when(step.start)[:16], number(totals.succeeded), number(totals.failed), number(totals.dead),
        number(totals.lost), bound(step.p95), ago(step.wait),
        *(['-'] * 4 if sizes is None else
          [number(sizes.pending), ago(sizes.oldest), number(sizes.workers), f'{sizes.busy:,}/{sizes.slots:,}']),
    ]  # fmt: skip


def bound(seconds: float | None) -> str:
    """A time that is known by the bounds of buckets."""
    return '-' if seconds is None else '> 30m' if seconds == float('inf') else ago(seconds)


async def _watch(session: Session) -> int:
    """The same again and again: in place on a terminal, else lines, with the time before each."""
    out = session.out
    if out.as_json:

        def write_json(pairs: Sequence[tuple[Overview, Rate | None]]) -> None:
            for one, _ in pairs:
                out.json(one)

        return await _repeat(session, write_json)
    if not out.terminal:
        first = True

        def write(pairs: Sequence[tuple[Overview, Rate | None]]) -> None:
            nonlocal first
            rows = [[out.when(one.server_time), *row(out, one, rate)] for one, rate in pairs]
            out.table(WATCHED, rows, head=first)
            first = False

        return await _repeat(session, write)
    from rich.live import Live

    from .consent import interruptible

    with Live(console=out.console, auto_refresh=False, transient=False) as live:

        def draw(pairs: Sequence[tuple[Overview, Rate | None]]) -> None:
            found = [(words, again(session, one, more)) for one, (words, more) in doubts_of([one for one, _ in pairs])]
            below = ['', *(words if more is None else f'{words}:  {more}' for words, more in found)] if found else []
            live.update(out.drawing(*shown(out, pairs), below), refresh=True)

        # However it is ended, the cursor is shown again.
        code = await interruptible(_repeat(session, draw))
    return Exit.INTERRUPTED if code is None else code


async def _look(session: Session) -> list[tuple[Overview, Rate | None]]:
    overviews = await session.operator.overviews()
    rates: Sequence[Rate | None] = [None] * len(overviews)
    if not session.out.as_json:
        rates = await asyncio.gather(*(read_rate(session, one) for one in overviews))
    return [*zip(overviews, rates, strict=True)]


async def _repeat(session: Session, write: Callable[[Sequence[tuple[Overview, Rate | None]]], object]) -> int:
    """Until the command is interrupted; at times that do not drift."""
    due = time.monotonic()
    away = False
    while True:
        try:
            write(await _look(session))
            away = False
        except TorrelqueConnectionError as exc:
            # As servers that fail over, this may take a while; it is said once.
            if not away:
                session.out.tell(f'{exc}; it is asked again')
            away = True
        due = max(due + session.found.watch, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
