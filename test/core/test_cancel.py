"""Cancelling: a task that waits, one that is worked on, and holes in a long queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.looking import dump, places
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueTaskStatus as Status


@pytest.mark.parametrize('place', ['pending', 'delayed', 'dead'])
async def test_a_cancelled_task_is_not_handed_out(client: redis.asyncio.Redis, queue: Torrelque, place: str) -> None:
    task_id = await queue.enqueue(1, task_id='own', delay=60 if place == 'delayed' else None)
    if place == 'dead':
        await queue.bury((await queue.dequeue())[0])
    assert await places(client, queue, task_id) == {place}
    assert await queue.cancel(task_id) is True
    assert await queue.cancel(task_id) is False
    assert await places(client, queue, task_id) == set()
    assert (await queue.get_task_state(task_id)).status is Status.CANCELLED
    key = f'{queue.keys["task"]}:own'
    assert 55_000 < await client.pttl(key) <= 60_000
    assert await client.keys('*') == [key.encode()]
    await queue.enqueue(2, task_id='own')
    assert await queue.dequeue(0) == ('own', 2)
    assert await client.pttl(key) == -1


@pytest.mark.parametrize('status', [status for status in Status if not status.isfinal()])
async def test_a_task_is_cancelled_only_where_its_status_is_one_of_those_that_are_given(
    client: redis.asyncio.Redis, queue: Torrelque, status: Status
) -> None:
    before = [await queue.enqueue(0)] if status is Status.WAITING else []
    task_id = await queue.enqueue(1, delay=60 if status is Status.DELAYED else None, depends_on=before)
    if status in (Status.WORKING, Status.DEAD):
        held, _ = await queue.dequeue()
        assert status is Status.WORKING or await queue.bury(held)
    seen = await dump(client)
    others = [one for one in Status if not one.isfinal() and one is not status]
    assert await queue.cancel(task_id, only=others) is False
    assert await dump(client) == seen
    assert await queue.cancel(task_id, only=iter([others[0], status])) is True
    assert await queue.cancel(task_id, only=[status]) is False
    assert (await queue.get_task_state(task_id)).status is Status.CANCELLED
    assert await queue.cancel('nobody', only=[status]) is False


@pytest.mark.parametrize(
    ('only', 'kind'),
    [
        (Status.PENDING, torrelque.TorrelqueTypeError),
        ('pending', torrelque.TorrelqueTypeError),
        (['pending'], torrelque.TorrelqueTypeError),
        ([0], torrelque.TorrelqueTypeError),
        ([], torrelque.TorrelqueValueError),
        ([Status.PENDING, Status.COMPLETED], torrelque.TorrelqueValueError),
    ],
)
async def test_what_is_no_list_of_statuses_is_refused(queue: Torrelque, only: Any, kind: type[Exception]) -> None:
    task_id = await queue.enqueue(1)
    with pytest.raises(kind, match='only must'):
        await queue.cancel(task_id, only=only)
    assert (await queue.get_task_state(task_id)).status is Status.PENDING


async def test_the_holder_of_a_cancelled_task_is_told(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    for settle in (queue.release, queue.requeue, queue.bury):
        task_id = await queue.enqueue(1)
        taken, _ = await queue.dequeue()
        assert await queue.touch(taken) is True
        assert await queue.cancel(task_id) is True
        assert await queue.cancel(task_id) is False
        assert (await queue.get_task_state(task_id)).status is Status.CANCELLED
        assert await queue.touch(taken) is False
        assert await settle(str(task_id)) is False
        assert (await queue.get_queue_stats()).working == 1
        assert await settle(taken) is False
        assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)
        assert 55_000 < await client.pttl(f'{queue.keys["task"]}:{task_id}') <= 60_000
        assert await settle(taken) is False
        await client.delete(f'{queue.keys["task"]}:{task_id}')
        assert await nothing_left(client, queue)


async def test_a_cancelled_task_goes_with_its_lease(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, task_timeout=0.02)
    await queue.dequeue()
    await queue.cancel(task_id)
    await asyncio.sleep(0.03)
    assert await client.exists(queue.keys['bell'])
    assert await queue.sweep() == (1, 0, 0)
    assert not await client.exists(queue.keys['bell'])
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    assert (await queue.get_task_state(task_id)).status is Status.CANCELLED


async def test_a_cancelled_id_in_work_may_be_enqueued_at_once(queue: Torrelque) -> None:
    await queue.enqueue(1, task_id='own')
    old, _ = await queue.dequeue()
    await queue.cancel('own')
    await queue.enqueue(2, task_id='own')
    assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)
    assert await queue.touch(old) is False
    assert await queue.release(old) is False
    new, task = await queue.dequeue(0)
    assert task == 2
    assert await queue.release(new) is True


async def test_cancel_in_a_long_queue_leaves_holes_that_are_skipped(
    client: Any, queue: Torrelque
) -> None:
    ids = await queue.enqueue_many(range(1500))
    for task_id in ids[:1400]:
        assert await queue.cancel(task_id)
    assert await queue.get_queue_stats() == (100, 100, 0, 0, 0, 0)
    assert await queue.dequeue(0) == (ids[1400], 1400)
    assert [n for _, n in await queue.dequeue(0, max_tasks=1000)] == list(range(1401, 1500))
    assert await queue.release_many(ids[1400:]) == [True] * 100
    left = [key for key in await client.keys('*') if not key.startswith(queue.keys['task'].encode() + b':')]
    assert left == []


async def test_an_id_enqueued_anew_over_its_hole_is_in_one_place(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue(1, task_id='own')
    ids = await queue.enqueue_many(range(600))
    for delay in (None, 0.01):
        await queue.cancel('own')
        await queue.enqueue(2, task_id='own', delay=delay)
        if delay:
            await asyncio.sleep(0.02)
            assert await queue.sweep() == (0, 1, 0)
        pending = await client.lrange(queue.keys['pending'], 0, -1)
        assert pending.count(b'own') == 1 and len(pending) == 601
    got = await queue.dequeue(max_tasks=1000)
    assert sorted(task_id for task_id, _ in got) == sorted([*ids, 'own'])
    await queue.release_many([task_id for task_id, _ in got])
    assert await client.exists(queue.keys['holes'], queue.keys['pending']) == 0


async def test_all_of_a_long_queue_cancelled_leaves_no_list(client: Any, queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(800))
    for task_id in ids:
        await queue.cancel(task_id)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    left = [key for key in await client.keys('*') if not key.startswith(queue.keys['task'].encode() + b':')]
    assert left == []


async def test_a_cancelled_id_is_refused_by_a_full_queue_and_changes_nothing(
    client: redis.asyncio.Redis, queue_name: str
) -> None:
    async with Torrelque(client, queue=queue_name, max_tasks=2) as queue:
        await queue.enqueue(1, task_id='own')
        await queue.cancel('own')
        await queue.enqueue_many([1, 2])
        before = await dump(client)
        with pytest.raises(torrelque.TorrelqueFullError):
            await queue.enqueue(2, task_id='own')
        assert await dump(client) == before
        assert (await queue.get_task_state('own')).status is Status.CANCELLED


async def test_the_last_cancel_of_a_long_queue_leaves_no_list(client: Any, queue: Torrelque) -> None:
    for task_id in await queue.enqueue_many(range(800)):
        await queue.cancel(task_id)
    left = [key for key in await client.keys('*') if not key.startswith(queue.keys['task'].encode() + b':')]
    assert left == []
