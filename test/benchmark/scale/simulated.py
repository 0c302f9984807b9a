"""What two cores cannot show: many primaries, simulated."""

from __future__ import annotations

from benchmark.scale.work import Figures, Plan, Tally
from benchmark.simulation import simulation
from benchmark.tables import Table


def measure(plan: Plan, tally: Tally) -> Figures:
    """Throughput by shards; the tasks counted are simulated ones."""
    figures = simulation.measure(simulation.FULL._replace(shards=plan.simulated), ['growth'])
    for cells in figures['growth'].values():
        for cell in cells.values():
            tally.put(cell['entered'])
            tally.take(cell['left'] + cell['held'] + cell['released'])
    return figures


def tables(figures: Figures) -> list[Table]:
    return simulation.tables_of(figures)
