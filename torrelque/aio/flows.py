"""The verbs of flows, of the queue for coroutines."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from torrelque.base import Queue
from torrelque.model import Duration, TorrelqueFlow, TorrelqueNode, TorrelqueOutcome, TorrelqueTaskId
from torrelque.protocol import flows
from torrelque.protocol.calls import Call

from .client import Pipeline, add_to_pipeline

if TYPE_CHECKING:
    from .session import Session


class Flows(Queue):
    """What a queue object has for tasks that wait for tasks."""

    if TYPE_CHECKING:

        def _started(self) -> Session: ...

    async def _depend(self, call: Call, depends_on: Iterable[str], pipeline: Pipeline | None) -> TorrelqueTaskId:
        call = flows.depend(self._calls, call, depends_on)
        if pipeline is not None:
            await add_to_pipeline(self.client, pipeline, self._calls.words(call, resent=True))
        else:
            await self._started().run(flows.send_depend(self._calls, call))
        new_id: TorrelqueTaskId = call.task_id
        return new_id

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
        """Make a flow: tasks that wait for one another, each of which begins in the step in which the last one ends
        that it waits for.

        A flow is a task that nobody is handed: by its id, `watch`, `wait`, `cancel`, `redrive` and `get_task_state` are
        about all of it.  It goes on (WAITING) until each of its tasks has ended, then it is COMPLETED, or REJECTED if
        one of them failed.  A cancelled flow takes all its tasks back but those that wait for ends of any kind only,
        which clean up; these are taken back when it is cancelled once more.

        :param nodes: its tasks, in any order; none is a flow that has completed at once.
        :param task: what is to be seen of it: any value that the serialiser takes.
        :param flow_id: an id of the caller's own, so that making the same flow twice is refused.
        :param name: what people call it.
        :param on_failure: when one of its tasks is dead: 'wait' until that is redriven, 'skip' what waits for it, as
            for one that failed, 'cancel' the flow.
        :param out: names of the tasks whose results are the flow's result: that of one, or a list.
        :param timeout: the time (s) after which it is cancelled, if it has not ended.
        :param result_ttl: how long (s) it and the results of its tasks can be read when it has ended; 0 is not at all.
        :param pipeline: as in `enqueue`, for a flow that is one call.
        :raises TorrelqueValueError: tasks that wait for each other in a circle, and other things that cannot be meant;
            or with a pipeline, a flow that takes more than one call; nothing was sent.
        :raises TorrelqueDuplicateError: the queue knows the id of the flow, or of one of its tasks; nothing was
            changed.
        :raises TorrelqueFullError: the queue has no room for all of it; nothing was changed.

        Up to 250 tasks, 1,000 edges and 1 MB are one call.  A larger flow is sent in several, and begins with the last
        of them; where that never comes, because this process died or the call was cancelled, it is taken back after a
        minute.  Tasks that wait for nothing begin some at a time, by this call, or by whoever waits for tasks.
        """
        lease, ttl = self.task_timeout, self.result_ttl if result_ttl is None else result_ttl
        flow = flows.new_flow(self._calls, nodes, lease, task, flow_id, name, on_failure, out, timeout, ttl)
        if pipeline is not None:
            call = flows.one_call(self._calls, flow)
            await add_to_pipeline(self.client, pipeline, self._calls.words(call, resent=True))
            return TorrelqueTaskId(call.task_id)
        return await self._started().run(flows.make_flow(self._calls, flow))

    async def add_to_flow(self, nodes: Iterable[TorrelqueNode], *, by: TorrelqueTaskId) -> list[TorrelqueTaskId]:
        """Add tasks to the flow of a task that is being worked on; their ids, in the order of the nodes.

        Each may wait for tasks that the flow has already, and have others that still wait wait for it as well.  Those
        that the flow has or has had are left as they are, so a second attempt of the task adds nothing twice.

        :param by: the task, as `dequeue` gave it.
        :raises TorrelqueLeaseLostError: its caller does not hold it any more; nothing was added.
        :raises TorrelqueLookupError: a node names a task that the flow does not have.
        :raises TorrelqueValueError: a task that is to wait for a new one does not wait any more; the new ones would
            make a circle; the task is of no flow.
        :raises TorrelqueDuplicateError: the queue has another task of that id.
        :raises TorrelqueError: the flow was cancelled.

        Up to 250 tasks and 1,000 edges are one call, of which all are added or none.
        """
        return await self._started().run(flows.add_to_flow(self._calls, nodes, by, self.task_timeout))

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
        """Finish a task by others that take its place: its result is that of the last of them.

        In a flow, they are tasks of the flow, and what waits for the task waits for the last one from now on, whatever
        end it waits for.  A task that has no flow becomes one itself, with its id, of these tasks.  Either happens in
        the step in which the task ends.  Its outcome, its state and `wait` tell of the last one, then.

        :param nodes: the tasks, in any order; they wait for one another only.  The ids are that of the task, a full
            stop, and their names.
        :param by: the task, as `dequeue` gave it.
        :param last: the name of the one whose end is that of the task.
        :param task: what is to be seen of the flow that the task becomes; this and what follows count only there, and
            are those of `enqueue_flow`.
        :return: as `release`; a call that is repeated finds what it has done before.
        :raises TorrelqueValueError: tasks that wait for each other in a circle, and other things that cannot be meant;
            or there are more than 250 for a task that has no flow.
        :raises TorrelqueDuplicateError: the queue has another task of such an id.
        :raises TorrelqueFullError: the queue has no room for them.

        Up to 250 tasks and 1,000 edges are one call.  Of more, those before the last call are added as by
        `add_to_flow`, and the task ends in the last call.
        """
        lease, ttl = self.task_timeout, self.result_ttl if result_ttl is None else result_ttl
        verb = flows.graft(self._calls, nodes, by, last, lease, task, name, on_failure, timeout, ttl)
        return await self._started().run(verb)

    async def get_results(self, flow_id: str, *task_ids: str) -> list[TorrelqueOutcome]:
        """How some tasks of a flow have ended, with their results, in their order.

        It can be read until the ``result_ttl`` of the flow is over.  Whatever a task waits for has ended when it
        begins.  A task that the flow does not have looks like one that has not ended.

        :param task_ids: their ids.
        """
        return await self._started().run(flows.get_results(self._calls, flow_id, task_ids))

    async def get_outcomes(self, flow_id: str) -> AsyncGenerator[TorrelqueOutcome, None]:
        """All tasks of a flow, those that have not ended first.

        They are read in steps: what is told of each is true at one moment, but not of all at the same.

        :raises TorrelqueLookupError: nothing is left of the tasks of such a flow.
        """
        scan = flows.OutcomeScan(self._calls, flow_id)
        while not scan.over:
            for outcome in await self._started().run(scan.read()):
                yield outcome

    async def get_flow(self, flow_id: str) -> TorrelqueFlow:
        """A flow, until its ``result_ttl`` is over.

        :raises TorrelqueLookupError: there is none of this id, or it is a task.
        """
        return await self._started().run(flows.get_flow(self._calls, flow_id))

    async def put_value(self, key: str, value: Any, *, by: TorrelqueTaskId) -> None:
        """Keep a named value with the flow of a task that is being worked on, for its other tasks; the last one counts.

        :param by: the task, as `dequeue` gave it.
        :raises TorrelqueLeaseLostError: its caller does not hold it any more; nothing was kept.
        :raises TorrelqueValueError: the task is of no flow.
        """
        await self._started().run(flows.put_value(self._calls, key, value, by))

    async def get_value(self, flow_id: str, key: str) -> Any:
        """A named value of a flow.

        :raises TorrelqueLookupError: it has none of this name.
        """
        return await self._started().run(flows.get_value(self._calls, flow_id, key))
