"""arq: its worker, which polls every half second when there is nothing to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import arq
from arq.connections import RedisSettings

from benchmark.adapters.child import Payload, System, noop, running, serve


async def job(context: Any, payload: Payload) -> None:
    await noop(payload)


class Arq(System):
    async def open(self) -> None:
        self._settings = RedisSettings.from_dsn(self.setting.url)
        self._pool = await arq.create_pool(self._settings)

    async def close(self) -> None:
        await self._pool.aclose()

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        await self._pool.enqueue_job('job', payload, _defer_by=delay or None)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        worker = arq.Worker(
            [job],
            redis_settings=self._settings,
            max_jobs=count,
            handle_signals=False,
            job_timeout=self.setting.lease or 300,
        )
        try:
            async with running(worker.async_run()):
                yield
        finally:
            with suppress(asyncio.CancelledError):
                await worker.close()


if __name__ == '__main__':
    serve(Arq)
