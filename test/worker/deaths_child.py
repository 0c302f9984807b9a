"""A worker in a process of its own, to be killed while it has a task in hand or calls a hook."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import redis.asyncio

from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.worker import Delivery, Worker


async def hang(*_: Any) -> None:
    print('hangs', flush=True)
    await asyncio.sleep(600)


async def fail(delivery: Delivery) -> None:
    raise ValueError('as told')


def make_app(queue: Torrelque, on_dead: Any = None) -> Tasks:
    """An app with one function, which has one attempt."""
    app = Tasks(queue)

    @app.task(name='hold', max_attempts=1, task_timeout=1, on_dead=on_dead)
    async def hold() -> None:
        await hang()

    return app


async def main(url: str, name: str, role: str) -> None:
    async with redis.asyncio.from_url(url) as client, Torrelque(client, queue=name) as queue:
        if role == 'decorator':
            worker = Worker(make_app(queue))
        elif role == 'tell':
            worker = Worker(queue, hang, on_dead=hang)
        elif role == 'bury':
            worker = Worker(queue, fail, max_attempts=1, on_dead=hang)
        else:
            worker = Worker(queue, hang, max_attempts=1 if role == 'worker' else None)
        await worker.run()


if __name__ == '__main__':
    asyncio.run(main(*sys.argv[1:]))
