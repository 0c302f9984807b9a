"""Limits, rates and pauses of groups, through the public door."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.servers import RealServer
from support.taking import INF, drain, take_all, tasks_of
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueLimit

# Limited


async def test_never_more_than_the_limit_at_once(server: RealServer, queue_name: str) -> None:
    limit, running, most, done = 3, 0, 0, 0
    everybody = asyncio.Event()

    async def consume(queue: Torrelque) -> None:
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
            await asyncio.wait_for(everybody.wait(), 60)
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


async def test_a_lost_consumers_slot_comes_back_with_its_lease(queue: Torrelque) -> None:
    await queue.set_limit('a', concurrency=2)
    await queue.enqueue_many(range(3), group='a')
    (lost, _), _ = await take_all(queue)
    assert await queue.get_group_stats('a') == (1, 2, 2, INF, False)
    await queue.touch(lost, task_timeout=0.1)
    task_id, task = await queue.dequeue(60)
    assert (task, task_id.attempt) == (0, 2)


@pytest.mark.parametrize('group', ['a', None])
@pytest.mark.parametrize('raised', [{'concurrency': 3}, {'concurrency': INF}, {}])
async def test_a_limit_that_is_raised_wakes_who_waits(
    queue: Torrelque, group: str | None, raised: dict[str, Any]
) -> None:
    await queue.set_limit(group, concurrency=2)
    await queue.enqueue_many(range(3), group='a')
    assert len(await take_all(queue)) == 2
    waiting = asyncio.create_task(queue.dequeue(60))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await queue.set_limit(group, **raised)
    assert (await waiting)[1] == 2


async def test_a_lowered_limit_interrupts_nobody(queue: Torrelque) -> None:
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


async def test_limits_are_told_as_they_were_set(client: redis.asyncio.Redis, queue: Torrelque, queue_name: str) -> None:
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


async def test_a_changed_default_reaches_all_groups(queue: Torrelque) -> None:
    await queue.set_limit(concurrency=1)
    await queue.enqueue_many(range(3000), group=lambda n: f'g{n % 1000}')
    assert len(await take_all(queue, bulk=250)) == 1000
    await queue.set_limit(concurrency=2)
    assert len(await take_all(queue, bulk=250)) == 1000


# Rated


def check_rate(stamps: Sequence[float], starts: int, seconds: float) -> None:
    stamps = sorted(stamps)
    for first, last in itertools.combinations(range(len(stamps)), 2):
        window = stamps[last] - stamps[first]
        assert last - first + 1 <= starts * (1 + window / (seconds * 1000)) + 1e-6


@pytest.mark.first_server
@pytest.mark.parametrize('bulk', [1, 100])
@pytest.mark.parametrize(('starts', 'seconds'), [(5, 0.1), (1, 0.02), (300, 1.0), (100, 1 / 3)])
async def test_a_rate_is_kept_in_every_window(
    client: redis.asyncio.Redis, queue: Torrelque, starts: int, seconds: float, bulk: int
) -> None:
    await queue.set_limit('a', rate=(starts, seconds))
    count = starts + round(0.4 * starts / seconds)
    await queue.enqueue_many(range(count), group='a')
    stamps: list[int] = []
    tasks: list[int] = []
    while len(tasks) < count:
        some = await queue.dequeue_many(bulk, 60)
        for task_id, task in some:
            tasks.append(task)
            stamps.append(int(float(task_id.token.partition('-')[2])))
            await queue.release(task_id)
    assert tasks == list(range(count))
    check_rate(stamps, starts, seconds)
    assert [key for key in await client.keys() if b':rated' in key] == []


async def test_who_waits_for_a_token_does_not_poll(server: RealServer, queue: Torrelque) -> None:
    await queue.set_limit('a', rate=(1, 0.5))
    await queue.enqueue_many(range(3), group='a')
    await queue.dequeue(0)
    with server.sync_client() as raw:
        before = raw.info('commandstats').get('cmdstat_evalsha', {}).get('calls', 0)
        assert (await queue.dequeue(60))[1] == 1
        after = raw.info('commandstats')['cmdstat_evalsha']['calls']
    # It asks, waits, sweeps, and asks again.
    assert after - before <= 6


async def test_a_bucket_is_not_filled_anew_by_emptiness(client: redis.asyncio.Redis, queue: Torrelque) -> None:
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


async def test_a_rate_that_is_lifted_frees_who_waits_for_a_token(queue: Torrelque) -> None:
    await queue.set_limit(rate=(1, 3600))
    await queue.enqueue_many(range(4), group='a')
    await queue.enqueue_many('xy', group='b')
    assert len(await take_all(queue)) == 2
    waiting = asyncio.create_task(queue.dequeue(60))
    await asyncio.sleep(0.01)
    await queue.set_limit('a', rate=INF)
    assert (await waiting)[1] == 1
    assert await tasks_of(queue) == [2, 3]
    await queue.set_limit()
    assert await tasks_of(queue) == ['y']


async def test_a_rate_and_a_limit_go_together(queue: Torrelque) -> None:
    await queue.set_limit('a', concurrency=1, rate=(2, 3600))
    await queue.enqueue_many(range(4), group='a')
    for n in range(2):
        ((task_id, task),) = await take_all(queue)
        assert task == n
        await queue.release(task_id)
    assert await take_all(queue) == []
    assert await queue.get_group_stats('a') == (2, 0, 1, (2, 3600), False)


async def test_a_bucket_lives_by_the_rate_of_now(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.set_limit('a', rate=(3, 0.2))
    await queue.enqueue_many(range(4), group='a')
    assert len(await take_all(queue, 3)) == 3
    await queue.set_limit('a', rate=(2, 3600))
    assert await client.pttl(f'{queue.keys["rate"]}:a') > 60_000


# Paused


async def test_a_paused_queue_takes_in_and_hands_nothing_out(
    client: redis.asyncio.Redis, queue: Torrelque, queue_name: str
) -> None:
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
        waiting = asyncio.create_task(other.dequeue_many(10, 60))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await queue.resume()
        tasks = [task for _, task in await waiting]
    assert sorted(tasks) == ['grouped', 'plain', 'urgent']


async def test_who_waits_at_a_paused_queue_does_not_spin(server: RealServer, queue: Torrelque) -> None:
    await queue.pause()
    await queue.enqueue_many([1, 2])
    await queue.enqueue(3, group='g')
    waiting = asyncio.create_task(queue.dequeue(60))
    with server.sync_client() as raw:
        await asyncio.sleep(0.2)
        calls = raw.info('commandstats')['cmdstat_evalsha']['calls']
        await asyncio.sleep(0.3)
        assert raw.info('commandstats')['cmdstat_evalsha']['calls'] - calls <= 1
    await queue.resume()
    await waiting


async def test_a_paused_group_lets_the_others_go_on(queue: Torrelque) -> None:
    await queue.enqueue_many(range(6), group=lambda n: 'ab'[n % 2])
    ((taken, _),) = await take_all(queue, 1)
    await queue.pause('a')
    await queue.enqueue(6, group='a')
    assert await tasks_of(queue) == [1, 3, 5]
    assert await queue.get_group_stats('a') == (3, 1, INF, INF, True)
    assert await queue.requeue(taken) and await tasks_of(queue) == []
    waiting = asyncio.create_task(queue.dequeue_many(9, 60))
    await asyncio.sleep(0.01)
    await queue.resume('a')
    assert [task for _, task in await waiting] == [0, 2, 4, 6]


async def test_a_pause_of_a_group_outlives_its_tasks_and_the_queues_resume(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await queue.pause('a')
    await queue.pause()
    await queue.resume()
    await queue.enqueue(1, group='a')
    assert await take_all(queue) == []
    await queue.resume('a')
    assert await drain(queue) == [1]
    assert await nothing_left(client, queue)
