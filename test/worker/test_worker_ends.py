"""The worker: leases, time limits, cancellation, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.processes import running
from support.proxy import Proxy
from support.servers import RealServer
from support.waiting import until
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.worker import Delivery, Retry, Worker

pytestmark = pytest.mark.long

# Leases


@pytest.mark.one_server
@pytest.mark.parametrize('blocking', [False, True])
async def test_leases_are_renewed_while_a_handler_runs(queue: Torrelque, blocking: bool) -> None:
    attempts: list[int] = []

    # For longer than the lease; which is long enough for renewals that come late.
    async def waits(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        await asyncio.sleep(3.5)

    def blocks(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        time.sleep(3.5)

    for _ in range(5):
        await queue.enqueue(1, task_timeout=3)
    other = Worker(queue, waits)
    async with other, Worker(queue, blocks if blocking else waits, concurrency=5) as worker:
        await until(lambda: worker.health().succeeded + other.health().succeeded == 5)
    assert attempts == [1] * 5
    assert (await queue.get_queue_stats()).tasks == 0


async def test_a_handler_whose_lease_is_lost_is_cancelled(queue: Torrelque, caplog: pytest.LogCaptureFixture) -> None:
    cancelled = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task_id = await queue.enqueue(1, task_timeout=3)
    async with Worker(queue, handle) as worker:
        await until(lambda: worker.health().running)
        # As an operator does, or another consumer after the end of the lease.
        assert await queue.requeue(task_id, 1000)
        await asyncio.wait_for(cancelled.wait(), 60)
        await until(lambda: not worker.health().running)
        assert worker.health().lost == 1
    assert (await queue.get_task_state(task_id)).status is Status.DELAYED
    assert 'its lease is lost' in caplog.text


async def test_a_cancelled_task_stops_its_handler_at_once(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    cancelled = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    task_id = await queue.enqueue(1)
    async with Worker(queue, handle) as worker:
        await until(lambda: worker.health().running)
        began = time.monotonic()
        assert await queue.cancel(task_id)
        await asyncio.wait_for(cancelled.wait(), 60)
        # Before the next renewal, which would be after 100 s.
        assert time.monotonic() - began < 90
        await until(lambda: not worker.health().running)
    assert (await queue.get_task_state(task_id)).status is Status.CANCELLED
    assert (await queue.get_queue_stats()).tasks == 0


async def test_a_touch_tells_of_a_cancelled_task(queue: Torrelque) -> None:
    held: list[bool] = []

    async def handle(delivery: Delivery) -> None:
        held.append(await delivery.touch(progress=0.5))
        await queue.cancel(delivery.id)
        held.append(await delivery.touch(progress=0.6))
        await asyncio.sleep(60)

    task_id = await queue.enqueue(1)
    async with Worker(queue, handle) as worker:
        await until(lambda: worker.health().lost == 1)
    assert held == [True, False]
    state = await queue.get_task_state(task_id)
    assert state.status is Status.CANCELLED


async def test_a_server_that_is_away_for_a_lease_cancels_the_handler(
    server: RealServer, proxy: Proxy, queue: Torrelque
) -> None:
    cancelled = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        if delivery.attempt > 1:
            return
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    await queue.enqueue(1, task_timeout=0.9)
    async with proxy.client() as client, Torrelque(client, queue=queue.name) as faulty:
        async with Worker(faulty, handle, shutdown_timeout=1) as worker:
            await until(lambda: worker.health().running)
            proxy.refusing = True
            proxy.cut()
            await asyncio.wait_for(cancelled.wait(), 60)
            proxy.refusing = False
            await until(lambda: worker.health().succeeded == 1)


# The end


async def test_stopping_finishes_what_runs_and_takes_no_more(queue: Torrelque) -> None:
    go_on = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await go_on.wait()

    await queue.enqueue_many(range(5))
    worker = Worker(queue, handle, concurrency=2)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: len(worker.health().running) == 2)
    worker.stop()
    await until(lambda: worker.health().state == 'stopping')
    go_on.set()
    await asyncio.wait_for(running, 60)
    assert worker.health().succeeded == 2
    assert await queue.get_queue_stats() == (3, 3, 0, 0, 0, 0)


@pytest.mark.one_server
@pytest.mark.parametrize('how', ['timeout', 'second stop', 'cancel', 'stubborn'])
async def test_what_does_not_finish_is_given_back_uncounted(queue: Torrelque, how: str) -> None:
    async def handle(delivery: Delivery) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if how != 'stubborn':
                raise
            await asyncio.sleep(60)

    ids = await queue.enqueue_many(range(3), max_attempts=1)
    worker = Worker(queue, handle, shutdown_timeout=60 if how in ('second stop', 'cancel') else 0.05)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: len(worker.health().running) == 3)
    if how == 'cancel':
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    else:
        worker.stop()
        if how == 'second stop':
            await asyncio.sleep(0.05)
            worker.stop()
        await asyncio.wait_for(running, 60)
    assert await queue.get_queue_stats() == (3, 3, 0, 0, 0, 0)
    for task_id in ids:
        state = await queue.get_task_state(task_id)
        assert (state.dequeue_count, state.forgiven) == (1, 1)
    assert [await queue.dequeue() for _ in range(3)] == [(task_id, n) for n, task_id in enumerate(ids)]
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if 'handle' in repr(task):
            task.cancel()


async def test_an_error_of_the_server_ends_the_worker(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    await client.set(queue.keys['pending'], 'rubbish')
    with pytest.raises(redis.exceptions.ResponseError):
        await asyncio.wait_for(Worker(queue, handle).run(), 60)


PROGRAM = '''
import asyncio, sys, redis.asyncio, torrelque
from torrelque.worker import Worker

async def handle(delivery):
    print('begun', delivery.task, flush=True)
    await asyncio.sleep(delivery.task)

async def main():
    async with redis.asyncio.Redis(unix_socket_path=sys.argv[1]) as client:
        async with torrelque.Torrelque(client, queue=sys.argv[2]) as queue:
            await Worker(queue, handle, shutdown_timeout=float(sys.argv[3])).run()
    print('ended', flush=True)

asyncio.run(main())
'''


@pytest.mark.one_server
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('patience', [30, 0.1])
async def test_a_signal_ends_a_program_in_order(
    server: RealServer, queue: Torrelque, tmp_path: Path, number: signal.Signals, patience: float
) -> None:
    path = tmp_path / 'program.py'
    path.write_text(PROGRAM)
    await queue.enqueue_many([59, 60] if patience < 1 else [0.5, 1])
    command = [sys.executable, str(path), server.socket, queue.name, str(patience)]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(2)]
        assert all(line.startswith('begun') for line in lines)
        process.send_signal(number)
        rest, errors = await asyncio.to_thread(process.communicate)
    assert (process.returncode, rest, errors) == (0, 'ended\n', '')
    stats = await queue.get_queue_stats()
    assert (stats.tasks, stats.pending) == ((0, 0) if patience > 1 else (2, 2))


TWO = PROGRAM.replace(
    'await Worker(queue, handle, shutdown_timeout=float(sys.argv[3])).run()',
    'await asyncio.gather(*(Worker(queue, handle, concurrency=1).run() for _ in range(2)))',
).replace(
    'await asyncio.sleep(delivery.task)',
    'await asyncio.to_thread(sys.stdin.read)',  # to its end
)


@pytest.mark.one_server
async def test_a_signal_ends_all_workers_of_a_program(server: RealServer, queue: Torrelque, tmp_path: Path) -> None:
    path = tmp_path / 'program.py'
    path.write_text(TWO)
    await queue.enqueue_many(range(3))
    command = [sys.executable, str(path), server.socket, queue.name]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert (await asyncio.to_thread(process.stdout.readline)).startswith('begun')
        process.send_signal(signal.SIGTERM)
        rest, errors = await asyncio.to_thread(process.communicate)
    assert (process.returncode, rest, errors) == (0, 'ended\n', '')
    assert (await queue.get_queue_stats()) == (1, 1, 0, 0, 0, 0)


async def test_a_run_that_is_cancelled_while_it_finishes_leaves_nothing_behind(queue: Torrelque) -> None:
    steps = 0

    async def handle(delivery: Delivery) -> None:
        nonlocal steps
        while True:
            await asyncio.sleep(0.01)
            steps += 1

    await queue.enqueue(1)
    worker = Worker(queue, handle, shutdown_timeout=60)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: steps)
    worker.stop()
    await until(lambda: worker.health().state == 'stopping')
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(running, 0.05)
    before = steps
    await asyncio.sleep(0.05)
    assert steps == before
    assert worker.health().running == ()
    assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)


async def test_no_queue_waits_for_the_server_of_another(
    proxy: Proxy, client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    go_on = asyncio.Event()
    seen: list[Any] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)
        await go_on.wait()

    async with proxy.client() as other, Torrelque(other, queue=queue.name + '-frozen') as frozen:
        await frozen.enqueue('frozen')
        await queue.enqueue_many(range(4))
        async with Worker({frozen: 1, queue: 4}, handle, concurrency=5, shutdown_timeout=0.1):
            await until(lambda: len(seen) == 5)
            proxy.silent = True
            go_on.set()
            while (await queue.get_queue_stats()).tasks:
                await asyncio.sleep(0.01)
            proxy.silent = False
            proxy.cut()


@pytest.mark.parametrize('blocking', [False, True])
@pytest.mark.parametrize('kind', [GeneratorExit, SystemExit, BaseException, asyncio.CancelledError, StopAsyncIteration])
async def test_whatever_a_handler_raises_is_a_failure(
    queue: Torrelque, kind: type[BaseException], blocking: bool
) -> None:
    async def handle(delivery: Delivery) -> None:
        raise kind()

    def block(delivery: Delivery) -> None:
        raise kind()

    task_id = await queue.enqueue(1, max_attempts=2)
    worker = Worker(queue, block if blocking else handle, burst=True, retry=0)
    await worker.run()
    assert (worker.health().failed, worker.health().dead) == (2, 1)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 2)
    assert kind.__name__ in (state.error or '')


async def test_times_that_no_queue_takes_do_not_keep_a_task(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def later(delivery: Delivery) -> None:
        raise Retry(delay=1e15)

    async def fine(delivery: Delivery) -> int:
        return 1

    task_id = await queue.enqueue(1)
    await Worker(queue, later, burst=True).run()
    assert (await queue.get_task_state(task_id)).status is Status.DELAYED
    with pytest.raises(torrelque.TorrelqueValueError, match='result_ttl'):
        Worker(queue, fine, burst=True, result_ttl=1e15)
