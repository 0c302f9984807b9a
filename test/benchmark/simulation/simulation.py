"""One queue over many shards, simulated: the same each time, on whatever machine.

    python -m benchmark.simulation [--only NAMES] [--small] [--seed N] [--json FILE] [--markdown FILE]

Each shard is a server that does one call after the other, and each process has a processor of its own; what calls cost
was measured (`costs`).  The exit status is 1 where a goal was missed, or a task was lost.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.simulation import growing, waiting
from benchmark.tables import Table, as_markdown, as_text

Figures = dict[str, Any]

GOAL = 0.8
"""Of so many times the throughput of one."""


class Plan(NamedTuple):
    """How much is simulated."""

    shards: tuple[int, ...]
    convoys: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    """Shards and processes."""
    loads: tuple[float, ...]
    tasks: int
    away: tuple[int, int, float]
    """Shards, processes, and seconds of one that is away."""
    skewed: tuple[int, int]


FULL = Plan(
    shards=(1, 2, 4, 8, 16, 32, 64, 128),
    convoys=(16, 64),
    places=((16, 4), (64, 16), (64, 128), (256, 256)),
    loads=(0.02, 0.5, 0.9),
    tasks=40_000,
    away=(16, 32, 3.0),
    skewed=(16, 32),
)
SMALL = Plan(
    shards=(1, 2, 8),
    convoys=(8,),
    places=((8, 4),),
    loads=(0.5,),
    tasks=1000,
    away=(6, 6, 0.6),
    skewed=(8, 8),
)


class Part(NamedTuple):
    """Something that is simulated by itself."""

    measure: Callable[[Plan, int], Figures]
    tables: Callable[[Figures], list[Table]]


PARTS = {
    'growth': Part(lambda plan, seed: growing.grow(plan.shards, seed), growing.grow_tables),
    'convoy': Part(lambda plan, seed: growing.convoy(plan.convoys, seed), growing.convoy_tables),
    'waiting': Part(lambda plan, seed: waiting.wait(plan.places, plan.loads, plan.tasks, seed), waiting.wait_tables),
    'away': Part(lambda plan, seed: waiting.lose(*plan.away, seed), waiting.lose_tables),
    'skew': Part(lambda plan, seed: waiting.skew(*plan.skewed, plan.tasks, seed), waiting.skew_tables),
}


def measure(plan: Plan, names: Sequence[str] = (*PARTS,), seed: int = 1) -> Figures:
    return {name: PARTS[name].measure(plan, seed) for name in names}


def tables_of(result: Figures) -> list[Table]:
    return [table for name, figures in result.items() for table in PARTS[name].tables(figures)]


def faults_of(result: Figures) -> Iterator[str]:
    """What was lost, and what is not as it should be."""
    for name, cell in _cells(result):
        if 'entered' in cell and cell['entered'] != cell['left'] + cell['held'] + cell['released']:
            yield f'{name}: {cell["entered"]:,} tasks went in, {cell["left"] + cell["held"] + cell["released"]:,} are'
    for number, cell in result.get('growth', {}).get('tasks of 5 ms', {}).items():
        if cell['efficiency'] < GOAL:
            yield f'{number} shards have {cell["efficiency"]:.3f} of {number} times the throughput of one'
    for name, cell in result.get('convoy', {}).items():
        # Where one task is enough for a second claim, all have small batches, in whatever order they ask.
        if not name.endswith(', 1') and cell['in turn']['rate'] > 1.02 * cell['random']['rate']:
            yield f'{name}: shards that are asked in turn have {cell["in turn"]["rate"]:,.0f} tasks a second'


def _cells(figures: Figures, name: str = '') -> Iterator[tuple[str, Figures]]:
    """The innermost of figures, and where they are."""
    yield name, figures
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from _cells(value, f'{name}, {key}'.lstrip(', '))


def selected(names: str | None) -> list[str]:
    wanted = [name.strip() for name in names.split(',')] if names else [*PARTS]
    if unknown := [name for name in wanted if name not in PARTS]:
        raise SystemExit(f'unknown: {", ".join(unknown)}; there are: {", ".join(PARTS)}')
    return wanted


def show(growth: Figures, file: Path) -> None:
    """Have a file say by how many times throughput grows, of each case."""
    data = json.loads(file.read_text())
    data['simulated']['figures'] = {
        case: {number: round(int(number) * cell['efficiency'], 3) for number, cell in cells.items()}
        for case, cells in growth.items()
    }
    data['simulated']['when'] = time.strftime('%Y-%m-%d', time.gmtime())
    file.write_text(json.dumps(data, indent=1) + '\n')


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='benchmark.simulation', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--only', metavar='NAMES', help=f'comma-separated, of {", ".join(PARTS)}')
    parser.add_argument('--small', action='store_true', help='few shards, in seconds')
    parser.add_argument('--seed', type=int, default=1, help='of all that is drawn')
    parser.add_argument('--json', metavar='FILE', type=Path, help='all figures')
    parser.add_argument('--markdown', metavar='FILE', type=Path, help='the tables as Markdown')
    parser.add_argument('--picture', metavar='FILE', type=Path, help='put growth into the figures of the picture')
    options = parser.parse_args(argv)
    result: Figures = {}
    for name in selected(options.only):
        began = time.monotonic()
        result |= measure(SMALL if options.small else FULL, [name], options.seed)
        print('\n'.join(as_text(PARTS[name].tables(result[name]))))
        print(f'{name} took {time.monotonic() - began:.0f} s', flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    if options.markdown:
        options.markdown.write_text('\n'.join([*as_markdown(tables_of(result)), '']))
    if options.picture:
        show(result['growth'], options.picture)
    faults = [*faults_of(result)]
    for fault in faults:
        print(fault)
    return 1 if faults else 0
