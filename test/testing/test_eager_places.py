"""Calls that run at once: where they run, what they enqueue themselves, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from torrelque import (
    TorrelqueTaskStatus as Status,
    TorrelqueTimeoutError,
)
from torrelque.tasks import Call, CallNext, TaskFailedError, Tasks, current
from torrelque.testing import eager

NOWHERE = 'redis://nowhere.invalid'
"""Whoever uses the server of this address fails, and does so late."""


@pytest.fixture
def app() -> Tasks:
    return Tasks.from_url(NOWHERE, queue='shop')


# Where it runs


def test_a_plain_function_runs_in_the_thread_that_pushes(app: Tasks) -> None:
    local = threading.local()
    local.transaction = 'open'
    entered: list[str] = []

    @contextlib.contextmanager
    def around(delivery: Any) -> Iterator[None]:
        entered.append(local.transaction)
        yield
        entered.append('left')

    app = Tasks.from_url(NOWHERE, queue='shop', around_thread=around)

    @app.task
    def look() -> str:
        return str(local.transaction)

    @app.task
    def outer() -> str:
        return look.push().wait_result() + ' in ' + str(local.transaction)

    @app.task
    async def asynchronous() -> str:
        return await (await look.enqueue()).result()

    with eager(app):
        assert look.push().wait_result() == 'open'
        assert outer.push().wait_result() == 'open in open'
        assert asynchronous.push().wait_result() == 'open'
    assert entered == ['open', 'left', 'open', 'open', 'left', 'left', 'open', 'left']


async def test_a_plain_function_of_an_event_loop_runs_in_another_thread(app: Tasks) -> None:
    @app.task
    def look() -> bool:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        assert current().report('from here')
        return threading.current_thread() is threading.main_thread()

    @app.task
    async def here() -> int:
        return id(asyncio.get_running_loop())

    @app.task
    def outer() -> bool:
        return look.push().wait_result()

    with eager(app, around_thread=lambda delivery: contextlib.nullcontext()):
        assert not await (await look.enqueue()).result()
        assert not await (await outer.enqueue()).result()
        assert await (await here.enqueue()).result() == id(asyncio.get_running_loop())


def in_process() -> int:
    return os.getpid()


def test_a_function_for_a_process_runs_in_this_one_and_must_be_found_by_its_name(app: Tasks) -> None:
    portable = app.task(name='portable', run_in='process')(in_process)

    @app.task(run_in='process')
    def inside() -> None:
        pass

    with eager(app):
        assert portable.push().wait_result() == os.getpid()
        with pytest.raises(TaskFailedError, match='must be a function of a module'):
            inside.push().wait_result()


def test_a_plain_function_that_returns_a_coroutine(app: Tasks) -> None:
    async def rest() -> int:
        return current().attempt

    @app.task
    def work() -> Any:
        return rest()

    with eager(app):
        assert work.push().wait_result() == 1


def test_an_interrupt_from_the_keyboard_goes_through(app: Tasks) -> None:
    @app.task
    def interrupted() -> None:
        raise KeyboardInterrupt

    @app.task(max_attempts=1)
    def ends() -> None:
        raise SystemExit(3)

    with eager(app):
        with pytest.raises(KeyboardInterrupt):
            interrupted.push()
        with pytest.raises(TaskFailedError, match='SystemExit'):
            ends.push().wait_result()


async def test_a_call_that_is_cancelled_ends_what_it_runs(app: Tasks) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @app.task
    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with eager(app) as ran:
        call = asyncio.ensure_future(hang.enqueue())
        await begun.wait()
        (task,) = ran.tasks
        assert task.state.status is Status.WORKING
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() and ended.is_set()
        assert (task.state.status, task.state.forgiven) == (Status.PENDING, 1)
        with pytest.raises(TorrelqueTimeoutError):
            await hang.handle(task.id).result()


async def test_a_task_is_followed_and_cancelled_while_it_runs(app: Tasks) -> None:
    begun = asyncio.Event()
    seen: list[Any] = []

    @app.task
    async def work() -> None:
        for number in range(3):
            assert await current().touch(progress=number)
            while len(seen) < number + 1:
                await asyncio.sleep(0)
        begun.set()
        while await current().touch():
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    with eager(app) as ran:
        call = asyncio.ensure_future(work.enqueue())
        while not ran.tasks:
            await asyncio.sleep(0)
        handle = work.handle(ran.tasks[0].id)
        with pytest.raises(TorrelqueTimeoutError, match='is not final in time'):
            await handle.result(timeout=0)
        async for state in handle.watch(60):
            if state.progress not in seen and state.progress is not None:
                seen.append(state.progress)
            if len(seen) == 3:
                break
        await begun.wait()
        assert await handle.cancel()
        await asyncio.wait_for(call, 60)
        assert (await handle.state()).status is Status.CANCELLED
    assert seen == [0, 1, 2]


# Tasks of tasks


async def test_what_a_task_enqueues_has_run_before_it_goes_on(app: Tasks) -> None:
    order: list[str] = []

    @app.task
    async def inner(number: int) -> int:
        order.append(f'inner {number}')
        return number

    @app.task
    async def outer() -> int:
        order.append('begin')
        handles = await inner.map([1, 2])
        order.append('end')
        return sum([await handle.result() for handle in handles])

    with eager(app) as ran:
        assert await (await outer.enqueue()).result() == 3
        assert [task.name and task.name.rpartition('.')[2] for task in ran.tasks] == ['outer', 'inner', 'inner']
    assert order == ['begin', 'inner 1', 'inner 2', 'end']


def lifespan_of(events: list[str]) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(app: Tasks) -> AsyncIterator[dict[str, int]]:
        events.append('enter')
        yield {'number': len(events)}
        events.append('leave')

    return lifespan


async def test_resources_of_the_app_are_there_for_a_call_and_what_it_enqueues() -> None:
    events: list[str] = []
    app = Tasks.from_url(NOWHERE, queue='shop', lifespan=lifespan_of(events))

    @app.task
    async def inner() -> Any:
        return current().state['number']

    @app.task
    async def outer() -> Any:
        return [current().state['number'], await (await inner.enqueue()).result()]

    with eager(app):
        assert await (await outer.enqueue()).result() == [1, 1]
        assert await (await inner.enqueue()).result() == 3
    assert events == ['enter', 'leave'] * 2


async def test_a_state_of_the_tests_own_takes_the_place_of_the_resources() -> None:
    events: list[str] = []
    app = Tasks.from_url(NOWHERE, queue='shop', lifespan=lifespan_of(events))

    @app.task
    async def look() -> Any:
        return current().state

    with eager(app, state='of the test'):
        assert await (await look.enqueue()).result() == 'of the test'
    with eager(app, state=None):
        assert await (await look.enqueue()).result() is None
    assert events == []


async def test_an_error_of_the_resources_is_raised_by_the_call() -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: Tasks) -> AsyncIterator[None]:
        raise OSError('no database')
        yield

    app = Tasks.from_url(NOWHERE, queue='shop', lifespan=lifespan)

    @app.task
    async def look() -> None:
        pass

    with eager(app) as ran, pytest.raises(OSError, match='no database'):
        await look.enqueue()
    assert ran.tasks[0].state.status is Status.PENDING


# Strict order


async def pass_on(call: Call, call_next: CallNext) -> str:
    return await call_next(call)


@pytest.mark.parametrize('middleware', [False, True])
async def test_calls_of_an_ordered_queue_run_one_at_a_time_in_their_order(middleware: bool) -> None:
    order: list[Any] = []
    app = Tasks.from_url(NOWHERE, queue='shop', middleware=[pass_on] if middleware else [])

    @app.fifo(queue='orders', max_retries=1)
    async def ship(number: int) -> int:
        order.append(number)
        await asyncio.sleep(0)
        order.append(-number)
        if number == 2 and current().attempt == 1:
            raise OSError
        return number

    with eager(app):
        handles = [ship(number) for number in (1, 2, 3)]
        assert [await handle.result() for handle in handles] == [1, 2, 3]
        assert order == [1, -1, 2, -2, 2, -2, 3, -3]
        order.clear()
        handles = [ship(number) for number in (4, 5, 6)]
        await asyncio.gather(*(_sent(handle) for handle in handles))
        assert order == [4, -4, 5, -5, 6, -6]
        assert [await handle.result() for handle in await ship.map([7, 8])] == [7, 8]


async def _sent(handle: Any) -> Any:
    return await handle


@pytest.mark.parametrize('middleware', [False, True])
async def test_what_an_ordered_task_puts_into_its_own_queue_comes_behind_it(middleware: bool) -> None:
    order: list[Any] = []
    app = Tasks.from_url(NOWHERE, queue='shop', middleware=[pass_on] if middleware else [])

    @app.fifo(queue='orders')
    async def down(number: int) -> None:
        order.append(number)
        if number:
            handle = await down(number - 1)
            assert (await handle.state()).status is Status.PENDING
            await other(number)
        order.append(-number)

    @app.fifo(queue='others')
    async def other(number: int) -> None:
        order.append(f'other {number}')

    with eager(app) as ran:
        await down(2)
        assert [task.state.status for task in ran.tasks] == [Status.COMPLETED] * 5
    assert order == [2, 'other 2', -2, 1, 'other 1', -1, 0, 0]


def test_an_ordered_queue_of_synchronous_code(app: Tasks) -> None:
    order: list[int] = []

    @app.fifo(queue='orders')
    def down(number: int) -> int:
        order.append(number)
        if number:
            down(number - 1)
        order.append(-number)
        return number

    with eager(app):
        assert down(2).wait_result() == 2
    assert order == [2, -2, 1, -1, 0, 0]


def test_threads_that_push_into_an_ordered_queue_wait_for_one_another(app: Tasks) -> None:
    running, most, done = 0, 0, []
    barrier = threading.Barrier(4)

    @app.fifo(queue='orders')
    def work(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        done.append(number)
        running -= 1

    def push(number: int) -> None:
        barrier.wait(60)
        for _ in range(10):
            assert work.push(number).id

    with eager(app), ThreadPoolExecutor(4) as threads:
        assert [*threads.map(push, range(4))] == [None] * 4
    assert most == 1 and sorted(done) == sorted([*range(4)] * 10)


async def test_event_loops_of_other_threads_share_the_order_of_an_ordered_queue(app: Tasks) -> None:
    running, most = 0, 0

    @app.fifo(queue='orders')
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async def work_on() -> None:
        for _ in range(20):
            await work()

    with eager(app) as ran:
        await asyncio.gather(work_on(), *(asyncio.to_thread(asyncio.run, work_on()) for _ in range(3)))
        assert [task.state.status for task in ran.tasks] == [Status.COMPLETED] * 80
    assert most == 1
