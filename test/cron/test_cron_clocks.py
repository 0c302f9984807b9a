"""Calendars where clocks change: the next two changes in three cities by hand, and two years in ten zones beside a
reference that knows nothing but to walk through UTC, minute by minute."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest

from torrelque.cron import Calendar

UTC = dt.timezone.utc
MINUTE = dt.timedelta(minutes=1)


def between(expression: str, timezone: str, start: str, end: str) -> list[str]:
    """Instants after one and before another, in UTC, as day of month and time."""
    begin, last = (dt.datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    found = itertools.takewhile(lambda instant: instant < last, Calendar(expression, timezone).after(begin))
    return [f'{instant:%d %H:%M}' for instant in found]


BERLIN, NEW_YORK, LORD_HOWE = 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'


@pytest.mark.parametrize(
    ('expression', 'timezone', 'start', 'end', 'instants'),
    [
        # Berlin, 28 March 2027: at 01:00 UTC from 02:00 to 03:00.
        ('30 2 * * *', BERLIN, '2027-03-27', '2027-03-30', ['27 01:30', '28 01:00', '29 00:30']),
        ('0,30 2,3 * * *', BERLIN, '2027-03-28', '2027-03-29', ['28 01:00', '28 01:30']),
        ('*/30 2 * * *', BERLIN, '2027-03-27', '2027-03-30', ['27 01:00', '27 01:30', '29 00:00', '29 00:30']),
        ('0 * * * *', BERLIN, '2027-03-27T23:30', '2027-03-28T03:30', ['28 00:00', '28 01:00', '28 02:00', '28 03:00']),
        ('0 9 * * *', BERLIN, '2027-03-27', '2027-03-30', ['27 08:00', '28 07:00', '29 07:00']),
        # Berlin, 31 October 2027: at 01:00 UTC from 03:00 to 02:00.
        ('30 2 * * *', BERLIN, '2027-10-30', '2027-11-02', ['30 00:30', '31 00:30', '01 01:30']),
        ('*/30 2 * * *', BERLIN, '2027-10-30T12', '2027-10-31T12', ['31 00:00', '31 00:30', '31 01:00', '31 01:30']),
        ('0 * * * *', BERLIN, '2027-10-30T23:30', '2027-10-31T03:30', ['31 00:00', '31 01:00', '31 02:00', '31 03:00']),
        ('0 9 * * *', BERLIN, '2027-10-30', '2027-11-02', ['30 07:00', '31 08:00', '01 08:00']),
        # New York, 14 March 2027: at 07:00 UTC from 02:00 to 03:00.
        ('30 2 * * *', NEW_YORK, '2027-03-13', '2027-03-16', ['13 07:30', '14 07:00', '15 06:30']),
        ('*/30 2 * * *', NEW_YORK, '2027-03-13', '2027-03-15T12', ['13 07:00', '13 07:30', '15 06:00', '15 06:30']),
        ('0 9 * * *', NEW_YORK, '2027-03-13', '2027-03-16', ['13 14:00', '14 13:00', '15 13:00']),
        # New York, 7 November 2027: at 06:00 UTC from 02:00 to 01:00.
        ('30 1 * * *', NEW_YORK, '2027-11-06', '2027-11-09', ['06 05:30', '07 05:30', '08 06:30']),
        ('*/30 1 * * *', NEW_YORK, '2027-11-07', '2027-11-08', ['07 05:00', '07 05:30', '07 06:00', '07 06:30']),
        ('0 9 * * *', NEW_YORK, '2027-11-06', '2027-11-09', ['06 13:00', '07 14:00', '08 14:00']),
        # Lord Howe, 4 April 2027: at 15:00 UTC of the day before from 02:00 to 01:30.
        ('45 1 * * *', LORD_HOWE, '2027-04-02', '2027-04-05', ['02 14:45', '03 14:45', '04 15:15']),
        (
            '*/15 1 * * *', LORD_HOWE, '2027-04-03', '2027-04-04',
            ['03 14:00', '03 14:15', '03 14:30', '03 14:45', '03 15:00', '03 15:15'],
        ),
        ('40 * * * *', LORD_HOWE, '2027-04-03T13', '2027-04-03T16', ['03 13:40', '03 14:40', '03 15:10']),
        ('*/15 9 * * *', LORD_HOWE, '2027-04-03T12', '2027-04-04', ['03 22:30', '03 22:45', '03 23:00', '03 23:15']),
        # Lord Howe, 3 October 2027: at 15:30 UTC of the day before from 02:00 to 02:30.
        ('15 2 * * *', LORD_HOWE, '2027-10-01', '2027-10-04', ['01 15:45', '02 15:30', '03 15:15']),
        ('*/15 2 * * *', LORD_HOWE, '2027-10-02', '2027-10-03', ['02 15:30', '02 15:45']),
        ('40 * * * *', LORD_HOWE, '2027-10-02T14', '2027-10-02T17', ['02 14:10', '02 15:10', '02 15:40', '02 16:40']),
        ('*/15 9 * * *', LORD_HOWE, '2027-10-02', '2027-10-03', ['02 22:00', '02 22:15', '02 22:30', '02 22:45']),
    ],
)  # fmt: skip
def test_the_next_changes_of_clocks(expression: str, timezone: str, start: str, end: str, instants: list[str]) -> None:
    assert between(expression, timezone, start, end) == instants


@pytest.mark.parametrize('minutes', range(0, 180, 7))
def test_a_start_in_a_repeated_hour_is_as_good_as_any(minutes: int) -> None:
    # From 00:00 to 02:00 UTC clocks in Berlin come by each time between 02:00 and 03:00 twice.
    start = dt.datetime(2027, 10, 31, 0, 3, tzinfo=UTC) + minutes * MINUTE
    whole = [dt.datetime(2027, 10, 31, tzinfo=UTC) + place * 15 * MINUTE for place in range(20)]
    found = [*itertools.islice(Calendar('*/15 * * * *', BERLIN).after(start), 5)]
    assert found == [instant for instant in whole if instant > start][:5]
    daily = next(Calendar('30 2 * * *', BERLIN).after(start))
    assert daily == dt.datetime(2027, 10, 31 if minutes < 27 else 30, 0, 30, tzinfo=UTC) + dt.timedelta(
        days=0 if minutes < 27 else 2, hours=0 if minutes < 27 else 1
    )


# The reference

ZONES = [
    BERLIN, NEW_YORK, LORD_HOWE, 'America/Sao_Paulo', 'Asia/Kolkata', 'Asia/Kathmandu', 'Australia/Sydney',
    'Atlantic/Azores', 'Antarctica/Troll', 'UTC',
]  # fmt: skip
EXPRESSIONS = [
    '30 2 * * *', '0 0 * * *', '15,45 1-3 * * *', '10 23,0,1,2,3 * * 0', '0 3 1,15 * *',
    '*/30 * * * *', '0 * * * *', '*/10 2 * * *', '*/15 9 * * *', '40 * * * *', '5 */2 * * *', '* 1,2 * * 0',
]  # fmt: skip
BOUNDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


def numbers(field: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(','):
        place, _, step = part.partition('/')
        low, _, high = place.partition('-')
        if place == '*':
            found |= {*range(least, most + 1, int(step or 1))}
        else:
            found |= {*range(int(low), int(high or low) + 1)}
    return found


class Reference:
    """What an expression means for times on the wall, and so for instants, by looking at each."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        fields = expression.split()
        self.minute, self.hour, self.day, self.month, self.weekday = (
            numbers(field, *bounds) for field, bounds in zip(fields, BOUNDS, strict=True)
        )
        self.real = fields[0].startswith('*') or fields[1].startswith('*')
        self.found: list[dt.datetime] = []
        self.done: set[dt.datetime] = set()

    def fits(self, wall: dt.datetime) -> bool:
        return (
            wall.minute in self.minute and wall.hour in self.hour and wall.day in self.day
            and wall.month in self.month and wall.isoweekday() % 7 in self.weekday
        )  # fmt: skip

    def see(self, instant: dt.datetime, wall: dt.datetime, skipped: list[dt.datetime]) -> None:
        """The clock shows a time, after it has skipped others."""
        if self.real:
            if self.fits(wall):
                self.found.append(instant)
            return
        times = [time for time in (*skipped, wall) if time not in self.done and self.fits(time)]
        if times:
            self.found.append(instant)
            self.done.update(times)


