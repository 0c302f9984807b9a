"""Schedules that are declared in code: `app.cron`, and what a worker makes of it when it begins."""

from __future__ import annotations

import datetime as dt
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTypeError, TorrelqueValueError
from torrelque.cron import Calendar
from torrelque.tasks import Tasks, current
from torrelque.testing import eager
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server

UTC = dt.timezone.utc


def make(queue: Torrelque, *schedules: tuple[str, str], **options: Any) -> Tasks:
    app = Tasks(queue, **options)

    @app.task(name='report')
    async def report() -> None: ...

    for name, when in schedules:
        app.cron(when, name=name)(report)
    return app


async def names(queue: Torrelque) -> set[str]:
    return {record.name async for record in queue.get_schedules()}


async def begin(*apps: Tasks) -> None:
    for app in apps:
        await Worker(app, burst=True).run()


# Decorating


async def test_a_schedule_is_declared_above_or_below_the_task(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.cron('0 9 * * *', timezone='Europe/Berlin', overlap='allow', missed='all', grace=3600, jitter=60)
    @app.task(name='above', max_attempts=3)
    async def above(kind: str = 'daily') -> str:
        return kind

    @app.task(name='below')
    @app.cron(every=3600, phase=7, name='hourly')
    def below() -> None: ...

    assert await above() == 'daily'
    assert await names(queue) == set()
    await begin(app)
    record = await app.schedules.get('above')
    assert record.task == {'task': 'above'}
    assert record.spec == {'cron': '0 9 * * *', 'timezone': 'Europe/Berlin', 'jitter': 60}
    assert (record.overlap, record.missed, record.grace, record.max_attempts) == ('allow', 'all', 3600, 3)
    assert record.source == 'code:' and record.revision is None and record.left == 32
    hourly = await app.schedules.get('hourly')
    assert (hourly.every, hourly.phase, hourly.task) == (3600, 7, {'task': 'below'})


async def test_a_function_has_several_schedules_by_names_of_their_own(queue: Torrelque) -> None:
    app = make(queue, ('morning', '0 9 * * *'), ('evening', '0 21 * * *'))
    await begin(app)
    assert await names(queue) == {'morning', 'evening'}
    app = make(queue)
    app.cron('@daily')(app.functions['report'])
    with pytest.raises(TorrelqueValueError, match="the app has a schedule 'report' already; give one of them a name="):
        app.cron('@hourly')(app.functions['report'])


async def test_a_declared_schedule_that_is_over_does_not_keep_a_worker_from_its_work(queue: Torrelque) -> None:
    app = make(queue)
    app.cron('@daily', until=1e9, name='over')(app.functions['report'])
    app.cron('@daily', name='daily')(app.functions['report'])
    await begin(app)
    assert await names(queue) == {'daily'}


async def test_an_ordered_function_has_a_schedule(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.cron('@daily')
    @app.fifo(queue='bookings', name='book')
    def book() -> None: ...

    await begin(app)
    assert (await app.schedules.get('book')).group == 'fifo:bookings'
    assert (await queue.get_limits())['fifo:bookings'].concurrency == 1


@pytest.mark.parametrize('above', [True, False])
def test_arguments_of_a_scheduled_function_have_defaults(queue: Torrelque, above: bool) -> None:
    app = Tasks(queue)

    def report(day: str) -> None: ...

    task, cron = app.task(name='report'), app.cron('@daily')
    with pytest.raises(TorrelqueTypeError, match=r'a schedule calls report without arguments: .*missing.* .day.'):
        cron(task(report)) if above else task(cron(report))


@pytest.mark.parametrize(
    ('given', 'error', 'message'),
    [
        ({'when': '61 * * * *'}, TorrelqueValueError, "the cron expression '61 .* cannot be meant: minute '61'"),
        ({'when': '0 0 30 2 *'}, TorrelqueValueError, "the cron expression '0 0 30 2 .' never fires"),
        ({'when': '@daily', 'timezone': '+01:00'}, TorrelqueValueError, 'a time zone has a name'),
        ({}, TorrelqueTypeError, 'a schedule has either a cron expression, or another calendar, or every=SECONDS'),
        ({'when': '@daily', 'every': 5}, TorrelqueTypeError, 'a schedule has either a cron expression, or another'),
        ({'when': '@daily', 'phase': 5}, TorrelqueTypeError, 'phase belongs to every=SECONDS'),
        ({'every': 0}, TorrelqueValueError, 'every must be from 0.001 to'),
        ({'every': 5, 'overlap': 'maybe'}, TorrelqueValueError, 'overlap must be one of'),
        ({'every': 5, 'grace': 'x'}, TorrelqueTypeError, 'grace must be a number of seconds'),
    ],
)
def test_what_cannot_be_meant_is_refused_at_import(
    queue: Torrelque, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    app = Tasks(queue)
    with pytest.raises(error, match=message):
        app.cron(**given)


async def test_what_is_no_function_of_the_app_is_refused(queue: Torrelque) -> None:
    app, other = make(queue), make(queue)
    with pytest.raises(TorrelqueTypeError, match='not a function: 5'):
        app.cron('@daily')(5)  # type: ignore[type-var]
    with pytest.raises(TorrelqueTypeError, match='report is a function of another app'):
        app.cron('@daily')(other.functions['report'])

    @app.cron('@daily')
    def forgotten() -> None: ...

    with pytest.raises(TorrelqueTypeError, match=r'app.cron decorates test_\w+\.\S+\.forgotten, which app.task'):
        await begin(app)


@pytest.mark.parametrize('revision', [-1, 'x', 1.5])
def test_a_revision_is_a_number(queue: Torrelque, revision: Any) -> None:
    with pytest.raises((TorrelqueTypeError, TorrelqueValueError), match='revision must be '):
        Tasks(queue, revision=revision)
    with pytest.raises(TorrelqueTypeError, match='the name of an app must be a str, not int'):
        Tasks(queue, name=5)  # type: ignore[arg-type]


def test_an_app_without_schedules_loads_nothing_of_them() -> None:
    code = (
        'import sys, redis.asyncio, torrelque\n'
        'from torrelque.tasks import Tasks\n'
        'app = Tasks(torrelque.Torrelque(redis.asyncio.Redis(), queue="x"))\n'
        'app.task(name="f")(lambda: None)\n'
        'print([name for name in sys.modules if "cron" in name])\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'


def test_without_cronsim_an_error_tells_what_brings_it() -> None:
    code = (
        'import sys, redis.asyncio, torrelque\n'
        'from torrelque.tasks import Tasks\n'
        'sys.modules["cronsim"] = None\n'
        'app = Tasks(torrelque.Torrelque(redis.asyncio.Redis(), queue="x"))\n'
        'try:\n'
        '    app.cron("@daily")\n'
        'except torrelque.Error as exc:\n'
        '    print(exc)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == "schedules need cronsim, of the extra 'cron': pip install 'torrelque[cron]'\n"


def test_a_worker_of_an_app_that_declares_nothing_does_without_cronsim(shared_server: RealServer) -> None:
    code = (
        'import asyncio, logging, sys\n'
        'from torrelque.tasks import Tasks\n'
        'from torrelque.worker import Worker\n'
        'sys.modules["cronsim"] = None\n'
        'logging.basicConfig(level="INFO", format="%(name)s %(message)s", stream=sys.stdout)\n'
        'logging.getLogger("torrelque.worker").setLevel("ERROR")\n'
        'app = Tasks.from_url(sys.argv[1], queue="bare", name="shop")\n'
        'app.task(name="note")(lambda: print("ran"))\n'
        'async def main():\n'
        '    await app.enqueue("note")\n'
        '    await Worker(app, burst=True).run()\n'
        '    await Worker(app, burst=True).run()\n'
        'asyncio.run(main())\n'
    )
    done = subprocess.run([sys.executable, '-c', code, shared_server.url], capture_output=True, text=True, check=True)
    line = "torrelque.tasks the app 'shop' leaves schedules to others, because cronsim is not installed"
    assert done.stdout.splitlines() == [line, 'ran']


# The begin of a worker


async def test_the_same_is_left_alone_and_a_change_keeps_what_has_happened(queue: Torrelque) -> None:
    app = make(queue, ('daily', '0 9 * * *'))
    await begin(app)
    await app.schedules.fire('daily')
    await app.schedules.pause('daily')
    before = await app.schedules.get('daily')
    await begin(app, make(queue, ('daily', '0 9 * * *')))
    assert (await app.schedules.get('daily'))._replace(last_id=None) == before._replace(last_id=None)
    await begin(make(queue, ('daily', '30 9 * * *')))
    after = await app.schedules.get('daily')
    assert after.times != before.times and after.left == 32
    assert (after.last_id, after.fired, after.paused) == (before.last_id, 1, True)


async def test_an_app_with_a_name_removes_what_it_does_not_declare_any_more(queue: Torrelque) -> None:
    shop, mail = make(queue, ('a', '@daily'), ('b', '@daily'), name='shop'), make(queue, ('c', '@daily'), name='mail')
    await begin(shop, mail)
    await shop.schedules.add('by hand', '@daily', shop.named('report').s())
    await begin(make(queue, ('d', '@daily')))
    assert await names(queue) == {'a', 'b', 'c', 'd', 'by hand'}
    await begin(make(queue, ('b', '@daily'), name='shop'))
    assert await names(queue) == {'b', 'c', 'd', 'by hand'}
    # The last one, too, though nothing is declared any more.
    await begin(make(queue, name='shop'))
    assert await names(queue) == {'c', 'd', 'by hand'}


async def test_an_app_without_a_name_removes_nothing_and_one_warning_tells_what_is_left(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    await begin(make(queue, ('a', '@daily'), ('b', '@daily'), ('c', '@daily')))
    caplog.clear()
    app = make(queue, ('b', '@daily'))
    await begin(app, app)
    assert await names(queue) == {'a', 'b', 'c'}
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f'queue {queue.name!r}: an app without a name has declared schedules that this one does not: a, c; that may be '
        'another app, which needs them, or what is left of an earlier version; Tasks(…, name=…) tells apps apart, and '
        'has each remove its own'
    ]


async def test_the_log_tells_what_is_new_from_what_is_changed(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'torrelque.cron')

    async def told(*declared: tuple[str, str]) -> list[str]:
        caplog.clear()
        await begin(make(queue, *declared, name='shop'))
        return sorted(record.getMessage() for record in caplog.records if record.name == 'torrelque.cron')

    says = f'queue {queue.name!r}: the schedule'
    assert await told(('a', '@daily'), ('b', '@daily')) == [f"{says} 'a' is set", f"{says} 'b' is set"]
    assert await told(('a', '@daily'), ('b', '@hourly')) == [f"{says} 'b' is changed"]


async def test_a_lower_revision_changes_nothing_that_a_higher_one_has_set(queue: Torrelque) -> None:
    await begin(make(queue, ('a', '@daily'), ('b', '@daily'), name='shop', revision=41))
    await begin(make(queue, ('b', '@hourly'), ('c', '@daily'), name='shop', revision=42))
    assert await names(queue) == {'b', 'c'}
    await begin(make(queue, ('a', '@daily'), ('b', '@daily'), name='shop', revision=41))
    assert await names(queue) == {'b', 'c'}
    record = await queue.get_schedule('b')
    assert record.spec['cron'] == '@hourly' and record.revision == 42
    # Back to an older version, on purpose: by a higher number.
    await begin(make(queue, ('a', '@daily'), ('b', '@daily'), name='shop', revision=43))
    assert await names(queue) == {'a', 'b'}


async def test_without_revisions_the_last_start_wins(queue: Torrelque) -> None:
    for when in ('@daily', '@hourly', '@daily'):
        await begin(make(queue, ('a', when), name='shop'))
        assert (await queue.get_schedule('a')).spec['cron'] == when


async def test_a_new_edition_of_the_time_zones_replaces_the_list(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make(queue, ('daily', '0 9 * * *'))
    after = Calendar.after

    def later(calendar: Any, instant: dt.datetime) -> Iterator[dt.datetime]:
        return (found + dt.timedelta(hours=1) for found in after(calendar, instant - dt.timedelta(hours=1)))

    with monkeypatch.context() as context:
        # A list of another time: the zone had another offset, by the edition that was there.
        context.setattr('torrelque.cron.calendar.Calendar.after', later)
        await begin(app)
        assert {instant % 86_400 / 3600 for instant in (await queue.get_schedule('daily')).times} == {10}
    await begin(app)
    record = await queue.get_schedule('daily')
    assert {instant % 86_400 / 3600 for instant in record.times} == {9}
    assert record.left == 32
    assert record.spec == {'cron': '0 9 * * *', 'timezone': 'UTC', 'edition': 1}
    await begin(app, make(queue, ('daily', '0 9 * * *')))
    assert await queue.get_schedule('daily') == record
    # A schedule of the same words that is set by a call is the same.
    assert not await app.schedules.add('daily', '0 9 * * *', app.named('report').s())


@pytest.mark.parametrize('days', [(20, 99), (12, 20)])
async def test_a_change_that_comes_after_the_first_ten_instants_is_seen(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, days: tuple[int, int]
) -> None:
    app = make(queue, ('daily', '0 9 * * *'))
    after, now = Calendar.after, dt.datetime.now(UTC)
    begins, ends = (now + dt.timedelta(days=count) for count in days)

    def later(calendar: Any, instant: dt.datetime) -> Iterator[dt.datetime]:
        found = (
            it + dt.timedelta(hours=begins < it < ends) for it in after(calendar, instant - dt.timedelta(hours=1))
        )
        return (it for it in found if it > instant)

    async def hours() -> set[int]:
        stored = await queue.client.lrange(f'{queue.keys["pending"][:-7]}times:daily', 0, -1)
        return {int(instant) // 3_600_000 % 24 for instant in stored}

    with monkeypatch.context() as context:
        context.setattr('torrelque.cron.calendar.Calendar.after', later)
        await begin(app)
    assert await hours() == {9, 10}
    await begin(app)
    assert await hours() == {9}
    assert (await queue.get_schedule('daily')).left == 32


async def test_calls_that_run_at_once_have_no_schedules(queue: Torrelque) -> None:
    app = Tasks(queue)
    done = []

    @app.cron('@daily')
    @app.task(name='note')
    async def note() -> None:
        done.append(current().scheduled)

    with eager(app):
        await note.enqueue()
    assert done == [None]
    assert await names(queue) == set()


async def test_what_is_declared_fires_in_a_worker(queue: Torrelque) -> None:
    app = Tasks(queue)
    done: list[Any] = []
    worker = Worker(app)

    @app.cron('* * * * * *', name='second')
    @app.task(name='note')
    async def note() -> None:
        done.append((current().scheduled, time.time()))
        if len(done) == 2:
            worker.stop()

    await worker.run()
    assert [scheduled.microsecond for scheduled, _ in done] == [0, 0]
    assert (done[1][0] - done[0][0]).total_seconds() >= 1
