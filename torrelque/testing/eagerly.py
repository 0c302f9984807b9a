"""Runs what an app enqueues at once, in this process and without a server, by a real worker.

For each task that is enqueued a `torrelque.worker.Worker` runs to its end, on a queue in memory that has this task
alone.  So checks, types, middleware, hooks, retries and results are the worker's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Literal, TypeVar

import redis.asyncio

from torrelque import Duration, Torrelque, TorrelqueQueue, TorrelqueTaskStatus, TorrelqueTypeError
from torrelque.protocol.check import check_count, is_async
from torrelque.tasks import Tasks
from torrelque.tasks.flowing import job_of_layer
from torrelque.tasks.ground import Ground
from torrelque.worker import Backoff, Delivery, Job, Middleware, RetryRule, Worker

from .caller import run_in_caller, wait_in_thread
from .memory import Book, MemoryQueue
from .states import EagerTask, Run
from .under import Standing, checked_apps

__all__ = ['Eager', 'EagerTask', 'eager']

T = TypeVar('T')
EMPTY: Mapping[Any, Any] = {}
DEEPEST = 30
"""How many tasks may be run in one another, each enqueued by the one before."""
ENTERED: Any = object()
"""Stands for a state that is not given: the app's own lifespan is entered."""

_above: contextvars.ContextVar[tuple[Run, ...]] = contextvars.ContextVar('torrelque.testing.above', default=())
"""What is being run in this context, the innermost last."""
_states: contextvars.ContextVar[Mapping[Any, Any]] = contextvars.ContextVar('torrelque.testing.states', default=EMPTY)
"""What lifespans have yielded that were entered in this context, by app and event loop."""


class _Ground(Ground):
    """Queues in memory, for one app."""

    fires = False

    def __init__(self, block: Eager, app: Tasks) -> None:
        self._block = block
        self._app = app

    def make(self, name: str | None, max_tasks: int | None) -> TorrelqueQueue:
        block = self._block
        like = self._app._loops.given
        began = functools.partial(block._run, self._app)
        return MemoryQueue(block._client, like, block._book, began, name=name, max_tasks=max_tasks)

    @property
    def server(self) -> object:
        return self._block

    def order_of(self, group: str) -> str:
        # A task that enqueues another one of its own ordered queue, and waits until the queue has that one, is itself a
        # call that the order waits for; so what it enqueues is in an order of its own.
        inner = [run for run in _above.get() if run.tasks[0].group == group]
        return f'{group} in {id(inner[-1])}' if inner else group

    def wait(self, loop: Any, coroutine: Coroutine[Any, Any, T]) -> T:
        return wait_in_thread(loop, coroutine)


class _Served:
    """An app for a worker that has the tasks of one run (`torrelque.worker.App`)."""

    has_on_dead = False
    """Nobody dies here unseen."""

    def __init__(self, block: Eager, app: Tasks, queue: MemoryQueue) -> None:
        self._block = block
        self._app = app
        self._queue = queue
        self.queues = (queue,)
        self.functions = app.functions

    async def prepare(self) -> None:
        # Another app may have enqueued the task, and this one be in no use in this event loop yet.
        self._app._loops.here()
        await self._app.prepare()

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[Any]:
        """What the app yields for the tasks of one call, and for what they enqueue in the same event loop."""
        if self._block._state is not ENTERED:
            yield self._block._state
            return
        above, place = _states.get(), (id(self._app), id(asyncio.get_running_loop()))
        if place in above:
            yield above[place]
            return
        enter: Callable[[], AbstractAsyncContextManager[Any]] = self._app.lifespan
        async with enter() as state:
            _states.set({**above, place: state})
            try:
                yield state
            finally:
                _states.set(above)

    def find(self, delivery: Delivery) -> Job:
        """The job of a task, whose function is run in this process, and where its caller is."""
        job = self._app.find(delivery)
        task = self._block._book.held(self._queue.name, delivery.id)
        if task is not None:
            most = task.state.max_attempts or job.max_attempts or self._block._options['max_attempts']
            task.endless = most is None or most < 0
        if is_async(job.call):
            return job
        portable = (job.run_in or self._block._options['run_in']) == 'process'
        if portable:
            _check_portable(job.call)
        return job._replace(call=functools.partial(_run_plain, job, portable), run_in='thread')


