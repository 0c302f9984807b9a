"""The verbs of flows, of the synchronous queue with shards."""

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Literal

from torrelque import (
    Duration,
    TorrelqueFlow,
    TorrelqueLookupError,
    TorrelqueNode,
    TorrelqueOutcome,
    TorrelqueTaskId,
    TorrelqueValueError,
)
from torrelque.protocol.check import check_id
from torrelque.sync import Torrelque

from . import inside, shards
from .syncplacing import Placing
from .threads import Pipeline


class Flows(Placing):
    """What a queue object has for tasks that wait for tasks."""

    def enqueue_flow(
        self,
        nodes: Iterable[TorrelqueNode],
        *,
        task: Any = None,
        flow_id: str | None = None,
        name: str | None = None,
        on_failure: Literal['wait', 'skip', 'cancel'] = 'wait',
        out: Sequence[str] = (),
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        pipeline: Pipeline | None = None,
    ) -> TorrelqueTaskId:
        """Make a flow: tasks that wait for one another, as the asynchronous one."""
        self._all()
        given = [*nodes] if isinstance(nodes, Iterable) else nodes
        if flow_id is None and pipeline is not None:
            raise TorrelqueValueError(
                'a transaction is of one server, and a flow without an id of its own may be on any: give it one'
            )

        own = None if flow_id is None else str.__str__(check_id(flow_id))

        def enqueue(shard: Torrelque, its_id: str | None = None) -> TorrelqueTaskId:
            return shard.enqueue_flow(
                self._placed(given, shard), task=task, flow_id=its_id, name=name, on_failure=on_failure, out=out,
                timeout=timeout, result_ttl=result_ttl, pipeline=pipeline,
            )  # fmt: skip

        def enqueue_own() -> TorrelqueTaskId:
            shard, _, its_id = self._place_for(None, own, ())
            return enqueue(shard, its_id)

        return self._heeding((lambda: self._anywhere(enqueue)) if own is None else enqueue_own)

    def add_to_flow(self, nodes: Iterable[TorrelqueNode], *, by: TorrelqueTaskId) -> list[TorrelqueTaskId]:
        """Add tasks to the flow of a task that is being worked on, as the asynchronous one."""
        shard = self._shard_of_flow_of(by)
        given = [*nodes] if isinstance(nodes, Iterable) else nodes
        return self._heeding(lambda: shard.add_to_flow(self._placed(given, shard), by=by))

    def graft(
        self,
        nodes: Iterable[TorrelqueNode],
        *,
        by: TorrelqueTaskId,
        last: str,
        task: Any = None,
        name: str | None = None,
        on_failure: Literal['wait', 'skip', 'cancel'] = 'wait',
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
    ) -> bool:
        """Finish a task by others that take its place, as the asynchronous one."""
        shard = self._holder(by)
        given = [*nodes] if isinstance(nodes, Iterable) else nodes

        def take_its_place() -> bool:
            return shard.graft(
                self._placed(given, shard), by=by, last=last, task=task, name=name, on_failure=on_failure,
                timeout=timeout, result_ttl=result_ttl,
            )  # fmt: skip

        return self._heeding(take_its_place)

    def get_results(self, flow_id: str, *task_ids: str) -> list[TorrelqueOutcome]:
        """How some tasks of a flow have ended, with their results, as the asynchronous one."""
        return self._holder(flow_id).get_results(flow_id, *task_ids)

    def get_outcomes(self, flow_id: str) -> Generator[TorrelqueOutcome, None, None]:
        """All tasks of a flow, those that have not ended first, as the asynchronous one, by a plain generator."""
        yield from self._holder(flow_id).get_outcomes(flow_id)

    def get_flow(self, flow_id: str) -> TorrelqueFlow:
        """A flow, until its ``result_ttl`` is over, as the asynchronous one."""
        return self._seek(flow_id, lambda shard: shard.get_flow(flow_id))

    def put_value(self, key: str, value: Any, *, by: TorrelqueTaskId) -> None:
        """Keep a named value with the flow of a task that is being worked on, as the asynchronous one."""
        self._shard_of_flow_of(by).put_value(key, value, by=by)

    def get_value(self, flow_id: str, key: str) -> Any:
        """A named value of a flow, as the asynchronous one."""
        return self._holder(flow_id).get_value(flow_id, key)

    def _placed(self, nodes: Iterable[TorrelqueNode], at: Torrelque) -> Any:
        """Tasks for a flow in a shard, each with the queue where it is worked on, if that is another one."""
        if not isinstance(nodes, Iterable):
            return nodes
        placed: list[TorrelqueNode] = []
        for node in nodes:
            if isinstance(node, TorrelqueNode) and (node.group is not None or node.queue is not None):
                group, keyed = node.group, self._shape.keyed
                if isinstance(group, str) and node.queue in (None, self.name):
                    group = inside.Routed(group, keyed)
                node = node._replace(group=group, queue=self._queue_for(node, at, keyed))
            placed.append(node)
        return placed

    def _queue_for(self, node: TorrelqueNode, at: Torrelque, keyed: int) -> str | None:
        if node.queue is not None and node.queue != self.name:
            # What is another queue is known to whoever says so: this one has no siblings.
            return node.queue
        if node.group is None:
            return None
        shard = self._at(shards.of_group(node.group, keyed))
        if shard.client is not at.client:
            raise self._told(TorrelqueValueError(
                f'node {node.name!r} would be worked on by another server than that of its flow, of which that knows '
                'nothing'
            ))  # fmt: skip
        return shard.name

    def _shard_of_flow_of(self, task_id: TorrelqueTaskId) -> Torrelque:
        """The shard that has the flow of a task that is being worked on, maybe in another one, that of its group."""
        shard = self._holder(task_id)
        if getattr(task_id, 'group', None) is None:
            return shard
        named = shards.named_in(task_id, len(self._shards))
        if named is not None:
            return self._at(named)
        try:
            flow_id = shard.get_task_state(task_id).flow
        except TorrelqueLookupError:
            return shard
        return shard if flow_id is None else self._holder(flow_id)
