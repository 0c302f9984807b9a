"""Calls of any number of threads to the server that has a queue: send, resend.

Connections are kept beside the client's pool, one for each thread that is in the middle of a call; all queues of one
client share them.  A call whose reply is lost is sent again, marked as sent before.
"""

import math
import os
import socket
import time
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import hiredis
import redis.exceptions

from torrelque import TorrelqueConnectionError, TorrelqueTypeError
from torrelque.error import of_queue
from torrelque.protocol.bounds import Bounds
from torrelque.protocol.refusals import ELSEWHERE, NOT_RUN, error_code, final_error, server_error
from torrelque.protocol.replies import text
from torrelque.protocol.transition import Arg, Transition, pack, with_place

from .connection import Connection

_TROUBLES = (OSError, redis.exceptions.RedisError, redis.exceptions.RedisClusterException)


class Connector(Protocol):
    """Makes sockets to the server that has the queue."""

    cluster: bool
    """Whether the server may be another one after an error that says so."""

    def connect(self, anew: bool, timeout: float) -> socket.socket:
        """A socket with its handshake done, in ``timeout`` (s); ``anew`` after something went wrong with the last."""
        ...


class Link:
    """Connections to the server that has a key, each for one thread at a time."""

    def __init__(self, connector: Connector, bounds: Bounds) -> None:
        self.bounds = bounds
        """Limits and times of the queue objects that have this link."""
        self.users: weakref.WeakSet[object] = weakref.WeakSet()
        """The queue objects that have this link."""
        self.established = False
        """Whether there ever was a connection."""
        self._connector = connector
        self._idle: list[Connection] = []
        """Connections that no thread uses, the one that was used last at the end."""
        self._process = os.getpid()
        """The process that made them."""
        self._anew = False
        """Whether something went wrong with a connection, so that a Cluster is to be asked where the queue is."""

    def disconnect(self) -> None:
        """Close the connections that no thread uses."""
        idle, self._idle = self._idle, []
        if self._process == os.getpid():
            for connection in idle:
                connection.close()

    # Connections

    def take(self, timeout: float = math.inf) -> Connection:
        """A connection, which is the caller's until it is put back or closed."""
        if self._process != os.getpid():
            # After a fork the idle connections are the other process's.
            self._idle, self._process = [], os.getpid()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if connection.usable():
                return connection
            connection.close()
        anew, self._anew = self._anew, False
        try:
            connection = Connection(self._connector.connect(anew, min(timeout, self.bounds.connect)), self.bounds)
        except BaseException:
            self._anew = self._anew or anew
            raise
        self.established = True
        return connection

    def has_idle(self) -> bool:
        """Whether there is a connection that no thread uses and that is in order, as far as can be seen."""
        if self._process != os.getpid():
            return False
        try:
            # Taken out, it is nobody else's while it is looked at.
            connection = self._idle.pop()
        except IndexError:
            return False
        if not connection.usable():
            connection.close()
            return False
        self._idle.append(connection)
        return True

    def put(self, connection: Connection) -> None:
        """Keep a connection that is in order for the next call."""
        self._idle.append(connection)

    # Calls

    def post(self, *words: Arg) -> None:
        """Send a command whose effect is of use but not needed."""
        connection = None
        try:
            connection = self.take()
            connection.post(pack(words))
            self.put(connection)
        except _TROUBLES:
            if connection is not None:
                connection.close()

    def call(
        self, transition: Transition | None, args: Sequence[Arg], resent: bool = False, until: float = math.inf
    ) -> Any:
        """The reply to a call, which is repeated for ``Bounds.repeat``, or until the clock `time.monotonic` says so."""
        whole, bounds = False, self.bounds
        spent = delay = 0.0
        while True:
            began = time.monotonic()
            connection = None
            sent = False
            try:
                connection = self.take(max(bounds.min_call, until - began))
                data = pack(args) if transition is None else transition.pack(args, resent, whole)
                sent = True
                late = until != math.inf and min(bounds.silence, max(bounds.min_call, until - time.monotonic()))
                connection.send(data, late or bounds.silence)
                reply = connection.receive()
            except _TROUBLES as exc:
                if connection is not None:
                    connection.close()
                if not sent and (final := final_error(exc)):
                    raise final from None
                resent = resent or sent
                # The idle connections are likely to be as dead, and to find that out takes as long for each; so they
                # are closed.
                self._lose()
                error: Exception = exc
                what = str(exc) or repr(exc)
                why = f'no answer of the server: {what}' if sent else f'no connection to the server: {what}'
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
            else:
                if not isinstance(reply, hiredis.ReplyError):
                    self._idle.append(connection)
                    return reply
                if error_code(str(reply)) == 'NOSCRIPT' and not whole and transition is not None:
                    self.put(connection)
                    whole = True
                    continue
                error = self._refused(connection, str(reply), transition, args, resent)
                why = f'the server does not serve: {error}'
            # A process that was stopped (SIGSTOP, a suspended machine) does not take that time for the server's.
            spent += min(time.monotonic() - began, 2 * bounds.silence) + delay
            if spent >= bounds.repeat or time.monotonic() >= until:
                away = TorrelqueConnectionError(f'{text(args[0]) if transition is None else transition.name}: {why}')
                away.untouched = not resent
                raise away if transition is None else of_queue(transition.queue, away) from error
            delay = min(0.5, max(0.05, delay * 2))
            time.sleep(min(delay, max(0.0, until - time.monotonic())))

    def _refused(
        self, connection: Connection, message: str, transition: Transition | None, args: Sequence[Arg], resent: bool
    ) -> Exception:
        """The error of a call that was not carried out and is to be sent again; any other is raised."""
        code = error_code(message)
        if code in ELSEWHERE and (code != 'MOVED' or self._connector.cluster):
            connection.close()
            self._lose()
            return server_error(message)
        self.put(connection)
        if code == 'MOVED':
            raise TorrelqueTypeError(f'this server is a Cluster; it needs a RedisCluster ({message})')
        # Whoever sent the digest of a script of their own has the text, which nobody else could send.
        if code in NOT_RUN and not (transition is None and code == 'NOSCRIPT'):
            return server_error(message)
        raise server_error(with_place(message, transition, args), resent)

    def _lose(self) -> None:
        self._anew = True
        self.disconnect()
