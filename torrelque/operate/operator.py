"""The one way in: every question of an operator, and every bulk act, as a method."""

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from torrelque import (
    Duration,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.protocol import check

from . import lazily, reading
from .figures import Overview
from .flowing import Flows, FlowView
from .given import check_words, length_of, of_group, whoever
from .limits import spell_limit
from .measuring import Measuring
from .parts import home_of, lasting, parts_of
from .recurring import Schedules, ScheduleView
from .selection import Selection
from .values import (
    Act,
    Errors,
    Finding,
    FunctionView,
    Groups,
    GroupView,
    Outcome,
    Page,
    Reason,
    Record,
    TaskView,
    WorkerView,
)

if TYPE_CHECKING:
    from . import acts, bulk, crew, grouping, overview, records, registry, scheduled, spread
else:
    acts, bulk, crew, grouping, overview = map(lazily.Module, ('acts', 'bulk', 'crew', 'grouping', 'overview'))
    records, registry, scheduled, spread = map(lazily.Module, ('records', 'registry', 'scheduled', 'spread'))

T = TypeVar('T')

_OPTIONS = ('limit', 'rate', 'paced', 'dry_run', 'on_progress', 'plan')
"""What acts may be told besides."""


class Operator(Measuring):
    """Answers the questions of an operator about a queue, or about several as one, and acts on their tasks.

    It only reads, but for acts.  It goes over the connections of the queue objects, in their event loop, and works for
    a user of the server who may only read, but for acts.  A call that is cancelled, or repeated, does no harm: of an
    act, what was done is done.

    :param queues: a queue, or several.
    :param who: whoever acts, for the record; by default user and host.
    :param on_act: is called with each `Act`; a coroutine function is awaited.
    :param read_only: refuses all acts.
    :param number: stands with its acts on record, so that these can be found again; and is what `claim` takes.
    :raises TorrelqueTypeError: no queue, or something else than queues.
    :raises TorrelqueValueError: two queues of one name.
    """

    queues: tuple[TorrelqueQueue, ...]

    def __init__(
        self,
        queues: TorrelqueQueue | Iterable[TorrelqueQueue],
        *,
        who: str | None = None,
        on_act: Callable[[Act], Any] | None = None,
        read_only: bool = False,
        number: str = '',
    ) -> None:
        given = [queues] if isinstance(queues, TorrelqueQueue) else queues
        found = tuple(given) if isinstance(given, Iterable) else ()
        if not found or not all(isinstance(queue, TorrelqueQueue) for queue in found):
            raise TorrelqueTypeError(f'an operator is made with a queue, or with several, not with {queues!r}')
        if len({queue.name for queue in found}) < len(found):
            raise TorrelqueValueError('an operator cannot tell queues of the same name apart')
        self.queues = found
        self._who = whoever() if who is None else check.check_name(who, 'who')
        self._on_act = None if on_act is None else check.check_call(on_act, 'on_act', 'act')
        self._read_only = check.check_flag(read_only, 'read_only')
        self._number = '' if number == '' else check.check_name(number, 'number')

    # Questions

    @property
    def who(self) -> str:
        """Whoever acts, as the record has it."""
        return self._who

    async def overview(self) -> Overview:
        """The figures of all queues together; a worker that serves several of them is counted once."""
        return await overview.read_together(self.queues)

    async def overviews(self) -> list[Overview]:
        """The figures of each queue.  One that the server refuses to tell of has an ``error`` in its place."""
        return [await overview.read_overview(queue) for queue in self.queues]

    async def page(
        self, place: str, *, after: str | None = None, most: int = 50, look: int = 10_000, payload: int = 4096,
        newest_first: bool = False, queue: str | None = None,
    ) -> Page:  # fmt: skip
        """Tasks of a place, in its order: of lists, those that came last first; else by their instant or their order.

        A page may have fewer tasks than were asked for, or none, though another is behind it: where most of a place are
        passed over, as of 'ready' and 'orphaned'.

        :param place: one of ``torrelque.operate.pages.PLACES``, ``group:NAME``, 'ready' or 'orphaned'.
        :param after: the ``cursor`` of the page before.
        :param most: tasks at the most, up to 1,000.
        :param look: tasks that are looked at, about, at the most.
        :param payload: bytes; longer payloads are left out, and their size is told.
        :param newest_first: of working, delayed and dead tasks, the latest instant first.
        :param queue: the name of the queue, where there are several.
        :raises TorrelqueValueError: there is no such place, or the cursor is none, or a queue is to be named.
        """
        reading.check_text(place, 'a place')
        if after is not None and not isinstance(after, str):
            raise TorrelqueTypeError(f'a cursor must be a str, not {type(after).__name__}')
        check.check_count(most, 'most')
        check.check_count(look, 'look')
        check.check_count(payload, 'payload', 0)
        check.check_flag(newest_first, 'newest_first')
        return await spread.read_page(self.queue(queue), place, after, min(most, 1000), look, payload, newest_first)

    async def tasks(
        self,
        selection: Selection,
        *,
        most: int | None = None,
        payload: int = 4096,
        on_progress: Callable[[Outcome], Any] | None = None,
    ) -> AsyncIterator[TaskView]:
        """The tasks of a selection, of all queues, as they are found: a walk, which looks at the whole place.

        A task that comes into the place meanwhile may be missed; one that stays is not.  None is told twice, but one
        that left its place and came back, or has moved within it, and was met again a thousand tasks later.

        :param on_progress: a plain function that is called with an `Outcome` of an act 'tasks', after each 250 that
            were looked at: how many, and how many match.
        :raises TorrelqueConnectionError: behind all others, where a shard has not answered.
        """
        left = math.inf if most is None else check.check_count(most, 'most')
        bulk.check_progress(on_progress)
        names, seen, matched, began = ', '.join(queue.name for queue in self.queues), 0, 0, time.monotonic()

        def tell(more: int, fit: int) -> None:
            nonlocal seen, matched
            seen, matched = seen + more, matched + fit
            if on_progress is not None:
                on_progress(Outcome('tasks', names, seen, matched, 0, (), True, False, time.monotonic() - began))

        async for task in spread.select(self.queues, selection, payload, tell):
            if left <= 0:
                return
            left -= 1
            yield task

    async def task(self, task_id: str, *, payload: int = 65536, queue: str | None = None) -> TaskView:
        """All that is known of a task; of one of a flow that has ended, how, and its result or error, as long as the
        flow is kept.

        :param queue: the name of its queue; None is whichever knows it.
        :raises TorrelqueLookupError: no queue knows it.
        :raises TorrelqueValueError: several know it, and none is named.
        """
        reading.check_text(task_id, 'a task id')
        queues = self.queues if queue is None else (self.queue(queue),)
        return await spread.find_task(queues, task_id, payload)

    async def group(self, name: str, *, queue: str | None = None) -> GroupView:
        """A group; of one that has no task and no slot in use, what is set for it."""
        return await spread.read_group(self.queue(queue), reading.check_text(name, 'a group'))

    async def groups(
        self, *, by: str = 'waiting', most: int = 20, pattern: str | None = None, queue: str | None = None
    ) -> Groups:
        """The first groups by a figure, out of a survey of all, which takes a tenth of a second of the server for
        10,000 groups, in calls of 50 with pauses between them.

        :param by: 'waiting', 'oldest', 'slots' or 'name'.
        :param pattern: of names, with ``*``.
        """
        if not isinstance(by, str) or by not in grouping.ORDERS:
            raise TorrelqueValueError(f'groups are ordered by {", ".join(grouping.ORDERS)}, not by {by!r}')
        return await spread.survey(self.queue(queue), by, check.check_count(most, 'most'), pattern)

    async def workers(self) -> list[WorkerView]:
        """The workers of all queues that have a heartbeat, and those that were lost in the last hour.  A worker that
        serves several of the queues is told once."""
        found: dict[tuple[str, str, int], WorkerView] = {}
        for queue in self.queues:
            for worker in await crew.read_workers(await home_of(queue)):
                found.setdefault((worker.name, worker.host, worker.pid), worker)
        return sorted(found.values(), key=lambda worker: worker.name)

    async def errors(self, *, most: int = 1000, queue: str | None = None) -> Errors:
        """What failed, grouped, of the newest so many dead tasks and of as many that are delayed.

        :param most: up to 10,000.
        """
        return await spread.read_errors(self.queue(queue), min(check.check_count(most, 'most'), 10_000))

    async def functions(self, *, since: Duration | str | None = None) -> list[FunctionView]:
        """Functions over the last ``since`` seconds, at most 14 days, to the hour or minute; None is since their counts
        began.  Only workers with a heartbeat count."""
        seconds = None if since is None else length_of(since, 'since')
        return [view for queue in self.queues for view in await records.read_functions(await home_of(queue), seconds)]

    async def history(self, length: Duration | str = 3600, *, queue: str | None = None) -> list[Record]:
        """Records of the last ``length`` seconds, or of ``'8h'``, the oldest first: minutes up to 8 hours, else hours,
        up to 14 days.
        """
        seconds = length_of(length, 'length')
        return await records.read_history(await home_of(self.queue(queue)), seconds)

    async def schedules(
        self, prefix: str = '', *, payload: int = 4096, instants: int = 10, queue: str | None = None
    ) -> list[ScheduleView]:
        """The schedules whose names begin with a text: those first that fire next.

        :param payload: bytes; longer payloads are left out, and their size is told.
        :param instants: of each that are told, up to 1,000.
        :param queue: the name of a queue; None is all.
        """
        if not isinstance(prefix, str):
            raise TorrelqueTypeError(f'prefix must be a str, not {type(prefix).__name__}')
        check.check_count(payload, 'payload', 0)
        most = min(check.check_count(instants, 'instants'), 1000)
        queues = self.queues if queue is None else (self.queue(queue),)
        found = [await scheduled.read_schedules(await home_of(one), prefix, payload, most) for one in queues]
        return sorted((view for some in found for view in some), key=lambda view: view.order)

    async def schedule_page(
        self, prefix: str = '', *, skip: int = 0, most: int = 100, payload: int = 4096, queue: str | None = None
    ) -> Schedules:
        """Some of the schedules of a queue, those first that fire next: however many there are, no more are read.

        :param prefix: the text with which their names begin; names of all are looked at for one.
        :param skip: how many come before these.
        :param most: schedules at the most, up to 1,000.
        :param payload: bytes; longer payloads are left out, and their size is told.
        :param queue: the name of the queue, where there are several.
        """
        if not isinstance(prefix, str):
            raise TorrelqueTypeError(f'prefix must be a str, not {type(prefix).__name__}')
        check.check_count(skip, 'skip', 0)
        check.check_count(payload, 'payload', 0)
        most = min(check.check_count(most, 'most'), 1000)
        return await scheduled.read_some(await home_of(self.queue(queue)), prefix, skip, most, payload)

    async def schedule(self, name: str, *, payload: int = 65536, queue: str | None = None) -> ScheduleView:
        """A schedule.

        :param queue: the name of its queue; None is whichever has it.
        :raises TorrelqueLookupError: no queue has one of this name.
        :raises TorrelqueValueError: several have, and none is named.
        """
        reading.check_text(name, 'the name of a schedule')
        check.check_count(payload, 'payload', 0)
        return await self._find('schedule', name, queue, lambda one: self._schedule_of(one, name, payload))

    async def flows(self, *, after: str | None = None, most: int = 10_000, queue: str | None = None) -> Flows:
        """The flows that have not ended, without their tasks, in no order.

        :param after: the ``cursor`` of the answer before.
        :param most: how many tasks and flows that wait are looked at for them, about.
        :param queue: the name of the queue, where there are several.
        :raises TorrelqueValueError: the cursor is none, or a queue is to be named.
        """
        if after is not None and not isinstance(after, str):
            raise TorrelqueTypeError(f'a cursor must be a str, not {type(after).__name__}')
        return await spread.read_flows(self.queue(queue), after, check.check_count(most, 'most'))

    async def flow(
        self,
        flow_id: str,
        *,
        after: str | None = None,
        most: int = 250,
        edges_of: int = 100_000,
        queue: str | None = None,
    ) -> FlowView:
        """A flow, and some of its tasks, those first that have not ended; until its ``result_ttl`` is over.

        :param after: the ``cursor`` of the answer before.  A task that ends in between may be told twice.
        :param most: tasks, about, up to 100,000; they are read some hundred at a time.
        :param edges_of: of a flow of more tasks, whose payload does not tell of them, it is not told which of them wait
            for which, because all would be looked at for that.
        :param queue: the name of its queue; None is whichever knows it.
        :raises TorrelqueLookupError: no queue knows a flow of this id; it may be a task.
        :raises TorrelqueValueError: several know it, and none is named; or the cursor is none.
        """
        reading.check_text(flow_id, 'a flow id')
        most = min(check.check_count(most, 'most'), 100_000)
        room = check.check_count(edges_of, 'edges_of', 0)
        return await self._find(
            'flow', flow_id, queue, lambda one: spread.read_flow(one, flow_id, after, most, room)
        )

    async def explain(
        self, task_id: str | None = None, *, group: str | None = None, queue: str | None = None
    ) -> list[Reason]:
        """Why a task does not run, or a group, or a queue, does not move: the decisive reason first.

        An empty list says that a claim made now would give the task, or a task of the group or the queue.

        :raises TorrelqueTypeError: both are given, or one is no text.
        :raises TorrelqueValueError: one is '', or has no bytes in UTF-8; or a queue is to be named, as for a task that
            several queues know.
        """
        if task_id is not None and group is not None:
            raise TorrelqueTypeError('explain takes a task or a group, not both')
        if task_id is not None:
            reading.check_text(task_id, 'a task id')
        if group is not None:
            reading.check_text(group, 'a group')
        if task_id is None or queue is not None or len(self.queues) == 1:
            return await spread.explain(self.queue(queue), task_id, group)
        told = {one.name: await spread.explain(one, task_id, None) for one in self.queues}
        known = [name for name, reasons in told.items() if not reasons or reasons[0].code != 'unknown']
        reading.check_unique({task_id: known})
        return told[known[0] if known else self.queues[-1].name]

    async def acts(self) -> list[Act]:
        """What operators did, the newest first: the last 500 acts of each queue, for 30 days."""
        found = [act for queue in self.queues for act in await acts.read_acts(await home_of(queue))]
        return sorted(found, key=lambda act: -act.time)

    async def stalled(self, *, queue: str | None = None) -> list[Finding]:
        """Flows that do not go on by themselves, and the command that has them go on: with dead tasks that they wait
        for, with nothing left that could begin, past their time; and what nobody does of what was put off of flows.
        They are looked for among 10,000 tasks and flows that wait.

        :param queue: the name of a queue; None is all.
        """
        queues = self.queues if queue is None else (self.queue(queue),)
        return [finding for one in queues for finding in await spread.read_stalled(one)]

    async def examine(self) -> list[Finding]:
        """Whether the queues and their server are sound."""
        return [finding for queue in self.queues for finding in await spread.examine(queue)]

    # Acts

    async def redrive(self, selection: Selection, **options: Any) -> Outcome:
        """Bring dead tasks back, those first that died first; their attempts begin anew.

        :param limit: tasks at the most that are changed, of all queues together.
        :param rate: tasks a second, evenly, all queues together; None is as many as pacing allows.
        :param paced: whether to wait, after each 250, three times as long as they took, so that at most a quarter of
            the server is used.
        :param dry_run: only count.
        :param on_progress: a plain function that is called with the `Outcome` so far, after each 250 and each second.
        :param plan: a `Plan` that a dry run with the same selection was given: the act is about what that has found,
            and no more, though hours have gone by.
        :param queue: the name of a queue; None is all, one after the other.  An id that several know is refused, before
            anything is changed.  Of one that none of them knows, the last one says so.
        :raises TorrelqueError: the operator may only read, as a dry run does, or the selection or an option cannot be
            meant: nothing was changed.  Or the server refused, or was away for some ten seconds: what was done till
            then is on record.

        Tasks that die meanwhile are not brought back again.  One that has become something else in the meantime is not
        changed, and counted by why: a task that was looked at more than a tenth of a second ago, as where there is a
        rate, is looked at once more, and the call itself changes only what has the status that was selected, and takes
        tasks only from holders that had them when they were looked at.  So what is left to chance are the milliseconds
        in which a task that keeps its status goes on, such as one that is brought back, and dies again.  When the call
        is cancelled, what is on its way is waited for, two seconds at the most; then what is done is done and on
        record, and the same call finds the rest.
        """
        return await self._act('redrive', selection, **options)

    async def cancel(self, selection: Selection, **options: Any) -> Outcome:
        """Cancel tasks; a worker that has one in hand is told.  Options are those of `redrive`.

        Those that are pending or delayed are meant, others where the selection has their status or their ids.
        """
        return await self._act('cancel', selection, **options)

    async def requeue(self, selection: Selection, **options: Any) -> Outcome:
        """Take tasks that are worked on away from their holders, and make them pending.  Options are those of
        `redrive`."""
        return await self._act('requeue', selection, **options)

    async def bury(self, selection: Selection, *, error: str | None = None, **options: Any) -> Outcome:
        """Take tasks that are worked on out of the flow.  Options are those of `redrive`.

        :param error: why, for the state.
        """
        return await self._act('bury', selection, error=error, **options)

    async def pause(
        self, group: str | None = None, *, probe: Duration | None = None, queue: str | None = None
    ) -> None:
        """`Torrelque.pause`, on record."""
        one = self._acting(queue)
        what = of_group(group) + (f', probe {check.seconds_of(probe):g}s' if probe else '')
        await self._do(one, 'pause', lambda: what, one.pause(group, probe=probe))

    async def resume(self, group: str | None = None, *, queue: str | None = None) -> bool:
        """`Torrelque.resume`, on record."""
        one = self._acting(queue)
        return await self._do(one, 'resume', lambda: of_group(group), one.resume(group))

    async def set_limit(self, group: str | None = None, *, queue: str | None = None, **limits: Any) -> None:
        """`Torrelque.set_limit`, on record."""
        one = self._acting(queue)
        for limit in limits:
            if limit not in ('concurrency', 'rate'):
                raise TorrelqueTypeError(f'set_limit has no option {limit!r}: concurrency, rate, queue')

        def tell() -> str:
            given = ', '.join(f'{name} {spell_limit(value)}' for name, value in limits.items())
            return f'{of_group(group, "all groups")}: {given}'

        await self._do(one, 'limit', tell, one.set_limit(group, **limits))

    async def set_schedule(self, name: str, task: Any, *, queue: str | None = None, **options: Any) -> bool:
        """`Torrelque.set_schedule`, on record where it has changed something."""
        one = self._acting(queue)
        done = await one.set_schedule(name, task, **options)
        if done:
            await self._record(one, 'schedule', name)
        return done

    async def remove_schedule(self, name: str, *, queue: str | None = None, **options: Any) -> bool:
        """`Torrelque.remove_schedule`, likewise."""
        one = self._acting(queue)
        done = await one.remove_schedule(name, **options)
        if done:
            await self._record(one, 'unschedule', name)
        return done

    async def pause_schedule(self, name: str, *, queue: str | None = None) -> bool:
        """`Torrelque.pause_schedule`, likewise."""
        one = self._acting(queue)
        done = await one.pause_schedule(name)
        if done:
            await self._record(one, 'pause', f'schedule {name}')
        return done

    async def resume_schedule(self, name: str, *, queue: str | None = None) -> bool:
        """`Torrelque.resume_schedule`, likewise."""
        one = self._acting(queue)
        done = await one.resume_schedule(name)
        if done:
            await self._record(one, 'resume', f'schedule {name}')
        return done

    async def fire(self, name: str, *times: datetime | float, queue: str | None = None) -> list[TorrelqueTaskId]:
        """`Torrelque.fire`, likewise."""
        one = self._acting(queue)
        ids = await one.fire(name, *times)
        if ids:
            await self._record(one, 'fire', f'schedule {name}', len(ids))
        return ids

    async def sweep(self, *, queue: str | None = None) -> TorrelqueSweepResult:
        """`Torrelque.sweep`, on record."""
        one = self._acting(queue)
        result = await one.sweep()
        await self._record(one, 'sweep', '', sum(result))
        return result

    async def record(self, act: str, what: str, count: int = 0, *, queue: str | None = None) -> None:
        """Put an act on record that was done by other means than this object, such as an enqueue.

        :param act: one word, such as 'enqueue'.
        :param what: on what it was done, in words.
        :param count: tasks that it changed.
        :raises TorrelqueError: the operator may only read, or something cannot be meant.
        """
        check.check_name(act, 'act')
        check_words(what)
        await self._record(self._acting(queue), act, what, check.check_count(count, 'count', 0))

    async def claim(self, *, queue: str | None = None) -> bool:
        """Take the operator's number, whichever process asks: whether nobody had it in the last day.

        Whoever acts only then acts once, however often the same is asked for: a form that is sent twice, or to two
        processes.  A number that was taken stays so, whatever becomes of the act.

        :raises TorrelqueError: the operator has no number, or may only read.
        """
        return await acts.claim(lasting(await home_of(self._acting(queue))), self._number)

    async def is_claimed(self, *, queue: str | None = None) -> bool:
        """Whether somebody has taken the operator's number in the last day."""
        return await acts.is_claimed(await home_of(self.queue(queue)), self._number)

    async def forget(self) -> None:
        """Delete what hearts and operators have written of the queues: records, totals, acts.  Tasks, limits and pauses
        stay."""
        for queue in self.queues:
            await registry.forget(lasting(await home_of(self._acting(queue.name))))

    # Parts

    async def _schedule_of(self, queue: TorrelqueQueue, name: str, payload: int) -> ScheduleView:
        return await scheduled.read_schedule(await home_of(queue), name, payload)

    async def _find(self, what: str, name: str, queue: str | None, read: Callable[[TorrelqueQueue], Awaitable[T]]) -> T:
        """What the queue that is named has, or the only one that has it."""
        found: dict[str, T] = {}
        missing = None
        for one in self.queues if queue is None else (self.queue(queue),):
            try:
                found[one.name] = await read(one)
            except TorrelqueLookupError as exc:
                missing = exc
        if missing is not None and not found:
            raise missing
        reading.check_unique({name: [*found]}, what)
        return next(iter(found.values()))

    def queue(self, name: str | None = None) -> TorrelqueQueue:
        """The queue of a name; None where there is only one.

        :raises TorrelqueValueError: there is none of this name, or several and none is named.
        """
        found = [queue for queue in self.queues if name is None or queue.name == name]
        if len(found) != 1:
            names = ', '.join(repr(queue.name) for queue in self.queues)
            raise TorrelqueValueError(f'there is no queue {name!r}: {names}' if name else f'name one of {names}')
        return found[0]

    def _acting(self, name: str | None) -> TorrelqueQueue:
        self._all_acting()
        return self.queue(name)

    def _all_acting(self) -> tuple[TorrelqueQueue, ...]:
        if self._read_only:
            raise TorrelqueError('this operator may only read')
        return self.queues

    async def _act(self, name: str, selection: Selection, *, queue: str | None = None, **options: Any) -> Outcome:
        for option in options:
            if option not in _OPTIONS and option != 'error':
                raise TorrelqueTypeError(f'{name} has no option {option!r}: it has {", ".join(_OPTIONS)}, queue')
        if options.get('dry_run') is not True:
            self._all_acting()
        queues = (self.queue(queue),) if queue is not None or len(self.queues) == 1 else self.queues
        counts: Counter[str] = Counter()
        whole = False
        try:
            parts = [part for one in queues for part in await parts_of(one)]
            outcome = await bulk.act(parts, name, selection, counts=counts, **options)
            whole = not outcome.dry_run
            return outcome
        finally:
            # An act that fails half-way, or is cancelled, is on record with what it did; and one that has a number
            # where it has done nothing, too, because somebody looks for that.
            for one in queues:
                if counts[one.name] or whole and self._number:
                    await self._record(one, name, selection.describe() or 'all', counts[one.name])

    async def _do(self, queue: TorrelqueQueue, name: str, what: Callable[[], str], act: Awaitable[T]) -> T:
        """Carry an act out, and put it on record, also where it was done at some shards only."""
        try:
            done = await act
        except TorrelqueError as exc:
            if partly := getattr(exc, 'partly', None):
                await self._record(queue, name, f'{what()}, at {partly}')
            raise
        await self._record(queue, name, what())
        return done

    async def _record(self, queue: TorrelqueQueue, name: str, what: str, count: int = 0) -> None:
        await acts.write_act(lasting(await home_of(queue)), name, self._who, what, count, self._on_act, self._number)
