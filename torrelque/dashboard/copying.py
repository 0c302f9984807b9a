"""A copy of a task: another one of the same bytes, under an id of its own."""

from collections.abc import Mapping
from typing import Any

from torrelque import Torrelque, TorrelqueLookupError, TorrelqueQueue, TorrelqueTaskSerialiser, TorrelqueValueError
from torrelque.operate import Operator, TaskView
from torrelque.sharded import Sharded

from .asking import Ask, Do, Kind
from .doing import Doing
from .links import Query, link
from .selecting import chosen
from .visit import Visit
from .wording import shorten, size

LEASE = 0.001
"""s that a lease takes at least."""


BYTES = TorrelqueTaskSerialiser(bytes, bytes)
"""Takes bytes as they are, so that what was enqueued need not be understood."""


async def ask(kind: Kind, visit: Visit) -> Ask:
    """Tell what a task is, and whether there can be another one like it."""
    task = await visit.operator.task(_id_of(visit), payload=0, queue=visit.queue.name)
    name, shown = shorten(task.id, 80), (visit.shield.task(task),)
    if why := _why_not(task):
        return Ask(f'There can be no copy of task {name}', [f'{why}.'], False, shown)
    notes = [
        f'It has the same payload of {size(task.size)}, group, priority and number of attempts, and an id of its own; '
        'it begins anew, and at once.'
    ]
    if task.flow is not None:
        notes.append('The task is one of a flow; the copy is not, so results of others of the flow that it is given '
                     'are not given to the copy.')  # fmt: skip
    return Ask(f'Enqueue a copy of task {name}', notes, True, shown)


def make(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    """Enqueue a copy, whose id is the number of the form: so it is there once, however often the form is sent."""
    task_id, queue = _id_of(visit), visit.queue

    async def do(doing: Doing, operator: Operator) -> None:
        task = await operator.task(task_id, payload=0)
        if task.size:
            task = await operator.task(task_id, payload=task.size)
        if why := _why_not(task):
            raise TorrelqueValueError(f'nothing was enqueued: {why[:1].lower()}{why[1:]}')
        payload = task.raw if task.size else b''
        if payload is None:
            raise TorrelqueLookupError('nothing was enqueued: the payload of the task is gone')
        new_id = await enqueue_bytes(queue, payload, task, doing.number)
        await operator.record('enqueue', f'task {new_id}, a copy of {_visible(task_id)}', 1)
        doing.told.append('The copy is enqueued.')
        doing.links = [('The copy', link('task', q=queue.name, id=new_id)),
                       ('The task', link('task', q=queue.name, id=task_id))]  # fmt: skip

    return f'Enqueue a copy of task {shorten(task_id, 80)}', do


async def enqueue_bytes(queue: TorrelqueQueue, payload: bytes, like: TaskView, task_id: str) -> str:
    """Enqueue a payload as it is, with the options of a task.

    :raises TorrelqueDuplicateError: the queue knows the id.
    :raises TorrelqueFullError: the queue is full.
    """
    # Of a queue with shards not the one that has the group: by the time that it is asked, another one may.
    make: Any = Torrelque if isinstance(queue, Torrelque) else Sharded
    async with make(queue.client, queue=queue.name, serialiser=BYTES, max_tasks=queue.max_tasks) as other:
        new_id: str = await other.enqueue(
            payload, task_id=task_id, group=like.group, priority=like.priority, max_attempts=like.max_attempts,
            task_timeout=None if like.timeout is None or like.timeout < LEASE else like.timeout,
        )  # fmt: skip
        return new_id


def _why_not(task: TaskView) -> str:
    if task.total is not None:
        return 'It is a flow, whose tasks would not be copied'
    return 'Its payload is gone' if task.size is None else ''


def _id_of(visit: Visit) -> str:
    if len(ids := {*chosen(visit.query)}) != 1:
        raise TorrelqueValueError('name the one task that is to be copied')
    return ids.pop()


def _visible(text: str) -> str:
    """A text that can be written; bytes that are no text stand in it as escapes."""
    return text.encode('utf-8', 'backslashreplace').decode()


COPY = Kind('copy', 'Enqueue', 'enqueue', 'task', ask, make)
