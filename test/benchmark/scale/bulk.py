"""How many tasks to take in one call."""

from __future__ import annotations

import asyncio
import statistics

from benchmark.scale.work import (
    SCRIPTS,
    Figures,
    Log,
    Plan,
    Tally,
    drain_by_loops,
    drain_in_bulk,
    fill,
    script_cells,
    small_task,
    start_server,
    timed,
    worst,
)
from benchmark.speed.run import progress
from benchmark.tables import Table, thousands
from torrelque import Torrelque

SIZES = (1, 5, 10, 25, 50, 100, 250)


def measure(plan: Plan, tally: Tally) -> Figures:
    return asyncio.run(_measure(plan, tally))


async def _measure(plan: Plan, tally: Tally) -> Figures:
    """Drain as many tasks by one loop, in calls of each size."""
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    logs: dict[int, list[Figures]] = {size: [] for size in SIZES}
    with start_server() as (server, plain):
        log = Log(plain)
        async with server.client() as client, Torrelque(client, queue='bulk') as queue:
            for place in range(plan.rounds + 1):
                for size in SIZES:
                    progress(f'bulk: round {place} of {plan.rounds}, {size} in a call')
                    count = max(plan.probe * min(4, size), 2 * size)
                    await fill(queue, tally, map(small_task, range(count)))
                    log.reset()
                    # The call that takes one task gives no list.
                    drain = drain_in_bulk if size > 1 else drain_by_loops
                    seconds = await timed(drain(queue, tally, count, size))
                    # The first time is for connections and scripts.
                    if place:
                        rates[size].append(count / seconds)
                        logs[size].append(log.read())
        tally.look_for_keys(plain)
    return {str(size): _figures(rates, logs[size], size) for size in SIZES}


def _figures(rates: dict[int, list[float]], logs: list[Figures], size: int) -> Figures:
    ratio = statistics.median(a / b for a, b in zip(rates[size], rates[1], strict=True))
    mean = statistics.median(log['mean_ms'] for log in logs)
    return {'rate': statistics.median(rates[size]), 'ratio': ratio, 'mean_ms': mean, **worst(logs)}


def tables(figures: Figures) -> list[Table]:
    head = ['tasks in a call', 'thousands/s', 'ratio', 'mean ms', *SCRIPTS]
    rows = []
    for size, one in figures.items():
        rows.append([size, thousands(one['rate']), f'{one["ratio"]:.1f}', f'{one["mean_ms"]:.2f}', *script_cells(one)])
    return [Table('One loop that takes and releases in bulk', head, rows)]
