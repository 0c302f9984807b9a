"""Producers, consumers, watchers and an operator, who write down all that they do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from proof.history import Recorder, now
from proof.invariants import Fault, check_deadline
from proof.peers import FAILURES, PLAIN, Kind, Peer, Taken, is_exhausted

GROUPS = {'one': 1, 'two': 2, 'any': 0}
"""Groups of the workload and their limits; 0 is none."""
LEASE = 1.0
"""Length of a lease (s)."""
FINAL = (3, 4, 6)
"""Statuses after which nothing comes."""

T = TypeVar('T')


class CancelledCallError(Exception):
    """A call was cancelled by the actor; whether it was carried out is unknown."""


class Work(NamedTuple):
    """What an actor does, and how often."""

    bulk: int = 1
    """Tasks of a call at the most."""
    pause: float = 0.0
    """s between the calls of a producer, on average."""
    work: float = 0.005
    """s that a task takes, on average."""
    odd: float = 0.3
    """How often a consumer does something else than to release in time."""
    rich: float = 0.0
    """How often tasks are not of the plainest kind."""
    cancels: float = 0.0
    """How often a call is cancelled."""
    watch: float = 0.0
    """How often a task is watched."""
    room: int = 0
    """How many tasks may be in the queue before a producer waits; 0 is any number."""


class Actor:
    """Somebody with a queue of its own, a recorder and a source of chance."""

    def __init__(self, peer: Peer, recorder: Recorder, seed: int, work: Work = Work()) -> None:  # noqa: B008
        self.peer = peer
        self.recorder = recorder
        self.chance = random.Random(seed)
        self.work = work
        self.troubles: list[BaseException] = []
        """What was raised that must not be."""
        self.watching: set[asyncio.Task[None]] = set()
        self.followed: dict[int, Callable[[], None]] = {}
        """How one more begins to watch a job that is watched, by whoever does; `Crowd` gives all the same one."""

    async def produce(self, jobs: Iterator[int], until: Callable[[], bool], by: str) -> None:
        """Enqueue job after job; one producer's in their order."""
        while not until():
            if self.work.room and self.chance.random() < 0.05 and await self.is_full():
                await asyncio.sleep(0.3)
                continue
            group = self.chance.choice([None, None, *GROUPS])
            count = 1 if self.chance.random() < 0.7 else self.chance.randint(1, self.work.bulk)
            if group is not None and GROUPS[group]:
                count = min(count, 8)  # They go one by one, and would still do so when all else is done.
            some = [*itertools.islice(jobs, count)]
            if not some:
                return
            kind = self._draw_kind(group, count) if self.chance.random() < self.work.rich else PLAIN
            ids = await self.enqueue(some, group, kind, f'{by}:{group}')
            if ids and self.chance.random() < self.work.odd / 5:
                place = self.chance.randrange(len(ids))
                await self.cancel(some[place], ids[place])
            if self.work.pause:
                await asyncio.sleep(self.chance.expovariate(1 / self.work.pause))

    async def is_full(self) -> bool:
        try:
            return await self.peer.left() > self.work.room
        except FAILURES:
            return False

    def _draw_kind(self, group: str | None, count: int) -> Kind:
        chance = self.chance
        return Kind(
            delay=chance.choice([0.05, 0.3, 1.0]) if chance.random() < 0.2 else None,
            max_attempts=chance.randint(1, 3) if chance.random() < 0.3 else None,
            priority=chance.randint(-3, 3) if group is None and chance.random() < 0.3 else 0,
            own_id=chance.random() < 0.4 and self.peer.has_own_ids,
            size=chance.randint(100, 200 + 60_000 // count) if chance.random() < 0.3 else 0,
            in_transaction=chance.random() < 0.15,
        )

    async def enqueue(self, some: Sequence[int], group: str | None, kind: Kind, by: str) -> list[str]:
        """Enqueue jobs; their ids, or none where nobody knows.  What has an id of its own is tried again, also for no
        reason: then it must be refused, unless it was finished meanwhile."""
        once_more = kind.own_id and len(some) == 1 and not kind.in_transaction
        while True:
            key = self.recorder.begin('enqueue', some, group=group, by=by, delay=kind.delay, most=kind.max_attempts)
            before = self.peer.losses()
            try:
                ids = await self.attempt(self.peer.enqueue(some, group=group, lease=LEASE, kind=kind))
            except Exception as exc:
                duplicate = type(exc).__name__ == 'TorrelqueDuplicateError'
                again = self.is_repeated(before) or kind.in_transaction
                answers = self.peer.judge(exc, len(some), again)
                await self.failed(key, exc, answers, is_pooled=kind.in_transaction, duplicate=duplicate, again=again)
                if not once_more or None not in answers:
                    return []
                once_more = False
                continue
            # A transaction is repeated by the client library.
            self.recorder.end(key, [True] * len(some), again=self.is_repeated(before) or kind.in_transaction)
            if once_more and self.chance.random() < 0.3:
                once_more = False
                await asyncio.sleep(self.chance.choice([0, 0.02, 0.3]))
                continue
            if self.chance.random() < self.work.watch:
                for _ in range(self.chance.choice([1, 1, 3])):
                    # Of some the beginning is missed, or all.
                    self.start_watching(some[-1], ids[-1], self.chance.choice([0, 0, 0.05, 0.3, 1.2]))
                self.followed[some[-1]] = functools.partial(self.start_watching, some[-1], ids[-1])
            return ids

    def start_watching(self, job: int, task_id: str, pause: float = 0) -> None:
        task = asyncio.ensure_future(self.observe(job, task_id, self.chance.choice([None, 0.5, 3.0]), pause))
        self.watching.add(task)
        task.add_done_callback(self.watching.discard)

    def is_repeated(self, before: int | None) -> bool:
        """Whether what was called when there were so many losses may have been sent again."""
        return before is None or self.peer.losses() != before

    async def attempt(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call, and sometimes cancel it, at any moment."""
        if self.chance.random() >= self.work.cancels:
            return await call
        task = asyncio.ensure_future(call)
        if self.chance.random() < 0.5:
            for _ in range(self.chance.randint(0, 6)):
                await asyncio.sleep(0)
        else:
            await asyncio.wait([task], timeout=self.chance.expovariate(1 / 0.03))
        task.cancel()
        began = time.monotonic()
        try:
            return await task
        except asyncio.CancelledError:
            self.recorder.note('call cancelled')
            raise CancelledCallError from None
        finally:
            self.note(check_deadline('a cancelled call', time.monotonic() - began, 1))

    def note(self, faults: Iterable[Fault]) -> None:
        """Write down what must not be."""
        for fault in faults:
            self.recorder.trouble(fault.invariant, fault.text)

    async def observe(self, job: int, task_id: str, timeout: float | None, pause: float = 0) -> None:
        """Follow a task to its end, or until one has seen enough."""
        await asyncio.sleep(pause)
        began, since = now(), time.monotonic()
        states: list[tuple[int, int, int]] = []
        enough = self.chance.choice([0, 1, 2, 1000, 1000])
        end = 'left'
        try:
            if not enough:
                states.append(await self.peer.wait(task_id, timeout))
                self.recorder.note('waits')
                end = 'final'
                return
            async with contextlib.aclosing(self.peer.watch(task_id, timeout)) as watch:  # type: ignore[type-var]
                async for state in watch:
                    states.append(state)
                    if len(states) == enough:
                        break
                else:
                    end = 'final' if states and states[-1][0] in FINAL else 'gone'
        except Exception as exc:
            end = {'TorrelqueLookupError': 'unknown', 'TorrelqueTimeoutError': 'late'}.get(type(exc).__name__, 'failed')
            if not isinstance(exc, FAILURES):
                self.raised(exc)
        finally:
            if timeout is not None:
                self.note(check_deadline('a watch', time.monotonic() - since, timeout + 0.7))
            self.recorder.watched(job, began, states, end)

    async def cancel(self, job: int, task_id: str) -> None:
        key = self.recorder.begin('cancel', [job])
        before = self.peer.losses()
        try:
            answer = await self.attempt(self.peer.cancel(task_id))
            self.recorder.end(key, [answer], again=self.is_repeated(before))
        except Exception as exc:
            await self.failed(key, exc)

    async def consume(self, until: Callable[[], bool]) -> None:
        """Take tasks and do something with them."""
        while not until():
            count = 1 if self.work.bulk == 1 or self.chance.random() < 0.5 else self.work.bulk
            for batch in await self.take(count):
                await self.treat(batch)

    async def take(self, count: int, timeout: float = 0.5) -> list[list[tuple[Taken, str]]]:
        """Tasks with the keys of their hand-outs; those to be released at once together, the others one by one."""
        began, since = now(), time.monotonic()
        try:
            found = await self.attempt(self.peer.dequeue(count, timeout))
        except Exception as exc:
            await self.failed(None, exc)
            return []
        finally:
            self.note(check_deadline('dequeue', time.monotonic() - since, timeout + 1))
        ended = now()
        items = [(taken, self._handed(taken, began, ended)) for taken in found]
        if len(items) > 1 and self.chance.random() > self.work.odd:
            return [items]
        return [[item] for item in items]

    def _handed(self, taken: Taken, began: float, ended: float) -> str:
        if not taken.is_whole:
            self.recorder.trouble(8, f'the payload of job {taken.job} is not what was enqueued')
        earliest, latest = (began, ended) if taken.claimed is None else (taken.claimed, taken.claimed)
        hand = self.recorder.handed(
            taken.job, attempt=taken.attempt, earliest=earliest, latest=latest, lease=LEASE * 1000
        )
        self._follow(taken.job)
        return hand

    def _follow(self, job: int) -> None:
        """Something happened to a job: who begins to watch it now must be told so."""
        if job in self.followed:
            self.followed[job]()

    async def treat(self, items: Sequence[tuple[Taken, str]]) -> None:
        """Do something with what was handed out at once."""
        chance = self.chance.random() / (self.work.odd or 1e-9)
        if len(items) > 1 and chance >= 0.2:
            chance = 1  # Some at once can be released only, or forgotten, or kept for too long.
        await asyncio.sleep(self.chance.random() * 2 * self.work.work)
        if chance < 0.1:
            return  # It is forgotten, and comes back with the end of its lease.
        if chance < 0.2:
            await asyncio.sleep(LEASE * (0.5 + self.chance.random()))
        elif chance < 0.3:
            await self.settle('touch', items)
            await asyncio.sleep(LEASE * 0.7)
        elif chance < 0.7:
            await self.settle('requeue', items, self.chance.choice([None, None, 0.05, 0.3]))
            if chance < 0.6:
                return
            # Whoever gave it back asks for more, and must be told.
        elif chance < 0.8:
            await self.settle('bury', items)
            return
        await self.settle('release', items)

    async def settle(self, verb: str, items: Sequence[tuple[Taken, str]], delay: float | None = None) -> None:
        jobs, hands = [taken.job for taken, _ in items], [hand for _, hand in items]
        key = self.recorder.begin(verb, jobs, hands=hands, delay=delay)
        before = self.peer.losses()
        try:
            answers = await self.attempt(self.peer.settle(verb, [taken.task_id for taken, _ in items], delay))
            self.recorder.end(key, answers, again=self.is_repeated(before))
            for job in jobs:
                self._follow(job)
        except Exception as exc:
            await self.failed(key, exc)

    async def operate(self, until: Callable[[], bool]) -> None:
        """Redrive what was buried."""
        while not until():
            await asyncio.sleep(0.3)
            with contextlib.suppress(*FAILURES):
                await self.redrive()

    async def redrive(self) -> None:
        """Bring back what was buried; who is damaged is reported, and given up."""
        for task_id in await self.peer.redrive():
            self.recorder.report(task_id)

    async def occupy(self, until: Callable[[], bool]) -> None:
        """Use the pool of the queue's client for something else, half of the time."""
        while not until():
            try:
                await self.peer.occupy(0.02 + self.chance.random() / 3)
            except FAILURES as exc:
                if is_exhausted(exc):
                    self.recorder.note('pool exhausted')
            await asyncio.sleep(0.02 + self.chance.random() / 3)

    async def failed(
        self,
        key: str | None,
        exc: BaseException,
        answers: Sequence[bool | None] | None = None,
        *,
        is_pooled: bool = False,
        **info: Any,
    ) -> None:
        """A call raised: its outcome is unknown, unless it told something."""
        if key is not None:
            self.recorder.end(key, answers, **info)
        if is_exhausted(exc):
            self.recorder.note('pool exhausted, for a transaction' if is_pooled else 'pool exhausted')
            if not is_pooled:
                self.raised(exc)  # Nothing but transactions needs the pool.
        if not isinstance(exc, (*FAILURES, CancelledCallError)):
            self.raised(exc)
        await asyncio.sleep(0.02)

    def raised(self, exc: BaseException) -> None:
        """Something was raised that must not be."""
        self.troubles.append(exc)
        self.recorder.trouble(7, f'a call raised {exc!r}')

    def be_quick(self) -> None:
        """From now on release at once what was taken, and cancel nothing."""
        self.work = Work(bulk=self.work.bulk, work=0, odd=0)

    async def finish(self, until: Callable[[], bool]) -> None:
        """Faults over: take and finish what is there."""
        while not until():
            for batch in await self.take(100, 0.3):
                await self.treat(batch)

    async def drain(self, seconds: float) -> int:
        """Faults over: finish all that is there; how many tasks are left when the time is up."""
        end = time.monotonic() + seconds
        work, self.work = self.work, Work(bulk=100, work=0, odd=0)
        try:
            while time.monotonic() < end:
                for batch in await self.take(100, 0.1):
                    await self.treat(batch)
                try:
                    await self.redrive()
                    if not await self.peer.left():
                        return 0
                except FAILURES:
                    await asyncio.sleep(0.1)
            return await self.peer.left()
        finally:
            self.work = work
