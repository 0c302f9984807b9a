"""The subset of `due` for every run: all comes back, by scripts that each do a bounded part of it."""

from __future__ import annotations

import pytest
import redis.asyncio

from proof.due import fill, measure
from torrelque import Torrelque


@pytest.mark.first_server
async def test_very_many_tasks_that_are_due_at_once_come_back_in_bounded_parts(
    client: redis.asyncio.Redis, queue_name: str
) -> None:
    async with Torrelque(client, queue=queue_name) as queue:
        await fill(client, queue, 20_000, 1000)
        figures = await measure(client, queue, 20_000)
        assert figures['tasks'] == 20_000
        # No script moves more than a claim's 250 or a sweep's 200 of each kind; by three kinds, and half of it twice.
        assert figures['scripts'] >= 20_000 / 250 * 2
        assert (await queue.get_queue_stats()).tasks == 0


async def test_who_waits_is_served_while_very_many_are_due(
    client: redis.asyncio.Redis, queue_name: str
) -> None:
    async with Torrelque(client, queue=queue_name) as queue:
        await fill(client, queue, 20_000, 0)
        task_id, _ = await queue.dequeue(1)
        assert await queue.release(task_id)
        # It did not wait for all of them.
        stats = await queue.get_queue_stats()
        assert stats.working + stats.delayed > 10_000
