"""One connection, of one thread at a time.

The client library makes it (address, TLS, authentication, database, Sentinel); from then on it is ours, so the
library's own repetition, which would run a script twice without saying so, has no part in it.
"""

import contextlib
import os
import select
import socket
import ssl
import time
from typing import Any

import hiredis
import redis.backoff
import redis.retry

from torrelque.protocol.refusals import CONNECT_TIMEOUT, SILENT
from torrelque.protocol.replies import PUSH

CHUNK = 1 << 16

_MISSING = object()


TRICKLE = 3000
"""Bytes of a reply in the time that a server may be silent that are no more than silence."""


class _Hurried:
    """A socket whose handshake ends in time, however slowly the other side talks."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self.socket = sock
        self._end = end

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)

    def recv_into(self, *args: Any) -> int:
        """As the socket's own, until the time is over."""
        self._hurry()
        return self.socket.recv_into(*args)

    def recv(self, *args: Any) -> bytes:
        """As the socket's own, until the time is over."""
        self._hurry()
        return self.socket.recv(*args)

    def _hurry(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError('the handshake takes too long')
        self.socket.settimeout(left)


class Wire:
    """A connection of the client library, whose socket is read and written here."""

    def __init__(self, connection: Any, timeout: float = CONNECT_TIMEOUT) -> None:
        # The client library neither repeats nor waits: both are done by the link.
        connection.socket_timeout = connection.socket_connect_timeout = min(timeout, CONNECT_TIMEOUT)
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
        self._process = os.getpid()
        """The process that made it: after a fork the socket is that one's."""
        # The socket alone is kept of the library's connection, because that may refer to the client, which refers to
        # this object.
        self._socket: socket.socket = connection._sock.socket
        connection._sock = None
        self._reader = hiredis.Reader(notEnoughData=_MISSING)
        """Makes replies of bytes."""
        self._owed = 0
        """Replies to come for which nobody waits, before that of the next command."""
        self._timeout = SILENT
        """How long the socket waits (s) as it is set; -1 where that is the rest of a command's time."""
        self._socket.settimeout(SILENT)
        self._poll = None
        """Tells whether there is something to read; None where the system has no such thing."""
        if hasattr(select, 'poll'):
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)

    def usable(self) -> bool:
        """Whether the connection is in order: the server has not closed it since it was put away."""
        if self._poll is not None and not self._poll.poll(0):
            return True
        # There is something to read: the end of the connection or a reply for which nobody waits, a notification, or
        # bytes of the TLS layer.
        try:
            self._socket.settimeout(0)
            data = self._socket.recv(CHUNK)
            if not data:
                return False
            self._reader.feed(data)
            if not self._owed and self._next() is not _MISSING:
                # It is a reply for which nobody has asked.
                return False
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            return False
        self._socket.settimeout(self._timeout)
        return True

    def send(self, data: bytes, timeout: float = SILENT) -> None:
        """Send a command; from now on the server may be silent for ``timeout`` (s)."""
        if timeout != self._timeout:
            self._timeout = timeout
            self._socket.settimeout(timeout)
        if len(data) <= CHUNK:
            self._socket.sendall(data)
        else:
            # A large call that is still being sent is no silence of the server.
            rest = memoryview(data)
            while rest:
                rest = rest[self._socket.send(rest[:CHUNK]) :]

    def post(self, data: bytes) -> None:
        """Send a command whose reply nobody waits for."""
        self.send(data)
        self._owed += 1

    def receive(self) -> Any:
        """The reply to the command that was sent last; an error of the server is returned."""
        reader, receive = self._reader, self._socket.recv
        heard = end = 0.0
        patience = self._timeout
        while True:
            reply = self._next()
            if reply is _MISSING:
                data = receive(CHUNK)
                if not data:
                    raise ConnectionResetError('the server closed the connection')
                reader.feed(data)
                heard += len(data)
                now = time.monotonic()
                if not end or heard >= TRICKLE:
                    # A large reply is still coming: the server is not silent.
                    heard, end = 0, now + patience
                elif now >= end:
                    raise TimeoutError('the server says next to nothing')
                self._socket.settimeout(end - now)
                self._timeout = -1  # so that the next command sets its own
            elif self._owed:
                self._owed -= 1
            else:
                return reply

    def _next(self) -> Any:
        """The next reply that is there and no notification."""
        try:
            while isinstance(reply := self._reader.gets(), PUSH):
                pass
        except Exception as exc:
            raise ConnectionError(f'the server talks in another way: {exc!r}') from exc
        return reply

    def interrupt(self) -> None:
        """Have the thread that waits for a reply see the end of the connection."""
        if self._process != os.getpid():
            # The process was forked, and the connection is its parent's, which would see the end as well.
            return
        with contextlib.suppress(OSError):
            # Not by the TLS layer, which belongs to the thread that waits.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self.interrupt()
        self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, '_socket'):
            self.close()
