"""What a worker tells of itself, and workers in threads."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.servers import RealServer
from support.waiting import nothing_left, until
from torrelque import Torrelque
from torrelque.worker import Delivery, RunningTask, ThreadWorker, Worker, WorkerHealth, get_workers


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


async def test_a_worker_all_of_whose_threads_hang_is_not_healthy(queue: Torrelque) -> None:
    gate = threading.Event()

    def hang(delivery: Delivery) -> None:
        gate.wait(60)

    try:
        async with Worker(queue, hang, concurrency=2, timeout=0.05, max_attempts=1) as worker:
            await queue.enqueue(1)
            await until(lambda: worker.health().hanging == 1)
            # The other place is free.
            assert worker.health().healthy
            await queue.enqueue(2)
            await until(lambda: worker.health().hanging == 2)
            assert (worker.health().state, worker.health().healthy) == ('running', False)
            gate.set()
            await until(lambda: not worker.health().hanging)
            assert worker.health().healthy
    finally:
        gate.set()


async def test_a_place_whose_thread_hangs_after_its_task_was_given_back_is_told(queue: Torrelque) -> None:
    gate = threading.Event()

    def hang(delivery: Delivery) -> None:
        gate.wait(60)

    try:
        task_id = await queue.enqueue(1)
        async with Worker(queue, hang, concurrency=1, heartbeat=0.05) as worker:
            await until(lambda: worker.health().running)
            assert (worker.health().hanging, worker.health().healthy) == (0, True)
            await queue.cancel(task_id)
            await until(lambda: worker.health().hanging)
            assert not worker.health().healthy
            while not (seen := await get_workers(queue)) or seen[0].healthy:
                await asyncio.sleep(0.005)
            assert seen[0].hanging == 1
            gate.set()
    finally:
        gate.set()


async def test_a_worker_whose_serving_has_ended_is_not_healthy(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    gate = asyncio.Event()
    told: list[WorkerHealth] = []

    async def handle(delivery: Delivery) -> None:
        # So that it goes on serving when this has begun.
        await client.set(queue.keys['pending'], 'rubbish')
        await gate.wait()

    await queue.enqueue(1)
    worker = Worker(queue, handle, concurrency=2)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: worker._serving)
    assert worker._serving is not None
    worker._serving.add_done_callback(lambda serving: told.append(worker.health()))
    await until(lambda: told)
    assert not told[0].healthy
    gate.set()
    with pytest.raises(redis.exceptions.ResponseError):
        await running
    await client.delete(queue.keys['pending'])


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
