"""What watching costs: time to begin, from notification to yield, memory and idle CPU.

    python -m benchmark.speed.watch [watchers ...]
    python -m benchmark.speed.watch --plain [--server valkey9,redis6] [watchers ...]

On an embedded server.  Another process changes the tasks, one by one, each of which makes two changes that are seen
(working, completed); then, with as many tasks again, all of them as fast as it can.

With ``--plain``, on a server that sends no notifications: the share of a core that idle watchers take, of the server
and of their process, soon after they began and later; and how long after the end of a task `wait` returns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import time

import redis.asyncio

from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskStatus
from torrelque.embedded import Server

IDLE = 10.0
"""s over which the CPU time of idle watchers is taken."""
PAUSE = 0.004
"""s between two changes that are made one by one."""
SINGLE = 1000
"""Tasks that are changed one by one, at the most."""
SETTLING = 10.0
"""s after which watchers that nothing happens to are looked at as seldom as they will be."""
WAITS = 20
"""Tasks whose end is waited for, of each age."""


def resident() -> int:
    """Bytes of memory that the process has."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE')


def change(url: str, count: int, pause: float) -> None:
    """Take and release so many tasks, in a process of its own."""
    asyncio.run(_change(url, count, pause))


async def _change(url: str, count: int, pause: float) -> None:
    async with redis.asyncio.from_url(url) as client, Torrelque(client) as queue:
        if pause:
            for n in range(count):
                task_id, _ = await queue.dequeue()
                await asyncio.sleep(pause)
                await queue.release(task_id, result=n)
                await asyncio.sleep(pause)
        else:
            for _ in range(0, count, 100):
                await queue.release_many([item for item, _ in await queue.dequeue_many(100)], result_ttl=60)


class Round:
    """So many watchers of as many tasks."""

    def __init__(self, queue: Torrelque) -> None:
        self.queue = queue
        self.heard: dict[str, float] = {}
        self.delays: list[float] = []
        self.begun = 0
        self.ready = asyncio.Event()

    def note(self) -> None:
        """Write down when a notification comes in; of several before a yield, the first."""
        hub = self.queue._started().hub
        hear = hub._listener._heard
        prefix = len(hub._prefix)

        def heard(channels: list[bytes]) -> None:
            now = time.perf_counter()
            for channel in channels:
                self.heard.setdefault(channel[prefix:].decode(), now)
            hear(channels)

        hub._listener._heard = heard

    async def follow(self, task_id: str, count: int) -> None:
        async for state in self.queue.watch(task_id):
            heard = self.heard.pop(task_id, None)
            if state.status is TorrelqueTaskStatus.PENDING:
                self.begun += 1
                if self.begun == count:
                    self.ready.set()
            elif heard is not None:
                self.delays.append(time.perf_counter() - heard)

    def begin(self, ids: list[str]) -> list[asyncio.Task[None]]:
        self.begun, self.delays = 0, []
        self.ready.clear()
        return [asyncio.create_task(self.follow(task_id, len(ids))) for task_id in ids]

    def spread(self) -> str:
        delays = sorted(self.delays)
        median, late = (delays[int(len(delays) * share)] * 1000 for share in (0.5, 0.99))
        return f'p50 {median:.2f} ms, p99 {late:.2f} ms ({len(delays)} yields)'


async def measure(server: Server, count: int) -> None:
    context = multiprocessing.get_context('spawn')
    async with server.client(max_connections=10) as client, Torrelque(client) as queue:
        await client.flushall()
        some = Round(queue)
        some.note()
        ids: list[str] = [*await queue.enqueue_many(range(count))]
        gc.collect()
        memory, began = resident(), time.perf_counter()
        following = some.begin(ids)
        await some.ready.wait()
        took = time.perf_counter() - began
        gc.collect()
        per_watcher = (resident() - memory) / count
        connections = len(await client.client_list())
        print(f'{count} watchers: begun in {took:.2f} s; {per_watcher:.0f} bytes each; {connections} connections')

        began = time.process_time()
        await asyncio.sleep(IDLE)
        print(f'    idle: {(time.process_time() - began) / IDLE:.2%} of a core')

        single = min(count, SINGLE)
        changer = context.Process(target=change, args=(server.url, single, PAUSE))
        changer.start()
        await asyncio.wait(following[:single])
        print(f'    notification to yield, one change at a time: {some.spread()}')
        await asyncio.to_thread(changer.join)

        some.delays = []
        changer = context.Process(target=change, args=(server.url, count - single, 0))
        changer.start()
        began = time.perf_counter()
        await asyncio.wait(following)
        if some.delays:
            print(f'    and with all at once: {some.spread()}')
        await asyncio.to_thread(changer.join)


async def measure_plain(server: RealServer, count: int) -> None:
    """The same where the server does not tell."""
    async with server.client() as client, Torrelque(client) as queue:

        async def shares(title: str, seconds: float) -> None:
            used = [await cpu_of(client), time.process_time(), time.perf_counter()]
            await asyncio.sleep(seconds)
            now = [await cpu_of(client), time.process_time(), time.perf_counter()]
            its, ours, took = (after - before for before, after in zip(used, now, strict=True))
            print(f'    {title}: {its / took:.2%} of a core of the server, {ours / took:.2%} of ours')

        async def wait(age: float, n: int) -> float:
            await asyncio.sleep(n * 0.037)
            task_id = await queue.enqueue(n)
            waiting = asyncio.create_task(queue.wait(task_id))
            await asyncio.sleep(age)
            await queue.cancel(task_id)
            ended = time.perf_counter()
            await waiting
            return time.perf_counter() - ended

        await client.flushall()
        print(f'{count} watchers, {server.kind} without notifications')
        await shares('nobody', SETTLING)
        watched = [queue.watch(task_id) for task_id in await queue.enqueue_many(range(count))]
        await asyncio.gather(*map(anext, watched))
        await shares('at first', SETTLING)
        await shares('idle', 2 * IDLE)
        for age in (0.1, 5.0):
            delays = sorted(await asyncio.gather(*[wait(age, n) for n in range(WAITS)]))
            median, last = (delays[place] * 1000 for place in (WAITS // 2, -1))
            print(f'    end of a task after {age:g} s to the end of wait: p50 {median:.0f} ms, max {last:.0f} ms')


async def cpu_of(client: redis.asyncio.Redis) -> float:
    """CPU time (s) that the server has used."""
    info = await client.info('cpu')
    return float(info['used_cpu_user'] + info['used_cpu_sys'])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('watchers', type=int, nargs='*', default=[1000, 10_000], help='how many, round by round')
    parser.add_argument('--plain', action='store_true', help='on servers that send no notifications')
    parser.add_argument('--server', default='valkey9,redis6', help='kinds of them, comma-separated (valkey9,redis6)')
    options = parser.parse_args()
    if options.plain:
        for kind in options.server.split(','):
            with RealServer(kind, {'notify-keyspace-events': '""'}) as plain:
                for count in options.watchers:
                    await measure_plain(plain, count)
        return
    async with Server() as server:
        for count in options.watchers:
            await measure(server, count)


if __name__ == '__main__':
    asyncio.run(main())
