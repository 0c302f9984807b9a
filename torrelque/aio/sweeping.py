"""Sweeps that a shelf sends when something is due: that is brought back, and what is to be done of flows is done.

A claim goes right behind a sweep, and another when the reply has come.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from torrelque.error import reason_of
from torrelque.protocol.calls import Calls
from torrelque.protocol.carrying import read_spread
from torrelque.protocol.steps import take_swept

from .link import Link, Request

logger = logging.getLogger('torrelque')


class Sweeping:
    """The sweeps of one queue object for which somebody waits.

    ``claim`` claims, unless that is done already or nobody waits.
    """

    def __init__(self, link: Link, calls: Calls, claim: Callable[[], None]) -> None:
        self.closed = False
        """Whether no call is made any more to go on with flows."""
        self._loop: asyncio.AbstractEventLoop = link.loop
        """The event loop that it belongs to."""
        self._link = link
        """The connection for calls."""
        self._calls = calls
        """The builders of calls, and the scripts."""
        self._claim = claim
        """Claims."""
        self._sweep: Request | None = None
        """The sweep that is on its way; None when none is."""
        self._spreading: Request | None = None
        """The call that goes on with flows and is on its way; None when none is."""
        self._none_before = 0.0
        """The time of the loop before which no sweep is sent, because the last one failed."""

    @property
    def calls(self) -> tuple[Request | None, Request | None]:
        """What is on its way."""
        return self._sweep, self._spreading

    def sweep(self) -> None:
        """Send a sweep, unless one is on its way or the last one failed just now, and have a claim follow it."""
        if self._sweep is None and self._loop.time() >= self._none_before:
            self._sweep = Request(self._calls.transitions['sweep'], self._calls.sweep(), self._swept)
            self._link.submit(self._sweep)
            # What the sweep brings back is for the waiters here, so claim right behind it, not when it has returned.
            self._claim()

    def _swept(self, reply: Any, error: Exception | None) -> None:
        self._sweep = None
        try:
            if error is not None:
                raise error
            if take_swept(self._calls, reply):
                self._spread()
        except Exception as exc:
            logger.warning('queue %r: a sweep failed: %s', self._calls.name, reason_of(exc))
            self._later()
        else:
            self._claim()

    def _spread(self) -> None:
        """Go on with what is to be done of flows."""
        if self._spreading is None and not self.closed:
            spread = self._calls.transitions['spread']
            self._spreading = Request(spread, self._calls.spread(), self._have_spread)
            self._link.submit(self._spreading)

    def _have_spread(self, reply: Any, error: Exception | None) -> None:
        self._spreading = None
        try:
            if error is not None:
                raise error
            if (done := read_spread(reply)).left:
                self._spread()
            self._calls.tell_out(done.out)
            self._claim()
        except Exception as exc:
            logger.warning('queue %r: a call for flows failed: %s', self._calls.name, reason_of(exc))
            self._later()

    def _later(self) -> None:
        # Each claim would see the same due task and send the next failing call, so none is sent for a second.
        self._none_before = self._loop.time() + 0.9
        self._loop.call_later(1, self._claim)
