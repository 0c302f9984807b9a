"""kew: its manager works on tasks in the producer's process, as soon as there is a queue.

So that a queue can be filled first, all of its worker slots are taken by tasks that wait at a gate; the gate opens when
consumers are wanted.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kew

from benchmark.adapters.child import Payload, System, chunks, noop, serve

CHUNK = 1000
QUEUE = 'bench'

gate = asyncio.Event()


async def wait_at_gate() -> None:
    await gate.wait()


class Kew(System):
    async def open(self) -> None:
        gate.clear()
        self._numbers = itertools.count()
        # After a crash the tasks of before are wanted.
        self._manager = kew.TaskQueueManager(self.setting.roomy, cleanup_on_start=self.setting.lease is None)
        await self._manager.initialize()
        slots = self.setting.consumers
        timeout = int(self.setting.lease or 3600)
        config = kew.QueueConfig(name=QUEUE, max_workers=slots, max_size=10_000_000, task_timeout=timeout)
        await self._manager.create_queue(config)
        if self.setting.lease is None:
            for _ in range(slots):
                await self._submit(wait_at_gate)
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        await self._manager.shutdown(wait=False)

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        await self._submit(noop, payload, _defer_by=delay or None)

    async def _submit(self, function: Any, *args: Any, **options: Any) -> None:
        name = f'{id(self)}-{next(self._numbers)}'
        await self._manager.submit_task(name, QUEUE, 'noop', function, kew.QueuePriority.MEDIUM, *args, **options)

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        for chunk in chunks(payloads, CHUNK):
            tasks = [
                {
                    'task_id': f'{id(self)}-{next(self._numbers)}',
                    'task_type': 'noop',
                    'task_func': noop,
                    'priority': kew.QueuePriority.MEDIUM,
                    'args': (payload,),
                }
                for payload in chunk
            ]
            await self._manager.submit_tasks(QUEUE, tasks)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        gate.set()
        yield


if __name__ == '__main__':
    # Functions of the main module would be pickled by value, and each would get a gate of its own.
    from benchmark.adapters import on_kew

    serve(on_kew.Kew)
