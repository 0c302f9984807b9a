"""The held connection: send, resend, cluster.

Calls go one behind the other over one connection that is kept, with a reader of its own, not over a visit to the
client's pool for each.  The client makes the connection (address, TLS, authentication, database, Sentinel); from then
on it is ours, so the client's own repetition, which would run a script twice without saying so, has no part in it.

A call whose reply is lost is sent again, marked as sent before, for `GIVE_UP` at the most.  No timer runs for a call:
one tick watches the link while anything is on its way, and time is counted in ticks, so that a process whose loop was
blocked for long does not take its own sleep for the server's silence.
"""

import asyncio
import collections
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import hiredis
import redis.asyncio.retry
import redis.backoff
import redis.exceptions

from .error import TorrelqueConnectionError, TorrelqueTypeError
from .protocol import Arg, Transition, error_code, pack, server_error

logger = logging.getLogger(__package__)

TICK = 0.25
"""s between two looks at a busy link."""
SILENCE = 12
"""Ticks without any byte after which a connection with a reply outstanding counts as dead."""
GIVE_UP = 40
"""Ticks after which a call that could not be carried out fails."""
CONNECT_TIMEOUT = 3.0
"""s for one attempt to connect."""

_NOT_RUN = frozenset({'LOADING', 'TRYAGAIN', 'ASK', 'BUSY', 'UNBLOCKED'})
"""Errors that say: not carried out, send again in a moment."""
_ELSEWHERE = frozenset({'READONLY', 'MOVED', 'CLUSTERDOWN', 'MASTERDOWN'})
"""Errors that say: not carried out, and not here; connect anew."""
_FATAL = (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError, redis.exceptions.ResponseError)
_PASSING = (redis.exceptions.ReadOnlyError, redis.exceptions.TryAgainError, redis.exceptions.ClusterDownError)

_PUSH: type = getattr(hiredis, 'PushNotification', type('Never', (), {}))
_MISSING = object()

Callback = Callable[[Any, Exception | None], None]
"""Takes a reply, or the error that came in its stead."""


class Request:
    """A call on its way."""

    __slots__ = ('args', 'callback', 'repeat', 'resent', 'ticks', 'transition', 'whole')

    def __init__(
        self, transition: Transition | None, args: Sequence[Arg], callback: Callback, repeat: bool = True,
        resent: bool = False,
    ) -> None:  # fmt: skip
        self.transition = transition
        self.args = args
        self.callback = callback
        self.repeat = repeat
        self.resent = resent
        self.whole = False
        self.ticks = 0

    def pack(self) -> bytes:
        """The request as RESP."""
        if self.transition is None:
            return pack(self.args)
        return self.transition.pack(self.args, self.resent, self.whole)


class Connector(Protocol):
    """Makes connections to the server that has the queue."""

    cluster: bool
    """Whether the server may be another one after an error that says so."""

    async def make(self, anew: bool) -> Any:
        """A connection of the client library, not connected; ``anew`` after something went wrong with the last."""


def _final(error: Exception) -> Exception | None:
    # The client library wraps what a server on a unix socket says.
    for exc in (error, error.__cause__):
        if isinstance(exc, _FATAL) and error_code(str(exc)) in _NOT_RUN:
            return None
        if isinstance(exc, TypeError) or (isinstance(exc, _FATAL) and not isinstance(exc, _PASSING)):
            return exc
    return None


def _shut(connection: Any) -> None:
    """Close a connection of the client library, and let it forget its socket, else it would warn when collected."""
    if connection._writer is not None:
        connection._writer.transport.abort()
        connection._writer = connection._reader = None


