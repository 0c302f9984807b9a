"""Whatever somebody writes into the state of a task, a flow, a schedule or a letter, all other tasks are handed out."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
import redis.asyncio

from support.spoiling import Key, read_keys, restore, spoilings
from torrelque import Node, Torrelque, TorrelqueError, TorrelqueServerError

pytestmark = pytest.mark.first_server

OF_ALL = {
    'pending', 'turns', 'priority', 'working', 'delayed', 'dead', 'tasks', 'groups', 'heads', 'holders', 'bell',
    'limits', 'waiting', 'away', 'outbox', 'guests', 'schedules', 'probes', 'later', 'rated',
}  # fmt: skip
"""Keys that are of all tasks: of these only what stands in them is spoilt."""
WHOLE = (b':seq', b':paused')
"""How keys end that are left whole: numbers are given by one, and a name more in the other may be that of the queue."""


async def fill(home: Torrelque, other: Torrelque, client: redis.asyncio.Redis) -> None:
    """Have tasks in all places, leases that are over, and a flow over both queues with a letter on its way."""
    for queue in (home, other):
        await queue.set_limit('rated', rate=(100, 1.0))
        await queue.set_limit('acme', concurrency=1)
        await queue.enqueue(1, delay=0.001, task_id='delayed')
        for group in 'acme', 'rated':
            await queue.enqueue_many(range(2), group=group, task_timeout=0.001)
        await queue.enqueue(1, priority=3, task_id='urgent')
        await queue.enqueue(1, group='acme', delay=0.001)
        await queue.pause('probed', probe=0.001)
        await queue.enqueue_many(range(2), group='probed')
        await queue.set_schedule('listed', 1, times=[time.time() + 0.001, time.time() + 3600], overlap='queue')
    chain = [
        Node('a', 1, queue=other.name), Node('b', 2, {'a': 'then'}), Node('c', 3, {'b': 'then'}, queue=other.name),
        Node('x', 4), Node('y', 5, {'x': 'end'}, queue=other.name, group='acme'),
    ]  # fmt: skip
    await home.enqueue_flow(chain, flow_id='f', result_ttl=60)
    await home.enqueue_flow([Node('a', 1, queue=other.name), Node('b', 2, {'a': 'then'})], flow_id='g', result_ttl=60)
    await home.sweep()
    for queue in (home, other):
        taken = await queue.dequeue_many(3, timeout=60)
        await queue.bury(taken[0][0], error='x')
    await home.set_schedule('nightly', 1, every=60)
    base = other.keys['outbox'].removesuffix('outbox')
    guest: Any = await client.hget(f'{base}guests', 'g.a')
    stay = json.loads(guest)[2]
    letter: dict[Any, Any] = {'home': home.name, 'flow': 'g', 'stay': stay, 'news': 'ended', 'value': '!c', 'number': 3}
    await client.hset(f'{base}letter:g.a', mapping=letter)
    await client.zadd(f'{base}outbox', {'g.a': 1})


async def work(queue: Torrelque, wanted: set[str]) -> None:
    """Take and finish all that is there, until nothing of what is wanted is left; a call may be told of damage."""
    for _ in range(50):
        try:
            taken = await queue.dequeue_many(50, timeout=0 if wanted else 0.001)
            await queue.release_many([task_id for task_id, _ in taken])
            wanted -= {str(task_id) for task_id, _ in taken}
            await queue.sweep()
        except TorrelqueServerError:
            raise
        except TorrelqueError:
            # That there is none, or one was damaged.
            pass
        if not wanted:
            return
    raise AssertionError(f'nobody is given {sorted(wanted)}')


def ways(key: Key) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """How a key is spoilt."""
    short = key.name.split(b':', 1)[1].decode()
    return [it for it in spoilings(key) if short not in OF_ALL or not it[0].startswith(('is a ', 'is gone'))]


@pytest.mark.parametrize(('seed', 'many'), [(1, 60), pytest.param(2, 400, marks=pytest.mark.long)])
async def test_whatever_is_spoilt_harms_no_other_task(
    client: redis.asyncio.Redis, queue_name: str, seed: int, many: int
) -> None:
    chance, pattern = random.Random(seed), f'{{{queue_name}*'
    async with Torrelque(client, queue=queue_name) as home, Torrelque(client, queue=f'{queue_name} 2') as other:
        await fill(home, other, client)
        keys = await read_keys(client, pattern)
        some = [key for key in keys if not key.name.endswith(WHOLE)]
        assert len(some) > 50
        for key in chance.choices(some, k=many):
            words, commands = chance.choice(ways(key))
            for command in commands:
                await client.execute_command(*command)
            for queue in (home, other):
                wanted = {str(task_id) for task_id in await queue.enqueue_many(range(3))}
                wanted |= {str(await queue.enqueue(1, group='new')), str(await queue.enqueue(1, priority=1))}
                try:
                    await work(queue, wanted)
                except Exception as exc:
                    raise AssertionError(f'{key.name!r} {words}: {exc!r} {exc}') from exc
            await restore(client, keys, pattern)
