"""Waits for a state of a queue, or of the connections of a server, to be there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from support.servers import RealServer
from torrelque import Torrelque, TorrelqueQueue


async def idle(queue: TorrelqueQueue, tasks: int | None = 0) -> None:
    """Wait until the queue has so many tasks, None is any number, and nobody holds one."""
    while (stats := await queue.get_queue_stats()).working or tasks not in (None, stats.tasks):
        await asyncio.sleep(0.005)


async def until_idle(server: RealServer, seconds: float, tasks: int | None = None) -> None:
    """The same of an event loop's own, with a bound."""
    async with server.client() as client, Torrelque(client) as queue:
        await asyncio.wait_for(idle(queue, tasks), seconds)


async def until_waiting(client: Redis, count: int = 1) -> None:
    """Wait until so many connections wait at the bell."""
    while sum(c['cmd'] == 'blpop' for c in await client.client_list()) < count:
        await asyncio.sleep(0.005)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that no event tells of."""
    while not condition():
        await asyncio.sleep(0.005)


async def nothing_left(client: Redis, queue: TorrelqueQueue, counted: bool = False) -> bool:
    """Whether the queue has no key at all; with ``counted``, none but those of what hearts have counted."""
    prefix = queue.keys['pending'].removesuffix('pending')
    keys: Any = await client.keys('*')
    records = tuple(f'{prefix}{name}' for name in ('minute:', 'hour:', 'totals', 'sampled')) if counted else ()
    own = [name for name in map(bytes.decode, keys) if name.startswith(prefix)]
    return not [name for name in own if not name.startswith(records)] if records else not own


async def until_free(client: Redis, queue: Torrelque, counted: bool = False) -> None:
    """Wait until `nothing_left`."""
    while not await nothing_left(client, queue, counted):
        await asyncio.sleep(0.005)
