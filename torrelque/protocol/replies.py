"""The readers: one a script, in the order of ``docs/data-model.md``, and those of a few commands.

A reply may be of any kind: of a proxy that is at fault, of a server of another make.  What is not understood is an
`UnreadableError`, and never a success.
"""

import functools
import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import hiredis

from torrelque.codec import TorrelqueSerialiser
from torrelque.error import (
    ServerStaleError,
    TorrelqueDuplicateError,
    TorrelqueError,
    TorrelqueFullError,
    TorrelqueLookupError,
    TorrelqueValueError,
    of_queue,
)
from torrelque.model import (
    TorrelqueDeath,
    TorrelqueGroupStats,
    TorrelqueQueueStats,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
)

from .attempts import read_history
from .carrying import read_arrive, read_carried, read_collect, read_spread
from .flowing import read_counts
from .scheduling import read_fire, read_schedules
from .table import DONE, REFUSALS, ROWS, TABLE, WITH_VALUE
from .telling import (
    tell_not_buried as tell_not_buried,
    tell_not_returned as tell_not_returned,
    tell_troubles as tell_troubles,
)
from .words import (
    UNREADABLE as UNREADABLE,
    UnreadableError as UnreadableError,
    read_limit as read_limit,
    read_numbers as read_numbers,
    read_words as read_words,
    text as text,
    unreadable as unreadable,
)

logger = logging.getLogger('torrelque')

STATE_FIELDS = TorrelqueTaskState._fields
"""What the script `state` is asked for to make a `TorrelqueTaskState`: fields of a state hash, which have the same
names, and ``due_time``."""
_ANY_OUTCOME = frozenset(outcome for row in TABLE for outcome in row.outcomes)

Outcome = str | list[Any]

PUSH: type = getattr(hiredis, 'PushNotification', type('Never', (), {}))
"""What a notification is read as, which is nobody's reply."""
MISSING = object()
"""What a reader of a connection gives when no reply is whole."""


def check_reply(name: str, reply: Any) -> None:
    """Refuse a reply that is none of a transition, as far as its first word and its length tell."""
    width = ROWS[name].width
    if width is None or width == 1 and reply == b'ok':
        return
    if width == 1 or not isinstance(reply, list) or len(reply) != width or reply[0] != b'ok':
        raise unreadable(name, reply)


# Tasks one by one: enqueue, touch, requeue, release, bury, redrive, cancel


def read_outcomes(name: str, reply: Any, count: int, queue: str | None = None) -> list[Outcome]:
    """The outcome of each task of a call; 'ok' alone stands for all where all went well.  An error names the queue."""
    if reply == b'ok':
        return ['ok'] * count
    try:
        if not isinstance(reply, list) or len(reply) != count:
            raise ValueError(reply)
        return [_outcome_of(item, ROWS[name].outcomes) for item in reply]
    except UNREADABLE:
        raise of_queue(queue, unreadable(name, reply)) from None


def _outcome_of(item: Any, known: Collection[str]) -> Outcome:
    word = text(item[0]) if isinstance(item, list) else text(item)
    if word not in known or isinstance(item, list) != (word in WITH_VALUE):
        raise ValueError(word)
    if not isinstance(item, list):
        return word
    _, data = item
    return [word, int(data) if word == 'full' else text(data)]


def outcome_error(outcome: Outcome, task_id: str, queue: str | None = None) -> Exception | None:
    """The error that an outcome stands for, if it is one."""
    if isinstance(outcome, list) and outcome[0] == 'full':
        return TorrelqueFullError(outcome[1], queue)
    if isinstance(outcome, list) and outcome[0] == 'duplicate':
        return TorrelqueDuplicateError(outcome[1], queue)
    if isinstance(outcome, list) and outcome[0] in REFUSALS:
        kind = TorrelqueLookupError if outcome[0] == 'missing' else TorrelqueValueError
        return of_queue(queue, kind(REFUSALS[outcome[0]].format(outcome[1])))
    if outcome == 'stale':
        return of_queue(queue, ServerStaleError(f'task {task_id!r} belongs to another shard by now'))
    if outcome == 'broken':
        return of_queue(queue, TorrelqueError(f'the key of the state of task {task_id!r} holds something else'))
    return None


