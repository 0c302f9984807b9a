"""The held connection for calls: send, resend.

Calls go one behind the other over one connection that is kept, with a reader of its own, and not each over a
connection out of the client's pool.  A call is in one of these states:

UNSENT     it waits for a connection (`_unsent`) or, a command, for others of its turn of the loop (`_joined`)
IN FLIGHT  it was written, and its reply is to come behind those of the calls before it (`_in_flight`)
ENDED      its callback was called, exactly once: with a reply, or with an error

    submit --> UNSENT -- there is a connection --> IN FLIGHT -- a reply, or an error that is final --> ENDED
                |  ^                                |    |                                               ^
                |  +-- the connection was lost, or -+    +-- lost, and not to be sent again -------------+
                |      the server says "not now"                                                         |
                |      or "not here"                                                                     |
                +-- `Bounds.repeat` is over --------------------------------------------------------------+

A call whose reply is lost is sent again, marked as sent before, so that the script can answer what became of the first.
The exception is a call that may not be repeated (a block at the bell), which fails.

Who wakes whom: a call that finds no connection has one made; the connection, once there, sends all that is UNSENT;
each reply calls the callback of the first call that is IN FLIGHT.  No timer runs for a call.  One tick watches the link
while anything is on its way, and time is counted in ticks, so that a process whose loop was blocked for long does not
take its own sleep for the server's silence.

What happens on loss.

the connection      all calls that were IN FLIGHT are UNSENT again, in their order, and another connection is made
the server's voice  without a byte for `Bounds.silence`, the connection counts as lost
the script          NOSCRIPT: the call is sent with its text, which the first call over a connection has anyway
a large call        it fails when the server has closed several connections at it, and the calls behind it go on
the timer           the guard looks after it (`keep_watch`)
"""

import asyncio
import collections
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import hiredis

from torrelque.error import TorrelqueConnectionError, TorrelqueError, TorrelqueTypeError, copy_error, of_queue
from torrelque.protocol.bounds import Bounds
from torrelque.protocol.refusals import ELSEWHERE, NOT_RUN, error_code, server_error
from torrelque.protocol.replies import MISSING, PUSH, text
from torrelque.protocol.transition import Arg, Transition, pack, with_place

from .connection import Connection, Connector

logger = logging.getLogger('torrelque')

E = TypeVar('E', bound=Exception)

Callback = Callable[[Any, Exception | None], None]
"""Takes a reply, or the error that came in its stead."""


class Request:
    """A call on its way."""

    # transition  the script; None for a command, of which `args` are all words
    # callback    takes the reply or the error, once
    # repeat      whether it is sent again when its reply was lost
    # resent      whether it may have been carried out already
    # whole       whether it is sent with the text of its script
    # ticks       for how long it has been on its way
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

    def __str__(self) -> str:
        """What messages call it: by its script and its queue or, of a command, by that alone."""
        if self.transition is None:
            return text(self.args[0])
        return f'{self.transition.name} of queue {self.transition.queue!r}'

    def name(self, error: E) -> E:
        """An error that says which call of which queue it is about."""
        transition = self.transition
        if isinstance(error, TorrelqueConnectionError) and error.queue is None:
            error.args = (f'{text(self.args[0]) if transition is None else transition.name}: {error.args[0]}',)
        if isinstance(error, TorrelqueError) and transition is not None:
            of_queue(transition.queue, error)
        return error

    def pack(self) -> bytes:
        """The request as RESP."""
        if self.transition is None:
            return pack(self.args)
        return self.transition.pack(self.args, self.resent, self.whole)


