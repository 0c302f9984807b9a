"""How the rate grows: with consumer processes, with coroutines in a process, with the primaries of a Cluster."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from benchmark.scale.crew import Crew, Left, start_crew
from benchmark.scale.work import KIND, LOOPS, Figures, Plan, Tally, start_server
from benchmark.speed.run import progress
from benchmark.tables import Row, Table, thousands
from support.topology import Cluster, start_cluster
from torrelque.protocol.keys import make_keys

QUEUE = 'scale'
BULK = 100
LOOPING: dict[str, Any] = {'loops': LOOPS}
IN_BULK: dict[str, Any] = {'loops': 1, 'bulk': BULK}
"""How a process drains."""
PER_LOOP = 20
"""Tasks for each loop, at least."""


class _Rates:
    """Rates by what is done and by how many; of how many tasks a run is it learns from those before."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[tuple[str, int], float] = {}
        self._taken: dict[tuple[str, int], list[float]] = {}

    def take(self, what: str, number: int, run: Callable[[int], float], keep: bool = True) -> None:
        """Run it, with as many tasks as take the planned time."""
        fewer = [rate for (other, n), rate in self._known.items() if other == what and n <= number]
        count = int(fewer[-1] * self._plan.seconds) if fewer else self._plan.probe
        rate = self._known[what, number] = run(count)
        if keep:
            self._taken.setdefault((what, number), []).append(rate)

    def add(self, what: str, number: int, rate: float) -> None:
        self._taken.setdefault((what, number), []).append(rate)

    def figures(self) -> Figures:
        """Medians, and those of the ratios to the smallest number of the same round."""
        figures: Figures = {}
        for (what, number), rates in self._taken.items():
            least = self._taken[what, min(n for other, n in self._taken if other == what)]
            ratio = statistics.median(a / b for a, b in zip(rates, least, strict=True))
            figures.setdefault(what, {})[str(number)] = {'rate': statistics.median(rates), 'ratio': ratio}
        return figures


def measure_processes(plan: Plan, tally: Tally) -> Figures:
    """One backlog, and more and more processes that drain it, each by 100 plain loops, or by one loop in bulk."""
    rates = _Rates(plan)
    with start_server() as (server, client):
        left = Left([(client, QUEUE)])
        with start_crew([{'path': server.socket, 'queue': QUEUE}] * max(plan.processes), tally) as crew:

            def drain(number: int, way: dict[str, Any]) -> Callable[[int], float]:
                def run(count: int) -> float:
                    crew.fill(1, count)
                    return crew.drain(number, left, **way)

                return run

            for place in range(plan.rounds + 1):
                progress(f'processes: round {place} of {plan.rounds}')
                # The first time is for learning how many tasks it takes.
                for number in plan.processes if place else plan.processes[:1]:
                    rates.take('loops', number, drain(number, LOOPING), keep=place > 0)
                    rates.take('bulk', number, drain(number, IN_BULK), keep=place > 0)
        tally.look_for_keys(client)
    return {'cores': _cores(), 'rates': rates.figures()}


def processes_tables(figures: Figures) -> list[Table]:
    title = f'Consumer processes on one queue, {figures["cores"]} cores: thousands of tasks a second of all together'
    head = ['processes', f'{LOOPS} loops each', 'ratio', f'one loop each, bulks of {BULK}', 'ratio']
    return [Table(title, head, _growth(figures['rates'], ('loops', 'bulk')))]


def _growth(rates: Figures, names: Sequence[str]) -> list[Row]:
    rows = []
    for number in rates[names[0]]:
        cells = [rates[name][number] for name in names]
        rows.append([number, *(word for cell in cells for word in (thousands(cell['rate']), f'{cell["ratio"]:.2f}'))])
    return rows


