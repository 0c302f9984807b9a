"""Kinds of clients, of servers, and names of queues."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.exceptions

import torrelque
from support.servers import MakeServer, RealServer
from support.topology import Cluster, Sentinel
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.protocol.keys import FIXED

pytestmark = pytest.mark.first_server


async def live(queue: Torrelque) -> None:
    """A short life of a queue, with each verb."""
    task_id = await queue.enqueue({'a': 'ü'}, task_id='own ü')
    with pytest.raises(torrelque.TorrelqueDuplicateError):
        await queue.enqueue(1, task_id='own ü')
    taken, task = await queue.dequeue(60)
    assert (taken, task) == (task_id, {'a': 'ü'})
    assert await queue.touch(taken, progress=[1])
    assert await queue.requeue(taken, 0.05, error='ö')
    state = await queue.get_task_state(task_id)
    assert (state.status, state.progress, state.error) == (Status.DELAYED, [1], 'ö')
    taken, _ = await queue.dequeue(60)
    assert await queue.bury(taken)
    assert await queue.redrive() == 1
    taken, _ = await queue.dequeue(60)
    assert await queue.release(taken, result={'b': None})
    assert (await queue.get_task_state(task_id)).result == {'b': None}
    ids = await queue.enqueue_many(range(300))
    assert await queue.cancel(ids[0])
    got = await queue.dequeue(60, max_tasks=300)
    assert [n for _, n in got] == list(range(1, 300))
    assert all(await queue.release_many([task_id for task_id, _ in got]))
    assert await queue.sweep() == (0, 0, 0, 0)
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize('protocol', [2, 3])
@pytest.mark.parametrize('decode_responses', [False, True])
async def test_protocols_and_decoding(server: RealServer, protocol: int, decode_responses: bool) -> None:
    async with server.client(protocol=protocol, decode_responses=decode_responses) as client:
        async with Torrelque(client) as queue:
            await live(queue)


@pytest.mark.parametrize(
    'options',
    [
        {'db': 5},
        {'socket_timeout': 1},
        {'socket_timeout': None},
        {'max_connections': 1},
        {'retry': redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0)},
        {'retry': redis.asyncio.retry.Retry(redis.backoff.ConstantBackoff(0.1), 50)},
        {'single_connection_client': True},
        {'client_name': 'me'},
        {'health_check_interval': 1},
        {'encoding': 'latin-1', 'decode_responses': True},
    ],
    ids=lambda options: '-'.join(options),
)
async def test_options_of_clients(server: RealServer, options: dict[str, Any]) -> None:
    async with server.client(**options) as client:
        async with Torrelque(client) as queue:
            await live(queue)
        assert await client.ping()
        if 'db' in options:
            async with server.client() as other:
                assert await other.keys('*') == []


async def test_pools_and_urls(make_server: MakeServer) -> None:
    server = make_server(tcp=True)
    url = f'redis://127.0.0.1:{server.port}/3'
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=2, timeout=60)
    for client in (redis.asyncio.Redis(connection_pool=pool), redis.asyncio.from_url(url)):
        async with client, Torrelque(client) as queue:
            await live(queue)
            await client.flushdb()
        await client.aclose()
    await pool.disconnect()


@pytest.mark.parametrize(
    'name', ['with space', 'a:b:c', 'очередь', '{tag}mail', 'x{tag}mail', 'open{', '"\'\\', 'a\nb', '*?[a]', '日本']
)
async def test_names_of_queues(client: redis.asyncio.Redis, name: str) -> None:
    async with Torrelque(client, queue=name) as queue, Torrelque(client, queue=f'{name}2') as other:
        await queue.enqueue(1)
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await other.dequeue(0)
        assert (await queue.dequeue(0))[1] == 1
        await client.flushdb()
        await live(queue)


def slots(queue: Torrelque) -> set[int]:
    return {redis.crc.key_slot(key.encode()) for key in queue.keys.values()}


@pytest.mark.parametrize('name', ['mail', 'a{b', '{tag}mail', 'x{tag}y', 'ü ö'])
async def test_all_keys_of_a_queue_are_in_one_slot(client: redis.asyncio.Redis, name: str) -> None:
    assert len(slots(Torrelque(client, queue=name))) == 1


@pytest.mark.parametrize('name', ['', 'a}b', '}', '{}', '{}x', '{}{x}', 'a{}b', '\ud800', None, b'x', 3])
async def test_bad_names_are_refused(client: redis.asyncio.Redis, name: Any) -> None:
    with pytest.raises(torrelque.TorrelqueError) as caught:
        Torrelque(client, queue=name)
    assert isinstance(caught.value, (ValueError, TypeError))


def test_wrong_clients_are_refused(server: RealServer) -> None:
    with redis.Redis() as sync:
        client: Any
        for client in (sync, None, 'redis://', redis.asyncio.Redis, redis.asyncio.Redis().pipeline()):
            with pytest.raises(TypeError, match=r'redis\.asyncio') as caught:
                Torrelque(client)
            assert isinstance(caught.value, torrelque.TorrelqueError)


async def test_a_cluster(cluster: Cluster) -> None:
    async with cluster.client() as client:
        for name in ('one', 'two', 'three', 'four'):
            async with Torrelque(client, queue=name) as queue:
                await live(queue)


async def test_a_plain_client_on_a_cluster_is_told(cluster: Cluster) -> None:
    refused = 0
    for port in cluster.ports:
        async with redis.asyncio.Redis(port=port) as client, Torrelque(client) as queue:
            try:
                await queue.enqueue(1)
            except torrelque.TorrelqueError as exc:
                assert 'RedisCluster' in str(exc)
                refused += 1
    assert refused == 2


async def test_a_slot_that_moves_loses_nothing(cluster: Cluster) -> None:
    async with cluster.client() as client, Torrelque(client, queue='moving') as queue:
        slot = cluster.slot_of(queue.keys['pending'])
        done = []

        async def consume() -> None:
            while True:
                task_id, n = await queue.dequeue()
                if await queue.release(task_id):
                    done.append(n)

        async def produce() -> None:
            for n in range(600):
                await queue.enqueue(n, task_id=f'n{n}')

        consumers = [asyncio.ensure_future(consume()) for _ in range(5)]
        producer = asyncio.ensure_future(produce())
        for _ in range(3):
            await asyncio.sleep(0.1)
            to = (cluster.owner_of(slot) + 1) % 3
            await asyncio.to_thread(cluster.begin_move, slot, to)
            await asyncio.sleep(0.1)
            await asyncio.to_thread(cluster.finish_move, slot, to)
        await producer
        while (await queue.get_queue_stats()).tasks:
            await asyncio.sleep(0.01)
        for consumer in consumers:
            consumer.cancel()
        await asyncio.wait(consumers)
        assert sorted(done) == list(range(600))


async def test_a_half_moved_slot_stops_scripts_before_they_begin(cluster: Cluster) -> None:
    async with cluster.client() as client, Torrelque(client, queue='half') as queue:
        slot = cluster.slot_of(queue.keys['pending'])
        ids = await queue.enqueue_many(range(20))
        to = (cluster.owner_of(slot) + 1) % 3
        await asyncio.to_thread(
            lambda: cluster.begin_move(slot, to, keys=[f'{queue.keys["task"]}:{ids[0]}', queue.keys['tasks']])
        )
        call = asyncio.ensure_future(queue.dequeue(max_tasks=20))
        await asyncio.sleep(0.3)
        assert not call.done()
        await asyncio.to_thread(cluster.finish_move, slot, to)
        assert [n for _, n in await call] == list(range(20))
        assert await queue.get_queue_stats() == (20, 0, 20, 0, 0, 0)


@pytest.mark.first_server
async def test_a_failover_is_survived(sentinel: Sentinel) -> None:
    client = sentinel.master_for()
    async with Torrelque(client) as queue:
        await queue.enqueue('before')
        assert (await queue.dequeue())[1] == 'before'
        waiting = asyncio.ensure_future(queue.dequeue())
        await client.wait(1, 1000)
        await asyncio.to_thread(sentinel.kill_primary)
        await queue.enqueue('after')
        task_id, task = await waiting
        assert task == 'after'
        assert await queue.release(task_id)
    await client.aclose()


async def test_a_half_moved_slot_stops_scripts_where_all_keys_of_the_queue_are_there(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster.client() as client, Torrelque(client, queue='half') as queue:
        await queue.set_limit('g', concurrency=5)
        await queue.pause('nobody', probe=1000)
        await queue.enqueue_many(range(3))
        await queue.bury((await queue.dequeue())[0], tell_after=60)
        await queue.dequeue()
        await queue.enqueue(1, priority=-1)
        await queue.enqueue_many(range(2), group='g')
        await queue.enqueue(1, group='g', delay=60)
        await client.zadd(queue.keys['rated'], {'nobody': 4e12})
        await client.sadd(queue.keys['holes'], 'nobody')
        await queue.set_schedule('s', 1, every=3600)
        await client.zadd(queue.keys['waiting'], {'nobody': 4e12})
        await client.rpush(queue.keys['spread'], '["", "nobody", "gate", 0]')
        await client.zadd(queue.keys['away'], {'nobody': 4e12})
        await client.zadd(queue.keys['outbox'], {'nobody': 4e12})
        await client.hset(queue.keys['guests'], 'nobody', '["home", "f", "1", "0"]')
        await client.hset(queue.keys['growth'], 'nobody', '1')
        await client.hset(queue.keys['stage'], 'nobody', '{}')
        assert [name for name in FIXED if not await client.exists(queue.keys[name])] == ['never']

        slot = cluster.slot_of(queue.keys['pending'])
        to = (cluster.owner_of(slot) + 1) % 3
        task_id: Any
        (task_id,) = await client.lrange(queue.keys['pending'], 0, -1)
        state = f'{queue.keys["task"]}:{task_id.decode()}'
        await asyncio.to_thread(lambda: cluster.begin_move(slot, to, keys=[state]))
        call = asyncio.ensure_future(queue.dequeue(max_tasks=10))
        await asyncio.sleep(0.3)
        assert not call.done()
        await asyncio.to_thread(cluster.finish_move, slot, to)
        assert len(await call) == 4
        assert not any('damaged' in record.getMessage() for record in caplog.records)


async def test_a_slot_that_has_moved_is_found_where_it_is(cluster: Cluster) -> None:
    async with cluster.client() as client, Torrelque(client, queue='moved') as queue:
        await queue.enqueue(1)
        slot = cluster.slot_of(queue.keys['pending'])
        to = (cluster.owner_of(slot) + 1) % 3
        await asyncio.to_thread(cluster.begin_move, slot, to)
        await asyncio.to_thread(cluster.finish_move, slot, to)
        assert (await asyncio.wait_for(queue.dequeue(), 60))[1] == 1
