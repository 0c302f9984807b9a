"""The worker: takes tasks, has them handled, and settles them."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal, TypeVar

from torrelque import Duration, TorrelqueError, TorrelqueQueue, TorrelqueServerError, TorrelqueTypeError

from .adapting import SHARED
from .bounds import BOUNDS, Bounds
from .breaker import Breaker
from .chain import Middleware
from .child import ChildDelivery
from .children import check_not_imported
from .counts import Attempts, Tally, together
from .deaths import Deaths
from .delivery import Common, Delivery, Job, Place
from .firing import Firing
from .handling import Handling
from .health import WorkerHealth, current_version, memory, tell_running
from .heart import Hearts
from .held import Held, Stop
from .interrupts import kept_going
from .keeper import Keeper
from .lifespan import Lifespan
from .log import Log
from .options import Servable, Served, check_options, serve
from .rate import StartRate
from .retry import Backoff, RetryRule
from .signals import signals_handled
from .source import Source, Taken, give_back_unwilling

logger = logging.getLogger(__package__)

Self = TypeVar('Self', bound='Worker')


class Worker:
    """Takes tasks of a queue and calls a handler with each, so many at a time.

    A duration is a number of seconds or a ``datetime.timedelta``.

    :param queue: a `torrelque.Torrelque`, or a `torrelque.sharded.Sharded`, which counts as one queue; several, of
        which the first that has tasks goes first; a mapping of queues to weights (ints), or such pairs, by which they
        share the worker while all have tasks; or an app (`App`, such as `torrelque.tasks.Tasks`), which brings its own
        handlers, or a list of apps.
    :param handler: called with a `Delivery`.  A coroutine function runs in the event loop; a function runs in a thread
        or in a process, so it may block.  What it returns is kept as the task's result, unless it is None.  When it
        returns the task is released; when it raises it is tried again by the rules below, or dead.
    :param concurrency: how many tasks are in hand at a time, at the most.
    :param steal: queues that are served while the worker's own have nothing.
    :param max_attempts: how often a task is tried that was enqueued without a ``max_attempts`` of its own; -1 and None
        are without end.
    :param retry: when a failed task is tried again, see `RetryRule`.
    :param timeout: how long (s) a handler may run.  One that is a coroutine function is cancelled then, a process is
        killed; a thread cannot be ended: its task is given back, and its place stays taken until it returns.
    :param middleware: see `Middleware`; the first is the outermost.
    :param on_start: called with the delivery before its handler.  The hooks may be coroutine functions; they are the
        simple form of a middleware, but what they raise is logged only.
    :param on_success: called with delivery and result, when the task was released.
    :param on_error: called with delivery and exception after each failed attempt.
    :param on_dead: called with delivery and exception when the task is dead, at least once; with a `DeathError` where
        the task died and nobody saw it, with a ``RuntimeError`` where the ``max_attempts`` of a worker were used up
        then.
    :param breaker: see `Breaker`.
    :param rate: ``(starts, seconds)``: so many tasks begin in so many seconds, in this worker.
    :param run_in: where a plain function runs, ``'thread'`` or ``'process'``.  For a process the handler must be a
        function of a module, and it is called with a `ChildDelivery`.
    :param around_thread: called with the delivery in the thread of a plain function; makes the context manager in which
        the function runs, for what belongs to a thread.  What it raises counts as raised by the function.
    :param result_ttl: how long (s) results can be read, by default as the queue says.
    :param shutdown_timeout: how long (s) to wait at the end for what is running, before it is given back.
    :param burst: end when there is nothing to take and nothing in hand.  Tasks that only wait for a token of their
        group's rate, or for a slot that somebody's work takes up now, are waited for; those that are delayed, or
        paused, or behind a delayed one of their group, are left.
    :param heartbeat: time (s) between two writings of the worker's health, and of what it has counted, into its queues,
        for `get_workers` and `torrelque.operate`; None is never.
    :param name: of the worker, unique; by default of host, process and chance.
    :param signals: whether `run`, in the main thread, stops at SIGTERM and SIGINT.

    Leases are renewed as long as a handler runs.  The handler is cancelled when its lease is lost or its task was
    cancelled.
    """

    name: str
    """Its name, by which others see it."""
    concurrency: int
    """How many tasks are in hand at a time, at the most."""
    on_ready: Callable[[], object] | None
    """Called once, in the event loop of `run`, when all is ready: apps have prepared, their lifespans are entered, and
    the first tasks are about to be taken.  What it raises ends the worker.  None, unless it was set before `run`."""
    on_sample: Callable[[TorrelqueQueue], object] | None
    """Called with a queue of it, in the event loop of `run`, after a beat that was the first of a quarter of a minute
    among all workers of the queue: for what one of them is to do now and then.  It must not wait.  What it raises is
    logged.  None, unless it was set before `run`; and without a heartbeat it is never called."""

    # What it was made with

    _bounds: Bounds = BOUNDS
    """Its limits and times, and those of its parts."""
    _served: Served
    """The queues, and what handles their tasks."""
    _shutdown_timeout: float
    """How long (s) the end waits for what is running."""
    _burst: bool
    """Whether it ends when there is nothing to take."""
    _signals: bool
    """Whether `run` stops at signals."""
    _heartbeat: float | None
    """Time (s) between two beats, if there are any."""
    _rate: StartRate | None
    """How many tasks may begin in a time, if that is limited."""

    # Its parts

    _log: Log
    """Writes its lines."""
    _source: Source
    """Takes the tasks."""
    _handling: Handling
    """Calls the handlers, and has the tasks settled."""
    _deaths: Deaths
    """Tells hooks of tasks that died where nobody saw it."""
    _lifespan: Lifespan
    """Enters and leaves what the app has for a worker."""
    _keeper: Keeper | None
    """Renews the leases; from the begin of `run` on."""
    _hearts: Hearts | None
    """Its hearts, while it runs and has a heartbeat."""

    # Its life

    _state: Literal['new', 'running', 'stopping', 'stopped']
    """Where it is in its life: it begins in `run`, goes over to stopping when it takes no more, and ends once."""
    _started: float | None
    """When `run` began, a Unix time (s)."""
    _loop: asyncio.AbstractEventLoop | None
    """The event loop of `run`, once that has begun."""
    _common: Common | None
    """What its deliveries have in common, from then on."""
    _held: dict[Held, None]
    """The tasks in hand, in the order in which they were taken."""
    _serving: asyncio.Task[None] | None
    """Takes tasks until none is to be taken; cancelled when the worker stops."""
    _background: asyncio.Task[None] | None
    """`run`, as a ``with`` block has it run."""
    _change: asyncio.Future[None] | None
    """What `_changed` waits for: resolved when a task is settled, or the worker is told to stop."""
    _stops: int
    """How often it was told to stop: the second time ends the wait for what is running."""
    _slow: bool
    """Whether it waits for its own `rate`, and so claims nothing."""
    _hurried: bool
    """Whether its end was cancelled, so that it waits for no handler any more."""

    def __init__(
        self,
        queue: Servable,
        handler: Callable[[Delivery], Any] | Callable[[ChildDelivery], Any] | None = None,
        *,
        concurrency: int = 10,
        steal: Sequence[TorrelqueQueue] = (),
        max_attempts: int | None = None,
        retry: RetryRule = Backoff(),  # noqa: B008 - it is frozen
        timeout: Duration | None = None,
        middleware: Sequence[Middleware] = (),
        on_start: Callable[[Delivery], Any] | None = None,
        on_success: Callable[[Delivery, Any], Any] | None = None,
        on_error: Callable[[Delivery, BaseException], Any] | None = None,
        on_dead: Callable[[Delivery, BaseException], Any] | None = None,
        breaker: Breaker | None = None,
        rate: tuple[int, Duration] | None = None,
        run_in: Place = 'thread',
        around_thread: Callable[[Delivery], AbstractContextManager[Any]] | None = None,
        result_ttl: Duration | None = None,
        shutdown_timeout: Duration = 30,
        burst: bool = False,
        heartbeat: Duration | None = None,
        name: str | None = None,
        signals: bool = True,
    ) -> None:
        self._served = serve(queue, handler, steal)
        times = check_options(
            concurrency, max_attempts, timeout, result_ttl, shutdown_timeout, heartbeat, rate, run_in, name, burst,
            signals,
        )  # fmt: skip
        if isinstance(middleware, (str, bytes)) or not isinstance(middleware, Iterable):
            raise TorrelqueTypeError(f'middleware must be a sequence, not {middleware!r}')
        self.name = name or f'{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}'
        self.concurrency = concurrency
        self._shutdown_timeout, self._heartbeat = times.shutdown, times.heartbeat
        self._burst, self._signals = burst, signals
        self._rate = None if times.rate is None else StartRate(*times.rate)
        defaults = Job(
            self._served.call, '', max_attempts, retry, timeout, result_ttl, run_in, on_success, on_error, on_dead,
            around_thread=around_thread,
        )  # fmt: skip
        self._log = Log(self.name)
        self._handling = Handling(
            self._served, defaults, on_start, [*SHARED, *middleware], breaker, self._ended, self._log, self._bounds
        )
        self._source = Source(self._served.queues, self._served.steal, self._served.weights, self._bounds)
        self._deaths = Deaths(
            self._source.queues, self._served.app, self._handling.resolver, self._log, self._bounds
        )
        self._firing = Firing(() if burst else self._source.queues, self._is_busy, self._bounds)
        self._lifespan = Lifespan()
        self._keeper = self._hearts = self._loop = self._common = self._started = self.on_ready = self.on_sample = None
        self._serving = self._background = self._change = None
        self._held = {}
        self._state, self._stops, self._hurried, self._slow = 'new', 0, False, False

    def __repr__(self) -> str:
        return f'<Worker {self.name} {self._state}>'

    # Running

    async def run(self) -> None:
        """Work until `stop` is called, SIGTERM or SIGINT comes or, in a burst, there is nothing to take.

        Then no more is taken, and what is running may end within the ``shutdown_timeout``; what does not is given back,
        and the attempt does not count.  A second signal, or a second `stop`, ends the wait.  When cancelled, all that
        is running is given back at once.  An error of the server that time does not mend is raised at the end.

        :raises TorrelqueConnectionError: there was no connection to the server from the first or, in a burst, no reply
            of the server of one of its queues for some ten seconds.
        :raises TorrelqueError: it was run before, or a process of handlers imports the main program, which runs it.
        """
        if self._state != 'new':
            raise TorrelqueError('a worker runs once; make another')
        check_not_imported()
        self._loop = asyncio.get_running_loop()
        self._common = Common(self._loop, self._bounds, worker=self.name)
        self._state = 'running'
        self._started = time.time()
        self._keeper = Keeper(self._held, self._bounds)
        patience = self._shutdown_timeout
        try:
            async with contextlib.AsyncExitStack() as stack:
                if self._signals:
                    stack.enter_context(signals_handled(self._loop, self._stop))
                stack.enter_context(kept_going(self._loop, self._handling.handle))
                try:
                    await self._insist(self._source.ready)
                    self._begin_hearts()
                    if self._served.app is not None:
                        await self._insist(self._served.app.prepare)
                        if not self._stops and (lifespan := getattr(self._served.app, 'lifespan', None)) is not None:
                            self._common.state = await self._lifespan.enter(stack, lifespan)
                    self._log.started(self.queues, self._served.app, self._served.call, self.concurrency)
                    if self.on_ready is not None:
                        self.on_ready()
                    await self._serve_until_stopped()
                except BaseException as exc:
                    if isinstance(exc, asyncio.CancelledError):
                        patience = 0
                    else:
                        # A worker in the background may be waited for much later, so say now that it has ended.
                        self._log.broke(exc)
                    raise
                finally:
                    await self._end(patience)
        except asyncio.CancelledError:
            if not self._lifespan.was_cut():
                raise
        finally:
            self._state = 'stopped'
            if self._hearts is not None:
                await self._hearts.stop()
            counts = self._handling.settling.counts
            self._log.stopped(counts.succeeded, counts.failed, counts.dead, counts.lost)

    def stop(self) -> None:
        """Have `run` come to its end; from any thread.  At the second call what is running is given back at once.

        Called before `run`, it makes `run` return at once.
        """
        early = self._loop is None
        if early:
            self._stops += 1
        # In another thread `run` may have begun after that look, and before it could see the new count; so look again.
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._end_serving if early else self._stop)

    async def __aenter__(self: Self) -> Self:
        """Run in the background of the block, without signals; leaving it stops the worker."""
        self._signals = False
        self._background = asyncio.ensure_future(self.run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._background is not None
        self._stop()
        await self._background

    @property
    def queues(self) -> tuple[TorrelqueQueue, ...]:
        """The queues that the worker serves, those to steal from too."""
        return self._source.queues

    def health(self) -> WorkerHealth:
        """How the worker is, and what it is doing; from any thread."""
        now, clock = time.time(), self._loop.time() if self._loop else 0.0
        held = [*self._held]  # in one go, because the worker may be in another thread
        counts, state, app = self._handling.settling.counts, self._state, self._served.app
        hearts, answered = self._hearts, self._source.answered
        if state == 'running' and self._serving is not None and self._serving.done():
            # Nothing is taken any more, and `run` has not had its turn to write that down.
            state = 'stopping'
        return WorkerHealth(
            self.name, socket.gethostname(), os.getpid(), state, self._started, now,
            tuple(queue.name for queue in self._served.queues), self.concurrency, tell_running(held, now - clock),
            counts.succeeded, counts.failed, counts.dead, counts.lost, sum(each.hangs for each in held),
            current_version(), tuple(getattr(app, 'functions', ())), len(held),
            None if hearts is None else hearts.lag,
            None if self._source.patience is None or answered is None or self._slow else clock - answered, memory(),
            throttled=self._slow,
        )  # fmt: skip

    def observe(self) -> None:
        """Have `health` tell how long ago a claim was answered, and `attempts` count, as with a heartbeat; from the
        next claim on, so call it before `run`."""
        self._source.patience = self._bounds.claim_patience
        if self._handling.settling.tallies is None:
            self._handling.count({queue: Tally(self._bounds) for queue in self.queues}, time.monotonic)

    def attempts(self) -> Mapping[str, Attempts]:
        """What became of the attempts so far, by function: how many succeeded, failed, were dead, were lost; in the
        event loop of `run`.  Empty without a heartbeat, unless the worker is observed."""
        return together(self._handling.settling.tallies)

    # Parts

    def _stop(self) -> None:
        self._stops += 1
        self._lifespan.stop(self._stops)
        self._end_serving()

    def _end_serving(self) -> None:
        if self._serving is not None and self._state == 'running':
            self._serving.cancel()
        if self._state == 'running':
            self._state = 'stopping'
        self._tell()

    def _tell(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    async def _changed(self, timeout: float | None = None) -> None:
        """Wait until a task is settled, or the worker is told to stop."""
        self._change = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._change], timeout=timeout)
        self._change = None

    def _begin_hearts(self) -> None:
        if (every := self._heartbeat) is None:
            return
        assert self._loop is not None
        self._hearts = Hearts(self.queues, every, self.health, self._bounds, self.on_sample)
        self._handling.count(self._hearts.tallies, self._hearts.clock)
        self.observe()

    async def _insist(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Prepare something, again where the server takes no writes for a while; in a burst for some seconds."""
        assert self._loop is not None
        end, warned = self._loop.time() + self._bounds.prepare, False
        while not self._stops:
            try:
                await prepare()
                return
            except TorrelqueServerError as exc:
                if not exc.passing or self._burst and self._loop.time() > end:
                    raise
                if not warned:
                    logger.warning('worker %s cannot begin yet: %s', self.name, exc)
                    warned = True
            await self._changed(self._bounds.prepare_pause)

    async def _serve_until_stopped(self) -> None:
        if self._stops:
            return
        assert self._loop is not None and self._common is not None
        self._deaths.begin(self._common)
        self._serving = asyncio.ensure_future(self._serve())
        self._firing.begin()
        try:
            await asyncio.wait([self._serving])
        except asyncio.CancelledError:
            # Where the whole event loop ends, the handlers are cancelled in the same turn.  Say now whose cancellation
            # that is, before they take it for a failure of their own.
            self._handling.settling.telling.interrupt()
            self._handling.settling.telling.stop(self._loop.time() + self._bounds.closing / 2)
            if self._state == 'running':
                self._serving.cancel()
            await asyncio.wait([self._serving])
            raise
        if not self._serving.cancelled():
            self._serving.result()

    async def _serve(self) -> None:
        while True:
            free = self.concurrency - len(self._held)
            if free <= 0:
                await self._changed()
                continue
            if self._rate is not None:
                self._slow = True
                free = min(free, await self._rate.wait())
                self._slow = False
            taken = await self._source.take(free, wait=not self._burst)
            if not taken:
                if not self._held:
                    # The last look for deaths.  Hooks that it has told of some may have enqueued tasks.
                    if await self._deaths.look():
                        continue
                    return
                await self._changed()
                continue
            self._begin(taken)

    def _is_busy(self) -> bool:
        return self._slow or len(self._held) >= self.concurrency

    def _begin(self, taken: list[Taken]) -> None:
        assert self._loop is not None and self._common is not None and self._keeper is not None
        loop, common, handling, keeper = self._loop, self._common, self._handling, self._keeper
        now, default = loop.time(), handling.resolver.default
        for queue, tasks in taken:
            if self._hearts is not None:
                self._hearts.taken(queue, tasks, now)
            for task_id, task in tasks:
                held = Held(queue, task_id, task, default, now, common)
                self._held[held] = None
                # The asyncio task is not made by the loop's factory, because that is for the tasks that handlers begin.
                held.begin(asyncio.Task(handling.handle(held), loop=loop))
                keeper.look_at(held)
            if self._rate is not None:
                self._rate.spend(len(tasks))

    def _ended(self, held: Held) -> None:
        if held.watch is not None:
            held.watch.cancel()
        del self._held[held]
        self._tell()

    async def _end(self, patience: float) -> None:
        """Finish.  When cancelled meanwhile, wait no longer for handlers, but leave nothing behind all the same."""
        finishing = asyncio.ensure_future(self._finish(patience))
        cancelled: asyncio.CancelledError | None = None
        while not finishing.done():
            try:
                await asyncio.wait([finishing])
            except asyncio.CancelledError as exc:
                cancelled = exc
                self._hurried = True
                self._handling.settling.telling.interrupt()
                self._tell()
        finishing.result()
        if cancelled is not None:
            raise cancelled

    async def _finish(self, patience: float) -> None:
        assert self._loop is not None and self._keeper is not None
        if self._state == 'running':
            self._state = 'stopping'
        self._firing.end()
        telling, closing = self._handling.settling.telling, self._bounds.closing
        end, stops = self._loop.time() + patience, self._stops
        telling.stop(end + closing / 2)
        if patience:
            self._deaths.end(self._tell)
        while (self._held or self._deaths.busy) and not self._hurried and self._stops < max(2, stops):
            if (left := end - self._loop.time()) <= 0:
                break
            await self._changed(left)
        telling.stop(min(telling.until, self._loop.time() + closing / 2))
        # Each task that is given back goes to the head of its queue.  So the last goes first, for all to keep their
        # order.
        for held in reversed(self._held):
            held.stop(Stop.SHUTDOWN)
        end = self._loop.time() + closing
        while any(not held.hangs for held in self._held) and (left := end - self._loop.time()) > 0:
            await self._changed(left)
        await give_back_unwilling([held for held in self._held if not held.settled], repr(self))
        await self._deaths.close(closing)
        # Tasks of which the queue could not be told by now are left to their leases.
        await self._handling.settling.abandon(self._held)
        await self._keeper.close()
        await self._handling.close()
