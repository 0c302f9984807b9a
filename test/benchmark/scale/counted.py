"""Whole lives of tasks in a queue with a shard on each of some servers, in instructions of the busiest of them.

Beside `life`, whose processor times are those of the machine, caches and all, and depend on what else it does.  Here it
does not matter, but valgrind runs the servers so much slower that calls of 100 loops are larger than they would be.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import ExitStack
from typing import Any

import redis.asyncio

from benchmark.scale import goals
from benchmark.scale.life import CORE, GOAL, WAYS
from benchmark.scale.work import (
    LOOPS,
    MOST,
    Figures,
    Plan,
    Tally,
    drain_by_loops,
    drain_in_bulk,
    enqueue_by_loops,
    fill,
)
from benchmark.speed.instructions import Counted, counted_server
from benchmark.speed.run import progress
from benchmark.tables import Row, Table
from torrelque import Torrelque
from torrelque.sharded import Sharded, choose, dispatch

WARM = 300
PATIENT = 60.0
"""s without a reply after which a server is taken for a slow one, as every one is here."""


def measure(plan: Plan, tally: Tally) -> Figures:
    if not shutil.which('valgrind'):
        progress('not measured: there is no valgrind')
        return {'figures': [], 'counts': {}, 'tasks': 0}
    slow = choose.SLOW, dispatch.SLOW
    choose.SLOW = dispatch.SLOW = PATIENT
    try:
        return asyncio.run(_measure(plan, tally))
    finally:
        choose.SLOW, dispatch.SLOW = slow


async def _measure(plan: Plan, tally: Tally) -> Figures:
    numbers = (CORE, *plan.sharding.primaries)
    counts: dict[str, dict[str, list[float]]] = {way: {} for way in WAYS}
    with ExitStack() as stack:
        servers = [stack.enter_context(counted_server()) for _ in range(max(numbers))]
        for way, loops in WAYS.items():
            for number in numbers:
                progress(f'counted: {way}, {number or 1} {"primaries" if number else "queue without shards"}')
                counts[way][str(number)] = await _live(servers, number, plan.sharding.counted, loops, tally)
    return {'figures': goals.told(_figures(counts)), 'counts': counts, 'tasks': plan.sharding.counted}


async def _live(servers: list[Counted], number: int, count: int, loops: int, tally: Tally) -> list[float]:
    """Instructions of each server for a task, the busiest first."""
    used = servers[: number or 1]
    clients = [
        redis.asyncio.Redis(unix_socket_path=server.client.connection_pool.connection_kwargs['path']) for server in used
    ]
    queue: Any = Sharded(clients, queue=f'over-{number}') if number else Torrelque(clients[0], queue='single')
    try:
        await _once(queue, WARM, loops, tally)
        with ExitStack() as stack:
            for server in used:
                stack.enter_context(server.counting())
            await _once(queue, count, loops, tally)
        return sorted((server.counted() / count for server in used), reverse=True)
    finally:
        await queue.aclose()
        for client in clients:
            await client.aclose()


async def _once(queue: Torrelque | Sharded, count: int, loops: int, tally: Tally) -> None:
    if loops:
        tally.put(count)
        await enqueue_by_loops(queue, count, loops)
        await drain_by_loops(queue, tally, count, loops)
    else:
        await fill(queue, tally, range(count))
        await drain_in_bulk(queue, tally, count)


def _figures(counts: dict[str, dict[str, list[float]]]) -> list[goals.Figure]:
    figures = []
    for way, each in counts.items():
        for number in [int(number) for number in each if number != str(CORE)]:
            name = f"one queue's instructions a task, by those of the busiest of {number}: {way}"
            goal = GOAL * number if number > 1 else None
            figures.append(goals.Figure(name, each[str(CORE)][0] / each[str(number)][0], 'times', goal, least=True))
    return figures


def tables(figures: Figures) -> list[Table]:
    rows: list[Row] = []
    for way, each in figures['counts'].items():
        for number, servers in each.items():
            name = f'{number} primaries' if number != str(CORE) else 'one queue, without shards'
            rows.append([f'{way}, {name}', f'{sum(servers) / 1000:.1f}', f'{servers[0] / 1000:.1f}'])
    title = f'{figures["tasks"]:,} tasks, in calls of {MOST} or by {LOOPS} loops: thousands of instructions a task'
    return [
        goals.table('Growth with primaries, a shard on each, counted', figures['figures']),
        Table(title, ['', 'all servers', 'the busiest'], rows),
    ]
