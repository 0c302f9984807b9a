"""What Torrelque aims at, and whether a run of the benchmark shows it."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmark.speed.systems import BEFORE, DECORATED, FLOOR, OURS, SYNC, WORKER
from benchmark.tables import NONE, Table

UVLOOP = f'{OURS} uvloop'
WORKERS = ('saq', 'arq', 'streaq', 'taskiq-redis', 'bullmq', 'pydocket')
LIFE = ('enqueue_bulk', 'drain_bulk_100')
"""The figures that are a task's whole life, in bulk."""


FLOORS = {'evalsha_held': 'EVALSHA, held connection', 'evalsha_blocking': 'EVALSHA, synchronous client'}


class Goal(NamedTuple):
    """A figure, or its ratio to that of another system, and its bound."""

    title: str
    keys: tuple[str, ...]
    part: str
    bound: float
    beside: str | tuple[str, ...] = ''
    """The other system, or some, of which the fastest counts; none means the figure itself."""
    beside_key: str = ''
    """Its figure, where that is another one."""
    least: bool = True
    """The bound is the least that is good, else the most."""
    system: str = OURS
    size: str = '60'


GOALS = (
    Goal('enqueue one by one', ('enqueue_one',), 'rate', 2.2, BEFORE),
    Goal('enqueue one by one', ('enqueue_one',), 'rate', 0.8, FLOOR, 'evalsha_held'),
    Goal('enqueue 100 at a time', ('enqueue_100',), 'rate', 8, BEFORE),
    Goal('enqueue bulk', ('enqueue_bulk',), 'rate', 3.5, 'kew'),
    Goal('drain 1', ('drain_1',), 'rate', 1.8, BEFORE),
    Goal('drain 1, uvloop', ('drain_1',), 'rate', 2.2, BEFORE, system=UVLOOP),
    Goal('drain 100', ('drain_100',), 'rate', 6, BEFORE),
    Goal('drain 100', ('drain_100',), 'rate', 1.7, 'pyfiq'),
    Goal('drain 1,000', ('drain_1000',), 'rate', 10, BEFORE),
    Goal('drain bulk 100', ('drain_bulk_100',), 'rate', 2.1, BEFORE),
    Goal('drain bulk 250', ('drain_bulk_250',), 'rate', 2.5, BEFORE),
    Goal('pick-up p50', ('pickup',), 'p50', 0.6, BEFORE, least=False),
    Goal('pick-up p99', ('pickup',), 'p99', 0.5, BEFORE, least=False),
    Goal('lateness p50 (ms)', ('late',), 'p50', 2, least=False),
    Goal('lateness max (ms)', ('late',), 'max', 10, least=False),
    Goal('server µs, whole life in bulk', LIFE, 'server_us', 10, least=False),
    Goal('the same, with notifications', tuple(f'{key}_notified' for key in LIFE), 'server_us', 12, least=False),
    Goal('worker, drain 100', ('drain_100',), 'rate', 0.8, OURS, system=WORKER),
    Goal('worker, drain 100', ('drain_100',), 'rate', 4, WORKERS, system=WORKER),
    Goal('tasks, drain 100', ('drain_100',), 'rate', 0.6, OURS, system=DECORATED),
    Goal('tasks, drain 100', ('drain_100',), 'rate', 4, WORKERS, system=DECORATED),
    Goal('sync, enqueue one by one', ('enqueue_one',), 'rate', 0.8, FLOOR, 'evalsha_blocking', system=SYNC),
    Goal('bytes pending, 60', ('pending',), 'bytes', 305, least=False),
    Goal('bytes pending, 300', ('pending',), 'bytes', 565, least=False, size='300'),
)


def goals_table(figures: dict[str, Any]) -> Table | None:
    """Each goal of which the run has the figures; None where there are none."""
    rows = []
    for goal in GOALS:
        found = _value(figures, goal)
        if found is not None:
            bound = f'{"at least" if goal.least else "at most"} {goal.bound:g}'
            good = found >= goal.bound if goal.least else found <= goal.bound
            rows.append([goal.title, _beside(goal), bound, f'{found:.2f}', 'yes' if good else 'no'])
    head = ['', 'by comparison with', 'goal', 'found', 'reached']
    return Table('What the project aims at', head, rows) if rows else None


def _beside(goal: Goal) -> str:
    if goal.beside == FLOOR:
        return FLOORS[goal.beside_key]
    if isinstance(goal.beside, tuple):
        return f'the fastest of {", ".join(goal.beside)}'
    return goal.beside or NONE


def _value(figures: dict[str, Any], goal: Goal) -> float | None:
    own = _sum(figures, goal.system, goal.keys, goal)
    if not goal.beside or own is None:
        return own
    beside = (goal.beside,) if isinstance(goal.beside, str) else goal.beside
    keys = (goal.beside_key,) if goal.beside_key else goal.keys
    others = [other for system in beside if (other := _sum(figures, system, keys, goal))]
    return own / max(others) if others else None


def _sum(figures: dict[str, Any], system: str, keys: tuple[str, ...], goal: Goal) -> float | None:
    values = [figures.get(system, {}).get(key, {}).get(goal.size, {}).get(goal.part) for key in keys]
    return None if None in values else float(sum(values))
