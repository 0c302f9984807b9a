"""The beats of workers: what they write by the server's time, once each, whatever happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

from support.bounding import Bound
from support.processes import running
from support.proxy import Part, Proxy
from support.refusing import alone
from support.servers import MakeServer, RealServer
from support.topology import Cluster
from support.waiting import until
from torrelque import Torrelque, TorrelqueServerError
from torrelque.operate import crew, records, registry
from torrelque.worker import Delivery, Worker, WorkerHealth, get_workers
from torrelque.worker.bounds import BOUNDS
from torrelque.worker.counts import BUCKETS
from torrelque.worker.health import RunningTask
from torrelque.worker.heart import pack_health
from torrelque.worker.scripts import _load, run_script

__all__ = ['alone']

CHILD = Path(__file__).parent / 'hearts_child.py'


def calls_of_script(name: str) -> Part:
    """What each call of a script of the layer has in it."""
    text, digest = _load(name)
    return digest.encode(), text.encode()


async def handle(delivery: Delivery) -> None: ...


async def beat(queue: Torrelque, name: str = 'a', number: int = 1, **given: Any) -> list[Any]:
    """A beat as a worker sends it."""
    options: dict[str, Any] = {'start': 's', 'state': 'running', 'heartbeat': 5000, 'functions': {}, 'wait': ''} | given
    flat = [word for function, counts in options['functions'].items() for word in (function, json.dumps(counts))]
    reply: list[Any] = await run_script(
        queue, 'beat', (queue.keys['pending'], queue.keys['never']), name, options['start'], number, options['state'],
        options['heartbeat'], 10, 3, 2, '0.5', '{}', '', options['wait'], *flat,
    )  # fmt: skip
    return reply


def counts(succeeded: int = 1) -> list[float]:
    return [succeeded, 0, 0, 0, 1.5, succeeded, *[0] * (len(BUCKETS) - 1)]


async def done(queue: Torrelque) -> int:
    """How many successes the totals have, all functions together."""
    return sum(view.totals.succeeded for view in await records.read_functions(queue, None))


# Once


async def test_a_beat_counts_once_however_often_it_comes(queue: Torrelque) -> None:
    for word in (b'ok', b'again', b'again'):
        assert (await beat(queue, functions={'f': counts()}))[0] == word
    assert (await beat(queue, number=2, functions={'f': counts()}))[0] == b'ok'
    # One that comes over a connection that was given up.
    assert (await beat(queue, number=1, functions={'f': counts()}))[0] == b'late'
    assert await done(queue) == 2
    # Another worker of the same name begins anew.
    assert (await beat(queue, number=1, start='later', functions={'f': counts()}))[0] == b'ok'
    assert await done(queue) == 3


async def test_a_goodbye_counts_once_and_a_beat_behind_it_raises_nobody(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await beat(queue, functions={'f': counts()})
    for word in (b'ok', b'again'):
        assert (await beat(queue, number=2, state='', functions={'f': counts()}))[0] == word
    assert (await beat(queue, number=1, functions={'f': counts()}))[0] == b'late'
    assert await done(queue) == 2
    assert await crew.read_workers(queue) == [] and await client.zcard(queue.keys['workers']) == 0
    assert 0 < await client.pttl(queue.keys['worker'] + ':a') <= 60_000


@pytest.mark.parametrize('loss', ['request', 'reply'])
async def test_counts_whose_beat_or_reply_is_lost_are_there_once(
    proxy: Proxy, queue: Torrelque, worker_bound: Bound, loss: str
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue.name) as mine:
        async with Worker(mine, handle, heartbeat=0.02) as worker:
            for number in range(20):
                lose = proxy.lose_request if loss == 'request' else proxy.lose_reply
                lose(calls_of_script('beat'))
                await mine.enqueue(number)
                await until(lambda: proxy.lossless)
            await until(lambda: worker.health().succeeded == 20)
            lose(calls_of_script('beat'))
        assert proxy.lossless or await done(queue) == 20
    assert await done(queue) == 20


async def test_counts_wait_for_a_server_that_is_away(
    proxy: Proxy, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    failing = asyncio.Event()

    async def fail(delivery: Delivery) -> None:
        if not failing.is_set():
            proxy.lie_to, proxy.lie = _load('beat')[1].encode(), b'-ERR not now\r\n'
            failing.set()

    async with proxy.client() as own, Torrelque(own, queue=queue.name) as mine:
        await mine.enqueue_many(range(10))
        async with Worker(mine, fail, heartbeat=0.02) as worker:
            await until(lambda: worker.health().succeeded == 10)
            await until(lambda: caplog.text.count('could not be written') > 3)
            assert await done(queue) == 0
            proxy.lie = None
            while await done(queue) < 10:
                await asyncio.sleep(0.005)
    assert await done(queue) == 10


async def test_the_last_counts_go_with_the_goodbye(queue: Torrelque) -> None:
    for number in range(1, 4):
        await queue.enqueue_many(range(number * 10))
        # None of them beats a second time.
        await Worker(queue, handle, heartbeat=1000, burst=True).run()
    assert await done(queue) == 60


# Who lives


@contextlib.asynccontextmanager
async def in_a_process(server: RealServer, queue: Torrelque, name: str) -> AsyncIterator[subprocess.Popen[str]]:
    command = [sys.executable, str(CHILD), server.url, queue.name, name, '0.2']
    with running(command, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


async def test_a_worker_that_is_killed_is_lost_with_what_it_held_and_its_last_counts(
    server: RealServer, queue: Torrelque
) -> None:
    await queue.enqueue_many(range(50))
    async with in_a_process(server, queue, 'killed') as process:
        while await done(queue) < 50:
            await asyncio.sleep(0.01)
        task_id = await queue.enqueue('hang', group='g')
        while not [task for each in await get_workers(queue) for task in each.running]:
            await asyncio.sleep(0.01)
        process.kill()
        process.wait()
        while (found := await crew.read_workers(queue))[0].state != 'lost':
            await asyncio.sleep(0.01)
    (lost,) = found
    assert (lost.name, lost.pid, [(task.id, task.group) for task in lost.running]) == (
        'killed', process.pid, [(task_id, 'g')]
    )  # fmt: skip
    assert lost.why is not None and lost.why.startswith('it went without a goodbye: no beat for ')
    assert await get_workers(queue) == []
    (again,) = await get_workers(queue, lost=True)
    assert (again.state, again.healthy, [task.id for task in again.running]) == ('lost', False, [task_id])
    assert await done(queue) == 50


async def test_a_worker_lives_for_three_of_its_own_intervals(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    for interval in (5_000, 900_000):
        await beat(queue, heartbeat=interval)
        key = queue.keys['worker'] + ':a'
        seen = float(await client.hget(key, 'seen') or 0)
        for late, state in ((1.5, 'running'), (2.9, 'stuck'), (3.1, 'lost')):
            await client.hset(key, 'seen', f'{seen - late * interval:.0f}')
            [view] = await crew.read_workers(queue, running=False)
            assert view.state == state, (interval, late, view.why)


async def test_many_workers_beat_less_often(queue: Torrelque) -> None:
    intervals = [(await beat(queue, f'worker {number}'))[1:3] for number in range(200)]
    # At most twenty a second: with two hundred each waits for ten seconds.
    assert intervals[0] == [0, 5000] or intervals[0] == [1, 5000]
    assert (await beat(queue, 'worker 0', 2))[1:3] == [200, 10_000]
    # One whose interval is longer than that keeps it.
    assert (await beat(queue, 'slow', heartbeat=60_000))[2] == 60_000


async def test_beats_of_many_workers_come_drawn_apart(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    wait = asyncio.wait

    async def note(tasks: Any, **options: Any) -> Any:
        if 'timeout' in options and len(tasks) == 1:
            pauses.append(options['timeout'])
        return await wait(tasks, **options)

    async with Worker(queue, handle, heartbeat=0.5):
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        monkeypatch.setattr(asyncio, 'wait', note)
        await until(lambda: len(pauses) > 6)
        monkeypatch.undo()
    steady = [pause for pause in pauses if 0.475 <= pause <= 0.525]
    assert len({*steady}) == len(steady) > 2


async def test_the_clock_of_a_worker_does_not_matter_to_what_is_kept(
    queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time
    monkeypatch.setattr(time, 'time', lambda: clock() + 3600)
    monkeypatch.setattr(time, 'time_ns', lambda: int(1e9 * (clock() + 3600)))
    await queue.enqueue_many(range(5))
    gate = asyncio.Event()

    async def wait(delivery: Delivery) -> None:
        if delivery.task == 4:
            await gate.wait()

    async with Worker(queue, wait, heartbeat=0.02) as worker:
        while await done(queue) < 4 or not (found := await crew.read_workers(queue))[0].running:
            await asyncio.sleep(0.005)
        server_time = float((await client.time())[0])
        [view] = found
        assert abs(view.seen - server_time) < 300 and view.started is not None
        assert abs(view.running[0].since - server_time) < 300 and abs(view.started - server_time) < 300
        assert worker.health().seen - server_time > 3000
        gate.set()
    assert {abs(record.start - server_time) < 300 for record in await records.read_history(queue, 3600)} == {True}


# What is written


async def test_records_are_laid_out_and_kept_as_they_are_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    wait = json.dumps([*[1] * len(BUCKETS), 7.5])
    for number in (1, 2):
        await beat(queue, number=number, functions={'f': counts(3), '': counts()}, wait=wait)
    names: Any = await client.keys('*')
    keys = {key.decode(): await client.pttl(key) for key in names if b'worker' not in key}
    minute, = (key for key in keys if key.startswith(queue.keys['minute'] + ':'))
    hour, = (key for key in keys if key.startswith(queue.keys['hour'] + ':'))
    assert {*keys} == {minute, hour, queue.keys['totals'], queue.keys['sampled']}
    for key, kept in ((minute, 8 / 24), (hour, 14), (queue.keys['totals'], 30)):
        assert 0 <= kept * 86400_000 - keys[key] < 300_000
    assert 0 < keys[queue.keys['sampled']] <= 15_000
    found = {key: {name: json.loads(text) for name, text in (await client.hgetall(key)).items()} for key in keys
             if key != queue.keys['sampled']}
    assert found[minute][b'=f'] == [6, 0, 0, 0, 3] and found[minute][b'='] == [2, 0, 0, 0, 3]
    assert found[hour][b'=f'] == found[queue.keys['totals']][b'=f'] == [6, 0, 0, 0, 3, 6, *[0] * 15]
    assert {tuple(one[b'*wait']) for one in found.values()} == {(*[2] * 16, 15)}
    assert b'*sizes' not in found[queue.keys['totals']]


async def test_the_first_beat_of_a_quarter_of_a_minute_samples_the_sizes(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    for number in range(7):
        await queue.enqueue(number, priority=number % 3 - 1)
    await queue.enqueue('late', delay=600)
    task_id, _ = await queue.dequeue()
    oldest = 0.0
    for key in await client.keys(f'{queue.keys["task"]}:*'):
        if await client.hget(key, 'status') == b'0':
            since = float(await client.hget(key, 'enqueue_time') or 0)
            oldest = max(oldest, 50_000.0)
            await client.hset(key, 'enqueue_time', f'{since - 50_000:.0f}')
    assert [(await beat(queue, number=number))[3] for number in (1, 2, 3)] == [1, 0, 0]
    [minute], [hour] = [(await records.read_history(queue, length))[-1:] for length in (60, 86400)]
    for record in (minute, hour):
        assert record.sizes is not None and 50 <= record.sizes.oldest < 300
        sizes = record.sizes
        assert (sizes.pending, sizes.working, sizes.delayed, sizes.dead) == (6, 1, 1, 0)
        assert (sizes.workers, sizes.slots, sizes.busy) == (1, 10, 3)
    # The next sample: a minute has the last one, an hour the most of each.
    await queue.bury(task_id)
    await queue.dequeue_many(5)
    await client.delete(queue.keys['sampled'])
    assert (await beat(queue, number=4))[3] == 1
    [minute], [hour] = [(await records.read_history(queue, length))[-1:] for length in (60, 86400)]
    assert minute.sizes is not None and hour.sizes is not None
    assert (minute.sizes.pending, minute.sizes.working, minute.sizes.dead) == (1, 5, 1)
    assert (hour.sizes.pending, hour.sizes.working, hour.sizes.dead) == (6, 5, 1)


async def test_a_record_has_two_hundred_names_at_the_most(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    names = [f'n{number}\n\x1b[31m"\u202e\U0001f600*' for number in range(1000)]
    for number in range(40):
        some = names[25 * number : 25 * number + 25]
        await beat(queue, f'w{number % 3}', number + 1, functions={name: counts() for name in some})
    found = await records.read_functions(queue, None)
    assert len(found) <= 201 and {view.name for view in found} <= {*names, '*other'}
    assert sum(view.totals.succeeded for view in found) == 1000
    for key in [*await client.keys(queue.keys['minute'] + ':*'), *await client.keys(queue.keys['hour'] + ':*')]:
        assert await client.hlen(key) <= 203
    # Names that are there go on being counted by themselves.
    first = found[-1].name
    await beat(queue, 'again', functions={first: counts(5), 'new': counts(7)})
    after = {view.name: view.totals.succeeded for view in await records.read_functions(queue, None)}
    assert 'new' not in after and after[first] == 6 and sum(after.values()) == 1012


RUBBISH = [
    '', 'rubbish', '[]', '{}', 'null', '[1,2,3]', '["a","b","c","d","e"]', '[1e300,0,0,0,0]', '[-1,0,0,0,0]',
    '[' * 5000, '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1e999]', '[null,0,0,0,0]', '\x00\xff', '[0,0,0,0,"1"]',
    '9' * 400,
]  # fmt: skip


@pytest.mark.parametrize('text', RUBBISH)
async def test_rubbish_in_a_field_is_begun_anew(queue: Torrelque, client: redis.asyncio.Redis, text: str) -> None:
    await beat(queue, functions={'f': counts(5)})
    for key in await client.keys('*'):
        if await client.type(key) == b'hash':
            for field in (await client.hgetall(key)):
                await client.hset(key, field, text)
    await client.delete(queue.keys['sampled'])
    for number in (2, 3):
        await beat(queue, number=number, functions={'f': counts(2)})
    assert await done(queue) == 4
    [view] = await crew.read_workers(queue)
    assert (view.name, view.state, view.concurrency, view.busy) == ('a', 'running', 10, 3)


async def test_keys_of_another_kind_break_no_beat_and_no_answer(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await beat(queue, functions={'f': counts()})
    every: Any = await client.keys('*')
    names = [key for key in every if not key.endswith(b':workers')]
    for key in names:
        await client.delete(key)
        await client.lpush(key, 'of another kind')
    for name in ('tasks', 'working', 'delayed', 'dead', 'pending', 'turns', 'priority'):
        await client.set(queue.keys[name], 'of another kind')
    [broken] = await crew.read_workers(queue)
    assert (broken.name, broken.why) == ('a', 'its key holds something else')
    assert await records.read_functions(queue, None) == []
    assert await records.read_history(queue, 60) == []
    await client.delete(queue.keys['sampled'])
    assert (await beat(queue, number=2, functions={'f': counts()}))[0] == b'ok'
    assert await done(queue) == 1 and [view.state for view in await crew.read_workers(queue)] == ['running']


async def test_the_heart_of_an_older_version_breaks_no_beat(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await client.set(queue.keys['worker'] + ':a', '{"name": "a", "state": "running", "seen": 5}', px=100_000)
    await client.zadd(queue.keys['workers'], {'a': 9e15})
    assert [view.state for view in await crew.read_workers(queue)] == ['running']
    assert [each.name for each in await get_workers(queue)] == ['a']
    assert (await beat(queue))[0] == b'ok'
    assert await client.type(queue.keys['worker'] + ':a') == b'hash'
    assert [each.interval for each in await crew.read_workers(queue)] == [5.0]


async def test_a_heart_is_of_bounded_size() -> None:
    tasks = tuple(RunningTask('i' * 500, 'queue', 'f' * 300, 'g' * 300, 1, 5.0) for _ in range(500))
    names = tuple(f'{"n" * 200}{number}\udcff\U0001f600' for number in range(500))
    health = WorkerHealth('w' * 5000, 'h' * 5000, 1, 'running', 0.0, 0.0, names, 10, tasks, 0, 0, 0, 0,
                          functions=names, busy=500)
    text = pack_health(health, BOUNDS)
    fields = json.loads(text)
    assert len(text) <= 16_000
    assert 0 < len(fields['running']) < 100 and fields['busy'] == 500
    assert fields['functions'][0] == names[0] and len(fields['functions']) < 100
    small = json.loads(pack_health(health._replace(running=tasks[:3], functions=names[:2], queues=('q',)), BOUNDS))
    assert [len(small[name]) for name in ('running', 'functions', 'queues')] == [3, 2, 1]


async def test_health_tells_all_of_its_worker(queue: Torrelque) -> None:
    gate = asyncio.Event()

    async def wait(delivery: Delivery) -> None:
        await gate.wait()

    await queue.enqueue(1)
    async with Worker(queue, wait, concurrency=3, heartbeat=0.05) as worker:
        await until(lambda: worker.health().claimed is not None and worker.health().running)
        health = worker.health()
        assert (health.busy, health.concurrency) == (1, 3) and health.version
        assert health.lag is not None and health.claimed is not None and health.rss
        while not (found := await get_workers(queue)) or not found[0].running:
            await asyncio.sleep(0.005)
        assert found[0].rss and found[0].version == health.version and found[0].busy == 1
        gate.set()


async def test_a_loop_that_stood_still_is_told(queue: Torrelque) -> None:
    async with Worker(queue, handle, heartbeat=0.05):
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        time.sleep(0.3)  # noqa: ASYNC251 - so that the loop stands still
        most = 0.0
        while most < 0.25:
            most = max([most, *(each.lag or 0.0 for each in await get_workers(queue, lost=True))])
    assert most < 300


# Servers that refuse


async def test_a_server_without_memory_refuses_a_beat_as_a_whole_and_hears_goodbyes(
    alone: tuple[redis.asyncio.Redis, Torrelque]
) -> None:
    client, queue = alone
    await client.config_set('maxmemory-policy', 'noeviction')
    await beat(queue, functions={'f': counts()})
    before = {key: await client.dump(key) for key in await client.keys('*') if key != queue.keys['sampled'].encode()}
    await client.config_set('maxmemory', '1')
    with pytest.raises(TorrelqueServerError, match='OOM'):
        await beat(queue, number=2, functions={'f': counts()})
    await client.config_set('maxmemory', '0')
    assert {key: await client.dump(key) for key in before} == before
    await client.config_set('maxmemory', '1')
    assert (await beat(queue, number=2, state='', functions={'f': counts()}))[0] == b'ok'
    await client.config_set('maxmemory', '0')
    assert await done(queue) == 2 and await crew.read_workers(queue) == []


async def test_a_worker_goes_on_while_the_server_has_no_memory(
    alone: tuple[redis.asyncio.Redis, Torrelque], caplog: pytest.LogCaptureFixture
) -> None:
    client, queue = alone
    await client.config_set('maxmemory-policy', 'noeviction')
    await queue.enqueue_many(range(5))
    async with Worker(queue, handle, heartbeat=0.02) as worker:
        await until(lambda: worker.health().succeeded == 5)
        while await done(queue) < 5:
            await asyncio.sleep(0.005)
        await client.config_set('maxmemory', '1')
        await until(lambda: 'heartbeat could not be written' in caplog.text)
        await client.config_set('maxmemory', '0')
        await queue.enqueue_many(range(5))
        while await done(queue) < 10:
            await asyncio.sleep(0.005)


async def test_a_server_that_was_restarted_is_told_the_script_again(make_server: MakeServer) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client, queue='q') as queue:
        async with Worker(queue, handle, heartbeat=0.05):
            while not await get_workers(queue):
                await asyncio.sleep(0.005)
            server.kill()
            server.start()
            while not await get_workers(queue):
                await asyncio.sleep(0.005)
            await client.script_flush()
            await client.delete(queue.keys['workers'])
            while not await get_workers(queue):
                await asyncio.sleep(0.005)


# The registry


async def test_a_heart_notes_its_queue(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await client.zadd('torrelque:queues', {'long ago': time.time() - 31 * 86400, 'lately': time.time() - 29 * 86400})
    async with Worker(queue, handle, heartbeat=0.02):
        while queue.name not in (names := [found.name for found in await registry.known(client)]):
            await asyncio.sleep(0.005)
    assert sorted(names) == sorted([queue.name, 'lately'])


async def test_a_heart_in_a_cluster_notes_its_queue(cluster: Cluster, queue_name: str) -> None:
    async with cluster.client() as client:
        for number in range(3):
            async with Torrelque(client, queue=f'{queue_name}-{number}') as queue:
                async with Worker(queue, handle, heartbeat=0.02):
                    while queue.name not in [found.name for found in await registry.known(client)]:
                        await asyncio.sleep(0.005)
                assert [found.name async for found in registry.scan(client)].count(queue.name) == 1
                await registry.forget(queue)
        assert await registry.known(client) == []


async def test_who_may_not_note_a_queue_beats_all_the_same(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    base = queue.keys['pending'].removesuffix('pending')
    await client.execute_command('ACL', 'SETUSER', 'worker', 'on', '>secret', f'~{base}*', '+@all')
    try:
        async with server.client(username='worker', password='secret') as own:
            async with Torrelque(own, queue=queue.name) as mine, Worker(mine, handle, heartbeat=0.02):
                while not await get_workers(queue):
                    await asyncio.sleep(0.005)
        assert not await client.exists('torrelque:queues') and caplog.text == ''
    finally:
        await client.execute_command('ACL', 'DELUSER', 'worker')


