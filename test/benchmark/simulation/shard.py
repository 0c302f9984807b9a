"""A shard: a server that does one call after the other, its tasks, and its bell."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from benchmark.simulation.clock import Clock
from benchmark.simulation.costs import LINK, SERVER

NEVER = (math.inf, math.inf)


class Shard:
    """What it does is done at the end of its call, because nothing else is done meanwhile.

    :param endless: whether it always has more tasks.
    :param since: from when on (s) its calls, time and waits are counted.
    :param away: from when and until when it does nothing.
    """

    def __init__(
        self, clock: Clock, number: int, *, endless: bool, since: float, away: tuple[float, float] = NEVER
    ) -> None:
        self.number = number
        self.calls: Counter[str] = Counter()
        self.used = 0.0
        self.waits: list[float] = []
        self.entered = self.taken = 0
        self._clock, self._endless, self._since, self._away = clock, endless, since, away
        self._pending: deque[float] = deque()
        self._line: deque[tuple[str, int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._busy = False
        self._bell = endless
        self._blocked: deque[Callable[[int], None]] = deque()

    @property
    def left(self) -> int:
        return len(self._pending)

    def submit(self, kind: str, tasks: int, done: Callable[..., None], *args: Any) -> None:
        """A call arrives; ``done`` is called with how many tasks it was for, when it is done, here."""
        self._line.append((kind, tasks, done, args))
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        kind, tasks, done, args = self._line.popleft()
        if kind == 'claim' and not self._endless:
            tasks = min(tasks, len(self._pending))
        cost = SERVER[kind].of(tasks)
        now = self._clock.now
        self._busy = True
        if now >= self._since:
            self.calls[kind] += 1
            self.used += cost
        away, back = self._away
        self._clock.at((back if away <= now < back else now) + cost, self._end, tasks, done, args)

    def _end(self, tasks: int, done: Callable[..., None], args: tuple[Any, ...]) -> None:
        done(*args, tasks)
        if self._line:
            self._begin()
        else:
            self._busy = False

    # What calls do

    def put(self, sent: float, count: int) -> None:
        """Enqueue what was sent at a time, from which it waits."""
        self.entered += count
        if not self._endless:
            self._pending.extend([sent] * count)
            self._ring()

    def take(self, count: int) -> bool:
        """Claim; whether work is left."""
        now = self._clock.now
        self.taken += count
        if not self._endless:
            waits = [now - self._pending.popleft() for _ in range(count)]
            if now >= self._since:
                self.waits += waits
        if now >= self._since and not count:
            self.calls['empty'] += 1
        left = self._endless or bool(self._pending)
        if left:
            self._ring()
        else:
            self._bell = False
        return left

    def block(self, rung: Callable[[int], None]) -> None:
        """Wait at the bell; ``rung`` is called once."""
        if self._bell:
            self._bell = False
            self._wake(rung)
        else:
            self._blocked.append(rung)

    def leave(self) -> None:
        """Hand a ring on, where there is work."""
        if self._endless or self._pending:
            self._ring()

    def _ring(self) -> None:
        if self._blocked:
            self._wake(self._blocked.popleft())
        else:
            self._bell = True

    def _wake(self, rung: Callable[[int], None]) -> None:
        if self._clock.now >= self._since:
            self.calls['wake'] += 1
        self._clock.at(self._clock.now + LINK, rung, self.number)
