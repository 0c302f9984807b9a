"""Groups and priorities, through the public door: turns, order, and what is told."""

from __future__ import annotations

import asyncio
import pickle
import random

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.servers import RealServer
from support.taking import INF, drain, look, take_all, tasks_of
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueTaskStatus as Status

pytestmark = pytest.mark.first_server

# Fair


@pytest.mark.parametrize('bulk', [1, 7, 250])
@pytest.mark.parametrize('order', ['noisy first', 'noisy last', 'mixed'])
async def test_groups_take_turns_however_much_each_has(queue: Torrelque, order: str, bulk: int) -> None:
    tasks = [('noisy', n) for n in range(5000)]
    small = [(f'small {n % 99}', n) for n in range(990)]
    if order == 'mixed':
        tasks += small
        random.Random(1).shuffle(tasks)
    else:
        tasks = tasks + small if order == 'noisy first' else small + tasks
    await queue.enqueue_many(tasks, group=lambda task: task[0])

    first = await tasks_of(queue, 1100, bulk)
    assert sum(group != 'noisy' for group, _ in first[:1100]) == 990
    # All have their turn before anybody has the next.
    assert len({group for group, _ in first[:100]}) == 100


async def test_a_group_that_comes_later_has_its_turn_at_once(queue: Torrelque) -> None:
    await queue.enqueue_many(range(500), group='noisy')
    await take_all(queue, 100)
    await queue.enqueue('small', group='small')
    assert 'small' in await tasks_of(queue, 2)


