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

from torrelque.protocol.bounds import Bounds
from torrelque.protocol.replies import PUSH

CHUNK = 1 << 16

_MISSING = object()


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


class Wire:
    """A connection of the client library, whose socket is read and written here."""

    def __init__(self, connection: Any, bounds: Bounds, timeout: float) -> None:
        # Its repetition and its patience are ours.
        connection.socket_timeout = connection.socket_connect_timeout = min(timeout, bounds.connect)
        connection.retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        make, end = connection._connect, time.monotonic() + connection.socket_timeout
        connection._connect = lambda: _Hurried(make(), end)
        try:
            connection.connect()
        except BaseException as exc:
            connection.disconnect()
            if isinstance(exc, (LookupError, AttributeError, TypeError, ValueError)):
                # The client library does not make out what the server says.
                raise ConnectionError(f'the handshake failed: {exc!r}') from exc
            raise
        self._process = os.getpid()
        # Nothing else of it is kept: it may refer to the client, which has this.
        self._socket: socket.socket = connection._sock.socket
        connection._sock = None
        self._reader = hiredis.Reader(notEnoughData=_MISSING)
        self._owed = 0
        self._bounds = bounds
        self._timeout = bounds.silence
        self._socket.settimeout(bounds.silence)
        self._poll = None
        if hasattr(select, 'poll'):
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)

    def usable(self) -> bool:
        """Whether the server has not closed it since it was put away."""
        if self._poll is not None and not self._poll.poll(0):
            return True
        # What came may also be a reply that nobody waits for, a notification, or of the TLS layer.
        try:
            self._socket.settimeout(0)
            data = self._socket.recv(CHUNK)
            if not data:
                return False
            self._reader.feed(data)
            if not self._owed and self._next() is not _MISSING:
                # Nobody has asked for it.
                return False
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            return False
        self._socket.settimeout(self._timeout)
        return True

    def send(self, data: bytes, timeout: float) -> None:
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
        self.send(data, self._bounds.silence)
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
                if not end or heard >= self._bounds.trickle_bytes * self._bounds.silence:
                    # Of a large reply that is still coming.
                    heard, end = 0, now + patience
                elif now >= end:
                    raise TimeoutError('the server says next to nothing')
                self._socket.settimeout(end - now)
                self._timeout = -1  # another than that of any command
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
            # Forked: it is the other process's, which would see the end as well.
            return
        with contextlib.suppress(OSError):
            # Below the TLS layer, which is the other thread's.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self.interrupt()
        self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, '_socket'):
            self.close()
