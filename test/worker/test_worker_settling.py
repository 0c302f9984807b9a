"""The worker: what a task is booked as, and that it is booked whatever the server refuses for a while."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support import refusing
from support.bounding import Bound
from support.waiting import until
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.worker import Delivery, Reject, Retry, Worker

alone = refusing.alone


# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

Handler = Callable[[Delivery], Awaitable[Any]]


async def until_async(condition: Callable[[], Awaitable[object]]) -> None:
    while not await condition():
        await asyncio.sleep(0.01)


# What a library makes of a cancellation


async def lets_it_pass() -> None:
    await asyncio.sleep(3600)


async def makes_it_an_error() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise ConnectionError('the connection was lost') from None


async def fails_to_clean_up() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        {'a': 1}['missing']


async def ends_by_an_abort() -> None:
    try:
        await asyncio.sleep(3600)
    except BaseException as exc:
        raise SystemExit('aborted') from exc


async def asks_for_another_attempt() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise Retry(delay=0) from None


async def is_a_group() -> None:
    async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]  # of Python 3.11
        group.create_task(makes_it_an_error())
        group.create_task(lets_it_pass())


ENDINGS = [lets_it_pass, makes_it_an_error, fails_to_clean_up, ends_by_an_abort, asks_for_another_attempt] + (
    [is_a_group] if sys.version_info >= (3, 11) else []
)


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('how', ['stop', 'cancelled', 'time limit', 'task cancelled', 'lease lost'])
@pytest.mark.first_server
async def test_a_cancellation_is_booked_as_what_it_is(
    queue: Torrelque, how: str, ending: Callable[[], Awaitable[None]]
) -> None:
    begun = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        begun.set()
        await ending()

    limit = how == 'time limit'
    task_id = await queue.enqueue(1, max_attempts=5 if limit else 1)
    rules: dict[str, Any] = {'timeout': 0.05, 'retry': {TimeoutError: None, BaseException: 3600}} if limit else {}
    worker = Worker(queue, handle, shutdown_timeout=0, burst=how not in ('stop', 'cancelled'), **rules)
    running = asyncio.ensure_future(worker.run())
    await begun.wait()
    if how == 'stop':
        worker.stop()
    elif how == 'cancelled':
        running.cancel()
    elif how == 'task cancelled':
        assert await queue.cancel(task_id)
    elif how == 'lease lost':
        assert await queue.requeue(str(task_id), delay=3600, forgive=True)  # by an operator, without a token
    await asyncio.wait([running])
    state = await queue.get_task_state(task_id)
    health = worker.health()
    expected = {
        'stop': (Status.PENDING, 0, (0, 0, 0)),
        'cancelled': (Status.PENDING, 0, (0, 0, 0)),
        'time limit': (Status.DEAD, 1, (1, 1, 0)),
        'task cancelled': (Status.CANCELLED, 1, (0, 0, 1)),
        'lease lost': (Status.DELAYED, 0, (0, 0, 1)),
    }
    counted = state.dequeue_count - state.forgiven
    assert (state.status, counted, (health.failed, health.dead, health.lost)) == expected[how]
    if limit:
        assert (state.error or '').endswith('TimeoutError: the time limit of 0.05 s is over')


async def test_the_end_of_the_event_loop_is_no_failure(server: Any, queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(2), max_attempts=1)

    def run() -> None:
        async def main() -> None:
            async with server.client() as own, Torrelque(own, queue=queue.name) as mine:
                begun: list[Delivery] = []

                async def handle(delivery: Delivery) -> None:
                    begun.append(delivery)
                    await (makes_it_an_error if delivery.task else lets_it_pass)()

                running = asyncio.ensure_future(Worker(mine, handle, signals=False).run())
                await until(lambda: len(begun) == 2)
                others = asyncio.all_tasks() - {asyncio.current_task()}
                for task in others:
                    task.cancel()
                await asyncio.wait([running])

        asyncio.run(main())

    await asyncio.to_thread(run)
    for task_id in ids:
        state = await queue.get_task_state(task_id)
        assert (state.status, state.dequeue_count - state.forgiven) == (Status.PENDING, 0)


@pytest.mark.parametrize('how', ['timer', 'now', 'raised', 'future'])
async def test_a_task_that_cancels_itself_is_a_failed_attempt(queue: Torrelque, how: str) -> None:
    async def handle(delivery: Delivery) -> None:
        this = asyncio.current_task()
        assert this is not None
        if how == 'timer':
            asyncio.get_running_loop().call_later(0.001, this.cancel)
            await asyncio.sleep(3600)
        if how == 'now':
            this.cancel()
            await asyncio.sleep(0)
        if how == 'raised':
            raise asyncio.CancelledError
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    task_id = await queue.enqueue(1, max_attempts=2)
    worker = Worker(queue, handle, retry=3600, burst=True)
    await worker.run()
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count, state.forgiven) == (Status.DELAYED, 1, 0)
    assert (state.error or '').rpartition('\n')[2].startswith('asyncio.exceptions.CancelledError')
    assert (worker.health().failed, worker.health().lost) == (1, 0)


async def test_a_timer_that_a_handler_left_behind_does_not_meet_the_settling(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> str:
        this = asyncio.current_task()
        assert this is not None
        # It goes off while the queue is told of the result.
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.call_soon(this.cancel))
        return 'done'

    seen: list[Any] = []
    ids = await queue.enqueue_many(range(20))
    worker = Worker(queue, handle, burst=True, on_success=lambda delivery, result: seen.append(result))
    await worker.run()
    assert worker.health().succeeded == 20 and seen == ['done'] * 20
    assert {(await queue.get_task_state(task_id)).status for task_id in ids} == {Status.COMPLETED}


@pytest.mark.parametrize('kind', [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize('place', ['coroutine', 'thread', 'middleware'])
async def test_an_interrupt_of_a_handler_is_a_failed_attempt(
    queue: Torrelque, place: str, kind: type[BaseException]
) -> None:
    async def coroutine(delivery: Delivery) -> None:
        if delivery.task == 'interrupt' and place == 'coroutine':
            raise kind

    def thread(delivery: Delivery) -> None:
        if delivery.task == 'interrupt':
            raise kind

    async def middleware(delivery: Delivery, call_next: Handler) -> Any:
        if delivery.task == 'interrupt' and place == 'middleware':
            raise kind
        return await call_next(delivery)

    task_id = await queue.enqueue('interrupt', max_attempts=1)
    await queue.enqueue_many(['other'] * 5)
    worker = Worker(queue, thread if place == 'thread' else coroutine, middleware=[middleware], burst=True)
    await worker.run()
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD and kind.__name__ in (state.error or '')
    assert (worker.health().succeeded, worker.health().dead) == (5, 1)


@pytest.mark.parametrize('what', ['bulk', 'kept', 'result', 'retry', 'dead', 'rejected', 'stopped', 'limited'])
async def test_what_was_done_is_booked_when_the_server_takes_writes_again(
    alone: tuple[redis.asyncio.Redis, Torrelque], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, queue = alone
    go = asyncio.Event()
    begun = 0

    async def handle(delivery: Delivery) -> Any:
        nonlocal begun
        begun += 1
        if what == 'limited':
            await asyncio.sleep(3600)
        await go.wait()
        if what in ('retry', 'dead'):
            raise ValueError('no')
        if what == 'rejected':
            raise Reject('never')
        return 'a result' if what == 'result' else None

    all_options: dict[str, dict[str, Any]] = {
        'kept': {'result_ttl': 600},
        'retry': {'retry': 3600},
        'limited': {'timeout': 0.3},
        'stopped': {'shutdown_timeout': 60},
    }
    options = all_options.get(what, {})
    # Those of `release_many`, in more than one call of it.
    count = 300 if what == 'bulk' else 3
    ids = await queue.enqueue_many(range(count), max_attempts=None if what == 'retry' else 1)
    worker = Worker(queue, handle, concurrency=count, **options)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: begun == count)
    await client.config_set('min-replicas-to-write', 1)
    go.set()
    if what == 'stopped':
        worker.stop()
    await until(lambda: [record for record in caplog.records if 'not settled yet' in record.getMessage()])
    await asyncio.sleep(0.3)  # of some more tries
    await client.config_set('min-replicas-to-write', 0)
    health = worker.health
    await until(lambda: health().succeeded + health().failed == count and not health().running)
    worker.stop()
    await running
    assert begun == count and health().lost == 0
    stats = await queue.get_queue_stats()
    dead = count if what in ('dead', 'rejected', 'limited') else 0
    assert (stats.dead, stats.delayed, stats.working) == (dead, count if what == 'retry' else 0, 0)
    if what in ('kept', 'result'):
        state = await queue.get_task_state(ids[0])
        assert (state.status, state.result) == (Status.COMPLETED, 'a result' if what == 'result' else None)


async def test_a_bulk_release_that_is_refused_half_way_loses_nothing(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        pass

    await queue.enqueue_many(range(600))
    release, calls = queue.release_many, 0

    async def refuse(task_ids: Any, **kwargs: Any) -> list[bool]:
        nonlocal calls
        ids, done = list(task_ids), []
        # As the queue does it: in calls of so many, of which one may be refused.
        for start in range(0, len(ids), 250):
            calls += 1
            if calls == 2:
                error = torrelque.TorrelqueServerError('NOREPLICAS not enough good replicas')
                error.passing = True
                raise error
            done += await release(ids[start : start + 250], **kwargs)
        return done

    queue.release_many = refuse  # type: ignore[method-assign]
    worker = Worker(queue, handle, burst=True, concurrency=600)
    await worker.run()
    assert (worker.health().succeeded, worker.health().lost) == (600, 0)


async def test_a_lease_is_renewed_while_its_task_cannot_be_settled(queue: Torrelque) -> None:
    queue.task_timeout = 1.5

    async def handle(delivery: Delivery) -> int:
        return 1

    task_id = await queue.enqueue(1)
    refused = 0
    release = queue.release

    async def refuse(*args: Any, **kwargs: Any) -> Any:
        nonlocal refused
        refused += 1
        if refused < 8:
            error = torrelque.TorrelqueServerError('NOREPLICAS not enough good replicas')
            error.passing = True
            raise error
        return await release(*args, **kwargs)

    queue.release = refuse  # type: ignore[method-assign]
    worker = Worker(queue, handle, burst=True)
    await worker.run()
    assert (worker.health().succeeded, worker.health().lost, refused) == (1, 0, 8)
    assert (await queue.get_task_state(task_id)).dequeue_count == 1


async def test_a_worker_that_stops_does_not_wait_for_ever_for_a_server_that_takes_no_writes(
    alone: tuple[redis.asyncio.Redis, Torrelque], worker_bound: Bound, caplog: pytest.LogCaptureFixture
) -> None:
    worker_bound(closing=0.3)
    client, queue = alone
    go = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await go.wait()

    await queue.enqueue_many(range(3))
    worker = Worker(queue, handle, shutdown_timeout=0.1)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: len(worker.health().running) == 3)
    await client.config_set('min-replicas-to-write', 1)
    go.set()
    await until(lambda: 'not settled yet' in caplog.text)
    worker.stop()
    await running
    assert [record.levelno for record in caplog.records if 'its lease will run out' in record.getMessage()] == [
        logging.ERROR
    ] * 3
    assert not [task for task in asyncio.all_tasks() if 'torrelque.worker' in repr(task.get_coro())]
