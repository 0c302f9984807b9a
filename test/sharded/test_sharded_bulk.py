"""Many tasks at once, to shards of which one may be full, away or given something that cannot be meant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import torrelque
from support.servers import RealServer
from support.sharding import drain, group_of, numbers_of, open_one
from torrelque.sharded import Sharded

pytestmark = pytest.mark.first_server


async def test_plain_tasks_go_in_runs_to_one_shard_after_the_other(sharded: Sharded) -> None:
    task_ids = await sharded.enqueue_many(range(1600))
    numbers = numbers_of(sharded, task_ids)
    runs = [{*numbers[start : start + 250]} for start in range(0, 1600, 250)]
    assert all(len(run) == 1 for run in runs)
    # Each has its turn; on a busy machine one that was slow has it later.
    assert {next(iter(run)) for run in runs[:6]} == {0, 1, 2}
    found = dict(await drain(sharded))
    assert [found[task_id] for task_id in task_ids] == [*range(1600)]


async def test_an_async_iterable_and_what_is_said_of_each(sharded: Sharded) -> None:
    async def tasks() -> AsyncIterator[int]:
        for k in range(300):
            yield k

    task_ids = await sharded.enqueue_many(
        tasks(), group=lambda k: None if k % 10 == 9 else f'g{k % 10}', priority=lambda k: k % 3, max_attempts=4,
        delay=0, task_timeout=17,
    )  # fmt: skip
    states = await asyncio.gather(*map(sharded.get_task_state, task_ids))
    assert [state.group for state in states] == [None if k % 10 == 9 else f'g{k % 10}' for k in range(300)]
    assert [(state.priority, state.max_attempts, state.timeout) for state in states] == [
        (k % 3, 4, 17) for k in range(300)
    ]
    assert [task_id[-1] for task_id in task_ids if task_id] == [str(number) for number in numbers_of(sharded, task_ids)]


async def test_tasks_of_one_group_are_those_of_one_queue(sharded: Sharded) -> None:
    task_ids = await sharded.enqueue_many(iter(range(300)), group='shop')
    assert [task for _, task in await drain(sharded)] == [*range(300)]
    assert len({*numbers_of(sharded, task_ids)}) == 1
    assert await sharded.enqueue_many([], group='shop') == await sharded.enqueue_many([]) == []


@pytest.mark.parametrize('keyed', [False, True])
async def test_an_iterable_that_fails_loses_nothing_that_was_taken_from_it(sharded: Sharded, keyed: bool) -> None:
    def tasks() -> Iterator[int]:
        yield from range(270)
        raise RuntimeError('no more')

    group: Any = (lambda k: f'g{k}') if keyed else None
    with pytest.raises(torrelque.BulkError, match="queue 'email': the bulk call failed after 270 tasks") as info:
        await sharded.enqueue_many(tasks(), group=group)
    assert isinstance(info.value.__cause__, RuntimeError)
    found = dict(await drain(sharded))
    assert [found[torrelque.TaskId(task_id)] for task_id in info.value.task_ids] == [*range(270)]


async def test_a_function_of_the_task_that_fails_is_told_with_what_is_in(sharded: Sharded) -> None:
    with pytest.raises(torrelque.BulkError) as info:
        await sharded.enqueue_many([1, 2, 0, 3], group=lambda k: f'g{1 // k}')
    assert isinstance(info.value.__cause__, ZeroDivisionError)
    assert sorted(task for _, task in await drain(sharded)) == [1, 2]
    assert len(info.value.task_ids) == 2


async def test_a_task_that_cannot_be_serialised_ends_it_with_a_beginning_without_gaps(sharded: Sharded) -> None:
    tasks: list[Any] = [*range(600)]
    tasks[300] = object()
    with pytest.raises(torrelque.BulkError) as info:
        await sharded.enqueue_many(tasks)
    assert isinstance(info.value.__cause__, torrelque.TypeError)
    assert len(info.value.task_ids) == 300
    found = dict(await drain(sharded))
    assert [found[torrelque.TaskId(task_id)] for task_id in info.value.task_ids] == [*range(300)]
    # The run behind it was on its way.
    assert len(found) in (300, 400)


async def test_what_cannot_be_meant_is_refused_before_anything_is_sent(sharded: Sharded) -> None:
    wrong: list[tuple[Any, dict[str, Any], type[Exception]]] = [
        (7, {}, torrelque.TypeError),
        ([1], {'priority': 1000}, torrelque.ValueError),
        ([1], {'group': 7}, torrelque.TypeError),
        ([1], {'group': ''}, torrelque.ValueError),
        ([1], {'delay': -1}, torrelque.ValueError),
    ]
    for tasks, options, kind in wrong:
        with pytest.raises(kind) as info:
            await sharded.enqueue_many(tasks, **options)
        assert not isinstance(info.value, torrelque.BulkError)
    assert (await sharded.get_queue_stats()).tasks == 0


async def test_runs_find_the_room_that_is_left(server: RealServer) -> None:
    async with open_one(server, 3, max_tasks=600) as queue:
        await queue.enqueue_many(range(190), group=group_of(0, 3))
        task_ids = await queue.enqueue_many(range(390))
        assert len({*task_ids}) == 390
        with pytest.raises(torrelque.BulkError) as info:
            await queue.enqueue_many(range(300))
        assert isinstance(info.value.__cause__, torrelque.FullError)
        # The run behind the one that failed was on its way, and may have taken what was left.
        assert len(info.value.task_ids) <= 20
        assert [stats and stats.tasks for stats in await queue.stats_of_shards()] == [200, 200, 200]


async def test_a_bulk_call_that_is_cancelled_leaves_nothing_on_its_way(sharded: Sharded) -> None:
    async def tasks() -> AsyncIterator[int]:
        for k in range(250):
            yield k
        await asyncio.Event().wait()

    call = asyncio.ensure_future(sharded.enqueue_many(tasks()))
    while (await sharded.get_queue_stats()).tasks < 250:
        await asyncio.sleep(0.005)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert len(await drain(sharded)) == 250
