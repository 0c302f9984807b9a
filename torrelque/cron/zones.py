"""Time zones by their names, and the rule by which a wall clock's times are instants where clocks change.

The rule is that of cron in Debian.  An expression whose minute or hour begins with a star follows real time: what a gap
leaves out does not fire, and a repeated hour fires both times.  Any other fires once for each of its times: at the end
of the gap that has left it out, and the first time where it comes twice.
"""

import difflib
import heapq
import re
import zoneinfo
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo

from torrelque import TorrelqueTypeError, TorrelqueValueError

UTC = timezone.utc

_OF_MACHINE = 'localtime', 'posixrules'
_OFFSET = re.compile(r'(?i)(?:UTC|GMT|Z)? *[+-] *\d{1,2}(?::?\d{2})?|Z')


def find_zone(name: str | zoneinfo.ZoneInfo) -> tuple[str, tzinfo]:
    """A time zone by its name, such as ``Europe/Berlin``, and that name.

    :raises TorrelqueTypeError: it is neither a name nor a ``ZoneInfo``.
    :raises TorrelqueValueError: there is no such zone, or it is an offset, which knows nothing of changes of clocks, or
        it is another one on each machine.
    """
    if isinstance(name, zoneinfo.ZoneInfo):
        if name.key is None:
            raise TorrelqueValueError('a time zone needs a name, by which other processes find it; this one has none')
        name = name.key
    if not isinstance(name, str):
        raise TorrelqueTypeError(f'timezone must be the name of a time zone, not {type(name).__name__}')
    if name == 'UTC':
        return name, UTC
    if name in _OF_MACHINE:
        raise TorrelqueValueError(f'a time zone is the same on all machines, and {name!r} is that of each by itself')
    if _OFFSET.fullmatch(name.strip()):
        raise TorrelqueValueError(
            f"a time zone has a name, such as 'Europe/Berlin', because an offset does not change: {name!r}"
        )
    try:
        return name, zoneinfo.ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise TorrelqueValueError(_unknown(name)) from None


def _unknown(name: str) -> str:
    known = sorted(zoneinfo.available_timezones())
    if len(known) < 2:
        return f'this machine has no time zones, so {name!r} is not known; the package tzdata brings them'
    # A zone is often named by its city, and in whatever case.
    cities: dict[str, list[str]] = {}
    for zone in known:
        for part in {zone.lower(), zone.rpartition('/')[2].lower()}:
            cities.setdefault(part, []).append(zone)
    asked = name.strip().replace(' ', '_').lower()
    near = dict.fromkeys(zone for part in difflib.get_close_matches(asked, cities, 3) for zone in cities[part])
    hint = f'; near it: {", ".join([*near][:4])}' if near else ''
    return f'there is no time zone {name!r}{hint}'


# Between wall clocks and instants


def wall_before(instant: datetime, zone: tzinfo) -> datetime:
    """A time on the wall, without a zone, from which on all walls are to be looked at whose instants come after one."""
    local = instant.astimezone(zone)
    wall = local.replace(tzinfo=None, fold=0)
    back = _offset(wall, zone) - _offset(wall, zone, 1)
    # In the first of two hours of one name, walls that have passed come again.
    return wall - back if back > timedelta() and not local.fold else wall


def each_time(walls: Iterator[datetime], zone: tzinfo) -> Iterator[datetime]:
    """Instants of ascending times on the wall by real time: none in a gap, two where the clock comes by twice."""
    again: list[datetime] = []
    for wall in walls:
        first, second = _offset(wall, zone), _offset(wall, zone, 1)
        if first < second:
            continue
        instant = _instant(wall, first)
        while again and again[0] < instant:
            yield heapq.heappop(again)
        yield instant
        if first > second:
            heapq.heappush(again, _instant(wall, second))
    while again:
        yield heapq.heappop(again)


def once_each(walls: Iterator[datetime], zone: tzinfo) -> Iterator[datetime]:
    """Instants of ascending times on the wall, at most one for each: the first, or the end of the gap that it is in."""
    last = None
    for wall in walls:
        first, second = _offset(wall, zone), _offset(wall, zone, 1)
        instant = _instant(wall, first) if first >= second else _end_of_gap(wall, zone, first, second)
        if last is None or instant > last:
            yield instant
            last = instant


def _offset(wall: datetime, zone: tzinfo, fold: int = 0) -> timedelta:
    return wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()


def _instant(wall: datetime, offset: timedelta) -> datetime:
    return (wall - offset).replace(tzinfo=UTC)


def _end_of_gap(wall: datetime, zone: tzinfo, before: timedelta, after: timedelta) -> datetime:
    """The instant at which clocks go forward over a time on the wall, from one offset to another."""
    # The change lies between what the wall would mean by either offset; half the seconds are left at each look.
    low, high = _instant(wall, after), _instant(wall, before)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
