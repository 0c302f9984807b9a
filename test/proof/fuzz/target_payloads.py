"""Payloads of whoever may enqueue: a call is run with what its annotations say, or is rejected, and says why."""

from __future__ import annotations

import contextvars
import dataclasses
import datetime
import decimal
import functools
import inspect
import json
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import redis.asyncio
from typing_extensions import TypedDict

from proof.fuzz import server
from proof.fuzz.feed import Feed
from proof.fuzz.judging import Refused, attempt, drive, same
from torrelque import (
    Torrelque,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueNode,
    TorrelqueOutcome,
    TorrelqueTaskId,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.codec import JSON, serialise
from torrelque.tasks import Tasks
from torrelque.worker import Delivery, Job, Reject
from torrelque.worker.bounds import Bounds
from torrelque.worker.delivery import Common, headers_of, instant_of


@dataclasses.dataclass
class Order:
    """An argument that is made of a table."""

    number: int
    total: decimal.Decimal
    tags: set[str] = dataclasses.field(default_factory=set)
    when: datetime.datetime | None = None


class Size(TypedDict, total=False):
    """An argument whose keys are known."""

    width: int
    height: float


Takes = list[tuple[Any, Any]]
"""What a function was called with: annotations and values."""


def plain(first: Any, second: Any = 1, *rest: Any, **more: Any) -> Any:
    return first


def typed(number: int, text: str = '', share: float = 0.0, flag: bool = False,
    when: datetime.datetime | None = None) -> int:
    return number


def nested(pairs: list[tuple[int, str]], table: dict[str, uuid.UUID], kind: Literal['a', 'b'] = 'a') -> dict[str,
    uuid.UUID]:
    return table


def ordered(order: Order, *sizes: Size, wait: datetime.timedelta = datetime.timedelta(), data: bytes = b'') -> Order:
    return order


FUNCTIONS: tuple[Callable[..., Any], ...] = (plain, typed, nested, ordered)
NAMES = [function.__name__ for function in FUNCTIONS]
LAYER = ('torrelque.map', 'torrelque.gather', 'torrelque.start', 'torrelque.flows.map', 'torrelque.')


def _watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that compares what it is called with and what its annotations say."""
    signature, hints = inspect.signature(function), typing.get_type_hints(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            kind = signature.parameters[name].kind
            values = value if kind is inspect.Parameter.VAR_POSITIONAL else [value]
            for one in values:
                assert fits(hints[name], one), f'{function.__name__} was given {one!r} as {name}: {hints[name]}'
        return function(*args, **kwargs)

    return call


def fits(hint: Any, value: Any) -> bool:
    """Whether a value is of the annotated kind."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is type(None):
        return hint is Any or value is None
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(fits, inner, value))
    if origin in (list, set):
        return isinstance(value, origin) and all(fits(inner[0], one) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(inner[0], a) and fits(inner[1], b) for a, b in value.items())
    if inner:
        return any(fits(one, value) for one in inner)
    if hint is Size:
        hints = typing.get_type_hints(hint)
        return isinstance(value, dict) and all(fits(hints[name], one) for name, one in value.items() if name in hints)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return isinstance(value, hint) and all(fits(hints[name], getattr(value, name)) for name in hints)  # type: ignore[arg-type]
    if hint in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, hint)


@functools.cache
def apps() -> tuple[Tasks, ...]:
    """An app for each library that carries annotations, whose queue is asked nothing."""
    client = redis.asyncio.Redis()
    made = []
    libraries: tuple[Literal['msgspec', 'pydantic'] | None, ...] = ('msgspec', 'pydantic', None)
    for library in libraries:
        app = Tasks(Torrelque(client, queue='q'), types=library)
        for function in FUNCTIONS:
            app.task(name=function.__name__)(_watched(function))
        made.append(app)
    return tuple(made)


