"""How the clock is moved: as real time passes, by clients of any kind, by whole milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from support.servers import RealServer
from support.topology import Cluster
from torrelque import (
    Torrelque,
    TorrelqueLookupError,
    TorrelqueTaskId,
    TorrelqueTimeoutError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.sync import Torrelque as SyncTorrelque
from torrelque.testing import Clock, SyncClock, run_until_idle
from torrelque.worker import Delivery

HOUR = 3600
DAY = 24 * HOUR
SOON = 60
"""s in which a consumer that waits has noticed; without being told it would wait for an hour."""


@pytest.fixture
def clock(queue: Torrelque) -> Clock:
    return Clock(queue)


async def comes(consumer: asyncio.Task[Any]) -> tuple[TorrelqueTaskId, Any]:
    return await asyncio.wait_for(consumer, SOON)


# How


async def test_clock_is_moved_by_a_timedelta(server: RealServer, queue: Torrelque, clock: Clock) -> None:
    await queue.enqueue(1, delay=timedelta(hours=2))
    await clock.move(timedelta(hours=1))
    assert clock.moved == 3600.0
    with server.sync_client() as client, SyncTorrelque(client, queue=queue.name) as same:
        sync = SyncClock(same)
        sync.move(timedelta(hours=1))
        assert sync.moved == 3600.0
        assert same.dequeue(SOON)[1] == 1
        with pytest.raises(TorrelqueValueError, match='datetime'):
            sync.move(timedelta(-1))
    with pytest.raises(TorrelqueValueError, match='datetime'):
        await clock.move(timedelta(-1))
    assert (clock.moved, sync.moved) == (3600.0, 3600.0)


async def test_what_happened_stays_when_the_clock_is_moved_and_what_is_due_comes_nearer(
    queue: Torrelque, clock: Clock
) -> None:
    await queue.enqueue(1, task_id='delayed', delay=HOUR)
    await queue.enqueue(2, task_id='failed')
    await queue.requeue((await queue.dequeue(0))[0], 2 * DAY, error='x')
    before = [await queue.get_task_state(task_id) for task_id in ('delayed', 'failed')]
    await clock.move(HOUR - SOON)
    after = [await queue.get_task_state(task_id) for task_id in ('delayed', 'failed')]
    dues = [(state.due_time or 0) - (HOUR - SOON) for state in before]
    assert after == [state._replace(due_time=due) for state, due in zip(before, dues, strict=True)]
    assert len(after[1].history) == 1
    await clock.move(DAY)
    await queue.sweep()
    state = await queue.get_task_state('delayed')
    assert state.ready_time is not None and before[0].enqueue_time <= state.ready_time < before[0].enqueue_time + HOUR
    assert (await queue.get_task_state('failed')).history == before[1].history


async def test_clock_agrees_with_real_time(server: RealServer, client: redis.asyncio.Redis) -> None:
    async def fill(queue: Torrelque, soon: float) -> None:
        for name, seconds in (('soon', soon), ('late', HOUR)):
            await queue.set_limit(name, rate=(1, seconds))
            for number in range(3):
                await queue.enqueue(number, task_id=f'{name} rated {number}', group=name)
            held, _ = await queue.dequeue(0)
            await queue.release(held, result=1, result_ttl=seconds)
            await queue.enqueue(None, task_id=f'{name} held', task_timeout=seconds)
            await queue.enqueue(None, task_id=f'{name} held for the last time', task_timeout=seconds, max_attempts=1)
            await queue.enqueue(None, task_id=f'{name} requeued')
            held, *_ = [(await queue.dequeue(0))[0] for _ in range(3)][::-1]
            await queue.requeue(held, delay=seconds)
            await queue.enqueue(None, task_id=f'{name} delayed', delay=seconds)
            await queue.enqueue(None, task_id=f'{name} of a group', delay=seconds, group='third')

    async def shown(queue: Torrelque) -> dict[str, Any]:
        """All that the queue has, but for the instants."""
        await queue.sweep()
        keys: dict[str, Any] = {}
        async with server.client(decode_responses=True) as client:
            async for key in client.scan_iter(f'{{{queue.name}}}:*'):
                short, kind = key.partition(':')[2], await client.type(key)
                if kind in ('zset', 'list'):
                    # What becomes due in one millisecond has another order than what does one after the other.
                    keys[short] = sorted(await (client.zrange if kind == 'zset' else client.lrange)(key, 0, -1))
                elif kind == 'hash':
                    fields: Any = await client.hgetall(key)
                    keys[short] = {name: value for name, value in fields.items() if not name.endswith(('time', 'mark'))}
                    if 'history' in fields:
                        keys[short]['history'] = re.sub(r'(?m)^(\d+) \d+ \d+', r'\1', fields['history'])
                elif not short.startswith('claim:'):
                    keys[short] = kind
        return keys

    async def taken(queue: Torrelque) -> list[str]:
        """The ids of what can be taken now."""
        ids = []
        with contextlib.suppress(TorrelqueTimeoutError):
            while True:
                ids.append((await queue.dequeue(0))[0])
        return sorted(ids)

    # On a busy machine, what is due soon is due before all of it is there.
    for soon in (0.3, 3.0, 30.0):
        async with Torrelque(client, queue='slept') as slept, Torrelque(client, queue='moved') as moved:
            await client.flushall()
            began = time.monotonic()
            await fill(slept, soon)
            between = time.monotonic()
            await asyncio.sleep(2 * soon)
            slow = time.monotonic()
            await fill(moved, soon)
            if max(between - began, time.monotonic() - slow) < soon:
                await Clock(moved).move(2 * soon)
                assert await shown(moved) == await shown(slept)
                tasks = [await taken(moved), await taken(slept)]
                assert tasks == [['soon delayed', 'soon held', 'soon of a group', 'soon rated 1', 'soon requeued']] * 2
                return
    pytest.fail('the machine is too busy')


async def test_many_tasks_keep_their_order(queue: Torrelque, clock: Clock) -> None:
    count = 2500
    await queue.enqueue_many(range(count), delay=HOUR)
    await clock.move(HOUR / 2)
    await queue.enqueue_many(range(count, count + 10), delay=HOUR / 2 + 60)
    await clock.move(HOUR / 2)
    assert (await queue.sweep()).delayed == count
    await clock.move(60)
    assert (await queue.sweep()).delayed == 10


async def test_clock_is_moved_to_the_next_time(queue: Torrelque, clock: Clock) -> None:
    await queue.enqueue('second', delay=2 * HOUR)
    await queue.enqueue('first', delay=HOUR)
    moved = [await clock.move_to_next()]
    assert (await queue.dequeue(0))[1] == 'first'
    moved.append(await clock.move_to_next())
    # It is the end of the lease.
    assert (await queue.dequeue(0))[1] == 'first'
    assert moved == pytest.approx([HOUR, 300], abs=100)
    assert clock.moved == sum(filter(None, moved))


async def test_what_is_due_needs_no_move(queue: Torrelque, clock: Clock) -> None:
    await queue.enqueue('task', delay=HOUR)
    await clock.move(2 * HOUR)
    assert await clock.move_to_next() == 0
    assert clock.moved == 2 * HOUR


async def test_objects_of_one_queue_are_moved_once(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    async with Torrelque(client, queue=queue.name) as same, Torrelque(client, queue='other') as other:
        await queue.enqueue('task', delay=2 * HOUR)
        await other.enqueue('task', delay=HOUR)
        await Clock(queue, same, other).move(HOUR)
        assert await queue.sweep() == (0, 0, 0, 0)
        assert await other.sweep() == (0, 1, 0, 0)


@pytest.mark.parametrize('options', [{'decode_responses': True}, {'protocol': 2}, {'protocol': 3}], ids=str)
async def test_client_may_be_of_any_kind(server: RealServer, options: dict[str, Any]) -> None:
    async with server.client(**options) as client, Torrelque(client) as queue:
        await check_any_client(queue)


async def test_client_may_be_of_a_cluster(cluster: Cluster) -> None:
    async with redis.asyncio.RedisCluster(host='127.0.0.1', port=cluster.ports[0]) as client:
        for name in ('one', 'two', 'three', 'four'):
            async with Torrelque(client, queue=name) as queue:
                await check_any_client(queue)


async def check_any_client(queue: Torrelque) -> None:
    clock = Clock(queue)
    await queue.set_limit('api', rate=(1, HOUR))
    kept = await queue.enqueue('task', group='api')
    await queue.release((await queue.dequeue())[0], result_ttl=HOUR)
    await queue.enqueue('task', delay=HOUR)
    consumer = asyncio.create_task(queue.dequeue())
    assert await clock.get_wait() == pytest.approx(HOUR, abs=100)
    await clock.move(HOUR)
    await queue.release((await comes(consumer))[0])
    with pytest.raises(TorrelqueLookupError):
        await queue.get_task_state(kept)


def test_clock_without_an_event_loop_is_the_same(server: RealServer) -> None:
    with server.sync_client() as client, SyncTorrelque(client) as queue:
        clock = SyncClock(queue)
        assert clock.move_to_next() is None
        queue.enqueue('later', delay=2 * HOUR)
        with ThreadPoolExecutor(1) as pool:
            consumer = pool.submit(queue.dequeue, SOON)
            clock.move(HOUR)
            moved = clock.move_to_next() or 0
            assert moved == pytest.approx(HOUR, abs=100)
            assert consumer.result()[1] == 'later'
        assert clock.get_wait() == pytest.approx(300, abs=100)
        assert clock.moved == HOUR + moved
        with pytest.raises(TorrelqueValueError):
            clock.move(-1)


@pytest.mark.parametrize('seconds', [-1, math.nan, math.inf, 1e10])
async def test_clock_refuses_to_be_moved_by(clock: Clock, seconds: float) -> None:
    with pytest.raises(TorrelqueValueError):
        await clock.move(seconds)
    assert clock.moved == 0


@pytest.mark.parametrize('seconds', ['1', None, True])
async def test_clock_is_moved_by_a_number_only(clock: Clock, seconds: Any) -> None:
    with pytest.raises(TorrelqueTypeError):
        await clock.move(seconds)


@pytest.mark.parametrize('queues', [[], ['queue'], [None]])
def test_clock_is_of_queues_only(queues: list[Any]) -> None:
    with pytest.raises(TorrelqueTypeError):
        Clock(*queues)


async def test_a_clock_is_moved_by_whole_milliseconds_and_by_no_less_than_was_said(
    queue: Torrelque, client: redis.asyncio.Redis, clock: Clock
) -> None:
    task_id = await queue.enqueue('task', delay=DAY)

    async def due() -> float:
        return await client.zscore(queue.keys['delayed'], task_id) or 0

    # Some of them are a little less than they look.
    for seconds, milliseconds in ((1.005, 1005), (0.29, 290), (1.1, 1100), (0.0001, 1), (0.0015, 2), (3, 3000)):
        before = await due()
        await clock.move(seconds)
        assert before - await due() == milliseconds


async def test_only_its_own_moves_are_told(queue: Torrelque, clock: Clock) -> None:
    async def handle(delivery: Delivery) -> None: ...

    await clock.move(DAY)
    await queue.enqueue('task', delay=HOUR)
    assert await run_until_idle(queue, handle, clock=clock) == pytest.approx(HOUR, abs=100)
    assert clock.moved == pytest.approx(DAY + HOUR, abs=100)
