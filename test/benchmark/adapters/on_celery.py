"""celery: its worker embedded, the solo pool for one consumer and a pool of threads for more; no results."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import celery
from celery.contrib.testing.worker import start_worker

from benchmark.adapters.child import Payload, System, noop_sync, serve


class Celery(System):
    threads = True
    most = 100

    async def open(self) -> None:
        self._app = celery.Celery('bench', broker=self.setting.url)
        self._app.conf.task_ignore_result = True
        self._app.conf.worker_hijack_root_logger = False
        if self.setting.lease:
            self._app.conf.broker_transport_options = {'visibility_timeout': self.setting.lease}
        self._noop = self._app.task(noop_sync, name='noop')

    async def close(self) -> None:
        self._app.close()

    def put(self, payload: Payload, delay: float = 0) -> None:
        self._noop.apply_async((payload,), countdown=delay or None)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        pool = 'solo' if count == 1 else 'threads'
        worker = start_worker(self._app, concurrency=count, pool=pool, perform_ping_check=False, shutdown_timeout=30)
        await asyncio.to_thread(worker.__enter__)
        try:
            yield
        finally:
            await asyncio.to_thread(worker.__exit__, None, None, None)


if __name__ == '__main__':
    serve(Celery)
