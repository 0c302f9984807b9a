"""The worker: what its page says of several queues in a word."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import redis.asyncio

from support.waiting import until, until_waiting
from torrelque import Duration, Torrelque, TorrelqueTaskId
from torrelque.worker import Delivery, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


# Sources


async def test_nothing_is_stolen_beside_tasks_of_its_own(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    seen: list[Any] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)
        worker.stop()

    async with Torrelque(client, queue=f'{queue.name}-other') as other:
        await queue.enqueue('own')
        await other.enqueue('other')
        worker = Worker(queue, handle, steal=[other], concurrency=5)
        await asyncio.wait_for(worker.run(), 60)
        assert seen == ['own']
        assert (await other.get_queue_stats()).pending == 1


class Together(Torrelque):
    """One of two; who waits for a task of either gets it when there is one of both."""

    waiting: list[Torrelque]
    served: list[Torrelque]
    all_served: asyncio.Event

    async def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        if timeout is None:
            self.waiting.append(self)
        got = await super().dequeue_many(max_tasks, timeout)
        if timeout is None:
            self.served.append(self)
            if len(self.served) == 2:
                self.all_served.set()
            await self.all_served.wait()
        return got


async def test_what_waiting_for_several_queues_brought_too_much_goes_back(
    client: redis.asyncio.Redis, queue_name: str
) -> None:
    seen: list[tuple[Any, int]] = []

    async def handle(delivery: Delivery) -> None:
        seen.append((delivery.task, delivery.attempt))

    one, other = Together(client, queue=queue_name), Together(client, queue=f'{queue_name}-other')
    one.waiting, one.served, one.all_served = other.waiting, other.served, other.all_served = [], [], asyncio.Event()
    async with one, other:
        async with Worker([one, other], handle, concurrency=1) as worker:
            await until(lambda: len(one.waiting) == 2)
            await one.enqueue('one')
            await other.enqueue('other')
            await until(lambda: worker.health().succeeded == 2)
            assert seen == [('one', 1), ('other', 2)]
        assert (await other.get_queue_stats()).tasks == 0


class Busy(Torrelque):
    """Nobody hears whether it has a task."""

    asked: asyncio.Event

    async def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        self.asked.set()
        await asyncio.Event().wait()
        return []


async def test_what_was_taken_and_not_begun_goes_back_in_its_order(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async def handle(delivery: Delivery) -> None:
        raise AssertionError

    ids = await queue.enqueue_many(range(4), max_attempts=1)
    async with Busy(client, queue=f'{queue.name}-busy') as busy:
        busy.asked = asyncio.Event()
        async with Worker([queue, busy], handle):
            await busy.asked.wait()
            assert (await queue.get_queue_stats()).working == 4
            ids.append(await queue.enqueue(4))
    assert await queue.get_queue_stats() == (5, 5, 0, 0, 0, 0)
    assert await queue.dequeue(0, max_tasks=10) == [(task_id, n) for n, task_id in enumerate(ids)]
    states = [await queue.get_task_state(task_id) for task_id in ids]
    assert [state.forgiven for state in states] == [1, 1, 1, 1, 0]


class Late(Torrelque):
    """What it gives comes in the moment in which nobody waits for it any more."""

    given: asyncio.Event

    async def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        got = await super().dequeue_many(max_tasks, timeout)
        self.given.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return got


async def test_what_comes_in_the_moment_of_the_end_goes_back(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        raise AssertionError

    async with Late(client, queue=f'{queue.name}-late') as late:
        late.given = asyncio.Event()
        async with Worker([queue, late], handle):
            await until_waiting(client)
            task_id = await late.enqueue(1, max_attempts=1)
            await late.given.wait()
        assert await late.get_queue_stats() == (1, 1, 0, 0, 0, 0)
        assert (await late.get_task_state(task_id)).forgiven == 1


class Broken(Torrelque):
    """The server refuses to have anybody wait."""

    async def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        if timeout is None:
            raise redis.exceptions.ResponseError('no waiting here')
        return await super().dequeue_many(max_tasks, timeout)


async def test_an_error_of_one_of_several_queues_ends_the_worker(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async def handle(delivery: Delivery) -> None: ...

    async with Broken(client, queue=f'{queue.name}-broken') as broken:
        with pytest.raises(redis.exceptions.ResponseError, match='no waiting here'):
            await asyncio.wait_for(Worker([queue, broken], handle).run(), 60)