async def _run_plain(job: Job, portable: bool, delivery: Delivery) -> Any:
    """Run a plain function where its caller is; with what is around it in a thread, if it is not for a process."""
    around = None if portable else job.around_thread or delivery.job.around_thread
    result = await run_in_caller(_call, job.call, around, delivery)
    return await result if inspect.isawaitable(result) else result


def _call(
    call: Callable[[Delivery], Any],
    around: Callable[[Delivery], AbstractContextManager[Any]] | None,
    delivery: Delivery,
) -> Any:
    if around is None:
        return call(delivery)
    with around(delivery):
        return call(delivery)


def _uncalled(delivery: Delivery) -> None:
    raise AssertionError('an app has a job for each task')


def _check_portable(call: Callable[..., Any]) -> None:
    try:
        pickle.dumps(call)
    except Exception as exc:
        raise TorrelqueTypeError(f'a handler that runs in a process must be a function of a module: {exc}') from exc


class Eager(Standing):
    """A block in which what apps enqueue runs at once, see `eager`."""

    def __init__(self, apps: Sequence[Tasks], state: Any, most_attempts: int, options: dict[str, Any]) -> None:
        super().__init__(apps)
        self._state = state
        self._options = options
        self._book = Book(check_count(most_attempts, 'most_attempts'))
        # Where a task uses the client of its queue, this host is what the error names.
        self._client = redis.asyncio.Redis(host='no-server.in.testing.eager.invalid')
        # Legend.  _busy: what is being run of groups that have one task at a time.
        self._busy: dict[tuple[Tasks, str, str | None], Run] = {}
        # What a worker refuses is refused here, and not by the first task.
        Worker(Torrelque(self._client), _uncalled, **options)

    def __repr__(self) -> str:
        return f'<Eager {", ".join(map(repr, self._apps))}: {len(self._book.tasks)} tasks>'

    def __enter__(self) -> Eager:
        self._begin()
        return self

    async def __aenter__(self) -> Eager:
        self._begin()
        return self

    @property
    def tasks(self) -> list[EagerTask]:
        """What was enqueued in the block, in this order: the task of a task behind that one."""
        return [*self._book.tasks]

    # Parts

    def _ground_of(self, app: Tasks) -> Ground:
        return _Ground(self, app)

    async def _run(self, app: Tasks, queue: MemoryQueue, task: EagerTask) -> None:
        """Have a task run, and what it enqueues."""
        book = self._book
        if len(_above.get()) >= DEEPEST and book.stuck is None:
            why = f'it is enqueued by a task, which a task has enqueued, and so on, {DEEPEST} times'
            book.stuck = queue.not_idle(task, why)
        if book.stuck is not None and _above.get():
            return
        if task.name is not None and task.name not in app.functions and job_of_layer(task.name) is None:
            others = [other for other in self._apps if task.name in other.functions]
            if not others:
                return
            app = others[0]
        limit = book.limits.get((queue.name, task.group))
        if limit is None or limit.concurrency != 1:
            run = Run()
            run.add(task)
            await self._work(app, queue, run)
        else:
            await self._run_in_turn(app, queue, task)
        if book.stuck is not None and not _above.get():
            stuck, book.stuck = book.stuck, None
            raise stuck

    async def _run_in_turn(self, app: Tasks, queue: MemoryQueue, task: EagerTask) -> None:
        """Have a task of an ordered queue run behind those that were enqueued before, in this event loop or another."""
        place = app, queue.name, task.group
        while task.state.status is TorrelqueTaskStatus.PENDING:
            with self._book.lock:
                run = self._busy.get(place)
                if first := run is None:
                    run = self._busy[place] = Run()
                run.add(task)
            if first:
                await self._work(app, queue, run, place)
            elif run in _above.get():
                # The task comes behind the one that enqueues it, and must not be waited for here.
                return
            while not task.settled:
                await task.changed(task.state)

    async def _work(
        self, app: Tasks, queue: MemoryQueue, run: Run, place: tuple[Tasks, str, str | None] | None = None
    ) -> None:
        above = _above.get()
        _above.set((*above, run))
        served = _Served(self, app, queue.for_worker(run))
        try:
            while self._goes_on(run, place):
                worker = Worker(served, burst=True, signals=False, concurrency=1, name='eager', **self._options)
                # Nothing comes by itself, so there is nothing to wait for.
                worker._source.looks_out = False
                worker._handling.resolver.adapts = False
                await worker.run()
        finally:
            _above.set(above)
            with self._book.lock:
                if place is not None and self._busy.get(place) is run:
                    del self._busy[place]
            for task in run.tasks:
                task.leave()

    def _goes_on(self, run: Run, place: tuple[Tasks, str, str | None] | None) -> bool:
        with self._book.lock:
            if run.pending and self._book.stuck is None:
                return True
            if place is not None:
                del self._busy[place]
            return False


