"""A connection that is kept.

The client makes it (address, TLS, authentication, database, Sentinel); from then on it is ours, so the client's own
repetition, which would run a script twice without saying so, has no part in it.  It is made anew when it was lost, for
as long as somebody wants it.
"""

import asyncio
import logging
import traceback
from typing import Any, Protocol

import hiredis
import redis.asyncio.retry
import redis.backoff
import redis.exceptions

from torrelque.protocol.bounds import Bounds
from torrelque.protocol.refusals import final_error
from torrelque.protocol.replies import MISSING

logger = logging.getLogger('torrelque')


class Connector(Protocol):
    """Makes connections to the server that has the queue."""

    client: Any
    """The client that the connections are made from."""
    cluster: bool
    """Whether the server may be another one after an error that says so."""

    async def make(self, anew: bool) -> Any:
        """A connection of the client library, not connected; ``anew`` after something went wrong with the last."""


def server_name(connection: Any) -> str:
    """What messages call the server of a connection of the client library: by its address, where that is known."""
    service = getattr(getattr(connection, 'connection_pool', None), 'service_name', None)
    if service is not None and not connection.is_connected:
        # Sentinel has yet to say where the primary is.
        return f'the server that Sentinel knows as {service!r}'
    host, place = str(getattr(connection, 'host', '')), getattr(connection, 'path', None)
    if not place and host:
        place = f'[{host}]:{connection.port}' if ':' in host else f'{host}:{connection.port}'
    return f'the server at {place}' if place else 'the server'


