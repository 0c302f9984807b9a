"""What a producer has of a flow that was enqueued: a handle, and the error of a flow without a result."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from torrelque import (
    Duration,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueOutcome,
    TorrelqueQueue,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueTypeError,
)
from torrelque.protocol.check import check_name
from torrelque.tasks.context import Sending, awake, given_context
from torrelque.tasks.handle import Handle, is_dead
from torrelque.tasks.loops import Loops

from .drawing import draw
from .grafting import set_limit
from .inputs import read_each, read_many
from .plan import Plan, make_nodes

__all__ = ['FlowFailedError', 'FlowHandle', 'FlowProgress', 'Outcome', 'outcomes_of']

T = TypeVar('T')
T_co = TypeVar('T_co', covariant=True)
How = Literal['completed', 'failed', 'skipped', 'cancelled']
SKIPPED = 'skipped: '
"""What the error of a task begins with that could not begin any more."""
GRAFTED = 'its graft has failed: '
"""What the error of a task begins with whose place others have taken that have failed."""
NAMED = 20
"""Failed tasks that an error names at the most."""


class FlowProgress(NamedTuple):
    """How far a flow is."""

    total: int
    """How many tasks it has so far; those of a map are counted when its list is there."""
    left: int
    """How many of them have not ended."""
    dead: int
    """How many are dead now, and wait for a redrive."""
    failed: int
    """How many have ended without success."""


class Outcome(NamedTuple):
    """What has become of a task of a flow."""

    name: str
    how: How | None
    """None where the task has not ended.  Failed is what was rejected, or is dead in a flow that goes on, or was
    cancelled, or skipped because of one that failed; skipped is what was not needed."""
    result: Any
    """What is kept of the result: plain JSON values, as a rule."""
    error: str | None


class FlowFailedError(TorrelqueError):
    """The flow has no result: it has ended without success, or it stands still because a task of it is dead.

    One that stands still goes on when it is redriven.
    """

    flow_id: str
    status: TorrelqueTaskStatus
    """That of the flow: WAITING where it stands still."""
    failed: Mapping[str, str | None]
    """The names of tasks that are dead or have failed, some twenty at the most, with the errors that are kept; without
    those that were skipped because of them."""

    def __init__(
        self, flow_id: str, status: TorrelqueTaskStatus, failed: Mapping[str, str | None], error: str | None = None
    ) -> None:
        stands = status is TorrelqueTaskStatus.WAITING
        text = f'flow {flow_id!r} ' + ('stands still' if stands else f'is {status.name.lower()}')
        told = [f'{name}: {_last_line(why)}' if why else name for name, why in failed.items()]
        told = told or ([_last_line(error)] if error else [])
        super().__init__(text + (f': {"; ".join(told[:3])}' if told else ''))
        self.flow_id = flow_id
        self.status = status
        self.failed = dict(failed)
        self.error = error

    def __reduce__(self) -> Any:
        return type(self), (self.flow_id, self.status, self.failed, self.error), {'queue': self.queue}


class Ends(NamedTuple):
    """Which tasks of a flow give its result."""

    names: Sequence[tuple[str, bool]]
    """Their names, and whether each is a map, whose calls give a list."""
    is_list: bool
    """Whether the result is a list."""
    decoders: Mapping[str, Callable[[Any], Any] | None]
    """What makes results, or those of the calls of a map, of what is kept of them, by the names of tasks and maps."""
    maps: frozenset[str] = frozenset()
    """Which of these are maps."""

    def decoder_of(self, name: str) -> Callable[[Any], Any] | None:
        """What makes the result of a task, if it is known and anything must."""
        base, _, number = name.rpartition('.')
        if base in self.maps and number.isdecimal():
            return self.decoders.get(base)
        return None if name in self.maps else self.decoders.get(name)


class FlowHandle(Generic[T_co]):
    """A flow that was enqueued, in any event loop of the process: of ``flow.enqueue()`` or ``app.flow(flow_id)``."""

    def __init__(
        self,
        loops: Loops,
        flow_id: str,
        queue: str | None,
        decoder: Callable[[str], Any],
        ends: Ends | None = None,
        on_failure: str | None = None,
    ) -> None:
        # Legend.  _loops: what the app has in its event loops.  _queue: the name of the queue, where it is not the
        # app's own.  _decoder: gives what makes the results of a function, by its name.  _ends, _on_failure: what is
        # known of the flow, or None where the queue has to be asked.
        self._loops = loops
        self._id = flow_id
        self._queue = queue
        self._decoder = decoder
        self._ends = ends
        self._on_failure = on_failure

    def __repr__(self) -> str:
        return f'<FlowHandle {self._id!r}>'

    @classmethod
    async def enqueue(cls, plan: Plan) -> 'FlowHandle[Any]':
        """Enqueue a plan, for `Flow.enqueue`."""
        here = plan.loops.here()
        for place, group in plan.orders:
            if place == here.queue.name:
                await plan.loops.keep_order(here, group)
            else:
                await set_limit(here.queue.sibling(place), group, 1)
        choices = plan.choices
        flow_id = choices.flow_id or secrets.token_hex(16)
        queue = here.find(plan.queue)
        sending = Sending(queue, choices.name or '', many=True)
        with given_context(awake(plan.loops.contexts), sending) as context:
            await enqueue_plan(queue, flow_id, plan.task, plan.tasks, choices.said, context)
            sending.ids = [f'{flow_id}.{task["name"]}' for task in plan.tasks]
        ends = Ends(_ends_of(plan.task), bool(plan.task['list']), plan.decoders, plan.maps)
        return FlowHandle(plan.loops, flow_id, plan.queue, lambda name: None, ends, choices.on_failure)

    @property
    def id(self) -> str:
        """The flow's id, which is that of a task: all verbs of the queue take it."""
        return self._id

    async def result(self, timeout: Duration | None = None) -> T_co:
        """Wait until the flow has ended; the result of its last step, or the list of those of its last ones.  The flow
        goes on when the call is cancelled.

        :param timeout: how long to wait (s), for ever by default.
        :raises FlowFailedError: it has ended without success; or it stands still because a task is dead, and would be
            waited for until somebody redrives it.  That raises at once.
        :raises TorrelqueTimeoutError: it has not ended in time.
        :raises TorrelqueTypeError: what is kept of a result is not what the function's annotation says here.
        :raises TorrelqueLookupError: the queue knows nothing of the flow, or not any more.
        """
        last: TorrelqueTaskState | None = None
        async with aclosing(self._states(timeout)) as states:
            async for state in states:
                last = state
        if last is None or not (last.status.isfinal() or last.dead):
            error = TorrelqueLookupError(f'nothing was kept of the flow {self._id!r}: it had a result_ttl of 0')
            error.queue = self._here().name
            raise error
        if last.status is not TorrelqueTaskStatus.COMPLETED:
            raise await self._failure(last)
        result: T_co = await self._read()
        return result

    def wait_result(self, timeout: Duration | None = None) -> T_co:
        """As ``result``, for synchronous code.

        :raises TorrelqueError: an event loop runs here, which the call would block.
        """
        result: T_co = self._loops.call(self.result(timeout))
        return result

    async def state(self) -> TorrelqueTaskState:
        """As `torrelque.Torrelque.get_task_state`, of the flow."""
        return await self._here().get_task_state(self._id)

    async def progress(self) -> FlowProgress:
        """How far the flow is.

        :raises TorrelqueLookupError: the queue knows nothing of the flow, or not any more.
        """
        return progress_of(await self.state())

    async def watch(self, timeout: Duration | None = None) -> AsyncGenerator[FlowProgress, None]:
        """How far the flow is, at once and then after each change, until it has ended, or stands still because a task
        is dead: then ``result`` tells more.

        :param timeout: how long to watch (s), for ever by default.
        :raises TorrelqueLookupError: the queue knows nothing of the flow, or not any more.
        :raises TorrelqueTimeoutError: the time is over, and it has not ended.
        """
        last = None
        async with aclosing(self._states(timeout)) as states:
            async for state in states:
                if (progress := progress_of(state)) != last:
                    yield (last := progress)

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """What has become of each task, those first that others wait for; in pages, so that any number is no problem.

        :raises TorrelqueLookupError: the queue knows nothing of the flow, or not any more.
        """
        async for outcome in outcomes_of(self._here(), self._id):
            yield outcome

    def task(self, name: str) -> 'Handle[Any]':
        """A handle of a task of the flow, by its name in it.

        Its result is there for as long as that of the flow.
        """
        check_name(name, 'the name of a step')
        return FlowTask(self._loops, self._id, name, self._queue, self._decode_of)

    async def cancel(self) -> bool:
        """Cancel what has not ended, and have what was to run ``at_end`` run; True if the flow had not ended.

        A second call cancels that as well.
        """
        return await self._here().cancel(self._id)

    async def redrive(self) -> int:
        """Have the flow's dead tasks tried again, with new attempts; how many there were.  So it goes on."""
        return await self._here().redrive(self._id)

    async def draw(self) -> str:
        """The flow as text of Mermaid, with how its tasks stand: ``completed``, ``failed``, ``skipped``, ``cancelled``
        as classes.

        :raises TorrelqueLookupError: the queue knows nothing of the flow, or not any more.
        :raises TorrelqueValueError: it is so large that nothing is kept of its tasks.
        """
        flow = await self._here().get_flow(self._id)
        states = {outcome.name: outcome.how async for outcome in self.outcomes() if outcome.how is not None}
        return draw(flow.task if isinstance(flow.task, Mapping) else {}, states)

    # Parts

    def _here(self) -> TorrelqueQueue:
        return self._loops.here().find(self._queue)

    async def _states(self, timeout: Duration | None) -> AsyncGenerator[TorrelqueTaskState, None]:
        """The states of the flow, until it has ended or stands still."""
        async for state in self._here().watch(self._id, timeout=timeout):
            yield state
            if state.dead and await self._waits():
                return

    async def _waits(self) -> bool:
        """Whether the flow stands still while a task is dead."""
        if self._on_failure is None:
            self._on_failure = (await self._here().get_flow(self._id)).on_failure
        return self._on_failure == 'wait'

    async def _failure(self, last: TorrelqueTaskState) -> FlowFailedError:
        queue = self._here()
        failed: dict[str, str | None] = {}
        stands = last.status is TorrelqueTaskStatus.WAITING
        try:
            failed = await (_dead_of(queue, self._id) if stands else _failed_of(queue, self._id))
        except TorrelqueLookupError:
            pass
        if last.error and not failed and last.error.startswith(f'{self._id}.'):
            # The flow itself tells of the task that has died last, or failed first.
            name, _, why = last.error.removeprefix(f'{self._id}.').partition(': ')
            failed = {name: why}
        error = FlowFailedError(self._id, last.status, failed, last.error)
        error.queue = queue.name
        return error

    async def _known_ends(self) -> Ends:
        if self._ends is None:
            task = (await self._here().get_flow(self._id)).task
            if not isinstance(task, Mapping) or 'out' not in task:
                raise TorrelqueTypeError(f'{self._id!r} is no flow of decorated functions; its outcomes() can be read')
            functions = {node[0]: node[2] for node in task.get('nodes', ())}
            functions |= {name: function for function, some in task.get('functions', {}).items() for name in some}
            maps = frozenset(node[0] for node in task.get('nodes', ()) if node[3:])
            decoders = {name: self._decoder(function) for name, function in functions.items()}
            self._ends = Ends(_ends_of(task), bool(task.get('list')), decoders, maps)
        return self._ends

    async def _decode_of(self, name: str) -> Callable[[Any], Any] | None:
        try:
            return (await self._known_ends()).decoder_of(name)
        except TorrelqueTypeError:
            # It is no flow of decorated functions, so its results are what they are.
            return None

    async def _read(self) -> Any:
        ends, queue = await self._known_ends(), self._here()
        plain = [f'{self._id}.{name}' for name, _ in ends.names]
        found = await read_many(queue, self._id, plain)
        values: list[Any] = []
        for (name, each), value in zip(ends.names, found, strict=True):
            its = await read_each(queue, self._id, f'{self._id}.{name}', value) if each else [value]
            decode = ends.decoders.get(name)
            values += its if decode is None else map(decode, its)
        return values if ends.is_list else values[0]


