"""What groups cost: draining them against plain tasks, in one run, and the longest script with very many.

    python test/benchmark/groups.py [--tasks N] [--rounds N] [--large]

On an embedded server.  The kinds of a round are interleaved; rates are medians, and ratios medians of the ratios of
each round.  `--large` adds a group with a million tasks, 100,000 groups, and all that can be done to them.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import redis.asyncio

from torrelque import Torrelque
from torrelque.embedded import Server

BULK = 250
LOOPS = 100
SLOW = 1000
"""µs from which the server notes a command."""


class Kind(NamedTuple):
    """Some tasks of which each round drains all."""

    name: str
    group: Callable[[int], str] | None = None
    priority: int | Callable[[int], int] = 0
    limit: int | None = None


async def drain_in_bulk(queue: Torrelque, count: int) -> None:
    left = count
    while left:
        some = await queue.dequeue(max_tasks=BULK)
        await queue.release_many([task_id for task_id, _ in some])
        left -= len(some)


async def drain_by_loops(queue: Torrelque, count: int) -> None:
    left = count

    async def loop() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            task_id, _ = await queue.dequeue()
            await queue.release(task_id)

    await asyncio.gather(*(loop() for _ in range(LOOPS)))


async def longest(client: redis.asyncio.Redis) -> float:
    """The longest script since the last look (ms); what is below `SLOW` counts as nothing."""
    slow: list[Any] = await client.slowlog_get(1000)
    await client.slowlog_reset()
    return max((entry['duration'] / 1000 for entry in slow if entry['command'].startswith(b'EVAL')), default=0.0)


async def time_of(call: Any, count: int) -> float:
    began = time.perf_counter()
    await call
    return count / (time.perf_counter() - began)


async def compare(client: redis.asyncio.Redis, count: int, rounds: int) -> None:
    """Fill and drain each kind in each round."""
    kinds = [
        Kind('plain'),
        Kind('1 group', lambda n: 'g'),
        Kind('100 groups', lambda n: f'g{n % 100}'),
        Kind(f'{count:,} groups', lambda n: f'g{n}'),
        Kind(f'{count:,} groups, limit 1', lambda n: f'g{n}', limit=1),
        Kind('200 priorities', priority=lambda n: (n % 100 + 1) * (-1) ** n),
    ]
    rates: dict[tuple[str, str], list[float]] = {}
    slow: dict[str, float] = {}
    for _ in range(rounds):
        for kind in kinds:
            async with Torrelque(client, queue='bench') as queue:
                await queue.set_limit(concurrency=kind.limit)
                for way, drain in (('bulk', drain_in_bulk), ('loops', drain_by_loops)):
                    filling = queue.enqueue_many(range(count), group=kind.group, priority=kind.priority)
                    rates.setdefault((kind.name, 'fill'), []).append(await time_of(filling, count))
                    rates.setdefault((kind.name, way), []).append(await time_of(drain(queue, count), count))
                slow[kind.name] = max(slow.get(kind.name, 0), await longest(client))
                await client.flushall()
    print(f'{count:,} tasks, {rounds} rounds; tasks a second, and the ratio to plain')
    print(f'{"":28}{"fill":>16}{"bulk of 250":>16}{"100 loops":>16}  longest script')
    for kind in kinds:
        cells = ''
        for way in ('fill', 'bulk', 'loops'):
            mine, plain = (rates[name, way] for name in (kind.name, 'plain'))
            ratio = statistics.median(a / b for a, b in zip(mine, plain, strict=True))
            cells += f'{statistics.median(mine):>10,.0f} {ratio:>4.0%} '
        print(f'{kind.name:28}{cells}  {slow[kind.name] or SLOW / 1000:.1f} ms')


async def enlarge(client: redis.asyncio.Redis, tasks: int, groups: int) -> None:
    """All that can be done to a large group and to many groups; the longest script of each."""
    print(f'a group with {tasks:,} tasks, and {groups:,} groups: longest script (ms; 0.0 is below {SLOW / 1000:.0f})')

    async def step(what: str, *calls: Any) -> None:
        began = time.perf_counter()
        results = await asyncio.gather(*calls)
        took = time.perf_counter() - began
        print(f'    {what:50}{await longest(client):6.1f}   {took:6.2f} s')
        last[:] = results

    last: list[Any] = []
    async with Torrelque(client, queue='large') as queue:
        await step('fill the large group', queue.enqueue_many(range(tasks), group='large', priority=lambda n: n % 3))
        large = last[0]
        await step('fill the groups', queue.enqueue_many(range(groups), group=lambda n: f'g{n}'))
        small = last[0]
        await step('urgent ones for all', queue.enqueue_many(range(groups), group=lambda n: f'g{n}', priority=9))
        await step('limit the large group', queue.set_limit('large', concurrency=2))
        await step('change the default', queue.set_limit(concurrency=1, rate=(1, 1)))
        await step('cancel heads', *(queue.cancel(task_id) for task_id in small[: groups // 4]))
        await step('cancel in the large group', *(queue.cancel(task_id) for task_id in large[::50]))
        await step('take one of each group', take(queue, groups))
        # All leases have ended.
        await client.zunionstore(queue.keys['working'], {queue.keys['working']: 0})
        await longest(client)
        await step('sweep all leases', queue.sweep())
        await step('no rate', queue.set_limit(concurrency=1))
        await step('pause groups', *(queue.pause(f'g{n}') for n in range(1000)))
        await step('take and put back paused ones', take(queue, groups // 2))
        await step('resume groups', *(queue.resume(f'g{n}') for n in range(1000)))
        await step('no limits', queue.set_limit())
        await step('no limit for the large group', queue.set_limit('large'))
        await step('drain', drain_rest(queue, client))
        async for key in client.scan_iter('*:task:*', count=1000):
            await client.delete(key)
        print('    keys that remain:', [key async for key in client.scan_iter()])


async def take(queue: Torrelque, count: int) -> None:
    while count > 0:
        count -= len(await queue.dequeue(5, max_tasks=BULK))


async def drain_rest(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    while (stats := await queue.get_queue_stats()).tasks:
        if not stats.pending:
            await client.zunionstore(queue.keys['working'], {queue.keys['working']: 0})
        some = await queue.dequeue(5, max_tasks=BULK)
        await queue.release_many([task_id for task_id, _ in some])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tasks', type=int, default=100_000)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--large', action='store_true')
    options = parser.parse_args()
    async with Server() as server, server.client() as client:
        await client.config_set('slowlog-log-slower-than', SLOW)
        await client.config_set('slowlog-max-len', 1000)
        await compare(client, options.tasks, options.rounds)
        if options.large:
            await enlarge(client, 1_000_000, 100_000)


if __name__ == '__main__':
    asyncio.run(main())
