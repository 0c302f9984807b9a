"""What the hub knows of a task that is watched, and of each watch of it."""

import asyncio
from typing import Any

from torrelque.error import TorrelqueTimeoutError, of_queue
from torrelque.model import TorrelqueTaskState


class Task:
    """A task that is watched."""

    __slots__ = (
        *('brief', 'channel', 'deaf', 'id', 'level', 'since', 'size', 'state'),
        *('tick', 'troubled', 'unheard', 'values', 'watchers'),
    )

    def __init__(self, task_id: str, channel: bytes) -> None:
        self.id = task_id
        """The task's id."""
        self.channel = channel
        """Where the server tells of its changes."""
        self.watchers: list[Watcher] = []
        """The watches that are told of it."""
        self.values: Any = None
        """What was read last."""
        self.brief: Any = None
        """The part of these values by which a change is noticed."""
        self.size = 0
        """Bytes of progress in these values."""
        self.state: TorrelqueTaskState | None = None
        """The state that these values make; None before the first, and where there is no such task."""
        self.tick = -1
        """When it was read last, in ticks of the hub."""
        self.level = 0
        """How long it has been read without a change, see `reading.Schedule`."""
        self.since = 0.0
        """When it was looked at before it left the schedule."""
        self.deaf = False
        """Whether the server refuses to tell of it."""
        self.unheard = False
        """Whether it is read in case a notification was lost."""
        self.troubled: float | None = None
        """Since when it could not be read."""


class Watcher:
    """One watch of a task, as the hub sees it."""

    __slots__ = ('error', 'fresh', 'future', 'late', 'over', 'queue', 'since', 'state', 'task', 'timeout', 'timer')

    def __init__(self, task: Task, since: int, timeout: float | None, queue: str) -> None:
        self.task = task
        """What is watched."""
        self.since = since
        """The number of the last read that was sent before it joined, and may bring what is too old for it."""
        self.timeout = timeout
        """How long it watches (s); None for ever."""
        self.queue = queue
        """Name of the queue, for messages."""
        self.state: TorrelqueTaskState | None = None
        """The last state that it was told; None before the first."""
        self.fresh = False
        """Whether its reader has yet to see that state."""
        self.over = False
        """Whether nothing more will come."""
        self.late = False
        """Whether its time is over, and one more read is waited for."""
        self.error: Exception | None = None
        """What its reader is to be told at the end; None where it just ends."""
        self.future: asyncio.Future[None] | None = None
        """What its reader waits for; None when it does not."""
        self.timer: asyncio.TimerHandle | None = None
        """Runs out with its time; None where it watches for ever."""

    def take(self, state: TorrelqueTaskState) -> None:
        """Keep a state that was read, for the reader, in the place of one that the reader has not seen yet."""
        if self.state is not None and state is not self.state:
            if self.state.enqueue_time != state.enqueue_time:
                # The task was released, and its id enqueued again: that is another task.
                self.end()
                return
            if _counts(state) < _counts(self.state):
                # Counts went down: the server lost writes (a failover).  The reader has seen this state, or a later
                # one.
                state = self.state
        if state is not self.state:
            self.state = state
            self.fresh = True
        if state.status.isfinal():
            self.end()
        elif self.late:
            self.end(self.too_late())
        elif self.fresh:
            self._wake()

    def too_late(self) -> TorrelqueTimeoutError:
        """The error of a watch whose time is over."""
        last = 'no state was read' if self.state is None else f'it is {self.state.status.name}'
        what = f'task {self.task.id!r} was not final within {self.timeout or 0:g} s: {last}'
        return of_queue(self.queue, TorrelqueTimeoutError(what))

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
