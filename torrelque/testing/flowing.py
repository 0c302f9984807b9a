"""Flows in the memory of a test: their tasks run one after the other, each when what it waits for has ended.

What lets a task begin, and what has it skipped, is the rule of the real queue; see its scripts.
"""

from __future__ import annotations

import collections
import graphlib
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from torrelque import (
    Duration,
    Torrelque,
    TorrelqueFlow,
    TorrelqueLookupError,
    TorrelqueNode,
    TorrelqueOutcome,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueValueError,
)
from torrelque.protocol.check import seconds_of

from .states import EagerTask

__all__ = ['FlowBook', 'FlowQueue', 'MemoryFlow', 'depend']

Status = TorrelqueTaskStatus
How = Literal['completed', 'failed', 'skipped', 'cancelled']
OnFailure = Literal['wait', 'skip', 'cancel']
SATISFIED = {
    'then': ('completed',),
    'end': ('completed', 'dead', 'failed', 'skipped', 'cancelled'),
    'fail': ('dead', 'failed'),
}
"""By the kind of an edge, the ends that let the next task begin; any other end but a death has it skipped."""


ENDED: Mapping[str, TorrelqueTaskStatus] = {
    'completed': Status.COMPLETED, 'failed': Status.REJECTED, 'skipped': Status.CANCELLED,
    'cancelled': Status.CANCELLED,
}  # fmt: skip


class Member:
    """A task of a flow."""

    def __init__(self, node: TorrelqueNode) -> None:
        self.node = node
        self.edges: list[tuple[Member, str]] = []
        """Who waits for it, and how."""
        self.needs = 0
        """For how many ends it waits."""
        self.task: EagerTask | None = None
        """The task, once it has begun."""
        self.how: How | None = None
        """How it has ended."""
        self.value: Any = None
        self.error: str | None = None
        self.is_dead = False

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return self.task is None and self.how is None

    @property
    def is_last(self) -> bool:
        """Whether it waits for ends only, in whatever way, so that it runs where the flow is cancelled, too."""
        kinds = {*self.node.after.values()}
        return kinds == {'end'}


class MemoryFlow:
    """A flow: who has ended, and who may begin."""

    def __init__(self, flow_task: EagerTask, on_failure: OnFailure, name: str | None, out: Sequence[str]) -> None:
        self.task = flow_task
        self.id = str(flow_task.id)
        self.on_failure: OnFailure = on_failure
        self.name = name
        self.out = out
        self.members: dict[str, Member] = {}
        self.ready: collections.deque[Member] = collections.deque()
        """Those that may begin, in their order."""
        self.values: dict[str, Any] = {}
        """What was pushed."""
        self.runs = False
        """Whether somebody has its tasks run."""

    def add(self, nodes: Iterable[TorrelqueNode]) -> list[str]:
        """Take tasks in; the ids of all, also of those that it has."""
        nodes = [*nodes]
        for name in {name for node in nodes if node.name not in self.members for name in _before(node)}:
            if not self._find(name).waits:
                raise TorrelqueValueError(f'{name!r} does not wait any more, so it cannot wait for another one')
        new = [self.members.setdefault(node.name, Member(node)) for node in nodes if node.name not in self.members]
        for member in new:
            for name, kind in member.node.after.items():
                other = self._find(name)
                if other.how is None:
                    other.edges.append((member, kind))
                    member.needs += 1
                elif not _lets(kind, other.how):
                    raise TorrelqueValueError(f'{member.node.name!r} cannot begin: {name!r} has {other.how}')
            for name, its_kind in _before(member.node).items():
                other = self._find(name)
                member.edges.append((other, its_kind))
                other.needs += 1
        self.ready += [member for member in new if member.needs == 0]
        self._count()
        return [f'{self.id}.{node.name}' for node in nodes]

    def dies(self, member: Member, error: str | None) -> None:
        """A task is dead."""
        member.is_dead, member.error = True, error
        if self.on_failure != 'wait':
            self.ended(member, 'failed', error=error)
        told, member.edges = [edge for edge in member.edges if edge[1] != 'then'], [
            edge for edge in member.edges if edge[1] == 'then'
        ]
        for other, kind in told:
            self._tell(other, kind, 'dead')
        if self.on_failure == 'cancel':
            self.cancel()
        self._count()
        self.task.change(error=f'{member.node.name}: {error}')

    def ended(self, member: Member, how: How, value: Any = None, error: str | None = None) -> None:
        """A task has ended: whoever waits for it is told."""
        if member.how is not None:
            return
        member.how, member.value, member.error = how, value, error
        edges, member.edges = member.edges, []
        for other, kind in edges:
            self._tell(other, kind, how)
        self._count()

    def cancel(self) -> None:
        """Cancel what has not begun, but for what is to run at the end."""
        for member in [*self.members.values()]:
            if member.waits and (not member.is_last or self.task.state.status is Status.CANCELLED):
                self.ended(member, 'cancelled', error='its flow was cancelled')
            elif member.is_dead:
                self.ended(member, 'cancelled', error=member.error)
        if not self.task.state.status.isfinal():
            self.task.change(status=Status.CANCELLED, release_time=time.time())

    def dead(self) -> list[Member]:
        """Tasks that are dead."""
        return [member for member in self.members.values() if member.is_dead]

    def outcome(self, member: Member) -> TorrelqueOutcome:
        """What has become of a task."""
        task_id = f'{self.id}.{member.node.name}'
        error = member.error if member.how is not None else None
        return TorrelqueOutcome(task_id, member.how, member.value, error)

    # Parts

    def _find(self, name: str) -> Member:
        if name not in self.members:
            raise TorrelqueValueError(f'the flow {self.id!r} has no task {name!r}')
        return self.members[name]

    def _tell(self, other: Member, kind: str, how: str) -> None:
        if not other.waits or other in self.ready:
            return
        if _lets(kind, how):
            other.needs = 0 if other.node.join == 'any' else other.needs - 1
            if other.needs == 0:
                self.ready.append(other)
            return
        if how == 'dead':
            return
        other.needs -= 1
        if other.node.join == 'all' or other.needs == 0:
            its: How = 'failed' if how == 'failed' else 'cancelled' if how == 'cancelled' else 'skipped'
            self.ended(other, its, error='skipped: what it waits for has ended in another way')

    def _count(self) -> None:
        members = self.members.values()
        left = sum(member.how is None for member in members)
        failed = sum(member.how == 'failed' for member in members)
        dead = sum(member.is_dead for member in members)
        change: dict[str, Any] = {'total': len(members), 'left': left, 'dead': dead, 'failed': failed}
        if left == 0 and not self.task.state.status.isfinal():
            change['status'] = Status.REJECTED if failed else Status.COMPLETED
            change['release_time'] = time.time()
            values = [self.members[name].value for name in self.out]
            change['result'] = values[0] if len(values) == 1 else values or None
        self.task.change(**change)


