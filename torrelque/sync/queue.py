"""The synchronous queue: class `Torrelque`, its verbs, each a line or two."""

import time
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from torrelque import (
    Duration,
    TorrelqueBulkError,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueDeath,
    TorrelqueError,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueQueueStats,
    TorrelqueSerialiser,
    TorrelqueServerError,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueTypeError,
)
from torrelque.codec import JSON
from torrelque.error import is_untouched, of_queue
from torrelque.protocol import flows, steps
from torrelque.protocol.bulk import BulkEnqueue, Many
from torrelque.protocol.calls import Call
from torrelque.protocol.check import check_count, milliseconds
from torrelque.protocol.lease import renewed, renewing
from torrelque.protocol.replies import Outcome, outcome_error, read_outcomes, settled, settled_or_logged
from torrelque.protocol.steps import GroupScan, Steps, Walk
from torrelque.protocol.transition import Arg
from torrelque.protocol.unsure import Unsure

from .carrier import Carrier
from .client import Client, Pipeline, add_to_pipeline, check_client, leave_link, share_link
from .fetcher import Fetch, Fetcher
from .flows import Flows
from .schedules import Schedules

T = TypeVar('T')
Self = TypeVar('Self', bound='Torrelque')


class Torrelque(Schedules, Flows):
    """The queue for synchronous code, on the same keys as `torrelque.Torrelque`.

    Every verb that does not wait is here, and `dequeue`; arguments, results and errors are those of the asynchronous
    one.  Any number of threads may share an object, and each that is in the middle of a call has a connection.  After a
    fork both processes may go on with it.  A call that loses its connection is repeated for about ten seconds, then it
    raises `TorrelqueConnectionError`.

    :param client: a ``redis.Redis`` (what a Sentinel gives is one) or ``redis.RedisCluster``.  Its address, TLS,
        authentication and database are used, over connections of our own; its timeouts and retries are not.
    :param queue: the queue's name.
    :param serialiser: an object with ``dumps`` and ``loads``, JSON by default.
    :param max_tasks: how many tasks, dead ones not counted, the queue may have before `enqueue` is refused.
    """

    client: Client
    """What the object was made with."""

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
        self._link = share_link(client, self.keys['pending'], self, self._bounds)
        self._unsure = Unsure(self._bounds.unsure_calls)
        self._carrier = Carrier(client, self._calls, self._link)
        self._fetcher = Fetcher(self._calls, self._link, self._carrier.carry)

    def __repr__(self) -> str:
        return f'<{type(self).__module__.rpartition(".")[0]}.{type(self).__name__} {self.name!r}>'

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the `dequeue` calls of other threads that wait with a `TorrelqueClosedError`, and disconnect.

        The caller's client stays open.  A call that is on its way in another thread comes to its end.
        """
        self._fetcher.close()
        self._carrier.leave()
        leave_link(self._link, self)

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
        lease = self.task_timeout if task_timeout is None else task_timeout
        call = self._calls.enqueue(task, lease, delay, task_id, max_attempts, group, priority)
        if depends_on != ():
            return self._depend(call, depends_on, pipeline)
        if pipeline is not None:
            # The client library may repeat a transaction whose reply was lost, so the call is marked as sent before.
            add_to_pipeline(self.client, pipeline, self._calls.words(call, resent=True))
        else:
            self._send(call)
        new_id: TorrelqueTaskId = call.task_id
        return new_id

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
        """Store tasks of an iterable of any length, as the asynchronous one; the iterable is a plain one."""
        lease = self.task_timeout if task_timeout is None else task_timeout
        made = self._calls.enqueue_many(lease, delay, max_attempts, group, priority)
        self._check_open()
        if not isinstance(tasks, Iterable):
            raise TorrelqueTypeError(f'tasks must be an iterable, not {type(tasks).__name__}')
        try:
            try:
                for task in tasks:
                    if made.add(task):
                        self._send_many(made)
            finally:
                # Tasks that were taken from an iterable that failed would be lost to its owner, so send them.
                while made.waiting:
                    self._send_many(made)
        except Exception as exc:
            raise TorrelqueBulkError(made.task_ids, self._calls.name) from exc
        return made.task_ids

    def cancel(self, task_id: str, *, only: Iterable[TorrelqueTaskStatus] | None = None) -> bool:
        """Take a task back, as the asynchronous one."""
        outcome = self._send(self._calls.cancel(task_id, only))
        if outcome == 'flow':
            self._run(steps.spread(self._calls))
        return settled(outcome, task_id, self._calls.name)

    # Consumers

    @overload
    def dequeue(self, timeout: Duration | None = None, *, max_tasks: Literal[1] = 1) -> tuple[TorrelqueTaskId, Any]: ...

    @overload
    def dequeue(self, timeout: Duration | None = None, *, max_tasks: int) -> Any: ...

    def dequeue(self, timeout: Duration | None = None, *, max_tasks: int = 1) -> Any:
        """Wait for a task and take it, as the asynchronous one.

        :raises TorrelqueConnectionError: there was no connection to the server from the first, for as long as the call
            waits, some ten seconds at the most.

        Each thread that waits has a connection of its own.  A ``KeyboardInterrupt`` gives back what was taken,
        uncounted, which may take a second.
        """
        if timeout is not None:
            timeout = milliseconds(timeout, 'timeout') / 1000
        check_count(max_tasks, 'max_tasks')
        self._check_open()
        deliveries = Fetch(self._fetcher, timeout, max_tasks).fetch()
        return deliveries[0] if max_tasks == 1 else deliveries

    def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        """Wait for tasks and take them: a list of ``(id, task)`` pairs, of one too, as the asynchronous one.

        Its errors, and what a ``KeyboardInterrupt`` does, are those of `dequeue`.
        """
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
        call = self._calls.requeue(task_id, delay, task_timeout, error, forgive)
        if pipeline is None:
            return self._settle(call)
        add_to_pipeline(self.client, pipeline, self._calls.words(call))
        return None

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
        call = self._calls.release(task_id, result, result_ttl, status, self.result_ttl)
        if pipeline is None:
            return self._settle(call)
        add_to_pipeline(self.client, pipeline, self._calls.words(call))
        return None

    def release_many(
        self,
        task_ids: Iterable[str],
        *,
        result_ttl: Duration | None = None,
        status: TorrelqueTaskStatus = TorrelqueTaskStatus.COMPLETED,
    ) -> list[bool]:
        """Finish tasks, some hundred in one call; for each what `release` would have returned."""
        return self._settle_many(self._calls.release_many(task_ids, result_ttl, status, self.result_ttl))

    def touch(self, task_id: str, *, task_timeout: Duration | None = None, progress: Any = None) -> bool:
        """Renew a lease, as the asynchronous one."""
        call, since = self._calls.touch(task_id, task_timeout, progress), time.monotonic()
        renewing([task_id], since, task_timeout)
        done = self._settle(call)
        renewed([task_id], [done], since, task_timeout)
        return done

    def touch_many(self, task_ids: Iterable[str], *, task_timeout: Duration | None = None) -> list[bool]:
        """Renew leases, some hundred in one call; for each what `touch` would have returned."""
        many, since = self._calls.touch_many(task_ids, task_timeout), time.monotonic()
        renewing(many.task_ids, since, task_timeout)
        done = self._settle_many(many)
        renewed(many.task_ids, done, since, task_timeout)
        return done

    def bury(self, task_id: str, *, error: str | None = None, tell_after: Duration | None = None) -> bool:
        """Take a task out of the flow, as the asynchronous one."""
        return self._settle(self._calls.bury(task_id, error, tell_after))

    # Operators

    def set_limit(
        self,
        group: str | None = None,
        *,
        concurrency: float | None = None,
        rate: tuple[int, Duration] | float | None = None,
    ) -> None:
        """Set both limits of a group, or the default of all groups, as the asynchronous one."""
        self._run(steps.set_limit(self._calls, group, concurrency, rate))

    def get_limits(self) -> dict[str | None, TorrelqueLimit]:
        """All limits as they were set, by group; the default has the key None."""
        return self._run(steps.get_limits(self._calls))

    def pause(self, group: str | None = None, *, probe: Duration | None = None) -> None:
        """Hand out no more tasks, of a group or of the whole queue, as the asynchronous one."""
        self._run(steps.pause(self._calls, group, probe))

    def resume(self, group: str | None = None, *, probing: bool = False) -> bool:
        """End a ``pause``, or one with probes only, as the asynchronous one; whether it is not paused any more."""
        return self._run(steps.resume(self._calls, group, probing))

    def get_group_stats(self, group: str) -> TorrelqueGroupStats:
        """How many tasks of a group wait, its slots and limits, as the asynchronous one."""
        return self._run(steps.get_group_stats(self._calls, group))

    def groups(self) -> Generator[str, None, None]:
        """Names of the groups that have tasks, as the asynchronous one; the generator is a plain one."""
        scan = GroupScan(self._calls)
        while not scan.over:
            yield from self._run(scan.read())

    def redrive(self, *task_ids: str, limit: int | None = None) -> int:
        """Bring dead tasks back, as the asynchronous one."""
        return self._run(steps.redrive(self._calls, task_ids, limit))

    def take_deaths(self, max_tasks: int = 50, *, again_after: Duration = 60) -> list[TorrelqueDeath]:
        """Learn of tasks that died where nobody saw it, as the asynchronous one."""
        return self._run(steps.take_deaths(self._calls, max_tasks, again_after))

    def acknowledge_deaths(self, task_ids: Iterable[TorrelqueTaskId]) -> None:
        """Say that nobody needs to be told of these deaths any more, as the asynchronous one."""
        self._run(steps.acknowledge_deaths(self._calls, task_ids))

    def sweep(self) -> TorrelqueSweepResult:
        """Bring back all tasks that are due and those whose lease has run out, as the asynchronous one."""
        return self._run(steps.sweep(self._calls))

    def get_queue_stats(self) -> TorrelqueQueueStats:
        """How many tasks there are and in which place, all at one moment; O(1)."""
        return self._run(steps.get_queue_stats(self._calls))

    def get_task_state(self, task_id: str) -> TorrelqueTaskState:
        """What the queue knows of a task, as the asynchronous one."""
        return self._run(flows.get_task_state(self._calls, task_id))

    # The server

    def command(self, *words: str | bytes | float) -> Any:
        """Send a command of the caller's own over a connection of the queue, as the asynchronous one."""
        return self._run(steps.command(words))

    # Parts

    def _check_open(self) -> None:
        if self._fetcher.closed:
            raise of_queue(self._calls.name, TorrelqueClosedError('the queue was closed'))

    def _call(self, name: str, args: list[Arg], resent: bool = False) -> Any:
        self._check_open()
        try:
            return self._link.call(self._calls.transitions[name], [*self._calls.heads[name], *args], resent)
        except TorrelqueError as exc:
            of_queue(self._calls.name, exc)
            raise

    def _send(self, call: Call) -> Outcome:
        """One task's call; its outcome, or the error that it stands for."""
        name, args, task_id, _ = call
        reply = self._call(name, args)
        if reply == b'ok':
            return 'ok'
        outcome = read_outcomes(name, reply, 1, self._calls.name)[0]
        if error := outcome_error(outcome, task_id, self._calls.name):
            raise error
        return outcome

    def _settle(self, call: Call) -> bool:
        name, args, task_id, _ = call
        if self._unsure and (again := self._unsure.again(name, args)) is not None:
            outcome = read_outcomes(name, self._call(name, again, resent=True), 1, self._calls.name)[0]
            self._unsure.forget(name, args)
        else:
            try:
                outcome = self._send(call)
            except TorrelqueConnectionError:
                self._unsure.note(name, args)
                raise
        return settled_or_logged(name, task_id, outcome, self._calls.name)

    def _send_many(self, made: BulkEnqueue) -> None:
        try:
            made.returned(self._call('enqueue', made.take_call()))
        except BaseException:
            made.drop()
            raise

    def _settle_many(self, many: Many) -> list[bool]:
        self._check_open()
        done, sent = list[bool](), list[list[Arg]]()
        try:
            for ids, args in self._calls.parts(many):
                sent.append(args)
                words, resent = self._unsure.all_again(many.name, args, many.width) if self._unsure else (args, False)
                reply = self._call(many.name, words, resent)
                done += steps.many_settled_or_logged(many.name, ids, reply, self._calls.name)
        except (TorrelqueConnectionError, TorrelqueServerError):
            # The error hides what became of the calls before it: remember them all.
            self._unsure.note_all(many.name, sent, many.width)
            raise
        if self._unsure:
            self._unsure.forget_all(many.name, sent, many.width)
        return done

    def _run(self, steps: Steps[T]) -> T:
        """Calls one after the other; what they come to."""
        self._check_open()
        walk, reply = Walk(steps), None
        try:
            while walk.go_on(reply):
                name, args = walk.name, walk.args
                if walk.abroad is not None and name is not None:
                    reply = self._carrier.call(walk.abroad, name, args)
                else:
                    reply = self._link.call(None, args) if name is None else self._call(name, args)
        except TorrelqueError as exc:
            of_queue(self._calls.name, exc)
            if reply is not None and is_untouched(exc):
                # The calls before this one may have had an effect.
                exc.untouched = False
            raise
        return walk.result