def _shut(connection: Any) -> None:
    """Close a connection of the client library, and let it forget its socket, else it would warn when collected."""
    if connection._writer is not None:
        connection._writer.transport.abort()
        connection._writer = connection._reader = None


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what a failed attempt worked with, which is kept by the error's traceback, and the other way round.

    Left to the garbage collector, a connection that the server reset in its handshake has asyncio complain of an error
    that nobody retrieved.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class Connection(asyncio.Protocol):
    """One held connection of an event loop; what goes over it is a subclass's affair."""

    def __init__(self, connector: Connector, bounds: Bounds) -> None:
        self.loop = asyncio.get_running_loop()
        """The event loop that it belongs to."""
        self.bounds = bounds
        """Limits and times of the queue objects that have this connection."""
        self.established = False
        """Whether there ever was a connection."""
        self._connector = connector
        """What makes connections to the server that has the queue."""
        self._server = 'the server'
        """What log lines call the server that was connected to last, or tried."""
        self._connection: Any = None
        """The client library's connection, whose socket was taken over; None when there is none."""
        self._transport: asyncio.Transport | None = None
        """Where calls are written; None when there is no connection."""
        self._reader: Any = None
        """Makes replies of bytes, anew for each connection."""
        self._connecting: asyncio.Task[None] | None = None
        """Tries to connect, until it has succeeded or nobody wants a connection any more."""
        self._anew = False
        """Whether the next connection is made after something went wrong: where the server is, is asked anew."""
        self._error: BaseException | None = None
        """Why there is no connection, or why the last one was lost; None when there is one."""
        self._quiet = 0
        """Ticks since the last reply."""
        self._received = 0
        """Bytes since the last tick of a reply that is not whole yet."""
        self._fruitless = 0
        """Connections, one after the other, over which no reply came."""
        self._patience = self.bounds.connect
        """s for the next attempt to connect: longer each time."""
        self._loss_told = False
        """Whether the log says that there is no connection."""
        self._closed = False
        """Whether no connection is to be made any more."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection now, as far as can be seen."""
        return self._transport is not None

    @property
    def trouble(self) -> BaseException:
        """Why no reply comes, as far as can be seen."""
        return self._error or TimeoutError('it is silent' if self.connected else 'no connection has come about yet')

    @property
    def place(self) -> tuple[object, ...]:
        """Address of the server, as the client library knows it."""
        return tuple(getattr(self._connection, name, None) for name in ('host', 'port', 'path'))

    def close(self) -> None:
        """Close the connection, for good."""
        self._closed = True
        self._drop()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None

    # What a subclass says

    def _wanted(self) -> bool:
        """Whether somebody waits for a connection."""
        raise NotImplementedError

    def _ready(self) -> None:
        """Send what waits: there is a connection now."""
        raise NotImplementedError

    def _refuse(self, error: Exception) -> None:
        """Tell whoever waits that there will be no connection, for a reason that time does not mend."""
        raise NotImplementedError

    def _lost(self) -> None:
        """Give the connection up; `_error` says why."""
        raise NotImplementedError

    # Losing

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect anew where that is wanted."""
        self._error = exc or ConnectionResetError('the server closed the connection')
        self._tell_loss()
        self._lost()

    def _tell_loss(self) -> None:
        """Say that the connection was lost; when there is another, that is said as well."""
        self._loss_told = True
        logger.info('the connection to %s was lost: %s', self._server, self._error)

    def _drop(self) -> None:
        self._reader = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.set_protocol(asyncio.Protocol())
            _shut(self._connection)
            self._connection = None

    # Connecting

    def _connect(self, pause: bool = False) -> None:
        if (self._connecting is None or self._connecting.done()) and not self._closed:
            self._connecting = self.loop.create_task(self._keep_connecting(pause), name='torrelque link')

    async def _keep_connecting(self, pause: bool) -> None:
        try:
            await self._try_to_connect(pause)
        finally:
            # An asyncio task that was cancelled at the end of its loop keeps the frames of whoever did that, and all
            # that these refer to; so drop the reference to it.
            self._connecting = None

    async def _try_to_connect(self, pause: bool) -> None:
        # The pause is longer each time the server took a connection and gave no reply.
        delay = min(0.5, 0.05 * 2 ** min(4, self._fruitless))
        if pause:
            await asyncio.sleep(delay)
        while self._wanted() and not self._closed:
            made: list[Any] = []
            try:
                await asyncio.wait_for(self._attempt(made), self._patience)
                if not self._closed:
                    self._adopt(made.pop())
                if self._transport is not None or self._closed:
                    return
                # The server had closed the connection before it was adopted: connect again, after a pause.
                await asyncio.sleep(delay)
                delay = min(0.5, delay * 2)
            except Exception as exc:
                late = isinstance(exc, (TimeoutError, asyncio.TimeoutError)) and not str(exc)
                error: Exception = TimeoutError(f'no answer for {self._patience:g} s') if late else exc
                final = final_error(exc)
                if not isinstance(self._error, type(error)):
                    again = ', and will try again' if final is None and self._wanted() and not self._closed else ''
                    logger.warning('cannot connect to %s%s: %s', self._server, again, str(error) or repr(error))
                    self._loss_told = True
                _forget_frames(exc)
                self._error = error
                self._anew = True
                if final is not None:
                    self._refuse(final)
                    return
                await asyncio.sleep(delay)
                delay, self._patience = min(0.5, delay * 2), min(6, self._patience * 2)
            finally:
                # A connection is left here when the attempt was cancelled after it had succeeded.
                for connection in made:
                    _shut(connection)

    async def _attempt(self, made: list[Any]) -> None:
        connection = await self._connector.make(self._anew)
        made.append(connection)
        self._server = server_name(connection)
        # The client library neither repeats nor waits: both are done here.
        connection.socket_timeout = connection.socket_connect_timeout = self.bounds.connect
        connection.retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0)
        try:
            await connection.connect()
        except Exception as exc:
            # The link was closed meanwhile, so nobody is to be told.
            if self._closed:
                return
            if isinstance(exc, (OSError, redis.exceptions.RedisError, asyncio.TimeoutError)):
                raise
            # The client library does not understand what the server says.
            raise redis.exceptions.ConnectionError(f'the handshake failed: {exc!r}') from exc

    def _adopt(self, connection: Any) -> None:
        """Take the socket over from the client library's connection, with its handshake done."""
        transport = connection._writer.transport
        self._connection = connection  # kept, because its writer would close the transport when it is collected
        self._transport = transport
        self._server = server_name(connection)
        self._reader = hiredis.Reader(notEnoughData=MISSING)
        self._anew = False
        self._error = None
        self._fruitless += 1
        self._patience = self.bounds.connect
        self._quiet = self._received = 0
        self.established = True
        transport.set_protocol(self)
        stream = connection._reader
        if rest := bytes(stream._buffer):
            self._reader.feed(rest)
        # A stream that has come to its end is not read from any more, though its transport may not be closing.  A call
        # that was written to it would wait in vain for a reply, and nobody would be told.
        if transport.is_closing() or stream._eof or stream.exception() is not None:
            self._error = ConnectionResetError('the server closed the connection')
            self._lost()
        else:
            if self._loss_told:
                self._loss_told = False
                logger.info('there is a connection to %s again', self._server)
            transport.resume_reading()
            self._ready()
