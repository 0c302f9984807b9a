"""Flows that functions return: they take the place of the function's task.

In a flow, the tasks come to that flow, and whoever waits for the function's task waits for the last of them from then
on.  A task that was enqueued alone becomes a flow.  The core does either in the step in which the task ends, see
`torrelque.Torrelque.graft`.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torrelque import TorrelqueNode, TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.worker import Delivery
from torrelque.worker.delivery import Instead

from .graph import Made, Node, collect
from .plan import GATHER, MAP, Choices, make_nodes, make_plan
from .references import Reference, take_references

__all__ = ['Graft', 'Value', 'graft_of', 'set_limit']

DEEPEST = 50
"""How deep a task may be that gives its place away: as many others have given theirs away, or have added tasks."""


@dataclass(frozen=True)
class Graft(Instead):
    """A flow that takes the place of a task, as plain values."""

    queue: str | None
    """The name on the server of the queue of those that have none of their own; None is that of the task.  A process
    does not know which that is, nor what the app's own queue is called where its worker is."""
    tasks: Sequence[Mapping[str, Any]]
    """See `make_nodes`."""
    task: Mapping[str, Any]
    """What people see of it, where it is a flow of its own."""
    last: str
    """The name of the task whose result is that of the whole."""
    choices: Choices | None
    """What was said of the flow, if anything was."""
    orders: Sequence[tuple[str, str]]
    """Groups of ordered queues, each with the name of its queue on the server."""

    async def take_place(self, delivery: Delivery, ttl: float | None) -> bool:
        """As `Instead.take_place`.

        :raises TorrelqueTypeError: something was said of it that only a flow has which is enqueued.
        :raises TorrelqueValueError: the task is worked on in another queue than its flow; or functions return flows of
            functions that return flows, and so on, without end.
        :raises TorrelqueFullError: the queue has no room for it.
        """
        queue, task = delivery.queue, delivery.task
        flow_id, name = task.get('flow'), task.get('name')
        in_flow = isinstance(flow_id, str) and isinstance(name, str)
        self._check(delivery, name if in_flow else None)
        for place, group in self.orders:
            await set_limit(queue if place == queue.name else queue.sibling(place), group, 1)
        if in_flow:
            names = self._names(names_given(delivery))
            nodes = self._nodes(flow_id, queue.name, f'{name}.', names, task.get('context'))
            return await queue.graft(nodes, by=delivery.id, last=names[self.last])
        said = (self.choices or Choices()).said
        if ttl is not None:
            said.setdefault('result_ttl', ttl)
        nodes = self._nodes(str(delivery.id), queue.name, '', self._names(()), task.get('context'))
        return await queue.graft(nodes, by=delivery.id, last=self.last, task=self.task, **said)

    # Parts

    def _check(self, delivery: Delivery, name: str | None) -> None:
        home = delivery.task.get('home', delivery.queue.name)
        if name is not None and home != delivery.queue.name:
            raise TorrelqueValueError(
                f'task {str(delivery.id)!r} is worked on in another queue than its flow, {home!r}, so no flow can take '
                'its place; have it add steps, by current_flow().add'
            )
        if name is not None and self.choices is not None:
            raise TorrelqueTypeError(
                f'task {str(delivery.id)!r} is one of a flow, whose options go for what takes its place; so that is '
                'returned without .options(…)'
            )
        if self.choices is not None and self.choices.flow_id is not None:
            raise TorrelqueTypeError('a flow that a function returns has no flow_id, because it has the id of the task')
        if name is not None and name.count('.') >= DEEPEST:
            raise TorrelqueValueError(
                f'{name!r} is too deep: functions return steps of functions that return steps, and so on, {DEEPEST} '
                'times'
            )

    def _names(self, given: Collection[str]) -> dict[str, str]:
        """The names of the tasks, none of which is one that the function has given to a task that it has added.

        They are the same when the task is tried again and adds the same.
        """
        own = {task['name'] for task in self.tasks}
        names = {name: name for name in own}
        for name in sorted(own.intersection(given)):
            names[name] = free_name(name, {*given, *own, *names.values()})
        return names

    def _nodes(
        self, flow_id: str, home: str, before: str, names: Mapping[str, str], context: Any
    ) -> Iterator[TorrelqueNode]:
        """The tasks, whose names in their payloads begin with that of the task, and which have its context."""
        renamed = {name: before + its for name, its in names.items()}
        tasks = self.tasks
        if self.queue not in (None, home):
            tasks = [_elsewhere(task, self.queue) for task in tasks]
        for node in make_nodes(tasks, flow_id, home, renamed, context):
            after = {name.removeprefix(before): kind for name, kind in node.after.items()}
            yield node._replace(name=node.name.removeprefix(before), after=after)


