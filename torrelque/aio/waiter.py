"""A call of `dequeue` that waits."""

import asyncio
from typing import Any

from torrelque.model import TorrelqueTaskId

Delivery = tuple[TorrelqueTaskId, Any]


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
