"""Queues with shards: on one server, on three that know nothing of each other, in a Cluster."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import redis.asyncio

from support.servers import RealServer
from support.topology import Cluster
from torrelque import TorrelqueTaskId
from torrelque.sharded import Sharded
from torrelque.sharded.shards import of_group, spread_tags

NAME = 'email'


@contextlib.asynccontextmanager
async def open_one(server: RealServer, shards: int = 3, **options: Any) -> AsyncIterator[Sharded]:
    """A queue whose shards are on one server."""
    async with server.client() as client, Sharded(client, queue=NAME, shards=shards, **options) as queue:
        yield queue


@contextlib.asynccontextmanager
async def open_servers(servers: Sequence[RealServer], **options: Any) -> AsyncIterator[Sharded]:
    """A queue with a shard on each of some servers, if no other number is said."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.client()) for server in servers]
        yield await stack.enter_async_context(Sharded(clients, queue=NAME, **options))


@contextlib.asynccontextmanager
async def open_cluster(cluster: Cluster, shards: int = 3, **options: Any) -> AsyncIterator[Sharded]:
    """A queue whose shards are in a Cluster."""
    async with cluster.client() as client, Sharded(client, queue=NAME, shards=shards, **options) as queue:
        yield queue


@contextlib.asynccontextmanager
async def open_three(opened: Callable[[], Any]) -> AsyncIterator[list[Sharded]]:
    """Objects of one queue, as of three processes."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(opened()) for _ in range(3)]


async def all_keys(*clients: redis.asyncio.Redis) -> set[Any]:
    """All keys of some servers."""
    return {key for client in clients for key in await client.keys('*')}


def group_of(shard: int, count: int, name: str = 'group') -> str:
    """A name of a group that is in a shard."""
    return next(group for k in range(10_000) if of_group(group := f'{name}-{k}', count) == shard)


def numbers_of(queue: Sharded, task_ids: Sequence[str]) -> list[int]:
    """Which shards tasks are in, by what is asked of the queue."""
    return [queue.shards.index(queue.shard_of(task_id)) for task_id in task_ids]


def tags_of(count: int) -> tuple[str, ...]:
    return spread_tags(NAME, count)


async def drain(queue: Sharded) -> list[tuple[TorrelqueTaskId, Any]]:
    """Take and release whatever there is."""
    found: list[tuple[TorrelqueTaskId, Any]] = []
    while (await queue.get_queue_stats()).pending:
        some = await queue.dequeue_many(100, 20)
        assert all(await queue.release_many([task_id for task_id, _ in some]))
        found += some
    return found