def measure_consumers(plan: Plan, tally: Tally) -> Figures:
    """One process with more and more coroutines; then its connections, with a watch that is going on."""
    rates = _Rates(plan)
    connections = {}
    with start_server() as (server, client):
        others = {one['id'] for one in client.client_list()}
        seen: list[int] = []

        def look() -> None:
            seen.append(len({one['id'] for one in client.client_list()} - others))

        with start_crew([{'path': server.socket, 'queue': QUEUE}], tally, max(plan.consumers)) as crew:

            def drain(number: int) -> Callable[[int], float]:
                def run(count: int) -> float:
                    crew.fill(1, max(count, PER_LOOP * number))
                    return crew.drain(1, Left([(client, QUEUE)]), loops=number)

                return run

            for place in range(plan.rounds + 1):
                progress(f'consumers: round {place} of {plan.rounds}')
                for number in plan.consumers if place else plan.consumers[:1]:
                    rates.take('loops', number, drain(number), keep=place > 0)
            client.config_set('notify-keyspace-events', 'KA')
            for number in plan.consumers:
                seen.clear()
                crew.fill(1, PER_LOOP * number)
                crew.drain(1, Left([(client, QUEUE)], held=1), look, loops=number, watch=True)
                connections[str(number)] = max(seen)
        tally.look_for_keys(client)
    return {'cores': _cores(), 'rates': rates.figures(), 'connections': connections}


def consumers_tables(figures: Figures) -> list[Table]:
    rows = [[*row, str(figures['connections'][row[0]])] for row in _growth(figures['rates'], ['loops'])]
    head = ['coroutines', 'thousands/s', 'ratio', 'connections, with a watch']
    return [Table('Plain loops in one process', head, rows)]


def measure_cluster(plan: Plan, tally: Tally) -> Figures:
    """A queue on each of more and more primaries, each with a process of its own that enqueues and drains."""
    rates = _Rates(plan)
    with ExitStack() as stack:
        cluster = stack.enter_context(start_cluster(KIND, max(plan.primaries)))
        nodes = [stack.enter_context(node.sync_client()) for node in cluster.nodes]
        for node in nodes:
            node.config_set('notify-keyspace-events', '')
        queues = _names(cluster)
        places = [{'port': cluster.ports[0], 'queue': queue} for queue in queues]
        with start_crew(places, tally) as crew:
            for place in range(plan.rounds + 1):
                progress(f'cluster: round {place} of {plan.rounds}')
                for number in plan.primaries if place else plan.primaries[:1]:
                    left = Left([*zip(nodes, queues, strict=True)][:number])
                    filled: list[float] = []
                    run = _fill_and_drain(crew, number, left, filled)
                    rates.take('drain', number, run, keep=place > 0)
                    if place:
                        rates.add('fill', number, filled[0])
        for node in nodes:
            tally.look_for_keys(node)
    return {'cores': _cores(), 'rates': rates.figures()}


def _fill_and_drain(crew: Crew, number: int, left: Left, filled: list[float]) -> Callable[[int], float]:
    def run(count: int) -> float:
        filled.append(crew.fill(number, count // number))
        return crew.drain(number, left, **LOOPING)

    return run


def _names(cluster: Cluster) -> list[str]:
    """Of a queue on each primary."""
    names: dict[int, str] = {}
    number = 0
    while len(names) < len(cluster.nodes):
        name = f'scale-{number}'
        names.setdefault(cluster.owner_of(cluster.slot_of(make_keys(name)['pending'])), name)
        number += 1
    return [names[place] for place in sorted(names)]


def cluster_tables(figures: Figures) -> list[Table]:
    title = 'Primaries of a Cluster, a queue and a process for each, '
    title += f'{figures["cores"]} cores: thousands of tasks a second of all together'
    head = ['primaries', 'enqueue bulk', 'ratio', f'drain, {LOOPS} loops each', 'ratio']
    return [Table(title, head, _growth(figures['rates'], ('fill', 'drain')))]


def _cores() -> int:
    return len(os.sched_getaffinity(0))
