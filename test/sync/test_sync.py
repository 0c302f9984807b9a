"""The synchronous queue: each verb beside the asynchronous one, clients of all sorts, threads."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import itertools
import math
import os
import re
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
from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTaskStatus as Status, read_outcome

NO_SYNC = {'aclose', 'watch', 'wait', 'schedule_sweep', 'unschedule_sweep', 'sweep_interval'}

# A name, or a name with the number of the delivery whose id it is called with, arguments, options.
STORY: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ('enqueue', ('a',), {'task_id': 'a'}),
    ('enqueue', ('a',), {'task_id': 'a'}),
    ('enqueue', ({'b': [1, None]},), {'task_id': 'b', 'delay': 1000, 'max_attempts': 3, 'task_timeout': 7}),
    ('enqueue', ('c',), {'task_id': 'c', 'group': 'g', 'priority': -3}),
    ('enqueue', ('d',), {'task_id': 'd', 'priority': 5}),
    ('enqueue', (object(),), {}),
    ('enqueue', ('x',), {'delay': -1}),
    ('enqueue', ('x',), {'group': ''}),
    ('enqueue', ('x',), {'task_id': 3}),
    ('get_queue_stats', (), {}),
    ('get_task_state', ('b',), {}),
    ('get_task_state', ('nobody',), {}),
    ('groups', (), {}),
    ('set_limit', (), {'concurrency': 2}),
    ('set_limit', ('g',), {'concurrency': 3, 'rate': (10, 0.5)}),
    ('set_limit', ('g',), {'concurrency': 0}),
    ('get_limits', (), {}),
    ('get_group_stats', ('g',), {}),
    ('pause', ('g',), {}),
    ('get_group_stats', ('g',), {}),
    ('dequeue', (0,), {'max_tasks': 10}),
    ('resume', ('g',), {'probing': True}),
    ('resume', ('g',), {}),
    ('set_limit', ('g',), {}),
    ('set_limit', (), {}),
    ('dequeue', (0,), {}),
    ('dequeue', (0,), {}),
    ('dequeue', (-1,), {}),
    ('dequeue', (0,), {'max_tasks': 0}),
    ('dequeue_many', (0, 0), {}),
    ('dequeue_many', (1, -1), {}),
    ('touch', (0,), {'progress': {'done': 0.5}}),
    ('touch_many', ([0, 1, 'b', 'nobody'],), {'task_timeout': 60}),
    ('get_task_state', ('d',), {}),
    ('requeue', (0,), {'delay': 0, 'error': 'again', 'task_timeout': 9}),
    ('requeue', (0,), {}),
    ('release', (0,), {}),
    ('release', ('nobody',), {}),
    ('release', (1,), {'result': [1], 'result_ttl': 100, 'status': Status.REJECTED}),
    ('release', (1,), {'status': Status.PENDING}),
    ('get_task_state', ('a',), {}),
    ('dequeue', (0,), {'max_tasks': 5}),
    ('bury', (3,), {'error': 'no'}),
    ('redrive', (), {'limit': 0}),
    ('redrive', (), {}),
    ('redrive', ('nobody', 'd'), {}),
    ('dequeue', (0,), {}),
    ('cancel', ('d',), {}),
    ('touch', (4,), {}),
    ('release', (4,), {}),
    ('cancel', ('b',), {}),
    ('cancel', ('b',), {}),
    ('release_many', ([2, 'b', 2],), {}),
    ('release_many', ('abc',), {}),
    ('sweep', (), {}),
    ('pause', (), {'probe': 60}),
    ('pause', (), {'probe': 0}),
    ('resume', (), {'probing': True}),
    ('resume', (), {}),
    ('enqueue', (5,), {'task_id': 'dies', 'max_attempts': 1, 'priority': 100}),
    ('dequeue', (0,), {}),
    ('requeue', (-1,), {'error': 'no more'}),
    ('take_deaths', (), {'again_after': 0}),
    ('acknowledge_deaths', ([-1],), {}),
    ('take_deaths', (0,), {}),
    ('acknowledge_deaths', (['dies'],), {}),
    ('acknowledge_deaths', ('dies',), {}),
    ('redrive', ('dies',), {}),
    ('dequeue', (0,), {}),
    ('bury', (-1,), {'tell_after': 0}),
    ('take_deaths', (), {'again_after': -1}),
    ('take_deaths', (1,), {}),
    ('cancel', ('dies',), {}),
    ('enqueue_many', (['e', 'f', 'e', object()],), {'group': lambda task: task, 'priority': 1}),
    ('enqueue_many', (3,), {}),
    ('get_queue_stats', (), {}),
)


def plain(value: object) -> str:
    """A reply, or the keys of a queue, without what differs from one run to the next."""
    text = re.sub(r'0x[0-9a-f]+', '0x', repr(value))
    # A mark may begin as a time does.
    text = re.sub(r'\b[0-9a-f]{15}\b', 'MARK', text)
    return re.sub(r'\b1\d{9,}(\.\d+)?\b', 'TIME', text)


async def dump(client: Any, prefix: str) -> dict[Any, Any]:
    """All keys of a queue with what is in them, but for records of claims, which go by themselves."""
    found = {}
    for key in sorted(await client.keys('*')):
        if not key.startswith(prefix.encode()) or key.startswith(f'{prefix}claim:'.encode()):
            continue
        kind = await client.type(key)
        read = {
            b'hash': client.hgetall,
            b'string': client.get,
            b'set': client.smembers,
            b'list': lambda key: client.lrange(key, 0, -1),
            b'zset': lambda key: client.zrange(key, 0, -1, withscores=True),
        }[kind]
        value = await read(key)
        found[key.decode().removeprefix(prefix)] = sorted(value.items()) if kind == b'hash' else value
    return found


def same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(os, 'urandom', lambda size: hashlib.sha1(b'%d' % next(numbers)).digest()[:size])


async def tell(queue: Any, call: Any, client: redis.asyncio.Redis) -> list[Any]:
    """What comes of each call of the story, and what is in the queue after it."""
    deliveries: list[Any] = []
    told: list[Any] = []

    def known(argument: Any) -> Any:
        if isinstance(argument, list):
            return [known(one) for one in argument]
        return deliveries[argument] if isinstance(argument, int) else argument

    for name, args, options in STORY:
        settles = name in ('touch', 'touch_many', 'requeue', 'release', 'release_many', 'bury')
        settles = settles or name == 'acknowledge_deaths'
        try:
            reply = await call(getattr(queue, name), *(map(known, args) if settles else args), **options)
        except torrelque.TorrelqueError as exc:
            reply = [type(exc), str(exc), repr(exc.__cause__), getattr(exc, 'task_ids', None)]
        else:
            if name == 'dequeue':
                taken = reply if isinstance(reply, list) else [reply]
                deliveries += [task_id for task_id, _ in taken]
                reply = [(task_id, task, task_id.attempt, task_id.group, task_id.timeout) for task_id, task in taken]
        told.append((name, args if name != 'enqueue' else '', plain(reply)))
        told.append(plain(await dump(client, queue.keys['pending'].removesuffix('pending'))))
    return told


async def call_async(verb: Any, *args: Any, **options: Any) -> Any:
    if inspect.isasyncgenfunction(verb):
        return [item async for item in verb(*args, **options)]
    return await verb(*args, **options)


async def call_sync(verb: Any, *args: Any, **options: Any) -> Any:
    if inspect.isgeneratorfunction(verb):
        return await asyncio.to_thread(lambda: list(verb(*args, **options)))
    return await asyncio.to_thread(verb, *args, **options)


@pytest.mark.parametrize('decode', [False, True])
@pytest.mark.parametrize('protocol', [2, 3])
async def test_a_story_is_the_same_told_by_both(
    server: RealServer,
    client: redis.asyncio.Redis,
    queue: Torrelque,
    decode: bool,
    protocol: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same_ids(monkeypatch)
    expected = await tell(queue, call_async, client)
    warned = [record.getMessage() for record in caplog.records]
    await client.flushall()
    caplog.clear()
    same_ids(monkeypatch)
    with server.sync_client(decode_responses=decode, protocol=protocol) as sync_client:
        try:
            sync_client.ping()
        except ValueError as exc:
            pytest.skip(f'the client library itself cannot connect: {exc}')
        with torrelque.sync.Torrelque(sync_client, queue=queue.name) as sync:
            told = await tell(sync, call_sync, client)
    for one, other in zip(told, expected, strict=True):
        if isinstance(one, tuple) and one[0] == 'enqueue_many' and 'must be' in one[2]:
            continue  # the message names an asynchronous iterable too
        assert one == other
    assert [record.getMessage() for record in caplog.records] == warned and len(warned) > 5


def test_signatures_are_those_of_the_asynchronous_queue() -> None:
    for name, verb in inspect.getmembers(torrelque.Torrelque):
        if name.startswith('_') or name in NO_SYNC:
            continue
        ours = getattr(torrelque.sync.Torrelque, name)
        if callable(verb):
            theirs, mine = inspect.signature(verb).parameters, inspect.signature(ours).parameters
            assert [(p.name, p.kind, p.default) for p in mine.values()] == [
                (p.name, p.kind, p.default) for p in theirs.values()
            ], name
            assert ours.__doc__
        else:
            assert ours == verb
    public = {name for name in dir(torrelque.sync.Torrelque) if not name.startswith('_')}
    assert public - set(dir(torrelque.Torrelque)) == {'close'}
    assert inspect.signature(torrelque.sync.Torrelque).parameters.keys() == (
        inspect.signature(torrelque.Torrelque).parameters.keys()
    )


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