class FlowBook:
    """All flows of a block.

    :param take_in: called with a task that is enqueued, with how many tasks the queue may have, and whether the test is
        to see it.
    """

    def __init__(self, lock: threading.RLock, take_in: Callable[[EagerTask, int | None, bool], None]) -> None:
        self.lock = lock
        self.take_in = take_in
        self._all: dict[tuple[str, str], MemoryFlow] = {}

    def add(self, flow: MemoryFlow) -> None:
        """Take a flow in, whose tasks come later."""
        self._all[flow.task.queue, flow.id] = flow

    def of(self, queue: str) -> list[MemoryFlow]:
        """The flows of a queue."""
        return [flow for (name, _), flow in self._all.items() if name == queue]


    def state_of(self, queue: str, task_id: str) -> TorrelqueTaskState | None:
        """The state of a task that a flow keeps, if there is one."""
        for flow in self.of(queue):
            member = flow.members.get(str(task_id).removeprefix(f'{flow.id}.'))
            if member is not None and member.how is not None:
                state = flow.task.state if member.task is None else member.task.state
                return state._replace(
                    status=ENDED[member.how], result=member.value, error=member.error, flow=flow.id, total=None,
                    left=None, dead=None, failed=None,
                )  # fmt: skip
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
    ) -> TorrelqueTaskId:
        call = self._calls.enqueue(task, self.task_timeout, None, flow_id, None, None, 0)
        payload: Any = call.args[1]
        flow_task = self._make(call.task_id, payload, TorrelqueNode('', None))
        flow_task.change(status=Status.WAITING)
        flow = MemoryFlow(flow_task, on_failure, name, [out] if isinstance(out, str) else [*out])
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
        return TorrelqueFlow(flow.id, flow.task.state, flow.task.task, flow.name, flow.on_failure)

    async def put_value(self, key: str, value: Any, *, by: TorrelqueTaskId) -> None:
        flow = self._flow(None, str(by))
        flow.values[key] = self.serialiser.dumps(value)

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
        if member.task is None:
            call = queue._calls.enqueue(
                node.task, node.task_timeout or self.task_timeout, node.delay, f'{flow.id}.{node.name}',
                node.max_attempts, node.group, node.priority or 0,
            )  # fmt: skip
            member.task = queue._make(call.task_id, call.args[1], node)
            self._flows.take_in(member.task, None, True)
        task = member.task
        await self._began(queue, task)
        state = task.state
        if state.status in (Status.COMPLETED, Status.REJECTED):
            good = state.status is Status.COMPLETED
            flow.ended(member, 'completed' if good else 'failed', state.result, state.error)
        elif state.status is Status.CANCELLED:
            flow.ended(member, 'failed', error='it was cancelled')
        elif state.status is Status.DEAD:
            flow.dies(member, state.error)


def _before(node: TorrelqueNode) -> Mapping[str, str]:
    return node.before if isinstance(node.before, Mapping) else dict.fromkeys(node.before, 'then')


def depend(task: EagerTask, others: Sequence[EagerTask]) -> bool:
    """Whether a task may begin that depends on others.  What has failed has it cancelled; for what is dead, or does not
    run in this test, it waits."""
    statuses = {other.state.status for other in others}
    if statuses & {Status.REJECTED, Status.CANCELLED}:
        task.change(status=Status.CANCELLED, error='skipped: what it depends on has failed', release_time=time.time())
    elif statuses - {Status.COMPLETED}:
        task.change(status=Status.WAITING)
    return task.state.status is Status.PENDING


def _lets(kind: str, how: str) -> bool:
    return how in SATISFIED[kind]


def _sorted(nodes: Iterable[TorrelqueNode]) -> list[TorrelqueNode]:
    """Nodes, each behind those that it waits for."""
    known = {node.name: node for node in nodes}
    order = graphlib.TopologicalSorter(
        {name: [other for other in node.after if other in known] for name, node in known.items()}
    )
    return [known[name] for name in order.static_order()]
