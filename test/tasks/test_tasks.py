"""Decorated tasks: what is sent, what a worker does with it, what a handle tells."""

from __future__ import annotations

import asyncio
import datetime
import functools
import inspect
import time
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueTaskStatus as Status, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import MAX_SECONDS, MIN_SECONDS
from torrelque.tasks import Handle, Tasks, current
from torrelque.worker import Backoff, Worker

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
        ({'delay': datetime.timedelta(seconds=-1)}, TorrelqueValueError),
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
        await function.enqueue(**given), await app.named('work').enqueue(**given), await afunction.enqueue(**given),
        await asyncio.to_thread(functools.partial(function.push, **given)),
        await asyncio.to_thread(functools.partial(app.named('awork').push, **given)),
        await function.options(priority=lambda **kwargs: 3).enqueue(**given),
        ordered(**given), await ordered.enqueue(**given), await asyncio.to_thread(functools.partial(ordered, **given)),
        *await function.starmap([values]), *await ordered.starmap([values]),
    ]  # fmt: skip
    async with Worker(app):
        for handle in handles:
            assert await handle.result(60) == values
    assert len(groups) == 5
    await app.aclose()


async def test_a_retry_rule_that_cannot_be_meant_is_refused_by_the_decorator(queue: Torrelque) -> None:
    app = Tasks(queue)
    for rule in ({'ValueError': 3}, {ValueError: -1}, 'x', -1):
        with pytest.raises((TorrelqueTypeError, TorrelqueValueError)):
            app.task(retry=rule)  # type: ignore[arg-type]
