"""What every queue for coroutines is, however many servers it has: class `TorrelqueQueue`, which layers take and check
for."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from torrelque.model import (
    Duration,
    TorrelqueDeath,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueQueueStats,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueWatch,
)

from .client import Pipeline
from .flows import Flows
from .schedules import Schedules

if TYPE_CHECKING:
    from torrelque.base import Time
    from torrelque.codec import TorrelqueSerialiser

Self = TypeVar('Self', bound='TorrelqueQueue')


class TorrelqueQueue(Schedules, Flows):
    """A queue for coroutines: a `Torrelque`, or a `torrelque.sharded.Sharded`, which is many of them.

    It is for annotations and for ``isinstance``; nobody makes one.  Its verbs are those of `Torrelque`, where it is
    told what each does.
    """

    @property
    def shards(self) -> tuple['TorrelqueQueue', ...]:
        """The queues of which it is made, each in one place of one server: of a `Torrelque` it is that one alone.

        :raises TorrelqueError: they are not known yet, because nothing was asked of the queue so far, nor ``ready``.
        """
        return (self,)

    @property
    def home(self) -> 'TorrelqueQueue':
        """The first of ``shards``, where there is what the queue has once: its schedules, and what layers keep.

        :raises TorrelqueError: as of ``shards``.
        """
        return self.shards[0]

    def shard_of(self, task_id: str | None = None, group: str | None = None) -> 'TorrelqueQueue':
        """Which of ``shards`` has the tasks of a group, or a task; with both, the task of that group.

        An id of the caller's own that was enqueued with a group is where its group is, so say both.

        :raises TorrelqueError: as of ``shards``.
        """
        return self

    async def ready(self) -> None:
        """See to it that ``shards`` are known; of a `Torrelque` they are.  Whatever else is awaited does so, too."""

    if TYPE_CHECKING:
        sweep_interval = Time()
        """Time between two sweeps (s) where `schedule_sweep` was not given another."""

        async def __aenter__(self: Self) -> Self: ...

        async def __aexit__(
            self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
        ) -> None: ...

        async def aclose(self) -> None: ...

        def sibling(self, name: str) -> 'TorrelqueQueue': ...

        def another(
            self,
            name: str | None = None,
            *,
            client: Any = None,
            serialiser: TorrelqueSerialiser | None = None,
            max_tasks: int | None = None,
        ) -> 'TorrelqueQueue': ...

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
            pipeline: Pipeline | None = None,
        ) -> TorrelqueTaskId: ...

        async def enqueue_many(
            self,
            tasks: Iterable[Any] | AsyncIterable[Any],
            *,
            task_timeout: Duration | None = None,
            delay: Duration | None = None,
            max_attempts: int | None = None,
            group: str | Callable[[Any], str | None] | None = None,
            priority: int | Callable[[Any], int] = 0,
        ) -> list[TorrelqueTaskId]: ...

        async def cancel(self, task_id: str, *, only: Iterable[TorrelqueTaskStatus] | None = None) -> bool: ...

        def watch(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueWatch: ...

        async def wait(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueTaskState: ...

        # Consumers

        @overload
        async def dequeue(
            self, timeout: Duration | None = None, *, max_tasks: Literal[1] = 1
        ) -> tuple[TorrelqueTaskId, Any]: ...

        @overload
        async def dequeue(self, timeout: Duration | None = None, *, max_tasks: int) -> Any: ...

        async def dequeue(self, timeout: Duration | None = None, *, max_tasks: int = 1) -> Any: ...

        async def dequeue_many(
            self, max_tasks: int, timeout: Duration | None = None
        ) -> list[tuple[TorrelqueTaskId, Any]]: ...

        @overload
        async def requeue(
            self,
            task_id: str,
            delay: Duration | None = None,
            *,
            task_timeout: Duration | None = None,
            error: str | None = None,
            forgive: bool = False,
            pipeline: None = None,
        ) -> bool: ...

        @overload
        async def requeue(
            self,
            task_id: str,
            delay: Duration | None = None,
            *,
            task_timeout: Duration | None = None,
            error: str | None = None,
            forgive: bool = False,
            pipeline: Pipeline,
        ) -> None: ...

        async def requeue(
            self,
            task_id: str,
            delay: Duration | None = None,
            *,
            task_timeout: Duration | None = None,
            error: str | None = None,
            forgive: bool = False,
            pipeline: Pipeline | None = None,
        ) -> bool | None: ...

        @overload
        async def release(
            self,
            task_id: str,
            *,
            result: Any = None,
            result_ttl: Duration | None = None,
            status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
            pipeline: None = None,
        ) -> bool: ...

        @overload
        async def release(
            self,
            task_id: str,
            *,
            result: Any = None,
            result_ttl: Duration | None = None,
            status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
            pipeline: Pipeline,
        ) -> None: ...

        async def release(
            self,
            task_id: str,
            *,
            result: Any = None,
            result_ttl: Duration | None = None,
            status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
            pipeline: Pipeline | None = None,
        ) -> bool | None: ...

        async def release_many(
            self,
            task_ids: Iterable[str],
            *,
            result_ttl: Duration | None = None,
            status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
        ) -> list[bool]: ...

        async def touch(self, task_id: str, *, task_timeout: Duration | None = None, progress: Any = None) -> bool: ...

        async def touch_many(self, task_ids: Iterable[str], *, task_timeout: Duration | None = None) -> list[bool]: ...

        async def bury(self, task_id: str, *, error: str | None = None, tell_after: Duration | None = None) -> bool: ...

        # Operators: groups

        async def set_limit(
            self,
            group: str | None = None,
            *,
            concurrency: float | None = None,
            rate: tuple[int, Duration] | float | None = None,
        ) -> None: ...

        async def get_limits(self) -> dict[str | None, TorrelqueLimit]: ...

        async def pause(self, group: str | None = None, *, probe: Duration | None = None) -> None: ...

        async def resume(self, group: str | None = None, *, probing: bool = False) -> bool: ...

        async def get_group_stats(self, group: str) -> TorrelqueGroupStats: ...

        def groups(self) -> AsyncGenerator[str, None]: ...

        # Operators: tasks

        async def redrive(self, *task_ids: str, limit: int | None = None) -> int: ...

        async def take_deaths(self, max_tasks: int = 50, *, again_after: Duration = 60) -> list[TorrelqueDeath]: ...

        async def acknowledge_deaths(self, task_ids: Iterable[TorrelqueTaskId]) -> None: ...

        async def sweep(self) -> TorrelqueSweepResult: ...

        def schedule_sweep(self, interval: Duration | None = None) -> None: ...

        def unschedule_sweep(self) -> None: ...

        async def get_queue_stats(self) -> TorrelqueQueueStats: ...

        async def get_task_state(self, task_id: str) -> TorrelqueTaskState: ...

        # The server

        async def command(self, *words: str | bytes | float) -> Any: ...
