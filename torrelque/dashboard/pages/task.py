"""A task: what it is, why it does not run, what became of each attempt, what was enqueued."""

import json
from typing import Any

from torrelque.dashboard.meters import progress_of
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.reads import Trouble
from torrelque.dashboard.redacting import first_bytes
from torrelque.dashboard.visit import Visit
from torrelque.operate import Reason, TaskView

PAYLOAD = 65536
"""Bytes of a payload that are shown."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    task_id = visit.text('id')
    found = await visit.operator.task(task_id, payload=PAYLOAD, queue=visit.query.get('q') or visit.name)
    task = visit.shield.task(found)
    reasons: list[Reason] | Trouble = []
    if task.status is None or not task.status.isfinal():
        reasons = await visit.part(visit.reasons(task.queue, task.id))
    values: dict[str, Any] = {'task': task, 'reasons': reasons}
    view = {
        'events': events_of(task), 'now': task.server_time, 'links': links_of(visit, task),
        'payload': payload_of(task),
        'result': None if task.result is None else pretty(task.result),
        'share': progress_of(task.progress),
    }
    return Answer(values, view)


def events_of(task: TaskView) -> list[tuple[float | None, str, str, str]]:
    """The life of a task so far, in order."""
    found: list[tuple[float | None, str, str, str]] = [(task.enqueue_time, 'enqueued', '', 'pending')]
    for attempt in task.history:
        found.append((attempt.started, f'attempt {attempt.number} began', '', 'working'))
        found.append((attempt.ended, f'attempt {attempt.number} failed', attempt.error, 'dead'))
    known = task.history[-1].number if task.history else 0
    if task.last_dequeue_time is not None and task.attempt > known:
        worker = f'on {task.worker}' if task.worker else ''
        found.append((task.last_dequeue_time, f'attempt {task.attempt} began', worker, 'working'))
    if task.died is not None:
        found.append((task.died, 'dead', task.error_line or '', 'dead'))
    if task.release_time is not None and task.status is not None:
        found.append((task.release_time, task.status.name.lower(), '', 'completed'))
    found.sort(key=lambda event: (event[0] is None, event[0] or 0.0))
    if task.due is not None:
        found.append((task.due, 'due', 'the next attempt' if task.attempt else '', 'delayed'))
    if task.lease_end is not None:
        found.append((task.lease_end, 'lease ends', 'unless it is renewed', 'delayed'))
    return found


def payload_of(task: TaskView) -> str | None:
    """What was enqueued, for people; of a format that nobody knows, the first bytes."""
    if task.payload is None and task.raw is not None and task.raw != b'null':
        return first_bytes(task.raw)
    return None if task.payload is None and task.raw is None else pretty(task.payload)


def pretty(value: Any) -> str:
    """A value for people: a text as it is, else indented JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)
    except (ValueError, TypeError, RecursionError):
        return repr(value)


def links_of(visit: Visit, task: TaskView) -> dict[str, str]:
    """Addresses elsewhere that tell more of it."""
    words = {'task_id': task.id, 'queue': task.queue, 'function': task.function or '', 'group': task.group or ''}
    return visit.site.fill_links(words)


PAGE = Page('task', 'Task', read, every=1.0, tab='tasks')
