"""The verbs of a queue with shards: those of a queue, with the same parameters, and what differs."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import re
from collections import Counter
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.servers import RealServer
from support.sharding import drain, group_of, numbers_of, open_one
from torrelque import Torrelque, TorrelqueQueue
from torrelque.sharded import Sharded, sync

pytestmark = pytest.mark.first_server

PENDING, DEAD = torrelque.TaskStatus.PENDING, torrelque.TaskStatus.DEAD


# It is a queue


VERBS = sorted(name for name in dir(Torrelque) if not name.startswith('_'))


@pytest.mark.one_server
@pytest.mark.parametrize('name', VERBS)
def test_every_public_name_of_a_queue_is_there_with_the_same_parameters(name: str) -> None:
    own, theirs = inspect.getattr_static(Sharded, name), inspect.getattr_static(Torrelque, name)
    if not callable(theirs):
        assert type(own) is type(theirs), name
        return
    mine, others = inspect.signature(own), inspect.signature(theirs)
    assert list(mine.parameters.values()) == list(others.parameters.values()) or [
        (one.name, one.kind, one.default) for one in mine.parameters.values()
    ] == [(one.name, one.kind, one.default) for one in others.parameters.values()]
    assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(theirs)
    assert inspect.isasyncgenfunction(own) == inspect.isasyncgenfunction(theirs)
    # None is that of the core by accident, which would know nothing of shards.
    if name not in ('ready',):
        assert own.__module__.startswith('torrelque.sharded'), name
        assert own.__doc__ and own.__doc__ != theirs.__doc__ or name in ('ready', 'get_group_stats'), name


@pytest.mark.one_server
def test_it_is_a_queue_and_no_single_one(client: redis.asyncio.Redis) -> None:
    queue = Sharded(client, queue='email')
    assert isinstance(queue, TorrelqueQueue) and not isinstance(queue, Torrelque)
    assert repr(queue) == "<Sharded 'email'>"
    single = Torrelque(client, queue='email')
    assert isinstance(single, TorrelqueQueue)
    assert single.shards == (single,) and single.home is single.shard_of('a') is single.shard_of(group='b') is single


# The life of a task


async def test_plain_tasks_are_spread_and_each_says_where_it_is(sharded: Sharded) -> None:
    task_ids = [await sharded.enqueue({'number': k}) for k in range(60)]
    assert all(re.fullmatch(r'[0-9a-f]{28}\.00[012]', task_id) for task_id in task_ids)
    assert {*numbers_of(sharded, task_ids)} == {0, 1, 2}
    for number, shard in enumerate(sharded.shards):
        assert (await shard.get_queue_stats()).tasks == numbers_of(sharded, task_ids).count(number)
    assert await sharded.get_queue_stats() == torrelque.QueueStats(60, 60, 0, 0, 0)
    assert [stats and stats.tasks for stats in await sharded.stats_of_shards()] == [
        numbers_of(sharded, task_ids).count(number) for number in range(3)
    ]
    assert {(await sharded.get_task_state(task_id)).status for task_id in task_ids} == {PENDING}
    found = await drain(sharded)
    assert sorted(task['number'] for _, task in found) == [*range(60)]
    assert {task_id for task_id, _ in found} == {*task_ids}
    assert await sharded.get_queue_stats() == torrelque.QueueStats(0, 0, 0, 0, 0)


async def test_a_task_goes_through_all_that_may_become_of_it(sharded: Sharded) -> None:
    for how in ({}, {'group': 'shop'}, {'task_id': 'invoice-17'}, {'group': 'shop', 'task_id': 'invoice-18'}):
        options: dict[str, Any] = how
        task_id = await sharded.enqueue('a', max_attempts=2, **options)
        first, task = await sharded.dequeue(20)
        assert (first, task, first.attempt, first.group) == (task_id, 'a', 1, how.get('group'))
        assert await sharded.touch(first, progress=0.5)
        assert (await sharded.get_task_state(str(task_id))).progress == 0.5
        assert await sharded.requeue(first, error='once')
        second, _ = await sharded.dequeue(20)
        assert (second, second.attempt) == (task_id, 2)
        assert not await sharded.release(first)
        assert await sharded.bury(second, error='twice')
        assert (await sharded.get_task_state(str(task_id))).status is DEAD
        assert await sharded.redrive(str(task_id)) == 1
        third, _ = await sharded.dequeue(20)
        assert await sharded.release(pickle.loads(pickle.dumps(third)), result='done')
        assert (await sharded.get_task_state(str(task_id))).result == 'done'
        assert (await sharded.wait(str(task_id), timeout=20)).result == 'done'
        assert not await sharded.release(third)
        assert not await sharded.cancel(str(task_id))
    assert (await sharded.get_queue_stats()).tasks == 0


async def test_an_id_without_its_delivery_is_found_wherever_it_is(sharded: Sharded) -> None:
    ids = [str(await sharded.enqueue('a', task_id=f'id-{k}', group=f'group-{k}')) for k in range(9)]
    assert {sharded.shards.index(sharded.shard_of(group=f'group-{k}')) for k in range(9)} == {0, 1, 2}
    assert any(sharded.shard_of(f'id-{k}') is not sharded.shard_of(group=f'group-{k}') for k in range(9))
    for _ in ids:
        await sharded.dequeue(20)
    # As JSON would bring them back: fenced by nothing, and nothing says in which group each was.
    assert await sharded.touch(ids[0]) and await sharded.requeue(ids[0], 100) and await sharded.bury(ids[1])
    assert await sharded.touch_many(ids[2:]) == [True] * 7
    assert await sharded.release_many([*ids[2:5], 'unknown', ids[5]]) == [True, True, True, False, True]
    assert await sharded.release(ids[6])
    assert await sharded.cancel(ids[7])
    assert await sharded.redrive(*ids) == 1
    states = await asyncio.gather(*(sharded.get_task_state(task_id) for task_id in ids[:2]))
    assert [state.status.name for state in states] == ['DELAYED', 'PENDING']
    for ask in (sharded.get_task_state, sharded.wait, sharded.get_flow):
        with pytest.raises(torrelque.LookupError, match="'unknown'"):
            await ask('unknown')
    assert not await sharded.cancel('unknown')
    assert not await sharded.release('unknown')


async def test_an_own_id_is_unique_in_the_queue_and_with_a_group_in_its_shard(sharded: Sharded) -> None:
    await sharded.enqueue('a', task_id='id')
    with pytest.raises(torrelque.DuplicateError):
        await sharded.enqueue('b', task_id='id')
    home = sharded.shards.index(sharded.shard_of('id'))
    with pytest.raises(torrelque.DuplicateError):
        await sharded.enqueue('b', task_id='id', group=group_of(home, 3))
    await sharded.enqueue('b', task_id='id', group=group_of((home + 1) % 3, 3))
    assert (await sharded.get_queue_stats()).tasks == 2


async def test_tasks_that_were_taken_together_are_settled_together(sharded: Sharded) -> None:
    await sharded.enqueue_many(range(300))
    await asyncio.gather(*(sharded.enqueue(k, group=f'g{k}') for k in range(30)))
    taken: list[torrelque.TaskId] = []
    while len(taken) < 330:
        some = await sharded.dequeue_many(100, 20)
        assert len({*numbers_of(sharded, [task_id for task_id, _ in some])}) == 1
        taken += [task_id for task_id, _ in some]
    assert len({*taken}) == 330
    assert await sharded.touch_many(taken) == [True] * 330
    assert await sharded.release_many(taken[::2]) == [True] * 165
    assert await sharded.release_many(taken) == [k % 2 == 1 for k in range(330)]
    assert await sharded.release_many([]) == []
    with pytest.raises(torrelque.TypeError):
        await sharded.release_many([taken[0], 7])  # type: ignore[list-item]


async def test_nothing_comes_in_time(sharded: Sharded) -> None:
    for timeout in (0, 0.01):
        with pytest.raises(torrelque.TimeoutError, match=f"queue 'email': no task came within {timeout:g} s") as info:
            await sharded.dequeue(timeout)
        assert info.value.replied
    with pytest.raises(torrelque.ValueError):
        await sharded.dequeue(-1)
    with pytest.raises(torrelque.ValueError):
        await sharded.dequeue_many(0)


async def test_whoever_waits_is_given_what_comes_into_any_shard(sharded: Sharded) -> None:
    for number in range(3):
        waiting = asyncio.ensure_future(sharded.dequeue(20))
        await asyncio.sleep(0)
        task_id = await sharded.enqueue('a', group=group_of(number, 3))
        found, _ = await waiting
        assert found == task_id and await sharded.release(found)


async def test_a_waiting_call_that_is_cancelled_loses_nothing(sharded: Sharded) -> None:
    await sharded.ready()
    for k in range(10):
        waiting = asyncio.ensure_future(sharded.dequeue(20))
        enqueuing = asyncio.ensure_future(sharded.enqueue(k))
        for _ in range(k):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting, enqueuing])
        if not waiting.cancelled():
            assert await sharded.release(waiting.result()[0])
    left = 10 - 0
    while (stats := await sharded.get_queue_stats()).working:
        await asyncio.sleep(0.005)
    assert stats.pending <= left
    await drain(sharded)
    assert (await sharded.get_queue_stats()).tasks == 0


async def test_delays_and_leases_come_due_in_every_shard(sharded: Sharded) -> None:
    for number in range(3):
        await sharded.enqueue(number, group=group_of(number, 3), delay=0.05, task_timeout=0.05)
    seen = Counter[int]()
    while min((seen[number] for number in range(3)), default=0) < 2:
        task_id, task = await sharded.dequeue(20)
        seen[task] += 1
        if seen[task] > 1:
            assert await sharded.release(task_id)


# The end


async def test_closing_ends_whoever_waits_and_refuses_what_comes_after(sharded: Sharded) -> None:
    waiting = asyncio.ensure_future(sharded.dequeue())
    task_id = await sharded.enqueue('a', group='b', delay=100)
    watching: Any = asyncio.ensure_future(sharded.wait(task_id))
    await asyncio.sleep(0.05)
    await sharded.aclose()
    for call in (waiting, watching):
        with pytest.raises(torrelque.ClosedError):
            await call
    for again in (sharded.enqueue('a'), sharded.dequeue(0), sharded.get_queue_stats(), sharded.release('a')):
        with pytest.raises(torrelque.ClosedError):
            await again
    with pytest.raises(torrelque.ClosedError):
        sharded.schedule_sweep()
    await sharded.aclose()


async def test_whoever_waits_for_the_map_when_it_is_closed_is_told_so(server: RealServer) -> None:
    async with open_one(server) as queue:
        enqueuing = asyncio.ensure_future(queue.enqueue('a'))
        while queue._opening is None:
            await asyncio.sleep(0)
        await queue.aclose()
        with pytest.raises(torrelque.ClosedError, match="queue 'email': the queue was closed"):
            await enqueuing


async def test_one_that_was_used_is_refused_in_every_other_event_loop(server: RealServer) -> None:
    async def ask() -> None:
        for _ in range(20):
            with pytest.raises(torrelque.Error, match='a queue object belongs to the event loop it was first used in'):
                await queue.enqueue('a')

    async with open_one(server) as queue:
        await queue.enqueue('a')
        await asyncio.to_thread(asyncio.run, ask())
        assert (await queue.get_queue_stats()).tasks == 1


async def test_one_that_was_never_used_is_closed_at_once(server: RealServer) -> None:
    async with open_one(server) as queue:
        pass
    with pytest.raises(torrelque.ClosedError, match="queue 'email': the queue was closed"):
        await queue.enqueue('a')


async def test_another_object_of_the_same_queue_and_one_of_another(server: RealServer) -> None:
    async with open_one(server, 3, max_tasks=8) as queue:
        queue.task_timeout = 7
        await queue.ready()
        part = queue.shards[1]
        async with queue.another(max_tasks=5) as same, queue.another('news') as other, part.another() as shard:
            await other.ready()
            assert (len(other.shards), other.name, other.max_tasks) == (3, 'news', 8)
            task_id = await same.enqueue(1)
            assert (same.name, same.max_tasks, same.task_timeout) == ('email', 5, 7)
            assert (await queue.get_task_state(task_id)).timeout == 7
            assert (shard.name, shard.task_timeout) == (part.name, 7)


async def test_a_task_of_a_shard_that_is_no_more_is_said_to_be(sharded: Sharded) -> None:
    for ask in (sharded.get_task_state, sharded.wait):
        with pytest.raises(torrelque.LookupError, match='its shard, 7, is no more'):
            await ask('0' * 28 + '.007')


# Room


async def test_each_shard_has_its_part_of_the_room_and_plain_tasks_find_what_is_left(server: RealServer) -> None:
    async with open_one(server, 3, max_tasks=8) as queue:
        assert len({*[await queue.enqueue(k) for k in range(9)]}) == 9
        assert [stats and stats.tasks for stats in await queue.stats_of_shards()] == [3, 3, 3]
        with pytest.raises(torrelque.FullError, match="queue 'email': the queue is full: it has 9 tasks"):
            await queue.enqueue(9)
        with pytest.raises(torrelque.FullError, match='it has 3 tasks'):
            await queue.enqueue(9, group='shop')
        with pytest.raises(torrelque.BulkError) as info:
            await queue.enqueue_many(range(5))
        assert isinstance(info.value.__cause__, torrelque.FullError) and info.value.task_ids == []


async def test_messages_name_the_queue_and_the_shard_that_they_are_about(
    server: RealServer, caplog: pytest.LogCaptureFixture
) -> None:
    group, gone = group_of(1, 3), '0' * 28 + '.002'
    lost = r"^queue 'email': shard 2: the queue has no task '0+\.002'$"
    async with open_one(server, max_tasks=3) as queue:
        await queue.enqueue(1, group=group)
        with pytest.raises(torrelque.FullError) as caught:
            await queue.enqueue(1, group=group)
        assert str(caught.value) == "queue 'email': shard 1: the queue is full: it has 1 tasks"
        assert (caught.value.queue, caught.value.args) == ('email', ('the queue is full: it has 1 tasks',))
        copied = pickle.loads(pickle.dumps(caught.value))
        assert (str(copied), copied.queue) == (str(caught.value), 'email')
        with pytest.raises(torrelque.LookupError, match=lost):
            await queue.get_task_state(gone)
        assert not await queue.release(gone)
        await server_refuses(queue, group)
        # Whoever has a shard alone is told the same, and the name is that of its keys.
        assert queue.shards[1].name == '{email:1}'
    with server.sync_client() as client, sync.Sharded(client, queue='email') as threads:
        with pytest.raises(torrelque.LookupError, match=lost):
            threads.get_task_state(gone)
        assert not threads.release(gone)
    said = "queue 'email' (shard 2): release of task"
    assert [said in record.getMessage() for record in caplog.records if 'release' in record.getMessage()] == [True] * 2


async def server_refuses(queue: Sharded, group: str) -> None:
    """A key of a shard that holds something else is told of with the shard."""
    shard = queue.shard_of(group=group)
    await shard.command('SET', shard.keys['limits'], 'x')
    with pytest.raises(torrelque.ServerError, match=r"^queue 'email': shard 1: .*WRONGTYPE"):
        await queue.set_limit(group, concurrency=1)
    await shard.command('DEL', shard.keys['limits'])
