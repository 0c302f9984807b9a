"""Watching without notifications: what is promised all the same, and replies that make no sense."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support import watching
from support.bounding import Bound
from support.proxy import Proxy
from support.reading import until_mode, until_settled, warnings_of
from support.servers import MakeServer, RealServer
from support.topology import Cluster, Sentinel
from support.watching import READ, begin, channels, reads_of, statuses
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.aio.setting import NAME, Mode
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.replies import read_states
from torrelque.tasks import Tasks
from torrelque.worker import Worker

# The ordinary run has these tests on one kind of server, and the long one on all.
pytestmark = pytest.mark.long

still, faulty, fast, as_it_is = watching.still, watching.faulty, watching.fast, watching.as_it_is


@pytest.fixture
def server(plain_server: RealServer) -> RealServer:
    """One that sends no notifications."""
    return plain_server


@pytest.fixture
def never(bound: Bound) -> None:
    """No second look at anything."""
    bound(paces=(3600,) * len(BOUNDS.paces))


@pytest.fixture
def at_once(bound: Bound) -> None:
    """Looks follow each other without a pause."""
    rates = dict.fromkeys(('idle_looks_per_second', 'looks_per_second', 'look_bytes_per_second'), 10**12)
    bound(paces=(0,) * len(BOUNDS.paces), min_look=0, **rates)


# What is promised all the same


async def test_an_end_just_before_the_timeout_is_seen(never: None, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    waiting = asyncio.ensure_future(queue.wait(task_id, timeout=0.5))
    watched, _ = await begin(queue, task_id, timeout=0.5)
    await until_settled(queue)
    taken, _ = await queue.dequeue()
    await queue.release(taken, result='r')
    assert (await waiting).result == 'r'
    assert await statuses(watched) == [Status.COMPLETED]


async def test_an_id_that_is_enqueued_again_between_two_looks_is_another_task(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await queue.enqueue(1, task_id='own')
    watched, _ = await begin(queue, 'own')
    # A read that is on its way brings all of the state; only looks bring a few fields.
    await until_settled(queue)
    async with client.pipeline(transaction=True) as pipeline:
        for name in ('task', 'tasks', 'pending'):
            pipeline.delete(queue.keys[name] + (':own' if name == 'task' else ''))
        await queue.enqueue(2, task_id='own', pipeline=pipeline)
        await pipeline.execute()
    assert await asyncio.wait_for(statuses(watched), 20) == []
    assert (await begin(queue, 'own'))[1].status is Status.PENDING


async def test_a_fresh_watch_does_not_wait_for_the_looks_at_others(
    at_once: None, proxy: Proxy, faulty: Torrelque, queue: Torrelque
) -> None:
    ids = await queue.enqueue_many(range(3000))
    watched = await asyncio.gather(*[begin(faulty, task_id) for task_id in ids])
    for _ in range(5):
        task_id = await queue.enqueue(1)
        before = reads_of(proxy)
        await begin(faulty, task_id)
        # One that was on its way, its own, and what went out before it was heard.
        assert reads_of(proxy) - before <= 5
    del watched


async def test_a_change_of_one_among_many_is_seen(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(10_000))
    watched = [queue.watch(task_id) for task_id in ids]
    await asyncio.gather(*map(anext, watched))
    waiting = [asyncio.ensure_future(queue.wait(task_id)) for task_id in ids[:10]]
    taken = await queue.dequeue(max_tasks=10)
    await queue.release_many([task_id for task_id, _ in taken], result_ttl=60)
    states = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert {state.status for state in states} == {Status.COMPLETED}
    assert queue._session is not None
    assert queue._session.hub._schedule.when() is not None
    del watched


async def test_large_progress_is_looked_at_in_several_calls(queue: Torrelque) -> None:
    await queue.enqueue_many(range(7))
    taken = await queue.dequeue(max_tasks=7)
    watched = []
    for n, (task_id, _) in enumerate(taken):
        await queue.touch(task_id, progress=str(n) * 400_000)
        watched.append((await begin(queue, task_id))[0])
    await queue.release_many([task_id for task_id, _ in taken], result_ttl=60)
    for each in watched:
        assert (await asyncio.wait_for(statuses(each), 20))[-1] is Status.COMPLETED


async def test_looks_go_on_when_the_server_is_back(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server({NAME: '""', 'appendfsync': 'always'}, directory=tmp_path)
    async with server.client() as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        taken, _ = await queue.dequeue()
        watched, _ = await begin(queue, task_id)
        await until_mode(queue, Mode.READING)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        await queue.release(taken, result=1)
        assert await asyncio.wait_for(statuses(watched), 20) == [Status.COMPLETED]


async def test_looks_follow_a_slot_of_a_cluster(as_it_is: None, cluster: Cluster) -> None:
    for node in cluster.nodes:
        async with node.client() as direct:
            await direct.config_set(NAME, '')
    try:
        async with cluster.client() as client, Torrelque(client, queue='read') as queue:
            slot = cluster.slot_of(queue.keys['pending'])
            task_id = await queue.enqueue(1)
            watched, _ = await begin(queue, task_id)
            await until_mode(queue, Mode.READING)
            await asyncio.to_thread(cluster.move_slot, slot, (cluster.owner_of(slot) + 1) % 3)
            async with cluster.client() as other, Torrelque(other, queue='read') as consumer:
                await consumer.cancel(task_id)
            assert await asyncio.wait_for(statuses(watched), 20) == [Status.CANCELLED]
    finally:
        for node in cluster.nodes:
            async with node.client() as direct:
                await direct.config_set(NAME, 'KA')


@pytest.mark.long
async def test_watches_of_a_server_that_tells_follow_a_failover_to_one_that_does_not(
    as_it_is: None, sentinel: Sentinel
) -> None:
    async with sentinel.replica.client() as replica:
        await replica.config_set(NAME, '')
    client = sentinel.master_for()
    async with Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        watched, _ = await begin(queue, task_id)
        await until_mode(queue, Mode.TOLD)
        await client.wait(1, 1000)
        await asyncio.to_thread(sentinel.kill_primary)
        await asyncio.to_thread(sentinel.wait_failover)
        await asyncio.wait_for(until_mode(queue, Mode.READING), 60)
        taken, _ = await queue.dequeue()
        await queue.release(taken, result=1)
        assert (await asyncio.wait_for(statuses(watched), 20))[-1] is Status.COMPLETED
    await client.aclose()


async def test_results_and_cancellations_of_tasks_are_seen(queue: Torrelque) -> None:
    app = Tasks(queue)
    begun, ended = asyncio.Event(), []

    @app.task
    async def double(number: int) -> int:
        return number * 2

    @app.task
    async def sleep() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append('cancelled')
            raise

    serving = asyncio.ensure_future((worker := Worker(app)).run())
    assert await (await double.enqueue(21)).result(timeout=60) == 42
    handle = await sleep.enqueue()
    await begun.wait()
    # The lease is five minutes, and its renewal far away.
    await handle.cancel()
    while not ended:
        await asyncio.sleep(0.01)
    worker.stop()
    await serving


# What makes no sense

SENSELESS: list[bytes] = [
    *(b'$-1\r\n', b':7\r\n', b'+OK\r\n', b'*0\r\n', b'*1\r\n$2\r\nok\r\n', b'*2\r\n$2\r\nok\r\n:7\r\n', b'_\r\n'),
    *(b'*2\r\n$2\r\nno\r\n$6\r\nbroken\r\n', b'*2\r\n$2\r\nok\r\n*1\r\n-ERR no\r\n', b'%1\r\n$2\r\nok\r\n:5\r\n'),
    *(b'*2\r\n$2\r\nok\r\n*15\r\n' + b':1\r\n' * 15, b'*2\r\n$2\r\nok\r\n*4\r\n' + b'$1\r\n0\r\n' * 4),
]


@pytest.mark.parametrize('reply', SENSELESS)
@pytest.mark.first_server
async def test_states_that_make_no_sense_are_read_again(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, reply: bytes, bound: Bound
) -> None:
    task_id = await queue.enqueue(1)
    watched, _ = await begin(faulty, task_id)
    await until_mode(faulty, Mode.READING)
    for part in READ:
        proxy.spoil(part, reply)
    assert faulty._session is not None
    while faulty._session.hub._error is None:
        await asyncio.sleep(0.005)
    await queue.dequeue()
    proxy.calm()
    assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING
    for part in READ:
        proxy.spoil(part, reply)
    bound(repeat=0.5)
    with pytest.raises(torrelque.TorrelqueError, match='the reply of the server to state cannot be read'):
        await asyncio.wait_for(anext(watched), 20)


@pytest.mark.parametrize('reply', SENSELESS)
async def test_a_setting_that_makes_no_sense_is_none(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.spoil(NAME.encode(), reply)
    task_id = await queue.enqueue(1)
    watched, _ = await begin(faulty, task_id)
    await until_mode(faulty, Mode.READING)
    await queue.dequeue()
    assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING
    (warning,) = warnings_of(caplog)
    assert 'does not say' in warning


@pytest.mark.parametrize('reply', [b'rubbish\r\n', *SENSELESS, b'*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n'])
@pytest.mark.first_server
async def test_a_listener_that_hears_no_sense_is_made_anew(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, reply: bytes
) -> None:
    part = b'\nSUBSCRIBE\r'
    proxy.spoil(part, reply)
    task_id = await queue.enqueue(1)
    watched, _ = await begin(faulty, task_id)
    while b''.join(proxy.requests).count(part) < 3:
        await asyncio.sleep(0.01)
    assert faulty._session is not None
    assert faulty._session.hub._listener._senseless >= 2
    await queue.dequeue()
    assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING
    proxy.calm()
    while not await channels(queue.client):
        await asyncio.sleep(0.01)
    await watched.aclose()


def test_replies_that_make_no_sense_are_told() -> None:
    reply: Any
    long = [b'ok', [None, None], [None, None]]
    for reply in (None, 7, [], [b'ok'], {b'ok': []}, [b'ok', 7], [b'ok', [b'1']], [b'ok', [1, 2]], long):
        with pytest.raises(torrelque.TorrelqueError, match='cannot be read'):
            read_states(reply, 1, 2)
    assert read_states([b'ok', b'broken'], 1, 2) == [b'broken']
    assert read_states([b'ok', [None, b'1']], 2, 2) == [[None, b'1']]
