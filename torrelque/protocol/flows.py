"""The verbs of flows, as generators like those of `steps`."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torrelque.codec import serialise
from torrelque.error import (
    TorrelqueError,
    TorrelqueLeaseLostError,
    TorrelqueLookupError,
    TorrelqueValueError,
    of_queue,
)
from torrelque.model import (
    Duration,
    TorrelqueFlow,
    TorrelqueNode,
    TorrelqueOutcome,
    TorrelqueTaskId,
    TorrelqueTaskState,
)

from . import steps
from .abroad import carry
from .calls import Call, Calls
from .check import check_depends_on, check_id, check_name
from .flowing import (
    Part,
    Plan,
    ended_state,
    heir_of,
    homes,
    load_with,
    meta_of,
    new_flow_id,
    node_id,
    read_done,
    read_heir,
)
from .lease import token_of
from .replies import STATE_FIELDS, Outcome, outcome_error, read_outcomes, read_state, text
from .steps import Steps, spread
from .transition import Arg
from .words import read_words

# Making


class Flow(NamedTuple):
    """A flow that was checked, in the parts in which it is sent."""

    plan: Plan
    parts: Sequence[Part]
    meta: dict[str, Any]
    payload: bytes


def new_flow(
    calls: Calls,
    nodes: Iterable[TorrelqueNode],
    lease: Duration,
    task: Any,
    flow_id: str | None,
    name: str | None,
    on_failure: str,
    out: Sequence[str],
    timeout: Duration | None,
    ttl: Duration,
) -> Flow:
    """A flow to make."""
    new_id = new_flow_id(flow_id, calls.ids)
    plan = Plan(new_id, calls.mark(), calls.serialiser, calls.bounds, lease, calls.keys['pending'])
    plan.take(nodes, False)
    meta = meta_of(plan, on_failure, name, (out,) if isinstance(out, str) else out, timeout, ttl)
    payload = serialise(calls.serialiser, task, 'the task of the flow')
    return Flow(plan, plan.parts(False), meta, payload)


def one_call(calls: Calls, flow: Flow) -> Call:
    """The call that makes a flow, as part of a transaction."""
    if len(flow.parts) > 1:
        raise TorrelqueValueError(
            f'a flow of {len(flow.plan.nodes):,} tasks takes {len(flow.parts)} calls, so it is no part of a transaction'
        )
    args = calls.flow(flow.plan, _with_meta(flow, 0))
    return Call('flow', args, TorrelqueTaskId(flow.plan.flow_id), 0)


def _with_meta(flow: Flow, k: int) -> Part:
    """A part with what is said of the flow in it."""
    last, said = len(flow.parts) - 1, flow.meta if k == 0 else {}
    if last:
        said = {**said, **({'draft': True} if k == 0 else {}), **({'open': True} if k == last else {})}
    words: list[Arg] = [flow.payload if k == 0 else '', json.dumps(said), *flow.parts[k].words]
    return flow.parts[k]._replace(words=words)


def make_flow(calls: Calls, flow: Flow) -> Steps[TorrelqueTaskId]:
    """Make a flow, in one call or, of a larger one, in several; its id."""
    plan = flow.plan
    for k in range(len(flow.parts)):
        [outcome] = read_outcomes('flow', (yield 'flow', calls.flow(plan, _with_meta(flow, k))), 1)
        if error := _error_of(calls, outcome, plan.flow_id):
            if k > 0:
                # Nobody goes on with the draft.
                yield calls.cancel(plan.flow_id)[:2]
                yield from spread(calls)
            raise error
    first = sum(not node.after for node in plan.nodes)
    if len(flow.parts) > 1 or first > calls.bounds.grouped_tasks:
        # A call begins some of them; what others have put off may be before them, and is not all to be done here.
        yield from spread(calls, 1 + first // calls.bounds.grouped_tasks)
    if plan.goes_out:
        yield from carry(calls)
    return TorrelqueTaskId(plan.flow_id)


def add_to_flow(
    calls: Calls, nodes: Iterable[TorrelqueNode], by: TorrelqueTaskId, lease: Duration
) -> Steps[list[TorrelqueTaskId]]:
    """Add tasks to the flow of a task; their ids, in the order in which they were given."""
    if not token_of(check_id(by)):
        raise TorrelqueValueError(f'tasks are added by a task that dequeue gave, not by {by!r}')
    plan = Plan('', '', calls.serialiser, calls.bounds, lease, calls.keys['pending'])
    plan.take(nodes, True)
    plan.parts(True)
    return _add_to_flow(calls, plan, by)


def _add_to_flow(calls: Calls, plan: Plan, by: TorrelqueTaskId) -> Steps[list[TorrelqueTaskId]]:
    flow = yield None, ['HGET', f'{calls.keys["task"]}:{by}', 'flow']
    if flow is None:
        # A task without a state was settled since, by somebody else.
        there = yield None, ['EXISTS', f'{calls.keys["task"]}:{by}']
        raise _error_of(calls, 'no_flow' if there else 'not_held', by) or AssertionError
    plan.flow_id = text(flow)
    for part in plan.parts(True) if plan.nodes else ():
        [outcome] = read_outcomes('add', (yield 'add', calls.add(by, plan, part)), 1)
        if error := _error_of(calls, outcome, by):
            raise error
    if len(plan.nodes) > calls.bounds.grouped_tasks:
        yield from spread(calls)
    if plan.goes_out:
        yield from carry(calls)
    return [TorrelqueTaskId(node_id(plan.flow_id, name)) for name in plan.names]


def graft(
    calls: Calls,
    nodes: Iterable[TorrelqueNode],
    by: TorrelqueTaskId,
    last: str,
    lease: Duration,
    task: Any,
    name: str | None,
    on_failure: str,
    timeout: Duration | None,
    ttl: Duration,
) -> Steps[bool]:
    """Have tasks take the place of one; whether they have."""
    if not token_of(check_id(by)):
        raise TorrelqueValueError(f'a task gives its place away that dequeue gave, not {by!r}')
    plan = Plan(str.__str__(by), '', calls.serialiser, calls.bounds, lease, calls.keys['pending'])
    plan.take(nodes, False)
    if check_name(last, 'last') not in plan.names:
        raise TorrelqueValueError(f'last is {last!r}, which is none of the tasks')
    meta = meta_of(plan, on_failure, name, (), timeout, ttl)
    *first, part = plan.parts(True)
    return _graft(calls, plan, by, first, calls.graft(by, plan, part, last, task, meta))


def _graft(calls: Calls, plan: Plan, by: TorrelqueTaskId, first: Sequence[Part], args: list[Arg]) -> Steps[bool]:
    for part in first:
        [outcome] = read_outcomes('add', (yield 'add', calls.add(by, plan, part)), 1)
        if outcome in ('not_held', 'over'):
            # What became of the task is for the last call to tell, which clears it away where it was cancelled.
            break
        if outcome == 'no_flow':
            raise of_queue(calls.name, TorrelqueValueError(
                f'task {str(by)!r} was enqueued alone, so its place is taken in one call, of {calls.bounds.bulk} tasks '
                'at the most; enqueue it in a flow'
            ))
        if error := _error_of(calls, outcome, by):
            raise error
    [outcome] = read_outcomes('graft', (yield 'graft', args), 1)
    if outcome in _NOT_OURS:
        return False
    if outcome == 'no_flow':
        raise of_queue(calls.name, TorrelqueValueError(
            f'the flow of task {str(by)!r} has ended, or is not in this queue, so nothing can take the place of the '
            'task'
        ))
    if error := _error_of(calls, outcome, by):
        raise error
    if len(plan.nodes) > calls.bounds.grouped_tasks:
        yield from spread(calls)
    if plan.goes_out:
        yield from carry(calls)
    return True


_NOT_OURS = ('cancelled', 'lease_lost', 'not_working', 'unknown')


def depend(calls: Calls, call: Call, depends_on: Iterable[str]) -> Call:
    """The call that stores a task which waits for others, or for none, made of that which stores it alone."""
    others = check_depends_on(depends_on)
    if len(others) > calls.bounds.edges:
        raise TorrelqueValueError(f'depends_on must have at most {calls.bounds.edges} ids, not {len(others)}')
    return calls.depend(call, others) if others else call


def send_depend(calls: Calls, call: Call) -> Steps[None]:
    """Store a task that waits for others."""
    [outcome] = read_outcomes(call.name, (yield call.name, call.args), 1)
    if error := _error_of(calls, outcome, call.task_id):
        raise error


def _error_of(calls: Calls, outcome: Outcome, task_id: str) -> TorrelqueError | None:
    """The error that an outcome stands for, if it is one."""
    error: Exception | None = None
    if outcome == 'not_held':
        error = TorrelqueLeaseLostError(f'its caller does not hold task {str(task_id)!r} any more')
    elif outcome == 'no_flow':
        error = TorrelqueValueError(f'task {str(task_id)!r} is of no flow')
    elif outcome == 'away':
        what = f'the flow of {str(task_id)!r} is of another queue: call that of the flow'
        error = TorrelqueValueError(what)
    elif outcome == 'over':
        error = TorrelqueError(f'the flow of {str(task_id)!r} has ended, was cancelled, or was given up')
    else:
        error = outcome_error(outcome, task_id, calls.name)
    return of_queue(calls.name, error) if isinstance(error, TorrelqueError) else None


# Reading


def get_results(calls: Calls, flow_id: str, task_ids: Sequence[str]) -> Steps[list[TorrelqueOutcome]]:
    """How some tasks of a flow have ended, in their order."""
    return _get_results(calls, check_id(flow_id), [check_id(task_id) for task_id in task_ids])


def _get_results(calls: Calls, flow_id: str, task_ids: Sequence[str]) -> Steps[list[TorrelqueOutcome]]:
    found: list[TorrelqueOutcome] = []
    most = calls.bounds.bulk
    for start in range(0, len(task_ids), most):
        some = task_ids[start : start + most]
        values = yield None, ['HMGET', _key(calls, 'done', flow_id), *some]
        if not isinstance(values, list) or len(values) != len(some):
            raise ValueError(values)
        found += yield from _read_ended(calls, flow_id, some, values)
    return found


def _read_ended(
    calls: Calls, flow_id: str, task_ids: Sequence[str], values: Sequence[Any]
) -> Steps[list[TorrelqueOutcome]]:
    """How tasks have ended, by what ``done:F`` has of them, and of those that have taken their places."""
    heirs, values = [*task_ids], [*values]
    while grafted := {k: heir for k, value in enumerate(values) if (heir := heir_of(heirs[k], value)) is not None}:
        its = yield None, ['HMGET', _key(calls, 'done', flow_id), *grafted.values()]
        if not isinstance(its, list) or len(its) != len(grafted):
            raise ValueError(its)
        for (k, heir), value in zip(grafted.items(), its, strict=True):
            heirs[k], values[k] = heir, value
    found = [read_done(*one, calls.serialiser) for one in zip(heirs, values, strict=True)]
    return [one if one.id == own else read_heir(own, one) for own, one in zip(task_ids, found, strict=True)]


def find_heir(calls: Calls, task_id: str, flow_id: str | None) -> Steps[str | None]:
    """The task that has taken the place of one and has not ended; None where there is none.

    :param flow_id: the flow of the task, where it is known.
    """
    for home in [flow_id] if flow_id is not None else homes(task_id):
        heir, value = task_id, (yield None, ['HGET', _key(calls, 'done', home), task_id])
        while (following := heir_of(heir, value)) is not None:
            heir, value = following, (yield None, ['HGET', _key(calls, 'done', home), following])
        if value is not None or heir != task_id:
            return heir if value is None else None
    return None


def _key(calls: Calls, prefix: str, name: str) -> str:
    return f'{calls.keys[prefix]}:{name}'


class OutcomeScan:
    """How all tasks of a flow have ended, a page at a time; those that have not come first."""

    def __init__(self, calls: Calls, flow_id: str) -> None:
        self.over = False
        self._calls = calls
        self._flow = check_id(flow_id)
        self._key = 'needs'
        self._cursor: Arg = b'0'
        self._seen: set[str] = set()

    def read(self) -> Steps[list[TorrelqueOutcome]]:
        """The next ones, each task once."""
        if self._key == 'needs' and self._cursor == b'0':
            there = yield None, ['EXISTS', *(_key(self._calls, key, self._flow) for key in ('needs', 'done'))]
            if not there:
                what = f'the queue has no flow {self._flow!r}, or nothing of its tasks is left'
                raise of_queue(self._calls.name, TorrelqueLookupError(what))
        key = _key(self._calls, self._key, self._flow)
        following, page = yield None, ['HSCAN', key, self._cursor, 'COUNT', str(self._calls.bounds.bulk)]
        items = read_words(page)
        if type(following) is not bytes or len(items) % 2 or following == self._cursor != b'0':
            raise ValueError('not a page, or one that leads to itself')
        ids = [word.decode('utf-8', 'surrogateescape') for word in items[::2]]
        fresh = [k for k, task_id in enumerate(ids) if task_id not in self._seen]
        self._seen.update(ids)
        if self._key == 'needs':
            found = yield from _get_results(self._calls, self._flow, [ids[k] for k in fresh])
        else:
            values = [items[2 * k + 1] for k in fresh]
            found = yield from _read_ended(self._calls, self._flow, [ids[k] for k in fresh], values)
        self._cursor = following
        if following == b'0':
            self.over = self._key == 'done'
            self._key = 'done'
        return found


def get_flow(calls: Calls, flow_id: str) -> Steps[TorrelqueFlow]:
    """A flow."""
    return _get_flow(calls, check_id(flow_id))


def _get_flow(calls: Calls, flow_id: str) -> Steps[TorrelqueFlow]:
    # The payload goes to the state when the flow ends, so it is looked for there last.
    payload = yield None, ['HGET', calls.keys['tasks'], flow_id]
    more = ('payload', 'name', 'on_failure', 'out')
    values = yield None, ['HMGET', _key(calls, 'task', flow_id), *STATE_FIELDS, *more]
    if not isinstance(values, list) or len(values) != len(STATE_FIELDS) + len(more):
        raise ValueError(values)
    kept, name, on_failure, _ = values[len(STATE_FIELDS) :]
    state = read_state(values[: len(STATE_FIELDS)], calls.serialiser, flow_id)
    if state is None or state.total is None:
        raise of_queue(calls.name, TorrelqueLookupError(f'the queue has no flow {flow_id!r}'))
    state = yield from completed(calls, flow_id, state)
    data = payload or kept
    return TorrelqueFlow(
        TorrelqueTaskId(flow_id),
        state,
        load_with(calls.serialiser, data, 'payload', f'flow {flow_id!r}') if data else None,
        None if name is None else text(name),
        text(on_failure or b'wait'),  # type: ignore[arg-type]
    )


def completed(calls: Calls, task_id: str, state: TorrelqueTaskState) -> Steps[TorrelqueTaskState]:
    """A final state with what stands elsewhere: results of a flow, or how a task has ended within its flow."""
    if state.total is not None and state.status.isfinal():
        out = yield None, ['HGET', _key(calls, 'task', task_id), 'out']
        ids = json.loads(out) if out else []
        if ids:
            results = [one.result for one in (yield from _get_results(calls, task_id, ids))]
            state = state._replace(result=results[0] if len(results) == 1 else results)
    elif state.flow is not None and state.release_time is None:
        [outcome] = yield from _get_results(calls, state.flow, [task_id])
        if outcome.how is not None:
            state = ended_state(state, outcome, state.flow)
        elif (heir := (yield from find_heir(calls, task_id, state.flow))) is not None:
            state = yield from _get_task_state(calls, heir)
    return state


def get_task_state(calls: Calls, task_id: str) -> Steps[TorrelqueTaskState]:
    """The state of a task; of one that is gone, how it has ended within its flow."""
    return _get_task_state(calls, check_id(task_id))


def _get_task_state(calls: Calls, task_id: str) -> Steps[TorrelqueTaskState]:
    try:
        state = yield from steps.get_task_state(calls, task_id)
    except TorrelqueLookupError:
        return (yield from find_ended(calls, task_id))
    if state.total is None:
        return state
    return (yield from completed(calls, task_id, state))


def find_ended(calls: Calls, task_id: str) -> Steps[TorrelqueTaskState]:
    """The state of a task of which nothing is left but how it has ended within its flow."""
    for flow_id in homes(task_id):
        [outcome] = yield from _get_results(calls, flow_id, [task_id])
        if outcome.how is not None:
            return ended_state(None, outcome, flow_id)
        if (heir := (yield from find_heir(calls, task_id, flow_id))) is not None:
            return (yield from _get_task_state(calls, heir))
    raise of_queue(calls.name, TorrelqueLookupError(f'the queue has no task {task_id!r}'))


# Named values


def put_value(calls: Calls, key: str, value: Any, by: TorrelqueTaskId) -> Steps[None]:
    """Keep a named value with the flow of a task."""
    if not token_of(check_id(by)):
        raise TorrelqueValueError(f'a value is kept by a task that dequeue gave, not by {by!r}')
    return _put_value(calls, calls.give(by, key, value), by)


def _put_value(calls: Calls, args: list[Arg], by: str) -> Steps[None]:
    [outcome] = read_outcomes('give', (yield 'give', args), 1)
    if error := _error_of(calls, outcome, by):
        raise error


def get_value(calls: Calls, flow_id: str, key: str) -> Steps[Any]:
    """A named value of a flow."""
    return _get_value(calls, check_id(flow_id), check_name(key, 'a key'))


def _get_value(calls: Calls, flow_id: str, key: str) -> Steps[Any]:
    data = yield None, ['HGET', _key(calls, 'values', flow_id), key]
    if data is None:
        raise of_queue(calls.name, TorrelqueLookupError(f'flow {flow_id!r} has no value {key!r}'))
    return load_with(calls.serialiser, data, f'value {key!r}', f'flow {flow_id!r}')
