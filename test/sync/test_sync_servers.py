"""The synchronous queue on a Cluster, and behind a Sentinel."""

from __future__ import annotations

import asyncio

import pytest
import redis
import redis.sentinel

import torrelque
import torrelque.sync
from support.topology import Cluster, Sentinel


# By redis-py 6 itself.
@pytest.mark.filterwarnings('ignore:Call to .__init__. function with deprecated usage:DeprecationWarning')
async def test_a_cluster(cluster: Cluster) -> None:
    with redis.RedisCluster(host='127.0.0.1', port=cluster.ports[0]) as client:
        for name in ('one', 'two', 'three', 'four'):
            with torrelque.sync.Torrelque(client, queue=name) as queue:
                await asyncio.to_thread(queue.enqueue, 1)
                slot = cluster.slot_of(queue.keys['pending'])
                to = (cluster.owner_of(slot) + 1) % 3
                if name == 'two':
                    await asyncio.to_thread(cluster.move_slot, slot, to)
                taken, _ = await asyncio.to_thread(queue.dequeue)
                assert queue.release(taken)
                with client.pipeline(transaction=True) as pipe:
                    queue.enqueue(2, pipeline=pipe)
                    assert torrelque.read_outcome(pipe.execute()[0]) is True
                assert queue.release(queue.dequeue()[0])
                assert queue.get_queue_stats().tasks == 0
    refused = 0
    for port in cluster.ports:
        with redis.Redis(port=port) as client, torrelque.sync.Torrelque(client) as queue:
            try:
                queue.enqueue(1)
            except torrelque.TorrelqueTypeError as exc:
                assert 'RedisCluster' in str(exc)
                refused += 1
    assert refused == 2


@pytest.mark.first_server
async def test_a_failover_is_survived(sentinel: Sentinel) -> None:
    pool = redis.sentinel.Sentinel([('127.0.0.1', sentinel.sentinel.port)])
    with pool.master_for(sentinel.name) as client, torrelque.sync.Torrelque(client) as queue:
        queue.enqueue('before')
        assert queue.dequeue()[1] == 'before'
        waiting = asyncio.ensure_future(asyncio.to_thread(queue.dequeue))
        client.wait(1, 1000)
        await asyncio.to_thread(sentinel.kill_primary)
        await asyncio.to_thread(queue.enqueue, 'after')
        task_id, task = await asyncio.wait_for(waiting, 60)
        assert task == 'after' and queue.release(task_id)
    for link in pool.sentinels:
        link.close()
