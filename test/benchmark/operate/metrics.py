"""Metrics: how long a scrape takes, with many groups and functions, and what it and the figures for scaling cost the
server."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio

from benchmark.operate.figures import Figure, Plan, best_of
from torrelque import Torrelque
from torrelque.monitor import Metrics
from torrelque.operate import Operator, scaling

FUNCTIONS = 200
KINDS = {'classic': '', 'OpenMetrics': 'application/openmetrics-text;version=1.0.0'}


async def fill(queue: Torrelque, plan: Plan) -> None:
    """Some tasks of each group, and counts of many functions."""
    await queue.enqueue_many(range(plan.groups * 5), group=lambda number: f'group-{number % plan.groups}')
    await count(queue, 1.0)


async def count(queue: Torrelque, part: float) -> None:
    """Write counts anew, of a part of the functions."""
    chance = random.Random(1)
    flat = ['*wait', json.dumps([chance.randrange(1000) for _ in range(17)])]
    for number in range(int(part * (FUNCTIONS - 3))):
        row = [chance.randrange(100_000), chance.randrange(1000), chance.randrange(100), 3, chance.random() * 1e6]
        row += [random.randrange(10_000) for _ in range(16)]
        flat += [f'=shop.tasks.function_{number}', json.dumps(row)]
    await queue.command('HSET', f'{queue.keys["pending"].removesuffix("pending")}totals', *flat)


async def measure(client: redis.asyncio.Redis, plan: Plan) -> list[Figure]:
    """The figures, on an empty server."""
    async with Torrelque(client, queue='metrics') as queue:
        await fill(queue, plan)
        figures = []
        for kind, accept in KINDS.items():
            metrics = Metrics(queue)
            figures.append(Figure(f'first scrape, {kind}', (await _took(metrics, accept))[0], 'ms'))
            for changed in 0.0, 0.25, 1.0:
                took = []
                for _ in range(min(plan.rounds, 30)):
                    if changed:
                        await count(queue, changed)
                    took.append(await _took(metrics, accept))
                times, processors = zip(*took, strict=True)
                name, goal = f'scrape, {kind}, {changed:.0%} of functions ran', 5 if changed < 1 else None
                figures.append(Figure(name, min(times), 'ms', goal))
                figures.append(Figure(f'{name}, its process alone', min(processors), 'ms of a processor', goal))
            await metrics.aclose()

        async def read() -> None:
            await metrics.aclose()
            await metrics.samples()

        figures.append(Figure('a scrape, of the server', await best_of(plan, client, read) / 1000, 'ms', 1))
        await metrics.aclose()
        figures += await measure_scale(client, queue, plan)
    return figures


async def _took(metrics: Metrics, accept: str) -> tuple[float, float]:
    """ms of a scrape that reads anew, and knows the lines of the last one; by the clock, and of this process."""
    await metrics.aclose()
    began, processor = time.perf_counter(), time.process_time()
    await metrics.exposition(accept)
    return (time.perf_counter() - began) * 1000, (time.process_time() - processor) * 1000


async def measure_scale(client: redis.asyncio.Redis, queue: Torrelque, plan: Plan) -> list[Figure]:
    """What it costs the server to tell how many slots have something to do: without limits, with limits of groups, and
    while what these came to is known."""
    operator = Operator(queue)

    async def anew() -> None:
        scaling._kept.clear()
        await operator.scale()

    async def again() -> None:
        await operator.scale()

    async def best(call: Callable[[], Awaitable[Any]], rounds: int) -> float:
        return await best_of(plan._replace(rounds=rounds, times=1), client, call) / 1000

    without = await best(anew, plan.rounds)
    await queue.set_limit(concurrency=3)
    return [
        Figure('useful slots, without limits', without, 'ms of the server', 1),
        Figure(f'useful slots, {plan.groups} limited groups', await best(anew, 5), 'ms of the server'),
        Figure('useful slots, within 30 s', await best(again, plan.rounds), 'ms of the server', 1),
    ]
