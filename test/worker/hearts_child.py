"""A worker with a heartbeat in a process of its own, to be killed while it has a task in hand."""

from __future__ import annotations

import asyncio
import sys

import redis.asyncio

from torrelque import Torrelque
from torrelque.worker import Delivery, Worker


async def handle(delivery: Delivery) -> None:
    if delivery.task == 'hang':
        print('hangs', flush=True)
        await asyncio.sleep(600)


async def main(url: str, name: str, worker: str, heartbeat: str) -> None:
    async with redis.asyncio.from_url(url) as client, Torrelque(client, queue=name) as queue:
        await Worker(queue, handle, name=worker, heartbeat=float(heartbeat)).run()


if __name__ == '__main__':
    asyncio.run(main(*sys.argv[1:]))
