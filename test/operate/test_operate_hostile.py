"""Nothing that stands in the server takes an answer down: any bytes, any size, any type."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.operating import walked
from torrelque import Torrelque
from torrelque.operate import Operator
from torrelque.operate.values import plain

pytestmark = [pytest.mark.first_server, pytest.mark.long]

NAMES = [
    '\x1b[31mred\x1b[0m', 'line\nfeed\r\t\0', '\u202eright to left', '[bold]markup[/bold]', '😀', '../../%2e', "'; --",
    str(2**63), 'x' * 100_000, '{q}', '*', ' ', 'group:a',
]  # fmt: skip


@pytest.mark.parametrize('name', NAMES, ids=range(len(NAMES)))
async def test_any_name_is_told_as_it_is(queue: Torrelque, name: str) -> None:
    await queue.enqueue(name, task_id=name, group=name)
    await queue.enqueue(name, group=name)
    await queue.set_limit(name, concurrency=2)
    operator = Operator(queue)
    task = await operator.task(name, payload=10**6)
    assert (task.id, task.group, task.payload) == (name, name, name)
    for place in ('pending', f'group:{name}'):
        page = await operator.page(place, most=1, payload=10**6)
        assert page.tasks[0].id == name
        rest = await operator.page(place, after=page.cursor)
        assert [one.group for one in rest.tasks] == [name]
    assert (await operator.group(name)).waiting == 2
    assert [group.name for group in (await operator.groups(pattern=f'{name[:1]}*{name[-1:]}')).groups] in ([name], [])
    assert [group.name for group in (await operator.groups(pattern='*')).groups] == [name]
    json.dumps([task.as_json(), page.as_json()])
    await queue.dequeue()
    await operator.examine()


async def test_ids_and_groups_that_are_no_text_are_told_with_surrogates(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    raw, keys = b'\xff\xfe id', queue.keys
    await client.hset(keys['tasks'], raw, b'1')
    state: dict[Any, Any] = {'status': 0, 'timeout': 1000, 'enqueue_time': 1000, 'group': b'\xff', 'order': 2}
    await client.hset(keys['task'].encode() + b':' + raw, mapping=state)
    await client.hset(keys['groups'], b'\xff', 0)
    await client.zadd(keys['group'].encode() + b':\xff', {raw: 2})
    operator = Operator(queue)
    [task] = await walked(queue, 'pending')
    assert (task.id, task.group, task.broken) == ('\udcff\udcfe id', '\udcff', None)
    assert (await operator.task(task.id)).payload == 1
    assert [one.id for one in (await operator.page('group:\udcff')).tasks] == [task.id]
    assert (await operator.group('\udcff')).waiting == 1
    assert (await operator.groups()).groups[0].name == '\udcff'
    for call in (operator.task('\ud800'), operator.group('\ud800'), operator.page('group:\ud800')):
        with pytest.raises(torrelque.TorrelqueValueError, match='must be encodable as UTF-8'):
            await call
    for bad in (operator.task(''), operator.group('')):
        with pytest.raises(torrelque.TorrelqueValueError, match='must not be empty'):
            await bad


GARBAGE: list[bytes] = [
    b'', b'x', b'-1', b'1e308', b'nan', b'inf', b'9' * 5000, str(2**63).encode(), b' 1', b'1_0', b'\xff', b'0x10',
    b'1' * 30,
]  # fmt: skip
FIELDS = (
    'status', 'group', 'order', 'timeout', 'enqueue_time', 'dequeue_count', 'last_dequeue_time', 'requeue_count',
    'last_requeue_time', 'ready_time', 'priority', 'max_attempts', 'forgiven', 'release_time', 'error', 'progress',
    'result', 'history',
)  # fmt: skip


@pytest.mark.parametrize('field', FIELDS)
@pytest.mark.share(2)
async def test_garbage_in_a_state_is_told_and_harms_nothing(
    queue: Torrelque, client: redis.asyncio.Redis, field: str
) -> None:
    operator = Operator(queue)
    ids = [
        await queue.enqueue(1), await queue.enqueue(1, group='g', priority=1), await queue.enqueue(1, delay=60),
        await queue.enqueue(1, priority=3),
    ]  # fmt: skip
    await queue.dequeue()
    for garbage in GARBAGE:
        for task_id in ids:
            await client.hset(f'{queue.keys["task"]}:{task_id}', field, garbage)
            task = await operator.task(task_id)
            assert task.id == task_id
            json.dumps(task.as_json())
        await operator.overview()
        await operator.groups()
        await operator.examine()
        for place in ('pending', 'ready', 'working', 'delayed', 'dead', 'group', 'turns', 'orphaned'):
            await operator.page(place)
            await walked(queue, place)


@pytest.mark.parametrize('garbage', [b'x', b'', b'-5', b'1e308', b'\xff', b'{"concurrency":[]}', b'[' * 10_000])
async def test_garbage_in_the_books_of_groups_harms_nothing(
    queue: Torrelque, client: redis.asyncio.Redis, garbage: bytes
) -> None:
    await queue.enqueue_many(range(3), group='g')
    await queue.pause('g')
    for name, field in (('groups', 'g'), ('heads', 'g'), ('limits', 'g'), ('limits', ''), ('probes', 'g')):
        await client.hset(queue.keys[name], field, garbage)
    await client.set(f'{queue.keys["rate"]}:g', garbage)
    operator = Operator(queue)
    group = await operator.group('g')
    assert (await operator.groups()).groups[0].name == 'g'
    assert group.slots >= 0
    json.dumps(group.as_json())
    await operator.overview()
    await operator.examine()
    assert {task.group for task in await walked(queue, 'pending')} == {'g'}


@pytest.mark.parametrize('score', ['inf', '-inf', '1e300', '-1e300', '0.5', str(2**63)])
async def test_any_score_is_passed_by_and_told_as_no_instant(
    queue: Torrelque, client: redis.asyncio.Redis, score: str
) -> None:
    ids = [*await queue.enqueue_many(range(5), delay=60)]
    await client.zadd(queue.keys['delayed'], dict.fromkeys(ids[:3], score))
    operator, told, cursor = Operator(queue), [], None
    while True:
        page = await operator.page('delayed', most=1, after=cursor)
        told += [task.id for task in page.tasks]
        if (cursor := page.cursor) is None:
            break
    assert sorted(told) == sorted(ids)
    assert sorted(task.id for task in await walked(queue, 'delayed', newest_first=True)) == sorted(ids)
    assert (await operator.task(ids[0])).due == (0.0005 if score == '0.5' else None)
    assert (await operator.overview()).delayed == 5


@pytest.mark.parametrize('place', ['pending', 'turns', 'priority', 'working', 'delayed', 'dead', 'group:g', 'groups'])
async def test_a_place_that_holds_something_else_is_named(
    queue: Torrelque, client: redis.asyncio.Redis, place: str
) -> None:
    for options in ({}, {'priority': 1}, {'delay': 60}, {'group': 'g'}, {'group': 'g'}):
        await queue.enqueue(1, **options)
    key = queue.keys['pending'].removesuffix('pending') + place
    await client.delete(key)
    await client.set(key, 'x')
    operator = Operator(queue)
    asked = 'group' if place == 'groups' else place
    page = await operator.page(asked)
    assert page.broken == (place,)
    assert [finding.level for finding in await operator.examine() if repr(place) in finding.text] == (
        [] if ':' in place else ['error']
    )
    await walked(queue, 'pending')
    await operator.groups()
    await operator.group('g')


@pytest.mark.parametrize(
    'lost, broken',
    [
        ('state', 'no state'), ('payload', 'no payload'), ('type', 'the state is no hash'), ('status', 'no status'),
        ('other', 'the status is none that there is'), ('place', 'it is in no place'),
        ('number', 'the field timeout cannot be read'), ('tasks', None),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_task_is_told_in_words(
    queue: Torrelque, client: redis.asyncio.Redis, lost: str, broken: str | None
) -> None:
    task_id = await queue.enqueue(1, delay=60)
    key = f'{queue.keys["task"]}:{task_id}'
    acts: dict[str, Any] = {
        'state': lambda: client.delete(key),
        'payload': lambda: client.hdel(queue.keys['tasks'], task_id),
        'type': lambda: client.rename(queue.keys['tasks'], key),
        'status': lambda: client.hdel(key, 'status'),
        'other': lambda: client.hset(key, 'status', 8),
        'place': lambda: client.zrem(queue.keys['delayed'], task_id),
        'number': lambda: client.hset(key, 'timeout', 'soon'),
        'tasks': lambda: client.set(queue.keys['tasks'], 'x'),
    }
    if lost == 'type':
        await client.delete(key)
        await client.set(key, 'x')
    else:
        await acts[lost]()
    task = await Operator(queue).task(task_id)
    assert task.broken == broken
    if lost != 'place':
        assert [one.broken for one in await walked(queue, 'delayed')] == [broken]


async def test_a_payload_of_another_serialiser_is_told_as_bytes(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    class Angry:
        def dumps(self, value: Any) -> bytes:
            return b'\x80' + str(value).encode()

        def loads(self, data: bytes) -> Any:
            raise SystemError('no') if data != b'\x80stop' else KeyboardInterrupt

    async with Torrelque(client, queue=queue.name, serialiser=Angry()) as other:
        task_id = await other.enqueue('abc')
        task = await Operator(other).task(task_id)
        assert (task.payload, task.raw, task.function, task.broken) == (None, b'\x80abc', None, None)
        assert task.as_json()['raw'] == '\\x80abc'
    task = await Operator(queue).task(task_id)
    assert (task.payload, task.raw) == (None, b'\x80abc')


@pytest.mark.parametrize('task', [[], 'x', None, {'task': 5}, {'task': None}, {'tasks': 'x'}, 5, [['task', 'x']]])
async def test_what_is_no_call_of_a_function_has_none(queue: Torrelque, task: Any) -> None:
    told = await Operator(queue).task(await queue.enqueue(task))
    assert (told.function, told.payload) == (None, task)


def test_any_value_becomes_json() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError

    loop: list[Any] = []
    loop.append(loop)
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    value = {1: loop, (2, 3): deep, b'\xff': Odd(), None: 10**5000, 'x': {float('nan'), -(10**5000)}, 'b': True}
    text = json.dumps(plain(value))
    assert json.loads(text)['b'] is True
    assert plain(2**63) == 2**63
    assert plain(torrelque.TaskStatus.DEAD) == 'dead'
    while isinstance(deep, list):
        deep = deep.pop()
