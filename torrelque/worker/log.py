"""What a worker logs: a line for its start and its end, and for what became of each task.

Each record has fields of its own for structured logs: ``event`` (one of `EVENTS`), ``worker``, and of a task ``queue``,
``function``, ``task_id``, ``attempt``, ``group`` and ``seconds``; where there is one ``delay`` (s) or ``error``.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from torrelque import TorrelqueQueue

from .delivery import Delivery
from .held import Stop
from .job import App
from .retry import Reject, Retry
from .trace import summary
from .version import version

logger = logging.getLogger(__package__)

EVENTS = (
    'worker_started', 'worker_stopped', 'worker_failed',
    'task_succeeded', 'task_failed', 'task_retried', 'task_dead', 'task_lost', 'task_cancelled', 'task_returned',
    'task_unsettled', 'task_unknown',
)  # fmt: skip
"""Kinds of records.  A task that is ``returned`` was given back uncounted, because the worker ends.  A task that
failed or asked for another attempt (``retried``) comes again; a task that is ``unsettled`` comes again when its lease
has run out; a task that is ``unknown`` has no function in this app, and was given back for another worker."""


def name_of(call: Callable[..., Any]) -> str:
    """What a handler is called."""
    function = getattr(call, 'func', call)
    return getattr(function, '__qualname__', None) or type(function).__name__


class Log:
    """Writes the lines of one worker."""

    def __init__(self, worker: str) -> None:
        self._worker = worker

    # The worker

    def started(
        self, queues: Sequence[TorrelqueQueue], app: App | None, call: Callable[..., Any], concurrency: int
    ) -> None:
        """The worker takes tasks from now on."""
        current = version()
        functions = [*getattr(app, 'functions', ())] if app is not None else [name_of(call)]
        names = [queue.name for queue in queues]
        logger.info(
            'worker %s starts: queues %s; functions %s; concurrency %d; torrelque %s',
            self._worker, ', '.join(map(repr, names)), ', '.join(functions) or 'unknown', concurrency, current,
            extra={
                'event': 'worker_started', 'worker': self._worker, 'queues': names, 'functions': functions,
                'concurrency': concurrency, 'version': current,
            },
        )  # fmt: skip

    def stopped(self, succeeded: int, failed: int, dead: int, lost: int) -> None:
        """The worker has come to its end."""
        logger.info(
            'worker %s has stopped: %d succeeded, %d failed attempts, %d dead, %d lost',
            self._worker, succeeded, failed, dead, lost,
            extra={
                'event': 'worker_stopped', 'worker': self._worker, 'succeeded': succeeded, 'failed': failed,
                'dead': dead, 'lost': lost,
            },
        )  # fmt: skip

    def broke(self, error: BaseException) -> None:
        """The worker takes no more tasks, because of an error that time does not mend."""
        extra = {'event': 'worker_failed', 'worker': self._worker, 'error': summary(error)}
        logger.error('worker %s ends by an error: %s', self._worker, summary(error), exc_info=error, extra=extra)

    # Its tasks

    def tells_of_success(self) -> bool:
        """Whether anybody wants the line of each task that went well."""
        return logger.isEnabledFor(logging.INFO)

    def succeeded(self, delivery: Delivery) -> None:
        """A task was released."""
        self._tell(logging.INFO, 'task_succeeded', delivery, 'has succeeded')

    def failed(self, delivery: Delivery, error: BaseException, delay: float | None, ours: bool) -> None:
        """An attempt failed; without a ``delay`` (s) there is no other.  ``ours`` is whether we could say so."""
        more: dict[str, Any] = {'error': summary(error)}
        trace = None if isinstance(error, (Retry, Reject)) else error
        if not ours:
            self._tell(logging.WARNING, 'task_lost', delivery, 'has failed, and was not ours any more', trace, **more)
        elif delay is None:
            self._tell(logging.ERROR, 'task_dead', delivery, 'is dead', trace, **more)
        elif isinstance(error, Retry):
            self._tell(logging.INFO, 'task_retried', delivery, f'is tried again in {delay:.3g} s', delay=delay, **more)
        else:
            what = f'has failed, and is tried again in {delay:.3g} s'
            self._tell(logging.WARNING, 'task_failed', delivery, what, trace, delay=delay, **more)

    def unknown(self, delivery: Delivery, error: BaseException, delay: float, ours: bool) -> None:
        """The app does not know what to do with a task, which was given back for another worker."""
        if not ours:
            self._tell(logging.WARNING, 'task_lost', delivery, 'is not known here, and was not ours any more')
            return
        what = f'is left to a worker that knows it, in {delay:.3g} s'
        self._tell(logging.WARNING, 'task_unknown', delivery, what, delay=delay, error=summary(error))

    def died(self, delivery: Delivery, error: str) -> None:
        """A task is dead, and nobody saw it die."""
        last = error.rstrip().rpartition('\n')[2]
        self._tell(logging.ERROR, 'task_dead', delivery, 'is dead, and nobody saw it die', error=last)

    def stopped_task(self, delivery: Delivery, why: Stop | None) -> None:
        """A handler was cancelled: by the end of the worker, or because its task is not ours any more."""
        if why is None or why is Stop.SHUTDOWN:
            self._tell(logging.INFO, 'task_returned', delivery, 'is given back, because the worker stops')
        elif why is Stop.CANCELLED:
            self._tell(logging.INFO, 'task_cancelled', delivery, 'was cancelled')
        else:
            self._tell(logging.WARNING, 'task_lost', delivery, f'was stopped: {why.value}')

    def lost(self, delivery: Delivery) -> None:
        """A handler has succeeded, and its task was not ours any more."""
        self._tell(logging.WARNING, 'task_lost', delivery, 'has succeeded, and was not ours any more')

    def unsettled(self, delivery: Delivery, error: BaseException, again: bool = False) -> None:
        """The queue has not taken what became of a task.  It is called ``again``, or the lease is left to run out."""
        what = 'is not settled yet' if again else 'could not be settled; its lease will run out'
        self._tell(
            logging.WARNING if again else logging.ERROR, 'task_unsettled', delivery, what,
            None if again else error, error=summary(error),
        )  # fmt: skip

    def goes_on(self, delivery: Delivery) -> None:
        """The handler's thread cannot be ended, and keeps its place in the worker."""
        self._tell(
            logging.WARNING, 'task_failed', delivery, 'goes on in its thread, and keeps its place in the worker'
        )

    def _tell(
        self, level: int, event: str, delivery: Delivery, what: str, trace: BaseException | None = None, **more: Any
    ) -> None:
        job, seconds = delivery.job, asyncio.get_running_loop().time() - delivery.since
        function = job.name or name_of(job.call)
        # The line names the queue; where the error does as well, it is not named twice.
        error = f': {more["error"]}'.replace(f': queue {delivery.queue.name!r}: ', ': ', 1) if 'error' in more else ''
        logger.log(
            level,
            '%s, task %r of queue %r, attempt %d (%.3f s) %s%s',
            function, str(delivery.id), delivery.queue.name, delivery.attempt, seconds, what, error,
            exc_info=trace,
            extra={
                'event': event, 'worker': self._worker, 'queue': delivery.queue.name, 'function': function,
                'task_id': str(delivery.id), 'attempt': delivery.attempt, 'group': delivery.group, 'seconds': seconds,
                **more,
            },
        )  # fmt: skip
