"""streaq: its worker, on asyncio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import streaq

from benchmark.adapters.child import Payload, System, noop, running, serve


class Streaq(System):
    async def open(self) -> None:
        self._worker = self._new_worker(1)
        self._noop = self._worker.task(noop, silent=True)
        await self._worker.__aenter__()

    def _new_worker(self, concurrency: int) -> streaq.Worker:
        return streaq.Worker(
            self.setting.url,
            concurrency=concurrency,
            handle_signals=False,
            idle_timeout=self.setting.lease or 60,
        )

    async def close(self) -> None:
        await self._worker.__aexit__(None, None, None)

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        task = self._noop.enqueue(payload)
        await (task.start(delay=timedelta(seconds=delay)) if delay else task)

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        await self._worker.enqueue_many([self._noop.enqueue(payload) for payload in payloads])

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        worker = self._new_worker(count)
        worker.task(noop, silent=True)
        async with running(worker.run_async()):
            await asyncio.sleep(0)
            yield


if __name__ == '__main__':
    serve(Streaq)
