"""Schedules that are set by calls, where something is odd: several queues, times that are over, who has declared."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from typing import Any

import pytest

from support.proxy import calls_of, open_proxy
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueLookupError, TorrelqueTypeError, TorrelqueValueError
from torrelque.tasks import Tasks
from torrelque.worker import Worker

pytestmark = pytest.mark.first_server

UTC = dt.timezone.utc
HOUR = dt.timedelta(hours=1)


def make(queue: Torrelque, *declared: str, to: str | None = None, **options: Any) -> Tasks:
    app = Tasks(queue, queues=[queue.name, f'{queue.name} 2'], **options)

    @app.task(name='report', queue=to)
    async def report() -> None: ...

    for name in declared:
        app.cron('0 9 * * *', name=name)(report)
    return app


def work(app: Tasks) -> Any:
    return app.functions['report'].s()


async def begin(app: Tasks) -> None:
    await Worker(app, burst=True).run()


# Several queues


async def test_a_schedule_moves_to_the_queue_of_its_function(queue: Torrelque) -> None:
    other = f'{queue.name} 2'
    old, new = make(queue), make(queue, to=other)
    await old.schedules.add('daily', '0 9 * * *', work(old))
    await old.schedules.pause('daily')
    assert await new.schedules.add('daily', '0 9 * * *', work(new))
    found = [record async for record in new.schedules.list()]
    assert [(record.name, record.paused) for record in found] == [('daily', True)]
    with pytest.raises(TorrelqueLookupError):
        await queue.get_schedule('daily')
    assert not await new.schedules.add('daily', '0 9 * * *', work(new))
    assert await old.schedules.every('daily', 60, work(old))
    record = await queue.get_schedule('daily')
    assert record.every == 60 and record.paused
    assert await new.schedules.remove('daily')
    assert [record async for record in old.schedules.list()] == []
    await old.aclose()
    await new.aclose()


async def test_what_another_app_declares_in_another_queue_stays(queue: Torrelque) -> None:
    mail, shop = make(queue, 'daily', name='mail'), make(queue, to=f'{queue.name} 2', name='shop')
    await begin(mail)
    await shop.schedules.add('daily', '0 9 * * *', work(shop))
    assert len([record async for record in shop.schedules.list()]) == 2
    # By hand, it goes from all queues that the app knows.
    assert await shop.schedules.remove('daily')
    assert [record async for record in shop.schedules.list()] == []
    assert not await shop.schedules.remove('daily')
    await shop.aclose()


# Whose a schedule is


async def test_to_add_what_is_declared_is_to_leave_it_alone(queue: Torrelque) -> None:
    app = make(queue, 'a', 'b', name='shop', revision=42)
    await begin(app)
    assert not await app.schedules.add('a', '0 9 * * *', work(app))
    assert await app.schedules.add('b', '30 9 * * *', work(app))
    found = {record.name: (record.source, record.revision) async for record in queue.get_schedules()}
    assert found == {'a': ('code:shop', 42), 'b': ('api', None)}
    # What was changed by a call is that caller's until a worker begins, and what is declared no longer goes.
    await begin(make(queue, name='shop', revision=43))
    assert [record.name async for record in queue.get_schedules()] == ['b']


async def test_what_was_fired_is_told_though_its_schedule_is_removed_meanwhile(server: RealServer) -> None:
    async with open_proxy(server) as proxy, proxy.client() as far, server.client() as client:
        app = Tasks(Torrelque(far, queue='removed'))
        app.task(name='report')(lambda: None)
        await app.schedules.add('daily', '0 9 * * *', work(app))
        async with Torrelque(client, queue='removed') as queue:
            gate = proxy.hold_reply(calls_of('fire'))
            firing = asyncio.create_task(app.schedules.fire('daily'))
            await gate.arrived.wait()
            await queue.remove_schedule('daily')
            gate.open()
            handle = await firing
            assert handle.id.startswith('daily@')
            assert (await queue.get_task_state(handle.id)).status.name == 'PENDING'
        await app.aclose()


# Times


async def test_a_backfill_leaves_what_is_to_come_to_the_schedule(queue: Torrelque) -> None:
    app = make(queue)
    await app.schedules.add('seconds', '* * * * * *', work(app))
    await app.schedules.every('often', 1, work(app))
    for name in ('seconds', 'often'):
        now = dt.datetime.now(UTC).replace(microsecond=0)
        count = await app.schedules.backfill(name, now - dt.timedelta(seconds=9), now + HOUR)
        assert 10 <= count <= 10 + (dt.datetime.now(UTC) - now).total_seconds()
        assert await app.schedules.backfill(name, now + HOUR, now + 2 * HOUR) == 0


async def test_a_backfill_has_a_start_and_an_end(queue: Torrelque) -> None:
    app = make(queue)
    await app.schedules.every('hourly', 3600, work(app))
    start = dt.datetime(2026, 1, 1, tzinfo=UTC)
    local = start.astimezone().replace(tzinfo=None)
    assert await app.schedules.backfill('hourly', local, local + 3 * HOUR) == 3
    assert await app.schedules.backfill('hourly', start, start + 3 * HOUR) == 0
    assert await app.schedules.backfill('hourly', start, start) == 0
    old = dt.datetime(1, 1, 1, tzinfo=UTC)
    assert await app.schedules.backfill('hourly', old, dt.datetime(1970, 1, 1, 1, tzinfo=UTC)) == 1
    with pytest.raises(TorrelqueValueError, match=r'the start of a backfill, 2026-01-01 .*, is after its end, 2025-12'):
        await app.schedules.backfill('hourly', start, start - HOUR)
    with pytest.raises(TorrelqueTypeError, match='end must be a datetime, not int'):
        await app.schedules.backfill('hourly', start, 5)  # type: ignore[arg-type]
    with pytest.raises(TorrelqueValueError, match='start is no instant of this clock: '):
        await app.schedules.backfill('hourly', dt.datetime.min.replace(tzinfo=dt.timezone(9 * HOUR)), start)


@pytest.mark.parametrize(
    ('until', 'error', 'message'),
    [
        (float('nan'), TorrelqueValueError, 'until must be an instant from 1970 to 9999, not nan'),
        (float('inf'), TorrelqueValueError, 'until must be an instant from 1970 to 9999, not inf'),
        (1e15, TorrelqueValueError, 'until must be an instant from 1970 to 9999, not '),
        (10**400, TorrelqueValueError, 'until must be an instant from 1970 to 9999, not '),
        (-1, TorrelqueValueError, 'until must be an instant from 1970 to 9999, not '),
        (dt.datetime.min, TorrelqueValueError, 'until '),
        (dt.datetime.min.replace(tzinfo=UTC), TorrelqueValueError, 'until must be an instant from 1970 to 9999'),
        (dt.datetime.max.replace(tzinfo=UTC), TorrelqueValueError, 'until must be an instant from 1970 to 9999'),
        (True, TorrelqueTypeError, 'until must be a datetime or a Unix time, not bool'),
        ('x', TorrelqueTypeError, 'until must be a datetime or a Unix time, not str'),
    ],
)
async def test_an_end_that_cannot_be_meant_is_refused_at_once(
    queue: Torrelque, until: Any, error: type[Exception], message: str
) -> None:
    app = make(queue)
    for given in ({'when': '@daily'}, {'every': 60}):
        with pytest.raises(error, match=message):
            app.cron(**given, until=until)
    with pytest.raises(error, match=message):
        await app.schedules.add('daily', '@daily', work(app), until=until)
    with pytest.raises(error, match=message):
        await app.schedules.every('often', 60, work(app), until=until)
    assert [record async for record in app.schedules.list()] == []


async def test_nothing_is_added_that_is_over(queue: Torrelque) -> None:
    app = make(queue)
    await app.schedules.add('daily', '@daily', work(app))
    await app.schedules.every('often', 60, work(app))
    before = {record.name: record async for record in app.schedules.list()}
    past = dt.datetime(2001, 9, 9, tzinfo=UTC)
    for name in ('daily', 'often', 'new'):
        for act in (app.schedules.add(name, '@daily', work(app), until=past),
                    app.schedules.every(name, 60, work(app), until=past)):  # fmt: skip
            with pytest.raises(
                TorrelqueValueError, match=f"the schedule '{name}' would never fire: until is past, 2001-09-09"
            ):
                await act
    with pytest.raises(TorrelqueValueError, match="the schedule 'often' would never fire: it has nothing to come"):
        await app.schedules.every('often', 10**9, work(app), until=time.time() + 60)
    assert {record.name: record async for record in app.schedules.list()} == before
    # Multiples of that are in 2001 and 2033.
    assert await app.schedules.every('often', 10**9, work(app), until=2 * 10**9)


async def test_what_is_declared_and_over_is_not_set_and_what_runs_ends_by_it(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'torrelque.cron')

    def declare(until: float | None) -> Tasks:
        app = make(queue, name='shop')
        app.cron('@daily', name='daily', until=until)(app.functions['report'])
        app.cron(every=60, name='often', until=until)(app.functions['report'])
        return app

    await begin(declare(1e9))
    assert [record async for record in queue.get_schedules()] == []
    lines = [record.getMessage() for record in caplog.records if 'is not set, because it is over' in record.message]
    assert lines == [
        f'queue {queue.name!r}: the schedule {name!r} is not set, because it is over' for name in ('daily', 'often')
    ]
    await begin(declare(None))
    assert {(record.name, record.next is None) async for record in queue.get_schedules()} == {
        ('daily', False), ('often', False)
    }  # fmt: skip
    await begin(declare(time.time() - 1))
    assert {(record.name, record.next) async for record in queue.get_schedules()} == {('daily', None), ('often', None)}
