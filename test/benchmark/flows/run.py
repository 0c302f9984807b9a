"""What flows cost: instructions of calls, times and rates, and the same flows by other packages.

    python -m benchmark.flows [--only NAMES] [--small] [--rounds N] [--awake] [--before CHECKOUT] [--json FILE]
                              [--markdown FILE]

On servers of their own, without persistence.  The exit status is 1 where a goal was missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.flows import beside, counting, timing
from benchmark.flows.figures import FULL, SMALL, Figure, Plan
from benchmark.meter import machine
from benchmark.speed.awake import awake
from benchmark.speed.run import progress
from benchmark.tables import NONE, Table, as_markdown, as_text
from support.servers import RealServer

PARTS = ('counting', 'clock', *timing.PARTS, 'beside')


def measure(plan: Plan, names: Sequence[str], before: Path | None = None) -> dict[str, Any]:
    """The figures of each part, by its name; of the packages beside what they did."""
    found: dict[str, Any] = {}
    for name in names:
        progress(name)
        if name == 'beside':
            found[name] = beside.measure(plan)
        elif name == 'clock':
            if sys.platform == 'linux':
                found[name] = counting.clock(plan)
            else:
                progress('not measured: only Linux tells the processor time of another process')
        elif name == 'counting':
            if shutil.which('valgrind'):
                found[name] = counting.count(plan, before)
            else:
                progress('not measured: there is no valgrind')
        else:
            found[name] = timing.measure(plan, [name])
    return found


def tables_of(plan: Plan, found: dict[str, Any]) -> list[Table]:
    """A table for each part."""
    return [beside.table_of(plan, part) if name == 'beside' else _table(name, part) for name, part in found.items()]


def _table(name: str, figures: Sequence[Figure]) -> Table:
    rows = []
    for one in figures:
        goal = NONE if one.goal is None else f'at {"least" if one.least else "most"} {one.goal:,g}'
        value = f'{one.value:,.0f}' if one.value >= 1000 else f'{one.value:,.3g}'
        judged = NONE if one.goal is None else 'reached' if one.reached else 'missed'
        rows.append([one.name, value, one.unit, goal, judged])
    return Table(name, ['figure', 'measured', 'unit', 'goal', ''], rows)


def missed(found: dict[str, Any]) -> list[Figure]:
    """Figures whose goals were not reached."""
    return [one for name, part in found.items() if name != 'beside' for one in part if not one.reached]


def selected(names: str | None) -> list[str]:
    """Parts, as they were named."""
    wanted = [name.strip() for name in names.split(',')] if names else [*PARTS]
    if unknown := [name for name in wanted if name not in PARTS]:
        raise SystemExit(f'unknown: {", ".join(unknown)}; there are: {", ".join(PARTS)}')
    return wanted


def main(arguments: Sequence[str]) -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog='python -m benchmark.flows', description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--only', metavar='NAMES', help=f'comma-separated, of {", ".join(PARTS)}')
    parser.add_argument('--small', action='store_true', help='few tasks: that it works, and no figures to believe')
    parser.add_argument('--rounds', type=int, help='instead of those of the plan')
    parser.add_argument('--awake', action='store_true', help='let no processor sleep meanwhile')
    parser.add_argument('--before', metavar='CHECKOUT', type=Path, help='whose plain calls are counted, too')
    parser.add_argument('--json', metavar='FILE', type=Path, help='a file for the figures')
    parser.add_argument('--markdown', metavar='FILE', type=Path, help='the tables as Markdown')
    given = parser.parse_args(arguments)
    plan = SMALL if given.small else FULL
    if given.rounds:
        plan = plan._replace(rounds=given.rounds)
    names = selected(given.only)
    with RealServer('valkey9') as server, server.sync_client() as client:
        where = {**machine(client), 'date': time.strftime('%Y-%m-%d', time.gmtime())}
    with awake(given.awake):
        found = measure(plan, names, given.before and given.before.resolve())
    tables = tables_of(plan, found)
    print(', '.join(f'{name} {value}' for name, value in where.items()))
    print('\n'.join(as_text(tables)))
    if given.markdown:
        given.markdown.write_text('\n'.join([*as_markdown(tables), '']))
    if given.json:
        parts = {
            name: part._asdict() if name == 'beside' else [one._asdict() for one in part]
            for name, part in found.items()
        }
        given.json.write_text(json.dumps({'where': where, 'plan': plan._asdict(), 'found': parts}, indent=1))
    return 1 if missed(found) else 0
