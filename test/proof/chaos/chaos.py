"""Chaos: a seed's faults over a crowd of producers and consumers; safety is judged all the time, liveness afterwards.

    python -m proof.chaos --seeds 10 --first 1 --seconds 15 --server valkey9
    python -m proof.chaos --soak 3600

One seed is replayed by `--first SEED --seeds 1`.  The history of a run that found something is kept, and its place
printed.  The last line has the figures, as JSON.  `proof.reference` runs the same against the queue that was there
before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis.asyncio

from model.model_checks import DUMP, read_dump
from proof.actors import GROUPS, LEASE
from proof.chaos.crowd import CONSUMERS, LATE
from proof.chaos.damage import Vandal
from proof.chaos.faults import FaultProxy, Storm, plan
from proof.chaos.figures import Figures
from proof.chaos.herd import Herd
from proof.chaos.home import close_home, make_home
from proof.chaos.workload import WORKLOAD, Child
from proof.history import History, Recorder
from proof.history_checks import check_history, unheard
from proof.invariants import Fault, check_all_came, check_connections, check_empty, check_keys, check_progress
from proof.layers import in_time
from proof.peers import job_of
from proof.standstill import FAILING, STRANDED
from support.servers import RealServer

QUEUE = 'chaos'
PREFIX = '{chaos}:'
RATE = 20.0
"""Faults each second, on average."""
CROWD = {'bulk': 200, 'pause': 0.01, 'odd': 0.3, 'rich': 0.4, 'cancels': 0.05, 'watch': 0.2, 'room': 1500}
PREY = {'bulk': 20, 'odd': 0.3, 'cancels': 0.05}
CROWD_QUEUES, PREY_QUEUES = 9, 2
"""Queue objects of the crowd, those that probe among them, and of the consumers in processes of their own."""
LINES = 3
"""Connections of a queue object and its client at the most: for calls, to wait or to watch, for transactions."""
ENDING = 900.0
"""s after which a crowd that has not come to its end is given up."""
CONFIG = {
    'appendfsync': 'always',
    # May all that a worker needs, and neither CONFIG nor anything else of an operator.
    'user': 'worker on >secret ~* &* +@all -@admin -@dangerous',
}


class Place:
    """A server with a faulty line to it."""

    def __init__(
        self, server: RealServer, home: Path, peer: str, python: str, rate: float, worker: float
    ) -> None:
        self.server = server
        self.rate = rate
        self.worker = worker
        self.home = home
        self.peer = peer
        self.python = python
        self.counts: Counter[str] = Counter()
        self.proxy = FaultProxy(server.socket, str(home / 'proxy.sock'), self.counts)


@contextlib.asynccontextmanager
async def open_place(
    kind: str, peer: str = 'ours', python: str = sys.executable, rate: float = RATE, worker: float = 0.0
) -> AsyncIterator[Place]:
    """A server of the kind that keeps all that it acknowledges, and a line to it."""
    home = Path(tempfile.mkdtemp(prefix='trqchaos'))
    try:
        with RealServer(kind, CONFIG, directory=home / 'data') as server:
            place = Place(server, home, peer, python, rate, worker)
            async with place.proxy:
                yield place
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Round:
    """One seed at one place."""

    def __init__(self, place: Place, seed: int, seconds: float, keep: Path | None = None) -> None:
        self.place = place
        self.seed = seed
        self.seconds = seconds
        self.chance = random.Random(f'round {seed}')
        self.figures = Figures()
        self.found: list[Fault] = []
        self._workers = random.Random(f'workers {seed}')
        self._is_calm = False
        self._vandal: Vandal | None = None
        self._still: set[int] = set()
        """Jobs that are in the queue at the end."""
        self._histories = (keep or place.home).resolve() / f'history-{seed}'
        self._address: dict[str, Any] = {'socket': place.proxy.path, 'options': self._draw_options()}
        if 'max_connections' in self._address['options']:
            # Some wait for a connection of the pool, others do not.
            self._address['patience'] = self.chance.choice([None, 0.02])

    @property
    def is_ours(self) -> bool:
        return self.place.peer == 'ours'

    def _draw_options(self) -> dict[str, Any]:
        """How the clients connect."""
        chance = self.chance
        options: dict[str, Any] = {'socket_timeout': 5}
        if self.is_ours:
            options['protocol'] = chance.choice([2, 3])
            if most := (None, 1, 2, None, 3)[self.seed % 5]:
                options['max_connections'] = most
                self.figures.faults['small pool'] += 1
        if chance.random() < 0.3 and self.is_ours:
            options |= {'username': 'worker', 'password': 'secret'}
            self.figures.faults['ACL without CONFIG'] += 1
        return options

    def draw_skew(self) -> int:
        """How wrong (s) the clock of a process is."""
        skew = self.chance.choice([0, 3600, -3600]) if self.place.rate else 0
        self.figures.faults['clock an hour off'] += bool(skew)
        return skew

    async def start(self, who: str, module: str = WORKLOAD, **what: Any) -> Child:
        """A process of the run."""
        if not self.place.rate:
            what['work'] = {**what['work'], 'cancels': 0}
        return await Child.start(
            module,
            self.place.python,
            who=who,
            address=self._address,
            queue=QUEUE,
            history=str(self._histories / who),
            peer=self.place.peer,
            watch={
                'path': str(self._histories.with_name(f'watch-{who}.json')),
                'socket': self.place.server.socket,
                'prefix': PREFIX,
            },
            seed=self.chance.getrandbits(32),
            **what,
        )

    def _draw_worker(self) -> bool:
        """Whether a consumer is a worker."""
        return self.is_ours and self._workers.random() < self.place.worker

    async def _start_prey(self, who: str) -> Child:
        kind = 'worker' if self._draw_worker() else 'consumer'
        return await self.start(who, kind=kind, skew=self.draw_skew(), work=PREY)

    async def run(self) -> Figures:
        """All of it; the history is left where it was written."""
        self._histories.mkdir(parents=True)
        herd = Herd(self._start_prey)
        before = Counter(self.place.counts)
        async with self.place.server.client() as admin:
            await admin.flushall()
            recorder = Recorder(self._histories / 'storm', 'storm')
            if self.is_ours:
                await self._set_limits(admin)
                self._vandal = Vandal(admin, PREFIX, recorder)
            first = self.seed * 10_000_000
            workers = sum(self._draw_worker() for _ in range(CONSUMERS))
            skew = self.draw_skew()
            crowd = await self.start('crowd', 'proof.chaos.crowd', first=first, skew=skew, work=CROWD, workers=workers)
            try:
                await herd.grow(PREY_QUEUES)
                assert crowd.process.stdout is not None
                await crowd.process.stdout.readline()  # It has begun.
                await self._rage(admin, herd)
                left = await self._settle_down(crowd, herd)
                await self._look_at_the_end(admin, left, recorder)
            finally:
                recorder.close()
                await crowd.kill()
                await herd.kill()
        self.figures.faults += self.place.counts - before
        self._judge()
        return self.figures

    async def _set_limits(self, admin: Any) -> None:
        from torrelque import Torrelque

        async with Torrelque(admin, queue=QUEUE) as queue:
            for group, limit in GROUPS.items():
                if limit:
                    await queue.set_limit(group, concurrency=limit)

    async def _rage(self, admin: Any, herd: Herd) -> None:
        place = self.place
        storm = Storm(place.proxy, place.server, admin, herd, self._vandal, place.counts, LEASE)
        looking = asyncio.ensure_future(self._look_at_keys(admin))
        try:
            await storm.rage(plan(self.seed, self.seconds, self.place.rate), self.seconds)
        finally:
            self._is_calm = True
            await looking

    async def _settle_down(self, crowd: Child, herd: Herd) -> int:
        """Faults are over: how many tasks the crowd could not take out of the queue."""
        await asyncio.sleep(LATE)  # Whoever was cut off is gone by then.
        self.place.proxy.most = len(self.place.proxy.lines)
        assert crowd.process.stdin is not None
        crowd.process.stdin.write(b'calm\n')
        self.found += [Fault(12, None, text) for text in await herd.stop(ENDING / 3)]
        try:
            out, _ = await asyncio.wait_for(crowd.process.communicate(b'alone\n'), ENDING)
        except asyncio.TimeoutError:
            self.found.append(Fault(12, None, 'the crowd did not come to its end'))
            return 1
        if crowd.process.returncode:
            self.found.append(Fault(7, None, f'the crowd ended with status {crowd.process.returncode}'))
            return 1
        said = json.loads(out.splitlines()[-1])
        self.figures.longest = said['longest']
        for verdict, why in said['found']:
            self.figures.counts[verdict] += 1
            if verdict == STRANDED:
                self.found += check_all_came(said['left'], said['drained in'])
            self.found += check_progress(verdict, why)
            if verdict not in FAILING:
                self.figures.late.append(f'seed {self.seed}: {verdict}: {why}')
        return int(said['left'])

    # Looking at the keys

    async def _look_at_keys(self, admin: Any) -> None:
        while self._vandal is not None and not self._is_calm and len(self.found) < 10:
            await asyncio.sleep(0.3)
            with contextlib.suppress(redis.RedisError, OSError):
                dump = await admin.eval(DUMP, 0, PREFIX)
                for fault in check_keys(self._vandal.overlook(read_dump(dump))):
                    self.found.append(fault._replace(text=f'in the storm: {fault.text}'))

    async def _look_at_the_end(self, admin: Any, left: int, recorder: Recorder) -> None:
        """All was taken out, so nothing is there any more; nor is anybody connected."""
        if self._vandal is not None:
            most = LINES * (CROWD_QUEUES + PREY_QUEUES)
            self.found += check_connections('with the faults over', self.place.proxy.most, most)
            self.figures.connections = self.place.proxy.most
            seen = self._vandal.overlook(read_dump(await admin.eval(DUMP, 0, PREFIX)))
            self.found += check_keys(seen)
            for task_id, state in seen.states.items():
                if 'error' in state:
                    recorder.report(task_id)
            self._still = {job for job in map(job_of, seen.payloads.values()) if job is not None}
            rest = [] if left else [*check_empty(seen)]
            self.found += rest
            self.figures.counts['leftovers'] = left or len(rest)
        else:
            keys = await admin.keys('*')
            self.figures.counts['leftovers'] = left or len(keys)
            if keys:
                self.found.append(Fault(2, None, f'left when all is released: {sorted(keys)[:5]}'))
        end = time.monotonic() + 60
        while self.place.proxy.lines and time.monotonic() < end:
            await asyncio.sleep(0.02)
        self.found += check_connections('are left of processes that have ended', len(self.place.proxy.lines), 0)

    # Judging

    def _judge(self) -> None:
        history = History.read(self._histories.iterdir())
        limits = {group: limit for group, limit in GROUPS.items() if limit} if self.is_ours else {}
        self.found += check_history(history, limits=limits, still=self._still)
        counts = self.figures.counts
        counts['seeds'] = 1
        counts['seconds'] = round(self.seconds)
        counts['tasks'] = sum(story.is_acknowledged for story in history.stories.values())
        counts['handouts'] = len(history.hands)
        counts['by_workers'] = sum('worker' in hand.who for hand in history.hands)
        counts['watches'] = len(history.watches)
        counts['waits'] = history.notes.pop('waits', 0)
        counts['damaged'] = sum(story.damage is not None for story in history.stories.values())
        counts['unknown'] = history.unknown
        counts['unheard'] = unheard(history)
        for name, invariant in (('stale', 3), ('twice', 4), ('losses', 5)):
            counts[name] = len({fault.job for fault in self.found if fault.invariant == invariant})
        self.figures.faults += history.notes
        self.figures.found = [f'seed {self.seed}: {fault}' for fault in self.found]


async def run_seed(
    kind: str, seed: int, seconds: float, *, worker: float = 0.0, keep: Path | None = None
) -> Figures:
    """One seed on a server of its own, where such a share of the consumers are workers."""
    async with open_place(kind, worker=worker) as place:
        return await _run_round(place, seed, seconds, keep)


async def _run_round(place: Place, seed: int, seconds: float, keep: Path | None) -> Figures:
    where = make_home('chaos', seed, keep)
    figures = await Round(place, seed, seconds, where).run()
    close_home(where, figures.found)
    return figures


async def run_seeds(options: argparse.Namespace, peer: str, python: str) -> Figures:
    """Seed after seed."""
    sums = Figures()
    kinds = options.server.split(',')
    for seed in in_time(range(options.first, options.first + options.seeds), options.until):
        kind = kinds[seed % len(kinds)]
        async with open_place(kind, peer, python, options.rate, options.worker) as place:
            figures = await _run_round(place, seed, options.seconds, options.keep)
        sums.add(figures)
        print(*figures.late, f'seed {seed} {kind} {figures.as_json()}', sep='\n', flush=True)
    return sums


async def soak(options: argparse.Namespace) -> Figures:
    """Round after round on one server, through one line."""
    sums = Figures()
    end = time.monotonic() + options.soak
    seed = options.first
    async with open_place(options.server.split(',')[0], rate=options.rate, worker=options.worker) as place:
        while time.monotonic() < end:
            figures = await _run_round(place, seed, min(60.0, options.soak), options.keep)
            sums.add(figures)
            print(f'round {seed}', figures.as_json(), flush=True)
            seed += 1
    return sums


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--seeds', type=int, default=10)
    parser.add_argument('--first', type=int, default=1, help='the first seed')
    parser.add_argument('--seconds', type=float, default=15.0, help='of faults, for each seed')
    parser.add_argument('--until', type=float, help='s after which no further seed begins')
    parser.add_argument('--server', default='valkey9', help='a kind, or some by turns: valkey9,redis6')
    parser.add_argument('--soak', type=float, default=0.0, help='seconds of rounds on one server, instead of seeds')
    parser.add_argument('--rate', type=float, default=RATE, help='faults each second; 0 is a run without any')
    parser.add_argument('--worker', type=float, default=0.3, help='which share of the consumers are workers, 0 to 1')
    parser.add_argument('--peer', default='ours', choices=['ours', 'reference'])
    parser.add_argument('--keep', type=Path, default=Path(tempfile.gettempdir()), help='where histories are kept')
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> int:
    """Run it, and print the figures."""
    # Ended from outside, it takes its processes along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.peer == 'reference':
        from proof.reference import install

        figures = asyncio.run(run_seeds(options, 'reference', str(install())))
    elif options.soak:
        figures = asyncio.run(soak(options))
    else:
        figures = asyncio.run(run_seeds(options, 'ours', sys.executable))
    print(figures.as_json())
    return 1 if figures.found else 0