class Link(asyncio.Protocol):
    """One held connection of an event loop."""

    def __init__(self, connector: Connector, silence: int = SILENCE) -> None:
        self.loop = asyncio.get_running_loop()
        self.established = False
        """Whether there ever was a connection."""
        self._connector = connector
        self._silence = silence
        self._connection: Any = None
        self._transport: asyncio.Transport | None = None
        self._reader: Any = None
        self._in_flight: collections.deque[Request] = collections.deque()
        self._unsent: list[Request] = []
        self._connecting: asyncio.Task[None] | None = None
        self._anew = False
        self._error: BaseException | None = None
        self._quiet = 0
        self._backlog = 0
        self._fruitless = 0
        self._patience = CONNECT_TIMEOUT
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def submit(self, request: Request) -> None:
        """Send a request as soon as there is a connection; its callback is called exactly once, never from here."""
        if self._closed:
            self._fail([request], TorrelqueConnectionError('the connection was closed'))
            return
        if self._transport is not None:
            self._send(request)
        else:
            self._unsent.append(request)
            self._connect()
        if self._timer is None:
            self._quiet = 0
            self._timer = self.loop.call_later(TICK, self._tick)

    def call(self, transition: Transition | None, args: Sequence[Arg]) -> 'asyncio.Future[Any]':
        """Submit a call and have its reply as a future; cancelling the future does no harm to the link."""
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(reply: Any, error: Exception | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(reply)

        self.submit(Request(transition, args, done))
        return future

    @property
    def connected(self) -> bool:
        """Whether there is a connection now, as far as can be seen."""
        return self._transport is not None

    def close(self) -> None:
        """Close the connection; what is still on its way fails."""
        self._closed = True
        requests = [*self._in_flight, *self._unsent]
        self._unsent = []
        self._drop()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fail(requests, TorrelqueConnectionError('the connection was closed'))

    # Sending

    def _send(self, request: Request) -> None:
        self._in_flight.append(request)
        self._transport.write(request.pack())  # type: ignore[union-attr]

    def _flush(self) -> None:
        if self._transport is not None:
            requests, self._unsent = self._unsent, []
            for request in requests:
                self._send(request)

    def _tick(self) -> None:
        self._timer = None
        late = [request for request in self._unsent if request.ticks >= GIVE_UP]
        if late:
            self._unsent = [request for request in self._unsent if request.ticks < GIVE_UP]
            self._fail(late, TorrelqueConnectionError(f'no connection to the server: {self._error or "no answer"}'))
        for request in self._unsent:
            request.ticks += 1
        for request in self._in_flight:
            request.ticks += 1
        self._quiet += 1
        if self._transport is not None and (backlog := self._transport.get_write_buffer_size()) != self._backlog:
            # A large call that is still being sent is no silence of the server.
            self._backlog, self._quiet = backlog, 0
        overdue = bool(self._in_flight) and self._in_flight[0].ticks >= GIVE_UP and self._quiet > 2
        if self._in_flight and (overdue or self._quiet > self._silence):
            self._error = TimeoutError(f'the server was silent for {self._quiet * TICK:g} s')
            self._lost()
        if self._unsent and self._transport is None:
            self._connect()
        if (self._unsent or self._in_flight) and not self._closed:
            self._timer = self.loop.call_later(TICK, self._tick)

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Hand each reply that is whole to the callback of its request."""
        self._quiet = self._fruitless = 0
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not _MISSING:
            if isinstance(reply, _PUSH):
                continue
            request = self._in_flight.popleft()
            if isinstance(reply, hiredis.ReplyError):
                self._refused(request, str(reply))
                if self._reader is not reader:
                    return
            else:
                request.callback(reply, None)

    def _refused(self, request: Request, message: str) -> None:
        code = error_code(message)
        if code == 'NOSCRIPT' and request.transition is not None:
            request.whole = True
            self._send(request)
        elif code == 'MOVED' and not self._connector.cluster:
            request.callback(None, TorrelqueTypeError(f'this server is a Cluster; it needs a RedisCluster ({message})'))
        elif code in _NOT_RUN or code in _ELSEWHERE:
            self._error = server_error(message)
            again = request.repeat and request.ticks < GIVE_UP
            if code in _ELSEWHERE:
                self._lost(request if again else None, pause=code != 'MOVED')
            elif again:
                self._unsent.append(request)
                self.loop.call_later(0.05, self._flush)
            if not again:
                request.callback(None, TorrelqueConnectionError(f'the server does not serve: {message}'))
        else:
            request.callback(None, server_error(message))

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect anew and send again what was on its way."""
        self._error = exc or ConnectionResetError('the server closed the connection')
        self._lost()

    def _lost(self, refused: Request | None = None, pause: bool = False) -> None:
        requests = list(self._in_flight)
        self._drop()
        self._anew = True
        late = [request for request in requests if request.repeat and request.ticks >= GIVE_UP]
        self._fail(late, TorrelqueConnectionError(f'no answer of the server: {self._error}'))
        repeated = [request for request in requests if request.repeat and request.ticks < GIVE_UP]
        for request in repeated:
            request.resent = True
        self._unsent[:0] = repeated if refused is None else [refused, *repeated]
        self._fail(
            [request for request in requests if not request.repeat],
            TorrelqueConnectionError(f'the connection was lost: {self._error}'),
        )
        if self._unsent and not self._closed:
            self._connect(pause or self._fruitless > 1)

    def _drop(self) -> None:
        self._in_flight.clear()
        self._reader = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.set_protocol(asyncio.Protocol())
            _shut(self._connection)
            self._connection = None

    def _fail(self, requests: list[Request], error: Exception) -> None:
        for request in requests:
            # Not from here: a caller may be in the middle of submitting.
            self.loop.call_soon(request.callback, None, error)
        if requests is self._unsent:
            self._unsent = []

    # Connecting

    def _connect(self, pause: bool = False) -> None:
        if (self._connecting is None or self._connecting.done()) and not self._closed:
            self._connecting = self.loop.create_task(self._keep_connecting(pause), name='torrelque link')

    async def _keep_connecting(self, pause: bool) -> None:
        # Longer each time for a server that takes connections and gives no reply.
        delay = min(0.5, 0.05 * 2 ** min(4, self._fruitless))
        if pause:
            await asyncio.sleep(delay)
        while self._unsent and not self._closed:
            made: list[Any] = []
            try:
                await asyncio.wait_for(self._attempt(made), self._patience)
                if not self._closed:
                    self._adopt(made.pop())
                return
            except Exception as exc:
                if not isinstance(self._error, type(exc)):
                    logger.warning('cannot connect to the server, and will try again: %s', str(exc) or repr(exc))
                self._error = exc
                self._anew = True
                if final := _final(exc):
                    self._fail(self._unsent, final)
                    return
                await asyncio.sleep(delay)
                delay, self._patience = min(0.5, delay * 2), min(6, self._patience * 2)
            finally:
                # Also where the attempt was cancelled after it had succeeded.
                for connection in made:
                    _shut(connection)

    async def _attempt(self, made: list[Any]) -> None:
        connection = await self._connector.make(self._anew)
        made.append(connection)
        # Its repetition and its patience are ours.
        connection.socket_timeout = connection.socket_connect_timeout = CONNECT_TIMEOUT
        connection.retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0)
        try:
            await connection.connect()
        except Exception:
            # Closed meanwhile, it is nobody's failure.
            if not self._closed:
                raise

    def _adopt(self, connection: Any) -> None:
        """Take the socket over from the client library's connection, with its handshake done."""
        transport = connection._writer.transport
        self._connection = connection  # kept: its writer closes the transport when it is collected
        self._transport = transport
        self._reader = hiredis.Reader(notEnoughData=_MISSING)
        self._anew = False
        self._error = None
        self._fruitless += 1
        self._patience = CONNECT_TIMEOUT
        self._quiet = 0
        self.established = True
        transport.set_protocol(self)
        if rest := bytes(connection._reader._buffer):
            self._reader.feed(rest)
        if transport.is_closing():
            self._error = ConnectionResetError('the server closed the connection')
            self._lost()
        else:
            transport.resume_reading()
            self._flush()
