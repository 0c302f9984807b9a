"""Releases finished tasks in bulk, where nothing but the release is to be done for each."""

import asyncio
from collections.abc import Callable

from torrelque import Torrelque

from .delivery import Delivery
from .settling import Settling

MOST = 250
"""Tasks that are released in one call of the queue, which is carried out as a whole or not at all."""
MOST_OF_GROUPS = 100
"""The same where some have groups."""


class Releaser:
    """Puts releases together that keep the same of their tasks: those of one turn of the event loop, and those that
    come while a call is on its way."""

    def __init__(
        self, queue: Torrelque, ttl: float | None, settling: Settling, ended: Callable[[Delivery], None]
    ) -> None:
        self._queue = queue
        self._ttl = ttl
        self._settling = settling
        self._ended = ended
        self._waiting: list[Delivery] = []
        self.call: asyncio.Task[None] | None = None
        """What releases, while anything is to be released."""

    def add(self, delivery: Delivery) -> None:
        """Release a task soon."""
        self._waiting.append(delivery)
        if self.call is None:
            # It takes its first step when those that are ready now have taken theirs.
            # It is no task that the handler began, so it is not made by the loop's factory.
            self.call = asyncio.Task(self._release(), loop=asyncio.get_running_loop())

    async def _release(self) -> None:
        try:
            while self._waiting:
                most = MOST_OF_GROUPS if any(each.group is not None for each in self._waiting[:MOST]) else MOST
                some, self._waiting = self._waiting[:most], self._waiting[most:]
                await self._release_some(some)
        finally:
            self.call = None

    async def _release_some(self, deliveries: list[Delivery]) -> None:
        ids = [delivery.id for delivery in deliveries]
        try:
            told = await self._settling.repeat(
                deliveries, lambda: self._queue.release_many(ids, result_ttl=self._ttl)
            )
            self._settling.released(deliveries, told)
        except (Exception, asyncio.CancelledError) as exc:
            self._settling.broke_off(deliveries, exc)
        finally:
            for delivery in deliveries:
                self._ended(delivery)
