"""`torrelque run --processes`: whether more processes do more, and what ends it.

With handlers that do nothing it is processors: where the server, and each process, has one of its own, a drain goes as
fast as one of them allows, which processor times tell.  With handlers that wait it is their number.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.scale import goals
from benchmark.scale.crew import LOOK
from benchmark.scale.handlers import WAIT
from benchmark.scale.primaries import Place, Primaries, connect, start_primaries
from benchmark.scale.work import PATIENCE, Figures, Plan, Tally, small_task
from benchmark.speed.run import progress
from benchmark.tables import Row, Table, thousands
from support.processes import TEST, environment

QUEUE = 'run'
TICK = os.sysconf('SC_CLK_TCK')
MORE = 1.25
"""Times the processor time that a task takes with one process, at the most."""
GROWS = 0.8
"""Of so many times what one process does, at the least."""


class Way(NamedTuple):
    """What is run."""

    name: str
    handler: str
    concurrency: int
    share: float
    """Of the planned tasks, for each process."""
    grows: bool = False
    """Whether there are so many more tasks where there are more processes."""


WAYS = (
    Way('handlers that do nothing', 'do_nothing', 100, 1.0),
    Way(f'handlers that wait {1000 * WAIT:g} ms, 5 at a time', 'wait', 5, 0.03, grows=True),
)
"""The first is the plain drain."""


def measure(plan: Plan, tally: Tally) -> Figures:
    numbers = plan.sharding.processes
    taken: dict[str, dict[int, list[Figures]]] = {way.name: {number: [] for number in numbers} for way in WAYS}
    with start_primaries(1) as primaries:
        for turn in range(3 if plan.sharding.rounds > 1 else 1):
            for way in WAYS:
                for number in numbers:
                    progress(f'run: round {turn + 1}, {way.name}, {number} processes')
                    count = max(int(plan.sharding.work * way.share), 5) * (number if way.grows else 1)
                    taken[way.name][number].append(_drain(primaries, way, number, count, tally))
        # Workers have left what is known of them.
        primaries.clients[0].flushall()
    return {'figures': goals.told(_figures(taken)), 'runs': taken, 'cores': len(os.sched_getaffinity(0))}


def _drain(primaries: Primaries, way: Way, number: int, count: int, tally: Tally) -> Figures:
    place, client = primaries.one(QUEUE), primaries.clients[0]
    with _workers(place, way, number) as leader:
        _until(lambda: client.info('clients')['blocked_clients'] >= number, leader)
        asyncio.run(_call(place, 'pause'))
        tally.put(asyncio.run(_fill(place, count)))
        # One alone has no other above it.
        processes = [leader.pid, *_children_of(leader.pid)]
        used, before = _processor(processes), primaries.used()
        began = time.monotonic()
        asyncio.run(_call(place, 'resume'))
        left = asyncio.run(_left(primaries, place))
        _until(left.empty, leader)
        took = time.monotonic() - began
        done = primaries.used().since(before)
        used = _processor(processes) - used
    tally.take(count)
    [served] = done.processor
    return {
        'rate': count / took, 'server': served / count * 1e6, 'process': used / count * 1e6,
        'share': served / took * 100, 'scripts': done.scripts / count,
    }  # fmt: skip


@contextlib.contextmanager
def _workers(place: Place, way: Way, number: int) -> Iterator[subprocess.Popen[bytes]]:
    words = ['run', f'benchmark.scale.handlers:{way.handler}', '-q', place['queue'], '--url', f'unix://{place["path"]}']
    words += ['--processes', str(number), '--concurrency', str(way.concurrency), '--log-level', 'warning']
    command, quiet = [sys.executable, '-m', 'torrelque', *words], subprocess.DEVNULL
    with subprocess.Popen(command, cwd=TEST, env=environment(*sys.path), stderr=quiet) as leader:
        try:
            yield leader
        finally:
            leader.send_signal(signal.SIGTERM)
            try:
                leader.wait(30)
            except subprocess.TimeoutExpired:
                leader.kill()


async def _fill(place: Place, count: int) -> int:
    async with connect(place) as queue:
        return len(await queue.enqueue_many(small_task(n) for n in range(count)))


async def _call(place: Place, verb: str) -> None:
    async with connect(place) as queue:
        await getattr(queue, verb)()


async def _left(primaries: Primaries, place: Place) -> Any:
    async with connect(place) as queue:
        return primaries.left(queue)


def _until(condition: Callable[[], Any], leader: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until or leader.poll() is not None:
            raise RuntimeError('the workers do not do what they are to')
        time.sleep(LOOK)


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def _processor(processes: list[int]) -> float:
    """Processor time (s) of some processes so far."""
    times = 0
    for pid in processes:
        # The name, which may have anything in it, ends with the last bracket.
        after = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        times += int(after[11]) + int(after[12])
    return times / TICK


def _figures(taken: dict[str, dict[int, list[Figures]]]) -> list[goals.Figure]:
    figures = []
    for way in WAYS:
        each = taken[way.name]
        one, *more = each
        for number in more:
            both = [*zip(each[number], each[one], strict=True)]
            if way.grows:
                ratios = [several['rate'] / single['rate'] for several, single in both]
                name, goal = f'rate of {number} processes by that of one: {way.name}', GROWS * number
                figures.append(goals.of_rounds(name, ratios, 'times', goal, least=True))
                continue
            for what in ('process', 'server'):
                ratios = [several[what] / single[what] for several, single in both]
                of = 'the processes' if what == 'process' else 'the server'
                name = f'processor time of {of} for a task, {number} processes by one: {way.name}'
                figures.append(goals.of_rounds(name, ratios, 'times', MORE))
    return figures


def tables(figures: Figures) -> list[Table]:
    rows: list[Row] = []
    for way, each in figures['runs'].items():
        for number, rounds in each.items():
            best = max(rounds, key=lambda one: one['rate'])
            times = [f'{best[what]:.1f}' for what in ('process', 'server')]
            rows.append([f'{way}: {number} processes', thousands(best['rate']), *times, f'{best["share"]:.0f}',
                         f'{best["scripts"]:.3f}'])  # fmt: skip
    head = ['', 'thousands/s', 'processes, µs a task', 'server, µs a task', 'server, % of a core', 'scripts a task']
    title = f'The best rounds, {figures["cores"]} cores'
    return [goals.table('torrelque run --processes', figures['figures']), Table(title, head, rows)]
