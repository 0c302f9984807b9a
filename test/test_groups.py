"""Groups, priorities, limits, rates and pauses, through the public door."""

import asyncio
import contextlib
import itertools
import math
import pickle
import random

import pytest

import torrelque
from conftest import nothing_left
from torrelque import Torrelque, TorrelqueLimit, TorrelqueTaskStatus as Status

INF = math.inf


async def take_all(queue, count=INF, bulk=1):
    """Take tasks while there are any, without finishing them: ids and tasks."""
    taken = []
    with contextlib.suppress(torrelque.TorrelqueTimeoutError):
        while len(taken) < count:
            some = await queue.dequeue(0, max_tasks=bulk)
            taken += [some] if bulk == 1 else some
    return taken


async def tasks_of(queue, count=INF, bulk=1):
    return [task for _, task in await take_all(queue, count, bulk)]


async def drain(queue, bulk=1):
    """Take and finish all there is; the tasks."""
    tasks = []
    with contextlib.suppress(torrelque.TorrelqueTimeoutError):
        while True:
            some = await queue.dequeue(0, max_tasks=bulk)
            some = [some] if bulk == 1 else some
            await queue.release_many([task_id for task_id, _ in some])
            tasks += [task for _, task in some]
    return tasks


async def look(client, queue):
    """The keys of groups, as text."""
    names = {'groups': {}, 'ring': {}, 'later': {}}
    for name in names:
        names[name] = {k.decode(): v.decode() for k, v in (await client.hgetall(queue.keys[name])).items()}
    turns = [task_id.decode() for task_id in await client.lrange(queue.keys['turns'], 0, -1)]
    return names['groups'], names['ring'], names['later'], turns[::-1]


# Fair


@pytest.mark.parametrize('bulk', [1, 7, 250])
@pytest.mark.parametrize('order', ['noisy first', 'noisy last', 'mixed'])
async def test_groups_take_turns_however_much_each_has(client, queue, order, bulk):
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


async def test_a_group_that_comes_later_has_its_turn_at_once(queue):
    await queue.enqueue_many(range(500), group='noisy')
    await take_all(queue, 100)
    await queue.enqueue('small', group='small')
    assert 'small' in await tasks_of(queue, 2)


async def test_nothing_is_left_of_a_group_without_tasks(client, queue):
    await queue.enqueue_many(range(300), group=lambda n: f'g{n % 100}', priority=lambda n: n % 3 - 1)
    await drain(queue, 40)
    assert await nothing_left(client, queue)


