"""A flow in the memory of a test: which of its tasks may begin, and how each has ended.

What lets a task begin, and what has it skipped, is the rule of the real queue; see its scripts.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from torrelque import TorrelqueLookupError, TorrelqueNode, TorrelqueOutcome, TorrelqueTaskStatus, TorrelqueValueError

from .states import EagerTask

__all__ = ['ENDED', 'Member', 'MemoryFlow', 'OnFailure', 'Status']

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
        self.heir: Member | None = None
        """Who has taken its place."""

    @property
    def final(self) -> Member:
        """The task whose end is that of this one: itself, or the last that has taken its place."""
        return self if self.heir is None else self.heir.final

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

    def __init__(
        self, flow_task: EagerTask, on_failure: OnFailure, name: str | None, out: Sequence[str], graph: Any
    ) -> None:
        self.task = flow_task
        self.graph = graph
        """What is to be seen of it."""
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
        coming = {node.name for node in nodes}
        for name in {name for node in nodes if node.name not in self.members for name in node.after} - coming:
            self._find(name)
        new = [self.members.setdefault(node.name, Member(node)) for node in nodes if node.name not in self.members]
        ends: list[tuple[Member, str, str]] = []
        for member in new:
            for name, kind in member.node.after.items():
                other = self._find(name).final
                member.needs += 1
                how = 'dead' if other.is_dead and other.how is None and kind != 'then' else other.how
                if how is None:
                    other.edges.append((member, kind))
                else:
                    ends.append((member, kind, how))
            for name, its_kind in _before(member.node).items():
                other = self._find(name)
                member.edges.append((other, its_kind))
                other.needs += 1
        self.ready += [member for member in new if member.needs == 0]
        for told in ends:
            self._tell(*told)
        self._count()
        return [f'{self.id}.{node.name}' for node in nodes]

    def graft(self, member: Member, heir: Member) -> None:
        """Another task takes the place of one: who waits for this one waits for that one now."""
        member.heir = heir
        edges, member.edges = member.edges, []
        for other, kind in edges:
            if heir.how is None:
                heir.edges.append((other, kind))
            else:
                self._tell(other, kind, heir.how)
        self._count()

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
        for other in self.members.values():
            if other.heir is not None and other.final is member and other.task is not None:
                other.task.change(status=ENDED[how], result=value, error=error, release_time=time.time())
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
        last = member.final
        error = last.error if last.how is not None else None
        if last is not member and last.how in ('failed', 'cancelled'):
            error = f'its graft has failed: {self.id}.{last.node.name}: {error}'
        return TorrelqueOutcome(f'{self.id}.{member.node.name}', last.how, last.value, error)

    def member_of(self, task_id: str) -> Member | None:
        """The task of an id, if it is one of the flow."""
        return self.members.get(task_id.removeprefix(f'{self.id}.')) if task_id.startswith(f'{self.id}.') else None

    # Parts

    def _find(self, name: str) -> Member:
        if name not in self.members:
            raise TorrelqueLookupError(f'there is no task {f"{self.id}.{name}"!r} to wait for')
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
        left = sum(member.how is None and member.heir is None for member in members)
        failed = sum(member.how == 'failed' for member in members)
        dead = sum(member.is_dead for member in members)
        change: dict[str, Any] = {'total': len(members), 'left': left, 'dead': dead, 'failed': failed}
        if left == 0 and not self.task.state.status.isfinal():
            change['status'] = Status.REJECTED if failed else Status.COMPLETED
            change['release_time'] = time.time()
            values = [self.members[name].final.value for name in self.out]
            change['result'] = values[0] if len(values) == 1 else values or None
        self.task.change(**change)


def _before(node: TorrelqueNode) -> Mapping[str, str]:
    return node.before if isinstance(node.before, Mapping) else dict.fromkeys(node.before, 'then')


def _lets(kind: str, how: str) -> bool:
    return how in SATISFIED[kind]
