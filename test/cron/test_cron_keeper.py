"""The keeper of calendars in a worker: lists of instants do not run out, and a server that was emptied is filled."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import time
from typing import Any

import pytest

from support.declaring import make, serving, until
from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueLookupError, TorrelqueValueError
from torrelque.cron import asking, keeper, setting
from torrelque.tasks import Tasks
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server

UTC = dt.timezone.utc
SPEC = {'cron': '0 9 * * *', 'timezone': 'UTC'}


def nines(count: int) -> list[float]:
    """The next times that it is nine in UTC, as Unix times."""
    day = dt.datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + dt.timedelta(days=1)
    return [(day + dt.timedelta(days=number)).timestamp() for number in range(count)]


# Lists


async def test_a_worker_that_begins_fills_up_all_lists_of_which_half_is_used_up(queue: Torrelque) -> None:
    for name, count in (('low', 15), ('half', 4), ('none', 0), ('full', 20)):
        await queue.set_schedule(name, {'task': 'report'}, times=nines(count), spec={**SPEC, 'name': name})
    await queue.set_schedule('no calendar', {'task': 'report'}, times=nines(3), spec={'made': 'by hand'})
    await queue.set_schedule('every', {'task': 'report'}, every=3600)
    await Worker(make(queue, 'declared'), burst=True).run()
    left = {record.name: record.left async for record in queue.get_schedules()}
    assert left == {
        'low': 32, 'half': 32, 'none': 32, 'full': 20, 'no calendar': 3, 'every': None, 'declared': 32,
    }  # fmt: skip


async def test_a_list_that_a_sweep_has_found_to_be_short_is_filled_up(queue: Torrelque) -> None:
    app = make(queue, 'declared')
    async with serving(app):
        await until(lambda: is_kept(queue))
        now = int(time.time())
        await queue.set_schedule(
            'seconds', {'task': 'report'}, times=[now + 1, now + 2], spec={'cron': '* * * * * *', 'timezone': 'UTC'}
        )
        await until(lambda: has(queue, 'seconds', 900))
        record = await queue.get_schedule('seconds')
        assert record.end is not None and record.end - now > 900


async def has(queue: Torrelque, name: str, count: int = 1) -> bool:
    try:
        return ((await queue.get_schedule(name)).left or 0) >= count
    except TorrelqueLookupError:
        return False


async def test_a_list_is_filled_up_when_half_of_it_is_used_up(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, 'SOONEST', 0.02)
    monkeypatch.setattr(setting, 'half_of', lambda record, time: 0.02)
    monkeypatch.setattr(keeper, 'AGAIN', 0.02)
    app = make(queue, 'declared')
    async with serving(app):
        # What a worker does at its begin is over.
        await until(lambda: is_kept(queue))
        await queue.set_schedule('declared', {'task': 'report', 'args': []}, times=nines(10), spec=SPEC)
        await until(lambda: has(queue, 'declared', 32))


async def test_a_calendar_that_is_not_known_here_is_told_once_and_left_alone(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    mars = {'cron': '@daily', 'timezone': 'Mars/Base'}
    await queue.set_schedule('far', {'task': 'report'}, times=nines(3), spec=mars)
    await queue.set_schedule('odd', {'task': 'report'}, times=nines(3), spec={'cron': 5, 'jitter': 'x'})
    await Worker(make(queue, 'declared'), burst=True).run()
    left = {record.name: record.left async for record in queue.get_schedules()}
    assert left == {'far': 3, 'odd': 3, 'declared': 32}
    lines = sorted(record.getMessage() for record in caplog.records if 'has no calendar here' in record.getMessage())
    start = f'queue {queue.name!r}: the schedule '
    assert lines[0].startswith(f"{start}'far' has no calendar here: there is no time zone 'Mars/Base'")
    assert lines[1] == f"{start}'odd' has no calendar here: jitter must be a number of seconds or a timedelta, not str"
    assert len(lines) == 2


async def test_a_failure_is_told_and_tried_again(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, 'AGAIN', 0.02)
    errors: list[BaseException] = [TorrelqueConnectionError('away'), RuntimeError('odd')]
    fill_up = setting.fill_up

    async def failing(*args: Any) -> Any:
        if errors and args[1].name == 'seconds':
            raise errors.pop(0)
        return await fill_up(*args)

    monkeypatch.setattr(keeper, 'fill_up', failing)
    app = make(queue, 'declared')
    async with serving(app):
        await until(lambda: is_kept(queue))
        spec = {'cron': '* * * * * *', 'timezone': 'UTC'}
        await queue.set_schedule('seconds', {'task': 'report'}, times=[int(time.time()) + 1], spec=spec)
        await until(lambda: has(queue, 'seconds', 900))
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines[:2] == [
        'calendars could not be filled up, and are tried again in some seconds: away',
        'calendars could not be filled up, and are tried again in some seconds',
    ]


@pytest.fixture
def low_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have keepers look for low lists after a moment, a schedule or so at a time."""
    monkeypatch.setattr(keeper, 'LOW_LOOK', 0.02)
    monkeypatch.setattr(keeper, 'PAGE', 1)


