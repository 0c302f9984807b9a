"""The same flows by other packages that have tasks wait for tasks, each in an environment of its own, on one server."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from benchmark.flows.figures import Plan
from benchmark.speed.children import Child, FailedError, MissingError
from benchmark.speed.run import progress, ready_children
from benchmark.speed.systems import DECORATED, OURS, SYSTEMS as COMPARED, NodeSystem, System
from benchmark.tables import NONE, Table
from support.servers import RealServer, free_port

Taken = dict[str, float]
PATIENCE = 30.0
"""s in which a flow is to be worked off; then what was done is what counts."""
TIMEOUT = 4 * PATIENCE
"""s after which a package that does not answer is given up, its making of the flow counted."""


def _of(name: str, adapter: str, note: str = '') -> System:
    """A system of the speed benchmark, in the same environment, with another adapter."""
    return next(system for system in COMPARED if system.name == name)._replace(adapter=adapter, note=note)


SYSTEMS = (
    _of(OURS, 'flows_of_torrelque', 'plain loops'),
    _of(DECORATED, 'flows_of_torrelque_tasks', 'the layer, and a worker'),
    NodeSystem('bullmq node', 'flows_of_bullmq.mjs', ('bullmq', 'ioredis'), note='trees'),
    _of('bullmq', 'flows_of_bullmq', 'its port to Python'),
    _of('celery', 'flows_of_celery', 'chains and chords, results in Redis; threads'),
    _of('rq', 'flows_of_rq', 'depends_on; one job at a time'),
)


class Shape(NamedTuple):
    """Flows that are made and worked off."""

    title: str
    fields: dict[str, Any]


def shapes_of(plan: Plan) -> list[Shape]:
    """Those of a plan."""
    one = {'shape': 'chains', 'size': 1, 'length': plan.chain, 'consumers': 1}
    several = {'shape': 'chains', 'size': plan.chains, 'length': plan.length, 'consumers': 100}
    fans = [{'shape': 'fan', 'size': size, 'length': 1, 'consumers': 100} for size in plan.beside]
    return [
        Shape(f'a chain of {plan.chain:,}', one),
        Shape(f'{plan.chains} of {plan.length}', several),
        *(Shape(f'fan-in of {fan["size"]:,}', fan) for fan in fans),
    ]


class Found(NamedTuple):
    """What was measured, and what was not."""

    versions: dict[str, dict[str, str]]
    rates: dict[str, dict[str, Taken]]
    """Medians by system and title of the shape: steps/s of working off (`rate`), s of making it (`made`)."""
    failures: list[tuple[str, str]]
    """Systems, each with a reason."""


def measure(plan: Plan, systems: Sequence[System] = SYSTEMS, *, fresh: bool = False) -> Found:
    """All flows by all systems, one after the other in each round."""
    children, missing, hellos = ready_children(systems, fresh)
    failures = [*missing.items()]
    taken: dict[tuple[str, str], list[Taken]] = {}
    given_up: set[tuple[str, str]] = set()
    config = {'port': str(free_port()), 'notify-keyspace-events': '""'}
    with RealServer('valkey9', config) as server, server.sync_client(socket_timeout=None) as client:
        try:
            for number in range(plan.rounds):
                for shape in shapes_of(plan):
                    progress(f'round {number + 1}: {shape.title}')
                    for name, child in children.items():
                        if (name, shape.title) in given_up:
                            continue
                        try:
                            one, remark = _take(child, client, f'redis://127.0.0.1:{server.port}/0', shape)
                        except (FailedError, MissingError) as exc:
                            one, remark = None, str(exc)
                        if one:
                            taken.setdefault((name, shape.title), []).append(one)
                            progress(f'{name}: {one["rate"]:,.0f} steps/s')
                        if remark:
                            # Once is enough: what hangs would take all the time there is.
                            given_up.add((name, shape.title))
                            failures.append((name, f'{shape.title}: {remark}'))
                            progress(f'{name}: {remark}')
        finally:
            for child in children.values():
                child.stop()
    rates: dict[str, dict[str, Taken]] = {}
    for (name, title), several in taken.items():
        medians = {part: statistics.median(one[part] for one in several) for part in several[0]}
        rates.setdefault(name, {})[title] = medians
    return Found({name: hello['versions'] for name, hello in hellos.items()}, rates, failures)


def _take(child: Child, client: redis.Redis, url: str, shape: Shape) -> tuple[Taken, str]:
    """What one system did with some flows, on an empty server, and what is to be remarked of it."""
    client.execute_command('FLUSHALL', 'SYNC')
    child.ask('open', url=url)
    try:
        warm = {**shape.fields, 'size': 2, 'length': 2}
        child.ask('flow', **warm, patience=PATIENCE, timeout=TIMEOUT)
        client.execute_command('FLUSHALL', 'SYNC')
        answer = child.ask('flow', **shape.fields, patience=PATIENCE, timeout=TIMEOUT)
    finally:
        if child.running:
            child.ask('close')
    handled, count = answer['handled'], answer['count']
    remark = '' if handled == count else f'{handled:,} of {count:,} tasks in {PATIENCE:.0f} s'
    return {'rate': max(1, handled - 1) / answer['worked'], 'made': answer['made']}, remark


def table_of(plan: Plan, found: Found, systems: Sequence[System] = SYSTEMS) -> Table:
    """Steps a second of each system, the s that it took to make the flows, and what it was."""
    titles = [shape.title for shape in shapes_of(plan)]
    head = ['', 'version', *(f'{title}{what}' for title in titles for what in (', steps/s', ', made in s')), 'note']
    rows = []
    for system in systems:
        name, taken = system.name, found.rates.get(system.name, {})
        version = found.versions.get(name, {}).get(system.requirements[0].partition('[')[0], NONE)
        cells = [
            text
            for title in titles
            for text in (_cell(taken, title, 'rate', ',.0f'), _cell(taken, title, 'made', '.2f'))
        ]
        rows.append([name, NONE if system.is_ours else version, *cells, system.note])
    return Table('The same flows by others', head, [*rows, *([name, why] for name, why in found.failures)])


def _cell(taken: dict[str, Taken], title: str, part: str, form: str) -> str:
    return f'{taken[title][part]:{form}}' if title in taken else NONE
