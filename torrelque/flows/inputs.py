"""Reads the results that a task of a flow takes, before its function is called: in the worker, as its job is admitted.

A flow cannot end before a task of it has, so what an attempt reads is there for the next one, too.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torrelque import TorrelqueLookupError, TorrelqueQueue
from torrelque.worker import Delivery, Reject

__all__ = ['fill_in', 'home_of', 'read_each', 'read_many']

TOGETHER = 250
"""Results that are read in one call."""


def home_of(delivery: Delivery) -> TorrelqueQueue:
    """The queue of the flow that a task is of.

    :raises TorrelqueTypeError: the task says that, and not as a text.
    :raises TorrelqueValueError: what it says is no name of a queue.
    """
    home, queue = delivery.task.get('home'), delivery.queue
    return queue if home is None or home == queue.name else queue.sibling(home)


async def fill_in(delivery: Delivery) -> None:
    """Put the results into the arguments of a task.

    :raises Reject: the payload says nothing that can be meant, or a result is not there; no attempt will mend that.
    :raises TorrelqueError: the server could not be reached, or refused it.
    """
    task = delivery.task
    try:
        queue = home_of(delivery)
        flow_id, entries = task['flow'], task.get('from', ())
        ids = [*dict.fromkeys(task_id for entry in entries for task_id in _ids_of(entry))]
        first = {task_id for _, source, *how in entries if how == ['first'] for task_id in source}
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise Reject(f'the task does not say what results it takes: {exc!r}') from exc
    try:
        found = await _read_known(queue, flow_id, ids, first)
        values = [await _value_of(queue, flow_id, source, [*how, 'one'][0], found) for _, source, *how in entries]
    except TorrelqueLookupError as exc:
        raise Reject(exc.args[0]) from exc
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise Reject(f'the task does not say what results it takes: {exc!r}') from exc
    for (path, *_), value in zip(entries, values, strict=True):
        try:
            place: Any = task
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        except (LookupError, TypeError) as exc:
            raise Reject(f'the task has no place for a result: {path!r}') from exc


async def read_many(queue: TorrelqueQueue, flow_id: str, task_ids: Sequence[str]) -> list[Any]:
    """The results of tasks that have completed.

    :raises TorrelqueLookupError: one has not, or its result is not there any more.
    """
    found = await _read_known(queue, flow_id, task_ids, set())
    return [found[task_id] for task_id in task_ids]


async def read_each(queue: TorrelqueQueue, flow_id: str, task_id: str, count: Any) -> list[Any]:
    """The results of the calls that a map has enqueued, of which its own result is the number.

    :raises TorrelqueLookupError: there are not as many.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        error = TorrelqueLookupError(f'{task_id!r} has not told how many calls it has enqueued, but {count!r}')
        raise _of_queue(queue, error)
    return await read_many(queue, flow_id, [f'{task_id}.{number}' for number in range(count)])


# Parts


def _of_queue(queue: TorrelqueQueue, error: TorrelqueLookupError) -> TorrelqueLookupError:
    error.queue = queue.name
    return error


def _ids_of(entry: Sequence[Any]) -> Iterator[str]:
    _, source, *_ = entry
    for one in [source] if isinstance(source, str) else source:
        yield one if isinstance(one, str) else one[0]


async def _read_known(queue: TorrelqueQueue, flow_id: str, ids: Sequence[str], first: set[str]) -> dict[str, Any]:
    """Results by the ids of their tasks; ``first`` may be missing."""
    found: dict[str, Any] = {}
    for start in range(0, len(ids), TOGETHER):
        some = ids[start : start + TOGETHER]
        for task_id, outcome in zip(some, await queue.get_results(flow_id, *some), strict=True):
            if outcome.how == 'completed':
                found[task_id] = outcome.result
            elif task_id not in first:
                what = 'it has not ended' if outcome.how is None else f'it is {outcome.how}'
                raise _of_queue(queue, TorrelqueLookupError(f'the result of {task_id!r} is not there: {what}'))
    return found


async def _value_of(queue: TorrelqueQueue, flow_id: str, source: Any, how: str, found: dict[str, Any]) -> Any:
    if how == 'one':
        return found[source]
    if how == 'each':
        return await read_each(queue, flow_id, source, found[source])
    if how == 'first':
        known = [task_id for task_id in source if task_id in found]
        if not known:
            raise _of_queue(queue, TorrelqueLookupError(f'none of {", ".join(map(repr, source))} has a result'))
        return found[known[0]]
    values: list[Any] = []
    for one in source:
        values += [found[one]] if isinstance(one, str) else await read_each(queue, flow_id, one[0], found[one[0]])
    return values
