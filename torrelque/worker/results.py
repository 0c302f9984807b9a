"""Releases tasks with their results, and finds the result that no connection survives.

A server may close the connection, without a word, at a request that it finds too large.  The call is then repeated as
after any lost connection, and whatever else is on its way is lost with it.  So each release that was lost is made again
alone, one of a queue at a time.  A release that is lost alone, while the server answers other calls, is given up.
"""

import asyncio
from typing import Any

from torrelque import TorrelqueConnectionError, TorrelqueError, TorrelqueQueue

from .bounds import Bounds
from .delivery import Delivery


class Results:
    """Releases the tasks of one queue that have a result."""

    def __init__(self, queue: TorrelqueQueue, bounds: Bounds) -> None:
        self._queue = queue
        self._bounds = bounds
        self._alone = asyncio.Lock()
        self._suspects = 0
        """How many releases are being made again alone, or wait for that: they were lost, or came while others were."""

    async def release(self, delivery: Delivery, result: Any, ttl: float | None) -> bool:
        """As `Torrelque.release`.

        :raises TorrelqueError: the server takes no such result.
        :raises TorrelqueConnectionError: the server is away.
        """
        if not self._suspects:
            try:
                return await self._queue.release(delivery.id, result=result, result_ttl=ttl)
            except TorrelqueConnectionError:
                pass
        self._suspects += 1
        try:
            async with self._alone:
                return await self._release_alone(delivery, result, ttl)
        finally:
            self._suspects -= 1

    async def _release_alone(self, delivery: Delivery, result: Any, ttl: float | None) -> bool:
        losses = 0
        while True:
            try:
                return await self._queue.release(delivery.id, result=result, result_ttl=ttl)
            except TorrelqueConnectionError as exc:
                # A server that is away is no fault of the result: then this raises, and the loss is not counted.
                await self._queue.shard_of(delivery.id).command('PING')
                losses += 1
                if losses == self._bounds.result_losses:
                    raise TorrelqueError(f'the server takes no such result: {exc}') from exc


class SpreadResults:
    """Releases the tasks of a queue with shards that have a result; those of each shard by themselves."""

    def __init__(self, queue: TorrelqueQueue, bounds: Bounds) -> None:
        self._queue = queue
        self._bounds = bounds
        self._each: dict[TorrelqueQueue, Results] = {}

    async def release(self, delivery: Delivery, result: Any, ttl: float | None) -> bool:
        """As `Results.release`."""
        shard = self._queue.shard_of(delivery.id)
        results = self._each.get(shard)
        if results is None:
            results = self._each[shard] = Results(self._queue, self._bounds)
        return await results.release(delivery, result, ttl)
