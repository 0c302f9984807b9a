"""The doorbell: a list of one element, at which consumers that wait block, over a connection of its own.

Whoever makes work available puts the element there, and one of the consumers that block takes it: not a task, which
could be lost together with the connection.  A block ends after ``Bounds.block``, so that a dead connection is noticed.
Only KeyDB is waited at without a limit: it stands still for good after a client has gone that was blocked with one
(https://github.com/Snapchat/KeyDB/issues/928).
"""

from collections.abc import Callable, Sequence
from typing import Any

from torrelque.error import TorrelqueConnectionError
from torrelque.protocol.bounds import Bounds
from torrelque.protocol.calls import IS_KEYDB
from torrelque.protocol.replies import is_keydb, is_ring, unreadable
from torrelque.protocol.transition import Arg

from .guard import Guard
from .link import Callback, Link, Request


class Bell:
    """Where the consumers of one queue object block.

    ``rung`` is called after each block: with whether the bell rang, and the error that ended the block in its stead.
    Where blocks are without a limit the guard has to keep the time.
    """

    def __init__(
        self, link: Link, key: str, rung: Callable[[bool, Exception | None], None], guard: Guard,
        bounds: Bounds,
    ) -> None:  # fmt: skip
        self.link = link
        """The connection at which nothing but blocks are sent."""
        self.call: Request | None = None
        """The block, or the question before the first, that is on its way."""
        self.since = 0.0
        """When the block began, by the loop's clock."""
        self.endless = False
        """Whether blocks are without a limit."""
        self._known = False
        """Whether it is known whether the server is KeyDB."""
        self._key = key
        """The key of the list."""
        self._rung = rung
        """Called after each block, see above."""
        self._guard = guard
        """Claims every ``Bounds.block`` where blocks are without a limit."""
        self._bounds = bounds
        self._set_silence()

    def listen(self) -> None:
        """Block, unless a block is on its way."""
        if self.call is None:
            if not self._known:
                self._ask(IS_KEYDB, self._made_out)
                return
            self.since = self.link.loop.time()
            self._ask(('BLPOP', self._key, '0' if self.endless else f'{self._bounds.block:g}'), self._heard)

    def _ask(self, words: Sequence[Arg], callback: Callback) -> None:
        self.call = Request(None, words, callback, repeat=False)
        self.link.submit(self.call)

    def _made_out(self, reply: Any, error: Exception | None) -> None:
        if isinstance(error, TorrelqueConnectionError):
            self._heard(None, error)
            return
        # A server that does not answer this is taken for an ordinary one.
        self._known, self.endless = True, error is None and is_keydb(reply)
        if self.endless:
            self._set_silence()
            self._guard.patience = int(self._bounds.block)
        self.call = None
        self.listen()

    def _set_silence(self) -> None:
        # The server says nothing while it blocks, so the link is to wait for longer.
        self.link.silence = self._bounds.silence + (self._bounds.endless_block if self.endless else self._bounds.block)

    def _heard(self, reply: Any, error: Exception | None) -> None:
        self.call = None
        if error is None:
            early = reply is None and (self.endless or self.link.loop.time() - self.since < self._bounds.block / 2)
            if early or not is_ring(reply):
                error = unreadable('BLPOP', reply)
        self._rung(reply is not None and error is None, error)