@dataclass(frozen=True)
class Value(Instead):
    """A result that is there."""

    value: Any

    async def take_place(self, delivery: Delivery, ttl: float | None) -> bool:
        """As `Instead.take_place`.

        :raises TorrelqueTypeError: it is not what the function's annotation says, or cannot be serialised.
        """
        encode, value = delivery.job.encode, self.value
        kept = value if encode is None or value is None else encode(value)
        return await delivery.queue.release(delivery.id, result=kept, result_ttl=ttl)


def graft_of(ends: Sequence[Node], choices: Choices | None, single: bool, home: str | None = None) -> Instead:
    """What takes the place of a task: a flow with these ends.

    :param single: whether its result is that of one step, and not a list.
    :param home: the name on the server of the queue of the task, where it is known.
    :raises TorrelqueTypeError: it is of several apps.
    :raises TorrelqueValueError: it cannot be meant.
    """
    if not ends:
        return Value([])
    if not single:
        ends = [_gathered(ends)]
    plan = make_plan(collect(ends), ends, choices, True, home)
    queue = None if home is not None or plan.queue == plan.loops.name else plan.loops.name_of(plan.queue)
    return Graft(queue, plan.tasks, plan.task, plan.out[0], choices, plan.orders)


async def set_limit(queue: TorrelqueQueue, group: str, limit: int) -> None:
    """Have so many tasks of a group run at a time; what else limits it stays."""
    known = (await queue.get_limits()).get(group)
    if known is None or known.concurrency != limit:
        await queue.set_limit(group, concurrency=limit, rate=None if known is None else known.rate)


def names_given(delivery: Delivery) -> set[str]:
    """Names that the function of a delivery has given to tasks that it has added to its flow, without what all of these
    begin with."""
    given: set[str] = getattr(delivery, 'added', set())
    return given


def free_name(name: str, given: Collection[str]) -> str:
    """A name, with a number behind it where it was given already."""
    return next(free for k in itertools.count(1) if (free := name if k == 1 else f'{name}-{k}') not in given)


# Parts


def _elsewhere(task: Mapping[str, Any], queue: str) -> Mapping[str, Any]:
    """A task whose function is called in another queue than that of its flow, unless it says in which one.  One that
    maps stays at home, because it adds to the flow."""
    payload = task['payload']
    if payload['task'] != MAP:
        return {**task, 'options': {'queue': queue, **task.get('options', {})}}
    call = payload['kwargs']['call']
    call = {**call, 'options': {'queue': queue, **call['options']}}
    return {**task, 'payload': {**payload, 'kwargs': {**payload['kwargs'], 'call': call}}}


def _gathered(ends: Sequence[Node]) -> Node:
    """A step behind several, which has ended when they have; its result is the list of theirs."""
    first = ends[0].made
    made = Made(first.loops, GATHER, first.queue, {'task': GATHER}, {}, None, None)
    found: list[Any] = []
    payload = {'args': take_references([Reference(ends, 'all')], ['args'], found)}
    return Node(made, payload, found)
