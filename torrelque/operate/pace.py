"""How fast an act goes: a rate that is kept over time, and a share of the server that is left to others."""

import time
from collections.abc import Callable

from torrelque.protocol import check

PORTION = 0.1
"""s of tasks that go at once, where there is a rate."""
LAG = 0.5
"""s that are made up for where the act was late; the rest is forgotten, so that no flood follows a standstill."""
SHARE = 3
"""How many times as long as a step took is waited after it."""
MOST = 250
"""Tasks that go at once, at the most."""


class Pace:
    """The clock of an act.

    :param rate: tasks a second; None is no bound.
    :param paced: whether to leave the server to others after each step.
    :param clock: seconds that only grow.
    :param own: likewise, of work of this thread, while which the server is left to others.
    :raises TorrelqueError: the rate is no number above 0.
    """

    def __init__(
        self, rate: float | None, paced: bool, clock: Callable[[], float] = time.monotonic,
        own: Callable[[], float] = time.thread_time,
    ) -> None:
        self.rate = None if rate is None else check.check_number(rate, 'rate', 0.001)
        self.portion = MOST if self.rate is None else max(1, min(MOST, round(self.rate * PORTION)))
        """Tasks that go at once."""
        self._paced = paced
        self._clock = clock
        self._own = own
        self._begun, self._worked, self._slept = clock(), own(), 0.0
        self._next: float | None = None

    def begin(self) -> None:
        """A step begins."""
        self._begun, self._worked, self._slept = self._clock(), self._own(), 0.0

    def rest(self) -> float:
        """How long (s) to wait at the end of the step: three times as long as it took, less what it waited itself, and
        without what was no work of the server."""
        if not self._paced:
            return 0.0
        took = self._clock() - self._begun - self._slept
        own = min(took, self._own() - self._worked)
        return max(0.0, SHARE * (took - own) - own - self._slept)

    def due(self) -> float:
        """How long (s) to wait until the next portion may go."""
        if self.rate is None:
            return 0.0
        now = self._clock()
        if self._next is None:
            self._next = now
        self._next = max(self._next, now - LAG)
        wait = max(0.0, self._next - now)
        self._slept += wait
        return wait

    def sent(self, count: int) -> None:
        """So many tasks have gone."""
        if self.rate is not None and self._next is not None:
            self._next += count / self.rate
