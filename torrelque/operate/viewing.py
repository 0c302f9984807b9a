"""A task as an operator sees it, made of what the server has of it, be it whole or not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torrelque import TorrelqueQueue, TorrelqueTaskStatus

from . import faults
from .reading import attempt_of, instant_of, number_of, text_of, whole_of
from .values import Attempt, TaskView

_TOKEN = re.compile(rb'[0-9]{1,20}-[0-9.]{1,40}')
_STATUSES = {b'%d' % status: status for status in TorrelqueTaskStatus}
FINAL = (TorrelqueTaskStatus.COMPLETED, TorrelqueTaskStatus.REJECTED, TorrelqueTaskStatus.CANCELLED)
_FIELDS = (
    'status', 'group', 'order', 'timeout', 'enqueue_time', 'dequeue_count', 'last_dequeue_time', 'requeue_count',
    'last_requeue_time', 'ready_time', 'priority', 'max_attempts', 'forgiven', 'release_time', 'error', 'progress',
    'result', 'history', 'flow', 'total', 'left', 'dead', 'failed', 'queue',
)  # fmt: skip
_OF_FLOWS = ('total', 'left', 'dead', 'failed')
_WHOLE = ('dequeue_count', 'requeue_count', 'priority', 'max_attempts', 'forgiven', 'timeout', *_OF_FLOWS)
_INSTANTS = ('enqueue_time', 'last_dequeue_time', 'last_requeue_time', 'ready_time', 'release_time')


class Item(NamedTuple):
    """What the script of a page tells of one task."""

    fine: int
    """Whether the key of its state is a hash, or nothing."""
    place: bytes | None
    score: bytes | None
    ttl: int | None
    size: int
    payload: bytes | None
    """Its beginning, where it is longer than was to be read."""
    fields: Mapping[str, bytes | None]


def item_of(words: Sequence[Any]) -> Item:
    """An item of the script's reply."""
    fine, place, score, ttl, size, payload, *fields = words
    return Item(fine, place, score, ttl, size, payload, dict(zip(_FIELDS, fields, strict=True)))


_UNREAD = object()


def load(queue: TorrelqueQueue, data: bytes | None, otherwise: Any = None) -> Any:
    """A value by the queue's serialiser; None, or what is given, where it cannot be read."""
    if data is None:
        return otherwise
    try:
        return queue.serialiser.loads(data)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return otherwise


def function_of(task: Any) -> str | None:
    """The name of the decorated function of which a payload is a call."""
    name = task.get('task') if isinstance(task, Mapping) else None
    return str(name) if isinstance(name, str) else None


def _function_at(queue: TorrelqueQueue, beginning: bytes) -> tuple[str | None, bool]:
    """The function of a call by what its payload begins with, and whether that tells: only JSON is read so."""
    if load(queue, b'{"task":"x"}') != {'task': 'x'}:
        return None, False
    name = faults.function_of(queue.serialiser, beginning)
    return name, name is not None or beginning.lstrip().startswith((b'[', b'"'))


def _token(status: TorrelqueTaskStatus | None, fields: Mapping[str, bytes | None]) -> str:
    """The token of a task's last hand-out, where it is worked on."""
    words = (fields['dequeue_count'] or b'') + b'-' + (fields['last_dequeue_time'] or b'')
    return words.decode() if status is TorrelqueTaskStatus.WORKING and _TOKEN.fullmatch(words) else ''


def _counts(count: Mapping[str, int | None]) -> dict[str, int | None]:
    """The figures of a flow."""
    if count['total'] is None:
        return {}
    return {name: count[name] or 0 for name in _OF_FLOWS}


def _history(data: bytes | None) -> tuple[Attempt, ...]:
    if not data:
        return ()
    lines = data.split(b'\n', 100)
    found = [Attempt(*attempt) for attempt in map(attempt_of, lines) if attempt is not None]
    return tuple(found if len(found) <= 10 else [found[0], *found[-9:]])


