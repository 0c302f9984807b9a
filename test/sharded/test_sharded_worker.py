"""A worker of a queue with shards: it is one queue to it, and no shard waits for the server of another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import torrelque
from support.servers import MakeServer, RealServer
from support.sharding import all_keys, group_of, numbers_of, open_one, open_servers
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.sharded import Sharded
from torrelque.worker import Backoff, Breaker, Delivery, Reject, Worker, get_workers

pytestmark = pytest.mark.first_server

NOW = Backoff(base=0, jitter=False)
NOTHING = torrelque.QueueStats(0, 0, 0, 0, 0)


async def drain(queue: Any, handler: Any, **options: Any) -> Worker:
    worker = Worker(queue, handler, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


async def end_of_lease(sharded: Sharded, task_id: str) -> float:
    shard = sharded.shard_of(task_id)
    return float(await shard.command('ZSCORE', shard.keys['working'], task_id))


async def test_all_tasks_are_handled_once_and_a_burst_ends_when_all_shards_are_empty(sharded: Sharded) -> None:
    seen: Counter[int] = Counter()
    places: set[int] = set()

    async def handle(delivery: Delivery) -> None:
        assert delivery.queue is sharded
        seen[delivery.task] += 1
        places.add(*numbers_of(sharded, [delivery.id]))

    await sharded.enqueue_many(range(700))
    await sharded.enqueue_many(range(700, 760), group=lambda k: f'g{k % 7}')
    worker = await drain(sharded, handle, concurrency=30)
    assert seen == Counter(range(760))
    assert places == {0, 1, 2}
    assert worker.health().succeeded == 760
    assert worker.health().queues == ('email',)
    assert await sharded.get_queue_stats() == NOTHING


@pytest.mark.parametrize('shard', range(3))
async def test_a_burst_does_not_end_before_a_shard_that_has_tasks(sharded: Sharded, shard: int) -> None:
    done = []

    async def handle(delivery: Delivery) -> None:
        if delivery.task == 'first':
            await sharded.enqueue('second', group=group_of((shard + 1) % 3, 3))
        done.append(delivery.task)

    await sharded.enqueue('first', group=group_of(shard, 3))
    await drain(sharded, handle, concurrency=1)
    assert done == ['first', 'second']


async def test_a_burst_waits_for_what_the_rate_of_a_group_lets_through_in_any_shard(sharded: Sharded) -> None:
    done: list[int] = []
    for shard in range(3):
        await sharded.set_limit(group_of(shard, 3), rate=(1, 0.2))
        for k in range(2):
            await sharded.enqueue(10 * shard + k, group=group_of(shard, 3))
    await drain(sharded, lambda delivery: done.append(delivery.task), run_in='thread')
    assert sorted(done) == [0, 1, 10, 11, 20, 21]


async def test_what_fails_is_tried_again_in_its_shard_and_dead_at_last(sharded: Sharded) -> None:
    tries: Counter[int] = Counter()
    dead: list[int] = []

    async def handle(delivery: Delivery) -> int:
        tries[delivery.task] += 1
        if delivery.task == 2:
            raise Reject('never')
        if delivery.attempt <= delivery.task:
            raise RuntimeError(f'attempt {delivery.attempt}')
        return 10 * int(delivery.task)

    def on_dead(delivery: Delivery, error: BaseException) -> None:
        dead.append(delivery.task)

    groups = [group_of(k, 3) for k in range(3)]
    ids = [await sharded.enqueue(k, group=groups[k % 3]) for k in range(9)]
    await drain(sharded, handle, retry=NOW, max_attempts=5, on_dead=on_dead, result_ttl=60)
    assert tries == {0: 1, 1: 2, 2: 1, 3: 4, 4: 5, 5: 5, 6: 5, 7: 5, 8: 5}
    assert sorted(dead) == [2, 5, 6, 7, 8]
    assert (await sharded.get_queue_stats()).dead == 5
    states = [await sharded.get_task_state(task_id) for task_id in ids]
    assert [state.result for state in states if state.status is Status.COMPLETED] == [0, 10, 30, 40]
    assert await sharded.redrive() == 5


async def test_deaths_that_nobody_saw_are_told_of_in_all_shards(sharded: Sharded) -> None:
    told: list[int] = []
    for k in range(6):
        await sharded.enqueue(k, group=group_of(k % 3, 3, f'g{k}'), task_timeout=0.05, max_attempts=1)
    taken = 0
    while taken < 6:
        taken += len(await sharded.dequeue_many(10, 20))
    while (await sharded.get_queue_stats()).dead < 6:
        await sharded.sweep()
    await drain(
        sharded, lambda delivery: None, on_dead=lambda delivery, error: told.append(delivery.task), run_in='thread'
    )
    assert sorted(told) == [*range(6)]
    assert await sharded.take_deaths() == []


async def test_leases_are_renewed_and_cancellations_noticed_in_all_shards(sharded: Sharded) -> None:
    begun, ended = asyncio.Semaphore(0), asyncio.Event()
    cancelled = []

    async def handle(delivery: Delivery) -> None:
        begun.release()
        try:
            await ended.wait()
        except asyncio.CancelledError:
            cancelled.append(delivery.task)
            raise

    # The lease is long enough for a machine that stands still for seconds, and is renewed at a third of it.
    ids = [await sharded.enqueue(k, group=group_of(k, 3), task_timeout=6) for k in range(3)]
    async with Worker(sharded, handle) as worker:
        for _ in ids:
            await begun.acquire()
        for task_id in ids:
            first = await end_of_lease(sharded, task_id)
            while await end_of_lease(sharded, task_id) == first:
                await asyncio.sleep(0.05)
        assert await sharded.cancel(ids[1])
        while len(cancelled) < 1:
            await asyncio.sleep(0.01)
        ended.set()
        while await sharded.get_queue_stats() != NOTHING:
            await asyncio.sleep(0.01)
        assert (cancelled, worker.health().succeeded, worker.health().lost) == ([1], 2, 1)


async def test_a_breaker_pauses_all_shards_and_one_probe_resumes_them(sharded: Sharded) -> None:
    well = False
    seen: list[Any] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)
        if not well:
            raise RuntimeError('down')

    await sharded.enqueue_many(range(6), group=lambda k: group_of(k % 3, 3))
    breaker = Breaker(failures=2, pause=0.3)
    async with Worker(sharded, handle, concurrency=1, breaker=breaker, retry=NOW):
        while not all([await shard.command('SISMEMBER', shard.keys['paused'], '') for shard in sharded.shards]):
            await asyncio.sleep(0.01)
        well = True
        while await sharded.get_queue_stats() != NOTHING:
            await asyncio.sleep(0.01)
    assert {*seen} == {*range(6)}
    assert not any([await shard.command('SCARD', shard.keys['paused']) for shard in sharded.shards])


async def test_a_worker_is_seen_in_the_home_shard_and_counts_all(sharded: Sharded) -> None:
    await sharded.enqueue_many(range(60))
    for shard in range(3):
        await sharded.enqueue('later', delay=1000, group=group_of(shard, 3))
    release = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await release.wait()

    async with Worker(sharded, handle, concurrency=60, heartbeat=1, name='one') as worker:
        while not (found := await get_workers(sharded)) or found[0].busy < 60:
            await asyncio.sleep(0.01)
        [health] = found
        assert (health.name, health.queues, {task.queue for task in health.running}) == ('one', ('email',), {'email'})
        home = sharded.home
        assert [await shard.command('EXISTS', shard.keys['workers']) for shard in sharded.shards] == [1, 0, 0]
        release.set()
        while worker.health().succeeded < 60:
            await asyncio.sleep(0.01)
    name = home.keys['totals']
    assert json.loads(await home.command('HGET', name, '='))[0] == 60
    waits = json.loads(await home.command('HGET', name, '*wait'))
    assert sum(waits[:-1]) == 1


async def test_the_sample_of_sizes_is_one_of_all_shards(sharded: Sharded) -> None:
    for shard in range(3):
        for k in range(shard + 1):
            await sharded.enqueue(k, delay=1000, group=group_of(shard, 3, f'g{k}'))
    sampled = asyncio.Event()
    worker = Worker(sharded, lambda delivery: None, heartbeat=1, run_in='thread')
    worker.on_sample = lambda queue: sampled.set()
    async with worker:
        await asyncio.wait_for(sampled.wait(), 20)
    records = 0
    for kind in ('minute', 'hour'):
        seconds = int((await sharded.command('TIME'))[0])
        for back in (0, 1):
            number = seconds // {'minute': 60, 'hour': 3600}[kind] - back
            text = await sharded.command('HGET', f'{sharded.keys[kind]}:{number}', '*sizes')
            if text is not None:
                records += 1
                assert json.loads(text)[:6] == [0, 0, 6, 0, 0, 1]
    assert records >= 2


async def test_weights_and_steal_with_a_plain_queue(sharded: Sharded, server: RealServer) -> None:
    async with server.client() as client, Torrelque(client, queue='plain') as plain:
        seen: list[Any] = []
        handle = lambda delivery: seen.append(delivery.queue.name)  # noqa: E731
        await sharded.enqueue_many(range(300))
        await plain.enqueue_many(range(300))
        await drain({sharded: 2, plain: 1}, handle, concurrency=9, run_in='thread')
        assert Counter(seen) == {'email': 300, 'plain': 300}
        seen.clear()
        await sharded.enqueue_many(range(30))
        await plain.enqueue_many(range(30))
        await drain(plain, handle, concurrency=1, steal=[sharded], run_in='thread')
        assert Counter(seen) == {'email': 30, 'plain': 30}
        assert {*seen[:30]} == {'plain'}


async def test_a_queue_is_refused_that_is_named_twice_and_no_other_of_its_name(
    sharded: Sharded, server: RealServer
) -> None:
    again = Sharded(sharded.client, queue='email')
    with pytest.raises(torrelque.ValueError, match='a queue is named twice'):
        Worker([sharded, again], print)
    # One of one place with the name of one with shards, which may have been what was there before.
    client = sharded.client[0] if isinstance(sharded.client, list) else sharded.client
    async with Torrelque(client, queue='email') as before:
        await before.enqueue(1)
        await sharded.enqueue(2)
        seen: list[Any] = []
        await drain([before, sharded], lambda delivery: seen.append(delivery.task), run_in='thread')
        assert sorted(seen) == [1, 2]


async def test_a_worker_fires_the_schedules_of_the_home_shard_while_it_is_busy(
    sharded: Sharded, worker_bound: Callable[..., None]
) -> None:
    worker_bound(firing_pause=0.05, firing_look=0.1)
    over = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await over.wait()

    await sharded.enqueue('long')
    await sharded.set_schedule('tick', 'tick', every=0.3)
    async with Worker(sharded, handle, concurrency=1):
        while not (await sharded.home.get_queue_stats()).pending:
            await asyncio.sleep(0.01)
        over.set()


@pytest.mark.long
async def test_a_shard_whose_server_is_killed_keeps_no_other_from_its_releases(make_server: MakeServer) -> None:
    servers = [make_server() for _ in range(3)]
    async with open_servers(servers) as queue:
        await queue.ready()
        held = asyncio.Event()
        done: Counter[int] = Counter()

        async def handle(delivery: Delivery) -> str | None:
            [number] = numbers_of(queue, [delivery.id])
            if delivery.task == 'held':
                begun.release()
                await held.wait()
            done[number] += 1
            return 'result' if delivery.attempt % 2 else None

        begun = asyncio.Semaphore(0)
        for number in range(3):
            await queue.enqueue('held', group=group_of(number, 3), task_timeout=60)
        async with Worker(queue, handle, concurrency=10):
            for _ in range(3):
                await begun.acquire()
            servers[2].kill()
            held.set()
            ids = [await queue.enqueue('more', group=group_of(k % 2, 3), task_timeout=60) for k in range(40)]
            for task_id in ids:
                with contextlib.suppress(torrelque.LookupError):
                    state = await queue.wait(task_id, timeout=5)
                    assert state.status is Status.COMPLETED
            servers[2].start()
            while any(stats != NOTHING for stats in await queue.stats_of_shards()):
                await asyncio.sleep(0.05)


@pytest.mark.long
async def test_a_worker_that_is_killed_loses_nothing(server: RealServer) -> None:
    async with open_one(server, 3) as queue:
        await queue.enqueue_many(range(300), task_timeout=2)
        text = f"""
