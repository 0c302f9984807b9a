"""One builder of each call.  Nothing here waits or sends; a call is a value.  What comes back is read in `replies`.

A `Transition` is a script of one queue.  Its arguments are a short head and then some for each task, so that the calls
of many can be one.
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import hiredis

from torrelque.error import TorrelqueValueError
from torrelque.model import (
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
)

from .check import check_count, check_group, check_priority, check_rate, is_none, milliseconds
from .keys import DECLARED
from .scripts import load_script, pack_text, pack_words

Arg = str | bytes
_pack: Any = hiredis.pack_command  # the annotation of `hiredis.pack_command` knows tuples of one only
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
IS_KEYDB = ('COMMAND', 'INFO', 'KEYDB.HRENAME')
"""A question to which KeyDB alone knows an answer."""
STATE_FIELDS = TorrelqueTaskState._fields
"""Fields of a state hash that make a `TorrelqueTaskState`, which has the same names."""


def pack(args: Sequence[Arg]) -> bytes:
    """A command as RESP."""
    packed: bytes = _pack(tuple(args))
    return packed


def declare(keys: Mapping[str, str]) -> tuple[list[bytes], bytes]:
    """The keys that all scripts of a queue declare; these with their number, as they are sent."""
    words = [keys[key].encode() for key in DECLARED]
    return words, pack_words([str(len(words)).encode(), *words])


class Transition:
    """One script of one queue.  What is the same in all its calls is packed once; the text of the script, once for all
    queues, by the first that needs it."""

    __slots__ = ('_packed_keys', '_short', 'keys', 'name', 'queue', 'script')

    def __init__(
        self,
        name: str,
        keys: Mapping[str, str],
        declared: tuple[list[bytes], bytes] | None = None,
        queue: str | None = None,
    ) -> None:
        self.name = name
        self.queue = queue
        """Name of the queue, for messages."""
        self.script = load_script(name)
        self.keys, self._packed_keys = declared or declare(keys)
        self._short = pack_words([b'EVALSHA', self.script.sha]) + self._packed_keys

    def pack(self, args: Sequence[Arg], resent: bool, whole: bool) -> bytes:
        """The call as RESP; ``whole`` with the text of the script, for a server that does not know it."""
        packed: bytes = _pack(('1' if resent else '', *args))
        return b'*%d\r\n%b%b' % (
            len(args) + len(self.keys) + 4,
            b'$4\r\nEVAL\r\n' + pack_text(self.script) + self._packed_keys if whole else self._short,
            packed[packed.index(b'\n') + 1 :],
        )

    def words(self, args: Sequence[Arg], resent: bool) -> list[Arg | int]:
        """The call with the text of the script, for the pipeline of a caller; its client may encode text otherwise."""
        data = [arg.encode() if isinstance(arg, str) else arg for arg in args]
        return ['EVAL', self.script.text, len(self.keys), *self.keys, '1' if resent else '', *data]


class Transitions(dict[str, Transition]):
    """The scripts of one queue by their names, each made when it is first asked for: many make an object for each
    request, and need two or three."""

    __slots__ = ('_declared', '_keys', '_names', '_queue')

    def __init__(self, names: Sequence[str], keys: Mapping[str, str], queue: str | None = None) -> None:
        self._queue = queue
        self._names = names
        self._keys = keys
        self._declared = declare(keys)

    def __missing__(self, name: str) -> Transition:
        if name not in self._names:
            raise KeyError(name)
        # By `setdefault`, so that threads that ask at the same time get the same object.
        return self.setdefault(name, Transition(name, self._keys, self._declared, self._queue))


# Builders: the arguments of one task


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


def release_token(task_id: str) -> str:
    """The token with which a task is released.

    A call whose reply was lost is sent again, and may then find nothing: it has done its work, or, where the lease was
    over when it was made, somebody else has.  So whoever is not sure to hold the lease says for how long after the
    claim (ms) it was held: ``token?ms``.
    """
    if not isinstance(task_id, TorrelqueTaskId):
        return ''
    try:
        if monotonic() < task_id._held_until:
            return task_id.token
    except AttributeError:
        pass  # the id came from another process, or from no claim
    if not task_id.token:
        return ''
    held = 0 if getattr(task_id, '_touched', False) else round(1000 * (task_id.timeout or 0))
    return f'{task_id.token}?{held}'


def renewing(task_ids: Sequence[str], since: float, task_timeout: float | None) -> None:
    """Note that leases are about to be moved: one that may end earlier now is not known to hold for longer."""
    for task_id in task_ids:
        if isinstance(task_id, TorrelqueTaskId) and (length := _length_of(task_id, task_timeout)) is not None:
            task_id._held_until = min(getattr(task_id, '_held_until', math.inf), since + length)
            task_id._touched = True


def renewed(task_ids: Sequence[str], done: Sequence[bool], since: float, task_timeout: float | None) -> None:
    """Note how long leases hold that were renewed by a call that was made at ``since``, by `time.monotonic`."""
    for task_id, is_done in zip(task_ids, done, strict=True):
        if is_done and isinstance(task_id, TorrelqueTaskId):
            length = _length_of(task_id, task_timeout)
            task_id._held_until = since + (length or 0)


def _length_of(task_id: TorrelqueTaskId, task_timeout: float | None) -> float | None:
    return task_id.timeout if task_timeout is None else task_timeout


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
