"""What all adapters share: the commands of the runner, the payloads, and the one handler of every system's tasks.

The rule: this module and an adapter need nothing but the adapter's own package, because each runs in an environment of
its own.  Commands are lines of JSON on standard input; each is answered by a line of JSON on standard output, and what
the packages print goes to standard error.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

Payload = dict[str, Any]

WAIT = 60.0
"""s that handlers may take to see all the tasks of a command."""
CALLERS = 100
"""Coroutines, or threads, that enqueue at the same time."""


WAITING = 10
"""Consumers that wait for a task; for some, one alone is no common setting: it looks every half second."""


class MissingError(Exception):
    """The system has nothing of the kind."""


@dataclass(frozen=True)
class Setting:
    """How a system is to be opened."""

    url: str
    consumers: int = 1
    """Consumers that it is going to have."""
    lease: float | None = None
    """s after which a task of a dead consumer may be handed out again; None is the system's own default."""
    delays: bool = False
    """There will be delayed tasks."""

    @property
    def roomy(self) -> str:
        """The URL for redis-py's pools, which refuse the 101st connection by default."""
        return f'{self.url}?max_connections=2000'


class Handler:
    """Counts what is handled; thread-safe, because some systems handle in threads."""

    def __init__(self) -> None:
        self.deadly = False
        self._expect(0)

    def _expect(self, target: int) -> None:
        self.target = target
        self.count = itertools.count(1)
        self.done = asyncio.Event()
        self.revived = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.first = self.last = (0.0, 0.0)
        self.delays: list[float] = []

    def expect(self, target: int) -> None:
        """From now on the tasks count, and `done` is set when so many have been handled."""
        self._expect(target)
        self.loop = asyncio.get_running_loop()

    def meet_deadly(self) -> None:
        """The first consumer of this task dies; the next one says that it came again."""
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.revived.set)

    async def wait(self, timeout: float = WAIT) -> None:
        await asyncio.wait_for(self.done.wait(), timeout)

    def __call__(self, payload: Payload) -> None:
        """Every task of every system ends here."""
        if 'deadly' in payload:
            self.meet_deadly()
        number = next(self.count)
        if 'due' in payload:
            self.delays.append(time.perf_counter() - payload['due'])
        if number == 1:
            self.first = time.perf_counter(), time.process_time()
        if number == self.target:
            self.last = time.perf_counter(), time.process_time()
            assert self.loop is not None
            self.loop.call_soon_threadsafe(self.done.set)


handle = Handler()


async def noop(payload: Payload) -> None:
    """The task of the systems that take a coroutine function."""
    handle(payload)


def noop_sync(payload: Payload) -> None:
    """The task of the systems that take a function."""
    handle(payload)


class System:
    """A system under test; what it does not have it leaves as it is here."""

    threads = False
    """Its calls block, so many at a time need threads."""
    most = 1000
    """Consumers that it can have in a process, at the most."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Leave no connection and no thread behind."""

    def put(self, payload: Payload, delay: float = 0) -> None:
        """Enqueue, of a system that blocks."""
        raise MissingError('no blocking call')

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        self.put(payload, delay)

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        raise MissingError('no bulk enqueue')

    def consumers(self, count: int) -> AbstractAsyncContextManager[None]:
        """So many consumers, for as long as the context lasts."""
        raise MissingError('no consumer')

    async def drain(self, count: int, loops: int) -> None:
        """Take and acknowledge so many tasks by plain loops."""
        raise MissingError('no primitive')

    async def drain_bulk(self, count: int, bulk: int) -> None:
        """Take and acknowledge so many tasks, so many in one call."""
        raise MissingError('no bulk dequeue')

    async def floor(self, what: str, payloads: list[Payload]) -> None:
        """Of the floor alone."""
        raise MissingError('not the floor')


class Looped(System):
    """A version of torrelque, by plain loops on its primitive."""

    _queue: Any
    """Of the adapter's package, whichever it is."""

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        await self._queue.enqueue(payload, delay=delay or None)

    async def work(self) -> None:
        """Take one task, handle and acknowledge it."""
        task_id, payload = await self._queue.dequeue()
        handle(payload)
        await self._queue.release(task_id)

    async def drain(self, count: int, loops: int) -> None:
        left = count

        async def loop() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self.work()

        await asyncio.gather(*(loop() for _ in range(loops)))

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        async def loop() -> None:
            while True:
                await self.work()

        loops = [asyncio.create_task(loop()) for _ in range(count)]
        try:
            yield
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)


@asynccontextmanager
async def running(worker: Any, stop: Callable[[], Any] | None = None) -> AsyncIterator[None]:
    """A worker's coroutine in the background; it is stopped by ``stop``, or cancelled."""
    task = asyncio.ensure_future(worker)
    try:
        yield
    finally:
        if task.done() and not task.cancelled() and task.exception():
            traceback.print_exception(task.exception())
        stopping = stop() if stop else task.cancel()
        if asyncio.iscoroutine(stopping):
            await stopping
        for _ in range(3):  # some swallow a cancellation
            await asyncio.wait([task], timeout=3)
            task.cancel()


def payloads_of(size: int, count: int) -> list[Payload]:
    """Payloads that are about so many bytes long as JSON, all different."""
    rest = 'x' * max(0, size - len(json.dumps({'addr': 'user0000000@example.com', 'subj': ''})))
    return [{'addr': f'user{number:07}@example.com', 'subj': rest} for number in range(count)]


def chunks(payloads: list[Payload], size: int) -> Iterator[list[Payload]]:
    for start in range(0, len(payloads), size):
        yield payloads[start : start + size]


