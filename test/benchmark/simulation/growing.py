"""Throughput by shards, with a backlog in each, and as many tasks that go in as come out."""

from __future__ import annotations

from typing import Any

from benchmark.simulation.outcome import Outcome
from benchmark.simulation.setup import Order, Setup
from benchmark.simulation.world import simulate
from benchmark.tables import Row, Table

Figures = dict[str, Any]

WORK = 0.005
PER_SHARD = {'5 ms': 8, 'none': 4}
"""Processes for each shard, by what a task takes: enough of them that the servers are the limit."""
FEED = 100
CASES: dict[str, tuple[str, Order]] = {
    'tasks of 5 ms': ('5 ms', 'random'),
    'tasks of no work': ('none', 'random'),
    'tasks of 5 ms, shards in turn': ('5 ms', 'in turn'),
}


def setup_of(shards: int, work: str = '5 ms', order: Order = 'random', enough: int = 25, seed: int = 1) -> Setup:
    """Few shards are watched for longer, so that there are tasks enough to count."""
    return Setup(
        shards=shards, processes=PER_SHARD[work] * shards, work=WORK if work == '5 ms' else 0.0, feed=FEED, order=order,
        enough=enough, warm=0.05, seconds=0.1 + 0.4 / shards, seed=seed,
    )  # fmt: skip


def grow(numbers: tuple[int, ...], seed: int = 1) -> Figures:
    """By case and by number of shards: what came of it, and its share of so many times that of the first number."""
    figures: Figures = {}
    for case, (work, order) in CASES.items():
        found = {number: simulate(setup_of(number, work, order, seed=seed)) for number in numbers}
        each = found[numbers[0]].rate / numbers[0]
        figures[case] = {
            str(number): {'efficiency': one.rate / number / each, **one.figures()} for number, one in found.items()
        }
    return figures


def grow_tables(figures: Figures) -> list[Table]:
    head = ['shards', *(word for case in figures for word in (f'{case}: k/s', 'efficiency', 'busy', 'batch'))]
    rows: list[Row] = []
    for number in next(iter(figures.values())):
        cells = [figures[case][number] for case in figures]
        rows.append([number, *(word for cell in cells for word in (
            f'{cell["rate"] / 1000:,.0f}', f'{cell["efficiency"]:.2f}', f'{cell["busy"]:.2f}', f'{cell["batch"]:.0f}'
        ))])  # fmt: skip
    return [Table('Whole lives of tasks a second, a backlog everywhere', head, rows)]


ENOUGH = (1, 10, 25, 50)


def convoy(numbers: tuple[int, ...], seed: int = 1) -> Figures:
    """By number of shards and by how many must wait for a second claim: rates, in turn and at random."""
    figures: Figures = {}
    for number in numbers:
        for enough in ENOUGH:
            found: dict[Order, Outcome] = {
                order: simulate(setup_of(number, '5 ms', order, enough, seed)) for order in ('in turn', 'random')
            }
            figures[f'{number}, {enough}'] = {order: one.figures() for order, one in found.items()}
    return figures


def convoy_tables(figures: Figures) -> list[Table]:
    head = ['shards, waiting for a second claim', 'in turn: k/s', 'batch', 'busy', 'random: k/s', 'batch', 'busy']
    rows = [
        [name, *(word for cell in (cells['in turn'], cells['random']) for word in (
            f'{cell["rate"] / 1000:,.0f}', f'{cell["batch"]:.0f}', f'{cell["busy"]:.2f}'
        ))]
        for name, cells in figures.items()
    ]  # fmt: skip
    return [Table('The convoy: in which order open shards are asked, tasks of 5 ms', head, rows)]
