"""The verbs of schedules, of the queue for coroutines."""

from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING, Any

from torrelque.base import Queue
from torrelque.model import Duration, TorrelqueSchedule, TorrelqueTaskId
from torrelque.protocol import schedules
from torrelque.protocol.scheduling import Instant, Rule

if TYPE_CHECKING:
    from .session import Session


class Schedules(Queue):
    """What a queue object has for tasks that come again and again."""

    if TYPE_CHECKING:

        def _started(self) -> Session: ...

    async def set_schedule(
        self,
        name: str,
        task: Any,
        *,
        times: Iterable[Instant] | None = None,
        every: Duration | None = None,
        phase: Duration = 0,
        task_timeout: Duration | None = None,
        max_attempts: int | None = None,
        group: str | None = None,
        priority: int = 0,
        overlap: str = 'skip',
        missed: str = 'latest',
        grace: Duration | None = None,
        until: Instant | None = None,
        spec: Any = None,
        source: str | None = None,
        revision: int | None = None,
    ) -> bool:
        """Have a task enqueued at some instants, again and again, until the schedule is changed or removed.

        The schedule is kept in Redis, as a setting of the queue.  It fires by the server's clock, to milliseconds,
        while any consumer waits for tasks or anybody sweeps; where nobody does, it fires late, and ``missed`` says
        what.  Each instant fires once, whoever sweeps: its task has the id ``NAME@MS``, MS being the instant in whole
        milliseconds since 1970, and is enqueued unless the queue knows that id, however many tasks there are.

        :param times: instants in their order, at most 1,000: aware datetimes, naive ones in local time, or seconds
            since 1970.  Those that are over are left out.  More follow by `extend_schedule`.
        :param every: instead of times, the time (s) from one instant to the next, for ever.
        :param phase: with ``every``, so many seconds behind its multiples since 1970.
        :param task_timeout: of the tasks, as ``max_attempts``, ``group`` and ``priority``: as of `enqueue`.
        :param overlap: while the task of the firing before is not finished (dead is finished), nor the flow that it has
            become, or that has its id with ``.flow``: 'skip' passes the instant over, 'allow' does not look, 'replace'
            cancels the one before, 'queue' has one at work at a time, in a group of the schedule's own.
        :param missed: where several instants are due at once: 'latest' fires the last of them, 'all' each, 'none' only
            one that is the only one due.
        :param grace: an instant that is late by more (s) is passed over.
        :param until: the last instant that may fire.
        :param spec: what the times were made from, for people and for the next calculation: anything that JSON can
            have.
        :param source: whose schedule it is.
        :param revision: of its maker: it changes nothing that one with a higher revision has set.
        :return: whether the schedule is new or has changed.  The very same, with a ``spec`` or ``every``, is left
            alone, but for times behind the last one that is known.  A change holds from now on: what was due is fired
            first, and what has happened stays, so nothing that ran runs again.
        :raises TorrelqueValueError: something of it cannot be meant; nothing was sent.
        """
        lease = self.task_timeout if task_timeout is None else task_timeout
        rule = Rule(times, every, phase, overlap, missed, grace, until, spec, source, revision)
        verb = schedules.set_schedule(self._calls, name, task, rule, lease, max_attempts, group, priority)
        return await self._started().run(verb)

    async def extend_schedule(
        self, name: str, times: Iterable[Instant], *, after: Instant | None, spec: Any = None
    ) -> bool:
        """Append instants to a schedule, of which it has at most 1,000; any number of callers may try.

        :param after: the last instant that the caller knew of; None is none.  Those that are not behind it, or were due
            already, are left out.
        :param spec: what the times were made from, as it was set.
        :return: False where the schedule is not as the caller knew it: there is none, or its last instant or its
            ``spec`` is another, or it needs no times.  Nothing was changed then.
        """
        return await self._started().run(schedules.extend_schedule(self._calls, name, times, after, spec))

    async def remove_schedule(self, name: str, *, source: str | None = None, revision: int | None = None) -> bool:
        """Forget a schedule; tasks that it has enqueued stay.

        :param source: only where it is of this source.
        :param revision: only where its own is not higher.
        :return: whether it is gone by that.
        """
        return await self._started().run(schedules.remove_schedule(self._calls, name, source, revision))

    async def pause_schedule(self, name: str) -> bool:
        """Pass over what is due from now on, until `resume_schedule`; whether that has changed it.

        :raises TorrelqueLookupError: there is no such schedule.
        """
        return await self._started().run(schedules.hold_schedule(self._calls, name, True))

    async def resume_schedule(self, name: str) -> bool:
        """Have a schedule fire again, from now on; whether that has changed it.

        :raises TorrelqueLookupError: there is no such schedule.
        """
        return await self._started().run(schedules.hold_schedule(self._calls, name, False))

    async def fire(self, name: str, *times: Instant) -> list[TorrelqueTaskId]:
        """Enqueue the task of a schedule now, paused or not; its next instant stays as it is.

        :param times: instead of now, instants, such as those that were missed: each whose task the queue does not know.
        :return: ids of the tasks that were enqueued.  Without times it is one, ``NAME@MS.`` and eight digits, or none
            where ``overlap`` is 'skip' and the task of the firing before is not finished.
        :raises TorrelqueLookupError: there is no such schedule.
        """
        return await self._started().run(schedules.fire(self._calls, name, times))

    async def get_schedule(self, name: str) -> TorrelqueSchedule:
        """A schedule.

        :raises TorrelqueLookupError: there is none of this name.
        :raises TorrelqueError: it was spoilt, and cannot be read.
        """
        return await self._started().run(schedules.get_schedule(self._calls, name))

    async def get_schedules(self, prefix: str = '') -> AsyncGenerator[TorrelqueSchedule, None]:
        """The schedules whose names begin with a text, in no order.

        They are read in steps: one that is there all the time is there once, one that comes or goes may be.
        What was spoilt, so that it cannot be read, is left out, and the log has an error that names it.
        """
        scan = schedules.ScheduleScan(self._calls, prefix)
        while not scan.over:
            for schedule in await self._started().run(scan.read()):
                yield schedule
