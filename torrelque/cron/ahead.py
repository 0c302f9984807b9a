"""How far ahead instants are computed, and from which calendar: the list that the queue fires from.

A list has instants for a week, and at least 32, but at most 1,000.  So a schedule goes on for as long, though nobody
who knows calendars comes by.
"""

import hashlib
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from torrelque import Schedule, TorrelqueError, TorrelqueValueError
from torrelque.protocol.check import check_seconds

from .asking import Time
from .calendar import Calendar, Instants

LEAST, MOST = 32, 1000
SPAN = timedelta(days=7)
FEW, ENOUGH, LASTING = LEAST // 2, MOST // 2, SPAN / 2
"""When half of a list is used up."""
_MILLISECOND = timedelta(milliseconds=1)


def offset_of(name: str, jitter: float) -> timedelta:
    """By how much a schedule fires later than its calendar says: the same time for a name at each instant, up to the
    jitter (s)."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], 'big') / 2**48
    return round(share * jitter * 1000) * _MILLISECOND


class Line(NamedTuple):
    """The instants of one schedule."""

    calendar: Instants
    offset: timedelta
    """See `offset_of`."""

    def after(self, instant: datetime) -> Iterator[datetime]:
        """The instants after one, in UTC, ascending, each cut off at the millisecond.

        :raises TorrelqueValueError: a calendar of the caller's own gives what cannot be meant.
        """
        last, begun = instant, False
        for found in self.calendar.after(instant - self.offset):
            if not isinstance(found, datetime) or found.tzinfo is None:
                raise TorrelqueValueError(
                    f'the calendar {self.calendar!r} gave {found!r}, which is no datetime with a time zone'
                )
            exact = found.astimezone(timezone.utc) + self.offset
            found = exact - timedelta(microseconds=exact.microsecond % 1000)
            if found <= last < exact and not begun:
                # This is the instant that is asked from, because what is stored of it was cut off.
                continue
            if found <= last:
                raise TorrelqueValueError(f'the calendar {self.calendar!r} gave {found}, which is not after {last}')
            yield found
            last, begun = found, True

    def first(self, now: datetime) -> list[float]:
        """The instants that are stored when a schedule is set."""
        return self.ahead(Time(now, timedelta()), now)

    def ahead(self, time: Time, start: datetime, have: int = 0, until: datetime | None = None) -> list[float]:
        """The instants after a start, as they are stored, until the list is long enough.

        The first one behind ``until`` is stored as well, from which all can tell that the list needs no more.

        :param have: how many that are not later are stored already.
        """
        taken: list[float] = []
        last = start
        for found in self.after(start):
            count = have + len(taken)
            if count >= MOST or count >= LEAST and last - time.now >= SPAN:
                break
            taken.append(time.stored(found))
            if until is not None and found > until:
                break
            last = found
        return taken

    def agrees(self, times: list[float], time: Time) -> bool:
        """Whether the instants that are stored are those of the calendar: a new edition of the time zones may say
        otherwise, of some in the middle only."""
        if not times:
            return True
        known = [time.instant(stored) for stored in times]
        return [*itertools.islice(self.after(known[0] - _MILLISECOND), len(known))] == known


def line_of(record: Schedule) -> Line | None:
    """The instants of a schedule that somebody has set, by its ``spec``; None where it tells of no cron expression.

    :raises TorrelqueValueError: it tells of one that is not understood here.
    """
    spec: Any = record.spec
    if not isinstance(spec, dict) or 'cron' not in spec:
        return None
    try:
        jitter = check_seconds(spec.get('jitter', 0), 'jitter')
        return Line(Calendar(spec['cron'], spec.get('timezone', 'UTC')), offset_of(record.name, jitter))
    except TorrelqueError as exc:
        raise TorrelqueValueError(f'the schedule {record.name!r} has no calendar here: {exc}') from exc


def runs_low(record: Schedule, time: Time) -> bool:
    """Whether half of a list is used up."""
    if record.left is None or record.left >= ENOUGH:
        return False
    if record.left < FEW or record.end is None:
        return True
    return time.instant(record.end) - time.now < LASTING


def half_of(record: Schedule, time: Time) -> float | None:
    """How long (s) until that is so, about; None where the list needs nobody."""
    return None if record.end is None else (time.instant(record.end) - time.now).total_seconds() / 2