Minute = tuple[dt.datetime, dt.datetime, list[dt.datetime]]


def walk(zone: str, start: dt.datetime, end: dt.datetime) -> Iterator[Minute]:
    """Each minute: the instant, what the clock shows, and what it has skipped."""
    tz, instant = ZoneInfo(zone), start
    before = (start - MINUTE).astimezone(tz).replace(tzinfo=None)
    while instant < end:
        wall = instant.astimezone(tz).replace(tzinfo=None, fold=0)
        skipped = []
        while before + MINUTE < wall:
            before += MINUTE
            skipped.append(before)
        yield instant, wall, skipped
        before, instant = wall, instant + MINUTE


def compare(zone: str, start: dt.datetime, end: dt.datetime) -> int:
    """How many instants of how many expressions were the same."""
    references = [Reference(expression) for expression in EXPRESSIONS]
    for instant, wall, skipped in walk(zone, start, end):
        for reference in references:
            # What does not fit in the minute is left alone at once, as nearly all does.
            if skipped or wall.minute in reference.minute:
                reference.see(instant, wall, skipped)
    for reference in references:
        found = Calendar(reference.expression, zone).after(start - MINUTE)
        assert [*itertools.takewhile(lambda it: it < end, found)] == reference.found, (reference.expression, zone)
    return sum(len(reference.found) for reference in references)


