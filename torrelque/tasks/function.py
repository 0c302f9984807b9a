"""What the decorators make of a function, and what a caller can do with it."""

import datetime
import functools
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from torrelque import TorrelqueTypeError

from .definition import Definition
from .handle import Handle
from .loops import InLoop, Loops, refuse_in_loop, running_loop
from .options import Group, Options, Priority, check_fits, instant

P = ParamSpec('P')
R = TypeVar('R')
T = TypeVar('T')


class Enqueuer(Generic[P, T]):
    """A function with the options of its calls; `Enqueuer.options` makes others."""

    def __init__(self, loops: Loops, definition: Definition, options: Options) -> None:
        # Legend.  _loops: what the app has in its event loops.  _definition: what it knows of the function.  _options:
        # how calls are enqueued.  _head: what all payloads begin with.  _given: the options that all calls pass to the
        # queue alike.  _moves: whether some option is another for each call.
        self._loops = loops
        self._definition = definition
        self._options = options
        extras = definition.extras(options)
        self._head = {'task': definition.name, **extras}
        most = None if options.max_attempts == -1 else options.max_attempts
        given: dict[str, Any] = {
            'delay': options.delay,
            'group': options.group,
            'priority': options.priority,
            'task_timeout': options.task_timeout,
            'max_attempts': most,
        }
        self._given = {name: value for name, value in given.items() if value is not None}
        self._moves = options.eta is not None or callable(options.group) or callable(options.priority)

    @property
    def name(self) -> str:
        """The name that is in the payload of its tasks."""
        return self._definition.name

    async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
        """Enqueue a call.  Whether a cancelled call was enqueued is unknown, unless it has a ``task_id``.

        :raises TorrelqueTypeError: the arguments are not those of the function, or cannot be serialised; nothing was
            sent.
        :raises TorrelqueDuplicateError: the queue knows the ``task_id`` of `options`.
        :raises TorrelqueFullError: the queue has the ``max_tasks`` of `options`.
        """
        return await self._enqueue(self._pack(args, kwargs), args, kwargs)

    def push(self, /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
        """As `enqueue`, for synchronous code: it waits until the queue has the task.

        The call goes through the event loop that the app keeps in a thread for such calls; other event loops have no
        part in it.

        :raises TorrelqueError: an event loop runs here, which the call would block.
        :raises TorrelqueClosedError: the app was closed meanwhile.
        """
        refuse_in_loop()
        payload = self._pack(args, kwargs)
        return self._loops.call(self._enqueue(payload, args, kwargs))

    async def map(self, arguments: Iterable[Any]) -> list[Handle[T]]:
        """Enqueue a call for each element of an iterable of any length, which is its only argument.

        The calls are sent some hundred at a time.  When one fails, for example because its argument is refused, the
        rest is not sent, and `torrelque.TorrelqueBulkError` has the ids of those that are in the queue.
        """
        return await self._map((argument,) for argument in arguments)

    async def starmap(self, arguments: Iterable[Iterable[Any]]) -> list[Handle[T]]:
        """As `map`; each element has all arguments of a call, by their place."""
        return await self._map(tuple(one) for one in arguments)

    def options(
        self,
        *,
        delay: float | None = None,
        eta: datetime.datetime | float | None = None,
        group: Group | None = None,
        priority: Priority | None = None,
        task_id: str | None = None,
        max_attempts: int | None = None,
        task_timeout: float | None = None,
        result_ttl: float | None = None,
        max_tasks: int | None = None,
    ) -> 'Enqueuer[P, T]':
        """The same function with other options for calls; an option that is None stays as it is.

        :param delay: time (s) until the task can be taken.
        :param eta: when the task can be taken: a ``datetime`` with a time zone, or a Unix time; at once when that is
            past.  It becomes a delay by the clock of this machine.
        :param group: see `torrelque.Torrelque.enqueue`; or a function that is called with the arguments.
        :param priority: see there; or a function that is called with the arguments.
        :param task_id: an id of the caller's own, so that the same thing is not enqueued twice.
        :param max_attempts: how often the task is tried; -1 is for ever.
        :param task_timeout: length (s) of the task's leases: how long it takes until a task whose worker was killed is
            taken by another one.  Workers renew leases, so this is no limit for the function.
        :param result_ttl: how long (s) the final state and the result can be read, a result of None too; it goes before
            the ``keep`` of `Tasks`.
        :param max_tasks: how many tasks the queue may have before the call is refused.
        """
        changed = self._options.changed(
            delay=delay, eta=instant(eta), group=group, priority=priority, task_id=task_id, max_attempts=max_attempts,
            task_timeout=task_timeout, result_ttl=result_ttl, max_tasks=max_tasks,
        )  # fmt: skip
        if self._definition.fifo is not None and (group is not None or priority is not None):
            raise TorrelqueTypeError('the calls of an ordered queue have its group, and no priority')
        check_fits(group, 'group', self._definition.signature)
        check_fits(priority, 'priority', self._definition.signature)
        return Enqueuer(self._loops, self._definition, changed)

    # Parts

    def _pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        self._definition.check(args, kwargs)
        payload = self._head.copy()
        if args:
            payload['args'] = args
        if kwargs:
            payload['kwargs'] = kwargs
        return payload

    def _gone(self, here: InLoop) -> float | None:
        """How long (s) a result would be there, where nothing is kept of a task without a result."""
        return None if self._definition.keep or self._options.result_ttl is not None else here.queue.result_ttl

    async def _enqueue(self, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[T]:
        if self._definition.fifo is not None:
            return await self._begin(payload, args, kwargs)
        here = self._loops.here()
        return Handle(self._loops, await self._send(here, payload, args, kwargs), self._gone(here))

    async def _send(
        self, here: InLoop, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str:
        options = self._options
        given = self._given
        if self._moves:
            given = {**given, 'delay': options.delay_now()}
            if callable(options.group):
                given['group'] = options.group(*args, **kwargs)
            if callable(options.priority):
                given['priority'] = options.priority(*args, **kwargs)
        return await here.limited(options.max_tasks).enqueue(payload, task_id=options.task_id, **given)

    def _begin(self, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[T]:
        """Begin a call of an ordered queue, behind those that were begun in this event loop before."""
        here, fifo = self._loops.here(), self._definition.fifo
        assert fifo is not None
        order = here.order(fifo)

        async def send() -> str:
            await self._loops.keep_order(here, fifo)
            order.open()
            return await self._send(here, payload, args, kwargs)

        return Handle(self._loops, None, self._gone(here), order.add(send, f'enqueueing {self.name}'))

    async def _map(self, arguments: Iterator[tuple[Any, ...]]) -> list[Handle[T]]:
        options = self._options
        if options.task_id is not None:
            raise TorrelqueTypeError('a task_id is that of one task')
        here, fifo = self._loops.here(), self._definition.fifo
        given: dict[str, Any] = dict(self._given)
        if self._moves:
            given['delay'] = options.delay_now()
        for name in ('group', 'priority'):
            if callable(choose := given.get(name)):
                given[name] = functools.partial(_of_payload, choose)
        payloads = (self._pack(args, {}) for args in arguments)

        async def send() -> list[Any]:
            if fifo is not None:
                await self._loops.keep_order(here, fifo)
                here.order(fifo).open()
            return await here.limited(options.max_tasks).enqueue_many(payloads, **given)

        ids = await (send() if fifo is None else here.order(fifo).add(send, f'enqueueing {self.name}', alone=True))
        gone = self._gone(here)
        return [Handle(self._loops, task_id, gone) for task_id in ids]


class _Decorated(Enqueuer[P, T], Generic[P, R, T]):
    function: Callable[P, R]
    """The function itself."""
    __name__: str

    def __init__(self, loops: Loops, definition: Definition) -> None:
        super().__init__(loops, definition, definition.options)
        wrapper: Any = self
        functools.update_wrapper(wrapper, definition.function)
        self.function = definition.function

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.name}>'


class Function(_Decorated[P, R, T]):
    """An `Enqueuer` that, called as usual, runs right here; ``function`` is the function itself."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)


class FifoFunction(_Decorated[P, R, T]):
    """An `Enqueuer` of an ordered queue.  Called as usual, it enqueues the call; its ``function`` runs right here."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
        """Enqueue a call, behind all calls of the ordered queue that were made before.

        In synchronous code this waits until the queue has the task.  In an event loop the call begins at once, and
        ``await`` of the handle waits until the queue has the task; where nobody awaits it, an error is logged.
        """
        if running_loop() is None:
            return self.push(*args, **kwargs)
        return self._begin(self._pack(args, kwargs), args, kwargs)


class TaskDecorator(Protocol):
    """Makes a `Function` of a function: what `Tasks.task` gives where it has options."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Function[P, Coroutine[Any, Any, T], T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> Function[P, T, T]: ...


class FifoDecorator(Protocol):
    """Makes a `FifoFunction` of a function: what `Tasks.fifo` gives."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> FifoFunction[P, Coroutine[Any, Any, T], T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> FifoFunction[P, T, T]: ...


def _of_payload(choose: Callable[..., Any], payload: dict[str, Any]) -> Any:
    return choose(*payload.get('args', ()))
