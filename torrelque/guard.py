"""The last line of defence of those who wait: a clock that runs while anybody does, and hangs on nothing else.

Whoever waits for a task is woken by the doorbell, by the time that something is due, by a reply, by the loss of a
connection.  Should one of these ever be lost, by a fault in this package or elsewhere, a queue would stand still though
it has work, which is the worst that a queue can do.  So the guard looks once a second: a claim is made where none was
made for some seconds, and a call that has come to no end long after it should have counts as failed.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from .error import TorrelqueConnectionError
from .link import Link, Request

LOOK = 1.0
"""s between two looks.  Looks are counted, and not the time, which a process that was stopped has not had."""
UNHEARD = 4
"""Looks without a claim after which one is made: twice as long as consumers block at the doorbell."""
ASTRAY = 2
"""Looks at a call that has had no end, and that its link does not know any more, after which it counts as failed."""


class Guard:
    """Looks, once a second, for as long as somebody waits.

    ``wanted`` says whether anybody does; ``calls`` tells what is on its way and over which link; ``claim`` claims,
    unless that is on its way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wanted: Callable[[], bool],
        calls: Callable[[], Iterable[tuple[Request | None, Link]]],
        claim: Callable[[], None],
    ) -> None:
        self.patience = UNHEARD
        """Looks without a claim after which one is made; a server that is waited at without a limit wants fewer."""
        self.looks = 0
        """Looks since the last claim; whoever claims sets it to none."""
        self._loop = loop
        self._wanted = wanted
        self._calls = calls
        self._claim = claim
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Go on, or begin."""
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._tick)

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        if self._wanted():
            # The next look is certain before this one can fail.
            self.begin()
            self._look()

    def _look(self) -> None:
        self.looks += 1
        for call, link in self._calls():
            if call is not None and not link.has(call):
                call.looks += 1
                if call.looks == ASTRAY:
                    callback, call.callback = call.callback, _ignore
                    callback(None, TorrelqueConnectionError('the call came to no end'))
        if self.looks >= self.patience:
            self._claim()


def _ignore(reply: Any, error: Exception | None) -> None:
    """Take what comes after all for a call that has failed."""
