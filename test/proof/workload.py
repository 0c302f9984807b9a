"""Producers, consumers and an operator who write down all that they do; as tasks of one process, or as processes.

    python test/proof/workload.py JSON

runs one actor of the kind, the address, the queue, the history file and the seed that the JSON tells, until its
standard input is closed or it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import json
import logging
import random
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

# Where it is run as a script, the checks of keys are found behind it.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from history import Recorder, now
from invariants import Fault, check_deadline
from peers import FAILURES, PLAIN, Kind, Ours, Peer, Taken, connect

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
            if ids and self.chance.random() < self.work.odd / 20:
                await self.cancel(some[0], ids[0])
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
            own_id=chance.random() < 0.4,
            size=chance.randint(100, 200 + 60_000 // count) if chance.random() < 0.3 else 0,
            in_transaction=chance.random() < 0.15,
        )

    async def enqueue(self, some: Sequence[int], group: str | None, kind: Kind, by: str) -> list[str]:
        """Enqueue jobs; their ids, or none where nobody knows.  What has an id of its own is tried again."""
        once_more = kind.own_id and len(some) == 1 and not kind.in_transaction
        while True:
            key = self.recorder.begin('enqueue', some, group=group, by=by, delay=kind.delay)
            try:
                ids = await self.attempt(self.peer.enqueue(some, group=group, lease=LEASE, kind=kind))
            except Exception as exc:
                duplicate = type(exc).__name__ == 'TorrelqueDuplicateError'
                answers = self.peer.judge(exc, len(some))
                await self.failed(key, exc, answers, duplicate=duplicate)
                if not once_more or None not in answers:
                    return []
                once_more = False
                continue
            self.recorder.end(key, [True] * len(some))
            if self.chance.random() < self.work.watch:
                task = asyncio.ensure_future(self.observe(some[0], ids[0], self.chance.choice([None, 0.5, 3.0])))
                self.watching.add(task)
                task.add_done_callback(self.watching.discard)
            return ids

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

    async def observe(self, job: int, task_id: str, timeout: float | None) -> None:
        """Follow a task to its end, or until one has seen enough."""
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
        try:
            self.recorder.end(key, [await self.attempt(self.peer.cancel(task_id))])
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
        return self.recorder.handed(
            taken.job, attempt=taken.attempt, earliest=earliest, latest=latest, lease=LEASE * 1000
        )

    async def treat(self, items: Sequence[tuple[Taken, str]]) -> None:
        """Do something with what was handed out at once."""
        chance = self.chance.random() / (self.work.odd or 1e-9) if len(items) == 1 else 1
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
            # Who gave it back asks for more, and must be told.
        elif chance < 0.8:
            await self.settle('bury', items)
            return
        await self.settle('release', items)

    async def settle(self, verb: str, items: Sequence[tuple[Taken, str]], delay: float | None = None) -> None:
        key = self.recorder.begin(verb, [taken.job for taken, _ in items], hands=[hand for _, hand in items])
        try:
            call = self.peer.settle(verb, [taken.task_id for taken, _ in items], delay)
            self.recorder.end(key, await self.attempt(call))
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

    async def failed(
        self, key: str | None, exc: BaseException, answers: Sequence[bool | None] | None = None, **info: Any
    ) -> None:
        """A call raised: its outcome is unknown, unless it told something."""
        if key is not None:
            self.recorder.end(key, answers, **info)
        if type(exc).__name__ == 'MaxConnectionsError':
            self.recorder.note('pool exhausted')
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


class Child:
    """An actor in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, script: str = __file__, python: str = sys.executable, **what: Any) -> Child:
        """Start it: kind, address, queue, history, seed; see `_run`."""
        pipe = asyncio.subprocess.PIPE
        stdout = None if script == __file__ else pipe
        return cls(await asyncio.create_subprocess_exec(python, script, json.dumps(what), stdin=pipe, stdout=stdout))

    async def stop(self) -> int:
        """Let it come to its end; its exit status."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return await self.process.wait()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Reporter(logging.Handler):
    """Writes down of which tasks the log says that they are damaged."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        """Reports name the task first."""
        if str(record.msg).startswith('task %r ') and isinstance(record.args, tuple):
            self._recorder.report(str(record.args[0]))


def begin_process(what: dict[str, Any], recorder: Recorder) -> None:
    """What a process does first: write down what is reported, and have a clock that may be wrong."""
    logger = logging.getLogger('torrelque')
    logger.addHandler(Reporter(recorder))
    logger.propagate = False
    logging.getLogger('asyncio').addHandler(logging.NullHandler())
    logging.getLogger('asyncio').propagate = False
    if skew := what.get('skew'):
        time.time = _skewed(skew)


def make_peer(what: dict[str, Any], client: Any) -> Peer:
    """The queue of a process."""
    if what.get('peer', 'ours') == 'ours':
        return Ours(client, what['queue'])
    peer: Peer = importlib.import_module(what['peer']).Reference(client, what['queue'])
    return peer


async def read_input() -> asyncio.StreamReader:
    """Standard input, without waiting for it."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _run(what: dict[str, Any]) -> int:
    recorder = Recorder(Path(what['history']), what['who'])
    begin_process(what, recorder)
    client = connect(what['address'])
    stopped = asyncio.Event()
    reader = await read_input()

    async def listen() -> None:
        await reader.read()
        stopped.set()
        actor.be_quick()

    actor = Actor(make_peer(what, client), recorder, what['seed'], Work(**what.get('work', {})))
    listener = asyncio.ensure_future(listen())
    if what['kind'] == 'consumer':
        calls = [actor.consume(stopped.is_set) for _ in range(what.get('loops', 5))]
    else:
        calls = [actor.produce(itertools.count(what['first']), stopped.is_set, what['who'])]
    await asyncio.gather(*calls)
    await listener
    await actor.peer.aclose()
    await client.aclose()
    for trouble in actor.troubles:
        print(f'{what["who"]}: {trouble!r}', file=sys.stderr)
    return 1 if actor.troubles else 0


def _skewed(seconds: float) -> Callable[[], float]:
    right = time.time
    return lambda: right() + seconds


if __name__ == '__main__':
    sys.exit(asyncio.run(_run(json.loads(sys.argv[1]))))