class Results:
    """A queue that has results of flows, and takes tasks that are added to them."""

    def __init__(self, feed: Feed, name: str = 'q') -> None:
        self._feed = feed
        self.name = name
        self.task_timeout, self.result_ttl = 300, 3600

    def sibling(self, name: Any) -> Results:
        if not isinstance(name, str):
            raise TorrelqueTypeError('the name of a queue must be a str')
        if not name or '}' in name:
            raise TorrelqueValueError('the name of a queue cannot be meant')
        return Results(self._feed, name)

    async def get_results(self, flow_id: Any, *task_ids: Any) -> list[TorrelqueOutcome]:
        for one in (flow_id, *task_ids):
            if not isinstance(one, str):
                raise TorrelqueTypeError('a task id must be a str')
        return [TorrelqueOutcome(one, self._feed.pick(('completed', 'completed', 'failed', None)), self._feed.json(1),
            None)
                for one in task_ids]  # fmt: skip

    async def add_to_flow(self, nodes: Sequence[TorrelqueNode], by: str) -> list[str]:
        return [node.name for node in nodes]


# What is written


def _argument(feed: Feed, depth: int = 2) -> Any:
    """A value that may be right for some annotation."""
    kind = feed.byte() % 10
    if kind < 4:
        return feed.json(depth)
    if kind == 4:
        return str(uuid.UUID(bytes=feed.take(16).ljust(16, b'x')))
    if kind == 5:
        return feed.pick(('2026-11-29T14:00:00Z', '2026-11-29', '0001-01-01T00:00:00+23:59',
            '9999-12-31T23:59:59-23:59', 'PT1S',
                          'P999999999D', '-P1D', '24:00', '1e400', 'NaN', 'YQ==', 'YQ'))  # fmt: skip
    if kind == 6:
        order = {'number': feed.number(), 'total': feed.pick(('1.50', 'sNaN', 1, '-0', feed.text(8)))}
        return order | ({'tags': feed.some(feed.word, 3)} if feed.flag() else {'when': feed.json(1)})
    if kind == 7:
        return [[feed.number(), feed.word()] for _ in range(feed.below(3))]
    if kind == 8:
        return {feed.word(): str(uuid.UUID(int=feed.byte())) for _ in range(feed.below(3))}
    return {'width': feed.number(), 'height': feed.float()}


def _task(feed: Feed) -> Any:
    """A payload: a call of one of the functions, and something besides now and then."""
    if feed.byte() % 8 == 0:
        return feed.json()
    task: dict[str, Any] = {'task': feed.pick((*NAMES, *NAMES, *LAYER, feed.text(), feed.json(1)))}
    task['args'] = feed.some(lambda: _argument(feed), 4) if feed.byte() % 8 else feed.json(1)
    if feed.flag():
        names = ('number', 'text', 'share', 'flag', 'when', 'order', 'wait', 'data', 'kind', 'first', 'call')
        task['kwargs'] = {feed.pick(names): _argument(feed)
            for _ in range(feed.below(4))} if feed.byte() % 8 else feed.json(1)
    for name in feed.some(lambda: feed.pick(('headers', 'result_ttl', 'expires', 'max_attempts', 'context', 'name',
        'home')), 3):
        task[name] = feed.pick((-1, 0, 60, '60', {'traceparent': feed.text()}, {'x-id': 1}, feed.json(2)))
    if feed.byte() % 4 == 0:
        task['flow'] = feed.pick(('f', feed.json(1)))
        task['from'] = feed.some(lambda: _taken(feed), 3) if feed.byte() % 4 else feed.json(2)
    return task


def _taken(feed: Feed) -> Any:
    """What a task takes of others: where it comes to stand, whose result it is, and how."""
    path = ['args', feed.below(3)] if feed.flag() else feed.json(1)
    source = feed.pick(('f.a', ['f.a', 'f.b'], [['f.a']], [], [[]], feed.json(2)))
    entry = [path, source, feed.pick(('one', 'each', 'first', 'all', feed.json(1)))]
    return entry[: 2 + feed.below(2)] if feed.byte() % 8 else feed.json(2)


# The targets


