"""Verbs of operators and verbs of several calls, as generators: what one yields is sent, and it goes on with the reply.

Nothing here waits or sends, so the asynchronous queue and the synchronous one have the same steps.
"""

import logging
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Generic, TypeVar

from torrelque.error import TorrelqueError, TorrelqueLookupError, TorrelqueTypeError, of_queue
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
)

from .abroad import carry
from .calls import Calls
from .carrying import Abroad
from .check import check_count, check_id
from .replies import (
    READERS,
    STATE_FIELDS,
    UNREADABLE,
    read_limit,
    read_outcomes,
    read_state,
    read_sweep,
    read_tell,
    read_words,
    settled_or_logged,
    tell_troubles,
    text,
    unreadable,
)
from .table import ROWS
from .transition import Arg

logger = logging.getLogger('torrelque')

T = TypeVar('T')
Steps = Generator[tuple[str | None, list[Arg]], Any, T]

"""Yields a transition with its arguments, or None with the words of a command that reads.  A call of another queue has
the name in an `Abroad`, and is sent the error where it has failed."""

_DELAYED = b'%d' % TorrelqueTaskStatus.DELAYED


class Walk(Generic[T]):
    """A verb of several calls on its way: the call that is to be sent, and at the end what they come to."""

    name: str | None = None
    """The transition of the call; None is a command that reads, whose words are `args`."""
    args: list[Arg]
    """The arguments of the call, without the head."""
    abroad: str | None = None
    """The queue that the call is for, as an `Abroad` has it; None is the own one, where an error ends it all."""
    result: T
    """What the calls came to, once `go_on` has returned False."""

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps

    def go_on(self, reply: Any = None) -> bool:
        """Take the reply to the call before, none at the beginning; whether there is another call.

        :raises UnreadableError: the reply is of another kind.
        """
        try:
            if self.name is not None and self.abroad is None and ROWS[self.name].width is not None:
                reply = READERS[self.name](reply)
            self.name, self.args = self._steps.send(reply)
            self.abroad = self.name.queue if isinstance(self.name, Abroad) else None
        except StopIteration as stop:
            self.result = stop.value
            return False
        except UNREADABLE as exc:
            if isinstance(exc, TorrelqueError):
                raise
            raise unreadable(self.name or 'a question', reply) from exc
        return True


# Settling many


def many_settled_or_logged(name: str, task_ids: Sequence[str], reply: Any, queue: str) -> list[bool]:
    """For each task of a call whether it was done."""
    if reply == b'ok':
        return [True] * len(task_ids)
    outcomes = read_outcomes(name, reply, len(task_ids), queue)
    return [settled_or_logged(name, *of_one, queue) for of_one in zip(task_ids, outcomes, strict=True)]


# Dead tasks


def redrive(calls: Calls, task_ids: Iterable[str], limit: int | None) -> Steps[int]:
    """Redrive the tasks named, or all that are dead; how many were."""
    if limit is not None:
        check_count(limit, 'limit', 0)
    ids = [check_id(task_id) for task_id in task_ids]
    return _redrive_some(calls, ids[:limit], limit) if ids else _redrive_all(calls, limit)


def _redrive_some(
    calls: Calls, task_ids: Sequence[Arg], limit: int | None = None, flow_id: str = ''
) -> Steps[int]:
    count, most = 0, calls.bounds.grouped_tasks
    for start in range(0, len(task_ids), most):
        some = task_ids[start : start + most]
        outcomes = read_outcomes('redrive', (yield 'redrive', calls.redrive(some, flow_id)), len(some))
        count += outcomes.count('ok') + outcomes.count('state_lost') + outcomes.count('staged')
        told = [(text(task_id), outcome) for task_id, outcome in zip(some, outcomes, strict=True)]
        tell_troubles([(task_id, str(what)) for task_id, what in told if what in ('state_lost', 'lost')], calls.name)
        for task_id in [task_id for task_id, what in told if what == 'stale']:
            logger.warning(
                'queue %r: task %r stays dead: it is of a flow, and its group is in another shard by now: cancel it, '
                'and make its flow anew', calls.name, task_id,
            )  # fmt: skip
        for task_id in [task_id for task_id, what in told if what == 'flow']:
            count += yield from _redrive_flow(calls, task_id, None if limit is None else max(0, limit - count))
    return count


