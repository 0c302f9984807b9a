"""What operators and faults do to groups: those that wait go on, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import redis.asyncio

from support.taking import drain, look, take_all, tasks_of
from support.waiting import nothing_left
from torrelque import Torrelque


@pytest.mark.parametrize('many', [10, 700])
async def test_a_cancelled_head_makes_room_in_short_and_long_lists(
    client: redis.asyncio.Redis, queue: Torrelque, many: int
) -> None:
    ids = await queue.enqueue_many(range(many * 2), group=lambda n: f'g{n % many}')
    for task_id in ids[:many:2]:
        assert await queue.cancel(task_id)
    groups, heads, _, turns = await look(client, queue)
    assert len(groups) == len(heads) == many
    assert set(heads.values()) <= set(turns) and len(turns) == many + (many > 500) * (many // 2 - (700 - 500) // 2 * 0)
    assert sorted(await drain(queue, 100)) == [*range(1, many, 2), *range(many, many * 2)]
    for key in await client.keys(queue.keys['task'] + ':*'):
        await client.delete(key)
    assert await nothing_left(client, queue)


async def test_all_cancelled_leaves_nothing(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(1500), group=lambda n: f'g{n % 700}')
    ids += await queue.enqueue_many(range(10), group='later', delay=100)
    ids += await queue.enqueue_many(range(10), priority=-3)
    assert all(await asyncio.gather(*(queue.cancel(task_id) for task_id in ids)))
    await client.delete(*(f'{queue.keys["task"]}:{task_id}' for task_id in ids))
    assert await nothing_left(client, queue)


async def test_a_head_of_the_callers_own_id_that_is_cancelled_and_enqueued_again(queue: Torrelque) -> None:
    await queue.enqueue_many(range(600), group=lambda n: f'g{n}')
    for group in (None, 'a', 'b', 'a', None, 'b'):
        await queue.enqueue(group, task_id='own', group=group)
        assert await queue.cancel('own')
    await queue.enqueue('last', task_id='own', group='a')
    tasks = await drain(queue, 50)
    assert sorted(map(str, tasks)) == sorted([*map(str, range(600)), 'last'])


async def test_an_id_that_is_free_again_gives_the_slot_of_its_holder_back(queue: Torrelque) -> None:
    await queue.set_limit(concurrency=1)
    await queue.enqueue('held', task_id='own', group='a')
    held, _ = await queue.dequeue(0)
    await queue.enqueue('waits', group='a')
    assert await queue.cancel('own') and await take_all(queue) == []
    # A token is the attempt and the millisecond of the claim; both are first attempts.
    await asyncio.sleep(0.002)
    await queue.enqueue('new', task_id='own', group='b')
    assert await tasks_of(queue) == ['waits', 'new']
    assert not await queue.release(held)


async def test_dead_tasks_hold_no_slot_and_come_back_in_order(queue: Torrelque) -> None:
    await queue.set_limit('a', concurrency=1)
    ids = await queue.enqueue_many(range(4), group='a')
    for n in range(2):
        ((task_id, task),) = await take_all(queue)
        assert task == n and await queue.bury(task_id)
    assert [name async for name in queue.groups()] == ['a']
    assert await queue.redrive() == 2
    assert await drain(queue) == [0, 1, 2, 3]
    assert (await queue.get_queue_stats()).tasks == 0
    assert ids


async def test_groups_that_have_only_dead_tasks_are_not_listed(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue(1, group='a')
    await queue.bury((await queue.dequeue(0))[0])
    assert [name async for name in queue.groups()] == []
    assert (await look(client, queue)) == ({}, {}, {}, [])


@pytest.mark.parametrize('what', ['state', 'payload', 'both'])
@pytest.mark.parametrize('where', ['head', 'working', 'delayed'])
async def test_what_is_lost_of_a_task_harms_that_task_alone(
    client: redis.asyncio.Redis, queue: Torrelque, where: str, what: str
) -> None:
    await queue.set_limit('a', concurrency=1)
    ids = await queue.enqueue_many(['lost', 'next'], group='a', task_timeout=0.1 if where == 'working' else 60)
    if where != 'head':
        task_id, _ = await queue.dequeue(0)
        if where == 'delayed':
            await queue.requeue(task_id, delay=0.05)
    if what != 'payload':
        await client.delete(f'{queue.keys["task"]}:{ids[0]}')
    if what != 'state':
        await client.hdel(queue.keys['tasks'], ids[0])
    assert (await queue.dequeue(60))[1] == 'next'


@pytest.mark.parametrize(
    'text', ['', 'x', '[]', '5', '{"concurrency":"x","rate":[0,0]}', '{"rate":["x",{}]}', '{"rate":null}']
)
async def test_limits_that_were_broken_by_hand_are_those_by_default(
    client: redis.asyncio.Redis, queue: Torrelque, text: str
) -> None:
    await queue.set_limit(concurrency=1)
    await client.hset(queue.keys['limits'], 'a', text)
    await client.set(f'{queue.keys["rate"]}:b', text)
    await queue.set_limit('b', rate=(1, 60))
    await queue.enqueue_many(range(3), group='a')
    await queue.enqueue_many('xyz', group='b')
    assert await tasks_of(queue) == [0, 'x']


@pytest.mark.parametrize('key', ['turns', 'heads'])
async def test_a_key_that_is_lost_keeps_no_group_waiting(
    client: redis.asyncio.Redis, queue: Torrelque, key: str
) -> None:
    await queue.enqueue_many(range(900), group=lambda n: f'g{n % 300}')
    await client.delete(queue.keys[key])
    assert sorted(await drain(queue, 100)) == list(range(900))
    assert await nothing_left(client, queue)


@pytest.mark.parametrize('key', ['limits', 'paused'])
async def test_a_key_with_something_else_in_it_costs_no_task(
    client: redis.asyncio.Redis, queue: Torrelque, key: str
) -> None:
    await queue.enqueue_many(range(9), group=lambda n: f'g{n % 3}')
    task_id, _ = await queue.dequeue(0)
    await client.set(queue.keys[key], 'x')
    await queue.enqueue(9, group='g')
    assert await queue.requeue(task_id)
    with contextlib.suppress(Exception):
        await queue.dequeue(0)
    await client.delete(queue.keys[key])
    held: Any = await client.zrange(queue.keys['working'], 0, -1)
    if held:
        await client.zadd(queue.keys['working'], dict.fromkeys(held, 1))
    await queue.sweep()
    assert sorted(await drain(queue)) == list(range(10))
    assert await nothing_left(client, queue)
