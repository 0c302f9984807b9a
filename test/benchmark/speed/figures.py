"""What is measured, and how one figure of one system is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from benchmark.meter import Look, costs, look
from benchmark.speed.children import Child

Taken = dict[str, float]

PENDING = ((10_000, 20_000), (3000, 10_000), (0, 2500))
"""Of how many tasks the memory is taken, by the rate (tasks/s) at which they come in."""
WARM = 200
"""Tasks before the clock runs, two for each of 100 callers."""
LEAST = 10
"""Tasks of the first try; some workers take half a second for each when they are the only one."""


class Figure(NamedTuple):
    """One thing that is measured."""

    key: str
    do: str
    fields: dict[str, Any]
    title: str
    large: bool = True
    """Also with the larger payload."""
    loops: bool = False
    """Of systems with plain loops only."""


FIGURES = (
    Figure('enqueue_one', 'enqueue', {'way': 'one'}, 'enqueue, one by one'),
    Figure('enqueue_100', 'enqueue', {'way': 'many'}, 'enqueue, 100 at a time'),
    Figure('enqueue_bulk', 'enqueue', {'way': 'bulk'}, 'enqueue in bulk'),
    Figure('drain_1', 'drain', {'loops': 1}, 'drain, one consumer'),
    Figure('drain_100', 'drain', {'loops': 100}, 'drain, 100 consumers'),
    Figure('drain_1000', 'drain', {'loops': 1000}, 'drain, 1,000 consumers', large=False, loops=True),
    Figure('drain_bulk_100', 'drain', {'loops': 1, 'bulk': 100}, 'drain in bulks of 100', loops=True),
    Figure('drain_bulk_250', 'drain', {'loops': 1, 'bulk': 250}, 'drain in bulks of 250', loops=True),
    Figure('pending', 'enqueue', {'way': 'bulk'}, 'memory of pending tasks'),
    Figure('pickup', 'pickup', {'delay': 0}, 'idle pick-up', large=False),
    Figure('late', 'pickup', {'delay': 1}, 'lateness of a 1 s delay', large=False),
)

FLOOR_FIGURES = tuple(
    Figure(what, 'floor', {'what': what}, title)
    for what, title in (
        ('ping', 'PING, one at a time, through the client'),
        ('ping_held', 'PING, one at a time, over a held connection'),
        ('evalsha', 'EVALSHA, one at a time, through the client'),
        ('evalsha_held', 'EVALSHA, one at a time, over a held connection'),
        ('evalsha_bare', 'EVALSHA, one at a time, over a connection of asyncio alone'),
        ('evalsha_blocking', 'EVALSHA, one at a time, through the synchronous client'),
        ('evalsha_100', 'EVALSHA with 100 tasks each, over a held connection'),
        ('pipeline', 'pipelines of HSET and LPUSH, 500 tasks each'),
    )
)


LARGE = tuple(figure.key for figure in FIGURES if figure.large)


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    """What one figure should take."""
    pickups: int
    delays: int
    patience: float
    """s that a slow worker gets."""
    most: int = 100_000
    large: tuple[str, ...] = LARGE
    """Figures that are taken with the larger payload as well."""


LARGE_IN_SHORT = ('enqueue_100', 'enqueue_bulk', 'drain_100', 'drain_bulk_100', 'pending')
SHORT = Plan(rounds=1, seconds=0.3, pickups=40, delays=30, patience=4, large=LARGE_IN_SHORT)
FULL = Plan(rounds=5, seconds=1.5, pickups=200, delays=100, patience=20)


class Bench:
    """Takes figures of children on one server; how many tasks a figure needs it learns at the first time."""

    def __init__(self, client: redis.Redis, url: str, plan: Plan) -> None:
        self._client = client
        self._url = url
        self._plan = plan
        self._counts: dict[tuple[str, str], int] = {}

    def take(self, child: Child, figure: Figure, size: int) -> Taken:
        """One figure; `MissingError` or `FailedError` from the child."""
        if figure.do == 'pickup':
            return self._opened(child, figure, lambda _: self._pickup(child, figure))
        if figure.key == 'pending':
            return self._opened(child, figure, lambda before: self._pending(child, size, before))
        count = self._counts.get((child.system.name, figure.key))
        return self._throughput(child, figure, size, count) if count else self._learn(child, figure, size)

    def _opened(self, child: Child, figure: Figure, take: Callable[[Look], Taken]) -> Taken:
        """On an empty server, between opening and closing the system."""
        self._client.execute_command('FLUSHALL', 'SYNC')
        before = look(self._client)
        consumers = figure.fields.get('loops', 10)
        child.ask('open', url=self._url, consumers=consumers, delays=bool(figure.fields.get('delay')))
        try:
            return take(before)
        finally:
            if child.running:
                child.ask('close')

    def _pickup(self, child: Child, figure: Figure) -> Taken:
        delay = figure.fields['delay']
        count = self._plan.delays if delay else self._plan.pickups
        delays = sorted(child.ask('pickup', count=count, delay=delay)['delays'])
        at = {name: delays[min(len(delays) - 1, int(len(delays) * share))] for name, share in _SHARES}
        return {name: value * 1000 for name, value in at.items()}

    def _pending(self, child: Child, size: int, before: Look) -> Taken:
        """Memory, of the more tasks the better, because the server's own use varies by some bytes for each of 10,000.

        It is looked at when the connections are closed: their buffers would be the larger part.
        """
        way = self._way(child, 'one')
        known = self._counts.get((child.system.name, 'enqueue_bulk' if way == 'bulk' else 'enqueue_one'), 0)
        count = next(tasks for rate, tasks in PENDING if known >= rate * self._plan.seconds)
        child.ask('enqueue', way=way, count=count, size=size)
        child.ask('close')
        time.sleep(0.2)
        return {'bytes': costs(before, look(self._client), count)['bytes'], 'count': count}

    def _learn(self, child: Child, figure: Figure, size: int) -> Taken:
        """The figure, and how many tasks take the planned time; tries before also load scripts and open connections."""
        loops, bulk = figure.fields.get('loops', 0), figure.fields.get('bulk', 0)
        callers = 100 if figure.fields.get('way') == 'many' else 20
        count = LEAST if loops == 1 and not bulk else 5 * max(callers, loops, bulk)
        for _ in range(4):
            taken = self._throughput(child, figure, size, count)
            if count / taken['rate'] > self._plan.seconds * 0.5:
                break
            count = max(count, min(int(taken['rate'] * self._plan.seconds), count * 30, self._plan.most))
        self._counts[child.system.name, figure.key] = count
        return taken

    def _throughput(self, child: Child, figure: Figure, size: int, count: int) -> Taken:
        def take(_: Look) -> Taken:
            self._warm_up(child, figure, size)
            fields = {**figure.fields, 'count': count}
            if figure.do == 'drain':
                self._fill(child, count, size)
                fields['patience'] = self._plan.patience
            else:
                fields['size'] = size
            before = look(self._client)
            answer = child.ask(figure.do, **fields)
            after = look(self._client)
            return {
                'rate': answer['count'] / answer['seconds'],
                'client_us': answer['cpu'] / answer['count'] * 1e6,
                'count': count,
                **costs(before, after, answer['count']),
            }

        return self._opened(child, figure, take)

    def _warm_up(self, child: Child, figure: Figure, size: int) -> None:
        """Open the connections and load the scripts; workers are not timed until they handle tasks."""
        if figure.do != 'drain':
            child.ask(figure.do, **figure.fields, count=WARM, size=size)
        elif child.system.consumers == 'loops':
            count = 2 * max(figure.fields['loops'], figure.fields.get('bulk', 0))
            self._fill(child, count, size)
            child.ask('drain', **figure.fields, count=count, patience=self._plan.patience)

    def _fill(self, child: Child, count: int, size: int) -> None:
        child.ask('enqueue', way=self._way(child, 'many'), count=count, size=size)

    def _way(self, child: Child, other: str) -> str:
        return 'bulk' if self._counts.get((child.system.name, 'enqueue_bulk')) else other


_SHARES = (('p50', 0.5), ('p99', 0.99), ('max', 1.0))
