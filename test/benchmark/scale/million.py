"""A million tasks that are pending, then a million that are delayed and due all at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import redis

from benchmark.meter import look
from benchmark.scale.work import (
    SCRIPTS,
    Figures,
    Log,
    Plan,
    Tally,
    drain_in_bulk,
    fill,
    script_cells,
    small_task,
    start_server,
    timed,
)
from benchmark.speed.run import progress
from benchmark.tables import NONE, Row, Table, thousands
from torrelque import Torrelque

HEAD = ['', 's', 'thousands/s', 'first tenth', 'last tenth', 'MB', 'bytes/task']
HEAD += ['mean ms', *SCRIPTS]


class _Pace:
    """When how many tasks were done."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._points = [(time.perf_counter(), 0)]

    def note(self, done: int) -> None:
        self._points.append((time.perf_counter(), done))

    def tasks(self) -> Iterator[dict[str, str]]:
        """The tasks to enqueue; what was asked for is as good as done."""
        for number in range(self._count):
            if number and number % 250 == 0:
                self.note(number)
            yield small_task(number)
        self.note(self._count)

    def tenths(self) -> dict[str, float]:
        """Tasks a second in the first tenth and in the last, by which one sees whether the size matters."""
        return {'first': self._rate(0, self._count // 10), 'last': self._rate(self._count * 9 // 10, self._count)}

    def _rate(self, after: int, until: int) -> float:
        (began, first), (ended, last) = (
            next(point for point in self._points if point[1] >= done) for done in (after, until)
        )
        return (last - first) / (ended - began)


class _Million:
    """The steps on one queue."""

    def __init__(self, queue: Torrelque, client: redis.Redis, count: int, tally: Tally) -> None:
        self._queue = queue
        self._client = client
        self._count = count
        self._tally = tally
        self._log = Log(client)

    async def _step(self, call: Any, pace: _Pace | None = None) -> Figures:
        self._log.reset()
        seconds = await timed(call)
        tenths = pace.tenths() if pace else {}
        return {'seconds': seconds, 'rate': self._count / seconds, **tenths, **self._log.read()}

    async def fill(self, delay: float | None) -> Figures:
        self._log.reset()
        before = look(self._client).memory
        pace = _Pace(self._count)
        step = await self._step(fill(self._queue, self._tally, pace.tasks(), delay=delay), pace)
        used = look(self._client).memory - before
        return {**step, 'mb': used / 1e6, 'bytes': used / self._count}

    async def sweep(self) -> Figures:
        """All of them are due now; one who only sweeps."""
        delayed = self._queue.keys['delayed']
        self._client.zunionstore(delayed, {delayed: 0})
        swept = 0

        async def sweep() -> None:
            nonlocal swept
            while swept < self._count and (moved := (await self._queue.sweep()).delayed):
                swept += moved

        step = await self._step(sweep())
        return {**step, 'swept': swept}

    async def drain(self) -> Figures:
        pace = _Pace(self._count)
        return await self._step(drain_in_bulk(self._queue, self._tally, self._count, note=pace.note), pace)


def measure(plan: Plan, tally: Tally) -> Figures:
    return asyncio.run(_measure(plan.million, tally))


async def _measure(count: int, tally: Tally) -> Figures:
    with start_server() as (server, plain):
        async with server.client() as client, Torrelque(client, queue='million') as queue:
            # Else the connection and the scripts would count.
            await fill(queue, tally, range(1000))
            await drain_in_bulk(queue, tally, 1000)
            million = _Million(queue, plain, count, tally)
            progress(f'million: {count:,} pending')
            pending = {'fill': await million.fill(None), 'drain': await million.drain()}
            progress(f'million: {count:,} delayed')
            delayed = {'fill': await million.fill(3600), 'sweep': await million.sweep(), 'drain': await million.drain()}
        tally.look_for_keys(plain)
    return {'tasks': count, 'pending': pending, 'delayed': delayed}


def tables(figures: Figures) -> list[Table]:
    rows = []
    for place in ('pending', 'delayed'):
        for name, step in figures[place].items():
            rows.append([f'{place}, {name}', *_cells(step)])
    return [Table(f'{figures["tasks"]:,} tasks of 60 bytes, one process, bulk calls of 250', HEAD, rows)]


def _cells(step: Figures) -> Row:
    tenths = [thousands(step[name]) if name in step else NONE for name in ('first', 'last')]
    memory = [f'{step[name]:.0f}' if name in step else NONE for name in ('mb', 'bytes')]
    mean = f'{step["mean_ms"]:.2f}'
    return [f'{step["seconds"]:.1f}', thousands(step['rate']), *tenths, *memory, mean, *script_cells(step)]
