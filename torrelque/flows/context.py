"""The flow that a function is run for: what its tasks have in common, and tasks that come to it while it runs."""

from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, TypeVar

from torrelque import TorrelqueError, TorrelqueLeaseLostError, TorrelqueLookupError, TorrelqueQueue, TorrelqueTypeError
from torrelque.protocol.check import check_name
from torrelque.tasks.context import Sending, awake, given_context
from torrelque.tasks.running import kept_with_call
from torrelque.worker import Delivery
from torrelque.worker.delivery import run_for

from .grafting import free_name, names_given
from .graph import collect
from .handle import Outcome, outcomes_of
from .inputs import home_of
from .plan import make_nodes, make_plan
from .steps import Parallel, Step

__all__ = ['FlowContext', 'current_flow']

T = TypeVar('T')
MISSING: Any = object()


class FlowContext:
    """The flow of a task, as the function sees it that is run for the task: what `current_flow` gives."""

    def __init__(self, delivery: Delivery, flow_id: str, name: str) -> None:
        # Legend.  _delivery: that of the task.
        self._delivery = delivery
        self._id = flow_id
        self._name = name

    def __repr__(self) -> str:
        return f'<FlowContext {self._id!r}, task {self._name!r}>'

    @property
    def id(self) -> str:
        """The flow's id."""
        return self._id

    @property
    def name(self) -> str:
        """The name of the task in the flow."""
        return self._name

    async def push(self, key: str, value: Any) -> None:
        """Keep a value under a name, for whoever has to do with the flow; the last one counts.  It is there for as long
        as the results of the flow.

        :param value: whatever the serialiser of the queue takes.
        :raises TorrelqueTypeError: it does not take it, or the name is no text.
        :raises TorrelqueLeaseLostError: the task is not ours any more, so nothing was kept.
        """
        check_name(key, 'the name of a value')
        await self._check_held()
        await self._queue.put_value(key, value, by=self._delivery.id)

    async def pull(self, key: str, default: Any = MISSING) -> Any:
        """The value that is kept under a name.

        :param default: what is given where there is none.
        :raises TorrelqueLookupError: there is none, and no default.
        """
        try:
            return await self._queue.get_value(self._id, check_name(key, 'the name of a value'))
        except TorrelqueLookupError:
            if default is MISSING:
                raise
            return default

    async def add(
        self, step: 'Step[Any] | Parallel[Any]', *, after: Sequence[str] = (), before: Sequence[str] = ()
    ) -> list[str]:
        """Add a step to the flow, with all that it waits for; the names of what was added, those first that others wait
        for.  They begin at once, also while this task runs.

        Their names begin with that of this task and a dot.  So an attempt that adds the same as one before it, which
        was killed, adds nothing twice.

        :param after: names of tasks of the flow that the step waits for as well: this one, or such as have begun.
        :param before: names of tasks of the flow that still wait, and now wait for the step, too.
        :raises TorrelqueTypeError: it is no step, or is for another server.
        :raises TorrelqueValueError: what is added waits for itself, or a name cannot be meant.
        :raises TorrelqueLookupError: the flow has no task of a name.
        :raises TorrelqueLeaseLostError: the task is not ours any more, so nothing was added.
        """
        if not isinstance(step, (Step, Parallel)):
            raise TorrelqueTypeError(f'what is added to a flow is a step, and not {step!r}')
        for what, names in (('after', after), ('before', before)):
            if isinstance(names, (str, bytes)) or not isinstance(names, Sequence):
                raise TorrelqueTypeError(f'{what} must be names of tasks, not {names!r}')
        found = collect(step.nodes)
        home = self._queue.name
        plan = make_plan(found, step.nodes, None, True, home)
        renamed = {task['name']: self._new_name(node.known_as) for node, task in zip(found, plan.tasks, strict=True)}
        ends = {renamed[name] for name in plan.out}
        begins = {renamed[task['name']] for task in plan.tasks if not task.get('after')}
        await self._check_held()
        sending = Sending(self._queue, '', many=True)
        with given_context(awake(plan.loops.contexts), sending) as context:
            nodes = []
            for node in make_nodes(plan.tasks, self._id, home, renamed, context):
                node = node._replace(before=[*before]) if node.name in ends and before else node
                if node.name in begins and after:
                    node = node._replace(after={**node.after, **dict.fromkeys(after, 'then')})
                nodes.append(node)
            await self._queue.add_to_flow(nodes, by=self._delivery.id)
            sending.ids = [f'{self._id}.{node.name}' for node in nodes]
        return [node.name for node in nodes]

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """What has become of each task of the flow by now, those first that others wait for."""
        async for outcome in outcomes_of(self._queue, self._id):
            yield outcome

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, such as ``flow.push('done', 3)``, for a function that is run in a thread; its result.

        :raises TorrelqueError: it is called in the worker's event loop, which has to ``await``; or in a process.
        """
        return run_for(self._delivery, coroutine)

    # Parts

    @property
    def _queue(self) -> TorrelqueQueue:
        """The queue of the flow."""
        if getattr(self._delivery, 'queue', None) is None:
            raise TorrelqueError('a function in a process has no queue; let it return what another step does with it')
        return home_of(self._delivery)

    async def _check_held(self) -> None:
        """Have the queue of the task say that it is still ours, where that of the flow cannot know."""
        queue = self._delivery.queue
        if queue is not self._queue and not await queue.touch(self._delivery.id):
            error = TorrelqueLeaseLostError(f'task {str(self._delivery.id)!r} is not ours any more')
            error.queue = queue.name
            raise error

    def _new_name(self, name: str) -> str:
        given = names_given(self._delivery)
        if not given:
            # What the function returns is to have other names; this is there when it has returned.
            self._delivery.added = given
        free = free_name(name, given)
        given.add(free)
        return f'{self._name}.{free}'


def current_flow() -> FlowContext:
    """The flow of the task that the calling function is run for, wherever `torrelque.tasks.current` works.

    :raises TorrelqueError: the function is not run for a task of a flow.
    """
    return kept_with_call(_make_context)


def _make_context(delivery: Delivery) -> FlowContext:
    task = delivery.task
    try:
        flow_id, name = task['flow'], task['name']
    except (KeyError, TypeError):
        raise TorrelqueError(f'task {str(delivery.id)!r} is not one of a flow') from None
    return FlowContext(delivery, flow_id, name)
