"""What the decorators make of a function, and what a caller can do with it."""

import datetime
import functools
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from torrelque import Duration, TorrelqueBulkError, TorrelqueQueue, TorrelqueTypeError
from torrelque.protocol.check import check_name

from .context import SHARED, Sending, awake, given_context, sending_of
from .converting import kinds_of
from .definition import Definition
from .handle import Handle
from .inloop import InLoop
from .loops import Loops, refuse_in_loop, running_loop
from .options import Group, Options, Priority, check_fits, check_headers, instant, split_expiry
from .producing import Call, enqueue_many_through, enqueue_through
from .work import Work

if TYPE_CHECKING:
    from torrelque.flows import Branches, Step, Takes

A = TypeVar('A')
P = ParamSpec('P')
R = TypeVar('R')
T = TypeVar('T')
U = TypeVar('U')
V = TypeVar('V')

TOGETHER = 250
"""Calls of one `Enqueuer.map` that go through middleware at the same time; they share round trips."""


class Enqueuer(Generic[P, T]):
    """A function with the options of its calls; `Enqueuer.options` makes others."""

    def __init__(self, loops: Loops, definition: Definition, options: Options) -> None:
        # Legend.  _direct: whether calls are sent in no order, and through no middleware.  _plain: whether they have no
        # context of the app either.  _loops: what the app has in its event loops.  _definition: what it knows of the
        # function.  _options: how calls are enqueued.  _queue: the name of the queue, where it is not the app's own.
        # _encode, _decode: what makes plain JSON values of arguments, and the result of such, if anything must.  _sent:
        # kinds of arguments that need none of that.  _head: what all payloads begin with.  _given: the options that all
        # calls pass to the queue alike.  _moves: whether some option is another for each call.
        self._loops = loops
        self._definition = definition
        self._options = options
        self._queue = options.queue
        self._encode = definition.encode
        self._sent = definition.sent
        self._decode = definition.decode_result
        self._direct = definition.fifo is None and not definition.middleware
        self._plain = self._direct and not definition.contexts
        extras = definition.extras(options)
        self._head = {'task': definition.name, **extras}
        most = None if options.max_attempts == -1 else options.max_attempts
        given: dict[str, Any] = {
            'delay': options.delay,
            'group': options.group,
            'priority': options.priority,
            'task_timeout': options.task_timeout,
            'max_attempts': most,
            'depends_on': options.depends_on,
        }
        self._given = {name: value for name, value in given.items() if value is not None}
        self._moves = (
            options.eta is not None or options.deadline is not None or callable(options.group)
            or callable(options.priority)
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The name that is in the payload of its tasks."""
        return self._definition.name

    @property
    def queue_name(self) -> str:
        """The name of the queue that its calls are in."""
        return self._queue or self._loops.name

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

    def prepare(self, /, *args: P.args, **kwargs: P.kwargs) -> Callable[[], Handle[T]]:
        """A call whose arguments are checked now, and which is enqueued when what is returned is called, as by `push`:
        for calls that have to wait for something, such as the commit of a transaction.

        :raises TorrelqueTypeError: the arguments are not those of the function.
        """
        payload = self._pack(args, kwargs)

        def push() -> Handle[T]:
            refuse_in_loop()
            return self._loops.call(self._enqueue({**payload}, args, kwargs))

        push.__qualname__ = f'push of {self.name}'
        return push

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
        delay: Duration | None = None,
        eta: datetime.datetime | float | None = None,
        group: Group | None = None,
        priority: Priority | None = None,
        task_id: str | None = None,
        max_attempts: int | None = None,
        task_timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        max_tasks: int | None = None,
        queue: str | None = None,
        headers: Mapping[str, Any] | None = None,
        expires: Duration | datetime.datetime | None = None,
        depends_on: Iterable[str] | None = None,
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
        :param queue: the name of another queue of the app's server, which a worker must serve: one that the app names
            elsewhere, or that is given to `Tasks.serving`.
        :param headers: what travels beside the arguments, by names, to `torrelque.worker.Delivery.headers`; added to
            those that are there.
        :param expires: time (s) from the call until the task is of no use any more, or when that is: a ``datetime``
            with a time zone.  A task that is handed out later is dead at once, and its error says that it has expired.
            The time is the server's, from when the task was enqueued, whatever became of it since.
        :param depends_on: ids of tasks that must have completed before, see `torrelque.Torrelque.enqueue`.
        """
        changed = self._options.changed(
            delay=delay, eta=instant(eta), group=group, priority=priority, task_id=task_id, max_attempts=max_attempts,
            task_timeout=task_timeout, result_ttl=result_ttl, max_tasks=max_tasks, queue=queue, headers=headers,
            depends_on=depends_on, **split_expiry(expires),
        )  # fmt: skip
        if self._definition.fifo is not None and not (group is None and priority is None and queue is None):
            raise TorrelqueTypeError(
                "the calls of an ordered queue have its group, are in the app's own queue, and have no priority"
            )
        check_fits(group, 'group', self._definition.signature)
        check_fits(priority, 'priority', self._definition.signature)
        return Enqueuer(self._loops, self._definition, changed)

    def s(self, /, *args: P.args, **kwargs: P.kwargs) -> 'Step[T]':
        """A call that is made and not enqueued: a step of a flow, see `torrelque.flows`, or the work of a schedule, see
        `Tasks.schedules`.  Nothing is sent.

        Results of other steps, such as ``extract.s('crm').result``, may be arguments, or be in lists, tuples and dicts
        there; an argument with such inside is not checked before it is there.

        Middleware of the app has no part in it, because what enqueues it later is the queue itself.

        :raises TorrelqueTypeError: the arguments are not those of the function; or an option is of one call at one
            time: ``eta``, ``task_id``, ``max_tasks``, ``depends_on``, an ``expires`` that is an instant.
        """
        step: Step[T] = self._stepper.step(args, kwargs)
        return step

    def __or__(self: 'Takes[A, U]', other: 'Takes[A, V]') -> 'Branches[A, U | V]':
        """Functions that are to get the same result: ``step >> (function | other)``, see `torrelque.flows`."""
        from torrelque.flows.steps import make_branches

        return make_branches(self, other)

    def __lshift__(self: 'Takes[A, U]', other: 'Step[A]') -> 'Step[U]':
        """``function << step`` is ``step >> function``, see `torrelque.flows`."""
        from torrelque.flows.steps import step_behind

        return step_behind(other, self)

    def handle(self, task_id: str) -> Handle[T]:
        """A handle of a call of the function that was enqueued before, maybe by another process."""
        return Handle(self._loops, check_name(task_id, 'a task id'), queue=self._queue, decode=self._decode)

    # Parts

    @functools.cached_property
    def _stepper(self) -> Any:
        # Whoever uses no flows needs nothing of that layer.
        from .stepping import Stepper

        return Stepper(self._loops, self._definition, self._options, self.queue_name, self._given, self._head)

    def _for_each(self, limit: int | None = None) -> Any:
        """What `torrelque.flows.Step.map` has to know of the function."""
        return self._stepper.for_each(limit)

    def _pack(self, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        self._definition.check(args, kwargs)
        if self._encode is not None and (
            kinds_of(args, kwargs) if kwargs else (*map(type, args),)
        ) not in self._sent:
            args, kwargs = self._encode(args, kwargs)
        payload = self._head.copy()
        if args:
            payload['args'] = args
        if kwargs:
            payload['kwargs'] = kwargs
        return payload

    def _pack_dated(self, args: tuple[Any, ...]) -> dict[str, Any]:
        """As `_pack`, where the call has a deadline, which leaves each call another time."""
        payload = self._pack(args, {})
        payload['expires'] = self._options.expires_now()
        return payload

    def _choose(self, choose: Callable[..., Any], payload: dict[str, Any]) -> Any:
        """What a function of the arguments says of a call that is in a payload already."""
        args, kwargs = self._definition.unpack(payload)
        return choose(*args, **kwargs)

    def _gone(self, here: InLoop) -> float | None:
        """How long (s) a result would be there, where nothing is kept of a task without a result."""
        return None if self._definition.keep or self._options.result_ttl is not None else here.queue.result_ttl

    async def _enqueue(self, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[T]:
        # Contexts that have nothing to give are as none.
        if (not self._plain or SHARED) and (not self._direct or awake(self._definition.contexts)):
            return await self._enqueue_otherwise(payload, args, kwargs)
        here = self._loops.here()
        task_id = await self._send(here, payload, args, kwargs)
        return Handle(self._loops, task_id, self._gone(here), None, self._queue, self._decode)

    async def _enqueue_otherwise(
        self, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Handle[T]:
        """As `_enqueue`, through middleware, in strict order, or with a context."""
        if self._definition.fifo is not None:
            return await self._begin(payload, args, kwargs)
        here = self._loops.here()
        way = self._send_through if self._definition.middleware else self._send_now
        task_id = await way(here, payload, args, kwargs)
        return Handle(self._loops, task_id, self._gone(here), None, self._queue, self._decode)

    async def _send_now(
        self, here: InLoop, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str:
        if not (contexts := awake(self._definition.contexts)):
            return await self._send(here, payload, args, kwargs)
        options = self._options
        sending = sending_of(
            here.find(self._queue, options.max_tasks), self.name, options.group, options.priority
        )
        with given_context(contexts, sending) as context:
            if context is not None:
                payload['context'] = context
            task_id = await self._send(here, payload, args, kwargs)
            sending.ids = [task_id]
        return task_id

    async def _send(
        self, here: InLoop, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str:
        options = self._options
        given = self._given
        if self._moves:
            given = {**given, 'delay': options.delay_now()}
            if options.deadline is not None:
                payload['expires'] = options.expires_now()
            if self._definition.spends:
                args, kwargs = self._definition.unpack(payload)
            if callable(options.group):
                given['group'] = options.group(*args, **kwargs)
            if callable(options.priority):
                given['priority'] = options.priority(*args, **kwargs)
        return await here.find(self._queue, options.max_tasks).enqueue(payload, task_id=options.task_id, **given)

    async def _send_through(
        self, here: InLoop, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str:
        """Send a call through the middleware of the app."""

        async def send(call: Call) -> str:
            return await self._send_now(here, self._pack_call(call), call.args, call.kwargs)

        if self._definition.spends:
            args, kwargs = self._definition.unpack(payload)
        call = Call(self.name, args, kwargs, dict(self._options.headers or {}), self._queue or here.name)
        return await enqueue_through(self._definition.middleware, call, send)

    def _begin(self, payload: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[T]:
        """Begin a call of an ordered queue, behind those that were begun in this event loop before."""
        here, fifo = self._loops.here(), self._definition.fifo
        assert fifo is not None
        order = here.order(fifo)
        # What a middleware awaits takes its time, in which a later call could overtake; so such calls go one by one.
        alone = bool(self._definition.middleware)

        async def send() -> str:
            await self._loops.keep_order(here, fifo)
            order.open()
            way = self._send_through if alone else self._send_now
            return await way(here, payload, args, kwargs)

        sending = order.add(send, f'enqueueing {self.name}', alone=alone)
        return Handle(self._loops, None, self._gone(here), sending, None, self._decode)

    async def _map(self, arguments: Iterator[tuple[Any, ...]]) -> list[Handle[T]]:
        options = self._options
        if options.task_id is not None:
            raise TorrelqueTypeError('a task_id is that of one task')
        if options.depends_on is not None:
            raise TorrelqueTypeError('depends_on is for one call')
        here, fifo = self._loops.here(), self._definition.fifo
        given: dict[str, Any] = dict(self._given)
        if self._moves:
            given['delay'] = options.delay_now()
        for name in ('group', 'priority'):
            if callable(choose := given.get(name)):
                given[name] = functools.partial(self._choose, choose)
        pack = self._pack_dated if options.deadline is not None else functools.partial(self._pack, kwargs={})

        async def send() -> list[Any]:
            if fifo is not None:
                await self._loops.keep_order(here, fifo)
                here.order(fifo).open()
            queue = here.find(self._queue, options.max_tasks)
            sending = Sending(queue, self.name, many=True)
            with given_context(awake(self._definition.contexts), sending) as context:
                sending.ids = ids = await self._map_to(queue, pack, arguments, given, context)
            return ids

        ids = await (send() if fifo is None else here.order(fifo).add(send, f'enqueueing {self.name}', alone=True))
        gone = self._gone(here)
        return [Handle(self._loops, task_id, gone, None, self._queue, self._decode) for task_id in ids]

    async def _map_to(
        self,
        queue: TorrelqueQueue,
        pack: Callable[[tuple[Any, ...]], dict[str, Any]],
        arguments: Iterator[tuple[Any, ...]],
        given: dict[str, Any],
        context: Mapping[str, str] | None,
    ) -> list[Any]:
        along = {} if context is None else {'context': context}
        if self._definition.middleware:
            return await self._map_through(queue, arguments, given, along)
        payloads = ({**pack(args), **along} for args in arguments) if along else map(pack, arguments)
        return await queue.enqueue_many(payloads, **given)

    async def _map_through(
        self, queue: TorrelqueQueue, arguments: Iterator[tuple[Any, ...]], given: dict[str, Any], along: Mapping[str,
        Any]
    ) -> list[str]:  # fmt: skip
        """Send calls through the middleware of the app, some hundred at a time."""
        ids: list[str] = []

        async def send(calls: list[Call]) -> list[str]:
            return [*await queue.enqueue_many(({**self._pack_call(call), **along} for call in calls), **given)]

        while some := [*itertools.islice(arguments, TOGETHER)]:
            headers, place = self._options.headers or {}, self.queue_name
            calls = [Call(self.name, args, {}, dict(headers), place) for args in some]
            try:
                for args in some:
                    self._definition.check(args, {})
                ids += await enqueue_many_through(self._definition.middleware, calls, send)
            except TorrelqueBulkError as exc:
                raise TorrelqueBulkError(ids + exc.task_ids, queue.name) from exc.__cause__
            except Exception as exc:
                raise TorrelqueBulkError(ids, queue.name) from exc
        return ids

    def _pack_call(self, call: Call) -> dict[str, Any]:
        """The payload of a call that has come through the middleware."""
        payload = self._pack(call.args, call.kwargs)
        if check_headers(call.headers):
            payload['headers'] = call.headers
        else:
            payload.pop('headers', None)
        if self._options.deadline is not None:
            payload['expires'] = self._options.expires_now()
        return payload


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
        if self._definition.callee.makes:
            self._definition.callee.check_direct(args, kwargs)
        return self.function(*args, **kwargs)


class FifoFunction(_Decorated[P, R, T]):
    """An `Enqueuer` of an ordered queue.  Called as usual, it enqueues the call; its ``function`` runs right here."""

    @property
    def group(self) -> str:
        """The group that its calls are in, one after the other: ``fifo:`` and the name of the ordered queue."""
        return self._definition.fifo or ''

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
    def __call__(self, function: Callable[P, Coroutine[Any, Any, Work[T]] | Work[T]], /) -> Function[P, Any, T]: ...

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Function[P, Coroutine[Any, Any, T], T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> Function[P, T, T]: ...


class FifoDecorator(Protocol):
    """Makes a `FifoFunction` of a function: what `Tasks.fifo` gives."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, Work[T]] | Work[T]], /) -> FifoFunction[P, Any, T]: ...

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> FifoFunction[P, Coroutine[Any, Any, T], T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> FifoFunction[P, T, T]: ...
