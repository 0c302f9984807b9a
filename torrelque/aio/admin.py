"""What operators do: limits, pauses, dead tasks, sweeps, statistics."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from torrelque.error import TorrelqueClosedError
from torrelque.model import (
    TorrelqueDeath,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueQueueStats,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
)
from torrelque.protocol import steps

from .base import QueueObject
from .sweeper import Sweeper


class Operated(QueueObject):
    """The verbs of `Torrelque` that are for operators."""

    sweep_interval: float = 30
    """Time between two sweeps (s) where `schedule_sweep` was not given another."""

    # Groups

    async def set_limit(
        self,
        group: str | None = None,
        *,
        concurrency: float | None = None,
        rate: tuple[int, float] | float | None = None,
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

    async def pause(self, group: str | None = None, *, probe: float | None = None) -> None:
        """Hand out no more tasks, of a group or (None) of the whole queue, until `resume`.

        Tasks are taken in as before, and those that are worked on go on.  A pause is kept in Redis, and outlives all
        consumers.  To pause what is paused begins its time anew; a pause without probes stays one until `resume`.

        :param probe: let one task through all the same, to see whether it works again: every so many seconds (more than
            0), the first after that time, over all consumers.  Its id has ``probe`` True.  Without a task when it is
            time, it is the next that comes.
        """
        await self._started().run(steps.pause(self._calls, group, probe))

    async def resume(self, group: str | None = None) -> None:
        """End a `pause`; consumers that wait begin at once.  A group that is paused itself is so beyond the queue's."""
        await self._started().run(steps.resume(self._calls, group))

    async def get_group_stats(self, group: str) -> TorrelqueGroupStats:
        """How many tasks of a group wait, its slots and limits, all at one moment; O(1).

        A group is no more than a name: one that has no tasks is no error.
        """
        return await self._started().run(steps.get_group_stats(self._calls, group))

    async def groups(self) -> AsyncIterator[str]:
        """Names of the groups that have tasks, dead ones not counted, in no order.

        They are read in steps: a group that has tasks all the time is there once, one that comes or goes may be.
        """
        scan = steps.GroupScan(self._calls)
        while not scan.over:
            for name in await self._started().run(scan.read()):
                yield name

    # Tasks

    async def redrive(self, *task_ids: str, limit: int | None = None) -> int:
        """Bring dead tasks back, to the end of the queue or, with a group or a priority, to their order; how many.

        As many attempts as ``max_attempts`` are before them again; ``attempt`` and ``dequeue_count`` count on.  A task
        of which nothing but its payload is left comes back as a plain one, with a warning in the log.

        :param task_ids: which; all that are dead now when none is named, the first to die first.
        :param limit: how many at the most.
        """
        return await self._started().run(steps.redrive(self._calls, task_ids, limit))

    async def take_deaths(self, max_tasks: int = 50, *, again_after: float = 60) -> list[TorrelqueDeath]:
        """Learn of tasks that died where nobody saw it, those first that are to be told of first; there may be none.

        Nobody sees it where the lease of a task whose attempts are used up runs out, for its consumer was killed; where
        `requeue` finds them used up; where a payload cannot be read, or a state was lost.  Whoever calls has so long
        to do what is to be done, and says by `acknowledge_deaths` that it is; else the death is told of again, to
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
        """Bring back all tasks that are due and those whose lease has run out, in bounded steps; how many.

        Consumers that wait do this by themselves, within milliseconds.
        """
        return await self._started().run(steps.sweep(self._calls))

    def schedule_sweep(self, interval: float | None = None) -> None:
        """Sweep now and every ``interval`` (s) from the running event loop, for queues whose consumers may all be away.

        :param interval: `Torrelque.sweep_interval` by default.  A sweep that fails is logged, and tried again in time.
        """
        if self._closed:
            raise TorrelqueClosedError('the queue was closed')
        sweeper = Sweeper(self.sweep, self.sweep_interval if interval is None else interval)
        self.unschedule_sweep()
        self._sweeper = sweeper

    def unschedule_sweep(self) -> None:
        """Stop what `schedule_sweep` began."""
        self._stop_sweeper()

    async def get_queue_stats(self) -> TorrelqueQueueStats:
        """How many tasks there are and in which place, all at one moment; O(1)."""
        return await self._started().run(steps.get_queue_stats(self._calls))

    async def get_task_state(self, task_id: str) -> TorrelqueTaskState:
        """What the queue knows of a task.

        :raises TorrelqueLookupError: nothing: it never was enqueued, or is finished and forgotten.
        """
        return await self._started().run(steps.get_task_state(self._calls, task_id))

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
