"""Hearts of workers that there are not, as workers write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis.asyncio

from torrelque import Torrelque
from torrelque.worker.bounds import BOUNDS
from torrelque.worker.health import RunningTask, WorkerHealth
from torrelque.worker.heart import pack_health


async def write_heart(
    client: redis.asyncio.Redis, queue: Torrelque, name: str, ids: Sequence[str] = (), ago: float = 0.0, *,
    function: str = 'shop.send', group: str | None = None, lag: float = 0.0, **given: Any,
) -> None:  # fmt: skip
    """A heart whose last beat came so long (s) ago, of a worker that has some tasks in hand.

    :param lag: how late (s) its event loop was.
    :param given: of its `WorkerHealth`.
    """
    seconds, _ = await client.time()
    seen = seconds - ago
    tasks = tuple(RunningTask(task_id, queue.name, function, group, 1, seconds - 100) for task_id in ids)
    health = WorkerHealth(name, 'h', 1, 'running', seen - 60, seen, (queue.name,), 10, tasks, 0, 0, 0, 0)
    health = health._replace(**given)
    fields: dict[Any, Any] = {
        'number': '1.1', 'seen': round(seen * 1000), 'interval': 5000, 'state': 'running',
        'slots': health.concurrency, 'busy': health.busy or len(ids), 'lag': lag * 1000, 'claimed': '0.1',
        'health': pack_health(health, BOUNDS),
    }  # fmt: skip
    await client.hset(f'{queue.keys["worker"]}:{name}', mapping=fields)
    await client.zadd(queue.keys['workers'], {name: seen * 1000})
