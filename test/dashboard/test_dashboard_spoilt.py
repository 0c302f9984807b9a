"""Keys that hold something else than they should: pages, the exporter and all that operators read answer."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from support.hearts import write_heart
from support.looks import Look
from support.measuring import numbers, scrape, write_totals
from support.spoiling import read_keys, restore, spoilings
from torrelque import Node, Torrelque, TorrelqueError, TorrelqueServerError
from torrelque.dashboard.pages import PAGES
from torrelque.monitor import Metrics
from torrelque.operate import Operator

pytestmark = pytest.mark.first_server


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