@pytest.mark.parametrize('bulk', [1, 2, 3, 100])
@pytest.mark.parametrize('plain', [10, 200])
async def test_groups_and_plain_tasks_alternate(queue, plain, bulk):
    await queue.enqueue_many(['plain'] * plain)
    await queue.enqueue_many(['grouped'] * 200, group='g')
    tasks = await tasks_of(queue, 60, bulk)
    assert abs(tasks.count('plain') - min(plain, len(tasks) // 2)) <= 1
    assert abs(tasks[:18].count('plain') - 9) <= 1 or bulk == 100
    await queue.enqueue_many(['late'] * 3)
    assert (await tasks_of(queue, plain * 2, 1)).count('late') == 3


async def test_large_payloads_do_not_keep_one_side_out(queue):
    await queue.enqueue_many(['p' * 600_000] * 4)
    await queue.enqueue_many(['g' * 600_000] * 4, group='g')
    # Each of its claims has room for one task.
    tasks = await tasks_of(queue, bulk=100)
    assert [task[0] for task in tasks] == ['g', 'p'] * 4


# Ordered


@pytest.mark.parametrize('bulk', [1, 20])
async def test_limit_one_is_strict_order(client, queue, bulk):
    await queue.set_limit(concurrency=1)
    await queue.enqueue_many(range(60), group=lambda n: f'g{n % 3}')
    done = []
    rng = random.Random(2)
    while len(done) < 60:
        some = await queue.dequeue(1, max_tasks=bulk)
        for task_id, task in [some] if bulk == 1 else some:
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


async def test_a_failing_head_blocks_its_group_alone_until_it_is_dead(client, queue):
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
async def test_the_next_comes_up_when_the_head_is_gone(client, queue, end):
    await queue.set_limit('a', concurrency=1)
    await queue.enqueue('first', group='a', max_attempts=1)
    await queue.enqueue('second', group='a')
    head, _ = await queue.dequeue(0)
    waiting = asyncio.create_task(queue.dequeue(5))
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


async def test_a_task_that_was_not_yet_due_holds_no_slot(client, queue):
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


async def test_order_outlives_the_server(durable_server):
    done = []
    async with durable_server.client() as client:
        async with Torrelque(client, queue='q') as queue:
            await queue.set_limit(concurrency=1)
            await queue.enqueue_many(range(6), group='a', task_timeout=0.3)
            for step in range(3):
                task_id, task = await queue.dequeue(5)
                if step:
                    # Killed while it is worked on; the first time its lease ends, too.
                    durable_server.kill()
                    durable_server.start()
                if step == 1:
                    task_id, task = await queue.dequeue(5)
                    assert task_id.attempt == 2
                done.append(task)
                assert await queue.release(task_id)
            done += await drain(queue, 3)
    assert done == list(range(6))


# Limited


async def test_never_more_than_the_limit_at_once(server, queue_name):
    limit, running, most, done = 3, 0, 0, 0
    everybody = asyncio.Event()

    async def consume(queue):
        nonlocal running, most, done
        while done < 200:
            try:
                task_id, _ = await queue.dequeue(0.05)
            except torrelque.TorrelqueTimeoutError:
                continue
            running += 1
            most = max(most, running)
            if most == limit:
                everybody.set()
            # The first ones wait for each other: the limit is reached.
            await asyncio.wait_for(everybody.wait(), 20)
            await asyncio.sleep(0)
            running -= 1
            done += 1
            await queue.release(task_id)

    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.client()) for _ in range(4)]
        queues = [await stack.enter_async_context(Torrelque(client, queue=queue_name)) for client in clients]
        await queues[0].set_limit('api', concurrency=limit)
        await queues[0].enqueue_many(range(200), group='api')
        await asyncio.gather(*(consume(queue) for queue in queues for _ in range(10)))
    assert (most, done) == (limit, 200)


async def test_a_lost_consumers_slot_comes_back_with_its_lease(queue):
    await queue.set_limit('a', concurrency=2)
    await queue.enqueue_many(range(3), group='a', task_timeout=0.1)
    await take_all(queue)
    assert await queue.get_group_stats('a') == (1, 2, 2, INF, False)
    task_id, task = await queue.dequeue(5)
    assert (task, task_id.attempt) == (0, 2)


@pytest.mark.parametrize('group', ['a', None])
@pytest.mark.parametrize('raised', [{'concurrency': 3}, {'concurrency': INF}, {}])
async def test_a_limit_that_is_raised_wakes_who_waits(queue, group, raised):
    await queue.set_limit(group, concurrency=2)
    await queue.enqueue_many(range(3), group='a')
    assert len(await take_all(queue)) == 2
    waiting = asyncio.create_task(queue.dequeue(20))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await queue.set_limit(group, **raised)
    assert (await waiting)[1] == 2


async def test_a_lowered_limit_interrupts_nobody(queue):
    await queue.enqueue_many(range(10), group='a')
    taken = await take_all(queue, 4)
    await queue.set_limit('a', concurrency=2)
    assert await tasks_of(queue) == []
    for task_id, _ in taken[:2]:
        assert await queue.touch(task_id) and await queue.release(task_id)
        assert await tasks_of(queue) == []
    assert await queue.release(taken[2][0])
    assert await tasks_of(queue) == [4]
    assert (await queue.get_group_stats('a')).slots == 2


