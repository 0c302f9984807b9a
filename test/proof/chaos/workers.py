"""Consumers that are workers: `torrelque.worker.Worker` on a queue that writes down what the worker asks of it.

What a history cannot show is judged here, on the spot: that a task is settled after its handler and not before, that
none is dropped, that no more handlers run than may, that one whose lease is lost does not go on, that a worker ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from proof.actors import GROUPS, LEASE, Actor, Work
from proof.chaos.workload import Listener
from proof.history import Recorder
from proof.invariants import check_deadline
from proof.peers import FAILURES, Ours, Taken, is_whole
from proof.pulse import Pulse
from torrelque import Duration, Torrelque, TorrelqueTaskId
from torrelque.worker import Backoff, Breaker, Delivery, Job, Reject, Retry, Worker

GOING_ON = 1.0
"""s after the end of a lease by which its handler is cancelled."""
AWAY = 0.2
"""s without a turn of the event loop after which the process may have been stopped."""
UNWILLING = 10.0
"""s that a worker takes for its end at the most, after its ``shutdown_timeout``; the machine's slack comes besides."""
QUICK = Backoff(base=0.05, cap=0.3)

BREAKER = Breaker(failures=2, pause=0.2, per='group')

T = TypeVar('T')


class Boom(Exception):  # noqa: N818 - not an error
    """What a handler raises that fails."""


class Life:
    """Of one worker."""

    def __init__(self, concurrency: int, pulse: Pulse) -> None:
        self.concurrency = concurrency
        self.pulse = pulse
        self.running = 0
        self.away = 0.0
        """The longest time (s) that the process did not run."""
        self.pausing = 0
        """Pauses of a breaker that were not answered yet."""
        self.has_paused_in_vain = False
        """Whether one of them was never answered, so that nobody went on with the task whose failure had led to it."""
        self.held: list[Held] = []


class Held:
    """A delivery, as the rig knows it."""

    def __init__(self, job: int, hand: str, life: Life) -> None:
        self.job = job
        self.hand = hand
        self.life = life
        self.since = time.monotonic()
        self.stolen = life.pulse.stolen
        """From when on its lease was certainly renewed for the last time (s); by then, so much had been stolen."""
        self.renewing = False
        """Whether somebody has begun to renew it."""
        self.running = False
        self.finished = False
        """Whether its handler has returned."""
        self.asked = False
        """Whether its state was asked for, which is what a worker does before it settles what has failed."""
        self.settled = False
        """Whether somebody has begun to settle it."""


class Told(Torrelque):
    """A queue object that writes down what is asked of it, as an actor does of itself."""

    by: Worked

    async def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        found = await super().dequeue_many(max_tasks, timeout)
        for task_id, task in found:
            self.by.hold(task_id, task)
        return found

    async def release(self, task_id: str, **options: Any) -> Any:
        self.by.check_finished(task_id)
        return await self._settle_told('release', task_id, super().release(task_id, **options))

    async def release_many(self, task_ids: Iterable[str], **options: Any) -> list[bool]:
        some = [*task_ids]
        for task_id in some:
            self.by.check_finished(task_id)
            self.by.check_ended('release', task_id)
        return await self.by.tell('release', some, super().release_many(some, **options))

    async def requeue(self, task_id: str, delay: Duration | None = None, **options: Any) -> Any:
        call = super().requeue(task_id, delay, **options)
        return await self._settle_told('requeue', task_id, call, delay=delay)

    async def bury(self, task_id: str, *, error: str | None = None, tell_after: Duration | None = None) -> bool:
        return await self._settle_told('bury', task_id, super().bury(task_id, error=error, tell_after=tell_after))

    async def touch(self, task_id: str, **options: Any) -> bool:
        return (await self._touch_told([task_id], _listed(super().touch(task_id, **options))))[0]

    async def touch_many(self, task_ids: Iterable[str], **options: Any) -> list[bool]:
        some = [*task_ids]
        return await self._touch_told(some, super().touch_many(some, **options))

    async def pause(self, group: str | None = None, **options: Any) -> None:
        self.by.recorder.note('paused by a breaker')
        with self.by.pausing():
            await super().pause(group, **options)

    async def get_task_state(self, task_id: str) -> Any:
        if held := self.by.held_of(task_id):
            held.asked = True
        return await super().get_task_state(task_id)

    async def _settle_told(
        self, verb: str, task_id: str, call: Coroutine[Any, Any, bool], **info: Any
    ) -> bool:
        self.by.check_ended(verb, task_id)
        return (await self.by.tell(verb, [task_id], _listed(call), **info))[0]

    async def _touch_told(self, task_ids: Sequence[str], call: Coroutine[Any, Any, list[bool]]) -> list[bool]:
        began, stolen = time.monotonic(), self.by.pulse.stolen
        for task_id in task_ids:
            if held := self.by.held_of(task_id):
                held.renewing = True
        answers = await self.by.tell('touch', task_ids, call)
        for task_id, is_done in zip(task_ids, answers, strict=True):
            if is_done and (held := self.by.held_of(task_id)):
                held.since, held.stolen = began, stolen
        return answers


