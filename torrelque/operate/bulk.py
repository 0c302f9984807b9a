"""Bulk acts: what is done to all tasks of a selection, slowly enough for the server to serve others.

A walk looks at the tasks of a place, 250 at a time, and those that are selected are acted on by the verbs of the queue,
each of which is repeated when its reply is lost, and done once.  Nothing is kept between two steps but counts.  So an
act may end at any moment: what is done is done, and the same act finds the rest.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from torrelque import TorrelqueConnectionError, TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

from . import pages
from .hearts import Watch
from .named import split_ids
from .pace import Pace
from .parts import find_living, lasting, place_of
from .plan import Plan
from .selection import Selection, check_selection, exact_name
from .values import AwayShard, Outcome, TaskView
from .verbs import VERBS, Done, Terms, check_places, judge, only_of

T = TypeVar('T')

CALL = 250
"""Tasks of one step at the most."""
EVERYWHERE = ('pending', 'working', 'delayed', 'dead', 'waiting')
"""Where tasks are that are not final."""
SCORED = ('dead', 'working')
"""Places that are one sorted set."""
PAYLOAD = 1_000_000
"""Bytes of the payloads that are read with others, where a text is looked for; longer ones are read one by one."""
REPORT = 1.0
"""s from one report to the next, at the most."""
FRESH = 0.1
"""s after which a look at tasks is too old to act on: they are looked at once more."""
SETTLE = 2.0
"""s for which the step that is on its way is waited for when the act is cancelled, so that it counts."""


def check_progress(on_progress: Callable[[Outcome], Any] | None) -> None:
    """Raise where nobody could be told by this how far something is."""
    if on_progress is not None and check.is_async(check.check_call(on_progress, 'on_progress', 'outcome')):
        raise TorrelqueTypeError('on_progress must be a plain function: nobody would wait for a coroutine')


# What is selected


async def select(
    queue: TorrelqueQueue, selection: Selection, payload: int, told: Callable[[int, int], Any] = lambda *_: None
) -> AsyncIterator[list[TaskView]]:
    """The tasks of a selection, as a walk finds them; of payloads up to so many bytes.

    :param told: is called after each step, with how many tasks it looked at, and how many it has found.
    :raises TorrelqueError: the selection cannot be meant; nothing was sent.
    """
    check_selection(selection)
    places = EVERYWHERE if selection.status is None else (selection.status,)
    async for seen, found in _scan(queue, selection, places, await server_time(queue), payload):
        told(seen, len(found))
        if found:
            yield found


async def server_time(queue: TorrelqueQueue) -> float:
    """The time of the queue's server (s)."""
    seconds, fraction = await queue.command('TIME')
    return int(seconds) + int(fraction) / 1e6


async def _scan(
    queue: TorrelqueQueue, selection: Selection, places: Sequence[str], now: float, payload: int,
    watch: Watch | None = None
) -> AsyncGenerator[tuple[int, list[TaskView]], None]:  # fmt: skip
    """How many tasks were looked at, and those of them that are selected, again and again."""
    matches = selection.matcher(now)
    text = selection.text is not None
    room = max(payload, PAYLOAD) if text else payload
    watch = watch or Watch(queue)
    async for tasks in _tasks(queue, selection, places, now, room, watch):
        if text:
            tasks = [await _whole(queue, task, room) for task in tasks]
        found = [task for task in tasks if matches(task)]
        yield len(tasks), found if room == payload else [_without(task, payload) for task in found]


async def _tasks(
    queue: TorrelqueQueue, selection: Selection, places: Sequence[str], now: float, room: int, watch: Watch
) -> AsyncIterator[list[TaskView]]:
    if selection.ids is not None and selection.status not in ('ready', 'orphaned'):
        ids = list(dict.fromkeys(map(str, selection.ids)))
        for start in range(0, len(ids), CALL):
            yield await pages.read_tasks(queue, ids[start : start + CALL], room, watch=watch)
        return
    oldest, newest = selection.since(now)
    for place in places:
        # In other places a task's score is no instant since when it is there.
        timed = place == 'dead'
        async for tasks in pages.walk(
            queue,
            place,
            room,
            since=_finite(oldest) if timed else None,
            until=_finite(newest) if timed else None,
            group=exact_name(selection.group),
            function=selection.function is not None,
            watch=watch,
        ):
            yield tasks


def _finite(instant: float) -> float | None:
    return instant if math.isfinite(instant) else None