import asyncio, redis.asyncio
from torrelque.sharded import Sharded
from torrelque.worker import Worker

async def handle(delivery):
    print(delivery.task, flush=True)
    await asyncio.sleep(60)

async def main():
    async with redis.asyncio.from_url({server.url!r}) as client, Sharded(client, queue='email') as queue:
        await Worker(queue, handle, concurrency=50).run()

asyncio.run(main())
"""
        process = await asyncio.create_subprocess_exec(sys.executable, '-c', text, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(50):
            await process.stdout.readline()
        process.kill()
        await process.wait()
        seen: Counter[int] = Counter()

        async def handle(delivery: Delivery) -> None:
            seen[delivery.task] += 1

        async with Worker(queue, handle):
            while await queue.get_queue_stats() != NOTHING:
                await asyncio.sleep(0.02)
        assert seen == Counter(range(300))


async def test_a_wrong_list_of_servers_ends_a_worker_at_once(server: RealServer) -> None:
    async with open_one(server, 3) as queue:
        await queue.ready()
    async with open_one(server, 4) as other:
        with pytest.raises(torrelque.ValueError, match='the queue has 3 shards, not 4'):
            await asyncio.wait_for(Worker(other, print, heartbeat=1).run(), 20)
    async with server.client() as client:
        assert not [key for key in await all_keys(client) if b'worker' in key]
