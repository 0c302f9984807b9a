"""All that there is in a simulation, put together and let run."""

from __future__ import annotations

from collections import Counter
from random import Random

from benchmark.simulation.clock import Clock
from benchmark.simulation.outcome import Outcome
from benchmark.simulation.process import Process
from benchmark.simulation.producer import Producer
from benchmark.simulation.setup import Setup
from benchmark.simulation.shard import NEVER, Shard


class World:
    """Shards, processes that take from them, and as many that enqueue."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._clock = Clock()
        random = Random(setup.seed)
        away, since, until = setup.away or (-1, *NEVER)
        self._shards = [
            Shard(self._clock, number, endless=not setup.rate, since=setup.warm,
                  away=(since, until) if number == away else NEVER)
            for number in range(setup.shards)
        ]  # fmt: skip
        self._processes = [
            Process(self._clock, self._shards, setup, random, heard_by(setup, number, random), self._done)
            for number in range(setup.processes)
        ]
        self._producers = [Producer(self._clock, self._shards, setup, random) for _ in range(setup.processes)]
        if setup.rate:
            for producer in self._producers:
                producer.begin(setup.processes / setup.rate)
        self._released = 0
        self._hungry = 0
        self._calls = 0

    def _done(self, count: int) -> None:
        if self._clock.now >= self._setup.warm:
            self._released += count
        feed = self._setup.feed
        if feed and not self._setup.rate:
            self._hungry += count
            while self._hungry >= feed:
                self._hungry -= feed
                self._producers[self._calls % len(self._producers)].enqueue(feed)
                self._calls += 1

    def run(self) -> Outcome:
        """Of so many seconds."""
        seconds = self._setup.seconds
        self._clock.run(self._setup.warm + seconds)
        shards, processes = self._shards, self._processes
        used = [shard.used / seconds for shard in shards]
        calls = sum((shard.calls for shard in shards), Counter[str]())
        done = max(1, self._released)
        taken = sum(shard.taken for shard in shards)
        return Outcome(
            rate=self._released / seconds,
            waits=[shard.waits for shard in shards],
            claims=calls['claim'] / done,
            empty=calls['empty'] / done,
            wakes=calls['wake'] / done,
            batch=self._released / max(1, calls['claim'] - calls['empty']),
            server=sum(used) * seconds / done,
            busy=sum(used) / len(used),
            busiest=max(used),
            client=sum(process.used for process in processes) / seconds / len(processes),
            entered=sum(shard.entered for shard in shards) if self._setup.rate else taken,
            left=sum(shard.left for shard in shards),
            held=sum(process.held for process in processes),
            released=sum(process.released for process in processes),
        )


def heard_by(setup: Setup, number: int, random: Random) -> list[int]:
    """At the bells of which shards a process waits."""
    shards, processes = setup.shards, setup.processes
    if setup.listening == 'all':
        return [*range(shards)]
    if setup.listening == 'some':
        first = random.randrange(shards)
        return [(first + place) % shards for place in range(setup.bells)]
    # Each shard has one owner, or several where there are more processes.
    return [*range(number, shards, processes)] if processes <= shards else [number % shards]


def simulate(setup: Setup) -> Outcome:
    return World(setup).run()
