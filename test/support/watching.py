"""Watches and their listeners, for tests: what they show, and what is done to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.bounding import Bound, bind
from support.proxy import Proxy, calls_of
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskState, TorrelqueTaskStatus as Status

READ = calls_of('state')


def reads_of(proxy: Proxy) -> int:
    return sum(b''.join(proxy.requests).count(part) for part in READ)


async def statuses(watched: Any) -> list[Status]:
    return [state.status async for state in watched]


async def begin(queue: Torrelque, task_id: str, **options: Any) -> tuple[Any, TorrelqueTaskState]:
    """A watch that has yielded its first state, and that state."""
    watched = queue.watch(task_id, **options)
    return watched, await anext(watched)


async def channels(client: Any) -> list[bytes]:
    return sorted(await client.pubsub_channels())


async def until_unsubscribed(client: Any) -> None:
    while await channels(client):
        await asyncio.sleep(0.005)


async def kill_listeners(client: Any) -> int:
    """Kill the connections that listen; how many there were.  Who listens is known by its commands: a connection of
    RESP3 that listens is none of type pubsub for every server."""
    found = [item for item in await client.client_list() if item['cmd'] in ('subscribe', 'unsubscribe')]
    for item in found:
        await client.client_kill_filter(_id=item['id'])
    return len(found)


async def without_listener(client: Any, queue: Any) -> None:
    """Kill the connection that listens, and let no other come in its place."""
    await client.config_set('maxclients', len(await client.client_list()) - 1)
    assert await kill_listeners(client) == 1
    while queue._session.hub._listener.connected:
        await asyncio.sleep(0.005)


@pytest.fixture
def server(request: pytest.FixtureRequest, server: RealServer) -> RealServer:
    """A server that tells what has changed; with the parameter 'plain', one that does not."""
    if getattr(request, 'param', 'told') == 'told':
        return server
    plain: RealServer = request.getfixturevalue('plain_server')
    return plain


both = pytest.mark.parametrize('server', ['told', 'plain'], indirect=True)
"""For a test that is to run on both."""


@pytest.fixture
async def faulty(proxy: Proxy, queue_name: str) -> AsyncIterator[Torrelque]:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        yield queue


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second line of defence: what happens is the effect of notifications, and of what the test is about."""
    bind(monkeypatch, watch_tick=3600)


@pytest.fixture
def fast(still: None, bound: Bound) -> None:
    """The second line of defence comes sooner, for tests that would wait for it."""
    bound(watch_tick=0.1)


@pytest.fixture
def unsafe(fast: None, bound: Bound) -> None:
    """The connection is looked after, but nothing is read in case a notification was lost."""
    bound(watch_safety_ticks=10**6)


@pytest.fixture
def as_it_is(still: None, bound: Bound) -> None:
    """The second line of defence as it is outside tests."""
    bound(watch_tick=1.0)
