"""Calendars: what an expression means, and what is refused."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import sys
import zoneinfo
from collections.abc import Iterator

import pytest

from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.cron import Calendar

UTC = dt.timezone.utc
START = dt.datetime(2026, 11, 29, 12, 34, 56, 789, tzinfo=UTC)


def first(expression: str, timezone: str = 'UTC', count: int = 3, start: dt.datetime = START) -> list[str]:
    found = itertools.islice(Calendar(expression, timezone).after(start), count)
    return [f'{instant:%Y-%m-%d %H:%M:%S}' for instant in found]


def test_five_fields_are_minutes_and_six_begin_with_seconds() -> None:
    assert first('*/20 * * * *') == ['2026-11-29 12:40:00', '2026-11-29 13:00:00', '2026-11-29 13:20:00']
    assert first('*/20 34 * * * *', count=1) == ['2026-11-29 13:34:00']
    assert first('*/20 * * * * *') == ['2026-11-29 12:35:00', '2026-11-29 12:35:20', '2026-11-29 12:35:40']


@pytest.mark.parametrize(
    ('alias', 'instant'),
    [
        ('@hourly', '2026-11-29 13:00:00'),
        ('@daily', '2026-11-30 00:00:00'),
        ('@midnight', '2026-11-30 00:00:00'),
        ('@weekly', '2026-12-06 00:00:00'),
        ('@monthly', '2026-12-01 00:00:00'),
        ('@yearly', '2027-01-01 00:00:00'),
        ('@Annually', '2027-01-01 00:00:00'),
    ],
)
def test_seven_aliases_are_known_in_any_case(alias: str, instant: str) -> None:
    assert first(alias, count=1) == [instant]


def test_last_days_working_days_and_weekdays_of_a_month_are_known() -> None:
    assert first('0 9 L * *') == ['2026-11-30 09:00:00', '2026-12-31 09:00:00', '2027-01-31 09:00:00']
    assert first('0 9 LW * *') == ['2026-11-30 09:00:00', '2026-12-31 09:00:00', '2027-01-29 09:00:00']
    assert first('0 9 * * MON#1') == ['2026-12-07 09:00:00', '2027-01-04 09:00:00', '2027-02-01 09:00:00']
    assert first('0 9 * * 5L') == ['2026-12-25 09:00:00', '2027-01-29 09:00:00', '2027-02-26 09:00:00']
    assert first('0 0 29 2 *', count=2) == ['2028-02-29 00:00:00', '2032-02-29 00:00:00']


def test_an_instant_is_never_that_of_the_start_itself() -> None:
    start = dt.datetime(2026, 11, 29, 9, tzinfo=UTC)
    assert first('0 9 * * *', start=start, count=1) == ['2026-11-30 09:00:00']
    assert first('0 9 * * *', start=start - dt.timedelta(microseconds=1), count=1) == ['2026-11-29 09:00:00']


def test_a_start_may_be_in_any_zone_and_instants_are_in_utc() -> None:
    start = dt.datetime(2026, 11, 29, 22, tzinfo=zoneinfo.ZoneInfo('Asia/Tokyo'))
    instant = next(Calendar('0 9 * * *', 'Europe/Berlin').after(start))
    assert instant == dt.datetime(2026, 11, 30, 8, tzinfo=UTC)
    assert instant.tzinfo is UTC


def test_a_start_without_a_zone_is_refused() -> None:
    with pytest.raises(TorrelqueTypeError, match='an instant must be a datetime with a time zone, not '):
        Calendar('* * * * *').after(dt.datetime(2026, 11, 29))
    with pytest.raises(TorrelqueTypeError, match='an instant must be a datetime with a time zone, not '):
        Calendar('* * * * *').after(1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('expression', 'message'),
    [
        ('61 9 * * *', "the cron expression '61 9 * * *' cannot be meant: minute '61'"),
        ('0 24 * * *', "the cron expression '0 24 * * *' cannot be meant: hour '24'"),
        ('60 0 9 * * *', "the cron expression '60 0 9 * * *' cannot be meant: second '60'"),
        ('0 9 0 * *', "the cron expression '0 9 0 * *' cannot be meant: day of month '0'"),
        ('0 9 * foo *', "the cron expression '0 9 * foo *' cannot be meant: month 'foo'"),
        ('0 9 * * MON#6', "the cron expression '0 9 * * MON#6' cannot be meant: day of week 'MON#6'"),
        ('*/0 9 * * *', "the cron expression '*/0 9 * * *' cannot be meant: minute '*/0'"),
        ('²  9 * * *', "the cron expression '² 9 * * *' cannot be meant: minute '²'"),
        ('0 0 30 2 *', "the cron expression '0 0 30 2 *' never fires, because there is no such day"),
        ('0 0 31 2,4 *', "the cron expression '0 0 31 2,4 *' never fires, because there is no such day"),
        ('0 0 30,31 2 */7', "the cron expression '0 0 30,31 2 */7' never fires, because there is no such day"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_field(expression: str, message: str) -> None:
    with pytest.raises(TorrelqueValueError) as caught:
        Calendar(expression)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    'expression', ['', '* * * *', '* * * * * * *', '@reboot', 'every day', '1,' * 200 + '1 * * * *']
)
def test_what_is_no_expression_is_told_what_one_is(expression: str) -> None:
    with pytest.raises(TorrelqueValueError, match='a cron expression has five fields, or six with seconds in front'):
        Calendar(expression)


@pytest.mark.parametrize('expression', [None, 5, b'* * * * *', ['*'] * 5])
def test_an_expression_is_text(expression: object) -> None:
    with pytest.raises(TorrelqueTypeError, match='a cron expression must be a str, not '):
        Calendar(expression)  # type: ignore[arg-type]


@pytest.mark.parametrize('timezone', ['+02:00', '-3', 'UTC+2', 'GMT-05:30', 'utc +1', 'Z', '+0530'])
def test_an_offset_is_no_time_zone(timezone: str) -> None:
    with pytest.raises(TorrelqueValueError, match=r"a time zone has a name, such as 'Europe/Berlin', because an"):
        Calendar('@daily', timezone)


@pytest.mark.parametrize('timezone', ['localtime', 'posixrules'])
def test_a_time_zone_is_the_same_on_all_machines(timezone: str) -> None:
    with pytest.raises(TorrelqueValueError, match='a time zone is the same on all machines'):
        Calendar('@daily', timezone)


@pytest.mark.parametrize(
    ('timezone', 'near'),
    [
        ('Berlin', 'near it: Europe/Berlin, '),
        ('europe/berlin', 'near it: Europe/Berlin, '),
        ('Europe/Berlni', 'near it: Europe/Berlin, '),
        ('Europe/New York', 'near it: America/New_York, '),
        ('lord_howe', 'near it: Australia/Lord_Howe'),
    ],
)
def test_an_unknown_time_zone_is_refused_with_those_that_are_near(timezone: str, near: str) -> None:
    with pytest.raises(TorrelqueValueError) as caught:
        Calendar('@daily', timezone)
    assert str(caught.value).startswith(f'there is no time zone {timezone!r}; ')
    assert near in str(caught.value)


@pytest.mark.parametrize('timezone', ['', '../etc/passwd', '/etc/localtime', 'zone.tab', 'Europe', '\0', 'Qqqqqq/Wwww'])
def test_what_is_no_time_zone_at_all_is_refused(timezone: str) -> None:
    with pytest.raises(TorrelqueValueError, match='there is no time zone '):
        Calendar('@daily', timezone)


@pytest.mark.parametrize('timezone', [None, 1, b'UTC', dt.timezone.utc])
def test_a_time_zone_is_named(timezone: object) -> None:
    with pytest.raises(TorrelqueTypeError, match='timezone must be the name of a time zone, not '):
        Calendar('@daily', timezone)  # type: ignore[arg-type]


def test_a_machine_without_time_zones_is_told_what_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = zoneinfo.TZPATH
    monkeypatch.setitem(sys.modules, 'tzdata', None)
    zoneinfo.reset_tzpath([])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        with pytest.raises(TorrelqueValueError, match=r"this machine has no time zones, so .Europe.Berlin. is not"):
            Calendar('@daily', 'Europe/Berlin')
        assert first('@daily', count=1) == ['2026-11-30 00:00:00']
    finally:
        zoneinfo.reset_tzpath(paths)


def test_a_zone_is_given_as_an_object_that_has_a_name() -> None:
    assert Calendar('@daily', zoneinfo.ZoneInfo('Asia/Kathmandu')) == Calendar('@daily', 'Asia/Kathmandu')
    with open(zoneinfo.TZPATH[0] + '/Asia/Kathmandu', 'rb') as file:
        nameless = zoneinfo.ZoneInfo.from_file(file)
    with pytest.raises(TorrelqueValueError, match='a time zone needs a name, by which other processes find it'):
        Calendar('@daily', nameless)


def test_a_calendar_is_made_again_of_its_spec() -> None:
    calendar = Calendar(' 0  9 * * MON-FRI ', 'Europe/Berlin')
    assert calendar.spec == {'cron': '0 9 * * MON-FRI', 'timezone': 'Europe/Berlin'}
    again = Calendar(calendar.spec['cron'], calendar.spec['timezone'])
    assert again == calendar
    assert hash(again) == hash(calendar)
    assert again != Calendar('0 9 * * MON-FRI')
    assert repr(again) == "Calendar('0 9 * * MON-FRI', 'Europe/Berlin')"


def draws(seed: int, count: int) -> Iterator[tuple[str, dt.datetime, str]]:
    draw = random.Random(seed)
    zones = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Antarctica/Troll', 'Pacific/Apia']
    expressions = ['30 2 * * *', '*/7 * * * *', '15,45 1,2 * * *', '*/20 30 1 * * *', '0 */2 * * *', '@weekly']
    for _ in range(count):
        year, day = draw.choice([2011, 2026, 2027]), draw.randrange(364)
        start = dt.datetime(year, 1, 1, tzinfo=UTC) + dt.timedelta(days=day, seconds=draw.uniform(0, 86_400))
        yield draw.choice(expressions), start, draw.choice(zones)


def test_instants_ascend_and_come_after_the_start_whatever_it_is() -> None:
    for expression, start, zone in draws(1, 500):
        found = [start, *itertools.islice(Calendar(expression, zone).after(start), 40)]
        assert all(one < other for one, other in itertools.pairwise(found)), (expression, start, zone)


def test_instants_are_the_same_wherever_one_begins() -> None:
    for expression, start, zone in draws(2, 100):
        calendar = Calendar(expression, zone)
        found = [*itertools.islice(calendar.after(start), 20)]
        for place, instant in enumerate(found[:-1]):
            assert next(calendar.after(instant)) == found[place + 1], (expression, start, zone)