def changes(zone: str, start: dt.datetime, end: dt.datetime) -> Iterator[dt.datetime]:
    """Hours in which the clock of a zone changes."""
    tz, hour = ZoneInfo(zone), start
    while hour < end:
        if hour.astimezone(tz).utcoffset() != (hour + dt.timedelta(hours=1)).astimezone(tz).utcoffset():
            yield hour
        hour += dt.timedelta(hours=1)


YEARS = dt.datetime(2026, 11, 29, tzinfo=UTC), dt.datetime(2028, 11, 29, tzinfo=UTC)


@pytest.mark.parametrize('zone', ZONES)
def test_instants_around_each_change_of_clocks_are_those_of_a_walk_through_utc(zone: str) -> None:
    days = [*changes(zone, *YEARS)]
    still = {'America/Sao_Paulo', 'Asia/Kolkata', 'Asia/Kathmandu', 'UTC'}
    assert len(days) == (0 if zone in still else 4)
    for day in days or [YEARS[0]]:
        # From a minute at which no clock has come by a time twice in the last hours.
        assert compare(zone, day - dt.timedelta(hours=30), day + dt.timedelta(hours=30)) > 200


def test_a_day_that_a_country_has_left_out_fires_once_at_its_end() -> None:
    # Samoa went from the end of 29 December 2011 straight to the 31st.
    start, end = dt.datetime(2011, 12, 28, tzinfo=UTC), dt.datetime(2012, 1, 2, tzinfo=UTC)
    assert compare('Pacific/Apia', start, end) > 200
    found = between('30 2 * * *', 'Pacific/Apia', '2011-12-29', '2012-01-01')
    assert found == ['29 12:30', '30 10:00', '30 12:30', '31 12:30']


@pytest.mark.share(4)
@pytest.mark.long
@pytest.mark.parametrize('zone', ZONES)
def test_two_years_of_instants_are_those_of_a_walk_through_utc(zone: str) -> None:
    assert compare(zone, *YEARS) > 100_000
