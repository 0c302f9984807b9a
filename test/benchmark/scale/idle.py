"""What a process costs that waits for tasks at all shards, and gets none."""

from __future__ import annotations

import time

from benchmark.scale import goals
from benchmark.scale.child import NAME
from benchmark.scale.crew import start_crew
from benchmark.scale.primaries import start_primaries
from benchmark.scale.work import LOOPS, Figures, Plan, Tally
from benchmark.speed.run import progress
from benchmark.tables import Row, Table

PRIMARIES = 3
CALLS = 1.1
"""Calls a second for each shard, at the most."""
SETTLED = 2.5
"""s after which each shard has been asked, and is listened at."""


def measure(plan: Plan, tally: Tally) -> Figures:
    found: dict[str, Figures] = {}
    figures = []
    for number in (0, *plan.sharding.waiting):
        progress(f'idle: {number or "no"} shards')
        found[str(number)] = one = _wait(number, plan.sharding.idle, tally)
        if number:
            calls = one['calls'] / number
            figures.append(goals.Figure(f'calls a second for each of {number} shards', calls, '', CALLS))
            figures.append(goals.Figure(f'connections, {number} shards', one['connections'], '', 2 * number + 1))
    return {'figures': goals.told(figures), 'idle': found}


def _wait(shards: int, seconds: float, tally: Tally) -> Figures:
    with start_primaries(PRIMARIES) as primaries:
        place = primaries.many('shards', PRIMARIES, shards) if shards else primaries.one('single')
        with start_crew([place], tally, 0) as crew:
            crew.tell(1, do='consume', loops=LOOPS)
            time.sleep(SETTLED)
            before, began = primaries.used(), time.monotonic()
            time.sleep(seconds)
            used, took = primaries.used().since(before), time.monotonic() - began
            connections = primaries.connections(NAME)
            crew.tell(1)
            [answer] = crew.answers(1)
    return {
        'calls': used.calls / took,
        'connections': connections,
        'servers': sum(used.processor) / took * 100,
        'process': answer['share'] * 100,
    }


def tables(figures: Figures) -> list[Table]:
    rows: list[Row] = []
    for number, cost in figures['idle'].items():
        shares = [f'{cost[what]:.2f}' for what in ('process', 'servers')]
        rows.append([number if number != '0' else 'none', f'{cost["calls"]:.1f}', str(cost['connections']), *shares])
    head = ['shards', 'calls/s', 'connections', 'process, % of a core', 'servers, % of a core']
    return [
        goals.table(f'Waiting in vain, one process of {LOOPS} loops, {PRIMARIES} primaries', figures['figures']),
        Table('What that costs', head, rows),
    ]