def payloads(feed: Feed) -> None:
    """A payload, as a worker has it."""
    app, task = feed.pick(apps()), _task(feed)
    # What was enqueued has gone through a serialiser.
    data = attempt(lambda: serialise(JSON, task, 'the task'), TorrelqueTypeError, named='cannot be serialised')
    if isinstance(data, Refused):
        return
    sent = JSON.loads(data)
    _judge_beside(sent)
    delivery = _delivery(feed, sent)
    job = attempt(lambda: app.find(delivery), TorrelqueLookupError, TorrelqueValueError, TorrelqueTypeError)
    if isinstance(job, Refused):
        return
    if job.admit is not None and 'expires' not in sent:
        admit: Any = job.admit
        admitted = attempt(lambda: drive(admit(delivery)), Reject, TorrelqueError)
        if isinstance(admitted, Refused):
            return
    if job.name in NAMES:
        _run(app, job, delivery)


def _delivery(feed: Feed, task: Any) -> Delivery:
    common = Common(None, Bounds())  # type: ignore[arg-type]
    return Delivery(Results(feed), TorrelqueTaskId('f.x', 1, '1-1'), task, Job(print), 0.0, common, lambda: None)  # type: ignore[arg-type]


def _run(app: Tasks, job: Job, delivery: Delivery) -> None:
    definition = app._definitions[job.name]
    unchecked = app is apps()[-1]
    # A worker calls in a context of its own, too.
    here = contextvars.copy_context()
    result = attempt(lambda: here.run(job.call, delivery), Reject, *((AssertionError,) if unchecked else ()))
    if isinstance(result, Refused) or unchecked:
        return
    # What a call was given can be given by a call, and arrives as the same.
    args, kwargs = definition.unpack(delivery.task)
    assert definition.encode is not None or job.name == 'plain'
    if definition.encode is not None:
        again = json.loads(json.dumps(definition.encode(args, kwargs)))
        taken = definition.unpack({'args': again[0], 'kwargs': again[1]})
        assert same_values((args, kwargs), taken), f'{(args, kwargs)!r} came as {taken!r}'
    if job.encode is not None and definition.decode_result is not None:
        kept = json.loads(json.dumps(job.encode(result)))
        assert same_values(result, definition.decode_result(kept)), result


def same_values(first: Any, second: Any) -> bool:
    """Whether two values are equal, what is no number being itself."""
    if dataclasses.is_dataclass(first):
        return type(first) is type(second) and all(
            same_values(getattr(first, one.name), getattr(second, one.name)) for one in dataclasses.fields(first)
        )
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same_values, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_values(first[key], second[key]) for key in first)
    if isinstance(first, decimal.Decimal):
        return str(first) == str(second)
    return bool(first == second) or first != first and second != second


def _judge_beside(task: Any) -> None:
    headers = headers_of(task)
    assert isinstance(headers, Mapping)


@functools.cache
def _telemetry() -> Any:
    from torrelque.telemetry import Telemetry

    return Telemetry()


def envelopes(feed: Feed) -> None:
    """Bytes and values of the serialiser, contexts of traces, instants in ids."""
    data = server.value(feed) if feed.flag() else feed.raw()
    found = attempt(lambda: JSON.loads(data), ValueError, RecursionError)
    expected = attempt(lambda: json.loads(data.decode()), ValueError, RecursionError)
    assert isinstance(found, Refused) == isinstance(expected, Refused)
    assert isinstance(found, Refused) or same(found, expected)
    value = feed.json()
    written = serialise(JSON, value, 'it')
    assert same(JSON.loads(written), value) and written == serialise(JSON, JSON.loads(written), 'it')
    headers = {feed.pick(('traceparent', 'tracestate', 'baggage', feed.text())): feed.pick(
        (f'00-{"1" * 32}-{"2" * 16}-01', f'00-{"0" * 32}-{"2" * 16}-01', feed.text(),
            feed.json(1))) for _ in range(feed.below(4))}  # fmt: skip
    _telemetry()._find({'context': headers if feed.byte() % 4 else feed.json(1)})
    task_id = feed.pick((f'{feed.word()}@{feed.number()}', f'a@{"9" * (11 + feed.below(5))}', feed.word()))
    instant = instant_of(task_id)
    if instant is not None:
        number = task_id.rpartition('@')[2].partition('.')[0]
        assert round(instant.timestamp() * 1000) == int(number), (task_id, instant)
