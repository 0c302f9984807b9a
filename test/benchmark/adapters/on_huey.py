"""huey: its consumer, with threads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import huey

from benchmark.adapters.child import Payload, System, noop_sync, serve


class Huey(System):
    threads = True
    most = 100

    async def open(self) -> None:
        self._huey = huey.RedisHuey('bench', url=self.setting.roomy)
        self._noop = self._huey.task()(noop_sync)

    async def close(self) -> None:
        self._huey.storage.conn.close()

    def put(self, payload: Payload, delay: float = 0) -> None:
        if delay:
            self._noop.schedule((payload,), delay=delay)
        else:
            self._noop(payload)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        consumer = self._huey.create_consumer(workers=count, worker_type='thread', periodic=False)
        consumer.start()
        try:
            yield
        finally:
            await asyncio.to_thread(consumer.stop, graceful=True)


if __name__ == '__main__':
    serve(Huey)
