"""The beats of workers: what they write by the server's time, once each, whatever happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

from support.beating import beat, calls_of_script, counts, done, handle
from support.bounding import Bound
from support.processes import running
from support.proxy import Proxy
from support.refusing import alone
from support.servers import MakeServer, RealServer
from support.waiting import until
from torrelque import Torrelque, TorrelqueServerError
from torrelque.operate import crew, records
from torrelque.worker import Delivery, Worker, get_workers
from torrelque.worker.scripts import _load

pytestmark = pytest.mark.first_server

__all__ = ['alone']

CHILD = Path(__file__).parent / 'hearts_child.py'


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


async def test_a_worker_that_goes_takes_nothing_from_the_next_one_of_its_name(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    heart = f'{queue.keys["worker"]}:a'
    await beat(queue, number=1, start='old', functions={'f': counts(10)})
    await beat(queue, number=1, start='new', functions={'f': counts(5)})
    # The old one's beat is sent again, with the next one and with its goodbye: each counts once, and the new one stays.
    assert (await beat(queue, number=1, start='old', functions={'f': counts(10)}))[0] == b'again'
    assert (await beat(queue, number=2, start='old', functions={'f': counts(3)}))[0] == b'ok'
    assert (await beat(queue, number=3, start='old', state='', functions={'f': counts(2)}))[0] == b'ok'
    assert (await beat(queue, number=3, start='old', state='', functions={'f': counts(2)}))[0] == b'again'
    assert (await client.hget(heart, 'number'), await client.zscore(queue.keys['workers'], 'a') is None) == (
        b'new.1', False
    )  # fmt: skip
    assert await done(queue) == 20
    assert (await beat(queue, number=2, start='new', state=''))[0] == b'ok'
    assert not await client.exists(heart, queue.keys['workers'])


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
    assert lost.why is not None and re.fullmatch(r'silent for \d+ s, without a goodbye', lost.why)
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


async def test_the_names_stay_as_long_as_the_heart_that_is_kept_for_longest(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await beat(queue, 'seldom', heartbeat=2_000_000)
    await beat(queue, 'often', heartbeat=100)
    assert 7_000_000 < await client.pttl(queue.keys['workers']) <= 8_000_000


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


# Servers that refuse


async def test_a_server_without_memory_refuses_a_beat_as_a_whole_and_hears_goodbyes(
    alone: tuple[redis.asyncio.Redis, Torrelque]
) -> None:
    client, queue = alone
    await client.config_set('maxmemory-policy', 'noeviction')
    await beat(queue, functions={'f': counts()})
    keys = [key for key in await client.keys('*') if key != queue.keys['sampled'].encode() and b':claim:' not in key]
    before = {key: await client.dump(key) for key in keys}
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
