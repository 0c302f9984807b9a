"""What is said of schedules in calls and in their replies: instants, policies, and what a schedule is made of."""

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from torrelque.codec import TorrelqueSerialiser
from torrelque.error import TorrelqueError, TorrelqueTypeError, TorrelqueValueError
from torrelque.model import Duration, TorrelqueSchedule, TorrelqueTaskId

from .bounds import Bounds
from .check import check_count, check_name, milliseconds
from .words import UNREADABLE, read_words, text, unreadable

Instant = datetime | float
"""An aware datetime, a naive one in local time, or seconds since 1970."""
OVERLAPS = ('skip', 'allow', 'replace', 'queue')
"""What becomes of a firing while the task of the one before is not finished."""
MISSED = ('latest', 'all', 'none')
"""Which instants fire of several that are due at once."""
GROUP = 'schedule:'
"""The group of a schedule whose firings queue up is that and its name."""

_LATEST = 253_402_300_800_000
"""The end of the year 9999 (ms), beyond which no calendar goes."""


# What a caller gives


def instant_of(instant: Instant, what: str) -> int:
    """An instant as whole milliseconds since 1970."""
    if isinstance(instant, datetime):
        try:
            instant = instant.timestamp()
        except (OverflowError, OSError, ValueError) as exc:
            raise TorrelqueValueError(f'{what} is no instant of this clock: {instant}') from exc
    if isinstance(instant, bool) or not isinstance(instant, (int, float)):
        raise TorrelqueTypeError(f'{what} must be a datetime or seconds since 1970, not {type(instant).__name__}')
    if not 0 <= instant * 1000 < _LATEST:  # nan as well
        raise TorrelqueValueError(f'{what} must be an instant from 1970 to 9999, not {instant!r}')
    return round(instant * 1000)


def instants(times: Iterable[Instant], most: int | None) -> list[str]:
    """Instants in their order, as a call has them; so many at the most."""
    if isinstance(times, (str, bytes)) or not isinstance(times, Iterable):
        raise TorrelqueTypeError(f'times must be a list of instants, not {type(times).__name__}')
    taken = itertools.islice(times, None if most is None else most + 1)
    found = [instant_of(instant, 'an instant') for instant in taken]
    if most is not None and len(found) > most:
        raise TorrelqueValueError(f'times must have at most {most} instants')
    if any(one >= other for one, other in itertools.pairwise(found)):
        raise TorrelqueValueError('times must be in their order, none of them twice')
    return [str(instant) for instant in found]


def word_of(value: str, what: str, words: Sequence[str]) -> str:
    """One of some words."""
    if not isinstance(value, str):
        raise TorrelqueTypeError(f'{what} must be a str, not {type(value).__name__}')
    if value not in words:
        raise TorrelqueValueError(f'{what} must be {", ".join(words[:-1])} or {words[-1]}, not {value!r}')
    return value


