"""The worker: what its page says in a word, and what would go unseen without a test of its own."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.processes import running
from support.servers import RealServer
from support.waiting import until
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.worker import (
    Backoff,
    Breaker,
    ChildDelivery,
    Delivery,
    Job,
    Reject,
    Retry,
    ThreadWorker,
    Worker,
    get_workers,
)

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server

NOW = Backoff(base=0, jitter=False)
LATE = Backoff(base=3600, cap=3600, jitter=False)


async def drain(queue: Any, handler: Any = None, **options: Any) -> Worker:
    worker = Worker(queue, handler, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


async def is_paused(queue: Torrelque) -> bool:
    return (await queue.get_group_stats('any')).paused


# Retries


async def test_a_handler_that_asks_for_another_attempt_at_once_gets_it(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise Retry(delay=0)

    await queue.enqueue(1)
    worker = await drain(queue, handle, retry=LATE)
    assert (worker.health().succeeded, worker.health().failed) == (1, 1)


async def test_an_error_that_the_rules_do_not_name_is_tried_again(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        raise KeyError('x') if delivery.attempt == 1 else ValueError('x')

    task_id = await queue.enqueue(1)
    await drain(queue, handle, retry={ValueError: None})
    async with Worker(queue, handle, retry={ValueError: None}) as worker:
        await until(lambda: worker.health().dead == 1)
    assert (await queue.get_task_state(task_id)).dequeue_count == 2


def test_a_back_off_has_its_cap_also_where_the_numbers_end() -> None:
    assert Backoff(factor=2.5, jitter=False).delay(100_000) == 300
    assert Backoff(base=0, factor=2.5, jitter=False).delay(100_000) == 0


def ask_later(delivery: ChildDelivery) -> None:
    raise Retry(delay=1000)


async def test_a_process_may_ask_for_an_attempt_at_another_time(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    task_id = await queue.enqueue(1, max_attempts=2)
    await drain(queue, ask_later, run_in='process', retry=0)
    due = await client.zscore(queue.keys['delayed'], task_id)
    seconds, _ = await client.time()
    assert due is not None and 800 < due / 1000 - seconds <= 1001


async def test_the_end_of_a_long_error_is_kept(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        raise ValueError('x' * 10_000 + ' the end')

    task_id = await queue.enqueue(1, max_attempts=1)
    await drain(queue, handle)
    error = (await queue.get_task_state(task_id)).error or ''
    assert error.endswith('x the end') and 'ValueError: xxx' in error and len(error) < 4500


# A lease that was lost


@pytest.mark.parametrize('result', [None, 'done'])
async def test_a_success_that_came_too_late_is_none(queue: Torrelque, result: Any) -> None:
    told: list[Any] = []

    async def handle(delivery: Delivery) -> Any:
        # As an operator does, or another worker after the end of the lease.
        assert await queue.requeue(str(delivery.id), 1000)
        return result

    async def told_later(delivery: Delivery, result: Any) -> None:
        told.append(result)

    for hook in (None, told_later):
        task_id = await queue.enqueue(1)
        worker = await drain(queue, handle, on_success=hook)
        assert (worker.health().succeeded, worker.health().lost) == (0, 1)
        assert (await queue.get_task_state(task_id)).status is Status.DELAYED
    assert told == []


async def test_a_success_that_came_too_late_tells_a_breaker_nothing(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        if delivery.task == 'lost':
            assert await queue.requeue(str(delivery.id), 1000)
        else:
            raise ConnectionError('the service is down')

    await queue.enqueue_many(['bad', 'lost', 'bad'], max_attempts=1)
    await drain(queue, handle, breaker=Breaker(failures=2), concurrency=1)
    assert await is_paused(queue)


# The breaker


@pytest.mark.parametrize('error', [Retry(delay=1000), Reject('no such user')], ids=['retry', 'reject'])
async def test_what_a_handler_asks_for_is_no_failure_of_a_service(queue: Torrelque, error: Exception) -> None:
    async def handle(delivery: Delivery) -> None:
        raise error

    await queue.enqueue(1)
    worker = await drain(queue, handle, breaker=Breaker(failures=1))
    assert worker.health().failed == 1
    assert not await is_paused(queue)


async def test_a_share_asks_for_so_many_failures_at_least(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        raise ConnectionError('the service is down')

    breaker = Breaker(failures=5, share=0.1, window=10)
    await queue.enqueue_many(range(4), max_attempts=1)
    async with Worker(queue, handle, breaker=breaker, concurrency=1) as worker:
        await until(lambda: worker.health().dead == 4)
        assert not await is_paused(queue)
        await queue.enqueue(5, max_attempts=1)
        await until(lambda: worker.health().dead == 5)
        assert await is_paused(queue)


async def test_a_breaker_begins_anew_when_an_operator_has_ended_its_pause(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        raise ConnectionError('the service is down')

    await queue.enqueue_many(range(2), max_attempts=1)
    async with Worker(queue, handle, breaker=Breaker(failures=2), concurrency=1) as worker:
        await until(lambda: worker.health().dead == 2)
        assert await is_paused(queue)
        await queue.resume()
        await queue.enqueue(3, max_attempts=1)
        await until(lambda: worker.health().dead == 3)
        assert not await is_paused(queue)


# Hooks


async def test_what_hooks_raise_changes_nothing(queue: Torrelque, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def note(what: str) -> Any:
        async def hook(*args: Any) -> None:
            told.append(what)
            raise ZeroDivisionError(what)

        return hook

    async def handle(delivery: Delivery) -> str:
        told.append(delivery.task)
        if delivery.task == 'bad':
            raise ValueError('no')
        return 'yes'

    class Mine:
        queues = (queue,)
        job = Job(handle, on_success=note("the job's on_success"), on_dead=note("the job's on_dead"), max_attempts=1)

        async def prepare(self) -> None: ...

        def find(self, delivery: Delivery) -> Job:
            return self.job

    good, bad = await queue.enqueue_many(['good', 'bad'])
    names = ('on_start', 'on_success', 'on_error', 'on_dead')
    worker = await drain(Mine(), concurrency=1, **{name: note(name) for name in names})
    assert told == [
        'on_start', 'good', 'on_success', "the job's on_success",
        'on_start', 'bad', 'on_error', 'on_dead', "the job's on_dead",
    ]  # fmt: skip
    assert (worker.health().succeeded, worker.health().dead) == (1, 1)
    assert (await queue.get_task_state(good)).result == 'yes'
    assert (await queue.get_task_state(bad)).status is Status.DEAD
    for what in {*told} - {'good', 'bad'}:
        assert f'ZeroDivisionError: {what}' in caplog.text


# Health


async def test_workers_are_told_in_the_order_of_their_names(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    options: dict[str, Any] = {'heartbeat': 1000}
    async with Worker(queue, handle, name='b', **options):
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        # Its last beat is the later one.
        async with Worker(queue, handle, name='a', **options):
            while len(found := await get_workers(queue)) < 2:
                await asyncio.sleep(0.005)
    assert [each.name for each in found] == ['a', 'b']


async def test_the_names_of_workers_that_were_killed_go(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    key = queue.keys['workers']
    await client.zadd(key, {'killed': 1_000_000})
    async with Worker(queue, handle, name='mine', heartbeat=0.05):
        while await client.zrange(key, 0, -1) != [b'mine']:
            await asyncio.sleep(0.005)


async def test_a_heart_may_miss_a_beat(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    key = queue.keys['worker'] + ':mine'
    async with Worker(queue, handle, name='mine', heartbeat=1000):
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        seen = float(await client.hget(key, 'seen') or 0)
        for late, names in ((2_500_000, ['mine']), (3_500_000, [])):
            await client.hset(key, 'seen', f'{seen - late:.0f}')
            assert [each.name for each in await get_workers(queue)] == names


# Signals


@pytest.fixture
def handled() -> Iterator[dict[signal.Signals, Any]]:
    """Handlers of signals that an application has set."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    own: dict[signal.Signals, Any] = {number: lambda *_: None for number in numbers}
    for number, handler in own.items():
        signal.signal(number, handler)
    yield own
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_handlers_of_signals_are_as_they_were_after_a_run(
    queue: Torrelque, handled: dict[signal.Signals, Any]
) -> None:
    def now() -> dict[signal.Signals, Any]:
        return {number: signal.getsignal(number) for number in handled}

    async def handle(delivery: Delivery) -> None:
        seen.append(now())

    seen: list[Any] = []
    await queue.enqueue(1)
    await drain(queue, handle)
    assert seen != [handled] and now() == handled
    # Where there are two of them, with the end of the last.
    lasting = Worker(queue, handle)
    going = asyncio.ensure_future(lasting.run())
    await until(lambda: now() != handled)
    await drain(queue, handle)
    assert now() != handled
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(going, 60)
    assert now() == handled
    await queue.enqueue(1)
    await drain(queue, handle, signals=False)
    await queue.enqueue(1)
    async with Worker(queue, handle) as worker:
        await until(lambda: worker.health().succeeded)
    assert seen[1:] == [handled, handled]