async def _listed(call: Awaitable[T]) -> list[T]:
    return [await call]


class Worked(Actor):
    """A consumer that is one worker after the other."""

    def __init__(self, client: Any, name: str, path: Path, who: str, seed: int, work: Work) -> None:
        queue = Told(client, queue=name)
        queue.by = self
        queue.result_ttl = 5
        super().__init__(Ours(client, name, queue), Recorder(path, who), seed, work)
        logging.getLogger('torrelque.worker').addHandler(Listener(self.recorder))
        self.queues: Sequence[Torrelque] = [queue]
        self._held: dict[tuple[str, str], Held] = {}
        self._last: dict[str, Held] = {}
        self._unanswered: set[tuple[str, str]] = set()
        """Verb and hand-out of calls whose outcome nobody was told."""
        self._lock = threading.Lock()
        # The line to the server is in the process that has started this one.
        self.pulse = Pulse([os.getppid()])
        self._life = Life(0, self.pulse)
        self._looked = time.monotonic()
        self._plain = Job(self._wrap(self._do), 'do')
        self._jobs = self._make_jobs()

    # What is written down

    def hold(self, task_id: TorrelqueTaskId, task: Any) -> None:
        """A task was handed out."""
        attempt, _, claimed = task_id.token.partition('-')
        taken = Taken(task_id, task['job'], int(attempt), float(claimed), is_whole(task))
        held = Held(taken.job, self._handed(taken, 0, 0), self._life)
        self._life.held.append(held)
        self._held[str(task_id), task_id.token] = self._last[str(task_id)] = held

    @contextlib.contextmanager
    def pausing(self) -> Iterator[None]:
        """While a pause of the queue is on its way."""
        life = self._life
        life.pausing += 1
        try:
            yield
        except BaseException:
            life.has_paused_in_vain = True
            raise
        finally:
            life.pausing -= 1

    def held_of(self, task_id: str) -> Held | None:
        """What an id means; one without a token means the last delivery of its task."""
        token = getattr(task_id, 'token', None)
        return self._held.get((str(task_id), token)) if token else self._last.get(str(task_id))

    async def tell(
        self, verb: str, task_ids: Sequence[str], call: Awaitable[list[bool]], **info: Any
    ) -> list[bool]:
        """Await a call, and write down its beginning and its end."""
        found = [held for task_id in task_ids if (held := self.held_of(task_id))]
        assert len(found) == len(task_ids)
        key = self.recorder.begin(verb, [held.job for held in found], hands=[held.hand for held in found], **info)
        before = self.peer.losses()
        answers: list[bool] | None = None
        try:
            answers = await call
        finally:
            # One that raised, or was cancelled, may have been carried out; made again, it goes as a repetition of that.
            asked = {(verb, held.hand) for held in found}
            self.recorder.end(key, answers, again=self.is_repeated(before) or bool(asked & self._unanswered))
            if answers is None:
                self._unanswered |= asked
        for held in found:
            self._follow(held.job)
        return answers

    # What a worker must not do

    def check_finished(self, task_id: str) -> None:
        """What is released was handled."""
        held = self.held_of(task_id)
        if held is None or not held.finished:
            self.recorder.trouble(5, f'a worker releases {task_id!s}, whose handler has not returned')

    def check_ended(self, verb: str, task_id: str) -> None:
        """What is settled is not being handled any more; only a thread goes on, because nobody can end it."""
        held = self.held_of(task_id)
        if held is None:
            self.recorder.trouble(3, f'a worker asks for {verb} of {task_id!s}, which it was not given')
            raise KeyError(task_id)
        if not getattr(task_id, 'token', ''):
            self.recorder.trouble(3, f'a worker asks for {verb} of {task_id!s} as somebody who does not hold it')
        if held.running:
            self.recorder.trouble(4, f'a worker asks for {verb} of {task_id!s}, whose handler runs')
        held.settled = True

    def _begin(self, delivery: Delivery, is_async: bool) -> Held:
        held = self.held_of(delivery.id)
        assert held is not None
        # A thread may begin in the very moment in which its task is given back.
        if held.settled and is_async:
            self.recorder.trouble(4, f'the handler of {delivery.id!s} begins after the worker has settled it')
        held.running = is_async
        life = held.life
        with self._lock:
            life.running += 1
            if life.running > life.concurrency:
                self.recorder.trouble(9, f'{life.running} handlers run at once, and not {life.concurrency}')
        return held

    def _end(self, held: Held) -> None:
        with self._lock:
            held.life.running -= 1
        over = time.monotonic() - held.since - LEASE
        # It may have stood still until just now.
        away = max(held.life.away, time.monotonic() - self._looked, self.pulse.stolen - held.stolen)
        if held.running and over > GOING_ON + away:
            self.recorder.trouble(4, f'the handler of job {held.job} went on for {over:.1f} s after its lease')
        # When an attempt is over, nobody renews any more, though its thread goes on and the queue stands still.
        # Nor does anybody ask for its state before the pause is answered to which its failure has led.
        if not (held.renewing or held.asked or held.settled or held.life.pausing) and over > away:
            self.recorder.trouble(12, f'the handler of job {held.job} ran for all of its lease, and nobody renewed it')
        held.running = False

    async def _look_away(self) -> None:
        """Find out for how long the process did not run: then nobody could be cancelled."""
        while True:
            self._looked = time.monotonic()
            await asyncio.sleep(0.02)
            if (away := time.monotonic() - self._looked) > AWAY:
                self._life.away = max(self._life.away, away)

    # Handlers

    def _make_jobs(self) -> list[tuple[float, Job]]:
        """Each with how often it is done, of those that are not done at once."""
        common: dict[str, Any] = {'retry': QUICK, 'max_attempts': 5}
        return [
            (0.3, Job(self._wrap(self._fail), 'fail', **common)),
            (0.15, Job(self._wrap_sync(self._block), 'block', **common)),
            (0.1, Job(self._wrap_sync(self._report), 'report', **common)),
            (0.1, Job(self._wrap(self._retry), 'retry', **common)),
            (0.1, Job(self._wrap(self._touch), 'touch', **common)),
            (0.05, Job(self._wrap(self._long), 'late', timeout=LEASE / 4, **common)),
            (0.05, Job(self._wrap_sync(self._block_long), 'block late', timeout=LEASE / 4, **common)),
            (0.05, Job(self._wrap(self._reject), 'reject', **common)),
            (0.05, Job(self._wrap(self._long), 'long', **common)),
            (0.05, Job(self._wrap_sync(self._block_long), 'block long', **common)),
        ]

    async def prepare(self) -> None:
        """Nothing is needed before."""

    def find(self, delivery: Delivery) -> Job:
        """What is done with a task: mostly it is handled at once."""
        chance = self.chance.random()
        for share, job in self._jobs:
            chance -= share * self.work.odd
            if chance < 0:
                return job
        return self._plain

    def _wrap(self, handler: Callable[[Delivery], Awaitable[Any]]) -> Callable[[Delivery], Awaitable[Any]]:
        async def handle(delivery: Delivery) -> Any:
            held = self._begin(delivery, True)
            try:
                result = await handler(delivery)
                held.finished = True
                return result
            finally:
                self._end(held)

        return handle

    def _wrap_sync(self, handler: Callable[[Delivery], Any]) -> Callable[[Delivery], Any]:
        def handle(delivery: Delivery) -> Any:
            held = self._begin(delivery, False)
            try:
                result = handler(delivery)
                held.finished = True
                return result
            finally:
                self._end(held)

        return handle

    async def _do(self, delivery: Delivery) -> Any:
        await asyncio.sleep(self.chance.random() * 2 * self.work.work)
        return 'done' if delivery.task['job'] % 3 == 0 else None

    async def _long(self, delivery: Delivery) -> None:
        await asyncio.sleep(LEASE * (1.5 + 2 * self.chance.random()))

    async def _touch(self, delivery: Delivery) -> None:
        for progress in (1, 2):
            await asyncio.sleep(0.05)
            try:
                await delivery.touch(progress)
            except FAILURES as exc:
                raise Boom from exc

    async def _fail(self, delivery: Delivery) -> None:
        raise Boom

    async def _retry(self, delivery: Delivery) -> None:
        raise Retry(self.chance.choice([0, 0.05, None]))

    async def _reject(self, delivery: Delivery) -> None:
        raise Reject('by the workload')

    def _block(self, delivery: Delivery) -> str | None:
        time.sleep(2 * self.work.work)
        return 'done' if delivery.task['job'] % 3 == 0 else None

    def _block_long(self, delivery: Delivery) -> None:
        time.sleep(LEASE * 1.3)

    def _report(self, delivery: Delivery) -> None:
        try:
            delivery.report('half')
        except FAILURES as exc:
            raise Boom from exc

    # Lives

    async def consume(self, until: Callable[[], bool]) -> None:
        """One worker after the other, each ended in some way."""
        self.pulse.start()
        looking = asyncio.ensure_future(self._look_away())
        try:
            while not until():
                await self._live(until)
        finally:
            looking.cancel()

    async def _live(self, until: Callable[[], bool]) -> None:
        chance = self.chance
        patience = chance.choice([0.0, 0.3, 30.0])
        life = self._life = Life(chance.choice([1, 20, 50, 100]), self.pulse)
        worker = Worker(
            self, concurrency=life.concurrency, shutdown_timeout=patience, burst=chance.random() < 0.2, signals=False,
            rate=(100, 0.5) if chance.random() < 0.1 else None, breaker=chance.choice([None, None, BREAKER]),
        )  # fmt: skip
        running = asyncio.ensure_future(worker.run())
        end = time.monotonic() + chance.choice([0.3, 2.0, 5.0])
        while not (running.done() or until() or time.monotonic() > end):
            await asyncio.sleep(0.03)
        began = time.monotonic()
        how = 'burst' if running.done() else 'stop' if until() else chance.choice(['stop', 'stop twice', 'cancel'])
        if how == 'cancel':
            running.cancel()
        elif how != 'burst':
            worker.stop()
        if how == 'stop twice':
            await asyncio.sleep(chance.random() / 10)
            worker.stop()
        await asyncio.wait([running])
        self.note(check_deadline('the end of a worker', time.monotonic() - began, patience + UNWILLING))
        self.recorder.note(f'worker ended by {how}')
        await self._look_at_end(life, running)

    async def empty(self) -> None:
        """Faults over: handle all that is there, and come to an end."""
        life = self._life = Life(50, self.pulse)
        for group in (None, *GROUPS):
            await self.queues[0].resume(group)
        running = asyncio.ensure_future(Worker(self, concurrency=50, burst=True, signals=False).run())
        try:
            await asyncio.wait([running])
        finally:
            running.cancel()
        await self._look_at_end(life, running)

    async def _look_at_end(self, life: Life, running: asyncio.Future[None]) -> None:
        if not running.cancelled() and (error := running.exception()):
            await self.failed(None, error)
        for held in life.held:
            # It may have been asked for in vain: the task is gone, or the server away.
            if not (held.settled or held.asked or life.has_paused_in_vain and not held.finished):
                self.recorder.trouble(5, f'a worker took job {held.job}, and did nothing with it')
            if held.running:
                self.recorder.trouble(4, f'the handler of job {held.job} goes on when the worker has ended')