async def test_limits_are_told_as_they_were_set(client, queue, queue_name):
    assert await queue.get_limits() == {}
    await queue.set_limit(concurrency=5, rate=(50, 1.0))
    await queue.set_limit('a', concurrency=1)
    await queue.set_limit('b', rate=INF, concurrency=INF)
    await queue.set_limit('ü', rate=(1, 0.5))
    async with Torrelque(client, queue=queue_name) as other:
        assert await other.get_limits() == {
            None: TorrelqueLimit(5, (50, 1.0)),
            'a': TorrelqueLimit(1, None),
            'b': TorrelqueLimit(INF, INF),
            'ü': TorrelqueLimit(None, (1, 0.5)),
        }
        assert await other.get_group_stats('a') == (0, 0, 1, (50, 1.0), False)
        assert await other.get_group_stats('b') == (0, 0, INF, INF, False)
        assert await other.get_group_stats('c') == (0, 0, 5, (50, 1.0), False)
    for group in (None, 'a', 'b', 'ü'):
        await queue.set_limit(group)
    assert await queue.get_limits() == {}
    assert await nothing_left(client, queue)


async def test_a_changed_default_reaches_all_groups(queue):
    await queue.set_limit(concurrency=1)
    await queue.enqueue_many(range(3000), group=lambda n: f'g{n % 1000}')
    assert len(await take_all(queue, bulk=250)) == 1000
    await queue.set_limit(concurrency=2)
    assert len(await take_all(queue, bulk=250)) == 1000


# Rated


def check_rate(stamps, starts, seconds):
    stamps = sorted(stamps)
    for first, last in itertools.combinations(range(len(stamps)), 2):
        window = stamps[last] - stamps[first]
        assert last - first + 1 <= starts * (1 + window / (seconds * 1000)) + 1e-6


@pytest.mark.parametrize('bulk', [1, 100])
@pytest.mark.parametrize(('starts', 'seconds'), [(5, 0.1), (1, 0.02), (300, 1.0), (100, 1 / 3)])
async def test_a_rate_is_kept_in_every_window(client, queue, starts, seconds, bulk):
    await queue.set_limit('a', rate=(starts, seconds))
    count = starts + round(0.4 * starts / seconds)
    await queue.enqueue_many(range(count), group='a')
    stamps, tasks = [], []
    while len(tasks) < count:
        some = await queue.dequeue(5, max_tasks=bulk)
        for task_id, task in [some] if bulk == 1 else some:
            tasks.append(task)
            stamps.append(int(float(task_id.token.partition('-')[2])))
            await queue.release(task_id)
    assert tasks == list(range(count))
    check_rate(stamps, starts, seconds)
    assert [key for key in await client.keys() if b':rated' in key] == []


async def test_who_waits_for_a_token_does_not_poll(server, queue):
    await queue.set_limit('a', rate=(1, 0.5))
    await queue.enqueue_many(range(3), group='a')
    await queue.dequeue(0)
    with server.sync_client() as raw:
        before = raw.info('commandstats').get('cmdstat_evalsha', {}).get('calls', 0)
        assert (await queue.dequeue(5))[1] == 1
        after = raw.info('commandstats')['cmdstat_evalsha']['calls']
    # It asks, waits, sweeps, and asks again.
    assert after - before <= 6


async def test_a_bucket_is_not_filled_anew_by_emptiness(client, queue):
    await queue.set_limit('a', rate=(2, 60))
    for n in range(2):
        await queue.enqueue(n, group='a')
        assert await drain(queue) == [n]
    assert [name async for name in queue.groups()] == []
    await queue.enqueue(2, group='a')
    assert await drain(queue) == []
    left = await client.pttl(f'{queue.keys["rate"]}:a')
    assert 0 < left <= 60_000
    # Another group has a bucket of its own.
    await queue.set_limit('b', rate=(2, 60))
    await queue.enqueue('b', group='b')
    assert await drain(queue) == ['b']


async def test_a_rate_that_is_lifted_frees_who_waits_for_a_token(queue):
    await queue.set_limit(rate=(1, 3600))
    await queue.enqueue_many(range(4), group='a')
    await queue.enqueue_many('xy', group='b')
    assert len(await take_all(queue)) == 2
    waiting = asyncio.create_task(queue.dequeue(5))
    await asyncio.sleep(0.01)
    await queue.set_limit('a', rate=INF)
    assert (await waiting)[1] == 1
    assert await tasks_of(queue) == [2, 3]
    await queue.set_limit()
    assert await tasks_of(queue) == ['y']


