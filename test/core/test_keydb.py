"""KeyDB, which stands still for good after a client has gone that was blocked with a time limit: none is.

A server that has a command by the name of one of KeyDB's is taken for it; where `TORRELQUE_KEYDB` names a binary, a
real one is asked as well.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

import torrelque.sync
from support.proxy import Proxy, open_proxy
from support.servers import RealServer
from support.waiting import until_waiting
from torrelque import Torrelque, TorrelqueTimeoutError


@pytest.fixture(params=['redis6', 'keydb'])
def keydb(request: pytest.FixtureRequest) -> Iterator[RealServer]:
    if request.param == 'keydb' and not os.environ.get('TORRELQUE_KEYDB'):
        pytest.skip('TORRELQUE_KEYDB names no binary')
    named = {'rename-command': 'LOLWUT KEYDB.HRENAME'} if request.param == 'redis6' else {}
    with RealServer(request.param, named) as server:
        yield server


@pytest.fixture
async def line(keydb: RealServer) -> AsyncIterator[Proxy]:
    async with open_proxy(keydb) as proxy:
        yield proxy


def limits_of(line: Proxy) -> set[bytes]:
    """The time limits of the blocks that were asked for."""
    return {request.rstrip().rpartition(b'\r\n')[2] for request in line.requests if b'BLPOP' in request}


async def test_nobody_is_blocked_with_a_limit(keydb: RealServer, line: Proxy) -> None:
    async with line.client() as one, keydb.client() as other, Torrelque(one) as queue, Torrelque(other) as producer:
        for n in range(3):
            waiting = asyncio.ensure_future(queue.dequeue())
            await until_waiting(other)
            await producer.enqueue(n)
            assert (await asyncio.wait_for(waiting, 60))[1] == n
        with pytest.raises(TorrelqueTimeoutError):
            await queue.dequeue(0.1)
        waiting = asyncio.ensure_future(queue.dequeue())
        await until_waiting(other)
        # Whoever leaves is still blocked.
    assert limits_of(line) == {b'0'}
    with pytest.raises(torrelque.TorrelqueClosedError):
        await waiting
    async with keydb.client() as client, Torrelque(client) as queue:
        assert (await queue.get_queue_stats()).working == 3


async def test_who_is_blocked_without_a_limit_looks_by_a_clock_of_its_own(
    keydb: RealServer, line: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with line.client() as one, keydb.client() as other, Torrelque(one) as queue, Torrelque(other) as producer:
        waiting = asyncio.ensure_future(queue.dequeue())
        await until_waiting(other)
        async with other.pipeline(transaction=True) as pipeline:
            await producer.enqueue('unheard', pipeline=pipeline)
            pipeline.delete(queue.keys['bell'])
            await pipeline.execute()
        assert (await asyncio.wait_for(waiting, 60))[1] == 'unheard'
        waiting = asyncio.ensure_future(queue.dequeue())
        await until_waiting(other)
        await producer.enqueue('later', delay=0.2)
        assert (await asyncio.wait_for(waiting, 60))[1] == 'later'
    assert limits_of(line) == {b'0'}
    assert 'had work' not in caplog.text


async def test_no_thread_is_blocked_with_a_limit(keydb: RealServer, line: Proxy) -> None:
    client = redis.Redis(unix_socket_path=line.path)
    async with keydb.client() as other, Torrelque(other) as producer:
        with client, torrelque.sync.Torrelque(client) as queue:

            def dequeue(timeout: float | None = None) -> Any:
                return queue.dequeue(timeout)

            for delay in (None, 0.2):
                waiting = asyncio.ensure_future(asyncio.to_thread(dequeue))
                await until_waiting(other)
                await producer.enqueue('work', delay=delay)
                assert (await asyncio.wait_for(waiting, 60))[1] == 'work'
            with pytest.raises(TorrelqueTimeoutError):
                await asyncio.to_thread(dequeue, 0.3)
            waiting = asyncio.ensure_future(asyncio.to_thread(dequeue))
            await until_waiting(other)
            async with other.pipeline(transaction=True) as pipeline:
                await producer.enqueue('unheard', pipeline=pipeline)
                pipeline.delete(queue.keys['bell'])
                await pipeline.execute()
            assert (await asyncio.wait_for(waiting, 60))[1] == 'unheard'
    assert limits_of(line) == {b'0'}


async def test_others_are_waited_at_with_a_limit(server: RealServer, proxy: Proxy, queue_name: str) -> None:
    async with proxy.client() as client, server.client() as other, Torrelque(client, queue=queue_name) as queue:
        waiting = asyncio.ensure_future(queue.dequeue())
        await until_waiting(other)
        await queue.enqueue(1)
        await waiting
    expected = {b'0'} if server.kind == 'keydb' else {b'2'}
    assert limits_of(proxy) == expected
