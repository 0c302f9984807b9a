"""The verbs of flows, of the synchronous queue."""

from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from torrelque import Duration, TorrelqueFlow, TorrelqueNode, TorrelqueOutcome, TorrelqueTaskId
from torrelque.base import Queue
from torrelque.protocol import flows
from torrelque.protocol.calls import Call
from torrelque.protocol.steps import Steps

from .client import Pipeline, add_to_pipeline

T = TypeVar('T')


class Flows(Queue):
    """What a queue object has for tasks that wait for tasks."""

    if TYPE_CHECKING:

        def _run(self, steps: Steps[T]) -> T: ...

    def _depend(self, call: Call, depends_on: Iterable[str], pipeline: Pipeline | None) -> TorrelqueTaskId:
        call = flows.depend(self._calls, call, depends_on)
        if pipeline is not None:
            add_to_pipeline(self.client, pipeline, self._calls.words(call, resent=True))
        else:
            self._run(flows.send_depend(self._calls, call))
        new_id: TorrelqueTaskId = call.task_id
        return new_id

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
        lease, ttl = self.task_timeout, self.result_ttl if result_ttl is None else result_ttl
        flow = flows.new_flow(self._calls, nodes, lease, task, flow_id, name, on_failure, out, timeout, ttl)
        if pipeline is not None:
            call = flows.one_call(self._calls, flow)
            add_to_pipeline(self.client, pipeline, self._calls.words(call, resent=True))
            return TorrelqueTaskId(call.task_id)
        return self._run(flows.make_flow(self._calls, flow))

    def add_to_flow(self, nodes: Iterable[TorrelqueNode], *, by: TorrelqueTaskId) -> list[TorrelqueTaskId]:
        """Add tasks to the flow of a task that is being worked on, as the asynchronous one."""
        return self._run(flows.add_to_flow(self._calls, nodes, by, self.task_timeout))

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
        lease, ttl = self.task_timeout, self.result_ttl if result_ttl is None else result_ttl
        verb = flows.graft(self._calls, nodes, by, last, lease, task, name, on_failure, timeout, ttl)
        return self._run(verb)

    def get_results(self, flow_id: str, *task_ids: str) -> list[TorrelqueOutcome]:
        """How some tasks of a flow have ended, with their results, as the asynchronous one."""
        return self._run(flows.get_results(self._calls, flow_id, task_ids))

    def get_outcomes(self, flow_id: str) -> Generator[TorrelqueOutcome, None, None]:
        """All tasks of a flow, those that have not ended first, as the asynchronous one, by a plain generator."""
        scan = flows.OutcomeScan(self._calls, flow_id)
        while not scan.over:
            yield from self._run(scan.read())

    def get_flow(self, flow_id: str) -> TorrelqueFlow:
        """A flow, until its ``result_ttl`` is over, as the asynchronous one."""
        return self._run(flows.get_flow(self._calls, flow_id))

    def put_value(self, key: str, value: Any, *, by: TorrelqueTaskId) -> None:
        """Keep a named value with the flow of a task that is being worked on, as the asynchronous one."""
        self._run(flows.put_value(self._calls, key, value, by))

    def get_value(self, flow_id: str, key: str) -> Any:
        """A named value of a flow, as the asynchronous one."""
        return self._run(flows.get_value(self._calls, flow_id, key))