async def test_lists_that_somebody_else_has_swept_are_filled_up(queue: Torrelque, low_looks: None) -> None:
    other = Torrelque(queue.client, queue=queue.name)
    app = make(queue, 'declared')
    async with serving(app):
        await until(lambda: is_kept(queue))
        await other.set_schedule('every', {'task': 'report'}, every=3600)
        await other.set_schedule('theirs', {'task': 'report'}, times=nines(2), spec={'calendar': 'of somebody'})
        for name, count in (('low', 15), ('dry', 0), ('full', 20)):
            await other.set_schedule(name, {'task': 'report'}, times=nines(count), spec={**SPEC, 'name': name})
        for number in range(200):
            # So many that they do not come in one page, whatever is asked for.
            spec = {**SPEC, 'number': number}
            await other.set_schedule(f'{number}', {'task': 'report'}, times=nines(20), spec=spec)
        await other.set_schedule('another', {'task': 'report'}, times=[], spec={**SPEC, 'name': 'another'})
        for name in ('low', 'dry', 'another'):
            await until(functools.partial(has, queue, name, 32))
        await until(lambda: is_idle(app, 'theirs'))
        assert (await queue.get_schedule('full')).left == 20
        assert (await queue.get_schedule('theirs')).left == 2
    await other.aclose()


async def is_idle(app: Tasks, name: str) -> bool:
    return (app.queue.name, name) in app.schedules._keeper()._idle


async def test_a_long_list_of_a_dense_calendar_is_not_low_and_a_shorter_one_is(queue: Torrelque) -> None:
    spec = {'cron': '* * * * * *', 'timezone': 'UTC'}
    start = int(time.time()) + 1000
    for count in (15, 16, 499, 500):
        await queue.set_schedule(f'dense {count}', 1, times=range(start, start + count), spec=spec)
        await queue.set_schedule(f'wide {count}', 1, times=[start + 90_000 * k for k in range(count)], spec=spec)
    await queue.set_schedule('every', 1, every=5)
    await queue.set_schedule('dry', 1, times=[], spec=spec)
    end, names = await asking.look_for_low(queue, b'0', 100, 500, 16, dt.timedelta(days=3.5))
    assert (end, {*names}) == (b'0', {'dense 15', 'dense 16', 'dense 499', 'wide 15', 'dry'})


async def test_apps_that_share_a_queue_object_hear_of_low_lists_one_beside_the_other(queue: Torrelque) -> None:
    heard: list[Any] = []
    queue.when_low = heard.append
    async with serving(make(queue, 'one', name='one')):
        await until(lambda: is_heard(queue, 1))
        async with serving(make(queue, 'two', name='two')):
            await until(lambda: is_heard(queue, 2))
        assert await is_heard(queue, 1)
        spec = {'cron': '* * * * * *', 'timezone': 'UTC'}
        await queue.set_schedule('seconds', {'task': 'report'}, times=[int(time.time()) + 1], spec=spec)
        await until(lambda: has(queue, 'seconds', 900))
    assert heard == [['seconds']]
    assert queue.when_low == heard.append


async def is_heard(queue: Torrelque, count: int) -> bool:
    return isinstance(queue.when_low, keeper.Ears) and len(queue.when_low.open) == count


