"""Decorated tasks: what is sent, what a worker does with it, what a handle tells."""

from __future__ import annotations

import asyncio
import datetime
import functools
import gc
import inspect
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import fifo_child
import torrelque
from support.servers import RealServer
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueTaskStatus as Status, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import MAX_SECONDS, MIN_SECONDS
from torrelque.tasks import Handle, TaskFailedError, Tasks, current
from torrelque.worker import Backoff, Delivery, Reject, ThreadWorker, Worker

UTC = datetime.timezone.utc


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


async def drain(app: Tasks, **options: Any) -> Worker:
    worker = Worker(app, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


def add(left: int, right: int = 1, *, sign: int = 1) -> int:
    return sign * (left + right)


def lone(left: int) -> int:
    return left + 1


async def agroup(*args: Any, **kwargs: Any) -> str:
    return 'g'


class Hook:
    """A hook or a rule that is an object."""

    def __call__(self, *args: Any) -> int:
        return 0


def as_coroutine(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


# What is sent


@pytest.mark.parametrize(
    ('args', 'kwargs', 'payload'),
    [
        ((), {}, {}),
        ((1,), {}, {'args': [1]}),
        ((1, 'é'), {}, {'args': [1, 'é']}),
        ((), {'a': None}, {'kwargs': {'a': None}}),
        (([1],), {'b': {'c': 2.5}}, {'args': [[1]], 'kwargs': {'b': {'c': 2.5}}}),
    ],
)
async def test_the_payload_is_readable(app: Tasks, queue: Torrelque, args: Any, kwargs: Any, payload: Any) -> None:
    @app.task(name='mail')
    def send(*args: Any, **kwargs: Any) -> None: ...

    handle = await send.enqueue(*args, **kwargs)
    task_id, task = await queue.dequeue(0)
    assert (task_id, task) == (handle.id, {'task': 'mail', **payload})


async def test_names_are_of_module_and_function_or_as_given(app: Tasks) -> None:
    inner = app.task(add)
    other = app.task(name='plus')(add)
    assert (inner.name, other.name) == ('test_tasks.add', 'plus')
    assert (inner.__name__, inner.function) == ('add', add)
    assert dict(app.functions) == {'test_tasks.add': inner, 'plus': other}
    with pytest.raises(TorrelqueValueError, match=r"'plus' already"):
        app.fifo(queue='q', name='plus')(add)
    assert len(app.functions) == 2


@pytest.mark.parametrize(
    ('args', 'kwargs'),
    [((), {}), ((1, 2, 3), {}), ((1,), {'other': 2}), ((1,), {'left': 1}), ((), {'right': 1}), ((object(),), {})],
)
async def test_wrong_arguments_are_refused_and_nothing_is_sent(
    app: Tasks, client: redis.asyncio.Redis, queue: Torrelque, args: Any, kwargs: Any
) -> None:
    function: Any = app.task(add)
    ordered: Any = app.fifo(queue='q', name='ordered')(add)
    for one in (function, ordered, function.options(delay=1)):
        with pytest.raises(TorrelqueTypeError):
            await one.enqueue(*args, **kwargs)
    await queue.set_limit('fifo:q')
    assert await nothing_left(client, queue)


async def test_a_keyword_that_must_be_named_is_asked_for(app: Tasks) -> None:
    @app.task
    def send(*, to: str) -> str:
        return to

    with pytest.raises(TorrelqueTypeError, match="'to'"):
        await send.enqueue()  # type: ignore[call-arg]
    handle = await send.enqueue(to='joe')
    await drain(app)
    assert await handle.result(60) == 'joe'


async def test_called_as_usual_it_runs_right_here(
    app: Tasks, client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    @app.task
    async def double(number: int) -> int:
        return 2 * number

    assert await double(4) == 8
    assert app.task(add)(1, right=2) == 3
    with pytest.raises(torrelque.TorrelqueError, match='not by a worker'):
        current()
    assert await nothing_left(client, queue)


async def test_by_name_only_what_is_known_is_sent(app: Tasks, client: redis.asyncio.Redis, queue: Torrelque) -> None:
    app.task(name='plus')(add)
    with pytest.raises(torrelque.TorrelqueLookupError, match="'minus'"):
        await app.enqueue('minus', 1)
    with pytest.raises(TorrelqueTypeError):
        await app.enqueue('plus')
    assert await nothing_left(client, queue)
    handle = await app.enqueue('plus', 1, sign=-1)
    await drain(app)
    assert await handle.result(60) == -2


@pytest.mark.parametrize('wrong', [int, None, 'x', lambda: (yield)])
def test_what_is_no_function_is_refused(app: Tasks, wrong: Any) -> None:
    with pytest.raises(TorrelqueTypeError):
        app.task(name='wrong')(wrong)


# Options


async def test_options_reach_the_queue(app: Tasks, queue: Torrelque) -> None:
    @app.task(
        max_attempts=5, group=lambda to, copies=1: to.partition('@')[2], priority=lambda to, copies=1: copies,
        task_timeout=17, name='send',
    )  # fmt: skip
    def send(to: str, copies: int = 1) -> None: ...

    state = await (await send.enqueue('joe@acme.com', copies=7)).state()
    assert (state.max_attempts, state.group, state.priority, state.timeout) == (5, 'acme.com', 7, 17)
    other = send.options(group='all', priority=-3, max_attempts=2, task_timeout=5, delay=60, task_id='mine')
    handle = await other.enqueue('joe@acme.com')
    state = await handle.state()
    assert (state.max_attempts, state.group, state.priority, state.timeout) == (2, 'all', -3, 5)
    assert (state.status, handle.id) == (Status.DELAYED, 'mine')
    with pytest.raises(torrelque.TorrelqueDuplicateError):
        await other.enqueue('joe@acme.com')
    many = await send.map(['jim@bolt.com', 'tim@cord.com'])
    assert [(await one.state()).group for one in many] == ['bolt.com', 'cord.com']
    with pytest.raises(TorrelqueTypeError, match='task_id'):
        await other.map(['a@b'])
    with pytest.raises(torrelque.TorrelqueFullError):
        await send.options(max_tasks=4).enqueue('x@y')
    await send.options(max_tasks=5).enqueue('x@y')
    with pytest.raises(torrelque.TorrelqueBulkError) as caught:
        await send.options(max_tasks=5).map(['x@y'])
    assert isinstance(caught.value.__cause__, torrelque.TorrelqueFullError)
    await app.aclose()


async def delay_of(queue: Torrelque, client: redis.asyncio.Redis, handle: Handle[Any]) -> float:
    state = await handle.state()
    if state.status is not Status.DELAYED:
        return 0
    due = await client.zscore(queue.keys['delayed'], handle.id)
    assert due is not None
    return due / 1000 - state.enqueue_time


async def test_a_date_becomes_a_delay(app: Tasks, client: redis.asyncio.Redis, queue: Torrelque) -> None:
    function = app.task(add)
    zone = datetime.timezone(datetime.timedelta(hours=-7))
    for eta in (
        time.time() + 3600,
        datetime.datetime.now(UTC) + datetime.timedelta(hours=1),
        datetime.datetime.now(zone) + datetime.timedelta(hours=1),
    ):
        handle = await function.options(eta=eta).enqueue(1)
        assert 3500 < await delay_of(queue, client, handle) <= 3601
        (handle,) = await function.options(eta=eta).map([1])
        assert 3500 < await delay_of(queue, client, handle) <= 3601
        # The last that was said goes.
        handle = await function.options(eta=eta).options(delay=7).enqueue(1)
        assert await delay_of(queue, client, handle) == pytest.approx(7, abs=0.01)
    past = await function.options(delay=9).options(eta=datetime.datetime(1999, 12, 31, tzinfo=UTC)).enqueue(1)
    assert (await past.state()).status is Status.PENDING
    with pytest.raises(TorrelqueValueError, match='time zone'):
        function.options(eta=datetime.datetime(2040, 1, 1))


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        ({'delay': -1}, TorrelqueValueError),
        ({'delay': '1'}, TorrelqueTypeError),
        ({'delay': 1e11}, TorrelqueValueError),
        ({'delay': 10**400}, TorrelqueValueError),
        ({'delay': float('nan')}, TorrelqueValueError),
        ({'delay': datetime.timedelta(seconds=1)}, TorrelqueTypeError),
        ({'eta': time.time() + 1e11}, TorrelqueValueError),
        ({'eta': datetime.datetime(9999, 1, 1, tzinfo=UTC)}, TorrelqueValueError),
        ({'eta': float('nan')}, TorrelqueValueError),
        ({'eta': True}, TorrelqueTypeError),
        ({'delay': 1, 'eta': 1}, TorrelqueTypeError),
        ({'eta': 'tomorrow'}, TorrelqueTypeError),
        ({'eta': float('inf')}, TorrelqueValueError),
        ({'group': ''}, TorrelqueValueError),
        ({'group': 3}, TorrelqueTypeError),
        ({'group': b'g'}, TorrelqueTypeError),
        ({'group': 'g\udc80'}, TorrelqueValueError),
        ({'group': agroup}, TorrelqueTypeError),
        ({'group': lambda left: (yield)}, TorrelqueTypeError),
        ({'group': lambda: 'g'}, TorrelqueTypeError),
        ({'group': lambda left, right, more: 'g'}, TorrelqueTypeError),
        ({'priority': agroup}, TorrelqueTypeError),
        ({'priority': lambda: 1}, TorrelqueTypeError),
        ({'priority': True}, TorrelqueTypeError),
        ({'priority': -101}, TorrelqueValueError),
        ({'priority': 101}, TorrelqueValueError),
        ({'priority': 1.5}, TorrelqueTypeError),
        ({'task_id': ''}, TorrelqueValueError),
        ({'task_id': 7}, TorrelqueTypeError),
        ({'task_id': b'a'}, TorrelqueTypeError),
        ({'task_id': 'a\ud800'}, TorrelqueValueError),
        ({'max_attempts': 2**53}, TorrelqueValueError),
        ({'max_attempts': 2.0}, TorrelqueTypeError),
        ({'max_attempts': 0}, TorrelqueValueError),
        ({'max_attempts': -2}, TorrelqueValueError),
        ({'task_timeout': 0}, TorrelqueValueError),
        ({'task_timeout': 1e-9}, TorrelqueValueError),
        ({'task_timeout': 1e11}, TorrelqueValueError),
        ({'result_ttl': float('nan')}, TorrelqueValueError),
        ({'result_ttl': 1e-9}, TorrelqueValueError),
        ({'result_ttl': 1e11}, TorrelqueValueError),
        ({'max_tasks': 2**53}, TorrelqueValueError),
        ({'max_tasks': 0}, TorrelqueValueError),
        ({'max_tasks': True}, TorrelqueTypeError),
    ],
)
def test_options_that_cannot_be_meant_are_refused_at_once(app: Tasks, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        app.task(add).options(**options)
    if not {'delay', 'eta', 'task_id', 'max_tasks'} & options.keys():
        with pytest.raises(error):
            app.task(name='other', **options)(add)
    assert len(app.functions) == 1


@pytest.mark.parametrize(
    'options',
    [
        {'timeout': 0}, {'timeout': 1e-9}, {'timeout': 1e11}, {'timeout': float('nan')}, {'timeout': '1'},
        {'retry': 'soon'}, {'retry': -1}, {'retry': 1e11}, {'retry': float('nan')}, {'retry': True}, {'retry': []},
        {'retry': [ValueError]}, {'retry': (ValueError,)}, {'retry': ValueError}, {'retry': {'ValueError': 3}},
        {'retry': {ValueError: -1}}, {'retry': {ValueError: 1e11}}, {'retry': {ValueError: [1]}},
        {'retry': {(ValueError, KeyError): 1}}, {'retry': lambda: 3}, {'retry': agroup}, {'run_in': 'moon'},
        {'run_in': ['thread']}, {'on_success': 1}, {'on_error': 'log'}, {'on_dead': lambda *args: (yield)},
        {'on_dead': []}, {'max_attempts': 0}, {'name': ''}, {'name': b'add'}, {'name': 3}, {'name': 'a\udfff'},
    ],
)  # fmt: skip
def test_a_decorator_refuses_what_cannot_be_meant(app: Tasks, options: Any) -> None:
    with pytest.raises((TorrelqueTypeError, TorrelqueValueError)):
        app.task(**options)(add)
    ordered = {'retry_wait' if name == 'retry' else name: value for name, value in options.items()}
    if ordered.pop('max_attempts', None) is not None:
        ordered['max_retries'] = None
    with pytest.raises((TorrelqueTypeError, TorrelqueValueError)):
        app.fifo(queue='q', **ordered)(add)
    for wrong in ({'queue': ''}, {'queue': b'q'}, {'queue': 'q\udc80'}, {'queue': 'q', 'retry_wait': None}):
        with pytest.raises((TorrelqueTypeError, TorrelqueValueError)):
            app.fifo(**wrong)
    assert not app.functions


class Name(str):
    """A name of a kind of its own."""


@pytest.mark.parametrize(
    'options',
    [
        {'retry': None}, {'retry': 0}, {'retry': {ValueError: None, KeyError: Backoff()}}, {'name': Name('plus')},
        {'retry': lambda error, attempt: 0}, {'retry': Hook()}, {'group': str}, {'priority': int}, {'group': Name('g')},
        {'group': lambda left: str(left)}, {'group': lambda left, **rest: 'g'},
        {'group': functools.partial(str)}, {'result_ttl': 1e10}, {'timeout': 1e10}, {'delay': 1e-9},
        {'on_success': Hook()}, {'task_timeout': 0.001}, {'max_attempts': -1},
    ],
)  # fmt: skip
async def test_options_that_can_be_meant_are_taken(app: Tasks, options: Any) -> None:
    delay = options.pop('delay', None)
    function = app.task(**options)(lone)
    handle = await function.options(delay=delay).enqueue(1)
    async with Worker(app, timeout=60):
        assert await handle.result(60) == 2


async def test_the_longest_time_is_that_of_the_queue(app: Tasks) -> None:
    function = app.task(add)
    function.options(delay=0, result_ttl=0).options(result_ttl=MIN_SECONDS, task_timeout=MIN_SECONDS)
    most = function.options(delay=MAX_SECONDS, task_timeout=MAX_SECONDS, result_ttl=MAX_SECONDS)
    assert (await (await most.enqueue(1)).state()).status is Status.DELAYED


@pytest.mark.parametrize('keep', [None, -1, 1e-9, 1e11, float('nan'), float('inf'), '600', True, [600]])
async def test_a_time_to_keep_that_cannot_be_meant_is_refused(queue: Torrelque, keep: Any) -> None:
    with pytest.raises((TorrelqueTypeError, TorrelqueValueError), match='keep'):
        Tasks(queue, keep=keep)


# Names of parameters


async def test_parameters_may_have_any_names(queue: Torrelque) -> None:
    groups: list[Any] = []
    app = Tasks(queue)

    def work(
        self: int, args: int, kwargs: int, task_id: int = 4, name: int = 5, function: int = 6, delivery: int = 7,
        app: int = 8, payload: int = 9, options: int = 10, group: int = 11,
    ) -> list[int]:  # fmt: skip
        return [self, args, kwargs, task_id, name, function, delivery, app, payload, options, group]

    def choose(self: int, args: int, kwargs: int, *more: int, **rest: int) -> str:
        groups.append((self, args, kwargs))
        return 'g'

    function: Any = app.task(name='work', group=choose)(work)
    afunction: Any = app.task(name='awork')(as_coroutine(work))
    ordered: Any = app.fifo(queue='q', name='ordered')(work)
    given = {name: -n for n, name in enumerate(inspect.signature(work).parameters)}
    values = [*given.values()]
    assert function(**given) == values == await afunction(**given)
    handles = [
        await function.enqueue(**given), await app.enqueue('work', **given), await afunction.enqueue(**given),
        await asyncio.to_thread(functools.partial(function.push, **given)),
        await asyncio.to_thread(functools.partial(app.push, 'awork', **given)),
        await function.options(priority=lambda **kwargs: 3).enqueue(**given),
        ordered(**given), await ordered.enqueue(**given), await asyncio.to_thread(functools.partial(ordered, **given)),
        *await function.starmap([values]), *await ordered.starmap([values]),
    ]  # fmt: skip
    async with Worker(app):
        for handle in handles:
            assert await handle.result(60) == values
    assert len(groups) == 5
    await app.aclose()


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
    assert not [each for each in gc.get_objects() if isinstance(each, Delivery) and each.id == handle.id]
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
        assert sum(isinstance(each, Delivery) for each in gc.get_objects()) <= 5
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
        ({'task': 'minus', 'args': [1]}, "no function 'minus'; was its module imported?"),
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


# In a process


@pytest.fixture
def child_app(server: RealServer, queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    app = Tasks(queue)
    for function in (fifo_child.pid_and, fifo_child.exact, fifo_child.wrapped):
        app.task(run_in='process', max_attempts=1, result_ttl=60)(function.function)
    return app


async def test_a_function_runs_in_a_process(child_app: Tasks) -> None:
    good = await child_app.enqueue('fifo_child.pid_and', 7, 8)
    bad = await child_app.enqueue('fifo_child.pid_and', fail=True)
    # Another version of the function may have other arguments.
    unfit = await child_app.queue.enqueue({'task': 'fifo_child.exact', 'args': [1, 2]})
    await drain(child_app, concurrency=1)
    pid, *rest = await good.result(60)
    assert pid != os.getpid() and rest == [1, 7, 8]
    assert (await good.state()).progress == {'values': 2}
    with pytest.raises(TaskFailedError, match='ValueError: as told'):
        await bad.result(60)
    wrapped = await child_app.enqueue('fifo_child.wrapped', 9)
    await drain(child_app, concurrency=1)
    assert await wrapped.result(60) == [1, 9]
    error = (await child_app.queue.get_task_state(unfit)).error or ''
    assert 'the arguments are not those of fifo_child.exact' in error


async def test_a_function_that_no_process_finds_is_refused(app: Tasks) -> None:
    @app.task(run_in='process', max_attempts=1)
    def inside() -> None: ...

    handle = await inside.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='must be a function of a module'):
        await handle.result(60)


@pytest.mark.first_server
@pytest.mark.parametrize('how', [['fifo_child.py'], ['-m', 'fifo_child']])
async def test_a_main_program_runs_its_functions_in_a_process(
    server: RealServer, queue: Torrelque, how: list[str]
) -> None:
    environ = {**os.environ, 'FIFO_URL': server.url, 'FIFO_QUEUE': queue.name}
    folder = Path(__file__).parent
    environ['PYTHONPATH'] = f'{folder.parents[1]}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'
    child = await asyncio.create_subprocess_exec(
        sys.executable, '-W', 'error', *how, 'here', cwd=folder, env=environ, stdout=subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, out) == (0, b'fifo_child.pid_and 1 1 2\n')


# Handles


async def test_a_task_that_returned_nothing_is_known_to_its_caller(queue: Torrelque) -> None:
    app = Tasks(queue, keep=0)

    @app.task
    async def nothing() -> None: ...

    handle = await nothing.enqueue()
    waiting = asyncio.ensure_future(handle.result(60))
    await drain(app)
    assert await waiting is None  # type: ignore[func-returns-value]
    assert await handle.result() is None  # type: ignore[func-returns-value]
    with pytest.raises(torrelque.TorrelqueLookupError):
        await app.handle(handle.id).result()
    with pytest.raises(torrelque.TorrelqueLookupError):
        await handle.state()


@pytest.mark.parametrize('keep', [0, 0.001])
async def test_a_result_that_may_be_gone_is_not_told_to_be_none(queue: Torrelque, keep: float) -> None:
    queue.result_ttl = 0.001
    app = Tasks(queue, keep=keep)
    function = app.task(add)
    handle = await function.enqueue(1)
    waiting = asyncio.ensure_future(handle.result(60))
    await asyncio.sleep(0.01)
    await drain(app)
    await waiting
    with pytest.raises(torrelque.TorrelqueLookupError):
        for _ in range(1000):
            await handle.result(0)
            await asyncio.sleep(0.01)


async def test_a_result_is_waited_for_so_long(app: Tasks) -> None:
    handle = await app.task(add).enqueue(1)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await handle.result(0.01)
    waiting = asyncio.ensure_future(handle.result(60))
    await drain(app)
    assert await waiting == 2
    assert await app.handle(handle.id).result() == 2


async def test_who_waits_is_told_of_death_and_cancellation(app: Tasks) -> None:
    @app.task(max_attempts=2, retry=0)
    async def fail() -> None:
        raise ConnectionError('the mail server is away')

    dead, cancelled = await fail.enqueue(), await fail.options(delay=60).enqueue()
    waiting = [asyncio.ensure_future(handle.result(60)) for handle in (dead, cancelled)]
    await asyncio.sleep(0)
    assert await cancelled.cancel()
    assert not await cancelled.cancel()
    async with Worker(app):
        with pytest.raises(TaskFailedError) as caught:
            await waiting[0]
        with pytest.raises(TaskFailedError, match='is cancelled'):
            await waiting[1]
    error = caught.value
    assert (error.task_id, error.status) == (dead.id, Status.DEAD)
    assert str(error) == f'task {dead.id!r} is dead: ConnectionError: the mail server is away'
    assert (error.error or '').startswith('Traceback')
    states = [state.status async for state in cancelled.watch()]
    assert states == [Status.CANCELLED]


async def test_a_running_task_is_cancelled(app: Tasks) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    @app.task
    async def long() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    handle = await long.enqueue()
    async with Worker(app):
        await asyncio.wait_for(began.wait(), 60)
        assert await handle.cancel()
        await asyncio.wait_for(ended.wait(), 60)
    with pytest.raises(TaskFailedError):
        await handle.result(60)


async def test_many_are_enqueued_in_bulk(app: Tasks, queue: Torrelque) -> None:
    function = app.task(add)
    handles = [*await function.map(iter(range(700))), *await function.starmap([(1, 2), (3, 4), (5,)])]
    await drain(app, concurrency=100)
    assert [await handle.result(60) for handle in handles] == [*range(1, 701), 3, 7, 6]


async def test_a_bad_one_ends_the_bulk_and_the_others_are_told(app: Tasks, queue: Torrelque) -> None:
    function: Any = app.task(add)
    with pytest.raises(torrelque.TorrelqueBulkError) as caught:
        await function.starmap([(1,), (2, 3), (), (4,)])
    assert len(caught.value.task_ids) == 2
    assert isinstance(caught.value.__cause__, TorrelqueTypeError)
    assert (await queue.get_queue_stats()).tasks == 2


# Event loops and threads


def test_synchronous_code_enqueues_and_waits_without_a_loop_of_its_own(server: RealServer, queue_name: str) -> None:
    before = {*threading.enumerate()}
    app = Tasks(Torrelque(server.client(), queue=queue_name))
    function = app.task(add)
    first = function.push(1)
    assert app.call(first.state()).status is Status.PENDING
    # Twice: a worker takes the event loop along, and the queue object of that loop.
    for _ in range(2):
        with ThreadWorker(app):
            assert function.push(2, sign=-1).wait_result(60) == -3
            assert app.push('test_tasks.add', 5).wait_result(60) == 6
            assert [one.wait_result(60) for one in app.call(function.map([1, 2]))] == [2, 3]
            assert function.options(max_tasks=1000).push(7).wait_result(60) == 8
    assert first.wait_result(60) == 2
    last = function.push(3)
    assert app.call(last.cancel())
    app.close()
    assert not {*threading.enumerate()} - before


async def test_blocking_calls_are_refused_in_an_event_loop(app: Tasks) -> None:
    function = app.task(add)
    with pytest.raises(torrelque.TorrelqueError, match='await'):
        function.push(1)
    with pytest.raises(torrelque.TorrelqueError, match='await'):
        app.call(function.enqueue(1))
    handle = await function.enqueue(1)
    with pytest.raises(torrelque.TorrelqueError, match='await'):
        handle.wait_result()
    with pytest.raises(torrelque.TorrelqueError, match='await'):
        app.close()
    with pytest.raises(TorrelqueTypeError):
        await asyncio.to_thread(function.push)  # type: ignore[call-arg]


async def test_a_thread_goes_through_a_loop_of_its_own_beside_that_of_the_application(app: Tasks) -> None:
    function = app.task(add)
    loops: list[Any] = []

    @app.task(name='where')
    async def where() -> None:
        loops.append(asyncio.get_running_loop())

    before = {*threading.enumerate()}
    async with Worker(app):
        handle = await asyncio.to_thread(function.push, 1)
        assert await asyncio.to_thread(handle.wait_result, 60) == 2
        await (await where.enqueue()).result(60)
        await asyncio.to_thread(app.call, where.function())
    await app.aclose()
    assert not [thread for thread in {*threading.enumerate()} - before if thread.name == 'torrelque tasks']
    assert loops[0] is asyncio.get_running_loop() is not loops[1]


def test_an_app_goes_from_loop_to_loop(server: RealServer, queue_name: str) -> None:
    app = Tasks(Torrelque(server.client(), queue=queue_name))
    function = app.task(add)

    async def main(number: int) -> int:
        async with Worker(app):
            return await (await function.options(max_tasks=100).enqueue(number)).result(60)

    assert [asyncio.run(main(number)) for number in range(3)] == [1, 2, 3]
    worker = Worker(app, burst=True)
    handle = function.push(5)
    asyncio.run(worker.run())
    assert handle.wait_result(60) == 6
    app.close()
    assert function.push(1).id
    app.close()


async def test_the_callers_queue_outlives_the_app(queue: Torrelque) -> None:
    for close in (False, True):
        app: Tasks | None = Tasks(queue)
        assert app is not None
        function: Any = app.task(add)
        await function.options(max_tasks=10).enqueue(1)
        if close:
            await app.aclose()
            # And may be used on.
            await function.enqueue(1)
        del app, function
        gc.collect()
        await asyncio.sleep(0.01)
        assert (await queue.dequeue(60))[1] == {'task': 'test_tasks.add', 'args': [1]}


async def test_a_worker_of_a_thread_is_made_beside_a_loop_that_the_app_is_used_in(app: Tasks) -> None:
    function = app.task(add)
    worker = ThreadWorker(app)
    # Not used yet: the queue object is the worker's, and this loop gets another.
    handle = await function.enqueue(1)
    worker.start()
    assert await handle.result(60) == 2
    await asyncio.to_thread(worker.stop)
    await app.aclose()


# Types

GOOD = """
import asyncio
from torrelque.tasks import Handle, Tasks

def check(app: Tasks) -> None:
    @app.task
    async def send(to: str, copies: int = 1) -> int:
        return copies

    @app.task(max_attempts=3)
    def plain(to: str) -> bytes:
        return b''

    @app.fifo(queue='q')
    def ordered(number: int) -> str:
        return ''

    @app.fifo(queue='q')
    async def also(number: int) -> str:
        return ''

    async def use() -> None:
        handle: Handle[int] = await send.enqueue('joe', copies=2)
        number: int = await handle.result(60)
        number = await send('joe')
        data: bytes = plain('joe')
        data = (await plain.options(delay=3).enqueue('joe')).wait_result()
        many: list[Handle[bytes]] = await plain.map(['joe'])
        text: str = await ordered(3).result()
        one: Handle[str] = await also(3)
        one = also.push(3)
        text = ordered.function(3)
        reveal_type(send.enqueue)
"""
BAD = {
    'await send.enqueue(3)': 'arg-type',
    "await send.enqueue('joe', copy=1)": 'call-arg',
    "await send('joe', 'two')": 'arg-type',
    'plain.push()': 'call-arg',
    "await plain.options(delay=3).enqueue('joe', 4)": 'call-arg',
    "number: str = await (await send.enqueue('joe')).result()": 'assignment',
    "ordered('three')": 'arg-type',
    "count: int = await also(3).result()": 'assignment',
    "app.task(max_attempts='3')": 'call-overload',
}


def test_types_are_kept_for_the_checker(tmp_path: Path) -> None:
    api = pytest.importorskip('mypy.api')
    head = GOOD.partition('        handle: Handle')[0]
    (tmp_path / 'good.py').write_text(GOOD)
    (tmp_path / 'bad.py').write_text(head + ''.join(f'        {line}\n' for line in BAD))
    root = Path(__file__).parents[2]
    config = tmp_path / 'mypy.ini'
    config.write_text(f'[mypy]\nstrict = true\nuntyped_calls_exclude = redis\nmypy_path = {root}\n')
    out, err, _ = api.run(
        ['--config-file', str(config), '--cache-dir', str(tmp_path / 'cache'), *map(str, tmp_path.glob('*.py'))]
    )
    assert not err
    lines = out.splitlines()
    assert not [line for line in lines if 'good.py' in line and ' error: ' in line]
    assert re.search(r'def \(to: (builtins\.)?str, copies: (builtins\.)?int =\)', out)
    first = head.count('\n') + 1
    found = {int(line.split(':')[1]) - first: line for line in lines if 'bad.py' in line and ' error: ' in line}
    assert sorted(found) == [*range(len(BAD))], out
    for line, code in zip((found[k] for k in sorted(found)), BAD.values(), strict=True):
        assert line.endswith(f'[{code}]'), line


async def test_a_retry_rule_that_cannot_be_meant_is_refused_by_the_decorator(queue: Torrelque) -> None:
    app = Tasks(queue)
    for rule in ({'ValueError': 3}, {ValueError: -1}, 'x', -1):
        with pytest.raises((TorrelqueTypeError, TorrelqueValueError)):
            app.task(retry=rule)  # type: ignore[arg-type]
