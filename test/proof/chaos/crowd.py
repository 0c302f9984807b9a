"""Everybody of a run in one process: producers, consumers, watchers, an operator; faults over, they judge liveness.

    python -m proof.chaos.crowd JSON

works until a line comes to its standard input, which says that the faults are over.  Then it takes out all that is in
the queue, for as long as anything goes on; after another line, which says that no other process consumes any more, it
probes how late a consumer gets what is due, and prints what it found as JSON.  Times are such that the machine ran.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proof.actors import LEASE, Actor, Work
from proof.chaos.workload import begin_process, make_peer, make_watchman, make_worker, read_input
from proof.history import Recorder, now
from proof.invariants import check_lateness
from proof.peers import FAILURES, PLAIN, Kind, Peer, connect
from proof.standstill import FAILING, STRANDED

if TYPE_CHECKING:
    from proof.chaos.workers import Worked

PRODUCERS = 4
CONSUMERS = 2
"""Queue objects that consume."""
LOOPS = 5
"""Loops of each of those."""
LATE = 1.0
"""s after which what is due, or whose lease has ended, must have come to a consumer who waits."""
ENOUGH = 30.0
"""s in which all watches and closings have come to an end, with the faults over and the queue empty."""


class Crowd:
    """Queue objects of one process, each with a client of its own, and who works with them."""

    def __init__(self, what: dict[str, Any]) -> None:
        self.recorder = Recorder(Path(what['history']), what['who'])
        self.is_ours = what.get('peer', 'ours') == 'ours'
        self._what = what
        self._clients: list[Any] = []
        self._peers: list[Peer] = []
        self._jobs = itertools.count(what['first'])
        self._over = False
        self._found: list[tuple[str, str]] = []
        self._followed: dict[int, Callable[[], None]] = {}
        # In a small pool they meet: then producers share a client, as the handlers of a server do.
        self._pool = what['address'].get('options', {}).get('max_connections', 0)
        self._actors = [
            self._new_actor(Work(**what['work']), shared=bool(self._pool) and 0 < place < PRODUCERS)
            for place in range(PRODUCERS + CONSUMERS - what.get('workers', 0))
        ]
        self._workers = [self._new_worker(number) for number in range(what.get('workers', 0))]
        self._watchman = make_watchman(what, [self.recorder, *(worker.recorder for worker in self._workers)])

    def _new_worker(self, number: int) -> Worked:
        """A worker, with a queue object and a client of its own."""
        self._clients.append(connect(self._what['address']))
        actor = make_worker(self._what, self._clients[-1], number)
        self._peers.append(actor.peer)
        actor.followed = self._followed
        return actor

    def _new_actor(self, work: Work, shared: bool = False) -> Actor:
        """Somebody with a queue object of their own, and a client of their own, or that of the one before."""
        if not shared:
            self._clients.append(connect(self._what['address']))
        self._peers.append(make_peer(self._what, self._clients[-1]))
        actor = Actor(self._peers[-1], self.recorder, hash((self._what['seed'], len(self._peers))), work)
        actor.followed = self._followed
        return actor

    async def work(self, calm: asyncio.Event) -> None:
        """Until it is calm; then all calls must come to their ends."""

        def until() -> bool:
            return self._over

        producers, consumers = self._actors[:PRODUCERS], self._actors[PRODUCERS:]
        calls = [actor.produce(self._jobs, until, f'p{place}') for place, actor in enumerate(producers)]
        calls += [actor.consume(until) for actor in consumers for _ in range(LOOPS)]
        calls += [self._work_to_the_end(worker, until) for worker in self._workers]
        calls += [actor.operate(until) for actor in (*consumers, *self._workers)[:1]]
        calls += [actor.occupy(until) for actor in producers[:1] * self._pool]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await calm.wait()
        self._over = True
        for actor in (*self._actors, *self._workers):
            actor.be_quick()
        self._watchman.start()
        late = await self._watchman.wait(tasks)
        for task in {*tasks} - late:
            if error := task.exception():
                self.recorder.trouble(7, f'an actor ended by {error!r}')
        if late and self._find_out() in (*FAILING, ''):
            await self._give_up(late, 'calls')
        await self._give_up(late, '')

    async def _work_to_the_end(self, worker: Worked, until: Callable[[], bool]) -> None:
        await worker.consume(until)
        await worker.empty()

    def _find_out(self) -> str:
        """What it is that keeps tasks in the queue; '' where it is empty."""
        verdict, why = self._watchman.verdict()
        if not self._watchman.samples[-1].left:
            return ''
        self._found.append((verdict, why))
        # From here on it is looked at anew.
        self._watchman.samples.clear()
        return verdict

    async def _give_up(self, tasks: set[asyncio.Future[Any]], what: str) -> None:
        if tasks and what:
            self.recorder.trouble(11 if what == 'watches' else 12, f'{len(tasks)} {what} did not end')
        for task in tasks:
            task.cancel()
        await self._watchman.pulse.wait(tasks, 5)

    async def settle_down(self, alone: asyncio.Event) -> dict[str, Any]:
        """Take out all that is there, and see how late things come when nobody else is there; end all watches."""
        actor, pulse, began = self._actors[-1], self._watchman.pulse, time.monotonic()
        left = await self._drain()
        took = time.monotonic() - began
        await alone.wait()
        # Whoever ended last may have given something back, and paused the queue.
        left = left or await self._drain()
        late = 0.0
        if not left:
            late = await self._probe()
            if late > LATE:
                late = min(late, await self._probe())  # The machine may have been away.
            actor.note(check_lateness('what was due, to a consumer who waits,', late, LATE))
            if self.is_ours:
                await self._probe_watch()
            left = await self._drain()
        watches = set().union(*(each.watching for each in (*self._actors, *self._workers)))
        await self._give_up(await pulse.wait(watches, ENOUGH), '' if left else 'watches')
        await self._watchman.stop()
        return {
            'left': left,
            'drained in': round(took, 2),
            'late': round(late, 3),
            'found': self._found,
            'longest': round(self._watchman.longest, 2),
        }

    async def _drain(self) -> int:
        """Have several take out all that is there; how many are left when it makes no sense to go on."""
        looking = asyncio.ensure_future(self._look_until_empty())
        drains = [asyncio.ensure_future(actor.finish(looking.done)) for actor in self._actors]
        if self.is_ours:
            late = await self._watchman.wait([looking])
        else:
            late = await self._watchman.pulse.wait([looking], ENOUGH)
        await self._give_up(late, '')
        await self._give_up(await self._watchman.pulse.wait(drains, ENOUGH), 'calls')
        if not late:
            return 0
        left = await self._actors[-1].peer.left()
        if left and not self._find_out():
            self._found.append((STRANDED, f'{left} are left'))
        return left

    async def _look_until_empty(self) -> None:
        actor = self._actors[-1]
        while True:
            try:
                # A worker that has ended may have paused the queue, and nobody else looks whether the probes succeed.
                await actor.peer.resume()
                await actor.redrive()
                if not await actor.peer.left():
                    return
            except FAILURES:
                pass
            await asyncio.sleep(0.1)

    async def _probe(self) -> float:
        """How late (s) a consumer who waits gets a task: a new one, one that is due, one whose lease has ended."""
        # A new consumer, whose waiting at the bell begins now.
        producer, consumer, pulse = self._actors[0], self._new_actor(Work(odd=0)), self._watchman.pulse
        stolen = pulse.stolen
        forgotten, delayed = next(self._jobs), next(self._jobs)
        try:
            waiting = asyncio.ensure_future(consumer.take(1, 10))
            await asyncio.sleep(0.1)
            await producer.enqueue([forgotten], None, PLAIN, 'probe')
            enqueued = now()
            batches = await waiting
            if (late := (now() - enqueued) / 1000 - (pulse.stolen - stolen)) > LATE:
                for batch in batches:
                    await consumer.settle('release', batch)
                return late
            due = {taken.job: (taken.claimed or now()) + LEASE * 1000 for batch in batches for taken, _ in batch}
            await producer.enqueue([delayed], None, Kind(delay=0.3), 'probe')
            due[delayed] = now() + 300
            return await self._wait_for(due, consumer) - (pulse.stolen - stolen)
        except FAILURES as exc:
            self.recorder.trouble(10, f'a call failed with the faults over: {exc!r}')
            return 0.0

    async def _probe_watch(self) -> None:
        """Whether a watch tells in time that a task was handed out, and that it is over."""
        producer, consumer, job = self._actors[0], self._new_actor(Work(odd=0)), next(self._jobs)
        pulse = self._watchman.pulse
        try:
            ids = await producer.enqueue([job], None, PLAIN, 'probe')
            watch = producer.peer.watch(ids[0], ENOUGH)
            states = [await watch.__anext__()]
            batches = await consumer.take(1, 10)
            states.append(await pulse.wait_for(watch.__anext__(), 2 * LATE))
            for batch in batches:
                await consumer.settle('release', batch)
            async for state in watch:
                states.append(state)
        except (*FAILURES, StopAsyncIteration) as exc:
            self.recorder.trouble(11, f'a watch failed with the faults over: {exc!r}')
            return
        if [status for status, *_ in states[:2]] != [0, 1]:
            self.recorder.trouble(11, f'a watch with the faults over: {states}')

    async def _wait_for(self, due: dict[int, float], consumer: Actor) -> float:
        late = 0.0
        pulse = self._watchman.pulse
        end = pulse.time() + 10
        while due and pulse.time() < end:
            for batch in await consumer.take(1, 5):
                for taken, _ in batch:
                    at = taken.claimed or now()
                    late = max(late, (at - due.pop(taken.job, at)) / 1000)
                await consumer.settle('release', batch)
        if due:
            self.recorder.trouble(10, f'{len(due)} of the tasks that were due did not come at all')
        return late

    async def aclose(self) -> None:
        """Close everything, in time."""
        closings = [asyncio.ensure_future(peer.aclose()) for peer in self._peers]
        await self._give_up(await self._watchman.pulse.wait(closings, ENOUGH), 'closings')
        for client in self._clients:
            await client.aclose()


async def run(what: dict[str, Any]) -> None:
    """A crowd from its beginning to its end."""
    crowd = Crowd(what)
    begin_process(what, crowd.recorder)
    loop = asyncio.get_running_loop()
    if crowd.is_ours:
        loop.set_exception_handler(lambda _, context: crowd.recorder.trouble(7, f'unheard of: {context}'))
    calm, alone = asyncio.Event(), asyncio.Event()
    reader = await read_input()

    async def listen() -> None:
        for event in (calm, alone):
            if not await reader.readline():
                os._exit(1)  # Whoever has started this is no more.
            event.set()

    listener = asyncio.ensure_future(listen())
    print('ready', flush=True)
    await crowd.work(calm)
    found = await crowd.settle_down(alone)
    await listener
    await crowd.aclose()
    gc.collect()
    print(json.dumps(found), flush=True)


if __name__ == '__main__':
    asyncio.run(run(json.loads(sys.argv[1])))