def settled(outcome: Outcome, task_id: str, queue: str | None = None) -> bool:
    """Whether a call that settles a task did so; raises where the outcome is an error."""
    if isinstance(outcome, str) and outcome in DONE:
        return True
    if error := outcome_error(outcome, task_id, queue):
        raise error
    return False


def read_outcome(result: Any) -> bool:
    """Tell what became of a call that was part of a transaction, by its item in the results of the pipeline.

    True when it was done, False where its caller did not hold the task (the value that the call itself would have
    returned).  Raises `TorrelqueDuplicateError` and `TorrelqueFullError` as `Torrelque.enqueue` does, and an error that
    the pipeline left in its results.  A refusal does not abort the transaction: its other commands were carried out.
    """
    if isinstance(result, Exception):
        raise result
    try:
        (item,) = result if isinstance(result, list) else [result]
        outcome = _outcome_of(item, _ANY_OUTCOME)
    except UNREADABLE:
        raise TorrelqueValueError(f'not the result of a call of this package: {result!r}') from None
    return settled(outcome, 'of the transaction')


def settled_or_logged(name: str, task_id: str, outcome: Outcome, queue: str | None = None) -> bool:
    """Whether a call that settles a task did so; that its caller does not hold the task is logged as well."""
    done = settled(outcome, task_id, queue)
    if not done:
        # A task is cancelled because its producer wants it so: no warning.
        level = logging.INFO if outcome == 'cancelled' else logging.WARNING
        logger.log(level, 'queue %r: %s of task %r: its caller does not hold it: %s', queue, name, task_id, outcome)
    return done


# The others, in their order


class Claimed(NamedTuple):
    """The reply of claim."""

    tasks: list[tuple[TorrelqueTaskId, bytes]]
    wait: float | None
    """Seconds until the nearest deadline; 0 or less is due, None is none."""
    more: bool
    troubles: list[tuple[str, str]]
    foreign: list[tuple[bytes, str]]
    """Ids that are no text, of somebody else's making, each with its token."""


def read_troubles(items: Sequence[bytes]) -> list[tuple[str, str]]:
    """Ids of tasks of which a part was lost, and which."""
    return [(text(task_id), text(what)) for task_id, what in zip(items[::2], items[1::2], strict=True)]


def read_claim(reply: Any, since: float = -math.inf) -> Claimed:
    """What a claim was given, each id with its token; the leases are known to hold from ``since``, by `monotonic`."""
    try:
        if reply[0] != b'ok':
            raise ValueError
        stamp, wait, more, troubles = reply[1].decode(), reply[2], reply[3], reply[4] or ()
        # Groups by the number of the task, counted from 1, which is negative for a probe.
        grouped: Any = reply[5] or ()
        groups = dict(zip(grouped[::2], map(text, grouped[1::2]), strict=True))
        tasks, foreign, number = [], [], 0
        group: str | None = None
        probe = False
        for word, payload, attempt, length in zip(reply[6::4], reply[7::4], reply[8::4], reply[9::4], strict=True):
            if type(payload) is not bytes:
                raise TypeError
            lease, token = length / 1000, f'{attempt}-{stamp}'
            if groups:
                number += 1
                probe = -number in groups
                group = groups.get(-number if probe else number) or None
            try:
                task_id = TorrelqueTaskId(word.decode(), attempt, token, group, lease, probe)
            except UnicodeDecodeError:
                foreign.append((word, token))
                continue
            task_id._held_until = since + lease
            tasks.append((task_id, payload))
        return Claimed(tasks, None if wait is None else wait / 1_000_000, bool(more), read_troubles(troubles), foreign)
    except UNREADABLE as exc:
        raise unreadable('claim', reply) from exc


def read_tell(reply: Any, serialiser: TorrelqueSerialiser) -> list[TorrelqueDeath]:
    """Tasks that died where nobody saw it."""
    try:
        if reply[0] != b'ok' or not all(type(word) in (bytes, type(None)) for word in reply):
            raise ValueError
        columns = [reply[start::6] for start in range(1, 7)]
        return [_death_of(serialiser, *words) for words in zip(*columns, strict=True)]
    except UNREADABLE as exc:
        raise unreadable('tell', reply) from exc