def _trouble(
    item: Item, status: TorrelqueTaskStatus | None, keys: Sequence[str], numbers: Mapping[str, float | None]
) -> str | None:
    """What is wrong with what the server has of a task, in words.

    :param numbers: what was read of the fields that are numbers and instants.
    """
    if not item.fine:
        return 'the state is no hash'
    if item.fields['status'] is not None and status is None:
        return 'the status is none that there is'
    if status in FINAL:
        return None
    if status is None:
        if any(value is not None for value in item.fields.values()):
            return 'no status'
        if item.place is None and item.size < 0:
            return None  # nothing is known of it
        return 'no state' if item.size >= 0 or 'tasks' in keys else 'no state, no payload'
    if item.size < 0 and 'tasks' not in keys:
        return 'no payload'
    if item.place is None:
        return f'the key {keys[0]} holds something else' if keys else 'it is in no place'
    for name, number in numbers.items():
        if number is None and item.fields[name] is not None:
            return f'the field {name} cannot be read'
    return None


def view_of(
    queue: TorrelqueQueue,
    task_id: str,
    now: float,
    item: Item,
    *,
    worker: str | None = None,
    room: int = 0,
    function: bool = False,
    keys: Sequence[str] = (),
) -> TaskView:
    """A task.

    :param room: bytes of a payload that is told, at the most.
    :param function: whether a payload is read for the name of its function, though it may not be told.
    :param keys: short names of those of the queue's keys that hold something else.
    """
    fields = item.fields
    status = _STATUSES.get(fields['status'] or b'')
    place = None if item.place is None else item.place.decode()
    count = {name: None if (word := fields[name]) is None else whole_of(word) for name in _WHOLE}
    at = {name: None if (word := fields[name]) is None else instant_of(word) for name in _INSTANTS}
    length = count['timeout']
    timeout = None if length is None or not 0 <= length <= 10**13 else length / 1000
    score = instant_of(item.score)
    lease_end = score if place == 'working' else None
    since = [it for name in ('enqueue_time', 'last_requeue_time', 'ready_time') if (it := at[name]) is not None]
    told = item.payload if item.size <= room else None
    task, name, is_known = None, None, False
    if item.payload is not None and (told is not None or function):
        if len(item.payload) < item.size:
            name, is_known = _function_at(queue, item.payload)
        elif (value := load(queue, item.payload, _UNREAD)) is not _UNREAD:
            task, name, is_known = value, function_of(value), True
    ttl = item.ttl if item.ttl is not None and item.ttl > 0 else None
    return TaskView(
        queue=queue.name,
        id=task_id,
        server_time=now,
        status=status,
        place=place,
        function=name,
        group=None if fields['group'] is None else text_of(fields['group']),
        priority=count['priority'] or 0,
        attempt=count['dequeue_count'] or 0,
        forgiven=count['forgiven'] or 0,
        max_attempts=count['max_attempts'],
        requeue_count=count['requeue_count'] or 0,
        timeout=timeout,
        enqueue_time=at['enqueue_time'],
        ready_since=max(since) if since and status == TorrelqueTaskStatus.PENDING else None,
        last_dequeue_time=at['last_dequeue_time'],
        last_requeue_time=at['last_requeue_time'],
        due=score if place == 'delayed' else None,
        lease_end=lease_end,
        renewed=None if lease_end is None or timeout is None else lease_end - timeout,
        died=score if place == 'dead' else None,
        release_time=at['release_time'],
        kept_until=None if ttl is None else instant_of(now * 1000 + (number_of(ttl) or 0)),
        worker=worker if place == 'working' else None,
        progress=load(queue, fields['progress']),
        result=load(queue, fields['result']),
        error=None if fields['error'] is None else fields['error'].decode('utf-8', 'replace'),
        history=_history(fields['history']),
        payload=task if told is not None else None,
        raw=told,
        size=None if item.size < 0 else item.size,
        broken=_trouble(item, status, keys, {**count, **at}),
        token=_token(status, fields),
        function_known=is_known,
        flow=None if fields['flow'] is None else text_of(fields['flow']),
        gives_up=score if place == 'waiting' else None,
        away=None if fields['queue'] is None else text_of(fields['queue']),
        **_counts(count),
    )
