"""The notification hub: any number of watchers share one connection.

A notification says only *that* the state of a task has changed.  So a watch subscribes, then reads, then waits, and
what was subscribed is read again after each notification, after each confirmation of the subscription, and slowly in
any case, for notifications that were lost.  Reads of many tasks are one call, and one call is on its way at a time.
"""

import asyncio
import collections
import contextlib
import functools
import logging
from collections.abc import Sequence
from typing import Any

from .connection import Connector
from .error import (
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueTimeoutError,
    copy_error,
)
from .link import Link, Request
from .listen import Listener
from .model import TorrelqueSerialiser, TorrelqueTaskState
from .protocol import BULK, BULK_BYTES, GRACE, STATE_FIELDS, Transition
from .replies import notifications_missing, outcome_error, read_state, text

logger = logging.getLogger(__package__)

TICK = 1.0
"""s between two looks at the hub's connection while anything is watched."""
SAFETY = 7
"""Ticks after which a state is read of which nothing was heard."""
PAUSE = 0.2
"""s until a read that failed is tried again."""

_LATE = 'the task was not final in time'
_HEAD = [str(BULK_BYTES), str(len(STATE_FIELDS)), *STATE_FIELDS]


class _Task:
    """A task that is watched."""

    __slots__ = ('channel', 'id', 'state', 'tick', 'values', 'watchers')

    def __init__(self, task_id: str, channel: bytes) -> None:
        self.id = task_id
        self.channel = channel
        self.watchers: list[Watcher] = []
        self.values: Any = None
        self.state: TorrelqueTaskState | None = None
        self.tick = -1