def _redrive_flow(calls: Calls, flow_id: str, limit: int | None) -> Steps[int]:
    # All tasks that have not ended are looked at, because one whose state was lost is found by nobody else.
    count, cursor, key = 0, b'0', f'{calls.keys["needs"]}:{flow_id}'
    while limit is None or count < limit:
        cursor, page = yield None, ['HSCAN', key, cursor, 'COUNT', str(calls.bounds.bulk)]
        items = read_words(page)
        some = items[::2]
        if limit is not None:
            dead = [task_id for task_id, left in zip(some, items[1::2], strict=True) if left == b'dead']
            some = dead[: limit - count]
        count += yield from _redrive_some(calls, some, None if limit is None else limit - count, flow_id)
        if cursor == b'0':
            break
    yield from carry(calls)
    return count


def _redrive_all(calls: Calls, limit: int | None) -> Steps[int]:
    # Those tasks are meant that are dead when the call begins, the first to die first.
    dead = calls.keys['dead']
    left = int((yield None, ['ZCARD', dead]))
    left = left if limit is None else min(left, limit)
    count = passed = 0
    while left > 0:
        last = passed + min(left, calls.bounds.bulk) - 1
        some = read_words((yield None, ['ZRANGE', dead, str(passed), str(last)]))
        if not some:
            break
        done = yield from _redrive_some(calls, some)
        count += done
        # Pass by tasks that are not dead by their state, or that somebody else brought back.
        passed += len(some) - done
        left -= len(some)
    return count


def take_deaths(calls: Calls, max_tasks: int, again_after: Duration) -> Steps[list[TorrelqueDeath]]:
    """Tasks that died where nobody saw it, some that are due."""
    return _take_deaths(calls, calls.tell(max_tasks, again_after))


def _take_deaths(calls: Calls, args: list[Arg]) -> Steps[list[TorrelqueDeath]]:
    return read_tell((yield 'tell', args), calls.serialiser)


def acknowledge_deaths(calls: Calls, task_ids: Iterable[TorrelqueTaskId]) -> Steps[None]:
    """Deaths that were told of."""
    return _acknowledge_deaths(calls.told(task_ids))


def _acknowledge_deaths(parts: Iterable[list[Arg]]) -> Steps[None]:
    for args in parts:
        yield 'told', args


# Sweeping


def sweep(calls: Calls) -> Steps[TorrelqueSweepResult]:
    """Sweep batch by batch until nothing is due."""
    total = TorrelqueSweepResult(0, 0, 0, 0)
    more = True
    while more:
        swept = yield 'sweep', calls.sweep()
        total = TorrelqueSweepResult(*map(sum, zip(total, swept.moved, strict=True)))
        more = swept.more
        tell_troubles(swept.troubles, calls.name)
        calls.tell_low(swept.low)
        if swept.spread:
            yield from spread(calls)
        elif swept.out:
            yield from carry(calls)
    return total


def take_swept(calls: Calls, reply: Any) -> bool:
    """Have those told whom it concerns what a sweep has found; whether there is work for `spread`."""
    swept = read_sweep(reply)
    tell_troubles(swept.troubles, calls.name)
    calls.tell_low(swept.low)
    calls.tell_out(swept.out)
    return swept.spread


def spread(calls: Calls, most: int | None = None) -> Steps[None]:
    """Go on with what is to be done of flows, in so many calls, or until nothing is left."""
    left, out, sent = 1, False, 0
    while left and (most is None or sent < most):
        left, out = yield 'spread', calls.spread()
        sent += 1
    if out:
        yield from carry(calls)


# Groups


def read_page(calls: Calls, key: str, cursor: Arg) -> Steps[tuple[Arg, list[bytes]]]:
    """Some hundred fields of a hash: the next cursor, b'0' at the end, then field, value, field, ...

    A field may come twice.
    """
    following, page = yield None, ['HSCAN', calls.keys[key], cursor, 'COUNT', str(calls.bounds.bulk)]
    items = read_words(page)
    if type(following) is not bytes or len(items) % 2 or following == cursor != b'0':
        raise ValueError('not a page, or one that leads to itself')
    return following, items


