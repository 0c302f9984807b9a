"""A task of a test whose calls run at once: what was enqueued, its state, and who follows it."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from torrelque import TorrelqueAttempt, TorrelqueTaskId, TorrelqueTaskState, TorrelqueTaskStatus, TorrelqueTimeoutError

__all__ = ['EagerTask', 'EagerWatch', 'Run']

_SILENT = ''.join(map(chr, (*range(33), 127)))
"""White space and control characters: a line that has nothing else says nothing."""
_SPACED = dict.fromkeys(map(ord, _SILENT), ' ')


class EagerTask:
    """A task that was enqueued in an `eager` block, as the test sees it."""

    id: str
    """Its id."""
    queue: str
    """The name of its queue, as the app calls it."""
    name: str | None
    """The name of the function; None where the payload is no call."""
    args: tuple[Any, ...]
    """Arguments by their place, as they were sent: what the serialiser has made of them."""
    kwargs: dict[str, Any]
    """Arguments by their names."""
    headers: dict[str, Any]
    """What was sent along."""
    group: str | None
    """Its group, if it has one."""
    priority: int
    """Its priority."""
    delay: float
    """How long (s) it would have waited, if there were time."""
    task: Any
    """The whole payload."""
    state: TorrelqueTaskState
    """Its state now, also where the queue would have forgotten the task."""

    def __init__(
        self,
        queue: str,
        task_id: TorrelqueTaskId,
        task: Any,
        payload: bytes,
        group: str | None,
        priority: int,
        delay: float,
        max_attempts: int | None,
        lease: float,
    ) -> None:
        call: Mapping[str, Any] = task if isinstance(task, Mapping) else {}
        name, args, kwargs, headers = (call.get(key) for key in ('task', 'args', 'kwargs', 'headers'))
        self.id, self.queue, self.task = str(task_id), queue, task
        self.name = name if isinstance(name, str) else None
        self.args = tuple(args) if isinstance(args, (list, tuple)) else ()
        self.kwargs = dict(kwargs) if isinstance(kwargs, Mapping) else {}
        self.headers = dict(headers) if isinstance(headers, Mapping) else {}
        self.group, self.priority, self.delay = group, priority, delay
        now = time.time()
        self.state = TorrelqueTaskState(
            TorrelqueTaskStatus.PENDING, lease, None, 0, 0, now, None, None, None, None, None, max_attempts, 0, group,
            priority, now if delay else None,
        )  # fmt: skip
        # Legend of what is not for the test.  payload: the bytes.  token: of the attempt that runs.  active: whether it
        # is in somebody's hands, so that something becomes of it.  endless: whether nothing limits its attempts.
        # forgotten: whether the queue keeps nothing of it.  _listeners: of those who follow it, their event loops, and
        # what is called there at each change.
        self.payload, self.token = payload, ''
        self.active = self.endless = self.forgotten = False
        self._listeners: list[tuple[asyncio.AbstractEventLoop, Callable[[], object]]] = []

    def __repr__(self) -> str:
        return f'<EagerTask {self.name} {self.id!r} of {self.queue!r}: {self.state.status.name}>'

    @property
    def settled(self) -> bool:
        """Whether nothing more becomes of it by itself."""
        return self.state.status.isfinal() or self.state.status is TorrelqueTaskStatus.DEAD or not self.active

    def begin(self) -> TorrelqueTaskId:
        """Begin an attempt; its id, with the right to settle it."""
        now, attempt = time.time(), self.state.dequeue_count + 1
        self.token = f'{attempt}-{round(now * 1000)}'
        self.change(status=TorrelqueTaskStatus.WORKING, dequeue_count=attempt, last_dequeue_time=now)
        return TorrelqueTaskId(self.id, attempt, self.token, self.group, self.state.timeout)

    def failures(self, error: str | None) -> tuple[TorrelqueAttempt, ...]:
        """Its failed attempts, with the one that fails now."""
        state, known = self.state, self.state.history
        line = (error or '').strip(_SILENT).rpartition('\n')[2].strip(_SILENT).translate(_SPACED)
        line = line.encode('utf-8', 'replace')[:160].decode('utf-8', 'ignore')
        attempt = TorrelqueAttempt(state.dequeue_count, state.last_dequeue_time or 0.0, time.time(), line)
        return (*(known if len(known) < 10 else (known[0], *known[2:])), attempt)

    def leave(self) -> None:
        """Nobody has it in hand any more."""
        self.active = False
        self._tell()

    def change(self, **fields: Any) -> None:
        """Change its state, and tell those who follow it."""
        self.state = self.state._replace(**fields)
        self._tell()

    def _tell(self) -> None:
        for loop, call in [*self._listeners]:
            try:
                loop.call_soon_threadsafe(call)
            except RuntimeError:
                pass  # the loop is closed, and whoever followed the task there is gone

    async def changed(self, known: TorrelqueTaskState, timeout: float | None = None) -> bool:
        """Wait until the state is another one, or nobody has the task in hand; False when the time (s) is over."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        listener = loop, event.set
        self._listeners.append(listener)
        try:
            while self.state is known and not self.settled:
                event.clear()
                await asyncio.wait_for(event.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        finally:
            self._listeners.remove(listener)
        return True


class EagerWatch(AsyncIterator[TorrelqueTaskState]):
    """The states of a task, as `Torrelque.watch` gives them.  Where nothing becomes of the task any more, and it is not
    final, the time is over at once."""

    def __init__(self, find: Callable[[], EagerTask], timeout: float | None) -> None:
        self._find = find
        self._end = None if timeout is None else time.monotonic() + timeout
        self._task: EagerTask | None = None
        self._last: TorrelqueTaskState | None = None
        self._over = False

    async def __anext__(self) -> TorrelqueTaskState:
        if self._over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = self._find()
            return self._give(self._task)
        task, last = self._task, self._last
        assert last is not None
        if task.state is last and not task.settled:
            left = None if self._end is None else max(0.0, self._end - time.monotonic())
            await task.changed(last, left)
        if task.forgotten:
            self._over = True
            raise StopAsyncIteration
        if task.state is not last:
            return self._give(task)
        self._over = True
        error = TorrelqueTimeoutError(
            f'task {task.id!r} is {last.status.name.lower()}, and nothing becomes of it in this test' if task.settled
            else f'task {task.id!r} is not final in time'
        )  # fmt: skip
        error.queue = task.queue
        raise error

    def _give(self, task: EagerTask) -> TorrelqueTaskState:
        self._last = task.state
        self._over = self._last.status.isfinal()
        return self._last

    async def aclose(self) -> None:
        """Watch no longer."""
        self._over = True


class Run:
    """Tasks that one worker works on, one after the other: one, and what comes behind it in strict order."""

    def __init__(self) -> None:
        self.tasks: list[EagerTask] = []
        """All of them."""
        self.pending: collections.deque[EagerTask] = collections.deque()
        """Those that were not begun, or are to be tried again."""

    def add(self, task: EagerTask) -> None:
        """Have a task run behind the others."""
        if task not in self.tasks:
            task.active = True
            self.tasks.append(task)
            self.pending.append(task)
