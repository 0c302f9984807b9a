"""``torrelque workers``: which live, are stuck or were lost, and what they have in hand."""

import argparse
from collections.abc import Sequence

from torrelque.operate import WorkerView

from .failure import Exit
from .listing import Shown, lay
from .out import Column, ago, number, share, size
from .session import Session, answer


def workers(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _workers, several=True)


async def _workers(session: Session) -> int:
    found, out = session.found, session.out
    states = [state for state in ('lost', 'stuck') if getattr(found, state)]
    rows = [view for view in await session.operator.workers() if not states or view.state in states]
    if out.as_json:
        for one in rows:
            out.json(one)
    elif rows:
        now = max(one.server_time for one in await session.operator.overviews())
        _write(session, rows, now or max(view.seen for view in rows))
    else:
        out.tell(f'no worker is {" or ".join(states)}' if states else
                 'no worker has a heartbeat; loops of your own, and workers without one, are not seen')  # fmt: skip
    return Exit.WELL if rows else Exit.ILL


def _write(session: Session, rows: Sequence[WorkerView], now: float) -> None:
    out = session.out
    alive = [view for view in rows if view.state != 'lost']
    if alive:
        out.table(*lay(alive, out, [it for it in WORKERS if session.several or it[0].title != 'QUEUE']))
    lost = [view for view in rows if view.state == 'lost']
    if alive and lost:
        out.line()
    for view in lost:
        out.sentence(sentence(view, now, session.several), style='red')


def sentence(view: WorkerView, now: float, several: bool = False) -> str:
    """What is told of a worker that was lost.

    :param several: whether there are several queues, so that it is told whose key tells of it.
    """
    of = f' of queue {view.queue}' if several else ''
    tasks = 'nothing in hand' if not view.busy else f'{view.busy:,} {"task" if view.busy == 1 else "tasks"} in hand'
    silent = view.why or f'silent for {ago(max(0.0, now - view.seen))}'
    words = f'{view.name}{of}  lost: {silent}; it had {tasks} when it was heard last'
    if view.pid:
        words += f', and was killed, or its event loop is blocked: see pid {view.pid} on host {view.host}'
    return words


def longest_of(view: WorkerView) -> str:
    """What it has had in hand for the longest."""
    if not view.running:
        return ''
    first = view.running[0]
    return f'{first.name or first.id} {ago(max(0.0, view.seen - first.since))}'


WORKERS: tuple[tuple[Column, Shown], ...] = (
    (Column('WORKER', kept=16), lambda view, _: view.name),
    (Column('QUEUE', rank=1), lambda view, _: view.queue),
    (Column('STATE'), lambda view, _: (view.state, 'red' if view.state == 'stuck' else '')),
    (Column('UP', True, rank=5), lambda view, _: '-' if view.started is None else ago(view.seen - view.started)),
    (Column('BUSY', True), lambda view, _: f'{view.busy:,}/{view.concurrency:,}'),
    (Column('CLAIMED', True, rank=2), lambda view, _: ago(view.claimed)),
    (Column('LAG', True, rank=3), lambda view, _: ago(view.lag)),
    (Column('MEMORY', True, rank=6), lambda view, _: size(view.rss)),
    (Column('DONE', True, rank=7), lambda view, _: number(view.succeeded)),
    (Column('FAILED', True, rank=8), lambda view, _: share(view.failed, view.failed + view.succeeded)),
    (Column('LONGEST', rank=4), lambda view, _: longest_of(view)),
    (Column('', rank=1), lambda view, _: view.why or ''),
)
