"""Flows in the memory of a test, as its queues have them: their tasks run one after the other, each when what it waits
for has ended, see `members`."""

from __future__ import annotations

import graphlib
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any

from torrelque import (
    Duration,
    Torrelque,
    TorrelqueError,
    TorrelqueFlow,
    TorrelqueLookupError,
    TorrelqueNode,
    TorrelqueOutcome,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTypeError,
)
from torrelque.protocol.check import seconds_of

from .members import ENDED, Member, MemoryFlow, OnFailure, Status
from .states import EagerTask

__all__ = ['FlowBook', 'FlowQueue', 'depend']

class FlowBook:
    """All flows of a block.

    :param take_in: called with a task that is enqueued, with how many tasks the queue may have, and whether the test is
        to see it.
    :param held: called with the name of a queue and an id: the task, if whoever has the id holds it.
    """

    def __init__(
        self,
        lock: threading.RLock,
        take_in: Callable[[EagerTask, int | None, bool], None],
        held: Callable[[str, str], EagerTask | None],
    ) -> None:
        self.lock = lock
        self.take_in = take_in
        self.held = held
        self._all: dict[tuple[str, str], MemoryFlow] = {}

    def add(self, flow: MemoryFlow) -> None:
        """Take a flow in, whose tasks come later."""
        self._all[flow.task.queue, flow.id] = flow

    def of(self, queue: str) -> list[MemoryFlow]:
        """The flows of a queue."""
        return [flow for (name, _), flow in self._all.items() if name == queue]

    def state_of(self, queue: str, task_id: str) -> TorrelqueTaskState | None:
        """The state of a task that a flow keeps, or that stands for a task of another queue, if there is one."""
        for flow in self.of(queue):
            member = flow.members.get(str(task_id).removeprefix(f'{flow.id}.'))
            found = None if member is None else flow.outcome(member)
            if member is not None and found is not None and found.how is not None:
                state = flow.task.state if member.task is None else member.task.state
                return state._replace(
                    status=ENDED[found.how], result=found.result, error=found.error, flow=flow.id, total=None,
                    left=None, dead=None, failed=None,
                )  # fmt: skip
            if member is not None and member.final.task is not None and member.final.task.queue != queue:
                task = member.final.task
                return task.state._replace(status=Status.WORKING, queue=task.queue, flow=flow.id)
        return None


