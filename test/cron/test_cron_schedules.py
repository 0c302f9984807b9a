"""Schedules that are set by calls: `app.schedules`, on a real server."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from torrelque import (
    Torrelque,
    TorrelqueDuplicateError,
    TorrelqueLookupError,
    TorrelqueTaskStatus,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.cron import Calendar
from torrelque.cron.ahead import Line, offset_of
from torrelque.tasks import Tasks, current
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server

UTC = dt.timezone.utc
DAY = dt.timedelta(days=1)


def make(queue: Torrelque, **options: Any) -> Tasks:
    app = Tasks(queue, **options)

    @app.task(name='report')
    async def report(kind: str = 'daily') -> str:
        return kind

    return app


def shown(instant: float | None) -> dt.datetime:
    assert instant is not None
    return dt.datetime.fromtimestamp(instant, UTC)


class Noons:
    """A calendar of somebody's own: noon in UTC, so many times."""

    def __init__(self, last: dt.datetime) -> None:
        self.last = last

    def after(self, instant: dt.datetime) -> Iterator[dt.datetime]:
        noon = instant.replace(hour=12, minute=0, second=0, microsecond=0)
        while noon <= self.last:
            if noon > instant:
                yield noon
            noon += DAY


# Setting


async def test_a_schedule_has_the_instants_of_its_calendar_for_a_week_and_32_of_them(queue: Torrelque) -> None:
    app = make(queue)
    work = app.named('report').s('weekly')
    assert await app.schedules.add('daily', '0 9 * * *', work, timezone='Europe/Berlin')
    record = await app.schedules.get('daily')
    calendar = Calendar('0 9 * * *', 'Europe/Berlin').after(dt.datetime.now(UTC))
    assert [shown(instant) for instant in record.times] == [*itertools.islice(calendar, 10)]
    assert record.left == 32
    assert record.task == {'task': 'report', 'args': ['weekly']}
    assert record.spec == {'cron': '0 9 * * *', 'timezone': 'Europe/Berlin'}
    assert record.source == 'api'
    assert (record.overlap, record.missed, record.grace, record.until) == ('skip', 'latest', None, None)
    await app.schedules.add('hourly', '0 * * * *', work)
    assert (await app.schedules.get('hourly')).left in (7 * 24, 7 * 24 + 1)
    await app.schedules.add('each second', '* * * * * *', work)
    assert (await app.schedules.get('each second')).left in range(900, 1001)


async def test_the_very_same_schedule_is_left_alone_and_a_change_is_a_change(queue: Torrelque) -> None:
    app = make(queue)
    work = app.named('report').s()
    assert await app.schedules.add('daily', '0 9 * * *', work, grace=60)
    assert not await app.schedules.add('daily', ' 0 9  * * *', work, grace=dt.timedelta(minutes=1))
    changes: list[dict[str, Any]] = [
        {'when': '0 10 * * *'}, {'timezone': 'Asia/Tokyo'}, {'overlap': 'allow'}, {'missed': 'all'}, {'grace': 61},
        {'jitter': 5}, {'until': 4e9}, {'work': app.named('report').s('x')},
        {'work': app.named('report').options(priority=3).s()},
    ]  # fmt: skip
    for change in changes:
        given: dict[str, Any] = {'when': '0 9 * * *', 'work': work, 'grace': 60, **change}
        assert await app.schedules.add('daily', **given), change
        assert not await app.schedules.add('daily', **given), change
        assert await app.schedules.add('daily', '0 9 * * *', work, grace=60), change


