"""Reasons that lie in the workers, as far as hearts tell: nobody is there, knows the function, or has a place free."""

from . import crew as hearts
from .hearts import Crew, find_crew
from .looking import Seen
from .reasons import UNSEEN
from .values import Holder, Reason, WorkerView
from .viewing import function_of, load

KNOWN = 100
"""Names of functions that a heart tells at the most."""
LONGEST = 3
"""Tasks in hand that are told of, the longest."""


async def of_workers(seen: Seen, crew: Crew) -> list[Reason]:
    """Why nobody takes what could be taken."""
    serving = _serving(crew)
    if not serving:
        return [_nobody(seen, crew)]
    reasons = await of_unknown_function(seen, crew)
    busy = [worker for worker in serving if worker.state != 'stuck' and _taken(worker) >= worker.concurrency]
    stuck = [worker for worker in serving if worker.state == 'stuck']
    if len(busy) + len(stuck) == len(serving):
        reasons += ([await _busy(seen, busy)] if busy else []) + ([_stuck(stuck)] if stuck else [])
    return reasons


async def of_unknown_function(seen: Seen, crew: Crew) -> list[Reason]:
    """That workers live, and none of them knows the function of the task."""
    serving = _serving(crew)
    function = function_of(load(seen.queue, seen.raw.get('payload'))) if serving else None
    if function is None or await _is_known(seen, crew, function):
        return []
    text = f'no worker that lives knows its function, {function} ({UNSEEN})'
    return [Reason('not-known', text, count=len(serving), workers=tuple(worker.name for worker in serving))]


def _serving(crew: Crew) -> list[WorkerView]:
    return [worker for worker in crew.live if worker.state != 'stopping']


async def _is_known(seen: Seen, crew: Crew, function: str) -> bool:
    """Whether a worker that takes tasks may know a function: one that was asked for it, or one of all."""
    workers = [worker for worker in crew.live if worker.name in crew.told]
    if any(_may_know(worker, function) for worker in workers if worker.state != 'stopping'):
        return True
    workers = await hearts.read_workers(seen.queue)
    return any(_may_know(worker, function) for worker in workers if worker.state not in ('lost', 'stopping'))


def _may_know(worker: WorkerView, function: str) -> bool:
    # The heart of an earlier version does not tell that it has left names out, but has as many as it may.
    cut = worker.functions_cut or len(worker.functions) >= KNOWN
    return cut or not worker.functions or function in worker.functions


def _taken(worker: WorkerView) -> int:
    return worker.busy + worker.hanging


def _nobody(seen: Seen, crew: Crew) -> Reason:
    if crew.live:
        text, names = 'all workers that live are stopping', tuple(worker.name for worker in crew.live)
    else:
        text, names = 'no worker lives that has a heartbeat', tuple(worker.name for worker in crew.lost)
        if names:
            text += f'; {len(names)} {"was" if len(names) == 1 else "were"} lost'
    # Whoever waits takes the ring from the bell at once.
    text += ', and no other consumer waits for tasks' if seen.raw['rung'] else f' ({UNSEEN})'
    since = max((worker.seen for worker in crew.lost), default=None)
    return Reason('no-worker', text, since=since, count=len(crew.live), workers=names)


async def _busy(seen: Seen, busy: list[WorkerView]) -> Reason:
    slots, taken = sum(worker.concurrency for worker in busy), sum(map(_taken, busy))
    names = {worker.name for worker in busy}
    # Of all of them it is read since when their longest task runs, and then of those few what that is.
    since = await hearts.longest(seen.queue)
    longest = sorted(names & since.keys(), key=lambda name: since[name])[:LONGEST]
    crew = await find_crew(seen.queue, longest) if longest else Crew(seen.queue.name)
    running = [(task.since, worker.name, task) for worker, task in crew.running() if worker.name in names]
    holders = tuple(
        Holder(task.id, 'working', task.name or None, name, since, None, None, None)
        for since, name, task in sorted(running, key=lambda one: one[:2])[:LONGEST]
    )
    text = f'all workers are busy: {min(taken, slots)} of {slots} tasks that they can have in hand'
    return Reason(
        'all-busy', text, count=min(taken, slots), limit=float(slots), holders=holders, workers=tuple(sorted(names))
    )


def _stuck(stuck: list[WorkerView]) -> Reason:
    text = 'workers live and take nothing'
    why = sorted({worker.why for worker in stuck if worker.why})
    text += f': {"; ".join(why)}' if why else ''
    return Reason('stuck', text, count=len(stuck), workers=tuple(worker.name for worker in stuck))
