"""Who has which task in hand, as far as hearts tell, and which tasks are orphaned: the one place that says so."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torrelque import TorrelqueQueue

from . import crew
from .values import RunningView, WorkerView

NAMED = 100
"""Tasks in hand that a heart names at the most."""
GRACE = 1.0
"""s by which an instant may be later than the last beat of a worker, and count as before it."""
LASTING = 5.0
"""For how long (s) all that hearts have told is taken for true."""
SOME = 50
"""Up to so many tasks, only those workers are asked that have one of them."""


@dataclass(frozen=True)
class Crew:
    """The workers of a queue that have a heartbeat, as they were seen at one moment."""

    queue: str
    workers: tuple[WorkerView, ...] = ()
    told: frozenset[str] = frozenset()
    """Names of those of which it was read what they know and have in hand."""

    @property
    def live(self) -> tuple[WorkerView, ...]:
        """Those that live; one that stops is among them."""
        return tuple(worker for worker in self.workers if worker.state != 'lost')

    @property
    def lost(self) -> tuple[WorkerView, ...]:
        """Those that went without saying goodbye."""
        return tuple(worker for worker in self.workers if worker.state == 'lost')

    def running(self) -> Iterable[tuple[WorkerView, RunningView]]:
        """What they have in hand of this queue, the living first."""
        for worker in (*self.live, *self.lost):
            for task in worker.running:
                if task.queue == self.queue:
                    yield worker, task

    @cached_property
    def _by_task(self) -> dict[str, tuple[WorkerView, RunningView]]:
        # Of a task that several name, the first: the living come first, and of those that were lost the last one.
        found: dict[str, tuple[WorkerView, RunningView]] = {}
        for worker, task in self.running():
            known = found.get(task.id)
            if known is None or known[0].state == 'lost' and worker.seen > known[0].seen:
                found[task.id] = worker, task
        return found

    def holder(self, task_id: str, claimed: float | None) -> WorkerView | None:
        """The worker that has a task in hand, or had it when it was lost.

        :param claimed: when the task was handed out last (s): a worker that was lost before has it no more.
        """
        worker, _ = self._by_task.get(task_id, (None, None))
        if worker is not None and worker.state == 'lost' and (claimed or 0) > worker.seen + GRACE:
            return None
        return worker

    def function(self, task_id: str) -> str | None:
        """The name of a task's function, where a worker tells it."""
        _, task = self._by_task.get(task_id, (None, None))
        return task.name or None if task is not None else None

    def is_orphaned(
        self, task_id: str, claimed: float | None, renewed: float | None, lease: float | None, now: float
    ) -> bool:
        """Whether a task that is worked on is with nobody, as far as is known.

        So it is where no worker that lives names it, and the worker that had it was lost and its lease was not renewed
        since; or where its lease was not renewed for half of its length, since whoever works renews it at a third.  A
        worker that cannot beat, because the server has no memory left, renews its leases all the same.

        :param renewed: when its lease was renewed last, or began.
        :param lease: how long that is.
        """
        if renewed is None or lease is None:
            return False
        worker = self.holder(task_id, claimed)
        if worker is not None and worker.state != 'lost':
            return False
        if worker is not None and renewed <= worker.seen + GRACE:
            return True
        # One that has more in hand than it can name may have this task as well.
        return now - renewed > lease / 2 and all(worker.busy <= NAMED for worker in self.live)


class Watch:
    """What hearts tell, kept for a while, because a walk asks again and again.

    :param silent: ask no heart: nobody is told to have anything.
    """

    def __init__(self, queue: TorrelqueQueue, *, silent: bool = False) -> None:
        self._queue = queue
        self._silent = silent
        self._read: float | None = None
        self.crew = Crew(queue.name)
        """What they have told last."""

    async def read(self, ids: Sequence[str]) -> None:
        """Ask hearts who has these tasks, where they were not asked just now."""
        if self._silent or self._read is not None and time.monotonic() < self._read + LASTING:
            return
        if len(ids) <= SOME:
            self.crew = await find_crew(self._queue, ids)
        else:
            self.crew = Crew(self._queue.name, tuple(await crew.read_workers(self._queue)))
            self._read = time.monotonic()


async def find_crew(queue: TorrelqueQueue, texts: Iterable[str], most: int = crew.ALL) -> Crew:
    """The workers of a queue, as `crew.find_workers` finds them."""
    workers, told = await crew.find_workers(queue, texts, most)
    return Crew(queue.name, tuple(workers), told)
