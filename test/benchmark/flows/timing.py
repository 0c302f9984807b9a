"""How long calls of flows take, and how fast flows are worked off, by the clock."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import redis
import redis.asyncio

from benchmark.flows.figures import Figure, Plan, chains, fan_in, fan_out, web
from benchmark.flows.scripts import SETTINGS, Look, ScriptLog
from benchmark.meter import look
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueNode
from torrelque.protocol.bounds import BOUNDS
from torrelque.worker import Delivery, Worker

LONG = 10.0
"""ms that a script may take."""
LINEAR = 1.5
"""What a task of a flow ten times as large may take, by comparison."""
UNIT = 'ms of the server'


class Bench:
    """A queue on a server of its own, and the server's log."""

    def __init__(self, queue: Torrelque, client: redis.asyncio.Redis, plain: redis.Redis) -> None:
        self.queue = queue
        self.plain = plain
        self.log = ScriptLog(plain)
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
        self.log.reset()

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
        with RealServer('valkey9', SETTINGS) as server, server.sync_client(socket_timeout=None) as plain:
            async with server.client() as client, Torrelque(client, queue='flows') as queue:
                bench = Bench(queue, client, plain)
                await bench.warm()
                figures += await PARTS[name](bench, plan)
    return figures


async def measure_calls(bench: Bench, plan: Plan) -> list[Figure]:
    """The server's time of calls that do much, of some rounds the best."""
    bulk = BOUNDS.bulk
    found: dict[str, float] = {}

    def note(name: str, times: list[float]) -> None:
        found[name] = min([found.get(name, times[0]), *times])

    many = plan.out
    for _ in range(max(3, plan.rounds)):
        await bench.clear()
        await bench.make(web(bulk))
        note(f'making {bulk} tasks with 3 edges each', bench.log.read().times['flow'])
        await bench.clear()
        await bench.make(fan_in(bulk))
        some = await bench.queue.dequeue_many(bulk)
        bench.log.reset()
        await bench.queue.release_many([task_id for task_id, _ in some])
        note(f'release of {bulk} of one fan-in', bench.log.read().times['release'])
        await bench.clear()
        await bench.make(fan_out(many))
        bench.log.reset()
        await bench.bulk(1 + many)
        times = bench.log.read().times
        note(f'release of the root of a fan-out of {many:,}', times['release'][-1:])
        note(f'a piece of a fan-out of {many:,}', [statistics.median(times['spread'])])
    return [Figure(name, value, UNIT, LONG) for name, value in found.items()]


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
    """Fan-ins, each ten times the one before: whether it is linear, and the longest script."""
    figures: list[Figure] = []
    each: dict[str, list[float]] = {}
    for size in plan.fans:
        made, worked, looks = [], [], []
        for _ in range(plan.rounds):
            await bench.clear()
            made.append(await spent_on(bench, bench.make(fan_in(size))))
            worked.append(await spent_on(bench, bench.bulk(size + 1)))
            looks.append(bench.log.read())
        for what, several in (('made', made), ('worked off', worked)):
            server = min(one.server for one in several)
            figures += [
                Figure(f'fan-in of {size:,}: {what}', min(one.seconds for one in several), 's'),
                Figure(f'fan-in of {size:,}: {what}, the server', server, 's of its processor'),
            ]
            each.setdefault(what, []).append(server / size)
        figures += _longest(f'fan-in of {size:,}', looks)
    for what, costs in each.items():
        name = f'each task {what}, the server: of {plan.fans[-1]:,} by comparison with {plan.fans[0]:,}'
        figures.append(Figure(name, costs[-1] / costs[0], '', LINEAR))
    return figures


def _longest(name: str, looks: list[Look]) -> list[Figure]:
    """Of some rounds that with the shortest, because it is by the clock and the machine has other things to do."""
    look = min(looks, key=lambda look: look.longest()[1])
    script, most = look.longest()
    return [
        Figure(f'{name}: its longest script, {script}', most, UNIT, LONG),
        Figure(f'{name}: the longest that the machine kept the server waiting', look.stall, 'ms'),
    ]


async def measure_cancel(bench: Bench, plan: Plan) -> list[Figure]:
    """A flow that is cancelled: one that waits, and one of which tasks are pending."""
    figures = []
    for what, nodes in (('a fan-in', fan_in), ('a fan-out', fan_out)):
        took, looks = [], []
        for _ in range(plan.rounds):
            await bench.clear()
            flow = await bench.make(nodes(plan.cancelled))
            bench.log.reset()
            took.append(await timed(bench.queue.cancel(flow)))
            looks.append(bench.log.read())
        name = f'cancel of {what} of {plan.cancelled:,}'
        figures += [Figure(name, min(took), 's', 1), *_longest(name, looks)]
    return figures


PARTS: dict[str, Callable[[Bench, Plan], Awaitable[list[Figure]]]] = {
    'calls': measure_calls,
    'chains': measure_chains,
    'fans': measure_fans,
    'cancel': measure_cancel,
}