@pytest.mark.parametrize(
    'spec',
    [
        {'cron': '0 9 * * *', 'jitter': 1e300},
        {'cron': '0 9 * * *', 'jitter': -1e300},
        {'cron': '0 9 * * *', 'jitter': 1e10},
        {'cron': '0 9 * * *', 'timezone': ['UTC']},
        {'cron': '0 9 * * *', 'edition': 'x'},
        {'cron': 5},
        ['cron'],
    ],
)
async def test_what_others_have_set_keeps_no_worker_from_its_work(queue: Torrelque, spec: Any) -> None:
    await queue.set_schedule('theirs', {'task': 'report'}, times=[4e9], spec=spec)
    app = make(queue, 'declared', name='shop')
    await Worker(app, burst=True).run()
    assert await has(queue, 'declared', 32)
    assert (await app.schedules.next('theirs', 3))[0] == dt.datetime.fromtimestamp(4e9, UTC)


@pytest.mark.parametrize('part', ['schedule', 'options', 'times', 'task'])
async def test_what_was_spoilt_by_hand_keeps_no_worker_from_its_work(
    queue: Torrelque, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    base = queue.keys['pending'][:-7]
    await queue.set_schedule('theirs', {'task': 'report'}, times=nines(3), spec=SPEC, source='code:shop')
    if part == 'options':
        await queue.client.hset(f'{base}schedule:theirs', 'options', 'x')
    elif part == 'task':
        await queue.client.hset(f'{base}schedule:theirs', 'payload', 'x')
    else:
        await queue.client.set(f'{base}{part}:theirs', 'x')
    await Worker(make(queue, 'declared', 'theirs 2', name='shop'), burst=True).run()
    assert await has(queue, 'declared', 32)
    assert "'theirs'" in caplog.text


async def test_what_fails_for_the_list_of_another_is_logged_when_a_worker_begins(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[BaseException] = [OverflowError('odd'), TorrelqueValueError('not meant')]
    fill_up = setting.fill_up

    async def failing(*args: Any) -> Any:
        if args[1].name.startswith('theirs'):
            raise errors.pop()
        return await fill_up(*args)

    monkeypatch.setattr(keeper, 'fill_up', failing)
    for name in ('theirs', 'theirs 2'):
        await queue.set_schedule(name, 1, times=nines(3), spec={**SPEC, 'name': name})
    await Worker(make(queue, 'declared'), burst=True).run()
    lines = [record for record in caplog.records if 'could not be filled up' in record.getMessage()]
    assert [bool(record.exc_info) for record in lines] == [False, True]
    errors[:] = [TorrelqueConnectionError('away')]
    with pytest.raises(TorrelqueConnectionError, match='away'):
        await Worker(make(queue, 'declared'), burst=True).run()


async def test_what_is_declared_replaces_what_was_spoilt_by_hand(queue: Torrelque) -> None:
    await Worker(make(queue, 'declared', name='shop'), burst=True).run()
    await queue.client.hset(f'{queue.keys["pending"][:-7]}schedule:declared', 'options', 'x')
    await Worker(make(queue, 'declared', name='shop'), burst=True).run()
    assert await has(queue, 'declared', 32)


# The end


async def test_nothing_of_a_keeper_is_left_when_its_worker_has_stopped(queue: Torrelque) -> None:
    app = make(queue, 'declared')
    async with serving(app):
        await until(lambda: has(queue, 'declared'))
        await until(lambda: is_kept(queue))
    assert queue.when_low is None
    assert [task for task in asyncio.all_tasks() if task.get_name() == 'torrelque calendars'] == []


async def is_kept(queue: Torrelque) -> bool:
    return queue.when_low is not None


async def test_a_keeper_stays_until_the_last_worker_of_its_event_loop_has_stopped(queue: Torrelque) -> None:
    app = make(queue, 'declared')
    async with serving(app):
        await until(lambda: is_kept(queue))
        async with serving(app):
            await until(lambda: are_two(app))
        assert queue.when_low is not None
    assert queue.when_low is None


async def are_two(app: Tasks) -> bool:
    return app.schedules._keeper().users == 2


async def test_an_app_that_has_no_schedules_keeps_none(queue: Torrelque) -> None:
    await queue.set_schedule('low', {'task': 'report'}, times=nines(3), spec=SPEC)
    await Worker(make(queue), burst=True).run()
    assert (await queue.get_schedule('low')).left == 3
    app = make(queue)
    assert app.schedules is app.schedules
    await Worker(app, burst=True).run()
    assert (await queue.get_schedule('low')).left == 32
