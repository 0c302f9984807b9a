"""The worker of torrelque, of this checkout."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio

from benchmark.adapters.child import Payload, System, noop, serve
from torrelque import Torrelque
from torrelque.worker import Delivery, Worker


async def handler(delivery: Delivery) -> None:
    await noop(delivery.task)


class Working(System):
    async def open(self) -> None:
        self._client = redis.asyncio.from_url(self.setting.url)
        self._queue = Torrelque(self._client, queue='bench')
        if self.setting.lease:
            self._queue.task_timeout = self.setting.lease

    async def close(self) -> None:
        await self._queue.aclose()
        await self._client.aclose()

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        await self._queue.enqueue(payload, delay=delay or None)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        async with Worker(self._queue, handler, concurrency=count):
            yield


if __name__ == '__main__':
    serve(Working)
