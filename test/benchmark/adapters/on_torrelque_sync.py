"""Torrelque for synchronous code, of this checkout: consumers are loops in threads."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import redis

from benchmark.adapters.child import Payload, System, handle, serve
from torrelque import TorrelqueClosedError
from torrelque.sync import Torrelque


class Synchronous(System):
    threads = True

    async def open(self) -> None:
        self._client = redis.Redis.from_url(self.setting.url)
        self._queue = self._new_queue()

    def _new_queue(self) -> Torrelque:
        queue = Torrelque(self._client, queue='bench')
        if self.setting.lease:
            queue.task_timeout = self.setting.lease
        return queue

    async def close(self) -> None:
        self._queue.close()
        self._client.close()

    def put(self, payload: Payload, delay: float = 0) -> None:
        self._queue.enqueue(payload, delay=delay or None)

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        self._queue.enqueue_many(payloads)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        queue = self._new_queue()

        def work() -> None:
            with suppress(TorrelqueClosedError):
                while True:
                    task_id, payload = queue.dequeue()
                    handle(payload)
                    queue.release(task_id)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            queue.close()
            for thread in threads:
                thread.join(3)


if __name__ == '__main__':
    serve(Synchronous)
