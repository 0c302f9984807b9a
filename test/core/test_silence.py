"""A server that is away, is silent, or lets nobody in: no call hangs, and each is told in the end."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.bounding import Bound
from support.proxy import Proxy
from support.servers import MakeServer, RealServer
from torrelque import Torrelque
from torrelque.aio import link
from torrelque.aio.client import make_connector
from torrelque.protocol.bounds import BOUNDS

pytestmark = pytest.mark.first_server


@pytest.fixture
async def faulty(proxy: Proxy, queue_name: str) -> AsyncIterator[Torrelque]:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        await queue.get_queue_stats()
        yield queue


async def test_a_deadline_is_a_deadline(proxy: Proxy, faulty: Torrelque, bound: Bound, hasty: None) -> None:
    bound(repeat=1e6)
    loop = asyncio.get_running_loop()
    proxy.silent = True
    for timeout in (0, 0.3):
        started = loop.time()
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await faulty.dequeue(timeout)
        assert timeout <= loop.time() - started < timeout + 60
    proxy.silent = False
    proxy.cut()


async def test_a_claim_of_nobody_is_found_again(proxy: Proxy, faulty: Torrelque, queue: Torrelque, hasty: None) -> None:
    await queue.enqueue(1)
    proxy.silent = True
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await faulty.dequeue(0)
    assert (await queue.get_queue_stats()).working == 1
    proxy.silent = False
    proxy.cut()
    taken, _ = await faulty.dequeue(60)
    assert (taken.attempt or 0) <= 2


@pytest.mark.first_server
async def test_a_lost_server_is_an_error_in_the_end(
    proxy: Proxy, faulty: Torrelque, monkeypatch: pytest.MonkeyPatch, bound: Bound, caplog: pytest.LogCaptureFixture
) -> None:
    bound(repeat=0.5)
    proxy.refusing = True
    proxy.cut()
    for call in (faulty.enqueue(1), faulty.release('x'), faulty.get_queue_stats(), faulty.sweep()):
        with pytest.raises(torrelque.TorrelqueConnectionError) as caught:
            await call
        assert isinstance(caught.value, redis.exceptions.ConnectionError)
    with pytest.raises(torrelque.TorrelqueBulkError) as bulk:
        await faulty.enqueue_many(range(1000))
    assert bulk.value.task_ids == [] and isinstance(bulk.value.__cause__, torrelque.TorrelqueConnectionError)
    waiting = asyncio.ensure_future(faulty.dequeue())
    while not any('waiting for the server' in record.getMessage() for record in caplog.records):
        await asyncio.sleep(0.05)
    monkeypatch.undo()
    proxy.refusing = False
    await faulty.enqueue('again')
    assert (await waiting)[1] == 'again'


async def test_a_server_that_never_was_there_is_an_error_of_dequeue_too(bound: Bound, tmp_path: Path) -> None:
    bound(repeat=0.5)
    async with redis.asyncio.Redis(unix_socket_path=f'{tmp_path}/none') as client, Torrelque(client) as queue:
        with pytest.raises(torrelque.TorrelqueConnectionError):
            await queue.dequeue()


async def test_silence_of_the_server_cuts_the_line(proxy: Proxy, faulty: Torrelque, bound: Bound) -> None:
    bound(link_tick=0.02)
    await faulty.enqueue(1)
    proxy.silent = True
    call = asyncio.ensure_future(faulty.enqueue(2))
    await asyncio.sleep(0.1)
    proxy.silent = False
    await call
    assert len(await faulty.dequeue(max_tasks=5)) == 2


async def test_wrong_password_is_told_at_once(make_server: MakeServer) -> None:
    server = make_server({'requirepass': 'secret'})
    async with server.client(password='wrong') as client, Torrelque(client) as queue:
        for call in (queue.enqueue(1), queue.dequeue()):
            with pytest.raises(redis.exceptions.AuthenticationError):
                await call
    async with server.client(password='secret') as client, Torrelque(client) as queue:
        await queue.enqueue(1)


async def test_a_bell_that_became_read_only_or_moved_is_connected_anew(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.ensure_future(faulty.dequeue())
    assert faulty._session is not None
    while not (bell := faulty._session.shelf._bell.link)._in_flight:
        await asyncio.sleep(0.005)
    before = bell._transport
    # What a demoted primary says to who blocks, and then to who comes back.
    bell._refused(bell._in_flight.popleft(), 'READONLY You can not write against a read only replica.')
    assert bell._transport is None
    await asyncio.sleep(0.5)
    assert bell._transport is not None and bell._transport is not before
    await queue.enqueue(1)
    assert (await waiting)[1] == 1


async def test_what_is_on_its_way_when_the_link_closes_fails(proxy: Proxy, faulty: Torrelque) -> None:
    proxy.silent = True
    assert faulty._session is not None
    call = faulty._session._link.call(None, ['PING'])
    await asyncio.sleep(0.01)
    faulty._session._link.close()
    with pytest.raises(torrelque.TorrelqueConnectionError):
        await call
    with pytest.raises(torrelque.TorrelqueConnectionError):
        await faulty._session._link.call(None, ['PING'])
    proxy.silent = False


async def test_a_link_closed_while_it_connects_leaves_no_connection(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    before = len(await client.client_list())
    for turns in range(60):
        link_ = link.Link(make_connector(client, 'x'), BOUNDS)
        call = link_.call(None, ['PING'])
        for _ in range(turns):
            await asyncio.sleep(0)
        link_.close()
        await asyncio.wait([call])
        assert call.exception() is None or isinstance(call.exception(), torrelque.TorrelqueConnectionError)
    while len(await client.client_list()) > before:
        await asyncio.sleep(0.01)


@pytest.mark.long
async def test_a_handshake_that_was_reset_leaves_nothing_to_the_garbage_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is left in cycles may be finalised in an order that has asyncio complain of an error nobody retrieved.
    resets = 0

    # Streams that were born here are counted, because others of the process may come and go; these are none of them.
    class Reset(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            nonlocal resets
            resets += 1
            transport.abort()

    class Handshake(asyncio.StreamReaderProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            born.append(weakref.ref(self))

    def left() -> list[Any]:
        return [shake for ref in born if (shake := ref()) is not None]

    born: list[weakref.ref[Handshake]] = []
    monkeypatch.setattr(asyncio.streams, 'StreamReaderProtocol', Handshake)
    monkeypatch.setattr(asyncio, 'StreamReaderProtocol', Handshake)
    loop = asyncio.get_running_loop()
    listener = await loop.create_unix_server(Reset, str(tmp_path / 'socket'))
    async with listener, redis.asyncio.Redis(unix_socket_path=str(tmp_path / 'socket'), protocol=3) as client:
        queue = Torrelque(client)
        gc.disable()
        try:
            waiter = asyncio.ensure_future(queue.dequeue())
            while resets < 5:
                await asyncio.sleep(0.01)
            waiter.cancel()
            await asyncio.wait([waiter])
            await queue.aclose()
            end = time.monotonic() + 60
            while left() and time.monotonic() < end:
                await asyncio.sleep(0.01)
            assert len(born) >= 5
            assert [gc.get_referrers(shake) for shake in left()] == []
        finally:
            gc.enable()


async def test_a_claim_that_was_given_up_is_asked_for_again(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, bound: Bound
) -> None:
    bound(repeat=0.5)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await faulty.dequeue(0)  # from now on the server knows the script
    await queue.enqueue(1)
    proxy.silent = True
    waiting = asyncio.ensure_future(faulty.dequeue())
    while not (await queue.get_queue_stats()).working:
        await asyncio.sleep(0.005)
    proxy.refusing = True
    proxy.cut()
    assert faulty._session is not None
    while faulty._session.shelf._error is None:
        await asyncio.sleep(0.005)
    proxy.silent = proxy.refusing = False
    taken, task = await asyncio.wait_for(waiting, 60)
    assert (task, taken.attempt) == (1, 1)


async def test_calls_behind_one_that_was_given_up_fail_with_it(proxy: Proxy, faulty: Torrelque, bound: Bound) -> None:
    bound(repeat=0.5)
    proxy.refusing = True
    proxy.cut()
    calls = [asyncio.ensure_future(faulty.enqueue(n)) for n in range(3)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for _ in range(5):
        await asyncio.sleep(0)
    assert all(call.done() for call in calls)
    for call in calls:
        with pytest.raises(torrelque.TorrelqueConnectionError):
            await call
