"""Clean-up of what the worker makes for a function: by failures, ends, and its own errors."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Annotated, Any

import pytest

from support.needing import EVENTS, Session, agenerate, events, generate, make  # noqa: F401
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.tasks import Depends, TaskFailedError, Tasks, current, injected
from torrelque.worker import Reject, Worker

# What is tested here has little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


async def drain(app: Tasks, **options: Any) -> Worker:
    worker = Worker(app, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


def transaction() -> Iterator[str]:
    EVENTS.append('begin')
    try:
        yield 'T'
    except BaseException as exc:
        EVENTS.append(type(exc).__name__)
        raise
    else:
        EVENTS.append('commit')
    finally:
        EVENTS.append('closed')


async def atransaction() -> AsyncIterator[str]:
    EVENTS.append('begin')
    try:
        yield 'T'
    except BaseException as exc:
        EVENTS.append(type(exc).__name__)
        raise
    finally:
        await asyncio.sleep(0)
        EVENTS.append('closed')


@pytest.mark.parametrize('make', [transaction, atransaction])
async def test_clean_up_sees_the_error_of_the_function(app: Tasks, make: Any) -> None:
    @app.task(max_attempts=2, retry=0)
    async def fail(held: Annotated[str, Depends(make)] = injected) -> None:
        raise ConnectionError(held)

    handle = await fail.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='ConnectionError: T'):
        await handle.result(10)
    assert EVENTS == ['begin', 'ConnectionError', 'closed'] * 2


async def test_clean_up_in_a_thread_sees_the_error_of_the_function(app: Tasks) -> None:
    @app.task(max_attempts=1)
    def fail(held: Annotated[str, Depends(transaction)] = injected) -> None:
        raise ConnectionError(held)

    handle = await fail.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='ConnectionError: T'):
        await handle.result(10)
    assert EVENTS == ['begin', 'ConnectionError', 'closed']


@pytest.mark.parametrize('make', [transaction, atransaction])
async def test_clean_up_is_run_at_the_time_limit(app: Tasks, make: Any) -> None:
    @app.task(timeout=0.01, max_attempts=1)
    async def sleep(held: Annotated[str, Depends(make)] = injected) -> None:
        await asyncio.Event().wait()

    handle = await sleep.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='time limit'):
        await handle.result(10)
    assert EVENTS == ['begin', 'CancelledError', 'closed']


async def test_a_thread_whose_attempt_was_given_up_commits_nothing(app: Tasks) -> None:
    given_up, over = threading.Event(), list[bool]()

    @app.task(timeout=1, max_attempts=1, on_dead=lambda delivery, error: given_up.set())
    def work(held: Annotated[str, Depends(transaction)] = injected) -> None:
        over.append(current().over)
        given_up.wait(60)
        over.append(current().over)

    handle = await work.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='time limit'):
        await handle.result(10)
    assert EVENTS == ['begin', 'TorrelqueError', 'closed'] and over == [False, True]


async def test_what_is_made_by_a_method_is_made_once_and_found_in_a_union(app: Tasks) -> None:
    class Maker:
        count = 0

        def make(self) -> int:
            self.count += 1
            return self.count

    maker = Maker()

    @app.task
    async def add(
        one: Annotated[int, Depends(maker.make)] = injected,
        other: Annotated[int, Depends(maker.make)] | None = injected,
    ) -> list[int | None]:
        return [one, other]

    handle = await add.enqueue()
    await drain(app)
    assert await handle.result(10) == [1, 1]


@pytest.mark.parametrize('make', [transaction, atransaction])
async def test_clean_up_is_run_when_the_task_is_cancelled(app: Tasks, queue: Torrelque, make: Any) -> None:
    begun = asyncio.Event()

    @app.task
    async def sleep(held: Annotated[str, Depends(make)] = injected) -> None:
        begun.set()
        await asyncio.Event().wait()

    handle = await sleep.enqueue()
    async with Worker(app):
        await begun.wait()
        assert await handle.cancel()
        with pytest.raises(TaskFailedError, match='cancelled'):
            await handle.result(60)
    assert EVENTS == ['begin', 'CancelledError', 'closed']


@pytest.mark.parametrize('make', [transaction, atransaction])
async def test_clean_up_is_run_when_the_worker_ends(app: Tasks, make: Any) -> None:
    begun = asyncio.Event()

    @app.task
    async def sleep(held: Annotated[str, Depends(make)] = injected) -> None:
        begun.set()
        await asyncio.Event().wait()

    handle = await sleep.enqueue()
    async with Worker(app, shutdown_timeout=0):
        await begun.wait()
    assert (await handle.state()).status is Status.PENDING
    assert EVENTS == ['begin', 'CancelledError', 'closed']


def broken() -> Iterator[None]:
    EVENTS.append('open')
    yield
    EVENTS.append('breaks')
    raise OSError('no commit')


def always_broken() -> Iterator[None]:
    try:
        yield
    finally:
        raise OSError('no clean-up')


@pytest.mark.parametrize('kind', ['coroutine', 'plain'])
async def test_an_error_of_clean_up_fails_an_attempt_that_had_succeeded(app: Tasks, kind: str) -> None:
    # What stands behind the yield may be a commit, so the work is not done where that fails.
    async def one(outer: str = Depends(transaction), it: None = Depends(broken)) -> int:
        return 1

    def other(outer: str = Depends(transaction), it: None = Depends(broken)) -> int:
        return 1

    function: Any = app.task(max_attempts=2, retry=0)(one if kind == 'coroutine' else other)
    handle = await function.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='OSError: no commit'):
        await handle.result(10)
    # Whoever is further out is cleaned up too, and sees the error.
    assert EVENTS == ['begin', 'open', 'breaks', 'OSError', 'closed'] * 2


@pytest.mark.parametrize('kind', ['coroutine', 'plain'])
async def test_an_error_of_clean_up_is_logged_beside_that_of_the_function(
    app: Tasks, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def one(it: None = Depends(always_broken)) -> int:
        raise Reject('never')

    def other(it: None = Depends(always_broken)) -> int:
        raise Reject('never')

    function: Any = app.task(max_attempts=5)(one if kind == 'coroutine' else other)
    handle = await function.enqueue()
    await drain(app)
    state = await handle.state()
    assert state.status is Status.DEAD
    assert state.dequeue_count == 1  # the error of clean-up would have been tried again
    assert state.error is not None and state.error.endswith('never')
    assert 'clean-up has failed' in caplog.text
    assert 'OSError: no clean-up' in caplog.text


def swallow() -> Iterator[None]:
    with contextlib.suppress(BaseException):
        yield


async def aswallow() -> AsyncIterator[None]:
    with contextlib.suppress(BaseException):
        yield


@pytest.mark.parametrize('kind', ['coroutine', 'coroutine, async', 'plain'])
async def test_clean_up_that_swallows_the_error_makes_no_success_of_it(app: Tasks, kind: str) -> None:
    swallows: Any = aswallow if kind.endswith('async') else swallow

    async def one(it: None = Depends(swallows)) -> int:
        raise ConnectionError('away')

    def other(it: Annotated[None, Depends(swallow)] = injected) -> int:
        raise ConnectionError('away')

    function: Any = app.task(max_attempts=1)(other if kind == 'plain' else one)
    handle = await function.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='ConnectionError: away'):
        await handle.result(10)


async def test_what_cannot_be_made_fails_the_attempt(app: Tasks) -> None:
    def refuse(before: str = Depends(transaction)) -> None:
        raise ConnectionError('no session')

    @app.task(max_attempts=1)
    async def send(it: None = Depends(refuse)) -> None:
        EVENTS.append('never')

    handle = await send.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='no session'):
        await handle.result(10)
    assert EVENTS == ['begin', 'ConnectionError', 'closed']


async def test_nothing_is_made_for_arguments_that_do_not_fit(app: Tasks, queue: Torrelque) -> None:
    @app.task(name='mail')
    async def send(to: str, session: Annotated[Session, Depends(make)] = injected) -> None: ...

    for args, kwargs in [([], {}), (['a', 'b'], {}), (['a'], {'session': 1}), ([1], {})]:
        task_id = await queue.enqueue({'task': 'mail', 'args': args, 'kwargs': kwargs})
        await drain(app)
        state = await queue.get_task_state(task_id)
        assert state.status is Status.DEAD and state.dequeue_count == 1
        assert state.error is not None and 'Reject' in state.error
    assert EVENTS == []


async def test_the_rest_of_a_plain_wrapper_keeps_what_was_made(app: Tasks) -> None:
    async def rest(session: Session) -> str:
        await asyncio.sleep(0)
        return session.add('joe')

    @app.task
    def send(session: Annotated[Session, Depends(generate)] = injected) -> Awaitable[str]:
        return rest(session)

    handle = await send.enqueue()
    await drain(app)
    assert await handle.result(10) == 'added joe'  # type: ignore[comparison-overlap]  # it was awaited
    assert EVENTS == ['open', 'joe', 'close']


async def test_a_call_in_strict_order_has_it_too(app: Tasks, queue: Torrelque) -> None:
    @app.fifo(queue='mail')
    async def send(to: str, session: Annotated[Session, Depends(agenerate)] = injected) -> str:
        return session.add(to)

    handles = [await send('joe'), await send('ann')]
    await drain(app)
    assert [await handle.result(10) for handle in handles] == ['added joe', 'added ann']
    assert EVENTS == ['open', 'joe', 'close', 'open', 'ann', 'close']
