"""The builders: one a script, in the order of ``docs/data-model.md``.  What comes back is read in `replies`.

A builder checks all that the caller gave, and changes nothing.  A call is a value: it is sent by the asynchronous
queue, together with calls of others, by the synchronous one, alone, or becomes a part of a transaction.  Whatever it
has once, before the arguments of its tasks, is its head, by the table.
"""

import functools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torrelque.codec import TorrelqueSerialiser, check_serialiser, serialise
from torrelque.error import TorrelqueTypeError, TorrelqueValueError
from torrelque.model import Duration, TorrelqueTaskId, TorrelqueTaskStatus

from . import scheduling
from .bounds import BOUNDS, Bounds
from .bulk import BulkEnqueue, Many
from .carrying import Errand
from .check import (
    check_count,
    check_error,
    check_group,
    check_id,
    check_ids,
    check_iterable,
    check_name,
    check_rate,
    check_statuses,
    is_none,
    milliseconds,
)
from .flowing import Part, Plan, node_id
from .ids import Ids
from .keys import make_keys
from .lease import release_token, token_of
from .options import enqueue_options, release_options
from .routed import Called, keyed_of
from .scheduling import Instant
from .table import ROWS
from .transition import Arg, Heads, Transitions

logger = logging.getLogger('torrelque')

IS_KEYDB = ('COMMAND', 'INFO', 'KEYDB.HRENAME')
"""A question to which KeyDB alone knows an answer."""


class Call(NamedTuple):
    """One task's part of a call."""

    name: str
    """The script."""
    args: list[Arg]
    """What is said of the task."""
    task_id: Any
    """The task's id, as the caller gave it or, of a new task, as a `TorrelqueTaskId`."""
    size: int
    """Bytes that it counts as, of those that a call has at the most."""


_call: Callable[[tuple[str, list[Arg], Any, int]], Call] = functools.partial(tuple.__new__, Call)
"""Makes a `Call` without the function in Python that a named tuple has for it: one is made for each call of a verb."""


