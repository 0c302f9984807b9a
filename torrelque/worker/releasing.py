"""Releases finished tasks in bulk, where nothing but the release is to be done for each."""

import asyncio
from collections.abc import Callable, Sequence

from torrelque import TorrelqueQueue

from .bounds import Bounds
from .held import Held
from .telling import Telling


class Releaser:
    """Puts releases together that keep the same of their tasks: those of one turn of the event loop, and those that
    come while a call is on its way.

    :param released: called with tasks and, for each, whether it was still ours.
    :param ended: called with each task at the end, released or not.
    """

    def __init__(
        self,
        queue: TorrelqueQueue,
        ttl: float | None,
        telling: Telling,
        bounds: Bounds,
        released: Callable[[Sequence[Held], Sequence[bool]], None],
        ended: Callable[[Held], None],
    ) -> None:
        self._queue = queue
        self._ttl = ttl
        self._telling = telling
        self._bounds = bounds
        self._released = released
        self._ended = ended
        self._waiting: list[Held] = []
        self.call: asyncio.Task[None] | None = None
        """The asyncio task that releases, while anything is to be released."""

    @property
    def calls(self) -> list[asyncio.Task[None]]:
        """What releases now."""
        return [] if self.call is None else [self.call]

    def add(self, held: Held) -> None:
        """Release a task soon."""
        self._waiting.append(held)
        if self.call is None:
            # The task starts after all handlers that are ready in this turn of the loop, so their releases join this
            # call.  It is not made by the loop's factory, because that is for the tasks that handlers begin.
            self.call = asyncio.Task(self._release(), loop=asyncio.get_running_loop())

    async def _release(self) -> None:
        try:
            while self._waiting:
                most = self._bounds.release
                if any(each.delivery.group is not None for each in self._waiting[:most]):
                    most = self._bounds.grouped_release
                some, self._waiting = self._waiting[:most], self._waiting[most:]
                await self._release_some(some)
        finally:
            self.call = None

    async def _release_some(self, held: list[Held]) -> None:
        ids = [each.delivery.id for each in held]
        try:
            ours = await self._telling.repeat(held, lambda: self._queue.release_many(ids, result_ttl=self._ttl))
            self._released(held, ours)
        except (Exception, asyncio.CancelledError) as exc:
            self._telling.broke_off(held, exc)
        finally:
            for each in held:
                if each.tells is not None:
                    each.tell()
                self._ended(each)


class SpreadReleaser:
    """The releasers of a queue with shards, one for each, so that no shard waits for the server of another.

    :param make: makes a releaser of the queue.
    """

    def __init__(self, queue: TorrelqueQueue, make: Callable[[], Releaser]) -> None:
        self._queue = queue
        self._make = make
        self._each: dict[TorrelqueQueue, Releaser] = {}

    @property
    def calls(self) -> list[asyncio.Task[None]]:
        """What releases now."""
        return [call for releaser in self._each.values() for call in releaser.calls]

    def add(self, held: Held) -> None:
        """Release a task soon."""
        shard = self._queue.shard_of(held.delivery.id)
        releaser = self._each.get(shard)
        if releaser is None:
            releaser = self._each[shard] = self._make()
        releaser.add(held)
