"""The worker: where tasks come from, and in which turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from support.waiting import nothing_left
from torrelque import Torrelque
from torrelque.worker import Delivery, Worker


async def drain(queue: Any, handler: Any = None, **options: Any) -> Worker:
    worker = Worker(queue, handler, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


async def test_queues_are_served_in_order(client: redis.asyncio.Redis, queue_name: str) -> None:
    first, second = (Torrelque(client, queue=f'{queue_name}-{n}') for n in (1, 2))
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)
        if delivery.task == 'b' and seen.count('b') == 1:
            await first.enqueue('a')

    async with first, second:
        await second.enqueue_many(['b'] * 3)
        await first.enqueue_many(['a'] * 3)
        await drain([first, second], handle, concurrency=1)
    assert ''.join(seen) == 'aaababb'


@pytest.mark.parametrize('mapping', [True, False])
async def test_queues_share_a_worker_by_weight(client: redis.asyncio.Redis, queue_name: str, mapping: bool) -> None:
    heavy, light = (Torrelque(client, queue=f'{queue_name}-{n}') for n in (1, 2))
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)

    async with heavy, light:
        await heavy.enqueue_many(['h'] * 300)
        await light.enqueue_many(['l'] * 300)
        await drain({heavy: 3, light: 1} if mapping else [(heavy, 3), (light, 1)], handle, concurrency=8)
    assert abs(seen[:200].count('h') - 150) <= 8
    assert len(seen) == 600


async def test_others_are_served_only_while_its_own_are_empty(client: redis.asyncio.Redis, queue_name: str) -> None:
    own, other = (Torrelque(client, queue=f'{queue_name}-{n}') for n in (1, 2))
    seen: list[str] = []
    both = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)
        if len(seen) == 8:
            both.set()

    async with own, other:
        await other.enqueue_many(['other'] * 2)
        await own.enqueue_many(['own'] * 3)
        async with Worker(own, handle, steal=[other], concurrency=1):
            while len(seen) < 5:
                await asyncio.sleep(0.01)
            # Now it waits for all of them.
            await other.enqueue('other')
            while len(seen) < 6:
                await asyncio.sleep(0.01)
            await own.enqueue_many(['own'] * 2)
            await both.wait()
        assert seen == ['own'] * 3 + ['other'] * 3 + ['own'] * 2
        assert await nothing_left(client, own) and await nothing_left(client, other)