PROGRAM = """
import sys, threading, redis.asyncio, torrelque
from torrelque.worker import ThreadWorker

def hang(delivery):
    begun.set()
    threading.Event().wait()

begun = threading.Event()
queue = torrelque.Torrelque(redis.asyncio.Redis(unix_socket_path=sys.argv[1]), queue=sys.argv[2])
worker = ThreadWorker(queue, hang).start()
worker.call(queue.enqueue(1, task_timeout=1))
begun.wait()
worker.stop(timeout=0.01)
print(worker.join(timeout=0.01), worker.is_alive())
"""


async def test_a_program_may_end_without_its_worker(server: RealServer, queue: Torrelque, tmp_path: Path) -> None:
    path = tmp_path / 'program.py'
    path.write_text(PROGRAM)
    command = [sys.executable, str(path), server.socket, queue.name]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, out) == (0, 'False True\n')
    # The lease brings the task back.
    assert (await queue.dequeue(60))[0].attempt == 2


def test_the_queue_of_a_worker_in_a_thread_is_closed_with_it(server: RealServer, queue_name: str) -> None:
    def handle(delivery: Delivery) -> None: ...

    queue = Torrelque(server.client(), queue=queue_name)
    with ThreadWorker(queue, handle) as worker:
        worker.call(queue.get_queue_stats())
    with pytest.raises(torrelque.TorrelqueClosedError):
        asyncio.run(queue.enqueue(1))


