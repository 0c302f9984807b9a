"""Tasks that trickle in, one by one, for consumers that wait in other processes: pick-up, and scripts for each task.

A queue without shards and one with twelve have tasks at the same time, each in turn by chance, so that whatever the
machine does meanwhile disturbs both.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import NamedTuple

from benchmark.scale import goals
from benchmark.scale.crew import LOOK, SETTLED, Crew, start_crew
from benchmark.scale.primaries import Place, Primaries, Used, connect, start_primaries
from benchmark.scale.work import Figures, Plan, Tally
from benchmark.speed.run import progress
from benchmark.tables import Row, Table

SHARDS = 12
PRIMARIES = 3
SCRIPTS = 3.3
"""For each task, at the most."""
LATER = 1.3
"""Times the median of one queue, at the most."""
WORK = 0.005
"""s that a task is worked on, at the most."""
NAMES = ('one queue, without shards', f'{SHARDS} shards on {PRIMARIES} primaries')


class Load(NamedTuple):
    """How tasks come, and who waits for them."""

    name: str
    rate: float
    """Tasks a second, for each queue."""
    processes: int
    loops: int


LOADS = (
    Load('20 tasks a second, one loop', 20, 1, 1),
    Load('150 tasks a second, four processes of two loops', 150, 4, 2),
)
"""The first is the low one."""


def measure(plan: Plan, tally: Tally) -> Figures:
    taken: dict[str, list[list[Figures]]] = {load.name: [] for load in LOADS}
    with start_primaries(1) as single, start_primaries(PRIMARIES) as several, ExitStack() as stack:
        both = (single, several)
        places = (single.one('single'), several.many('shards', PRIMARIES, SHARDS))
        loads = [load._replace(processes=min(load.processes, plan.sharding.crowd)) for load in LOADS]
        most = max(load.processes for load in loads)
        crews = [stack.enter_context(start_crew([place] * most, tally, 2)) for place in places]
        for turn in range(plan.sharding.rounds):
            for load in loads:
                progress(f'waiting: round {turn + 1} of {plan.sharding.rounds}, {load.name}')
                taken[load.name].append(_take(both, places, crews, load, plan.sharding.trickle, tally))
        several.forget_maps()
        for client in (*single.clients, *several.clients):
            tally.look_for_keys(client)
    return {'figures': goals.told(_figures(taken)), 'loads': {name: _both(rounds) for name, rounds in taken.items()}}


def _take(
    both: Sequence[Primaries], places: Sequence[Place], crews: Sequence[Crew], load: Load, seconds: float, tally: Tally
) -> list[Figures]:
    for crew in crews:
        crew.tell(load.processes, do='consume', loops=load.loops, work=WORK)
    time.sleep(2 * SETTLED)
    counts, used = asyncio.run(_trickle(both, places, load, seconds))
    found = []
    for crew, count, done in zip(crews, counts, used, strict=True):
        crew.tell(load.processes)
        answers = crew.answers(load.processes)
        waited = sorted(1000 * each for answer in answers for each in answer['waited'])
        tally.put(count)
        tally.take(len(waited))
        found.append({
            'tasks': count, 'scripts': done.scripts / count, 'server': sum(done.processor) / count * 1e6,
            'p50': statistics.median(waited), 'p99': waited[int(0.99 * len(waited))], 'max': waited[-1],
        })  # fmt: skip
    return found


async def _trickle(
    both: Sequence[Primaries], places: Sequence[Place], load: Load, seconds: float
) -> tuple[list[int], list[Used]]:
    """Enqueue the time, now in one queue, now in the other; how many each has got, and what that has cost."""
    counts = [0, 0]
    async with AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(connect(place)) for place in places]
        for queue in queues:
            await queue.ready()
            # It is connected by this.
            await queue.get_queue_stats()
        before = [primaries.used() for primaries in both]
        until = time.monotonic() + seconds
        # At least one for each, so that there is something to tell.
        while time.monotonic() < until or not all(counts):
            which = min((0, 1), key=lambda number: (counts[number] > 0, random.random()))
            await queues[which].enqueue(time.monotonic())
            counts[which] += 1
            await asyncio.sleep(random.expovariate(2 * load.rate))
        lefts = [primaries.left(queue) for primaries, queue in zip(both, queues, strict=True)]
        while not all(left.empty() for left in lefts):
            await asyncio.sleep(LOOK)
        used = [primaries.used().since(then) for primaries, then in zip(both, before, strict=True)]
    return counts, used


def _figures(taken: dict[str, list[list[Figures]]]) -> list[goals.Figure]:
    figures = []
    for place, load in enumerate(LOADS):
        rounds = taken[load.name]
        scripts = [several['scripts'] for _, several in rounds]
        later = [several['p50'] / one['p50'] for one, several in rounds]
        goal = None if place else SCRIPTS
        figures.append(goals.of_rounds(f'scripts for each task, {SHARDS} shards: {load.name}', scripts, '', goal))
        figures.append(goals.of_rounds(f"pick-up by one queue's, medians: {load.name}", later, 'times', LATER))
    return figures


def _both(rounds: list[list[Figures]]) -> list[Figures]:
    """Of each of the two queues the medians of all rounds, but the longest time of all."""
    found = []
    for place in range(2):
        mine = [both[place] for both in rounds]
        cost = {name: statistics.median(one[name] for one in mine) for name in mine[0]}
        found.append({**cost, 'tasks': sum(one['tasks'] for one in mine), 'max': max(one['max'] for one in mine)})
    return found


def tables(figures: Figures) -> list[Table]:
    rows: list[Row] = []
    for load, both in figures['loads'].items():
        for name, cost in zip(NAMES, both, strict=True):
            times = [f'{cost[what]:.2f}' for what in ('p50', 'p99', 'max', 'scripts')]
            rows.append([f'{load}: {name}', f'{cost["tasks"]:,}', *times, f'{cost["server"]:.0f}'])
    head = ['', 'tasks', 'p50 ms', 'p99', 'longest', 'scripts a task', 'servers, µs a task']
    return [
        goals.table('Waiting for tasks', figures['figures']),
        Table('From the call of the producer to the consumer', head, rows),
    ]
