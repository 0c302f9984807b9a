"""Payloads from a kilobyte to ten megabytes."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable

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
    start_server,
    timed,
    worst,
)
from benchmark.speed.run import progress
from benchmark.tables import Row, Table
from torrelque import Torrelque

BULK = 100
STEPS = {'enqueue': 'enqueue one by one', 'drain': 'drain one by one', 'fill': 'enqueue bulk', 'bulk': 'drain bulk 100'}


async def _enqueue(queue: Torrelque, tally: Tally, tasks: list[str]) -> None:
    for task in tasks:
        await queue.enqueue(task)
        tally.put(1)


async def _round(queue: Torrelque, log: Log, tasks: list[str], tally: Tally, taken: dict[str, list[Figures]]) -> None:
    count = len(tasks)
    steps: dict[str, Awaitable[None]] = {
        'enqueue': _enqueue(queue, tally, tasks),
        'drain': drain_by_loops(queue, tally, count, loops=1),
        'fill': fill(queue, tally, tasks),
        'bulk': drain_in_bulk(queue, tally, count, BULK),
    }
    for step, call in steps.items():
        log.reset()
        rate = count / await timed(call)
        taken[step].append({'rate': rate, **log.read()})


def measure(plan: Plan, tally: Tally) -> Figures:
    return asyncio.run(_measure(plan, tally))


async def _measure(plan: Plan, tally: Tally) -> Figures:
    taken: dict[int, dict[str, list[Figures]]] = {size: {step: [] for step in STEPS} for size, _ in plan.payloads}
    with start_server() as (server, plain):
        async with server.client() as client, Torrelque(client, queue='payloads') as queue:
            await fill(queue, tally, range(BULK))
            await drain_by_loops(queue, tally, BULK)
            for place in range(plan.rounds):
                for size, count in plan.payloads:
                    progress(f'payloads: round {place + 1} of {plan.rounds}, {size:,} bytes')
                    # The same for all: so the process has it once.
                    await _round(queue, Log(plain), ['x' * (size - 2)] * count, tally, taken[size])
        tally.look_for_keys(plain)
    return {
        str(size): {'count': count, **{step: _figures(size, rounds) for step, rounds in taken[size].items()}}
        for size, count in plan.payloads
    }


def _figures(size: int, rounds: list[Figures]) -> Figures:
    rate = statistics.median(each['rate'] for each in rounds)
    return {'rate': rate, 'mb': rate * size / 1e6, **worst(rounds)}


def tables(figures: Figures) -> list[Table]:
    return [_table(size, steps) for size, steps in figures.items()]


def _table(size: str, steps: Figures) -> Table:
    rows: list[Row] = []
    for step, title in STEPS.items():
        taken = steps[step]
        rate = f'{taken["rate"]:,.0f}' if taken['rate'] > 100 else f'{taken["rate"]:.1f}'
        rows.append([title, rate, f'{taken["mb"]:.1f}', *script_cells(taken)])
    head = ['', 'tasks/s', 'MB/s', *SCRIPTS]
    return Table(f'Payloads of {int(size):,} bytes, {steps["count"]:,} tasks', head, rows)
