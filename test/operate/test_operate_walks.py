"""A walk misses no task that stays where it is, whatever is done meanwhile, and tells none twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis.asyncio

from support.operating import walked
from torrelque import Torrelque
from torrelque.operate import Operator
from torrelque.operate.pages import walk

pytestmark = [pytest.mark.first_server, pytest.mark.long]

Act = Callable[[], Coroutine[Any, Any, object]]


async def among(act: Act, queue: Torrelque, place: str, **options: Any) -> list[str]:
    """Ids that a walk tells, with something done between two parts."""
    ids = []
    async for part in walk(queue, place, **options):
        ids += [task.id for task in part]
        await act()
    return ids


async def stayed(queue: Torrelque, place: str, before: set[str]) -> set[str]:
    """Those of some tasks that are in a place still."""
    return before & {task.id for task in await walked(queue, place)}


@pytest.mark.parametrize('place', ['pending', 'ready'])
async def test_tasks_that_stay_are_met_while_others_come_and_go(queue: Torrelque, place: str) -> None:
    await queue.enqueue_many(range(2000))
    await queue.enqueue_many(range(300), priority=3)
    for number in range(300):
        await queue.enqueue(number, group=f'g{number % 40}')
    before = {task.id for task in await walked(queue, place)}
    held: list[Any] = []

    async def come_and_go() -> None:
        await queue.enqueue_many(range(180))
        await queue.enqueue_many(range(20), group='g1')
        await queue.enqueue_many(range(20), group=f'g{random.randrange(10**6)}')
        taken = await queue.dequeue_many(150, 0)
        held.extend(task_id for task_id, _ in taken)
        for task_id in held[:20]:
            await queue.requeue(task_id, forgive=True)
        await queue.release_many(held[20:])
        held.clear()

    ids = await among(come_and_go, queue, place)
    assert len(ids) == len({*ids})
    # A task that was handed out and given back has not stayed; it may be missed.
    away = await stayed(queue, place, before) - {*ids}
    tasks = [await Operator(queue).task(task_id) for task_id in away]
    # One that has become a head meanwhile was not among those that are ready all the time.
    assert [task for task in tasks if not task.attempt] == []


async def test_tasks_that_stay_are_met_though_all_that_were_told_are_cancelled(queue: Torrelque) -> None:
    """Out of a short list they are taken at once, so that all others are further left."""
    ids = [*await queue.enqueue_many(range(480))]
    told: list[str] = []
    async for part in walk(queue, 'pending'):
        told += [task.id for task in part]
        for task in part:
            await queue.cancel(task.id)
    assert sorted(told) == sorted(ids)


async def test_pages_miss_nothing_where_what_was_shown_is_cancelled(queue: Torrelque) -> None:
    ids = [*await queue.enqueue_many(range(300))]
    operator, told = Operator(queue), []
    cursor = None
    while True:
        page = await operator.page('pending', most=50, after=cursor)
        told += [task.id for task in page.tasks]
        for task in page.tasks[:20]:
            await queue.cancel(task.id)
        if (cursor := page.cursor) is None:
            break
    assert sorted(told) == sorted(ids)


async def test_a_task_that_becomes_the_head_of_its_group_is_met(queue: Torrelque) -> None:
    await queue.set_limit('a', concurrency=1)
    ids = [*await queue.enqueue_many(range(600), group='a')]

    async def pass_on() -> None:
        # All that the walk has told, and one more, are taken; the one behind these becomes the head, and stays.
        for _ in range(251):
            taken, _ = await queue.dequeue(0)
            await queue.release(taken)

    told = []
    async for part in walk(queue, 'group:a'):
        told += [task.id for task in part]
        if len(told) == 250:
            await pass_on()
    assert told == [*ids[:250], *ids[251:]]


async def test_a_task_that_goes_back_from_being_head_is_told_once(queue: Torrelque) -> None:
    await queue.enqueue_many(range(400), group='a')
    before = {task.id for task in await walked(queue, 'pending')}

    async def change() -> None:
        await queue.enqueue('urgent', group='a', priority=5)
        await queue.pause('a')
        await queue.resume('a')
        await queue.dequeue(0)

    ids = await among(change, queue, 'pending')
    assert len(ids) == len({*ids})
    assert await stayed(queue, 'pending', before) <= {*ids}


async def test_groups_that_stay_are_met_while_others_come_and_go(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    """So many that the server enlarges its table of them meanwhile."""
    for number in range(300):
        await queue.enqueue(number, group=f'old-{number}')
    before = {task.id for task in await walked(queue, 'group')}
    made = iter(range(1200))

    async def come() -> None:
        for _, number in zip(range(100), made, strict=False):
            await queue.enqueue(number, group=f'new-{number}')

    ids = await among(come, queue, 'group')
    assert before <= {*ids}
    operator, cursor, told = Operator(queue), None, []
    while True:
        page = await operator.page('group', most=20, after=cursor)
        told += [task.id for task in page.tasks]
        if (cursor := page.cursor) is None:
            break
        await queue.enqueue(1, group=f'newer-{len(told)}')
    assert before <= {*told}


async def test_leases_that_are_renewed_meanwhile_are_told_once(queue: Torrelque) -> None:
    await queue.enqueue_many(range(600))
    held = [task_id for task_id, _ in await queue.dequeue_many(250)]
    held += [task_id for task_id, _ in await queue.dequeue_many(250)]

    async def renew() -> None:
        await asyncio.sleep(0.002)
        await queue.touch_many(held)

    ids = await among(renew, queue, 'working')
    assert sorted(ids) == sorted(held)
