"""The queue with shards for coroutines: class `Sharded`; here are the verbs of producers and consumers."""

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from torrelque import (
    Duration,
    Torrelque,
    TorrelqueClosedError,
    TorrelqueSerialiser,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueTimeoutError,
    TorrelqueValueError,
    TorrelqueWatch,
)
from torrelque.protocol import check

from . import bulk, inside
from .base import Client, Pipeline
from .dispatch import Dispatcher
from .flows import Flows
from .grow import Growth
from .inside import JSON
from .schedules import Schedules
from .watch import Watch

Self = TypeVar('Self', bound='Sharded')


class Sharded(Growth, Schedules, Flows):
    """A work queue over many servers: the primaries of a Cluster, or servers that know nothing of each other.

    It is made of shards, each a whole queue in one slot of a Cluster or on one of the servers, and it has the verbs of
    `torrelque.Torrelque`.  A group is in one shard, by its name, so its order, its limits and its rates are as exact as
    there.  A task without a group is in any shard, and its id tells in which.  What differs is said at each verb; what
    does so for all of the queue is that the order of tasks without a group, priorities and the turns of groups are
    those of each shard, that a count of the whole queue is a sum of counts that are not of one moment, and that
    one server that is away stops what is on it alone.

    The first call reads the map of the shards, or writes it where there is none: which they are never changes by
    itself, and whoever says otherwise is refused.  Durations, event loops, lost connections and cancelled calls are as
    with a `torrelque.Torrelque`.

    :param client: a ``redis.asyncio.RedisCluster``; or a list of ``redis.asyncio.Redis``, each of a server of its own,
        in the same order everywhere; or one of these.  Any may be what a Sentinel gives.
    :param queue: the queue's name.
    :param serialiser: an object with ``dumps`` and ``loads``, JSON by default.
    :param max_tasks: how many tasks, dead ones not counted, the queue may have before `enqueue` is refused.  Each shard
        may have an equal part, rounded up.
    :param shards: how many shards there are to be, at most 192: more than there will ever be primaries, and best a
        multiple of 12.  None takes what is there; where nothing is, 12, or one for each server of a list.
    """

    client: Any
    """What the object was made with: a client, or a list of some."""
    if not TYPE_CHECKING:
        sweep_interval: float = 30
        """Time between two sweeps (s) where `schedule_sweep` was not given another."""

        # Checkers that knew of this would let any attribute be set.
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name in ('task_timeout', 'result_ttl', 'sweep_interval'):
                for shard in self._shards:
                    setattr(shard, name, value)

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

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the waiting `dequeue` calls and the watches with a `TorrelqueError`, and disconnect from all servers.

        What was taken for the waiting calls is given back.  The caller's clients stay open.  Calls that are on their
        way are waited for, some seconds at the most, at all shards at once.
        """
        self._closed = True
        self.unschedule_sweep()
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait([self._opening])
        looking = [*self._probes.values(), *self._refusing.values(), *self._greetings.values()]
        for look in looking:
            look.cancel()
        await self._stop_following()
        siblings, self._siblings = self._siblings, {}
        if self._dispatcher is not None:
            await self._dispatcher.close()
        await asyncio.gather(*(queue.aclose() for queue in (*siblings.values(), *self._shards)))
        if looking:
            await asyncio.wait(looking)

    def another(
        self,
        name: str | None = None,
        *,
        client: Any = None,
        serialiser: TorrelqueSerialiser | None = None,
        max_tasks: int | None = None,
    ) -> 'Sharded':
        """A new object of the same queue, for another event loop, or for another ``max_tasks``; or of another queue of
        the same servers.  It has the times of this one, and whoever asks for it closes it.

        :param name: the name of the other queue, which will have as many shards as this one where it has none yet.
        :param client: another client, or a list of as many; those of a Cluster, or of Sentinels, belong to one event
            loop.
        :param serialiser: another one, as of the other queue.
        :param max_tasks: another limit; None is that of this object.
        """
        # Whichever object is used first writes down how many shards there are, so each must know it.
        count = self._count if name in (None, self.name) else len(self._shards) or self._count
        other = Sharded(
            self.client if client is None else client, queue=self.name if name is None else name, shards=count,
            serialiser=serialiser or self.serialiser, max_tasks=self.max_tasks if max_tasks is None else max_tasks,
        )  # fmt: skip
        other.task_timeout, other.result_ttl = self.task_timeout, self.result_ttl
        other.sweep_interval = self.sweep_interval
        return other

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
    ) -> TorrelqueTaskId:
        """Store a task and make it available, as `torrelque.Torrelque.enqueue`, at once or after a delay.

        A task without a group and an id goes to any shard that is there; one with a group to the shard of that, and one
        with an id of the caller's own to the shard of the id.  So these two wait for their server when it is away, and
        then raise `TorrelqueConnectionError`, and `TorrelqueServerError` when it takes no writes; the others go on.

        :param task_id: an id of the caller's own.  It is unique in the queue where the task has no group, and with a
            group among the tasks of its shard.
        :param priority: from -100 to 100, the higher first, among the tasks of the shard.
        :param depends_on: ids of tasks and flows, all of one shard, as those of one flow are; the task is there, too.
        :param pipeline: a pipeline of the client of the shard: only with a group or a ``task_id``, by which
            `shard_of` tells which keys may be in the same transaction.
        :raises TorrelqueDuplicateError: the queue knows the ``task_id``; nothing was changed.
        :raises TorrelqueFullError: no shard has room, or the one that it must be in has none; nothing was changed.
        :raises TorrelqueLookupError: the queue knows nothing of a task of ``depends_on``; nothing was changed.
        :raises TorrelqueValueError: the tasks of ``depends_on`` are of different flows, or of different shards, or the
            group is of another shard; or there is a ``pipeline``, and nothing that says where the task belongs.
        """
        if task_id is None and group is None and depends_on == ():
            if pipeline is not None:
                raise TorrelqueValueError(
                    'a transaction is of one server, and a task without a group and an id may be on any: give it one'
                )
            return await self._anywhere(
                lambda shard: shard.enqueue(
                    task, task_timeout=task_timeout, delay=delay, max_attempts=max_attempts, priority=priority
                )
            )
        others = check.check_depends_on(depends_on) if depends_on != () else []
        if task_id is not None:
            # Where an id of a delivery has been is no matter: this is a new task.
            task_id = str.__str__(check.check_id(task_id))
        if group is not None and not others and self._shards and not self._unproven:
            # As below, without its coroutines: as a rule there is nothing to look for, and nothing is refused.
            shard = self._shards[self._number_of_group(group)]
            try:
                return await shard.enqueue(
                    task, task_timeout=task_timeout, delay=delay, task_id=task_id, max_attempts=max_attempts,
                    group=self._routed(group), priority=priority, pipeline=pipeline,
                )  # fmt: skip
            except inside.ServerStaleError:
                pass

        async def enqueue() -> TorrelqueTaskId:
            shard, its_group, its_id = await self._place_for(group, task_id, others)
            return await shard.enqueue(
                task, task_timeout=task_timeout, delay=delay, task_id=its_id, max_attempts=max_attempts,
                group=its_group, priority=priority, depends_on=others, pipeline=pipeline,
            )  # fmt: skip

        return await self._heeding(enqueue)

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
        """Store tasks of an iterable of any length; the ids, in its order.

        Tasks without a group go to one shard after the other in runs of 250, of which one is on its way while the next
        is begun.  Where the group is a function of the task, they go to the shards of their groups at once, and the
        order is kept within each group.

        :param group: as in `enqueue`, or a function of the task.
        :param priority: as in `enqueue`, or a function of the task.
        :raises TorrelqueBulkError: it failed on the way.  It has the ids of the tasks that are in, and the reason as
            its cause.  They are those of the first tasks of the iterable, and the next run may be in as well; where
            the group is a function of the task, they are those of any.

        When cancelled, the tasks of the last calls may be in.
        """
        lease = self.task_timeout if task_timeout is None else task_timeout
        options = bulk.Options(lease, delay, max_attempts, group, priority)
        return await bulk.enqueue_all(self, tasks, options)

    async def cancel(self, task_id: str, *, only: Iterable[TorrelqueTaskStatus] | None = None) -> bool:
        """Take a task back, as `torrelque.Torrelque.cancel`: True if it was there and not final.

        An id of the caller's own is asked for at the shard that it has without a group, then at all others at once.
        """
        # It is gone through by each shard that is asked.
        only = [*only] if isinstance(only, Iterable) and not isinstance(only, (str, bytes)) else only
        found = self._shards or await self._open()
        number, certain = self._number_of_id(task_id, now=True)
        if await (await self._at(number)).cancel(task_id, only=only):
            return True
        return not certain and await self._cancel_elsewhere(task_id, only, {*range(len(found))} - {number})

    async def _cancel_elsewhere(
        self, task_id: str, only: Iterable[TorrelqueTaskStatus] | None, numbers: Iterable[int]
    ) -> bool:
        async def cancel(number: int) -> bool:
            return await self._soon(number, lambda shard: shard.cancel(task_id, only=only))

        done = await asyncio.gather(*map(cancel, numbers), return_exceptions=True)
        if True in done:
            return True
        for error in done:
            if isinstance(error, BaseException):
                raise error
        return False

    def watch(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueWatch:
        """Follow a task, as `torrelque.Torrelque.watch`: its state at once, then after every change.

        All watches of tasks of one shard share one connection.  An id of the caller's own is looked for as in
        ``cancel``.
        """
        limit = None if timeout is None else check.milliseconds(timeout, 'timeout') / 1000
        return Watch(self._seek, check.check_id(task_id), limit)

    async def wait(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueTaskState:
        """Wait until a task is final, as `torrelque.Torrelque.wait`; its final state.

        An id of the caller's own is looked for as in ``cancel``.
        """
        limit = None if timeout is None else check.milliseconds(timeout, 'timeout') / 1000
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def wait(shard: Torrelque) -> TorrelqueTaskState:
            left = None if limit is None else max(0.0, limit - (loop.time() - began))
            return await shard.wait(task_id, timeout=left)

        return await self._seek(task_id, wait)

    # Consumers

    @overload
    async def dequeue(
        self, timeout: Duration | None = None, *, max_tasks: Literal[1] = 1
    ) -> tuple[TorrelqueTaskId, Any]: ...

    @overload
    async def dequeue(self, timeout: Duration | None = None, *, max_tasks: int) -> Any: ...

    async def dequeue(self, timeout: Duration | None = None, *, max_tasks: int = 1) -> Any:
        """Wait for a task at all shards and take it, as `torrelque.Torrelque.dequeue`: its id and the task.

        The id knows its shard, and its group; pickled it keeps both.

        :param timeout: how long to wait (s): None is for ever, 0 not at all, but for the answers of the servers.
        :param max_tasks: when more than 1, a list is returned, of tasks of one shard.
        :raises TorrelqueTimeoutError: no task came in time.  Where no server gave a reply in that time or, with a
            timeout of 0, one of them gave none, nobody knows whether there is one: the message says so, ``replied`` is
            False, and ``__cause__`` is the reason.
        """
        if timeout is not None:
            timeout = check.milliseconds(timeout, 'timeout') / 1000
        check.check_count(max_tasks, 'max_tasks')
        found = self._shards or await self._open()
        if self._dispatcher is None:
            self._dispatcher = Dispatcher(found)
        try:
            deliveries = await self._dispatcher.fetch(timeout, max_tasks)
        except (TorrelqueTimeoutError, TorrelqueClosedError) as exc:
            exc.queue = self.name
            raise
        return deliveries[0] if max_tasks == 1 else deliveries

    async def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        """Wait for tasks and take them, all of one shard: a list of ``(id, task)`` pairs, of one too.

        It waits for one task at all shards, and returns what its shard has then: at least one, and no more than
        ``max_tasks``.

        :param max_tasks: how many at the most, at least 1; some hundred are taken in one call.
        :param timeout: how long to wait (s), as in `dequeue`, whose errors it has.
        """
        # By `dequeue`, for subclasses that do something of their own there.
        deliveries = await self.dequeue(timeout, max_tasks=max_tasks)
        return [deliveries] if max_tasks == 1 else deliveries

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
    ) -> bool | None:
        """Give a task back, as `torrelque.Torrelque.requeue`, to be tried again now or after a delay.

        It goes to the end of its shard.

        :param pipeline: a pipeline of the client of the shard, see `shard_of`; then None is returned.
        """
        shard: Any = await self._holder(task_id)
        done: bool | None = await shard.requeue(
            task_id, delay, task_timeout=task_timeout, error=error, forgive=forgive, pipeline=pipeline
        )
        return done

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
    ) -> bool | None:
        """Finish a task, well or not, as `torrelque.Torrelque.release`.

        :param pipeline: a pipeline of the client of the shard, see `shard_of`; then None is returned.
        """
        if self._settled and pipeline is None:
            known = self._settled.pop(('release', task_id, getattr(task_id, 'token', '')), None)
            if known is not None:
                return known
        shard: Any = await self._holder(task_id)
        done: bool | None = await shard.release(
            task_id, result=result, result_ttl=result_ttl, status=status, pipeline=pipeline
        )
        return done

    async def release_many(
        self,
        task_ids: Iterable[str],
        *,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
    ) -> list[bool]:
        """Finish tasks, at all of their shards at once; for each what `release` would have returned.

        Where a shard is away, those of the others are finished all the same before the error is raised, and whoever
        repeats the call is told so.
        """
        return await bulk.settle_all(
            self, 'release', task_ids, lambda shard, ids: shard.release_many(ids, result_ttl=result_ttl, status=status)
        )

    async def touch(self, task_id: str, *, task_timeout: Duration | None = None, progress: Any = None) -> bool:
        """Renew a lease, as `torrelque.Torrelque.touch`: it ends ``task_timeout`` (s) from now, once."""
        return await (await self._holder(task_id)).touch(task_id, task_timeout=task_timeout, progress=progress)

    async def touch_many(self, task_ids: Iterable[str], *, task_timeout: Duration | None = None) -> list[bool]:
        """Renew leases, at all shards of the tasks at once; for each what `touch` would have returned."""
        return await bulk.settle_all(
            self, 'touch', task_ids, lambda shard, ids: shard.touch_many(ids, task_timeout=task_timeout)
        )

    async def bury(self, task_id: str, *, error: str | None = None, tell_after: Duration | None = None) -> bool:
        """Take a task out of the flow, as `torrelque.Torrelque.bury`: it is dead until it is redriven or cancelled."""
        return await (await self._holder(task_id)).bury(task_id, error=error, tell_after=tell_after)