async def test_a_rate_and_a_limit_go_together(queue):
    await queue.set_limit('a', concurrency=1, rate=(2, 3600))
    await queue.enqueue_many(range(4), group='a')
    for n in range(2):
        ((task_id, task),) = await take_all(queue)
        assert task == n
        await queue.release(task_id)
    assert await take_all(queue) == []
    assert await queue.get_group_stats('a') == (2, 0, 1, (2, 3600), False)


# Priority


async def test_the_best_of_a_group_first_and_equal_ones_in_order(queue):
    for n, priority in enumerate([0, -100, 5, 0, 100, 5, -1]):
        await queue.enqueue((priority, n), group='a', priority=priority)
    assert await tasks_of(queue) == [[100, 4], [5, 2], [5, 5], [0, 0], [0, 3], [-1, 6], [-100, 1]]


@pytest.mark.parametrize('bulk', [1, 3, 50])
async def test_many_levels_in_many_groups(queue, bulk):
    rng = random.Random(3)
    tasks = [(f'g{rng.randrange(4)}', rng.randint(-100, 100), n) for n in range(400)]
    await queue.enqueue_many(tasks, group=lambda task: task[0], priority=lambda task: task[1])
    taken = [tuple(task) for task in await tasks_of(queue, bulk=bulk)]
    for name in {group for group, _, _ in tasks}:
        mine = [task for task in taken if task[0] == name]
        assert mine == sorted(mine, key=lambda task: (-task[1], task[2]))
    assert len(taken) == 400


async def test_urgent_before_all_and_idle_after_all(queue):
    await queue.enqueue_many(['plain'] * 3)
    await queue.enqueue_many(['grouped'] * 3, group='g', priority=50)
    levels = [n for n in range(-100, 101) if n]
    random.Random(4).shuffle(levels)
    await queue.enqueue_many(levels, priority=lambda n: n)
    taken = await tasks_of(queue, bulk=7)
    assert taken[:100] == list(range(100, 0, -1)) and taken[106:] == list(range(-1, -101, -1))
    assert sorted(taken[100:106]) == ['grouped'] * 3 + ['plain'] * 3


async def test_a_task_with_a_priority_keeps_its_order_when_it_comes_back(client, queue):
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


# Paused


async def test_a_paused_queue_takes_in_and_hands_nothing_out(client, queue, queue_name):
    await queue.enqueue('before')
    task_id, _ = await queue.dequeue(0)
    await queue.pause()
    await queue.enqueue('plain')
    await queue.enqueue('grouped', group='g')
    await queue.enqueue('urgent', priority=1)
    assert await take_all(queue) == []
    assert (await queue.get_group_stats('g')).paused
    assert await queue.touch(task_id) and await queue.release(task_id)
    async with Torrelque(client, queue=queue_name) as other:
        waiting = asyncio.create_task(other.dequeue(10, max_tasks=10))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await queue.resume()
        tasks = [task for _, task in await waiting]
    assert sorted(tasks) == ['grouped', 'plain', 'urgent']


async def test_who_waits_at_a_paused_queue_does_not_spin(server, queue):
    await queue.pause()
    await queue.enqueue_many([1, 2])
    await queue.enqueue(3, group='g')
    waiting = asyncio.create_task(queue.dequeue(20))
    with server.sync_client() as raw:
        await asyncio.sleep(0.2)
        calls = raw.info('commandstats')['cmdstat_evalsha']['calls']
        await asyncio.sleep(0.3)
        assert raw.info('commandstats')['cmdstat_evalsha']['calls'] - calls <= 1
    await queue.resume()
    await waiting


async def test_a_paused_group_lets_the_others_go_on(queue):
    await queue.enqueue_many(range(6), group=lambda n: 'ab'[n % 2])
    ((taken, _),) = await take_all(queue, 1)
    await queue.pause('a')
    await queue.enqueue(6, group='a')
    assert await tasks_of(queue) == [1, 3, 5]
    assert await queue.get_group_stats('a') == (3, 1, INF, INF, True)
    assert await queue.requeue(taken) and await tasks_of(queue) == []
    waiting = asyncio.create_task(queue.dequeue(10, max_tasks=9))
    await asyncio.sleep(0.01)
    await queue.resume('a')
    assert [task for _, task in await waiting] == [0, 2, 4, 6]


