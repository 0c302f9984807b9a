"""Which shard the next plain tasks go to; nothing here waits or sends.

Tasks stick to one shard for some time, so that they share calls (the sticky partitioner of Kafka, KIP-480): one by one
in others, they would be many small ones.  The next is changed to by count or time and not when a batch is sent, because
that would give the slow ones more (KIP-794).  It is the next one of a random permutation: where all producers went
round in one order they would become a convoy, and most servers would idle.

Consumers take from everywhere, so equal arrivals are all that is needed, and no backlog is asked for.
"""

import random
from collections.abc import Callable

STICK = 250
"""So many tasks go to a shard before the next one is chosen, ..."""
TURN = 0.001
"""... or so long (s), if they are fewer."""
SLOW = 0.05
"""s without a reply after which tasks go to other shards, ..."""
USUAL = 8
"""... and so many times what a reply usually takes."""


class Chooser:
    """The choice of one queue object."""

    def __init__(self, count: int, is_up: Callable[[int], bool]) -> None:
        self.count = count
        """So many shards, the first ones, are chosen from."""
        self.is_up = is_up
        """Whether a shard is there and takes tasks, as far as is known."""
        self._current = 0
        self._left = 0
        """How many more tasks the shard is given."""
        self._until = 0.0
        """Until when it is."""
        self.held = False
        """Whether it is kept, however long it was, for what else comes in this turn of the event loop."""
        self._order: list[int] = []
        """The shards that come next, the last first; each comes once before any comes again."""
        self._out = [0] * count
        """Calls that are on their way, of each shard."""
        self._heard = [0.0] * count
        """When each has last replied, or when the first of its calls was sent."""
        self._usual = [0.0] * count
        """How long a reply usually takes (s)."""

    def choose(self, now: float, fresh: bool = False) -> int:
        """The shard for a task, or, when it is ``fresh``, for many that are a call of their own."""
        if not fresh and self._left > 0 and (self.held or now < self._until) and self.is_well(self._current, now):
            self._left -= 1
            return self._current
        place = self._next_well(now)
        if place is None:
            self._order = random.sample(range(self.count), self.count)
            place = self._next_well(now)
        # Where none is well, it is any of them, and the call tells why.
        self._current = self._order.pop(-1 if place is None else place)
        self._left, self._until = 0 if fresh else STICK - 1, now + TURN
        return self._current

    def _next_well(self, now: float) -> int | None:
        """The place in the order of the next shard that is well, if any is.

        Those before it stay in the order: who was only slow for a moment has its turn later, or would get less.
        """
        return next((n for n in reversed(range(len(self._order))) if self.is_well(self._order[n], now)), None)

    def use(self, count: int, of: int) -> None:
        """Choose from so many shards from now on; of so many, calls may be on their way."""
        self.count, self._left, self._order = count, 0, []
        for each in (self._out, self._heard, self._usual):
            each += [0] * (of - len(each))

    def let_go(self) -> None:
        """This turn of the event loop is over."""
        self.held = False

    def is_well(self, shard: int, now: float) -> bool:
        """Whether a shard is there, takes tasks, and replies about as soon as usual."""
        if self._out[shard] and now - self._heard[shard] > max(SLOW, USUAL * self._usual[shard]):
            return False
        return self.is_up(shard)

    def sent(self, shard: int, now: float) -> None:
        """A call is on its way."""
        if not self._out[shard]:
            self._heard[shard] = now
        self._out[shard] += 1

    def returned(self, shard: int, began: float, now: float, replied: bool) -> None:
        """A call is over."""
        self._out[shard] -= 1
        if replied:
            self._heard[shard] = now
            self._usual[shard] += (now - began - self._usual[shard]) / 8
