"""No task, and no reply: whoever waits for a task is told which it was, and a burst takes neither for the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

import torrelque
import torrelque.sync
from support.bounding import Bound
from support.proxy import Proxy, calls_of
from support.servers import MakeServer, RealServer, free_port
from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueTimeoutError
from torrelque.worker import Delivery, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

# Of a server that nobody knows, for a hundred years from 2026 on.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghRUozEVIw0kzsP7C
X4iVE1CIknhKwBX52B/S7idBW9ChRANCAAR7AreCIMLEIBRhKER8McFvxZODqr1x
jnSUJ1KrNN34mCraSDtPdYRYfaarACe+aYcuhKnKEDL1bS41QL/IxosA
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUfoYD4ZB3A75MjXoFvUqeRNbWGhcwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyOTAwMDYxNloYDzIxMjYxMTA1
MDAwNjE2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAR7AreCIMLEIBRhKER8McFvxZODqr1xjnSUJ1KrNN34mCraSDtPdYRY
faarACe+aYcuhKnKEDL1bS41QL/IxosAo28wbTAdBgNVHQ4EFgQUUwXM9qA8YXoY
J0X8YZ+KN5k9gLUwHwYDVR0jBBgwFoAUUwXM9qA8YXoYJ0X8YZ+KN5k9gLUwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI
zj0EAwIDSAAwRQIhAJRw3dvet5SER7M1iUXqOTCN7iQ/c/gcTCY8+tYGhT9/AiBA
eUfjO1usL8Vj0wiYFhJu+7hcBg9joeWlVZgnBTrpMw==
-----END CERTIFICATE-----
"""

Options = dict[str, Any]


async def answer_otherwise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.read(1)
        writer.write(b'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')
        await reader.read()
    writer.close()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()


@pytest.fixture(
    params=['nobody', 'deaf', 'mute', 'another', 'plain for TLS', 'TLS for plain', 'unknown authority', 'no such host']
)
async def options(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Options]:
    """Of a client for which there is no server."""
    (tmp_path / 'certificate').write_text(CERTIFICATE)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / 'certificate')
    async with contextlib.AsyncExitStack() as stack:

        async def serve(answer: Callable[..., Any], **how: Any) -> int:
            server = await asyncio.start_server(answer, '127.0.0.1', 0, **how)
            stack.callback(server.close)
            port: int = server.sockets[0].getsockname()[1]
            return port

        match request.param:
            case 'nobody':
                yield {'port': free_port()}
            case 'deaf':
                yield {'port': stack.enter_context(socket.create_server(('127.0.0.1', 0))).getsockname()[1]}
            case 'mute':
                yield {'port': await serve(say_nothing)}
            case 'another':
                yield {'port': await serve(answer_otherwise)}
            case 'plain for TLS':
                yield {'port': await serve(answer_otherwise), 'ssl': True}
            case 'TLS for plain':
                yield {'port': await serve(say_nothing, ssl=tls)}
            case 'unknown authority':
                yield {'port': await serve(say_nothing, ssl=tls), 'ssl': True}
            case _:
                yield {'host': 'nowhere.invalid'}


