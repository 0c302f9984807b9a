"""Decorated tasks: what a worker does with a call, and what becomes of it."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.tasks import Handle, TaskFailedError, Tasks, current
from torrelque.worker import Delivery, Reject, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


async def drain(app: Tasks, **options: Any) -> Worker:
    worker = Worker(app, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


def add(left: int, right: int = 1, *, sign: int = 1) -> int:
    return sign * (left + right)


# At the worker


@pytest.mark.parametrize('kind', ['coroutine', 'thread'])
async def test_a_call_is_run_and_its_result_told(app: Tasks, kind: str) -> None:
    threads: list[threading.Thread] = []

    async def double(number: int) -> int:
        threads.append(threading.current_thread())
        await current().touch(progress=current().id)
        return 2 * number

    def twice(number: int) -> int:
        threads.append(threading.current_thread())
        current().report(current().id)
        return 2 * number

    function: Any = app.task(double if kind == 'coroutine' else twice)
    handles = await function.map(range(20))
    async with Worker(app):
        assert [await handle.result(60) for handle in handles] == [*range(0, 40, 2)]
    assert {thread is threading.main_thread() for thread in threads} == {kind == 'coroutine'}
    state = await handles[3].state()
    assert (state.status, state.result, state.progress) == (Status.COMPLETED, 6, handles[3].id)


async def test_each_call_has_its_own_delivery(app: Tasks) -> None:
    both = asyncio.Barrier(2) if sys.version_info >= (3, 11) else None

    @app.task
    async def mine(number: int) -> list[Any]:
        before = current().id
        await (both.wait() if both is not None else asyncio.sleep(0.05))
        return [before, current().id, current().attempt]

    handles = await mine.map(range(2))
    await drain(app)
    for handle in handles:
        assert await handle.result(60) == [handle.id, handle.id, 1]


async def attempt_of(number: int) -> list[Any]:
    """What a function is run for, here, in what it calls, and in what it begins."""

    async def nested() -> str:
        await asyncio.sleep(0)
        return current().id

    def in_thread() -> str:
        assert current().report(number)
        return current().id

    await current().touch(progress=number)
    ids = [await nested(), await asyncio.create_task(nested()), await asyncio.to_thread(in_thread)]
    ids += await asyncio.gather(nested(), asyncio.wait_for(nested(), 60))
    assert {*ids} == {current().id}
    return [current().id, number]


def plain(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Traced:
    """A decorator that is a class."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class AsyncTraced(Traced):
    async def __call__(self, *args: Any) -> Any:
        return await self.function(*args)


