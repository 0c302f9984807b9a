"""What groups cost beside plain tasks; and all that can be done to a large group and to very many groups."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import redis

from benchmark.scale.work import (
    LOOPS,
    MOST,
    SCRIPTS,
    Figures,
    Log,
    Plan,
    Tally,
    drain_by_loops,
    drain_in_bulk,
    fill,
    script_cells,
    start_server,
    timed,
    worst,
)
from benchmark.speed.run import progress
from benchmark.tables import Table, thousands
from torrelque import Torrelque

PLAIN = 'plain'
STEPS = ('fill', 'loops', 'bulk')


class _Kind(NamedTuple):
    """Some tasks of which each round drains all."""

    name: str
    group: Callable[[int], str] | None = None
    priority: int | Callable[[int], int] = 0
    limit: int | None = None


def _kinds(groups: tuple[int, ...]) -> list[_Kind]:
    def among(number: int, limit: int | None = None) -> _Kind:
        name = f'{number:,} groups' if number > 1 else '1 group'
        return _Kind(name if limit is None else f'{name}, limit {limit}', lambda n: f'g{n % number}', limit=limit)

    priorities = _Kind('200 priorities', priority=lambda n: (n % 100 + 1) * (-1) ** n)
    return [_Kind(PLAIN), *(among(number) for number in groups), among(groups[-1], 1), priorities]


def measure(plan: Plan, tally: Tally) -> Figures:
    return asyncio.run(_compare(plan, tally))


async def _compare(plan: Plan, tally: Tally) -> Figures:
    """Fill and drain each kind in each round."""
    kinds = _kinds(plan.groups)
    rates: dict[str, dict[str, list[float]]] = {kind.name: {step: [] for step in STEPS} for kind in kinds}
    logs: dict[str, list[Figures]] = {kind.name: [] for kind in kinds}
    with start_server() as (server, plain):
        log = Log(plain)
        async with server.client() as client, Torrelque(client, queue='groups') as queue:
            # Connections and scripts are not what is measured.
            await _take(queue, kinds[1], 1000, tally, {step: [] for step in STEPS})
            for place in range(plan.rounds):
                for kind in kinds:
                    progress(f'groups: round {place + 1} of {plan.rounds}, {kind.name}')
                    await queue.set_limit(concurrency=kind.limit)
                    log.reset()
                    await _take(queue, kind, plan.grouped, tally, rates[kind.name])
                    logs[kind.name].append(log.read())
            # Limits stay until they are set again.
            await queue.set_limit()
        tally.look_for_keys(plain)
    return {'tasks': plan.grouped, 'kinds': {kind.name: _figures(kind, rates, logs[kind.name]) for kind in kinds}}


async def _take(queue: Torrelque, kind: _Kind, count: int, tally: Tally, rates: dict[str, list[float]]) -> None:
    """Fill twice, and drain by loops and in bulk."""
    filled = []
    for step in STEPS[1:]:
        filling = fill(queue, tally, range(count), group=kind.group, priority=kind.priority)
        filled.append(count / await timed(filling))
        drain = drain_by_loops if step == 'loops' else drain_in_bulk
        rates[step].append(count / await timed(drain(queue, tally, count)))
    rates['fill'].append(statistics.mean(filled))


def _figures(kind: _Kind, rates: dict[str, dict[str, list[float]]], logs: list[Figures]) -> Figures:
    figures: Figures = {}
    for step in STEPS:
        mine, plain = (rates[name][step] for name in (kind.name, PLAIN))
        ratio = statistics.median(a / b for a, b in zip(mine, plain, strict=True))
        figures[step] = {'rate': statistics.median(mine), 'ratio': ratio}
    return {**figures, **worst(logs)}


def tables(figures: Figures) -> list[Table]:
    head = ['', 'enqueue bulk', 'of plain', f'{LOOPS} loops', 'of plain', f'bulk {MOST}', 'of plain']
    head += SCRIPTS
    rows = []
    for name, kind in figures['kinds'].items():
        cells = [word for step in STEPS for word in (thousands(kind[step]['rate']), f'{kind[step]["ratio"]:.0%}')]
        rows.append([name, *cells, *script_cells(kind)])
    title = f'{figures["tasks"]:,} tasks with groups: thousands a second, and the share of plain tasks'
    return [Table(title, head, rows)]


# A large group, and very many


def measure_large(plan: Plan, tally: Tally) -> Figures:
    return asyncio.run(_enlarge(plan, tally))


class _Large:
    """A queue with a large group and very many small ones."""

    def __init__(self, queue: Torrelque, client: redis.Redis, tally: Tally, groups: int) -> None:
        self._queue = queue
        self._client = client
        self._tally = tally
        self._groups = groups

    async def fill(self, tasks: Any, **options: Any) -> list[str]:
        ids = await self._queue.enqueue_many(tasks, **options)
        self._tally.put(len(ids))
        return [*ids]

    async def cancel(self, ids: list[str]) -> None:
        # They count as drained: they are out.
        self._tally.take(sum(await asyncio.gather(*(self._queue.cancel(task_id) for task_id in ids))))

    async def take(self, count: int) -> None:
        """Take so many, and keep them."""
        while count > 0:
            count -= len(await self._queue.dequeue_many(MOST, 5))

    def end_leases(self) -> None:
        working = self._queue.keys['working']
        self._client.zunionstore(working, {working: 0})

    async def pause(self) -> None:
        await asyncio.gather(*(self._queue.pause(f'g{n}') for n in range(self._groups // 100)))

    async def resume(self) -> None:
        await asyncio.gather(*(self._queue.resume(f'g{n}') for n in range(self._groups // 100)))

    async def drain(self) -> None:
        while (stats := await self._queue.get_queue_stats()).tasks:
            if not stats.pending:
                self.end_leases()
            some = await self._queue.dequeue_many(MOST, 5)
            self._tally.take(sum(await self._queue.release_many([task_id for task_id, _ in some])))

    def forget_cancelled(self) -> None:
        """Their states stay for a minute."""
        for key in self._client.scan_iter(f'{self._queue.keys["task"]}:*', count=1000):
            self._client.delete(key)


async def _enlarge(plan: Plan, tally: Tally) -> Figures:
    groups = plan.groups[-1]
    steps: list[Figures] = []
    with start_server() as (server, plain):
        log = Log(plain)
        async with server.client(socket_timeout=None) as client, Torrelque(client, queue='large') as queue:
            large = _Large(queue, plain, tally, groups)
            for name, call in _all_steps(large, queue, plan.large, groups):
                progress(f'large: {name}')
                log.reset()
                began = time.perf_counter()
                await call
                steps.append({'name': name, 'seconds': time.perf_counter() - began, **log.read()})
            large.forget_cancelled()
        tally.look_for_keys(plain)
    return {'tasks': plan.large, 'groups': groups, 'steps': steps}


def _all_steps(large: _Large, queue: Torrelque, tasks: int, groups: int) -> Iterator[tuple[str, Awaitable[Any]]]:
    ids: list[list[str]] = []

    async def keep(call: Awaitable[list[str]]) -> None:
        ids.append(await call)

    yield 'fill the large group', keep(large.fill(range(tasks), group='large', priority=lambda n: n % 3))
    yield 'fill the groups', keep(large.fill(range(groups), group=lambda n: f'g{n}'))
    yield 'urgent ones for all', large.fill(range(groups), group=lambda n: f'g{n}', priority=9)
    yield 'limit the large group', queue.set_limit('large', concurrency=2)
    yield 'change the default', queue.set_limit(concurrency=1, rate=(1, 1))
    yield 'cancel in the small groups', large.cancel(ids[1][: groups // 4])
    yield 'cancel in the large group', large.cancel(ids[0][::50])
    yield 'take one of each group', large.take(groups)
    large.end_leases()
    yield 'sweep all leases', queue.sweep()
    yield 'no rate', queue.set_limit(concurrency=1)
    yield 'pause groups', large.pause()
    yield 'take and put back paused ones', large.take(groups // 2)
    yield 'resume groups', large.resume()
    yield 'no limits', queue.set_limit()
    yield 'no limit for the large group', queue.set_limit('large')
    yield 'drain', large.drain()


def large_tables(figures: Figures) -> list[Table]:
    head = ['', 's', 'mean ms', *SCRIPTS]
    rows = []
    for step in figures['steps']:
        rows.append([step['name'], f'{step["seconds"]:.2f}', f'{step["mean_ms"]:.2f}', *script_cells(step)])
    return [Table(f'A group with {figures["tasks"]:,} tasks, and {figures["groups"]:,} groups', head, rows)]