@pytest.mark.parametrize(('timeout', 'count'), [(0, 5), pytest.param(0.1, 1, marks=pytest.mark.long)])
async def test_whoever_waits_where_there_is_no_server_is_told_why(
    options: Options, timeout: float, count: int, hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with redis.asyncio.Redis(**options) as client, Torrelque(client) as queue:
        with pytest.raises(TorrelqueTimeoutError, match='no reply of the server') as caught:
            await queue.dequeue(timeout, max_tasks=count)
        assert not caught.value.replied
        assert caught.value.__cause__ is not None and str(caught.value.__cause__) in str(caught.value)
    assert 'come back' not in caplog.text


@pytest.mark.parametrize('timeout', [0, pytest.param(0.1, marks=pytest.mark.long)])
async def test_a_thread_that_waits_where_there_is_no_server_is_told_why(
    options: Options, timeout: float, hasty: None
) -> None:
    with redis.Redis(**options) as client, torrelque.sync.Torrelque(client) as queue:
        with pytest.raises(TorrelqueConnectionError, match=r'no connection to the server: .') as caught:
            await asyncio.to_thread(queue.dequeue, timeout)
        assert caught.value.__cause__ is not None


async def test_a_wrong_password_is_told_to_whoever_does_not_wait(make_server: MakeServer) -> None:
    server = make_server({'requirepass': 'secret'})
    async with server.client(password='wrong') as client, Torrelque(client) as queue:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await queue.dequeue(0)
        with pytest.raises(redis.exceptions.AuthenticationError):
            await Worker(queue, print, burst=True).run()
    with server.sync_client(password='wrong') as sync, torrelque.sync.Torrelque(sync) as threads:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await asyncio.to_thread(threads.dequeue, 0)


async def test_a_connection_that_is_not_tried_again_does_not_say_that_it_is(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server({'requirepass': 'secret'})
    async with server.client(password='wrong') as client, Torrelque(client) as queue:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await queue.enqueue(1)
    assert 'cannot connect to the server: ' in caplog.text
    assert 'try again' not in caplog.text


async def test_a_connection_that_nobody_wants_any_more_does_not_say_that_it_is_tried_again(
    caplog: pytest.LogCaptureFixture, bound: Bound
) -> None:
    # A call is given up before the first attempt to connect is.
    bound(repeat=0, connect=1)
    with socket.create_server(('127.0.0.1', 0)) as deaf:
        async with redis.asyncio.Redis(port=deaf.getsockname()[1]) as client, Torrelque(client) as queue:
            with pytest.raises(TorrelqueConnectionError):
                await queue.enqueue(1)
            while 'cannot connect' not in caplog.text:
                await asyncio.sleep(0.01)
    assert 'cannot connect to the server: ' in caplog.text
    assert 'try again' not in caplog.text


async def test_an_empty_queue_is_told_from_a_silent_server(
    proxy: Proxy, queue_name: str, hasty: None, client: redis.asyncio.Redis
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue_name) as queue:
        for timeout in (0, 0.05):
            with pytest.raises(TorrelqueTimeoutError, match='no task came in time') as caught:
                await queue.dequeue(timeout)
            assert caught.value.replied and caught.value.__cause__ is None
        proxy.silent = True
        for timeout in (0, 0.05):
            with pytest.raises(TorrelqueTimeoutError, match='no reply of the server') as caught:
                await queue.dequeue(timeout)
            assert not caught.value.replied and caught.value.__cause__ is not None
        proxy.silent = False
        proxy.cut()
        while not caught.value.replied:
            with pytest.raises(TorrelqueTimeoutError) as caught:
                await queue.dequeue(0)


async def test_whoever_waits_where_a_claim_is_on_its_way_is_told_what_it_says(
    proxy: Proxy, queue_name: str
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue_name) as queue:
        # Its reply comes after the time that there was to wait.
        for timeout in (0, 0.05):
            gate = proxy.hold_reply(calls_of('claim'))
            waiting = asyncio.ensure_future(queue.dequeue(timeout))
            await gate.arrived.wait()
            await asyncio.sleep(0.1)
            gate.open()
            with pytest.raises(TorrelqueTimeoutError, match='no task came in time') as caught:
                await waiting
            assert caught.value.replied


async def test_a_server_that_went_while_somebody_waited_is_no_empty_queue(
    proxy: Proxy, queue_name: str, hasty: None
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue_name) as queue:
        gate = proxy.hold_request(b'BLPOP')
        waiting = asyncio.ensure_future(queue.dequeue(1))
        await gate.arrived.wait()
        # It had said that there is no task then.
        proxy.refusing = True
        proxy.cut()
        with pytest.raises(TorrelqueTimeoutError, match='no reply of the server') as caught:
            await waiting
        assert caught.value.__cause__ is not None
        proxy.refusing = False


async def test_whoever_goes_right_after_the_bell_was_lost_asks_first(
    proxy: Proxy, queue_name: str, hasty: None
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue_name) as queue:
        gate = proxy.hold_request(b'BLPOP')
        waiting = asyncio.ensure_future(queue.dequeue(600))
        await gate.arrived.wait()
        fetcher = queue._started().fetcher
        proxy.refusing = True
        proxy.cut()
        while fetcher._bell.call is not None:
            await asyncio.sleep(0)
        # Its time is over in this moment.
        fetcher._expire(fetcher._waiters[0])
        with pytest.raises(TorrelqueTimeoutError, match='no reply of the server'):
            await waiting
        proxy.refusing = False


async def test_an_empty_queue_is_told_from_a_silent_server_in_threads(
    proxy: Proxy, queue_name: str, hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis(unix_socket_path=proxy.path) as own, torrelque.sync.Torrelque(own, queue=queue_name) as queue:
        for timeout in (0, 0.05):
            with pytest.raises(TorrelqueTimeoutError, match='no task came in time') as caught:
                await asyncio.to_thread(queue.dequeue, timeout)
            assert caught.value.replied and caught.value.__cause__ is None
        proxy.silent = True
        for timeout in (0, 0.05):
            with pytest.raises(TorrelqueTimeoutError, match='no reply of the server') as caught:
                await asyncio.to_thread(queue.dequeue, timeout)
            assert not caught.value.replied and caught.value.__cause__ is not None
        # It does not wait for that.
        assert 'waiting for the server to come back' not in caplog.text
        proxy.silent = False
        proxy.cut()


async def test_a_thread_whose_server_went_while_it_waited_is_told(proxy: Proxy, queue_name: str, hasty: None) -> None:
    with redis.Redis(unix_socket_path=proxy.path) as own, torrelque.sync.Torrelque(own, queue=queue_name) as queue:
        gate = proxy.hold_request(b'BLPOP')
        waiting = asyncio.ensure_future(asyncio.to_thread(queue.dequeue, 0.5))
        await gate.arrived.wait()
        proxy.silent = True
        with pytest.raises(TorrelqueTimeoutError, match='no reply of the server') as caught:
            await waiting
        assert caught.value.__cause__ is not None
        proxy.silent = False
        proxy.cut()


async def test_a_thread_of_a_process_that_stood_still_asks_before_it_says_that_there_is_no_task(
    server: RealServer, queue_name: str, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.sync_client() as own, torrelque.sync.Torrelque(own, queue=queue_name) as queue:
        listen = torrelque.sync.fetcher.Fetch._listen

        def stand_still(fetch: Any, wait: float | None) -> None:
            listen(fetch, wait)
            fetch._end -= 100

        monkeypatch.setattr(torrelque.sync.fetcher.Fetch, '_listen', stand_still)
        with pytest.raises(TorrelqueTimeoutError) as caught:
            await asyncio.to_thread(queue.dequeue, 0.01)
        assert caught.value.replied


async def test_what_the_server_says_instead_of_a_reply_is_the_cause(
    server: RealServer, queue_name: str, hasty: None, proxy: Proxy
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue_name) as queue:
        with pytest.raises(TorrelqueTimeoutError):
            await queue.dequeue(0)
        proxy.spoil(calls_of('claim'), b"-MISCONF can't persist to disk\r\n")
        with pytest.raises(TorrelqueTimeoutError, match='MISCONF') as caught:
            await queue.dequeue(0)
        assert not caught.value.replied
        assert isinstance(caught.value.__cause__, torrelque.TorrelqueServerError)
        proxy.calm()


# Bursts


async def nothing(delivery: Delivery) -> None: ...


async def test_a_burst_without_a_server_fails(hasty: None) -> None:
    async with redis.asyncio.Redis(port=free_port()) as client, Torrelque(client) as queue:
        with pytest.raises(TorrelqueConnectionError, match='no connection to the server') as caught:
            await asyncio.wait_for(Worker(queue, nothing, burst=True).run(), 60)
        assert isinstance(caught.value.__cause__, OSError | redis.exceptions.RedisError)


async def test_a_burst_whose_server_goes_fails(
    proxy: Proxy, queue: Torrelque, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.worker.source.SILENT', 2)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        begun.set()
        await go_on.wait()

    async with proxy.client() as own, Torrelque(own, queue=queue.name) as mine:
        await queue.enqueue(1)
        running = asyncio.ensure_future(Worker(mine, handle, burst=True, shutdown_timeout=0).run())
        await begun.wait()
        proxy.silent = True
        go_on.set()
        with pytest.raises(TorrelqueConnectionError, match=r'could not be found out for .* no reply'):
            await asyncio.wait_for(running, 60)
        proxy.silent = False
        proxy.cut()


async def test_a_burst_whose_server_takes_no_writes_for_long_fails(
    proxy: Proxy, queue: Torrelque, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.worker.source.SILENT', 2)
    async with proxy.client() as own, Torrelque(own, queue=queue.name) as mine:
        # It can be read from all the time.
        await mine.enqueue(1)
        proxy.spoil(calls_of('claim'), b"-MISCONF can't persist to disk\r\n")
        with pytest.raises(TorrelqueConnectionError, match='MISCONF') as caught:
            await asyncio.wait_for(Worker(mine, nothing, burst=True).run(), 60)
        assert isinstance(caught.value.__cause__, TorrelqueTimeoutError)
        proxy.calm()
        worker = Worker(mine, nothing, burst=True)
        await asyncio.wait_for(worker.run(), 60)
        assert worker.health().succeeded == 1


@pytest.mark.first_server
async def test_a_burst_waits_for_a_slow_server(make_server: MakeServer, hasty: None) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client) as queue:
        await queue.enqueue(1)
        os.kill(server.pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(1.5, os.kill, server.pid, signal.SIGCONT)
        worker = Worker(queue, nothing, burst=True)
        await asyncio.wait_for(worker.run(), 60)
        assert worker.health().succeeded == 1
        assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.parametrize('weighted', [False, True])
async def test_a_burst_does_not_take_one_queue_that_is_away_for_an_empty_one(
    proxy: Proxy, queue: Torrelque, hasty: None, weighted: bool
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue.name + '-away') as away:
        await queue.enqueue_many(range(10))
        await away.enqueue('away')
        seen: list[Any] = []
        proxy.silent = True

        async def handle(delivery: Delivery) -> None:
            seen.append(delivery.task)

        served: Any = {away: 1, queue: 1} if weighted else [away, queue]
        running = asyncio.ensure_future(Worker(served, handle, burst=True).run())
        while len(seen) < 10:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert not running.done()
        proxy.silent = False
        proxy.cut()
        await asyncio.wait_for(running, 60)
        assert sorted(map(str, seen)) == sorted([*map(str, range(10)), 'away'])


# What a burst waits for


async def burst(queue: Torrelque, handle: Callable[[Delivery], Any] = nothing, **options: Any) -> int:
    worker = Worker(queue, handle, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker.health().succeeded


async def test_a_burst_waits_for_the_tokens_of_a_rate(queue: Torrelque) -> None:
    await queue.set_limit('g', rate=(5, 0.5))
    await queue.enqueue_many(range(30), group='g')
    assert await burst(queue) == 30


async def test_a_burst_waits_for_tokens_while_it_has_tasks_in_hand(queue: Torrelque) -> None:
    # Their places are not all that it has.
    await queue.set_limit(rate=(1, 0.1))
    await queue.enqueue_many(range(6), group=lambda n: f'g{n % 2}')
    last = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        if delivery.task == 5:
            last.set()
        await last.wait()

    assert await burst(queue, handle) == 6


async def test_a_burst_waits_for_a_slot_that_another_holds(server: RealServer, queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g')
    async with server.client() as own, Torrelque(own, queue=queue.name) as other:
        held, _ = await other.dequeue()
        running = asyncio.ensure_future(burst(queue))
        await asyncio.sleep(0.1)
        assert not running.done()
        await other.release(held)
        assert await running == 2


@pytest.mark.first_server
async def test_a_burst_waits_for_the_lease_of_a_worker_that_was_killed(server: RealServer, queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g', task_timeout=0.5)
    await queue.dequeue()
    assert await burst(queue) == 3


async def test_the_start_rate_of_a_worker_does_not_end_its_burst(queue: Torrelque) -> None:
    await queue.enqueue_many(range(12))
    assert await burst(queue, rate=(4, 0.2)) == 12


@pytest.mark.parametrize('probe', [None, 60])
async def test_a_burst_leaves_what_is_paused(queue: Torrelque, probe: float | None) -> None:
    await queue.set_limit('slow', rate=(1, 1000))
    await queue.enqueue_many(range(10), group=lambda n: ('slow', 'fine', 'limited')[n % 3])
    await queue.set_limit('limited', concurrency=1)
    for group in ('slow', 'limited'):
        await queue.pause(group, probe=probe)
    assert await burst(queue) == 3
    await queue.pause(probe=probe)
    await queue.enqueue(1)
    assert await burst(queue) == 0
    assert (await queue.get_queue_stats()).pending == 8


async def test_a_burst_does_not_wait_behind_a_pause_for_who_works(queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g')
    await queue.enqueue('plain', priority=100)
    plain, _ = await queue.dequeue()
    held, _ = await queue.dequeue()
    assert (plain.group, held.group) == (None, 'g')
    await queue.pause('g')
    assert await burst(queue) == 0
    await queue.release(held)
    await queue.release(plain)


async def test_a_burst_leaves_what_waits_behind_a_delayed_task(queue: Torrelque) -> None:
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(3), group='g')
    held, _ = await queue.dequeue()
    await queue.requeue(held, 1000)
    await queue.enqueue('later', delay=1000)
    await queue.enqueue('plain')
    assert await burst(queue) == 1
    assert await queue.get_queue_stats() == (4, 2, 0, 2, 0)


async def test_a_burst_ends_when_what_it_waits_for_is_paused_or_taken_away(queue: Torrelque) -> None:
    await queue.set_limit('g', rate=(1, 1000))
    ids = await queue.enqueue_many(range(3), group='g')
    running = asyncio.ensure_future(burst(queue))
    while len(await queue.client.keys('*task:*')) > 2:
        await asyncio.sleep(0.01)
    await queue.pause('g')
    assert await running == 1
    await queue.resume('g')
    running = asyncio.ensure_future(burst(queue))
    await asyncio.sleep(0.05)
    assert not running.done()
    for task_id in ids[1:]:
        await queue.cancel(task_id)
    assert await running == 0


async def test_a_burst_of_several_queues_waits_for_each(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    name = queue.name
    async with Torrelque(client, queue=f'{name}-2') as second, Torrelque(client, queue=f'{name}-3') as third:
        for each in (queue, second, third):
            await each.set_limit('g', rate=(1, 0.1))
            await each.enqueue_many(range(3), group='g')
        worker = Worker({queue: 1, second: 2}, nothing, steal=[third], burst=True)
        await asyncio.wait_for(worker.run(), 60)
        assert worker.health().succeeded == 9


async def test_a_burst_finds_a_slot_among_many_that_are_worked_on(queue: Torrelque) -> None:
    await queue.enqueue_many(range(1200), task_timeout=500)
    held = await queue.dequeue(max_tasks=250)
    while len(held) < 1200:
        held += await queue.dequeue(max_tasks=250)
    await queue.set_limit('g', concurrency=1)
    await queue.enqueue_many(range(2), group='g', task_timeout=1000)
    last, _ = await queue.dequeue()
    running = asyncio.ensure_future(burst(queue))
    await asyncio.sleep(0.1)
    assert not running.done()
    await queue.release(last)
    assert await running == 1
    await queue.release_many([task_id for task_id, _ in held])


async def test_a_burst_that_waits_can_be_stopped(queue: Torrelque) -> None:
    await queue.set_limit('g', rate=(1, 1000))
    await queue.enqueue_many(range(2), group='g')
    worker = Worker(queue, nothing, burst=True)
    running = asyncio.ensure_future(worker.run())
    while not worker.health().succeeded:
        await asyncio.sleep(0.01)
    worker.stop()
    await asyncio.wait_for(running, 60)
    assert (await queue.get_queue_stats()).pending == 1
