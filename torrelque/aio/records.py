"""Records of claims: the server keeps what each has taken, until its reply is acknowledged."""

import asyncio
import secrets

from torrelque.protocol.bounds import Bounds

from .link import Link, Request


class Records:
    """The records of the claims of one consumer, which come one after the other."""

    def __init__(self, link: Link, key: str, bounds: Bounds) -> None:
        self.number = 0
        """The number of the claim that was made last; a repetition has the number of the first."""
        self._link = link
        """Over which a record is deleted."""
        self._bounds = bounds
        self._prefix = f'{key}:{secrets.token_hex(8)}'
        """What the keys of all its records begin with: no other consumer has the same."""
        self._open = ''
        """The key of a record whose reply has come, to be deleted; '' where there is none."""
        self._timer: asyncio.TimerHandle | None = None
        """Deletes that record by a call of its own."""

    @property
    def key(self) -> str:
        """The key of the record of the last claim."""
        return f'{self._prefix}:{self.number}'

    def came(self) -> None:
        """Have the record of the last claim deleted, whose reply has come: by the next call that goes by, or soon."""
        self._open = self.key
        if self._timer is None:
            self._timer = self._link.loop.call_later(self._bounds.acknowledge, self._acknowledge)

    def acknowledge(self) -> str:
        """The key of a record that a script may delete in passing, because its reply has come; '' if there is none."""
        record, self._open = self._open, ''
        return record

    def end(self) -> None:
        """Delete no more records by a call of its own."""
        if self._timer is not None:
            self._timer.cancel()

    def _acknowledge(self) -> None:
        self._timer = None
        if key := self.acknowledge():
            self._link.submit(Request(None, ['DEL', key], lambda reply, error: None))