def spec_of(spec: Any) -> str:
    """What a schedule was made from, as JSON that is the same for what is equal."""
    if spec is None:
        return ''
    try:
        return json.dumps(spec, sort_keys=True, separators=(',', ':'), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise TorrelqueValueError(f'spec must be what JSON can have: {exc}') from exc


def optional(value: Duration | None, what: str) -> str:
    """A duration (ms); '' is none."""
    return '' if value is None else str(milliseconds(value, what))


def owner(source: str | None, revision: int | None) -> list[str]:
    """Whose a schedule is, and of which revision; '' is nothing."""
    return [
        '' if source is None else check_name(source, 'source'),
        '' if revision is None else str(check_count(revision, 'revision', 0)),
    ]


class Rule(NamedTuple):
    """When a schedule fires, and whose it is: as `Torrelque.set_schedule` takes it."""

    times: Iterable[Instant] | None
    every: Duration | None
    phase: Duration
    overlap: str
    missed: str
    grace: Duration | None
    until: Instant | None
    spec: Any
    source: str | None
    revision: int | None

    def words(self, bounds: Bounds) -> list[str]:
        """What a call has of it, checked."""
        if (self.times is None) == (self.every is None):
            raise TorrelqueTypeError('a schedule has either times or every')
        if self.every is not None and not milliseconds(self.every, 'every'):
            raise TorrelqueValueError('every must be more than 0 seconds')
        phase = milliseconds(self.phase, 'phase')
        if phase and self.every is None:
            raise TorrelqueTypeError('phase goes with every, not with times')
        return [
            word_of(self.overlap, 'overlap', OVERLAPS),
            word_of(self.missed, 'missed', MISSED),
            optional(self.grace, 'grace'),
            '' if self.until is None else str(instant_of(self.until, 'until')),
            optional(self.every, 'every'),
            '' if self.every is None else str(phase),
            spec_of(self.spec),
            *owner(self.source, self.revision),
            str(bounds.instants),
            *([] if self.times is None else instants(self.times, bounds.instants)),
        ]


# What comes back


def read_fire(reply: Any) -> list[TorrelqueTaskId] | None:
    """The reply of fire: ids of tasks; None where there is no such schedule."""
    try:
        if reply[0] != b'ok' or reply[1] not in (0, 1):
            raise ValueError
        return [TorrelqueTaskId(text(word)) for word in read_words(reply[2:])] if reply[1] else None
    except UNREADABLE as exc:
        raise unreadable('fire', reply) from exc


def read_schedules(reply: Any, serialiser: TorrelqueSerialiser) -> list[TorrelqueSchedule | TorrelqueError]:
    """The reply of schedules: for one that was spoilt, an error that says so."""
    try:
        if not isinstance(reply, list) or reply[0] != b'ok':
            raise ValueError
        read_words([item[0] for item in reply[1:]])
    except UNREADABLE as exc:
        raise unreadable('schedules', reply) from exc
    return [_read_schedule(serialiser, item) for item in reply[1:]]


def _read_schedule(serialiser: TorrelqueSerialiser, item: list[Any]) -> TorrelqueSchedule | TorrelqueError:
    try:
        if len(item) == 1:
            raise ValueError('its keys hold something else')
        return _schedule_of(serialiser, *item)
    except Exception as exc:  # the serialiser may raise anything
        error = TorrelqueError(f'the schedule {text(item[0])!r} cannot be read: {type(exc).__name__}: {exc}')
        error.__cause__ = exc
        return error


def _schedule_of(
    serialiser: TorrelqueSerialiser,
    name: bytes,
    score: Any,
    left: int,
    end: bytes,
    times: list[bytes],
    words: list[bytes],
) -> TorrelqueSchedule:
    fields = {key.decode(): value for key, value in zip(words[::2], words[1::2], strict=True)}

    def number(field: str) -> float | None:
        value = fields.get(field)
        return float(value) if value else None

    def seconds(field: str) -> float | None:
        value = number(field)
        return None if value is None else value / 1000

    def word(field: str) -> str | None:
        return text(fields[field]) if fields.get(field) else None

    following, every, until = float(score), seconds('every'), seconds('until')
    first = None if math.isinf(following) else following / 1000
    options = json.loads(fields['options'])
    if every is None:
        ahead = tuple(float(one) / 1000 for one in times)
    else:
        ahead = () if first is None else tuple(round(first + k * every, 3) for k in range(10))
    known = tuple(one for one in ahead if until is None or one <= until)
    revision = number('revision')
    return TorrelqueSchedule(
        name=text(name),
        task=serialiser.loads(fields['payload']),
        next=first,
        times=known,
        left=None if every is not None else int(left),
        end=float(end) / 1000 if end and every is None else None,
        every=every,
        phase=seconds('phase') or 0.0,
        overlap=fields['overlap'].decode(),
        missed=fields['missed'].decode(),
        grace=seconds('grace'),
        until=until,
        spec=json.loads(fields['spec']) if fields.get('spec') else None,
        source=word('source'),
        revision=None if revision is None else int(revision),
        paused='paused' in fields,
        last=seconds('last'),
        last_id=None if (last := word('last_id')) is None else TorrelqueTaskId(last),
        fired=int(number('fired') or 0),
        skipped=int(number('skipped') or 0),
        task_timeout=options['timeout'] / 1000,
        max_attempts=options.get('max_attempts'),
        group=options.get('group'),
        priority=options.get('priority', 0),
    )
