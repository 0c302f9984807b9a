"""What operators ask and set in a queue with shards; watches, schedules, transactions."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import Any

import pytest

import torrelque
from support.sharding import drain, group_of, numbers_of
from torrelque.sharded import Sharded

pytestmark = pytest.mark.first_server

PENDING, WORKING = torrelque.TaskStatus.PENDING, torrelque.TaskStatus.WORKING


# Groups


async def test_groups_keep_their_order_and_their_limits(sharded: Sharded) -> None:
    groups = [f'group-{k}' for k in range(12)]
    await sharded.set_limit(concurrency=1)
    await sharded.set_limit(groups[0], concurrency=3)
    tasks = [(group, number) for number in range(8) for group in groups]
    assert len(await sharded.enqueue_many(tasks, group=lambda task: task[0])) == len(tasks)
    at_work, most, order = Counter[str](), Counter[str](), {group: list[int]() for group in groups}

    async def work() -> None:
        while True:
            task_id, (group, number) = await sharded.dequeue()
            assert task_id.group == group
            order[group].append(number)
            at_work[group] += 1
            most[group] = max(most[group], at_work[group])
            await asyncio.sleep(0.001)
            at_work[group] -= 1
            assert await sharded.release(task_id)

    loops = [asyncio.ensure_future(work()) for _ in range(20)]
    while (await sharded.get_queue_stats()).tasks:
        await asyncio.sleep(0.01)
    for loop in loops:
        loop.cancel()
    await asyncio.wait(loops)
    assert {group: found == sorted(found) for group, found in order.items() if group != groups[0]} == dict.fromkeys(
        groups[1:], True
    )
    assert sorted(order[groups[0]]) == [*range(8)]
    assert most[groups[0]] <= 3 and {most[group] for group in groups[1:]} == {1}


async def test_limits_and_pauses_are_those_of_the_shard_of_the_group_or_of_all(sharded: Sharded) -> None:
    groups = [group_of(number, 3) for number in range(3)]
    for k, group in enumerate(groups):
        await sharded.set_limit(group, concurrency=k + 1)
        await sharded.enqueue('a', group=group)
    await sharded.set_limit(rate=(100, 1))
    limits: dict[str | None, torrelque.Limit] = {group: torrelque.Limit(k + 1, None) for k, group in enumerate(groups)}
    assert await sharded.get_limits() == {**limits, None: torrelque.Limit(None, (100, 1.0))}
    assert {*[name async for name in sharded.groups()]} == {*groups}
    assert [(await sharded.get_group_stats(group)).limit for group in groups] == [1, 2, 3]
    await sharded.pause(groups[0])
    assert [(await sharded.get_group_stats(group)).paused for group in groups] == [True, False, False]
    assert await sharded.resume(groups[0])
    await sharded.pause()
    assert [(await sharded.get_group_stats(group)).paused for group in groups] == [True, True, True]
    with pytest.raises(torrelque.TimeoutError):
        await sharded.dequeue(0)
    assert not await sharded.resume(probing=True)
    assert await sharded.resume()
    assert len(await drain(sharded)) == 3


async def test_a_default_that_is_not_the_same_everywhere_is_told(
    sharded: Sharded, caplog: pytest.LogCaptureFixture
) -> None:
    await sharded.set_limit(concurrency=3)
    await sharded.shards[1].set_limit(concurrency=4)
    assert await sharded.get_limits() == {None: torrelque.Limit(3, None)}
    assert "queue 'email': shards 1 have another default limit than the first" in caplog.text


# Operators


async def test_dead_tasks_are_brought_back_one_shard_after_the_other(sharded: Sharded) -> None:
    for number in range(3):
        for k in range(4):
            await sharded.enqueue(k, group=group_of(number, 3, f'g{k}'))
    for _ in range(12):
        task_id, _ = await sharded.dequeue(20)
        await sharded.bury(task_id)
    assert (await sharded.get_queue_stats()).dead == 12
    assert await sharded.redrive(limit=5) == 5
    assert [stats and stats.dead for stats in await sharded.stats_of_shards()] == [0, 3, 4]
    assert await sharded.redrive() == 7
    assert await sharded.redrive() == 0


async def test_deaths_are_told_of_from_all_shards_and_acknowledged_there(sharded: Sharded) -> None:
    task_ids = [await sharded.enqueue('a', group=group_of(number, 3), max_attempts=1) for number in range(3)]
    for _ in task_ids:
        task_id, _ = await sharded.dequeue(20)
        await sharded.requeue(task_id, error='oh')
    deaths = await sharded.take_deaths(2)
    deaths += await sharded.take_deaths()
    assert {death.id for death in deaths} == {*task_ids}
    assert await sharded.take_deaths() == []
    await sharded.acknowledge_deaths(death.id for death in deaths)
    assert [await shard.take_deaths(again_after=0) for shard in sharded.shards] == [[], [], []]
    with pytest.raises(torrelque.ValueError, match='a death is acknowledged by the id of its delivery'):
        await sharded.acknowledge_deaths([torrelque.TaskId('a')])


async def test_a_sweep_is_that_of_all_shards(sharded: Sharded) -> None:
    for number in range(3):
        await sharded.enqueue('a', group=group_of(number, 3), delay=0.001)
    done = torrelque.SweepResult(0, 0, 0)
    while done.delayed < 3:
        done = torrelque.SweepResult(*map(sum, zip(done, await sharded.sweep(), strict=True)))
    assert done == torrelque.SweepResult(0, 3, 0)


async def test_sweeping_can_be_scheduled_before_the_first_call(sharded: Sharded) -> None:
    sharded.schedule_sweep(0.01)
    for number in range(3):
        await sharded.ready()
        await sharded.enqueue('a', group=group_of(number, 3), delay=0.01)
    while (await sharded.get_queue_stats()).pending < 3:
        await asyncio.sleep(0.005)
    sharded.unschedule_sweep()
    with pytest.raises(torrelque.ValueError, match='interval must be more than 0 seconds'):
        sharded.schedule_sweep(0)


async def test_a_task_is_watched_in_its_shard(sharded: Sharded) -> None:
    for how in ({}, {'group': 'shop'}, {'task_id': 'own', 'group': 'shop'}):
        options: dict[str, Any] = how
        task_id = str(await sharded.enqueue('a', **options))
        seen = []
        async with aclosing(sharded.watch(task_id, timeout=20)) as watch:
            async for state in watch:
                seen.append(state.status.name)
                if state.status is PENDING:
                    found, _ = await sharded.dequeue(20)
                elif state.status is WORKING:
                    await sharded.release(found, result=1)
        assert seen == ['PENDING', 'WORKING', 'COMPLETED']
    with pytest.raises(torrelque.LookupError):
        await sharded.watch('unknown').__anext__()
    with pytest.raises(torrelque.TimeoutError):
        await sharded.wait(await sharded.enqueue('b'), timeout=0.01)


async def test_a_watch_that_is_closed_while_it_looks_for_its_task_has_come_to_its_end(sharded: Sharded) -> None:
    watch: Any = sharded.watch('unknown')
    reading = asyncio.ensure_future(watch.__anext__())
    await asyncio.sleep(0)
    await watch.aclose()
    with pytest.raises(StopAsyncIteration):
        await reading
    with pytest.raises(StopAsyncIteration):
        await watch.__anext__()


async def test_times_of_the_queue_are_those_of_its_shards(sharded: Sharded) -> None:
    sharded.task_timeout = 7
    task_id = await sharded.enqueue('a')
    assert (await sharded.get_task_state(task_id)).timeout == 7
    sharded.task_timeout, sharded.result_ttl = 9, 1
    assert {(shard.task_timeout, shard.result_ttl) for shard in sharded.shards} == {(9, 1)}
    task_id = await sharded.enqueue('a')
    assert (await sharded.get_task_state(task_id)).timeout == 9


async def test_commands_and_keys_are_those_of_the_first_shard(sharded: Sharded) -> None:
    await sharded.enqueue('a', group=group_of(0, 3))
    assert sharded.keys == sharded.home.keys == sharded.shards[0].keys
    assert await sharded.command('HLEN', sharded.keys['tasks']) == 1


async def test_schedules_are_in_the_first_shard(sharded: Sharded) -> None:
    assert await sharded.set_schedule('daily', 'a', every=86400)
    assert [schedule.name async for schedule in sharded.get_schedules()] == ['daily']
    assert await sharded.pause_schedule('daily') and await sharded.resume_schedule('daily')
    [task_id] = await sharded.fire('daily')
    assert (await sharded.get_task_state(str(task_id))).status is PENDING
    found, _ = await sharded.dequeue(20)
    assert found == task_id and numbers_of(sharded, [found]) == [0] and await sharded.release(found)
    assert (await sharded.get_schedule('daily')).fired == 1
    assert await sharded.set_schedule('times', 'a', times=[4e9])
    assert await sharded.extend_schedule('times', [5e9], after=4e9)
    assert await sharded.set_schedule('grouped', 'a', every=60, group=group_of(0, 3))
    with pytest.raises(torrelque.ValueError, match='schedules are in the first shard'):
        await sharded.set_schedule('wrong', 'a', every=60, group=group_of(1, 3))
    assert await sharded.set_schedule('queued', 'a', every=60, overlap='queue')
    [task_id] = await sharded.fire('queued')
    found, _ = await sharded.dequeue(20)
    assert found == task_id and found.group == 'schedule:queued' and await sharded.release(found)
    assert await sharded.remove_schedule('daily')


async def test_a_task_may_be_part_of_a_transaction_in_its_slot(sharded: Sharded) -> None:
    client = sharded.client if not isinstance(sharded.client, list) else sharded.client[0]
    if isinstance(sharded.client, list) and len(sharded.client) > 1:
        await sharded.ready()
        client = sharded.shard_of(group='shop').client
    await sharded.ready()
    shard = sharded.shard_of(group='shop')
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.set(f'{shard.name}:paid', 1)
        task_id = await sharded.enqueue('a', group='shop', pipeline=pipeline)
        await pipeline.execute()
    found, _ = await sharded.dequeue(20)
    assert found == task_id
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(f'{shard.name}:paid')
        assert await sharded.release(found, pipeline=pipeline) is None
        await pipeline.execute()
    assert (await sharded.get_queue_stats()).tasks == 0
    with pytest.raises(torrelque.ValueError, match='a transaction is of one server'):
        await sharded.enqueue('a', pipeline=client.pipeline())
