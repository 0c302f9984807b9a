"""What operators cost a server: each figure beside what it is to be at the most.

    python -m benchmark.operate [--only NAMES] [--small] [--json FILE]

On a server of its own, without persistence.  The exit status is 1 where a goal was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import redis.asyncio

from benchmark.meter import machine
from benchmark.operate import acting, cli, dashboard, hearts, metrics, reading, why
from benchmark.operate.figures import FULL, SMALL, Figure, Plan
from benchmark.tables import NONE, Table, as_text
from support.servers import RealServer

GROUPS: dict[str, Callable[[redis.asyncio.Redis, Plan], Awaitable[list[Figure]]]] = {
    'reading': reading.measure,
    'hearts': hearts.measure,
    'why': why.measure,
    'acting': acting.measure,
    'cli': cli.measure,
    'dashboard': dashboard.measure,
    'metrics': metrics.measure,
}
"""Figures that are measured together, on a server that is empty before; each is a module."""


async def _measure(name: str, plan: Plan, kind: str) -> tuple[dict[str, Any], list[Figure]]:
    with RealServer(kind, {'notify-keyspace-events': '""'}) as server:
        with server.sync_client() as plain:
            where = machine(plain)
        async with server.client() as client:
            return where, await GROUPS[name](client, plan)


def measure(plan: Plan, names: Sequence[str], kind: str = 'valkey9') -> tuple[dict[str, Any], dict[str, list[Figure]]]:
    """Where it was measured, and the figures of each group."""
    where: dict[str, Any] = {}
    found: dict[str, list[Figure]] = {}
    for name in names:
        where, found[name] = asyncio.run(_measure(name, plan, kind))
    return where, found


def tables_of(found: dict[str, list[Figure]]) -> list[Table]:
    """A table for each group."""
    head = ['figure', 'measured', 'at the most', 'unit', '']
    return [
        Table(name, head, [
            [one.name, f'{one.value:,.1f}', NONE if one.goal is None else f'{one.goal:,g}', one.unit,
             'reached' if one.reached else 'missed']
            for one in figures
        ])
        for name, figures in found.items()
    ]  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog='python -m benchmark.operate', description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--only', help='groups of figures, comma-separated')
    parser.add_argument('--small', action='store_true', help='few tasks: that it works, and no figures to believe')
    parser.add_argument('--server', default='valkey9', help='the kind of server (valkey9)')
    parser.add_argument('--json', type=Path, help='a file for the figures')
    given = parser.parse_args(arguments)
    names = given.only.split(',') if given.only else [*GROUPS]
    where, found = measure(SMALL if given.small else FULL, names, given.server)
    print(', '.join(f'{name} {value}' for name, value in where.items()))
    print('\n'.join(as_text(tables_of(found))))
    if given.json:
        figures = {name: [one._asdict() for one in group] for name, group in found.items()}
        given.json.write_text(json.dumps({'where': where, 'figures': figures}, indent=1))
    return 0 if all(one.reached for group in found.values() for one in group) else 1
