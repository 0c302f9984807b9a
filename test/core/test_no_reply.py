"""No task, and no reply: whoever waits for a task is told which it was, and a burst takes neither for the other."""

from __future__ import annotations

import asyncio
import contextlib
import re
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
from torrelque.error import reason_of
from torrelque.worker import Worker

# The tests of this module have nothing to do with the kind of the server.
pytestmark = [pytest.mark.long, pytest.mark.one_server]

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
    params=[
        *('nobody', 'deaf', 'another', 'no such host'),
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ('mute', 'plain for TLS', 'TLS for plain', 'unknown authority')
        ),
    ]
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
@pytest.mark.share(2)
async def test_whoever_waits_where_there_is_no_server_is_told_why(
    options: Options, timeout: float, count: int, hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with redis.asyncio.Redis(**options) as client, Torrelque(client) as queue:
        with pytest.raises(TorrelqueTimeoutError, match='no reply of the server') as caught:
            await queue.dequeue(timeout, max_tasks=count)
        assert not caught.value.replied
        assert caught.value.__cause__ is not None and reason_of(caught.value.__cause__) in str(caught.value)
    assert 'come back' not in caplog.text


@pytest.mark.parametrize('timeout', [0, pytest.param(0.1, marks=pytest.mark.long)])
@pytest.mark.share(2)
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
    assert re.search(r'cannot connect to the server at [^ ]+: ', caplog.text)
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
    assert re.search(r'cannot connect to the server at [^ ]+: ', caplog.text)
    assert 'try again' not in caplog.text


async def test_an_empty_queue_is_told_from_a_silent_server(
    proxy: Proxy, queue_name: str, hasty: None, client: redis.asyncio.Redis
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue_name) as queue:
        for timeout in (0, 0.05):
            with pytest.raises(TorrelqueTimeoutError, match='no task came within') as caught:
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
            with pytest.raises(TorrelqueTimeoutError, match='no task came within') as caught:
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
        session = queue._started()
        proxy.refusing = True
        proxy.cut()
        while session.shelf._bell.call is not None:
            await asyncio.sleep(0)
        # Its time is over in this moment.
        session.waiters._expire(session.waiters.waiting[0])
        with pytest.raises(TorrelqueTimeoutError, match='no reply of the server'):
            await waiting
        proxy.refusing = False


async def test_an_empty_queue_is_told_from_a_silent_server_in_threads(
    proxy: Proxy, queue_name: str, hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis(unix_socket_path=proxy.path) as own, torrelque.sync.Torrelque(own, queue=queue_name) as queue:
        for timeout in (0, 0.05):
            with pytest.raises(TorrelqueTimeoutError, match='no task came within') as caught:
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