async def test_a_pause_of_a_group_outlives_its_tasks_and_the_queues_resume(client, queue):
    await queue.pause('a')
    await queue.pause()
    await queue.resume()
    await queue.enqueue(1, group='a')
    assert await take_all(queue) == []
    await queue.resume('a')
    assert await drain(queue) == [1]
    assert await nothing_left(client, queue)


# What operators and faults do to groups


@pytest.mark.parametrize('many', [10, 700])
async def test_a_cancelled_head_makes_room_in_short_and_long_lists(client, queue, many):
    ids = await queue.enqueue_many(range(many * 2), group=lambda n: f'g{n % many}')
    for task_id in ids[:many:2]:
        assert await queue.cancel(task_id)
    groups, ring, _, turns = await look(client, queue)
    assert len(groups) == len(ring) == many
    assert set(ring.values()) <= set(turns) and len(turns) == many + (many > 500) * (many // 2 - (700 - 500) // 2 * 0)
    assert sorted(await drain(queue, 100)) == [*range(1, many, 2), *range(many, many * 2)]
    for key in await client.keys(queue.keys['task'] + ':*'):
        await client.delete(key)
    assert await nothing_left(client, queue)


async def test_all_cancelled_leaves_nothing(client, queue):
    ids = await queue.enqueue_many(range(1500), group=lambda n: f'g{n % 700}')
    ids += await queue.enqueue_many(range(10), group='later', delay=100)
    ids += await queue.enqueue_many(range(10), priority=-3)
    assert all(await asyncio.gather(*(queue.cancel(task_id) for task_id in ids)))
    await client.delete(*(f'{queue.keys["task"]}:{task_id}' for task_id in ids))
    assert await nothing_left(client, queue)


async def test_a_head_of_the_callers_own_id_that_is_cancelled_and_enqueued_again(queue):
    await queue.enqueue_many(range(600), group=lambda n: f'g{n}')
    for group in (None, 'a', 'b', 'a', None, 'b'):
        await queue.enqueue(group, task_id='own', group=group)
        assert await queue.cancel('own')
    await queue.enqueue('last', task_id='own', group='a')
    tasks = await drain(queue, 50)
    assert sorted(map(str, tasks)) == sorted([*map(str, range(600)), 'last'])


async def test_an_id_that_is_free_again_gives_the_slot_of_its_holder_back(queue):
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


async def test_dead_tasks_hold_no_slot_and_come_back_in_order(queue):
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


async def test_groups_that_have_only_dead_tasks_are_not_listed(client, queue):
    await queue.enqueue(1, group='a')
    await queue.bury((await queue.dequeue(0))[0])
    assert [name async for name in queue.groups()] == []
    assert (await look(client, queue)) == ({}, {}, {}, [])


@pytest.mark.parametrize('what', ['state', 'payload', 'both'])
@pytest.mark.parametrize('where', ['head', 'working', 'delayed'])
async def test_what_is_lost_of_a_task_harms_that_task_alone(client, queue, where, what):
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
    assert (await queue.dequeue(5))[1] == 'next'


@pytest.mark.parametrize(
    'text', ['', 'x', '[]', '5', '{"concurrency":"x","rate":[0,0]}', '{"rate":["x",{}]}', '{"rate":null}']
)
async def test_limits_that_were_broken_by_hand_are_those_by_default(client, queue, text):
    await queue.set_limit(concurrency=1)
    await client.hset(queue.keys['limits'], 'a', text)
    await client.set(f'{queue.keys["rate"]}:b', text)
    await queue.set_limit('b', rate=(1, 60))
    await queue.enqueue_many(range(3), group='a')
    await queue.enqueue_many('xyz', group='b')
    assert await tasks_of(queue) == [0, 'x']


@pytest.mark.parametrize('key', ['turns', 'ring'])
async def test_a_key_that_is_lost_keeps_no_group_waiting(client, queue, key):
    await queue.enqueue_many(range(900), group=lambda n: f'g{n % 300}')
    await client.delete(queue.keys[key])
    assert sorted(await drain(queue, 100)) == list(range(900))
    assert await nothing_left(client, queue)


@pytest.mark.parametrize('key', ['limits', 'paused'])
async def test_a_key_with_something_else_in_it_costs_no_task(client, queue, key):
    await queue.enqueue_many(range(9), group=lambda n: f'g{n % 3}')
    task_id, _ = await queue.dequeue(0)
    await client.set(queue.keys[key], 'x')
    await queue.enqueue(9, group='g')
    assert await queue.requeue(task_id)
    with contextlib.suppress(Exception):
        await queue.dequeue(0)
    await client.delete(queue.keys[key])
    if held := await client.zrange(queue.keys['working'], 0, -1):
        await client.zadd(queue.keys['working'], dict.fromkeys(held, 1))
    await queue.sweep()
    assert sorted(await drain(queue)) == list(range(10))
    assert await nothing_left(client, queue)


async def test_statistics_count_tasks_in_groups(queue):
    await queue.set_limit('a', concurrency=2)
    await queue.enqueue_many(range(10), group='a')
    await queue.enqueue_many(range(3), priority=4)
    await queue.enqueue(1, group='a', delay=60)
    await take_all(queue)
    assert await queue.get_queue_stats() == (14, 8, 5, 1, 0)
    assert await queue.get_group_stats('a') == (8, 2, 2, INF, False)


async def test_names_of_groups(queue):
    names = [f'g{n}' for n in range(700)] + ['ü\x00 "x"', 'a:b', '{x}', 'n' * 300]
    await queue.enqueue_many(names, group=lambda name: name)
    assert sorted([name async for name in queue.groups()]) == sorted(names)
    taken = await take_all(queue, bulk=250)
    for task_id, name in random.Random(5).sample(taken, 20):
        assert (await queue.get_task_state(task_id)).group == name


async def test_a_part_of_a_transaction(client, queue):
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


async def test_a_function_that_fails_says_what_is_in(queue):
    with pytest.raises(torrelque.TorrelqueBulkError) as caught:
        await queue.enqueue_many(range(600), group=lambda n: 'g' if n < 500 else None if n < 510 else 5)
    assert isinstance(caught.value.__cause__, TypeError) and len(caught.value.task_ids) == 510
    assert (await queue.get_queue_stats()).tasks == 510


async def test_a_delivery_tells_its_group(queue):
    await queue.enqueue_many(range(6), group=lambda n: ['a', None, 'ü'][n % 3])
    assert (await queue.enqueue('urgent', priority=1, group=None)).group is None
    taken = {task: task_id for task_id, task in await take_all(queue, bulk=3)}
    assert [taken[n].group for n in range(6)] == ['a', None, 'ü'] * 2 and taken['urgent'].group is None
    again = pickle.loads(pickle.dumps(taken[2]))
    assert (again, again.group, again.token, again.attempt) == (taken[2], 'ü', taken[2].token, 1)
    await queue.requeue(taken[2], forgive=True)
    assert (await queue.dequeue(0))[0].group == 'ü'


async def test_a_bucket_lives_by_the_rate_of_now(client, queue):
    await queue.set_limit('a', rate=(3, 0.2))
    await queue.enqueue_many(range(4), group='a')
    assert len(await take_all(queue, 3)) == 3
    await queue.set_limit('a', rate=(2, 3600))
    assert await client.pttl(f'{queue.keys["rate"]}:a') > 60_000


async def test_heads_that_a_claim_has_no_room_for_keep_their_turn(queue):
    await queue.enqueue_many([name * 600_000 for name in 'abcd'], group=lambda task: task[0])
    assert [task[0] for _, task in await queue.dequeue(0, max_tasks=2)] == ['a', 'b']
    assert [task[0] for _, task in await queue.dequeue(0, max_tasks=2)] == ['c', 'd']


async def test_what_has_a_priority_and_finds_no_room_keeps_its_turn(queue):
    await queue.enqueue_many([name * 600_000 for name in 'abc'], priority=5)
    assert [task[0] for _, task in await queue.dequeue(0, max_tasks=3)] == ['a', 'b', 'c']
