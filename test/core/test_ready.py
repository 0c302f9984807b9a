"""When a delayed task is due and since when a task has been ready, and who is told that, and of failed attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import redis.asyncio

from support.failing import fail, take, told
from support.proxy import Proxy
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskState, TorrelqueTaskStatus as Status
from torrelque.sync import Torrelque as SyncTorrelque


async def score(client: redis.asyncio.Redis, queue: Torrelque, task_id: str) -> float:
    found = await client.zscore(queue.keys['delayed'], task_id)
    assert found is not None
    return float(found) / 1000


async def test_a_delayed_task_tells_when_it_is_due(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=60)
    state = await queue.get_task_state(task_id)
    assert state.due_time == await score(client, queue, task_id)
    assert abs(state.due_time - state.enqueue_time - 60) < 0.01
    assert state.ready_time is None


async def test_a_task_that_is_not_delayed_is_not_due(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    # What somebody else has made counts for nothing.
    await client.hset(f'{queue.keys["task"]}:{task_id}', 'due_time', 'never')
    await client.zadd(queue.keys['delayed'], {'other': 1e15})
    assert (await queue.get_task_state(task_id)).due_time is None
    taken = await take(queue)
    assert (await queue.get_task_state(task_id)).due_time is None
    await queue.requeue(taken, 60)
    assert (await queue.get_task_state(task_id)).due_time == await score(client, queue, task_id)
    await queue.cancel(task_id)
    assert (await queue.get_task_state(task_id)).due_time is None


async def test_a_delayed_task_that_lost_its_place_is_read_all_the_same(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    task_id = await queue.enqueue(1, delay=60)
    await client.zrem(queue.keys['delayed'], task_id)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.due_time) == (Status.DELAYED, None)
    await client.zadd(queue.keys['delayed'], {task_id: 'inf'})
    assert (await queue.get_task_state(task_id)).due_time == float('inf')


async def test_a_first_delay_that_is_over_is_when_the_task_became_ready(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=0.001)
    due = (await queue.get_task_state(task_id)).due_time
    await asyncio.sleep(0.002)
    await queue.sweep()
    state = await queue.get_task_state(task_id)
    assert (state.status, state.last_requeue_time, state.due_time) == (Status.PENDING, None, None)
    assert due is not None and state.ready_time is not None and state.ready_time >= due > state.enqueue_time
    await queue.requeue(await take(queue), 0.001)
    await asyncio.sleep(0.002)
    await queue.sweep()
    later = await queue.get_task_state(task_id)
    assert later.ready_time == state.ready_time and later.last_requeue_time


async def test_a_redrive_is_when_the_task_became_ready(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await queue.bury(await take(queue))
    assert (await queue.get_task_state(task_id)).ready_time is None
    await queue.redrive(task_id)
    first = (await queue.get_task_state(task_id)).ready_time
    assert first is not None
    await queue.bury(await take(queue))
    await asyncio.sleep(0.002)
    await queue.redrive(task_id)
    second = (await queue.get_task_state(task_id)).ready_time
    assert second is not None and second > first


async def test_a_redriven_task_of_which_nothing_was_known_is_ready_too(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    task_id = await queue.enqueue(1)
    await queue.bury(await take(queue))
    await client.delete(f'{queue.keys["task"]}:{task_id}')
    assert await queue.redrive(task_id) == 1
    state = await queue.get_task_state(task_id)
    assert state.ready_time == state.enqueue_time and state.history == ()


# Elsewhere


async def test_a_watch_tells_it_as_well(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=0.001)
    seen: list[TorrelqueTaskState] = []

    async def follow() -> None:
        async for state in queue.watch(task_id, timeout=60):
            seen.append(state)
            arrived.set()

    async def sees(what: Callable[[TorrelqueTaskState], bool]) -> TorrelqueTaskState:
        while not (seen and what(seen[-1])):
            arrived.clear()
            await asyncio.wait_for(arrived.wait(), 30)
        return seen[-1]

    arrived = asyncio.Event()
    following = asyncio.create_task(follow())
    await sees(lambda state: True)
    dues = []
    for number in (1, 2):
        taken = await take(queue)
        await sees(lambda state, number=number: state.dequeue_count == number)  # type: ignore[misc]
        await queue.requeue(taken, 300 * number, error=f'e{number}')
        state = await sees(lambda state: state.status is Status.DELAYED)
        assert state.due_time == await score(client, queue, task_id)
        assert state == await queue.get_task_state(task_id)
        dues.append(state.due_time)
        # It is due by hand.
        await client.zadd(queue.keys['delayed'], {task_id: 1})
    assert dues[0] < dues[1]
    taken = await take(queue)
    await queue.release(taken, result=1)
    await asyncio.wait_for(following, 30)
    assert told(seen[-1]) == [(1, 'e1'), (2, 'e2')]
    assert seen[-1].due_time is None and seen[-1].ready_time


async def test_a_queue_of_threads_tells_it_as_well(server: RealServer, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await fail(queue, 'a\nb\n')
    late = await queue.enqueue(1, delay=60)

    def look() -> list[TorrelqueTaskState]:
        with server.sync_client() as client, SyncTorrelque(client, queue=queue.name) as same:
            return [same.get_task_state(each) for each in (task_id, late)]

    states = await asyncio.to_thread(look)
    assert states == [await queue.get_task_state(each) for each in (task_id, late)]
    assert told(states[0]) == [(1, 'b')] and states[1].due_time


async def test_only_the_state_of_a_delayed_task_takes_a_second_call(proxy: Proxy, queue_name: str) -> None:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        plain, late = await queue.enqueue(1), await queue.enqueue(1, delay=60)
        await queue.get_task_state(plain)
        before = len(proxy.requests)
        assert (await queue.get_task_state(plain)).due_time is None
        assert len(proxy.requests) == before + 1
        assert (await queue.get_task_state(late)).due_time
        assert len(proxy.requests) == before + 3