def _death_of(
    serialiser: TorrelqueSerialiser,
    word: bytes,
    attempt: bytes | None,
    claimed: bytes | None,
    payload: bytes | None,
    error: bytes | None,
    group: bytes | None,
) -> TorrelqueDeath:
    count = text(attempt or b'0')
    task_id = TorrelqueTaskId(
        word.decode('utf-8', 'surrogateescape'),
        int(count) if attempt and count.isdecimal() else None,
        f'{count}-{text(claimed or b"")}',
        None if group is None else text(group),
    )
    task, wrong = None, None
    try:
        if payload is None:
            raise TorrelqueLookupError('its payload was lost')
        task = serialiser.loads(payload)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:
        wrong = exc
    why = 'nothing is known of it' if error is None else error.decode('utf-8', 'replace')
    return TorrelqueDeath(task_id, task, why, wrong)


class Swept(NamedTuple):
    """The reply of sweep."""

    moved: TorrelqueSweepResult
    more: bool
    """Whether anything due may be left."""
    troubles: list[tuple[str, str]]
    low: list[str]
    """Schedules that have fired and have few instants left."""
    spread: bool = False
    """Whether there is work for the script `spread`."""
    out: bool = False
    """Whether there is something to carry to other queues."""


def read_sweep(reply: Any) -> Swept:
    """What a sweep has moved, and what it found damaged."""
    check_reply('sweep', reply)
    try:
        moved = TorrelqueSweepResult(*map(int, (*reply[1:4], reply[7])))
        low = [*map(text, read_words(reply[6]))]
        return Swept(moved, bool(reply[4]), read_troubles(reply[5]), low, bool(reply[8]), bool(reply[9]))
    except UNREADABLE as exc:
        raise unreadable('sweep', reply) from exc


def read_stats(reply: Any) -> TorrelqueQueueStats:
    """The reply of stats: what is in no other place is pending."""
    check_reply('stats', reply)
    tasks, working, delayed, dead, waiting = read_numbers('stats', reply, reply[1:])
    pending = max(0, tasks - working - delayed - dead - waiting)
    return TorrelqueQueueStats(tasks, pending, working, delayed, dead, waiting)


def read_group(reply: Any) -> TorrelqueGroupStats:
    """The reply of group, the limits being those that count."""
    check_reply('group', reply)
    own, default = read_limit(reply[3]), read_limit(reply[4])
    concurrency = own.concurrency or default.concurrency or math.inf
    rate = own.rate or default.rate or math.inf
    count, working = read_numbers('group', reply, reply[1:3])
    return TorrelqueGroupStats(count, working, concurrency, rate, bool(reply[5] or reply[6]))


def read_states(reply: Any, count: int, width: int | None) -> list[Any]:
    """The reply of state to a question for so many tasks: of each so many values; an error where it is none.

    Without a width the items are not looked into, for whoever compares each with one that is right.
    """
    if type(reply) is list and 1 < len(reply) <= count + 1 and reply[0] == b'ok':
        items = reply[1:]
        if width is None or all(_is_item(item, width) for item in items):
            return items
    raise unreadable('state', reply)


def damage_of(item: Any, task_id: str, queue: str) -> Exception | None:
    """The error that the script found in the place of a task's values, where it found one."""
    return outcome_error(text(item), task_id, queue) if isinstance(item, bytes) else None


def _is_item(item: Any, width: int) -> bool:
    if type(item) is not list:
        return type(item) is bytes
    return len(item) == width and not any(value is not None and type(value) is not bytes for value in item)


def _seconds(value: bytes | None) -> float | None:
    # The fraction of the time of a claim is for its token only, so it is cut off.
    return None if value is None else int(value.partition(b'.')[0]) / 1000


