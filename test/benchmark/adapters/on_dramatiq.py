"""dramatiq: its worker, with threads."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmark.adapters.child import Payload, System, noop_sync, serve

logging.getLogger('dramatiq').setLevel(logging.WARNING)


class Dramatiq(System):
    threads = True
    most = 100

    async def open(self) -> None:
        options: dict[str, Any] = {}
        if self.setting.lease:
            # How long until a process counts as dead, and how often, in a million commands, it is looked for.
            options = {'heartbeat_timeout': int(self.setting.lease * 1000), 'maintenance_chance': 1_000_000}
        self._broker = RedisBroker(url=self.setting.roomy, **options)
        self._noop = dramatiq.actor(noop_sync, broker=self._broker)

    async def close(self) -> None:
        self._broker.close()
        self._broker.client.close()

    def put(self, payload: Payload, delay: float = 0) -> None:
        if delay:
            self._noop.send_with_options(args=(payload,), delay=int(delay * 1000))
        else:
            self._noop.send(payload)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        worker = dramatiq.Worker(self._broker, worker_threads=count)
        worker.start()
        try:
            yield
        finally:
            await asyncio.to_thread(worker.stop)


if __name__ == '__main__':
    serve(Dramatiq)
