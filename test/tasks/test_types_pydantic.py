"""Arguments and results by pydantic: its models wherever they are, or everything where that is asked for."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import socket
import uuid
from collections.abc import Callable, Iterable, Set
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pydantic
import pydantic.dataclasses
import pytest
from typing_extensions import TypedDict

from support.carried import NAN, Colour, echo, leaves
from torrelque import Torrelque, TorrelqueTaskStatus as Status, TorrelqueTypeError
from torrelque.tasks import Tasks
from torrelque.worker import Worker

# What is tested here has little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server

T = TypeVar('T')


class User(pydantic.BaseModel):
    name: str
    born: dt.date | None = None
    id: uuid.UUID = pydantic.Field(default=uuid.UUID(int=1), alias='user-id')

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def shout(self) -> str:
        return self.name.upper()


class Admin(User):
    rights: int = 0


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra='forbid')

    when: dt.datetime
    tags: set[str] = set()


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Hidden(pydantic.BaseModel):
    name: str
    secret: str = pydantic.Field(default='', exclude=True)


class Weighed(pydantic.BaseModel):
    weight: float


@pydantic.dataclasses.dataclass
class Line:
    count: int
    price: Decimal = Decimal(0)


@dataclasses.dataclass
class Order:
    by: User
    lines: list[Line]


class Entry(TypedDict):
    user: User


class Placed(NamedTuple):
    user: User


class Later(pydantic.BaseModel):
    other: Other | None = None  # type: ignore[name-defined] # noqa: F821


class Renamed(pydantic.BaseModel):
    one: int = pydantic.Field(serialization_alias='theOne')
    two: int = pydantic.Field(default=0, validation_alias=pydantic.AliasChoices('zwei', 'deux'))
    three: int = pydantic.Field(default=0, validation_alias='in', serialization_alias='out')


class Stamped(pydantic.BaseModel):
    id: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)
    name: str = ''


class Patch(pydantic.BaseModel):
    name: str | None = None
    more: list[Patch] = []


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra='allow')

    id: int


class Private(pydantic.BaseModel):
    id: int
    _tenant: str = pydantic.PrivateAttr(default='default')


def private(tenant: str) -> Private:
    it = Private(id=1)
    it._tenant = tenant
    return it


class Holding(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    socket: socket.socket


class Calling(pydantic.BaseModel):
    call: Callable[[], int]


JOE = User(name='joe', born=dt.date(2000, 1, 1))
PLAIN = {'name': 'joe', 'born': '2000-01-01'}

STAMPED = Stamped()

CARRIED: list[tuple[Any, Any, Any]] = [
    (User, JOE, PLAIN),
    (User | None, None, None),
    (list[User], [JOE], [PLAIN]),
    (tuple[User, ...], (JOE,), [PLAIN]),
    (dict[uuid.UUID, User], {uuid.UUID(int=2): JOE}, {str(uuid.UUID(int=2)): PLAIN}),
    (Iterable[User], (JOE,), [PLAIN]),
    (Admin, Admin(name='joe', rights=1), {'name': 'joe', 'rights': 1}),
    (User, User.model_validate({'name': 'joe', 'user-id': uuid.UUID(int=2)}),
     {'name': 'joe', 'user-id': str(uuid.UUID(int=2))}),
    (Strict, Strict(when=dt.datetime(2026, 1, 1), tags={'a'}), {'when': '2026-01-01T00:00:00', 'tags': ['a']}),
    (Page[User], Page[User](items=[JOE]), {'items': [PLAIN]}),
    (Line, Line(1, Decimal('1.10')), {'count': 1, 'price': '1.10'}),
    (Renamed, Renamed.model_validate({'one': 1, 'zwei': 2, 'in': 3}), {'one': 1, 'two': 2, 'three': 3}),
    (list[Renamed], [Renamed(one=1)], [{'one': 1}]),
    (Stamped, Stamped(id=uuid.UUID(int=2)), {'id': str(uuid.UUID(int=2))}),
    (Stamped, STAMPED, {'id': str(STAMPED.id), 'name': ''}),
    (Patch, Patch(name='joe', more=[Patch(name=None)]), {'name': 'joe', 'more': [{'name': None}]}),
    (Open, Open.model_validate({'id': 1, 'more': ['a']}), {'id': 1, 'more': ['a']}),
    (Private, private('default'), {'id': 1}),
    (Order, Order(JOE, [Line(1)]), {'by': PLAIN, 'lines': [{'count': 1, 'price': '0'}]}),
    (Entry, {'user': JOE}, {'user': PLAIN}),
    (Placed, Placed(JOE), [PLAIN]),
    (Annotated[int, pydantic.Field(gt=5)], 6, 6),
    (pydantic.HttpUrl, pydantic.HttpUrl('http://a.b/'), 'http://a.b/'),
]
"""Annotations that pydantic carries by themselves."""
BY_CHOICE: list[tuple[Any, Any, Any]] = [
    (str | uuid.UUID, uuid.UUID(int=1), str(uuid.UUID(int=1))),
    (dt.date | dt.datetime, dt.datetime(2026, 1, 1, 5), '2026-01-01T05:00:00'),
    (dt.date | dt.datetime, dt.date(2026, 1, 1), '2026-01-01'),
    (list[float], [1, NAN, True], [1.0, 'NaN', 1.0]),
    (int, True, 1),
    (Set[int], {1}, [1]),
    (bytes, b'\xff', '_w=='),
    (Colour, Colour.RED, 'red'),
    (dict[str, Any], {'a': 1}, {'a': 1}),
    (Any, 1, 1),
]
"""Annotations that it carries where it is asked for."""


async def drain(app: Tasks, **options: Any) -> Worker:
    worker = Worker(app, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


@pytest.mark.parametrize(('choice', 'samples'), [('auto', CARRIED), ('pydantic', CARRIED + BY_CHOICE)])
async def test_what_is_carried_is_json_and_arrives_as_it_was(queue: Torrelque, choice: Any, samples: Any) -> None:
    app = Tasks(queue, types=choice)
    functions = [app.task(name=str(n), result_ttl=60)(echo(hint)) for n, (hint, _, _) in enumerate(samples)]
    handles = []
    for function, (_, value, _) in zip(functions, samples, strict=True):
        handles.append(await function.enqueue(value))
    taken = await queue.dequeue_many(len(samples))
    sent = {int(task['task']): leaves(task['args'][0]) for _, task in taken}
    assert sent == {n: leaves(expected) for n, (_, _, expected) in enumerate(samples)}
    for task_id, _ in taken:
        await queue.requeue(task_id)
    await drain(app)
    results = [await handle.result(10) for handle in handles]
    values = [[*value] if hint == Iterable[User] else value for hint, value, _ in samples]
    assert [leaves(result) for result in results] == [leaves(value) for value in values]
    assert [type(result) for result in results if not isinstance(result, (int, list))] == [
        type(value) for value in values if not isinstance(value, (int, list))
    ]


@pytest.mark.parametrize(
    ('hint', 'value', 'error'),
    [
        (User, PLAIN, "argument 'it' must be test_types_pydantic.User, not {...} (dict)"),
        (User, PLAIN, 'it is no `User`'),
        (User, Admin(name='joe', rights=1), "it would arrive as User(name='joe'"),
        (list[User], [Admin(name='joe')], 'it would arrive as [User('),
        (User, User.model_construct(name=3), 'it is no `str`'),
        (Hidden, Hidden(name='a', secret='b'), "it would arrive as Hidden(name='a', secret='')"),
        (pydantic.SecretStr, pydantic.SecretStr('a'), 'it would arrive as '),
        (Annotated[int, pydantic.Field(gt=5)], 5, 'Input should be greater than 5'),
        (Order, Order(JOE, []).by, 'it is no `Order`'),
        (Open, Open.model_validate({'id': 1, 'at': dt.date(1, 1, 1)}), "arrive as Open(id=1, at='0001-01-01')"),
        (list[Open], [Open.model_validate({'id': 1, 'ids': (1, 2)})], 'it would arrive as [Open(id=1'),
        (Private, private('acme'), 'it would arrive as Private(id=1)'),
        (list[Private], [private('acme')], 'it would arrive as [Private(id=1)]'),
        (Weighed, Weighed(weight=NAN), 'weight: Input should be a valid number'),
    ],
)
async def test_what_would_not_arrive_is_refused_at_the_call(
    queue: Torrelque, hint: Any, value: Any, error: str
) -> None:
    function = Tasks(queue).task(name='shop')(echo(hint))
    with pytest.raises(TorrelqueTypeError) as info:
        await function.enqueue(value)
    assert str(info.value).startswith("shop: argument 'it' must be ")
    assert error in str(info.value)
    assert 'errors.pydantic.dev' not in str(info.value)
    assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.parametrize(
    ('hint', 'error'),
    [
        (pydantic.BaseModel, 'a BaseModel has no fields; annotate a model that extends it'),
        (Holding, 'JSON does not carry a socket.socket'),
        (Calling, 'JSON does not carry a collections.abc.Callable; send a name'),
        (list[Calling], 'JSON does not carry a collections.abc.Callable'),
        (tuple[User, socket.socket], 'Unable to generate pydantic-core schema for'),
        (tuple[User, Iterable[int]], 'annotate list, Sequence or Collection'),
        (tuple[User, T], '~T may stand for anything'),  # type: ignore[valid-type]
    ],
)
def test_what_no_json_carries_is_refused_by_the_decorator(queue: Torrelque, hint: Any, error: str) -> None:
    app = Tasks(queue)
    with pytest.raises(TorrelqueTypeError) as info:
        app.task(name='shop')(echo(hint))
    assert str(info.value).startswith("shop: parameter 'it' is annotated ")
    assert error in str(info.value)
    assert not app.functions


async def test_a_producer_in_another_language_writes_json(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task(name='shop', max_attempts=5)
    async def send(user: User, strict: Strict) -> str:
        return f'{user.name} {strict.when} {strict.tags}'

    strict = {'when': '2026-01-01T00:00:00', 'tags': ['a', 'a']}
    await queue.enqueue({'task': 'shop', 'args': [{'name': 'joe'}, strict]}, task_id='fine')
    bad: list[tuple[Any, str]] = [
        ([{'name': 3}, strict], "argument 'user' must be test_types_pydantic.User, not {...} (dict): name: "),
        ([PLAIN, {**strict, 'more': 1}], "argument 'strict' must be test_types_pydantic.Strict"),
        ([PLAIN, {}], 'when: Field required'),
    ]
    ids = [await queue.enqueue({'task': 'shop', 'args': args}) for args, _ in bad]
    await drain(app)
    assert await send.handle('fine').result(10) == "joe 2026-01-01 00:00:00 {'a'}"
    for task_id, (_, error) in zip(ids, bad, strict=True):
        state = await queue.get_task_state(task_id)
        assert state.status is Status.DEAD and state.dequeue_count == 1
        assert state.error is not None and error in state.error


@dataclasses.dataclass
class Login:
    age: int
    password: str = dataclasses.field(repr=False)
    pin: Literal['a', 'b'] = 'a'


class Account(pydantic.BaseModel):
    age: int
    password: pydantic.SecretStr
    pin: Literal['a', 'b'] = 'a'


async def test_the_error_of_a_task_shows_no_fields_of_what_came(queue: Torrelque) -> None:
    app = Tasks(queue)
    hints: list[Any] = [Login, list[Login], Account, dict[str, Account], pydantic.SecretStr]
    for number, hint in enumerate(hints):
        app.task(name=str(number))(echo(hint))
    secret = {'password': 'hunter2', 'age': 3}
    told: list[tuple[int, Any, str]] = [
        (0, {**secret, 'age': 'x'}, 'Expected `int`, got `str` - at `$.age`'),
        (0, {**secret, 'pin': 'hunter2'}, 'Invalid enum value - at `$.pin`'),
        (1, [{**secret, 'age': 'hunter2'}], 'Expected `int`, got `str` - at `$[0].age`'),
        (2, {**secret, 'age': 'hunter2'}, 'age: Input should be a valid integer'),
        (2, {**secret, 'password': ['hunter2']}, 'password: Input should be a valid string'),
        (3, {'a': {**secret, 'pin': 'hunter2'}}, "a.pin: Input should be 'a' or 'b'"),
        (4, ['hunter2'], 'must be pydantic.types.SecretStr, not list: Input should be a valid string'),
    ]
    ids = [await queue.enqueue({'task': str(number), 'args': [value]}) for number, value, _ in told]
    await drain(app)
    for task_id, (*_, error) in zip(ids, told, strict=True):
        text = (await queue.get_task_state(task_id)).error
        assert text is not None and error in text and 'hunter2' not in text


async def test_a_result_is_a_model_for_the_handle_and_json_for_others(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task
    def find(name: str) -> User | None:
        return JOE if name == 'joe' else None

    handles = [await find.enqueue('joe'), await find.enqueue('ann')]
    await drain(app)
    assert [await handle.result(10) for handle in handles] == [JOE, None]
    assert (await queue.get_task_state(handles[0].id)).result == {**PLAIN, 'user-id': str(JOE.id)}


async def test_fields_that_were_not_set_are_not_set_when_a_model_has_arrived(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task
    async def change(patch: Patch) -> dict[str, Any]:
        return patch.model_dump(exclude_unset=True)

    @app.task
    async def ask(name: str | None) -> Patch:
        return Patch(name=name, more=[Patch()])

    changes: list[Any] = [{}, {'name': None}, {'name': 'joe', 'more': [{}, {'name': 'ann'}]}]
    handles = [await change.enqueue(Patch.model_validate(each)) for each in changes]
    asked = await ask.enqueue(None)
    await drain(app)
    assert [await handle.result(10) for handle in handles] == changes
    # A result is whole, for those who read its JSON.
    assert (await asked.result(10)) == Patch(name=None, more=[Patch()])
    assert (await asked.state()).result == Patch(name=None, more=[Patch()]).model_dump()


def in_process(user: User) -> Admin:
    assert type(user) is User
    return Admin(name=user.name, rights=7)


async def test_a_function_in_a_process_gets_a_model(queue: Torrelque) -> None:
    app = Tasks(queue)
    handle = await app.task(run_in='process')(in_process).enqueue(JOE)
    await drain(app)
    assert await handle.result(10) == Admin(name='joe', rights=7)


async def test_a_model_that_refers_to_a_later_one_is_found_at_the_first_use(queue: Torrelque) -> None:
    app = Tasks(queue)
    find = app.task(name='shop')(echo(Later))
    told = Tasks(queue, types='pydantic').task(name='shop')(echo(Later))
    with pytest.raises(TorrelqueTypeError, match=r"the annotation of parameter 'it'.* cannot be resolved: "):
        await told.enqueue({})
    globals()['Other'] = User
    try:
        handle = await find.enqueue(Later.model_validate({'other': {'name': 'joe'}}))
        task_id, task = await queue.dequeue()
        assert json.loads(json.dumps(task['args'][0]))['other']['name'] == 'joe'
        await queue.requeue(task_id)
        await drain(app)
        result = await handle.result(10)
    finally:
        del globals()['Other']
    assert type(result) is Later and type(result.other) is User
