"""The moved clock, beside real time, and the worker that is run until nothing is left to do."""

from __future__ import annotations

import asyncio
import contextlib
import math
import pickle
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis.asyncio

from support.servers import RealServer
from support.topology import Cluster
from support.waiting import nothing_left, until_waiting
from torrelque import (
    Torrelque,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueTaskId,
    TorrelqueTaskStatus,
    TorrelqueTimeoutError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.sync import Torrelque as SyncTorrelque
from torrelque.tasks import Tasks
from torrelque.testing import Clock, NotIdleError, SyncClock, repeat_until_idle, run_until_idle
from torrelque.worker import Backoff, Breaker, Delivery

HOUR = 3600
DAY = 24 * HOUR
SOON = 60
"""s in which a consumer that waits has noticed; without being told it would wait for an hour."""


@pytest.fixture
def clock(queue: Torrelque) -> Clock:
    return Clock(queue)


@pytest.fixture
async def waiting(server: RealServer, queue: Torrelque) -> AsyncIterator[Callable[[], Awaitable[asyncio.Task[Any]]]]:
    """Let a consumer with a client of its own wait for a task."""

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.client())
        other = await stack.enter_async_context(Torrelque(client, queue=queue.name))

        async def wait() -> asyncio.Task[Any]:
            consumer = asyncio.create_task(other.dequeue())
            await until_waiting(client)
            assert not consumer.done()
            return consumer

        yield wait


Wait = Callable[[], Awaitable['asyncio.Task[Any]']]


async def comes(consumer: asyncio.Task[Any]) -> tuple[TorrelqueTaskId, Any]:
    return await asyncio.wait_for(consumer, SOON)


# What is moved


