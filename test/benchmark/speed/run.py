"""The speed benchmark: Torrelque beside other queues on one server, round by round.

    python -m benchmark.speed [--short] [--only NAMES] [--json FILE] [--plot DIR] [--markdown FILE]

Each system has an environment of its own under `.servers/`, made from the registry, and a child process in it.  Within
a round each figure is taken of all systems one after the other, so that what disturbs the machine disturbs them all;
figures are medians of the rounds.  All systems use TCP on localhost, because some can do nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.meter import machine
from benchmark.speed.awake import awake
from benchmark.speed.children import Child, FailedError, MissingError
from benchmark.speed.crash import judge_crashes
from benchmark.speed.figures import FIGURES, FLOOR_FIGURES, FULL, SHORT, Bench, Figure, Plan, Taken
from benchmark.speed.report import Result, as_markdown, as_text
from benchmark.speed.systems import BEFORE, FLOOR, OURS, PLOT, ROOT, SYSTEMS, System, prepare
from support.processes import environment
from support.servers import RealServer, free_port

SIZES = (60, 300)


class Run:
    """All figures of all systems, and what went wrong."""

    def __init__(self, bench: Bench, children: dict[str, Child]) -> None:
        self._bench = bench
        self._children = children
        self._taken: dict[tuple[str, str, int], list[Taken]] = {}
        self.failures: dict[str, dict[str, str]] = {}

    def measure(self, plan: Plan, sizes: tuple[int, ...]) -> None:
        for number in range(plan.rounds):
            for size in sizes:
                self._round(plan, number, size)

    def _round(self, plan: Plan, number: int, size: int) -> None:
        names = [name for name in self._children if name != FLOOR]
        names = names[number % len(names) :] + names[: number % len(names)] if names else names
        for figure in FIGURES:
            if size == SIZES[0] or figure.key in plan.large:
                progress(f'round {number + 1}, {size} bytes: {figure.title}')
                for name in names:
                    system = self._children[name].system
                    loops = not figure.loops or system.consumers == 'loops'
                    if loops and (not system.figures or figure.key in system.figures):
                        self._take(name, figure, size)
        if FLOOR in self._children:
            for figure in FLOOR_FIGURES:
                self._take(FLOOR, figure, size)

    def _take(self, name: str, figure: Figure, size: int) -> None:
        failures = self.failures.setdefault(name, {})
        if failures.get(figure.key) == '':
            return
        try:
            taken = self._bench.take(self._children[name], figure, size)
        except MissingError:
            failures[figure.key] = ''
        except FailedError as exc:
            # Twice is enough: a system that hangs would take all the time there is.
            again = figure.key in failures
            failures[figure.key] = '' if again else str(exc)
            progress(f'{name}: {exc}')
        else:
            self._taken.setdefault((name, figure.key, size), []).append(taken)

    def notifications(self, client: Any, rounds: int) -> None:
        """The costs of the bulk figures again, with keyspace notifications on, of who can make use of them."""
        client.config_set('notify-keyspace-events', 'KA')
        for _ in range(rounds):
            for name in (OURS, BEFORE):
                for figure in FIGURES:
                    if name in self._children and figure.key in ('enqueue_bulk', 'drain_bulk_100'):
                        self._take(name, figure._replace(key=f'{figure.key}_notified'), SIZES[0])
        client.config_set('notify-keyspace-events', '')

    def medians(self) -> dict[str, dict[str, dict[str, Taken]]]:
        """By system, figure and payload."""
        out: dict[str, dict[str, dict[str, Taken]]] = {}
        for (name, key, size), rounds in self._taken.items():
            one = {part: statistics.median(taken[part] for taken in rounds) for part in rounds[0]}
            out.setdefault(name, {}).setdefault(key, {})[str(size)] = one
        return out

    def raw(self) -> list[dict[str, Any]]:
        return [
            {'system': name, 'figure': key, 'payload': size, 'rounds': rounds}
            for (name, key, size), rounds in self._taken.items()
        ]


def progress(text: str) -> None:
    print(f'{time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)


def ready_children(systems: Sequence[System], fresh: bool) -> tuple[dict[str, Child], dict[str, str], dict[str, Any]]:
    """Children that answer, why others do not, and the versions in their environments."""
    children, failures, versions = {}, {}, {}
    for system in systems:
        reason = prepare(system, fresh=fresh)
        child = Child(system)
        if reason is None:
            try:
                versions[system.name] = child.ask('hello', timeout=60)
            except FailedError as exc:
                reason = str(exc)
        if reason is None:
            children[system.name] = child
        else:
            failures[system.name] = reason
            progress(f'{system.name}: {reason}')
    return children, failures, versions


def measure(plan: Plan, systems: Sequence[System], options: argparse.Namespace) -> Result:
    """All of it."""
    children, failures, versions = ready_children(systems, options.fresh)
    config = {'port': str(free_port()), 'notify-keyspace-events': '""', 'databases': '64'}
    with RealServer('valkey9', config) as server, server.sync_client() as client:
        url = f'redis://127.0.0.1:{server.port}'
        try:
            began = time.time()
            about = machine(client)
            run = Run(Bench(client, f'{url}/0', plan), children)
            run.measure(plan, SIZES)
            run.notifications(client, plan.rounds)
            for child in children.values():
                child.stop()
            progress('what a killed consumer leaves behind')
            client.flushall()
            crashes = judge_crashes([children[name].system for name in children if name != FLOOR], url)
        finally:
            for child in children.values():
                child.stop()
    return {
        'date': time.strftime('%Y-%m-%d', time.gmtime(began)),
        'took': time.time() - began,
        'machine': about,
        'plan': plan._asdict(),
        'awake': bool(options.awake),
        'versions': versions,
        'systems': {item.name: known_of(item) for item in systems},
        'not_measured': failures,
        'failures': {name: {k: v for k, v in what.items() if v} for name, what in run.failures.items()},
        'crashes': crashes,
        'figures': run.medians(),
        'rounds': run.raw(),
    }


def known_of(system: System) -> dict[str, str]:
    return {'crash': system.crash, 'consumers': system.consumers, 'note': system.note}


def plot(result: Path, directory: Path) -> None:
    reason = prepare(PLOT)
    if reason:
        progress(f'no plot: {reason}')
    else:
        command = [str(PLOT.python), '-m', 'benchmark.speed.plot', str(result), str(directory)]
        subprocess.run(command, env=environment(), check=True)


def selected(names: str | None) -> list[System]:
    if not names:
        return [system for system in SYSTEMS if not system.extra]
    wanted = [name.strip() for name in names.split(',')]
    unknown = set(wanted) - {system.name for system in SYSTEMS}
    if unknown:
        raise SystemExit(f'unknown: {", ".join(unknown)}; there are: {", ".join(item.name for item in SYSTEMS)}')
    return [system for system in SYSTEMS if system.name in wanted]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--short', action='store_true', help='one round of small counts, in less than five minutes')
    parser.add_argument('--rounds', type=int, help='instead of those of the form')
    parser.add_argument('--only', metavar='NAMES', help='systems, comma-separated')
    parser.add_argument('--awake', action='store_true', help='let no processor sleep meanwhile')
    parser.add_argument('--fresh', action='store_true', help='make the environments anew, with the newest versions')
    parser.add_argument('--json', metavar='FILE', type=Path, default=ROOT / '.servers' / 'benchmark.json')
    parser.add_argument('--markdown', metavar='FILE', type=Path, help='the tables as Markdown')
    parser.add_argument('--plot', metavar='DIR', type=Path, help='a plot there, as PNG and SVG')
    options = parser.parse_args()
    plan = SHORT if options.short else FULL
    if options.rounds:
        plan = plan._replace(rounds=options.rounds)
    with awake(options.awake):
        result = measure(plan, selected(options.only), options)
    options.json.write_text(json.dumps(result, indent=1))
    print(as_text(result))
    if options.markdown:
        options.markdown.write_text(as_markdown(result))
    if options.plot:
        plot(options.json, options.plot)
    progress(f'took {result["took"]:.0f} s; figures are in {options.json}')
    return 0
