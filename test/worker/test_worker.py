"""The worker: how many at a time, what becomes of a task, where tasks come from."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.worker import Backoff, Delivery, Reject, Retry, Worker

NOW = Backoff(base=0, jitter=False)


async def drain(queue: Any, handler: Any = None, **options: Any) -> Worker:
    worker = Worker(queue, handler, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


async def test_a_handler_is_called_with_each_task_and_nothing_is_left(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    seen: list[tuple[Any, int, str | None, str]] = []

    async def handle(delivery: Delivery) -> None:
        seen.append((delivery.task, delivery.attempt, delivery.group, delivery.queue.name))

    await queue.enqueue_many(range(500))
    await queue.enqueue('grouped', group='g')
    worker = await drain(queue, handle, concurrency=30)
    assert sorted(task for task, *_ in seen if task != 'grouped') == [*range(500)]
    assert ('grouped', 1, 'g', queue.name) in seen
    assert len(seen) == 501
    assert worker.health().succeeded == 501
    assert worker.health().state == 'stopped'
    assert await nothing_left(client, queue)


@pytest.mark.parametrize('concurrency', [1, 7])
async def test_exactly_so_many_run_at_a_time(queue: Torrelque, concurrency: int) -> None:
    running = most = 0
    full = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == concurrency:
            full.set()
        await full.wait()
        await asyncio.sleep(0.001)
        running -= 1

    await queue.enqueue_many(range(50))
    await drain(queue, handle, concurrency=concurrency)
    assert most == concurrency
    stats = await queue.get_queue_stats()
    assert stats.tasks == 0


async def test_what_a_handler_returns_is_the_result(queue: Torrelque) -> None:
    task_id = await queue.enqueue({'n': 20})
    plain = await queue.enqueue({'n': 21})

    async def handle(delivery: Delivery) -> int | None:
        return delivery.task['n'] + 1 if delivery.id == task_id else None

    await drain(queue, handle)
    state = await queue.wait(task_id)
    assert (state.status, state.result) == (Status.COMPLETED, 21)
    with pytest.raises(torrelque.TorrelqueLookupError):
        await queue.get_task_state(plain)
    kept = await queue.enqueue(None)
    await drain(queue, handle, result_ttl=60)
    assert (await queue.get_task_state(kept)).status is Status.COMPLETED


async def test_a_result_that_cannot_be_kept_makes_the_task_dead(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)

    async def handle(delivery: Delivery) -> object:
        return object()

    worker = await drain(queue, handle)
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD
    assert 'the result cannot be serialised' in (state.error or '')
    assert worker.health().dead == 1


async def test_a_failed_task_is_tried_again_until_it_succeeds(queue: Torrelque) -> None:
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> str:
        attempts.append(delivery.attempt)
        if delivery.attempt < 4:
            raise ConnectionError(f'not at attempt {delivery.attempt}')
        state = await queue.get_task_state(delivery.id)
        assert 'ConnectionError: not at attempt 3' in (state.error or '')
        return 'done'

    task_id = await queue.enqueue(1)
    worker = await drain(queue, handle, retry=NOW)
    assert attempts == [1, 2, 3, 4]
    assert (await queue.get_task_state(task_id)).result == 'done'
    assert (worker.health().failed, worker.health().succeeded) == (3, 1)


@pytest.mark.parametrize(
    ('own', 'workers', 'expected'), [(None, 3, 3), (2, 3, 2), (4, 3, 4), (2, -1, 2), (2, None, 2)]
)
async def test_attempts_are_used_up(queue: Torrelque, own: int | None, workers: int | None, expected: int) -> None:
    task_id = await queue.enqueue(1, max_attempts=own)
    attempts = 0

    async def handle(delivery: Delivery) -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError('never')

    dead: list[str] = []
    await drain(
        queue, handle, max_attempts=workers, retry=NOW, on_dead=lambda delivery, error: dead.append(str(delivery.id))
    )
    assert attempts == expected
    assert dead == [task_id]
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD
    assert (state.error or '').startswith('Traceback') and (state.error or '').endswith('ValueError: never')


async def test_a_failed_task_whose_state_cannot_be_read_is_tried_again(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async def handle(delivery: Delivery) -> None:
        await client.hset(f'{queue.keys["task"]}:{delivery.id}', 'progress', 'rubbish')
        if delivery.attempt < 3:
            raise ValueError('not yet')

    await queue.enqueue(1, max_attempts=3)
    worker = await drain(queue, handle, retry=NOW)
    assert (worker.health().failed, worker.health().succeeded) == (2, 1)


@pytest.mark.parametrize('workers', [None, -1])
async def test_attempts_without_end(queue: Torrelque, workers: int | None) -> None:
    async def handle(delivery: Delivery) -> None:
        if delivery.attempt < 50:
            raise ValueError('not yet')

    await queue.enqueue(1)
    worker = await drain(queue, handle, max_attempts=workers, retry=NOW)
    assert worker.health().succeeded == 1


async def test_forgiven_attempts_do_not_count(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    for _ in range(5):
        await queue.requeue((await queue.dequeue())[0], forgive=True)
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise ValueError('never')

    await drain(queue, handle, max_attempts=2, retry=NOW)
    assert attempts == [6, 7]
    assert (await queue.get_task_state(task_id)).status is Status.DEAD


async def test_a_task_that_kills_its_workers_is_dead_without_being_tried_again(queue: Torrelque) -> None:
    # As killed consumers leave it.
    task_id = await queue.enqueue(1, task_timeout=0.05)
    for _ in range(3):
        await queue.dequeue()
    called = False

    async def handle(delivery: Delivery) -> None:
        nonlocal called
        called = True

    async with Worker(queue, handle, max_attempts=3):
        async for state in queue.watch(task_id, timeout=60):
            if state.status is Status.DEAD:
                break
    assert not called
    assert 'its attempts are used up' in (state.error or '')


async def test_a_handler_may_ask_for_another_attempt_or_reject_the_task(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async def handle(delivery: Delivery) -> None:
        if delivery.task == 'retry' and delivery.attempt == 1:
            raise Retry(delay=1000)
        if delivery.task == 'reject':
            raise Reject('no such address')

    retried = await queue.enqueue('retry', max_attempts=2)
    rejected = await queue.enqueue('reject')
    await drain(queue, handle)
    due = await client.zscore(queue.keys['delayed'], retried)
    seconds, _ = await client.time()
    assert due is not None and 900 < due / 1000 - seconds < 1100
    state = await queue.get_task_state(rejected)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert (state.error or '').endswith('Reject: no such address')


async def test_rules_by_exception(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    rules: Any = {OSError: 500, ConnectionError: Backoff(base=100, jitter=False), ValueError: None}
    errors: dict[str, Exception] = {
        'os': OSError('x'), 'refused': ConnectionRefusedError('x'), 'value': UnicodeError('x'), 'other': KeyError('x'),
    }  # fmt: skip

    async def handle(delivery: Delivery) -> None:
        raise errors[delivery.task]

    ids = {name: await queue.enqueue(name) for name in errors}
    seconds, _ = await client.time()
    worker = Worker(queue, handle, retry=rules, concurrency=4)
    async with worker:
        while worker.health().failed < 4:
            await asyncio.sleep(0.01)
    due = {name: await client.zscore(queue.keys['delayed'], task_id) for name, task_id in ids.items()}
    assert abs((due['os'] or 0) / 1000 - seconds - 500) < 60
    assert abs((due['refused'] or 0) / 1000 - seconds - 100) < 50
    assert (due['other'] or 0) / 1000 - seconds < 40
    assert (await queue.get_task_state(ids['value'])).status is Status.DEAD


async def test_a_rule_may_be_a_function_and_may_fail(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    def rule(error: BaseException, attempt: int) -> float | None:
        if attempt == 1:
            return 0
        return None if attempt == 2 else float('nan')

    async def handle(delivery: Delivery) -> None:
        raise ValueError('x')

    task_id = await queue.enqueue(1)
    await drain(queue, handle, retry=rule)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 2)

    def broken(error: BaseException, attempt: int) -> float | None:
        raise ZeroDivisionError

    task_id = await queue.enqueue(2)
    async with Worker(queue, handle, retry=broken):
        async for state in queue.watch(task_id, timeout=60):
            if state.requeue_count or state.status is Status.DELAYED:
                break
    assert 'the retry rule failed' in caplog.text


def test_a_back_off_grows_to_its_cap_and_is_drawn_evenly() -> None:
    assert [Backoff(jitter=False).delay(n) for n in (1, 2, 3, 9, 10, 100_000)] == [1, 2, 4, 256, 300, 300]
    drawn = [Backoff(base=2).delay(3) for _ in range(1000)]
    assert 0 <= min(drawn) < 1 and 7 < max(drawn) <= 8
    assert 3 < sum(drawn) / 1000 < 5
    for options in ({'base': -1}, {'factor': 0.5}, {'cap': float('nan')}, {'cap': float('inf')}):
        with pytest.raises(torrelque.TorrelqueValueError):
            Backoff(**options)
    with pytest.raises(torrelque.TorrelqueTypeError):
        Backoff(base='1')  # type: ignore[arg-type]
