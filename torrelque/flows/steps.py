"""Steps of flows as callers have them, typed by their results: what is put before what, and what is handed over.

A step of here is a view: a node of the graph, and where a row of steps begins that it is the end of.  So what is put
before a row is put before its beginning, and the row as a whole may be put into another one.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar, overload

from torrelque import Duration, TorrelqueTypeError
from torrelque.protocol.check import check_count
from torrelque.tasks.work import Packed, Work
from torrelque.worker import Delivery
from torrelque.worker.delivery import Instead

from .drawing import draw
from .grafting import Value, graft_of
from .graph import Mapped, Node, check_given, collect, source_of
from .handle import FlowHandle
from .plan import Choices, OnFailure, Plan, make_plan, map_node
from .references import Reference

__all__ = [
    'Branches',
    'First',
    'Flow',
    'Given',
    'Parallel',
    'Step',
    'Takes',
    'any_failed',
    'first',
    'gather',
    'given',
    'make_branches',
    'step_behind',
]

A = TypeVar('A')
B = TypeVar('B')
T = TypeVar('T')
U = TypeVar('U')
A_contra = TypeVar('A_contra', contravariant=True)
T_co = TypeVar('T_co', covariant=True)
Self = TypeVar('Self', bound='_Orderly[Any]')

Nodes = tuple[Node, ...]


class Takes(Protocol[A_contra, T_co]):
    """A function of an app that can be called with one argument."""

    def s(self, argument: A_contra, /) -> 'Step[T_co]': ...


class Flow(Work[T_co]):
    """What can be enqueued: some steps, all that they wait for, and what stands beside these."""

    def __init__(self, nodes: Nodes, first: Nodes, choices: Choices | None = None, single: bool = True) -> None:
        # Legend.  _first: the steps that begin, so that what is put before the whole is put before them.  _choices:
        # what was said of the flow, if anything was.  _single: whether there is one result, and not a list.
        self.nodes = nodes
        """The steps whose results are that of the whole."""
        self._first = first
        self._choices = choices
        self._single = single

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {" | ".join(node.known_as for node in self.nodes)}>'

    def options(
        self,
        *,
        flow_id: str | None = None,
        name: str | None = None,
        on_failure: OnFailure = 'wait',
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
    ) -> 'Flow[T_co]':
        """The same flow, and how it is to be enqueued.

        :param flow_id: an id of the caller's own, so that the same flow is not enqueued twice.
        :param name: what people see it as.
        :param on_failure: what becomes of the flow when a task of it is dead: ``'wait'`` for a redrive; ``'skip'``
            what needs the task, and go on; ``'cancel'`` the whole.
        :param timeout: how long (s) it may take, from when it is enqueued; then it is cancelled.
        :param result_ttl: how long (s) its results can be read when it has ended, by default as the queue says.
        :raises TorrelqueTypeError: an option is of the wrong kind.
        :raises TorrelqueValueError: it cannot be meant.
        """
        choices = Choices(flow_id, name, on_failure, timeout, result_ttl)
        return Flow(self.nodes, self._first, choices, self._single)

    async def enqueue(self) -> FlowHandle[T_co]:
        """Enqueue the flow.  Whether a cancelled call has enqueued it is unknown, unless it has a ``flow_id``.

        Up to 250 tasks are enqueued in one step, all or none; of a larger flow none runs before all are there.

        :raises TorrelqueValueError: steps wait for one another, or have the same name; nothing was sent.
        :raises TorrelqueTypeError: steps are of apps on several servers; nothing was sent.
        :raises TorrelqueDuplicateError: the queue knows the ``flow_id``.
        :raises TorrelqueFullError: the queue has as many tasks as it may have.
        """
        return await FlowHandle.enqueue(self._plan())

    def push(self) -> FlowHandle[T_co]:
        """As `enqueue`, for synchronous code: it waits until the queue has the flow.

        :raises TorrelqueError: an event loop runs here, which the call would block.
        """
        plan = self._plan()
        handle: FlowHandle[T_co] = plan.loops.call(FlowHandle.enqueue(plan))
        return handle

    def draw(self) -> str:
        """The flow as text of `Mermaid <https://mermaid.js.org>`_, which many pages draw.

        :raises TorrelqueValueError: as `enqueue`.
        """
        return draw(self._plan().task)

    def pack(self) -> Packed:
        """See `Work`.  A flow of several tasks is begun by one."""
        return self._plan().pack()

    def portable(self) -> Instead:
        """See `Work`."""
        return graft_of(self.nodes, self._choices, self._single)

    async def take_place(self, delivery: Delivery, ttl: float | None) -> bool:
        """As `Instead.take_place`: see `torrelque.flows.grafting`."""
        instead = graft_of(self.nodes, self._choices, self._single, delivery.queue.name)
        return await instead.take_place(delivery, ttl)

    # Parts

    def _plan(self) -> Plan:
        return make_plan(collect(self.nodes), self.nodes, self._choices, self._single)


class _Orderly(Flow[T_co]):
    """What can be put before and behind others."""

    def __init__(self, nodes: Nodes, first: Nodes | None = None) -> None:
        super().__init__(nodes, nodes if first is None else first, None, isinstance(self, Step))

    def _then(self, other: Any, result: Any) -> Any:
        """Put something behind this; a function gets the result."""
        if isinstance(other, _Orderly):
            for node in other._first:
                for before in self.nodes:
                    node.wait_for(before, 'then')
            return type(other)(other.nodes, self._first or other._first)
        if isinstance(other, Branches):
            return Parallel(tuple(_made_of(function, result).nodes[0] for function in other), self._first or None)
        step = _made_of(other, result)
        return Step(step.nodes, self._first or None)

    def if_failed(self: Self, step: 'Step[Any]') -> Self:
        """Have another step run if this one has failed: it is dead, or was cancelled, or skipped because of a failure.
        Of several steps it is enough that one has failed.

        :raises TorrelqueTypeError: it is no step.
        """
        _run_if_failed(self.nodes, step)
        return self

    def at_end(self: Self, step: 'Step[Any]') -> Self:
        """Have another step run when this one has ended, or all of several, in whatever way; also where the flow is
        cancelled.

        :raises TorrelqueTypeError: it is no step.
        """
        nodes = source_of(step, 'what runs at the end')
        for entry in step._first:
            for node in self.nodes:
                entry.wait_for(node, 'end')
        for node in self.nodes:
            node.beside += nodes
        return self


class Step(_Orderly[T_co]):
    """A call in a flow, or a row of calls of which this is the last: made by ``function.s(…)`` and by ``>>``."""

    @property
    def result(self) -> T_co:
        """What stands for the result, to be an argument of another step, or in lists, tuples and dicts there."""
        return Reference(self.nodes, 'one')  # type: ignore[return-value]

    def named(self, name: str) -> 'Step[T_co]':
        """Give the step a name of its own; by default it has the function's, without the module, and a number from the
        second on.

        :raises TorrelqueTypeError: it is no text.
        :raises TorrelqueValueError: it has a dot.
        """
        self.nodes[0].given = check_given(name)
        return self

    @overload
    def __rshift__(self, other: 'Step[U]') -> 'Step[U]': ...

    @overload
    def __rshift__(self, other: Takes[T_co, U]) -> 'Step[U]': ...

    @overload
    def __rshift__(self, other: 'Parallel[U]') -> 'Parallel[U]': ...

    @overload
    def __rshift__(self, other: 'Branches[T_co, U]') -> 'Parallel[U]': ...

    def __rshift__(self, other: Any) -> Any:
        return self._then(other, Reference(self.nodes, 'one'))

    @overload
    def __lshift__(self, other: 'Step[Any]') -> 'Step[T_co]': ...

    @overload
    def __lshift__(self, other: 'Parallel[Any]') -> 'Step[T_co]': ...

    def __lshift__(self, other: Any) -> Any:
        source_of(other, 'what is before a step')
        return other._then(self, None)

    @overload
    def __or__(self, other: 'Step[U]') -> 'Parallel[T_co | U]': ...

    @overload
    def __or__(self, other: 'Parallel[U]') -> 'Parallel[T_co | U]': ...

    def __or__(self, other: Any) -> Any:
        return _beside(self, other)

    def map(
        self: 'Step[Iterable[A]]', function: Takes[A, U], *, limit: int | None = None
    ) -> 'Parallel[U]':
        """Have a function called for each element of the result, when it is there; any number of them.

        :param limit: how many of these calls run at a time, in all flows that map the function so.
        :raises TorrelqueTypeError: it is no function of the app that takes one argument, or its options are chosen by
            the argument.
        """
        return _map(self, Reference(self.nodes, 'one'), function, limit)


# A list can be changed, so one of a narrower kind is no list of a wider one.  Each result is a list of its own, though,
# and nobody else's.
class Parallel(_Orderly[list[T_co]], Generic[T_co]):  # pyright: ignore[reportInvalidTypeArguments]
    """Steps that do not wait for one another: their result is the list of their results, in their order."""

    gives_list = True

    @property
    def results(self) -> list[T_co]:
        """What stands for the list of the results, to be an argument of a step, as `Step.result`."""
        return Reference(self.nodes, 'all')  # type: ignore[return-value]

    @overload
    def __rshift__(self, other: Step[U]) -> Step[U]: ...

    @overload
    def __rshift__(self, other: Takes[list[T_co], U]) -> Step[U]: ...

    @overload
    def __rshift__(self, other: 'Parallel[U]') -> 'Parallel[U]': ...

    @overload
    def __rshift__(self, other: 'Branches[list[T_co], U]') -> 'Parallel[U]': ...

    def __rshift__(self, other: Any) -> Any:
        return self._then(other, Reference(self.nodes, 'all'))

    @overload
    def __lshift__(self, other: Step[Any]) -> 'Parallel[T_co]': ...

    @overload
    def __lshift__(self, other: 'Parallel[Any]') -> 'Parallel[T_co]': ...

    def __lshift__(self, other: Any) -> Any:
        source_of(other, 'what is before a step')
        return other._then(self, None)

    @overload
    def __or__(self, other: Step[U]) -> 'Parallel[T_co | U]': ...

    @overload
    def __or__(self, other: 'Parallel[U]') -> 'Parallel[T_co | U]': ...

    def __or__(self, other: Any) -> Any:
        return _beside(self, other)

    def map(self: 'Parallel[A]', function: Takes[A, U], *, limit: int | None = None) -> 'Parallel[U]':
        """As `Step.map`, for each of the results, when all are there."""
        return _map(self, Reference(self.nodes, 'all'), function, limit)


class Branches(Generic[A_contra, T_co]):
    """Functions that are to get the same argument: ``step >> (function | other)``."""

    def __init__(self, functions: 'tuple[Any, ...]') -> None:
        self._functions = functions

    def __repr__(self) -> str:
        return f'<Branches {" | ".join(map(repr, self._functions))}>'

    def __iter__(self) -> Iterator[Any]:
        return iter(self._functions)

    def __or__(self, other: Takes[A_contra, U]) -> 'Branches[A_contra, T_co | U]':
        return make_branches(*self._functions, other)


class First(Generic[T_co]):
    """Steps of which the first that completes is waited for, as `first` gives them."""

    def __init__(self, nodes: Nodes, begin: Nodes) -> None:
        self.nodes = nodes
        """The steps."""
        self._begin = begin

    def __repr__(self) -> str:
        return f'<First {" | ".join(node.known_as for node in self.nodes)}>'

    @property
    def result(self) -> T_co:
        """What stands for the result of one that has completed; of several, of that which was named before."""
        return Reference(self.nodes, 'first')  # type: ignore[return-value]

    @overload
    def __rshift__(self, other: Step[U]) -> Step[U]: ...

    @overload
    def __rshift__(self, other: Takes[T_co, U]) -> Step[U]: ...

    def __rshift__(self, other: Any) -> Any:
        if not isinstance(other, Step):
            return Step(_made_of(other, self.result).nodes, self._begin)
        for node in other._first:
            for before in self.nodes:
                node.wait_for(before, 'then')
            node.need_one_of(self.nodes)
        return Step(other.nodes, self._begin)


class Given(Work[T_co]):
    """A result that is there, as `given` makes it."""

    def __init__(self, value: T_co) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f'<Given {self._value!r}>'

    def pack(self) -> Packed:
        """See `Work`: there is nothing to be enqueued.

        :raises TorrelqueTypeError: always.
        """
        raise TorrelqueTypeError(f'{self!r} is what a function returns, and cannot be enqueued')

    def portable(self) -> Instead:
        """See `Work`."""
        return Value(self._value)

    async def take_place(self, delivery: Delivery, ttl: float | None) -> bool:
        """As `Instead.take_place`."""
        return await Value(self._value).take_place(delivery, ttl)


def given(value: T) -> Work[T]:
    """A result that is there, for a function that returns a step in another case: both are ``Work[T]``."""
    return Given(value)


def gather(*steps: 'Step[T] | Parallel[T]') -> Parallel[T]:
    """Any number of steps beside each other, as by ``|``.

    :raises TorrelqueTypeError: what is given is no step.
    """
    nodes = [node for step in steps for node in source_of(step, 'what is gathered')]
    begin = [node for step in steps for node in step._first]
    return Parallel(tuple(nodes), _unique(begin))


def first(*steps: Step[T]) -> First[T]:
    """Of some steps, the first that completes: ``first(a, b) >> step``.  The others go on.

    :raises TorrelqueTypeError: what is given is no step, or there is none.
    """
    nodes = _checked(steps, 'first')
    if any(node.mapped is not None for node in nodes):
        raise TorrelqueTypeError('first cannot wait for the calls of a map one by one; put a step behind the map')
    return First(nodes, _unique(node for step in steps for node in step._first))


def any_failed(*steps: 'Step[Any] | Parallel[Any]') -> Callable[[Step[U]], Step[U]]:
    """What has a step run if one of some others has failed: ``any_failed(a, b)(step)``.

    Failed is what is dead, or was cancelled, or skipped because of a failure.

    :raises TorrelqueTypeError: what is given is no step, or there is none.
    """
    nodes = _checked(steps, 'any_failed')

    def run(step: Step[U]) -> Step[U]:
        _run_if_failed(nodes, step)
        return step

    return run


def make_branches(*functions: Any) -> Branches[Any, Any]:
    """Functions that are to get the same argument.

    :raises TorrelqueTypeError: one is no function of an app.
    """
    for function in functions:
        if isinstance(function, (Flow, First)) or not callable(getattr(function, 's', None)):
            raise TorrelqueTypeError(f'beside a function stands another one, and not {function!r}')
    return Branches(functions)


def step_behind(step: Step[Any], function: Any) -> Step[Any]:
    """``step >> function``.

    :raises TorrelqueTypeError: the one is no step, or the other no function of an app.
    """
    source_of(step, 'what is before a function')
    behind: Step[Any] = step >> function
    return behind


# Parts


def _run_if_failed(nodes: Nodes, step: Step[Any]) -> None:
    last = source_of(step, 'what runs after a failure')
    for entry in step._first:
        for node in nodes:
            entry.wait_for(node, 'fail')
        if len(nodes) > 1 or any(node.mapped is not None for node in nodes):
            # The calls of a map are several, too.
            entry.need_one_of(nodes)
    for node in nodes:
        node.beside += last


def _made_of(function: Any, argument: Any) -> Step[Any]:
    """The step that a function becomes which gets a result."""
    make = getattr(function, 's', None)
    if not callable(make) or isinstance(function, (Flow, First, Branches)):
        raise TorrelqueTypeError(f'behind a step stands a step, or a function of the app, and not {function!r}')
    step = make(argument)
    assert isinstance(step, Step)
    return step


def _beside(one: '_Orderly[Any]', other: Any) -> Parallel[Any]:
    if not isinstance(other, _Orderly):
        hint = '; a function becomes a step by its call: function.s(…)' if hasattr(other, 's') else ''
        raise TorrelqueTypeError(f'beside a step stands another one, and not {other!r}{hint}')
    return Parallel((*one.nodes, *other.nodes), _unique([*one._first, *other._first]))


def _map(one: '_Orderly[Any]', argument: Any, function: Any, limit: int | None) -> Parallel[Any]:
    make = getattr(function, '_for_each', None)
    if not callable(make):
        raise TorrelqueTypeError(f'what is called for each element is a function of the app, and not {function!r}')
    if limit is not None:
        check_count(limit, 'limit')
    each: Any = make(limit)
    return Parallel((map_node(Mapped(each, limit), argument),), one._first or None)


def _checked(steps: Iterable[Any], what: str) -> Nodes:
    nodes = _unique(node for step in steps for node in source_of(step, f'what {what} waits for'))
    if not nodes:
        raise TorrelqueTypeError(f'{what} needs a step')
    return nodes


def _unique(nodes: Iterable[Node]) -> Nodes:
    return tuple(dict.fromkeys(nodes))
