"""The verbs of flows, of the queue with shards for coroutines: a flow lives in one shard, that of its id."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Literal

from torrelque import (
    Duration,
    Torrelque,
    TorrelqueFlow,
    TorrelqueLookupError,
    TorrelqueNode,
    TorrelqueOutcome,
    TorrelqueQueue,
    TorrelqueTaskId,
    TorrelqueValueError,
)
from torrelque.protocol.check import check_id

from . import inside, shards
from .base import Base, Pipeline
from .placing import Placing


class Flows(Placing):
    """What a queue object has for tasks that wait for tasks."""

    async def enqueue_flow(
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
        """Make a flow, as `torrelque.Torrelque.enqueue_flow`: tasks that wait for one another.

        A flow is in one shard, with its tasks: a new one in any, one with an id of the caller's own in that of the id.
        A task with a group is worked on in the shard of its group, as one of another queue of the same Cluster is.

        :param flow_id: an id of the caller's own, so that making the same flow twice is refused.
        :param pipeline: as in ``Sharded.enqueue``: only with a ``flow_id``, and without tasks of other shards.
        :raises TorrelqueValueError: of servers that know nothing of each other, a task has a group, or is for a queue,
            of another one; or something else cannot be meant; nothing was sent.
        """
        if not self._shards:
            await self._open()
        given = [*nodes] if isinstance(nodes, Iterable) else nodes
        if flow_id is None and pipeline is not None:
            raise TorrelqueValueError(
                'a transaction is of one server, and a flow without an id of its own may be on any: give it one'
            )

        own_id = None if flow_id is None else str.__str__(check_id(flow_id))

        async def enqueue(shard: Torrelque, its_id: str | None = None) -> TorrelqueTaskId:
            return await shard.enqueue_flow(
                await self._placed(given, shard), task=task, flow_id=its_id, name=name, on_failure=on_failure, out=out,
                timeout=timeout, result_ttl=result_ttl, pipeline=pipeline,
            )  # fmt: skip

        async def enqueue_own() -> TorrelqueTaskId:
            shard, _, its_id = await self._place_for(None, own_id, ())
            return await enqueue(shard, its_id)

        return await self._heeding((lambda: self._anywhere(enqueue)) if flow_id is None else enqueue_own)

    async def add_to_flow(self, nodes: Iterable[TorrelqueNode], *, by: TorrelqueTaskId) -> list[TorrelqueTaskId]:
        """Add tasks to the flow of a task that is being worked on, as `torrelque.Torrelque.add_to_flow`.

        Tasks with groups are worked on where their groups are, as those of `enqueue_flow`.
        """
        shard = await self._shard_of_flow_of(by)
        given = [*nodes] if isinstance(nodes, Iterable) else nodes

        async def add() -> list[TorrelqueTaskId]:
            return await shard.add_to_flow(await self._placed(given, shard), by=by)

        return await self._heeding(add)

    async def graft(
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
        """Finish a task by others that take its place, as `torrelque.Torrelque.graft`: its result is that of the last.

        A task with a group that is of a flow in another shard than its group cannot, as one of another queue cannot.
        """
        shard = await self._holder(by)
        given = [*nodes] if isinstance(nodes, Iterable) else nodes

        async def take_its_place() -> bool:
            return await shard.graft(
                await self._placed(given, shard), by=by, last=last, task=task, name=name, on_failure=on_failure,
                timeout=timeout, result_ttl=result_ttl,
            )  # fmt: skip

        return await self._heeding(take_its_place)

    async def get_results(self, flow_id: str, *task_ids: str) -> list[TorrelqueOutcome]:
        """How some tasks of a flow have ended, with their results, as `torrelque.Torrelque.get_results`."""
        return await (await self._holder(flow_id)).get_results(flow_id, *task_ids)

    async def get_outcomes(self, flow_id: str) -> AsyncGenerator[TorrelqueOutcome, None]:
        """All tasks of a flow, those that have not ended first, as `torrelque.Torrelque.get_outcomes`."""
        async for outcome in (await self._holder(flow_id)).get_outcomes(flow_id):
            yield outcome

    async def get_flow(self, flow_id: str) -> TorrelqueFlow:
        """A flow, until its ``result_ttl`` is over, as `torrelque.Torrelque.get_flow`."""
        return await self._seek(flow_id, lambda shard: shard.get_flow(flow_id))

    async def put_value(self, key: str, value: Any, *, by: TorrelqueTaskId) -> None:
        """Keep a named value with the flow of a task that is being worked on, as `torrelque.Torrelque.put_value`."""
        await (await self._shard_of_flow_of(by)).put_value(key, value, by=by)

    async def get_value(self, flow_id: str, key: str) -> Any:
        """A named value of a flow, as `torrelque.Torrelque.get_value`."""
        return await (await self._holder(flow_id)).get_value(flow_id, key)

    # Other queues

    def sibling(self, name: str) -> TorrelqueQueue:
        """Another queue with shards, on the same servers: an object that has the clients, the serialiser, the limit and
        the times of this one, and is closed with it; each call gives the same.

        Where it is not there yet, it will have as many shards as this one.

        :param name: the name of the queue; that of a shard, which has braces, is the queue that this is.
        :raises TorrelqueTypeError: the name is no text.
        :raises TorrelqueValueError: it is no name of a queue.
        """
        known = self._siblings.get(name) if isinstance(name, str) else None
        if known is None:
            known = next((shard for shard in self._shards if shard.name == name), None) or self._make_sibling(name)
            if known not in self._shards:
                known.task_timeout, known.result_ttl = self.task_timeout, self.result_ttl
                self._siblings[name] = known
        return known

    def _make_sibling(self, name: str) -> TorrelqueQueue:
        number = shards.number_in(name)
        if number is None:
            other = type(self)(self.client, queue=name, serialiser=self.serialiser, max_tasks=self.max_tasks)  # type: ignore[call-arg]
            other._default = len(self._shards) or self._count or self._default
            return other
        # A shard of another queue, as a task of a flow there names it.
        shard = Torrelque(self._clients[number % len(self._clients)], queue=name, serialiser=self.serialiser)
        inside.end_ids(shard, shards.suffix_of(number))
        return shard

    async def _placed(self, nodes: Iterable[TorrelqueNode], at: Torrelque) -> Any:
        """Tasks for a flow in a shard, each with the queue where it is worked on, if that is another one."""
        if not isinstance(nodes, Iterable):
            return nodes
        placed: list[TorrelqueNode] = []
        for node in nodes:
            if isinstance(node, TorrelqueNode) and (node.group is not None or node.queue is not None):
                group = node.group
                if isinstance(group, str) and node.queue in (None, self.name):
                    # Before it is placed: a map that is read meanwhile is a newer one.
                    group = self._routed(group)
                node = node._replace(group=group, queue=await self._queue_for(node, at))
            placed.append(node)
        return placed

    async def _queue_for(self, node: TorrelqueNode, at: Torrelque) -> str | None:
        queue: Base = self
        if node.queue is not None and node.queue != self.name:
            if not isinstance(node.queue, str) or shards.number_in(node.queue) is not None:
                return node.queue
            other = self.sibling(node.queue)
            assert isinstance(other, Base)
            await other.ready()
            queue = other
        if node.group is not None:
            shard = queue.shard_of(group=node.group)
        elif queue is self:
            return None
        else:
            # One that is where the flow is: any is as good.
            shard = next((one for one in queue._shuffled() if one.client is at.client), queue.home)
        if shard.client is not at.client:
            raise self._told(TorrelqueValueError(
                f'node {node.name!r} would be worked on by another server than that of its flow, of which that knows '
                'nothing'
            ))  # fmt: skip
        return shard.name

    async def _shard_of_flow_of(self, task_id: TorrelqueTaskId) -> Torrelque:
        """The shard that has the flow of a task that is being worked on, maybe in another one, that of its group."""
        shard = await self._holder(task_id)
        if getattr(task_id, 'group', None) is None:
            return shard
        named = shards.named_in(task_id, len(self._shards))
        if named is not None:
            return await self._at(named)
        try:
            flow_id = (await shard.get_task_state(task_id)).flow
        except TorrelqueLookupError:
            return shard
        return shard if flow_id is None else await self._holder(flow_id)
