"""A process of consumers: it waits at the bells of shards, and asks those that may have something.

As `torrelque.sharded` does it: a shard is *open*, or it is *still*, which is that its last claim has left nothing and
that the process has been blocked at its bell since; then it is not asked.  How many wait is a number, of which a claim
takes its share along.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random

from benchmark.simulation.clock import Clock
from benchmark.simulation.costs import CLIENT, LINK
from benchmark.simulation.setup import Setup
from benchmark.simulation.shard import Shard

MOST = 250
"""Tasks of a call."""


class Bag:
    """Numbers of which one can be drawn."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = [*numbers]
        self._places = {number: place for place, number in enumerate(self._numbers)}

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def add(self, number: int) -> None:
        if number not in self._places:
            self._places[number] = len(self._numbers)
            self._numbers.append(number)

    def remove(self, number: int) -> None:
        place, last = self._places.pop(number), self._numbers.pop()
        if last != number:
            self._numbers[place] = last
            self._places[last] = place

    def draw(self, random: Random) -> int:
        return self._numbers[int(random.random() * len(self._numbers))]


class Claim:
    """A claim on its way."""

    __slots__ = ('asked', 'awaited', 'more', 'shard')

    def __init__(self, shard: Shard, asked: int) -> None:
        self.shard, self.asked = shard, asked
        self.more, self.awaited = False, True


class Process:
    """
    :param heard: at whose bells it waits, in whatever order.
    :param done: is called with how many tasks are released.
    """

    def __init__(
        self, clock: Clock, shards: Sequence[Shard], setup: Setup, random: Random, heard: Sequence[int],
        done: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.used = 0.0
        self.held = 0
        """Tasks that are not released."""
        self.released = self.passed = self.forgone = 0
        self._clock, self._shards, self._setup, self._random, self._done = clock, shards, setup, random, done
        self._heard = {*heard}
        self._free = self._wanted = setup.loops
        self._away = 0
        self._open = Bag(heard)
        self._asked: set[int] = set()
        self._rings: set[int] = set()
        self._next = int(random.random() * len(shards))
        self._busy = 0.0
        self._finished: dict[int, int] = defaultdict(int)
        self._releasing: set[int] = set()
        clock.at(0.0, self._ask)
        if setup.listening == 'some' and len(heard) < len(shards):
            self._others = [number for number in range(len(shards)) if number not in self._heard]
            self._pause = setup.round / len(self._others)
            clock.at(random.random() * setup.round, self._look, 0)

    def _work(self, tasks: int = 0) -> float:
        """When a call was made, or its reply was read."""
        cost = CLIENT.of(tasks)
        if self._clock.now >= self._setup.warm:
            self.used += cost
        self._busy = max(self._clock.now, self._busy) + cost
        return self._busy

    # Asking

    def _may_ask(self) -> bool:
        return self._wanted >= self._setup.enough if self._away else self._wanted > 0

    def _choose(self) -> int:
        """An open shard."""
        if self._setup.order == 'random':
            return self._open.draw(self._random)
        count = len(self._shards)
        while self._next % count not in self._open:
            self._next += 1
        self._next = self._next % count + 1
        return self._next - 1

    def _ask(self) -> None:
        while self._open and self._may_ask():
            self._claim(self._choose())

    def _claim(self, number: int) -> None:
        claim = Claim(self._shards[number], min(self._wanted, MOST))
        self._wanted -= claim.asked
        self._away += 1
        self._open.remove(number)
        self._asked.add(number)
        self._rings.discard(number)
        self._clock.at(self._work() + LINK, claim.shard.submit, 'claim', claim.asked, self._taken, claim)
        if self._setup.patience:
            self._clock.at(self._clock.now + self._setup.patience, self._forgo, claim)

    def _forgo(self, claim: Claim) -> None:
        """It takes too long: others are asked."""
        if claim.awaited:
            claim.awaited = False
            self._away -= 1
            self._wanted += claim.asked
            self.forgone += 1
            self._ask()

    def _taken(self, claim: Claim, tasks: int) -> None:
        """Of the shard: it is done."""
        claim.more = claim.shard.take(tasks)
        self.held += tasks
        self._clock.at(self._clock.now + LINK, self._claimed, claim, tasks)

    def _claimed(self, claim: Claim, tasks: int) -> None:
        """The reply."""
        number = claim.shard.number
        self._asked.discard(number)
        self._free -= tasks
        if claim.awaited:
            claim.awaited = False
            self._away -= 1
            self._wanted += claim.asked
        self._wanted -= tasks
        ready, work = self._work(tasks), self._setup.work
        for _ in range(tasks):
            self._clock.at(ready + (self._random.expovariate(1 / work) if work else 0.0), self._finish, number)
        if claim.more or number in self._rings or number in self._heard and self._free <= 0:
            self._open.add(number)
        elif number in self._heard:
            self._clock.at(ready + LINK, claim.shard.submit, 'block', 0, self._listen, claim.shard)
        if self._free <= 0:
            for rung in self._rings:
                self._hand_on(rung)
            self._rings.clear()
        self._clock.at(ready, self._ask)

    # Waiting

    def _listen(self, shard: Shard, _: int) -> None:
        shard.block(self._rung)

    def _rung(self, number: int) -> None:
        self._work()
        if number not in self._asked:
            self._open.add(number)
        if self._free <= 0:
            self._hand_on(number)
        elif self._may_ask() and number in self._open:
            self._claim(number)
        else:
            self._rings.add(number)

    def _hand_on(self, number: int) -> None:
        """Nobody waits here: somebody else is rung."""
        self.passed += 1
        shard = self._shards[number]
        self._clock.at(self._work() + LINK, shard.submit, 'leave', 0, lambda _: shard.leave())

    def _look(self, place: int) -> None:
        """Ask one of the shards at whose bells this process does not wait."""
        if self._free > 0 and (number := self._others[place]) not in self._asked:
            self._open.add(number)
            self._ask()
        self._clock.at(self._clock.now + self._pause, self._look, (place + 1) % len(self._others))

    # Releasing: those of a shard in one call, and the next when it has come back

    def _finish(self, number: int) -> None:
        self._finished[number] += 1
        if number not in self._releasing:
            self._releasing.add(number)
            self._release(number)

    def _release(self, number: int) -> None:
        count = min(self._finished[number], MOST)
        self._finished[number] -= count
        when = self._work(count) + LINK
        self._clock.at(when, self._shards[number].submit, 'release', count, self._gone, number)

    def _gone(self, number: int, count: int) -> None:
        """Of the shard: they are released."""
        self.held -= count
        self.released += count
        self._clock.at(self._clock.now + LINK, self._released, number, count)

    def _released(self, number: int, count: int) -> None:
        self._free += count
        self._wanted += count
        if self._finished[number]:
            self._release(number)
        else:
            self._releasing.discard(number)
        self._done(count)
        self._ask()