class Later:
    """What can be awaited, and is no coroutine."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Any:
        return self.coroutine.__await__()


DECORATORS: dict[str, Any] = {
    'none': lambda function: function,
    'a coroutine function': lambda function: as_coroutine_of(function),
    'a plain wrapper': plain,
    'two plain wrappers': lambda function: plain(plain(function)),
    'a partial': functools.partial,
    'a partial of a wrapper': lambda function: functools.partial(plain(function)),
    'a class': Traced,
    'a class with a coroutine function': AsyncTraced,
    'a partial of an object': lambda function: functools.partial(AsyncTraced(function)),
    'a method': lambda function: Traced(function).__call__,
    'a lambda': lambda function: lambda number: function(number),
    'an awaitable': lambda function: lambda number: Later(function(number)),
}


def as_coroutine_of(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any) -> Any:
        return await function(*args)

    return wrapper


@pytest.mark.parametrize('decorator', DECORATORS)
async def test_a_function_knows_its_task_behind_decorators(app: Tasks, decorator: str) -> None:
    function: Any = app.task(name='one', max_attempts=1)(DECORATORS[decorator](attempt_of))
    ordered: Any = app.fifo(queue='q', name='two', max_retries=0)(DECORATORS[decorator](attempt_of))
    handles = [*await function.map(range(3)), *await ordered.map(range(3))]
    async with Worker(app):
        for number, handle in enumerate(handles):
            assert await handle.result(60) == [handle.id, number % 3]
            assert (await handle.state()).progress == number % 3
    with pytest.raises(torrelque.TorrelqueError, match='not by a worker'):
        current()


async def test_a_delivery_is_gone_though_its_function_began_what_stays(app: Tasks, server: RealServer) -> None:
    queue = Torrelque(server.client(), queue=f'{app.queue.name}-other')
    other = Tasks(queue)
    there = other.task(add)
    stays = asyncio.Event()
    left: list[Any] = []

    @app.task
    async def begin() -> None:
        left.append(asyncio.create_task(stays.wait()))
        # Connections, timers, and a thread with an event loop.
        await there.enqueue(1)
        left.append(await asyncio.to_thread(there.push, 1))
        left.append(asyncio.get_running_loop().call_later(600, len, ()))

    handle = await begin.enqueue()
    await drain(app)
    gc.collect()
    assert not [each for each in gc.get_objects() if issubclass(type(each), Delivery) and each.id == handle.id]
    stays.set()
    await left[0]
    left[2].cancel()
    await other.aclose()
    await queue.aclose()


@pytest.mark.parametrize('kind', ['coroutine', 'thread'])
async def test_a_delivery_is_gone_with_its_task(app: Tasks, kind: str) -> None:
    async def one() -> str:
        return current().id

    def other() -> str:
        return current().id

    function: Any = app.task(one if kind == 'coroutine' else other)
    await function.starmap([()] * 50)
    gc.collect()
    gc.disable()
    try:
        await drain(app, concurrency=5)
        await asyncio.sleep(0)
        # The threads may hold what they had last.
        assert sum(issubclass(type(each), Delivery) for each in gc.get_objects()) <= 5
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ('payload', 'error'),
    [
        ('what', 'is no call'),
        (None, 'is no call'),
        ({}, 'is no call'),
        ({'task': 3}, "no function 3"),
        ({'task': ['plus']}, 'is no call'),
        ({'task': 'plus', 'args': 1}, 'is no call'),
        ({'task': 'plus', 'kwargs': [1]}, 'is no call'),
        ({'task': 'plus'}, "plus(left: 'int', right: 'int' = 1, *, sign: 'int' = 1) -> 'int': missing"),
        ({'task': 'plus', 'args': [1, 2, 3]}, 'the arguments are not those of plus'),
        ({'task': 'aplus', 'args': [1], 'kwargs': {'other': 1}}, 'the arguments are not those of aplus'),
        ({'task': 'plus', 'args': [1], 'result_ttl': 'long'}, 'must be a number of seconds'),
        ({'task': 'plus', 'args': [1], 'result_ttl': [1]}, 'must be a number of seconds'),
    ],
)
async def test_what_cannot_be_run_is_dead_at_once(app: Tasks, queue: Torrelque, payload: Any, error: str) -> None:
    @app.task(name='aplus')
    async def aplus(left: int) -> int:
        return left

    app.task(name='plus', retry=0)(add)
    task_id = await queue.enqueue(payload)
    await drain(app)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert error in (state.error or '')


@pytest.mark.parametrize('kind', ['coroutine', 'thread'])
async def test_a_type_error_of_the_function_itself_is_a_failure_like_others(app: Tasks, kind: str) -> None:
    attempts: list[int] = []

    async def one(value: Any) -> int:
        attempts.append(current().attempt)
        return len(value)

    def other(value: Any) -> int:
        attempts.append(current().attempt)
        return len(value)

    function: Any = app.task(max_attempts=3, retry=0)(one if kind == 'coroutine' else other)
    handle = await function.enqueue(5)
    await drain(app)
    assert attempts == [1, 2, 3]
    with pytest.raises(TaskFailedError, match='TypeError: object of type'):
        await handle.result(60)


@pytest.mark.parametrize(
    ('function', 'call', 'expected'), [(2, None, 2), (2, 3, 3), (-1, 2, 2), (2, -1, 4), (-1, None, 4)]
)
async def test_attempts_of_the_call_go_before_those_of_the_function(
    app: Tasks, function: int, call: int | None, expected: int
) -> None:
    attempts = 0

    @app.task(max_attempts=function, retry=0)
    async def fail() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 4:
            raise Reject('enough')
        raise ValueError

    handle = await fail.options(max_attempts=call).enqueue()
    # The worker's number is for functions that have none.
    await drain(app, max_attempts=1)
    assert attempts == expected
    assert (await handle.state()).max_attempts == (call or function if (call or function) > 0 else None)


async def test_what_the_decorator_says_goes_before_the_worker(app: Tasks) -> None:
    seen: list[tuple[Any, ...]] = []

    def note(what: str) -> Any:
        return lambda delivery, value: seen.append((what, delivery.id, value if what == 'success' else type(value)))

    @app.task(timeout=0.05, max_attempts=1, on_success=note('success'), on_error=note('error'), on_dead=note('dead'))
    async def sleep(time: float) -> str:
        await asyncio.sleep(time)
        return 'slept'

    good, bad = await sleep.enqueue(0), await sleep.enqueue(60)
    await drain(app, timeout=60, concurrency=1)
    assert seen == [
        ('success', good.id, 'slept'), ('error', bad.id, TimeoutError), ('dead', bad.id, TimeoutError),
    ]  # fmt: skip


@pytest.mark.parametrize('worker', [None, 500])
async def test_a_time_to_live_of_results_is_of_call_function_worker_or_app(
    client: redis.asyncio.Redis, queue: Torrelque, worker: int | None
) -> None:
    app = Tasks(queue, keep=800)

    @app.task(result_ttl=100)
    async def nothing() -> None: ...

    plain = app.task(add)
    handles: list[Handle[Any]] = [
        await nothing.enqueue(), await nothing.options(result_ttl=200).enqueue(), await plain.enqueue(1),
        await plain.options(result_ttl=300).enqueue(1), *await plain.options(result_ttl=400).map([1]),
    ]  # fmt: skip
    await drain(app, result_ttl=worker)
    ttls = [await client.ttl(f'{queue.keys["task"]}:{handle.id}') for handle in handles]
    assert [round(ttl, -2) for ttl in ttls] == [100, 200, worker or 800, 300, 400]
    assert [await handle.result(60) for handle in handles] == [None, None, 2, 2, 2]


async def final_states(app: Tasks) -> list[tuple[Any, ...] | None]:
    """What another process reads of tasks that have ended: status, result, TTL."""

    @app.task
    async def nothing() -> None: ...

    @app.task
    def blocks() -> None: ...

    @app.fifo(queue='q')
    async def ordered() -> None: ...

    plain = app.task(add)
    handles: list[Handle[Any]] = [
        await nothing.enqueue(), await blocks.enqueue(), await ordered(), await plain.enqueue(1),
    ]  # fmt: skip
    async with Worker(app):
        assert [await handle.result(60) for handle in handles] == [None, None, None, 2]
    other, found = Tasks(app.queue), list[tuple[Any, ...] | None]()
    client: Any = app.queue.client
    for handle in handles:
        try:
            state = await other.handle(handle.id).state()
        except torrelque.TorrelqueLookupError:
            found.append(None)
        else:
            ttl = await client.ttl(f'{app.queue.keys["task"]}:{handle.id}')
            found.append((state.status, state.result, round(ttl, -2)))
    return found


async def test_the_final_state_of_a_task_stays_for_ten_minutes(queue: Torrelque) -> None:
    assert await final_states(Tasks(queue)) == [*[(Status.COMPLETED, None, 600)] * 3, (Status.COMPLETED, 2, 600)]


async def test_an_app_that_keeps_nothing_leaves_results_only(queue: Torrelque) -> None:
    assert await final_states(Tasks(queue, keep=0)) == [None, None, None, (Status.COMPLETED, 2, 3600)]


async def test_a_cancelled_task_that_is_forgotten_is_not_told_to_have_returned(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    function = Tasks(queue).task(add)
    handle = await function.options(delay=600).enqueue(1)
    assert await handle.cancel()
    assert (await handle.state()).status is Status.CANCELLED
    # Its minute is over.
    assert await client.delete(f'{queue.keys["task"]}:{handle.id}')
    with pytest.raises(torrelque.TorrelqueLookupError):
        await handle.result(60)