async def test_task_that_was_delayed_comes_to_who_waits(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.enqueue('later', delay=HOUR)
    consumer = await waiting()
    await clock.move(HOUR)
    assert (await comes(consumer))[1] == 'later'
    assert clock.moved == HOUR


async def test_task_that_was_requeued_comes_to_who_waits(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.enqueue('again')
    task_id, _ = await queue.dequeue()
    await queue.requeue(task_id, delay=HOUR)
    consumer = await waiting()
    await clock.move(HOUR)
    assert (await comes(consumer))[0].attempt == 2


async def test_task_is_not_there_before_its_time(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.enqueue('later', delay=2 * HOUR)
    consumer = await waiting()
    await clock.move(HOUR)
    with pytest.raises(TorrelqueTimeoutError):
        await queue.dequeue(0)
    assert not consumer.done()
    wait = await clock.get_wait()
    assert wait is not None
    assert HOUR - 100 < wait <= HOUR
    await clock.move(HOUR)
    await comes(consumer)


async def test_lease_that_ended_is_lost(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.enqueue('task', task_timeout=HOUR)
    lost, _ = await queue.dequeue()
    consumer = await waiting()
    await clock.move(HOUR)
    task_id, _ = await comes(consumer)
    assert task_id == lost
    assert not await queue.release(lost)
    assert await queue.release(task_id)


async def test_holder_keeps_a_task_whose_lease_has_not_ended(queue: Torrelque, clock: Clock) -> None:
    await queue.enqueue('task', task_timeout=HOUR)
    task_id, _ = await queue.dequeue()
    await clock.move(HOUR - 60)
    assert (await queue.sweep()) == (0, 0, 0)
    assert await queue.touch(task_id)
    await clock.move(HOUR - 60)
    assert (await queue.sweep()) == (0, 0, 0)
    assert await queue.release(task_id)


async def test_group_has_its_tokens_again(queue: Torrelque, clock: Clock, waiting: Wait) -> None:
    await queue.set_limit('api', rate=(2, HOUR))
    for number in range(5):
        await queue.enqueue(number, group='api')
    for _ in range(2):
        await queue.release((await queue.dequeue(0))[0])
    assert await clock.get_wait() == pytest.approx(HOUR / 2, abs=100)
    consumer = await waiting()
    await clock.move(HOUR / 2)
    task_id, task = await comes(consumer)
    assert task == 2
    await queue.release(task_id)
    with pytest.raises(TorrelqueTimeoutError):
        await queue.dequeue(0)
    await clock.move(HOUR)
    assert [(await queue.dequeue(0))[1] for _ in range(2)] == [3, 4]


async def test_bucket_that_would_be_full_is_gone(
    queue: Torrelque, client: redis.asyncio.Redis, clock: Clock
) -> None:
    await queue.set_limit('api', rate=(10, HOUR))
    await queue.enqueue(1, group='api')
    await queue.release((await queue.dequeue(0))[0])
    key = f'{queue.keys["rate"]}:api'
    assert 0 < await client.pttl(key) <= 1000 * HOUR / 10
    await clock.move(HOUR / 20)
    assert 0 < await client.pttl(key) <= 1000 * HOUR / 20
    await clock.move(HOUR / 20)
    assert not await client.exists(key)


async def test_kept_state_is_gone_after_its_time(queue: Torrelque, clock: Clock) -> None:
    task_id = await queue.enqueue('task')
    await queue.release((await queue.dequeue())[0], result=42, result_ttl=HOUR)
    await clock.move(HOUR - 60)
    assert (await queue.get_task_state(task_id)).result == 42
    await clock.move(60)
    with pytest.raises(TorrelqueLookupError):
        await queue.get_task_state(task_id)


async def test_watch_of_a_kept_state_ends_with_it(queue: Torrelque, clock: Clock) -> None:
    task_id = await queue.enqueue('task')
    await queue.cancel(task_id)
    assert (await queue.wait(task_id)).status == TorrelqueTaskStatus.CANCELLED
    await clock.move(60)
    with pytest.raises(TorrelqueLookupError):
        await queue.wait(task_id)


@pytest.mark.parametrize('group', [None, 'api'])
async def test_pause_lets_a_probe_through_at_its_time(
    queue: Torrelque, clock: Clock, waiting: Wait, group: str | None
) -> None:
    for number in range(3):
        await queue.enqueue(number, group=group)
    await queue.pause(group, probe=HOUR)
    for number in range(2):
        consumer = await waiting()
        assert await clock.get_wait() == pytest.approx(HOUR, abs=100)
        await clock.move(HOUR)
        task_id, task = await comes(consumer)
        assert (task, task_id.probe) == (number, True)
        await queue.release(task_id)
        await clock.move(HOUR - 60)
        with pytest.raises(TorrelqueTimeoutError):
            await queue.dequeue(0)
        await clock.move(60)
        if number == 0:
            # Nobody took the second.
            await queue.pause(group, probe=HOUR)


# What is not


async def test_instants_of_a_state_stay(queue: Torrelque, clock: Clock) -> None:
    await queue.enqueue('task')
    for _ in range(2):
        task_id, _ = await queue.dequeue()
        await queue.requeue(task_id)
    task_id, _ = await queue.dequeue()
    before = await queue.get_task_state(task_id)
    await clock.move(60)
    assert await queue.get_task_state(task_id) == before
    assert await queue.release(task_id)


async def test_another_queue_is_not_moved(client: redis.asyncio.Redis) -> None:
    names = ['mail', 'mai*', 'mai?', 'm[a]il', 'mail\\']
    async with AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(Torrelque(client, queue=name)) for name in names]
        for queue in queues:
            task_id = await queue.enqueue('task')
            await queue.release((await queue.dequeue())[0], result_ttl=HOUR)
            await queue.enqueue('task', delay=HOUR)
            queue.kept = task_id  # type: ignore[attr-defined]
        for k, queue in enumerate(queues):
            await Clock(queue).move(HOUR)
            for other in queues[k + 1 :]:
                await other.get_task_state(other.kept)  # type: ignore[attr-defined]
                assert await other.sweep() == (0, 0, 0)
            with pytest.raises(TorrelqueLookupError):
                await queue.get_task_state(queue.kept)  # type: ignore[attr-defined]
            assert await queue.sweep() == (0, 1, 0)


async def test_clock_of_an_empty_queue_leaves_nothing(
    queue: Torrelque, client: redis.asyncio.Redis, clock: Clock
) -> None:
    assert await clock.get_wait() is None
    assert await clock.move_to_next() is None
    await clock.move(HOUR)
    assert await nothing_left(client, queue)


async def test_clock_of_a_queue_with_tasks_rings_once(
    queue: Torrelque, client: redis.asyncio.Redis, clock: Clock
) -> None:
    await queue.enqueue('later', delay=HOUR)
    await client.delete(queue.keys['bell'])
    await clock.get_wait()
    assert not await client.exists(queue.keys['bell'])
    for _ in range(2):
        await clock.move(60)
        assert await client.lrange(queue.keys['bell'], 0, -1) == [b'1']


# How


async def test_clock_agrees_with_real_time(server: RealServer, client: redis.asyncio.Redis) -> None:
    async def fill(queue: Torrelque) -> None:
        for name, seconds in (('soon', 0.3), ('late', HOUR)):
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

    async with Torrelque(client, queue='slept') as slept, Torrelque(client, queue='moved') as moved:
        await fill(slept)
        await asyncio.sleep(0.6)
        await fill(moved)
        await Clock(moved).move(0.6)
        assert await shown(moved) == await shown(slept)
        tasks = [await taken(moved), await taken(slept)]
        assert tasks == [['soon delayed', 'soon held', 'soon of a group', 'soon rated 1', 'soon requeued']] * 2


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
        assert await queue.sweep() == (0, 0, 0)
        assert await other.sweep() == (0, 1, 0)


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


# Until nothing is left


Handler = Callable[[TorrelqueTaskId, Any], Awaitable[float | None]]


def burst(queue: Torrelque, handle: Handler, runs: list[int] | None = None) -> Callable[[], Awaitable[None]]:
    """A loop that works on what is there: released, or given back with the delay that the handler returns."""

    async def run() -> None:
        if runs is not None:
            runs.append(1)
        while True:
            try:
                task_id, task = await queue.dequeue(0)
            except TorrelqueTimeoutError:
                return
            delay = await handle(task_id, task)
            if delay is None:
                await queue.release(task_id)
            else:
                await queue.requeue(task_id, delay=delay, error=f'Traceback\nboom {task_id.attempt}\n')

    return run


async def test_retries_with_hours_between_them_take_no_time(queue: Torrelque) -> None:
    attempts = []

    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        attempts.append(task_id.attempt)
        return None if task_id.attempt == 6 else HOUR * 2 ** (task_id.attempt or 0)

    await queue.enqueue('task', delay=HOUR)
    moved = await repeat_until_idle(burst(queue, handle), queue)
    assert attempts == [1, 2, 3, 4, 5, 6]
    assert moved == pytest.approx(HOUR * sum(2**attempt for attempt in range(6)), abs=100)
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0)


async def test_dead_tasks_are_done_with(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return HOUR

    await queue.enqueue('task', max_attempts=3)
    moved = await repeat_until_idle(burst(queue, handle), [queue])
    assert moved == pytest.approx(2 * HOUR, abs=100)
    assert await queue.get_queue_stats() == (1, 0, 0, 0, 1)


async def test_task_of_somebody_who_is_gone_is_worked_on(queue: Torrelque) -> None:
    done = []

    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        done.append(task_id.attempt)
        return None

    await queue.enqueue('task', task_timeout=DAY)
    await queue.dequeue()
    assert await repeat_until_idle(burst(queue, handle), queue) == pytest.approx(DAY, abs=100)
    assert done == [2]


async def test_rates_and_probes_are_moved_to(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None

    await queue.set_limit('api', rate=(1, HOUR))
    for number in range(3):
        await queue.enqueue(number, group='api')
    assert await repeat_until_idle(burst(queue, handle), queue) == pytest.approx(2 * HOUR, abs=100)
    await queue.pause(probe=HOUR)
    for number in range(3):
        await queue.enqueue(number)
    assert await repeat_until_idle(burst(queue, handle), queue) == pytest.approx(3 * HOUR, abs=100)


async def test_a_worker_that_is_run_until_idle_waits_for_no_token_and_for_nobody(queue: Torrelque) -> None:
    done: list[Any] = []

    async def handle(delivery: Delivery) -> None:
        done.append(delivery.task)

    await queue.set_limit('api', rate=(1, HOUR))
    await queue.enqueue_many(range(3), group='api')
    assert await run_until_idle(queue, handle) == pytest.approx(2 * HOUR, abs=100)
    await queue.set_limit('line', concurrency=1)
    await queue.enqueue_many(range(2), group='line', task_timeout=HOUR)
    await queue.dequeue()
    assert await run_until_idle(queue, handle) == pytest.approx(HOUR, abs=100)
    assert done == [0, 1, 2, 0, 1]


async def test_several_queues_share_a_clock(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None

    async with Torrelque(client, queue='other') as other:
        await queue.enqueue('task', delay=HOUR)
        await other.enqueue('task', delay=2 * HOUR)
        clock = Clock(queue)
        first, second = burst(queue, handle), burst(other, handle)

        async def run() -> None:
            await first()
            await second()

        assert await repeat_until_idle(run, [queue, other], clock=clock) == pytest.approx(2 * HOUR, abs=100)
        assert clock.queues == [queue, other]
        assert clock.moved == pytest.approx(2 * HOUR, abs=100)


async def test_clock_need_not_be_moved(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None if task_id.attempt == 3 else 0.05

    await queue.enqueue('task')
    assert await repeat_until_idle(burst(queue, handle), queue, move=False) == 0


async def test_short_delays_are_not_taken_for_none(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None if task_id.attempt == 50 else 0.001

    await queue.enqueue('task')
    await repeat_until_idle(burst(queue, handle), queue)


async def test_task_that_is_tried_for_ever_is_told(queue: Torrelque) -> None:
    runs: list[int] = []

    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return HOUR if task == 'bad' else None

    await queue.enqueue('good')
    task_id = await queue.enqueue('bad', group='acme')
    with pytest.raises(NotIdleError) as caught:
        await repeat_until_idle(burst(queue, handle, runs), queue, max_rounds=7)
    assert len(runs) == 7
    assert str(caught.value) == (
        'tasks are left: the worker was run 7 times, and is not done with them\n'
        f"  queue '{queue.name}': 1 delayed\n"
        f"    {task_id} DELAYED, of group 'acme', attempts: 7: boom 7"
    )
    assert caught.value.left == {queue.name: (1, 0, 0, 1, 0)}
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, TorrelqueError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.left) == (str(caught.value), caught.value.left)


async def test_worker_that_does_not_end_is_told(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        await asyncio.sleep(0.001)
        return 0

    await queue.enqueue('bad')
    with pytest.raises(NotIdleError, match=r'is not done with them after 0\.3 s'):
        await repeat_until_idle(burst(queue, handle), queue, within=0.3)
    assert {task.get_coro().__name__ for task in asyncio.all_tasks()} == {  # type: ignore[union-attr]
        test_worker_that_does_not_end_is_told.__name__
    }


@pytest.mark.parametrize('group', [None, 'acme'])
async def test_pause_is_told(queue: Torrelque, group: str | None) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None

    for _ in range(12):
        await queue.enqueue('task', group=group)
    await queue.enqueue('task', group=group, delay=HOUR)
    await queue.pause(group)
    with pytest.raises(NotIdleError, match='leaves them alone, and no time will change that') as caught:
        await repeat_until_idle(burst(queue, handle), queue)
    lines = str(caught.value).splitlines()
    assert lines[1] == f"  queue '{queue.name}': 13 pending"
    assert len(lines) == 2 + 10 + 1
    assert lines[-1] == '    …'


async def test_error_of_the_loop_is_raised(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        raise TimeoutError('mine')

    await queue.enqueue('task')
    with pytest.raises(TimeoutError, match='mine'):
        await repeat_until_idle(burst(queue, handle), queue)


async def test_worker_is_run_until_nothing_is_left(queue: Torrelque) -> None:
    attempts = []

    async def handle(delivery: Delivery) -> str:
        attempts.append(delivery.attempt)
        if delivery.attempt < 4:
            raise ValueError('not yet')
        return 'done'

    task_id = await queue.enqueue('task', delay=DAY)
    moved = await run_until_idle(queue, handle, retry=Backoff(base=HOUR, factor=2, cap=DAY, jitter=False))
    assert attempts == [1, 2, 3, 4]
    assert moved == pytest.approx(DAY + HOUR * (1 + 2 + 4), abs=100)
    assert (await queue.get_task_state(task_id)).result == 'done'


async def test_worker_that_never_succeeds_is_told(queue: Torrelque, clock: Clock) -> None:
    async def handle(delivery: Delivery) -> None:
        raise ValueError('never')

    await queue.enqueue('task')
    with pytest.raises(NotIdleError, match=r'was run 5 times(.|\n)* DELAYED, attempts: 5: .*never'):
        await run_until_idle(queue, handle, clock=clock, retry=HOUR, max_rounds=5)
    assert clock.moved == pytest.approx(5 * HOUR, abs=100)
    # With an end it is dead, and that is the end.
    assert await run_until_idle(queue, handle, max_attempts=7, retry=HOUR) == pytest.approx(HOUR, abs=100)
    assert (await queue.get_queue_stats()).dead == 1


async def test_decorated_tasks_are_run_until_nothing_is_left(queue: Torrelque) -> None:
    app = Tasks(queue)
    sent: list[str] = []

    @app.task(name='send', max_attempts=5, retry=HOUR)
    async def send(addr: str) -> int:
        sent.append(addr)
        if len(sent) < 3:
            raise ValueError('not yet')
        return len(sent)

    handle = await send.enqueue('joe@doe.com')
    assert await run_until_idle(app) == pytest.approx(2 * HOUR, abs=100)
    assert await handle.result(timeout=SOON) == 3


async def test_queues_of_a_worker_are_all_served(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    done = []

    async def handle(delivery: Delivery) -> None:
        done.append(delivery.queue.name)

    async with Torrelque(client, queue='second') as second, Torrelque(client, queue='stolen') as stolen:
        for each, delay in ((queue, 3), (second, 2), (stolen, 1)):
            await each.enqueue('task', delay=delay * HOUR)
        await run_until_idle([queue, second], handle, steal=[stolen])
    assert done == ['stolen', 'second', queue.name]


async def test_breaker_of_a_worker_is_probed(queue: Torrelque) -> None:
    calls = []

    async def handle(delivery: Delivery) -> None:
        calls.append(delivery.id.probe)
        if len(calls) < 5:
            raise ConnectionError

    for _ in range(8):
        await queue.enqueue('task')
    await run_until_idle(queue, handle, concurrency=1, retry=HOUR, breaker=Breaker(failures=3, pause=HOUR))
    # Three fail, the first probe fails as well, the second succeeds.
    assert calls[:5] == [False, False, False, True, True]
    assert len(calls) == 8 + 4
    assert not any(calls[5:])


async def test_loop_is_cancelled_with_its_caller(queue: Torrelque) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        begun.set()
        try:
            await asyncio.sleep(HOUR)
        finally:
            ended.set()

    waiting = asyncio.create_task(repeat_until_idle(run, queue))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_only_queues_can_be_idle() -> None:
    for wrong in ([], None, 'queue', [None]):
        with pytest.raises(TorrelqueTypeError):
            await repeat_until_idle(lambda: asyncio.sleep(0), wrong)  # type: ignore[arg-type]


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


async def test_signals_are_left_to_the_test(queue: Torrelque) -> None:
    def handlers() -> list[Any]:
        return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    async def handle(delivery: Delivery) -> None:
        seen.append(handlers())

    seen: list[Any] = []
    await queue.enqueue('task')
    await run_until_idle(queue, handle)
    assert seen == [handlers()]
