"""What a worker counts: by queue and function, in its memory until a beat has it, and bounded."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis.asyncio

from support.bounding import Bound
from support.waiting import until
from torrelque import Torrelque
from torrelque.operate import Operator, Selection, records
from torrelque.protocol.keys import BUCKETS
from torrelque.tasks import Tasks
from torrelque.worker import Delivery, Reject, Worker
from torrelque.worker.bounds import BOUNDS
from torrelque.worker.counts import DEAD, FAILED, LOST, OTHER, Tally
from torrelque.worker.held import Held

pytestmark = pytest.mark.one_server

Totals = dict[str, tuple[int, int, int, int]]


def ran(name: str, seconds: float | None = 0.0) -> Held:
    """A task whose handler ran for so long; None is not at all."""
    took = [seconds]

    def take_run() -> float | None:
        found, took[0] = took[0], None
        return found

    job = SimpleNamespace(name=name)
    return cast(Held, SimpleNamespace(
        resolved=SimpleNamespace(job=job), delivery=SimpleNamespace(since=0.0), ended=seconds,
        take_run=take_run,
    ))  # fmt: skip


def read(text: str, width: int = 21) -> list[float]:
    """Numbers as a beat has them."""
    found = [0.0] * width
    words = text.split()
    for place, number in zip(words[::2], words[1::2], strict=True):
        found[int(place) - 1] = float(number)
    return found


def told(tally: Tally) -> dict[str, list[float]]:
    """All that is to be sent, by function."""
    packet = tally.pack(whole=True)
    tally.acknowledge(packet)
    return {name: read(text) for name, text in packet.functions}


async def totals_of(queue: Torrelque) -> Totals:
    return {
        view.name: (view.totals.succeeded, view.totals.failed, view.totals.dead, view.totals.lost)
        for view in await records.read_functions(queue, None)
    }


def test_each_run_is_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    tally = Tally(BOUNDS)
    times = [0.0, *BUCKETS[:-1], *(bound + 1e-6 for bound in BUCKETS[:-1])]
    tally.released([ran('f', seconds) for seconds in times], [True] * len(times))
    counts = told(tally)['f']
    assert counts[:4] == [len(times), 0, 0, 0]
    assert counts[4] == pytest.approx(1000 * sum(times), rel=1e-6)
    assert counts[5:] == [2, *[2] * 14, 1]


def test_an_attempt_has_its_run_time_once_though_it_is_counted_twice() -> None:
    tally = Tally(BOUNDS)
    held = ran('f', 0.02)
    tally.count(held, FAILED)
    tally.count(held, DEAD)
    tally.count(ran('f', None), LOST)
    assert told(tally)['f'] == [0, 1, 1, 1, 20, 0, 0, 1, *[0] * 13]


def test_what_was_sent_stays_until_it_is_acknowledged_and_is_sent_as_it_was() -> None:
    tally = Tally(BOUNDS)
    tally.released([ran('f')], [True])
    tally.waited(0.3)
    packet = tally.pack()
    tally.released([ran('f')] * 2, [True, False])
    assert tally.pack() is packet
    tally.acknowledge(packet)
    following = tally.pack()
    assert following.number == packet.number + 1
    assert read(packet.functions[0][1])[:4] == [1, 0, 0, 0]
    assert read(following.functions[0][1])[:4] == [1, 0, 0, 1]
    assert read(packet.wait, 17) == [*[0] * 6, 1, *[0] * 9, 300] and following.wait == ''


def test_a_beat_that_had_nothing_is_not_sent_again() -> None:
    tally = Tally(BOUNDS)
    empty = tally.pack()
    tally.released([ran('f')], [True])
    assert tally.pack().number == empty.number + 1


def test_functions_beyond_the_bound_are_counted_together() -> None:
    tally = Tally(BOUNDS)
    names = [f'function {number}' for number in range(1000)]
    for _ in range(2):
        tally.released([ran(name) for name in names], [True] * len(names))
        found = told(tally)
        assert set(found) == {*names[:50], OTHER}
        assert found[OTHER][:2] == [950, 0]
        assert sum(counts[0] for counts in found.values()) == 1000
        tally.released([ran(name) for name in names[:60]], [True] * 60)
        tally.count(ran(names[-1]), FAILED)
        assert told(tally)[OTHER][:2] == [10, 1]


def test_a_beat_tells_of_some_functions_and_the_next_one_of_the_others() -> None:
    tally = Tally(BOUNDS)
    names = [f'{number}' for number in range(40)]
    tally.released([ran(name) for name in names], [True] * len(names))
    first = tally.pack()
    tally.acknowledge(first)
    # Those that have waited go first.
    tally.released([ran(name) for name in names[:5]], [True] * 5)
    second = tally.pack()
    assert [name for name, _ in first.functions] == names[:25]
    assert [name for name, _ in second.functions] == [*names[25:], *names[:5]]
    assert sum(read(first.run, 17)[:16]) == 25


def test_a_long_name_is_cut() -> None:
    tally = Tally(BOUNDS)
    tally.released([ran('x' * 1_000_000)], [True])
    assert [name for name, _ in tally.pack().functions] == ['x' * 200]


def test_run_times_that_no_beat_takes_are_made_counts_of() -> None:
    tally = Tally(BOUNDS)
    for _ in range(45):
        tally.released([ran('f')] * 500, [True] * 500)
        assert len(tally._ends) <= BOUNDS.untold_runs
    assert told(tally)['f'][0] == 45 * 500


async def test_all_that_becomes_of_tasks_is_counted_by_function(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    app = Tasks(queue)
    gate = asyncio.Event()

    @app.task(name='well')
    async def well() -> None: ...

    @app.task(name='with a result')
    async def told_of() -> int:
        return 1

    @app.task(name='in a thread')
    def blocking() -> None: ...

    @app.task(name='fails', max_attempts=2, retry=0)
    async def fails() -> None:
        raise ValueError

    @app.task(name='rejects')
    async def rejects() -> None:
        raise Reject('no')

    @app.task(name='is cancelled')
    async def cancelled() -> None:
        gate.set()
        await asyncio.sleep(600)

    for function in (well, told_of, blocking, fails, rejects):
        for _ in range(3):
            await function.enqueue()
    await queue.enqueue({'task': 'well', 'args': ['one too many']})
    async with Worker(app, heartbeat=60) as worker:
        await until(lambda: worker.health().succeeded == 9 and worker.health().dead == 7)
        handle = await cancelled.enqueue()
        await gate.wait()
        await queue.cancel(handle.id)
        await until(lambda: worker.health().lost)
    assert await totals_of(queue) == {
        'well': (3, 1, 1, 0), 'with a result': (3, 0, 0, 0), 'in a thread': (3, 0, 0, 0), 'fails': (0, 6, 3, 0),
        'rejects': (0, 3, 3, 0), 'is cancelled': (0, 0, 0, 1),
    }  # fmt: skip
    # Each attempt has run once, however it ended.
    ran = json.loads(await client.hget(queue.keys['totals'], '*run') or '[]')
    assert sum(ran[:16]) == 9 + 6 + 3 + 1 + 1


async def test_each_queue_of_a_worker_has_its_own_counts(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    async with Torrelque(client, queue=queue.name + '-b') as second, Torrelque(client, queue=queue.name + '-c') as idle:
        for number, one in enumerate((queue, second, idle), 1):
            await one.enqueue_many(range(number))
        async with Worker([queue, second], handle, steal=[idle], heartbeat=60) as worker:
            await until(lambda: worker.health().succeeded == 6)
        found = [await totals_of(one) for one in (queue, second, idle)]
    assert found == [{'': (number, 0, 0, 0)} for number in (1, 2, 3)]


async def test_how_long_a_task_had_been_ready_is_asked_for_as_it_is_taken(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async def handle(delivery: Delivery) -> None: ...

    async def waits() -> list[float]:
        flat = await client.hget(queue.keys['totals'], '*wait')
        return list(json.loads(flat or '[]'))

    for passed, field in ((100_000, None), (400_000, 'last_requeue_time'), (2_000_000, 'ready_time')):
        task_id = await queue.enqueue(1)
        key = f'{queue.keys["task"]}:{task_id}'
        now = float(await client.hget(key, 'enqueue_time') or 0)
        await client.hset(key, 'enqueue_time', f'{now - (passed if field is None else 1e9):.0f}')
        if field is not None:
            await client.hset(key, field, f'{now - passed:.0f}')
        await Worker(queue, handle, heartbeat=60, burst=True).run()
    found = await waits()
    assert found[:16] == [0] * 13 + [1] * 3
    assert 2_500_000 <= found[16] < 2_700_000


async def test_at_most_so_many_waits_are_asked_for(
    queue: Torrelque, client: redis.asyncio.Redis, worker_bound: Bound
) -> None:
    async def handle(delivery: Delivery) -> None: ...

    worker_bound(wait_pause=1e6)
    await queue.enqueue_many(range(100))
    await Worker(queue, handle, heartbeat=60, burst=True, concurrency=5).run()
    found: Any = await client.hget(queue.keys['totals'], '*wait')
    assert sum(json.loads(found)[:16]) == 1


async def test_a_worker_without_a_heartbeat_counts_nothing_by_function(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    async def handle(delivery: Delivery) -> None: ...

    await queue.enqueue_many(range(10))
    worker = Worker(queue, handle, burst=True)
    await worker.run()
    assert worker.health().succeeded == 10
    assert await client.keys('*') == []
    assert (worker.health().lag, worker.health().claimed) == (None, None)


async def test_a_failure_and_the_death_by_it_are_counted_at_once(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    raised = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await client.client_pause(60_000, all=False)
        raised.set()
        raise ValueError('no')

    await queue.enqueue(1)
    worker = Worker(queue, handle, max_attempts=1, heartbeat=60, burst=True)
    running = asyncio.ensure_future(worker.run())
    await raised.wait()
    for _ in range(50):
        await client.ping()
    # A beat that went now would tell of a failure that has another attempt.
    assert (worker.health().failed, worker.health().dead) == (0, 0)
    await client.client_unpause()
    await running
    assert await totals_of(queue) == {'': (0, 1, 1, 0)}


async def test_an_attempt_that_fails_without_its_lease_is_lost_alone(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        await Operator(queue).cancel(Selection(ids=[str(delivery.id)]), paced=False)
        raise ValueError('no')

    await queue.enqueue(1)
    await Worker(queue, handle, heartbeat=60, burst=True).run()
    assert await totals_of(queue) == {'': (0, 0, 0, 1)}
