"""The heart of a worker: what others learn of it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import pytest
import redis.asyncio

from support.proxy import Proxy
from support.servers import RealServer
from support.waiting import nothing_left, until, until_free
from torrelque import Torrelque
from torrelque.worker import Delivery, ThreadWorker, Worker, WorkerHealth, get_workers
from torrelque.worker.heart import Heart

pytestmark = pytest.mark.one_server


async def wait(delivery: Delivery) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize('decode', [False, True])
async def test_a_heartbeat_shows_live_workers_to_others(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, decode: bool
) -> None:
    async with server.client(decode_responses=decode) as own, Torrelque(own, queue=queue.name) as other:
        assert await get_workers(other) == []
        task_id = await queue.enqueue(1)
        async with Worker(queue, wait, name='a', heartbeat=0.05, shutdown_timeout=0):
            async with Worker(other, wait, name='b', heartbeat=0.05, shutdown_timeout=0):
                # On a busy machine a heartbeat may be late, and its worker is not told of until the next.
                found = await get_workers(other)
                while sorted(len(each.running) for each in found) != [0, 1]:
                    await asyncio.sleep(0.005)
                    found = await get_workers(other)
                assert [each.name for each in found] == ['a', 'b']
                (running,) = (*found[0].running, *found[1].running)
                assert (running.id, running.attempt) == (task_id, 1)
                key = queue.keys['pending'].removesuffix('pending') + 'worker:a'
                while (left := await client.pttl(key)) <= 0:
                    await asyncio.sleep(0.005)
                assert left <= 3_600_000
            while not (found := await get_workers(other)):
                await asyncio.sleep(0.005)
            assert [each.name for each in found] == ['a']
        assert await get_workers(other) == []
        await queue.cancel(task_id)
    assert [key for key in await client.keys('*') if b':worker' in key] == []


async def test_a_worker_that_was_killed_is_not_told_of_any_more(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    worker = Worker(queue, wait, name='killed', heartbeat=0.05)
    async with worker:
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        key = queue.keys['worker'] + ':killed'
        heart: Any = await client.hgetall(key)
    # As it would be there without the orderly end.
    await client.hset(key, mapping=heart)
    await client.zadd(queue.keys['workers'], {'killed': float(heart[b'seen'])})
    while await get_workers(queue):
        await asyncio.sleep(0.01)
    assert [(each.name, each.state) for each in await get_workers(queue, lost=True)] == [('killed', 'lost')]


async def test_a_beat_that_is_late_hides_no_worker(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    base = queue.keys['pending'].removesuffix('pending')
    async with Worker(queue, wait, name='a', heartbeat=1000):
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        # A heart that beats seldom is kept for longer than an hour.
        assert 3_600_000 < await client.pttl(f'{base}worker:a') <= 4_000_000
        assert 3_600_000 < await client.pttl(f'{base}workers') <= 4_000_000


async def test_a_worker_that_was_killed_leaves_no_name_for_ever(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    base = queue.keys['pending'].removesuffix('pending')
    await client.zadd(f'{base}workers', {f'killed-{n}': (time.time() - 3601) * 1000 for n in range(100)})
    async with Worker(queue, wait, name='a', heartbeat=1000):
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        assert await client.zrange(f'{base}workers', 0, -1) == [b'a']
    assert not await client.exists(f'{base}workers')


@pytest.mark.parametrize('ahead', [-1e6, 1e6])
async def test_the_clock_of_a_worker_does_not_matter(
    queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    base = queue.keys['pending'].removesuffix('pending')
    async with Worker(queue, wait, name='right', heartbeat=0.5):
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        clock = time.time
        with monkeypatch.context() as patch:
            patch.setattr(time, 'time', lambda: clock() + ahead)
            beats: list[str] = []
            beat = Heart.beat

            async def count(heart: Heart, health: WorkerHealth) -> None:
                await beat(heart, health)
                beats.append(health.name)

            patch.setattr(Heart, 'beat', count)
            async with Worker(queue, wait, name='wrong', heartbeat=0.01):
                await until(lambda: beats.count('wrong') > 3)
                names: Any = await client.zrange(f'{base}workers', 0, -1)
                assert sorted(names) == [b'right', b'wrong']
                # On a busy machine the one with the short interval may miss three beats.
                while [each.name for each in await get_workers(queue)] != ['right', 'wrong']:
                    await asyncio.sleep(0.005)
        assert [each.name for each in await get_workers(queue)] == ['right']


async def test_a_worker_that_beats_often_does_not_hide_one_that_beats_seldom(queue: Torrelque) -> None:
    async with Worker(queue, wait, name='seldom', heartbeat=60):
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        async with Worker(queue, wait, name='often', heartbeat=0.005):
            beats: set[float] = set()
            # More than the seldom one has missed, by the measure of the other.
            while len(beats) < 50:
                found = {each.name: each for each in await get_workers(queue)}
                assert 'seldom' in found
                beats |= {found['often'].seen} if 'often' in found else set()
        # By then what the other wrote last has outlived its time.
        await asyncio.sleep(0.1)
        assert [each.name for each in await get_workers(queue)] == ['seldom']


@pytest.mark.parametrize(
    'odd',
    [
        b'{"name": "odd", "state": "running", "colour": "red"}', b'{"name": "odd", "running": [{"id": 1}, 2]}',
        b'{"state": 1, "name": null}', b'[]', b'null', b'"odd"', b'3', b'\xff', b'', b'not JSON', b'[' * 100_000,
        b'{"name": "odd", "pid": "x", "host": 3, "queues": {}, "running": 5, "started": true, "seen": "now"}', None,
    ],
)  # fmt: skip
async def test_one_odd_heart_hides_no_other(
    queue: Torrelque, client: redis.asyncio.Redis, odd: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    base = queue.keys['pending'].removesuffix('pending')
    await client.zadd(f'{base}workers', {b'odd': 0, b'\xff': 0})
    if odd is None:
        await client.lpush(f'{base}worker:odd', 'of another kind')
    else:
        await client.set(f'{base}worker:odd', odd)
    async with Worker(queue, wait, name='fine', heartbeat=0.5) as worker:
        while 'fine' not in (names := [each.name for each in await get_workers(queue)]):
            await asyncio.sleep(0.005)
        readable = odd is not None and odd.startswith(b'{') and b'"odd"' in odd
        assert names == (['fine', 'odd'] if readable else ['fine'])
        assert ('odd' in caplog.text) == (odd is not None and not readable)
        assert {each.name: each.healthy for each in await get_workers(queue)}['fine'] == worker.health().healthy


def of_another(text: dict[str, Any]) -> dict[str, Any]:
    """Health as another version tells it: of what is new it knows nothing, and something else besides."""
    text.pop('hanging')
    text['running'][0].pop('attempt')
    return {**text, 'mood': 'good'}


async def test_what_another_version_tells_is_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    base = queue.keys['pending'].removesuffix('pending')
    task_id = await queue.enqueue(1)
    async with Worker(queue, wait, name='mine', shutdown_timeout=0) as worker:
        await until(lambda: worker.health().running)
        health = worker.health()
    text = {**health._asdict(), 'running': [task._asdict() for task in health.running]}
    await client.set(f'{base}worker:mine', json.dumps(of_another(text)))
    await client.zadd(f'{base}workers', {'mine': 1})
    (told,) = await get_workers(queue)
    assert [(task.id, task.attempt, task.name) for task in told.running] == [(task_id, 0, '')]
    assert told == health._replace(running=told.running)


async def test_the_heart_needs_no_connection_of_the_client(server: RealServer, queue_name: str) -> None:
    async with server.client(max_connections=1, decode_responses=True) as few, few.pipeline() as pipeline:
        # The one that the pool has is taken.
        await pipeline.watch('x')
        async with Torrelque(few, queue=queue_name) as queue:
            async with Worker(queue, wait, name='a', heartbeat=0.05):
                while not await get_workers(queue):
                    await asyncio.sleep(0.005)
            assert await get_workers(queue) == []


async def test_the_heart_beats_beside_an_application_with_the_same_client(
    server: RealServer, client: redis.asyncio.Redis, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.client() as own:
        # A connection of its pool belongs to this loop.
        await own.ping()
        worker = ThreadWorker(Torrelque(own, queue=queue_name), wait, name='a', heartbeat=0.02)
        await asyncio.to_thread(worker.start)
        async with Torrelque(client, queue=queue_name) as queue:
            while not await get_workers(queue):
                await own.incr('own')
            await asyncio.to_thread(worker.stop)
            await own.incr('own')
            assert await get_workers(queue) == []
    assert caplog.text == ''


async def test_a_heartbeat_whose_cancellation_is_swallowed_ends_with_its_worker(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def swallow(heart: Heart, health: WorkerHealth) -> None:
        # As the client library does at some moments.
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    monkeypatch.setattr(Heart, 'beat', swallow)
    before = asyncio.all_tasks()
    async with Worker(queue, wait, heartbeat=60):
        await begun.wait()
    assert asyncio.all_tasks() == before


class Swallowing(Torrelque):
    """A queue whose commands take a cancellation for nothing, once each."""

    begun = 0

    async def command(self, *words: Any) -> Any:
        self.begun += 1
        call = asyncio.ensure_future(super().command(*words))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.02)
        return await call


async def test_a_heart_ends_whoever_swallows_its_cancellation(
    server: RealServer, client: redis.asyncio.Redis, queue_name: str
) -> None:
    async with Swallowing(client, queue=queue_name) as queue:
        before = asyncio.all_tasks()
        for _ in range(20):
            begun = queue.begun
            async with Worker(queue, wait, heartbeat=0.01):
                await until(lambda begun=begun: queue.begun > begun)  # type: ignore[misc]
            assert asyncio.all_tasks() == before
            assert await nothing_left(client, queue, counted=True)


async def test_a_run_that_is_cancelled_twice_leaves_no_heart(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    worker = Worker(queue, wait, heartbeat=0.01)
    running = asyncio.ensure_future(worker.run())
    while not await get_workers(queue):
        await asyncio.sleep(0.005)
    while not running.done():
        running.cancel()
        await asyncio.sleep(0)
    assert running.cancelled()
    await until_free(client, queue, counted=True)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == 'torrelque heart']


async def test_the_last_of_a_heart_is_its_goodbye(
    proxy: Proxy, client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue.name) as mine:
        worker = Worker(mine, wait, name='a', heartbeat=0.01)
        running = asyncio.ensure_future(worker.run())
        while not await get_workers(queue):
            await asyncio.sleep(0.005)
        gate = proxy.hold_request(b'"state": "running"')
        await gate.arrived.wait()
        # A beat is on its way, and its server away: the end does not wait for either.
        worker.stop()
        await asyncio.wait_for(running, 60)
        assert 'could not be ended' in caplog.text
        gate.open()
        while await client.zcard(queue.keys['pending'].removesuffix('pending') + 'workers'):
            await asyncio.sleep(0.005)
        assert await get_workers(queue) == []
        assert not await client.exists(queue.keys['pending'].removesuffix('pending') + 'worker:a')


async def test_a_server_that_is_away_keeps_no_heart_from_beating_elsewhere(
    proxy: Proxy, queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue.name + '-frozen') as frozen:
        beats: list[float] = []
        async with Worker([frozen, queue], wait, heartbeat=0.02):
            while not await get_workers(queue):
                await asyncio.sleep(0.005)
            proxy.silent = True
            while len(beats) < 50:
                for health in await get_workers(queue):
                    if health.seen not in beats:
                        beats.append(health.seen)
                await asyncio.sleep(0.005)
            proxy.silent = False
            proxy.cut()


async def test_a_heartbeat_that_fails_does_not_end_the_worker(
    queue: Torrelque, client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await client.set(queue.keys['pending'].removesuffix('pending') + 'workers', 'rubbish')

    async def handle(delivery: Delivery) -> None: ...

    async with Worker(queue, handle, heartbeat=0.05) as worker:
        await until(lambda: 'heartbeat could not be written' in caplog.text)
        await queue.enqueue(1)
        await until(lambda: worker.health().succeeded == 1)
