"""A delivery for a function that is called directly, as in a unit test: what it reports is recorded."""

from __future__ import annotations

import contextlib
import copy
import datetime
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torrelque import TorrelqueError, TorrelqueQueue, TorrelqueTaskId, TorrelqueTypeError
from torrelque.protocol.check import check_count, check_group, check_name
from torrelque.tasks.running import running_for
from torrelque.worker import Delivery, Job

__all__ = ['RecordedDelivery', 'delivery']


class RecordedDelivery(Delivery):
    """What `torrelque.tasks.current` gives in a `delivery` block."""

    __slots__ = ('_headers', '_scheduled', '_state', 'ours', 'progress')

    progress: list[Any]
    """What was given to ``touch`` and ``report``, in order; a copy of each as it was then.  None, with which a lease is
    renewed only, is left out."""
    ours: bool
    """What ``touch`` and ``report`` answer; a test sets False for a task that was cancelled or given to somebody else.
    Nothing is cancelled by that."""

    def __init__(
        self,
        task_id: TorrelqueTaskId,
        task: Any,
        headers: Mapping[str, Any],
        state: Any,
        queue: TorrelqueQueue | None,
        scheduled: datetime.datetime | None,
    ) -> None:
        self.id = task_id
        self.task = task
        self.since = time.monotonic()
        self.job = Job(_uncalled, name='of a test')
        self.progress, self.ours = [], True
        self._headers, self._state, self._scheduled = headers, state, scheduled
        if queue is not None:
            self.queue = queue

    def __repr__(self) -> str:
        return f'<RecordedDelivery {str(self.id)!r}, attempt {self.attempt}>'

    if not TYPE_CHECKING:  # which would find that there is any attribute

        def __getattr__(self, name: str) -> Any:
            # Only what is not there is looked for here.
            if name == 'queue':
                raise TorrelqueError('the delivery of this test has no queue; give it one: testing.delivery(queue=…)')
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    @property
    def headers(self) -> Mapping[str, Any]:
        """Those that the test has given."""
        return self._headers

    @property
    def state(self) -> Any:
        """What the test has given."""
        return self._state

    @property
    def scheduled(self) -> datetime.datetime | None:
        """What the test has given, in UTC; without that the instant in the id, if it has one."""
        return super().scheduled if self._scheduled is None else self._scheduled

    @property
    def over(self) -> bool:
        """Whether the test has said that the task is not `ours`."""
        return not self.ours

    async def touch(self, progress: Any = None) -> bool:
        """Record how far the work is; `ours`."""
        return self._record(progress)

    def report(self, progress: Any) -> bool:
        """As `touch`, in whatever thread."""
        return self._record(progress)

    def _record(self, progress: Any) -> bool:
        if progress is not None:
            # The function may go on to change what it has reported.
            try:
                progress = copy.deepcopy(progress)
            except Exception as exc:
                raise TorrelqueTypeError(f'progress is a value that a serialiser takes: {exc}') from exc
            self.progress.append(progress)
        return self.ours


@contextlib.contextmanager
def delivery(
    *,
    attempt: int = 1,
    headers: Mapping[str, Any] | None = None,
    state: Any = None,
    task_id: str | None = None,
    group: str | None = None,
    queue: TorrelqueQueue | None = None,
    task: Any = None,
    scheduled: datetime.datetime | None = None,
) -> Iterator[RecordedDelivery]:
    """Have `torrelque.tasks.current` work in a block, for functions that are called there directly, and what they call.

    :param attempt: which attempt it is to be, from 1.
    :param headers: what the caller of the task had sent along; by default those in ``task``.
    :param state: what the app's ``lifespan`` would have yielded.
    :param task_id: the id, any one by default.
    :param group: the group of the task, by default none.
    :param queue: what ``current().queue`` is to be; without one it raises a `TorrelqueError`.
    :param task: what ``current().task`` is to be, by default a payload with these headers.
    :param scheduled: the instant for which a schedule is to have fired the task, by default none has; without a time
        zone it is the machine's time.
    :raises TorrelqueTypeError: an argument is of the wrong kind.
    :raises TorrelqueValueError: it cannot be meant.

    Nothing is sent, and no server needed.  Blocks may be in one another; the innermost counts.  When the block is left
    the delivery is gone, as when a task has ended, also for asyncio tasks and threads that outlive the block.
    """
    check_count(attempt, 'attempt')
    if queue is not None and not isinstance(queue, TorrelqueQueue):
        raise TorrelqueTypeError(f'queue must be a queue of torrelque, not {type(queue).__name__}')
    if scheduled is not None:
        if not isinstance(scheduled, datetime.datetime):
            raise TorrelqueTypeError(f'scheduled must be a datetime, not {type(scheduled).__name__}')
        scheduled = scheduled.astimezone(datetime.timezone.utc)
    new_id = secrets.token_hex(16) if task_id is None else check_name(task_id, 'a task id')
    if headers is None and isinstance(task, Mapping):
        headers = task.get('headers')
    if headers is not None and not (isinstance(headers, Mapping) and all(isinstance(name, str) for name in headers)):
        raise TorrelqueTypeError(f'headers must be a mapping by names, not {headers!r}')
    known = dict(headers or {})
    given = TorrelqueTaskId(new_id, attempt, f'{attempt}-0', None if group is None else check_group(group), 300.0)
    payload = ({'headers': known} if known else {}) if task is None else task
    recorded = RecordedDelivery(given, payload, known, state, queue, scheduled)
    with running_for(recorded):
        yield recorded


def _uncalled(delivery: Delivery) -> None:
    raise AssertionError('the test has called the function itself')
