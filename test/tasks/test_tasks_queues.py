"""Decorated tasks in several queues, several apps in one worker, apps with clients of their own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
import redis.asyncio

from support.servers import MakeServer, RealServer
from support.topology import Cluster, start_sentinel
from torrelque import (
    Torrelque,
    TorrelqueClosedError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.tasks import Tasks, current
from torrelque.tasks.address import make_client, shown
from torrelque.worker import ThreadWorker, Worker


async def drain(app: Any, **options: Any) -> None:
    await asyncio.wait_for(Worker(app, burst=True, **options).run(), 60)


# Several queues


@pytest.mark.parametrize('queues', [(), ['urgent'], ['bulk', 'urgent']])
async def test_a_worker_serves_all_queues_of_an_app_in_their_order(queue: Torrelque, queues: list[str]) -> None:
    app = Tasks(queue, queues=queues)
    done: list[str] = []

    async def note() -> None:
        done.append(current().queue.name)

    for name in (None, 'urgent', 'bulk'):
        app.task(name=f'note {name}', queue=name)(note)
    order = [*queues, *(name for name in (queue.name, 'urgent', 'bulk') if name not in queues)]
    assert [one.name for one in app.queues] == order
    for name in ('bulk', None, 'urgent'):
        await app.enqueue(f'note {name}')
        await app.enqueue(f'note {name}')
    await drain(app, concurrency=1)
    assert done == [name for name in order for _ in range(2)]


async def test_queues_share_a_worker_by_their_weights(queue: Torrelque) -> None:
    app = Tasks(queue, queues={'urgent': 3})
    done: list[str] = []

    @app.task
    async def note() -> None:
        done.append(current().queue.name)

    for name in ('urgent', queue.name):
        for _ in range(8):
            await note.options(queue=name).enqueue()
    await drain(app, concurrency=1)
    assert done[:8].count('urgent') == 6 and len(done) == 16


async def test_a_worker_can_serve_some_queues_and_steal_from_others(queue: Torrelque) -> None:
    app = Tasks(queue)
    done: list[str] = []

    @app.task
    async def note(where: str) -> None:
        done.append(where)

    for name in ('a', 'b', 'c'):
        await note.options(queue=name).enqueue(name)
    await drain(app.serving(['b']))
    assert done == ['b']
    await drain(app.serving(['b'], steal=['a']))
    assert done == ['b', 'a']
    await drain(app.serving({'c': 2}))
    assert done == ['b', 'a', 'c']


async def test_handles_know_the_queue_of_their_task(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task(queue='other')
    async def double(number: int) -> int:
        return 2 * number

    handles = [await double.enqueue(1), *await double.map([2]), await app.enqueue(double.name, 3)]
    cancelled = await double.enqueue(0)
    assert await cancelled.cancel()
    async with Worker(app):
        assert [await handle.result(60) for handle in handles] == [2, 4, 6]
        assert await double.handle(handles[0].id).result(60) == 2
        assert (await app.handle(handles[1].id, queue='other').state()).result == 4
    with pytest.raises(TorrelqueLookupError):
        await app.handle(handles[1].id).state()
    assert (await queue.get_queue_stats()).tasks == 0


def test_synchronous_code_calls_the_queue_itself_by_a_function(server: RealServer) -> None:
    app: Any = Tasks.from_url(server.url)
    assert app.call(lambda: app.queue.get_queue_stats()).tasks == 0
    with pytest.raises(TorrelqueError, match='no event loop runs here'):
        _ = app.queue
    with pytest.raises(TorrelqueTypeError, match='a coroutine, or a function that makes one, not 3'):
        app.call(3)
    with pytest.raises(TorrelqueTypeError, match=r'and .* is none'):
        app.call(lambda: 3)
    app.close()


async def test_synchronous_code_and_threads_use_all_queues(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task(queue='other')
    def double(number: int) -> int:
        return 2 * number

    def use() -> list[int]:
        with ThreadWorker(app):
            return [double.push(1).wait_result(60), app.push(double.name, 2).wait_result(60)]

    assert await asyncio.to_thread(use) == [2, 4]
    await asyncio.to_thread(app.close)


@pytest.mark.parametrize(
    ('make', 'error', 'text'),
    [
        (lambda app: Tasks(app.queue, queues='a'), TorrelqueTypeError, 'queues must be names'),
        (lambda app: Tasks(app.queue, queues=['a', 'a']), TorrelqueValueError, 'a name twice'),
        (lambda app: Tasks(app.queue, queues={'a': 0}), TorrelqueValueError, 'a weight'),
        (lambda app: app.serving([]), TorrelqueValueError, 'needs a queue'),
        (lambda app: app.serving(['a'], steal=['a']), TorrelqueValueError, 'named twice'),
        (lambda app: app.serving(['a'], steal={'b': 1}), TorrelqueTypeError, 'steal must be names'),
        (lambda app: app.serving(['']), TorrelqueValueError, 'the name of a queue'),
        (lambda app: app.task(queue=''), TorrelqueValueError, 'queue must'),
        (lambda app: app.fifo(queue='f')(print).options(queue='a'), TorrelqueTypeError, "app's own queue"),
    ],
)
async def test_queues_that_cannot_be_meant_are_refused(queue: Torrelque, make: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        make(Tasks(queue))


def test_a_client_that_a_worker_was_lent_before_the_app_was_used_is_closed(server: RealServer) -> None:
    app = Tasks.from_url(server.url, queue='email')

    @app.task
    def double(number: int) -> int:
        return 2 * number

    with server.sync_client() as client:
        before = len(client.client_list())
        worker = Worker(app, burst=True)

        async def main() -> None:
            await double.enqueue(1)
            await worker.run()
            await app.aclose()

        asyncio.run(main())
        while len(client.client_list()) > before:
            time.sleep(0.01)


def test_queue_objects_that_a_worker_was_given_are_closed_with_its_event_loop(server: RealServer) -> None:
    app = Tasks.from_url(server.url, queue='email')

    @app.task(queue='other')
    def double(number: int) -> int:
        return 2 * number

    worker = Worker(app, burst=True)
    asyncio.run(worker.run())
    for queue in worker.queues:
        with pytest.raises(TorrelqueClosedError):
            asyncio.run(queue.get_queue_stats())


# Apps that make their clients


async def test_an_app_of_an_address_owns_its_clients(server: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('TORRELQUE_URL', raising=False)
    monkeypatch.setenv('REDIS_URL', server.url)
    app = Tasks.from_url(queue='email', keep=60)

    @app.task
    def double(number: int) -> int:
        return 2 * number

    async with server.client() as client:

        async def count() -> int:
            return len(await client.client_list())

        before = await count()
        for _ in range(2):
            async with app:
                handle = await double.enqueue(1)
                assert app.queue.name == 'email'
                async with Worker(app):
                    assert await handle.result(60) == 2
                assert await asyncio.to_thread(lambda: double.push(2)) and await count() > before
            while await count() > before:
                await asyncio.sleep(0.01)
            await client.flushall()


@pytest.mark.parametrize(
    'kind', ['redis', 'unix', pytest.param('sentinel', marks=pytest.mark.long), 'cluster']
)
@pytest.mark.first_server
def test_an_address_of_each_kind_serves_several_event_loops(
    server: RealServer, server_kind: str, kind: str, make_server: MakeServer, request: pytest.FixtureRequest
) -> None:
    with contextlib.ExitStack() as stack:
        if kind == 'sentinel':
            sentinel = stack.enter_context(start_sentinel(server_kind))
            url = f'redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.sentinel.port}/{sentinel.name}'
        elif kind == 'cluster':
            cluster: Cluster = request.getfixturevalue('_shared_cluster')
            cluster.flush()
            url = f'redis+cluster://{",".join(f"127.0.0.1:{port}" for port in cluster.ports)}'
        elif kind == 'redis':
            url = f'redis://127.0.0.1:{make_server(tcp=True).port}/2'
        else:
            url = server.url
        use_in_loops(url)


def use_in_loops(url: str) -> None:
    app = Tasks.from_url(url, queue='email')

    @app.task(queue='{email}other')
    def double(number: int) -> int:
        return 2 * number

    async def use() -> int:
        async with Worker(app):
            return await (await double.enqueue(1)).result(60)

    async def ask() -> int:
        return await (await double.enqueue(3)).result(60)

    assert asyncio.run(use()) == 2
    with ThreadWorker(app):
        assert double.push(2).wait_result(60) == 4
        assert asyncio.run(ask()) == 6
    app.close()


@pytest.mark.parametrize(
    ('url', 'text'),
    [
        ('http://:secret@host', 'begins with one of redis://'),
        ('localhost:6379', 'begins with one of'),
        ('redis://:secret@host:port', 'cannot be meant'),
        ('redis://:sec/ret@host', 'percent-encoded'),
        ('redis+sentinel://:secret@host', 'ends with the name of the service'),
        ('redis+sentinel://:secret@host:26379/service/1/2', 'ends with the name'),
        ('redis+sentinel:///service', 'names no host'),
        ('redis+cluster://host:0x/', 'a host or port that cannot be meant'),
        ('redis+cluster://host/1', 'has no databases'),
        ('redis://host?socket_timeout=secret', 'cannot be meant'),
        *((f'redis://host/{end}', 'the database is a number') for end in ('prod', '1x', '2/3', '-1', '?db=x')),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_without_its_password(url: str, text: str) -> None:
    with pytest.raises(TorrelqueValueError, match=text) as caught:
        Tasks.from_url(url)
    assert 'secret@' not in str(caught.value) and "'sec'" not in str(caught.value)


def test_an_address_is_shown_without_its_password() -> None:
    assert shown('redis://joe:se/cr@et@host:1/2?password=x&db=1') == 'redis://joe:…@host:1/2?password=…&db=1'
    assert shown('redis://host') == 'redis://host' and shown('host') == 'host'


def test_an_address_may_say_more_of_the_client() -> None:
    client = make_client('rediss+sentinel://joe:pass%21@one,two:1/main/3?socket_timeout=7')
    assert isinstance(client, redis.asyncio.Redis)
    said = client.connection_pool.connection_kwargs
    assert (said['db'], said['socket_timeout'], said['username'], said['password']) == (3, 7.0, 'joe', 'pass!')
    with pytest.raises(TorrelqueValueError, match=r'cannot be meant: .*socket_timeot'):
        make_client('redis://host?socket_timeot=7')
