"""The schedules of an app: declared in code, and set by calls."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta, timezone as std_timezone
from typing import Any
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from torrelque import (
    Duration,
    Schedule,
    TorrelqueDuplicateError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.protocol.check import check_count, check_name
from torrelque.tasks.handle import Handle
from torrelque.tasks.loops import Loops
from torrelque.tasks.work import Work

from .asking import EPOCH, Time, ask_time
from .calendar import Instants
from .keeper import CODE, Keeper, Owner
from .plan import Missed, Overlap, Plan, Policies, When
from .setting import API, following, put

TOGETHER = 100
"""Instants of a backfill that are sent in one call."""


class Schedules:
    """The schedules of an app's queues: `torrelque.tasks.Tasks.schedules`.

    All methods but `list` are coroutines; synchronous code calls ``app.call(app.schedules.add(…))``.  A schedule is of
    the queue that its work is for, and is found by its name in all queues that the app knows.  When a call is
    cancelled, whether it had its effect is unknown; any but `fire` may be repeated.
    """

    def __init__(
        self,
        loops: Loops,
        functions: Mapping[str, Any],
        names: Callable[[], Iterable[str]],
        owner: str | None,
        revision: int | None,
    ) -> None:
        # Legend.  Of the app: _loops, its queue objects; _functions, by their names; _names, those of its queues.
        # _declared: plans by their names.  _others: further queues that were used here.  _owner: who declares plans.
        # _keepers: of workers, by their event loops.
        self._loops = loops
        self._functions = functions
        self._names = names
        self._declared: dict[str, Plan] = {}
        self._others: list[str] = []
        self._owner = Owner(owner, revision, secrets.token_hex(8))
        self._keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, Keeper] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f'<Schedules of {self._loops.name!r}: {len(self._declared)} declared>'

    # What is set by calls

    async def add(
        self,
        name: str,
        when: str | Instants,
        work: Work[Any],
        *,
        timezone: str | ZoneInfo = 'UTC',
        overlap: Overlap = 'skip',
        missed: Missed = 'latest',
        grace: Duration | None = None,
        jitter: Duration = 0,
        until: datetime | float | None = None,
    ) -> bool:
        """Set a schedule: True if it is new or was changed, False if the very same is there, whoever has set it.

        One of the same name that is in another queue that the app knows moves to that of the work, but for one that
        another app declares.

        :param name: by which it is known; the tasks that it fires are called ``NAME@MILLISECONDS``.
        :param when: a cron expression, see `Calendar`; or a calendar of your own, see `Instants`, which goes on for as
            long as a process that declares it keeps it.
        :param work: a call, made by `torrelque.tasks.Enqueuer.s`, or a flow of such calls, whose id is that of the
            firing with ``.flow``.
        :param timezone: the name of the time zone in which the expression is read.
        :param overlap: what becomes of a firing while the last one is unfinished: ``'skip'`` drops it, ``'allow'``
            lets both run, ``'replace'`` cancels the last one, ``'queue'`` has it run behind the last one.
        :param missed: of several firings that are due because nobody was there: ``'latest'``, ``'all'``, or ``'none'``.
        :param grace: a firing that is later than this (s) is dropped; by default none is.
        :param jitter: up to how much later (s) than the calendar says it fires: always the same time, by the name.
        :param until: nothing is fired after this instant; a ``datetime``, or a Unix time.
        :raises TorrelqueTypeError: an argument is of the wrong kind.
        :raises TorrelqueValueError: it cannot be meant; or it has nothing to come, as with an ``until`` in the past.
        """
        plan = When(when, None, timezone, 0, jitter).plan(name, work, Policies(overlap, missed, grace, until))
        return await self._put(plan)

    async def every(
        self,
        name: str,
        seconds: Duration,
        work: Work[Any],
        *,
        phase: Duration = 0,
        overlap: Overlap = 'skip',
        missed: Missed = 'latest',
        grace: Duration | None = None,
        jitter: Duration = 0,
        until: datetime | float | None = None,
    ) -> bool:
        """As `add`, by a period: at multiples of it since 1970, so that all processes mean the same instants.

        :param seconds: the period.
        :param phase: by how much (s) later than these.
        :raises TorrelqueTypeError: as `add`.
        :raises TorrelqueValueError: as `add`.
        """
        plan = When(None, seconds, 'UTC', phase, jitter).plan(name, work, Policies(overlap, missed, grace, until))
        return await self._put(plan)

    async def remove(self, name: str) -> bool:
        """Remove a schedule, from all queues that the app knows; whether it was there.  Tasks that it has fired stay.

        One that is declared in code comes back with the next worker that begins; `pause` lasts.
        """
        removed = [await queue.remove_schedule(name) for _, queue in self._queues(name)]
        return any(removed)

    async def pause(self, name: str) -> bool:
        """Fire nothing until `resume`, across restarts and deployments; whether that is new.  What is due meanwhile is
        dropped.

        :raises TorrelqueLookupError: there is no such schedule.
        """
        _, queue, _ = await self._find(name)
        return await queue.pause_schedule(name)

    async def resume(self, name: str) -> bool:
        """Undo `pause`; whether it was paused.

        :raises TorrelqueLookupError: there is no such schedule.
        """
        _, queue, _ = await self._find(name)
        return await queue.resume_schedule(name)

    async def fire(self, name: str) -> Handle[Any]:
        """Fire a schedule now, besides its instants, paused or not; a handle of its task.

        :raises TorrelqueDuplicateError: its last firing is unfinished, and ``overlap`` says that there are no two;
            ``task_id`` is that of the last one.
        :raises TorrelqueLookupError: there is no such schedule.
        """
        place, queue, record = await self._find(name)
        if fired := await queue.fire(name):
            return self._handle(place, record, fired[0])
        record = await queue.get_schedule(name)
        raise TorrelqueDuplicateError(record.last_id or name, queue.name)

    async def backfill(self, name: str, start: datetime, end: datetime) -> int:
        """Fire the instants of a schedule from a start until before an end; of how many tasks were enqueued.

        Instants that have not come yet, by the server's clock, are left to the schedule itself.  One whose task the
        queue still knows is left out; one whose task was forgotten fires again.  ``overlap`` does not count.

        :param start: a ``datetime``; without a time zone it is the machine's time.
        :raises TorrelqueTypeError: an instant is no ``datetime``.
        :raises TorrelqueValueError: the start is after the end, or the calendar is not known here.
        :raises TorrelqueLookupError: there is no such schedule.
        """
        start, end = _instant(start, 'start'), _instant(end, 'end')
        if start > end:
            raise TorrelqueValueError(f'the start of a backfill, {start}, is after its end, {end}')
        _, queue, record = await self._find(name)
        time = await ask_time(queue)
        begin = max(start, EPOCH) - timedelta(microseconds=1)
        found = itertools.takewhile(
            lambda instant: instant < end and instant <= time.now, self._after(record, time, begin)
        )
        count = 0
        while some := [time.stored(instant) for instant in itertools.islice(found, TOGETHER)]:
            count += len(await queue.fire(name, *some))
        return count

    async def get(self, name: str) -> Schedule:
        """What is known of a schedule.

        :raises TorrelqueLookupError: there is none of this name.
        """
        return (await self._find(name))[2]

    async def list(self, prefix: str = '') -> AsyncIterator[Schedule]:
        """What is known of all schedules whose name has a beginning, in no order."""
        for _, queue in self._queues():
            async for record in queue.get_schedules(prefix):
                yield record

    async def next(self, name: str, count: int = 10) -> Sequence[datetime]:
        """The next instants of a schedule in UTC, computed by its calendar; those of a paused one too, though it would
        not fire.  Fewer come where it ends before.

        :raises TorrelqueLookupError: there is no such schedule.
        """
        check_count(count, 'count')
        _, queue, record = await self._find(name)
        time = await ask_time(queue)
        known = [time.instant(stored) for stored in record.times]
        try:
            start = known[-1] if known else time.now
            known += itertools.islice(self._after(record, time, start), max(0, count - len(known)))
        except TorrelqueValueError:
            # The calendar is another process's, and what it has computed is all that is known here.
            pass
        end = None if record.until is None else time.instant(record.until)
        return [instant for instant in known[:count] if end is None or instant <= end]

    # What is declared

    def declare(
        self,
        when: str | Instants | None,
        every: Duration | None,
        timezone: str | ZoneInfo,
        phase: Duration,
        jitter: Duration,
        **policies: Any,
    ) -> Callable[[str | None, Any], None]:
        """Check what is said of a schedule, for `torrelque.tasks.Tasks.cron`; what declares it for a function, under a
        name of its own or that of the function."""
        due, checked = When(when, every, timezone, phase, jitter), Policies(**policies)

        def declare(name: str | None, function: Any) -> None:
            known_as = str(function.name) if name is None else check_name(name, 'the name of a schedule')
            if known_as in self._declared:
                raise TorrelqueValueError(f'the app has a schedule {known_as!r} already; give one of them a name=')
            try:
                work = function.s()
            except TorrelqueTypeError as exc:
                raise TorrelqueTypeError(f'a schedule calls {function.name} without arguments: {exc}') from exc
            self._declared[known_as] = due.plan(known_as, work, checked)

        return declare

    async def prepare(self) -> None:
        """Set what is declared, as a worker does when it begins.

        :raises TorrelqueError: the server could not be reached, or refused it.
        """
        await self._keeper(fresh=True).begin()

    def kept(self) -> AbstractAsyncContextManager[None]:
        """A block in which the lists of instants are kept filled, in a worker's event loop."""
        return self._keeper().kept()

    # Parts

    def _keeper(self, fresh: bool = False) -> Keeper:
        loop = asyncio.get_running_loop()
        keeper = self._keepers.get(loop)
        if keeper is None or fresh and not keeper.users:
            # Its queue objects may be others than those of the last worker.
            keeper = self._keepers[loop] = Keeper(dict(self._queues()), self._declared, self._owner)
        return keeper

    def _queues(self, name: str | None = None) -> Iterator[tuple[str, TorrelqueQueue]]:
        """The queues that may have a schedule, the likeliest first, with what the app calls them."""
        if name is not None:
            check_name(name, 'the name of a schedule')
        plan = None if name is None else self._declared.get(name)
        first = [] if plan is None else [plan.work.queue]
        here = self._loops.here()
        for each in dict.fromkeys([*first, *self._names(), *self._others]):
            yield each, here.find(each)

    async def _find(self, name: str) -> tuple[str, TorrelqueQueue, Schedule]:
        missing = None
        for place, queue in self._queues(name):
            try:
                return place, queue, await queue.get_schedule(name)
            except TorrelqueLookupError as exc:
                missing = missing or exc
        assert missing is not None
        raise missing

    async def _put(self, plan: Plan) -> bool:
        here = self._loops.here()
        if plan.work.queue not in self._others:
            self._others.append(plan.work.queue)
        if plan.work.fifo is not None:
            await self._loops.keep_order(here, plan.work.fifo)
        new = await put(here.find(plan.work.queue), plan, API)
        await self._move(plan)
        return new

    async def _move(self, plan: Plan) -> None:
        """Remove what a schedule that was set leaves behind in other queues; a pause goes with it."""
        for place, queue in self._queues():
            if place == plan.work.queue:
                continue
            try:
                record = await queue.get_schedule(plan.name)
            except TorrelqueError as exc:
                if type(exc) not in (TorrelqueError, TorrelqueLookupError):
                    raise
                # What was spoilt by hand does not fire.
                continue
            if not (record.source or '').startswith(CODE) or record.source == self._owner.source:
                if record.paused:
                    await self._loops.here().find(plan.work.queue).pause_schedule(plan.name)
                await queue.remove_schedule(plan.name)

    def _after(self, record: Schedule, time: Time, instant: datetime) -> Iterable[datetime]:
        """The instants of a schedule after one."""
        return following(record, time, instant, self._declared.get(record.name))

    def _handle(self, place: str, record: Schedule, task_id: str) -> Handle[Any]:
        task = record.task if isinstance(record.task, Mapping) else {}
        function = self._functions.get(task.get('task', ''))
        if function is not None and function.queue_name == place:
            handle: Handle[Any] = function.handle(task_id)
            return handle
        return Handle(self._loops, task_id, queue=place)


def _instant(instant: datetime, what: str) -> datetime:
    if not isinstance(instant, datetime):
        raise TorrelqueTypeError(f'{what} must be a datetime, not {type(instant).__name__}')
    try:
        return instant.astimezone(std_timezone.utc)
    except (OverflowError, OSError, ValueError) as exc:
        raise TorrelqueValueError(f'{what} is no instant of this clock: {instant}') from exc
