"""The caller's client: what it must be, how sockets are made from it, and which queues share a link.

The client library connects (address, TLS, authentication, database, Sentinel); from then on the socket is ours, because
the library's own repetition would run a script twice without saying so.
"""

import os
import socket
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import redis
import redis.backoff
import redis.client
import redis.cluster
import redis.retry

from torrelque import TorrelqueError, TorrelqueTypeError
from torrelque.protocol.bounds import Bounds

from .link import Connector, Link

Client = redis.Redis | redis.RedisCluster
Pipeline = redis.client.Pipeline | redis.cluster.ClusterPipeline


def check_client(client: object) -> None:
    """Refuse what is not a synchronous client of a server or of a Cluster."""
    kinds = (redis.Redis, redis.RedisCluster)
    if not isinstance(client, kinds) or isinstance(client, (redis.client.Pipeline, redis.cluster.ClusterPipeline)):
        kind = f'{type(client).__module__.removesuffix(".client")}.{type(client).__name__}'
        raise TorrelqueTypeError(f'the synchronous queue takes a redis.Redis or redis.RedisCluster, not {kind}')


def add_to_pipeline(client: Client, pipeline: Any, words: Sequence[Any]) -> None:
    """Make a call part of a caller's transaction; refuse what is not a pipeline of this client."""
    if isinstance(pipeline, redis.client.Pipeline) and isinstance(client, redis.Redis):
        same = pipeline.connection_pool is client.connection_pool
        at_once = pipeline.watching and not pipeline.explicit_transaction
    elif isinstance(pipeline, redis.cluster.ClusterPipeline) and isinstance(client, redis.RedisCluster):
        same = pipeline.nodes_manager is client.nodes_manager
        strategy = pipeline._execution_strategy
        at_once = getattr(strategy, '_watching', False) and not getattr(strategy, '_explicit_transaction', False)
    else:
        raise TorrelqueTypeError(f'the pipeline must be one of the client, not {type(pipeline).__name__}')
    if not same:
        raise TorrelqueError('the pipeline must be of the same client as the queue')
    if at_once:
        raise TorrelqueError('the pipeline watches keys and sends at once; call its multi() first')
    pipeline.execute_command(*words)


# Sockets


class _Hurried:
    """A socket whose handshake has an end, however slowly the other side talks."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self.socket = sock
        self._end = end

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)

    def recv_into(self, *args: Any) -> int:
        """As that of the socket."""
        self._hurry()
        return self.socket.recv_into(*args)

    def recv(self, *args: Any) -> bytes:
        """As that of the socket."""
        self._hurry()
        return self.socket.recv(*args)

    def _hurry(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError('the handshake takes too long')
        self.socket.settimeout(left)


def take_over(connection: Any, timeout: float) -> socket.socket:
    """Have a connection of the client library connect, in ``timeout`` (s) at the most; its socket, now the caller's.

    Nothing else of the connection is kept, because it may refer to the client, whose finalizer has the socket's link.
    """
    # The library neither repeats nor waits here; the link does.
    connection.socket_timeout = connection.socket_connect_timeout = timeout
    connection.retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    make, end = connection._connect, time.monotonic() + connection.socket_timeout
    connection._connect = lambda: _Hurried(make(), end)
    try:
        connection.connect()
    except BaseException as exc:
        connection.disconnect()
        if isinstance(exc, (LookupError, AttributeError, TypeError, ValueError)):
            # The client library does not understand what the server says.
            raise ConnectionError(f'the handshake failed: {exc!r}') from exc
        raise
    taken: socket.socket = connection._sock.socket
    connection._sock = None
    return taken


class _PoolConnector:
    """The server of a plain client's pool, or the primary that a Sentinel names."""

    cluster = False

    def __init__(self, pool: Any) -> None:
        # The pool's finalizer holds the link, which holds this connector; so the connector's reference is weak.
        self._pool = weakref.ref(pool)

    def connect(self, anew: bool, timeout: float) -> socket.socket:
        pool = self._pool()
        assert pool is not None
        # The connection is made like the pool's own but not counted there, because a small pool is for the caller's
        # commands.
        return take_over(pool.connection_class(**pool.connection_kwargs), timeout)


class _ClusterConnector:
    """The node of a Cluster that has the slot of a key."""

    cluster = True

    def __init__(self, client: redis.RedisCluster, key: str) -> None:
        # The client's finalizer holds the link, which holds this connector; so the connector's reference is weak.
        self._client = weakref.ref(client)
        self._key = key

    def connect(self, anew: bool, timeout: float) -> socket.socket:
        client: Any = self._client()
        assert client is not None
        if anew:
            client.nodes_manager.initialize()
        pool = client.get_redis_connection(client.get_node_from_key(self._key)).connection_pool
        return take_over(pool.connection_class(**pool.connection_kwargs), timeout)


# Links, shared by the queues of one client

_links: 'weakref.WeakKeyDictionary[Any, dict[tuple[int | None, Bounds], Link]]' = weakref.WeakKeyDictionary()
_sharing = threading.Lock()


def _unlock() -> None:
    global _sharing
    _sharing = threading.Lock()


if hasattr(os, 'register_at_fork'):
    # Another thread of the parent may hold the lock, and does not exist in the child to let it go.
    os.register_at_fork(after_in_child=_unlock)


def share_link(client: Client, key: str, user: object, bounds: Bounds) -> Link:
    """The link of a client to the server that has a key, for one more user of it."""
    owner: Any
    slot: int | None = None
    connector: Connector
    if isinstance(client, redis.RedisCluster):
        owner, slot, connector = client, client.keyslot(key), _ClusterConnector(client, key)
    else:
        # Several clients may share a pool, so the pool is the owner.
        owner = client.connection_pool
        connector = _PoolConnector(owner)
    with _sharing:
        links = _links.setdefault(owner, {})
        place = slot, bounds
        if place not in links:
            links[place] = Link(connector, bounds)
            weakref.finalize(owner, links[place].disconnect)
        links[place].users.add(user)
        return links[place]


def leave_link(link: Link, user: object) -> None:
    """Give a shared link up; the last user disconnects it."""
    with _sharing:
        link.users.discard(user)
        left = len(link.users)
    if not left:
        link.disconnect()
