"""What a scrape reads of queues: each by few calls, and all of them at once, however many ask within a second."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import redis.exceptions

from torrelque import TorrelqueError, TorrelqueQueue, TorrelqueServerError
from torrelque.operate import Counts, FunctionCounts, GroupView, Operator, Overview, read_alerts
from torrelque.operate.parts import AwayError

from .labels import functions_of

logger = logging.getLogger('torrelque.monitor')

T = TypeVar('T')

FRESH = 1.0
"""For how long (s) an answer is shared."""
LOOKED = 300.0
"""s after the last look at an alert, after which it is not known any more."""


class Seen(NamedTuple):
    """What was read of a queue."""

    queue: str
    overview: Overview | None
    """None where it could not be read."""
    counts: Counts | None = None
    functions: Sequence[FunctionCounts] = ()
    """What was counted by function, with labels for names."""
    groups: Sequence[GroupView] = ()
    alerts: Sequence[tuple[str, bool]] = ()
    """Names of rules, and whether they fire."""


class Snapshot(NamedTuple):
    """What was read of all queues."""

    queues: Sequence[Seen]
    took: float
    """How long (s) that took."""


class Shared(Generic[T]):
    """An answer that all who ask within a second have in common."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        # Legend.  _read: reads it anew.  _reading: the last time that it was read, or is.  _at: when that was done.
        self._read = read
        self._reading: asyncio.Task[T] | None = None
        self._at = 0.0

    async def get(self) -> T:
        """The answer.  Whoever is cancelled does not keep others from it."""
        reading = self._reading
        if reading is None or reading.done() and (_failed(reading) or time.monotonic() - self._at >= FRESH):
            reading = self._reading = asyncio.ensure_future(self._begin())
        return await asyncio.shield(reading)

    async def _begin(self) -> T:
        try:
            return await self._read()
        finally:
            self._at = time.monotonic()

    async def aclose(self) -> None:
        """End what is being read."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
            _failed(reading)


async def _or(answer: Awaitable[T], default: T) -> T:
    """An answer of the first shard of a queue, or what is told without it, where others answer."""
    try:
        return await answer
    except AwayError:
        return default


def _failed(task: 'asyncio.Task[Any]') -> bool:
    return task.cancelled() or task.exception() is not None


class Reader:
    """Reads some queues, in the event loop that their objects are used in.

    :param groups: names of groups that are told of.
    :param patience: s after which a queue whose server does not answer counts as away.
    """

    def __init__(self, queues: Sequence[TorrelqueQueue], groups: Sequence[str], patience: float) -> None:
        self.queues = queues
        self.loop = asyncio.get_running_loop()
        """The event loop that it belongs to."""
        self.snapshot = Shared(self._read)
        self._groups = groups
        self._patience = patience
        self._silent: set[str] = set()

    async def aclose(self) -> None:
        """End what is being read."""
        await self.snapshot.aclose()

    async def _read(self) -> Snapshot:
        began = time.perf_counter()
        seen = await asyncio.gather(*map(self._look, self.queues))
        return Snapshot(seen, time.perf_counter() - began)

    async def _look(self, queue: TorrelqueQueue) -> Seen:
        """A queue, or that it could not be read."""
        try:
            seen = await asyncio.wait_for(self._ask(queue), self._patience)
        except Exception as exc:
            self._tell(queue.name, exc)
            return Seen(queue.name, None)
        self._silent.discard(queue.name)
        return seen

    async def _ask(self, queue: TorrelqueQueue) -> Seen:
        operator = Operator(queue)
        # All but the hearts and the schedules goes to the server at once.
        overview, counted, groups, alerts = await asyncio.gather(
            operator.overview(), _or(operator.counts(), []), operator.groups_of(self._groups),
            _or(read_alerts(queue), []),
        )  # fmt: skip
        counts = next(iter(counted), None)
        if overview.error is not None:
            raise TorrelqueServerError(overview.error)
        known = tuple((one.rule, one.firing) for one in alerts if overview.server_time - one.seen < LOOKED)
        functions = () if counts is None else functions_of(counts)
        return Seen(queue.name, overview, counts, functions, groups, known)

    def _tell(self, name: str, error: Exception) -> None:
        """Log once why a queue cannot be read, until it can."""
        known = isinstance(error, (TorrelqueError, redis.exceptions.RedisError, asyncio.TimeoutError, OSError))
        if name not in self._silent:
            self._silent.add(name)
            why = str(error).removeprefix(f'queue {name!r}: ') or f'no answer in {self._patience:g} s'
            logger.warning('queue %r: it could not be read for metrics: %s', name, why, exc_info=not known)
