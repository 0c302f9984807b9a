"""taskiq-redis: its broker on streams, which acknowledges; delays by its list of schedules and its scheduler."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import taskiq_redis
from taskiq import TaskiqScheduler
from taskiq.api import run_receiver_task, run_scheduler_task

from benchmark.adapters.child import Payload, System, noop, running, serve


class Taskiq(System):
    async def open(self) -> None:
        options = {'unacknowledged_lock_timeout': self.setting.lease} if self.setting.lease else {}
        lease = int((self.setting.lease or 600) * 1000)
        self._broker = taskiq_redis.RedisStreamBroker(self.setting.url, idle_timeout=lease, **options)
        self._noop = self._broker.task('noop')(noop)
        self._source = taskiq_redis.ListRedisScheduleSource(self.setting.url)
        self._broker.is_worker_process = True
        await self._broker.startup()

    async def close(self) -> None:
        await self._broker.shutdown()

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        if delay:
            due = datetime.now(timezone.utc) + timedelta(seconds=delay)
            await self._noop.schedule_by_time(self._source, due, payload)
        else:
            await self._noop.kiq(payload)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        async with running(run_receiver_task(self._broker, max_async_tasks=count)):
            if self.setting.delays:
                scheduler = TaskiqScheduler(self._broker, [self._source])
                second = timedelta(seconds=1)
                async with running(run_scheduler_task(scheduler, interval=second, loop_interval=second)):
                    yield
            else:
                yield


if __name__ == '__main__':
    serve(Taskiq)
