"""The moved clock, beside real time, and the worker that is run until nothing is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis.asyncio

from support.servers import RealServer
from support.waiting import nothing_left, until_waiting
from torrelque import Torrelque, TorrelqueLookupError, TorrelqueTaskId, TorrelqueTaskStatus, TorrelqueTimeoutError
from torrelque.testing import Clock

HOUR = 3600
SOON = 60
"""s in which a consumer that waits has noticed; without being told it would wait for an hour."""


@pytest.fixture
def clock(queue: Torrelque) -> Clock:
    return Clock(queue)


@pytest.fixture
async def waiting(server: RealServer, queue: Torrelque) -> AsyncIterator[Callable[[], Awaitable[asyncio.Task[Any]]]]:
    """Let a consumer with a client of its own wait for a task."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.client())
        other = await stack.enter_async_context(Torrelque(client, queue=queue.name))

        async def wait() -> asyncio.Task[Any]:
            consumer = asyncio.create_task(other.dequeue())
            await until_waiting(client)
            assert not consumer.done()
            return consumer

        yield wait


Wait = Callable[[], Awaitable['asyncio.Task[Any]']]


async def comes(consumer: asyncio.Task[Any]) -> tuple[TorrelqueTaskId, Any]:
    return await asyncio.wait_for(consumer, SOON)


# What is moved