async def test_nothing_is_left_of_a_group_without_tasks(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue_many(range(300), group=lambda n: f'g{n % 100}', priority=lambda n: n % 3 - 1)
    await drain(queue, 40)
    assert await nothing_left(client, queue)


@pytest.mark.parametrize('bulk', [1, 2, 3, 100])
@pytest.mark.parametrize('plain', [10, 200])
async def test_groups_and_plain_tasks_alternate(queue: Torrelque, plain: int, bulk: int) -> None:
    await queue.enqueue_many(['plain'] * plain)
    await queue.enqueue_many(['grouped'] * 200, group='g')
    tasks = await tasks_of(queue, 60, bulk)
    assert abs(tasks.count('plain') - min(plain, len(tasks) // 2)) <= 1
    assert abs(tasks[:18].count('plain') - 9) <= 1 or bulk == 100
    await queue.enqueue_many(['late'] * 3)
    assert (await tasks_of(queue, plain * 2, 1)).count('late') == 3


async def test_large_payloads_do_not_keep_one_side_out(queue: Torrelque) -> None:
    await queue.enqueue_many(['p' * 600_000] * 4)
    await queue.enqueue_many(['g' * 600_000] * 4, group='g')
    # Each of its claims has room for one task.
    tasks = await tasks_of(queue, bulk=100)
    assert [task[0] for task in tasks] == ['g', 'p'] * 4


@pytest.mark.parametrize('behind', [0, 1])
async def test_heads_that_a_claim_has_no_room_for_keep_their_turn(queue: Torrelque, behind: int) -> None:
    await queue.enqueue_many([name * 600_000 for name in 'abcd'], group=lambda task: task[0])
    # Where something waits behind heads, they are taken in another way.
    await queue.enqueue_many([*'abcd'] * behind, group=str)
    assert [task[0] for _, task in await queue.dequeue_many(2, 0)] == ['a', 'b']
    assert [task[0] for _, task in await queue.dequeue_many(2, 0)] == ['c', 'd']


# Ordered


async def test_tasks_of_a_new_group_that_come_in_one_call_are_all_taken_in_order(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(3), group='new')
    assert [await queue.dequeue(0) for _ in ids] == [(task_id, n) for n, task_id in enumerate(ids)]


@pytest.mark.parametrize('bulk', [1, 20])
async def test_limit_one_is_strict_order(client: redis.asyncio.Redis, queue: Torrelque, bulk: int) -> None:
    await queue.set_limit(concurrency=1)
    await queue.enqueue_many(range(60), group=lambda n: f'g{n % 3}')
    done: list[int] = []
    rng = random.Random(2)
    while len(done) < 60:
        some = await queue.dequeue_many(bulk, 60)
        for task_id, task in some:
            chance = rng.random()
            if chance < 0.2:
                await queue.requeue(task_id)
            elif chance < 0.4:
                await queue.requeue(task_id, delay=0.002)
            elif chance < 0.5:
                await queue.requeue(task_id, forgive=True)
            else:
                done.append(task)
                await queue.release(task_id)
    for group in range(3):
        assert [task for task in done if task % 3 == group] == list(range(group, 60, 3))
    await queue.set_limit()
    assert await nothing_left(client, queue)


async def test_a_failing_head_blocks_its_group_alone_until_it_is_dead(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await queue.set_limit('a', concurrency=1)
    for group in 'ab':
        await queue.enqueue_many([group + '1', group + '2'], group=group, max_attempts=2)
    (head, _), *others = await take_all(queue)
    assert [task for _, task in others] == ['b1', 'b2']
    await queue.requeue(head, delay=30)
    assert await tasks_of(queue) == []
    assert await queue.get_group_stats('a') == (1, 1, 1, INF, False)

    await client.zadd(queue.keys['delayed'], {head: 1})
    await queue.sweep()
    ((head, task),) = await take_all(queue)
    assert (task, head.attempt) == ('a1', 2)
    await queue.requeue(head)
    assert (await queue.get_task_state(head)).status is Status.DEAD
    assert await tasks_of(queue) == ['a2']


@pytest.mark.parametrize('end', ['release', 'bury', 'cancel and release', 'lease'])
async def test_the_next_comes_up_when_the_head_is_gone(client: redis.asyncio.Redis, queue: Torrelque, end: str) -> None:
    await queue.set_limit('a', concurrency=1)
    await queue.enqueue('first', group='a', max_attempts=1)
    await queue.enqueue('second', group='a')
    head, _ = await queue.dequeue(0)
    waiting = asyncio.create_task(queue.dequeue(60))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    if end == 'cancel and release':
        assert await queue.cancel(head)
        await asyncio.sleep(0.01)
        # It is the holder who gives the slot back.
        assert not waiting.done()
        assert not await queue.release(head)
    elif end == 'lease':
        await client.zadd(queue.keys['working'], {head: 1})
        await queue.sweep()
    else:
        await getattr(queue, end)(head)
    assert (await waiting)[1] == 'second'


async def test_a_task_that_was_not_yet_due_holds_no_slot(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.set_limit('a', concurrency=1)
    task_id = await queue.enqueue('delayed', group='a', delay=60)
    assert (await look(client, queue))[:3] == ({'a': '0'}, {}, {'a': '1'})
    assert [name async for name in queue.groups()] == ['a']
    await queue.enqueue('now', group='a')
    head, task = await queue.dequeue(0)
    assert task == 'now'
    await client.zadd(queue.keys['delayed'], {task_id: 1})
    await queue.sweep()
    assert await tasks_of(queue) == []
    await queue.release(head)
    assert await tasks_of(queue) == ['delayed']


async def test_order_outlives_the_server(durable_server: RealServer) -> None:
    done = []
    async with durable_server.client() as client:
        async with Torrelque(client, queue='q') as queue:
            await queue.set_limit(concurrency=1)
            await queue.enqueue_many(range(6), group='a')
            for step in range(3):
                task_id, task = await queue.dequeue(60)
                if step:
                    # Killed while it is worked on; the first time its lease ends, too.
                    durable_server.kill()
                    durable_server.start()
                if step == 1:
                    await queue.touch(task_id, task_timeout=0.1)
                    task_id, task = await queue.dequeue(60)
                    assert task_id.attempt == 2
                done.append(task)
                assert await queue.release(task_id)
            done += await drain(queue, 3)
    assert done == list(range(6))


# Priority


async def test_the_best_of_a_group_first_and_equal_ones_in_order(queue: Torrelque) -> None:
    for n, priority in enumerate([0, -100, 5, 0, 100, 5, -1]):
        await queue.enqueue((priority, n), group='a', priority=priority)
    assert await tasks_of(queue) == [[100, 4], [5, 2], [5, 5], [0, 0], [0, 3], [-1, 6], [-100, 1]]


@pytest.mark.parametrize('bulk', [1, 3, 50])
async def test_many_levels_in_many_groups(queue: Torrelque, bulk: int) -> None:
    rng = random.Random(3)
    tasks = [(f'g{rng.randrange(4)}', rng.randint(-100, 100), n) for n in range(400)]
    await queue.enqueue_many(tasks, group=lambda task: task[0], priority=lambda task: task[1])
    taken = [tuple(task) for task in await tasks_of(queue, bulk=bulk)]
    for name in {group for group, _, _ in tasks}:
        mine = [task for task in taken if task[0] == name]
        assert mine == sorted(mine, key=lambda task: (-task[1], task[2]))
    assert len(taken) == 400


async def test_urgent_before_all_and_idle_after_all(queue: Torrelque) -> None:
    await queue.enqueue_many(['plain'] * 3)
    await queue.enqueue_many(['grouped'] * 3, group='g', priority=50)
    levels = [n for n in range(-100, 101) if n]
    random.Random(4).shuffle(levels)
    await queue.enqueue_many(levels, priority=lambda n: n)
    taken = await tasks_of(queue, bulk=7)
    assert taken[:100] == list(range(100, 0, -1)) and taken[106:] == list(range(-1, -101, -1))
    assert sorted(taken[100:106]) == ['grouped'] * 3 + ['plain'] * 3


async def test_a_task_with_a_priority_keeps_its_order_when_it_comes_back(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(3), priority=5)
    taken = await take_all(queue)
    for task_id, _ in reversed(taken):
        await queue.requeue(task_id)
    ((first, task),) = await take_all(queue, 1)
    assert (first, task) == (ids[0], 0)
    await queue.bury(first)
    assert await queue.redrive() == 1
    assert await tasks_of(queue) == [0, 1, 2]
    assert (await queue.get_task_state(ids[0])).priority == 5


async def test_what_has_a_priority_and_finds_no_room_keeps_its_turn(queue: Torrelque) -> None:
    await queue.enqueue_many([name * 600_000 for name in 'abc'], priority=5)
    assert [task[0] for _, task in await queue.dequeue_many(3, 0)] == ['a', 'b', 'c']


# What is told of groups


async def test_statistics_count_tasks_in_groups(queue: Torrelque) -> None:
    await queue.set_limit('a', concurrency=2)
    await queue.enqueue_many(range(10), group='a')
    await queue.enqueue_many(range(3), priority=4)
    await queue.enqueue(1, group='a', delay=60)
    await take_all(queue)
    assert await queue.get_queue_stats() == (14, 8, 5, 1, 0, 0)
    assert await queue.get_group_stats('a') == (8, 2, 2, INF, False)


async def test_names_of_groups(queue: Torrelque) -> None:
    names = [f'g{n}' for n in range(700)] + ['ü\x00 "x"', 'a:b', '{x}', 'n' * 300]
    await queue.enqueue_many(names, group=lambda name: name)
    assert sorted([name async for name in queue.groups()]) == sorted(names)
    taken = await take_all(queue, bulk=250)
    for task_id, name in random.Random(5).sample(taken, 20):
        assert (await queue.get_task_state(task_id)).group == name


async def test_a_part_of_a_transaction(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async with client.pipeline(transaction=True) as pipe:
        await queue.enqueue('a', group='g', priority=2, pipeline=pipe)
        await queue.enqueue('b', group='g', pipeline=pipe)
        await pipe.execute()
    (task_id, task), _ = await take_all(queue)
    assert task == 'a'
    async with client.pipeline(transaction=True) as pipe:
        await queue.release(task_id, pipeline=pipe)
        await pipe.execute()
    assert (await queue.get_group_stats('g')).slots == 1


async def test_a_function_that_fails_says_what_is_in(queue: Torrelque) -> None:
    with pytest.raises(torrelque.TorrelqueBulkError) as caught:
        await queue.enqueue_many(range(600), group=lambda n: 'g' if n < 500 else None if n < 510 else 5)  # type: ignore[arg-type, return-value]
    assert isinstance(caught.value.__cause__, TypeError) and len(caught.value.task_ids) == 510
    assert (await queue.get_queue_stats()).tasks == 510


async def test_a_delivery_tells_its_group(queue: Torrelque) -> None:
    await queue.enqueue_many(range(6), group=lambda n: ['a', None, 'ü'][n % 3])
    assert (await queue.enqueue('urgent', priority=1, group=None)).group is None
    taken = {task: task_id for task_id, task in await take_all(queue, bulk=3)}
    assert [taken[n].group for n in range(6)] == ['a', None, 'ü'] * 2 and taken['urgent'].group is None
    again = pickle.loads(pickle.dumps(taken[2]))
    assert (again, again.group, again.token, again.attempt) == (taken[2], 'ü', taken[2].token, 1)
    await queue.requeue(taken[2], forgive=True)
    assert (await queue.dequeue(0))[0].group == 'ü'


async def test_a_delivery_tells_the_length_of_its_lease(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue('plain', task_timeout=0.5)
    await queue.enqueue('grouped', task_timeout=7, group='g')
    await queue.enqueue('default')
    taken = {task: task_id for task_id, task in await queue.dequeue_many(3)}
    assert {task: task_id.timeout for task, task_id in taken.items()} == {'plain': 0.5, 'grouped': 7, 'default': 300}
    assert pickle.loads(pickle.dumps(taken['plain'])).timeout == 0.5
    await queue.requeue(taken['plain'], task_timeout=2)
    assert (await queue.dequeue(0))[0].timeout == 2
    assert (await queue.enqueue('new')).timeout is None


async def test_who_was_handed_out_before_an_error_has_a_lease(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    first, _ = await queue.enqueue_many(['a', 'b'], group='g', task_timeout=0.2)
    await client.delete(queue.keys['holders'])
    await client.set(queue.keys['holders'], 'rubbish')
    with pytest.raises(redis.exceptions.ResponseError):
        await queue.dequeue(1)
    await client.delete(queue.keys['holders'])
    task_id, task = await queue.dequeue(60)
    # By the record of that claim, or else when the lease is over.
    assert (task_id, task) == (first, 'a')
    assert await queue.release(task_id)
