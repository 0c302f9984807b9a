"""Records of claims: the server keeps what each has taken, until its reply is acknowledged."""

import asyncio
import secrets

from torrelque.protocol.bounds import Bounds

from .link import Link, Request


class Records:
    """Of the claims of one consumer, which come one after the other."""

    def __init__(self, link: Link, key: str, bounds: Bounds) -> None:
        self.number = 0
        """Of the claim that was made last; a repetition has the number of the first."""
        self._link = link
        self._bounds = bounds
        self._prefix = f'{key}:{secrets.token_hex(8)}'
        self._open = ''
        self._timer: asyncio.TimerHandle | None = None

    @property
    def key(self) -> str:
        """The key of the record of the last claim."""
        return f'{self._prefix}:{self.number}'

    def came(self) -> None:
        """The reply of the last claim is here, and its record may go; soon, and with any call that goes by."""
        self._open = self.key
        if self._timer is None:
            self._timer = self._link.loop.call_later(self._bounds.acknowledge, self._acknowledge)

    def acknowledge(self) -> str:
        """The key of a claim's record that any script may delete now, for its reply has come; '' if there is none."""
        record, self._open = self._open, ''
        return record

    def end(self) -> None:
        """Acknowledge nothing more by itself."""
        if self._timer is not None:
            self._timer.cancel()

    def _acknowledge(self) -> None:
        self._timer = None
        if key := self.acknowledge():
            self._link.submit(Request(None, ['DEL', key], lambda reply, error: None))
