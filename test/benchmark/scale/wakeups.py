"""Consumers that are killed at any moment while tasks trickle in: how long a task waits that nobody was given before.

A task that was handed out to one that is killed comes back when its lease is over, which is another thing.  One that
nobody was given waits for a ring; where that was lost with a consumer, somebody whose block ends in silence finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from benchmark.scale import goals
from benchmark.scale.primaries import Place, Primaries, connect, start_primaries
from benchmark.scale.work import PATIENCE, Figures, Plan, Tally
from benchmark.speed.run import progress
from benchmark.tables import Row, Table
from support.processes import TEST, environment

PRIMARIES = 3
BLOCK = 2.0
"""s that a consumer blocks at a bell."""
CONSUMERS = 4
LOOPS = 3
EVERY = 0.7
"""s between two kills, on average."""
GAP = 0.01
"""s between two tasks, on average."""
LEASE = 1.0
MOST = 10
"""Tasks that nobody was given yet."""


class Crew:
    """Consumers, of which one after the other is killed and replaced."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._running: list[asyncio.subprocess.Process] = []
        self._readers: list[asyncio.Task[None]] = []
        self.kills = 0
        self.waited: dict[int, float] = {}
        """How long (s) each task had waited when it was handed out for the first time, by its number."""
        self.seen: set[int] = set()
        """Tasks that were handed out."""

    @contextlib.asynccontextmanager
    async def there(self) -> AsyncIterator[None]:
        """For the length of the block."""
        try:
            await asyncio.wait_for(asyncio.gather(*(self._hire() for _ in range(CONSUMERS))), PATIENCE)
            yield
        finally:
            for process in self._running:
                process.kill()
                await process.wait()
            await asyncio.gather(*self._readers)

    async def replace_one(self) -> None:
        """Kill one and hire another; return when that is there."""
        victim = self._running.pop(random.randrange(len(self._running)))
        victim.kill()
        await victim.wait()
        self.kills += 1
        await self._hire()

    async def _hire(self) -> None:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, '-m', 'benchmark.scale.child', json.dumps(self._place)]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, cwd=TEST, env=environment(*sys.path)
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({'do': 'tell', 'loops': LOOPS}).encode() + b'\n')
        self._running.append(process)
        assert process.stdout is not None
        # The first line says that it takes tasks.
        await process.stdout.readline()
        self._readers.append(asyncio.ensure_future(self._read(process)))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if not line.endswith(b'\n'):
                return  # it was killed while it wrote this
            number, attempt, waited = json.loads(line)
            self.seen.add(number)
            if attempt == 1:
                self.waited[number] = waited


def measure(plan: Plan, tally: Tally) -> Figures:
    found = {}
    for shards in plan.sharding.killed:
        progress(f'wakeups: {shards or "no"} shards')
        with start_primaries(PRIMARIES if shards else 1) as primaries:
            place = primaries.many('queue', PRIMARIES, shards) if shards else primaries.one('queue')
            found[str(shards)] = asyncio.run(_measure(primaries, place, plan.sharding.kills, tally))
    figures = [
        goals.Figure(f'the longest wait for a first hand-out, {name} shards', one['max'], 'ms', 1000 * BLOCK)
        for name, one in found.items()
        if name != '0'
    ]
    return {'figures': goals.told(figures), 'wakeups': found}


async def _measure(primaries: Primaries, place: Place, seconds: float, tally: Tally) -> Figures:
    crew, count = Crew(place), 0
    async with connect(place) as queue, crew.there():
        await queue.ready()
        until = time.monotonic() + seconds

        async def kill() -> None:
            while time.monotonic() < until:
                await asyncio.sleep(random.uniform(0, 2 * EVERY))
                await crew.replace_one()

        killing = asyncio.ensure_future(kill())
        while time.monotonic() < until:
            await queue.enqueue((count, time.monotonic()), task_timeout=LEASE)
            count += 1
            await asyncio.sleep(random.expovariate(1 / GAP))
            while count - len(crew.seen) > MOST:
                # Consumers on a busy machine may be too slow, and waiting for them is no waiting for a ring.
                await asyncio.sleep(GAP)
        await killing
        left = primaries.left(queue)
        await asyncio.wait_for(_until_empty(left), PATIENCE)
    tally.put(count)
    tally.take(len(crew.seen))
    waited = sorted(1000 * each for each in crew.waited.values())
    return {
        'tasks': count, 'kills': crew.kills, 'first': len(waited), 'p50': waited[len(waited) // 2],
        'p99': waited[int(0.99 * len(waited))], 'p999': waited[int(0.999 * len(waited))], 'max': waited[-1],
    }  # fmt: skip


async def _until_empty(left: Any) -> None:
    while not left.empty():
        await asyncio.sleep(0.05)


def tables(figures: Figures) -> list[Table]:
    rows: list[Row] = []
    for shards, one in figures['wakeups'].items():
        name = f'{shards} shards on {PRIMARIES} primaries' if shards != '0' else 'one queue, without shards'
        times = [f'{one[what]:.1f}' for what in ('p50', 'p99', 'p999', 'max')]
        rows.append([name, f'{one["tasks"]:,}', f'{one["kills"]}', f'{one["first"]:,}', *times])
    head = ['', 'tasks', 'kills', 'first hand-outs', 'p50 ms', 'p99', 'p99.9', 'longest']
    title = f'{CONSUMERS} consumers that are killed at any moment, tasks every {1000 * GAP:g} ms'
    below = 'How long tasks waited that nobody was given before'
    return [goals.table(title, figures['figures']), Table(below, head, rows)]
