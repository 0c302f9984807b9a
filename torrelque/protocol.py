"""One builder and one parser per transition.  Nothing here waits or sends; a call is a value.

A `Transition` is a script of one queue.  Its arguments are a short head and then some for each task, so that the calls
of many can be one.
"""

import functools
import itertools
import json
import math
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import hiredis
import redis.exceptions

from .check import check_count, check_group, check_priority, check_rate, is_none, milliseconds
from .error import TorrelqueDuplicateError, TorrelqueError, TorrelqueFullError, TorrelqueValueError
from .keys import DECLARED
from .lua import load_script
from .model import (
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueQueueStats,
    TorrelqueSerialiser,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
)

Arg = str | bytes
_pack: Any = hiredis.pack_command  # its annotation knows tuples of one only
_quote = json.encoder.encode_basestring_ascii

BLOCK = 2.0
"""How long consumers block at the doorbell at the most (s)."""
BULK = 250
"""Tasks of one call at the most: a script stops the server for everybody, and Lua unpacks no more than thousands."""
BULK_BYTES = 1_000_000
"""Payload of one call at the most, where it is more than one task."""
FEW = 50
"""Tasks of one call that have groups, at the most: their part of a script takes longer."""
GROUPED = BULK_BYTES // FEW
"""Bytes that such a task counts as besides its payload, so that there are no more in a call."""
SWEEP = 200
"""Tasks of each kind that one sweep moves at the most."""
GRACE = 0.7
"""s that a first answer is waited for, where the time to wait for more is shorter or over."""
STATE_FIELDS = TorrelqueTaskState._fields
"""Fields of a state hash that make a `TorrelqueTaskState`, which has the same names."""


def pack(args: Sequence[Arg]) -> bytes:
    """A command as RESP."""
    packed: bytes = _pack(tuple(args))
    return packed


class Transition:
    """One script of one queue.  What is the same in all its calls is packed once."""

    def __init__(self, name: str, keys: Mapping[str, str]) -> None:
        self.name = name
        self.script = load_script(name)
        self.keys = [keys[key].encode() for key in DECLARED]
        self._short = self._prefix(b'EVALSHA', self.script.sha)
        self._whole = self._prefix(b'EVAL', self.script.text)

    def _prefix(self, command: bytes, script: bytes) -> bytes:
        words = [command, script, str(len(self.keys)).encode(), *self.keys]
        return b''.join(b'$%d\r\n%b\r\n' % (len(word), word) for word in words)

    def pack(self, args: Sequence[Arg], resent: bool, whole: bool) -> bytes:
        """The call as RESP; ``whole`` with the text of the script, for a server that does not know it."""
        packed: bytes = _pack(('1' if resent else '', *args))
        return b'*%d\r\n%b%b' % (
            len(args) + len(self.keys) + 4,
            self._whole if whole else self._short,
            packed[packed.index(b'\n') + 1 :],
        )

    def words(self, args: Sequence[Arg], resent: bool) -> list[Arg | int]:
        """The call with the text of the script, for the pipeline of a caller."""
        return ['EVAL', self.script.text, len(self.keys), *self.keys, '1' if resent else '', *args]


# Builders: the arguments of one task


def make_marks() -> Iterator[str]:
    """Names for calls, each 15 characters and of no other process."""
    process = secrets.token_hex(4)
    return (f'{process}{n & 0xFFFFFFF:07x}' for n in itertools.count())


@functools.lru_cache(100, typed=True)
def _lease_alone(task_timeout: float) -> str:
    return str(milliseconds(task_timeout, 'task_timeout'))


def enqueue_options(
    task_timeout: float,
    delay: float | None,
    max_attempts: int | None,
    mark: str | None,
    group: str | None = None,
    priority: int = 0,
) -> str:
    """Options of one task to enqueue; the plain ones are the lease alone."""
    plain = delay is None and max_attempts is None and mark is None and group is None and check_priority(priority) == 0
    if plain and isinstance(task_timeout, (int, float)):
        return _lease_alone(task_timeout)
    timeout = milliseconds(task_timeout, 'task_timeout')
    delay = 0 if delay is None else milliseconds(delay, 'delay')
    options = f'{{"timeout":{timeout}'
    if delay:
        options += f',"delay":{delay}'
    if max_attempts is not None:
        options += f',"max_attempts":{check_count(max_attempts, "max_attempts")}'
    if mark is not None:
        options += f',"mark":"{mark}"'
    if group is not None:
        options += f',"group":{_quote(check_group(group))}'
    if check_priority(priority):
        options += f',"priority":{priority}'
    return options + '}'


