"""bullmq, of Python: its worker; finished jobs are removed, as Torrelque does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import bullmq

from benchmark.adapters.child import Payload, System, chunks, noop, serve

CHUNK = 1000
OPTIONS = {'removeOnComplete': True}


async def process(job: Any, token: str) -> None:
    await noop(job.data)


class Bullmq(System):
    async def open(self) -> None:
        self._queue = bullmq.Queue('bench', {'connection': self.setting.roomy})

    async def close(self) -> None:
        await self._queue.close()

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        options = {**OPTIONS, 'delay': int(delay * 1000)} if delay else OPTIONS
        await self._queue.add('noop', payload, options)

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        for chunk in chunks(payloads, CHUNK):
            await self._queue.addBulk([{'name': 'noop', 'data': payload, 'opts': OPTIONS} for payload in chunk])

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        options: dict[str, Any] = {'connection': self.setting.roomy, 'concurrency': count}
        if self.setting.lease:
            lease = int(self.setting.lease * 1000)
            options |= {'lockDuration': lease, 'stalledInterval': lease, 'maxStalledCount': 3}
        worker = bullmq.Worker('bench', process, options)
        try:
            yield
        finally:
            await worker.close(force=True)


if __name__ == '__main__':
    serve(Bullmq)