class FlowTask(Handle[Any]):
    """A task of a flow, whose result is kept with the flow."""

    __slots__ = ('_decode_of', '_name')

    def __init__(
        self, loops: Loops, flow_id: str, name: str, queue: str | None, decode_of: Callable[[str], Any]
    ) -> None:
        super().__init__(loops, f'{flow_id}.{name}', queue=queue)
        self._name = name
        self._decode_of = decode_of

    async def result(self, timeout: Duration | None = None) -> Any:
        """As `Handle.result`; of a task that was skipped it raises as well."""
        result = await super().result(timeout)
        decode = await self._decode_of(self._name)
        return result if decode is None or result is None else decode(result)


async def enqueue_plan(
    queue: TorrelqueQueue,
    flow_id: str,
    task: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
    said: Mapping[str, Any],
    context: Mapping[str, str] | None = None,
) -> None:
    """Enqueue a flow whose tasks are plain values."""
    out: Sequence[Any] = task['out']
    if len(out) > SHOWN or not all(isinstance(name, str) for name in out):
        # The state of a flow tells of its result, for whoever has no handle; of many, or of a map, it would tell too
        # much, or too little.
        out = ()
    nodes = make_nodes(tasks, flow_id, queue.name, context=context)
    await queue.enqueue_flow(nodes, task=task, flow_id=flow_id, out=out, **said)


