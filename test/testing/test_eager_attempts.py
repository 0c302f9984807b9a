"""Calls that run at once: their attempts, and the block around them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
import redis.asyncio

from torrelque import (
    Torrelque,
    TorrelqueClosedError,
    TorrelqueError,
    TorrelqueTaskStatus as Status,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.tasks import TaskFailedError, Tasks, current
from torrelque.testing import NotIdleError, eager, run_until_idle
from torrelque.worker import Backoff, Reject, Retry, ThreadWorker, Worker

NOWHERE = 'redis://nowhere.invalid'
"""Whoever uses the server of this address fails, and does so late."""


@pytest.fixture
def app() -> Tasks:
    return Tasks.from_url(NOWHERE, queue='shop')


# Attempts


async def test_failures_are_tried_again_without_waiting(app: Tasks) -> None:
    told: list[Any] = []

    def on_error(delivery: Any, error: BaseException) -> None:
        told.append(('error', delivery.attempt, str(error)))

    def on_success(delivery: Any, result: Any) -> None:
        told.append(('success', delivery.attempt, result))

    @app.task(retry=3600, max_attempts=5, on_error=on_error, on_success=on_success)
    def flaky() -> str:
        if current().attempt < 3:
            raise OSError(f'attempt {current().attempt}')
        if current().attempt == 3:
            raise Retry(delay=7200, reason='once more')
        return 'done'

    with eager(app):
        handle = await flaky.enqueue()
        state = await handle.state()
    assert told == [
        ('error', 1, 'attempt 1'), ('error', 2, 'attempt 2'), ('error', 3, 'once more'), ('success', 4, 'done'),
    ]  # fmt: skip
    assert (state.status, state.result, state.dequeue_count, state.requeue_count) == (Status.COMPLETED, 'done', 4, 3)
    assert [(failed.number, failed.error) for failed in state.history] == [
        (1, 'OSError: attempt 1'), (2, 'OSError: attempt 2'), (3, 'torrelque.worker.retry.Retry: once more'),
    ]  # fmt: skip
    assert state.ready_time is None and state.due_time is None


async def test_a_state_tells_the_same_as_on_a_server(queue: Torrelque) -> None:
    def make(client: Any) -> Tasks:
        app = Tasks(Torrelque(client, queue=queue.name))

        @app.task(name='never', retry=0.001, max_attempts=12)
        def never() -> None:
            raise OSError(('é' * 200 if current().attempt % 2 else 'a\x1b\n') + '\n')

        return app

    app, played = make(queue.client), make(redis.asyncio.Redis(host='nowhere.invalid'))
    real = await app.functions['never'].options(delay=0.001).enqueue()
    await run_until_idle(app)
    with eager(played):
        handle = await played.functions['never'].options(delay=0.001).enqueue()
        state = await handle.state()
    expected = await real.state()
    assert [attempt[::3] for attempt in state.history] == [attempt[::3] for attempt in expected.history]
    assert [attempt.number for attempt in state.history] == [1, *range(4, 13)]
    assert all(attempt.start <= attempt.end for attempt in state.history)
    assert state.status == expected.status == Status.DEAD
    assert state.ready_time and expected.ready_time
    assert state.due_time is expected.due_time is None


@pytest.mark.parametrize(
    ('of_function', 'of_call', 'of_block', 'attempts'),
    [
        ({'max_attempts': 3}, {}, {}, 3),
        ({'max_attempts': 3}, {'max_attempts': 2}, {}, 2),
        ({}, {}, {'max_attempts': 4}, 4),
        ({'retry': {ValueError: None}}, {}, {}, 1),
        ({'retry': lambda error, attempt: None if attempt == 2 else 60}, {}, {}, 2),
        ({}, {}, {'retry': {LookupError: 1, Exception: None}}, 1),
    ],
)
async def test_limits_and_rules_are_those_of_function_call_and_block(
    app: Tasks, of_function: Any, of_call: Any, of_block: Any, attempts: int
) -> None:
    dead: list[Any] = []

    @app.task(on_dead=lambda delivery, error: dead.append((delivery.attempt, str(error))), **of_function)
    async def fail() -> None:
        raise ValueError('as always')

    with eager(app, **of_block):
        state = await (await fail.options(**of_call).enqueue()).state()
    assert (state.status, state.dequeue_count) == (Status.DEAD, attempts)
    assert dead == [(attempts, 'as always')]


async def test_a_rejected_task_is_dead_at_once(app: Tasks) -> None:
    @app.task
    async def refuse() -> None:
        raise Reject('no such user')

    with eager(app):
        with pytest.raises(TaskFailedError, match='no such user'):
            await (await refuse.enqueue()).result()


@pytest.mark.parametrize('endless', [{}, {'max_attempts': -1}])
async def test_a_task_that_is_tried_for_ever_is_an_error(app: Tasks, endless: Any) -> None:
    count = 0

    @app.task(name='fail')
    def fail() -> None:
        nonlocal count
        count += 1
        raise OSError('away')

    @app.task
    async def outer() -> None:
        await fail.enqueue()

    with eager(app, most_attempts=7):
        with pytest.raises(NotIdleError, match=r'^tasks are left: fail, .* tried 7 times, .* OSError: away') as info:
            await fail.options(**endless).enqueue()
        assert info.value.left['shop'].pending == 1
        with pytest.raises(NotIdleError, match='fail'):
            await outer.enqueue()
        assert count == 14
        with pytest.raises(NotIdleError, match='fail'):
            await fail.map([]) if endless else await fail.starmap([(), ()])
            await fail.enqueue()


async def test_a_task_that_enqueues_itself_again_and_again_is_an_error(app: Tasks) -> None:
    @app.task(name='hourly')
    async def hourly() -> None:
        await hourly.options(delay=3600).enqueue()

    @app.task(name='daily')
    def daily() -> None:
        daily.options(delay=86400).push()

    for function in (hourly, daily):
        with eager(app) as ran:
            with pytest.raises(NotIdleError, match=f'{function.name}, .*enqueued by a task'):
                await function.enqueue()
        assert [task.state.status for task in ran.tasks] == [Status.COMPLETED] * 30 + [Status.PENDING]


def test_a_plain_function_that_pushes_itself_again_and_again_is_an_error(app: Tasks) -> None:
    @app.task(name='daily')
    def daily() -> None:
        daily.options(delay=86400).push()

    with eager(app), pytest.raises(NotIdleError, match='enqueued by a task'):
        daily.push()


async def test_a_limit_that_is_said_goes_before_that_of_the_block(app: Tasks) -> None:
    @app.task(max_attempts=9)
    async def fail() -> None:
        raise OSError

    with eager(app, most_attempts=3):
        assert (await (await fail.enqueue()).state()).dequeue_count == 9


async def test_a_time_limit_is_kept(app: Tasks) -> None:
    @app.task(timeout=0.01, max_attempts=2)
    async def hang() -> None:
        await asyncio.Event().wait()

    with eager(app):
        with pytest.raises(TaskFailedError, match=r'the time limit of 0\.01 s is over'):
            await (await hang.enqueue()).result()


async def test_a_retry_goes_before_what_an_ordered_task_has_put_behind_itself(app: Tasks) -> None:
    order: list[tuple[int, int]] = []

    @app.fifo(queue='orders', max_retries=1)
    async def work(number: int) -> None:
        order.append((number, current().attempt))
        if number and current().attempt == 1:
            await work(0)
            raise OSError

    with eager(app):
        await work(1)
    assert order == [(1, 1), (1, 2), (0, 1)]


async def test_middleware_and_hooks_of_a_worker_are_called(app: Tasks) -> None:
    told: list[str] = []

    @app.task
    async def work() -> str:
        return 'result'

    async def middleware(delivery: Any, call_next: Any) -> Any:
        told.append('before')
        return f'{await call_next(delivery)} of middleware'

    with eager(app, middleware=[middleware], on_start=lambda delivery: told.append('start')):
        assert await (await work.enqueue()).result() == 'result of middleware'
    assert told == ['start', 'before']


# The block


async def test_all_is_as_before_behind_the_block(app: Tasks) -> None:
    @app.task
    async def work() -> int:
        return 1

    kept = {**app._loops.__dict__}
    with pytest.raises(ZeroDivisionError), eager(app) as outer:
        await work.enqueue()
        async with eager(app) as inner:
            await work.enqueue()
            await work.enqueue()
        assert (len(outer.tasks), len(inner.tasks)) == (1, 2)
        queue = app.queue
        raise ZeroDivisionError
    assert app._loops.__dict__ == kept
    await asyncio.sleep(0.01)
    while not queue._closed:  # type: ignore[attr-defined]
        await asyncio.sleep(0.005)
    with pytest.raises(TorrelqueClosedError):
        await queue.enqueue({'task': work.name})


async def test_what_needs_a_server_is_refused(app: Tasks) -> None:
    with eager(app):
        for call in (app.queue.sweep(), app.queue.dequeue(0), app.queue.command('GET', 'a'), app.queue.pause('g')):
            with pytest.raises(TorrelqueError, match=r"^queue 'shop': in a block of testing\.eager there is no server"):
                await call
        with pytest.raises(TorrelqueError, match='part of a transaction'):
            await app.queue.enqueue(1, pipeline=app.queue.client.pipeline())
        with pytest.raises(TorrelqueError, match='part of a transaction'):
            await app.queue.enqueue_flow([], pipeline=app.queue.client.pipeline())
        with pytest.raises(TorrelqueTypeError, match='depends_on must be an iterable of task ids, not str'):
            await app.queue.enqueue(1, depends_on='a')


async def test_what_waits_for_others_is_counted_as_such(app: Tasks) -> None:
    with eager(app):
        await app.queue.enqueue(1, task_id='a')
        await app.queue.enqueue(2, task_id='b', depends_on=['a'])
        # The first is no call of a function, so it is dead.
        assert await app.queue.get_queue_stats() == (2, 0, 0, 0, 1, 1)


async def test_a_worker_of_the_application_finds_nothing_to_do(app: Tasks) -> None:
    @app.task
    async def work() -> int:
        return 1

    with eager(app):
        async with Worker(app):
            assert await (await work.enqueue()).result() == 1
        assert await run_until_idle(app) == 0
    with eager(app), ThreadWorker(app):
        assert await (await work.enqueue()).result() == 1
    with pytest.raises(TorrelqueError, match='still serves'):
        async with eager(app):
            running = asyncio.ensure_future(Worker(app, signals=False).run())
            await asyncio.sleep(0)
            assert await (await work.enqueue()).result() == 1
    with pytest.raises(TorrelqueClosedError):
        await running


async def test_an_app_that_is_served_is_refused(app: Tasks) -> None:
    with eager(app):
        @app.task
        async def inside() -> None:
            with pytest.raises(TorrelqueError, match='a worker serves it'), eager(app):
                pass

        assert (await (await inside.enqueue()).state()).status is Status.COMPLETED


def test_what_cannot_be_meant_is_refused_at_once(app: Tasks) -> None:
    bad: list[Any] = [
        {'retry': None}, {'max_attempts': 0}, {'timeout': 0}, {'run_in': 'moon'}, {'middleware': 'abc'},
        {'on_error': 3}, {'most_attempts': 0}, {'result_ttl': -1}, {'around_thread': 3},
    ]  # fmt: skip
    for options in bad:
        with pytest.raises((TorrelqueTypeError, TorrelqueValueError)):
            eager(app, **options)
    unfit: Any = 'app'
    with pytest.raises(TorrelqueTypeError, match='an app is a'):
        eager(unfit)
    with eager(app, retry=Backoff(base=1)):
        pass


def test_the_context_of_the_caller_is_seen_by_functions(app: Tasks) -> None:
    tenant = contextvars.ContextVar('tenant', default='')

    @app.task
    def look() -> str:
        return tenant.get()

    with eager(app):
        tenant.set('joe')
        assert look.push().wait_result() == 'joe'
