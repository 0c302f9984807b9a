"""Steps and what they wait for, as a graph: who belongs to a flow, in which order, and by which name.

A flow is found from its ends: whatever they wait for belongs to it, and whatever stands beside one of these, because it
is to run where that one fails, or at its end.
"""

import graphlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import check_name
from torrelque.tasks.loops import Loops

from .references import Found

__all__ = ['Kind', 'Made', 'Mapped', 'Node', 'collect', 'name_all', 'source_of']

Kind = Literal['then', 'end', 'fail']
"""When an edge lets the next step begin: when the step before has completed, has ended in whatever way, has failed."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Made:
    """What is known of a call in a flow but for its arguments."""

    loops: Loops
    """What its app has in event loops."""
    function: str
    """The name of the function."""
    queue: str
    """The name of the queue that the call is for."""
    head: Mapping[str, Any]
    """What its payload begins with."""
    options: Mapping[str, Any]
    """Those of ``delay`` (s), ``group``, ``priority``, ``task_timeout`` (s) and ``max_attempts`` that are said."""
    fifo: str | None
    """The group of its ordered queue, if it has one."""
    decode: Any
    """What makes the result of what is kept of it; None where it is kept as it is."""

    @property
    def place(self) -> str:
        """The name of the queue on the server."""
        return self.loops.name_of(self.queue)

    @property
    def short(self) -> str:
        """The name of the function without its module."""
        return self.function.rpartition('.')[2] or self.function.replace('.', '-')


@dataclass(frozen=True)
class Mapped:
    """A function that is called for each element of a list, which is there when the step before has completed."""

    each: Made
    limit: int | None
    """How many of its calls run at a time, if that is limited."""


@dataclass(eq=False)
class Node:
    """A step of a flow.  Steps are changed until their flow is enqueued, by what is put before them."""

    made: Made
    payload: dict[str, Any]
    """The task, with None where results are to go."""
    found: list[Found]
    """Where results are to go."""
    mapped: Mapped | None = None
    given: str | None = None
    """The name that the caller has given it."""
    after: 'dict[Node, Kind]' = field(default_factory=dict)
    """What it waits for."""
    one_of: 'tuple[Node, ...] | None' = None
    """Steps of which one is enough; then it waits for nothing else."""
    beside: 'list[Node]' = field(default_factory=list)
    """What belongs to each flow that this step belongs to."""
    number: int = field(default_factory=lambda: next(_numbers))
    """Steps that were made earlier have a lower one."""

    def __post_init__(self) -> None:
        for _, sources, kind in self.found:
            for source in sources:
                self.wait_for(source, 'then')
            if kind == 'first':
                self.need_one_of(sources)

    def __repr__(self) -> str:
        return f'<Node {self.known_as}>'

    @property
    def known_as(self) -> str:
        """What it is called while it is in no flow."""
        return self.given or (self.mapped.each.short if self.mapped is not None else self.made.short)

    @property
    def called(self) -> Made:
        """What is known of the calls of the function, be it called once or for each element."""
        return self.made if self.mapped is None else self.mapped.each

    @property
    def function(self) -> str:
        """The name of the function that is called, be it once or for each element."""
        return self.called.function

    def wait_for(self, other: 'Node', kind: Kind) -> None:
        """Have the step wait for another one.

        :raises TorrelqueValueError: it already waits for the other one's success, and now for its failure.
        """
        known = self.after.get(other)
        if known is not None and {known, kind} == {'then', 'fail'}:
            raise TorrelqueValueError(
                f'{self.known_as} cannot wait for both, that {other.known_as} has completed, and that it has failed'
            )
        if known is None or known == 'end':
            self.after[other] = kind

    def need_one_of(self, others: 'tuple[Node, ...]') -> None:
        """Have one of some steps, which it waits for, be enough.

        :raises TorrelqueValueError: it needs one of others already.
        """
        if self.one_of is not None and {*self.one_of} != {*others}:
            raise TorrelqueValueError(f'{self.known_as} already begins when one of some other steps has ended')
        self.one_of = others


def source_of(value: Any, what: str) -> 'tuple[Node, ...]':
    """The steps that a value of the layer stands for.

    :raises TorrelqueTypeError: it is none.
    """
    nodes = getattr(value, 'nodes', None)
    if not isinstance(nodes, tuple) or not all(isinstance(node, Node) for node in nodes):
        hint = '; a function becomes a step by its call: function.s(…)' if hasattr(value, 's') else ''
        raise TorrelqueTypeError(f'{what} must be a step, not {value!r}{hint}')
    return nodes


def collect(ends: Iterable[Node]) -> list[Node]:
    """All steps of a flow, each behind those that it waits for.

    :raises TorrelqueValueError: some wait for one another; or they have joins that cannot be meant.
    :raises TorrelqueTypeError: they are of several apps that have not the same server, or the same serialiser.
    """
    found: dict[Node, None] = {}
    coming = [*ends]
    while coming:
        node = coming.pop()
        if node not in found:
            found[node] = None
            coming += node.after
            coming += node.beside
    nodes = sorted(found, key=lambda node: node.number)
    for node in nodes:
        _check_join(node)
    _check_together(nodes)
    names = name_all(nodes)
    sorter = graphlib.TopologicalSorter({node: [*node.after] for node in nodes})
    try:
        return [*sorter.static_order()]
    except graphlib.CycleError as exc:
        # Each element of the cycle waits for the one before it.
        cycle = ' -> '.join(names[node] for node in exc.args[1])
        raise TorrelqueValueError(f'the steps of a flow wait for one another: {cycle}') from None


def name_all(nodes: Iterable[Node]) -> dict[Node, str]:
    """Names of steps, each once: those that were given; and else the short name of the function, with a number from the
    second on, in the order in which the steps were made.

    :raises TorrelqueValueError: a name was given twice.
    """
    ordered = sorted(nodes, key=lambda node: node.number)
    given = Counter(node.given for node in ordered if node.given is not None)
    if twice := [name for name, count in given.items() if count > 1]:
        raise TorrelqueValueError(f'two steps of a flow are called {twice[0]!r}')
    names: dict[Node, str] = {}
    counts: Counter[str] = Counter()
    for node in ordered:
        name = node.given
        while name is None:
            counts[node.known_as] += 1
            count = counts[node.known_as]
            name = node.known_as if count == 1 else f'{node.known_as}-{count}'
            # A name that was given to one step is passed over by the others.
            name = None if name in given else name
        names[node] = name
    return names


def check_given(name: str) -> str:
    """A name for a step.

    :raises TorrelqueTypeError: it is no text.
    :raises TorrelqueValueError: it is empty, or has a dot, as names of steps have that come to a running flow.
    """
    check_name(name, 'the name of a step')
    if '.' in name:
        raise TorrelqueValueError(f'the name of a step has no dot, which those have that come later: {name!r}')
    return name


# Parts


def _check_join(node: Node) -> None:
    if node.one_of is None:
        return
    certain = any(kind != 'first' for _, _, kind in node.found)
    if certain or {*node.after} != {*node.one_of} or len({*node.after.values()}) > 1:
        raise TorrelqueValueError(
            f'{node.known_as} begins when one of several steps has ended, so it cannot wait for others as well, nor '
            'take the result of a certain one; put a step between'
        )


def _check_together(nodes: list[Node]) -> None:
    apps = [*dict.fromkeys(node.called.loops for node in nodes)]
    for other in apps[1:]:
        if not apps[0].shares_server(other):
            raise TorrelqueTypeError(
                f'the steps of a flow are for one server, and the queues {apps[0].name!r} and {other.name!r} of their '
                'apps are on two; have a step enqueue what is for the other one'
            )
        if apps[0].given.serialiser != other.given.serialiser:
            raise TorrelqueTypeError(
                f'the apps of the queues {apps[0].name!r} and {other.name!r} have different serialisers: neither can '
                'read what the other writes'
            )
