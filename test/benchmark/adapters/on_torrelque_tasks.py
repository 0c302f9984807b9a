"""Decorated functions of torrelque, of this checkout, and its worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio

from benchmark.adapters.child import Payload, System, noop, serve
from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.worker import Worker


class Decorated(System):
    async def open(self) -> None:
        self._client = redis.asyncio.from_url(self.setting.url)
        self._queue = Torrelque(self._client, queue='bench')
        if self.setting.lease:
            self._queue.task_timeout = self.setting.lease
        self._app = Tasks(self._queue)
        self._noop = self._app.task(name='noop')(noop)

    async def close(self) -> None:
        await self._app.aclose()
        await self._queue.aclose()
        await self._client.aclose()

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        noop = self._noop.options(delay=delay) if delay else self._noop
        await noop.enqueue(payload)

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        await self._noop.map(payloads)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        async with Worker(self._app, concurrency=count):
            yield


if __name__ == '__main__':
    serve(Decorated)
