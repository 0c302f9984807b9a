"""What other queues are to be told of tasks of flows, and nobody tells them."""

from __future__ import annotations

import redis.asyncio

from torrelque import Torrelque, TorrelqueNode as Node, TorrelqueTaskStatus
from torrelque.operate import Operator


async def test_news_for_another_queue_that_nobody_carries_are_told_in_the_queue_that_has_them(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    other = queue.sibling(f'{queue.name}.other')
    await queue.enqueue_flow([Node('a', 1, queue=other.name)], flow_id='F')
    task_id, _ = await other.dequeue(60)
    operator, key = Operator(other), other.keys['outbox']
    await client.zadd(key, {task_id: 1000})
    text = 'other queues are to be told of tasks of flows, and nobody does it: no consumer waits, and nobody sweeps'
    [finding] = await operator.stalled()
    assert (finding.text, finding.advice) == (text, f'torrelque sweep -q {other.name}')
    await client.delete(key)
    assert await operator.stalled() == []
    await other.release(task_id)
    await other.sweep()
    assert await Operator(queue).stalled() == [] == await operator.stalled()
    assert (await queue.get_task_state('F')).status is TorrelqueTaskStatus.COMPLETED
