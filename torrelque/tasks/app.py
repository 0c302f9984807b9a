"""The app: functions whose calls are tasks of a queue, and what a worker does with them."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import MappingProxyType, TracebackType
from typing import Any, Literal, ParamSpec, TypeVar, overload

from torrelque import (
    Duration,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueSerialiser,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.protocol.check import (
    MIN_SECONDS,
    check_attempts,
    check_call,
    check_flag,
    check_hooks,
    check_name,
    check_run_in,
    check_seconds,
)
from torrelque.worker import Delivery, Job, RetryRule
from torrelque.worker.retry import check_rule

from .adapters import Types
from .address import find_url, make_client
from .context import Context, check_contexts
from .definition import Definition
from .flowing import Flowing, job_of_layer
from .function import Enqueuer, FifoDecorator, FifoFunction, Function, TaskDecorator
from .ground import new_queue
from .handle import Handle
from .loops import Loops, called, running_loop
from .options import Group, Options, Priority
from .producing import EnqueueMiddleware, check_middleware
from .scheduling import Scheduling
from .serving import Queues, Serving, check_queues, without
from .types import Choice, make_types
from .work import Work

P = ParamSpec('P')
T = TypeVar('T')
Self = TypeVar('Self', bound='Tasks')

FIFO = 'fifo:'
"""What the group of an ordered queue begins with, before the name of the queue."""


class Tasks(Flowing, Scheduling):
    """Functions whose calls can be enqueued, and run by a worker: ``Worker(app)``.

    :param queue: where the tasks are.  The object is used in one event loop, that of the first use of the app or of its
        first worker; for other event loops the app makes other objects of the same client, serialiser and name.
    :param keep: how long (s) the final state of a task stays, whatever its function returned, where neither call, nor
        function, nor worker says a ``result_ttl``; so `handle` can tell a task that is done from one that never was.
        With 0 only results are kept: a task that returned None is forgotten at once, a result stays as the queue says.
    :param make_queue: makes a queue object for another event loop, where one of the same client will not do: the client
        of a Sentinel or of a Cluster belongs to one event loop, and is refused in a second.
    :param queues: names of queues on the same server in the order in which a worker is to serve them; or a mapping of
        names to weights, by which they share the worker while all have tasks.  Queues that are not named here, the
        app's own first, then those of functions, come behind them, with a weight of 1.
    :param lifespan: called with the app; makes an asynchronous context manager that each worker enters before its first
        task and leaves after its last one.  What it yields is ``current().state``.
    :param around_thread: see `torrelque.worker.Worker`; it goes before that of the worker.
    :param middleware: what calls go through before they are enqueued, the first outermost; see
        `torrelque.tasks.EnqueueMiddleware`.
    :param types: what carries arguments and results over JSON by the annotations of the functions.  ``'auto'``:
        pydantic, where an annotation has a model or another type of pydantic; else msgspec, if that is installed; and
        nothing where the queue's serialiser does not write JSON.  ``'msgspec'`` or ``'pydantic'``: that one.  None: no
        conversion and no check.  Or an object whose ``adapter(annotation)`` makes a `torrelque.tasks.Adapter`.
    :param name: by which the app owns the schedules that it declares, see ``app.cron``: a worker that begins removes
        those that the app has declared before, and does not any more.  Without a name none is removed.
    :param revision: which version of the application this is, a number that grows with each; what a higher one has
        declared, a worker of a lower one leaves as it is.  Without it, the worker counts that began last.
    :param context: what goes along with calls beside their arguments, such as the context of a trace, see
        `torrelque.tasks.Context`; or several, the first outermost.

    An app may be used in several event loops and threads, and by synchronous code (`Enqueuer.push`, `call`), for which
    it has an event loop of its own, in a thread that begins with the first such call.  The queue objects that the app
    made are closed with their event loop, by ``aclose()``, or by ``close()``; the one that it was given is the
    caller's.
    """

    def __init__(
        self,
        queue: TorrelqueQueue,
        *,
        keep: Duration = 600,
        make_queue: Callable[[], TorrelqueQueue] | None = None,
        queues: Queues = (),
        lifespan: 'Callable[[Tasks], AbstractAsyncContextManager[Any]] | None' = None,
        around_thread: Callable[[Delivery], AbstractContextManager[Any]] | None = None,
        middleware: Sequence[EnqueueMiddleware] = (),
        types: Choice | Types | None = 'auto',
        name: str | None = None,
        revision: int | None = None,
        context: Context | Sequence[Context] | None = None,
    ) -> None:
        if not isinstance(queue, TorrelqueQueue):
            raise TorrelqueTypeError(f'an app needs a queue of torrelque, not {type(queue).__name__}')
        if keep is None:
            raise TorrelqueTypeError('keep must be a number of seconds, not NoneType; 0 keeps nothing')
        if lifespan is not None:
            check_call(lifespan, 'lifespan', 'app')
        if around_thread is not None:
            check_call(around_thread, 'around_thread', 'delivery')
        super().__init__(name, revision)
        self._name = queue.name
        self._keep = check_seconds(keep, 'keep', least=MIN_SECONDS)
        self._queues = check_queues(queues)
        self._lifespan, self._around_thread = lifespan, around_thread
        self._middleware = check_middleware(middleware)
        if make_queue is not None and not callable(make_queue):
            raise TorrelqueTypeError(f'make_queue must be callable, not {make_queue!r}')
        self._types = make_types(types, queue.serialiser)
        self._loops = Loops(queue, make_queue)
        self._loops.contexts = self._contexts = check_contexts(context)
        self._definitions: dict[str, Definition] = {}
        self._functions: dict[str, Function[..., Any, Any] | FifoFunction[..., Any, Any]] = {}

    @classmethod
    def from_url(
        cls: type[Self],
        url: str | None = None,
        *,
        queue: str = 'default',
        shards: int | None = None,
        serialiser: TorrelqueSerialiser | None = None,
        keep: Duration = 600,
        queues: Queues = (),
        lifespan: 'Callable[[Tasks], AbstractAsyncContextManager[Any]] | None' = None,
        around_thread: Callable[[Delivery], AbstractContextManager[Any]] | None = None,
        middleware: Sequence[EnqueueMiddleware] = (),
        types: Choice | Types | None = 'auto',
        name: str | None = None,
        revision: int | None = None,
        context: Context | Sequence[Context] | None = None,
    ) -> Self:
        """An app with clients of its own, which it closes with its queue objects; each event loop has another client.

        :param url: the address of the server: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://HOST:PORT,…/
            SERVICE``, ``redis+cluster://HOST:PORT,…``; by default that of ``TORRELQUE_URL`` or ``REDIS_URL``, read now,
            or else ``redis://localhost``.
        :param queue: the name of the app's own queue.
        :param shards: of how many shards its queues are, which may be on as many primaries of a Cluster: each is a
            `torrelque.sharded.Sharded`.  None has each in one place of one server.
        :param serialiser: as in `torrelque.Torrelque`.
        :raises TorrelqueValueError: the address cannot be meant.  Nothing is connected yet.

        The others are as in the class.
        """
        address = find_url(url)
        own: dict[str, Any] = {'queue': queue} if serialiser is None else {'queue': queue, 'serialiser': serialiser}

        def make_queue() -> TorrelqueQueue:
            return new_queue(make_client(address), shards, **own)

        app = cls(
            make_queue(), make_queue=make_queue, keep=keep, queues=queues, lifespan=lifespan,
            around_thread=around_thread, middleware=middleware, types=types, name=name, revision=revision,
            context=context,
        )  # fmt: skip
        app._loops.own_clients()
        return app

    def __repr__(self) -> str:
        return f'<Tasks of {self._name!r}: {len(self._functions)} functions>'

    @property
    def functions(self) -> 'Mapping[str, Function[..., Any, Any] | FifoFunction[..., Any, Any]]':
        """The decorated functions by their names."""
        return MappingProxyType(self._functions)

    @property
    def queue(self) -> TorrelqueQueue:
        """The queue object of the running event loop.

        :raises TorrelqueError: none runs here; synchronous code calls the queue by `call`.
        """
        return self.queue_named(self._name)

    def queue_named(self, name: str) -> TorrelqueQueue:
        """The queue object of the running event loop for any queue of the app's server.

        :raises TorrelqueError: none runs here, as for `queue`.
        """
        if running_loop() is not None:
            return self._loops.here().find(check_name(name, 'the name of a queue'))
        raise TorrelqueError('no event loop runs here; app.call(lambda: app.queue.redrive()) calls the queue in one')

    # Decorators

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, Work[T]] | Work[T]], /) -> Function[P, Any, T]: ...

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Function[P, Coroutine[Any, Any, T], T]: ...

    @overload
    def task(self, function: Callable[P, T], /) -> Function[P, T, T]: ...

    @overload
    def task(
        self,
        *,
        name: str | None = None,
        max_attempts: int | None = None,
        timeout: Duration | None = None,
        retry: RetryRule | None = None,
        group: Group | None = None,
        priority: Priority | None = None,
        task_timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        run_in: Literal['thread', 'process'] | None = None,
        on_success: Callable[[Delivery, Any], Any] | None = None,
        on_error: Callable[[Delivery, BaseException], Any] | None = None,
        on_dead: Callable[[Delivery, BaseException], Any] | None = None,
        queue: str | None = None,
        expires: Duration | None = None,
    ) -> TaskDecorator: ...

    def task(
        self,
        function: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        max_attempts: int | None = None,
        timeout: Duration | None = None,
        retry: RetryRule | None = None,
        group: Group | None = None,
        priority: Priority | None = None,
        task_timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        run_in: Literal['thread', 'process'] | None = None,
        on_success: Callable[[Delivery, Any], Any] | None = None,
        on_error: Callable[[Delivery, BaseException], Any] | None = None,
        on_dead: Callable[[Delivery, BaseException], Any] | None = None,
        queue: str | None = None,
        expires: Duration | None = None,
    ) -> Any:
        """Decorate a function, so that its calls can be enqueued; called as usual it runs right here.

        A coroutine function is run in the event loop of the worker; a function in a thread or a process, so it may
        block.  What the function returns is the result, what it raises a failed attempt, see `torrelque.worker.Worker`.

        :param name: what its tasks are called in their payload, unique in the app; module and name by default.
        :param max_attempts: how often a task is tried; -1 is for ever.  By default, as the worker says.
        :param timeout: how long (s) it may run, see `torrelque.worker.Worker`.
        :param retry: when a failed task is tried again, see `torrelque.worker.RetryRule`; None is as the worker says.
        :param run_in: ``'thread'`` or ``'process'``.  For a process it must be a function of a module, by its name.
        :param on_success: called with delivery and result when a task was released.
        :param on_error: called with delivery and exception after each failed attempt.
        :param on_dead: called with delivery and exception when a task is dead.
        :raises TorrelqueTypeError: an option is of the wrong kind, or what is decorated no function; nothing is added.
        :raises TorrelqueValueError: an option cannot be meant, such as a time of more than 10,000,000,000 s or, but for
            0, of less than a millisecond; or the app has a function of the name.

        ``queue``, ``expires``, ``group``, ``priority``, ``task_timeout`` and ``result_ttl`` are as in
        `Enqueuer.options`.
        """
        options = Options().changed(
            group=group, priority=priority, max_attempts=max_attempts, task_timeout=task_timeout, result_ttl=result_ttl,
            queue=queue, expires=expires,
        )  # fmt: skip
        _check_running(timeout, run_in)
        if retry is not None:
            check_rule(retry)
        check_hooks(on_success=on_success, on_error=on_error, on_dead=on_dead)
        job = Job(
            _unmade, '', max_attempts, retry, timeout, result_ttl, run_in, on_success, on_error, on_dead, self._keep,
            around_thread=self._around_thread,
        )  # fmt: skip

        def decorate(function: Callable[..., Any]) -> Any:
            definition = Definition(
                function, name, options, job, None, self._middleware, self._types, self._contexts
            )
            return self._add(Function(self._loops, definition))

        return decorate if function is None else decorate(function)

    def fifo(
        self,
        *,
        queue: str,
        max_retries: int = -1,
        retry_wait: RetryRule = 3,
        name: str | None = None,
        timeout: Duration | None = None,
        task_timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        run_in: Literal['thread', 'process'] | None = None,
        on_success: Callable[[Delivery, Any], Any] | None = None,
        on_error: Callable[[Delivery, BaseException], Any] | None = None,
        on_dead: Callable[[Delivery, BaseException], Any] | None = None,
    ) -> FifoDecorator:
        """Decorate a function, so that calling it as usual enqueues the call, in strict order.

        The calls of all functions of one ``queue`` run one at a time in the order in which they were made, across all
        instances of the application.  A call that fails is tried again before the next one begins; when its retries
        are used up it is dead, and the next one begins.  When a worker is killed its call is the next to run, after
        ``task_timeout`` seconds at the latest.

        :param queue: a name; the tasks are in the app's queue, in the group ``fifo:NAME``.
        :param max_retries: how often a failed call is tried again; -1 is for ever.  An attempt whose worker was killed
            counts as one.
        :param retry_wait: how long (s) to wait before that, or another `torrelque.worker.RetryRule`.

        The others are as in `task`.
        """
        if max_retries is None:
            raise TorrelqueTypeError('max_retries must be an int, not NoneType; -1 is for ever')
        check_attempts(max_retries, 'max_retries', least=0)
        most = -1 if max_retries == -1 else max_retries + 1
        group = FIFO + check_name(queue, 'queue')
        options = Options().changed(
            group=group, max_attempts=most, task_timeout=task_timeout, result_ttl=result_ttl
        )
        _check_running(timeout, run_in)
        check_rule(retry_wait, 'retry_wait')
        check_hooks(on_success=on_success, on_error=on_error, on_dead=on_dead)
        job = Job(
            _unmade, '', most, retry_wait, timeout, result_ttl, run_in, on_success, on_error, on_dead, self._keep,
            around_thread=self._around_thread,
        )  # fmt: skip

        def decorate(function: Callable[..., Any]) -> Any:
            definition = Definition(
                function, name, options, job, group, self._middleware, self._types, self._contexts
            )
            return self._add(FifoFunction(self._loops, definition))

        return decorate

    # Producers

    async def enqueue(self, name: str, /, *args: Any, check: bool = True, **kwargs: Any) -> Handle[Any]:
        """Enqueue a call of a function by its name.

        :param check: False lets a name pass that the app does not know, because the function is another program's.  For
            an argument of a function that is called ``check`` as well, use `named`.
        :raises TorrelqueLookupError: there is no function of this name; nothing was sent.
        """
        handle: Handle[Any] = await self._caller(name, check).enqueue(*args, **kwargs)
        return handle

    def push(self, name: str, /, *args: Any, check: bool = True, **kwargs: Any) -> Handle[Any]:
        """As `enqueue`, for synchronous code."""
        handle: Handle[Any] = self._caller(name, check).push(*args, **kwargs)
        return handle

    def named(self, name: str, /, **options: Any) -> Enqueuer[..., Any]:
        """A function by its name, with the options of `Enqueuer.options`; the app need not know it.

        The arguments of a function that the app does not know are not checked before a worker has them.
        """
        function: Enqueuer[..., Any] = self._caller(name, False)
        return function.options(**options) if options else function

    def handle(self, task_id: str, *, queue: str | None = None) -> Handle[Any]:
        """A handle of a task that was enqueued before, maybe by another process.

        :param queue: the name of the task's queue, where it is not the app's own.  `Enqueuer.handle` knows that, and
            the type of the result.
        """
        if queue is not None:
            check_name(queue, 'queue')
        return Handle(self._loops, check_name(task_id, 'a task id'), queue=queue)

    def call(self, coroutine: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine, such as ``send.map([…])`` or ``handle.state()``, in an event loop of the app; its result.

        For synchronous code; the event loop is that of `Enqueuer.push`.  What the queue itself can do is asked for
        there, by a function: ``app.call(lambda: app.queue.get_queue_stats())``.

        :raises TorrelqueError: an event loop runs here, which the call would block.
        :raises TorrelqueClosedError: the app was closed meanwhile.
        """
        made: Coroutine[Any, Any, T] = coroutine if isinstance(coroutine, Coroutine) else called(coroutine)
        return self._loops.call(made)

    # The worker's part

    def serving(self, queues: Queues | None = None, steal: Sequence[str] = ()) -> Serving:
        """The app for a worker that serves some queues only: ``Worker(app.serving(['urgent']))``.

        :param queues: their names, of which the first that has tasks goes first; or a mapping of names to weights, by
            which they share the worker while all have tasks.  By default all, as `Tasks` says.
        :param steal: names of queues that are served while the others have nothing.
        :raises TorrelqueTypeError: they are no names.
        :raises TorrelqueValueError: a name or weight cannot be meant, or a name is there twice.
        """
        if queues is None:
            queues = without(self._all_queues(), steal)
        return Serving(self, queues, steal)

    @property
    def queues(self) -> tuple[TorrelqueQueue, ...]:
        """The queues, as objects for one worker."""
        return self.serving().queues

    @property
    def queues_here(self) -> tuple[TorrelqueQueue, ...]:
        """The queues, as the objects that the app uses in the running event loop, and closes."""
        return tuple(map(self._loops.here().find, self._all_queues()))

    @property
    def weights(self) -> dict[TorrelqueQueue, int] | None:
        """By which the queues share a worker, if that was said."""
        return self.serving().weights

    @property
    def lifespan(self) -> Callable[[], AbstractAsyncContextManager[Any]]:
        """What a worker enters before its first task."""
        return self._served

    def lend(self, name: str) -> TorrelqueQueue:
        """A queue of the app's server, as an object for one worker."""
        return self._loops.lend(name)

    @property
    def has_on_dead(self) -> bool:
        """Whether a function has an ``on_dead`` of its own.  If none has, a worker need not look for deaths that nobody
        saw."""
        return any(definition.job.on_dead is not None for definition in self._definitions.values())

    async def prepare(self) -> None:
        """Have ordered queues run one task at a time, and set what ``app.cron`` has declared.  A worker calls this in
        its event loop before its first claim.

        :raises TorrelqueTypeError: an annotation of a function names what is not there; or a function that
            ``app.cron`` decorates is none of the app's.
        """
        self._check_early()
        for definition in self._definitions.values():
            definition.callee.complete()
        here = self._loops.begin()
        for definition in self._definitions.values():
            if definition.fifo is not None:
                await self._loops.keep_order(here, definition.fifo)
        if self._keeps_schedules:
            await self.schedules.prepare()

    def find(self, delivery: Delivery) -> Job:
        """What a worker does with a task.

        :raises TorrelqueLookupError: there is no function of its name, in this version of the app.
        :raises TorrelqueValueError: it is no call.
        """
        task = delivery.task
        try:
            definition = self._definitions.get(task['task'])
            fine = isinstance(task.get('args', ()), (list, tuple)) and isinstance(task.get('kwargs', {}), dict)
        except (AttributeError, KeyError, TypeError):
            fine, definition = False, None
        if not fine:
            raise TorrelqueValueError('the task is no call of a function: {"task": NAME, "args": […], "kwargs": {…}}')
        if definition is None:
            if (job := job_of_layer(task['task'])) is not None:
                return job
            # What is no text is a name in no version of the app.
            kind = TorrelqueLookupError if isinstance(task['task'], str) else TorrelqueValueError
            raise kind(self._unknown(task['task']))
        return definition.job_of(task)

    # The end

    async def aclose(self) -> None:
        """Wait for calls that are on their way, and close what the app has made in all event loops.

        Calls of other threads that come to no end within some seconds raise `torrelque.TorrelqueClosedError`.  When
        cancelled, what is closed in other event loops goes on.  The app may be used again.
        """
        await self._loops.aclose()

    def close(self) -> None:
        """As `aclose`, for synchronous code.

        :raises TorrelqueError: an event loop runs here, which the call would block.
        """
        self._loops.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # Parts

    @contextlib.asynccontextmanager
    async def _served(self) -> AsyncIterator[Any]:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._loops.served())
            if self._keeps_schedules:
                await stack.enter_async_context(self.schedules.kept())
            yield None if self._lifespan is None else await stack.enter_async_context(self._lifespan(self))

    def _all_queues(self) -> Queues:
        """The queues that a worker serves, where nothing says which."""
        own = [definition.options.queue or self._name for definition in self._definitions.values()]
        others = [name for name in dict.fromkeys([self._name, *own]) if name not in self._queues]
        if isinstance(self._queues, Mapping):
            return {**self._queues, **dict.fromkeys(others, 1)}
        return [*self._queues, *others]

    def _add(self, function: Any) -> Any:
        if function.name in self._functions:
            raise TorrelqueValueError(f'the app has a function {function.name!r} already')
        self._functions[function.name] = function
        self._definitions[function.name] = function._definition
        if self._early:
            self._declare_early(function)
        return function

    def _caller(self, name: str, check: bool) -> Any:
        """What enqueues calls of a function by its name; with ``check``, of one that the app knows."""
        function = self._functions.get(check_name(name, 'the name of a function'))
        if function is not None:
            return function
        if check_flag(check, 'check'):
            error = TorrelqueLookupError(f'{self._unknown(name)} (check=False enqueues what another program knows)')
            error.queue = self._name
            raise error
        job = Job(_unmade, keep=self._keep)
        definition = Definition(_any, name, Options(), job, None, self._middleware, None, self._contexts)
        return Enqueuer(self._loops, definition, Options())

    def _unknown(self, name: str) -> str:
        return f'the app has no function {name!r}; was its module imported?'


def _check_running(timeout: Duration | None, run_in: str | None) -> None:
    """Refuse how a function is to run, where that is said."""
    if timeout is not None:
        check_seconds(timeout, 'timeout', least=MIN_SECONDS, positive=True)
    if run_in is not None:
        check_run_in(run_in)


def _any(*args: Any, **kwargs: Any) -> None:
    """Stands for a function of another program."""


def _unmade(delivery: Delivery) -> None:
    raise AssertionError('a definition makes the call of its job')