class Watcher:
    """What the hub knows of one who watches."""

    __slots__ = ('error', 'fresh', 'future', 'late', 'over', 'since', 'state', 'task', 'timer')

    def __init__(self, task: _Task, since: int) -> None:
        self.task = task
        self.since = since
        self.state: TorrelqueTaskState | None = None
        self.fresh = False
        self.over = False
        self.late = False
        self.error: Exception | None = None
        self.future: asyncio.Future[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def take(self, state: TorrelqueTaskState) -> None:
        """Have a state that was read; a newer one takes the place of one that nobody has looked at."""
        if state is self.state:
            return
        if self.state is not None:
            if self.state.enqueue_time != state.enqueue_time:
                # Released, and the id enqueued again: that is another task.
                self.end()
                return
            if _counts(state) < _counts(self.state):
                # Of a server that has lost writes: seen already.
                return
        self.state = state
        self.fresh = True
        if state.status.isfinal():
            self.end()
        elif self.late:
            self.end(TorrelqueTimeoutError(_LATE))
        else:
            self._wake()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come."""
        if not self.over:
            self.over = True
            self.error = error
            if self.timer is not None:
                self.timer.cancel()
            self._wake()

    def _wake(self) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


def _counts(state: TorrelqueTaskState) -> tuple[bool, int, int]:
    """What never goes down in a task's life."""
    return state.status.isfinal(), state.dequeue_count, state.requeue_count


class Hub:
    """The watchers of a queue object, in its event loop."""

    def __init__(
        self,
        link: Link,
        connector: Connector,
        transition: Transition,
        prefix: str,
        serialiser: TorrelqueSerialiser,
    ) -> None:
        self.loop = link.loop
        self._link = link
        self._listener = Listener(connector, self._heard, self._refused)
        self._wanders = connector.cluster
        self._transition = transition
        self._prefix = prefix.encode()
        self._serialiser = serialiser
        self._tasks: dict[bytes, _Task] = {}
        self._marked: collections.OrderedDict[_Task, None] = collections.OrderedDict()
        self._reading = False
        self._number = 0
        self._checked = self._checking = False
        self._ticks = 0
        # Tasks by the tick in which they were read last, the newest first.
        self._rounds: collections.deque[list[_Task]] = collections.deque([[]])
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._closed = False

    def join(self, task_id: str, timeout: float | None) -> Watcher:
        """Begin to watch a task, for a time (s)."""
        channel = self._prefix + task_id.encode()
        task = self._tasks.get(channel)
        if task is None:
            task = self._tasks[channel] = _Task(task_id, channel)
            self._listener.subscribe(channel)
            self._check()
        watcher = Watcher(task, self._number)
        task.watchers.append(watcher)
        if task.tick >= 0 or self._listener.established and not self._listener.connected:
            # What was read, or is about to be, may be older than this watch; and a confirmation may be long in coming.
            self._mark(task)
        if timeout is not None:
            watcher.timer = self.loop.call_later(timeout, self._expire, watcher)
        if self._timer is None:
            self._timer = self.loop.call_later(TICK, self._tick)
        self._read()
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Watch no longer; the last watcher of a task takes its subscription along."""
        watcher.end()
        task = watcher.task
        if watcher in task.watchers and not self.loop.is_closed():
            task.watchers.remove(watcher)
            self._forget(task)

    def leave_soon(self, watcher: Watcher) -> None:
        """As `leave`, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and all is over
            self.loop.call_soon_threadsafe(self.leave, watcher)

    def close(self) -> None:
        """End all watches with an error, and leave nothing behind."""
        self._closed = True
        self._end(TorrelqueClosedError('the queue was closed while this call watched a task'))
        self._listener.close()

    def _expire(self, watcher: Watcher) -> None:
        if watcher.state is None and not watcher.late:
            # The first state is waited for a moment longer, and is not for the subscription to come.
            watcher.late = True
            self._mark(watcher.task)
            self._read()
            watcher.timer = self.loop.call_later(GRACE, self._expire, watcher)
        else:
            error = TorrelqueTimeoutError(_LATE)
            error.__cause__ = self._error
            watcher.end(error)
            self.leave(watcher)

    # Notifications

    def _heard(self, channels: list[bytes]) -> None:
        for channel in channels:
            task = self._tasks.get(channel)
            if task is not None:
                self._mark(task)
        self._read()

    def _refused(self, channels: list[bytes], error: Exception) -> None:
        self._end(error, [self._tasks[channel] for channel in channels if channel in self._tasks])

    def _check(self) -> None:
        """Ask the server, once, whether it sends notifications at all."""
        if not self._checked and not self._checking:
            self._checking = True
            self._ask()

    def _ask(self) -> None:
        self._link.submit(Request(None, ['CONFIG', 'GET', 'notify-keyspace-events'], self._have_checked))

    def _have_checked(self, reply: Any, error: Exception | None) -> None:
        self._checking = False
        if self._tasks and self._passing(error):
            self._checking = True
            self.loop.call_later(PAUSE, self._ask)
        elif isinstance(error, TorrelqueConnectionError):
            self._end(error)
        elif error is None and (missing := notifications_missing(reply)):
            self._end(TorrelqueError(missing))
        else:
            # Also where the server does not tell.
            self._checked = True
            self._read()

    # Reading

    def _mark(self, task: _Task) -> None:
        """Have a task read, unless nobody watches it any more."""
        if task.watchers:
            self._marked[task] = None

    def _read(self) -> None:
        """Read what is marked, unless a read is on its way."""
        if self._reading or not self._checked:
            return
        tasks: list[_Task] = []
        while self._marked and len(tasks) < BULK:
            task, _ = self._marked.popitem(last=False)
            tasks.append(task)
            if task.tick != self._ticks:
                task.tick = self._ticks
                self._rounds[0].append(task)
        if tasks:
            self._reading = True
            self._number += 1
            args = [*_HEAD, *[task.id for task in tasks]]
            self._link.submit(Request(self._transition, args, functools.partial(self._have_read, tasks)))

    def _have_read(self, tasks: Sequence[_Task], reply: Any, error: Exception | None) -> None:
        self._reading = False
        if error is not None:
            self._failed(tasks, error)
            return
        self._error = None
        for k, task in enumerate(tasks):
            if k + 1 >= len(reply):
                # They would have been too many bytes.
                self._mark(task)
            elif task.watchers:
                self._deliver(task, reply[k + 1])
        self._follow()
        self._read()

    def _failed(self, tasks: Sequence[_Task], error: Exception) -> None:
        if self._passing(error):
            for task in tasks:
                self._mark(task)
            self.loop.call_later(PAUSE, self._read)
        else:
            self._end(error, tasks)
            self._read()

    def _passing(self, error: Exception | None) -> bool:
        """Whether an error is that of a server that was there before, and will be again."""
        if not isinstance(error, TorrelqueConnectionError) or not self._link.established or self._closed:
            return False
        if self._error is None:
            logger.warning('watching goes on when the server is back: %s', error)
        self._error = error
        return True

    def _deliver(self, task: _Task, values: Any) -> None:
        """Tell those who were there when the task was to be read; others read it themselves."""
        present = [watcher for watcher in task.watchers if watcher.since < self._number]
        if values != task.values:
            try:
                if isinstance(values, bytes) and (broken := outcome_error(text(values), task.id)):
                    raise broken
                task.state = read_state(values, self._serialiser)
            except TorrelqueError as exc:
                self._end(exc, [task])
                return
            task.values = values
        if task.state is None:
            for watcher in present:
                unknown = TorrelqueLookupError(f'the queue has no task {task.id!r}')
                watcher.end(unknown if watcher.state is None else None)
        else:
            for watcher in present:
                watcher.take(task.state)
        if any(watcher.over for watcher in present):
            task.watchers = [watcher for watcher in task.watchers if not watcher.over]
            self._forget(task)

    # Keeping

    def _tick(self) -> None:
        """Look after the connection, and read what nothing was heard of for long."""
        self._timer = None
        self._ticks += 1
        self._rounds.appendleft([])
        well = self._listener.tick()
        overdue = self._rounds.pop() if len(self._rounds) > SAFETY else []
        for task in overdue:
            if task.tick == self._ticks - SAFETY:
                self._mark(task)
        if not well:
            # Without a connection everything is read, else only what still waits for its subscription.
            for task in self._tasks.values():
                if task.values is None or not self._listener.connected:
                    self._mark(task)
        elif self._wanders and self._tasks:
            # Whoever reads is told where the slot went.
            self._mark(next(iter(self._tasks.values())))
        self._follow()
        self._read()
        if self._tasks:
            self._timer = self.loop.call_later(TICK, self._tick)

    def _follow(self) -> None:
        """Listen where the queue is: the link, which is told, may have moved."""
        if self._link.connected and self._listener.connected and self._link.place != self._listener.place:
            self._listener.renew()

    def _forget(self, task: _Task) -> None:
        if task.watchers or self._tasks.get(task.channel) is not task:
            return
        del self._tasks[task.channel]
        self._marked.pop(task, None)
        task.values = task.state = None
        self._listener.unsubscribe(task.channel)
        if not self._tasks and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._rounds = collections.deque([[]])

    def _end(self, error: Exception, tasks: Sequence[_Task] | None = None) -> None:
        for task in list(self._tasks.values()) if tasks is None else tasks:
            watchers, task.watchers = task.watchers, []
            for watcher in watchers:
                watcher.end(copy_error(error))
            self._forget(task)
