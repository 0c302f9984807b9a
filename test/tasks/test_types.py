"""Arguments by the annotations of functions: what is in JSON, what arrives, what is refused at the call or before."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import pathlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypedDict
from zoneinfo import ZoneInfo

import pytest
import redis.asyncio
from typing_extensions import NotRequired, Required, Unpack

from support.carried import (
    CARRIED,
    ID,
    NAN,
    NOON,
    REFUSED,
    SEEN,
    UNFIT,
    Colour,
    Item,
    Name,
    Size,
    Stamp,
    Unprintable,
    UserId,
    echo,
    leaves,
)
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueBulkError, TorrelqueTaskStatus as Status, TorrelqueTypeError
from torrelque.tasks import Handle, Tasks
from torrelque.tasks.converting import KNOWN
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


async def test_what_is_carried_is_json_and_arrives_as_it_was(app: Tasks, queue: Torrelque) -> None:
    texts = {number: json.dumps(expected) for number, (_, _, expected) in enumerate(CARRIED)}
    functions = [app.task(name=str(n), result_ttl=60)(echo(hint)) for n, (hint, _, _) in enumerate(CARRIED)]
    handles = []
    for function, (_, value, _) in zip(functions, CARRIED, strict=True):
        handles.append(await function.enqueue(value))
    taken = await queue.dequeue_many(len(CARRIED))
    assert {int(task['task']): json.dumps(*task['args']) for _, task in taken} == texts
    for task_id, _ in taken:
        await queue.requeue(task_id)
    await drain(app)

    results = [await handle.result(10) for handle in handles]
    unlike = [
        (hint, value, result)
        for result, (hint, value, _) in zip(results, CARRIED, strict=True)
        if leaves(result) != leaves(value)
    ]
    assert unlike == []


@pytest.mark.parametrize('choice', ['msgspec', 'pydantic'])
@pytest.mark.parametrize('day', [dt.datetime(2026, 10, 25), dt.datetime(2026, 3, 29)])
async def test_times_of_the_hours_that_a_zone_has_twice_or_never_are_carried(
    queue: Torrelque, day: dt.datetime, choice: Any
) -> None:
    app = Tasks(queue, types=choice)

    @app.task
    async def send(at: dt.datetime, others: list[dt.datetime]) -> dt.datetime:
        assert [at] == others
        return at.replace(tzinfo=zone, fold=at.utcoffset() == dt.timedelta(hours=1))

    zone = ZoneInfo('Europe/Berlin')
    given = [day.replace(hour=hour, minute=30, fold=fold, tzinfo=zone) for hour in range(5) for fold in (0, 1)]
    handles = [await send.enqueue(at, [at]) for at in given]
    await drain(app)
    got = [await handle.result(10) for handle in handles]
    assert [at.replace(tzinfo=None) for at in got] == [at.replace(tzinfo=None, fold=0) for at in given]


async def test_what_arrives_is_of_the_annotated_class(app: Tasks) -> None:
    # Those that are sent as something else that a type checker takes for the annotation's.
    wanted = [
        (int, True, 1), (int, Size.BIG, 3), (float, 3, 3.0), (str, Name.JOE, 'joe'), (Sequence[int], (1, 2), [1, 2]),
        (Iterable[str], 'ab', ['a', 'b']), (Mapping[str, float], {'a': 1}, {'a': 1.0}), (list[float], [True], [1.0]),
        (dt.datetime, Stamp(1, 1, 1), dt.datetime(1, 1, 1)),
        (pathlib.PurePath, pathlib.Path('a'), pathlib.PurePath('a')),
    ]  # fmt: skip
    for hint, value, _ in wanted:
        await app.task(name=f'{hint} {value!r}')(echo(hint)).enqueue(value)
    SEEN.clear()
    await drain(app, concurrency=1)
    assert [*map(repr, SEEN)] == [repr(expected) for *_, expected in wanted]


@pytest.mark.parametrize(('hint', 'value', 'error'), REFUSED)
async def test_what_would_not_arrive_is_refused_at_the_call(
    app: Tasks, client: redis.asyncio.Redis, hint: Any, value: Any, error: str
) -> None:
    function = app.task(name='shop')(echo(hint))
    for _ in range(2):
        with pytest.raises(TorrelqueTypeError) as info:
            await function.enqueue(value)
        assert error in str(info.value)
        with pytest.raises(TorrelqueBulkError) as bulk:
            await function.map([value])
        assert bulk.value.task_ids == [] and isinstance(bulk.value.__cause__, TorrelqueTypeError)
    assert await client.keys() == []


async def test_the_error_of_a_call_names_function_argument_and_value(app: Tasks) -> None:
    @app.task(name='shop.send')
    async def send(to: str, *more: int, when: dt.datetime, **others: Item) -> None: ...

    call: Any = send.enqueue
    calls: list[tuple[Any, Any, str]] = [
        (('joe',), {'when': 3}, "argument 'when' must be datetime.datetime, not 3 (int)"),
        ((b'joe',), {'when': NOON}, "argument 'to' must be str, not b'joe' (bytes)"),
        (('joe', 1, 'x' * 500), {'when': NOON}, "argument 'more' must be int, not 'xxxxx"),
        (('joe',), {'when': NOON, 'it': 1}, "argument 'others' must be support.carried.Item, not 1 (int)"),
    ]
    for args, kwargs, what in calls:
        with pytest.raises(TorrelqueTypeError) as info:
            await call(*args, **kwargs)
        assert f'shop.send: {what}' in str(info.value)
        assert len(str(info.value)) < 400


async def test_a_value_without_a_text_is_refused_all_the_same(app: Tasks) -> None:
    function = app.task(name='shop')(echo(int))
    with pytest.raises(TorrelqueTypeError, match='must be int, not <Unprintable instance at'):
        await function.enqueue(Unprintable())


@pytest.mark.parametrize(('hint', 'error'), UNFIT)
def test_what_no_json_carries_is_refused_by_the_decorator(queue: Torrelque, hint: Any, error: str) -> None:
    app = Tasks(queue, types='msgspec')

    def more(*it: Any) -> None: ...

    def named(**it: Any) -> None: ...

    for function in (echo(hint, int), more, named):
        function.__annotations__['it'] = hint
        with pytest.raises(TorrelqueTypeError) as info:
            app.task(name='shop')(function)
        assert str(info.value).startswith("shop: parameter 'it' is annotated ")
        assert error in str(info.value)
    with pytest.raises(TorrelqueTypeError, match='shop: the result is annotated'):
        app.task(name='shop')(echo(int, hint))
    with pytest.raises(TorrelqueTypeError, match="shop: parameter 'it' is annotated"):
        app.fifo(name='shop', queue='a')(echo(hint))
    assert not app.functions


async def test_what_is_not_annotated_goes_as_it_is(app: Tasks, queue: Torrelque) -> None:
    @app.task(name='shop')
    async def send(one, other: Any = None, third: object = None, *more: Any, **others: Any):  # type: ignore[no-untyped-def]
        return one

    values = (1, [True], {'a': (1,)}, 'a')
    handle = await send.enqueue(*values, named=None)
    task_id, task = await queue.dequeue()
    assert task == {'task': 'shop', 'args': [1, [True], {'a': [1]}, 'a'], 'kwargs': {'named': None}}
    await queue.requeue(task_id)
    await drain(app)
    assert await handle.result(10) == 1
    with pytest.raises(TorrelqueTypeError, match='cannot be serialised'):
        await send.enqueue(NOON)


class Options(TypedDict, total=False):
    size: int
    since: dt.date


async def test_every_kind_of_parameter_is_converted(app: Tasks, queue: Torrelque) -> None:
    seen: list[Any] = []

    @app.task(name='shop')
    def send(
        first: dt.date, /, second: Colour, *more: Decimal, third: uuid.UUID, fourth: dt.date | None = None,
        **others: dt.timedelta,
    ) -> None:  # fmt: skip
        seen.append((first, second, more, third, fourth, others))

    @app.task(name='more')
    def unpacked(**options: Unpack[Options]) -> None:
        seen.append(options)

    date = dt.date(2026, 1, 1)
    await send.enqueue(date, Colour.RED, Decimal(1), Decimal('2.0'), third=ID, first=dt.timedelta(1))
    await send.enqueue(date, second=Colour.RED, third=ID, fourth=date)
    await unpacked.enqueue(size=1, since=date)
    with pytest.raises(TorrelqueTypeError, match=r"argument 'since' must be datetime\.date, not 3"):
        await unpacked.enqueue(since=3)  # type: ignore[arg-type]
    taken = await queue.dequeue_many(3)
    assert [task for _, task in taken] == [
        {'task': 'shop', 'args': ['2026-01-01', 'red', '1', '2.0'], 'kwargs': {'third': str(ID), 'first': 'P1D'}},
        {'task': 'shop', 'args': ['2026-01-01'], 'kwargs': {'second': 'red', 'third': str(ID), 'fourth': '2026-01-01'}},
        {'task': 'more', 'kwargs': {'size': 1, 'since': '2026-01-01'}},
    ]
    for task_id, _ in taken:
        await queue.requeue(task_id)
    await drain(app, concurrency=1)
    assert seen == [
        (date, Colour.RED, (Decimal(1), Decimal('2.0')), ID, None, {'first': dt.timedelta(1)}),
        (date, Colour.RED, (), ID, date, {}),
        {'size': 1, 'since': date},
    ]


class Wanted(TypedDict):
    since: Required[dt.date]
    size: NotRequired[int]


@pytest.mark.parametrize('choice', ['auto', 'pydantic', None])
async def test_keywords_of_a_typed_dict_are_required_or_not_and_no_others(queue: Torrelque, choice: Any) -> None:
    app = Tasks(queue, types=choice)

    @app.task(name='shop', max_attempts=5)
    async def send(to: str, /, **options: Unpack[Wanted]) -> None:
        seen.append((to, options))

    @app.task(name='more')
    async def more(since: int, /, **options: Unpack[Wanted]) -> None:
        seen.append((since, options))

    seen: list[Any] = []
    date: Any = '2026-01-01' if choice is None else dt.date(2026, 1, 1)
    await send.enqueue('joe', since=date)
    await send.enqueue('joe', since=date, size=1)
    await more.enqueue(3, since=date)
    await drain(app, concurrency=1)
    assert seen == [('joe', {'since': date}), ('joe', {'since': date, 'size': 1}), (3, {'since': date})]
    call: Any = send.enqueue
    wrong: list[Any] = [({}, r"size=\.\.\.\) -> 'None': missing a required .*'since'")]
    wrong += [({'since': date, 'siez': 1}, 'unexpected .*siez')]
    for kwargs, error in wrong:
        with pytest.raises(TorrelqueTypeError, match=f'^shop.*{error}'):
            await call('joe', **kwargs)
    for kwargs in ({}, {'since': '2026-01-01', 'siez': 1}):
        task_id = await queue.enqueue({'task': 'shop', 'args': ['joe'], 'kwargs': kwargs})
        await drain(app)
        state = await queue.get_task_state(task_id)
        assert state.status is Status.DEAD and state.dequeue_count == 1
    assert len(seen) == 3


async def test_a_default_is_not_sent_and_need_not_be_carried(app: Tasks, queue: Torrelque) -> None:
    @app.task(name='shop')
    async def send(when: dt.date = dt.date(2026, 1, 1), size: int = 'all') -> str:  # type: ignore[assignment]
        return f'{when} {size}'

    @app.task(name='none')
    async def none(when: dt.date = None) -> bool:  # type: ignore[assignment] # noqa: RUF013
        return when is None

    handles: list[Handle[Any]] = [await send.enqueue(), await none.enqueue(None)]  # type: ignore[arg-type]
    task_id, task = await queue.dequeue()
    assert task == {'task': 'shop'}
    await queue.requeue(task_id)
    await drain(app)
    assert [await handle.result(10) for handle in handles] == ['2026-01-01 all', True]


async def test_kinds_of_arguments_are_remembered_for_no_others(app: Tasks, client: redis.asyncio.Redis) -> None:
    @app.task(name='shop')
    async def send(size: float, text: str | None = None, free: Any = None) -> str:
        return f'{size!r} {text!r} {free!r}'

    call: Any = send.enqueue
    sent: list[Any] = [(1.5, 'a'), (1.5, None), (1, 'a'), (NAN, 'a'), (1.5, 'b'), (2.5,), (1.5, 'a', [1]), (-NAN, 'a')]
    handles = []
    for args in sent * 2:
        handles.append(await call(*args))
        for wrong in (('a', 'a'), (1.5, 1), (None,)):
            with pytest.raises(TorrelqueTypeError):
                await call(*wrong)
    for number in range(KNOWN * 2):
        await call(1.0, None, type(f'Number{number}', (int,), {})(number))
    converter = send._definition.callee.converter
    assert converter is not None and len(converter.sent) + len(converter._floats) == KNOWN
    for text in await client.hvals(app.queue.keys['tasks']):
        json.loads(text, parse_constant=pytest.fail)
    await drain(app)
    expected = [(float(args[0]), *args[1:], None, None)[:3] for args in sent * 2]
    assert [await handle.result(10) for handle in handles] == [f'{a!r} {b!r} {c!r}' for a, b, c in expected]


async def test_kinds_are_remembered_with_the_names_of_arguments(app: Tasks, client: redis.asyncio.Redis) -> None:
    @app.task(name='shop')
    async def send(to: str, size: float = 0, **others: int) -> str:
        return f'{to} {size!r} {others}'

    call: Any = send.enqueue
    calls: list[Any] = [(('a',), {'size': 1.5}), ((), {'size': 1, 'to': 'a'}), (('a', 2.5), {'b': 1, 'c': 2})]
    calls += [(('a',), {'b': 1, 'size': NAN}), (('a',), {'b': 1, 'size': 2.5}), (('a',), {'size': 1.5, 'b': 1})]
    handles = []
    for args, kwargs in calls * 2:
        handles.append(await call(*args, **kwargs))
        for other, wrong in ((('a',), {'size': 'a'}), ((), {'size': 'a', 'to': 1}), (('a', 1), {'b': 1.5, 'c': 2})):
            with pytest.raises(TorrelqueTypeError):
                await call(*other, **wrong)
    converter = send._definition.callee.converter
    assert converter is not None
    assert {(str, 'size', float), (str, 'b', 'size', int, float)} <= converter._floats.keys()
    assert converter._floats[('size', 'to', int, str)] == [0]
    for text in await client.hvals(app.queue.keys['tasks']):
        json.loads(text, parse_constant=pytest.fail)
    await drain(app)
    assert (str, 'size', float) in converter.taken and ('size', 'to', int, str) not in converter.taken
    expected = ['a 1.5 {}', 'a 1.0 {}', "a 2.5 {'b': 1, 'c': 2}", "a nan {'b': 1}", "a 2.5 {'b': 1}", "a 1.5 {'b': 1}"]
    assert [await handle.result(10) for handle in handles] == expected * 2


async def test_arguments_that_are_converted_in_one_go_are_what_they_are_one_by_one(
    app: Tasks, queue: Torrelque
) -> None:
    @app.task(name='shop')
    async def send(tags: list[str], size: float = 0, free: Any = None, *rest: dict[str, int]) -> str:
        return f'{tags!r} {size!r} {free!r} {rest!r}'

    @app.task(name='ids')
    async def count(numbers: list[int], to: str = '', some: Sequence[int] = (), all: Iterable[int] = ()) -> str:
        return f'{numbers!r} {to!r} {some!r} {all!r}'

    calls: list[Any] = [
        (send, (['a'],), [['a']], "['a'] 0 None ()"),
        (send, (['a'], 3), [['a'], 3], "['a'] 3.0 None ()"),
        (send, (['a'], NAN, [1]), [['a'], 'NaN', [1]], "['a'] nan [1] ()"),
        (send, ([Name.JOE], True, None, {'a': 1}, {'b': True}), [['joe'], 1, None, {'a': 1}, {'b': 1}],
         "['joe'] 1.0 None ({'a': 1}, {'b': 1})"),
        (count, ([1, True], UserId('joe')), [[1, 1], 'joe'], "[1, 1] 'joe' () ()"),
        (count, ([1], 'a', (1, True)), [[1], 'a', [1, 1]], "[1] 'a' [1, 1] ()"),
        (count, ([1], 'a', [2], iter([3])), [[1], 'a', [2], [3]], "[1] 'a' [2] [3]"),
    ]  # fmt: skip
    handles = [await function.enqueue(*args) for function, args, *_ in calls]
    taken = await queue.dequeue_many(len(calls))
    sent = {task_id: task['args'] for task_id, task in taken}
    assert [sent[handle.id] for handle in handles] == [args for *_, args, _ in calls]
    for task_id, _ in taken:
        await queue.requeue(task_id)
    await drain(app)
    assert [await handle.result(10) for handle in handles] == [result for *_, result in calls]
    wrong: list[Any] = [(send, (['a', 1],)), (send, (['a'], 2**53 + 1)), (send, (['a'], 'x')), (count, ([1.0],))]
    for function, args in wrong:
        with pytest.raises(TorrelqueTypeError, match=r"argument '.*' must be"):
            await function.enqueue(*args)


async def test_what_was_refused_has_left_nothing(app: Tasks, client: redis.asyncio.Redis) -> None:
    function = app.task(name='shop')(echo(dt.date))
    for _ in range(3):
        with pytest.raises(TorrelqueTypeError):
            await function.options(delay=1, group='a').enqueue('today')
    await nothing_left(client, app.queue)
