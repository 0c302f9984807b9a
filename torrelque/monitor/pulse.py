"""What a process tells of its worker and of its event loop: looked at from inside, once a second, without a server.

Other layers may import the names in `__all__`.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torrelque.worker import Worker
from torrelque.worker.heart import pack_health

__all__ = ['Pulse', 'State']

LOOK = 1.0
"""s from one look at the event loop to the next."""
MEMORY = 60.0
"""s for which a stall of the event loop is remembered."""
LONGEST = 200
"""Characters of the name of a function, as it is told."""


@dataclass(frozen=True)
class State:
    """How a process with a worker is, by its own account."""

    health: Mapping[str, Any]
    """The fields of `torrelque.worker.WorkerHealth`, and whether it is ``healthy``."""
    begun: bool
    """Whether the worker has ever been about to take tasks: apps have prepared, their lifespans are entered."""
    stall: float
    """For how long (s) the event loop stood still at the most, in the last minute."""
    idle: float | None
    """How long (s) ago a claim was answered, or all places were in use, or the worker waited for its own ``rate``; None
    where nothing of that was ever the case."""
    attempts: Mapping[str, tuple[int, ...]]
    """By function, how many attempts succeeded, failed, were dead, were lost."""

    def pack(self) -> dict[str, Any]:
        """The same, as JSON has it."""
        return asdict(self)

    @classmethod
    def unpack(cls, fields: Mapping[str, Any]) -> 'State':
        """What `pack` has made."""
        return cls(**fields)


class Pulse:
    """Looks at a worker and at the event loop that it runs in, until it is stopped.

    It is made in that loop, before the worker claims anything.
    """

    def __init__(self, worker: Worker) -> None:
        # Legend.  _due: when the next look is due.  _stalls: how late (s) looks were, with their times.  _free: when
        # the worker last had a reason to claim nothing.  _begun: as in `State`.
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._stalls: deque[tuple[float, float]] = deque()
        self._free: float | None = None
        self._begun = worker.health().state == 'running'
        worker.observe()
        own = worker.on_ready

        def begin() -> None:
            self._begun = True
            if own is not None:
                own()

        worker.on_ready = begin
        self._due = self._loop.time() + LOOK
        self._timer = self._loop.call_at(self._due, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def state(self) -> State:
        """How all is now; in the event loop."""
        health, now = self._worker.health(), self._loop.time()
        if health.throttled or health.busy >= health.concurrency:
            self._free = now
        claimed = None if health.claimed is None else now - health.claimed
        last = [since for since in (claimed, self._free) if since is not None]
        recent = [late for since, late in self._stalls if since > now - MEMORY]
        attempts = {name[:LONGEST]: counts for name, counts in self._worker.attempts().items()}
        return State(
            {**json.loads(pack_health(health)), 'healthy': health.healthy}, self._begun,
            max([*recent, now - self._due, 0.0]), now - max(last) if last else None, attempts,
        )  # fmt: skip

    def _look(self) -> None:
        now = self._loop.time()
        self._stalls.append((now, now - self._due))
        while self._stalls[0][0] < now - MEMORY:
            self._stalls.popleft()
        health = self._worker.health()
        if health.throttled or health.busy >= health.concurrency:
            self._free = now
        self._due = now + LOOK
        self._timer = self._loop.call_at(self._due, self._look)
