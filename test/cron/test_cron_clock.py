"""Schedules under a clock that is moved: `torrelque.testing`."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

import torrelque.sync
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.operate import Operator
from torrelque.tasks import Tasks, current
from torrelque.testing import Clock, SyncClock, run_until_idle, using
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server

UTC = dt.timezone.utc
DAY = 86_400


def make(queue: Torrelque, done: list[Any], when: str = '0 9 * * *', **options: Any) -> Tasks:
    app = Tasks(queue, name='shop')

    @app.cron(when, name='daily', **options)
    @app.task(name='note')
    async def note() -> None:
        done.append(current().scheduled)

    return app


async def test_a_clock_that_moves_fires_schedules_as_time_would(queue: Torrelque) -> None:
    done: list[Any] = []
    app, clock = make(queue, done), Clock(queue)
    await run_until_idle(app, clock=clock)
    assert done == []
    first = await app.schedules.next('daily', 40)
    for count in range(3):
        assert await clock.move_to_next() is not None
        await run_until_idle(app, clock=clock)
        assert done == first[: count + 1]
    # Calendars are asked for the time as it would be, and lists go on from there.
    assert await app.schedules.next('daily', 37) == first[3:]
    record = await app.schedules.get('daily')
    assert (record.fired, record.left, record.spec) == (3, 32, {'cron': '0 9 * * *', 'timezone': 'UTC'})


async def test_periods_are_at_their_multiples_whether_they_were_set_before_a_move_or_after(queue: Torrelque) -> None:
    done: list[Any] = []
    app, clock = make(queue, done), Clock(queue)
    await run_until_idle(app, clock=clock)
    await app.schedules.every('before', 3600, app.named('note').s(), phase=7)
    for _ in range(2):
        await clock.move(1234)
        assert not await app.schedules.every('before', 3600, app.named('note').s(), phase=7)
        await app.schedules.every('after', 3600, app.named('note').s(), phase=7)
        for name in ('before', 'after'):
            found = await app.schedules.next(name, 3)
            assert {(instant.minute, instant.second, instant.microsecond) for instant in found} == {(0, 7, 0)}
    await clock.move(3600)
    await run_until_idle(app, clock=clock)
    assert {(instant.minute, instant.second) for instant in done if instant.hour != 9} <= {(0, 7)}
    assert len(done) >= 2


@pytest.mark.parametrize(('missed', 'count'), [('latest', 1), ('all', 5), ('none', 0)])
async def test_several_days_at_once_are_missed_as_the_schedule_says(queue: Torrelque, missed: Any, count: int) -> None:
    done: list[Any] = []
    app, clock = make(queue, done, missed=missed, overlap='allow'), Clock(queue)
    await run_until_idle(app, clock=clock)
    await clock.move(dt.timedelta(days=5))
    await run_until_idle(app, clock=clock)
    assert len(done) == count
    record = await app.schedules.get('daily')
    assert (record.fired, record.skipped) == (count, 5 - count)


async def test_lists_are_filled_up_however_far_a_clock_is_moved(queue: Torrelque) -> None:
    done: list[Any] = []
    app, clock = make(queue, done), Clock(queue)
    await run_until_idle(app, clock=clock)
    first = (await app.schedules.next('daily', 1))[0]
    for count in range(1, 6):
        await clock.move(30 * DAY)
        await run_until_idle(app, clock=clock)
        assert len(done) == count
        assert (await app.schedules.get('daily')).left == 32
        assert (await app.schedules.next('daily', 1))[0] == first + dt.timedelta(days=30 * count)


async def test_where_all_are_to_be_made_up_they_are_though_the_list_was_shorter(queue: Torrelque) -> None:
    done: list[Any] = []
    app, clock = make(queue, done, missed='all', overlap='allow'), Clock(queue)
    await run_until_idle(app, clock=clock)
    await clock.move(200 * DAY)
    await run_until_idle(app, clock=clock)
    assert len({*done}) == len(done) == 200
    assert (await app.schedules.get('daily')).left == 32


async def test_a_worker_that_waits_fires_when_the_clock_is_moved(queue: Torrelque) -> None:
    done: list[Any] = []
    app, clock = make(queue, done, '@monthly'), Clock(queue)
    await Worker(app, burst=True).run()
    async with Worker(app, signals=False):
        await clock.move_to_next()
        async for state in app.handle(await fired(app)).watch(timeout=60):
            if state.status.isfinal():
                break
    assert len(done) == 1


async def fired(app: Tasks) -> str:
    while (last := (await app.schedules.get('daily')).last_id) is None:
        pass
    return last


async def test_a_list_that_ends_before_its_until_is_over_and_not_dry(queue: Torrelque) -> None:
    done: list[Any] = []
    # Two midnights are before it, whenever the test runs.
    today = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    app, clock = make(queue, done, '@daily', until=today + dt.timedelta(days=2, hours=1)), Clock(queue)
    await Worker(app, burst=True).run()
    for days in (2, 1):
        record = await app.schedules.get('daily')
        assert (len(record.times), record.left, record.dry) == (days, days + 1, False)
        await clock.move_to_next()
        await run_until_idle(app, clock=clock)
    await Worker(app, burst=True).run()
    record = await app.schedules.get('daily')
    assert (record.next, record.times, record.fired, record.dry) == (None, (), 2, False)
    [view] = await Operator(queue).schedules()
    overview = await Operator(queue).overview()
    assert (view.state, overview.dry_schedules) == ('over', 0)
    assert not await app.schedules.next('daily')


async def test_until_is_nearer_and_periods_stay_what_they_are(queue: Torrelque) -> None:
    app, clock = Tasks(queue), Clock(queue)
    app.task(name='note')(lambda: None)
    end = dt.datetime.now(UTC) + dt.timedelta(hours=25)
    await app.schedules.every('hourly', 3600, app.named('note').s(), until=end)
    fires = 0
    while (record := await app.schedules.get('hourly')).next is not None:
        assert await clock.move_to_next() is not None
        await run_until_idle(app, clock=clock)
        fires += 1
        assert record.fired + 1 == fires
    assert fires in (24, 25)
    assert await clock.get_wait() is None


async def test_a_schedule_that_is_dry_waits_for_nothing(queue: Torrelque) -> None:
    clock = Clock(queue)
    await queue.set_schedule('dry', {'task': 'note'}, times=[], spec={})
    await queue.set_schedule('far', {'task': 'note'}, every=1000, phase=0)
    await clock.move(999)
    assert (await queue.get_schedule('dry')).next is None
    wait = await clock.get_wait()
    assert wait is not None and wait <= 1000


async def test_what_tasks_wait_for_does_not_bring_a_period_without_end(queue: Torrelque) -> None:
    app = Tasks(queue)
    done = []

    @app.task(name='note')
    async def note(kind: str = 'fired') -> None:
        done.append(kind)

    await app.schedules.every('often', 1, note.s())
    await note.options(delay=DAY).enqueue('late')
    assert await run_until_idle(app) == pytest.approx(DAY, abs=60)
    assert done.count('late') == 1 and done.count('fired') >= 1


async def test_an_app_that_stands_on_the_queue_of_a_test_has_its_schedules_there(queue: Torrelque) -> None:
    app = Tasks.from_url('redis://nowhere.invalid', queue='shop', name='shop')
    done: list[str] = []

    @app.cron('0 9 * * *', name='daily')
    @app.task(name='note')
    async def note() -> str:
        done.append(current().queue.name)
        return 'noted'

    @app.cron('0 9 * * *', name='mails')
    @app.task(name='mail', queue='mail')
    async def mail() -> None:
        done.append(current().queue.name)

    async with using(app, queue):
        await run_until_idle(app)
        assert {record.name async for record in app.schedules.list()} == {'daily', 'mails'}
        assert [record.name async for record in queue.get_schedules()] == ['daily']
        handle = await app.schedules.fire('daily')
        await Clock(*app.queues).move(DAY)
        await run_until_idle(app)
        assert await handle.result(60) == 'noted'
    assert queue.name in done and len({*done}) == 2


def test_a_clock_of_synchronous_code_moves_schedules(server: RealServer) -> None:
    with server.sync_client() as client, torrelque.sync.Torrelque(client, queue='q') as queue:
        queue.set_schedule('hourly', 'x', every=3600)
        before = queue.get_schedule('hourly').next
        SyncClock(queue).move(60)
        after = queue.get_schedule('hourly').next
        assert before is not None and after is not None and before - after == 60
        assert SyncClock(queue).move_to_next() is not None
        assert queue.dequeue(timeout=60)[1] == 'x'