async def test_task_that_was_delayed_comes_to_who_waits(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.enqueue('later', delay=HOUR)
    consumer = await waiting()
    await clock.move(HOUR)
    assert (await comes(consumer))[1] == 'later'
    assert clock.moved == HOUR


async def test_task_that_was_requeued_comes_to_who_waits(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.enqueue('again')
    task_id, _ = await queue.dequeue()
    await queue.requeue(task_id, delay=HOUR)
    consumer = await waiting()
    await clock.move(HOUR)
    assert (await comes(consumer))[0].attempt == 2


async def test_task_is_not_there_before_its_time(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.enqueue('later', delay=2 * HOUR)
    consumer = await waiting()
    await clock.move(HOUR)
    with pytest.raises(TorrelqueTimeoutError):
        await queue.dequeue(0)
    assert not consumer.done()
    wait = await clock.get_wait()
    assert wait is not None
    assert HOUR - 100 < wait <= HOUR
    await clock.move(HOUR)
    await comes(consumer)


async def test_lease_that_ended_is_lost(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.enqueue('task', task_timeout=HOUR)
    lost, _ = await queue.dequeue()
    consumer = await waiting()
    await clock.move(HOUR)
    task_id, _ = await comes(consumer)
    assert task_id == lost
    assert not await queue.release(lost)
    assert await queue.release(task_id)


async def test_holder_keeps_a_task_whose_lease_has_not_ended(queue: Torrelque, clock: Clock) -> None:
    await queue.enqueue('task', task_timeout=HOUR)
    task_id, _ = await queue.dequeue()
    await clock.move(HOUR - 60)
    assert (await queue.sweep()) == (0, 0, 0, 0)
    assert await queue.touch(task_id)
    await clock.move(HOUR - 60)
    assert (await queue.sweep()) == (0, 0, 0, 0)
    assert await queue.release(task_id)


async def test_group_has_its_tokens_again(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.set_limit('api', rate=(2, HOUR))
    for number in range(5):
        await queue.enqueue(number, group='api')
    for _ in range(2):
        await queue.release((await queue.dequeue(0))[0])
    assert await clock.get_wait() == pytest.approx(HOUR / 2, abs=100)
    consumer = await waiting()
    await clock.move(HOUR / 2)
    task_id, task = await comes(consumer)
    assert task == 2
    await queue.release(task_id)
    with pytest.raises(TorrelqueTimeoutError):
        await queue.dequeue(0)
    await clock.move(HOUR)
    assert [(await queue.dequeue(0))[1] for _ in range(2)] == [3, 4]


async def test_bucket_that_would_be_full_is_gone(
    queue: Torrelque, client: redis.asyncio.Redis, clock: Clock
) -> None:
    await queue.set_limit('api', rate=(10, HOUR))
    await queue.enqueue(1, group='api')
    await queue.release((await queue.dequeue(0))[0])
    key = f'{queue.keys["rate"]}:api'
    assert 0 < await client.pttl(key) <= 1000 * HOUR / 10
    await clock.move(HOUR / 20)
    assert 0 < await client.pttl(key) <= 1000 * HOUR / 20
    await clock.move(HOUR / 20)
    assert not await client.exists(key)


async def test_kept_state_is_gone_after_its_time(queue: Torrelque, clock: Clock) -> None:
    task_id = await queue.enqueue('task')
    await queue.release((await queue.dequeue())[0], result=42, result_ttl=HOUR)
    await clock.move(HOUR - 60)
    assert (await queue.get_task_state(task_id)).result == 42
    await clock.move(60)
    with pytest.raises(TorrelqueLookupError):
        await queue.get_task_state(task_id)


async def test_watch_of_a_kept_state_ends_with_it(queue: Torrelque, clock: Clock) -> None:
    task_id = await queue.enqueue('task')
    await queue.cancel(task_id)
    assert (await queue.wait(task_id)).status == TorrelqueTaskStatus.CANCELLED
    await clock.move(60)
    with pytest.raises(TorrelqueLookupError):
        await queue.wait(task_id)


@pytest.mark.parametrize('group', [None, 'api'])
async def test_pause_lets_a_probe_through_at_its_time(
    queue: Torrelque, clock: Clock, waiting: Wait, group: str | None
) -> None:
    for number in range(3):
        await queue.enqueue(number, group=group)
    await queue.pause(group, probe=HOUR)
    for number in range(2):
        consumer = await waiting()
        assert await clock.get_wait() == pytest.approx(HOUR, abs=100)
        await clock.move(HOUR)
        task_id, task = await comes(consumer)
        assert (task, task_id.probe) == (number, True)
        await queue.release(task_id)
        await clock.move(HOUR - 60)
        with pytest.raises(TorrelqueTimeoutError):
            await queue.dequeue(0)
        await clock.move(60)
        if number == 0:
            # Nobody took the second.
            await queue.pause(group, probe=HOUR)


# What is not


async def test_instants_of_a_state_stay(queue: Torrelque, clock: Clock) -> None:
    await queue.enqueue('task')
    for _ in range(2):
        task_id, _ = await queue.dequeue()
        await queue.requeue(task_id)
    task_id, _ = await queue.dequeue()
    before = await queue.get_task_state(task_id)
    await clock.move(60)
    assert await queue.get_task_state(task_id) == before
    assert await queue.release(task_id)


async def test_another_queue_is_not_moved(client: redis.asyncio.Redis) -> None:
    names = ['mail', 'mai*', 'mai?', 'm[a]il', 'mail\\']
    async with AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(Torrelque(client, queue=name)) for name in names]
        for queue in queues:
            task_id = await queue.enqueue('task')
            await queue.release((await queue.dequeue())[0], result_ttl=HOUR)
            await queue.enqueue('task', delay=HOUR)
            queue.kept = task_id  # type: ignore[attr-defined]
        for k, queue in enumerate(queues):
            await Clock(queue).move(HOUR)
            for other in queues[k + 1 :]:
                await other.get_task_state(other.kept)  # type: ignore[attr-defined]
                assert await other.sweep() == (0, 0, 0, 0)
            with pytest.raises(TorrelqueLookupError):
                await queue.get_task_state(queue.kept)  # type: ignore[attr-defined]
            assert await queue.sweep() == (0, 1, 0, 0)


async def test_clock_of_an_empty_queue_leaves_nothing(
    queue: Torrelque, client: redis.asyncio.Redis, clock: Clock
) -> None:
    assert await clock.get_wait() is None
    assert await clock.move_to_next() is None
    await clock.move(HOUR)
    assert await nothing_left(client, queue)


async def test_clock_of_a_queue_with_tasks_rings_once(
    queue: Torrelque, client: redis.asyncio.Redis, clock: Clock
) -> None:
    await queue.enqueue('later', delay=HOUR)
    await client.delete(queue.keys['bell'])
    await clock.get_wait()
    assert not await client.exists(queue.keys['bell'])
    for _ in range(2):
        await clock.move(60)
        assert await client.lrange(queue.keys['bell'], 0, -1) == [b'1']