class GroupScan:
    """Names of groups, a page at a time."""

    def __init__(self, calls: Calls) -> None:
        self.over = False
        self._calls = calls
        self._cursor: Arg = b'0'
        self._seen: set[bytes] = set()

    def read(self) -> Steps[list[str]]:
        """The next names, each of which comes once."""
        self._cursor, items = yield from read_page(self._calls, 'groups', self._cursor)
        self.over = self._cursor == b'0'
        fresh = [name for name in dict.fromkeys(items[::2]) if name not in self._seen]
        self._seen.update(fresh)
        return [text(name) for name in fresh]


def set_limit(
    calls: Calls, group: str | None, concurrency: float | None, rate: tuple[int, Duration] | float | None
) -> Steps[None]:
    """Set the limits of a group, or those of all, which are then looked at."""
    yield 'limit', calls.limit(group, concurrency, rate)
    cursor: Arg | None = b'0' if group is None else None
    while cursor is not None:
        cursor, items = yield from read_page(calls, 'groups', cursor)
        for args in calls.advance(items[::2]):
            yield 'advance', args
        if cursor == b'0':
            return


def get_limits(calls: Calls) -> Steps[dict[str | None, TorrelqueLimit]]:
    """All limits as they were set."""
    limits: dict[str | None, TorrelqueLimit] = {}
    cursor: Arg = b''
    while cursor != b'0':
        cursor, items = yield from read_page(calls, 'limits', cursor or b'0')
        for name, value in zip(items[::2], items[1::2], strict=True):
            limits[text(name) or None] = read_limit(value)
    return limits


def pause(calls: Calls, group: str | None, probe: Duration | None) -> Steps[None]:
    """Pause a group or the queue."""
    yield 'pause', calls.pause(group, probe)


def resume(calls: Calls, group: str | None, probing: bool) -> Steps[bool]:
    """End a pause, or one with probes only; whether there is none now."""
    return read_outcomes('resume', (yield 'resume', calls.resume(group, probing)), 1) == ['ok']


def get_group_stats(calls: Calls, group: str) -> Steps[TorrelqueGroupStats]:
    """Statistics of a group."""
    stats: TorrelqueGroupStats = yield 'group', calls.group(group)
    return stats


# The queue and its tasks


def command(words: Sequence[str | bytes | float]) -> Steps[Any]:
    """A command of the caller's own."""
    if not words:
        raise TorrelqueTypeError('a command has a name')
    for word in words:
        if isinstance(word, bool) or not isinstance(word, (str, bytes, int, float)):
            raise TorrelqueTypeError(f'a word of a command must be str, bytes or a number, not {type(word).__name__}')
    return (yield None, [word if isinstance(word, (str, bytes)) else repr(word) for word in words])


def get_queue_stats(calls: Calls) -> Steps[TorrelqueQueueStats]:
    """Statistics of the queue."""
    stats: TorrelqueQueueStats = yield 'stats', calls.stats()
    return stats


def get_task_state(calls: Calls, task_id: str) -> Steps[TorrelqueTaskState]:
    """The state of a task."""
    key = calls.keys['task'] + ':' + check_id(task_id)
    # The time of a delayed task stands elsewhere than its state.  A task that has none there has moved on since its
    # state was read, or something was lost of it; so its state is read once more.
    values: Any = None
    for _ in range(2):
        values = yield None, ['HMGET', key, *STATE_FIELDS]
        if not isinstance(values, list) or values[:1] != [_DELAYED]:
            break
        due = yield None, ['ZSCORE', calls.keys['delayed'], task_id]
        if due is not None:
            values[STATE_FIELDS.index('due_time')] = b'%.0f' % float(due)
            break
    state = read_state(values, calls.serialiser, task_id)
    if state is None:
        raise of_queue(calls.name, TorrelqueLookupError(f'the queue has no task {task_id!r}'))
    return state
