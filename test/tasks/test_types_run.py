"""Arguments and results by annotations, where functions are run: hooks, handles, processes, types of one's own."""

from __future__ import annotations

import asyncio
import collections.abc
import dataclasses
import datetime as dt
import functools
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest
import redis.asyncio

from support.carried import SEEN, UTC, Item, echo
from torrelque import Torrelque, TorrelqueTaskStatus as Status, TorrelqueTypeError
from torrelque.tasks import Call, CallNext, TaskFailedError, Tasks
from torrelque.worker import Worker

# What is tested here has little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


async def drain(app: Tasks, **options: Any) -> Worker:
    worker = Worker(app, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


# Who chooses by the arguments, and who stands between


async def test_those_who_choose_by_the_arguments_get_them_as_the_function_does(app: Tasks, queue: Torrelque) -> None:
    def group(item: Item, parts: Iterable[int] = ()) -> str:
        return f'{item.number} {[*parts]}'

    def priority(item: Item, parts: Iterable[int] = ()) -> int:
        return int(item.price)

    @app.task(group=group, priority=priority)
    async def send(item: Item, parts: Iterable[int] = ()) -> str:
        return f'{item.number} {[*parts]}'

    handles = [await send.enqueue(Item(1, Decimal(5)), iter([1])), *await send.map([Item(2)])]
    handles += await send.starmap([(Item(3), iter([3])), (Item(4), [4])])
    groups = ['1 [1]', '2 []', '3 [3]', '4 [4]']
    assert sorted([group async for group in queue.groups()]) == groups
    await drain(app)
    assert [await handle.result(10) for handle in handles] == groups


async def test_middleware_of_the_app_sees_the_arguments_themselves(queue: Torrelque) -> None:
    async def middleware(call: Call, call_next: CallNext) -> str:
        seen.append((*call.args, *call.kwargs.values()))
        call.kwargs['on'] = dt.date(2026, 1, 2)
        return await call_next(call)

    seen: list[Any] = []
    app = Tasks(queue, middleware=[middleware])

    @app.task
    async def send(numbers: Iterable[int], on: dt.date) -> list[str]:
        return [f'{number} {on}' for number in numbers]

    handle = await send.enqueue(iter([1]), on=dt.date(2026, 1, 1))
    await drain(app)
    assert seen == [([1], dt.date(2026, 1, 1))]
    assert await handle.result(10) == ['1 2026-01-02']


async def test_a_call_in_strict_order_is_converted_too(app: Tasks) -> None:
    @app.fifo(queue='shop')
    async def send(on: dt.date) -> dt.date:
        return on + dt.timedelta(1)

    with pytest.raises(TorrelqueTypeError, match=r"argument 'on' must be datetime\.date"):
        send('today')  # type: ignore[arg-type]
    handle = await send(dt.date(2026, 1, 1))
    (mapped,) = await send.map([dt.date(2026, 2, 1)])
    await drain(app)
    assert await handle.result(10) == dt.date(2026, 1, 2)
    assert await mapped.result(10) == dt.date(2026, 2, 2)


# What comes from elsewhere


async def test_a_producer_in_another_language_writes_json(app: Tasks, queue: Torrelque) -> None:
    @app.task(name='shop')
    async def send(when: dt.datetime, item: Item, weight: float) -> str:
        return f'{when!r} {item.number} {weight!r}'

    item = {'number': 7, 'unknown': 'field', 'weight': 'Infinity'}
    await queue.enqueue({'task': 'shop', 'args': ['2026-01-01T00:00:00Z', item, 3]}, task_id='a')
    await queue.enqueue({'task': 'shop', 'kwargs': {'when': '2026-01-01T00:00:00.5+01:00', 'item': item, 'weight': 3}},
                        task_id='b')  # fmt: skip
    await drain(app)
    assert await send.handle('a').result(10) == f'{dt.datetime(2026, 1, 1, tzinfo=UTC)!r} 7 3.0'
    zone = dt.timezone(dt.timedelta(hours=1))
    assert await send.handle('b').result(10) == f'{dt.datetime(2026, 1, 1, 0, 0, 0, 500000, zone)!r} 7 3.0'


@pytest.mark.parametrize('run', ['coroutine', 'plain'])
async def test_what_does_not_fit_in_the_worker_is_dead_at_once(app: Tasks, queue: Torrelque, run: str) -> None:
    async def one(when: dt.datetime, size: int = 1) -> None:
        SEEN.append(when)

    def other(when: dt.datetime, size: int = 1) -> None:
        SEEN.append(when)

    SEEN.clear()
    app.task(name='shop', max_attempts=5)(one if run == 'coroutine' else other)
    for args, kwargs, error in [
        (['tomorrow'], {}, "argument 'when' must be datetime.datetime, not 'tomorrow' (str): Invalid RFC3339"),
        (['2026-01-01T00:00:00Z', 'big'], {}, "argument 'size' must be int, not 'big' (str)"),
        ([], {'when': None}, "argument 'when' must be datetime.datetime, not None (NoneType)"),
    ]:
        task_id = await queue.enqueue({'task': 'shop', 'args': args, 'kwargs': kwargs})
        await drain(app)
        state = await queue.get_task_state(task_id)
        assert state.status is Status.DEAD and state.dequeue_count == 1
        assert state.error is not None and f'Reject: shop: {error}' in state.error
    assert SEEN == []


# Results


async def test_a_result_is_json_and_is_itself_for_hooks_and_handles(app: Tasks, queue: Torrelque) -> None:
    seen: list[Any] = []
    item = Item(1, Decimal('1.10'))

    @app.task(name='shop', on_success=lambda delivery, result: seen.append(result))
    async def find(number: int) -> Item | None:
        return item if number else None

    handles = await find.map([1, 0])
    await drain(app)
    assert [await handle.result(10) for handle in handles] == [item, None]
    assert seen == [item, None] or seen == [None, item]
    assert any(each is item for each in seen)
    plain = {'number': 1, 'price': '1.10', 'weight': 0.0, 'parts': []}
    assert (await queue.get_task_state(handles[0].id)).result == plain
    assert await app.handle(handles[0].id).result(10) == plain
    assert await find.handle(handles[0].id).result(10) == item
    assert await find.options(delay=0).handle(handles[0].id).result(10) == item


@pytest.mark.parametrize('run', ['coroutine', 'plain'])
async def test_a_result_that_is_not_as_annotated_is_not_tried_again(app: Tasks, run: str) -> None:
    async def one() -> dt.date:
        SEEN.append(1)
        return 'today'  # type: ignore[return-value]

    def other() -> dt.date:
        SEEN.append(1)
        return 'today'  # type: ignore[return-value]

    SEEN.clear()
    function: Any = app.task(name='shop', max_attempts=5, retry=0)(one if run == 'coroutine' else other)
    handle = await function.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match=r"shop: the result must be datetime\.date, not 'today'"):
        await handle.result(10)
    assert SEEN == [1]


