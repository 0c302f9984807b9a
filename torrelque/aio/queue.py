"""The queue for coroutines: class `Torrelque`, its verbs, each a docstring and a line or two."""

import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from torrelque.codec import JSON, TorrelqueSerialiser
from torrelque.error import TorrelqueClosedError, TorrelqueLookupError, of_queue
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
from torrelque.protocol import check, flows, replies, steps
from torrelque.protocol.lease import renewed, renewing

from . import bulk
from .client import Client, Pipeline, add_to_pipeline, check_client
from .common import TorrelqueQueue
from .session import Session
from .sweeper import Sweeper
from .watch import Watch

if TYPE_CHECKING:
    from torrelque.base import Time

Self = TypeVar('Self', bound='Torrelque')


class Torrelque(TorrelqueQueue):
    """A work queue on Redis, Valkey or KeyDB.

    Delivery is at least once, with leases and fencing: a task is handed to one consumer at a time, and again only
    after its lease has ended by the server's clock or its owner gave it back, until an owner releases it; whoever no
    longer owns a task cannot change it, and is told so.

    A duration is a number of seconds or a ``datetime.timedelta``, an instant a Unix time of the server (s).  An object
    belongs to the event loop that it was first used in; any number of coroutines may share it, and should: their calls
    share round trips, and their waiting one connection.  A call that loses its connection is repeated for about ten
    seconds, then it raises `TorrelqueConnectionError`; whoever then settles the task by the same verb again is told
    what became of the first.  Errors of the server are `TorrelqueServerError`.  The effect of a call that is cancelled
    is unknown, unless said otherwise, but it is that of the whole call or of none.

    :param client: a ``redis.asyncio.Redis`` (what a Sentinel gives is one) or ``redis.asyncio.RedisCluster``.  Its
        address, TLS, authentication and database are used, over connections of our own; its timeouts and retries are
        not.  It stays open.
    :param queue: the queue's name.
    :param serialiser: an object with ``dumps`` and ``loads``, JSON by default; ``pickle`` or ``orjson`` will do.
    :param max_tasks: how many tasks, dead ones not counted, the queue may have before `enqueue` is refused.
    """

    client: Client
    """What the object was made with."""
    if TYPE_CHECKING:
        sweep_interval = Time()
    else:
        sweep_interval: float = 30
        """Time between two sweeps (s) where `schedule_sweep` was not given another."""

    def __init__(
        self,
        client: Client,
        *,
        queue: str = 'trq',
        serialiser: TorrelqueSerialiser = JSON,
        max_tasks: int | None = None,
    ) -> None:
        check_client(client)
        super().__init__(client, queue, serialiser, max_tasks)
        self._session: Session | None = None
        self._sweeper: Sweeper | None = None
        self._siblings: dict[str, Torrelque] = {}
        self._closed = False

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the waiting `dequeue` calls and the watches with a `TorrelqueError`, and disconnect.

        What was taken for the waiting calls is given back.  The caller's client stays open.  Calls that are on their
        way are waited for, some seconds at the most.
        """
        self.unschedule_sweep()
        siblings, self._siblings = self._siblings, {}
        for sibling in siblings.values():
            await sibling.aclose()
        if self._session is not None:
            await self._session.close()
        self._closed = True

    def sibling(self, name: str) -> 'Torrelque':
        """Another queue of the same server, or of the same Cluster: an object that has the client, the serialiser, the
        limit and the times of this one, and is closed with it; each call gives the same.

        :param name: the name of the queue.
        :raises TorrelqueTypeError: the name is no text.
        :raises TorrelqueValueError: it is no name of a queue.
        """
        sibling = self._siblings.get(name) if isinstance(name, str) else None
        if sibling is None:
            sibling = self._make_sibling(name)
            sibling.task_timeout, sibling.result_ttl = self.task_timeout, self.result_ttl
            self._siblings[name] = sibling
        return sibling

    def another(
        self,
        name: str | None = None,
        *,
        client: Any = None,
        serialiser: TorrelqueSerialiser | None = None,
        max_tasks: int | None = None,
    ) -> 'Torrelque':
        """A new object of the same queue, for another event loop, or for another ``max_tasks``; or of another queue of
        the same server.  It has the times of this one, and whoever asks for it closes it.

        :param name: the name of the other queue.
        :param client: another client; one of a Cluster, or of Sentinels, belongs to one event loop.
        :param serialiser: another one, as of the other queue.
        :param max_tasks: another limit; None is that of this object.
        """
        other = Torrelque(
            self.client if client is None else client, queue=self.name if name is None else name,
            serialiser=serialiser or self.serialiser, max_tasks=self.max_tasks if max_tasks is None else max_tasks,
        )  # fmt: skip
        other.task_timeout, other.result_ttl = self.task_timeout, self.result_ttl
        other.sweep_interval = self.sweep_interval
        return other

    def _make_sibling(self, name: str) -> 'Torrelque':
        return Torrelque(self.client, queue=name, serialiser=self.serialiser, max_tasks=self.max_tasks)

    @property
    def shards(self) -> 'tuple[Torrelque, ...]':
        """The queue alone, for whoever takes a `torrelque.sharded.Sharded` as well, which has many."""
        return (self,)

    @property
    def home(self) -> 'Torrelque':
        """The queue itself, as `shards`."""
        return self

    def shard_of(self, task_id: str | None = None, group: str | None = None) -> 'Torrelque':
        """The queue itself, as `shards`."""
        return self

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
        """Store a task and make it available, at once or after a delay.

        :param task: any value that the serialiser takes.
        :param task_timeout: length of the task's leases (s).
        :param delay: time (s) until the task can be taken.
        :param task_id: an id of the caller's own, so that enqueueing the same thing twice is refused.  It is free again
            once the task is finished and forgotten.
        :param max_attempts: how often the task is handed out before it is dead; without end by default.
        :param group: a name; tasks of a group share its order and its limits (`set_limit`), and groups that have work
            take turns.  (Others say tenant, or message group.)
        :param priority: from -100 to 100, the higher first, equal ones in order of enqueueing.  It is within the group.
            Without a group, a task of a positive one goes before all else, that of a negative one behind.
        :param depends_on: ids of tasks and flows, all of which must have completed before this one begins; the delay
            counts from then.  It is cancelled once that cannot be any more.  It joins their flow; of those that have
            none one is made, of which nothing is kept.  Results are kept as the `result_ttl` of each says.
        :param pipeline: a pipeline of the same client, of whose transaction the call becomes a part.  The id is
            returned at once; what became of it is in the pipeline's results, see `read_outcome`.
        :raises TorrelqueDuplicateError: the queue knows the ``task_id``; nothing was changed.
        :raises TorrelqueFullError: the queue has ``max_tasks`` tasks; nothing was changed.
        :raises TorrelqueLookupError: the queue knows nothing of a task of ``depends_on``, which may have been finished
            and forgotten; nothing was changed.
        :raises TorrelqueValueError: the tasks of ``depends_on`` are of different flows; nothing was changed.

        When the reply is lost the call is repeated, and enqueues once; but a task that was finished and forgotten
        before the repetition came is enqueued again.
        """
        lease = self.task_timeout if task_timeout is None else task_timeout
        call = self._calls.enqueue(task, lease, delay, task_id, max_attempts, group, priority)
        if depends_on != ():
            return await self._depend(call, depends_on, pipeline)
        if pipeline is not None:
            # The client library may repeat a transaction whose reply was lost, so the call is marked as sent before.
            await add_to_pipeline(self.client, pipeline, self._calls.words(call, resent=True))
        else:
            await self._started().send(*call)
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
        """Store tasks of an iterable of any length, in its order; the ids.

        They are sent in calls of some hundred, in constant memory but for the ids.  Other calls come in between, and
        consumers begin at once.

        :param group: as in `enqueue`, or a function of the task.
        :param priority: as in `enqueue`, or a function of the task.
        :raises TorrelqueBulkError: it failed on the way: the iterable itself, a task that cannot be serialised, a full
            queue, a lost server.  It has the ids of the tasks that are in, and the reason as its cause.

        When cancelled, the tasks of the last call may be in.
        """
        lease = self.task_timeout if task_timeout is None else task_timeout
        made = self._calls.enqueue_many(lease, delay, max_attempts, group, priority)
        return await bulk.enqueue_all(self._started(), tasks, made)

    async def cancel(self, task_id: str, *, only: Iterable[TorrelqueTaskStatus] | None = None) -> bool:
        """Take a task back: True if it was there and not final.

        A pending, delayed, waiting or dead task will not be handed out again.  The holder of a working one is told by
        `touch`, which answers False; its result is not kept.  Of a flow, all tasks are taken back, see `enqueue_flow`.
        The state says CANCELLED for a minute, then nothing remains.  An id of the caller's own may be enqueued again at
        once.

        :param only: take it back only where its status is one of these, which the server decides in the same step;
            where it is another one nothing changes, and False is returned.  None is any.
        """
        call, session = self._calls.cancel(task_id, only), self._started()
        outcome = await session.send(*call)
        if outcome == 'flow':
            await session.run(steps.spread(self._calls))
        return replies.settled(outcome, task_id, self._calls.name)

    def watch(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueWatch:
        """Follow a task: its state at once, then after every change, the last being a final one.

        When nothing is kept of the task, released without a result or gone in another way, the iterator just ends.
        What changes faster than the reader reads may be skipped, the last state never; no state is older than one that
        came before.  A change is a new status, attempt, error or progress; a renewed lease alone is none.  DEAD is not
        final: the task may be redriven.  Where others have taken the place of a task of a flow, these are followed.

        :param timeout: how long to watch (s), for ever by default.  The first state is waited for 0.7 s longer.
        :raises TorrelqueLookupError: the queue has no such task.
        :raises TorrelqueTimeoutError: the time is over and the task not final.
        :raises TorrelqueClosedError: the queue object was closed meanwhile.
        :raises TorrelqueError: what the server has of the task cannot be read.

        All watches of a queue object share one connection, so ten thousand are no problem.  Where the server sends no
        keyspace notifications they share reads, and a change is seen up to a second later, with thousands of tasks some
        seconds.  A watch goes on while the server is away.  A watch ends, and leaves nothing behind, when it is
        cancelled while it waits, when the last reference to it is gone (after ``break``, at once), or by its
        ``aclose()``.  Where an id of the caller's own is enqueued again the watch of the task before ends.
        """
        return self._watch(task_id, timeout)

    async def wait(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueTaskState:
        """Wait until a task is final; its final state.

        Where nothing was kept of the task, this is the last state that was seen, with the status COMPLETED.  A task
        whose state was evicted or flushed, or whose server lost it, looks the same, and so does one with an id of the
        caller's own that was cancelled and enqueued again in the same moment; where it matters, have the consumer keep
        a result.  A task that is dead is waited for on: it may be redriven.

        :param timeout: how long to wait (s), for ever by default.
        :raises TorrelqueLookupError: the queue has no such task; it may have been released before this call.
        :raises TorrelqueTimeoutError: it is not final in time.

        Where the server sends no keyspace notifications, a result that is kept for less than a second may be gone
        unseen; with thousands of tasks watched, one that is kept for less than some seconds.  Other errors, and what
        happens on cancellation, are those of `watch`.
        """
        try:
            state = await self._watch(task_id, timeout).last()
        except TorrelqueLookupError:
            return await self._started().run(flows.find_ended(self._calls, task_id))
        if state.flow is None and state.total is None:
            return state
        return await self._started().run(flows.completed(self._calls, task_id, state))

    # Consumers

    @overload
    async def dequeue(
        self, timeout: Duration | None = None, *, max_tasks: Literal[1] = 1
    ) -> tuple[TorrelqueTaskId, Any]: ...

    @overload
    async def dequeue(self, timeout: Duration | None = None, *, max_tasks: int) -> Any: ...

    async def dequeue(self, timeout: Duration | None = None, *, max_tasks: int = 1) -> Any:
        """Wait for a task and take it, with a lease of its ``task_timeout``: its id and the task.

        The id is a ``str`` that carries the right to settle this delivery.  Before the lease ends the task is to be
        settled by `release`, `requeue` or `bury`, or the lease renewed by `touch`; else it is handed to somebody else.

        :param timeout: how long to wait (s): None is for ever, 0 not at all, but for the server's answer.
        :param max_tasks: when more than 1, a list is returned, as `dequeue_many` does, which has the exact type.
        :raises TorrelqueTimeoutError: no task came in time.  Where nobody knows, because the server gave no reply,
            the message says so, ``replied`` is False, and ``__cause__`` is the reason.
        :raises TorrelqueConnectionError: there was no connection to the server from the first, for some ten seconds.
        :raises TorrelqueServerError: the server refused, and time does not mend that: a wrong password, for instance.
        :raises TorrelqueClosedError: the queue object was closed meanwhile.

        Whoever waits goes on waiting while a server is away that was there before.  A call that is cancelled loses
        nothing: a task that was taken for it goes to another waiting call, or back to the head of the queue, and the
        attempt does not count.  A task whose payload cannot be read is not delivered but dead, with the error in its
        state and in the log.
        """
        if timeout is not None:
            timeout = check.milliseconds(timeout, 'timeout') / 1000
        deliveries = await self._started().waiters.fetch(timeout, check.check_count(max_tasks, 'max_tasks'))
        return deliveries[0] if max_tasks == 1 else deliveries

    async def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        """Wait for tasks and take them, each with a lease of its own: a list of ``(id, task)`` pairs, of one too.

        It waits for one task, and returns what is there then: at least one, and no more than ``max_tasks``.

        :param max_tasks: how many at the most, at least 1; some hundred are taken in one call.
        :param timeout: how long to wait (s), as in `dequeue`, whose errors it has.

        A call that is cancelled loses nothing: what was taken for it goes to other waiting calls, or back to the head
        of the queue, uncounted.
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
        """Give a task back, to be tried again now or after a delay; when its attempts are used up it is dead.

        It goes to the end of the queue; one that has a group or a priority back to where it was in their order.  One of
        a group keeps its slot while it is delayed.  (Of other queues, beanstalkd calls this release.)

        :param delay: time (s) until it can be taken again.
        :param task_timeout: length of the task's leases (s) from now on.
        :param error: what went wrong, to be read in its state.
        :param forgive: do not count the attempt, and put it to the head: for a shutdown, which is not the task's fault.
        :param pipeline: as in `enqueue`; then None is returned.
        :return: True when done; False, with a warning in the log, when the caller does not hold the task any more:
            handed to somebody else since, settled, cancelled, unknown.  Then nothing has changed, but for a cancelled
            task, which its holder's call clears away.  An id that did not come from `dequeue` is not fenced; its task
            must be working.

        When the call is cancelled it is carried out all the same, if the server can be reached.
        """
        call = self._calls.requeue(task_id, delay, task_timeout, error, forgive)
        if pipeline is None:
            return await self._started().settle(*call)
        await add_to_pipeline(self.client, pipeline, self._calls.words(call))
        return None

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
        """Finish a task, well or not.  (Others say acknowledge or delete; beanstalkd's release is our `requeue`.)

        Its final state is kept for a while when a result or a ``result_ttl`` is given or the status is REJECTED;
        otherwise nothing of it remains.

        :param result: any value but None that the serialiser takes.
        :param result_ttl: how long (s) the state can be read, `Torrelque.result_ttl` by default; 0 is not at all.
        :param status: a final one, else it is an error.
        :param pipeline: as in `enqueue`; then None is returned.  A transaction that the client library repeats after a
            lost reply reads as refused.
        :return: as `requeue`.
        """
        call = self._calls.release(task_id, result, result_ttl, status, self.result_ttl)
        if pipeline is None:
            return await self._started().settle(*call)
        await add_to_pipeline(self.client, pipeline, self._calls.words(call))
        return None

    async def release_many(
        self,
        task_ids: Iterable[str],
        *,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
    ) -> list[bool]:
        """Finish tasks, some hundred in one call; for each what `release` would have returned."""
        many = self._calls.release_many(task_ids, result_ttl, status, self.result_ttl)
        return await bulk.settle_all(self._started(), many)

    async def touch(self, task_id: str, *, task_timeout: Duration | None = None, progress: Any = None) -> bool:
        """Renew a lease: it ends ``task_timeout`` (s) from now, once; the task's own length by default.

        :param progress: any value but None that the serialiser takes, to be read in the task's state.
        :return: as `requeue`; False also tells the holder that the task was cancelled.  A lease that ran out is renewed
            where nobody has noticed yet.
        """
        call, since = self._calls.touch(task_id, task_timeout, progress), time.monotonic()
        renewing([task_id], since, task_timeout)
        done = await self._started().settle(*call)
        renewed([task_id], [done], since, task_timeout)
        return done

    async def touch_many(self, task_ids: Iterable[str], *, task_timeout: Duration | None = None) -> list[bool]:
        """Renew leases, some hundred in one call; for each what `touch` would have returned."""
        many, since = self._calls.touch_many(task_ids, task_timeout), time.monotonic()
        renewing(many.task_ids, since, task_timeout)
        done = await bulk.settle_all(self._started(), many)
        renewed(many.task_ids, done, since, task_timeout)
        return done

    async def bury(self, task_id: str, *, error: str | None = None, tell_after: Duration | None = None) -> bool:
        """Take a task out of the flow: it is dead, and stays so until it is redriven or cancelled.

        :param error: why, to be read in its state.
        :param tell_after: have `take_deaths` tell of it, so long (s) from now: where the caller has something to do
            about the death, may be killed on the way, and says by `acknowledge_deaths` when it is done.  By default
            never, because whoever buries a task knows of it.
        :return: as `requeue`.
        """
        call = self._calls.bury(task_id, error, tell_after)
        return await self._started().settle(*call)

    # Operators: groups

    async def set_limit(
        self,
        group: str | None = None,
        *,
        concurrency: float | None = None,
        rate: tuple[int, Duration] | float | None = None,
    ) -> None:
        """Set both limits of a group, or the default of all groups; they are kept until they are set again.

        A value of None is as the default, and of the default no limit; ``math.inf`` is no limit whatever the default.
        Limits can be changed at any time.  Lowering one interrupts nobody: no further task begins until the limit
        allows.  A default is for each group by itself; tasks without a group have no limit.

        :param group: the group; None is the default for all groups.
        :param concurrency: how many tasks of a group are worked on at once, at least 1, where those count that are
            delayed for a retry; 1 is strict order.
        :param rate: ``(starts, seconds)``, a token bucket: in any w seconds at most ``starts * (1 + w / seconds)`` of
            the group's tasks are handed out, those that are given back later too.

        When a call for the default is cancelled or fails on the way, some groups go by the new limits only after their
        next change.
        """
        await self._started().run(steps.set_limit(self._calls, group, concurrency, rate))

    async def get_limits(self) -> dict[str | None, TorrelqueLimit]:
        """All limits as they were set, by group; the default has the key None.  What was never set is not there."""
        return await self._started().run(steps.get_limits(self._calls))

    async def pause(self, group: str | None = None, *, probe: Duration | None = None) -> None:
        """Hand out no more tasks, of a group or (None) of the whole queue, until `resume`.

        Tasks are taken in as before, and those that are worked on go on.  A pause is kept in Redis, and outlives all
        consumers.  To pause what is paused begins its time anew; a pause without probes stays one until `resume`.

        :param probe: let one task through all the same, to see whether it works again: every so many seconds (more than
            0), the first after that time, over all consumers.  Its id has ``probe`` True.  Without a task when it is
            time, it is the next that comes.
        """
        await self._started().run(steps.pause(self._calls, group, probe))

    async def resume(self, group: str | None = None, *, probing: bool = False) -> bool:
        """End a `pause`, of a group or (None) of the whole queue; consumers that wait begin at once.

        Resuming the queue does not resume a group that was paused by its name.  What is not paused stays so, and a
        repetition does nothing more.

        :param probing: end a pause with ``probe`` only, decided on the server in the same step: for whoever had the
            probe and saw that it works again.  A pause without, as an operator sets, stays.
        :return: True when the group, or the queue, is not paused by its name any more; False when ``probing`` found a
            pause without probes.
        """
        return await self._started().run(steps.resume(self._calls, group, probing))

    async def get_group_stats(self, group: str) -> TorrelqueGroupStats:
        """How many tasks of a group wait, its slots and limits, all at one moment; O(1).

        A group is no more than a name: one that has no tasks is no error.
        """
        return await self._started().run(steps.get_group_stats(self._calls, group))

    async def groups(self) -> AsyncGenerator[str, None]:
        """Names of the groups that have tasks, dead ones not counted, in no order.

        They are read in steps: a group that has tasks all the time is there once, one that comes or goes may be.
        """
        scan = steps.GroupScan(self._calls)
        while not scan.over:
            for name in await self._started().run(scan.read()):
                yield name

    # Operators: tasks

    async def redrive(self, *task_ids: str, limit: int | None = None) -> int:
        """Bring dead tasks back, to the end of the queue or, with a group or a priority, to their order; how many.

        As many attempts as ``max_attempts`` are before them again; ``attempt`` and ``dequeue_count`` count on.  A task
        of which nothing but its payload is left comes back as a plain one, with a warning in the log.

        :param task_ids: which; all that are dead now when none is named, the first to die first.
        :param limit: how many at the most.
        """
        return await self._started().run(steps.redrive(self._calls, task_ids, limit))

    async def take_deaths(self, max_tasks: int = 50, *, again_after: Duration = 60) -> list[TorrelqueDeath]:
        """Learn of tasks that died where nobody saw it, those first that are to be told of first; there may be none.

        Nobody sees it where the lease of a task whose attempts are used up runs out, because its consumer was killed;
        where `requeue` finds them used up; where a payload cannot be read, or a state was lost.  Whoever calls has so
        long to do what is to be done, and says by `acknowledge_deaths` that it is; else the death is told of again, to
        whoever asks then.  So each is told of at least once, as long as the task is dead; one that was redriven and
        dies again is another.  When the call is cancelled, or its reply is lost, what it would have told of is told
        after that time.

        :param max_tasks: how many at the most; never more than 50.
        :param again_after: for how long (s) nobody else is told of them.
        """
        return await self._started().run(steps.take_deaths(self._calls, max_tasks, again_after))

    async def acknowledge_deaths(self, task_ids: Iterable[TorrelqueTaskId]) -> None:
        """Say that nobody needs to be told of these deaths any more.

        :param task_ids: ids as `take_deaths` gave them; after `bury` with ``tell_after``, as `dequeue` did.  Nothing is
            changed of a task that is dead anew, or not dead any more.
        :raises TorrelqueValueError: an id without the token of a delivery; nothing was sent.

        Some hundred go in one call.  When this one is cancelled, some may be told of again.
        """
        await self._started().run(steps.acknowledge_deaths(self._calls, task_ids))

    async def sweep(self) -> TorrelqueSweepResult:
        """Bring back all tasks that are due and those whose lease has run out, and fire schedules, in bounded steps;
        how many.

        Consumers that wait do this by themselves, within milliseconds.
        """
        return await self._started().run(steps.sweep(self._calls))

    def schedule_sweep(self, interval: Duration | None = None) -> None:
        """Sweep now and every ``interval`` (s) from the running event loop, for queues whose consumers may all be away.

        :param interval: `Torrelque.sweep_interval` by default.  A sweep that fails is logged, and tried again in time.
        """
        if self._closed:
            raise of_queue(self._calls.name, TorrelqueClosedError('the queue was closed'))
        sweeper = Sweeper(self._calls.name, self.sweep, self.sweep_interval if interval is None else interval)
        self.unschedule_sweep()
        self._sweeper = sweeper

    def unschedule_sweep(self) -> None:
        """Stop what `schedule_sweep` began."""
        if self._sweeper is not None:
            self._sweeper.stop()
            self._sweeper = None

    async def get_queue_stats(self) -> TorrelqueQueueStats:
        """How many tasks there are and in which place, all at one moment; O(1)."""
        return await self._started().run(steps.get_queue_stats(self._calls))

    async def get_task_state(self, task_id: str) -> TorrelqueTaskState:
        """What the queue knows of a task.

        :raises TorrelqueLookupError: nothing: it never was enqueued, or is finished and forgotten.
        """
        return await self._started().run(flows.get_task_state(self._calls, task_id))

    # The server

    async def command(self, *words: str | bytes | float) -> Any:
        """Send a command of the caller's own over the queue's connection; its reply as it came, texts as bytes.

        For keys that lie beside the queue's: those that begin as its own do (``queue.keys``) are on the same server of
        a Cluster.  It needs no connection of the client's pool, and works in the event loop of the queue object.  It
        must not block.  When the reply is lost it is sent again, so it may be carried out twice.

        :param words: the name of the command and its arguments.
        :raises TorrelqueServerError: the server refused it.
        :raises TorrelqueConnectionError: no reply came for some ten seconds; whether it was carried out is unknown, as
            it is when the call is cancelled.
        """
        return await self._started().run(steps.command(words))

    # Parts

    def _started(self) -> Session:
        session = self._session
        if session is None:
            if self._closed:
                raise of_queue(self._calls.name, TorrelqueClosedError('the queue was closed'))
            session = self._session = Session(self.client, self._calls)
            # Applications that make a queue object per request rarely close it: let its connections go when it is
            # collected.
            weakref.finalize(self, session.abandon).atexit = False
        session.check()
        return session

    def _watch(self, task_id: str, timeout: Duration | None) -> Watch:
        if timeout is not None:
            timeout = check.milliseconds(timeout, 'timeout') / 1000

        async def find_heir(task_id: str, flow_id: str | None) -> str | None:
            return await self._started().run(flows.find_heir(self._calls, task_id, flow_id))

        return Watch(lambda: self._started().hub, find_heir, check.check_id(task_id), timeout)
