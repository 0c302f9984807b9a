"""The caller's client: what it must be, how connections are made from it, and which queues share one."""

import asyncio
import inspect
import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import redis.asyncio
import redis.asyncio.client
import redis.asyncio.cluster
import redis.exceptions

from torrelque.error import TorrelqueError, TorrelqueTypeError
from torrelque.protocol.bounds import Bounds

from . import farewell
from .connection import Connector
from .link import Link

Client = redis.asyncio.Redis | redis.asyncio.RedisCluster
Pipeline = redis.asyncio.client.Pipeline | redis.asyncio.cluster.ClusterPipeline


class _PoolConnector:
    """The server of a plain client, or the primary that a Sentinel names."""

    cluster = False

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.client = client

    async def make(self, anew: bool) -> Any:
        # The connection is made like the pool's own but not counted there, because a small pool is for the caller's
        # commands.
        return self.client.connection_pool.make_connection()


class _ClusterConnector:
    """The node of a Cluster that has the slot of a key."""

    cluster = True

    def __init__(self, client: redis.asyncio.RedisCluster, key: str) -> None:
        self.client = client
        self._key = key

    async def make(self, anew: bool) -> Any:
        await self.client.initialize()
        if anew:
            await self.client.nodes_manager.initialize()
        node = self.client.get_node_from_key(self._key)
        if node is None:
            raise redis.exceptions.ClusterDownError('no node has the slot of the queue')
        return node.connection_class(**node.connection_kwargs)


def notification_channel(client: Client, key: str) -> str:
    """The channel of a client's database on which the server tells of a key."""
    pool = client if isinstance(client, redis.asyncio.RedisCluster) else client.connection_pool
    return f'__keyspace@{pool.connection_kwargs.get("db") or 0}__:{key}'


def make_connector(client: Client, key: str) -> Connector:
    """What connects to the server, or the node of a Cluster, that has a key."""
    if isinstance(client, redis.asyncio.RedisCluster):
        return _ClusterConnector(client, key)
    return _PoolConnector(client)


# Links for calls, shared by the queues of one client and loop

_Place = tuple[asyncio.AbstractEventLoop, int | None, Bounds]
_Links = dict[_Place, tuple[Link, list[object], farewell.Farewell]]

_links: 'weakref.WeakKeyDictionary[Any, _Links]' = weakref.WeakKeyDictionary()
# The event loops of one client may be in several threads, so their links have a lock.  A thread that holds it may be
# the one that collects a queue object and forgets its link, so it is reentrant, and loops under it go through a copy of
# the keys.
_sharing = threading.RLock()


def _unlock() -> None:
    global _sharing
    _sharing = threading.RLock()


if hasattr(os, 'register_at_fork'):
    # Another thread of the parent may hold the lock, and does not exist in the child to let it go.
    os.register_at_fork(after_in_child=_unlock)


def share_link(client: Client, key: str, user: object, bounds: Bounds) -> Link:
    """The link for calls of a client, for one more user of it."""
    loop = asyncio.get_running_loop()
    slot = client.keyslot(key) if isinstance(client, redis.asyncio.RedisCluster) else None
    with _sharing:
        links = _links.setdefault(client, {})
        over = [place for place in [*links] if place[0].is_closed()]
        # Links of closed loops are kept until the lock is free, because what they refer to may have a finaliser.
        gone = [links.pop(place, None) for place in over]
        place = loop, slot, bounds
        if place not in links:
            link = Link(make_connector(client, key), bounds)
            links[place] = link, [], farewell.begin(link)
        link, users, _ = links[place]
        users.append(user)
    del gone
    return link


def leave_link(client: Client, link: Link, user: object) -> None:
    """Give a shared link up; the last user closes it."""
    gone = None
    with _sharing:
        links = _links.get(client, {})
        place = _place_of(link, links)
        if place is not None:
            _, users, _ = links[place]
            users.remove(user)
            gone = None if users else links.pop(place)
    if gone is not None:
        link.close()
        farewell.end(gone[2])


def forget_link(client: Client, link: Link) -> None:
    """Forget a link whose event loop is closed; from any thread, and in the middle of whatever."""
    with _sharing:
        links = _links.get(client, {})
        place = _place_of(link, links)
        gone = None if place is None else links.pop(place, None)
    del gone


def _place_of(link: Link, links: _Links) -> _Place | None:
    for place in [*links]:
        if (found := links.get(place)) is not None and found[0] is link:
            return place
    return None


def check_client(client: object) -> None:
    """Refuse what is not an asynchronous client of a server or of a Cluster."""
    kinds = (redis.asyncio.Redis, redis.asyncio.RedisCluster)
    if not isinstance(client, kinds) or isinstance(client, redis.asyncio.client.Pipeline):
        raise TorrelqueTypeError(
            f'the client must be a redis.asyncio.Redis or redis.asyncio.RedisCluster, not {type(client).__name__}'
        )


async def add_to_pipeline(client: Client, pipeline: Any, words: Sequence[Any]) -> None:
    """Make a call part of a caller's transaction; refuse what is not a pipeline of this client."""
    if isinstance(pipeline, redis.asyncio.client.Pipeline) and isinstance(client, redis.asyncio.Redis):
        if pipeline.connection_pool is not client.connection_pool:
            raise TorrelqueError('the pipeline must be of the same client as the queue')
    elif isinstance(pipeline, redis.asyncio.cluster.ClusterPipeline) and isinstance(client, redis.asyncio.RedisCluster):
        if pipeline.cluster_client is not client:
            raise TorrelqueError('the pipeline must be of the same client as the queue')
    else:
        raise TorrelqueTypeError(f'the pipeline must be one of the client, not {type(pipeline).__name__}')
    if isinstance(client, redis.asyncio.RedisCluster):
        # The pipeline would otherwise initialise the client in a thread with an event loop of its own.
        await client.initialize()
    queued = pipeline.execute_command(*words)
    if inspect.iscoroutine(queued):
        queued.close()
        raise TorrelqueError('the pipeline watches keys and sends at once; call its multi() first')
