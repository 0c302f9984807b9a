"""The published torrelque 0.9.0: bulk enqueue and bulk release by a pipeline of the client, as its manual shows."""

import redis.asyncio

import torrelque
from benchmark.adapters.child import Looped, Payload, chunks, handle, serve

CHUNK = 1000


class Published(Looped):
    async def open(self) -> None:
        self._client = redis.asyncio.from_url(self.setting.roomy)
        self._queue = torrelque.Torrelque(self._client, queue='bench')
        if self.setting.lease:
            self._queue.task_timeout = self.setting.lease
        if self.setting.lease or self.setting.delays:
            # Its delayed tasks and its dead consumers' tasks wait for the sweep, by default every 30 s.
            self._queue.schedule_sweep(1)

    async def close(self) -> None:
        if self.setting.lease or self.setting.delays:
            self._queue.unschedule_sweep()
        await self._client.aclose()

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        for chunk in chunks(payloads, CHUNK):
            async with self._client.pipeline(transaction=True) as pipeline:
                for payload in chunk:
                    await self._queue.enqueue(payload, pipeline=pipeline)
                await pipeline.execute()

    async def drain_bulk(self, count: int, bulk: int) -> None:
        while count > 0:
            some = await self._queue.dequeue(max_tasks=bulk)
            async with self._client.pipeline(transaction=True) as pipeline:
                for task_id, payload in some:
                    handle(payload)
                    await self._queue.release(task_id, pipeline=pipeline)
                await pipeline.execute()
            count -= len(some)


if __name__ == '__main__':
    serve(Published)
