"""Queue objects of an app: one for each event loop that it is used in, and a loop for code that has none."""

import asyncio
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from torrelque import Torrelque, TorrelqueClosedError, TorrelqueError
from torrelque.worker.delivery import run_in_loop

from .line import Line

logger = logging.getLogger(__package__)

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

    async def close(self) -> None:
        """Wait for the calls that are on their way, and close the queue objects but the one that the app was given."""
        while sending := [task for line in self._lines.values() for task in line.tasks]:
            await asyncio.wait(sending)
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


class Background:
    """An event loop in a thread, for calls of synchronous code while no loop of the application runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name='torrelque tasks', daemon=True)
        self._pid = os.getpid()
        ready = threading.Event()
        self.loop.call_soon(ready.set)
        self._thread.start()
        ready.wait()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def close(self) -> None:
        """End it.  After a fork the thread is the other process's."""
        if os.getpid() == self._pid and not self.loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.loop.stop)
            if threading.current_thread() is not self._thread:
                self._thread.join()


class Loops:
    """The places of an app.

    The queue object that the app was given serves the first loop that the app is used in, or the first worker; each
    other loop gets a copy.
    """

    def __init__(self, queue: Torrelque, make_queue: Callable[[], Torrelque] | None) -> None:
        self._queue = queue
        self._make = make_queue or (lambda: copy_queue(queue))
        self._lock = threading.RLock()
        self._begin()
        _all.add(self)

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may hold the lock, and is not here to let it go."""
        self._lock = threading.RLock()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._places: dict[asyncio.AbstractEventLoop, Place] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        self._copied = False
        # What workers have of whose loop nothing is known yet.
        self._lent: Torrelque | None = None
        self._background: Background | None = None

    def _look(self) -> None:
        """Forget what is over: loops that were closed, and all of the process that this one was forked from."""
        if self._pid != os.getpid():
            used = self._home is not None
            self._begin()
            if used:
                self._renew()
        for loop in [loop for loop in self._places if loop.is_closed()]:
            del self._places[loop]
        if self._home is not None and self._home.is_closed():
            self._renew()

    def _renew(self) -> None:
        self._home = None
        self._queue = self._make()
        self._copied = True

    # In an event loop

    def place(self) -> Place:
        """What there is in the running event loop."""
        loop = asyncio.get_running_loop()
        place = self._places.get(loop)
        if place is None:
            with self._lock:
                self._look()
                first = self._home is None and self._lent is None and not self._is_background(loop)
                place = self._add(loop, self._queue if first or self._home is loop else self._make())
        return place

    def lend(self) -> Torrelque:
        """A queue object for a worker, whose event loop will call `begin`; the same until then."""
        with self._lock:
            self._look()
            if self._home is not None and self._home is running_loop():
                return self._queue
            if self._lent is None:
                self._lent = self._queue if self._home is None else self._make()
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
            if queue is self._queue:
                self._home = loop
            else:
                place.close_too(queue)
            return place

    def _add(self, loop: asyncio.AbstractEventLoop, queue: Torrelque) -> Place:
        if queue is self._queue:
            self._home = loop
        place = self._places[loop] = Place(self, queue, queue is not self._queue or self._copied)
        return place

    def _is_background(self, loop: asyncio.AbstractEventLoop) -> bool:
        return self._background is not None and self._background.loop is loop

    # In synchronous code

    def call(self, make: Callable[[], Coroutine[Any, Any, T]], again: bool = True) -> T:
        """Run what is made in a loop of the app, and wait for it; again where a loop ended before it began."""
        while True:
            loop = self._target()
            try:
                return run_in_loop(loop, make())
            except TorrelqueClosedError:
                # Nothing was sent.  A worker that stops takes its queue object along.
                with self._lock:
                    background = self._is_background(loop)
                    self._places.pop(loop, None)
                    if self._home is loop:
                        self._renew()
                if background or not again:
                    raise

    def _target(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            self._look()
            loops = [loop for loop in (self._home, *self._places) if loop is not None and loop.is_running()]
            if loops:
                return loops[0]
            background = self._background = Background()
            weakref.finalize(self, background.close)
            return background.loop

    # The end

    async def aclose(self) -> None:
        """Close what the app has in all loops."""
        running = asyncio.get_running_loop()
        with self._lock:
            self._look()
            places, self._places = self._places, {}
            if self._copied and self._home is not None:
                self._renew()
        for loop, place in places.items():
            if loop is running:
                await place.close()
            elif loop.is_running():
                with contextlib.suppress(TorrelqueError, RuntimeError):
                    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(place.close(), loop))
        await asyncio.to_thread(self._close_background)

    def close(self) -> None:
        """As `aclose`, from synchronous code."""
        refuse_in_loop()
        with self._lock:
            self._look()
            places = {loop: place for loop, place in self._places.items() if loop.is_running()}
            self._places = {}
            if self._copied and self._home is not None:
                self._renew()
        for loop, place in places.items():
            with contextlib.suppress(TorrelqueError):
                run_in_loop(loop, place.close())
        self._close_background()

    def _close_background(self) -> None:
        with self._lock:
            background, self._background = self._background, None
        if background is not None:
            background.close()


_all: 'weakref.WeakSet[Loops]' = weakref.WeakSet()


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

