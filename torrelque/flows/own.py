"""The tasks of the layer itself: one that calls a function for each element of a list, one that enqueues a flow."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torrelque import (
    TorrelqueDuplicateError,
    TorrelqueLookupError,
    TorrelqueNode,
    TorrelqueQueue,
    TorrelqueTaskStatus,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.worker import Delivery, Job, Reject

from .grafting import set_limit
from .handle import enqueue_plan
from .inputs import fill_in
from .plan import GATHER, MAP, START

__all__ = ['job_of']

TOGETHER = 250
"""Calls that are added to a flow at a time."""


def job_of(name: str) -> Job | None:
    """What a worker does with a task of the layer; None where there is no such function."""
    return _JOBS.get(name)


async def map_all(delivery: Delivery) -> int:
    """Add a call for each element of a list to the flow, and have those that wait for this task wait for all of them;
    how many there are.

    The calls are known by their names, so an attempt after one that was killed adds none twice.

    :raises Reject: the list is none, or the task says nothing that can be meant.
    """
    task = delivery.task
    try:
        elements, call = task['args'][0], task['kwargs']['call']
        name, flow_id, payload, options = task['name'], task['flow'], call['payload'], call['options']
        limit, before = call.get('limit'), call.get('before', {})
    except (KeyError, IndexError, TypeError) as exc:
        raise Reject(f'the task does not say what is called for each element: {exc!r}') from exc
    if isinstance(elements, (str, bytes)) or not isinstance(elements, Iterable):
        raise Reject(f'what is mapped must be a list, and is {type(elements).__name__}')
    if limit is not None:
        queue = delivery.queue.sibling(options['queue']) if 'queue' in options else delivery.queue
        await set_limit(queue, options['group'], limit)
    elements = [*elements]
    along = {'home': delivery.queue.name} if 'queue' in options else {}
    if 'context' in task:
        along['context'] = task['context']

    def nodes() -> Iterator[TorrelqueNode]:
        for number, element in enumerate(elements):
            its_name = f'{name}.{number}'
            its_task = {**payload, 'args': [element], 'flow': flow_id, 'name': its_name, **along}
            yield TorrelqueNode(its_name, its_task, before=before, **options)

    made = nodes()
    while some := [*itertools.islice(made, TOGETHER)]:
        before = await _add(delivery, flow_id, some)
    return len(elements)


async def gather_all(delivery: Delivery) -> Any:
    """The list of results that the task was given.

    :raises Reject: the task says nothing that can be meant.
    """
    try:
        return delivery.task['args'][0]
    except (KeyError, IndexError, TypeError) as exc:
        raise Reject(f'the task does not say what is gathered: {exc!r}') from exc


async def start(delivery: Delivery) -> str:
    """Enqueue a flow, whose id is that of this task with ``.flow``; that id.  Where an attempt before has done it,
    nothing is done.

    :raises Reject: the task says nothing that can be meant.
    """
    try:
        said: Mapping[str, Any] = delivery.task['args'][0]
        task, tasks, options = said['flow'], said['tasks'], said['options']
    except (KeyError, IndexError, TypeError) as exc:
        raise Reject(f'the task does not say what flow it starts: {exc!r}') from exc
    flow_id = f'{delivery.id}.flow'
    try:
        await enqueue_plan(delivery.queue, flow_id, task, tasks, options)
    except TorrelqueDuplicateError:
        pass
    except TorrelqueTypeError as exc:
        raise Reject(str(exc)) from exc
    return flow_id


# Parts


async def _add(delivery: Delivery, flow_id: str, nodes: list[TorrelqueNode]) -> Any:
    """Add calls to the flow, and have those wait for them that still wait; who these are.

    Of those that are to wait some may not wait any more: what else they wait for has failed, so that they were skipped,
    or begun because of that.
    """
    before: Any = nodes[0].before
    while True:
        try:
            await delivery.queue.add_to_flow(nodes, by=delivery.id)
            return before
        except TorrelqueValueError:
            waiting = [await _waits(delivery.queue, f'{flow_id}.{name}') for name in before]
            if all(waiting):
                raise
        before = {name: kind for (name, kind), waits in zip(before.items(), waiting, strict=True) if waits}
        nodes = [node._replace(before=before) for node in nodes]


async def _waits(queue: TorrelqueQueue, task_id: str) -> bool:
    try:
        return (await queue.get_task_state(task_id)).status is TorrelqueTaskStatus.WAITING
    except TorrelqueLookupError:
        return False


_JOBS = {
    MAP: Job(map_all, MAP, admit=fill_in),
    GATHER: Job(gather_all, GATHER, admit=fill_in),
    START: Job(start, START),
}
