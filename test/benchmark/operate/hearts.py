"""What a heartbeat costs: the server, for a beat; the worker, for counting."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import redis.asyncio

from benchmark.operate.figures import Figure, Plan
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.protocol.keys import BUCKETS
from torrelque.worker import Delivery, Worker
from torrelque.worker.bounds import BOUNDS
from torrelque.worker.counts import write
from torrelque.worker.scripts import run_script

BEATS = 300
TASKS = 20_000


async def handle(delivery: Delivery) -> None: ...


async def server_time(client: redis.asyncio.Redis) -> float:
    """Processor time (s) of the server so far."""
    found: Any = await client.info('cpu')
    return float(found['used_cpu_user']) + float(found['used_cpu_sys'])


async def beat_cost(queue: Torrelque, client: redis.asyncio.Redis, functions: int) -> float:
    """Processor time (s) of the server for one beat of so many functions, the command and all."""
    # Run times of one function are in a few buckets, those of all functions in most.
    counts = write([3, 1, 0, 0, 12.345, 0, 0, 1, 1, 1, 1, *[0] * 10])
    words = [word for number in range(functions) for word in (f'shop.tasks.function_{number}', counts)]
    whole = write([*[1] * len(BUCKETS), 12.345])
    keys = queue.keys['pending'], queue.keys['never']

    start = secrets.token_hex(4)

    async def beat(number: int) -> None:
        word, *_ = await run_script(
            queue, 'beat', keys, 'worker', start, number, 'running', 5000, 10, 3, 1, '0.5', b'{' + b' ' * 2000 + b'}',
            whole, whole, *words,
        )  # fmt: skip
        # One that is known already would cost less.
        assert word == b'ok'

    await beat(1)
    began = await server_time(client)
    for number in range(2, BEATS + 2):
        await beat(number)
    return (await server_time(client) - began) / BEATS


async def bare_cost(queue: Torrelque, client: redis.asyncio.Redis) -> float:
    """The same of a command that does nothing."""
    began = await server_time(client)
    for _ in range(BEATS):
        await queue.command('PING')
    return (await server_time(client) - began) / BEATS


async def drain(queue: Torrelque, heartbeat: float | None, count: Callable[[], Any] | None = None) -> float:
    """s in which a worker does so many tasks that do nothing."""
    await queue.enqueue_many(range(TASKS))
    worker = Worker(queue, handle, heartbeat=heartbeat, burst=True)
    gc.collect()
    began = time.process_time()
    await worker.run()
    return time.process_time() - began


class Opcodes:
    """Counts the bytecodes that Python runs."""

    count = 0

    def __enter__(self) -> Opcodes:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == 'opcode'
        return self._trace


class Measured(Worker):
    """A worker that asks for no waits, of which there are ten a second at the most.  What is counted goes some hundred
    times slower, so that what is done by the clock would be taken for what is done for each task."""

    _bounds = dataclasses.replace(BOUNDS, wait_pause=1e9)


async def bytecodes(queue: Torrelque, heartbeat: float | None, tasks: int) -> int:
    """What a worker runs for so many tasks."""
    await queue.enqueue_many(range(tasks))
    worker = Measured(queue, handle, heartbeat=heartbeat, burst=True)
    with Opcodes() as counted:
        await worker.run()
    return counted.count


async def per_task(queue: Torrelque, heartbeat: float | None) -> float:
    few = min([await bytecodes(queue, heartbeat, 500) for _ in range(3)])
    many = min([await bytecodes(queue, heartbeat, 1500) for _ in range(3)])
    return (many - few) / 1000


async def measure(client: redis.asyncio.Redis, plan: Plan) -> list[Figure]:
    """The figures that have a goal; of a small plan, those of the server."""
    figures = []
    async with Torrelque(client, queue='beats') as queue:
        for functions, goal in ((5, 200), (25, 800)):
            cost = min([await beat_cost(queue, client, functions) for _ in range(3)])
            figures.append(Figure(f'beat, {functions} functions', cost * 1e6, 'µs of the server, all in all', goal))
    if plan.tasks < 10_000:
        return figures
    async with Torrelque(client, queue='worked') as queue:
        without, with_heart = await per_task(queue, None), await per_task(queue, 5)
    return [*figures, Figure('worker with a heartbeat', with_heart / without * 100, '% of bytecodes without one', 101)]


async def run(server: RealServer) -> None:
    """Print the figures."""
    async with server.client() as client, Torrelque(client, queue='beats') as queue:
        bare = await bare_cost(queue, client)
        for functions, goal in ((0, ''), (5, ', goal 0.2 ms'), (25, ', goal 0.8 ms')):
            cost = min([await beat_cost(queue, client, functions) for _ in range(3)])
            print(f'beat, {functions} functions: {cost * 1e3:.3f} ms of the server{goal} (a command: {bare * 1e3:.3f})')
    async with server.client() as client, Torrelque(client, queue='worked') as queue:
        without, with_heart = await per_task(queue, None), await per_task(queue, 5)
        print(f'worker: {without:.0f} bytecodes a task, {with_heart:.0f} with a heartbeat: {with_heart / without:.3f}')
        ratios = []
        for _ in range(9):
            ratios.append(await drain(queue, 5) / await drain(queue, None))
        print(f'worker: processor time with a heartbeat by that without: {statistics.median(ratios):.3f}')


def main(kind: str) -> None:
    with RealServer(kind) as server:
        asyncio.run(run(server))


if __name__ == '__main__':
    main(sys.argv[1] if len(sys.argv) > 1 else 'valkey9')
