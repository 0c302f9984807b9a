"""The held connection for notifications: subscriptions that outlive it.

What is subscribed is known here and not to the server alone, so when a connection is lost, however silently, the
next one takes all of it over.  Nobody is told of what was missed meanwhile; instead each confirmation of a subscription
is handed on like a notification: whoever reads after it has missed nothing.  A refusal of the server is told, and the
subscription asked for again when its user says so, and over the next connection.

A reply that makes no sense is as a lost connection, and the pause before the next one grows while that goes on.
"""

import collections
import reprlib
from collections.abc import Callable
from typing import Any

import hiredis

from torrelque.protocol.bounds import Bounds
from torrelque.protocol.refusals import NOT_RUN, error_code, server_error
from torrelque.protocol.replies import MISSING, PUSH
from torrelque.protocol.transition import pack

from .connection import Connection, Connector

_KINDS = (b'subscribe', b'unsubscribe', b'message')


class Listener(Connection):
    """One connection that listens to any number of channels."""

    def __init__(
        self,
        connector: Connector,
        bounds: Bounds,
        heard: Callable[[list[bytes]], None],
        refused: Callable[[list[bytes], Exception], None],
    ) -> None:
        super().__init__(connector, bounds)
        self._heard = heard
        """Called with the channels that were heard of: notifications and confirmations."""
        self._refused = refused
        """Called with channels to which the server does not let its user listen, and its error."""
        self._channels: dict[bytes, bool] = {}
        """What is listened to, and whether the server has confirmed it."""
        self._joining: collections.OrderedDict[bytes, None] = collections.OrderedDict()
        """Channels that the server has yet to be asked for."""
        self._leaving: dict[bytes, None] = {}
        """Channels that the server has yet to be told to leave."""
        self._owed = 0
        """Confirmations of the last command that have not come yet."""
        self._barred: dict[bytes, None] = {}
        """Channels that the server has refused."""
        self._scheduled = False
        """Whether commands are going to be sent at the end of this turn of the loop."""
        self._asked = False
        """Whether the server owes an answer, so that its silence means something."""
        self._senseless = 0
        """Replies that made no sense, less one for each tick since."""

    def subscribe(self, channel: bytes) -> None:
        """Listen to a channel, connecting if need be; the first that is heard of it is that the server listens."""
        self._channels[channel] = False
        self._leaving.pop(channel, None)
        self._joining[channel] = None
        self._schedule()

    def unsubscribe(self, channel: bytes) -> None:
        """Listen to a channel no longer."""
        if self._channels.pop(channel, None) is not None:
            self._joining.pop(channel, None)
            self._barred.pop(channel, None)
            if self._transport is not None:
                self._leaving[channel] = None
                self._schedule()

    def retry(self) -> None:
        """Ask again for what the server has refused."""
        if self._barred:
            self._joining.update(self._barred)
            self._barred.clear()
            self._schedule()

    def tick(self) -> bool:
        """Look after the connection, once a second while there are channels; whether it seems to be well."""
        if self._transport is None:
            self._connect()
            return False
        self._quiet += 1
        self._senseless = max(0, self._senseless - 1)
        if self._quiet >= self.bounds.watch_silence_ticks and self._asked:
            self._error = TimeoutError('the server was silent')
            self._lost()
            return False
        if self._quiet >= self.bounds.watch_silence_ticks:
            # Ask for a channel that is subscribed already: the server answers that too, in both protocols, and it needs
            # no right that the others do not need.
            self._send(b'SUBSCRIBE', [next(iter(self._channels))])
        return not self._asked or self._quiet < 2

    def renew(self) -> None:
        """Leave a server that is not the right one any more."""
        self._error = ConnectionResetError('the queue is on another server')
        self._lost()

    # Sending

    def _schedule(self) -> None:
        if not self._scheduled:
            # Many watches begin in one turn of the loop.  Subscribe at its end, so that one command serves them all.
            self._scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        if self._transport is None:
            if self._channels:
                self._connect()
            return
        leaving, self._leaving = list(self._leaving), {}
        for start in range(0, len(leaving), self.bounds.subscribe_channels):
            self._write(b'UNSUBSCRIBE', leaving[start : start + self.bounds.subscribe_channels])
        if self._joining and not self._owed:
            chunk: list[bytes] = []
            size = 0
            while self._joining and len(chunk) < self.bounds.subscribe_channels and size < self.bounds.subscribe_bytes:
                channel = self._joining.popitem(last=False)[0]
                chunk.append(channel)
                size += len(channel)
            self._send(b'SUBSCRIBE', chunk)
            self._owed = len(chunk)

    def _send(self, command: bytes, channels: list[bytes]) -> None:
        if not self._asked:
            self._asked = True
            self._quiet = 0
        self._write(command, channels)

    def _write(self, command: bytes, channels: list[bytes]) -> None:
        self._transport.write(pack([command, *channels]))  # type: ignore[union-attr]

    def _wanted(self) -> bool:
        return bool(self._channels)

    def _ready(self) -> None:
        self._joining = collections.OrderedDict.fromkeys(self._channels)
        self._leaving.clear()
        self._barred.clear()
        self._owed = 0
        self._asked = False
        self._flush()

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Hand on which channels were heard of, those of one packet together."""
        reader = self._reader
        heard: list[bytes] = []
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not MISSING:
                self._take(reply, heard)
                if self._reader is not reader:
                    break
        except Exception as exc:
            self._error = exc
            self._senseless += 1
            self._fruitless = max(self._fruitless, self._senseless)
            self._lost(pause=True)
        if not self._owed and self._reader is reader:
            if self._joining:
                self._flush()
            else:
                self._fruitless = 0
        if heard:
            self._heard(heard)

    def _take(self, reply: Any, heard: list[bytes]) -> None:
        """Take one reply, and add the channel that was heard of; a ValueError where it makes no sense."""
        if isinstance(reply, hiredis.ReplyError):
            self._denied(str(reply))
        elif isinstance(reply, list) and len(reply) == 3 and reply[0] in _KINDS and isinstance(reply[1], bytes):
            kind, channel = reply[0], reply[1]
            if kind == b'subscribe':
                self._owed = max(0, self._owed - 1)
                if channel in self._channels:
                    # A confirmation alone is the answer to what was asked; a notification may come in between.
                    self._answered()
                    self._channels[channel] = True
                    self._barred.pop(channel, None)
                    heard.append(channel)
            elif kind == b'message':
                if not self._asked:
                    self._quiet = 0
                heard.append(channel)
        elif not isinstance(reply, PUSH):
            raise ValueError(f'the server said what makes no sense: {reprlib.repr(reply)}')

    def _answered(self) -> None:
        self._quiet = 0
        self._asked = False

    def _denied(self, message: str) -> None:
        """Take a refusal; one that will pass is as a lost connection."""
        if error_code(message) in NOT_RUN:
            self._error = server_error(message)
            self._lost(pause=True)
        else:
            self._owed = 0
            self._answered()
            self._refuse(server_error(message))

    def _refuse(self, error: Exception) -> None:
        # Channels that the server has not been asked for yet would be refused as well: it is the same user.
        channels = [channel for channel, confirmed in self._channels.items() if not confirmed]
        self._joining.clear()
        self._barred = dict.fromkeys(channels)
        self._refused(channels, error)

    def _lost(self, pause: bool = False) -> None:
        self._drop()
        self._anew = True
        self._channels = dict.fromkeys(self._channels, False)
        if self._channels and not self._closed:
            self._connect(pause or self._fruitless > 1)
