"""The backend for the tasks of Django 6: its tasks are those of an app, whose functions are found by their path."""

# Django has these from 6.0 on.
# pyright: reportMissingImports=false

import secrets
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from django.core import checks
from django.tasks import DEFAULT_TASK_QUEUE_NAME, Task, TaskResult, TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils.timezone import is_aware, make_aware

from torrelque import TorrelqueError, TorrelqueLookupError, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Operator, TaskView
from torrelque.protocol.check import check_attempts, check_name, check_seconds
from torrelque.tasks import Enqueuer

from .functions import DjangoTasks
from .results import HEADER, result_of
from .setting import read_settings

OPTIONS = ('url', 'result_ttl', 'max_attempts', 'timeout', 'task_timeout')
RESULT_TTL = 86400.0
"""s for which a result can be read, where the options say nothing else."""
LARGEST = 2**29
"""Bytes of a payload that is read with its result: as many as a server takes."""

_apps: dict[tuple[Any, ...], DjangoTasks] = {}
_lock = threading.Lock()


class Backend(BaseTaskBackend):
    """The backend ``torrelque.contrib.django.Backend`` of ``TASKS``, for Django 6.0 or later.

    ``TASKS = {'default': {'BACKEND': 'torrelque.contrib.django.Backend', 'QUEUES': […], 'OPTIONS': {…}}}``

    Workers are started by ``manage.py torrelque run``.  All that Django's tasks may have is supported: priorities, a
    ``run_after``, coroutine functions, results, contexts.  Options, none of which is needed:

    - ``url``: the address of the server, by default that of ``TORRELQUE``.
    - ``result_ttl``: how long (s) the result of a task that has ended well can be read, a day by default.  One that has
      failed stays among the dead tasks until it is redriven or cancelled.
    - ``max_attempts``: how often a task is tried, 1 by default, as by other backends: so one whose worker was killed is
      among the dead tasks, and is not tried again.  -1 is for ever.
    - ``timeout``: how long (s) a function may run.
    - ``task_timeout``: length (s) of the leases, see `torrelque.tasks.Enqueuer.options`.

    A result is ``FAILED`` when its task is dead, and ``READY`` between two attempts.  Its ``errors`` are those of the
    first and the last nine attempts.  Of its ``worker_ids`` the last one is known, while it runs to workers with a
    heartbeat; there are as many as there were attempts.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._names = [*dict.fromkeys(params.get('QUEUES') or [DEFAULT_TASK_QUEUE_NAME])]
        if mistakes := self._mistakes():
            raise InvalidTaskBackend('; '.join(mistakes))

    @property
    def app(self) -> DjangoTasks:
        """The app that has the tasks, one for the process, whatever threads use the backend."""
        url = self.options.get('url') or read_settings().url
        key = self.alias, url, *self._names, *(self.options.get(name) for name in OPTIONS)
        with _lock:
            if (app := _apps.get(key)) is None:
                app = _apps[key] = DjangoTasks.from_url(
                    url, queue=self._names[0], queues=self._names, types=None, keep=self._ttl
                )
                app.belong(self.alias, type(self), self.options.get('timeout'))
        return app

    # What Django calls

    def validate_task(self, task: Task) -> None:
        """Refuse a task that cannot be run.

        :raises django.tasks.exceptions.InvalidTask: it cannot.
        """
        super().validate_task(task)
        try:
            check_name(task.queue_name, 'the name of a queue')
        except TorrelqueError as exc:
            raise InvalidTask(str(exc)) from exc

    # Django has no annotations, and its methods do nothing, of which pyright concludes that they return None.
    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:  # pyright: ignore
        """Enqueue a call of a task.

        :raises django.tasks.exceptions.InvalidTask: the backend does not take the task.
        :raises TypeError: an argument is nothing that JSON has.
        :raises torrelque.TorrelqueConnectionError: the server is away; or, called in an event loop, another
            `torrelque.TorrelqueError`: there is ``aenqueue`` for that.
        """
        result, call = self._begin(task, args, kwargs)
        call.push(*result.args, **result.kwargs)
        task_enqueued.send(type(self), task_result=result)
        return result

    async def aenqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:  # pyright: ignore
        """As `enqueue`, in an event loop."""
        result, call = self._begin(task, args, kwargs)
        await call.enqueue(*result.args, **result.kwargs)
        await task_enqueued.asend(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """What became of a task.

        :raises django.tasks.exceptions.TaskResultDoesNotExist: no queue of the backend knows it, or not any more; or
            its function is not there.
        """
        return result_of(self.app.call(self._look(result_id)), self.alias)

    async def aget_result(self, result_id: str) -> TaskResult:
        """As `get_result`, in an event loop."""
        return result_of(await self._look(result_id), self.alias)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """What is wrong with the options, for ``manage.py check``; nothing, or else there would be no backend."""
        return []

    # Parts

    @property
    def _ttl(self) -> float:
        given = self.options.get('result_ttl')
        return RESULT_TTL if given is None else check_seconds(given, 'result_ttl')

    def _mistakes(self) -> list[str]:
        """What is wrong with the options."""
        own = f'TASKS[{self.alias!r}]'
        if not isinstance(self.options, Mapping):
            return [f'{own} has OPTIONS that are no dict']
        unknown = [name for name in self.options if name not in OPTIONS]
        found = [f'{own} has an unknown option {name!r}; known are {", ".join(OPTIONS)}' for name in unknown]
        try:
            check_attempts(self.options.get('max_attempts'))
            for name in ('result_ttl', 'timeout', 'task_timeout'):
                if (given := self.options.get(name)) is not None:
                    check_seconds(given, name, positive=True)
            for name in self._names:
                check_name(name, 'the name of a queue')
        except (TorrelqueTypeError, TorrelqueValueError) as exc:
            found.append(f'{own}: {exc}')
        return found

    def _begin(self, task: Task, args: Any, kwargs: Any) -> tuple[TaskResult, Enqueuer[..., Any]]:
        """The result of a task that is about to be enqueued, and what enqueues it."""
        self.validate_task(task)
        now = datetime.now(timezone.utc)
        result = TaskResult(
            task=task, id=secrets.token_hex(16), status=TaskResultStatus.READY, enqueued_at=now, started_at=None,
            last_attempted_at=None, finished_at=None, args=[*args], kwargs=dict(kwargs), backend=self.alias, errors=[],
            worker_ids=[],
        )  # fmt: skip
        after = task.run_after
        if after is not None and not is_aware(after):
            after = make_aware(after)
        said = {'enqueued': now.timestamp(), 'priority': task.priority}
        if after is not None:
            said['after'] = after.timestamp()
        try:
            call = self.app.named(
                task.module_path, task_id=result.id, priority=task.priority, queue=task.queue_name, eta=after,
                max_attempts=self.options.get('max_attempts') or 1, result_ttl=self._ttl,
                task_timeout=self.options.get('task_timeout'), headers={HEADER: said},
            )  # fmt: skip
        except (TorrelqueTypeError, TorrelqueValueError) as exc:
            raise InvalidTask(str(exc)) from exc
        return result, call

    async def _look(self, result_id: str) -> TaskView:
        """What the queues know of a task."""
        app = self.app
        try:
            operator = Operator([app.queue_named(name) for name in self._names])
            return await operator.task(result_id, payload=LARGEST)
        except (TorrelqueLookupError, TorrelqueTypeError, TorrelqueValueError) as exc:
            raise TaskResultDoesNotExist(str(exc)) from exc