def eager(
    app: Tasks | Sequence[Tasks],
    *,
    state: Any = ENTERED,
    most_attempts: int = 100,
    max_attempts: int | None = None,
    retry: RetryRule = Backoff(),  # noqa: B008 - it is frozen
    timeout: Duration | None = None,
    result_ttl: Duration | None = None,
    run_in: Literal['thread', 'process'] = 'thread',
    middleware: Sequence[Middleware] = (),
    around_thread: Callable[[Delivery], AbstractContextManager[Any]] | None = None,
    on_start: Callable[[Delivery], Any] | None = None,
    on_success: Callable[[Delivery, Any], Any] | None = None,
    on_error: Callable[[Delivery, BaseException], Any] | None = None,
    on_dead: Callable[[Delivery, BaseException], Any] | None = None,
) -> Eager:
    """Have all that an app enqueues in a block run at once, in this process and without a server.

    When ``enqueue``, ``push``, ``map`` or a call of an ordered function returns, the task has ended, with all its
    attempts; the handle tells how.  What the worker does is what a real one does, because a real one runs: arguments,
    results and headers go through the serialiser and the types of the app, and what a call must not say is refused.

    - *Time does not pass.*  A task that is delayed, or tried again, runs without waiting.  Limits, rates and pauses are
      not there; calls of an ordered queue run one at a time.
    - *Where it runs.*  A coroutine function runs in the event loop that enqueues; a function in the thread that
      enqueues or, where that has an event loop, in another thread; never in another process.
    - *State.*  The app's ``lifespan`` is entered for each call from outside, and left when that call has ended, and
      what it has enqueued.
    - *What is kept.*  A final state that would be kept for a while is there until the end of the block; so a second
      task of the same ``task_id`` is refused.
    - *Other names.*  A task of a function that none of the apps knows (``check=False``) is recorded, and stays pending.
    - *Waiting for what never comes*, such as the result of that one, raises `TorrelqueTimeoutError` at once.
    - Inside a task, what it enqueues runs before the call returns; in its own ordered queue, behind it.
    - *What has no end*: a task that would be tried for ever, or enqueues itself again and again, raises `NotIdleError`
      in the call from outside.

    :param app: an app, or several.
    :param state: what ``current().state`` is to be; then no ``lifespan`` is entered.
    :param most_attempts: how often a task is tried that nothing else limits.

    The others are as in `torrelque.worker.Worker`.

    :raises TorrelqueError: a worker serves the app.
    :raises TorrelqueTypeError: an argument is of the wrong kind.
    :raises TorrelqueValueError: it cannot be meant.

    The block may be ``with`` or ``async with``; it gives an `Eager`, whose ``tasks`` tell what was enqueued.  Handles
    of the block are of no use behind it.
    """
    options = {
        'max_attempts': max_attempts, 'retry': retry, 'timeout': timeout, 'result_ttl': result_ttl, 'run_in': run_in,
        'middleware': middleware, 'around_thread': around_thread, 'on_start': on_start, 'on_success': on_success,
        'on_error': on_error, 'on_dead': on_dead,
    }  # fmt: skip
    return Eager(checked_apps(app), state, most_attempts, options)
