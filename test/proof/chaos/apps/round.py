"""One seed: an application is served and disturbed, comes to rest, and is judged."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis

from model.model_checks import DUMP, LASTING, Seen, read_dump
from proof.chaos.apps.app import LEASE, LIMITS, PRIME, QUEUE, SCHEDULES, value_of
from proof.chaos.apps.hosts import WAYS, Host, Hosts
from proof.chaos.apps.journal import Journal, Line, Reader, now, read_lines
from proof.chaos.apps.judge import check_tale
from proof.chaos.apps.places import Site
from proof.chaos.apps.tale import Tale
from proof.chaos.apps.watch import Watch
from proof.invariants import Fault, check_keys
from proof.standstill import FAILING
from torrelque import TorrelqueLookupError
from torrelque.operate import Operator
from torrelque.protocol.keys import CRON, SHARDED, WORKERS
from torrelque.worker import get_workers

OF_LAYERS = (*WORKERS, *CRON, *SHARDED)
"""Keys that layers bring, which those who know the queue's know nothing of."""
ENDING = 90.0
"""s in which who is told to end does so; it has two for what is in hand."""
AGREED = 30.0
"""s that the machine runs in which workers and queues agree; a beat comes each third of a second."""
FIRST = 120.0
"""s after which an application that has not begun is given up."""
HELD = ('holds', 'holds_thread', 'holds_process')


