"""Chaos of flows: workers that are killed, lost replies, redrives and cancels; and what each flow must come to.

    python -m proof.chaos.flows --seeds 10 --first 1 --seconds 5 --server valkey9

Workers are processes of their own.  Producers make flows by chance, and an operator cancels and redrives.  With the
faults over each flow has ended, or stands still and says why; then all that is dead is redriven, until nothing is left.
One seed is replayed by `--first SEED --seeds 1`.  The last line has the figures, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import redis

from model.model_checks import DUMP, LASTING, read_dump
from proof.actors import LEASE
from proof.chaos.chaos import Place, open_place
from proof.chaos.faults import LINE, SERVER, Storm, plan
from proof.chaos.flows_app import GROUP, QUEUE, Maker, alone, app, splits, value_of
from proof.chaos.flows_judge import Ended, Journals, Sent
from proof.chaos.herd import Herd
from proof.chaos.home import close_home, make_home
from proof.chaos.workload import Child
from proof.invariants import Fault, check_keys
from proof.layers import in_time
from proof.peers import FAILURES, connect
from torrelque import Torrelque, TorrelqueLookupError, TorrelqueTaskStatus as Status
from torrelque.flows import FlowFailedError, FlowHandle
from torrelque.operate import Operator
from torrelque.testing import using

PREFIX = f'{{{QUEUE}}}:'
RATE = 12.0
"""Faults each second, on average."""
KINDS = {**LINE, **SERVER, 'consumer killed': 3.0, 'consumer stopped beyond its lease': 1.0}
WORKERS, PRODUCERS = 3, 2
"""Processes with workers; producers, all in the process of the rig."""
ROOM = 400
"""Tasks in the queue from which on producers wait."""
ENDING = 300.0
"""s after which what does not come to an end is given up; as long as anything goes on, it is waited for."""
LIFE = 3600.0
"""s for which flows are kept."""


class Round:
    """One seed at one place."""

    def __init__(self, place: Place, seed: int, seconds: float, where: Path) -> None:
        self.place = place
        self.seed = seed
        self.seconds = seconds
        self.counts: Counter[str] = Counter()
        self.found: list[Fault] = []
        self._chance = random.Random(f'flows {seed}')
        self._where = where.resolve()
        self._mended = self._where / 'mended'
        self._sent: dict[str, Sent] = {}
        self._behind: list[tuple[str, list[str]]] = []
        """Tasks that were enqueued alone, to wait for others."""
        self._turned: dict[str, dict[str, Any]] = {}
        """Tasks that were enqueued alone, and have become flows, with what they were given."""
        self._calm = asyncio.Event()
        self._waits: set[asyncio.Task[None]] = set()
        self._address = {'socket': place.proxy.path, 'options': {'socket_timeout': 5}}

    async def run(self) -> None:
        """All of it."""
        (self._where / 'journals').mkdir(parents=True)
        herd = Herd(self._start)
        before = Counter(self.place.counts)
        client = connect(self._address)
        try:
            async with self.place.server.client() as admin, Torrelque(admin, queue=QUEUE) as direct:
                await admin.flushall()
                await direct.set_limit(GROUP, concurrency=3)
                async with Torrelque(client, queue=QUEUE) as queue, using(app, queue):
                    await herd.grow(WORKERS)
                    await self._rage(queue, admin, herd)
                    await self._come_to_rest(direct)
                    await self._come_to_an_end(direct)
                    await self._hear_all()
                for text in await herd.stop(ENDING):
                    self._fault(text, 12)
                await self._judge(direct, admin)
        finally:
            await herd.kill()
            await client.aclose()
        self.counts += Counter({f'fault: {kind}': count for kind, count in (self.place.counts - before).items()})

    def _fault(self, text: str, invariant: int = 14) -> None:
        self.found.append(Fault(invariant, None, text))

    async def _start(self, who: str) -> Child:
        what: dict[str, Any] = {
            'history': str(self._where / 'journals' / who), 'mended': str(self._mended),
            'seed': self._chance.getrandbits(32), 'address': self._address,
        }  # fmt: skip
        return await Child.start('proof.chaos.flows_worker', **what)

    # The storm

    async def _rage(self, queue: Torrelque, admin: Any, herd: Herd) -> None:
        calls = [self._produce(queue, random.Random(f'{self.seed} {place}')) for place in range(PRODUCERS)]
        actors = [asyncio.ensure_future(call) for call in (*calls, self._operate(queue), self._look_at_keys(admin))]
        place = self.place
        storm = Storm(place.proxy, place.server, admin, herd, None, place.counts, LEASE)
        await storm.rage(plan(self.seed, self.seconds, place.rate and RATE, KINDS), self.seconds)
        self._calm.set()
        _, late = await asyncio.wait(actors, timeout=ENDING)
        for actor in actors:
            if actor in late:
                actor.cancel()
                self._fault('a call did not end', 12)
            elif error := actor.exception():
                self._fault(f'an actor ended by {error!r}', 7)

    async def _produce(self, queue: Torrelque, chance: random.Random) -> None:
        while not self._calm.is_set():
            with contextlib.suppress(*FAILURES):
                stats = await queue.get_queue_stats()
                if stats.tasks - stats.dead > ROOM:
                    await asyncio.sleep(0.05)
                    continue
            with contextlib.suppress(*FAILURES):
                await (self._enqueue_alone(chance) if chance.random() < 0.15 else self._enqueue(chance))
            await asyncio.sleep(chance.expovariate(1 / 0.02))

    async def _enqueue(self, chance: random.Random) -> None:
        flow_id = f'F{len(self._sent)}'
        policy = chance.choice(['wait', 'wait', 'skip', 'cancel'])
        timeout = chance.choice([None] * 9 + [0.3, 2.0])
        made = Maker(chance).make().options(flow_id=flow_id, on_failure=policy, timeout=timeout, result_ttl=LIFE)
        found = made._plan()
        sent = self._sent[flow_id] = Sent(flow_id, [*found.tasks], found.out, policy, timeout)
        handle = await FlowHandle.enqueue(found)
        sent.is_sure = True
        if chance.random() < 0.5:
            wait = asyncio.ensure_future(self._follow(sent, handle))
            self._waits.add(wait)

    async def _enqueue_alone(self, chance: random.Random) -> None:
        """Tasks of no flow, and one that waits for them; or one that waits for one of a flow, or becomes a flow."""
        number = len(self._behind) + len(self._turned)
        if chance.random() < 0.3:
            spec = {'n': number, 'adds': chance.choice([0, 1, 4])}
            await splits.options(task_id=f't{number}', result_ttl=LIFE).enqueue(spec)
            self._turned[f't{number}'] = spec
            return
        if self._sent and chance.random() < 0.5:
            sent = chance.choice([*self._sent.values()][-5:])
            self._behind.append((f'c{number}', []))
            sent.joined[f'c{number}'] = name = chance.choice(sent.tasks)['name']
            await alone.options(task_id=f'c{number}', depends_on=[f'{sent.id}.{name}'], result_ttl=LIFE).enqueue(2)
            return
        ids = [f'a{number}', f'b{number}']
        self._behind.append((f'c{number}', ids))
        for place, task_id in enumerate(ids):
            await alone.options(task_id=task_id, result_ttl=LIFE).enqueue(place)
        await alone.options(task_id=f'c{number}', depends_on=ids, result_ttl=LIFE).enqueue(2)

    async def _follow(self, sent: Sent, handle: FlowHandle[Any]) -> None:
        """Wait for the result of a flow, whatever happens; a flow that stands still is waited for again."""
        while True:
            try:
                sent.told.append(await handle.result())
                return
            except FlowFailedError as exc:
                self.counts['told of failures'] += 1
                if exc.status.isfinal():
                    return
                if not exc.failed:
                    self._fault(f'flow {sent.id} stands still, and nobody is told why: {exc}')
                await asyncio.sleep(0.1)
            except FAILURES:
                await asyncio.sleep(0.02)

    async def _operate(self, queue: Torrelque) -> None:
        """Cancel tasks and flows, and redrive."""
        chance = random.Random(f'operator {self.seed}')
        while not self._calm.is_set():
            await asyncio.sleep(chance.expovariate(1 / 0.1))
            if not self._sent:
                continue
            sent = chance.choice([*self._sent.values()][-20:])
            with contextlib.suppress(*FAILURES):
                kind = chance.choice(['task', 'task', 'flow', 'redrive', 'redrive', 'all'])
                self.counts[f'operator: {kind}'] += 1
                if kind == 'task':
                    name = chance.choice(sent.tasks)['name']
                    sent.cancelled.add(name)
                    await queue.cancel(f'{sent.id}.{name}')
                elif kind == 'flow':
                    sent.cancels += 1
                    await queue.cancel(sent.id)
                elif kind == 'redrive':
                    await queue.redrive(sent.id)
                else:
                    await queue.redrive(limit=5)

    async def _look_at_keys(self, admin: Any) -> None:
        while not self._calm.is_set() and len(self.found) < 10:
            await asyncio.sleep(0.3)
            with contextlib.suppress(redis.RedisError, OSError):
                for fault in check_keys(read_dump(await admin.eval(DUMP, 0, PREFIX))):
                    self.found.append(fault._replace(text=f'in the storm: {fault.text}'))

    # Afterwards

    async def _wait_until(self, queue: Torrelque, what: str, is_over: Any) -> None:
        """Wait, for as long as anything goes on."""
        last, end = None, asyncio.get_running_loop().time() + ENDING
        while not await is_over():
            await asyncio.sleep(0.1)
            now = await queue.get_queue_stats(), [await queue.get_task_state(f) for f in await self._unended(queue)]
            if now != last:
                last, end = now, asyncio.get_running_loop().time() + ENDING
            elif asyncio.get_running_loop().time() > end:
                self._fault(f'{what}: {now}', 10)
                return

    async def _unended(self, queue: Torrelque) -> list[str]:
        """Flows that have not ended."""
        flows = []
        for flow_id in self._sent:
            with contextlib.suppress(TorrelqueLookupError):
                state = await queue.get_task_state(flow_id)
                flows += [flow_id] if state.left or not state.status.isfinal() else []
        return flows

    async def _come_to_rest(self, queue: Torrelque) -> None:
        """All that can be done is done; whatever has not ended by then says why."""
        for sent in self._sent.values():
            if not sent.is_sure and len(sent.tasks) > 250:
                # It may be a draft, which would be given up after a minute.
                sent.cancels += 2
                await queue.cancel(sent.id)

        async def is_quiet() -> bool:
            stats = await queue.get_queue_stats()
            # Without a flow that goes on there is nothing to be done of what was put off.
            is_put_off = stats.waiting and await queue.client.exists(queue.keys['spread'])
            return stats.pending + stats.working + stats.delayed == 0 and not is_put_off

        await self._wait_until(queue, 'it does not come to rest', is_quiet)
        operator = Operator(queue)
        for flow_id in await self._unended(queue):
            self.counts['stalled'] += 1
            state = await queue.get_task_state(flow_id)
            codes = [reason.code for reason in await operator.explain(flow_id)]
            if not state.dead or 'stalled' not in codes and state.status is Status.WAITING:
                self._fault(f'flow {flow_id} goes on, and nothing of it does: {state}, {codes}')

    async def _come_to_an_end(self, queue: Torrelque) -> None:
        """All is mended, so that whatever is dead comes to its end by a redrive."""
        self._mended.touch()

        async def is_empty() -> bool:
            dead: list[Any] = await queue.client.zrange(queue.keys['dead'], 0, -1)
            for task_id in map(bytes.decode, dead):
                # A flow that has gone on without it is over, so it would look for what is there no more.
                flow_id = task_id.partition('.')[0]
                if flow_id in self._sent and not (await queue.get_task_state(flow_id)).left:
                    await queue.cancel(task_id)
            await queue.redrive()
            return (await queue.get_queue_stats()).tasks == 0

        await self._wait_until(queue, 'it does not come to an end', is_empty)

    async def _hear_all(self) -> None:
        """Whoever waits for a result is told."""
        sure = {wait for wait in self._waits if not wait.done()}
        _, late = await asyncio.wait(sure, timeout=60) if sure else (set(), set())
        if late:
            self._fault(f'{len(late)} of {len(self._waits)} who wait for a flow were not told of its end', 11)
        for wait in late:
            wait.cancel()
        for wait in self._waits - late:
            if error := wait.exception():
                self._fault(f'who waits for a flow was told {error!r}', 7)

    # Judging

    async def _judge(self, queue: Torrelque, admin: Any) -> None:
        journals = Journals((self._where / 'journals').iterdir())
        for trouble in journals.troubles:
            self._fault(f'a worker: {trouble}', 7)
        for twice in journals.twice:
            self._fault(f'handed out twice: {twice}', 4)
        for flow_id, sent in self._sent.items():
            try:
                state = await queue.get_task_state(flow_id)
            except TorrelqueLookupError:
                if sent.is_sure:
                    self._fault(f'flow {flow_id} was enqueued, and nothing is known of it', 5)
                continue
            outcomes = [outcome async for outcome in queue.get_outcomes(flow_id)]
            self.found += Ended(sent, state, outcomes, journals).check()
            self.counts['flows'] += 1
            self.counts[f'flows {state.status.name.lower()}'] += 1
            self.counts['tasks'] += len(outcomes)
        for task_id, others in self._behind:
            for other in others:
                if journals.claims.get(task_id) and not journals.claims.get(other):
                    self._fault(f'{task_id} has begun before {other}')
                if not journals.begins_behind(task_id, other):
                    self._fault(f'{task_id} was handed out before {other} was for the last time')
        for task_id, spec in self._turned.items():
            state = await queue.get_task_state(task_id)
            if state.status is not Status.COMPLETED or state.result != value_of('splits', [spec]):
                self._fault(f'{task_id}, which becomes a flow, is {state}')
        self.counts += journals.counts
        self.counts['told'] = sum(len(sent.told) for sent in self._sent.values())
        seen = read_dump(await admin.eval(DUMP, 0, PREFIX))
        self.found += check_keys(seen)
        if rest := seen.names - {'task', 'done', 'values', 'claim', *LASTING}:
            self._fault(f'left when all is over: {sorted(rest)}', 2)
        for key in await admin.keys(f'{PREFIX}*'):
            if await admin.pttl(key) < 0 and key.decode().removeprefix(PREFIX) not in LASTING:
                self._fault(f'{key} has no end', 2)


async def run_seed(kind: str, seed: int, seconds: float, keep: Path) -> Round:
    """One seed on a server of its own; what it has written down stays where it has found something."""
    where = make_home('flows', seed, keep)
    async with open_place(kind) as place:
        found = Round(place, seed, seconds, where)
        await found.run()
    close_home(where, found.found)
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--seeds', type=int, default=10)
    parser.add_argument('--first', type=int, default=1, help='the first seed')
    parser.add_argument('--seconds', type=float, default=5.0, help='of faults, for each seed')
    parser.add_argument('--until', type=float, help='s after which no further seed begins')
    parser.add_argument('--server', default='valkey9', help='a kind, or some by turns: valkey9,redis6')
    parser.add_argument('--keep', type=Path, default=Path(tempfile.gettempdir()), help='where histories are kept')
    return parser.parse_args(arguments)


async def run_seeds(options: argparse.Namespace) -> tuple[Counter[str], int]:
    """Seed after seed."""
    counts: Counter[str] = Counter()
    faults, kinds = 0, options.server.split(',')
    for seed in in_time(range(options.first, options.first + options.seeds), options.until):
        found = await run_seed(kinds[seed % len(kinds)], seed, options.seconds, options.keep)
        counts += found.counts + Counter(seeds=1)
        faults += len(found.found)
        said = {**found.counts, 'faults_found': len(found.found)}
        print(f'seed {seed} {kinds[seed % len(kinds)]} {json.dumps(said)}', flush=True)
    return counts, faults


def main(options: argparse.Namespace) -> int:
    """Run it, and print the figures."""
    # Ended from outside, it takes its processes along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logging.getLogger('torrelque').addHandler(logging.NullHandler())
    counts, faults = asyncio.run(run_seeds(options))
    print(json.dumps({**dict(sorted(counts.items())), 'faults_found': faults}))
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main(parse()))
