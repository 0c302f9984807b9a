"""The queue with shards for synchronous code: class `Sharded`, as `torrelque.sync.Torrelque` is of
`torrelque.Torrelque`."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from torrelque import (
    Duration,
    TorrelqueBulkError,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueFullError,
    TorrelqueSerialiser,
    TorrelqueServerError,
    TorrelqueTaskId,
    TorrelqueTaskStatus,
    TorrelqueTimeoutError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.protocol import check
from torrelque.sync import Torrelque

from . import shards
from .choose import STICK
from .inside import JSON, Routed, ServerStaleError, is_untouched
from .syncflows import Flows
from .syncoperators import Operators
from .threads import Client, Pipeline

Self = TypeVar('Self', bound='Sharded')

__all__ = ['Sharded']

KEYED = 50
"""So many tasks with groups are sent to a shard together."""
REMEMBERED = 10_000
"""So many tasks that were settled are remembered at the most, where others of the same call were not."""


class Sharded(Operators, Flows):
    """A queue over many servers for synchronous code, on the same keys as `torrelque.sharded.Sharded`.

    Every verb that does not wait is here, and `dequeue`; arguments, results and errors are those of the asynchronous
    one.  Any number of threads may share an object.  While one waits for a task, a thread of the object's own waits at
    each shard.  What is done at all shards is done at one after the other.

    :param client: a ``redis.RedisCluster``; or a list of ``redis.Redis``, each of a server of its own, in the same
        order everywhere; or one of these.
    :param queue: the queue's name.
    :param serialiser: an object with ``dumps`` and ``loads``, JSON by default.
    :param max_tasks: how many tasks, dead ones not counted, the queue may have before `enqueue` is refused.  Each shard
        may have an equal part, rounded up.
    :param shards: how many shards there are to be, as of the asynchronous one.
    """

    def __init__(
        self,
        client: Client | Sequence[Client],
        *,
        queue: str = 'trq',
        serialiser: TorrelqueSerialiser = JSON,
        max_tasks: int | None = None,
        shards: int | None = None,
    ) -> None:
        super().__init__(client, queue, serialiser, max_tasks, shards)

    def __repr__(self) -> str:
        return f'<{type(self).__module__}.{type(self).__name__} {self.name!r}>'

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the `dequeue` calls of other threads that wait with a `TorrelqueClosedError`, and disconnect.

        The caller's clients stay open.
        """
        self._closed = True
        self._takers.close()
        for shard in (*self._shards, *self._closed_shards.values()):
            shard.close()

    # Producers

    def enqueue(
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
    ) -> TorrelqueTaskId:
        """Store a task and make it available, as the asynchronous one; the pipeline is a synchronous one."""
        if task_id is None and group is None and depends_on == ():
            if pipeline is not None:
                raise TorrelqueValueError(
                    'a transaction is of one server, and a task without a group and an id may be on any: give it one'
                )
            return self._anywhere(
                lambda shard: shard.enqueue(
                    task, task_timeout=task_timeout, delay=delay, max_attempts=max_attempts, priority=priority
                )
            )
        others = check.check_depends_on(depends_on) if depends_on != () else []
        # Where an id of a delivery has been is no matter: this is a new task.
        own = None if task_id is None else str.__str__(check.check_id(task_id))
        if group is not None:
            check.check_name(group, 'a group')

        def enqueue() -> TorrelqueTaskId:
            shard, its_group, its_id = self._place_for(group, own, others)
            return shard.enqueue(
                task, task_timeout=task_timeout, delay=delay, task_id=its_id, max_attempts=max_attempts,
                group=its_group, priority=priority, depends_on=others, pipeline=pipeline,
            )  # fmt: skip

        return self._heeding(enqueue)

    def enqueue_many(
        self,
        tasks: Iterable[Any],
        *,
        task_timeout: Duration | None = None,
        delay: Duration | None = None,
        max_attempts: int | None = None,
        group: str | Callable[[Any], str | None] | None = None,
        priority: int | Callable[[Any], int] = 0,
    ) -> list[TorrelqueTaskId]:
        """Store tasks of an iterable of any length, as the asynchronous one; the iterable is a plain one.

        The ids of an error are those of the first tasks of the iterable, without gaps; where the group is a function
        of the task, they are those of any.
        """
        lease = self.task_timeout if task_timeout is None else task_timeout

        def send(shard: Torrelque, some: Iterable[Any], of: Any) -> list[TorrelqueTaskId]:
            return shard.enqueue_many(
                some, task_timeout=lease, delay=delay, max_attempts=max_attempts, group=of, priority=priority
            )

        # Refuses options that cannot be meant, and sends nothing.
        send(self._all()[0], (), group)
        if not isinstance(tasks, Iterable):
            raise TorrelqueTypeError(f'tasks must be an iterable, not {type(tasks).__name__}')
        sender = _Sender(self, send, group)
        try:
            try:
                for task in tasks:
                    sender.add(task)
            finally:
                # Tasks that were taken from an iterable that failed would be lost to its owner, so send them.
                sender.finish()
        except Exception as exc:
            raise TorrelqueBulkError([*sender.task_ids], self.name) from exc
        return sender.task_ids

    def cancel(self, task_id: str, *, only: Iterable[TorrelqueTaskStatus] | None = None) -> bool:
        """Take a task back, as the asynchronous one."""
        # It is gone through by each shard that is asked.
        only = [*only] if isinstance(only, Iterable) and not isinstance(only, (str, bytes)) else only
        count = len(self._all())
        number, certain = self._number_of_id(task_id, now=True)
        others = [] if certain else [other for other in range(count) if other != number]
        return any(self._at(one).cancel(task_id, only=only) for one in (number, *others))

    # Consumers

    @overload
    def dequeue(self, timeout: Duration | None = None, *, max_tasks: Literal[1] = 1) -> tuple[TorrelqueTaskId, Any]: ...

    @overload
    def dequeue(self, timeout: Duration | None = None, *, max_tasks: int) -> Any: ...

    def dequeue(self, timeout: Duration | None = None, *, max_tasks: int = 1) -> Any:
        """Wait for a task at all shards and take it, as the asynchronous one.

        A ``KeyboardInterrupt`` gives back what was taken, uncounted.
        """
        if timeout is not None:
            timeout = check.milliseconds(timeout, 'timeout') / 1000
        check.check_count(max_tasks, 'max_tasks')
        self._all()
        try:
            deliveries = self._takers.fetch(timeout, max_tasks)
        except (TorrelqueTimeoutError, TorrelqueClosedError) as exc:
            exc.queue = self.name
            raise
        return deliveries[0] if max_tasks == 1 else deliveries

    def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        """Wait for tasks and take them, all of one shard: a list of ``(id, task)`` pairs, of one too."""
        # By `dequeue`, for subclasses that do something of their own there.
        deliveries = self.dequeue(timeout, max_tasks=max_tasks)
        return [deliveries] if max_tasks == 1 else deliveries

    @overload
    def requeue(
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
    def requeue(
        self,
        task_id: str,
        delay: Duration | None = None,
        *,
        task_timeout: Duration | None = None,
        error: str | None = None,
        forgive: bool = False,
        pipeline: Pipeline,
    ) -> None: ...

    def requeue(
        self,
        task_id: str,
        delay: Duration | None = None,
        *,
        task_timeout: Duration | None = None,
        error: str | None = None,
        forgive: bool = False,
        pipeline: Pipeline | None = None,
    ) -> bool | None:
        """Give a task back, as the asynchronous one."""
        shard: Any = self._holder(task_id)
        done: bool | None = shard.requeue(
            task_id, delay, task_timeout=task_timeout, error=error, forgive=forgive, pipeline=pipeline
        )
        return done

    @overload
    def release(
        self,
        task_id: str,
        *,
        result: Any = None,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
        pipeline: None = None,
    ) -> bool: ...

    @overload
    def release(
        self,
        task_id: str,
        *,
        result: Any = None,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
        pipeline: Pipeline,
    ) -> None: ...

    def release(
        self,
        task_id: str,
        *,
        result: Any = None,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
        pipeline: Pipeline | None = None,
    ) -> bool | None:
        """Finish a task, as the asynchronous one."""
        if self._settled and pipeline is None:
            known = self._settled.pop(('release', task_id, getattr(task_id, 'token', '')), None)
            if known is not None:
                return known
        shard: Any = self._holder(task_id)
        done: bool | None = shard.release(
            task_id, result=result, result_ttl=result_ttl, status=status, pipeline=pipeline
        )
        return done

    def release_many(
        self,
        task_ids: Iterable[str],
        *,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
    ) -> list[bool]:
        """Finish tasks, at one of their shards after the other; for each what `release` would have returned."""
        return self._settle_many(
            'release', task_ids, lambda shard, ids: shard.release_many(ids, result_ttl=result_ttl, status=status)
        )

    def touch(self, task_id: str, *, task_timeout: Duration | None = None, progress: Any = None) -> bool:
        """Renew a lease, as the asynchronous one."""
        return self._holder(task_id).touch(task_id, task_timeout=task_timeout, progress=progress)

    def touch_many(self, task_ids: Iterable[str], *, task_timeout: Duration | None = None) -> list[bool]:
        """Renew leases, at one of their shards after the other; for each what `touch` would have returned."""
        return self._settle_many(
            'touch', task_ids, lambda shard, ids: shard.touch_many(ids, task_timeout=task_timeout)
        )

    def bury(self, task_id: str, *, error: str | None = None, tell_after: Duration | None = None) -> bool:
        """Take a task out of the flow, as the asynchronous one."""
        return self._holder(task_id).bury(task_id, error=error, tell_after=tell_after)

    def _settle_many(
        self, verb: str, task_ids: Iterable[str], call: Callable[[Torrelque, list[str]], list[bool]]
    ) -> list[bool]:
        ids, memory = check.check_ids(task_ids), self._settled
        done: dict[int, bool] = {}
        for place, task_id in enumerate(ids if memory else ()):
            if (known := memory.pop((verb, task_id, getattr(task_id, 'token', '')), None)) is not None:
                done[place] = known
        left = [place for place in range(len(ids)) if place not in done]
        error: Exception | None = None
        for number, places in self._by_shard([ids[place] for place in left]).items():
            own = [left[place] for place in places]
            try:
                done.update(zip(own, call(self._at(number), [ids[place] for place in own]), strict=True))
            except (TorrelqueConnectionError, TorrelqueServerError) as exc:
                error = error or exc
        if error is not None:
            if verb == 'release':
                # The error hides what became of the others; whoever repeats the call is to be told that they are done.
                for place, was_done in done.items():
                    memory[verb, ids[place], getattr(ids[place], 'token', '')] = was_done
                for key in [*itertools.islice(memory, max(0, len(memory) - REMEMBERED))]:
                    memory.pop(key, None)
            raise error
        return [done[place] for place in range(len(ids))]


class _Sender:
    """Sends tasks of an iterable to the shards of their groups, those without to any, in runs."""

    def __init__(
        self, queue: Sharded, send: Callable[[Torrelque, Iterable[Any], Any], list[TorrelqueTaskId]], group: Any
    ) -> None:
        self._queue, self._send, self._group = queue, send, group
        self._keyed = queue._shape.keyed
        """By how many shards it is decided which tasks go together; where groups come to others meanwhile, those of one
        call may be for several."""
        self._count = 0
        self._waiting: dict[int | None, list[tuple[int, Any, str | None]]] = {}
        """Tasks that are not sent yet by the number of their shard, None being any: number, task and group."""
        self._ids: dict[int, TorrelqueTaskId] = {}

    @property
    def task_ids(self) -> list[TorrelqueTaskId]:
        """Ids of the tasks that are known to be in."""
        return [self._ids[number] for number in sorted(self._ids)]

    def add(self, task: Any) -> None:
        """Take a task, and send some when it is time."""
        group: Any = self._group(task) if callable(self._group) else self._group
        shard = None if group is None else shards.of_group(group, self._keyed)
        waiting = self._waiting.setdefault(shard, [])
        waiting.append((self._count, task, group))
        self._count += 1
        if len(waiting) >= (KEYED if callable(self._group) and shard is not None else STICK):
            self._go(shard)

    def finish(self) -> None:
        """Send all that is left."""
        while self._waiting:
            self._go(next(iter(self._waiting)))

    def _go(self, shard: int | None) -> None:
        some = self._waiting.pop(shard)
        try:
            if shard is None:
                self._queue._anywhere(lambda to: self._send_run(to, some, None), fresh=True)
            else:
                self._queue._heeding(lambda: self._send_keyed(some))
        except TorrelqueBulkError as exc:
            self._waiting.clear()
            raise (exc.__cause__ or exc) from None
        except BaseException:
            self._waiting.clear()
            raise

    def _send_keyed(self, some: list[tuple[int, Any, str | None]]) -> None:
        """Send those that are not in, to the shards that have their groups now."""
        keyed = self._queue._shape.keyed
        by_shard: dict[int, list[tuple[int, Any, str | None]]] = {}
        for number, task, group in some:
            assert group is not None
            by_shard.setdefault(shards.of_group(group, keyed), []).append((number, task, group))
        for number, its in by_shard.items():
            self._send_run(self._queue._at(number), its, keyed)

    def _send_run(self, to: Torrelque, some: list[tuple[int, Any, str | None]], keyed: int | None) -> None:
        left = [one for one in some if one[0] not in self._ids]
        groups = iter([None if keyed is None else Routed(group or '', keyed) for _, _, group in left])
        # The caller's function is asked once for each task.
        group: Any = None if keyed is None else lambda _: next(groups)
        try:
            task_ids, error = self._send(to, [task for _, task, _ in left], group), None
        except TorrelqueBulkError as exc:
            task_ids, error = [*map(TorrelqueTaskId, exc.task_ids)], exc
        self._ids.update(zip([number for number, _, _ in left], task_ids, strict=False))
        if error is not None:
            cause = error.__cause__
            elsewhere = keyed is None and (isinstance(cause, TorrelqueFullError) or is_untouched(cause))
            raise cause if elsewhere or isinstance(cause, ServerStaleError) else error  # type: ignore[misc]
