"""One of three servers is killed and comes back, or is stopped for a while, under load.

Some producers enqueue plain tasks, some tasks of a strict group of their own, each a call after the other; and loops
take and release.  The servers write everything before they answer (`appendfsync always`), so whatever was acknowledged
has to be done in the end.  A server that hangs resets no connection: whoever waits for its reply goes on waiting.  So
when a server is stopped, plain tasks come by themselves, each with a call of its own, as requests of the web do.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from benchmark.scale import goals
from benchmark.scale.primaries import connect, start_primaries
from benchmark.scale.work import PATIENCE, Figures, Plan, Tally
from benchmark.speed.run import progress
from benchmark.tables import Row, Table
from support.servers import RealServer
from torrelque import TorrelqueError
from torrelque.sharded import Sharded

PRIMARIES = 3
SHARDS = 6
LOOPS = 60
VICTIM = 1
PAUSE = 0.1
"""s between two calls of a producer, on average."""
WORK = 0.003
LEASE = 5
SOON = 0.3
"""s after which plain tasks go in as before."""
RATE = 0.8
"""Of the rate before, at the least."""
LATE = 150
"""ms, at the most: the 99th percentile of what tasks wait in the shards of the others."""
BUCKET = 0.5


class Load:
    """Those who enqueue and those who take, and what they have seen."""

    def __init__(self, queue: Sharded, producers: int, by_themselves: bool) -> None:
        self._queue = queue
        self._producers = producers
        self._by_themselves = by_themselves
        self._began = time.monotonic()
        self._ending = False
        self._calls: set[asyncio.Task[None]] = set()
        self.entered: dict[str, str] = {}
        """Which tasks were acknowledged, and of which kind they are."""
        self.done: collections.Counter[str] = collections.Counter()
        self.refused: collections.Counter[str] = collections.Counter()
        """Errors by the names of their classes: it is not known whether these tasks are in."""
        self.answers: dict[str, list[float]] = {'plain': [], 'group': []}
        """When calls of enqueue were answered."""
        self.longest = {'plain': 0.0, 'group': 0.0}
        """Of these calls, s."""
        self.taken: list[tuple[float, int, float]] = []
        """Of plain tasks: when it was enqueued, in which shard, how long (s) it waited."""
        self.order: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
        """Of each group, the numbers and attempts of its tasks, as they were taken."""

    @property
    def now(self) -> float:
        """s since it began."""
        return time.monotonic() - self._began

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Load for the length of the block; then whatever was enqueued is worked off."""
        plain = [self._stream] if self._by_themselves else [self._produce] * self._producers
        kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [*plain]
        producers = [asyncio.ensure_future(each()) for each in kinds]
        producers += [asyncio.ensure_future(self._produce(f'group-{n}')) for n in range(self._producers)]
        consumers = [asyncio.ensure_future(self._consume()) for _ in range(LOOPS)]
        try:
            yield
            self._ending = True
            await asyncio.wait_for(asyncio.gather(*producers), PATIENCE)
            await asyncio.wait_for(self._worked_off(), PATIENCE)
        finally:
            for one in (*producers, *consumers, *self._calls):
                one.cancel()
            await asyncio.gather(*producers, *consumers, *self._calls, return_exceptions=True)

    async def _worked_off(self) -> None:
        while self._calls or (await self._queue.get_queue_stats()).tasks:
            await asyncio.sleep(0.05)

    async def _stream(self) -> None:
        """Plain tasks, each with a call of its own, as many as producers would have."""
        gap = PAUSE / self._producers
        due = self.now
        while not self._ending:
            while due <= self.now:
                call = asyncio.ensure_future(self._enqueue('plain', None, 0))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
                due += gap
            await asyncio.sleep(max(0.0, due - self.now))

    async def _produce(self, group: str | None = None) -> None:
        number = 0
        while not self._ending:
            # By chance, because producers that went on together would all be caught together.
            await asyncio.sleep(random.uniform(0, 2 * PAUSE))
            number += 1
            await self._enqueue('group' if group else 'plain', group, number)

    async def _enqueue(self, kind: str, group: str | None, number: int) -> None:
        began = self.now
        try:
            task_id = await self._queue.enqueue([group, number, began], group=group)
        except TorrelqueError as exc:
            self.refused[type(exc).__name__] += 1
            return
        self.entered[task_id] = kind
        self.answers[kind].append(self.now)
        self.longest[kind] = max(self.longest[kind], self.now - began)

    async def _consume(self) -> None:
        while True:
            task_id, (group, number, since) = await self._queue.dequeue()
            if group is None:
                self.taken.append((since, int(task_id[-3:]), self.now - since))
            else:
                self.order[group].append((number, task_id.attempt or 0))
            await asyncio.sleep(WORK)
            try:
                self.done[task_id] += await self._queue.release(task_id)
            except TorrelqueError as exc:
                self.refused[f'release: {type(exc).__name__}'] += 1

    # What has come of it

    @property
    def lost(self) -> int:
        return sum(not self.done[task_id] for task_id in self.entered)

    @property
    def twice(self) -> int:
        return sum(count > 1 for count in self.done.values())

    @property
    def disorder(self) -> int:
        """First attempts after those of later tasks of their group."""
        wrong = 0
        for numbers in self.order.values():
            seen = 0
            for number, attempt in numbers:
                wrong += attempt == 1 and number <= seen
                seen = max(seen, number)
        return wrong

    def rate(self, kind: str, since: float, until: float) -> float:
        """Calls that were answered, a second."""
        return sum(since <= when < until for when in self.answers[kind]) / (until - since)

    def late(self, since: float, until: float, victim: bool) -> list[float]:
        """What tasks that were enqueued then have waited (ms), of the shards of the victim or of the others."""
        return sorted(
            1000 * waited
            for when, shard, waited in self.taken
            if since <= when < until and (shard % PRIMARIES == VICTIM) == victim
        )


