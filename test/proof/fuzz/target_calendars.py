"""Schedule expressions of any text, in any time zone: instants that never go back, the same wherever one begins."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

from proof.fuzz.feed import Feed
from proof.fuzz.judging import Refused, attempt
from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.cron import Calendar, Line
from torrelque.cron.ahead import MOST, offset_of
from torrelque.cron.calendar import ALIASES, LONGEST
from torrelque.cron.zones import find_zone

ZONES = (
    'UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Africa/Casablanca', 'Pacific/Apia',
    'Asia/Kathmandu',
    'Antarctica/Troll', 'America/Sao_Paulo', 'Europe/Dublin', 'Africa/Monrovia',
)  # fmt: skip
PARTS = (
    '*', '*/5', '0', '30', '2', '1-5', '0-59/7', '1,15', 'L', 'LW', '5L', 'MON', 'MON#1', 'jan-mar', 'FRI#5', '7',
    '31', '29', '*/0',
    '5-1', '60', '1/2', '?', 'W', '٣', '²', '1-', ',', '#', '99999999999999999999', '0-6', 'SUN-MON', '*/999', '-1',
    '1-1',
)  # fmt: skip
STARTS = (
    datetime(2026, 3, 29, 0, 59), datetime(2026, 10, 25, 0, 30), datetime(1970, 1, 1), datetime(2011, 12, 30, 9, 59),
    datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), datetime(2024, 2, 29), datetime(2100, 2, 28), datetime(1900,
        1, 1),
)  # fmt: skip
LOOKED_AT = 12
"""Instants of one calendar."""


def _expression(feed: Feed) -> str:
    kind = feed.byte() % 8
    if kind == 0:
        return feed.text(LONGEST + 10)
    if kind == 1:
        return feed.pick([*ALIASES, '@HOURLY', '@reboot'])

    def part() -> str:
        return feed.pick(PARTS) if feed.byte() % 8 else feed.text(10)

    fields = [','.join(part() for _ in range(1 + feed.byte() % 8 // 7)) for _ in range(5 + feed.byte() % 4 // 3)]
    return feed.pick((' ', ' ', ' ', '  \t')).join(fields)


def _start(feed: Feed) -> datetime:
    start = feed.pick(STARTS).replace(tzinfo=timezone.utc)
    try:
        return start + timedelta(minutes=feed.number() % 5_000_000, microseconds=feed.byte() * 997)
    except OverflowError:
        return start


def calendars(feed: Feed) -> None:
    """A cron expression."""
    expression, zone = _expression(feed), feed.pick(ZONES)
    calendar = attempt(lambda: Calendar(expression, zone), TorrelqueValueError)
    if isinstance(calendar, Refused):
        return
    assert Calendar(expression=calendar.spec['cron'], timezone=calendar.spec['timezone']) == calendar
    start = _start(feed)
    found = [*itertools.islice(calendar.after(start), LOOKED_AT)]
    _judge(found, start, calendar)
    if len(found) > 2:
        # Wherever one begins, what comes is the same.
        middle = found[feed.below(len(found) - 1)]
        rest = [one for one in found if one > middle]
        assert [*itertools.islice(calendar.after(middle), len(rest))] == rest, (calendar, middle)
        if middle.year > 2:
            before = middle - timedelta(microseconds=1)
            assert next(iter(calendar.after(before))) == middle, (calendar, before)
    _judge_line(feed, calendar, start)


def _judge(found: list[datetime], start: datetime, calendar: Calendar) -> None:
    last = start
    for one in found:
        assert one.utcoffset() == timedelta() and one > last, f'{calendar!r} gave {one} after {last}'
        last = one
    if 2 < start.year < 9900:
        assert len(found) == LOOKED_AT, f'{calendar!r} has an end: {found}'


def _judge_line(feed: Feed, calendar: Calendar, start: datetime) -> None:
    if not 1000 < start.year < 9000:
        return
    line = Line(calendar, offset_of(feed.word(), feed.pick((0.0, 0.001, 5.0, 3600.0))))
    found = [*itertools.islice(line.after(start), LOOKED_AT)]
    assert all(one.microsecond % 1000 == 0 for one in found)
    assert found == sorted({*found}) and (not found or found[0] > start - timedelta(milliseconds=1))
    if feed.byte() % 16 == 0:
        assert 0 < len(line.first(start)) <= MOST


def zones(feed: Feed) -> None:
    """Names of time zones."""
    name = feed.pick((*ZONES, '../../etc/passwd', '/etc/localtime', 'europe/berlin', 'UTC+1', 'Z', '+01:00',
        'localtime', 'Berlin',
                      'Etc', '.', 'posix', 'a' * 5000, '\0', feed.text(60)))  # fmt: skip
    found = attempt(lambda: find_zone(name), TorrelqueValueError)
    if not isinstance(found, Refused):
        assert found[0] == name and isinstance(datetime(2026, 1, 1, tzinfo=found[1]).utcoffset(), timedelta)
    other = feed.json(1)
    if not isinstance(other, str):
        attempt(lambda: find_zone(other), TorrelqueTypeError, named='timezone')
        attempt(lambda: Calendar(other), TorrelqueTypeError, named='cron expression')
