"""Measure what `costs` says, on this machine.

    python -m benchmark.simulation.fitting [--rounds N]

A server of its own by a unix socket, and one process with some queue objects, each of which calls it again and again,
each call for so many tasks; there are several, so that the server has always something to do, as one has that is at its
limit.  What a task costs is the difference between the largest calls and those of one task, for each; what a call
costs, the rest.  It is processor time, of the server by its own `INFO`; of some rounds the median.  The exit status is
1 where the constants are further than a factor of two from what it finds; on a busy machine they may be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis

from benchmark.scale.work import small_task, start_server
from benchmark.simulation.costs import CLIENT, SERVER, US, Cost
from benchmark.tables import Table, as_text
from torrelque import Torrelque

SIZES = (1, 10, 100)
CALLERS = 8
TASKS = 8000
"""At the least, of a phase."""
Times = dict[str, float]


class Meter:
    """Processor time of the server and of this process for each call of a phase."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.server: Times = {}
        self.process: Times = {}

    async def take(self, name: str, calls: int, phase: Awaitable[Any]) -> None:
        served, began = self._served(), time.process_time()
        await phase
        self.process[name] = (time.process_time() - began) / calls
        self.server[name] = (self._served() - served) / calls

    def _served(self) -> float:
        used: dict[str, Any] = self._client.info('cpu')
        return float(used['used_cpu_user']) + float(used['used_cpu_sys'])


async def phases(queues: Sequence[Torrelque], meter: Meter, size: int) -> None:
    """Enqueue, claim and release, so many tasks with each call."""
    calls = max(TASKS // size // len(queues), 25)
    tasks = [small_task(number) for number in range(size)]
    held: list[list[Any]] = []

    async def enqueue(queue: Torrelque) -> None:
        await queue.enqueue_many(tasks)

    async def claim(queue: Torrelque) -> None:
        held.append([task_id for task_id, _ in await queue.dequeue_many(size, 10)])

    async def release(queue: Torrelque) -> None:
        await queue.release_many(held.pop())

    async def repeat(call: Callable[[Torrelque], Awaitable[None]], queue: Torrelque) -> None:
        for _ in range(calls):
            await call(queue)

    async def repeat_by_all(call: Callable[[Torrelque], Awaitable[None]]) -> None:
        await asyncio.gather(*(repeat(call, queue) for queue in queues))

    for call in (enqueue, claim, release):
        await meter.take(call.__name__, calls * len(queues), repeat_by_all(call))


async def measure(path: str, client: redis.Redis) -> tuple[dict[int, Times], dict[int, Times]]:
    """By the size of the calls, for each call: times of the server, and of the process."""
    server, process = {}, {}
    async with redis.asyncio.Redis(unix_socket_path=path) as connected, contextlib.AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(Torrelque(connected, queue='fit')) for _ in range(CALLERS)]
        await phases(queues, Meter(client), 10)
        for size in SIZES:
            meter = Meter(client)
            await phases(queues, meter, size)
            server[size], process[size] = meter.server, meter.process
    return server, process


def fit(times: dict[int, float]) -> Cost:
    """A straight line through the smallest and the largest."""
    least, most = min(times), max(times)
    task = (times[most] - times[least]) / (most - least)
    return Cost(times[least] - task * least, task)


def tables(found: Sequence[tuple[str, Cost, Cost]]) -> list[Table]:
    rows = [
        [name, *(f'{value / US:.1f}' for pair in zip(seen, known, strict=True) for value in pair)]
        for name, seen, known in found
    ]
    return [Table('Processor time, µs', ['', 'a call', 'assumed', 'a task', 'assumed'], rows)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5)
    options = parser.parse_args()
    with start_server() as (server, client):
        rounds = [asyncio.run(measure(server.socket, client)) for _ in range(options.rounds)]
    found = []
    for place, assumed in ((0, SERVER), (1, dict.fromkeys(SERVER, CLIENT))):
        for name in ('enqueue', 'claim', 'release'):
            times = {size: statistics.median(one[place][size][name] for one in rounds) for size in SIZES}
            # A process pays for the call and for its reply.
            known = assumed[name] if not place else Cost(2 * CLIENT.call, CLIENT.task)
            found.append((f'{"process" if place else "server"}, {name}', fit(times), known))
    print('\n'.join(as_text(tables(found))))
    far = [name for name, seen, known in found if not 0.5 < seen.of(30) / known.of(30) < 2]
    if far:
        print('further than a factor of two, with 30 tasks:', ', '.join(far))
    return int(bool(far))


if __name__ == '__main__':
    sys.exit(main())