class Link(Connection):
    """One held connection of an event loop, for calls."""

    def __init__(self, connector: Connector, bounds: Bounds) -> None:
        super().__init__(connector, bounds)
        self.silence = bounds.silence
        """s without a reply, where one is to come, after which the connection counts as dead."""
        self._in_flight: collections.deque[Request] = collections.deque()
        """Calls that were written, in the order in which their replies come."""
        self._unsent: list[Request] = []
        """Calls that wait for a connection, in their order."""
        self._joined: list[tuple[Request, bytes]] | None = None
        """Commands that are written together at the end of this turn of the loop; None where no turn has had one."""
        self._backlog = 0
        """Bytes that the transport had yet to send at the last tick."""
        self._known_scripts: set[bytes] = set()
        """Digests of the scripts whose text went over this connection."""
        self.budget: Any = None
        """What the hubs that read over this link may spend together (`reading.Budget`); nobody else touches it."""
        self._pausing = 0.0
        """The time of the loop until which calls that the server refused for the moment wait."""
        self._suspect: Request | None = None
        """The first call in flight when the connection was lost last: perhaps the cause."""
        self._closings = 0
        """Connections that were lost one after the other with that call in flight."""
        self._timer: asyncio.TimerHandle | None = None
        """Of the next tick; None when nothing is on its way."""

    @property
    def in_flight(self) -> int:
        """How many calls were written whose replies are to come."""
        return len(self._in_flight)

    @property
    def _give_up(self) -> int:
        """Ticks after which a call that could not be carried out fails."""
        return int(self.bounds.repeat / self.bounds.link_tick)

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
            self._timer = self.loop.call_later(self.bounds.link_tick, self._tick)

    def keep_watch(self) -> None:
        """Have what is on its way looked after, should the timer that does so have been lost."""
        timer = self._timer
        if (self._unsent or self._in_flight) and (timer is None or timer.when() < self.loop.time() - 1):
            if timer is not None:
                timer.cancel()
            self._tick()

    def has(self, request: Request) -> bool:
        """Whether a request is on its way, or is going to be."""
        return request in self._in_flight or request in self._unsent

    def call(
        self, transition: Transition | None, args: Sequence[Arg], resent: bool = False
    ) -> 'asyncio.Future[Any]':
        """Submit a call and have its reply as a future; cancelling the future does no harm to the link.

        Of commands of one turn of the loop the first goes at once, and the others together: a worker whose places were
        filled by one reply reads for each of them.
        """
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(reply: Any, error: Exception | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(reply)

        request = Request(transition, args, done, resent=resent)
        if transition is None and self._joined is not None:
            self._joined.append((request, request.pack()))
            return future
        self.submit(request)
        if transition is None:
            self._joined = []
            self.loop.call_soon(self._send_joined)
        return future

    def close(self) -> None:
        """Close the connection; what is still on its way fails."""
        requests = [*self._in_flight, *self._unsent, *(request for request, _ in self._joined or ())]
        self._unsent, self._joined = [], None
        super().close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fail(requests, TorrelqueConnectionError('the connection was closed'))

    # Sending

    def _send(self, request: Request) -> None:
        if request.transition is not None and request.transition.script.sha not in self._known_scripts:
            # The first call of a script over a connection is EVAL, with the text.  After EVALSHA and NOSCRIPT it would
            # be carried out behind later calls, or never if the loop ends first.
            self._known_scripts.add(request.transition.script.sha)
            request.whole = True
        self._transport.write(request.pack())  # type: ignore[union-attr]
        # A call that could not be packed gets no reply, and would be given the next one's; so a call is noted when it
        # was written.
        self._in_flight.append(request)

    def _send_joined(self) -> None:
        joined, self._joined = self._joined or [], None
        if self._transport is None:
            for request, _ in joined:
                self.submit(request)
        elif joined:
            self._transport.write(b''.join(packed for _, packed in joined))
            self._in_flight.extend(request for request, _ in joined)

    def _wanted(self) -> bool:
        return bool(self._unsent)

    def _ready(self) -> None:
        if self._transport is not None:
            requests, self._unsent = self._unsent, []
            for request in requests:
                try:
                    self._send(request)
                except Exception as exc:
                    self.loop.call_soon(self._tell, request, exc)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._look_after()
        finally:
            if (self._unsent or self._in_flight) and not self._closed:
                self._timer = self.loop.call_later(self.bounds.link_tick, self._tick)

    def _look_after(self) -> None:
        give_up, tick = self._give_up, self.bounds.link_tick
        late = [request for request in self._unsent if request.ticks >= give_up]
        if late:
            self._unsent = [request for request in self._unsent if request.ticks < give_up]
            self._fail(late, self._away('no connection to the server'), unsent=True)
        for request in self._unsent:
            request.ticks += 1
        for request in self._in_flight:
            request.ticks += 1
        if self._received >= self.bounds.trickle_bytes * tick:
            # A large reply is still coming: the server is not silent.
            self._quiet = 0
        self._quiet += 1
        self._received = 0
        if self._transport is not None and (backlog := self._transport.get_write_buffer_size()) != self._backlog:
            # A large call that is still being sent is no silence of the server.
            self._backlog, self._quiet = backlog, 0
        first = self._in_flight[0] if self._in_flight else None
        overdue = first is not None and first.repeat and first.ticks >= give_up and self._quiet > 2
        if self._in_flight and (overdue or self._quiet > int(self.silence / tick)):
            self._error = TimeoutError(f'the server was silent for {self._quiet * self.bounds.link_tick:g} s')
            self._tell_loss()
            self._lost()
        if self._unsent and self._transport is None:
            self._connect()
        elif self._unsent and self._pausing < self.loop.time():
            self._ready()

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Hand each reply that is whole to the callback of its request."""
        reader = self._reader
        try:
            reader.feed(data)
            if (reply := reader.gets()) is MISSING:
                self._received += len(data)
            while reply is not MISSING:
                kind = type(reply)
                if kind is not bytes and kind is not list and not self._is_answer(reply):
                    if self._reader is not reader:
                        return
                    reply = reader.gets()
                    continue
                request = self._in_flight.popleft()
                self._quiet = self._fruitless = 0
                try:
                    request.callback(reply, None)
                except Exception:
                    # The replies behind this one are for other callers, so go on.
                    logger.exception('the reply of %s to %s could not be worked on', self._server, request)
                reply = reader.gets()
        except Exception as exc:
            # The bytes are no reply, or a reply for which nobody has asked.  All replies behind it would be given to
            # the wrong calls, so the connection is given up.
            if self._reader is reader:
                self._error = ConnectionError(f'the server talks in another way: {exc!r}')
                self._lost(pause=True)

    def _is_answer(self, reply: Any) -> bool:
        """Whether a reply is for a callback; an error is worked on here, and a notification is for nobody."""
        if isinstance(reply, hiredis.ReplyError):
            self._quiet = 0
            self._refused(self._in_flight.popleft(), str(reply))
            return False
        return not isinstance(reply, PUSH)

    def _refused(self, request: Request, message: str) -> None:
        code = error_code(message)
        if code == 'NOSCRIPT' and request.transition is not None and not request.whole:
            request.whole = True
            self._send(request)
        elif code == 'NOSCRIPT' and request.transition is None:
            # Whoever sent the digest has the text, which nobody else could send.
            self._tell(request, server_error(message))
        elif code == 'MOVED' and not self._connector.cluster:
            self._tell(
                request, TorrelqueTypeError(f'this server is a Cluster; it needs a RedisCluster ({message})')
            )
        elif code in NOT_RUN or code in ELSEWHERE:
            self._error = server_error(message)
            again = request.repeat and request.ticks < self._give_up
            if code in ELSEWHERE:
                self._lost(request if again else None, pause=code != 'MOVED')
            elif again:
                self._unsent.append(request)
                self._pausing = self.loop.time() + self.bounds.link_tick
                self.loop.call_later(0.05, self._ready)
            if not again:
                error = TorrelqueConnectionError(f'the server does not serve: {message}')
                error.untouched, error.__cause__ = not request.resent, self._error
                self._tell(request, error)
        else:
            told = with_place(message, request.transition, request.args)
            self._tell(request, server_error(told, request.resent))

    def _tell(self, request: Request, error: Exception) -> None:
        try:
            request.callback(None, request.name(error))
        except Exception:
            logger.exception('the error of %s to %s could not be worked on', self._server, request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give a large call up at which the server closes one connection after the other."""
        first = self._in_flight[0] if self._in_flight else None
        self._closings = self._closings + 1 if first is not None and first is self._suspect else 1
        self._suspect = first
        often = self._closings >= self.bounds.large_closings
        if first is not None and often and len(first.pack()) > self.bounds.large_bytes:
            # The calls behind this one would be lost with it each time, so it is given up.
            first.ticks = self._give_up
        super().connection_lost(exc)

    def _lost(self, refused: Request | None = None, pause: bool = False) -> None:
        requests = list(self._in_flight)
        self._drop()
        self._anew = True
        late = [request for request in requests if request.repeat and request.ticks >= self._give_up]
        self._fail(late, self._away('no answer of the server'))
        repeated = [request for request in requests if request.repeat and request.ticks < self._give_up]
        for request in repeated:
            request.resent = True
        self._unsent[:0] = repeated if refused is None else [refused, *repeated]
        self._fail(
            [request for request in requests if not request.repeat],
            self._away('the connection was lost'),
        )
        if self._unsent and not self._closed:
            self._connect(pause or self._fruitless > 1)

    def _drop(self) -> None:
        self._in_flight.clear()
        self._known_scripts.clear()
        super()._drop()

    def _refuse(self, error: Exception) -> None:
        self._fail(self._unsent, error)

    def _away(self, what: str) -> TorrelqueConnectionError:
        error = TorrelqueConnectionError(f'{what}: {self._error or "no answer"}')
        error.__cause__ = self._error
        return error

    def _fail(self, requests: list[Request], error: Exception, unsent: bool = False) -> None:
        for request in requests:
            copy = copy_error(error)
            if unsent and isinstance(copy, TorrelqueConnectionError):
                copy.untouched = not request.resent
            # The caller may be in the middle of submitting, so the callback is called later.
            self.loop.call_soon(self._tell, request, copy)
        if requests is self._unsent:
            self._unsent = []
