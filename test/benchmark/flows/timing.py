"""How fast flows are made, worked off and cancelled, by the clock."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import redis
import redis.asyncio

from benchmark.flows.figures import Figure, Plan, chains, fan_in, fan_out
from benchmark.meter import look
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueNode
from torrelque.protocol.bounds import BOUNDS
from torrelque.worker import Delivery, Worker

LINEAR = 1.5
"""What a task of a flow ten times as large may take, by comparison, and with what plain tasks take."""
MADE, WORKED, PLAIN = 'made', 'worked off', 'as many plain tasks worked off'


class Bench:
    """A queue on a server of its own."""

    def __init__(self, queue: Torrelque, client: redis.asyncio.Redis, plain: redis.Redis) -> None:
        self.queue = queue
        self.plain = plain
        self._client = client

    async def warm(self) -> None:
        """Have the queue object know that the server knows the scripts, which it sends whole at first."""
        many = 2 * BOUNDS.bulk
        await self.make(fan_out(many))
        await self.bulk(1 + many)
        await self.make(chains(1, 2))
        await self.loop(2)
        await self.queue.cancel(await self.make(fan_in(many)))

    async def clear(self) -> None:
        """As if nothing had been."""
        await self._client.flushall()

    def processor(self) -> float:
        """Processor time (s) that the server has had."""
        return look(self.plain).cpu

    async def make(self, nodes: Iterable[TorrelqueNode]) -> str:
        """Make a flow of which nothing is left behind; its id."""
        return await self.queue.enqueue_flow(nodes, result_ttl=0)

    async def bulk(self, count: int) -> None:
        """Take and release so many tasks by one loop, many in a call."""
        while count > 0:
            some = await self.queue.dequeue_many(BOUNDS.bulk)
            await self.queue.release_many([task_id for task_id, _ in some])
            count -= len(some)

    async def loop(self, count: int) -> None:
        """Take and release so many tasks by one loop, one by one."""
        for _ in range(count):
            task_id, _ = await self.queue.dequeue()
            await self.queue.release(task_id)

    async def work(self, count: int, places: int) -> None:
        """Have a worker handle so many tasks."""
        done, left = asyncio.Event(), count

        async def handle(delivery: Delivery) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        async with Worker(self.queue, handle, concurrency=places):
            await done.wait()


class Spent(NamedTuple):
    """What something took."""

    seconds: float
    client: float
    """Processor time (s) of this process."""
    server: float
    """Processor time (s) of the server."""


async def timed(call: Awaitable[Any]) -> float:
    """s that it takes."""
    began = time.perf_counter()
    await call
    return time.perf_counter() - began


def measure(plan: Plan, parts: Iterable[str] = ()) -> list[Figure]:
    """All of it, or some parts."""
    return asyncio.run(_measure(plan, parts or PARTS))


async def _measure(plan: Plan, names: Iterable[str]) -> list[Figure]:
    figures = []
    for name in names:
        with RealServer('valkey9', {'notify-keyspace-events': '""'}) as server, server.sync_client() as plain:
            async with server.client() as client, Torrelque(client, queue='flows') as queue:
                bench = Bench(queue, client, plain)
                await bench.warm()
                figures += await PARTS[name](bench, plan)
    return figures


async def spent_on(bench: Bench, call: Awaitable[Any]) -> Spent:
    """What a call takes."""
    server, own = bench.processor(), time.process_time()
    seconds = await timed(call)
    own = time.process_time() - own
    return Spent(seconds, own, bench.processor() - server)


async def measure_chains(bench: Bench, plan: Plan) -> list[Figure]:
    """Steps a second, of some rounds the median, beside plain tasks in the same rounds."""
    spent: dict[str, list[Spent]] = {}
    links, many, length = plan.chain, plan.chains, plan.length
    steps = many * length
    one, several = f'a chain of {links:,}, one loop', f'{many} chains of {length}, a worker of 100 places'
    plain, plain_several = f'{links:,} plain tasks, one loop', f'{steps:,} plain tasks, a worker of 100 places'
    counts = {one: links, plain: links, several: steps, plain_several: steps}
    goals = {one: 2000.0, several: 10_000.0}
    for _ in range(plan.rounds):
        for name, count in counts.items():
            await bench.clear()
            if name in goals:
                await bench.make(chains(1, links) if name == one else chains(many, length))
            else:
                await bench.queue.enqueue_many(range(count))
            work = bench.loop(count) if name in (one, plain) else bench.work(count, 100)
            spent.setdefault(name, []).append(await spent_on(bench, work))
    figures = []
    for name, each in spent.items():
        rate = statistics.median(counts[name] / one.seconds for one in each)
        figures += [
            Figure(name, rate, 'steps/s', goals.get(name), True),
            Figure(f'{name}: the client', min(one.client for one in each) / counts[name] * 1e6, 'µs/step'),
            Figure(f'{name}: the server', min(one.server for one in each) / counts[name] * 1e6, 'µs/step'),
        ]
    return figures


async def measure_fans(bench: Bench, plan: Plan) -> list[Figure]:
    """Fan-ins, each ten times the one before, and whether it is linear."""
    figures: list[Figure] = []
    each: dict[str, list[float]] = {}
    for size in plan.fans:
        made, worked, plain = [], [], []
        for _ in range(plan.rounds):
            await bench.clear()
            made.append(await spent_on(bench, bench.make(fan_in(size))))
            worked.append(await spent_on(bench, bench.bulk(size + 1)))
            await bench.clear()
            await bench.queue.enqueue_many(range(size))
            plain.append(await spent_on(bench, bench.bulk(size)))
        for what, several in ((MADE, made), (WORKED, worked), (PLAIN, plain)):
            server = min(one.server for one in several)
            figures += [
                Figure(f'fan-in of {size:,}: {what}', min(one.seconds for one in several), 's'),
                Figure(f'fan-in of {size:,}: {what}, the server', server, 's of its processor'),
            ]
            each.setdefault(what, []).append(server / size)
    # What more tasks cost because the processor has less of them at hand, plain ones cost too.
    growth = {what: costs[-1] / costs[0] for what, costs in each.items()}
    for what, more in growth.items():
        name = f'each task {what}, the server: of {plan.fans[-1]:,} by comparison with {plan.fans[0]:,}'
        figures.append(Figure(name, more, '', LINEAR * growth[PLAIN] if what == WORKED else None))
    return figures


async def measure_cancel(bench: Bench, plan: Plan) -> list[Figure]:
    """A flow that is cancelled: one that waits, and one of which tasks are pending."""
    figures = []
    for what, nodes in (('a fan-in', fan_in), ('a fan-out', fan_out)):
        took = []
        for _ in range(plan.rounds):
            await bench.clear()
            flow = await bench.make(nodes(plan.cancelled))
            took.append(await timed(bench.queue.cancel(flow)))
        figures.append(Figure(f'cancel of {what} of {plan.cancelled:,}', min(took), 's', 1))
    return figures


PARTS: dict[str, Callable[[Bench, Plan], Awaitable[list[Figure]]]] = {
    'chains': measure_chains,
    'fans': measure_fans,
    'cancel': measure_cancel,
}
