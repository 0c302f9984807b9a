"""Calls of `dequeue` that wait: their futures, their times, and who gets what.

All calls of one `Torrelque` wait here, and get tasks in the order of their calls.  The shelf takes the tasks, by as few
claims as will do for all (`shelf`); here nothing is sent.

Who wakes whom: a call that comes has the shelf claim, or listen; what a claim brings resolves the futures of those whom
it serves (`deliver`), then of those whose time is over (`settle`).  A call's own timer ends it where the bell is
listened at and a claim was answered since it came; else one is, or is not for `Bounds.grace`: a silent server is not
taken for an empty queue.  The last one that goes tells the shelf.
"""

import asyncio
import collections
from collections.abc import Sequence
from typing import Protocol

from torrelque.error import no_reply, no_task
from torrelque.protocol.bounds import Bounds

from .shelf import Delivery


class Waiter:
    """A call of `dequeue`: what it wants, what it has got, and until when it waits."""

    __slots__ = ('future', 'got', 'over', 'replies', 'timeout', 'timer', 'wanted')

    def __init__(
        self, future: 'asyncio.Future[list[Delivery]]', wanted: int, timeout: float | None, replies: int
    ) -> None:
        self.future = future
        """What the call waits for: its tasks, or the error."""
        self.wanted = wanted
        """How many tasks it takes at the most."""
        self.timeout = timeout
        """How long it waits (s), as its caller has said; 0 is not at all, None for ever."""
        self.replies = replies
        """How many replies there were before those that count: since the call or, later, since its time was over."""
        self.got: list[Delivery] = []
        """The tasks that it has been given so far."""
        self.over = False
        """Whether its time is over, and it waits only for the reply of a claim that is on its way."""
        self.timer: asyncio.TimerHandle | None = None
        """Runs out with its time; None where it waits for ever."""


class Supply(Protocol):
    """What those who wait ask and tell of the place where their tasks come from: of a `Shelf`, or of several."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def bounds(self) -> Bounds: ...

    @property
    def name(self) -> str: ...

    @property
    def trouble(self) -> BaseException: ...

    @property
    def is_asking(self) -> bool: ...

    @property
    def claims(self) -> Sequence['asyncio.Future[None]']: ...

    def come(self, stays: bool) -> None: ...

    def pump(self) -> None: ...

    def quiet(self) -> None: ...

    def give_back(self, deliveries: Sequence[Delivery]) -> None: ...


class Waiters:
    """Those who wait for tasks of one shelf."""

    def __init__(self, shelf: Supply) -> None:
        self.waiting: collections.deque[Waiter] = collections.deque()
        """The calls that wait, in their order."""
        self._shelf = shelf
        """Where the tasks come from."""
        self._bounds = shelf.bounds
        """Limits and times."""
        self._replies = 0
        """Claims that were answered: by it a waiter knows whether the server has replied since its call."""
        self._over = 0
        """How many calls there are whose time is over."""

    async def fetch(self, timeout: float | None, wanted: int) -> list[Delivery]:
        """At least one task and at most ``wanted``, or `TorrelqueTimeoutError`."""
        shelf = self._shelf
        waiter = Waiter(shelf.loop.create_future(), wanted, timeout, self._replies)
        if timeout is not None:
            waiter.timer = shelf.loop.call_later(timeout or self._bounds.grace, self._expire, waiter)
            if not timeout:
                waiter.over = True
                self._over += 1
        self.waiting.append(waiter)
        shelf.come(timeout != 0)
        try:
            return await waiter.future
        except BaseException:
            self._leave(waiter)
            try:
                if waiter.future.cancelled() and (claims := shelf.claims):
                    # What the claim brings for this waiter must find its way back, even if the loop ends now.
                    await asyncio.wait(claims, timeout=self._bounds.claim_closing / 4)
            finally:
                if waiter.got:
                    shelf.give_back(waiter.got)
            raise
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()
                if waiter.over:
                    self._over -= 1

    # What the shelf asks and tells, see `Demand`

    def wanted(self) -> tuple[int, int]:
        """How many tasks are wanted, and below which number somebody goes on waiting."""
        wanted = staying = 0
        bulk = self._bounds.bulk
        for waiter in self.waiting:
            if not waiter.got:
                if waiter.timeout != 0:
                    staying = wanted + 1
                wanted += waiter.wanted
            else:
                wanted += waiter.wanted - len(waiter.got)
            if wanted >= bulk:
                break
        return wanted, staying

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Hand tasks out to those that wait, the first one first."""
        self._replies += 1
        waiting, given, count = self.waiting, 0, len(deliveries)
        while given < count and waiting:
            waiter = waiting[0]
            future, got = waiter.future, waiter.got
            if future.done():
                waiting.popleft()
                continue
            end = given + waiter.wanted - len(got)
            got += deliveries[given:end]
            if end <= count:
                waiting.popleft()
                future.set_result(got)
                if not waiting:
                    self._shelf.quiet()
            given = end
        return deliveries[given:]

    def settle(self, due: bool) -> None:
        """End the waiting of those who have got anything and, where nothing is due, of those whose time is over."""
        if self.waiting:
            # Only the first one may have got some and not all that it wants.
            if self.waiting[0].got:
                self._resolve(self.waiting[0])
            if self._over and not due:
                for waiter in list(self.waiting):
                    if waiter.over:
                        self._time_out(waiter)

    def fail(self, error: Exception, lost: bool) -> None:
        """End the waiting by an error; where the server is lost, of those alone who have got anything, without it."""
        for waiter in list(self.waiting):
            if waiter.got or not lost:
                self._resolve(waiter, error)

    # How the waiting ends

    def _leave(self, waiter: Waiter) -> None:
        if waiter in self.waiting:
            self.waiting.remove(waiter)
        if not self.waiting:
            self._shelf.quiet()

    def _resolve(self, waiter: Waiter, error: Exception | None = None) -> None:
        self._leave(waiter)
        if waiter.future.done():
            return
        if waiter.got:
            waiter.future.set_result(waiter.got)
        elif error is not None:
            waiter.future.set_exception(error)

    def _expire(self, waiter: Waiter) -> None:
        if not waiter.over and (self._shelf.is_asking or waiter.replies == self._replies):
            # The next claim will tell whether there is no task or no reply.
            self._over += 1
            waiter.over, waiter.replies = True, self._replies
            waiter.timer = self._shelf.loop.call_later(self._bounds.grace, self._expire, waiter)
            self._shelf.pump()
        else:
            self._time_out(waiter)

    def _time_out(self, waiter: Waiter) -> None:
        silent = waiter.over and waiter.replies == self._replies
        reason = silent and self._shelf.trouble
        name = self._shelf.name
        self._resolve(waiter, no_reply(name, reason) if reason else no_task(name, waiter.timeout))