def read_state(
    values: Sequence[bytes | None], serialiser: TorrelqueSerialiser, task_id: str = ''
) -> TorrelqueTaskState | None:
    """The values of `STATE_FIELDS` as a state, or None where there is none; errors name the task."""
    if not isinstance(values, list) or not all(value is None or type(value) is bytes for value in values):
        raise unreadable('a question for a state', values)
    if values[0] is None:
        return None
    try:
        return _state_of(values, serialiser, task_id)
    except (ValueError, OverflowError) as exc:
        raise TorrelqueError(f'the state of task {task_id!r} cannot be read: {exc}') from exc


def _state_of(values: Sequence[bytes | None], serialiser: TorrelqueSerialiser, task_id: str) -> TorrelqueTaskState:
    fields = dict(zip(STATE_FIELDS, values, strict=True))

    def load(name: str) -> Any:
        data = fields[name]
        if data is None:
            return None
        try:
            return serialiser.loads(data)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            why = f'the {name} of task {task_id!r} cannot be read: {type(exc).__name__}: {exc}'
            raise TorrelqueError(why) from exc

    def decode(name: str) -> str | None:
        data = fields[name]
        return None if data is None else data.decode('utf-8', 'replace')

    max_attempts, due = fields['max_attempts'], fields['due_time']
    status = TorrelqueTaskStatus(int(fields['status'] or 0))
    return TorrelqueTaskState(
        status=status,
        timeout=int(fields['timeout'] or 0) / 1000,
        result=load('result'),
        dequeue_count=int(fields['dequeue_count'] or 0),
        requeue_count=int(fields['requeue_count'] or 0),
        enqueue_time=int(fields['enqueue_time'] or 0) / 1000,
        last_dequeue_time=_seconds(fields['last_dequeue_time']),
        last_requeue_time=_seconds(fields['last_requeue_time']),
        release_time=_seconds(fields['release_time']),
        error=decode('error'),
        progress=load('progress'),
        max_attempts=None if max_attempts is None else int(max_attempts),
        forgiven=int(fields['forgiven'] or 0),
        group=decode('group'),
        priority=int(fields['priority'] or 0),
        ready_time=_seconds(fields['ready_time']),
        # A field of that name, of somebody else's making, counts for nothing.
        due_time=float(due) / 1000 if due is not None and status is TorrelqueTaskStatus.DELAYED else None,
        history=read_history(fields['history']),
        flow=decode('flow'),
        queue=decode('queue'),
        **read_counts(fields),
    )


def read_open(reply: Any) -> bytes:
    """Where to go on among the groups; b'0' is nowhere."""
    check_reply('open', reply)
    return b'%d' % read_numbers('open', reply, reply[1:])[0]


def read_left(reply: Any) -> tuple[bytes, list[str]]:
    """Where to go on, and names of groups, or ids, that are left."""
    if not isinstance(reply, list) or len(reply) < 2 or not all(type(word) is bytes for word in reply):
        raise unreadable('left', reply)
    return reply[1], [text(word) for word in reply[2:]]


def read_ok(name: str, reply: Any) -> None:
    """The reply of a script that has nothing to tell."""
    check_reply(name, reply)


# Commands


def is_keydb(reply: Any) -> bool:
    """Whether the reply to `IS_KEYDB` is that of KeyDB."""
    # A server describes a command that it knows by a name, an arity, flags and more.
    return isinstance(reply, list) and len(reply) == 1 and isinstance(reply[0], list) and len(reply[0]) >= 6


def is_ring(reply: Any) -> bool:
    """Whether the reply to a block at the bell is one: that it rang, or that the time is over."""
    return reply is None or isinstance(reply, list) and len(reply) == 2


_OWN: dict[str, Callable[..., Any]] = {
    'claim': read_claim,
    'tell': read_tell,
    'sweep': read_sweep,
    'spread': read_spread,
    'collect': read_collect,
    'arrive': read_arrive,
    'carried': read_carried,
    'fire': read_fire,
    'stats': read_stats,
    'group': read_group,
    'schedules': read_schedules,
    'open': read_open,
    'left': read_left,
    'state': read_states,
}
READERS: dict[str, Callable[..., Any]] = {
    row.name: _OWN.get(row.name) or functools.partial(read_outcomes if row.outcomes else read_ok, row.name)
    for row in TABLE
}
"""By the script's name: what reads its reply."""