def kill(plan: Plan, tally: Tally) -> Figures:
    """A server is killed, and started again some seconds later."""

    async def down(server: RealServer) -> None:
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(plan.sharding.away)
        await asyncio.to_thread(server.start)

    return _measure('killed', plan, tally, down, by_themselves=False)


def stop(plan: Plan, tally: Tally) -> Figures:
    """A server does nothing for half as long, and goes on."""

    async def down(server: RealServer) -> None:
        server.pause()
        await asyncio.sleep(plan.sharding.away / 2)
        server.resume()

    return _measure('stopped', plan, tally, down, by_themselves=True)


def _measure(
    name: str, plan: Plan, tally: Tally, down: Callable[[RealServer], Coroutine[Any, Any, None]], *, by_themselves: bool
) -> Figures:
    rounds = []
    for turn in range(3 if plan.sharding.rounds > 1 else 1):
        progress(f'{name}: round {turn + 1}')
        rounds.append(asyncio.run(_round(plan, tally, down, by_themselves)))
    return {'figures': goals.told(_figures(name, rounds)), 'rounds': rounds}


async def _round(
    plan: Plan, tally: Tally, down: Callable[[RealServer], Coroutine[Any, Any, None]], by_themselves: bool
) -> Figures:
    with tempfile.TemporaryDirectory() as directory, start_primaries(PRIMARIES, Path(directory)) as primaries:
        logger = logging.getLogger('torrelque')
        before, logger.level = logger.level, logging.CRITICAL
        try:
            async with connect(primaries.many('queue', PRIMARIES, SHARDS)) as queue:
                assert isinstance(queue, Sharded)
                queue.task_timeout = LEASE
                await queue.set_limit(concurrency=1)
                load = Load(queue, plan.sharding.producers, by_themselves)
                async with load.going():
                    await asyncio.sleep(plan.sharding.steady)
                    went = load.now
                    await down(primaries.servers[VICTIM])
                    back = load.now
                    await asyncio.sleep(plan.sharding.steady)
        finally:
            logger.level = before
    tally.put(len(load.entered))
    tally.take(len(load.entered) - load.lost)
    return _outcome(load, went, back)


def _outcome(load: Load, went: float, back: float) -> Figures:
    # The first moments are for making connections.
    began, soon = min(1.0, went / 2), min(went + SOON, (went + back) / 2)
    others = load.late(went, back, victim=False)
    return {
        'entered': len(load.entered), 'lost': load.lost, 'twice': load.twice, 'disorder': load.disorder,
        'refused': dict(load.refused), 'down': back - went,
        'before': load.rate('plain', began, went), 'meanwhile': load.rate('plain', soon, back),
        'groups before': load.rate('group', began, went), 'groups meanwhile': load.rate('group', soon, back),
        'late before': _percentile(load.late(began, went, victim=False)), 'late': _percentile(others),
        'longest plain': load.longest['plain'], 'longest group': load.longest['group'],
    }  # fmt: skip


def _percentile(waited: Sequence[float]) -> float:
    return waited[int(0.99 * len(waited))] if waited else 0.0


def _figures(name: str, rounds: list[Figures]) -> list[goals.Figure]:
    share = [one['meanwhile'] / one['before'] for one in rounds]
    counts = [
        goals.Figure(f'{name}: {words}', sum(one[what] for one in rounds), 'tasks', 0)
        for what, words in (('lost', 'lost'), ('disorder', 'out of the order of their groups'))
    ]
    return [
        *counts,
        goals.of_rounds(f'{name}: plain tasks, from {SOON:g} s on, by those before', share, '', RATE, least=True),
        goals.of_rounds(f'{name}: 99 % of plain tasks of others, waited', [one['late'] for one in rounds], 'ms', LATE),
    ]


def tables(figures: Figures) -> list[Table]:
    rows: list[Row] = []
    for number, one in enumerate(figures['rounds'], 1):
        rates = [f'{one[what]:,.0f}' for what in ('before', 'meanwhile', 'groups before', 'groups meanwhile')]
        times = [f'{one[what]:.1f}' for what in ('late before', 'late')]
        times += [f'{one[what]:.2f}' for what in ('longest plain', 'longest group')]
        refused = ', '.join(f'{count} {error}' for error, count in one['refused'].items()) or 'none'
        rows.append([f'{number}', f'{one["entered"]:,}', f'{one["twice"]}', *rates, *times, refused])
    head = ['round', 'tasks', 'done twice', 'plain/s before', 'meanwhile', 'of groups/s before', 'meanwhile',
            'wait p99 ms before', 'meanwhile', 'longest call s, plain', 'of a group', 'errors']  # fmt: skip
    title = f'{SHARDS} shards on {PRIMARIES} primaries, one of which is away'
    return [goals.table(title, figures['figures']), Table('What happened', head, rows)]
