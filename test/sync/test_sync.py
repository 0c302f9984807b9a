"""The synchronous queue: each verb beside the asynchronous one, clients of all sorts, threads."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio

import torrelque
import torrelque.sync
from support.servers import RealServer
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueTaskId, read_outcome


@pytest.fixture
def sync(server: RealServer, queue_name: str) -> Iterator[torrelque.sync.Torrelque]:
    with server.sync_client() as client, torrelque.sync.Torrelque(client, queue=queue_name) as queue:
        yield queue


async def test_tasks_go_from_one_to_the_other(
    client: redis.asyncio.Redis, queue: Torrelque, sync: torrelque.sync.Torrelque
) -> None:
    task_id = await queue.enqueue(1)
    taken, task = await asyncio.to_thread(sync.dequeue)
    assert (taken, task, taken.attempt) == (task_id, 1, 1)
    assert await queue.release(taken)
    while not await nothing_left(client, queue):
        await asyncio.sleep(0.001)

    task_id = await asyncio.to_thread(sync.enqueue, 2)
    taken, task = await queue.dequeue()
    assert (taken, task) == (task_id, 2)
    assert await asyncio.to_thread(sync.release, taken)
    while not await nothing_left(client, queue):
        await asyncio.sleep(0.01)


async def test_many_go_in_and_out(
    client: redis.asyncio.Redis, queue: Torrelque, sync: torrelque.sync.Torrelque
) -> None:
    ids = await asyncio.to_thread(sync.enqueue_many, ({'n': n, 'x': 'x' * 5000} for n in range(1000)))
    assert len(ids) == 1000 and type(ids[0]) is TorrelqueTaskId
    taken = await asyncio.to_thread(sync.dequeue, max_tasks=699)
    taken += await asyncio.to_thread(sync.dequeue_many, 1)
    assert [task['n'] for _, task in taken] == list(range(700))
    rest = await asyncio.to_thread(sync.dequeue_many, 700, 0)
    assert len(rest) == 300
    assert all(await asyncio.to_thread(sync.touch_many, (task_id for task_id, _ in taken)))
    assert all(await asyncio.to_thread(sync.release_many, [task_id for task_id, _ in taken + rest]))
    assert await nothing_left(client, queue)


async def test_a_large_task_is_sent_whole(sync: torrelque.sync.Torrelque) -> None:
    task = 'x' * 20_000_000
    await asyncio.to_thread(sync.enqueue, task)
    assert (await asyncio.to_thread(sync.dequeue))[1] == task


async def test_an_iterable_that_fails_tells_what_is_in(
    client: redis.asyncio.Redis, queue: Torrelque, sync: torrelque.sync.Torrelque
) -> None:
    def tasks() -> Iterator[int]:
        yield from range(600)
        raise ValueError('enough')

    with pytest.raises(torrelque.TorrelqueBulkError) as caught:
        await asyncio.to_thread(sync.enqueue_many, tasks())
    assert isinstance(caught.value.__cause__, ValueError)
    assert len(caught.value.task_ids) == 600 == (await queue.get_queue_stats()).tasks


async def test_nothing_is_sent_behind_a_gap(server: RealServer, queue: Torrelque, queue_name: str) -> None:
    with server.sync_client() as client, torrelque.sync.Torrelque(client, queue=queue_name, max_tasks=300) as sync:
        seen = []

        def tasks() -> Iterator[int]:
            for n in range(2000):
                seen.append(n)
                yield n

        with pytest.raises(torrelque.TorrelqueBulkError) as caught:
            await asyncio.to_thread(sync.enqueue_many, tasks())
        assert isinstance(caught.value.__cause__, torrelque.TorrelqueFullError)
        assert len(caught.value.task_ids) == 300 == (await queue.get_queue_stats()).tasks
        assert len(seen) == 500


def test_wrong_clients_are_refused() -> None:
    with redis.Redis() as client:
        wrong: Any
        for wrong in (redis.asyncio.Redis(), None, 'redis://', redis.Redis, client.pipeline()):
            with pytest.raises(torrelque.TorrelqueTypeError, match=r'takes a redis\.Redis or redis\.RedisCluster'):
                torrelque.sync.Torrelque(wrong)
        for options in ({'queue': ''}, {'serialiser': 3}, {'max_tasks': 0}):
            with pytest.raises(torrelque.TorrelqueError):
                torrelque.sync.Torrelque(client, **options)


async def test_a_closed_queue_does_nothing(
    client: redis.asyncio.Redis, queue: Torrelque, sync: torrelque.sync.Torrelque
) -> None:
    sync.close()
    sync.close()
    for call in (lambda: sync.enqueue(1), lambda: sync.dequeue(0), lambda: sync.enqueue_many([]), sync.sweep):
        with pytest.raises(torrelque.TorrelqueClosedError):
            call()
    assert await nothing_left(client, queue)


@pytest.mark.parametrize('decode', [False, True])
def test_an_order_and_its_task_are_written_together(server: RealServer, queue_name: str, decode: bool) -> None:
    with server.sync_client(decode_responses=decode) as client:
        with torrelque.sync.Torrelque(client, queue=queue_name) as queue:
            with client.pipeline() as pipe:
                pipe.set('order:1', 'book')
                task_id = queue.enqueue({'order': 1}, pipeline=pipe)
                assert queue.get_queue_stats().tasks == 0
                assert read_outcome(pipe.execute()[1]) is True
            taken, task = queue.dequeue()
            assert (taken, task) == (task_id, {'order': 1})
            with client.pipeline() as pipe:
                assert queue.release(taken, pipeline=pipe) is None
                assert queue.requeue('nobody', pipeline=pipe) is None
                assert [read_outcome(result) for result in pipe.execute()] == [True, False]
            with client.pipeline() as pipe:
                pipe.watch('order:1')
                with pytest.raises(torrelque.TorrelqueError, match=r'multi\(\) first'):
                    queue.enqueue(2, pipeline=pipe)
            with redis.Redis() as other, other.pipeline() as pipe:
                with pytest.raises(torrelque.TorrelqueError, match='of the same client'):
                    queue.enqueue(2, pipeline=pipe)
            with pytest.raises(torrelque.TorrelqueTypeError, match='pipeline'):
                queue.enqueue(2, pipeline=client)
            assert queue.get_queue_stats().tasks == 0


async def test_any_number_of_threads_share_an_object(
    client: redis.asyncio.Redis, queue: Torrelque, sync: torrelque.sync.Torrelque
) -> None:
    done = []

    def consume() -> None:
        while (delivery := sync.dequeue())[1] is not None:
            done.append(delivery[1])
            assert sync.release(delivery[0])
        assert sync.release(delivery[0])

    def produce(k: int) -> None:
        for n in range(100):
            sync.enqueue([k, n])

    with ThreadPoolExecutor(20) as pool:
        consumers = [pool.submit(consume) for _ in range(10)]
        for future in [pool.submit(produce, k) for k in range(10)]:
            await asyncio.wrap_future(future)
        for _ in consumers:
            sync.enqueue(None)
        for future in consumers:
            await asyncio.wrap_future(future)
    assert sorted(done) == [[k, n] for k in range(10) for n in range(100)]
    assert await nothing_left(client, queue)


async def test_queues_of_one_client_share_connections(server: RealServer, client: redis.asyncio.Redis) -> None:
    with server.sync_client(client_name='shared') as sync_client:
        for n in range(5):
            torrelque.sync.Torrelque(sync_client, queue=f'q{n}').enqueue(1)
        assert sum(c['name'] == 'shared' for c in await client.client_list()) == 1
        last = torrelque.sync.Torrelque(sync_client, queue='last')
        with torrelque.sync.Torrelque(sync_client, queue='other') as other:
            other.enqueue(1)
        assert sum(c['name'] == 'shared' for c in await client.client_list()) == 1
        last.enqueue(1)
        last.close()
        while any(c['name'] == 'shared' for c in await client.client_list()):
            await asyncio.sleep(0.01)


async def test_a_client_that_is_forgotten_takes_its_connections_along(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    sync_client = server.sync_client(client_name='forgotten')
    torrelque.sync.Torrelque(sync_client).enqueue(1)
    assert sum(c['name'] == 'forgotten' for c in await client.client_list()) == 1
    sync_client.close()
    del sync_client
    while any(c['name'] == 'forgotten' for c in await client.client_list()):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize('options', [{'db': 3}, {'single_connection_client': True}, {'max_connections': 1}])
async def test_options_of_clients(server: RealServer, options: dict[str, Any]) -> None:
    with server.sync_client(**options) as client, torrelque.sync.Torrelque(client) as queue:
        queue.enqueue(1)
        assert client.exists(queue.keys['pending'])
        assert queue.release(queue.dequeue()[0])


def test_limits_without_end_are_read_as_they_were_set(sync: torrelque.sync.Torrelque) -> None:
    sync.set_limit('g', concurrency=math.inf, rate=math.inf)
    assert sync.get_limits() == {'g': (math.inf, math.inf)}


def test_threads_wait_side_by_side(sync: torrelque.sync.Torrelque) -> None:
    got = []
    threads = [threading.Thread(target=lambda: got.append(sync.dequeue(60)[1])) for _ in range(5)]
    for thread in threads:
        thread.start()
    for n in range(5):
        sync.enqueue(n)
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(5))


def test_a_command_goes_over_a_connection_of_the_queue(sync: torrelque.sync.Torrelque) -> None:
    own = sync.keys['pending'].removesuffix('pending') + 'own'
    assert sync.command('SET', own, 1) == b'OK'
    assert sync.command('INCR', own) == 2
    assert sync.command('DEL', own) == 1
    with pytest.raises(torrelque.TorrelqueTypeError):
        sync.command('GET', None)  # type: ignore[arg-type]
