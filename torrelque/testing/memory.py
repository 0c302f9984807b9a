"""Queues in the memory of a test: what an app stands on whose calls run at once.

Nothing here is a server: there is no lease to lose, nobody to wait for, and no time to pass.  What may be said of a
task, how task, result and progress are serialised, and whether a final state is kept, is checked and decided by the
builders of the real queue, whose verbs have the same effect here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from typing import Any

from torrelque import (
    Duration,
    Torrelque,
    TorrelqueBulkError,
    TorrelqueClosedError,
    TorrelqueDeath,
    TorrelqueDuplicateError,
    TorrelqueFullError,
    TorrelqueLimit,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueQueueStats,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueTimeoutError,
    TorrelqueWatch,
)
from torrelque.protocol.check import check_depends_on, check_id, check_statuses, seconds_of

from .flowing import FlowBook, FlowQueue, depend
from .idle import NotIdleError
from .states import EagerTask, EagerWatch, Run

__all__ = ['Book', 'MemoryQueue']

PENDING, WORKING = TorrelqueTaskStatus.PENDING, TorrelqueTaskStatus.WORKING
DEAD, CANCELLED = TorrelqueTaskStatus.DEAD, TorrelqueTaskStatus.CANCELLED
WAITING = TorrelqueTaskStatus.WAITING


class Book:
    """What all queues of a block have in common: their tasks."""

    def __init__(self, most_attempts: int) -> None:
        # Legend.  _known: tasks by the names of their queues and by id, as long as their state is kept.
        self.lock = threading.RLock()
        """For all that is in here, because tasks may be enqueued in several event loops."""
        self.tasks: list[EagerTask] = []
        """All tasks, in the order in which they were enqueued."""
        self.limits: dict[tuple[str, str | None], TorrelqueLimit] = {}
        """Limits of groups, by the name of the queue and the group."""
        self.most_attempts = most_attempts
        """How often a task is tried that has no limit of its own."""
        self.stuck: NotIdleError | None = None
        """Why nothing is tried again any more, if that is so."""
        self._known: dict[tuple[str, str], EagerTask] = {}
        self.flows = FlowBook(self.lock, self.add, self.held)
        """Its flows."""

    def add(self, task: EagerTask, max_tasks: int | None, shown: bool = True) -> None:
        """Take a task in.

        :param shown: whether the test sees it.
        :raises TorrelqueDuplicateError: its queue knows the id.
        :raises TorrelqueFullError: its queue has so many tasks.
        """
        place = task.queue, str(task.id)
        with self.lock:
            known = self._known.get(place)
            if known is not None and known.state.status is not CANCELLED:
                raise TorrelqueDuplicateError(str(task.id), task.queue)
            stats = self.stats(task.queue)
            if max_tasks is not None and stats.tasks - stats.dead >= max_tasks:
                raise TorrelqueFullError(stats.tasks - stats.dead, task.queue)
            self._known[place] = task
            self.tasks += [task] if shown else []

    def find(self, queue: str, task_id: str) -> EagerTask:
        """A task whose state is kept.

        :raises TorrelqueLookupError: there is none.
        """
        with self.lock:
            task = self._known.get((queue, str(check_id(task_id))))
        if task is None:
            error = TorrelqueLookupError(f'the queue has no task {str(task_id)!r}')
            error.queue = queue
            raise error
        return task

    def held(self, queue: str, task_id: str) -> EagerTask | None:
        """A task that is worked on by whoever has its id."""
        task = self._known.get((queue, str(task_id)))
        token = getattr(task_id, 'token', '')
        if task is None or task.state.status is not WORKING or token not in ('', task.token):
            return None
        return task

    def forget(self, task: EagerTask) -> None:
        """Keep nothing of a task but what the test sees."""
        place = task.queue, str(task.id)
        if self._known.get(place) is task:
            del self._known[place]
        task.forgotten = True

    def stats(self, queue: str) -> TorrelqueQueueStats:
        """How many tasks a queue has, and in which place."""
        with self.lock:
            found = [task.state.status for (name, _), task in self._known.items() if name == queue]
        pending, working, dead, waiting = (found.count(status) for status in (PENDING, WORKING, DEAD, WAITING))
        return TorrelqueQueueStats(pending + working + dead + waiting, pending, working, 0, dead, waiting)


class MemoryQueue(FlowQueue):
    """A queue of a block.

    :param like: has its name, unless another is given, and its options.
    :param began: called with each task that was enqueued; has it run.
    :param run: what a worker takes its tasks from, in the object that is the worker's.
    """

    def __init__(
        self,
        client: Any,
        like: TorrelqueQueue,
        book: Book,
        began: Callable[[MemoryQueue, EagerTask], Coroutine[Any, Any, None]],
        *,
        name: str | None = None,
        max_tasks: int | None = None,
        run: Run | None = None,
    ) -> None:
        most = like.max_tasks if max_tasks is None else max_tasks
        super().__init__(client, queue=name or like.name, serialiser=like.serialiser, max_tasks=most)
        self.task_timeout, self.result_ttl = like.task_timeout, like.result_ttl
        self._book = book
        self._flows = book.flows
        self._began = began
        self._run = run
        self._waiters: list[asyncio.Future[None]] = []

    def for_worker(self, run: Run) -> MemoryQueue:
        """An object of the same queue for a worker."""
        return MemoryQueue(self.client, self, self._book, self._began, run=run)

    def _make_sibling(self, name: str) -> Torrelque:
        return MemoryQueue(self.client, self, self._book, self._began, name=name)

    def not_idle(self, task: EagerTask, why: str) -> NotIdleError:
        """The error of a task that comes to no end."""
        message = f'tasks are left: {task.name}, task {task.id!r} of queue {self.name!r}: {why}'
        return NotIdleError(message, {self.name: self._book.stats(self.name)})

    # Producers

    async def enqueue(
        self,
        task: Any,
        *,
        task_timeout: Duration | None = None,
        delay: Duration | None = None,
        task_id: str | None = None,
        max_attempts: int | None = None,
        group: str | None = None,
        priority: int = 0,
        depends_on: Iterable[str] = (),
        pipeline: Any = None,
    ) -> TorrelqueTaskId:
        if pipeline is not None:
            raise self._missing('pipeline')
        if self._closed:
            raise TorrelqueClosedError('the queue was closed')
        lease = self.task_timeout if task_timeout is None else task_timeout
        call = self._calls.enqueue(task, lease, delay, task_id, max_attempts, group, priority)
        payload: Any = call.args[1]
        made = EagerTask(
            self.name, call.task_id, self._load(payload), payload, group, priority,
            seconds_of(delay or 0), max_attempts, seconds_of(lease),
        )  # fmt: skip
        others = [self._book.find(self.name, other) for other in check_depends_on(depends_on)]
        self._book.add(made, self.max_tasks)
        if depend(made, others):
            await self._began(self, made)
        new_id: TorrelqueTaskId = call.task_id
        return new_id

    async def enqueue_many(
        self,
        tasks: Iterable[Any] | AsyncIterable[Any],
        *,
        task_timeout: Duration | None = None,
        delay: Duration | None = None,
        max_attempts: int | None = None,
        group: str | Callable[[Any], str | None] | None = None,
        priority: int | Callable[[Any], int] = 0,
    ) -> list[TorrelqueTaskId]:
        ids: list[TorrelqueTaskId] = []

        async def add(task: Any) -> None:
            its_group = group(task) if callable(group) else group
            its_priority = priority(task) if callable(priority) else priority
            ids.append(
                await self.enqueue(
                    task, task_timeout=task_timeout, delay=delay, max_attempts=max_attempts, group=its_group,
                    priority=its_priority,
                )
            )  # fmt: skip

        try:
            if isinstance(tasks, AsyncIterable):
                async for task in tasks:
                    await add(task)
            else:
                for task in tasks:
                    await add(task)
        except NotIdleError:
            raise
        except Exception as exc:
            raise TorrelqueBulkError([*ids], self.name) from exc
        return ids

    async def cancel(self, task_id: str, *, only: Iterable[TorrelqueTaskStatus] | None = None) -> bool:
        allowed = None if only is None else {*map(int, check_statuses(only, 'only'))}
        try:
            task = self._book.find(self.name, task_id)
        except TorrelqueLookupError:
            return False
        with self._book.lock:
            if task.state.status.isfinal() or allowed is not None and task.state.status not in allowed:
                return False
            task.change(status=CANCELLED, release_time=time.time())
        return True

    def watch(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueWatch:
        book, name = self._book, self.name
        return EagerWatch(lambda: book.find(name, task_id), None if timeout is None else seconds_of(timeout))

    async def wait(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueTaskState:
        last: TorrelqueTaskState | None = None
        async for state in self.watch(task_id, timeout=timeout):
            last = state
        assert last is not None
        return last if last.status.isfinal() else last._replace(status=TorrelqueTaskStatus.COMPLETED)

    async def get_task_state(self, task_id: str) -> TorrelqueTaskState:
        return self._flows.state_of(self.name, task_id) or self._book.find(self.name, task_id).state

    async def get_queue_stats(self) -> TorrelqueQueueStats:
        return self._book.stats(self.name)

    # The worker

    async def dequeue_many(
        self, max_tasks: int, timeout: Duration | None = None
    ) -> list[tuple[TorrelqueTaskId, Any]]:
        if self._run is None:
            await self._wait_in_vain(timeout)
        taken: list[tuple[TorrelqueTaskId, Any]] = []
        with self._book.lock:
            while self._run is not None and self._run.pending and len(taken) < max_tasks:
                task = self._run.pending.popleft()
                if task.state.status is PENDING:
                    taken.append((task.begin(), self._load(task.payload)))
        if not taken:
            raise TorrelqueTimeoutError(f'no task came within {seconds_of(timeout or 0):g} s')
        return taken

    async def touch(self, task_id: str, *, task_timeout: Duration | None = None, progress: Any = None) -> bool:
        data = self._calls.touch(task_id, task_timeout, progress).args[3]
        with self._book.lock:
            task = self._book.held(self.name, task_id)
            if task is not None and data:
                task.change(progress=self._load(data[1:]))
        return task is not None

    async def touch_many(self, task_ids: Iterable[str], *, task_timeout: Duration | None = None) -> list[bool]:
        return [await self.touch(task_id, task_timeout=task_timeout) for task_id in task_ids]

    async def release(
        self,
        task_id: str,
        *,
        result: Any = None,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
        pipeline: Any = None,
    ) -> Any:
        if pipeline is not None:
            raise self._missing('pipeline')
        # Behind id and token: nothing, where nothing is kept, else for how long, and the result.
        kept = self._calls.release(task_id, result, result_ttl, status, self.result_ttl).args[2:]
        data = kept[1] if len(kept) > 1 else b''
        with self._book.lock:
            task = self._book.held(self.name, task_id)
            if task is None:
                return False
            value = self._load(data[1:]) if data else None
            if kept == ['']:
                self._book.forget(task)
            task.change(status=TorrelqueTaskStatus(status), result=value, release_time=time.time())
        return True

    async def release_many(
        self,
        task_ids: Iterable[str],
        *,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
    ) -> list[bool]:
        return [bool(await self.release(each, result_ttl=result_ttl, status=status)) for each in task_ids]

    async def requeue(
        self,
        task_id: str,
        delay: Duration | None = None,
        *,
        task_timeout: Duration | None = None,
        error: str | None = None,
        forgive: bool = False,
        pipeline: Any = None,
    ) -> Any:
        if pipeline is not None:
            raise self._missing('pipeline')
        self._calls.requeue(task_id, delay, task_timeout, error, forgive)
        book = self._book
        with book.lock:
            task = book.held(self.name, task_id)
            if task is None:
                return False
            state = task.state
            history = task.failures(error) if error and not forgive else state.history
            error = state.error if error is None else error
            used = state.dequeue_count - state.forgiven
            if not forgive and state.max_attempts is not None and used >= state.max_attempts:
                task.change(status=DEAD, error=error, history=history)
                return True
            task.change(
                status=PENDING, error=error, requeue_count=state.requeue_count + 1,
                forgiven=state.forgiven + bool(forgive), last_requeue_time=time.time(), history=history,
            )  # fmt: skip
            if task.endless and used >= book.most_attempts and book.stuck is None:
                last = (error or '').strip().rpartition('\n')[2]
                book.stuck = self.not_idle(task, f'it was tried {used} times, and has no max_attempts: {last}')
            if self._run is not None and book.stuck is None:
                self._run.pending.appendleft(task)
        return True

    async def bury(self, task_id: str, *, error: str | None = None, tell_after: Duration | None = None) -> bool:
        self._calls.bury(task_id, error, tell_after)
        with self._book.lock:
            task = self._book.held(self.name, task_id)
            if task is not None:
                task.change(status=DEAD, error=error, history=task.failures(error))
        return task is not None

    async def take_deaths(self, max_tasks: int = 50, *, again_after: Duration = 60) -> list[TorrelqueDeath]:
        return []

    async def acknowledge_deaths(self, task_ids: Iterable[TorrelqueTaskId]) -> None:
        pass

    async def command(self, *words: str | bytes | float) -> Any:
        if words != ('PING',):
            raise self._missing('verb')
        return b'PONG'

    async def aclose(self) -> None:
        await super().aclose()
        for waiter in self._waiters:
            waiter.get_loop().call_soon_threadsafe(waiter.cancel)

    async def _wait_in_vain(self, timeout: Duration | None) -> None:
        """Wait as a worker of the application does: tasks run when they are enqueued, so none ever comes."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=None if timeout is None else seconds_of(timeout))
        finally:
            self._waiters.remove(waiter)
        if self._closed:
            raise TorrelqueClosedError('the queue was closed')

    # Groups

    async def get_limits(self) -> dict[str | None, TorrelqueLimit]:
        return {group: limit for (name, group), limit in self._book.limits.items() if name == self.name}

    async def set_limit(
        self,
        group: str | None = None,
        *,
        concurrency: float | None = None,
        rate: tuple[int, Duration] | float | None = None,
    ) -> None:
        self._calls.limit(group, concurrency, rate)
        self._book.limits[self.name, group] = TorrelqueLimit(concurrency, rate)  # type: ignore[arg-type]

    # Parts

    def _started(self) -> Any:
        raise self._missing('verb')
