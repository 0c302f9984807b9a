"""Schedules are set, extended, removed, held, fired by hand and read; by either queue."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.looking import dump
from support.standing import START, Either, StandingClock, ahead, firing

pytestmark = pytest.mark.long

DAY = 86_400


# Set again

WHOLE: dict[str, Any] = {
    'task': 1,
    'times': (10, 20),
    'task_timeout': 5,
    'max_attempts': 3,
    'group': 'g',
    'priority': 2,
    'overlap': 'allow',
    'missed': 'all',
    'grace': 60,
    'until': START + DAY,
    'spec': {'b': 'ü', 'a': [1]},
    'source': 'code:a',
    'revision': 3,
}


def whole(**changes: Any) -> dict[str, Any]:
    options = {**WHOLE, **changes}
    if options['times']:
        options['times'] = ahead(*options['times'])
    return options


async def test_the_very_same_is_left_alone(either: Either, client: redis.asyncio.Redis) -> None:
    assert await either.set_schedule('s', **whole()) is True
    before = await dump(client)
    assert await either.set_schedule('s', **whole(spec={'a': [1], 'b': 'ü'})) is False
    assert await dump(client) == before
    # Where it cannot be told that it is the same, it is another.
    assert await either.set_schedule('t', 1, times=ahead(10)) is True
    assert await either.set_schedule('t', 1, times=ahead(10)) is True
    assert await either.set_schedule('u', 1, every=10) is True
    assert await either.set_schedule('u', 1, every=10.0) is False


@pytest.mark.parametrize(
    'change',
    [
        {'task': 2}, {'task_timeout': 6}, {'max_attempts': None}, {'group': None}, {'priority': 0}, {'overlap': 'skip'},
        {'missed': 'latest'}, {'grace': None}, {'until': START + 60}, {'spec': None}, {'spec': 'other'},
        {'times': None, 'every': 5}, {'times': None, 'every': 7, 'phase': 1},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_changed_holds_from_now_on(
    either: Either, standing: StandingClock, change: dict[str, Any]
) -> None:
    await either.set_schedule('s', **whole())
    await standing.move(1)
    assert await either.set_schedule('s', **whole(**change)) is True
    schedule = await either.get_schedule('s')
    for name, value in change.items():
        if name != 'times':
            assert getattr(schedule, name) == value
    if 'times' not in change:
        assert schedule.times == (START + 10, START + 20)
    else:
        assert schedule.next is not None and START + 1 < schedule.next <= START + 8


async def test_source_and_revision_alone_are_no_change(either: Either) -> None:
    await either.set_schedule('s', **whole())
    assert await either.set_schedule('s', **whole(source='code:b', revision=None)) is False
    schedule = await either.get_schedule('s')
    assert (schedule.source, schedule.revision) == ('code:b', None)


async def test_the_same_with_times_behind_the_last_takes_these(either: Either, standing: StandingClock) -> None:
    await either.set_schedule('s', **whole())
    assert await either.set_schedule('s', **whole(times=(5, 20, 30))) is False
    schedule = await either.get_schedule('s')
    assert schedule.times == (START + 10, START + 20, START + 30)
    # Where all that was known is over: behind what was due, though nobody has looked for long.
    await standing.move(30)
    await either.sweep()
    await standing.move(100)
    assert await either.set_schedule('s', **whole(times=(20, 30, 40, 200))) is False
    assert (await either.get_schedule('s')).times == (START + 40, START + 200)


async def test_the_same_with_more_times_than_there_is_room_for_takes_the_first(
    either: Either, standing: StandingClock
) -> None:
    await either.set_schedule('s', 1, spec=1, times=ahead(*range(10, 910)))
    assert await either.set_schedule('s', 1, spec=1, times=ahead(*range(500, 1200))) is False
    schedule = await either.get_schedule('s')
    assert (schedule.left, schedule.end) == (1000, ahead(1009)[0])


async def test_times_that_were_over_when_it_was_set_do_not_come_in_by_setting_it_again(
    either: Either, standing: StandingClock
) -> None:
    for _ in range(2):
        await either.set_schedule('s', 1, times=ahead(-20, -10), spec='x')
        schedule = await either.get_schedule('s')
        assert (schedule.times, schedule.next, schedule.dry) == ((), None, True)
    assert await either.extend_schedule('s', ahead(-5, 5), after=None, spec='x') is True
    assert (await either.get_schedule('s')).times == (START + 5,)


@pytest.mark.parametrize('again', [{'times': ahead(10, 20, 30)}, {'every': 10}])
async def test_a_change_fires_what_was_due_and_nothing_that_ran(
    either: Either, standing: StandingClock, again: dict[str, Any]
) -> None:
    await either.set_schedule('s', 'old', times=ahead(10, 20, 30), overlap='allow')
    await standing.move(10)
    await either.sweep()
    await standing.move(10)
    assert await either.set_schedule('s', 'new', overlap='allow', **again) is True
    assert await either.take() == [(firing('s', 10), 'old'), (firing('s', 20), 'old')]
    schedule = await either.get_schedule('s')
    assert (schedule.fired, schedule.last, schedule.last_id) == (2, START + 20, firing('s', 20))
    await standing.move(10)
    assert await either.take() == [(firing('s', 30), 'new')]


@pytest.mark.parametrize('what', ['set', 'pause', 'remove'])
async def test_a_change_fires_all_that_was_due_however_much_it_is(
    either: Either, standing: StandingClock, what: str
) -> None:
    await either.set_schedule('s', 'old', every=1, overlap='allow', missed='all')
    await standing.move(350)
    if what == 'set':
        assert await either.set_schedule('s', 'new', every=1, overlap='allow', missed='all') is True
    elif what == 'pause':
        assert await either.pause_schedule('s') is True
    else:
        # What is removed is gone, with what was due.
        assert await either.remove_schedule('s') is True
    assert await either.ids() == ([] if what == 'remove' else [firing('s', k) for k in range(1, 351)])


async def test_a_change_is_taken_by_whoever_waits(
    either: Either, standing: StandingClock, client: redis.asyncio.Redis
) -> None:
    bell = either.keys['bell']
    await either.set_schedule('s', 1, times=ahead(100))
    assert not await client.exists(bell)
    await either.set_schedule('s', 1, times=ahead(1))
    assert await client.lpop(bell) == b'1'
    await either.set_schedule('t', 1, times=[])
    assert not await client.exists(bell)
    await either.extend_schedule('t', ahead(1), after=None)
    assert await client.lpop(bell) == b'1'
    # The last one is gone, and with it all there is.
    await either.extend_schedule('t', ahead(1.5), after=START + 1)
    for name in ('s', 't'):
        await either.remove_schedule(name)
    await client.delete('the clock')
    assert await client.keys('*') == []


@pytest.mark.parametrize(('revision', 'changes'), [(2, False), (3, True), (4, True), (None, True)])
async def test_a_lower_revision_changes_nothing(
    either: Either, client: redis.asyncio.Redis, revision: int | None, changes: bool
) -> None:
    await either.set_schedule('s', **whole())
    before = await dump(client)
    assert await either.set_schedule('s', **whole(task=2, revision=revision)) is changes
    assert (await dump(client) == before) is not changes


async def test_a_pause_outlives_a_change(either: Either, standing: StandingClock) -> None:
    await either.set_schedule('s', 1, every=10)
    await either.pause_schedule('s')
    await either.set_schedule('s', 2, every=10)
    assert (await either.get_schedule('s')).paused is True


# Extend


async def test_a_schedule_is_extended_by_who_knows_it(either: Either, standing: StandingClock) -> None:
    await either.set_schedule('s', 1, times=ahead(10, 20), spec=[1])
    assert await either.extend_schedule('s', ahead(10, 20, 30), after=START + 20, spec=[1]) is True
    # Another had the same thought.
    assert await either.extend_schedule('s', ahead(30, 40), after=START + 20, spec=[1]) is False
    assert await either.extend_schedule('s', ahead(40), after=START + 30, spec=[2]) is False
    assert await either.extend_schedule('s', ahead(40), after=START + 30) is False
    assert await either.extend_schedule('s', ahead(40), after=None, spec=[1]) is False
    assert await either.extend_schedule('nobody', ahead(40), after=None) is False
    assert (await either.get_schedule('s')).times == tuple(ahead(10, 20, 30))
    await either.set_schedule('e', 1, every=10)
    assert await either.extend_schedule('e', ahead(40), after=None) is False
    await either.remove_schedule('e')
    await standing.move(35)
    await either.sweep()
    assert (await either.get_schedule('s')).dry is True
    assert await either.extend_schedule('s', ahead(30, 33, 40), after=None, spec=[1]) is True
    assert await either.ids() == [firing('s', 30)]
    await either.release(firing('s', 30))
    await either.sweep()
    assert (await either.get_schedule('s')).times == (START + 40,)


async def test_a_schedule_has_a_thousand_instants_at_the_most(either: Either) -> None:
    await either.set_schedule('s', 1, times=ahead(*range(1, 1000)))
    assert await either.extend_schedule('s', ahead(1000, 1001), after=START + 999) is True
    schedule = await either.get_schedule('s')
    assert (schedule.left, schedule.end, len(schedule.times)) == (1000, START + 1000, 10)


# Remove


async def test_what_is_removed_fires_no_more_and_its_tasks_stay(
    either: Either, standing: StandingClock, client: redis.asyncio.Redis
) -> None:
    await either.set_schedule('s', 1, times=ahead(10, 20))
    await standing.move(10)
    await either.sweep()
    assert await either.remove_schedule('s') is True
    assert await either.remove_schedule('s') is False
    with pytest.raises(torrelque.TorrelqueLookupError, match="no schedule 's'"):
        await either.get_schedule('s')
    await standing.move(DAY)
    assert await either.ids() == [firing('s', 10)]
    assert await either.release(firing('s', 10)) is True
    keys = [key for key in await client.keys('*') if b':claim:' not in key]
    assert keys == [b'the clock']


@pytest.mark.parametrize(
    ('options', 'removes'),
    [
        ({}, True), ({'source': 'a'}, True), ({'source': 'b'}, False), ({'revision': 2}, False),
        ({'revision': 3}, True), ({'revision': 4}, True), ({'source': 'a', 'revision': 2}, False),
    ],
)  # fmt: skip
async def test_whoever_does_not_own_a_schedule_may_be_kept_from_removing_it(
    either: Either, options: dict[str, Any], removes: bool
) -> None:
    await either.set_schedule('s', 1, every=1, source='a', revision=3)
    assert await either.remove_schedule('s', **options) is removes
    assert bool(await either.get_schedules()) is not removes


@pytest.mark.parametrize('changed', [False, True])
async def test_a_limit_of_the_schedules_own_group_goes_with_it(either: Either, changed: bool) -> None:
    await either.set_schedule('s', 1, every=1, overlap='queue')
    assert await either.get_limits() == {'schedule:s': (1, None)}
    if changed:
        await either.set_schedule('s', 1, every=1, overlap='skip')
    await either.remove_schedule('s')
    assert await either.get_limits() == {}


# Pause and resume


async def test_a_pause_passes_over_what_is_due_and_its_end_brings_back_none_of_it(
    either: Either, standing: StandingClock
) -> None:
    await either.set_schedule('s', 1, every=10, overlap='allow', missed='all')
    await standing.move(10)
    assert await either.pause_schedule('s') is True
    assert await either.pause_schedule('s') is False
    # What was due before it has fired.
    assert await either.ids() == [firing('s', 10)]
    await standing.move(20)
    await either.sweep()
    await standing.move(20)
    assert await either.resume_schedule('s') is True
    assert await either.resume_schedule('s') is False
    schedule = await either.get_schedule('s')
    assert (schedule.paused, schedule.fired, schedule.skipped, schedule.last) == (False, 1, 4, START + 50)
    assert await either.ids() == []
    await standing.move(10)
    assert await either.ids() == [firing('s', 60)]
    for verb in (either.pause_schedule, either.resume_schedule):
        with pytest.raises(torrelque.TorrelqueLookupError, match=r"queue 'scheduled'.*no schedule 'nobody'"):
            await verb('nobody')


# By hand


async def test_a_schedule_is_fired_now_though_it_is_paused(either: Either, standing: StandingClock) -> None:
    await either.set_schedule('s', {'a': 1}, every=10, max_attempts=2, missed='none', grace=0, until=START + 1)
    await either.pause_schedule('s')
    await standing.move(3)
    (task_id,) = await either.fire('s')
    assert re.fullmatch(re.escape(firing('s', 3)) + r'\.[0-9a-f]{8}', task_id)
    assert await either.take() == [(task_id, {'a': 1})]
    assert (await either.get_task_state(task_id)).max_attempts == 2
    schedule = await either.get_schedule('s')
    assert (schedule.next, schedule.last, schedule.last_id, schedule.fired) == (None, None, task_id, 1)
    with pytest.raises(torrelque.TorrelqueLookupError, match='nobody'):
        await either.fire('nobody')


@pytest.mark.parametrize(('overlap', 'statuses'), [('skip', 'W'), ('allow', 'WPP'), ('replace', 'CCP')])
async def test_a_firing_by_hand_is_one_as_any_other(
    either: Either, standing: StandingClock, overlap: str, statuses: str
) -> None:
    await either.set_schedule('s', 1, every=10, overlap=overlap)
    ids = [*await either.fire('s')]
    await either.take()
    await standing.move(10)
    await either.sweep()
    ids += [firing('s', 10)] * (overlap != 'skip')
    more = await either.fire('s')
    assert len(more) == (overlap != 'skip')
    found = [(await either.get_task_state(task_id)).status.name[0] for task_id in [*ids, *more]]
    assert ''.join(found) == statuses
    assert (await either.get_schedule('s')).next == START + 20


async def test_instants_that_were_missed_are_fired_by_hand_once_each(either: Either, standing: StandingClock) -> None:
    await either.set_schedule('s', 1, every=10)
    await standing.move(50)
    await either.sweep()
    instants = ahead(*range(-1000, 60, 10))
    expected = [firing('s', distance) for distance in range(-1000, 60, 10) if distance != 50]
    assert await either.fire('s', *instants) == expected
    assert await either.fire('s', *instants) == []
    schedule = await either.get_schedule('s')
    assert (schedule.fired, schedule.last, schedule.last_id) == (106, START + 50, firing('s', 50))
    assert {*await either.ids()} == {*expected, firing('s', 50)}
    with pytest.raises(torrelque.TorrelqueLookupError):
        await either.fire('nobody', START)
