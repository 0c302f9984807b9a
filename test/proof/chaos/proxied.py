"""Consumers behind lines that are cut: with the faults over, all that is in the queue must come to them.

    python -m proof.chaos.proxied --seeds 100 --first 1 --seconds 2 --server valkey9

Twenty-four consumers of plain tasks, in one process, wait on four queue objects, each with a client of its own, or all
with the same.  When the queue is empty each of the objects must be handed a task once more.  What each run wrote down
of a standstill is kept.  The last line has the figures, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import redis.asyncio

from proof.chaos.cutting import Cutter
from proof.dumps import dump_all, shorten
from proof.layers import in_time
from proof.pulse import Pulse
from proof.standstill import FAILING, STANDSTILL, STILL, Watchman
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueError

QUEUE = 'proxied'
OBJECTS, CONSUMERS = 4, 6
RATE = 12.0
"""Strikes each second, on average, besides the fates of connections."""
LEASE = 1.0
QUICK = 3.0
"""As `standstill.STILL`, where no connection is left that is silent: then all that is lost is known to be at once."""
FAILURES = (TorrelqueError, redis.RedisError, OSError, TimeoutError)


class Run:
    """One seed."""

    def __init__(self, server: RealServer, seed: int, seconds: float, keep: Path) -> None:
        self.server = server
        self.seed = seed
        self.seconds = seconds
        self.chance = random.Random(f'proxied {seed}')
        self.counts: Counter[str] = Counter()
        self.path = keep / f'proxied-{seed}.json'
        self.acknowledged: set[int] = set()
        self.finished: set[int] = set()
        self.is_shared = seed % 3 == 0
        self.is_tcp = seed % 2 == 1
        self.leaves_ill = seed % 5 == 0
        self.still = STILL if self.leaves_ill else QUICK
        self.heard: set[int] = set()
        """Which queue objects were handed something."""
        self.roll = 0.0
        """s that it took until all were."""
        self._over = False

    async def run(self) -> str:
        """The verdict and why, '' where all came."""
        count = 1 if self.is_shared else OBJECTS
        pulse = Pulse().start()
        async with contextlib.AsyncExitStack() as stack:
            admin = await stack.enter_async_context(self.server.client())
            await admin.flushall()
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix='trqcut'))
            cutter = await stack.enter_async_context(
                Cutter(self.server.socket, home, count, self.seed, self.is_tcp)
            )
            options: dict[str, Any] = {'protocol': self.chance.choice([2, 3])}
            clients = [redis.asyncio.Redis(**address, **options) for address in cutter.addresses]
            queues = [Torrelque(clients[place % count], queue=QUEUE) for place in range(OBJECTS)]
            self.watchman = Watchman(
                self.path, pulse, self.server.socket, f'{{{QUEUE}}}:', lambda: self.counts['handouts'],
                self.still,
            )
            try:
                return await self._rage(admin, cutter, queues)
            finally:
                pulse.stop()
                await self.watchman.stop()
                self.counts += cutter.counts
                await asyncio.gather(*(queue.aclose() for queue in queues))
                for client in clients:
                    await client.aclose()

    async def _rage(self, admin: Any, cutter: Cutter, queues: list[Torrelque]) -> str:
        consumers = [
            asyncio.ensure_future(self._consume(place, queue))
            for place, queue in enumerate(queues)
            for _ in range(CONSUMERS)
        ]
        async with Torrelque(admin, queue=QUEUE) as producing:
            producer = asyncio.ensure_future(self._produce(producing))
            await cutter.rage(self.seconds * (0.5 + self.chance.random()), RATE)
            self._over = True
            await producer
            # A burst for those who were cut off just now.
            await self._enqueue(producing, self.chance.choice([1, 50, 1000, 3000]), None)
        cutter.calm(self.leaves_ill)
        self.watchman.start()
        deaf: set[int] = set()
        try:
            late = await self.watchman.wait([asyncio.ensure_future(self._until_empty(admin))])
            if not late:
                deaf = await self._call_the_roll(admin)
                late = await self.watchman.wait([asyncio.ensure_future(self._until_empty(admin))])
        finally:
            for consumer in consumers:
                consumer.cancel()
            _, endless = await asyncio.wait(consumers, timeout=30)
        for task in (*late, *endless):
            task.cancel()
        if endless:
            self.counts['endless'] += len(endless)
            return f'endless: {[shorten(task, 1) for task in endless][:3]}; {json.dumps(dump_all())}'
        if deaf:
            self.counts[STANDSTILL] += 1
            return f'{STANDSTILL}: queue objects {[*deaf]} are deaf'
        return self._judge(bool(late))

    async def _call_the_roll(self, admin: Any) -> set[int]:
        """The queue being empty, each queue object must be handed something; those that are not."""
        self.heard.clear()
        pulse, missing = self.watchman.pulse, {*range(OBJECTS)}
        began = pulse.time()
        end = began + self.still
        async with Torrelque(admin, queue=QUEUE) as producing:
            while missing and pulse.time() < end:
                # Whoever has waited longest is rung first.
                await self._enqueue(producing, 1, None)
                await asyncio.sleep(0.02)
                missing -= self.heard
        self.roll = pulse.time() - began
        if missing:
            self.watchman.write({'deaf': [*missing], 'state': dump_all()})
        return missing

    def _judge(self, is_late: bool) -> str:
        if is_late:
            verdict, why = self.watchman.verdict()
            self.counts[verdict] += 1
            return f'{verdict}: {why}'
        self.counts['quick'] += 1
        lost = self.acknowledged - self.finished
        self.counts['lost'] += len(lost)
        return f'lost: {sorted(lost)[:5]}' if lost else ''

    async def _until_empty(self, admin: Any) -> None:
        while await admin.hlen(f'{{{QUEUE}}}:tasks'):
            await asyncio.sleep(0.02)

    async def _enqueue(self, queue: Torrelque, count: int, delay: float | None) -> None:
        first = self.counts['tasks']
        self.counts['tasks'] += count
        await queue.enqueue_many(range(first, first + count), task_timeout=LEASE, delay=delay)
        self.acknowledged.update(range(first, first + count))

    async def _produce(self, queue: Torrelque) -> None:
        chance = self.chance
        while not self._over:
            await self._enqueue(queue, chance.choice([1, 1, 1, 5, 40]), chance.choice([None] * 6 + [0.05, 0.5]))
            await asyncio.sleep(chance.expovariate(1 / 0.02))

    async def _consume(self, place: int, queue: Torrelque) -> None:
        chance = self.chance
        # Whoever asks again and again is not deaf for long.
        timeouts = [None, None, None, 0.3, 2.0] if self.seed % 4 < 2 else [None]
        while True:
            call = asyncio.ensure_future(queue.dequeue(chance.choice(timeouts)))
            try:
                if not self._over and chance.random() < 0.05:
                    await asyncio.wait([call], timeout=chance.random() / 5)
                    call.cancel()
                task_id, task = await call
            except FAILURES:
                await asyncio.sleep(0.01)
                continue
            except asyncio.CancelledError:
                if call.cancelled() and not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    continue
                call.cancel()
                raise
            self.counts['handouts'] += 1
            self.heard.add(place)
            await asyncio.sleep(chance.random() / 200)
            with contextlib.suppress(*FAILURES):
                if not self._over and chance.random() < 0.05:
                    await queue.requeue(task_id)
                else:
                    await self._release(queue, task_id, task)

    async def _release(self, queue: Torrelque, task_id: str, task: int) -> None:
        try:
            if await queue.release(task_id):
                self.finished.add(task)
        except BaseException:
            # Perhaps it was done.
            self.finished.add(task)
            raise


async def run_seeds(options: argparse.Namespace) -> tuple[Counter[str], list[str]]:
    """Seed after seed, on servers of the kinds by turns."""
    counts: Counter[str] = Counter()
    found: list[str] = []
    kinds = options.server.split(',')
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(RealServer(kind)) for kind in kinds]
        for seed in in_time(range(options.first, options.first + options.seeds), options.until):
            server = servers[seed % len(servers)]
            run = Run(server, seed, options.seconds, options.keep)
            what = await run.run()
            longest = run.watchman.longest
            run.counts['seeds'] = 1
            counts += run.counts
            counts['longest_ms'] = max(counts['longest_ms'], round(longest * 1000))
            counts['longest_roll_ms'] = max(counts['longest_roll_ms'], round(run.roll * 1000))
            quiet = f'the longest time without a hand-out {longest:.1f} s, for one object {run.roll:.1f}'
            print(f'seed {seed} {server.kind}: {what or "all came"}; {run.counts["tasks"]} tasks, {quiet}', flush=True)
            if what.startswith((*FAILING, 'lost', 'endless')):
                found.append(f'seed {seed}: {what}; see {run.path}')
            elif not options.all and longest < options.longest:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(run.path)
    return counts, found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--seeds', type=int, default=100)
    parser.add_argument('--first', type=int, default=1, help='the first seed')
    parser.add_argument('--seconds', type=float, default=2.0, help='of faults, for each seed, on average')
    parser.add_argument('--until', type=float, help='s after which no further seed begins')
    parser.add_argument('--server', default='valkey9', help='a kind, or some by turns: valkey9,redis6')
    parser.add_argument('--longest', type=float, default=6.0, help='s without a hand-out from which files are kept')
    parser.add_argument('--all', action='store_true', help='keep the files of all runs')
    parser.add_argument('--keep', type=Path, default=Path(tempfile.gettempdir()), help='where files are kept')
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> int:
    """Run it, and print the figures."""
    logging.getLogger('torrelque').addHandler(logging.NullHandler())
    options.keep.mkdir(parents=True, exist_ok=True)
    counts, found = asyncio.run(run_seeds(options))
    print(*found, sep='\n')
    print(json.dumps({**dict(counts.most_common()), 'faults_found': len(found)}))
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(parse()))
