"""Keys that hold something else than they should: pages, the exporter and all that operators read answer."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import pytest
import redis.asyncio

from support.hearts import write_heart
from support.looks import Look
from support.measuring import numbers, scrape, write_totals
from torrelque import Node, Torrelque, TorrelqueError, TorrelqueServerError
from torrelque.dashboard.pages import PAGES
from torrelque.monitor import Metrics
from torrelque.operate import Operator

pytestmark = pytest.mark.first_server

VALUES = (
    b'', b'nan', b'inf', b'-inf', b'-1', b'0', b'1.5', b'5', b'6', b'7', b'1e308', b'9' * 400, b'-' + b'9' * 20,
    b'x' * 5000, b'\xff\xfe', b'a\nb\tc', b'{', b'[]', b'{}', b'[[[]]]', b'null', b'true', b'"x"', b'[1e400]',
    b'["\\ud800"]', b'{"a":{"b":[1,2,null]}}',
)  # fmt: skip
"""What is written into a field, a list or a string."""
SCORES = (float('-inf'), -9e15, -1.0, 0.0, 1.5, 9e15, 1e308, float('inf'))
OTHERS: dict[bytes, tuple[Any, ...]] = {
    b'string': ('SET', b'\xff'), b'list': ('RPUSH', b'\xff', 'a'), b'hash': ('HSET', b'\xff', 'x', '', ''),
    b'zset': ('ZADD', 'inf', b'\xff', '-inf', 'a', '-1', ''), b'set': ('SADD', b'\xff', 'a', ''),
}  # fmt: skip
"""How a key comes to hold something else."""


class Key(NamedTuple):
    """A key as it was."""

    name: Any
    kind: Any
    members: list[Any]
    """Fields of a hash, or members of a sorted set."""
    content: Any
    """What RESTORE takes."""


async def fill(queue: Torrelque, client: redis.asyncio.Redis) -> list[str]:
    """Have something in each place; ids of some tasks."""
    ids = await queue.enqueue_many(range(4))
    await queue.enqueue(1, delay=100, task_id='delayed')
    await queue.enqueue(1, priority=3)
    await queue.set_limit('rated', rate=(1, 100.0))
    await queue.set_limit('acme', concurrency=1)
    for group in 'acme', 'rated', 'pausing':
        await queue.enqueue_many(range(3), group=group)
    await queue.pause('pausing')
    taken = await queue.dequeue_many(4)
    await queue.bury(taken[0][0], error='Traceback (most recent call last):\n  File "a.py", line 1\nValueError: x')
    await queue.requeue(taken[1][0], delay=50, error='TimeoutError: y')
    await queue.release(taken[3][0], result_ttl=600, result={'x': 1})
    for name in 'nightly', 'held':
        await queue.set_schedule(name, {'a': 1}, every=60)
    await queue.pause_schedule('held')
    nodes = [Node('a', 1), Node('b', 2, {'a': 'then'}), Node('c', 3, {'a': 'then', 'b': 'then'}, group='acme')]
    await queue.enqueue_flow(nodes, flow_id='F', name='flow')
    await write_heart(client, queue, 'there')
    await write_heart(client, queue, 'gone', [str(ids[-1])], ago=100)
    await write_totals(queue, {'shop.send': numbers(5, 3, 1, 2)}, ['*wait', json.dumps([2, 1, *[0] * 14, 21])])
    await Operator(queue).pause('other')
    return [*(str(task_id) for task_id, _ in taken), 'delayed', 'F', 'F.b']


async def read_keys(client: redis.asyncio.Redis, pattern: str) -> list[Key]:
    found: list[Key] = []
    for name in sorted([name async for name in client.scan_iter(match=pattern, count=1000)]):
        kind = await client.type(name)
        members: Any = []
        if kind == b'hash':
            members = await client.hkeys(name)
        elif kind == b'zset':
            members = await client.zrange(name, 0, -1)
        found.append(Key(name, kind, members, await client.dump(name)))
    return found


async def restore(client: redis.asyncio.Redis, keys: list[Key], pattern: str) -> None:
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.delete(*[name async for name in client.scan_iter(match=pattern, count=1000)])
        for key in keys:
            pipeline.restore(key.name, 0, key.content)
        await pipeline.execute()


def spoilings(key: Key) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """What may become of a key: in words, and as commands."""
    yield 'is gone', [('DEL', key.name)]
    for kind, (command, *words) in OTHERS.items():
        if kind != key.kind:
            yield f'is a {kind.decode()}', [('DEL', key.name), (command, key.name, *words)]
    if key.kind == b'hash':
        for value in VALUES:
            for member in key.members:
                yield f'{member!r} is {value[:30]!r}', [('HSET', key.name, member, value)]
            pairs = [word for member in key.members for word in (member, value)]
            yield f'all are {value[:30]!r}', [('HSET', key.name, *pairs)]
        yield 'has more', [('HSET', key.name, b'\xff\0', b'\xff', '', '', 'x' * 3000, 'nan')]
    elif key.kind == b'zset':
        for score in SCORES:
            pairs = [word for member in key.members for word in (score, member)]
            yield f'scores are {score}', [('ZADD', key.name, *pairs)]
        yield 'has more', [('ZADD', key.name, -5, b'\xff\0', 1, '', 2, 'x' * 3000, 1e12, 'nobody')]
    elif key.kind == b'set':
        yield 'has more', [('SADD', key.name, b'\xff\0', '', 'x' * 3000)]
    else:
        for value in VALUES:
            commands = ('LPUSH', 'RPUSH') if key.kind == b'list' else ('SET',)
            yield f'has {value[:30]!r}', [(command, key.name, value) for command in commands]


def queries_of(page: str, ids: list[str]) -> list[dict[str, str]]:
    """What a page is asked for."""
    groups = ('acme', 'rated', 'pausing')
    return {
        'task': [{'id': task_id} for task_id in ids],
        'group': [{'name': group} for group in groups],
        'flow': [{'id': 'F'}],
        'schedule': [{'name': 'nightly'}, {'name': 'held'}],
        'tasks': [{'place': place} for place in ('pending', 'working', 'delayed', 'dead', 'waiting')]
        + [{'place': 'group', 'group': 'acme'}],
        'ask': [{'act': 'redrive', 'id': ids[0]}, {'act': 'limit', 'group': 'acme'}, {'act': 'pause'},
                {'act': 'fire', 'schedule': 'nightly'}],
    }.get(page, [{}])  # fmt: skip


async def look_at_pages(queue: Torrelque, ids: list[str]) -> list[Any]:
    """All pages; what was answered by those that have failed."""
    failed = []
    async with Look(queue, 'all') as look:
        for page in PAGES:
            for query in queries_of(page.name, ids):
                for path in page.name, f'{page.name or "overview"}.json':
                    answer = await look.ask('GET', path, query)
                    if answer.status_code not in (200, 400, 404):
                        failed.append((path, query, answer.status_code, answer.text[-500:]))
    return failed


async def read_all(queue: Torrelque, ids: list[str]) -> list[Any]:
    """All that operators read; errors that nobody can do anything with."""
    operator, failed = Operator(queue), []
    reads: list[Callable[[], Awaitable[Any]]] = [
        operator.overviews, operator.workers, operator.errors, operator.functions, operator.history, operator.flows,
        operator.acts, operator.examine, operator.stalled, operator.explain, operator.groups, operator.schedules,
        operator.schedule_page, lambda: operator.group('acme'), lambda: operator.flow('F'),
        lambda: operator.schedule('nightly'), lambda: scrape(Metrics(queue, groups=['acme', 'rated'])),
        *(lambda task_id=task_id: operator.task(task_id) for task_id in ids),
        *(lambda task_id=task_id: operator.explain(task_id) for task_id in ids),
    ]  # fmt: skip
    for read in reads:
        try:
            repr(await read())
        except TorrelqueServerError as exc:
            failed.append(exc)
        except TorrelqueError:
            # It says what there is not.
            pass
    return failed


@pytest.mark.parametrize(('seed', 'many'), [(1, 6), pytest.param(2, 150, marks=pytest.mark.long)])
async def test_whatever_a_key_holds_what_is_read_is_answered(
    queue: Torrelque, client: redis.asyncio.Redis, seed: int, many: int
) -> None:
    chance = random.Random(seed)
    ids = await fill(queue, client)
    pattern = f'{queue.keys["pending"].removesuffix("pending")}*'
    keys = await read_keys(client, pattern)
    assert len(keys) > 40
    for key in chance.choices(keys, k=many):
        words, commands = chance.choice([*spoilings(key)])
        for command in commands:
            await client.execute_command(*command)
        assert await look_at_pages(queue, ids) + await read_all(queue, ids) == [], (key.name, words)
        await restore(client, keys, pattern)