async def test_what_a_function_returned_before_it_was_changed_is_told(app: Tasks, queue: Torrelque) -> None:
    @app.task(name='shop')
    async def find() -> dt.date:
        return dt.date(2026, 1, 1)

    handle = await find.enqueue()
    task_id, _ = await queue.dequeue()
    await queue.release(task_id, result=3, result_ttl=60)
    with pytest.raises(TorrelqueTypeError, match=r'shop: the result must be datetime\.date, not 3 \(int\)'):
        await handle.result(10)


async def test_what_returns_something_to_await_has_the_result_of_that(app: Tasks) -> None:
    async def later() -> dt.date:
        return dt.date(2026, 1, 1)

    @app.task
    def find() -> collections.abc.Coroutine[Any, Any, dt.date]:
        return later()

    @app.task
    @functools.wraps(later)
    def wrapped() -> Any:
        return later()

    handles: list[Any] = [await find.enqueue(), await wrapped.enqueue()]
    await drain(app)
    assert [await handle.result(10) for handle in handles] == [dt.date(2026, 1, 1)] * 2


def in_process(items: list[Item], *, on: dt.date) -> dict[dt.date, Item]:
    assert type(items[0]) is Item
    return {on: items[0]}


def by_object(on: dt.date) -> dt.date:
    assert on.year
    return on


class Dates:
    """Types of one's own, which come to another process by pickle."""

    def adapter(self, annotation: Any) -> Dates | None:
        if annotation is dt.time:
            raise ValueError('no times here')
        return self if annotation is dt.date else None

    def encode(self, value: Any) -> Any:
        return {'y': value.year, 'm': value.month, 'd': value.day}

    def decode(self, value: Any) -> Any:
        return dt.date(value['y'], value['m'], value['d'])


async def test_a_function_in_a_process_gets_its_arguments_and_gives_its_result(app: Tasks, queue: Torrelque) -> None:
    function = app.task(run_in='process')(in_process)
    date = dt.date(2026, 1, 1)
    handle = await function.enqueue([Item(1)], on=date)
    bad = await queue.enqueue({'task': function.name, 'args': [[]], 'kwargs': {'on': 'today'}})
    await drain(app)
    assert await handle.result(10) == {date: Item(1)}
    state = await queue.get_task_state(bad)
    assert state.dequeue_count == 1 and state.error is not None and "argument 'on' must be" in state.error


async def test_types_of_ones_own(queue: Torrelque) -> None:
    app = Tasks(queue, types=Dates())
    send = app.task(run_in='process')(by_object)

    @app.task
    async def find(on: dt.date, size: int) -> dt.date:
        return on

    date = dt.date(2026, 1, 1)
    handles: list[Any] = [await send.enqueue(date), await find.enqueue(date, 'any')]  # type: ignore[arg-type]
    with pytest.raises(TorrelqueTypeError, match=r"argument 'on' must be datetime\.date, not 3 \(int\): Attribute"):
        await find.enqueue(3, 1)  # type: ignore[arg-type]
    await drain(app)
    assert [await handle.result(10) for handle in handles] == [date, date]
    assert (await queue.get_task_state(handles[0].id)).result == {'y': 2026, 'm': 1, 'd': 1}
    with pytest.raises(TorrelqueTypeError, match='cannot be carried: ValueError: no times here'):
        app.task(echo(dt.time))


