"""Schedules: what fires, when, and what comes of it; by either queue, on a clock that stands still."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.servers import RealServer
from support.standing import START, Either, StandingClock, ahead, firing, open_either
from support.waiting import until_waiting
from torrelque import Node, Torrelque, TorrelqueTaskStatus as Status

pytestmark = pytest.mark.first_server

DAY = 86_400


# It fires


async def test_a_task_is_enqueued_at_each_instant_as_it_was_said(either: Either, standing: StandingClock) -> None:
    options = {'task_timeout': 7, 'max_attempts': 3, 'group': 'g', 'priority': -5}
    assert await either.set_schedule('report', {'a': [1]}, times=ahead(10, 20.5), **options) is True
    assert await either.take() == []
    await standing.move(9.999)
    assert (await either.sweep(), await either.take()) == ((0, 0, 0, 0), [])
    await standing.move(0.001)
    ((task_id, task),) = await either.take()
    assert (task_id, task, task_id.attempt, task_id.group) == (firing('report', 10), {'a': [1]}, 1, 'g')
    state = await either.get_task_state(task_id)
    assert (state.status, state.timeout, state.max_attempts, state.group) == (Status.WORKING, 7, 3, 'g')
    assert (state.priority, state.enqueue_time) == (-5, START + 10)
    await standing.set(START + DAY)
    assert await either.release(task_id) is True
    assert await either.ids() == [firing('report', 20.5)]
    assert await either.release(firing('report', 20.5)) is True
    await standing.move(DAY)
    assert await either.ids() == []


@pytest.mark.parametrize('options', [{}, {'priority': 3}, {'group': 'g'}, {'max_attempts': 1}])
async def test_what_fires_is_in_the_keys_as_what_is_enqueued(
    either: Either, standing: StandingClock, client: redis.asyncio.Redis, options: dict[str, Any]
) -> None:
    await either.set_schedule('s', 1, every=10, **options)
    await standing.move(10)
    await either.sweep()
    fired = await client.hgetall(f'{either.keys["task"]}:{firing("s", 10)}')
    other = await either.enqueue(1, **options)
    enqueued = await client.hgetall(f'{either.keys["task"]}:{other}')
    assert fired.pop(b'order', None) != enqueued.pop(b'order', b'none')
    assert fired == enqueued
    assert [task for _, task in await either.take()] == [1, 1]


async def test_who_waits_already_is_told_of_a_schedule_that_fires_soon(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, endless: None
) -> None:
    async with server.client() as other_client, Torrelque(other_client, queue=queue.name) as other:
        consumer = asyncio.create_task(other.dequeue())
        await until_waiting(client)
        instant = time.time() + 0.3
        await queue.set_schedule('s', 'now', times=[instant])
        task_id, task = await consumer
        assert (task_id, task) == (f's@{round(instant * 1000)}', 'now')
        assert task_id.token.partition('-')[2] >= f'{round(instant * 1000)}'
        consumer = asyncio.create_task(other.dequeue())
        await until_waiting(client)
        assert await queue.extend_schedule('s', [time.time() + 0.2], after=None)
        await other.release(task_id)
        assert (await consumer)[1] == 'now'


@pytest.mark.parametrize('kind', ['aio', 'sync'])
async def test_whoever_waits_keeps_the_time_of_schedules(
    server: RealServer, client: redis.asyncio.Redis, queue_name: str, endless: None, kind: str
) -> None:
    async for either in open_either(kind, server, client, queue_name):
        await either.set_schedule('s', 1, every=0.25, overlap='allow')
        found = [(await either.dequeue())[0] for _ in range(3)]
        instants = [int(task_id.partition('@')[2]) for task_id in found]
        assert instants == sorted({*instants}) and all(instant % 250 == 0 for instant in instants)


async def test_an_instant_fires_once_whoever_sweeps(
    server: RealServer, either: Either, standing: StandingClock, queue_name: str
) -> None:
    for number in range(20):
        await either.set_schedule(f's{number}', number, every=10, overlap='allow', missed='all')
    async with server.client() as client, Torrelque(client, queue='scheduled') as other:
        for _ in range(3):
            await standing.move(20)
            await asyncio.gather(*(queue.sweep() for queue in (either, other) * 5))
    expected = {firing(f's{number}', 10 * k) for number in range(20) for k in range(1, 7)}
    ids = await either.ids()
    assert len(ids) == 120 and {*ids} == expected


async def test_a_task_whose_id_is_known_is_not_enqueued(either: Either, standing: StandingClock) -> None:
    await either.enqueue('mine', task_id=firing('s', 10))
    await either.set_schedule('s', 'its', times=ahead(10, 20), overlap='allow')
    await standing.move(10)
    assert [task for _, task in await either.take()] == ['mine']
    schedule = await either.get_schedule('s')
    assert (schedule.fired, schedule.skipped, schedule.last, schedule.last_id) == (0, 1, START + 10, None)


async def test_many_instants_and_many_schedules_are_fired_in_bounded_calls(
    either: Either, standing: StandingClock, client: redis.asyncio.Redis
) -> None:
    await either.sweep()
    await either.set_schedule('a', 0, every=1, missed='all', overlap='allow')
    for number in range(110):
        await either.set_schedule(f'n{number}', 0, times=ahead(150))
    await standing.move(250)
    await client.config_resetstat()
    await either.sweep()
    assert (await client.info('commandstats'))['cmdstat_evalsha']['calls'] >= 4
    expected = {firing('a', k) for k in range(1, 251)} | {firing(f'n{number}', 150) for number in range(110)}
    ids = await either.ids()
    assert len(ids) == 360 and {*ids} == expected


async def test_large_payloads_are_fired_in_bounded_calls_and_not_read_where_nothing_fires(
    either: Either, standing: StandingClock, client: redis.asyncio.Redis
) -> None:
    await either.sweep()
    for number in range(20):
        await either.set_schedule(f'n{number}', 'x' * 200_000, times=ahead(150))
        await either.set_schedule(f'paused{number}', 'x' * 200_000, times=ahead(150))
        await either.pause_schedule(f'paused{number}')
    await standing.move(250)
    await client.config_resetstat()
    assert (await either.sweep()).fired == 20
    said = await client.info('commandstats')
    assert said['cmdstat_evalsha']['calls'] >= 4 and said['cmdstat_hget']['calls'] == 20


# Instants


async def test_instants_are_datetimes_or_seconds_and_those_that_are_over_are_left_out(
    either: Either, standing: StandingClock
) -> None:
    berlin = timezone(timedelta(hours=2))
    times: list[Any] = [
        START - 1,
        datetime.fromtimestamp(START, timezone.utc),
        datetime.fromtimestamp(START + 1, berlin),
        datetime.fromtimestamp(START + 2.0014),
        START + 3,
    ]
    await either.set_schedule('s', 1, times=iter(times))
    schedule = await either.get_schedule('s')
    assert schedule.times == (START + 1, START + 2.001, START + 3)
    assert (schedule.next, schedule.left, schedule.end) == (START + 1, 3, START + 3)


@pytest.mark.parametrize('phase', [0, 7.5, timedelta(seconds=100_000)])
async def test_every_means_multiples_since_1970(either: Either, standing: StandingClock, phase: Any) -> None:
    seconds = phase.total_seconds() if isinstance(phase, timedelta) else phase
    await either.set_schedule('s', 1, every=timedelta(seconds=3600), phase=phase)
    schedule = await either.get_schedule('s')
    assert schedule.next is not None and 0 < schedule.next - START <= 3600 and (schedule.next - seconds) % 3600 == 0
    assert schedule.times == tuple(schedule.next + 3600 * k for k in range(10))
    assert (schedule.every, schedule.phase, schedule.left, schedule.end) == (3600, seconds, None, None)
    for k in range(5):
        await standing.set(schedule.next + 3600 * k)
        assert await either.ids() == [f's@{round(standing.now * 1000)}']
        await either.release(f's@{round(standing.now * 1000)}')


# Overlap


async def bring(either: Either, status: str) -> bool:
    """Bring the task of the first firing to a status; whether it is unfinished then."""
    if status == 'pending':
        return True
    ((task_id, _),) = await either.take()
    if status == 'delayed':
        await either.requeue(task_id, 1000)
    elif status == 'cancelled, but held':
        await either.cancel(task_id)
    elif status == 'dead':
        await either.bury(task_id)
    elif status in ('completed', 'rejected'):
        await either.release(task_id, status=Status[status.upper()], result_ttl=100)
    elif status == 'forgotten':
        await either.release(task_id)
    elif status == 'cancelled':
        await either.cancel(task_id)
        await either.release(task_id)
    return status in ('working', 'delayed', 'cancelled, but held')


STATUSES = ['pending', 'working', 'delayed', 'cancelled, but held', 'dead', 'completed', 'rejected', 'forgotten']


@pytest.mark.parametrize('overlap', ['skip', 'allow', 'replace'])
@pytest.mark.parametrize('status', [*STATUSES, 'cancelled'])
@pytest.mark.parametrize('rank', [{}, {'group': 'g'}, {'priority': 1}], ids=str)
async def test_a_firing_while_the_one_before_is_not_finished_is_as_overlap_says(
    either: Either, standing: StandingClock, overlap: str, status: str, rank: dict[str, Any]
) -> None:
    await either.set_schedule('s', 1, every=10, overlap=overlap, task_timeout=100, **rank)
    await standing.move(10)
    await either.sweep()
    unfinished = await bring(either, status)
    await standing.move(10)
    await either.sweep()
    first, second = firing('s', 10), firing('s', 20)
    schedule = await either.get_schedule('s')
    skips = overlap == 'skip' and unfinished
    assert (schedule.fired, schedule.skipped, schedule.last) == ((1, 1) if skips else (2, 0)) + (START + 20,)
    assert schedule.last_id == (first if skips else second)
    if skips:
        with pytest.raises(torrelque.TorrelqueLookupError):
            await either.get_task_state(second)
    else:
        assert (await either.get_task_state(second)).status == Status.PENDING
    if overlap == 'replace' and unfinished:
        assert (await either.get_task_state(first)).status == Status.CANCELLED
        assert first not in await either.ids()
        if status == 'working':
            assert await either.touch(first) is False
    elif unfinished and status != 'cancelled, but held':
        assert (await either.get_task_state(first)).status == Status[status.upper()]


@pytest.mark.parametrize('overlap', ['skip', 'allow', 'replace'])
@pytest.mark.parametrize('how', ['enqueued', 'grafted'])
@pytest.mark.parametrize('stands', ['working', 'dead', 'ended'])
async def test_a_flow_that_a_firing_has_started_is_unfinished_until_it_ends_or_a_task_of_it_is_dead(
    either: Either, standing: StandingClock, overlap: str, how: str, stands: str
) -> None:
    await either.set_schedule('s', 1, every=10, overlap=overlap, task_timeout=100)
    await standing.move(10)
    [(task_id, _)] = await either.take()
    flow_id, row = str(task_id), [Node('a', 1), Node('b', 2, {'a': 'then'})]
    if how == 'enqueued':
        flow_id = await either.enqueue_flow(row, flow_id=f'{task_id}.flow', on_failure='wait')
        assert await either.release(task_id)
    else:
        assert await either.graft(row, by=task_id, last='b')
    [(held, _)] = await either.take()
    if stands == 'dead':
        await either.bury(held, error='no')
    elif stands == 'ended':
        await either.release(held)
        await either.release((await either.take())[0][0])
    await standing.move(10)
    await either.sweep()
    schedule, going_on = await either.get_schedule('s'), stands == 'working'
    assert (schedule.fired, schedule.skipped) == ((1, 1) if going_on and overlap == 'skip' else (2, 0))
    replaced = going_on and overlap == 'replace'
    wanted = Status.CANCELLED if replaced else Status.COMPLETED if stands == 'ended' else Status.WAITING
    assert (await either.get_task_state(flow_id)).status is wanted
    if replaced:
        assert await either.touch(held) is False


@pytest.mark.parametrize('rank', [{}, {'group': 'g'}, {'priority': 1}], ids=str)
@pytest.mark.parametrize('came_back', [True, False])
async def test_who_came_back_in_the_sweep_that_replaces_it_is_gone(
    either: Either, standing: StandingClock, client: redis.asyncio.Redis, rank: dict[str, Any], came_back: bool
) -> None:
    await either.set_schedule('s', 1, every=10, overlap='replace', missed='all', task_timeout=5, **rank)
    await standing.move(10)
    if came_back:
        await either.take()
    await standing.move(20)
    await either.sweep()
    if not rank:
        assert await client.lrange(either.keys['pending'], 0, -1) == [firing('s', 30).encode()]
    # Nobody is handed a task that is not there, nor told of one.
    assert await either.ids() == [firing('s', 30)]
    for name in ('pending', 'holes', f'group:{rank.get("group")}'):
        assert not await client.exists(either.keys['pending'].removesuffix('pending') + name)
    assert [(await either.get_task_state(firing('s', k))).status for k in (10, 20)] == [Status.CANCELLED] * 2


async def test_with_queue_one_is_at_work_at_a_time_and_none_is_passed_over(
    either: Either, standing: StandingClock
) -> None:
    await either.set_schedule('s', 1, every=10, overlap='queue', missed='all')
    await standing.move(30)
    ((first, _),) = await either.take()
    assert (first, first.group) == (firing('s', 10), 'schedule:s')
    await standing.move(10)
    assert await either.ids() == []
    for k in (2, 3, 4):
        await either.release(firing('s', 10 * (k - 1)))
        assert await either.ids() == [firing('s', 10 * k)]
    assert (await either.get_schedule('s')).skipped == 0
    assert await either.remove_schedule('s') is True
    # The task that is left goes on as one of its group; that of a schedule without tasks leaves nothing.
    assert await either.get_limits() == {'schedule:s': (1, None)}


# Missed, grace, until


@pytest.mark.parametrize(('missed', 'of_one', 'of_three'), [('latest', 1, [3]), ('all', 1, [1, 2, 3]), ('none', 1, [])])
@pytest.mark.parametrize('by', ['times', 'every'])
async def test_of_several_that_are_due_at_once_those_fire_that_missed_says(
    either: Either, standing: StandingClock, missed: str, of_one: int, of_three: list[int], by: str
) -> None:
    options: dict[str, Any] = {'every': 10} if by == 'every' else {'times': ahead(*range(10, 100, 10))}
    await either.set_schedule('s', 1, overlap='allow', missed=missed, **options)
    await standing.move(30)
    assert await either.ids() == [firing('s', 10 * k) for k in of_three]
    schedule = await either.get_schedule('s')
    assert (schedule.fired, schedule.skipped) == (len(of_three), 3 - len(of_three))
    assert (schedule.last, schedule.next) == (START + 30, START + 40)
    await standing.move(19.999)
    assert await either.ids() == [firing('s', 40)] * of_one


@pytest.mark.parametrize('due', [9, 10, 11, 1000])
async def test_however_many_are_due_the_last_fires(either: Either, standing: StandingClock, due: int) -> None:
    await either.set_schedule('s', 1, times=ahead(*range(1, 1001)))
    await standing.move(due)
    assert await either.ids() == [firing('s', due)]
    schedule = await either.get_schedule('s')
    assert (schedule.skipped, schedule.left) == (due - 1, 1000 - due)


@pytest.mark.parametrize(('late', 'fires'), [(2, True), (2.001, False)])
async def test_an_instant_that_is_too_late_is_passed_over(
    either: Either, standing: StandingClock, late: float, fires: bool
) -> None:
    await either.set_schedule('s', 1, times=ahead(10, 20), grace=2)
    await standing.set(START + 10 + late)
    assert await either.ids() == [firing('s', 10)] * fires
    schedule = await either.get_schedule('s')
    assert (schedule.fired, schedule.skipped, schedule.grace) == (fires, not fires, 2)


@pytest.mark.parametrize('missed', ['latest', 'all', 'none'])
@pytest.mark.parametrize('by', ['times', 'every'])
async def test_what_is_behind_the_end_does_not_fire_and_is_not_missed(
    either: Either, standing: StandingClock, missed: str, by: str
) -> None:
    options: dict[str, Any] = {'every': 10} if by == 'every' else {'times': ahead(10, 20, 30)}
    until = datetime.fromtimestamp(START + 10)
    await either.set_schedule('s', 1, missed=missed, until=until, **options)
    assert (await either.get_schedule('s')).until == START + 10
    await standing.move(35)
    # The last one that may is the only one that is due.
    assert await either.ids() == [firing('s', 10)]
    schedule = await either.get_schedule('s')
    assert (schedule.next, schedule.fired, schedule.skipped, schedule.last) == (None, 1, 0, START + 10)
    assert schedule.dry is False
    await either.release(firing('s', 10))
    await standing.move(DAY)
    assert await either.ids() == []
