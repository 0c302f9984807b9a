"""Time that passes only from one event to the next."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Clock:
    """The time (s), and what is to happen.  What is to happen at the same time happens in the order of its asking."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[Event] = []
        self._numbers = itertools.count()

    def at(self, when: float, what: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what, args))

    def run(self, until: float) -> None:
        """Have all happen that is to happen until then."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, what, args = heapq.heappop(events)
            what(*args)
        self.now = until
