"""How values are told to people: the only place that spells numbers, times and texts of data.

What is told is plain text that can be encoded as UTF-8, whatever it was made of; templates escape it.  Numbers, times,
shares and sizes are rounded as those of the command line are, which has no spaces in them.
"""

import datetime
import math

__all__ = [
    'NONE', 'age', 'clock', 'duration', 'iso', 'limit', 'minute', 'number', 'percent', 'rate', 'shorten', 'size',
    'visible', 'visible_lines', 'when',
]  # fmt: skip

NONE = '-'
"""Stands where a value is not known."""
NO_LIMIT = 'no limit'

_UNITS = ((86400, 3600, 'd', 'h'), (3600, 60, 'h', 'm'), (60, 1, 'm', 's'))
_PER: dict[float, str] = {1: 's', 60: 'm', 3600: 'h', 86400: 'd'}
_LARGE = ('k', 'M', 'G', 'T', 'P', 'E')
_EXACT = 10_000
"""Below it a number is short enough."""
_DIGITS = 10**30
"""Numbers from here on are told by their power of ten."""


# Numbers


def number(value: float | None, short: bool = False) -> str:
    """A number: ``1,240,000``, or ``1.24 M``.  A whole one is exact, unless it is to be short, or has over 30 digits.

    A fraction is rounded to a whole number from 100 on, and has up to two digits below.
    """
    if value is None or value != value:
        return NONE
    if abs(value) == math.inf:
        return '∞' if value > 0 else '-∞'
    if abs(value) >= _DIGITS:
        return _power(value)
    if short and abs(value) >= _EXACT:
        return _short(value)
    if isinstance(value, int):
        return f'{value:,}'
    if value == int(value) or abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.2f}'.rstrip('0').rstrip('.').replace('-0', '0') if abs(value) < 0.005 else _fraction(value)


def _fraction(value: float) -> str:
    return f'{value:.2f}'.rstrip('0').rstrip('.')


def _power(value: float) -> str:
    try:
        return f'{value:.2e}'
    except OverflowError:
        # A whole number above all floats; the digits of a very large one are not counted one by one.
        return f'{"-" if value < 0 else ""}2^{abs(int(value)).bit_length() - 1} or more'


def _short(value: float) -> str:
    scaled, units = value / 1000, iter(_LARGE)
    unit = next(units)
    while abs(scaled) >= 999.5 and (larger := next(units, None)):
        scaled, unit = scaled / 1000, larger
    digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f'{scaled:,.{digits}f} {unit}'


def limit(value: float | None) -> str:
    """A number that may be `math.inf`: ``no limit``."""
    return NO_LIMIT if value == math.inf else number(value)


def percent(part: float | None, whole: float | None = 1) -> str:
    """A part of a whole: ``2.1 %``, ``<0.1 %``, ``17 %``."""
    if part is None or not whole or part != part or whole != whole or abs(whole) == math.inf:
        return NONE
    try:
        value = part / whole * 100
    except OverflowError:
        return NONE
    if not math.isfinite(value):
        return NONE
    if value == 0:
        return '0 %'
    if 0 < value < 0.05:
        return '<0.1 %'
    return f'{value:.1f} %' if abs(value) < 9.95 else f'{number(float(round(value)))} %'


def rate(count: float | None, seconds: float | None = 1.0) -> str:
    """So many in so many seconds: ``50/s``, ``20/m``, ``5/h``, ``3/d``; ``10 in 90 s`` of another time."""
    if count is None or seconds is None or seconds != seconds or count != count:
        return NONE
    if count == math.inf:
        return NO_LIMIT
    unit = _PER.get(seconds)
    return f'{number(count)}/{unit}' if unit is not None else f'{number(count)} in {duration(seconds)}'


def size(count: float | None) -> str:
    """Bytes: ``512 B``, ``4.1 kB``, ``88 MB``."""
    if count is None or not math.isfinite(value := _floated(count)):
        return NONE
    if abs(value) >= _DIGITS:
        return f'{_power(value)} B'
    units = ['TB', 'GB', 'MB', 'kB', 'B']
    while value >= 999.5 and len(units) > 1:
        units.pop()
        value /= 1000
    digits = 1 if units[-1] != 'B' and value < 9.95 else 0
    return f'{value:,.{digits}f} {units[-1]}'


def _floated(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


# Times


def duration(seconds: float | None) -> str:
    """A time: ``340 ms``, ``42 s``, ``3 m 20 s``, ``2 h 5 m``, ``3 d``."""
    if seconds is None or not math.isfinite(value := _floated(seconds)):
        return NONE
    if value < 0:
        return f'-{duration(-value)}'
    if value < 0.9995:
        return f'{value * 1000:.0f} ms' if value >= 0.0005 else '0 s'
    whole = int(value + 0.0005)
    for large, small, unit, below in _UNITS:
        if whole >= large:
            rest = whole % large // small
            return f'{number(whole // large)} {unit}' + (f' {rest} {below}' if rest else '')
    return f'{whole} s'


def age(instant: float | None, now: float) -> str:
    """For how long something has been: from an instant to now, and never less than nothing."""
    if instant is None:
        return NONE
    return duration(max(0.0, _floated(now) - _floated(instant)))


def clock(instant: float | None, now: float) -> str:
    """An instant (UTC): ``14:05:09``, or ``2026-11-28 14:05:09`` where that is another day than now."""
    moment, today = _moment(instant), _moment(now)
    if moment is None or today is None or moment.date() != today.date():
        return when(instant)
    return moment.time().isoformat('seconds')


def minute(instant: float | None, now: float | None = None) -> str:
    """The same to the minute, ``14:05``, without the day where no ``now`` is given."""
    moment, today = _moment(instant), _moment(now)
    if moment is None:
        return when(instant)
    if today is None or moment.date() == today.date():
        return moment.time().isoformat('minutes')
    return moment.replace(tzinfo=None).isoformat(' ', 'minutes')


def when(instant: float | None) -> str:
    """An instant (UTC) with its day: ``2026-11-28 14:05:09``; one that no calendar has is told in seconds."""
    moment = _moment(instant)
    if moment is not None:
        return moment.replace(tzinfo=None).isoformat(' ', 'seconds')
    if instant is None or not math.isfinite(_floated(instant)):
        return NONE
    return f'{_floated(instant):.0f}' if abs(_floated(instant)) < 1e18 else _power(instant)


def iso(instant: float | None) -> str:
    """An instant for an attribute ``datetime``: ``2026-11-28T14:05:09Z``; '' where no calendar has it."""
    moment = _moment(instant)
    return '' if moment is None else moment.replace(tzinfo=None).isoformat('T', 'seconds') + 'Z'


def _moment(instant: float | None) -> datetime.datetime | None:
    if instant is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(instant, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


# Texts


def visible(text: str) -> str:
    """One line: control characters, ends of lines, marks of direction, lone surrogates and the like as escapes."""
    if text.isprintable():
        return text
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def visible_lines(text: str) -> str:
    """The same, with ends of lines and tabs kept."""
    if text.isprintable():
        return text
    lines = text.replace('\r\n', '\n').split('\n')
    return '\n'.join('\t'.join(map(visible, line.split('\t'))) for line in lines)


def shorten(text: str, most: int) -> str:
    """A text of so many characters at the most, with ``…`` at the end where it was longer."""
    return text if len(text) <= most else text[: max(0, most - 1)] + '…'
