"""One connection, of one thread at a time."""

import contextlib
import os
import select
import socket
import ssl
import time
from typing import Any

import hiredis

from torrelque.protocol.bounds import Bounds
from torrelque.protocol.replies import MISSING, PUSH

CHUNK = 1 << 16
"""Bytes that are sent or received at once."""


class Connection:
    """A socket whose handshake is done, and what is said over it."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._bounds = bounds
        self._process = os.getpid()
        """The process that connected; after a fork the socket is not the child's to shut."""
        self._socket = sock
        self._reader = hiredis.Reader(notEnoughData=MISSING)
        self._owed = 0
        """Replies for which nobody waits, and which come before that to the next command."""
        self._timeout = bounds.silence
        """What the socket's timeout (s) is set to."""
        self._socket.settimeout(bounds.silence)
        self._poll = None
        """Tells whether something came, of which `usable` asks."""
        if hasattr(select, 'poll'):
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)

    def usable(self) -> bool:
        """Whether the connection is in order: the server has not closed it since it was put away."""
        if self._poll is not None and not self._poll.poll(0):
            return True
        # Something came: the end, a reply that nobody waits for, a notification, or bytes of the TLS layer.
        try:
            self._socket.settimeout(0)
            data = self._socket.recv(CHUNK)
            if not data:
                return False
            self._reader.feed(data)
            if not self._owed and self._next() is not MISSING:
                # The reply is to no command.
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
            # A large call that is still being sent is no silence of the server, so each piece has the whole time.
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
            if reply is MISSING:
                data = receive(CHUNK)
                if not data:
                    raise ConnectionResetError('the server closed the connection')
                reader.feed(data)
                heard += len(data)
                now = time.monotonic()
                if not end or heard >= self._bounds.trickle_bytes * self._bounds.silence:
                    # A large reply is still coming: its next part has the whole time again.
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
            # After a fork the connection is the other process's, which would see the end as well.
            return
        with contextlib.suppress(OSError):
            # Only the thread that reads may touch the state of the TLS layer, so the socket below it is shut.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self.interrupt()
        self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, '_socket'):
            self.close()