def limit_value(concurrency: float | None, rate: tuple[int, float] | float | None) -> str:
    """Limits as they stand in Redis; '' is none of one's own.  There, 0 is no limit."""
    limits: dict[str, Any] = {}
    if concurrency is not None:
        limits['concurrency'] = 0 if is_none(concurrency) else check_count(concurrency, 'concurrency')  # type: ignore[arg-type]
    if rate is not None:
        limits['rate'] = 0 if is_none(rate) else check_rate(rate)  # type: ignore[arg-type]
    return json.dumps(limits, separators=(',', ':')) if limits else ''


def pause_args(group: str | None, probe: float | None = None) -> list[Arg]:
    """What is paused, and the time from one task that is let through to the next, if any is."""
    if probe is None:
        return [check_group(group)]
    if not (every := milliseconds(probe, 'probe')):
        raise TorrelqueValueError('probe must be more than 0 seconds')
    return [check_group(group), str(every)]


def weight_of(task_id: str) -> int:
    """Bytes that a task counts as in a call that settles it."""
    return GROUPED if isinstance(task_id, TorrelqueTaskId) and task_id.group is not None else 0


def token_of(task_id: str) -> str:
    """The right to settle that a delivered id carries, '' for a plain one."""
    return task_id.token if isinstance(task_id, TorrelqueTaskId) else ''


def release_keep(
    status: TorrelqueTaskStatus, result: bytes | None, result_ttl: float | None, default: float
) -> list[Arg]:
    """What is kept of a released task: nothing, or its final state and result for a while."""
    try:
        final = TorrelqueTaskStatus(status)
    except ValueError as exc:
        raise TorrelqueValueError(f'not a status: {status!r}') from exc
    if not final.isfinal():
        raise TorrelqueValueError(f'a task is released with a final status, not {final.name}')
    ttl = milliseconds(default if result_ttl is None else result_ttl, 'result_ttl')
    if not ttl or (result is None and result_ttl is None and final != TorrelqueTaskStatus.REJECTED):
        return ['']
    return [f'{final:d} {ttl}', b'' if result is None else b'=' + result]


# Parsers

_REFUSALS = frozenset({'cancelled', 'lease_lost', 'not_working', 'unknown', 'final', 'not_dead'})
_DONE = frozenset({'ok', 'dead'})

Outcome = str | list[Any]


def text(word: Any) -> str:
    """A word of a reply, whether the client decodes or not."""
    return word.decode('utf-8', 'backslashreplace') if isinstance(word, bytes) else str(word)


def read_outcomes(reply: Any, count: int) -> list[Outcome]:
    """The outcome of each task of a call; one word stands for all where all went well."""
    if isinstance(reply, list):
        return [[text(item[0]), *item[1:]] if isinstance(item, list) else text(item) for item in reply]
    return [text(reply)] * count


def outcome_error(outcome: Outcome, task_id: str) -> Exception | None:
    """The error that an outcome stands for, if it is one."""
    if isinstance(outcome, list) and outcome[0] == 'full':
        return TorrelqueFullError(int(outcome[1]))
    if isinstance(outcome, list) and outcome[0] == 'duplicate':
        return TorrelqueDuplicateError(text(outcome[1]))
    if outcome == 'broken':
        return TorrelqueError(f'the key of the state of task {task_id!r} holds something else')
    return None


def settled(outcome: Outcome, task_id: str) -> bool:
    """Whether a call that settles a task did so; raises where the outcome is an error."""
    if isinstance(outcome, str) and outcome in _DONE:
        return True
    if error := outcome_error(outcome, task_id):
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
    outcome = None
    if isinstance(result, (bytes, str, list)) and result:
        outcome = read_outcomes(result, 1)[0]
    word = outcome[0] if isinstance(outcome, list) and outcome else outcome
    if word in _DONE or word in _REFUSALS or word in ('full', 'duplicate', 'broken'):
        return settled(outcome or '', 'of the transaction')
    raise TorrelqueValueError(f'not the result of a call of this package: {result!r}')


def _seconds(value: bytes | None) -> float | None:
    # The time of a claim has a fraction, which is of no use but in a token.
    return None if value is None else int(value.partition(b'.')[0]) / 1000


