"""The last line of defence of consumers that wait: a clock that runs while any does, and hangs on nothing else.

Whoever waits for a task is woken by the doorbell, by the time that something is due, by a reply, by the loss of a
connection.  Should one of these ever be lost, by a fault in this package or elsewhere, a queue would stand still though
it has work, which is the worst that a queue can do.  So the guard looks once a second: a claim is made where none was
made for some seconds, and a call that its link does not know any more, though it has had no end, counts as failed.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from torrelque.error import TorrelqueConnectionError
from torrelque.protocol.bounds import Bounds

from .link import Link, Request


class Guard:
    """Looks, once a second, for as long as somebody waits.

    ``wanted`` says whether anybody does; ``claimed`` tells the last claim, ``calls`` what is on its way and over which
    link; ``claim`` claims, unless that is on its way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bounds: Bounds,
        wanted: Callable[[], bool],
        claimed: Callable[[], Request | None],
        calls: Callable[[], Iterable[tuple[Request | None, Link]]],
        claim: Callable[[], None],
    ) -> None:
        self.patience = bounds.guard_looks
        """Looks without a claim after which one is made; a server that is waited at without a limit wants fewer."""
        self.timer: asyncio.TimerHandle | None = None
        """Of the next look; None where nobody waits."""
        self._looks = 0
        """How many there were since the last claim was made."""
        self._last: Request | None = None
        """The last claim at the last look."""
        self._suspects: list[Request] = []
        """Calls that had had no end at the last look, and which their link did not know any more."""
        self._loop = loop
        """By whose clock it looks."""
        self._bounds = bounds
        self._wanted = wanted
        """Whether anybody waits."""
        self._claimed = claimed
        """Gives the last claim."""
        self._calls = calls
        """Gives what is on its way, each with its link."""
        self._claim = claim
        """Claims, unless a claim is on its way."""

    def begin(self) -> None:
        """Look from now on, if that is not done already."""
        if self.timer is None:
            self.timer = self._loop.call_later(self._bounds.guard_look, self._tick)

    def end(self) -> None:
        """Look no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _tick(self) -> None:
        self.timer = None
        if self._wanted():
            # The next look is arranged first, because this one may fail.
            self.begin()
            self._look()

    def _look(self) -> None:
        last = self._claimed()
        self._looks = self._looks + 1 if last is self._last else 0
        self._last = last
        suspects, self._suspects = self._suspects, []
        for call, link in self._calls():
            if call is None:
                continue
            if link.has(call):
                link.keep_watch()
                continue
            if call not in suspects:
                self._suspects.append(call)
                continue
            callback, call.callback = call.callback, _ignore
            callback(None, call.name(TorrelqueConnectionError('the call came to no end')))
        if self._looks >= self.patience:
            self._claim()


def _ignore(reply: Any, error: Exception | None) -> None:
    """Take a reply that comes after all, for a call that has failed."""
