"""Bursts: none takes a server that is away for an empty queue, and each waits for what comes by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio

from support.bounding import Bound
from support.proxy import Proxy, calls_of
from support.servers import MakeServer, RealServer, free_port
from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueTimeoutError
from torrelque.worker import Delivery, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = [pytest.mark.one_server, pytest.mark.long]


# Bursts


async def nothing(delivery: Delivery) -> None: ...


@pytest.mark.long
async def test_a_burst_without_a_server_fails(hasty: None) -> None:
    async with redis.asyncio.Redis(port=free_port()) as client, Torrelque(client) as queue:
        with pytest.raises(TorrelqueConnectionError, match='no connection to the server') as caught:
            await asyncio.wait_for(Worker(queue, nothing, burst=True).run(), 60)
        assert isinstance(caught.value.__cause__, OSError | redis.exceptions.RedisError)


async def test_a_burst_whose_server_goes_fails(
    proxy: Proxy, queue: Torrelque, hasty: None, worker_bound: Bound
) -> None:
    worker_bound(silence=2)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        begun.set()
        await go_on.wait()

    async with proxy.client() as own, Torrelque(own, queue=queue.name) as mine:
        await queue.enqueue(1)
        running = asyncio.ensure_future(Worker(mine, handle, burst=True, shutdown_timeout=0).run())
        await begun.wait()
        proxy.silent = True
        go_on.set()
        with pytest.raises(TorrelqueConnectionError, match=r'could not be found out for .* no reply'):
            await asyncio.wait_for(running, 60)
        proxy.silent = False
        proxy.cut()


async def test_a_burst_whose_server_takes_no_writes_for_long_fails(
    proxy: Proxy, queue: Torrelque, hasty: None, worker_bound: Bound
) -> None:
    worker_bound(silence=2)
    async with proxy.client() as own, Torrelque(own, queue=queue.name) as mine:
        # It can be read from all the time.
        await mine.enqueue(1)
        proxy.spoil(calls_of('claim'), b"-MISCONF can't persist to disk\r\n")
        with pytest.raises(TorrelqueConnectionError, match='MISCONF') as caught:
            await asyncio.wait_for(Worker(mine, nothing, burst=True).run(), 60)
        assert isinstance(caught.value.__cause__, TorrelqueTimeoutError)
        proxy.calm()
        worker = Worker(mine, nothing, burst=True)
        await asyncio.wait_for(worker.run(), 60)
        assert worker.health().succeeded == 1


@pytest.mark.one_server
async def test_a_burst_waits_for_a_slow_server(make_server: MakeServer, hasty: None) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client) as queue:
        await queue.enqueue(1)
        os.kill(server.pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(1.5, os.kill, server.pid, signal.SIGCONT)
        worker = Worker(queue, nothing, burst=True)
        await asyncio.wait_for(worker.run(), 60)
        assert worker.health().succeeded == 1
        assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.parametrize('weighted', [False, True])
async def test_a_burst_does_not_take_one_queue_that_is_away_for_an_empty_one(
    proxy: Proxy, queue: Torrelque, hasty: None, weighted: bool
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue.name + '-away') as away:
        await queue.enqueue_many(range(10))
        await away.enqueue('away')
        seen: list[Any] = []
        proxy.silent = True

        async def handle(delivery: Delivery) -> None:
            seen.append(delivery.task)

        served: Any = {away: 1, queue: 1} if weighted else [away, queue]
        running = asyncio.ensure_future(Worker(served, handle, burst=True).run())
        while len(seen) < 10:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert not running.done()
        proxy.silent = False
        proxy.cut()
        await asyncio.wait_for(running, 60)
        assert sorted(map(str, seen)) == sorted([*map(str, range(10)), 'away'])


# What a burst waits for


async def burst(queue: Torrelque, handle: Callable[[Delivery], Any] = nothing, **options: Any) -> int:
    worker = Worker(queue, handle, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker.health().succeeded


async def test_a_burst_waits_for_the_tokens_of_a_rate(queue: Torrelque) -> None:
    await queue.set_limit('g', rate=(5, 0.5))
    await queue.enqueue_many(range(30), group='g')
    assert await burst(queue) == 30


async def test_a_burst_waits_for_tokens_while_it_has_tasks_in_hand(queue: Torrelque) -> None:
    # Their places are not all that it has.
    await queue.set_limit(rate=(1, 0.1))
    await queue.enqueue_many(range(6), group=lambda n: f'g{n % 2}')
    last = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        if delivery.task == 5:
            last.set()
        await last.wait()

    assert await burst(queue, handle) == 6


async def test_a_burst_waits_for_a_slot_that_another_holds(server: RealServer, queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g')
    async with server.client() as own, Torrelque(own, queue=queue.name) as other:
        held, _ = await other.dequeue()
        running = asyncio.ensure_future(burst(queue))
        await asyncio.sleep(0.1)
        assert not running.done()
        await other.release(held)
        assert await running == 2


@pytest.mark.one_server
async def test_a_burst_waits_for_the_lease_of_a_worker_that_was_killed(server: RealServer, queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g', task_timeout=0.5)
    await queue.dequeue()
    assert await burst(queue) == 3


async def test_the_start_rate_of_a_worker_does_not_end_its_burst(queue: Torrelque) -> None:
    await queue.enqueue_many(range(12))
    assert await burst(queue, rate=(4, 0.2)) == 12


@pytest.mark.parametrize('probe', [None, 60])
async def test_a_burst_leaves_what_is_paused(queue: Torrelque, probe: float | None) -> None:
    await queue.set_limit('slow', rate=(1, 1000))
    await queue.enqueue_many(range(10), group=lambda n: ('slow', 'fine', 'limited')[n % 3])
    await queue.set_limit('limited', concurrency=1)
    for group in ('slow', 'limited'):
        await queue.pause(group, probe=probe)
    assert await burst(queue) == 3
    await queue.pause(probe=probe)
    await queue.enqueue(1)
    assert await burst(queue) == 0
    assert (await queue.get_queue_stats()).pending == 8


async def test_a_burst_does_not_wait_behind_a_pause_for_who_works(queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g')
    await queue.enqueue('plain', priority=100)
    plain, _ = await queue.dequeue()
    held, _ = await queue.dequeue()
    assert (plain.group, held.group) == (None, 'g')
    await queue.pause('g')
    assert await burst(queue) == 0
    await queue.release(held)
    await queue.release(plain)


async def test_a_burst_leaves_what_waits_behind_a_delayed_task(queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g')
    held, _ = await queue.dequeue()
    await queue.requeue(held, 1000)
    await queue.enqueue('later', delay=1000)
    await queue.enqueue('plain')
    assert await burst(queue) == 1
    assert await queue.get_queue_stats() == (4, 2, 0, 2, 0, 0)


async def test_a_burst_ends_when_what_it_waits_for_is_paused_or_taken_away(queue: Torrelque) -> None:
    await queue.set_limit('g', rate=(1, 1000))
    ids = await queue.enqueue_many(range(3), group='g')
    running = asyncio.ensure_future(burst(queue))
    while len(await queue.client.keys('*task:*')) > 2:
        await asyncio.sleep(0.01)
    await queue.pause('g')
    assert await running == 1
    await queue.resume('g')
    running = asyncio.ensure_future(burst(queue))
    await asyncio.sleep(0.05)
    assert not running.done()
    for task_id in ids[1:]:
        await queue.cancel(task_id)
    assert await running == 0


async def test_a_burst_of_several_queues_waits_for_each(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    name = queue.name
    async with Torrelque(client, queue=f'{name}-2') as second, Torrelque(client, queue=f'{name}-3') as third:
        for each in (queue, second, third):
            await each.set_limit('g', rate=(1, 0.1))
            await each.enqueue_many(range(3), group='g')
        worker = Worker({queue: 1, second: 2}, nothing, steal=[third], burst=True)
        await asyncio.wait_for(worker.run(), 60)
        assert worker.health().succeeded == 9


async def test_a_burst_finds_a_slot_among_many_that_are_worked_on(queue: Torrelque) -> None:
    await queue.enqueue_many(range(1200), task_timeout=500)
    held = await queue.dequeue(max_tasks=250)
    while len(held) < 1200:
        held += await queue.dequeue(max_tasks=250)
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(2), group='g', task_timeout=1000)
    last, _ = await queue.dequeue()
    running = asyncio.ensure_future(burst(queue))
    await asyncio.sleep(0.1)
    assert not running.done()
    await queue.release(last)
    assert await running == 1
    await queue.release_many([task_id for task_id, _ in held])


async def test_a_burst_that_waits_can_be_stopped(queue: Torrelque) -> None:
    await queue.set_limit('g', rate=(1, 1000))
    await queue.enqueue_many(range(2), group='g')
    worker = Worker(queue, nothing, burst=True)
    running = asyncio.ensure_future(worker.run())
    while not worker.health().succeeded:
        await asyncio.sleep(0.01)
    worker.stop()
    await asyncio.wait_for(running, 60)
    assert (await queue.get_queue_stats()).pending == 1
