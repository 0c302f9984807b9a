"""Queue objects of an app: one for each event loop that it is used in, and a loop for code that has none.

Other layers may import the names in `__all__`.
"""

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import redis.asyncio
import redis.asyncio.sentinel

from torrelque import (
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueQueue,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.worker.crossing import ENDED, close_coroutine, run_in_loop
from torrelque.worker.places import clients_of, is_one

from .address import is_same_server
from .background import CLOSING, PATIENCE, Background, is_background
from .context import Contexts
from .ground import Ground, another, copy_queue
from .inloop import InLoop

__all__ = ['Loops', 'is_bound', 'running_loop']

T = TypeVar('T')


class Loops:
    """What an app has in the event loops that it is used in.

    The queue object that the app was given serves the first loop of the application that the app is used in, or the
    first worker; each other loop gets another object.  Synchronous code has a loop of its own, because the loops of
    other threads may be busy, or come to their end, while it waits.
    """

    def __init__(self, queue: TorrelqueQueue, make_queue: Callable[[], TorrelqueQueue] | None) -> None:
        # Legend.  _given: the queue object that the app was given.  _make_queue: makes others, if the app was given
        # that.  _owns_clients: whether the app has made the clients of all of them, and closes them.  _lock: for what
        # is below, which several threads change.  _in_loops: what there is in each event loop. _home: the event loop
        # that the given object belongs to.  _spent: whether that loop is over, so that the object can serve no other.
        # _lent: the objects of the app's own queue and of others, by the name, that a worker was given whose event loop
        # has not called `begin` yet.  _ordered: groups whose limit is known to be set.  _background: the loop for
        # synchronous code. _pid: the process that all this is of.  _workers: something for each worker that serves the
        # app now.
        self._given = queue
        self._make_queue = make_queue
        self._owns_clients = False
        self._lock = threading.RLock()
        self._in_loops: dict[asyncio.AbstractEventLoop, InLoop] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        self._spent = False
        self._lent: dict[str | None, TorrelqueQueue] = {}
        self._ordered: set[str] = set()
        self._background: Background | None = None
        self._pid = os.getpid()
        self._workers: set[object] = set()
        self.contexts: Contexts = ()
        """What gives what goes along with the calls of the app."""
        self.ground: Ground | None = None
        """What the app stands on, if that is not its own server."""
        _all.add(self)

    @property
    def name(self) -> str:
        """What the app calls its own queue."""
        return self._given.name

    @property
    def given(self) -> TorrelqueQueue:
        """The queue object that the app was given, or has made, to be looked at only."""
        return self._given

    def name_of(self, queue: str) -> str:
        """What a queue of the app is called on its server.

        :param queue: what the app calls it.
        """
        return queue if self.ground is None else self.ground.name_of(queue)

    def shares_server(self, other: 'Loops') -> bool:
        """Whether the queues of another app are on the same server, as far as can be told without asking it."""
        if self.ground is not None or other.ground is not None:
            return self.ground is not None and other.ground is not None and self.ground.server is other.ground.server
        own, others = clients_of(self._given), clients_of(other.given)
        return len(own) == len(others) and all(map(is_same_server, own, others))

    # Another ground

    def stand_on(self, ground: Ground) -> 'Loops':
        """Have the app stand on something else than its own server, until `stand_again`.

        All that the app has in its event loops is put aside: it is in what this returns.

        :raises TorrelqueError: a worker serves the app, and would be left on the old ground.
        """
        aside = Loops(self._given, None)
        aside.contexts = self.contexts
        # The queue object that the app was given, which is on its own server, counts as used up.
        aside.ground, aside._spent = ground, True
        with self._lock:
            if self._workers:
                raise TorrelqueError(
                    f'the app of queue {self.name!r} is in use: a worker serves it; begin the block before the worker'
                )
            self._exchange(aside)
        return aside

    def stand_again(self, ground: Ground, aside: 'Loops') -> bool:
        """Undo `stand_on`: what is in ``aside`` is back, and what the app had on the ground is in there, to be closed.

        :return: False when a worker serves the app, and is left on the ground.
        :raises TorrelqueError: the app stands on something else by now.
        """
        with self._lock:
            if self.ground is not ground:
                raise TorrelqueError(f'of two blocks around the app of queue {self.name!r} the inner is left first')
            left = not self._workers
            self._exchange(aside)
        return left

    def _exchange(self, other: 'Loops') -> None:
        # Functions, enqueuers and handles of the app refer to this object, so its contents are exchanged.
        self.__dict__, other.__dict__ = other.__dict__, self.__dict__

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """While a worker serves the app."""
        workers, worker = self._workers, object()
        workers.add(worker)
        try:
            yield
        finally:
            workers.discard(worker)

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

    def lend(self, name: str | None = None) -> TorrelqueQueue:
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
                queue = self._lent[name] = another(self.ground, self._lent[None], name)
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
                if self._owns_clients:
                    here.close_too(queue)
            else:
                here.close_too(queue)
            for name, other in lent.items():
                here.adopt(str(name), other)
            return here

    def _add(self, loop: asyncio.AbstractEventLoop, queue: TorrelqueQueue) -> InLoop:
        bound = {*filter(is_bound, clients_of(queue))}
        if bound and any(bound.intersection(clients_of(each.queue)) for each in self._in_loops.values()):
            raise TorrelqueError(
                'the client of a Sentinel or of a Cluster belongs to one event loop, and the app uses it in another '
                'already (synchronous calls have a loop of their own); give the app a make_queue'
            )
        if queue is self._given:
            self._home = loop
        own = self._owns_clients or queue is not self._given
        here = self._in_loops[loop] = InLoop(self, self.name, self.ground, queue, own, self._owns_clients)
        return here

    def _provide(self, first: bool) -> TorrelqueQueue:
        """A queue object for one more loop: the given one for the first, else another."""
        given = self._given
        if first:
            return given
        if self.ground is not None:
            return self.ground.make(None, None)
        if self._make_queue is None:
            return copy_queue(given)
        queue = self._make_queue()
        if not isinstance(queue, TorrelqueQueue):
            raise TorrelqueTypeError(f'make_queue must make a queue of torrelque, not {type(queue).__name__}')
        if queue is given or queue.name != given.name or is_one(queue) != is_one(given):
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
            if self.ground is not None:
                return self.ground.wait(background.loop, coroutine)
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

    def close_soon(self) -> None:
        """As `close`, where an event loop may run here.  What is in that one, or in one that stands still, is closed in
        the next turns of the loop."""
        running = running_loop()
        background, in_loops = self._take_all()
        for loop in [loop for loop in in_loops if loop is running or not loop.is_running()]:
            in_loops.pop(loop).close_soon(loop)
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


def is_bound(client: Any) -> bool:
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


async def called(make: Any) -> Any:
    """The result of the coroutine that a function makes in the event loop."""
    try:
        inspect.signature(make).bind()
    except TypeError as exc:
        raise TorrelqueTypeError(f'what is called is a coroutine, or a function that makes one, not {make!r}') from exc
    made = make()
    if not inspect.isawaitable(made):
        raise TorrelqueTypeError(f'what is called is a coroutine, or a function that makes one, and {make!r} is none')
    return await made
