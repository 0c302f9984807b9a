"""Calendars: what knows the instants of a schedule.  The only place that knows what reads cron expressions.

Expressions are read by cronsim, on a wall clock that never changes; the instants of what it says are found here, see
``zones``.  With a time zone of its own, cronsim leaves out times on days with a change of less than an hour.
"""

import itertools
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from torrelque import TorrelqueTypeError, TorrelqueValueError

from .zones import each_time, find_zone, once_each, wall_before

ALIASES = {
    '@hourly': '0 * * * *',
    '@daily': '0 0 * * *',
    '@midnight': '0 0 * * *',
    '@weekly': '0 0 * * 0',
    '@monthly': '0 0 1 * *',
    '@yearly': '0 0 1 1 *',
    '@annually': '0 0 1 1 *',
}
FIELDS = ('second', 'minute', 'hour', 'day of month', 'month', 'day of week')
LONGEST = 250
"""Characters that an expression has at the most."""

_BEGIN = datetime(2000, 1, 1)
"""From here on each day of the week falls on each day of the year within the 50 years that cronsim looks ahead."""


class Instants(Protocol):
    """A calendar of your own, such as one of business days: whatever has this method.

    It may have a ``spec`` as well, any JSON value, by which a change of it is seen; without one, that is its class.
    """

    def after(self, instant: datetime, /) -> Iterable[datetime]:
        """Instants after an instant, ascending, each with a time zone; without end, or until the calendar ends."""
        ...


class Calendar:
    """The instants of a cron expression in a time zone.

    :param expression: five fields (minute, hour, day of month, month, day of week), six with seconds in front, or one
        of ``@hourly``, ``@daily``, ``@midnight``, ``@weekly``, ``@monthly``, ``@yearly``, ``@annually``.  Besides
        ``*``, lists, ranges, steps and names, ``L`` is the last day of a month, ``LW`` its last working day, ``5L`` its
        last Friday, and ``MON#1`` its first Monday.  Where both kinds of days are said, and neither begins with a star,
        either is enough.
    :param timezone: the name of the time zone in which the expression is read, or a ``zoneinfo.ZoneInfo``.
    :raises TorrelqueTypeError: one of the two is no text.
    :raises TorrelqueValueError: the expression cannot be meant, or never fires; or there is no such time zone.

    Where clocks change, an expression fires as cron does in Debian, see ``zones``: ``30 2 * * *`` once a day, at the
    end of a gap that leaves it out; ``*/30 * * * *`` by real time.
    """

    expression: str
    """The expression, with one space between its fields."""
    timezone: str
    """The name of the time zone."""

    def __init__(self, expression: str, timezone: str | ZoneInfo = 'UTC') -> None:
        if not isinstance(expression, str):
            raise TorrelqueTypeError(f'a cron expression must be a str, not {type(expression).__name__}')
        self.expression = ' '.join(expression.split())
        self._fields = _check_fields(self.expression)
        self.timezone, self._zone = find_zone(timezone)
        minute, hour = self._fields.split()[-5:-3]
        self._find = each_time if minute[0] == '*' or hour[0] == '*' else once_each

    def __repr__(self) -> str:
        return f'Calendar({self.expression!r}, {self.timezone!r})'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calendar) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash((self.expression, self.timezone))

    @property
    def spec(self) -> dict[str, Any]:
        """What the calendar is made of, as a JSON value: by it another process makes the same one."""
        return {'cron': self.expression, 'timezone': self.timezone}

    def after(self, instant: datetime, /) -> Iterator[datetime]:
        """The instants after an instant, in UTC, each later than the one before, without end but that of the year 9999.

        :raises TorrelqueTypeError: it is no ``datetime``, or one without a time zone.
        """
        if not isinstance(instant, datetime) or instant.tzinfo is None:
            raise TorrelqueTypeError(f'an instant must be a datetime with a time zone, not {instant!r}')
        return self._after(instant)

    def _after(self, instant: datetime) -> Iterator[datetime]:
        try:
            walls = CronSim(self._fields, wall_before(instant, self._zone))
            # In a repeated hour, walls are looked at whose first time has passed.
            yield from itertools.dropwhile(lambda found: found <= instant, self._find(walls, self._zone))
        except OverflowError:
            # No calendar goes beyond the year 9999.
            return


def _check_fields(expression: str) -> str:
    """The fields of an expression, as they are read."""
    fields = ALIASES.get(expression.lower(), expression)
    parts = fields.split()
    if len(parts) not in (5, 6) or len(fields) > LONGEST:
        shown = expression if len(expression) <= 60 else expression[:60] + '…'
        raise TorrelqueValueError(
            f'a cron expression has five fields, or six with seconds in front, or is one of {", ".join(ALIASES)}; '
            f'not {shown!r}'
        )
    try:
        walls = CronSim(fields, _BEGIN)
    except (CronSimError, ValueError) as exc:
        wrong = _find_wrong(parts)
        # Each field by itself can be meant where there is no such day in any of the months.
        if wrong is not None:
            raise TorrelqueValueError(f'the cron expression {expression!r} cannot be meant: {wrong}') from exc
        walls = None
    if walls is None or next(walls, None) is None:
        raise TorrelqueValueError(f'the cron expression {expression!r} never fires, because there is no such day')
    return fields


def _find_wrong(parts: list[str]) -> str | None:
    """The field that cannot be meant, and its name."""
    for place, name in enumerate(FIELDS[-len(parts) :]):
        alone = ['*'] * len(parts)
        alone[place] = parts[place]
        try:
            CronSim(' '.join(alone), _BEGIN)
        except (CronSimError, ValueError):
            return f'{name} {parts[place]!r}'
    return None