class Tides:
    """A calendar whose instants have microseconds."""

    def after(self, instant: dt.datetime) -> Iterator[dt.datetime]:
        begin, step = dt.datetime(2020, 1, 1, tzinfo=UTC), dt.timedelta(hours=12.4206012)
        for count in itertools.count((instant - begin) // step + 1):
            yield begin + count * step


async def test_a_list_of_instants_with_microseconds_is_gone_on_with(queue: Torrelque) -> None:
    app = make(queue)
    app.cron(Tides(), name='tide')(app.functions['report'])
    await Worker(app, burst=True).run()
    before = await app.schedules.next('tide', 50)
    assert len({*before}) == 50 and all(instant.microsecond % 1000 == 0 for instant in before)
    times = f'{queue.keys["pending"][:-7]}times:tide'
    assert (await app.schedules.get('tide')).left == await queue.client.llen(times) == 32
    await queue.client.ltrim(times, 0, 5)
    await Worker(app, burst=True).run()
    record = await app.schedules.get('tide')
    assert record.left == 32 and record.spec == {'calendar': f'{__name__}.Tides'}
    assert await app.schedules.next('tide', 50) == before


@pytest.mark.parametrize('places', [[0, 1, 1.0004], [-5, 1], [0, 1], [1, 3, 2]])
def test_a_calendar_that_goes_back_is_refused(places: list[float]) -> None:
    class Back:
        def after(self, instant: dt.datetime) -> list[dt.datetime]:
            return [instant + dt.timedelta(milliseconds=place) for place in places]

    with pytest.raises(TorrelqueValueError, match='which is not after'):
        [*Line(Back(), dt.timedelta()).after(dt.datetime(2026, 1, 1, tzinfo=UTC))]


async def test_a_period_means_the_same_instants_to_everybody(queue: Torrelque) -> None:
    app = make(queue)
    work = app.named('report').s()
    assert await app.schedules.every('often', 900, work, phase=7)
    assert not await app.schedules.every('often', dt.timedelta(minutes=15), work, phase=7.0)
    record = await app.schedules.get('often')
    assert record.next is not None and (record.next - 7) % 900 == 0 and 0 < record.next - time.time() <= 900
    assert record.every == 900
    found = await app.schedules.next('often', 12)
    assert found == [shown(record.next + 900 * count) for count in range(12)]


async def test_jitter_is_the_same_for_a_name_and_another_for_others(queue: Torrelque) -> None:
    app = make(queue)
    work = app.named('report').s()
    offsets = set()
    for name in 'abcdefgh':
        await app.schedules.add(name, '0 9 * * *', work, jitter=3600)
        await app.schedules.every(f'{name}, too', 86_400, work, jitter=3600)
        record = await app.schedules.get(name)
        late = {instant - 9 * 3600 for instant in (time % 86_400 for time in record.times)}
        assert len(late) == 1 and 0 <= min(late) <= 3600
        offsets |= late
        period = await app.schedules.get(f'{name}, too')
        assert period.next is not None and 0 <= period.next % 86_400 <= 3600
        assert not await app.schedules.add(name, '0 9 * * *', work, jitter=3600.0)
    assert len(offsets) == 8


def test_jitter_is_that_of_the_name_in_all_versions() -> None:
    assert offset_of('nightly', 3600) == dt.timedelta(milliseconds=593_887)
    assert offset_of('nightly', 0) == dt.timedelta()


async def test_a_schedule_has_the_options_of_its_work(queue: Torrelque) -> None:
    app = make(queue)
    function = app.functions['report']
    options: Any = function.options(
        group=lambda kind: f'of {kind}', priority=lambda kind: len(kind), max_attempts=3, task_timeout=7, result_ttl=9,
        headers={'trace': '1'}, expires=60,
    )  # fmt: skip
    await app.schedules.add('daily', '@daily', options.s('ab'))
    record = await app.schedules.get('daily')
    assert (record.group, record.priority, record.max_attempts, record.task_timeout) == ('of ab', 2, 3, 7)
    assert record.task == {
        'task': 'report', 'args': ['ab'], 'result_ttl': 9, 'expires': 60, 'headers': {'trace': '1'},
    }  # fmt: skip


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'eta': 4e9}, 'eta'), ({'task_id': 'x'}, 'task_id'), ({'max_tasks': 5}, 'max_tasks'),
        ({'expires': dt.datetime.now(UTC) + DAY}, 'an instant for expires'),
    ],
)  # fmt: skip
def test_work_that_others_enqueue_has_no_options_of_one_call(options: Any, said: str, queue: Torrelque) -> None:
    function = make(queue).named('report').options(**options)
    with pytest.raises(TorrelqueTypeError, match=f'report: {said} is for one call; work that others enqueue has none'):
        function.s()


async def test_work_with_a_delay_is_for_no_schedule(queue: Torrelque) -> None:
    app = make(queue)
    with pytest.raises(TorrelqueTypeError, match='report: delay is for one call; work that others enqueue has none'):
        await app.schedules.add('daily', '@daily', app.named('report').options(delay=1).s())


async def test_work_is_checked_as_a_call_is(queue: Torrelque) -> None:
    app = make(queue)
    with pytest.raises(TorrelqueTypeError, match='too many positional arguments'):
        app.functions['report'].s(1, 2, 3)


