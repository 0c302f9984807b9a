"""Probes beside heads, limits and groups, and what ends a pause or breaks it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.probing import clock, keys_of, make_due, times_of
from support.taking import drain, take_all, tasks_of
from support.waiting import nothing_left
from torrelque import Torrelque

pytestmark = pytest.mark.first_server

GROUPS = pytest.mark.parametrize('group', [None, 'g'])


async def dump(client: Any) -> dict[Any, Any]:
    # What a queue object remembers of its own calls goes by itself after some seconds.
    return {key: await client.dump(key) for key in await client.keys('*') if b':claim:' not in key}


async def test_the_probe_of_a_strict_group_is_its_head(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g')
    # A head that came up before goes back, and comes up again in its time.
    await queue.pause('g', probe=60)
    assert await take_all(queue) == []
    await make_due(client, queue, 'g')
    ((head, task),) = await take_all(queue)
    assert task == 0
    # While it is out its slot is used up, whatever the time.
    await make_due(client, queue, 'g')
    assert await take_all(queue) == []
    await queue.requeue(head)
    ((head, task),) = await take_all(queue)
    assert (task, head.attempt, head.probe) == (0, 2, True)
    await queue.release(head)
    assert await take_all(queue) == []
    await make_due(client, queue, 'g')
    assert await tasks_of(queue) == [1]


async def test_the_probe_of_a_group_needs_a_token(client: Any, queue: Torrelque) -> None:
    await queue.set_limit('g', rate=(1, 3600))
    await queue.pause('g', probe=60)
    await queue.enqueue_many(range(3), group='g')
    await make_due(client, queue, 'g')
    assert await tasks_of(queue) == [0]
    await make_due(client, queue, 'g')
    assert await take_all(queue) == []
    assert await client.zscore(queue.keys['rated'], 'g') > await clock(client) + 3_000_000
    await queue.set_limit('g')
    ((task_id, task),) = await take_all(queue)
    assert (task, task_id.probe) == (1, True)


@pytest.mark.parametrize('default', [False, True])
async def test_a_limit_that_is_changed_meanwhile_leaves_the_time_alone(
    client: redis.asyncio.Redis, queue: Torrelque, default: bool
) -> None:
    await queue.pause('g', probe=60)
    await queue.enqueue_many(range(3), group='g')
    due = await times_of(client, queue, 'g')
    assert await client.zscore(queue.keys['rated'], 'g') == due[0]
    for rate in ((100, 1), None):
        await queue.set_limit(None if default else 'g', concurrency=2, rate=rate)
        assert await client.zscore(queue.keys['rated'], 'g') == due[0]
    assert await times_of(client, queue, 'g') == due
    assert await take_all(queue) == []


@pytest.mark.parametrize('bulk', [1, 100])
async def test_the_probe_of_the_queue_is_what_a_claim_would_take_first(
    client: redis.asyncio.Redis, queue: Torrelque, bulk: int
) -> None:
    await queue.enqueue_many(['halted'] * 3, group='h')
    await queue.enqueue_many(['low', 'high'], priority=lambda task: 1 if task == 'high' else -1)
    await queue.enqueue_many(['g0', 'g1'], group='g')
    await queue.enqueue_many(['p0', 'p1'])
    await queue.pause('h')
    await queue.pause(probe=60)
    seen = []
    for _ in range(6):
        await make_due(client, queue, None)
        ((task_id, task),) = await take_all(queue, bulk=bulk)
        assert task_id.probe and task_id.group == ('g' if task[0] == 'g' else None)
        seen.append(task)
    assert seen[0] == 'high' and seen[-1] == 'low'
    assert {*seen[1:3]} == {'g0', 'p0'} and {*seen[3:5]} == {'g1', 'p1'}
    await make_due(client, queue, None)
    assert await take_all(queue) == []
    await queue.resume()
    assert await take_all(queue) == []
    await queue.resume('h')
    assert await tasks_of(queue) == ['halted'] * 3


async def test_a_probe_of_the_queue_needs_that_of_a_paused_group(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.pause('g', probe=60)
    await queue.pause(probe=60)
    await queue.enqueue_many(range(3), group='g')
    await make_due(client, queue, None)
    assert await take_all(queue) == []
    await make_due(client, queue, 'g')
    ((task_id, task),) = await take_all(queue)
    assert (task, task_id.probe) == (0, True)
    for group in (None, 'g'):
        assert (await times_of(client, queue, group))[0] > 1
    await make_due(client, queue, 'g')
    assert await take_all(queue) == []


@GROUPS
async def test_groups_that_are_not_paused_go_on_and_give_no_probes(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    await queue.pause('other', probe=60)
    await queue.enqueue_many(range(3), group=group)
    taken = await take_all(queue)
    assert [(task, task_id.probe) for task_id, task in taken] == [(n, False) for n in range(3)]


@GROUPS
async def test_an_emptied_queue_keeps_the_pause_alone(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    await queue.pause(group, probe=60)
    ids = await queue.enqueue_many(range(3), group=group)
    with contextlib.suppress(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    for task_id in ids:
        assert await queue.cancel(task_id)
    with contextlib.suppress(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    assert await keys_of(client, queue) == {'paused', 'probes'}


async def test_delayed_tasks_that_become_due_wait_for_the_probe(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.pause('g', probe=60)
    ids = await queue.enqueue_many(range(2), group='g', delay=60)
    await client.zadd(queue.keys['delayed'], dict.fromkeys(ids, 1))
    await queue.sweep()
    assert await take_all(queue) == []
    assert await client.zscore(queue.keys['rated'], 'g') == (await times_of(client, queue, 'g'))[0]
    await make_due(client, queue, 'g')
    assert len(await take_all(queue)) == 1


@GROUPS
@pytest.mark.parametrize('text', ['', 'x', '1', '1 0', '1 -5', '-1 5', '1.5 1', '1 2 3'])
async def test_times_that_were_broken_by_hand_let_nothing_through(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None, text: str
) -> None:
    await queue.pause(group)
    await client.hset(queue.keys['probes'], group or '', text)
    await queue.enqueue_many(range(3), group=group)
    assert await take_all(queue) == []
    await queue.resume(group)
    assert await drain(queue) == [0, 1, 2]
    assert await nothing_left(client, queue)


@GROUPS
async def test_whoever_had_a_probe_ends_no_pause_without_probes(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    assert await queue.resume(group, probing=True) is True
    await queue.enqueue_many(range(3), group=group)
    await queue.pause(group, probe=60)
    assert await queue.resume(group, probing=True) is True
    assert not await client.exists(queue.keys['probes'], queue.keys['rated'], queue.keys['paused'])
    ((task_id, task),) = await take_all(queue, bulk=1, count=1)
    assert task == 0 and not task_id.probe

    await queue.pause(group, probe=60)
    await queue.pause(group)
    before = await dump(client)
    assert await queue.resume(group, probing=True) is False
    assert await dump(client) == before
    # Nobody can know what the other was.
    await client.set(queue.keys['probes'], 'x')
    assert await queue.resume(group, probing=True) is False
    await client.delete(queue.keys['probes'])
    assert await take_all(queue) == []
    assert await queue.resume(group) is True
    await queue.requeue(task_id, forgive=True)
    assert sorted(await drain(queue)) == [0, 1, 2]
    assert await nothing_left(client, queue)


@GROUPS
async def test_something_else_in_the_key_of_the_times_lets_nothing_through(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    await queue.pause(group)
    await client.set(queue.keys['probes'], 'x')
    await queue.enqueue_many(range(3), group=group)
    assert await take_all(queue) == []
    await queue.pause(group)
    await queue.resume(group)
    with pytest.raises(redis.exceptions.ResponseError):
        await queue.pause(group, probe=60)
    assert not await client.exists(queue.keys['paused'])
    assert await drain(queue) == [0, 1, 2]


@GROUPS
@pytest.mark.parametrize('probe', [0, 0.0, -1, float('nan'), float('inf'), 1e11, '1', b'1', True, [], 1j], ids=repr)
async def test_a_time_that_is_none_is_refused_before_anything_is_sent(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None, probe: Any
) -> None:
    with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError), match='probe'):
        await queue.pause(group, probe=probe)
    assert await nothing_left(client, queue)
    await queue.pause(group, probe=0.0001)
    assert (await times_of(client, queue, group))[1] == 1