class FlowQueue(Torrelque):
    """The verbs of flows, of a queue of a block."""

    _flows: FlowBook
    _began: Callable[[Any, EagerTask], Any]

    async def enqueue_flow(
        self,
        nodes: Iterable[TorrelqueNode],
        *,
        task: Any = None,
        flow_id: str | None = None,
        name: str | None = None,
        on_failure: OnFailure = 'wait',
        out: Sequence[str] = (),
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        pipeline: Any = None,
    ) -> TorrelqueTaskId:
        if pipeline is not None:
            raise self._missing('pipeline')
        call = self._calls.enqueue(task, self.task_timeout, None, flow_id, None, None, 0)
        payload: Any = call.args[1]
        flow_task = self._make(call.task_id, payload, TorrelqueNode('', None))
        flow_task.change(status=Status.WAITING)
        flow = MemoryFlow(flow_task, on_failure, name, [out] if isinstance(out, str) else [*out], flow_task.task)
        self._flows.take_in(flow_task, self.max_tasks, False)
        self._flows.add(flow)
        flow.add(_sorted(nodes))
        await self._run_flow(flow)
        new_id: TorrelqueTaskId = call.task_id
        return new_id

    async def add_to_flow(self, nodes: Iterable[TorrelqueNode], *, by: TorrelqueTaskId) -> list[TorrelqueTaskId]:
        flow = self._flow(None, str(by))
        with self._flows.lock:
            return [TorrelqueTaskId(task_id) for task_id in flow.add(_sorted(nodes))]

    async def graft(
        self,
        nodes: Iterable[TorrelqueNode],
        *,
        by: TorrelqueTaskId,
        last: str,
        task: Any = None,
        name: str | None = None,
        on_failure: OnFailure = 'wait',
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
    ) -> bool:
        its = self._flows.held(self.name, by)
        if its is None:
            return False
        flow = next((flow for flow in self._flows.of(self.name) if flow.member_of(str(by)) is not None), None)
        if flow is None:
            # The task becomes a flow, which runs before its worker goes on.
            its.change(status=Status.WAITING, error=None, progress=None)
            flow = MemoryFlow(its, on_failure, name, [last], task)
            self._flows.add(flow)
            flow.add(_sorted(nodes))
            await self._run_flow(flow)
            return True
        member = flow.member_of(str(by))
        assert member is not None
        before = f'{member.node.name}.'
        with self._flows.lock:
            flow.add(
                node._replace(name=before + node.name, after={before + one: kind for one, kind in node.after.items()})
                for node in _sorted(nodes)
            )
            flow.graft(member, flow.members[before + last])
            its.change(status=Status.WAITING)
        return True

    async def get_results(self, flow_id: str, *task_ids: str) -> list[TorrelqueOutcome]:
        flow = self._flow(flow_id)
        known = {f'{flow.id}.{name}': member for name, member in flow.members.items()}
        return [
            flow.outcome(known[task_id]) if task_id in known else TorrelqueOutcome(task_id, None, None, None)
            for task_id in map(str, task_ids)
        ]

    async def get_outcomes(self, flow_id: str) -> AsyncGenerator[TorrelqueOutcome, None]:
        flow = self._flow(flow_id)
        for member in [*flow.members.values()]:
            yield flow.outcome(member)

    async def get_flow(self, flow_id: str) -> TorrelqueFlow:
        flow = self._flow(flow_id)
        return TorrelqueFlow(flow.id, flow.task.state, flow.graph, flow.name, flow.on_failure)

    async def put_value(self, key: str, value: Any, *, by: TorrelqueTaskId) -> None:
        data: Any = self._calls.give(by, key, value)[-1]
        self._flow(None, str(by)).values[key] = data

    async def get_value(self, flow_id: str, key: str) -> Any:
        flow = self._flow(flow_id)
        if key not in flow.values:
            error = TorrelqueLookupError(f'the flow {flow_id!r} has no value {key!r}')
            error.queue = self.name
            raise error
        return self.serialiser.loads(flow.values[key])

    async def redrive(self, *task_ids: str, **options: Any) -> int:
        if not task_ids:
            task_ids = tuple(flow.id for flow in self._flows.of(self.name))
        count = 0
        for task_id in map(str, task_ids):
            flow = self._flow(task_id, task_id)
            for member in flow.dead():
                if task_id in (flow.id, f'{flow.id}.{member.node.name}'):
                    count += self._bring_back(flow, member)
            await self._run_flow(flow)
        return count

    # Parts

    def _flow(self, flow_id: str | None, of_task: str | None = None) -> MemoryFlow:
        """A flow, or that of a task."""
        for flow in self._flows.of(self.name):
            if flow.id == flow_id or of_task is not None and flow.members.get(of_task.removeprefix(f'{flow.id}.')):
                return flow
        error = TorrelqueLookupError(f'the queue has no flow {flow_id or of_task!r}')
        error.queue = self.name
        raise error

    def _make(self, task_id: TorrelqueTaskId, payload: Any, node: TorrelqueNode) -> EagerTask:
        lease = seconds_of(self.task_timeout if node.task_timeout is None else node.task_timeout)
        delay = seconds_of(node.delay or 0)
        return EagerTask(
            self.name, task_id, self.serialiser.loads(bytes(payload)), payload, node.group, node.priority or 0, delay,
            node.max_attempts, lease,
        )  # fmt: skip

    def _bring_back(self, flow: MemoryFlow, member: Member) -> int:
        assert member.task is not None
        member.is_dead = False
        task = member.task
        task.change(status=Status.PENDING, forgiven=task.state.dequeue_count)
        flow.ready.append(member)
        flow._count()
        return 1

    async def _run_flow(self, flow: MemoryFlow) -> None:
        """Have those tasks of a flow run that may begin, and those that may then."""
        if flow.runs:
            return
        flow.runs = flow.task.active = True
        try:
            while flow.ready:
                member = flow.ready.popleft()
                if member.how is None or member.is_dead:
                    await self._run_member(flow, member)
        finally:
            flow.runs = False
            flow.task.leave()

    async def _run_member(self, flow: MemoryFlow, member: Member) -> None:
        node = member.node
        queue: Any = self if node.queue is None else self.sibling(node.queue)
        task = member.task
        if task is None:
            call = queue._calls.enqueue(
                node.task, node.task_timeout or self.task_timeout, node.delay, f'{flow.id}.{node.name}',
                node.max_attempts, node.group, node.priority or 0,
            )  # fmt: skip
            task = member.task = queue._make(call.task_id, call.args[1], node)
            self._flows.take_in(task, None, True)
        await self._began(queue, task)
        state = task.state
        if member.heir is not None:
            return
        if state.status in (Status.COMPLETED, Status.REJECTED):
            good = state.status is Status.COMPLETED
            flow.ended(member, 'completed' if good else 'failed', state.result, state.error)
        elif state.status is Status.CANCELLED:
            flow.ended(member, 'failed', error='it was cancelled')
        elif state.status is Status.DEAD:
            flow.dies(member, state.error)

    def _missing(self, what: str) -> TorrelqueError:
        hints = {
            'pipeline': 'there is no server, so nothing can be a part of a transaction',
            'verb': 'there is no server, and this call needs one; see testing.using',
        }
        error = TorrelqueError(f'in a block of testing.eager {hints[what]}')
        error.queue = self.name
        return error

    def _load(self, data: Any) -> Any:
        try:
            return self.serialiser.loads(bytes(data))
        except Exception as exc:
            raise TorrelqueTypeError(f'what the serialiser has made cannot be read: {exc!r}') from exc


def depend(task: EagerTask, others: Sequence[EagerTask]) -> bool:
    """Whether a task may begin that depends on others.  What has failed has it cancelled; for what is dead, or does not
    run in this test, it waits."""
    statuses = {other.state.status for other in others}
    if statuses & {Status.REJECTED, Status.CANCELLED}:
        task.change(status=Status.CANCELLED, error='skipped: what it depends on has failed', release_time=time.time())
    elif statuses - {Status.COMPLETED}:
        task.change(status=Status.WAITING)
    return task.state.status is Status.PENDING


def _sorted(nodes: Iterable[TorrelqueNode]) -> list[TorrelqueNode]:
    """Nodes, each behind those that it waits for."""
    known = {node.name: node for node in nodes}
    order = graphlib.TopologicalSorter(
        {name: [other for other in node.after if other in known] for name, node in known.items()}
    )
    return [known[name] for name in order.static_order()]