# Processes


def tell_process(delivery: ChildDelivery) -> int:
    return os.getpid()


async def test_a_process_is_used_again(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(3))
    await drain(queue, tell_process, run_in='process', concurrency=1)
    found = {(await queue.get_task_state(task_id)).result for task_id in ids}
    assert len(found) == 1 and found != {os.getpid()}


# Threads

tenant: contextvars.ContextVar[str] = contextvars.ContextVar('tenant', default='nobody')


async def test_a_thread_sees_the_context_variables_of_the_middleware(queue: Torrelque) -> None:
    async def name(delivery: Delivery, call_next: Any) -> Any:
        tenant.set(delivery.task)
        return await call_next(delivery)

    def handle(delivery: Delivery) -> str:
        seen = tenant.get()
        tenant.set('somebody')
        return seen

    tasks = ['acme', 'bolt', 'cord']
    ids = await queue.enqueue_many(tasks)
    await drain(queue, handle, middleware=[name], concurrency=1)
    assert [(await queue.get_task_state(task_id)).result for task_id in ids] == tasks


@pytest.mark.parametrize('kind', [StopIteration, KeyboardInterrupt])
async def test_what_no_future_takes_is_a_failure_of_its_thread(queue: Torrelque, kind: type[BaseException]) -> None:
    def handle(delivery: Delivery) -> None:
        raise kind

    task_id = await queue.enqueue(1, max_attempts=1)
    worker = await drain(queue, handle)
    assert worker.health().dead == 1
    assert kind.__name__ in ((await queue.get_task_state(task_id)).error or '')