async def _whole(queue: TorrelqueQueue, task: TaskView, room: int) -> TaskView:
    """A task with its payload, where that is longer than what is read with others."""
    if task.raw is not None or task.size is None or task.size <= room:
        return task
    [found] = await pages.read_tasks(queue, [task.id], task.size)
    return replace(task, raw=found.raw, function=found.function, function_known=found.function_known)


def _without(task: TaskView, payload: int) -> TaskView:
    return task if task.size is None or task.size <= payload else replace(task, payload=None, raw=None)


# What is done


async def act(
    queue: TorrelqueQueue | Sequence[TorrelqueQueue],
    name: str,
    selection: Selection,
    *,
    error: str | None = None,
    limit: int | None = None,
    rate: float | None = None,
    paced: bool = True,
    dry_run: bool = False,
    on_progress: Callable[[Outcome], Any] | None = None,
    counts: Counter[str] | None = None,
    plan: Plan | None = None,
) -> Outcome:
    """Carry an act out: 'redrive', 'cancel', 'requeue' or 'bury'; on several queues one after the other.

    :param error: why tasks are buried.
    :param limit: tasks at the most that are changed, over all queues.
    :param rate: tasks a second, evenly; what was missed is made up for half a second at the most.
    :param paced: whether to wait, after each step, three times as long as it took.
    :param dry_run: only count; where nothing but a place and an age is given, without a look at each task.
    :param on_progress: is called with the `Outcome` so far after each step, and each second.
    :param counts: is told how many tasks of each queue were changed, as it goes on.
    :param plan: what a dry run of the same act has found is put there; without ``dry_run``, no other task is changed.
    :raises TorrelqueError: an option, or the selection, cannot be meant: nothing was sent.  Or the server refused, or
        was away for some ten seconds: what was done till then was told of by ``on_progress``.

    When it is cancelled, the step that is on its way is waited for, two seconds at the most, and is told of as well.
    """
    queues = tuple([queue] if isinstance(queue, TorrelqueQueue) else queue)
    places = check_places(name, selection)
    if check.check_error(error) and name != 'bury':
        raise TorrelqueTypeError(f'an error is given to bury tasks, not to {name} them')
    if limit is not None:
        check.check_count(limit, 'limit')
    check.check_flag(paced, 'paced')
    check.check_flag(dry_run, 'dry_run')
    check_progress(on_progress)
    if plan is not None and not isinstance(plan, Plan):
        raise TorrelqueTypeError(f'a plan is a Plan that a dry run was given, not {plan!r}')
    for one in queues if plan is not None and not dry_run else ():
        if plan is not None and plan.began(one.name, place_of(one)) is None:
            raise TorrelqueValueError(f'the plan is none of queue {one.name!r}: no dry run was given it')
    run = _Run(queues, name, error, limit, Pace(rate, paced), dry_run, on_progress, counts, plan)
    return await run.carry_out(selection, places)


