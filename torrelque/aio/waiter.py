"""A consumer that waits for tasks."""

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
        """Resolved with what it has got, or with an error."""
        self.wanted = wanted
        """How many tasks it takes at the most."""
        self.timeout = timeout
        self.replies = replies
        """How many replies there were before those that count: since the call or, later, since its time was over."""
        self.got: list[Delivery] = []
        """Tasks that were taken for it."""
        self.over = False
        """Whether its time is over."""
        self.timer: asyncio.TimerHandle | None = None
        """What ends its time; None for one that waits for ever."""
