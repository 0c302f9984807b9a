"""Waiting for tasks: order, timeouts, what comes due, and the connections that it needs."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

import torrelque
from support.bounding import Bound
from support.servers import RealServer
from support.waiting import until_waiting
from torrelque import Torrelque


async def test_waiters_get_tasks_in_the_order_of_their_calls(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    waiting = [asyncio.ensure_future(queue.dequeue()) for _ in range(10)]
    await until_waiting(client)
    await queue.enqueue_many(range(10))
    assert [task for _, task in await asyncio.gather(*waiting)] == list(range(10))


async def test_a_bulk_waiter_gets_what_is_there_at_least_one(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue_many(range(3))
    assert [n for _, n in await queue.dequeue(max_tasks=5)] == [0, 1, 2]
    waiting = asyncio.ensure_future(queue.dequeue(max_tasks=5))
    await until_waiting(client)
    await queue.enqueue('one')
    assert [n for _, n in await waiting] == ['one']
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0, max_tasks=2)


async def test_dequeue_many_gives_a_list_of_one_too(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(4))
    assert await queue.dequeue_many(1) == [(ids[0], 0)]
    assert await queue.dequeue_many(2, 0) == [(ids[1], 1), (ids[2], 2)]
    assert await queue.dequeue_many(5, timeout=0) == [(ids[3], 3)]
    waiting = asyncio.ensure_future(queue.dequeue_many(5))
    await until_waiting(client)
    await queue.enqueue('one')
    assert [n for _, n in await waiting] == ['one']
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue_many(2, 0)


async def test_a_cancelled_dequeue_many_takes_nothing(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    waiting = asyncio.ensure_future(queue.dequeue_many(3))
    await until_waiting(client)
    waiting.cancel()
    await asyncio.wait([waiting])
    ids = await queue.enqueue_many(range(3))
    assert await queue.dequeue_many(3, 0) == list(zip(ids, range(3), strict=True))


async def test_dequeue_many_of_a_closed_queue_is_refused(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    waiting = asyncio.ensure_future(queue.dequeue_many(3))
    await until_waiting(client)
    await queue.aclose()
    with pytest.raises(torrelque.TorrelqueClosedError):
        await waiting
    with pytest.raises(torrelque.TorrelqueClosedError):
        await queue.dequeue_many(3)


async def test_timeout_is_kept(queue: Torrelque, endless: None) -> None:
    loop = asyncio.get_running_loop()
    for timeout in (0, 0.05, 0.2):
        started = loop.time()
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(timeout)
        assert timeout - 0.001 <= loop.time() - started < timeout + 60
    await queue.enqueue(1)
    assert (await queue.dequeue(0.000001))[1] == 1


@pytest.mark.first_server
async def test_a_waiter_outlives_blocks_and_socket_timeouts(
    server: RealServer, queue: Torrelque, queue_name: str
) -> None:
    async with server.client(socket_timeout=0.2) as client, Torrelque(client, queue=queue_name) as waiter:
        waiting = asyncio.ensure_future(waiter.dequeue())
        await asyncio.sleep(2.5)
        assert not waiting.done()
        await queue.enqueue(1)
        assert (await waiting)[1] == 1


@pytest.mark.first_server
async def test_due_and_expired_tasks_come_by_themselves_to_who_waits(queue: Torrelque) -> None:
    loop = asyncio.get_running_loop()
    for delay in (0.3, 2.4):
        started = loop.time()
        await queue.enqueue(1, delay=delay)
        task_id, _ = await queue.dequeue()
        late = loop.time() - started
        assert await queue.requeue(task_id, 0.3)
        task_id, _ = await queue.dequeue()
        await queue.touch(task_id, task_timeout=0.2)
        again, _ = await queue.dequeue()
        assert again.attempt == 3
        await queue.release(again)
        assert late >= 0.299


async def test_a_waiter_of_another_process_learns_of_a_nearer_deadline(
    client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, server: RealServer, endless: None
) -> None:
    loop = asyncio.get_running_loop()
    async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as other:
        waiting = asyncio.ensure_future(other.dequeue())
        await until_waiting(client)
        started = loop.time()
        await queue.enqueue(1, delay=0.1)
        task_id, _ = await asyncio.wait_for(waiting, 60)
        assert loop.time() - started >= 0.1
        # The lease of one who does not wait.
        waiting = asyncio.ensure_future(queue.dequeue())
        await until_waiting(client)
        started = loop.time()
        await other.touch(task_id, task_timeout=0.1)
        assert (await asyncio.wait_for(waiting, 60))[0].attempt == 2
        assert loop.time() - started >= 0.099


async def test_due_tasks_come_under_a_backlog_too(queue: Torrelque) -> None:
    await queue.enqueue_many(range(500))
    await queue.enqueue('due', delay=0.01)
    await asyncio.sleep(0.02)
    seen = []
    while 'due' not in seen:
        task_id, task = await queue.dequeue(60)
        seen.append(task)
        await queue.release(task_id)
    assert len(seen) == 501


async def test_a_million_is_not_needed_to_see_that_all_due_tasks_come(queue: Torrelque) -> None:
    await queue.enqueue_many(range(3000), delay=0.001)
    got: list[int] = []
    while len(got) < 3000:
        some = await queue.dequeue(60, max_tasks=1000)
        got += [n for _, n in some]
    assert sorted(got) == list(range(3000))


async def test_a_hundred_waiters_need_two_connections(
    server: RealServer, client: redis.asyncio.Redis, queue_name: str
) -> None:
    before = len(await client.client_list())
    async with server.client(max_connections=1) as few, Torrelque(few, queue=queue_name) as queue:
        waiting = [asyncio.ensure_future(queue.dequeue()) for _ in range(100)]
        await until_waiting(client)
        assert len(await client.client_list()) - before <= 2
        assert await few.ping()
        await queue.enqueue_many(range(100))
        assert len(await asyncio.gather(*waiting)) == 100


async def test_queues_of_one_client_share_the_connection_for_calls(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    before = len(await client.client_list())
    async with server.client() as shared:
        queues = [Torrelque(shared, queue=f'q{n}') for n in range(10)]
        for queue in queues:
            await queue.enqueue(1)
        assert len(await client.client_list()) - before == 1
        for queue in queues[:-1]:
            await queue.aclose()
        assert await queues[-1].dequeue(0)
        await queues[-1].aclose()
        while len(await client.client_list()) > before:
            await asyncio.sleep(0.01)


async def test_what_came_due_while_nobody_waited_is_there_now(queue: Torrelque) -> None:
    for _ in range(3):
        await queue.enqueue(1, delay=0.02)
        await asyncio.sleep(0.03)
        task_id, _ = await queue.dequeue(0)
        await queue.touch(task_id, task_timeout=0.02)
        await asyncio.sleep(0.03)
        (again, _), *_ = await queue.dequeue(0, max_tasks=2)
        assert again.attempt == 2
        await queue.release(again)
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(0)


@pytest.mark.parametrize('verb', ['touch', 'requeue', 'release', 'bury'])
async def test_the_next_call_for_a_task_acknowledges_its_claim(
    client: redis.asyncio.Redis, queue: Torrelque, bound: Bound, verb: str
) -> None:
    bound(acknowledge=1e6)
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    assert await client.keys(f'{queue.keys["claim"]}:*')
    assert await getattr(queue, verb)(taken)
    assert not await client.keys(f'{queue.keys["claim"]}:*')


async def test_a_claim_is_acknowledged_by_itself(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()

    async def acknowledged() -> None:
        while await client.keys(f'{queue.keys["claim"]}:*'):
            await asyncio.sleep(0.005)

    await asyncio.wait_for(acknowledged(), 30)
    assert await queue.release(taken)
