"""How many slots have something to do: as many tasks as are worked on, and claims would hand out now."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import redis.asyncio

from support.hearts import write_heart
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueServerError, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Operator, scaling

pytestmark = pytest.mark.first_server


async def claim_all(queue: Torrelque) -> int:
    """How many tasks claims hand out, until they hand out none."""
    taken = 0
    while True:
        try:
            taken += len(await queue.dequeue_many(2, timeout=0))
        except TimeoutError:
            return taken


def forget(queue: Torrelque) -> None:
    scaling._kept.pop(queue, None)


async def check(queue: Torrelque) -> int:
    """Claims hand out as many tasks as are useful, beside those that are worked on; then no more are."""
    forget(queue)
    told = await Operator(queue).scale()
    assert told.exact
    assert await claim_all(queue) == told.useful - told.working
    forget(queue)
    after = await Operator(queue).scale()
    assert after.useful == after.working == told.useful
    return told.useful


async def test_without_limits_all_that_waits_is_useful(queue: Torrelque) -> None:
    await queue.enqueue_many(range(5))
    await queue.enqueue_many(range(7), group='a')
    await queue.enqueue(1, priority=-1)
    await queue.enqueue(1, delay=100)
    ids = [task_id for task_id, _ in await queue.dequeue_many(3)]
    await queue.bury(ids[0])
    assert await check(queue) == 12


@pytest.mark.parametrize('default', [None, 2])
async def test_of_groups_no_more_is_useful_than_may_run(queue: Torrelque, default: int | None) -> None:
    if default is not None:
        await queue.set_limit(concurrency=default)
    await queue.set_limit('one', concurrency=1)
    await queue.set_limit('five', concurrency=5)
    for group in 'one', 'five', 'free', 'paused':
        await queue.enqueue_many(range(10), group=group)
    await queue.enqueue_many(range(4))
    await queue.pause('paused')
    assert await check(queue) == 4 + 1 + 5 + (default or 10)
    await queue.set_limit('five', concurrency=3)
    await queue.set_limit('one', concurrency=2)
    await queue.resume('paused')
    assert await check(queue) == 4 + 2 + 5 + 2 * (default or 10)


async def test_groups_that_wait_for_a_token_are_not_useful(queue: Torrelque) -> None:
    await queue.set_limit('slow', rate=(2, 1000))
    await queue.enqueue_many(range(9), group='slow')
    assert await claim_all(queue) == 2
    assert await check(queue) == 2


async def test_a_queue_that_is_paused_has_use_for_what_it_works_on(queue: Torrelque) -> None:
    await queue.enqueue_many(range(9))
    await queue.dequeue_many(2)
    await queue.pause()
    assert await check(queue) == 2


@pytest.mark.parametrize('seed', [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
async def test_any_history_has_as_much_to_do_as_claims_hand_out(queue: Torrelque, seed: int) -> None:
    chance = random.Random(seed)
    groups = [None, *'abcdef']
    held: list[Any] = []
    for _ in range(60):
        group = chance.choice(groups)
        act = chance.randrange(8)
        if act < 3:
            await queue.enqueue_many(range(chance.randrange(1, 5)), group=group)
        elif act == 3:
            await queue.set_limit(group, concurrency=chance.randrange(1, 4))
        elif act == 4:
            await (queue.pause if chance.random() < 0.5 else queue.resume)(group or 'a')
        elif act == 5:
            try:
                held += await queue.dequeue_many(chance.randrange(1, 6), timeout=0)
            except TimeoutError:
                pass
        elif held:
            task_id, _ = held.pop(chance.randrange(len(held)))
            if chance.random() < 0.5:
                await queue.release(task_id)
            else:
                await queue.requeue(task_id, chance.choice([None, 100]))
    await check(queue)


async def test_several_queues_are_one_and_a_queue_that_fails_is_no_zero(
    queue: Torrelque, client: redis.asyncio.Redis, server: RealServer
) -> None:
    await queue.enqueue_many(range(3))
    await write_heart(client, queue, 'a')
    async with Torrelque(client, queue='second') as second:
        await second.enqueue_many(range(4))
        await write_heart(client, second, 'a')
        told = await Operator([queue, second]).scale()
        assert (told.pending, told.working, told.ready, told.useful, told.slots) == (7, 0, 7, 7, 10)
        assert told.oldest > 0
        await client.acl_setuser('few', enabled=True, nopass=True, categories=['+@all'], keys=[f'{{{queue.name}}}*'])
        async with server.client(username='few', password='x') as few, Torrelque(few, queue='second') as refused:
            with pytest.raises(TorrelqueServerError, match=r'(?i)permission'):
                await Operator([queue, refused]).scale()
        await client.acl_deluser('few')


async def test_many_groups_are_looked_at_each_half_minute_and_very_many_never(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = Operator(queue)
    await queue.set_limit(concurrency=2)
    await queue.enqueue_many(range(1500), group=lambda number: f'g{number // 3}')
    assert ((await operator.scale()).useful, (await operator.scale()).exact) == (1000, True)
    # What groups have come to is taken for true for a while; the rest is as it is now.
    await queue.enqueue_many(range(600), group=lambda number: f'h{number}')
    await queue.enqueue(1)
    assert (await operator.scale()).useful == 1001
    monkeypatch.setattr(scaling, 'KEPT', 0)
    assert (await operator.scale()).useful == 1601
    monkeypatch.setattr(scaling, 'CHEAP', 1000)
    told = await operator.scale()
    assert (told.useful, told.exact, told.ready) == (1101, False, 1101)


async def test_groups_are_read_by_their_names(queue: Torrelque) -> None:
    await queue.enqueue_many(range(3), group='a')
    operator = Operator(queue)
    told = await operator.groups_of(['b', 'a', 'b'])
    assert [(group.name, group.waiting) for group in told] == [('b', 0), ('a', 3)]
    assert await operator.groups_of([]) == []
    with pytest.raises(TorrelqueTypeError, match='names of groups are several'):
        await operator.groups_of('a')
    with pytest.raises(TorrelqueValueError, match='100 groups at the most are read by their names, not 101'):
        await operator.groups_of(map(str, range(101)))


async def test_what_is_due_has_use_for_a_worker_where_none_is_there(queue: Torrelque) -> None:
    operator = Operator(queue)
    await queue.enqueue(1, delay=1e-3)
    await queue.enqueue(2, delay=100)
    while not (await operator.overview()).overdue:
        await asyncio.sleep(0)
    assert (await operator.scale()).useful == 1
    await queue.set_schedule('often', 1, every=1e-3)
    while not (await operator.overview()).late_schedules:
        await asyncio.sleep(0)
    assert (await operator.scale()).useful == 2
    # Schedules fire in a queue that is paused, too.
    await queue.pause()
    assert (await operator.scale()).useful == 1
