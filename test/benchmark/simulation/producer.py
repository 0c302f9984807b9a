"""Who enqueues: plain tasks stick to a shard for a while, then go to the next of a random order, each once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

from benchmark.simulation.clock import Clock
from benchmark.simulation.costs import LINK
from benchmark.simulation.setup import Setup
from benchmark.simulation.shard import Shard

STICK = 32
"""Tasks that come one by one and go to the same shard."""


class Producer:
    """One of many."""

    def __init__(self, clock: Clock, shards: Sequence[Shard], setup: Setup, random: Random) -> None:
        self._clock, self._shards, self._random = clock, shards, random
        self._weights = [*itertools.accumulate(setup.weights)]
        self._order: list[Shard] = []
        self._sent = 0

    def begin(self, pause: float) -> None:
        """Tasks come one by one, at random moments, so far from each other on average."""
        self._clock.at(self._clock.now + self._random.expovariate(1 / pause), self._come, pause)

    def _come(self, pause: float) -> None:
        if self._weights:
            (shard,) = self._random.choices(self._shards, cum_weights=self._weights)
        else:
            if self._sent % STICK == 0:
                self._shard = self._following()
            self._sent += 1
            shard = self._shard
        self._send(shard, 1)
        self.begin(pause)

    def enqueue(self, count: int) -> None:
        """A call of so many."""
        self._send(self._following(), count)

    def _send(self, shard: Shard, count: int) -> None:
        now = self._clock.now
        self._clock.at(now + LINK, shard.submit, 'enqueue', count, shard.put, now)

    def _following(self) -> Shard:
        if not self._order:
            self._order = [*self._shards]
            self._random.shuffle(self._order)
        return self._order.pop()
