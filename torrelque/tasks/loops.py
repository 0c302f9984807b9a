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

from .address import close_client
from .background import CLOSING, PATIENCE, Background, is_background
from .order import Order

T = TypeVar('T')


class InLoop:
    """What an app has in one event loop.  It is closed with the loop; its ``own`` queue object sooner, by `close`."""

    queue: Torrelque
    """The object of the app's own queue in the loop."""

    def __init__(self, loops: 'Loops', queue: Torrelque, own: bool, owns_client: bool) -> None:
        # Legend.  _loops: what the app has in all event loops, while the app lives.  _own: whether the queue object was
        # made by the app.  _owns_client: whether its client was, too.  _lasting: whether the app was closed before the
        # event loop.  _variants: copies of the queue object, by name and ``max_tasks`` where these are others.
        # _orders: of ordered queues, by their groups.  _others: queue objects that are closed as well.
        self._loops = weakref.ref(loops)
        self.queue = queue
        self._own = own
        self._owns_client = owns_client
        self._lasting = False
        self._variants: dict[tuple[str | None, int | None], Torrelque] = {}
        self._orders: dict[str, Order] = {}
        self._others: list[Torrelque] = []
        # A hook for the end of the event loop, which has none: asyncio remembers each asynchronous generator that was
        # begun in the loop, and `shutdown_asyncgens`, which `asyncio.run` calls, closes them.  So a generator that does
        # nothing but wait to be closed, and closes the queues in its ``finally``, closes them with the loop.  It must
        # have been begun: ``send`` drives it up to its only ``yield`` here and now, without an ``await``, and raises
        # the StopIteration by which the awaitable of ``__anext__`` returns what was yielded.
        self._end = self._wait_for_end()
        with contextlib.suppress(StopIteration):
            self._end.__anext__().send(None)

    def find(self, name: str | None, max_tasks: int | None = None) -> Torrelque:
        """The object of a queue, None being the app's own; with ``max_tasks`` one that refuses tasks when the queue has
        so many."""
        if name is None and max_tasks is None:
            return self.queue
        if name == self.queue.name:
            return self.find(None, max_tasks)
        queue = self._variants.get((name, max_tasks))
        if queue is None:
            queue = self._variants[name, max_tasks] = copy_queue(self.queue, max_tasks, name)
        return queue

    def adopt(self, queue: Torrelque) -> None:
        """Use a queue object that a worker was given, and that is in use in no other loop."""
        if self._variants.setdefault((queue.name, None), queue) is not queue:
            self.close_too(queue)

    def order(self, group: str) -> Order:
        """The order in which calls of an ordered queue are sent."""
        order = self._orders.get(group)
        if order is None:
            order = self._orders[group] = Order()
        return order

    def close_too(self, queue: Torrelque) -> None:
        """Close another queue object of the loop with it."""
        self._others.append(queue)

    async def close(self, patience: float = PATIENCE) -> None:
        """Wait for the calls that are on their way, and close the queue objects but the one that the app was given.

        :param patience: how long (s) to wait while none of them comes to its end.
        """
        while sending := [task for order in self._orders.values() for task in order.tasks]:
            ended, _ = await asyncio.wait(sending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not ended:
                # The server is away, and calls that wait for their turn would fail one after the other: wait no longer.
                break
        self._lasting = True
        await self._end.aclose()

    async def _wait_for_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            queues = [*self._variants.values(), *self._others]
            # The queue object that the app was given is closed at the end of its loop, when nobody can use it any more.
            # When the app was closed or collected before, its owner can still use it.
            if self._own or not self._lasting and self._loops() is not None:
                queues.append(self.queue)
            self._variants.clear()
            for queue in queues:
                await queue.aclose()
            if self._owns_client:
                for client in {id(queue.client): queue.client for queue in queues}.values():
                    await close_client(client)


class Loops:
    """What an app has in the event loops that it is used in.

    The queue object that the app was given serves the first loop of the application that the app is used in, or the
    first worker; each other loop gets another object.  Synchronous code has a loop of its own, because the loops of
    other threads may be busy, or come to their end, while it waits.
    """

    def __init__(self, queue: Torrelque, make_queue: Callable[[], Torrelque] | None) -> None:
        # Legend.  _given: the queue object that the app was given.  _make_queue: makes others, if the app was given
        # that.  _owns_clients: whether the app has made the clients of all of them, and closes them.  _lock: for what
        # is below, which several threads change.  _in_loops: what there is in each event loop. _home: the event loop
        # that the given object belongs to.  _spent: whether that loop is over, so that the object can serve no other.
        # _lent: the objects of the app's own queue and of others, by the name, that a worker was given whose event loop
        # has not called `begin` yet.  _ordered: groups whose limit is known to be set.  _background: the loop for
        # synchronous code. _pid: the process that all this is of.
        self._given = queue
        self._make_queue = make_queue
        self._owns_clients = False
        self._lock = threading.RLock()
        self._in_loops: dict[asyncio.AbstractEventLoop, InLoop] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        self._spent = False
        self._lent: dict[str | None, Torrelque] = {}
        self._ordered: set[str] = set()
        self._background: Background | None = None
        self._pid = os.getpid()
        _all.add(self)

    def own_clients(self) -> None:
        """The app has made the client of the queue object that it was given, too: so the app closes both."""
        self._owns_clients = True

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may have held the lock, and is not here to let it go."""
        self._lock = threading.RLock()

    def _look(self) -> None:
        """Forget what is over: loops that were closed, and everything of the process that this one was forked from."""
        forked, self._pid = self._pid != os.getpid(), os.getpid()
        if forked:
            # A loop of the parent and the copy of it that is here have one selector in common.  When collected, the
            # copy would take its file descriptors out of that selector; so keep the copies.
            _of_parents.append((self._in_loops, self._background))
            self._in_loops, self._background = {}, None
        for loop in [loop for loop in self._in_loops if loop.is_closed()]:
            del self._in_loops[loop]
        if self._home is not None and (forked or self._home.is_closed()):
            self._home, self._spent = None, True

    # In an event loop

    def here(self) -> InLoop:
        """What there is in the running event loop."""
        loop = asyncio.get_running_loop()
        here = self._in_loops.get(loop)
        if here is None:
            with self._lock:
                self._look()
                first = self._home is None and not self._lent and not self._spent and not is_background(loop)
                here = self._add(loop, self._given if self._home is loop else self._provide(first))
        return here

    def lend(self, name: str | None = None) -> Torrelque:
        """The object of a queue, None being the app's own, for a worker, whose event loop will call `begin`; until then
        each call gives the same one."""
        with self._lock:
            self._look()
            if name == self._given.name:
                name = None
            if self._home is not None and self._home is running_loop():
                return self.here().find(name)
            if None not in self._lent:
                self._lent[None] = self._provide(self._home is None and not self._spent)
            queue = self._lent.get(name)
            if queue is None:
                queue = self._lent[name] = copy_queue(self._lent[None], None, name)
            return queue

    def begin(self) -> InLoop:
        """What there is in the event loop of a worker, which begins."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._look()
            here = self._in_loops.get(loop)
            lent, self._lent = self._lent, {}
            queue = lent.pop(None, None)
            if queue is None:
                if here is None:
                    raise TorrelqueError(
                        'the queue object of this worker is in use in another event loop; '
                        'start each worker that is to have a loop of its own before the next is made, '
                        'and make it before the app is used in the loop in which you make it'
                    )
                return here
            if here is None:
                here = self._add(loop, queue)
            elif queue is self._given:
                self._home = loop
            else:
                here.close_too(queue)
            for other in lent.values():
                here.adopt(other)
            return here

    def _add(self, loop: asyncio.AbstractEventLoop, queue: Torrelque) -> InLoop:
        if any(each.queue.client is queue.client for each in self._in_loops.values()) and _is_bound(queue.client):
            raise TorrelqueError(
                'the client of a Sentinel or of a Cluster belongs to one event loop, and the app uses it in another '
                'already (synchronous calls have a loop of their own); give the app a make_queue'
            )
        if queue is self._given:
            self._home = loop
        own = self._owns_clients or queue is not self._given
        here = self._in_loops[loop] = InLoop(self, queue, own, self._owns_clients)
        return here

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

    async def keep_order(self, here: InLoop, group: str) -> None:
        """Have the tasks of a group run one at a time, asked of the server once in a process; what else limits the
        group stays."""
        if group not in self._ordered:
            limit = (await here.queue.get_limits()).get(group)
            if limit is None or limit.concurrency != 1:
                await here.queue.set_limit(group, concurrency=1, rate=None if limit is None else limit.rate)
            self._ordered.add(group)

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
        background, in_loops = self._take_all()
        here = in_loops.pop(running, None)
        closing = _close_elsewhere(in_loops)
        if here is not None:
            await here.close()
        # The end of a loop cannot be waited for by a call that runs in it.
        if closing or background is not None and background.loop is not running:
            await asyncio.to_thread(_wait, closing, background)

    def close(self) -> None:
        """As `aclose`, from synchronous code."""
        refuse_in_loop()
        background, in_loops = self._take_all()
        _wait(_close_elsewhere(in_loops), background)

    def stop_background(self) -> Background | None:
        """Begin the end of the loop for synchronous code; the caller is to wait for that, by `Background.join`."""
        background, self._background = self._background, None
        if background is not None:
            here = self._in_loops.pop(background.loop, None)
            background.stop(None if here is None else functools.partial(here.close, CLOSING))
        return background

    def _take_all(self) -> tuple[Background | None, dict[asyncio.AbstractEventLoop, InLoop]]:
        with self._lock:
            self._look()
            background = self.stop_background()
            in_loops, self._in_loops = self._in_loops, {}
            if self._owns_clients and self._home is not None:
                # What is closed here is the app's own, so another loop, or the same one later, gets another object.
                self._home, self._spent = None, True
        return background, in_loops

    def __del__(self) -> None:
        if self._pid == os.getpid():
            self.stop_background()


def _close_elsewhere(in_loops: dict[asyncio.AbstractEventLoop, InLoop]) -> 'list[concurrent.futures.Future[None]]':
    """Begin to close what there is in the event loops of other threads.  A loop that does not run now closes it itself,
    at its end."""
    closing = []
    for loop, here in in_loops.items():
        if loop.is_running():
            coroutine = here.close()
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
    """At the end of the interpreter: have connections closed in good order, as far as that is done within seconds."""
    stopped = [loops.stop_background() for loops in [*_all]]
    for background in stopped:
        if background is not None:
            background.join()


def _renew_locks() -> None:
    for loops in [*_all]:
        loops.renew_lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_renew_locks)


def copy_queue(queue: Torrelque, max_tasks: int | None = None, name: str | None = None) -> Torrelque:
    """Another object of the same queue, for another event loop, or for another ``max_tasks``; or one of another queue
    on the same server."""
    most = queue.max_tasks if max_tasks is None else max_tasks
    copy = Torrelque(queue.client, queue=name or queue.name, serialiser=queue.serialiser, max_tasks=most)
    copy.task_timeout, copy.result_ttl = queue.task_timeout, queue.result_ttl
    return copy


def _is_bound(client: Any) -> bool:
    """Whether a client belongs to an event loop, because it has connections of its own besides ours."""
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

