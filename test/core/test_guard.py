"""The last line of defence: whoever waits is served even where a wake-up, or a call, was lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from support.bounding import Bound
from support.proxy import Proxy, calls_of
from support.servers import RealServer
from support.waiting import until_waiting
from torrelque import Torrelque
from torrelque.aio.bell import Bell
from torrelque.aio.connection import Connection
from torrelque.aio.link import Link, Request

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.long

HANGS_UP = 3
UNHEARD = 'had work, and the doorbell had told nobody'


def unheard(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if UNHEARD in record.getMessage()]


@pytest.mark.first_server
@pytest.mark.parametrize('delay', [None, 0.1])
async def test_work_that_nobody_has_heard_of_is_found_and_told(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, delay: float | None
) -> None:
    monkeypatch.setattr(Bell, 'listen', lambda bell: None)
    waiting = asyncio.ensure_future(queue.dequeue())
    await queue.get_queue_stats()
    await queue.enqueue('unheard', delay=delay)
    if delay:
        # The timer is lost as well.
        assert queue._session is not None
        queue._session.shelf._wait = lambda wait: None  # type: ignore[method-assign]
    assert (await asyncio.wait_for(waiting, 60))[1] == 'unheard'
    (message,) = unheard(caplog)
    assert repr(queue.name) in message


async def test_nothing_is_told_where_the_bell_rings(
    queue: Torrelque, client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for n in range(3):
        waiting = asyncio.ensure_future(queue.dequeue())
        await until_waiting(client)
        await queue.enqueue(n)
        await waiting
    assert unheard(caplog) == []


@pytest.mark.parametrize('name', ['claim', 'sweep', 'BLPOP'])
async def test_a_call_that_is_lost_without_a_word_is_made_again(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await queue.get_queue_stats()
    submit = Link.submit
    lost: list[Request] = []

    def lose_one(link: Link, request: Request) -> None:
        called = request.transition.name if request.transition else request.args[0]
        if called == name and not lost:
            lost.append(request)
        else:
            submit(link, request)

    monkeypatch.setattr(Link, 'submit', lose_one)
    waiting = asyncio.ensure_future(queue.dequeue())
    await queue.enqueue(1, delay=0.2 if name == 'sweep' else None)
    assert (await asyncio.wait_for(waiting, 60))[1] == 1
    if name == 'BLPOP':
        while not lost:
            waiting = asyncio.ensure_future(queue.dequeue())
            await asyncio.sleep(0.1)
            await queue.enqueue(2)
            await asyncio.wait_for(waiting, 60)
    # What comes for it after all changes nothing.
    lost[0].callback(None, None)


# A connection whose end comes before it is adopted


@pytest.fixture
async def hanging_up(server: RealServer) -> AsyncIterator[tuple[redis.asyncio.Redis, list[int]]]:
    """A client whose first connections are closed by the other side right behind the handshake; how many there were."""
    counts = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts[0] += 1
        hangs_up = counts[0] <= HANGS_UP
        theirs, ours = await asyncio.open_unix_connection(server.socket)

        async def forward() -> None:
            while data := await reader.read(1 << 16):
                ours.write(data)
            ours.close()

        forwarding = asyncio.ensure_future(forward())
        lines = 0
        while data := await theirs.read(1 << 16):
            writer.write(data)
            lines += data.count(b'\r\n')
            if hangs_up and lines >= 2:
                break
        writer.close()
        await forwarding

    listener = await asyncio.start_server(serve, '127.0.0.1', 0)
    async with redis.asyncio.Redis(port=listener.sockets[0].getsockname()[1], protocol=2) as client:
        yield client, counts
    listener.close()


async def test_a_connection_that_was_closed_before_it_was_adopted_is_made_anew(
    hanging_up: tuple[redis.asyncio.Redis, list[int]],
    queue: Torrelque,
    queue_name: str,
    monkeypatch: pytest.MonkeyPatch,
    bound: Bound,
) -> None:
    """Nobody reads from it any more; without a look at its end, only the server's silence would tell."""
    attempt = Connection._attempt

    async def attempt_and_dawdle(connection: Connection, made: list[Any]) -> None:
        await attempt(connection, made)
        hangs_up = hasattr(made[0], 'port') and client_counts[0] <= HANGS_UP
        while hangs_up and not made[0]._reader._eof:
            await asyncio.sleep(0.001)

    monkeypatch.setattr(Connection, '_attempt', attempt_and_dawdle)
    bound(silence=1e6, repeat=1e6)
    client, client_counts = hanging_up
    await queue.enqueue(1)
    async with Torrelque(client, queue=queue_name) as faulty:
        assert (await asyncio.wait_for(faulty.dequeue(), 60))[1] == 1
        waiting = asyncio.ensure_future(faulty.dequeue())
        await queue.enqueue(2)
        assert (await asyncio.wait_for(waiting, 60))[1] == 2
    assert client_counts[0] > HANGS_UP


async def test_a_link_whose_timer_was_lost_is_looked_after(
    proxy: Proxy, queue: Torrelque, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its silence would be noticed by nobody."""
    tick = Link._tick
    lost: list[Link] = []

    def lose_one(link: Link) -> None:
        if lost or faulty._session is None or link is not faulty._session._link:
            tick(link)
        else:
            lost.append(link)

    async with proxy.client() as client, Torrelque(client, queue=queue_name) as faulty:
        await faulty.get_queue_stats()
        monkeypatch.setattr(Link, '_tick', lose_one)
        proxy.mute(calls_of('claim'))
        waiting = asyncio.ensure_future(faulty.dequeue())
        await queue.enqueue(1)
        assert (await asyncio.wait_for(waiting, 60))[1] == 1
        assert lost
