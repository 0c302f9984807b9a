"""rq: `SimpleWorker`, which does not fork for each job, in a thread of the process.

It is one consumer: more of them are more processes.
"""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import redis
import rq
from rq.timeouts import TimerDeathPenalty

from benchmark.adapters.child import Payload, System, chunks, noop_sync, serve

CHUNK = 1000


class Worker(rq.SimpleWorker):  # type: ignore[misc]
    """In a thread there are no signals."""

    death_penalty_class = TimerDeathPenalty

    def _install_signal_handlers(self) -> None:
        pass


class Rq(System):
    threads = True
    most = 1

    async def open(self) -> None:
        self._client = redis.Redis.from_url(self.setting.url)
        self._queue = rq.Queue('bench', connection=self._client)
        self._retry = rq.Retry(max=3) if self.setting.lease else None

    async def close(self) -> None:
        self._client.close()

    def put(self, payload: Payload, delay: float = 0) -> None:
        if delay:
            self._queue.enqueue_in(timedelta(seconds=delay), noop_sync, payload)
        else:
            self._queue.enqueue(noop_sync, payload, retry=self._retry, job_timeout=self.setting.lease)

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        for chunk in chunks(payloads, CHUNK):
            self._queue.enqueue_many([rq.Queue.prepare_data(noop_sync, (payload,)) for payload in chunk])

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        client = redis.Redis.from_url(self.setting.url)
        queues = [rq.Queue('bench', connection=client)]
        options: dict[str, Any] = {}
        if self.setting.lease:
            options = {'maintenance_interval': 1, 'job_monitoring_interval': 1}
        worker = Worker(queues, connection=client, worker_ttl=17, **options)
        options = {'with_scheduler': self.setting.delays, 'logging_level': 'ERROR'}
        thread = threading.Thread(target=worker.work, kwargs=options, daemon=True)
        thread.start()
        try:
            yield
        finally:
            worker._stop_requested = True
            thread.join(5)
            client.close()


if __name__ == '__main__':
    serve(Rq)