def read_state(values: Sequence[bytes | None], serialiser: TorrelqueSerialiser) -> TorrelqueTaskState | None:
    """The values of `STATE_FIELDS` as a state, or None where there is none."""
    if values[0] is None:
        return None
    try:
        return _state_of(values, serialiser)
    except (ValueError, OverflowError) as exc:
        raise TorrelqueError(f'the state of the task cannot be read: {exc}') from exc


def _state_of(values: Sequence[bytes | None], serialiser: TorrelqueSerialiser) -> TorrelqueTaskState:
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
            why = f'the {name} of the task cannot be read: {type(exc).__name__}: {exc}'
            raise TorrelqueError(why) from exc

    def decode(name: str) -> str | None:
        data = fields[name]
        return None if data is None else data.decode('utf-8', 'replace')

    max_attempts = fields['max_attempts']
    return TorrelqueTaskState(
        status=TorrelqueTaskStatus(int(fields['status'] or 0)),
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
    )


def read_stats(reply: Any) -> TorrelqueQueueStats:
    """The reply of stats: what is in no other place is pending."""
    tasks, working, delayed, dead = (int(count) for count in reply[1:])
    return TorrelqueQueueStats(tasks, max(0, tasks - working - delayed - dead), working, delayed, dead)


def read_limit(value: Any) -> TorrelqueLimit:
    """Limits as they stand in Redis, as they were set."""
    try:
        limits = json.loads(value or '{}')
        concurrency, rate = limits.get('concurrency'), limits.get('rate')
        return TorrelqueLimit(
            math.inf if concurrency == 0 else concurrency,
            math.inf if rate == 0 else None if rate is None else (int(rate[0]), rate[1] / 1000),
        )
    except (ValueError, TypeError, LookupError, AttributeError) as exc:
        raise TorrelqueError(f'limits cannot be read: {value!r}') from exc


def read_group_stats(reply: Any) -> TorrelqueGroupStats:
    """The reply of group, the limits being those that count."""
    own, default = read_limit(reply[3]), read_limit(reply[4])
    concurrency = own.concurrency or default.concurrency or math.inf
    rate = own.rate or default.rate or math.inf
    return TorrelqueGroupStats(int(reply[1]), int(reply[2]), concurrency, rate, bool(reply[5] or reply[6]))


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


def read_claimed(reply: Any) -> Claimed:
    """What a claim was given, each id with its token."""
    stamp, wait, more, troubles = text(reply[1]), reply[2], reply[3], reply[4]
    # By the number of the task, which is negative for a probe.
    groups = dict(zip(reply[5][::2], map(text, reply[5][1::2]), strict=True))
    tasks, foreign = [], []
    for i in range(6, len(reply), 4):
        token = f'{reply[i + 2]}-{stamp}'
        try:
            group, probe = None, False
            if groups:
                probe = -(i // 4) in groups
                group = groups.get(-(i // 4) if probe else i // 4) or None
            task_id = TorrelqueTaskId(reply[i].decode(), reply[i + 2], token, group, reply[i + 3] / 1000, probe)
            tasks.append((task_id, reply[i + 1]))
        except UnicodeDecodeError:
            foreign.append((reply[i], token))
    return Claimed(tasks, None if wait is None else wait / 1_000_000, bool(more), read_troubles(troubles), foreign)


_NESTED = re.compile(r'(?:^|-)(OOM|READONLY|MISCONF|NOREPLICAS|NOPERM|WRONGTYPE|CLUSTERDOWN|MASTERDOWN) ')
_CLASSES: dict[str, type[redis.exceptions.RedisError]] = {
    'OOM': redis.exceptions.OutOfMemoryError,
    'READONLY': redis.exceptions.ReadOnlyError,
    'NOPERM': redis.exceptions.NoPermissionError,
    'NOAUTH': redis.exceptions.AuthenticationError,
}


def error_code(message: str) -> str:
    """The first word of an error; of one inside a script too, which older servers wrap."""
    if message.startswith('ERR max number of clients'):
        return 'MAXCLIENTS'
    nested = _NESTED.search(message)
    return nested[1] if nested else message.partition(' ')[0]


def server_error(message: str) -> redis.exceptions.RedisError:
    """An error of the server as the client library would raise it."""
    return _CLASSES.get(error_code(message), redis.exceptions.ResponseError)(message)