class Calls(Called):
    """What is the same for a queue object however it sends: its scripts, and the builders of their calls."""

    def __init__(
        self, queue: str, serialiser: TorrelqueSerialiser, max_tasks: int | None, bounds: Bounds = BOUNDS
    ) -> None:
        super().__init__(queue)
        self.serialiser = check_serialiser(serialiser)
        self.bounds = bounds
        self.keys = make_keys(queue)
        self.transitions = Transitions(self.keys, queue)
        self._plain: tuple[Any, str] = (object(), '')
        """The lease of the plain task that was enqueued last, and its options."""
        self.ids = Ids()
        """Makes the ids of tasks and flows that have none."""
        self._max_tasks = max_tasks
        limit = '' if max_tasks is None else str(check_count(max_tasks, 'max_tasks'))
        self.heads = Heads(max_tasks=limit, acknowledged='', block=bounds.block_ms)
        self._most = str(bounds.bulk_bytes)
        self.when_low: Callable[[list[str]], object] | None = None
        """Is told of schedules that have few instants left, after a sweep that has fired them."""
        self.when_out: Callable[[], object] | None = None
        """Is told that there is something to carry to other queues, of flows."""

    def of_queue(self, name: str) -> 'Calls':
        """The same for another queue of the server."""
        calls = Calls(name, self.serialiser, self._max_tasks, self.bounds)
        calls.name = calls.transitions.queue = self.name_of(name)
        return calls

    def mark(self) -> str:
        """A name for a call, by which the scripts know it when it is sent twice: 15 characters.

        Nothing is kept for it that the threads of a synchronous queue, or the processes of a fork, would share.
        """
        return os.urandom(8).hex()[:15]

    def make_head(self, name: str, acknowledge: Callable[[], str]) -> Callable[[], list[Arg]]:
        """A function that makes the head of each call of a script, of which some acknowledge a claim."""
        head = self.heads[name]
        if 'acknowledged' not in ROWS[name].head:
            return lambda: head
        at = ROWS[name].head.index('acknowledged')
        before, behind = head[:at], head[at + 1 :]
        return lambda: [*before, acknowledge(), *behind]

    def words(self, call: Call, resent: bool = False) -> list[Arg | int]:
        """A call with the text of its script, for the pipeline of a caller."""
        return self.transitions[call.name].words([*self.heads[call.name], *call.args], resent)

    def weight(self, task_id: str) -> int:
        """Bytes that a task counts as in a call that settles it."""
        grouped = isinstance(task_id, TorrelqueTaskId) and task_id.group is not None
        return self.bounds.grouped_bytes if grouped else 0

    # The life of a task

    def enqueue(
        self,
        task: Any,
        lease: Duration,
        delay: Duration | None,
        task_id: str | None,
        max_attempts: int | None,
        group: str | None,
        priority: int,
    ) -> Call:
        """A task to store."""
        mark = None
        if task_id is None:
            new_id = self.ids.new()
            if delay is None and max_attempts is None and group is None and type(priority) is int and priority == 0:
                options = self._plain_options(lease)
                payload = serialise(self.serialiser, task, 'the task')
                return _call(('enqueue', [new_id, payload, options], new_id, len(payload)))
        else:
            # A subclass of str may call itself something else, as a member of an enumeration does; so it is made plain.
            new_id, mark = TorrelqueTaskId(str.__str__(check_id(task_id))), self.mark()
        options = enqueue_options(lease, delay, max_attempts, mark, group, priority, None, keyed_of(group or task_id))
        payload = serialise(self.serialiser, task, 'the task')
        size = len(payload) + (0 if group is None else self.bounds.grouped_bytes)
        return _call(('enqueue', [new_id, payload, options], new_id, size))

    def _plain_options(self, lease: Duration) -> str:
        """The options of a task that has a lease and nothing else; most have the same object as the one before."""
        # Threads may come between any two steps, so lease and options are read, and replaced, as one.
        known, options = self._plain
        if known is lease:
            return options
        options = enqueue_options(lease, None, None, None)
        if type(lease) in (int, float):
            self._plain = lease, options
        return options

    def flow(self, plan: Plan, part: Part) -> list[Arg]:
        """A flow to make, or a part of it."""
        return [plan.flow_id, plan.mark, *part.words]

    def add(self, by: str, plan: Plan, part: Part) -> list[Arg]:
        """Tasks to add to the flow of a task."""
        return [by, token_of(by), *part.words]

    def depend(self, task: Call, depends_on: Sequence[str]) -> Call:
        """A task to store that waits for others, made of one that waits for none."""
        return task._replace(name='depend', args=[self.ids.new(), self.mark(), *task.args, *depends_on])

    def claim(self, acknowledged: str, record: str, wanted: int, staying: int) -> list[Arg]:
        """Tasks to take: so many, by a consumer that stays waiting when it gets fewer than ``staying``.

        What it takes goes on record under the key ``record``.
        """
        wanted = min(wanted, self.bounds.bulk)
        return [acknowledged, record, str(wanted), str(staying), self.heads.words['block'], self._most]

    def touch(self, task_id: str, task_timeout: Duration | None, progress: Any) -> Call:
        """A lease to renew."""
        data = None if progress is None else serialise(self.serialiser, progress, 'the progress')
        args: list[Arg] = [
            check_id(task_id),
            token_of(task_id),
            '' if task_timeout is None else str(milliseconds(task_timeout, 'task_timeout')),
            b'' if data is None else b'=' + data,
        ]
        return _call(('touch', args, task_id, 0 if data is None else len(data)))

    def requeue(
        self, task_id: str, delay: Duration | None, task_timeout: Duration | None, error: str | None, forgive: bool
    ) -> Call:
        """A task to give back."""
        args = self._requeue(
            check_id(task_id),
            token_of(task_id),
            str(0 if delay is None else milliseconds(delay, 'delay')),
            '' if task_timeout is None else str(milliseconds(task_timeout, 'task_timeout')),
            '1' if forgive else '',
            check_error(error),
        )
        return _call(('requeue', args, task_id, len(error or '') + self.weight(task_id)))

    def _requeue(self, task_id: Arg, token: str, delay: str, lease: str, forgive: str, error: str) -> list[Arg]:
        return [task_id, token, self.mark(), delay, lease, forgive, error]

    def release(
        self, task_id: str, result: Any, result_ttl: Duration | None, status: TorrelqueTaskStatus, default_ttl: Duration
    ) -> Call:
        """A task to finish."""
        check_id(task_id)
        data = None if result is None else serialise(self.serialiser, result, 'the result')
        args = [task_id, release_token(task_id), *release_options(status, data, result_ttl, default_ttl, task_id)]
        return _call(('release', args, task_id, (0 if data is None else len(data)) + self.weight(task_id)))

    def bury(self, task_id: str, error: str | None, tell_after: Duration | None) -> Call:
        """A task to take out of the flow."""
        tell = '' if tell_after is None else str(milliseconds(tell_after, 'tell_after'))
        args = self._bury(check_id(task_id), token_of(task_id), check_error(error), tell)
        return _call(('bury', args, task_id, len(error or '') + self.weight(task_id)))

    def _bury(self, task_id: Arg, token: str, error: Arg, tell: str) -> list[Arg]:
        return [task_id, token, self.mark(), error, tell]

    def tell(self, max_tasks: int, again_after: Duration) -> list[Arg]:
        """Deaths that nobody saw to tell of, some at the most, and in what time they are told of again."""
        most = min(self.bounds.grouped_tasks, check_count(max_tasks, 'max_tasks'))
        return [str(most), str(milliseconds(again_after, 'again_after')), str(self.bounds.bulk_bytes)]

    def told(self, task_ids: Iterable[str]) -> Iterator[list[Arg]]:
        """Deaths that were told of, in calls; nothing is made where one of the ids is none of a delivery."""
        args: list[Arg] = []
        for task_id in check_iterable(task_ids):
            if not isinstance(task_id, TorrelqueTaskId) or not task_id.token:
                raise TorrelqueValueError(f'a death is acknowledged by the id of its delivery, not by {task_id!r}')
            args += [task_id.encode('utf-8', 'surrogateescape'), task_id.token]
        return _in_parts(args, 2 * self.bounds.bulk)

    def redrive(self, task_ids: Sequence[Arg], flow_id: str = '') -> list[Arg]:
        """Dead tasks to bring back, as many as go in one call; or tasks of a flow, of which the dead ones come back."""
        return [self.mark(), flow_id, '1' if self.is_shard else '', *task_ids]

    def cancel(self, task_id: str, only: Iterable[TorrelqueTaskStatus] | None = None) -> Call:
        """A task to take back, whatever its status is, or only where it is one of some."""
        args: list[Arg] = [check_id(task_id), self.mark(), '' if only is None else check_statuses(only, 'only')]
        return _call(('cancel', args, task_id, self.bounds.grouped_bytes))

    def tell_low(self, names: list[str]) -> None:
        """Schedules have few instants left."""
        if names and self.when_low is not None:
            try:
                self.when_low(names)
            except Exception:
                logger.exception('queue %r: %r has failed', self.name, self.when_low)

    def tell_out(self, out: bool) -> None:
        """There is something to carry, where that is so."""
        if out and self.when_out is not None:
            self.when_out()

    def sweep(self) -> list[Arg]:
        """Whatever is due to bring back, some at the most."""
        return [str(self.bounds.sweep)]

    def spread(self) -> list[Arg]:
        """What is to be done of flows, some at the most."""
        return []

    def collect(self) -> list[Arg]:
        """What is to be carried to other queues, some at the most."""
        return [str(self.bounds.grouped_tasks), self._most]

    def host(self, errands: Iterable[Errand], home: str) -> list[Arg]:
        """Tasks of a flow of another queue to take in."""
        return [word for errand in errands for word in errand.words(home)]

    def arrive(self, errands: Iterable[Errand], sender: str) -> list[Arg]:
        """News from another queue."""
        return [word for errand in errands for word in errand.words(sender)]

    def carried(self, errands: Iterable[tuple[Errand, bool]]) -> list[Arg]:
        """What was collected, and whether each has arrived."""
        return [word for errand, arrived in errands for word in errand.receipt(arrived)]

    def fire(self, name: str, times: Sequence[str]) -> list[Arg]:
        """A schedule to fire, now or for some instants."""
        return [self.mark(), name, *times]

    def graft(self, by: str, plan: Plan, part: Part, last: str, task: Any, meta: Mapping[str, Any]) -> list[Arg]:
        """Tasks that take the place of a task."""
        payload = serialise(self.serialiser, task, 'the task of the flow')
        return [by, token_of(by), node_id(plan.flow_id, last), payload, json.dumps(meta), *part.words]

    def give(self, by: str, key: str, value: Any) -> list[Arg]:
        """A named value to keep with a flow."""
        data = serialise(self.serialiser, value, 'the value')
        return [check_id(by), token_of(by), check_name(key, 'a key'), data]

    # What is only read, or set by operators

    def stats(self) -> list[Arg]:
        """The queue to count."""
        return []

    def limit(
        self, group: str | None, concurrency: float | None, rate: tuple[int, Duration] | float | None
    ) -> list[Arg]:
        """Limits to set, of a group or the default; '' is none of one's own, and in Redis 0 is no limit."""
        name = check_group(group)
        limits: dict[str, Any] = {}
        if concurrency is not None:
            limits['concurrency'] = 0 if is_none(concurrency) else check_count(concurrency, 'concurrency')  # type: ignore[arg-type]
        if rate is not None:
            limits['rate'] = 0 if is_none(rate) else check_rate(rate)  # type: ignore[arg-type]
        return [name, json.dumps(limits, separators=(',', ':')) if limits else '', *self._as_shard()]

    def _as_shard(self, *before: Arg) -> list[Arg]:
        """What tells a script that a group may have come to another shard."""
        return [*before, '1'] if self.is_shard else []

    def advance(self, names: Sequence[Arg]) -> Iterator[list[Arg]]:
        """Groups to look at anew, in calls."""
        return _in_parts(names, self.bounds.grouped_tasks)

    def pause(self, group: str | None, probe: Duration | None) -> list[Arg]:
        """A group or the queue to pause, and the time from one task that is let through to the next, if any is."""
        if probe is None:
            return [check_group(group), *self._as_shard('')]
        if not (every := milliseconds(probe, 'probe')):
            raise TorrelqueValueError('probe must be more than 0 seconds')
        return [check_group(group), str(every), *self._as_shard()]

    def resume(self, group: str | None, probing: bool) -> list[Arg]:
        """A group or the queue whose pause ends, or a pause with probes only."""
        return [check_group(group), '1' if probing else '', *self._as_shard()]

    def group(self, group: str) -> list[Arg]:
        """A group to tell of."""
        return [check_name(group, 'a group')]

    def schedule(
        self, name: str, task: Any, lease: Duration, max_attempts: int | None, group: str | None, priority: int,
        rule: scheduling.Rule,
    ) -> list[Arg]:  # fmt: skip
        """A schedule to set."""
        check_name(name, 'the name of a schedule')
        if rule.overlap == 'queue' and group is not None:
            raise TorrelqueTypeError("with overlap='queue' tasks have a group of the schedule's own: give no other")
        group = scheduling.GROUP + name if rule.overlap == 'queue' else group
        options = enqueue_options(lease, None, max_attempts, None, group, priority, keyed=keyed_of(group))
        options = options if options.startswith('{') else f'{{"timeout":{options}}}'
        return [self.mark(), name, serialise(self.serialiser, task, 'the task'), options, *rule.words(self.bounds)]

    def extend(self, name: str, times: Iterable[Instant], after: Instant | None, spec: Any) -> list[Arg]:
        """A schedule to give more instants."""
        known = '' if after is None else str(scheduling.instant_of(after, 'after'))
        most, spec_text = self.bounds.instants, scheduling.spec_of(spec)
        fresh = scheduling.instants(times, most)
        return [self.mark(), check_name(name, 'the name of a schedule'), known, spec_text, str(most), *fresh]

    def unschedule(self, name: str, source: str | None, revision: int | None) -> list[Arg]:
        """A schedule to forget."""
        return [check_name(name, 'the name of a schedule'), *scheduling.owner(source, revision)]

    def hold(self, name: str, paused: bool) -> list[Arg]:
        """A schedule to pause, or to let go on."""
        return [self.mark(), name, '1' if paused else '']

    def schedules(self, names: Sequence[Arg]) -> list[Arg]:
        """Schedules to read, as many as go in one call."""
        return [str(self.bounds.told_instants), *names]

    def state(self, fields: Sequence[str]) -> list[str]:
        """States to read; behind it come the ids of their tasks."""
        return [str(self.bounds.bulk_bytes), str(len(fields)), *fields]

    def leave(self, acknowledged: str) -> list[Arg]:
        """The bell to leave."""
        return [acknowledged, *self.heads['leave'][1:]]

    # Groups that come to a new shard

    def fence(self, keyed: int, number: int) -> list[Arg]:
        """Whoever goes by fewer shards than so many, of which this is one, to be refused."""
        return [str(keyed), str(number)]

    def shut(self) -> list[Arg]:
        """All groups not to be handed out."""
        return []

    def inherit(self, words: Sequence[Arg], last: bool) -> list[Arg]:
        """Limits and pauses of groups to take over."""
        return ['1' if last else '', *words]

    def take(self, task_ids: Sequence[Arg]) -> list[Arg]:
        """Tasks whose first delay has not ended to take out."""
        return [*task_ids]

    def put(self, words: Sequence[Arg]) -> list[Arg]:
        """Tasks that were taken out to put in: id and what is known of it by turns."""
        return [*words]

    def open(self, cursor: Arg) -> list[Arg]:
        """Groups to be handed out."""
        return [cursor]

    def left(self, place: str, cursor: Arg) -> list[Arg]:
        """What is left of groups and ids that have moved."""
        return [place, cursor]

    # Tasks of a claim

    def reject(self, task_id: Arg, token: str, error: BaseException) -> list[Arg]:
        """A claimed task to bury because its payload cannot be read; nobody sees it die, so deaths are told of it."""
        why = f'the payload cannot be read: {type(error).__name__}: {error}'
        logger.warning('queue %r: task %r is dead: %s', self.name, task_id, why)
        return self._bury(task_id, token, why.encode('utf-8', 'backslashreplace'), '0')

    def give_back(self, task_ids: Sequence[TorrelqueTaskId]) -> Iterator[list[Arg]]:
        """Claimed tasks to put to the head of the queue, uncounted, the last of them first; in calls."""
        for start in range(0, len(task_ids), self.bounds.grouped_tasks):
            some = task_ids[start : start + self.bounds.grouped_tasks]
            # The ids are as they came: one that another client made need not be one that could be given here.
            yield [word for task_id in some for word in self._requeue(task_id, task_id.token, '0', '', '1', '')]

    # Many tasks

    def enqueue_many(
        self,
        lease: Duration,
        delay: Duration | None,
        max_attempts: int | None,
        group: str | Callable[[Any], str | None] | None,
        priority: int | Callable[[Any], int],
    ) -> BulkEnqueue:
        """Tasks to store, of an iterable; group and priority may be functions of the task."""

        def options_of(task: Any) -> tuple[str, bool]:
            its_group = group(task) if callable(group) else group
            its_priority = priority(task) if callable(priority) else priority
            of_all = lease, delay, max_attempts, None, its_group, its_priority, None
            return enqueue_options(*of_all, keyed_of(its_group)), its_group is not None

        varied = callable(group) or callable(priority)
        return BulkEnqueue(self.name, self.serialiser, self.bounds, self.ids, options_of, varied)

    def release_many(
        self, task_ids: Iterable[str], result_ttl: Duration | None, status: TorrelqueTaskStatus, default_ttl: Duration
    ) -> Many:
        """Tasks to finish."""
        return Many('release', check_ids(task_ids), release_options(status, None, result_ttl, default_ttl))

    def touch_many(self, task_ids: Iterable[str], task_timeout: Duration | None) -> Many:
        """Leases to renew."""
        lease = '' if task_timeout is None else str(milliseconds(task_timeout, 'task_timeout'))
        return Many('touch', check_ids(task_ids), [lease, b''])

    def parts(self, many: Many) -> Iterator[tuple[Sequence[str], list[Arg]]]:
        """Tasks to release or to touch, in calls: their ids, and the arguments."""
        token = release_token if many.name == 'release' else token_of
        ids, rest, weight = many.task_ids, many.rest, self.weight
        most, most_bytes = self.bounds.bulk, self.bounds.bulk_bytes
        start = end = size = 0
        while start < len(ids):
            while end < len(ids) and end - start < most and size < most_bytes:
                # A release costs the server half of other transitions, and no caller waits for a single outcome of a
                # bulk call; so a task weighs half.
                size += weight(ids[end]) // 2
                end += 1
            some = ids[start:end]
            yield some, [word for task_id in some for word in (task_id, token(task_id), *rest)]
            start, size = end, 0


def _in_parts(words: Sequence[Arg], length: int) -> Iterator[list[Arg]]:
    for start in range(0, len(words), length):
        yield [*words[start : start + length]]
