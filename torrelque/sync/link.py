"""Calls of any number of threads to the server that has a queue: send, resend.

Connections are kept beside the client's pool, one for each thread that is in the middle of a call; all queues of one
client share them.  A call whose reply is lost is sent again, marked as sent before.
"""

import math
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import hiredis
import redis
import redis.cluster
import redis.exceptions

from torrelque import TorrelqueConnectionError, TorrelqueError, TorrelqueTypeError
from torrelque.protocol.bounds import Bounds
from torrelque.protocol.refusals import ELSEWHERE, NOT_RUN, error_code, final_error, server_error
from torrelque.protocol.transition import Arg, Transition, pack

from .connection import Wire

Client = redis.Redis | redis.RedisCluster

_TROUBLES = (OSError, redis.exceptions.RedisError, redis.exceptions.RedisClusterException)


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


# Lines, shared by the queues of one client

_lines: 'weakref.WeakKeyDictionary[Any, dict[tuple[int | None, Bounds], Line]]' = weakref.WeakKeyDictionary()
_sharing = threading.Lock()


def _unlock() -> None:
    global _sharing
    _sharing = threading.Lock()


if hasattr(os, 'register_at_fork'):
    # Another thread of the parent may hold it, and is not here to let it go.
    os.register_at_fork(after_in_child=_unlock)


def share_line(client: Client, key: str, user: object, bounds: Bounds) -> 'Line':
    """The line of a client to the server that has a key, for one more user of it."""
    # Clients may be many for one pool.
    owner = client if isinstance(client, redis.RedisCluster) else client.connection_pool
    slot = client.keyslot(key) if isinstance(client, redis.RedisCluster) else None
    with _sharing:
        lines = _lines.setdefault(owner, {})
        place = slot, bounds
        if place not in lines:
            lines[place] = Line(owner, key, bounds)
            weakref.finalize(owner, lines[place].disconnect)
        lines[place].users.add(user)
        return lines[place]


class Line:
    """Connections to the server that has a key, each for one thread at a time."""

    def __init__(self, owner: Any, key: str, bounds: Bounds) -> None:
        self.bounds = bounds
        self.users: weakref.WeakSet[object] = weakref.WeakSet()
        self.established = False
        """Whether there ever was a connection."""
        self._owner = weakref.ref(owner)  # which has this as long as it lives
        self._cluster = isinstance(owner, redis.RedisCluster)
        self._key = key
        self._idle: list[Wire] = []
        self._process = os.getpid()
        self._anew = False

    def leave(self, user: object) -> None:
        """Give the line up; the last user disconnects it."""
        with _sharing:
            self.users.discard(user)
            left = len(self.users)
        if not left:
            self.disconnect()

    def disconnect(self) -> None:
        """Close the connections that no thread uses."""
        idle, self._idle = self._idle, []
        if self._process == os.getpid():
            for wire in idle:
                wire.close()

    # Connections

    def take(self, timeout: float = math.inf) -> Wire:
        """A connection, which is the caller's until it is put back or closed."""
        if self._process != os.getpid():
            # Forked: these are the other process's.
            self._idle, self._process = [], os.getpid()
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                break
            if wire.usable():
                return wire
            wire.close()
        wire = Wire(self._make(), self.bounds, timeout)
        self.established = True
        return wire

    def put(self, wire: Wire) -> None:
        """Keep a connection that is in order for the next call."""
        self._idle.append(wire)

    def _make(self) -> Any:
        owner = self._owner()
        assert owner is not None
        if not self._cluster:
            # Made like the pool's own but not counted there: a small pool is the caller's, for the caller's commands.
            return owner.connection_class(**owner.connection_kwargs)
        if self._anew:
            owner.nodes_manager.initialize()
            self._anew = False
        pool = owner.get_redis_connection(owner.get_node_from_key(self._key)).connection_pool
        return pool.connection_class(**pool.connection_kwargs)

    # Calls

    def post(self, *words: Arg) -> None:
        """Send a command whose effect is of use but not needed."""
        wire = None
        try:
            wire = self.take()
            wire.post(pack(words))
            self.put(wire)
        except _TROUBLES:
            if wire is not None:
                wire.close()

    def call(
        self, transition: Transition | None, args: Sequence[Arg], resent: bool = False, until: float = math.inf
    ) -> Any:
        """The reply to a call, which is repeated for ``Bounds.repeat``, or until the clock `time.monotonic` says so."""
        whole = False
        spent = delay = 0.0
        while True:
            began = time.monotonic()
            wire = None
            sent = False
            try:
                wire = self.take(max(self.bounds.min_call, until - began))
                data = pack(args) if transition is None else transition.pack(args, resent, whole)
                sent = True
                left = math.inf if until == math.inf else max(self.bounds.min_call, until - time.monotonic())
                wire.send(data, min(self.bounds.silence, left))
                reply = wire.receive()
            except _TROUBLES as exc:
                if wire is not None:
                    wire.close()
                if not sent and (final := final_error(exc)):
                    raise final from None
                resent = resent or sent
                # The others are likely to be as dead, and to find out takes as long for each.
                self._lose()
                error: Exception = exc
                what = str(exc) or repr(exc)
                why = f'no answer of the server: {what}' if sent else f'no connection to the server: {what}'
            except BaseException:
                if wire is not None:
                    wire.close()
                raise
            else:
                if not isinstance(reply, hiredis.ReplyError):
                    self._idle.append(wire)
                    return reply
                if error_code(str(reply)) == 'NOSCRIPT' and not whole and transition is not None:
                    self.put(wire)
                    whole = True
                    continue
                error = self._refused(wire, str(reply))
                why = f'the server does not serve: {error}'
            # A process that was stopped does not take that time for the server's.
            spent += min(time.monotonic() - began, 2 * self.bounds.silence) + delay
            if spent >= self.bounds.repeat or time.monotonic() >= until:
                raise TorrelqueConnectionError(why) from error
            delay = min(0.5, max(0.05, delay * 2))
            time.sleep(min(delay, max(0.0, until - time.monotonic())))

    def _refused(self, wire: Wire, message: str) -> Exception:
        """The error of a call that was not carried out and is to be sent again; any other is raised."""
        code = error_code(message)
        if code in ELSEWHERE and (code != 'MOVED' or self._cluster):
            wire.close()
            self._lose()
            return server_error(message)
        self.put(wire)
        if code == 'MOVED':
            raise TorrelqueTypeError(f'this server is a Cluster; it needs a RedisCluster ({message})')
        if code in NOT_RUN:
            return server_error(message)
        raise server_error(message)

    def _lose(self) -> None:
        self._anew = True
        self.disconnect()