class Bad:
    def adapter(self, annotation: Any) -> Any:
        return object()


async def test_types_that_cannot_be_meant_are_refused(queue: Torrelque) -> None:
    for types_, error in [('json', "types must be 'auto', 'msgspec', 'pydantic'"), (3, 'must have a method adapter')]:
        with pytest.raises(TorrelqueTypeError, match=error):
            Tasks(queue, types=types_)  # type: ignore[arg-type]
    with pytest.raises(TorrelqueTypeError, match="the adapter of argument 'it' must encode and decode"):
        Tasks(queue, types=Bad()).task(echo(int))


async def test_without_types_nothing_is_converted_nor_checked(queue: Torrelque) -> None:
    app = Tasks(queue, types=None)

    @app.task(name='shop')
    async def send(on: dt.date, call: Callable[[], int] | None = None) -> Any:
        return on

    handle = await send.enqueue('today')
    await drain(app)
    assert await handle.result(10) == 'today'
    with pytest.raises(TorrelqueTypeError, match='Object of type date is not JSON serializable'):
        await send.enqueue(dt.date(2026, 1, 1))


async def test_a_serialiser_that_is_not_json_is_left_alone(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=queue_name, serialiser=pickle) as queue:
        app = Tasks(queue)

        @app.task
        async def send(on: dt.date, call: Callable[[str], int]) -> bool:
            return type(on) is dt.date and call('1') == 1

        handle = await send.enqueue(dt.date(2026, 1, 1), int)
        await drain(app)
        assert await handle.result(10) is True
        with pytest.raises(TorrelqueTypeError, match='cannot be carried'):
            Tasks(queue, types='msgspec').task(echo(Callable[[], int]))


# Names that are not there yet


def uses_later(it: Later | None, *others: list[Later]) -> Later:
    assert isinstance(it, Later)
    return it


@dataclasses.dataclass
class Later:
    number: int
    item: LaterStill | None = None


def test_a_class_that_refers_to_a_later_one_is_found_at_the_first_use(queue_name: str) -> None:
    text = """
        import asyncio, dataclasses, redis.asyncio
        from torrelque import Torrelque
        from torrelque.tasks import Tasks

        app = Tasks(Torrelque(redis.asyncio.Redis()))

        @dataclasses.dataclass
        class One:
            other: 'Other'

        @app.task
        def send(one: One, other: 'list[Other]'): ...

        class Other(__import__('msgspec').Struct):
            number: int

        print(send._pack((One(Other(1)), [Other(2)]), {}))
    """
    program = subprocess.run([sys.executable, '-c', textwrap.dedent(text)], capture_output=True, text=True, check=False)
    assert program.stdout == "{'task': '__main__.send', 'args': [{'other': {'number': 1}}, [{'number': 2}]]}\n"


@dataclasses.dataclass
class LaterStill:
    number: int


def uses_never(it: Never, on: dt.date) -> None:  # type: ignore[name-defined] # noqa: F821
    ...


async def test_a_name_that_is_defined_later_is_found_and_one_that_never_is_told(queue: Torrelque) -> None:
    app = Tasks(queue, types='msgspec')
    handle = await app.task(uses_later).enqueue(Later(1, LaterStill(2)), [Later(3)])
    await drain(app)
    assert await handle.result(10) == Later(1, LaterStill(2))

    app.task(name='first', on_dead=lambda delivery, error: None)(echo(int))
    never = app.task(name='never')(uses_never)
    error = "never: the annotation of parameter 'it', Never, cannot be resolved: NameError: name 'Never' is not defined"
    with pytest.raises(TorrelqueTypeError, match=error):
        await never.enqueue(1, dt.date(2026, 1, 1))
    with pytest.raises(TorrelqueTypeError, match=error):
        await drain(app)


async def test_what_is_not_a_mere_function_has_its_annotations(app: Tasks) -> None:
    class Called:
        def __call__(self, on: dt.date, size: int = 1) -> dt.date:
            return on

        def method(self, on: dt.date) -> dt.date:
            return on

    def plain(size: int, on: dt.date) -> dt.date:
        return on

    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    date = dt.date(2026, 1, 1)
    functions: list[Any] = [Called(), Called().method, functools.partial(plain, 1), logged(Called().method)]
    handles = [await app.task(name=str(n))(function).enqueue(date) for n, function in enumerate(functions)]
    await drain(app)
    assert [await handle.result(10) for handle in handles] == [date] * 4


def test_synchronous_code_is_converted_too(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task(name='shop')
    def send(on: dt.date) -> dt.date:
        return on

    with pytest.raises(TorrelqueTypeError, match="argument 'on' must be"):
        send.push('today')  # type: ignore[arg-type]
    app.close()
