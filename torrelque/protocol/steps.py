"""Verbs that take several calls, as generators: what each yields is sent, and it goes on with the reply.

Nothing here waits or sends, so the asynchronous queue and the synchronous one have the same steps.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from torrelque.error import (
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueTypeError,
    TorrelqueValueError,
    of_queue,
)
from torrelque.model import (
    TorrelqueDeath,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueQueueStats,
    TorrelqueSerialiser,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
)

from .calls import Plan, tell_troubles, told
from .check import check_count, check_group, check_id, check_name, milliseconds, serialise
from .replies import (
    UNREADABLE,
    check_reply,
    outcome_error,
    read_deaths,
    read_group_stats,
    read_limit,
    read_outcomes,
    read_state,
    read_stats,
    read_troubles,
    read_words,
    text,
    unreadable,
)
from .transition import (
    BULK,
    BULK_BYTES,
    FEW,
    GROUPED,
    STATE_FIELDS,
    SWEEP,
    Arg,
    limit_value,
    pause_args,
    release_token,
    token_of,
    weight_of,
)

T = TypeVar('T')
Steps = Generator[tuple[str | None, list[Arg]], Any, T]
"""Yields a transition with its arguments, or None with the words of a command that reads."""


def advance(steps: Steps[T], call: str | None, reply: Any) -> tuple[str | None, list[Arg]]:
    """The next call, after the reply to the one before; `StopIteration` with what they come to.

    :raises UnreadableError: the reply is of another kind.
    """
    if call is not None:
        check_reply(call, reply)
    try:
        return steps.send(reply)
    except UNREADABLE as exc:
        if isinstance(exc, TorrelqueError):
            raise
        raise unreadable(call or 'a question', reply) from exc


# Enqueueing many


class Enqueuer:
    """Puts tasks into calls.  The next may be made while one is on its way, to be sent when it has returned: so what
    is in the queue after a failure is a beginning of the iterable, without gaps."""

    def __init__(
        self, serialiser: TorrelqueSerialiser, options: Callable[[Any], str] | str, queue: str | None = None
    ) -> None:
        self.queue = queue
        """Name of the queue, for messages."""
        self.task_ids: list[Any] = []
        """Ids of the tasks that are known to be in the queue."""
        self._serialiser = serialiser
        self._options = options
        self._made: list[TorrelqueTaskId] = []
        self._args: list[Arg] = []
        self._size = 0
        self._next: tuple[TorrelqueTaskId, bytes, str, int] | None = None
        self._away: list[TorrelqueTaskId] = []

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._made)

    def add(self, task: Any) -> bool:
        """Take a task; whether it is time to send."""
        payload = serialise(self._serialiser, task, 'the task')
        options = self._options if isinstance(self._options, str) else self._options(task)
        task_id = TorrelqueTaskId(os.urandom(16).hex())
        size = len(payload) + (GROUPED if '"group"' in options else 0)
        if self._made and self._size + size > BULK_BYTES:
            self._next = task_id, payload, options, size
            return True
        self._take(task_id, payload, options, size)
        return len(self._made) >= BULK or self._size >= BULK_BYTES

    def _take(self, task_id: TorrelqueTaskId, payload: bytes, options: str, size: int) -> None:
        self._args += (task_id, payload, options)
        self._made.append(task_id)
        self._size += size

    def take_call(self) -> list[Arg]:
        """Arguments of the call of what was taken since the last, which has returned; none when there is nothing."""
        self._away, self._made = self._made, []
        args, self._args, self._size = self._args, [], 0
        if self._next is not None:
            one, self._next = self._next, None
            self._take(*one)
        return args

    def returned(self, reply: Any) -> None:
        """Keep the ids of the tasks that the call took in; raises where it refused one."""
        error = None
        for task_id, outcome in zip(self._away, read_outcomes('enqueue', reply, len(self._away)), strict=True):
            wrong = outcome_error(outcome, task_id, self.queue)
            if wrong is None:
                self.task_ids.append(task_id)
            error = error or wrong
        if error is not None:
            raise error

    def drop(self) -> None:
        """A call failed.  What comes after a gap is not sent."""
        self._made, self._args, self._next = [], [], None


# Settling many


def calls_of(name: str, task_ids: Sequence[str], rest: Sequence[Arg]) -> Iterator[tuple[Sequence[str], list[Arg]]]:
    """Tasks to release or to touch, by the transition's name, in calls: their ids, and the arguments.

    ``rest`` is said of each.
    """
    token = release_token if name == 'release' else token_of
    start = end = size = 0
    while start < len(task_ids):
        while end < len(task_ids) and end - start < BULK and size < BULK_BYTES:
            # Weigh a task half: a release costs the server half of other transitions, and no caller waits for a single
            # outcome of a bulk call.
            size += weight_of(task_ids[end]) // 2
            end += 1
        ids = task_ids[start:end]
        yield ids, [word for i in ids for word in (i, token(i), *rest)]
        start, size = end, 0


def told_of_many(name: str, task_ids: Sequence[str], reply: Any, queue: str) -> list[bool]:
    """For each task of a call whether it was done."""
    try:
        outcomes = read_outcomes(name, reply, len(task_ids))
    except TorrelqueError as exc:
        of_queue(queue, exc)
        raise
    return [told(name, *of_one, queue) for of_one in zip(task_ids, outcomes, strict=True)]


# Dead tasks


def redrive(plan: Plan, task_ids: Iterable[str], limit: int | None) -> Steps[int]:
    """Redrive the tasks named, or all that are dead; how many were."""
    if limit is not None:
        check_count(limit, 'limit', 0)
    ids = [check_id(task_id) for task_id in task_ids]
    return _redrive_some(plan, ids[:limit]) if ids else _redrive_all(plan, limit)


def _redrive_some(plan: Plan, task_ids: Sequence[Arg]) -> Steps[int]:
    count = 0
    for start in range(0, len(task_ids), FEW):
        some = task_ids[start : start + FEW]
        outcomes = read_outcomes('redrive', (yield 'redrive', [plan.mark(), *some]), len(some))
        count += outcomes.count('ok')
        lost = [text(task_id) for task_id, outcome in zip(some, outcomes, strict=True) if outcome == 'state_lost']
        tell_troubles([(task_id, 'state_lost') for task_id in lost], plan.name)
        count += len(lost)
    return count


def _redrive_all(plan: Plan, limit: int | None) -> Steps[int]:
    # Tasks that are dead when the call begins, the first to die first.
    dead = plan.keys['dead']
    left = int((yield None, ['ZCARD', dead]))
    left = left if limit is None else min(left, limit)
    count = passed = 0
    while left > 0:
        some = read_words((yield None, ['ZRANGE', dead, str(passed), str(passed + min(left, BULK) - 1)]))
        if not some:
            break
        done = yield from _redrive_some(plan, some)
        count += done
        # Pass by tasks that are not dead by their state, or that somebody else brought back.
        passed += len(some) - done
        left -= len(some)
    return count


def take_deaths(plan: Plan, max_tasks: int, again_after: float) -> Steps[list[TorrelqueDeath]]:
    """Tasks that died where nobody saw it, some that are due."""
    most = min(FEW, check_count(max_tasks, 'max_tasks'))
    again = str(milliseconds(again_after, 'again_after'))
    return _take_deaths(plan, [str(most), again, str(BULK_BYTES)])


def _take_deaths(plan: Plan, args: list[Arg]) -> Steps[list[TorrelqueDeath]]:
    return read_deaths((yield 'tell', args), plan.serialiser)


def acknowledge_deaths(task_ids: Iterable[str]) -> Steps[None]:
    """Deaths that were told of."""
    if isinstance(task_ids, (str, bytes)) or not isinstance(task_ids, Iterable):
        raise TorrelqueTypeError(f'task_ids must be an iterable of task ids, not {type(task_ids).__name__}')
    ids = [*task_ids]
    for task_id in ids:
        if not isinstance(task_id, TorrelqueTaskId) or not task_id.token:
            raise TorrelqueValueError(f'a death is acknowledged by the id of its delivery, not by {task_id!r}')
    return _acknowledge_deaths(ids)


def _acknowledge_deaths(task_ids: list[Any]) -> Steps[None]:
    for start in range(0, len(task_ids), BULK):
        args: list[Arg] = []
        for task_id in task_ids[start : start + BULK]:
            args += [task_id.encode('utf-8', 'surrogateescape'), task_id.token]
        yield 'told', args


# Sweeping


def sweep(queue: str) -> Steps[TorrelqueSweepResult]:
    """Sweep batch by batch until nothing is due."""
    total = TorrelqueSweepResult(0, 0, 0)
    more = True
    while more:
        reply = yield 'sweep', [str(SWEEP)]
        total = TorrelqueSweepResult(*(a + int(b) for a, b in zip(total, reply[1:4], strict=True)))
        more = bool(reply[4])
        tell_troubles(read_troubles(reply[5]), queue)
    return total


# Groups


def read_page(key: str, cursor: Arg) -> Steps[tuple[Arg, list[bytes]]]:
    """Some hundred fields of a hash: the next cursor, b'0' at the end, then field, value, field, ...

    A field may come twice.
    """
    following, page = yield None, ['HSCAN', key, cursor, 'COUNT', str(BULK)]
    items = read_words(page)
    if type(following) is not bytes or len(items) % 2 or following == cursor != b'0':
        raise ValueError('not a page, or one that leads to itself')
    return following, items


class GroupScan:
    """Names of groups, a page at a time."""

    def __init__(self, plan: Plan) -> None:
        self.over = False
        self._key = plan.keys['groups']
        self._cursor: Arg = b'0'
        self._seen: set[bytes] = set()

    def read(self) -> Steps[list[str]]:
        """The next names, each of which comes once."""
        self._cursor, items = yield from read_page(self._key, self._cursor)
        self.over = self._cursor == b'0'
        fresh = [name for name in dict.fromkeys(items[::2]) if name not in self._seen]
        self._seen.update(fresh)
        return [text(name) for name in fresh]


def set_limit(
    plan: Plan, group: str | None, concurrency: float | None, rate: tuple[int, float] | float | None
) -> Steps[None]:
    """Set the limits of a group, or those of all, which are then looked at."""
    yield 'limit', [check_group(group), limit_value(concurrency, rate)]
    cursor: Arg | None = b'0' if group is None else None
    while cursor is not None:
        cursor, items = yield from read_page(plan.keys['groups'], cursor)
        for start in range(0, len(items), 2 * FEW):
            yield 'advance', [*items[start : start + 2 * FEW : 2]]
        if cursor == b'0':
            return


def get_limits(plan: Plan) -> Steps[dict[str | None, TorrelqueLimit]]:
    """All limits as they were set."""
    limits: dict[str | None, TorrelqueLimit] = {}
    cursor: Arg = b''
    while cursor != b'0':
        cursor, items = yield from read_page(plan.keys['limits'], cursor or b'0')
        for name, value in zip(items[::2], items[1::2], strict=True):
            limits[text(name) or None] = read_limit(value)
    return limits


def pause(group: str | None, probe: float | None) -> Steps[None]:
    """Pause a group or the queue."""
    yield 'pause', pause_args(group, probe)


def resume(group: str | None) -> Steps[None]:
    """End a pause."""
    yield 'resume', [check_group(group)]


def get_group_stats(group: str) -> Steps[TorrelqueGroupStats]:
    """Statistics of a group."""
    return read_group_stats((yield 'group', [check_name(group, 'a group')]))


# The queue and its tasks


def command(words: Sequence[str | bytes | float]) -> Steps[Any]:
    """A command of the caller's own."""
    if not words:
        raise TorrelqueTypeError('a command has a name')
    for word in words:
        if isinstance(word, bool) or not isinstance(word, (str, bytes, int, float)):
            raise TorrelqueTypeError(f'a word of a command must be str, bytes or a number, not {type(word).__name__}')
    return (yield None, [word if isinstance(word, (str, bytes)) else repr(word) for word in words])


def get_queue_stats() -> Steps[TorrelqueQueueStats]:
    """Statistics of the queue."""
    return read_stats((yield 'stats', []))


def get_task_state(plan: Plan, task_id: str) -> Steps[TorrelqueTaskState]:
    """The state of a task."""
    values = yield None, ['HMGET', plan.keys['task'] + ':' + check_id(task_id), *STATE_FIELDS]
    state = read_state(values, plan.serialiser, task_id)
    if state is None:
        raise of_queue(plan.name, TorrelqueLookupError(f'the queue has no task {task_id!r}'))
    return state
