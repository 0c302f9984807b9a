"""What a worker tells of itself, and workers in threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

import torrelque
from conftest import nothing_left
from servers import RealServer
from torrelque import Torrelque
from torrelque.worker import Delivery, RunningTask, ThreadWorker, Worker, WorkerHealth, get_workers
from torrelque.worker.health import Heart


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def wait(delivery: Delivery) -> None:
    await asyncio.sleep(60)


async def test_health_tells_what_a_worker_is_doing_since_when(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, group='g')
    worker = Worker(queue, wait, concurrency=3, name='mine', shutdown_timeout=0)
    assert (worker.health().state, worker.health().healthy) == ('new', False)
    async with worker:
        await until(lambda: worker.health().running)
        await asyncio.sleep(0.05)
        health = worker.health()
        (running,) = health.running
        assert running == RunningTask(task_id, queue.name, '', 'g', 1, running.since)
        assert 0.05 <= time.time() - running.since < 300
        assert (health.name, health.host) == ('mine', socket.gethostname())
        assert (health.state, health.healthy) == ('running', True)
        assert (health.queues, health.concurrency) == ((queue.name,), 3)
        assert health.started is not None and health.started <= running.since
    assert (worker.health().state, worker.health().running) == ('stopped', ())


@pytest.mark.parametrize('decode', [False, True])
async def test_a_heartbeat_shows_live_workers_to_others(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, decode: bool
) -> None:
    async with server.client(decode_responses=decode) as own, Torrelque(own, queue=queue.name) as other:
        assert await get_workers(other) == []
        task_id = await queue.enqueue(1)
        async with Worker(queue, wait, name='a', heartbeat=0.05, shutdown_timeout=0):
            async with Worker(other, wait, name='b', heartbeat=0.05, shutdown_timeout=0):
                # On a busy machine a heartbeat may be late, and its worker is not told of until the next.
                found = await get_workers(other)
                while sorted(len(each.running) for each in found) != [0, 1]:
                    await asyncio.sleep(0.005)
                    found = await get_workers(other)
                assert [each.name for each in found] == ['a', 'b']
                (running,) = (*found[0].running, *found[1].running)
                assert (running.id, running.attempt) == (task_id, 1)
                key = queue.keys['pending'].removesuffix('pending') + 'worker:a'
                while (left := await client.pttl(key)) <= 0:
                    await asyncio.sleep(0.005)
                assert left <= 150
            while not (found := await get_workers(other)):
                await asyncio.sleep(0.005)
            assert [each.name for each in found] == ['a']
        assert await get_workers(other) == []
        await queue.cancel(task_id)
    assert [key for key in await client.keys('*') if b':worker' in key] == []


async def test_a_worker_that_was_killed_is_not_told_of_any_more(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    worker = Worker(queue, wait, name='killed', heartbeat=0.05)
    async with worker:
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        base = queue.keys['pending'].removesuffix('pending')
        text = await client.get(f'{base}worker:killed')
    # As it would be there without the orderly end.
    assert text is not None
    await client.set(f'{base}worker:killed', text, px=100)
    await client.zadd(f'{base}workers', {'killed': time.time() * 1000})
    while await get_workers(queue):
        await asyncio.sleep(0.01)


async def test_a_heartbeat_whose_cancellation_is_swallowed_ends_with_its_worker(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def swallow(heart: Heart, health: WorkerHealth) -> None:
        # As the client library does at some moments.
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    monkeypatch.setattr(Heart, 'beat', swallow)
    before = asyncio.all_tasks()
    async with Worker(queue, wait, heartbeat=60):
        await begun.wait()
    assert asyncio.all_tasks() == before


async def test_a_heartbeat_that_fails_does_not_end_the_worker(
    queue: Torrelque, client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await client.set(queue.keys['pending'].removesuffix('pending') + 'workers', 'rubbish')

    async def handle(delivery: Delivery) -> None: ...

    async with Worker(queue, handle, heartbeat=0.05) as worker:
        await until(lambda: 'heartbeat could not be written' in caplog.text)
        await queue.enqueue(1)
        await until(lambda: worker.health().succeeded == 1)


# In a thread


def test_a_worker_in_a_thread_serves_a_synchronous_program(server: RealServer, queue_name: str) -> None:
    queue = Torrelque(server.client(), queue=queue_name)
    seen: list[tuple[Any, bool]] = []

    def handle(delivery: Delivery) -> int:
        seen.append((delivery.task, threading.current_thread() is threading.main_thread()))
        return 2 * int(delivery.task)

    with ThreadWorker(queue, handle, concurrency=3) as worker:
        ids = [worker.call(queue.enqueue(number)) for number in range(10)]
        states = [worker.call(queue.wait(task_id, timeout=60)) for task_id in ids]
        assert [state.result for state in states] == [2 * number for number in range(10)]
        assert worker.is_alive() and worker.health().succeeded == 10
    assert not worker.is_alive()
    assert sorted(seen) == [(number, False) for number in range(10)]
    with pytest.raises(torrelque.TorrelqueError, match='does not run'):
        worker.call(queue.enqueue(1))
    with pytest.raises(torrelque.TorrelqueError, match='once'):
        worker.start()
    assert threading.active_count() < 30


def test_stopping_a_thread_gives_back_what_does_not_end(server: RealServer, queue_name: str) -> None:
    worker = ThreadWorker(Torrelque(server.client(), queue=queue_name), wait, shutdown_timeout=0.05).start()
    queue = worker.health()
    inner = worker._worker.queues[0]
    worker.call(inner.enqueue(1, max_attempts=1))
    while not worker.health().running:
        time.sleep(0.005)
    worker.stop()
    assert queue.name == worker.health().name and worker.health().state == 'stopped'
    with server.sync_client() as client:
        assert client.llen(inner.keys['pending']) == 1


def test_an_error_of_the_worker_is_raised_at_its_end(server: RealServer, queue_name: str) -> None:
    queue = Torrelque(server.client(), queue=queue_name)
    with server.sync_client() as client:
        client.set(queue.keys['pending'], 'rubbish')
    worker = ThreadWorker(queue, wait).start()
    assert worker.join(30)
    with pytest.raises(redis.exceptions.ResponseError):
        worker.stop()
    worker.stop()


def test_a_burst_in_a_thread_ends_by_itself(server: RealServer, queue_name: str) -> None:
    async def handle(delivery: Delivery) -> None: ...

    async def fill() -> None:
        async with server.client() as client, Torrelque(client, queue=queue_name) as queue:
            await queue.enqueue_many(range(100))

    async def check() -> None:
        async with server.client() as client, Torrelque(client, queue=queue_name) as queue:
            assert await nothing_left(client, queue)

    asyncio.run(fill())
    worker = ThreadWorker(Torrelque(server.client(), queue=queue_name), handle, burst=True).start()
    assert worker.join(30)
    assert worker.health().succeeded == 100
    asyncio.run(check())