async def outcomes_of(queue: TorrelqueQueue, flow_id: str) -> AsyncGenerator[Outcome, None]:
    """What has become of the tasks of a flow, those first that others wait for, then those that came to it while it
    ran."""
    flow = await queue.get_flow(flow_id)
    nodes = flow.task.get('nodes', ()) if isinstance(flow.task, Mapping) else ()
    known = [f'{flow_id}.{node[0]}' for node in nodes]
    for some in (known[start : start + PAGE] for start in range(0, len(known), PAGE)):
        for found in await queue.get_results(flow_id, *some):
            yield _named(flow_id, found)
    seen = {*known}
    async with aclosing(queue.get_outcomes(flow_id)) as others:
        async for found in others:
            if str(found.id) not in seen:
                yield _named(flow_id, found)


SHOWN = 20
"""Results that the state of a flow has at the most."""
PAGE = 250
"""Outcomes that are read in one call."""


def progress_of(state: TorrelqueTaskState) -> FlowProgress:
    """How far a flow is, by its state."""
    return FlowProgress(state.total or 0, state.left or 0, state.dead or 0, state.failed or 0)


# Parts


def _named(flow_id: str, found: TorrelqueOutcome) -> Outcome:
    return Outcome(str(found.id).removeprefix(f'{flow_id}.'), found.how, found.result, found.error)