class Round:
    """One seed at one place."""

    def __init__(self, site: Site, seed: int, seconds: float, where: Path, ways: tuple[str, ...] = ()) -> None:
        self.site = site
        self.seconds = seconds
        self.seed = seed
        self.found: list[Fault] = []
        self.late: list[str] = []
        """What kept tasks in the queues without being a fault of them."""
        self.counts: Counter[str] = Counter()
        self._chance = random.Random(f'apps {seed}')
        self._where = where.resolve()
        self._journals = self._where / 'journals'
        self._journals.mkdir(parents=True)
        self.journal = Journal(self._journals)
        self.hosts = Hosts(self.journal, LEASE, self._chance)
        self.reader = Reader(self._journals, 'begins')
        self._ways = ways or self._draw_ways()
        self._is_calm = False

    def _draw_ways(self) -> tuple[str, ...]:
        first = self._chance.choice(WAYS)
        return (first, *self._chance.sample([way for way in WAYS if way != first], self._chance.choice([1, 1, 2])))

    def _fault(self, text: str, invariant: int = 7) -> None:
        self.found.append(Fault(invariant, None, text))

    async def run(self) -> None:
        """All of it."""
        looking: asyncio.Future[None] | None = None
        watch = Watch(self.site, self.reader)
        try:
            set_by = await self._begin()
            looking = asyncio.ensure_future(self._look_at_keys())
            await self.site.rage(self.seed, self.seconds, self.hosts, self.journal)
            self._is_calm = True
            await looking
            watch.pulse.others = self.site.pids
            await self._come_to_rest(watch, set_by)
            await self._compare(watch)
            self.found += [Fault(12, None, text) for text in await self.hosts.stop(self.hosts.all, ENDING)]
            await self._ask_in_the_end()
            await self._look_at_the_end()
        finally:
            watch.stop()
            self._is_calm = True
            await self.hosts.kill()
            if looking is not None:
                await asyncio.wait([looking])
        self._judge()

    # The beginning

    async def _begin(self) -> dict[str, tuple[float, float]]:
        """Start all; from when to when each schedule was set."""
        for queue in self.site.queues.values():
            for group, limit in LIMITS.items():
                await queue.set_limit(group, concurrency=limit)
        before = now()
        settings = {'urls': self.site.urls, 'shards': self.site.shards, 'journals': str(self._journals),
                    'go': str(self._where / 'go')}  # fmt: skip
        for place, way in enumerate([*self._ways, 'producer']):
            await self.hosts.add(Host(self._where, f'{way}-{place}', way, self._chance, settings))
        set_by: dict[str, tuple[float, float]] = {}
        end = time.monotonic() + FIRST
        while time.monotonic() < end and not (
            len(set_by) == len(SCHEDULES) and all(host.is_at_work() for host in self.hosts.all)
        ):
            for name in {*SCHEDULES} - {*set_by}:
                with contextlib.suppress(TorrelqueLookupError):
                    await self.site.queues[QUEUE].get_schedule(name)
                    set_by[name] = before, now()
            await asyncio.sleep(0.02)
        if not self.reader.look():
            self._fault(f'nothing has begun in {FIRST:g} s', 10)
        return set_by

    # Looking at the keys

    async def _dumps(self) -> AsyncIterator[tuple[Seen, list[Any]]]:
        """Of each shard what is there without what layers bring, and that."""
        for shelf in self.site.shelves():
            dump = await self.site.run_script(shelf, DUMP)
            own = [one for one in dump if one[0].partition(b':')[0].decode() in OF_LAYERS]
            yield read_dump([one for one in dump if one not in own]), own

    async def _look_at_keys(self) -> None:
        while self.site.is_whole and not self._is_calm and len(self.found) < 10:
            await asyncio.sleep(0.3)
            with contextlib.suppress(redis.RedisError, OSError):
                async for seen, _ in self._dumps():
                    for fault in check_keys(seen):
                        self.found.append(fault._replace(text=f'in the storm: {fault.text}'))

    async def _look_at_the_end(self) -> None:
        """All is over, so nothing is there any more but what has an end, or was set."""
        for name in SCHEDULES:
            await self.site.queues[QUEUE].remove_schedule(name)
        for queue in self.site.queues.values():
            for worker in await get_workers(queue):
                self._fault(f'{worker.name} has ended, and is a worker of {queue.name} still')
        async for seen, own in self._dumps():
            self.found += check_keys(seen)
            if not self.late and (rest := seen.names - {'task', 'done', 'values', 'claim', 'rate', *LASTING}):
                self._fault(f'left when all is over: {sorted(rest)}', 2)
            # No beat counts a queue for ever.
            for key, _, _, ttl in own:
                if ttl == -1 and key.partition(b':')[0].decode() in WORKERS:
                    self._fault(f'{key.decode()} has no end', 2)

    # Coming to rest

    async def _come_to_rest(self, watch: Watch, set_by: dict[str, tuple[float, float]]) -> None:
        self.journal.write('calm')
        self.hosts.calm()
        producers = [host for host in self.hosts.all if host.way == 'producer']
        self.found += [Fault(12, None, text) for text in await self.hosts.stop(producers, ENDING)]
        queue = self.site.queues[QUEUE]
        for name, (before, after) in set_by.items():
            with contextlib.suppress(TorrelqueLookupError):
                await queue.pause_schedule(name)
                it = await queue.get_schedule(name)
                if it.last is not None:
                    self.journal.write('firing', name=name, fired=it.fired, skipped=it.skipped, last=it.last * 1000,
                                       before=before, after=after)  # fmt: skip
        self._hear(await watch.wait_until(self._is_empty))

    def _hear(self, verdict: tuple[str, str] | None) -> None:
        """Of a queue that is not empty: on a machine that has other things to do it may be slow, and is no fault."""
        if verdict is not None and verdict[0] in FAILING:
            self._fault(f'it does not come to its end: {verdict}', 10)
        elif verdict is not None:
            self.late.append(f'{verdict[0]}: {verdict[1]}')
            self.journal.write('late')

    async def _is_empty(self) -> bool:
        stats = [await queue.get_queue_stats() for queue in self.site.queues.values()]
        return not sum(int(one.tasks - one.dead) for one in stats)

    async def _compare(self, watch: Watch) -> None:
        """While some tasks are held back: what workers say that they have in hand is what the queues say."""
        wanted: dict[str, set[str]] = {}
        numbers = itertools.count(-100)
        for name, queue in self.site.queues.items():
            payloads = [{'task': fn, 'args': [next(numbers)]} for fn in HELD]
            wanted[name] = {
                str(await queue.enqueue(payload, task_timeout=LEASE)) for payload in payloads
            }
        said: dict[str, Any] = {}

        async def is_agreed() -> bool:
            for name, queue in self.site.queues.items():
                hearts = await get_workers(queue)
                in_hand = {task.id for heart in hearts for task in heart.running if task.queue == name}
                stats = await queue.get_queue_stats()
                said[name] = sorted(in_hand), stats.working
            return all({*ids} == wanted[name] and working == len(wanted[name]) for name, (ids, working) in said.items())

        if late := await watch.wait_until(is_agreed, AGREED):
            self._fault(f'workers and queues do not agree: {said}, and not {wanted}; {late}')
        (self._where / 'go').touch()
        self._hear(await watch.wait_until(self._is_empty))

    # Judging

    async def _ask_in_the_end(self) -> None:
        """What the queues say of each call, and what the records of workers say; dead ones are thrown away then."""
        for queue in self.site.queues.values():
            for view in await Operator(queue).functions():
                self.counts[f'counted {view.name}'] += view.totals.succeeded
        for name, count in self.counts.items():
            if name.startswith('counted '):
                self.journal.write('counted', fn=name.removeprefix('counted '), succeeded=count)
        lines = read_lines(self._journals)
        sends = {line['n']: line for line in lines if line['w'] == 'sends'}
        for line in lines:
            if line['w'] == 'sent':
                await self._ask(sends[line['n']], line['id'])
        await self._throw_away()

    async def _throw_away(self) -> None:
        """What has expired is dead."""
        for shelf in self.site.shelves():
            for name in await shelf.client.zrange(shelf.keys['dead'], 0, -1):
                error = (await shelf.get_task_state(name.decode())).error or ''
                if 'expired: ' not in error:
                    self._fault(f'{name.decode()} is dead: {error}', 8)
                await shelf.cancel(name.decode())

    async def _ask(self, send: Line, task_id: str) -> None:
        queue = self.site.queues[send['queue']]
        status = ''
        with contextlib.suppress(TorrelqueLookupError):
            state = await queue.get_task_state(task_id)
            status = state.status.name
            if send['kind'] == 'flow':
                state = await queue.get_task_state(f'{task_id}.total')
            expected = sum(map(value_of, [send['n'], *send.get('parts', {}).values()])) % PRIME
            if status == 'COMPLETED' and state.result != expected:
                self._fault(f'{task_id} has come to {state.result}, and not to {expected}', 14)
        self.journal.write('final', id=task_id, status=status)

    def _judge(self) -> None:
        for host in self.hosts.all:
            for text in host.troubles():
                self.journal.write('trouble', text=text)
        for text in self.hosts.wrong:
            self._fault(text)
        tale = Tale(read_lines(self._journals))
        self.found += check_tale(tale)
        self.counts = Counter({
            'seeds': 1, 'late': len(self.late), 'tasks': sum(send.is_sure for send in tale.sends.values()),
            'unsure': sum(not send.is_sure for send in tale.sends.values()),
            'attempts': sum(map(len, tale.attempts.values())),
            'firings': sum('@' in task_id for task_id in tale.attempts),
            'joins': sum(task_id.endswith('.total') for task_id in tale.attempts),
            'expired': sum('expired' in error for _, _, error in tale.dead),
            'kills': len(tale.kills), 'ended': tale.counts['ended'],
        })  # fmt: skip