@pytest.mark.parametrize(
    ('given', 'error', 'message'),
    [
        ({'when': '0 25 * * *'}, TorrelqueValueError, "the cron expression '0 25 .* cannot be meant: hour '25'"),
        ({'when': 5}, TorrelqueTypeError, r'a calendar is a cron expression, or has a method after\(instant\), not '),
        ({'when': None}, TorrelqueTypeError, 'a schedule has either a cron expression, or another calendar, or every'),
        ({'timezone': 'Mars'}, TorrelqueValueError, "there is no time zone 'Mars'"),
        ({'overlap': 'no'}, TorrelqueValueError, "overlap must be one of 'skip', .*, not 'no'"),
        ({'overlap': None}, TorrelqueTypeError, 'overlap must be a str, not NoneType'),
        ({'missed': 'skip'}, TorrelqueValueError, "missed must be one of 'latest', 'all', 'none', not 'skip'"),
        ({'grace': -1}, TorrelqueValueError, 'grace must be from 0'),
        ({'jitter': 'x'}, TorrelqueTypeError, 'jitter must be a number of seconds'),
        ({'until': 'x'}, TorrelqueTypeError, 'until must be a datetime or a Unix time, not str'),
        ({'until': dt.datetime(2020, 1, 1, tzinfo=UTC)}, TorrelqueValueError, "the schedule 'it' would never fire"),
        ({'work': 'report'}, TorrelqueTypeError, r"what is scheduled is a call, made by function.s\(…\), not 'report'"),
        ({'name': ''}, TorrelqueValueError, 'the name of a schedule must not be empty'),
        ({'name': 3}, TorrelqueTypeError, 'the name of a schedule must be a str, not int'),
    ],
)
async def test_what_cannot_be_meant_is_refused_and_nothing_is_set(
    queue: Torrelque, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    app = make(queue)
    whole: dict[str, Any] = {'name': 'it', 'when': '@daily', 'work': app.named('report').s(), **given}
    with pytest.raises(error, match=message):
        await app.schedules.add(**whole)
    assert [record async for record in app.schedules.list()] == []


async def test_firings_that_queue_have_no_group_besides(queue: Torrelque) -> None:
    app = make(queue)
    work = app.named('report', group='g').s()
    with pytest.raises(TorrelqueTypeError, match="the schedule 'it' cannot queue its firings in a group of its own"):
        await app.schedules.add('it', '@daily', work, overlap='queue')


# Other calendars


async def test_a_calendar_of_ones_own_needs_one_method_and_may_come_to_an_end(queue: Torrelque) -> None:
    app = make(queue)
    today = dt.datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    calendar = Noons(today + 5 * DAY)
    await app.schedules.add('noon', calendar, app.named('report').s())
    record = await app.schedules.get('noon')
    assert record.end is not None and shown(record.end) == today + 5 * DAY
    assert record.spec == {'calendar': f'{__name__}.Noons'}
    # Another process knows no more than what was computed.
    assert await Tasks(queue).schedules.next('noon', 100) == [shown(instant) for instant in record.times]


@pytest.mark.parametrize('instant', ['noon', dt.datetime(2030, 1, 1), dt.datetime(2020, 1, 1, tzinfo=UTC)])
async def test_a_calendar_that_gives_nonsense_is_refused(queue: Torrelque, instant: Any) -> None:
    class Nonsense:
        def after(self, start: dt.datetime) -> Iterator[dt.datetime]:
            yield instant

    app = make(queue)
    with pytest.raises(TorrelqueValueError, match=r'the calendar <.*Nonsense object at .*> gave '):
        await app.schedules.add('it', Nonsense(), app.named('report').s())


# What can be asked and done


async def test_schedules_are_listed_by_the_beginning_of_their_names(queue: Torrelque) -> None:
    app = make(queue)
    for name in ('mail.daily', 'mail.weekly', 'report'):
        await app.schedules.add(name, '@daily', app.named('report').s())
    assert {record.name async for record in app.schedules.list()} == {'mail.daily', 'mail.weekly', 'report'}
    assert {record.name async for record in app.schedules.list('mail.')} == {'mail.daily', 'mail.weekly'}


async def test_next_goes_on_by_the_calendar_where_the_list_ends(queue: Torrelque) -> None:
    app = make(queue)
    await app.schedules.add('daily', '0 9 * * *', app.named('report').s(), timezone='Europe/Berlin')
    wanted = [*itertools.islice(Calendar('0 9 * * *', 'Europe/Berlin').after(dt.datetime.now(UTC)), 400)]
    # Any process with the layer knows the calendar.
    other = Tasks(queue)
    assert await other.schedules.next('daily') == wanted[:10]
    assert await other.schedules.next('daily', 400) == wanted
    assert await other.schedules.next('daily', 3) == wanted[:3]
    until = wanted[4] + dt.timedelta(seconds=1)
    await app.schedules.add('daily', '0 9 * * *', app.named('report').s(), timezone='Europe/Berlin', until=until)
    assert await other.schedules.next('daily') == wanted[:5]
    with pytest.raises(TorrelqueValueError, match='count must be at least 1'):
        await other.schedules.next('daily', 0)


async def test_a_schedule_is_paused_resumed_and_removed_from_a_shell_that_never_imported_the_code(
    queue: Torrelque,
) -> None:
    app = make(queue)
    await app.schedules.add('daily', '@daily', app.named('report').s())
    shell = Tasks(queue)
    assert await shell.schedules.pause('daily') and not await shell.schedules.pause('daily')
    assert (await shell.schedules.get('daily')).paused
    assert await shell.schedules.resume('daily') and not await shell.schedules.resume('daily')
    assert await shell.schedules.remove('daily') and not await shell.schedules.remove('daily')
    for verb in (shell.schedules.get, shell.schedules.pause, shell.schedules.resume, shell.schedules.fire):
        with pytest.raises(TorrelqueLookupError):
            await verb('daily')


async def test_a_schedule_is_fired_by_hand_and_its_next_instant_stays(queue: Torrelque) -> None:
    app = make(queue)
    await app.schedules.add('daily', '@daily', app.named('report').s('now'))
    before = await app.schedules.get('daily')
    handle = await app.schedules.fire('daily')
    with pytest.raises(TorrelqueDuplicateError) as caught:
        await app.schedules.fire('daily')
    assert caught.value.task_id == handle.id
    await Worker(app, burst=True).run()
    assert await handle.result(60) == 'now'
    assert (await app.schedules.get('daily')).next == before.next
    await app.schedules.fire('daily')
    assert (await app.schedules.get('daily')).fired == 2


async def test_a_backfill_fires_each_instant_of_a_time_once(queue: Torrelque) -> None:
    app = make(queue)
    done: list[Any] = []

    @app.task(name='note')
    async def note() -> None:
        done.append(current().scheduled)

    await app.schedules.add('daily', '0 9 * * *', note.s(), timezone='Europe/Berlin')
    start, end = (dt.datetime(2026, 10, day, 7, tzinfo=UTC) for day in (20, 28))
    assert await app.schedules.backfill('daily', start, end) == 8
    assert await app.schedules.backfill('daily', start, end - DAY) == 0
    await Worker(app, burst=True).run()
    # Summer time ended on the 25th; the start counts, the end does not, and 07:00 is no 09:00 any more.
    assert sorted(done) == [dt.datetime(2026, 10, day, 7 if day < 25 else 8, tzinfo=UTC) for day in range(20, 28)]


async def test_a_backfill_of_a_period_and_of_more_than_one_call(queue: Torrelque) -> None:
    app = make(queue)
    await app.schedules.every('often', 60, app.named('report').s(), phase=5)
    start = dt.datetime(2026, 1, 1, tzinfo=UTC)
    assert await app.schedules.backfill('often', start, start + dt.timedelta(minutes=250)) == 250
    first = int((start + dt.timedelta(seconds=5)).timestamp() * 1000)
    assert (await queue.get_task_state(f'often@{first}')).status is TorrelqueTaskStatus.PENDING


async def test_a_backfill_needs_the_calendar(queue: Torrelque) -> None:
    app = make(queue)
    await app.schedules.add('noon', Noons(dt.datetime.now(UTC) + 9 * DAY), app.named('report').s())
    start = dt.datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(TorrelqueValueError, match="the calendar of the schedule 'noon' is not known here"):
        await Tasks(queue).schedules.backfill('noon', start, start + DAY)


async def test_a_schedule_is_of_the_queue_of_its_work_and_is_found_there(queue: Torrelque) -> None:
    app = make(queue)
    done: list[str] = []

    @app.task(name='note', queue='mail')
    async def note() -> str:
        done.append(current().queue.name)
        return 'noted'

    await app.schedules.add('mails', '@daily', note.s())
    await app.schedules.add('other', '@daily', app.named('report').s())
    assert {record.name async for record in app.schedules.list()} == {'mails', 'other'}
    assert [record.name async for record in queue.get_schedules()] == ['other']
    handle = await app.schedules.fire('mails')
    assert await app.schedules.pause('mails')
    await Worker(app, burst=True).run()
    assert done == ['mail'] and await handle.result(60) == 'noted'
    assert await app.schedules.remove('mails')


async def test_a_schedule_of_a_queue_that_the_app_has_not_named_is_found_where_it_was_set(queue: Torrelque) -> None:
    app = make(queue)
    work = app.named('report', queue='elsewhere').s()
    assert await app.schedules.add('far', '@daily', work)
    assert (await app.schedules.get('far')).name == 'far'
    assert [record.name async for record in app.schedules.list()] == ['far']
    assert [record.name async for record in queue.get_schedules()] == []


def test_synchronous_code_calls_schedules_by_the_app(queue: Torrelque) -> None:
    app = make(queue)

    async def names() -> list[str]:
        return [record.name async for record in app.schedules.list()]

    try:
        assert app.call(app.schedules.add('daily', '@daily', app.named('report').s()))
        assert app.call(names) == ['daily']
        assert len(app.call(app.schedules.next('daily'))) == 10
    finally:
        app.close()
