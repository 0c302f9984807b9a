"""What beats write: records and hearts, as they are laid out, bounded, and whatever else is in their keys."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
import redis.asyncio

from support.beating import beat, counts, done, handle
from support.servers import RealServer
from support.topology import Cluster
from support.waiting import until
from torrelque import Torrelque
from torrelque.operate import crew, records, registry
from torrelque.protocol.keys import BUCKETS
from torrelque.worker import Delivery, Worker, WorkerHealth, get_workers
from torrelque.worker.bounds import BOUNDS
from torrelque.worker.health import RunningTask
from torrelque.worker.heart import pack_health

pytestmark = pytest.mark.first_server

# Records


async def test_records_are_laid_out_and_kept_as_they_are_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    wait = [*[1] * len(BUCKETS), 7.5]
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
    # The last ones that are 0 are left out.
    assert found[minute][b'=f'] == [6, 0, 0, 0, 3] and found[minute][b'='] == [2, 0, 0, 0, 3]
    assert found[hour][b'=f'] == found[queue.keys['totals']][b'=f'] == [6, 0, 0, 0, 3, 6]
    assert {tuple(one[b'*wait']) for one in found.values()} == {(*[2] * 16, 15)}
    assert b'*sizes' not in found[queue.keys['totals']]


async def test_a_beat_that_samples_nothing_leaves_no_record_for_ever(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await client.set(queue.keys['sampled'], '1', ex=600)
    await beat(queue, functions={'f': counts()})
    kept = [await client.ttl(key) for key in await client.keys('*')]
    assert len(kept) == 6 and min(kept) > 0


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
    '', 'rubbish', '[]', '{}', 'null', '[1,2,3' + ',4' * 40 + ']', '["a","b","c","d","e"]', '[1e300,0,0,0,0]',
    '[-1,0,0,0,0]', '[1,,2]', '[' * 5000, '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1e999]', '[null,0,0,0,0]',
    '\x00\xff', '[0,0,0,0,"1"]', '9' * 400,
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
    assert fields['functions_cut'] is True
    small = json.loads(pack_health(health._replace(running=tasks[:3], functions=names[:2], queues=('q',)), BOUNDS))
    assert [len(small[name]) for name in ('running', 'functions', 'queues')] == [3, 2, 1]
    assert small['functions_cut'] is False


async def test_functions_that_a_heart_has_no_room_for_are_told_to_be_left_out(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:  # fmt: skip
    # Ninety names are fewer than a heart tells, and longer than the part of it that they have.
    names = tuple(f'shop.{number}.{"n" * 60}' for number in range(90))
    for known, cut in (names, True), (names[:2], False):
        health = WorkerHealth('a', 'h', 1, 'running', 1.0, 1.0, (queue.name,), 2, (), 0, 0, 0, 0, functions=known)
        await beat(queue)
        await client.hset(queue.keys['worker'] + ':a', 'health', pack_health(health, BOUNDS))
        [view], [told] = await crew.read_workers(queue), await get_workers(queue)
        assert (view.functions_cut, len(view.functions) < len(known)) == (cut, cut)
        assert (told.functions_cut, told.functions) == (cut, view.functions)


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
