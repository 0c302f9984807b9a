"""The scale benchmark: a million tasks, many processes, coroutines, groups, primaries and shards, and large payloads.

    python -m benchmark.scale [--only NAMES] [--small] [--json FILE] [--markdown FILE]

On servers of its own.  What is compared takes turns, round by round; figures are medians, and ratios medians of the
ratios of each round.  The exit status is 1 when a task was lost, a queue has left a key behind, or a goal was missed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark import meter
from benchmark.meter import machine
from benchmark.scale import (
    bulk,
    counted,
    goals,
    groups,
    idle,
    life,
    million,
    outage,
    parallel,
    payloads,
    running,
    simulated,
    waiting,
    wakeups,
)
from benchmark.scale.work import FULL, SMALL, Figures, Plan, Tally, start_server
from benchmark.simulation import simulation
from benchmark.speed.run import progress
from benchmark.tables import Table, as_markdown, as_text


class Part(NamedTuple):
    """Something that is measured by itself."""

    measure: Callable[[Plan, Tally], Figures]
    tables: Callable[[Figures], list[Table]]


PARTS = {
    'million': Part(million.measure, million.tables),
    'processes': Part(parallel.measure_processes, parallel.processes_tables),
    'consumers': Part(parallel.measure_consumers, parallel.consumers_tables),
    'bulk': Part(bulk.measure, bulk.tables),
    'groups': Part(groups.measure, groups.tables),
    'large': Part(groups.measure_large, groups.large_tables),
    'payloads': Part(payloads.measure, payloads.tables),
    'cluster': Part(parallel.measure_cluster, parallel.cluster_tables),
    'growth': Part(life.measure, life.tables),
    'counted': Part(counted.measure, counted.tables),
    'waiting': Part(waiting.measure, waiting.tables),
    'idle': Part(idle.measure, idle.tables),
    'killed': Part(outage.kill, outage.tables),
    'stopped': Part(outage.stop, outage.tables),
    'wakeups': Part(wakeups.measure, wakeups.tables),
    'run': Part(running.measure, running.tables),
    'simulation': Part(simulated.measure, simulated.tables),
}


def measure(plan: Plan, names: Sequence[str]) -> Figures:
    """The parts named, one after the other."""
    began = time.time()
    with start_server() as (_, client):
        about = machine(client)
    parts, counts, took = {}, {}, {}
    for name in names:
        tally = Tally()
        since = time.time()
        parts[name] = PARTS[name].measure(plan, tally)
        took[name] = time.time() - since
        counts[name] = {'enqueued': tally.enqueued, 'drained': tally.drained, 'keys': tally.keys}
    return {
        'date': time.strftime('%Y-%m-%d', time.gmtime(began)),
        'took': took,
        'machine': about,
        'versions': {name: importlib.metadata.version(name) for name in ('redis', 'hiredis')},
        'plan': plan._asdict(),
        'counts': counts,
        'parts': parts,
    }


def about(result: Figures) -> str:
    return meter.about(result['machine'], result['versions'], result['date'], result['plan']['rounds'])


def tables_of(result: Figures) -> list[Table]:
    return [table for name, figures in result['parts'].items() for table in PARTS[name].tables(figures)]


def faults_of(result: Figures) -> list[str]:
    """What was lost, or left behind, and where a simulated queue does not grow as it should."""
    faults = [*simulation.faults_of(result.get('parts', {}).get('simulation', {}))]
    for name, counts in result['counts'].items():
        if counts['enqueued'] != counts['drained']:
            faults.append(f'{name}: {counts["enqueued"]:,} tasks went in, {counts["drained"]:,} came out')
        if counts['keys']:
            faults.append(f'{name}: {len(counts["keys"])} keys are left: {", ".join(counts["keys"][:5])}')
    return faults


def missed_of(result: Figures) -> list[str]:
    """Goals that were not reached."""
    return [
        f'{name}: {words}'
        for name, figures in result['parts'].items()
        for words in goals.missed(figures.get('figures', []))
    ]


def selected(names: str | None) -> list[str]:
    if not names:
        return [*PARTS]
    wanted = [name.strip() for name in names.split(',')]
    if unknown := [name for name in wanted if name not in PARTS]:
        raise SystemExit(f'unknown: {", ".join(unknown)}; there are: {", ".join(PARTS)}')
    return wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', metavar='NAMES', help=f'comma-separated, of {", ".join(PARTS)}')
    parser.add_argument('--small', action='store_true', help='small counts, which show that it works and no more')
    parser.add_argument('--rounds', type=int, help='instead of those of the form')
    parser.add_argument('--json', metavar='FILE', type=Path, help='all figures, the versions and the machine')
    parser.add_argument('--markdown', metavar='FILE', type=Path, help='the tables as Markdown')
    parser.add_argument('--picture', metavar='FILE', type=Path, help='put growth into the figures of the picture')
    options = parser.parse_args()
    plan = SMALL if options.small else FULL
    if options.rounds:
        sharding = plan.sharding._replace(rounds=options.rounds)
        plan = plan._replace(rounds=options.rounds, sharding=sharding)
    result = measure(plan, selected(options.only))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    if options.markdown:
        options.markdown.write_text('\n'.join([f'Measured on {about(result)}.', *as_markdown(tables_of(result)), '']))
    if options.picture:
        life.show(result['parts']['growth'], result['machine'], result['versions'], options.picture)
    print('\n'.join([about(result), *as_text(tables_of(result))]))
    progress('; '.join(f'{name} took {seconds:.0f} s' for name, seconds in result['took'].items()))
    # Of small counts nobody believes a figure.
    wrong = faults_of(result) + ([] if options.small else missed_of(result))
    print('\n'.join(wrong or ['Nothing was lost, and the goals were reached.']))
    return 1 if wrong else 0
