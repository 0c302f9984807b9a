"""What operators are told of workers that are there: real ones, with a heartbeat."""

from __future__ import annotations

import asyncio

import pytest

from torrelque import Torrelque
from torrelque.operate import Operator
from torrelque.worker import Delivery, Worker

pytestmark = pytest.mark.first_server


async def test_a_worker_with_a_heartbeat_is_counted_and_named_by_its_tasks(queue: Torrelque) -> None:
    operator, over = Operator(queue), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await over.wait()

    ids = [*await queue.enqueue_many(range(3))]
    async with Worker(queue, handle, name='w', heartbeat=0.02, concurrency=2):
        while (told := await operator.overview()).busy < 2:
            await asyncio.sleep(0.01)
        assert (told.workers, told.lost, told.slots, told.working, told.pending) == (1, 0, 2, 2, 1)
        while [task.worker for task in (await operator.page('working')).tasks] != ['w', 'w']:
            await asyncio.sleep(0.01)
        assert (await operator.page('orphaned')).tasks == ()
        assert (await operator.task(ids[0])).worker == 'w'
        texts = [it.text for it in await operator.examine() if it.subject == 'workers']
        assert [text for text in texts if 'version' in text] == [], texts
        over.set()
    told = await operator.overview()
    assert (told.workers, told.lost) == (0, 0)
