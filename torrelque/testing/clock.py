"""The moved clock: a test does not wait for half an hour because a task was delayed by half an hour.

No clock is moved, but what a queue has stored: everything that waits for a time comes nearer to it, by one script for
each queue.  So the time has passed for everybody who uses the queue, in whatever process, and nobody has to be made to
believe in another time.
"""

import functools
import importlib.resources
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torrelque import Duration, TorrelqueTypeError
from torrelque.protocol.check import check_seconds

FURTHEST = 1e9
"""s that a clock is moved at the most in one go: some thirty years."""


class HasKeys(Protocol):
    """A queue object, asynchronous or not, as far as a clock needs it."""

    @property
    def keys(self) -> dict[str, str]:
        """Full names of the keys of the queue."""
        ...

    @property
    def client(self) -> Any:
        """The client of its server."""
        ...


class Due(NamedTuple):
    """When something of a queue is due by itself."""

    wait: float | None
    """How long until then (s), 0 or less if it is due; None where nothing waits for a time."""
    instant: int | None
    """The time (ms) that it waits for."""
    task: int | None
    """The same, where schedules are not counted."""
    task_wait: float | None
    """How long until then (s)."""


@functools.cache
def _script() -> str:
    return (importlib.resources.files('torrelque.testing') / 'script' / 'move.lua').read_text('utf-8')


def _distance(move: Duration) -> float:
    return check_seconds(move, 'the move of a clock', most=FURTHEST)


def _words(queue: HasKeys, seconds: float) -> tuple[str, int, bytes, bytes, str]:
    # The client is the caller's, and may encode text otherwise; so the keys are sent as bytes.
    pending, never = queue.keys['pending'].encode(), queue.keys['never'].encode()
    # Milliseconds are rounded up, so that what is due within the seconds is due after the move.
    return _script(), 2, pending, never, str(math.ceil(round(1000 * seconds, 6)))


def _due(reply: Sequence[int | None]) -> Due:
    now, instant, task = reply
    return Due(_wait(now, instant), instant, task, _wait(now, task))


def _wait(now: int | None, instant: int | None) -> float | None:
    return None if now is None or instant is None else (instant - now) / 1000


def _first(dues: Sequence[Due]) -> float | None:
    return min((due.wait for due in dues if due.wait is not None), default=None)


class _Moved:
    def __init__(self, *queues: Any) -> None:
        if not queues or not all(hasattr(queue, 'client') and hasattr(type(queue), 'dequeue') for queue in queues):
            raise TorrelqueTypeError('a clock is made with the queues that it is for: Clock(queue)')
        self.queues = list(queues)
        self.moved = 0.0

    queues: list[Any]
    """The queues that the clock moves; others may be appended."""
    moved: float
    """How far the clock was moved (s), all moves together."""

    def _each(self) -> list[HasKeys]:
        """The queues, or the shards of which they are, each once, because there may be several objects of one queue."""
        every = (shard for queue in self.queues for shard in getattr(queue, 'shards', (queue,)))
        return list({shard.keys['pending']: shard for shard in every}.values())


class Clock(_Moved):
    """The clock of queues, to be moved forward.

    When it was moved by an hour, delays, leases, waits for a token or a probe, buckets, kept states and the instants of
    schedules are where they would be an hour later, for all processes.  Consumers that wait notice at once.  As after a
    real hour in which all processes stood still, a task that somebody works on has lost its lease if that was shorter.
    Without a consumer, what is due is still where it was, until `Torrelque.dequeue` or `Torrelque.sweep` brings it
    back.

    Schedules fire as after an hour in which nobody was there: one that has missed several instants by its ``missed``.
    What is stored of them is an hour less, such as `Torrelque.get_schedule` has it; ids and ``current().scheduled`` of
    what they fire have the instants as they would be, and so do calendars and multiples of a period.

    Instants in the states of tasks stay as they are, because they tell what happened by the server's clock, which is
    not moved.  So are the hearts of workers, which live on; what they have counted is kept for as long as it would be.
    Nor are times moved that a process keeps, such as the ``timeout`` of `Torrelque.dequeue` and
    `Torrelque.watch`, or the interval of `Torrelque.schedule_sweep`.

    A clock is for tests only: a move is one script a queue, which looks at each key of the database and at each task
    that is delayed or worked on.  It goes over the client that the queue was made with.
    """

    async def move(self, seconds: Duration) -> None:
        """Move the clock forward by so many seconds, or by a ``datetime.timedelta``.  Of a move that fails, or is
        cancelled, each queue by itself was moved or not.
        """
        seconds = _distance(seconds)
        await self._move(seconds)
        self.moved += seconds

    async def get_wait(self) -> float | None:
        """How long (s) until something is due by itself; 0 or less if something is, None if nothing waits for a
        time."""
        return _first(await self.look())

    async def move_to_next(self) -> float | None:
        """Move the clock to the next time for which something waits; by how much (s), None if nothing waits for a time.
        """
        wait = await self.get_wait()
        if wait is None:
            return None
        wait = max(0.0, wait)
        await self.move(wait)
        return wait

    async def look(self) -> list[Due]:
        """For each queue, when something is due."""
        return await self._move(0)

    async def _move(self, seconds: float) -> list[Due]:
        for queue in self.queues:
            await queue.ready()
        return [_due(await queue.client.eval(*_words(queue, seconds))) for queue in self._each()]


class SyncClock(_Moved):
    """`Clock` for queues of ``torrelque.sync``."""

    def move(self, seconds: Duration) -> None:
        """As `Clock.move`."""
        seconds = _distance(seconds)
        self._move(seconds)
        self.moved += seconds

    def get_wait(self) -> float | None:
        """As `Clock.get_wait`."""
        return _first(self._move(0))

    def move_to_next(self) -> float | None:
        """As `Clock.move_to_next`."""
        wait = self.get_wait()
        if wait is None:
            return None
        wait = max(0.0, wait)
        self.move(wait)
        return wait

    def _move(self, seconds: float) -> list[Due]:
        return [_due(queue.client.eval(*_words(queue, seconds))) for queue in self._each()]
