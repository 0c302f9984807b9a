"""Watches and servers that go away: a restart, a failover, a slot that moves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support import watching
from support.bounding import Bound
from support.servers import RealServer
from support.topology import Cluster, Sentinel
from support.watching import begin, channels, kill_listeners, statuses
from torrelque import Torrelque, TorrelqueTaskStatus as Status

pytestmark = pytest.mark.long

still, faulty, fast = watching.still, watching.faulty, watching.fast
unsafe, as_it_is = watching.unsafe, watching.as_it_is


# Servers that go away


async def test_watches_survive_a_restart_of_the_server(durable_server: RealServer) -> None:
    async with durable_server.client() as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        taken, _ = await queue.dequeue()
        watched, _ = await begin(queue, task_id)
        await asyncio.to_thread(durable_server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(durable_server.start)
        await queue.release(taken, result=1)
        assert await asyncio.wait_for(statuses(watched), 60) == [Status.COMPLETED]


@pytest.mark.long
async def test_watches_survive_a_server_that_is_away_for_longer_than_calls(
    durable_server: RealServer, bound: Bound
) -> None:
    bound(repeat=0.5)
    async with durable_server.client() as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        taken, _ = await queue.dequeue()
        watched, _ = await begin(queue, task_id)
        await asyncio.to_thread(durable_server.kill)
        second = asyncio.ensure_future(begin(queue, task_id))
        assert queue._session is not None
        while queue._session.hub._error is None:
            await asyncio.sleep(0.01)
        with pytest.raises(torrelque.TorrelqueTimeoutError) as caught:
            await queue.wait(task_id, timeout=0)
        assert isinstance(caught.value.__cause__, torrelque.TorrelqueConnectionError)
        await asyncio.to_thread(durable_server.start)
        assert (await asyncio.wait_for(second, 60))[1].status is Status.WORKING
        while not await queue.touch(taken):
            await asyncio.sleep(0.01)
        await queue.release(taken, result=1)
        assert await asyncio.wait_for(statuses(watched), 60) == [Status.COMPLETED]


async def test_a_first_watch_waits_for_a_server_that_was_there(durable_server: RealServer, bound: Bound) -> None:
    bound(repeat=0.5)
    async with durable_server.client() as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        await asyncio.to_thread(durable_server.kill)
        waiting = asyncio.ensure_future(begin(queue, task_id))
        assert queue._session is not None
        while not (queue._session.hub._error or waiting.done()):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(durable_server.start)
        assert (await asyncio.wait_for(waiting, 60))[1].status is Status.PENDING


async def test_a_server_that_was_never_there_is_told(bound: Bound, tmp_path: Path) -> None:
    bound(repeat=0.5)
    async with redis.asyncio.Redis(unix_socket_path=str(tmp_path / 'nobody')) as client, Torrelque(client) as queue:
        with pytest.raises(torrelque.TorrelqueConnectionError):
            await asyncio.wait_for(queue.wait('x'), 60)


async def test_every_watch_ends_and_shows_no_step_back(
    client: redis.asyncio.Redis, queue: Torrelque, queue_name: str
) -> None:
    """Consumers work, and the listening connection is killed again and again."""
    order = {Status.PENDING: 0, Status.DELAYED: 0, Status.WORKING: 1, Status.COMPLETED: 2}

    async def consume() -> None:
        while True:
            task_id, n = await queue.dequeue()
            if (task_id.attempt or 0) < 3:
                await queue.requeue(task_id, 0.01 * (n % 3))
            else:
                await queue.release(task_id, result=n)

    async def follow(watcher: Torrelque, task_id: str) -> None:
        steps = [(state.dequeue_count, order[state.status]) async for state in watcher.watch(task_id)]
        assert steps[-1] == (3, 2)
        # Back in the queue after an attempt counts as later than the attempt.
        places = [(count, 1.5 if step == 0 and count else step) for count, step in steps]
        assert places == sorted(places)

    async with Torrelque(client, queue=queue_name) as watcher:
        ids = await queue.enqueue_many(range(300))
        following = [asyncio.ensure_future(follow(watcher, task_id)) for task_id in ids]
        while len(await channels(client)) < 300:
            await asyncio.sleep(0.005)
        consumers = [asyncio.ensure_future(consume()) for _ in range(10)]
        while not all(item.done() for item in following):
            await kill_listeners(client)
            await asyncio.wait(following, timeout=0.05)
        await asyncio.gather(*following)
        for consumer in consumers:
            consumer.cancel()
        await asyncio.wait(consumers)


async def test_watches_follow_a_slot_of_a_cluster(as_it_is: None, cluster: Cluster) -> None:
    async with cluster.client() as client, cluster.client() as other, Torrelque(client, queue='watched') as queue:
        slot = cluster.slot_of(queue.keys['pending'])
        async with Torrelque(other, queue='watched') as consumer:
            for _ in range(3):
                one, two = await consumer.enqueue_many(range(2))
                taken = await consumer.dequeue(max_tasks=2)
                first, _ = await begin(queue, one)
                second, _ = await begin(queue, two)
                to = (cluster.owner_of(slot) + 1) % 3
                await asyncio.to_thread(cluster.begin_move, slot, to)
                await consumer_release(consumer, taken[0][0], cluster, slot, to)
                assert await asyncio.wait_for(statuses(first), 60) == [Status.COMPLETED]
                # Listens where the slot is now.
                while not await cluster_channels(cluster, to):
                    await asyncio.sleep(0.02)
                await consumer.release(taken[1][0], result=2)
                assert await asyncio.wait_for(statuses(second), 60) == [Status.COMPLETED]


async def test_idle_watches_follow_a_slot_of_a_cluster(unsafe: None, cluster: Cluster) -> None:
    """Also where they heard nothing of the move."""
    async with cluster.client() as client, Torrelque(client, queue='idle') as queue:
        slot = cluster.slot_of(queue.keys['pending'])
        watched, _ = await begin(queue, await queue.enqueue(1))
        assert queue._session is not None
        queue._session.hub._listener._heard = lambda channels: None
        to = (cluster.owner_of(slot) + 1) % 3
        await asyncio.to_thread(cluster.move_slot, slot, to)
        while not await cluster_channels(cluster, to):
            await asyncio.sleep(0.02)
        await watched.aclose()


async def consumer_release(consumer: Torrelque, task_id: str, cluster: Cluster, slot: int, to: int) -> None:
    """Release a task in a slot that is half moved; the call waits for the rest of the move."""
    call = asyncio.ensure_future(consumer.release(task_id, result=1))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(cluster.finish_move, slot, to)
    assert await call


async def cluster_channels(cluster: Cluster, index: int) -> list[bytes]:
    async with cluster.nodes[index].client() as client:
        return await channels(client)


@pytest.mark.first_server
async def test_watches_follow_a_failover(as_it_is: None, sentinel: Sentinel) -> None:
    client = sentinel.master_for()
    async with Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        watched, _ = await begin(queue, task_id)
        await client.wait(1, 1000)
        await asyncio.to_thread(sentinel.kill_primary)
        await asyncio.to_thread(sentinel.wait_failover)
        taken, _ = await queue.dequeue()
        await queue.release(taken, result=1)
        assert (await asyncio.wait_for(statuses(watched), 60))[-1] is Status.COMPLETED
    await client.aclose()