class Served:
    """The commands; each takes the fields of a line and returns the fields of the answer."""

    def __init__(self, make: Callable[[Setting], System]) -> None:
        self._make = make
        self._system: System | None = None

    @property
    def system(self) -> System:
        assert self._system is not None
        return self._system

    async def do_hello(self) -> dict[str, Any]:
        found = importlib.metadata.distributions()
        return {'versions': {item.metadata['Name'].lower(): item.version for item in found}, 'python': sys.version}

    async def do_open(self, **fields: Any) -> dict[str, Any]:
        await self.do_close()
        self._system = self._make(Setting(**fields))
        await self._system.open()
        return {}

    async def do_close(self) -> dict[str, Any]:
        system, self._system = self._system, None
        if system is not None:
            await system.close()
        return {}

    async def do_enqueue(self, way: str, count: int, size: int) -> dict[str, Any]:
        """Enqueue by `one` coroutine, by `many`, or in `bulk`."""
        payloads = payloads_of(size, count)
        began = time.perf_counter(), time.process_time()
        if way == 'bulk':
            await self.system.enqueue_many(payloads)
        elif way == 'one':
            for payload in payloads:
                await self.system.enqueue(payload)
        elif self.system.threads:
            _put_by_threads(self.system.put, payloads)
        else:
            await _by_coroutines(self.system.enqueue, payloads)
        return _spent(began, (time.perf_counter(), time.process_time()), count)

    async def do_floor(self, what: str, count: int, size: int) -> dict[str, Any]:
        payloads = payloads_of(size, count)
        began = time.perf_counter(), time.process_time()
        await self.system.floor(what, payloads)
        return _spent(began, (time.perf_counter(), time.process_time()), count)

    async def do_drain(self, count: int, loops: int, patience: float, bulk: int = 0) -> dict[str, Any]:
        """Drain by plain loops or in bulk, timed as a whole; else by a worker, from the first task to the last.

        A worker may take a second for a few tasks: when the patience is over, those that it handled are what counts.
        """
        handle.expect(count)
        began = time.perf_counter(), time.process_time()
        loops = min(loops, self.system.most)
        try:
            if bulk:
                await self.system.drain_bulk(count, bulk)
            else:
                await self.system.drain(count, loops)
            spent = _spent(began, (time.perf_counter(), time.process_time()), count)
        except MissingError:
            if bulk:
                raise
            async with self.system.consumers(loops):
                with suppress(asyncio.TimeoutError):
                    await handle.wait(patience)
                last = handle.last if handle.done.is_set() else (time.perf_counter(), time.process_time())
                handled = next(handle.count) - 1
            spent = _spent(handle.first, last, min(handled, count) - 1)
        return {**spent, 'consumers': loops}

    async def do_pickup(self, count: int, delay: float = 0) -> dict[str, Any]:
        """How long (s) after its time each task is handled: at once, or after a delay, with consumers that wait."""
        handle.expect(1)
        async with self.system.consumers(min(WAITING, self.system.most)):
            await self.system.enqueue({'addr': 'first'})
            await handle.wait()
            await asyncio.sleep(0.1)
            handle.expect(count)
            for _ in range(count):
                await asyncio.sleep(random.uniform(0.015, 0.025))
                await self.system.enqueue({'due': time.perf_counter() + delay}, delay)
            await handle.wait()
        return {'delays': handle.delays}

    async def do_die(self) -> dict[str, Any]:
        """Enqueue a task whose handler kills the process."""
        handle.expect(1)
        handle.deadly = True
        async with self.system.consumers(min(2, self.system.most)):
            await self.system.enqueue({'deadly': True})
            await handle.wait(20)
        return {}

    async def do_again(self, patience: float) -> dict[str, Any]:
        """Whether that task is handed out within so many seconds; others come meanwhile, as in a queue that is used."""
        handle.expect(0)
        began = time.perf_counter()
        async with self.system.consumers(min(2, self.system.most)):
            while not handle.revived.is_set() and time.perf_counter() - began < patience:
                await self.system.enqueue({'addr': 'later'})
                await asyncio.sleep(0.5)
        return {'again': time.perf_counter() - began if handle.revived.is_set() else None}


def _spent(began: tuple[float, float], ended: tuple[float, float], count: int) -> dict[str, Any]:
    if count < 1:
        raise TimeoutError('nothing was handled in time')
    return {'seconds': ended[0] - began[0], 'cpu': ended[1] - began[1], 'count': count}


async def _by_coroutines(enqueue: Callable[[Payload], Any], payloads: list[Payload]) -> None:
    left = iter(payloads)

    async def caller() -> None:
        for payload in left:
            await enqueue(payload)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


def _put_by_threads(put: Callable[[Payload], None], payloads: Iterable[Payload]) -> None:
    left, lock = iter(payloads), threading.Lock()

    def caller() -> None:
        while True:
            with lock:
                payload = next(left, None)
            if payload is None:
                return
            put(payload)

    with ThreadPoolExecutor(CALLERS) as pool:
        for future in [pool.submit(caller) for _ in range(CALLERS)]:
            future.result()


async def _answer_all(served: Served, out: TextIO) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        fields = json.loads(line)
        try:
            answer = await getattr(served, f'do_{fields.pop("do")}')(**fields)
        except MissingError as exc:
            answer = {'missing': str(exc)}
        except BaseException as exc:
            traceback.print_exc()
            answer = {'error': f'{type(exc).__name__}: {exc}'[:300]}
        print(json.dumps(answer), file=out, flush=True)


def serve(make: Callable[[Setting], System], served: type[Served] = Served) -> None:
    """Answer commands until standard input ends."""
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    if '--uvloop' in sys.argv:
        import uvloop  # of one environment

        uvloop.install()
    asyncio.run(_answer_all(served(make), out))
    out.flush()
    os._exit(0)  # whatever threads a package leaves behind
