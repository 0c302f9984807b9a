"""Queue objects of an app: one for each event loop that it is used in, and a loop for code that has none."""

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

import redis.asyncio
import redis.asyncio.sentinel

from torrelque import (
    Torrelque,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.worker.crossing import ENDED, close_coroutine, run_in_loop

from .background import CLOSING, PATIENCE, Background, is_background
from .line import Line

T = TypeVar('T')


class Place:
    """What an app has in one event loop.  It is closed with the loop; its ``own`` queue object sooner, by `close`."""

    def __init__(self, loops: 'Loops', queue: Torrelque, own: bool) -> None:
        self._loops = weakref.ref(loops)
        self.queue = queue
        self._own = own
        self._lasting = False
        self._limited: dict[int, Torrelque] = {}
        self._lines: dict[str, Line] = {}
        self._others: list[Torrelque] = []
        # An event loop that comes to its end closes the asynchronous generators that were begun in it.
        self._end = self._wait_for_end()
        with contextlib.suppress(StopIteration):
            self._end.__anext__().send(None)

    def limited(self, max_tasks: int | None) -> Torrelque:
        """The queue, as refusing tasks when it has so many."""
        if max_tasks is None:
            return self.queue
        queue = self._limited.get(max_tasks)
        if queue is None:
            queue = self._limited[max_tasks] = copy_queue(self.queue, max_tasks)
        return queue

    def line(self, name: str) -> Line:
        """The line of an ordered queue."""
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line()
        return line

    def close_too(self, queue: Torrelque) -> None:
        """Close another queue object of the loop with it."""
        self._others.append(queue)

    async def close(self, patience: float = PATIENCE) -> None:
        """Wait for the calls that are on their way, and close the queue objects but the one that the app was given.

        :param patience: how long (s) to wait while none of them comes to its end.
        """
        while sending := [task for line in self._lines.values() for task in line.tasks]:
            ended, _ = await asyncio.wait(sending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not ended:
                # The server is away: those that wait for their turn would fail one after the other.
                break
        self._lasting = True
        await self._end.aclose()

    async def _wait_for_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            queues = [*self._limited.values(), *self._others]
            # At the end of the loop nobody can use any of them; when the app is collected the caller still can.
            if self._own or not self._lasting and self._loops() is not None:
                queues.append(self.queue)
            self._limited.clear()
            for queue in queues:
                await queue.aclose()


class Loops:
    """The places of an app.

    The queue object that the app was given serves the first loop of the application that the app is used in, or the
    first worker; each other loop gets another one.  Synchronous code has a loop of its own, which is no other's: what
    becomes of those that come and go in other threads, and how busy they are, is nothing to it.
    """

    def __init__(self, queue: Torrelque, make_queue: Callable[[], Torrelque] | None) -> None:
        self._given = queue
        self._make_queue = make_queue
        self._lock = threading.RLock()
        self._places: dict[asyncio.AbstractEventLoop, Place] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        # Whether the given queue object belongs to a loop that is over.
        self._spent = False
        # What workers have of whose loop nothing is known yet.
        self._lent: Torrelque | None = None
        self._background: Background | None = None
        self._pid = os.getpid()
        _all.add(self)

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may hold the lock, and is not here to let it go."""
        self._lock = threading.RLock()

    def _look(self) -> None:
        """Forget what is over: loops that were closed, and all of the process that this one was forked from."""
        forked, self._pid = self._pid != os.getpid(), os.getpid()
        if forked:
            # Collected, a loop would take itself out of the selector that it has in common with the parent's.
            _of_parents.append((self._places, self._background))
            self._places, self._background = {}, None
        for loop in [loop for loop in self._places if loop.is_closed()]:
            del self._places[loop]
        if self._home is not None and (forked or self._home.is_closed()):
            self._home, self._spent = None, True

    # In an event loop

    def place(self) -> Place:
        """What there is in the running event loop."""
        loop = asyncio.get_running_loop()
        place = self._places.get(loop)
        if place is None:
            with self._lock:
                self._look()
                first = self._home is None and self._lent is None and not self._spent and not is_background(loop)
                place = self._add(loop, self._given if self._home is loop else self._provide(first))
        return place

    def lend(self) -> Torrelque:
        """A queue object for a worker, whose event loop will call `begin`; the same until then."""
        with self._lock:
            self._look()
            if self._home is not None and self._home is running_loop():
                return self._given
            if self._lent is None:
                self._lent = self._provide(self._home is None and not self._spent)
            return self._lent

    def begin(self) -> Place:
        """What there is in the event loop of a worker, which begins."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._look()
            place = self._places.get(loop)
            queue, self._lent = self._lent, None
            if queue is None:
                if place is None:
                    raise TorrelqueError(
                        'the queue object of this worker is in use in another event loop; '
                        'start each worker that is to have a loop of its own before the next is made, '
                        'and make it before the app is used in the loop in which you make it'
                    )
                return place
            if place is None:
                return self._add(loop, queue)
            if queue is self._given:
                self._home = loop
            else:
                place.close_too(queue)
            return place

    def _add(self, loop: asyncio.AbstractEventLoop, queue: Torrelque) -> Place:
        if any(place.queue.client is queue.client for place in self._places.values()) and _is_bound(queue.client):
            raise TorrelqueError(
                'the client of a Sentinel or of a Cluster belongs to one event loop, and the app uses it in another '
                'already (synchronous calls have a loop of their own); give the app a make_queue'
            )
        if queue is self._given:
            self._home = loop
        place = self._places[loop] = Place(self, queue, queue is not self._given)
        return place

    def _provide(self, first: bool) -> Torrelque:
        """A queue object for one more loop: the given one for the first, else another."""
        given = self._given
        if first:
            return given
        if self._make_queue is None:
            return copy_queue(given)
        queue = self._make_queue()
        if not isinstance(queue, Torrelque):
            raise TorrelqueTypeError(f'make_queue must make a torrelque.Torrelque, not {type(queue).__name__}')
        if queue is given or queue.name != given.name:
            raise TorrelqueValueError(f'make_queue must make another object of the queue {given.name!r}, not {queue!r}')
        return queue

    # In synchronous code

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop for synchronous code, and wait for it."""
        try:
            refuse_in_loop()
            with self._lock:
                self._look()
                background = self._background
                if background is None:
                    background = self._background = Background()
        except BaseException:
            close_coroutine(coroutine)
            raise
        try:
            return run_in_loop(background.loop, coroutine)
        except TorrelqueConnectionError as exc:
            if background.stopped:
                raise TorrelqueClosedError(ENDED) from exc
            raise

    # The end

    async def aclose(self) -> None:
        """Close what the app has in all loops."""
        running = asyncio.get_running_loop()
        background, places = self._take_all()
        here = places.pop(running, None)
        closing = _close_elsewhere(places)
        if here is not None:
            await here.close()
        # From a call in it, the end of a loop cannot be waited for.
        if closing or background is not None and background.loop is not running:
            await asyncio.to_thread(_wait, closing, background)

    def close(self) -> None:
        """As `aclose`, from synchronous code."""
        refuse_in_loop()
        background, places = self._take_all()
        _wait(_close_elsewhere(places), background)

    def stop_background(self) -> Background | None:
        """Begin the end of the loop for synchronous code; whose end is to be waited for."""
        background, self._background = self._background, None
        if background is not None:
            place = self._places.pop(background.loop, None)
            background.stop(None if place is None else functools.partial(place.close, CLOSING))
        return background

    def _take_all(self) -> tuple[Background | None, dict[asyncio.AbstractEventLoop, Place]]:
        with self._lock:
            self._look()
            background = self.stop_background()
            places, self._places = self._places, {}
        return background, places

    def __del__(self) -> None:
        if self._pid == os.getpid():
            self.stop_background()


def _close_elsewhere(places: dict[asyncio.AbstractEventLoop, Place]) -> 'list[concurrent.futures.Future[None]]':
    """Begin to close the places of loops of other threads.  One that does not run takes its place along at its end."""
    closing = []
    for loop, place in places.items():
        if loop.is_running():
            coroutine = place.close()
            try:
                closing.append(asyncio.run_coroutine_threadsafe(coroutine, loop))
            except RuntimeError:
                coroutine.close()
    return closing


def _wait(closing: 'list[concurrent.futures.Future[None]]', background: Background | None) -> None:
    concurrent.futures.wait(closing, timeout=PATIENCE)
    if background is not None:
        background.join()


_all: 'weakref.WeakSet[Loops]' = weakref.WeakSet()
_of_parents: list[object] = []


@atexit.register
def _end_all() -> None:
    """At the end of the interpreter: let connections go in their order, as far as that is soon done."""
    stopped = [loops.stop_background() for loops in [*_all]]
    for background in stopped:
        if background is not None:
            background.join()


def _renew_locks() -> None:
    for loops in [*_all]:
        loops.renew_lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_renew_locks)


def copy_queue(queue: Torrelque, max_tasks: int | None = None) -> Torrelque:
    """Another object of the same queue, for another event loop, or for another ``max_tasks``."""
    most = queue.max_tasks if max_tasks is None else max_tasks
    copy = Torrelque(queue.client, queue=queue.name, serialiser=queue.serialiser, max_tasks=most)
    copy.task_timeout, copy.result_ttl = queue.task_timeout, queue.result_ttl
    return copy


def _is_bound(client: Any) -> bool:
    """Whether a client has connections of its own besides ours, which belong to an event loop."""
    if isinstance(client, redis.asyncio.RedisCluster):
        return True
    return isinstance(client.connection_pool, redis.asyncio.sentinel.SentinelConnectionPool)


def refuse_in_loop() -> None:
    """Refuse to block an event loop."""
    if running_loop() is not None:
        raise TorrelqueError('this call blocks, and an event loop runs here; await its asynchronous form')


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

