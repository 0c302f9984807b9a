"""How long a task waits: by how processes wait for it, with a shard that is away, and with groups of unlike size."""

from __future__ import annotations

import random
from typing import Any

from benchmark.simulation.outcome import PARTS, quantile
from benchmark.simulation.setup import Listening, Setup
from benchmark.simulation.world import simulate
from benchmark.tables import Row, Table

Figures = dict[str, Any]

LOOPS, WORK, AROUND = 50, 0.02, 0.002
"""Of a process; what a task takes; and what it takes beside its work, about."""
WAYS: dict[str, tuple[Listening, int]] = {
    'all bells': ('all', 0),
    '8 bells, the others in rounds': ('some', 8),
    '1 bell, the others in rounds': ('some', 1),
    'shards have owners': ('owners', 0),
}


def rate_of(processes: int, load: float) -> float:
    """Tasks a second that leave a process idle for 1 - load of the time."""
    return load * processes * LOOPS / (WORK + AROUND)


def wait(places: tuple[tuple[int, int], ...], loads: tuple[float, ...], tasks: int, seed: int = 1) -> Figures:
    """By shards, processes, load, and how is waited: how long, and how often in vain."""
    figures: Figures = {}
    for shards, processes in places:
        for load in loads:
            # A shard alone has no more than some 25,000 a second, when tasks come one by one.
            rate = min(rate_of(processes, load), load * shards * 25_000)
            for way, (listening, bells) in WAYS.items():
                setup = Setup(
                    shards=shards, processes=processes, loops=LOOPS, work=WORK, rate=rate, listening=listening,
                    bells=bells, warm=0.2, seconds=max(tasks / rate, 0.3), seed=seed,
                )  # fmt: skip
                figures[f'{shards}, {processes}, {load:g}, {way}'] = simulate(setup).figures()
    return figures


def wait_tables(figures: Figures) -> list[Table]:
    head = ['shards, processes, load, way', 'p50 ms', 'p99 ms', 'max ms', 'claims a task', 'empty ones', 'k/s']
    rows = [
        [name, *milliseconds(cell), f'{cell["claims"]:.2f}', f'{cell["empty"]:.2f}', f'{cell["rate"] / 1000:,.1f}']
        for name, cell in figures.items()
    ]
    return [Table(f'Waits of tasks of {WORK * 1000:.0f} ms that come one by one', head, rows)]


AWAY = 3
"""The shard that does nothing."""


def lose(shards: int, processes: int, seconds: float, seed: int = 1) -> Figures:
    """When processes begin, and ask all shards, one does nothing for so long: waits, by whether claims are waited for.

    At work they ask only shards of which they know that there is something.
    """
    figures: Figures = {}
    others = [number for number in range(shards) if number != AWAY]
    for name, patience in (('claims are waited for', 0.0), ('for 0.1 s at the most', 0.1)):
        setup = Setup(
            shards=shards, processes=processes, loops=LOOPS, work=WORK, rate=rate_of(processes, 0.6), patience=patience,
            away=(AWAY, 0.0, seconds), warm=0.0, seconds=seconds * 1.5, seed=seed,
        )  # fmt: skip
        found = simulate(setup)
        for whose, chosen in (('the others', others), ('its own', [AWAY])):
            waits = found.waited(chosen)
            late = sum(wait > 0.01 for wait in waits) / max(1, len(waits))
            figures[f'{whose}, {name}'] = {
                'tasks': len(waits), 'late': late, **{part: quantile(waits, at) * 1000 for part, at in PARTS.items()}
            }  # fmt: skip
    return figures


def lose_tables(figures: Figures) -> list[Table]:
    head = ['whose tasks', 'tasks', 'p50 ms', 'p99 ms', 'max ms', 'over 10 ms']
    rows = [
        [name, f'{cell["tasks"]:,}', *milliseconds(cell), f'{cell["late"]:.1%}'] for name, cell in figures.items()
    ]
    return [Table('A shard does nothing for a while from when processes begin, load 0.6', head, rows)]


GROUPS = 2000
ZIPF = (0.0, 0.8, 1.0, 1.2)


def skew(shards: int, processes: int, tasks: int, seed: int = 1) -> Figures:
    """Groups of unlike size, each in a shard: waits, where all processes take from all shards, and where not."""
    figures: Figures = {}
    for power in ZIPF:
        weights = weights_of(shards, power, seed)
        share = max(weights) / sum(weights)
        rate = rate_of(processes, 0.6)
        for way in ('all bells', 'shards have owners'):
            setup = Setup(
                shards=shards, processes=processes, loops=LOOPS, work=WORK, rate=rate, weights=weights,
                listening=WAYS[way][0], warm=0.2, seconds=tasks / rate, seed=seed,
            )  # fmt: skip
            figures[f'{power:g}, {way}'] = {'share': share, **simulate(setup).figures()}
    return figures


def weights_of(shards: int, power: float, seed: int) -> tuple[float, ...]:
    """What each shard has, of groups of which the n-th largest has 1 / n ** power."""
    drawn = random.Random(seed)
    weights = [0.0] * shards
    for number in range(GROUPS):
        weights[drawn.randrange(shards)] += 1 / (number + 1) ** power
    return tuple(weights)


def skew_tables(figures: Figures) -> list[Table]:
    head = ['power of the groups, way', 'p50 ms', 'p99 ms', 'max ms', 'share of the busiest', 'it works']
    rows = [
        [name, *milliseconds(cell), f'{cell["share"]:.2f}', f'{cell["busiest"]:.2f}'] for name, cell in figures.items()
    ]
    return [Table(f'{GROUPS:,} groups of unlike size, load 0.6', head, rows)]


def milliseconds(cell: Figures) -> Row:
    """The quantiles."""
    return [f'{cell[part]:,.2f}' if cell[part] < 10 else f'{cell[part]:,.0f}' for part in PARTS]