async def _failed_of(queue: TorrelqueQueue, flow_id: str) -> dict[str, str | None]:
    """Tasks that have failed, with their errors, but for those that were skipped because of these, or have given their
    places to them."""
    failed: dict[str, str | None] = {}
    async with aclosing(outcomes_of(queue, flow_id)) as outcomes:
        async for outcome in outcomes:
            if outcome.how == 'failed' and not (outcome.error or '').startswith((SKIPPED, GRAFTED)):
                failed[outcome.name] = outcome.error
            if len(failed) == NAMED:
                break
    return failed


async def _dead_of(queue: TorrelqueQueue, flow_id: str) -> dict[str, str | None]:
    """Tasks that are dead, among the first that have not ended, with their errors."""
    unended: list[str] = []
    async with aclosing(outcomes_of(queue, flow_id)) as outcomes:
        async for outcome in outcomes:
            unended += [outcome.name] if outcome.how is None else []
            if len(unended) == PAGE:
                break
    states = await asyncio.gather(
        *(queue.get_task_state(f'{flow_id}.{name}') for name in unended), return_exceptions=True
    )
    dead: dict[str, str | None] = {}
    for name, state in zip(unended, states, strict=True):
        if isinstance(state, TorrelqueTaskState) and len(dead) < NAMED and is_dead(state):
            dead[name] = state.error
    # The state of a task that has given its place away is that of its heir, which is named itself.
    given = {one for one in dead for heir in dead if heir.startswith(f'{one}.') and dead[heir] == dead[one]}
    return {name: error for name, error in dead.items() if name not in given}


def _ends_of(task: Mapping[str, Any]) -> list[tuple[str, bool]]:
    return [(name, False) if isinstance(name, str) else (name[0], True) for name in task['out']]


def _last_line(error: str) -> str:
    return error.strip().rpartition('\n')[2]
