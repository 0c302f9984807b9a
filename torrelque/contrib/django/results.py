"""What a tasks backend writes into payloads and results, and the results that Django makes of what a queue knows."""

# Django has these from 6.0 on.
# pyright: reportMissingImports=false

import builtins
import re
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from django.tasks import Task, TaskResult, TaskResultStatus
from django.tasks.base import TaskError
from django.tasks.exceptions import TaskResultDoesNotExist
from django.utils.module_loading import import_string

from torrelque import TorrelqueTaskStatus
from torrelque.operate import TaskView

UNKNOWN = 'unknown'
"""The id of a worker that nobody knows any more."""
HEADER = 'django'
"""The header that has what Django knows of a call, beside its arguments."""

_LAST_LINE = re.compile(r'([A-Za-z_][\w.]*)(?::|$)')


class Call(NamedTuple):
    """A call of a task."""

    path: str
    """Of the function."""
    args: list[Any]
    kwargs: dict[str, Any]
    said: Mapping[str, Any]
    """What the header has."""
    queue: str

    @classmethod
    def of(
        cls, path: str, args: list[Any], kwargs: dict[str, Any], headers: Mapping[str, Any], queue: str
    ) -> 'Call':
        """A call whose headers are known."""
        said = headers.get(HEADER)
        return cls(path, args, kwargs, said if isinstance(said, Mapping) else {}, queue)

    @classmethod
    def of_payload(cls, payload: Mapping[str, Any], queue: str) -> 'Call':
        """A call of what was enqueued."""
        headers = payload.get('headers') or {}
        return cls.of(payload['task'], [*payload.get('args', ())], {**payload.get('kwargs', {})}, headers, queue)

    @property
    def enqueued_at(self) -> datetime | None:
        """When it was enqueued."""
        return instant(self.said.get('enqueued'))

    def on(self, task: Task) -> Task:
        """The task with the options of the call."""
        return task.using(
            priority=self.said.get('priority'), queue_name=self.queue, run_after=instant(self.said.get('after'))
        )


class Record(NamedTuple):
    """What is kept as the result of a task that has ended well."""

    call: Call
    worker: str
    value: Any

    def pack(self) -> dict[str, Any]:
        """What JSON has of it."""
        call = self.call
        own = {'task': call.path, 'args': call.args, 'kwargs': call.kwargs, 'said': call.said, 'worker': self.worker}
        return {'value': self.value, HEADER: own}

    @classmethod
    def unpack(cls, packed: Any, queue: str) -> 'Record':
        """Read what was packed.

        :raises TaskResultDoesNotExist: it is no such record, so the task is no call of Django's.
        """
        try:
            own = packed[HEADER]
            call = Call(own['task'], own['args'], own['kwargs'], own['said'], queue)
            return cls(call, own['worker'], packed['value'])
        except (KeyError, TypeError) as exc:
            raise TaskResultDoesNotExist('what is there is no result of a task of Django') from exc


def find_task(path: str) -> Task | None:
    """The task that is at a path, if there is one."""
    try:
        found = import_string(path)
    except ImportError:
        return None
    return found if isinstance(found, Task) else None


def result_of(view: TaskView, alias: str) -> TaskResult:
    """What Django tells of a task that a queue knows.

    :raises TaskResultDoesNotExist: the task is no call of a task that is here.
    """
    worker, value, done = view.worker or UNKNOWN, None, view.status is TorrelqueTaskStatus.COMPLETED
    if done:
        call, worker, value = Record.unpack(view.result, view.queue)
    elif isinstance(view.payload, Mapping) and isinstance(view.payload.get('task'), str):
        call = Call.of_payload(view.payload, view.queue)
    else:
        raise TaskResultDoesNotExist(f'nobody knows any more what task {view.id!r} was')
    if (task := find_task(call.path)) is None:
        raise TaskResultDoesNotExist(f'task {view.id!r} is a call of {call.path}, which is no task here')
    first = view.history[0].started if view.history else view.last_dequeue_time
    dead = view.place == 'dead'
    result = TaskResult(
        task=call.on(task), id=view.id, status=_status(view), enqueued_at=instant(view.enqueue_time),
        started_at=instant(first), last_attempted_at=instant(view.last_dequeue_time),
        finished_at=instant(view.died if dead else view.release_time if done else None), args=call.args,
        kwargs=call.kwargs, backend=alias, errors=_errors(view),
        worker_ids=padded(view.attempt - view.forgiven, worker),
    )  # fmt: skip
    object.__setattr__(result, '_return_value', value)
    return result


def _status(view: TaskView) -> TaskResultStatus:
    if view.status is TorrelqueTaskStatus.COMPLETED:
        return TaskResultStatus.SUCCESSFUL
    if view.place == 'dead':
        return TaskResultStatus.FAILED
    return TaskResultStatus.RUNNING if view.place == 'working' else TaskResultStatus.READY


def _errors(view: TaskView) -> list[TaskError]:
    """The errors of the attempts, of which the queue keeps the last one whole, and of the others the last line."""
    texts = [attempt.error for attempt in view.history]
    return [text_error(text) for text in [*texts[:-1], view.error or texts[-1]]] if texts else []


def padded(count: int, last: str) -> list[str]:
    """Ids of as many workers as there were attempts, of which the last is known."""
    return [UNKNOWN] * (count - 1) + [last] * (count > 0)


def instant(seconds: Any) -> datetime | None:
    """An instant of a Unix time (s)."""
    return None if seconds is None else datetime.fromtimestamp(float(seconds), timezone.utc)


def summary_of(error: BaseException) -> TaskError:
    """What Django tells of an error."""
    kind = type(error)
    return TaskError(
        exception_class_path=f'{kind.__module__}.{kind.__qualname__}',
        traceback=''.join(traceback.format_exception(error)),
    )


def text_error(text: str) -> TaskError:
    """The same of a traceback as it is kept with a task: its end names the class of the error."""
    for line in reversed(text.splitlines()):
        if (match := _LAST_LINE.match(line)) and (path := _exception_at(match[1])):
            return TaskError(exception_class_path=path, traceback=text)
    return TaskError(exception_class_path='builtins.Exception', traceback=text)


def _exception_at(name: str) -> str | None:
    """The path of an exception by the name that a traceback has."""
    if '.' not in name:
        name = f'builtins.{name}' if hasattr(builtins, name) else f'__main__.{name}'
    try:
        found = import_string(name)
    except ImportError:
        return None
    return name if isinstance(found, type) and issubclass(found, BaseException) else None
