"""saq: its worker."""

import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import saq

from benchmark.adapters.child import Payload, System, noop, running, serve

logging.getLogger('saq').setLevel(logging.WARNING)


async def job(context: Any, *, payload: Payload) -> None:
    await noop(payload)


class Saq(System):
    async def open(self) -> None:
        self._queue = saq.Queue.from_url(self.setting.roomy)
        await self._queue.connect()

    async def close(self) -> None:
        await self._queue.disconnect()

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        options: dict[str, Any] = {}
        if delay:
            options['scheduled'] = math.ceil(time.time() + delay)  # whole seconds
        if self.setting.lease:
            options |= {'timeout': math.ceil(self.setting.lease), 'retries': 3}
        await self._queue.enqueue('job', payload=payload, **options)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        timers = {'sweep': 1} if self.setting.lease else None
        worker = saq.Worker(self._queue, functions=[job], concurrency=count, timers=timers)
        async with running(worker.start(), worker.stop):
            yield


if __name__ == '__main__':
    serve(Saq)
