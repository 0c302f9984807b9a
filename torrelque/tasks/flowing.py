"""The part of an app that has to do with flows.  An app without any loads nothing of `torrelque.flows`.

Other layers may import the names in `__all__`.
"""

from abc import ABC
from typing import TYPE_CHECKING, Any

from torrelque.protocol.check import check_name
from torrelque.worker import Delivery, Job

from .loops import Loops

if TYPE_CHECKING:
    from torrelque.flows import FlowHandle

__all__ = ['Flowing', 'job_of_layer', 'job_that_takes']

OWN = 'torrelque.'
"""What names of functions begin with that are those of a layer."""


class Flowing(ABC):
    """What `Tasks` is made of, as far as flows go."""

    _loops: Loops
    _functions: Any

    def flow(self, flow_id: str, *, queue: str | None = None) -> 'FlowHandle[Any]':
        """A handle of a flow that was enqueued before, maybe by another process.

        :param queue: the name of the flow's queue, where it is not the app's own.
        """
        from torrelque.flows.handle import FlowHandle

        if queue is not None:
            check_name(queue, 'queue')
        return FlowHandle(self._loops, check_name(flow_id, 'the id of a flow'), queue, self._decoder)

    # Parts

    def _decoder(self, name: str) -> Any:
        """What makes results of a function of what is kept of them, if anything must."""
        function = self._functions.get(name)
        return None if function is None else function._definition.decode_result


def job_of_layer(name: Any) -> Job | None:
    """What a worker does with a task of the layer of flows; None where it is none."""
    if not isinstance(name, str) or not name.startswith(OWN):
        return None
    from torrelque.flows.own import job_of

    return job_of(name)


def job_that_takes(job: Job) -> Job:
    """What a worker does with a task that takes results of others, instead of what it does with others of the function.
    """
    from torrelque.flows.inputs import fill_in

    before = job.admit
    if before is None:
        return job._replace(admit=fill_in)

    async def admit_both(delivery: Delivery) -> None:
        await before(delivery)
        await fill_in(delivery)

    return job._replace(admit=admit_both)
