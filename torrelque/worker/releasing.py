"""Releases finished tasks in bulk, where nothing but the release is to be done for each."""

import asyncio
import logging
from collections.abc import Callable

from torrelque import Torrelque, TorrelqueConnectionError

from .delivery import Delivery

logger = logging.getLogger(__package__)

Ended = Callable[[Delivery, 'bool | None'], None]
"""Told of each delivery whether the task was ours to release; None is that nobody knows."""


class Releaser:
    """Puts releases of one queue together: those of one turn of the event loop, and those that come while a call is on
    its way."""

    def __init__(self, queue: Torrelque, ended: Ended) -> None:
        self._queue = queue
        self._ended = ended
        self._waiting: list[Delivery] = []
        self._call: asyncio.Task[None] | None = None

    def add(self, delivery: Delivery) -> None:
        """Release a task soon."""
        self._waiting.append(delivery)
        if self._call is None:
            # It takes its first step when those that are ready now have taken theirs.
            self._call = asyncio.get_running_loop().create_task(self._release())

    async def _release(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = self._waiting, []
                await self._release_some(some)
        finally:
            self._call = None

    async def _release_some(self, deliveries: list[Delivery]) -> None:
        told: list[bool | None] = [None] * len(deliveries)
        loop = asyncio.get_running_loop()
        try:
            ids = [delivery.id for delivery in deliveries]
            last = max(delivery._valid for delivery in deliveries)
            while True:
                try:
                    told = [*await self._queue.release_many(ids)]
                    return
                except TorrelqueConnectionError as exc:
                    if loop.time() > last:
                        raise
                    logger.warning('%d tasks are not released yet: %s', len(ids), exc)
        except Exception:
            # Their leases run out, then they are handed out again.
            logger.exception('%d tasks could not be released', len(deliveries))
        finally:
            for delivery, held in zip(deliveries, told, strict=True):
                self._ended(delivery, held)
