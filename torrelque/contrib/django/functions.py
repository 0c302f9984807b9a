"""The app of a tasks backend: a function is found by its path when its first task comes, and run as Django says."""

# Django has these from 6.0 on.
# pyright: reportMissingImports=false

import inspect
import os
import socket
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from django.tasks import Task, TaskContext, TaskResult, TaskResultStatus
from django.tasks.signals import task_finished, task_started
from django.utils.json import normalize_json

from torrelque import TorrelqueLookupError
from torrelque.tasks import Tasks, current
from torrelque.worker import Delivery, Job

from .results import Call, Record, find_task, padded, summary_of


class DjangoTasks(Tasks):
    """An app whose functions are those that Django's ``@task`` has decorated; `Backend` makes it."""

    _alias: str
    _sender: type[Any]
    _timeout: Any

    def belong(self, alias: str, sender: type[Any], timeout: Any) -> None:
        """Say which backend the app is of.

        :param sender: the class of the backend, which is the sender of its signals.
        :param timeout: how long (s) each function may run; None is for ever.
        """
        self._alias, self._sender, self._timeout = alias, sender, timeout

    @property
    def has_on_dead(self) -> bool:
        """As `torrelque.tasks.Tasks.has_on_dead`: each function has one, known yet or not."""
        return True

    def find(self, delivery: Delivery) -> Job:
        """The job of a task, whose function is imported at the first one.

        :raises TorrelqueLookupError: there is none, in this version of the application.
        """
        name = delivery.task.get('task') if isinstance(delivery.task, Mapping) else None
        if isinstance(name, str) and name not in self.functions:
            task = find_task(name)
            if task is None or task.backend != self._alias:
                raise TorrelqueLookupError(f'there is no task {name!r} of the backend {self._alias!r}')
            self.task(name=name, timeout=self._timeout, on_dead=self._died)(self._callable(task))
        return super().find(delivery)

    def _callable(self, task: Task) -> Any:
        """A function that runs a task as Django says, with signals, context and a result that JSON has."""
        if inspect.iscoroutinefunction(task.func):

            async def run(*args: Any, **kwargs: Any) -> Any:
                call, result = self._begin(task, args, kwargs)
                await task_started.asend(self._sender, task_result=result)
                value = normalize_json(await task.func(*_with_context(result, args), **kwargs))
                _succeed(result, value)
                await task_finished.asend(self._sender, task_result=result)
                return _record(call, result)

            return run

        def run_in_thread(*args: Any, **kwargs: Any) -> Any:
            call, result = self._begin(task, args, kwargs)
            task_started.send(self._sender, task_result=result)
            value = normalize_json(task.func(*_with_context(result, args), **kwargs))
            _succeed(result, value)
            task_finished.send(self._sender, task_result=result)
            return _record(call, result)

        return run_in_thread

    def _begin(self, task: Task, args: Any, kwargs: Mapping[str, Any]) -> tuple[Call, TaskResult]:
        """A call that begins here, and its result, which is none yet."""
        delivery, now = current(), datetime.now(timezone.utc)
        call = Call.of(task.module_path, [*args], {**kwargs}, delivery.headers, delivery.queue.name)
        result = TaskResult(
            task=call.on(task), id=str(delivery.id), status=TaskResultStatus.RUNNING, enqueued_at=call.enqueued_at,
            started_at=now if delivery.attempt == 1 else None, last_attempted_at=now, finished_at=None, args=call.args,
            kwargs=call.kwargs, backend=self._alias, errors=[], worker_ids=padded(delivery.attempt, worker_id()),
        )  # fmt: skip
        return call, result

    async def _died(self, delivery: Delivery, error: BaseException) -> None:
        """A task is dead: say so by the signal that Django has for it."""
        task, now = find_task(delivery.task['task']), datetime.now(timezone.utc)
        assert task is not None  # or else the job was not found
        call = Call.of_payload(delivery.task, delivery.queue.name)
        result = TaskResult(
            task=call.on(task), id=str(delivery.id), status=TaskResultStatus.FAILED, enqueued_at=call.enqueued_at,
            started_at=None, last_attempted_at=None, finished_at=now, args=call.args, kwargs=call.kwargs,
            backend=self._alias, errors=[summary_of(error)], worker_ids=padded(delivery.attempt, worker_id()),
        )  # fmt: skip
        await task_finished.asend(self._sender, task_result=result)


def worker_id() -> str:
    """What the names of the workers of this process begin with."""
    return f'{socket.gethostname()}-{os.getpid()}'


def _with_context(result: TaskResult, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (TaskContext(task_result=result), *args) if result.task.takes_context else args


def _succeed(result: TaskResult, value: Any) -> None:
    """Have a result tell what its function has returned, as Django's own backends do: it is frozen for users."""
    changes = {'status': TaskResultStatus.SUCCESSFUL, 'finished_at': datetime.now(timezone.utc), '_return_value': value}
    for name, changed in changes.items():
        object.__setattr__(result, name, changed)


def _record(call: Call, result: TaskResult) -> dict[str, Any]:
    """What is kept as the result of a task in the queue, which forgets what was enqueued when it has ended well."""
    return Record(call, worker_id(), result._return_value).pack()