class _Run:
    """An act on its way."""

    def __init__(
        self,
        queues: Sequence[TorrelqueQueue],
        name: str,
        error: str | None,
        limit: int | None,
        pace: Pace,
        dry_run: bool,
        on_progress: Callable[[Outcome], Any] | None,
        counts: Counter[str] | None,
        plan: Plan | None,
    ) -> None:
        self._plan = plan
        self._queues = queues
        self._name = name
        self._terms = Terms(error)
        self._limit = limit
        self._pace = pace
        self._dry_run = dry_run
        self._on_progress = on_progress
        self._counts = Counter[str]() if counts is None else counts
        self._began = time.monotonic()
        self._seen = self._matched = self._done = 0
        self._refused: Counter[str] = Counter()
        self._named = False
        self._away: tuple[AwayShard, ...] = ()
        """Shards that did not answer when it began; others go on without them."""

    async def carry_out(self, selection: Selection, places: Sequence[str]) -> Outcome:
        """All steps of all queues."""
        plan, given = self._plan, self._limit
        self._terms = self._terms._replace(
            only=only_of(self._name, selection.status, selection.ids is not None)
        )
        # Whoever names tasks means these, whatever becomes of them meanwhile.
        self._named = selection.ids is not None
        if plan is not None and self._dry_run:
            plan.begin()
        elif plan is not None and not self._named:
            least = plan.matched if self._limit is None else min(self._limit, plan.matched)
            if not least:
                return self._outcome(finished=True)
            self._limit = least
        there, self._away = await find_living(self._queues)
        # All begin at the same moment: what dies meanwhile in the last queue is not brought back either.
        starts = [await self._start(queue, selection) for queue in there]
        if plan is not None and plan.ids is not None and not self._dry_run:
            parts = [replace(selection, ids=plan.ids.get(place_of(queue), ())) for queue in there]
        else:
            parts = await split_ids(there, selection, bool(self._away))
        if selection.ids is not None and sum(len(its.ids or ()) for its in parts) == len({*map(str, selection.ids)}):
            # All that are named are known to those that are there.
            self._away = ()
        for queue, (now, until), its in zip(map(lasting, there), starts, parts, strict=True):
            if self._dry_run and places[0] in SCORED and _is_bound_by_time(its, places[0]):
                await self._count(queue, its, places[0], now, until)
            elif its.ids is None or its.ids:
                await self._go_through(queue, its, places, now, until)
            if self._limit_is_reached():
                break
        if plan is not None and self._dry_run:
            plan.matched = self._matched
        if self._away and not self._dry_run and not self._limit_is_reached():
            count, names = len(self._queues), ', '.join(map(str, self._away))
            raise TorrelqueConnectionError(
                f'{self._name} is done at {count - len(self._away)} of {count} shards, of {self._done} tasks, and not '
                f'at {names}: {self._away[0].why}'
            )
        return self._outcome(finished=not self._limit_is_reached() or given is None)

    async def _start(self, queue: TorrelqueQueue, selection: Selection) -> tuple[float, float]:
        """The server's time, and until when a task must have died to be redriven, or anything else.

        Else those that die again meanwhile would be brought back in a circle.  After a clock was set back there are
        tasks that have died in its future; they are dead as well.
        """
        if self._plan is not None and not self._dry_run:
            now = self._plan.began(queue.name, place_of(queue)) or 0.0
        else:
            now = await server_time(queue)
        if self._plan is not None and self._dry_run:
            self._plan.note(queue.name, place_of(queue), now)
        if self._name != 'redrive' or selection.ids is not None:
            return now, math.inf
        words = await queue.command('ZREVRANGE', queue.keys['dead'], 0, 0, 'WITHSCORES')
        # RESP3 has a pair for each member, RESP2 all in a row.
        newest = words[0] if words and isinstance(words[0], list) else words
        return now, max(now, float(newest[1]) / 1000 if newest else now)

    async def _count(self, queue: TorrelqueQueue, selection: Selection, place: str, now: float, until: float) -> None:
        """Count all tasks of a place, or those that died in a time, without looking at each."""
        oldest, newest = selection.since(now)
        bounds = f'{oldest * 1000:.17g}', f'{min(newest, until) * 1000:.17g}'
        count = int(await queue.command('ZCOUNT', queue.keys[place], *bounds))
        if self._plan is not None:
            self._plan.ids = None
        self._seen += count
        self._matched += count if self._limit is None else min(count, self._limit - self._matched)

    async def _go_through(
        self, queue: TorrelqueQueue, selection: Selection, places: Sequence[str], now: float, until: float
    ) -> None:
        if selection.older is None and until == now:
            # The walk then ends there, too.
            selection = replace(selection, older=0)
        # Whoever works on a task is nothing to an act, but where it is about tasks that are with nobody.
        scan = _scan(queue, selection, places, now, 0, Watch(queue, silent=selection.status != 'orphaned'))
        try:
            while not self._limit_is_reached():
                self._pace.begin()
                looked = time.monotonic()
                step = await self._watched(_next(scan))
                if step is None:
                    break
                seen, found = step
                self._seen += seen
                if self._plan is not None and not self._dry_run and not self._named:
                    found = [task for task in found if self._plan.has(task, places)]
                due = [task for task in found if task.died is None or _was_dead(task.died, now, until, task)]
                await self._act_on(queue, due, selection, now, looked)
                self._report()
                await self._sleep(self._pace.rest())
        finally:
            await scan.aclose()

    async def _act_on(
        self, queue: TorrelqueQueue, tasks: Sequence[TaskView], selection: Selection, now: float, looked: float
    ) -> None:
        """Act on some tasks, which were looked at at an instant of this clock, in portions as small as the rate wants.
        """
        start = 0
        while start < len(tasks) and not self._limit_is_reached():
            most = min(CALL, self._pace.portion)
            if self._limit is not None:
                most = min(most, self._limit - (self._matched if self._dry_run else self._done))
            some = tasks[start : start + most]
            start += len(some)
            fit: list[TaskView] = []
            for task in some:
                if refusal := judge(self._name, task):
                    self._refused[refusal] += 1
                else:
                    fit.append(task)
            self._matched += len(some)
            if self._dry_run and self._plan is not None:
                self._plan.add(place_of(queue), some)
            if fit and not self._dry_run:
                await self._sleep(self._pace.due())
                if time.monotonic() - looked > FRESH:
                    fit = await self._watched(self._still_selected(queue, fit, selection, now))
                if fit:
                    await self._watched(self._do(queue, fit), SETTLE)
                self._pace.sent(len(fit))

    async def _still_selected(
        self, queue: TorrelqueQueue, tasks: Sequence[TaskView], selection: Selection, now: float
    ) -> list[TaskView]:
        """Those that are what was selected; the others are counted by why.

        Between look and act there may be minutes, where there is a rate, and tasks go on meanwhile.
        """
        # A payload never changes, and ids are those that were asked for.
        matches = replace(selection, function=None, text=None, ids=None).matcher(now)
        fit: list[TaskView] = []
        ids, nobody = [task.id for task in tasks], Watch(queue, silent=True)
        found = await pages.read_tasks(queue, ids, 0, function=False, watch=nobody)
        for task, fresh in zip(tasks, found, strict=True):
            if refusal := judge(self._name, fresh):
                self._refused[refusal] += 1
            elif matches(fresh) and self._is_as_it_was(task, fresh, selection.status):
                fit.append(task)
            else:
                self._refused['changed'] += 1
        return fit

    def _is_as_it_was(self, task: TaskView, fresh: TaskView, status: str | None) -> bool:
        """Whether a task that still matches is the same one, in what the selection does not name."""
        only = self._terms.only
        if fresh.enqueue_time != task.enqueue_time or only is not None and fresh.status not in only:
            return False
        if self._name == 'redrive' and fresh.died != task.died:
            return False
        # A lease that was renewed says that somebody has it after all.
        return status != 'orphaned' or fresh.renewed == task.renewed

    async def _do(self, queue: TorrelqueQueue, tasks: Sequence[TaskView]) -> None:
        done: Done = await VERBS[self._name].call(queue, tasks, self._terms)
        self._done += done.changed
        self._counts[queue.name] += done.changed
        self._refused.update(done.refused)
        self._report()
        if done.failure is not None:
            raise done.failure

    def _limit_is_reached(self) -> bool:
        return self._limit is not None and (self._matched if self._dry_run else self._done) >= self._limit

    # Waiting

    async def _watched(self, call: Awaitable[T], settle: float = 0.0) -> T:
        """Wait for a call, and report each second meanwhile; where that ends early, for so long (s) for what it does.
        """
        task = asyncio.ensure_future(call)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=REPORT)
                if not task.done():
                    self._report()
        finally:
            if settle and not task.done():
                await asyncio.wait({task}, timeout=settle)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if not task.cancelled():
                # Whoever has ended the act hears of that, and not of what the call came to.
                task.exception()
        return task.result()

    async def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, REPORT))
            if left > REPORT:
                self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._outcome())

    def _outcome(self, *, finished: bool = False) -> Outcome:
        return Outcome(
            act=self._name,
            queue=', '.join(dict.fromkeys(queue.name for queue in self._queues)),
            seen=self._seen,
            matched=self._matched,
            done=self._done,
            refused=tuple(self._refused.most_common()),
            dry_run=self._dry_run,
            finished=finished,
            took=time.monotonic() - self._began,
            away=self._away,
        )


def _was_dead(died: float, now: float, until: float, task: TaskView) -> bool:
    """Whether a task was dead when the act began.  After a clock was set back, one that has died in its future was; one
    that died meanwhile has not, however far ``until`` is ahead."""
    return until == math.inf or died <= now or task.server_time < died <= until


def _is_bound_by_time(selection: Selection, place: str) -> bool:
    """Whether a selection says no more of tasks than where they are, and since when they are dead."""
    if place == 'dead':
        selection = replace(selection, older=None, newer=None)
    return replace(selection, status=None) == Selection() and selection.status != 'orphaned'


async def _next(scan: AsyncIterator[T]) -> T | None:
    try:
        return await scan.__anext__()
    except StopAsyncIteration:
        return None
