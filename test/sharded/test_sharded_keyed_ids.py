"""Ids of callers' own, tasks of flows, and calls that are late, while groups and ids come to new shards."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

import torrelque
from support.moving import DeathError, deafen, die_after, drain, goes, hurry, mortal, moves, stays, until
from support.servers import RealServer
from support.sharding import NAME, open_cluster, open_one
from support.topology import Cluster
from torrelque.sharded import inside, moving, shards, sync as sharded_sync
from torrelque.sharded.inside import growing

pytestmark = pytest.mark.first_server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


async def test_an_id_is_taken_once_while_it_moves(server: RealServer) -> None:
    mine, done, free, new = goes('mine'), goes('done'), goes('free'), goes('new')
    async with open_one(server, 2) as queue, open_one(server, 2) as late, open_one(server, 2) as other:
        for one in (late, other):
            await deafen(one)
        await queue.enqueue('mine', task_id=mine)
        await queue.enqueue('free', task_id=free)
        assert await queue.cancel(free)
        flow = await queue.enqueue_flow([torrelque.Node('a', 1)], flow_id=goes('flow'))
        for _ in range(2):
            task_id, task = await queue.dequeue(10)
            assert await queue.requeue(task_id, delay=1000) if task == 'mine' else await queue.release(task_id)
        await queue.enqueue('done', task_id=done)
        task_id, _ = await queue.dequeue(10)
        assert await queue.release(task_id, result='kept', result_ttl=1000)
        async with moves(queue) as task:
            for one in (queue, late):
                for known in (mine, done):
                    with pytest.raises(torrelque.DuplicateError):
                        await one.enqueue('again', task_id=known)
            with pytest.raises(torrelque.DuplicateError):
                await late.enqueue_flow([torrelque.Node('a', 1)], flow_id=flow)
            await other.enqueue('new', task_id=new)
            with pytest.raises(torrelque.DuplicateError):
                await queue.enqueue('new', task_id=new)
            await queue.enqueue('free', task_id=free)
            assert queue.shards[2].name == (await queue._holder(new)).name
            assert (await queue.get_task_state(done)).result == 'kept'
            assert not task.done()
            assert shards.MOVING in queue._shape.more
            assert await queue.cancel(mine)
            for key in (done, flow):
                await queue.shards[0].command('DEL', f'{queue.shards[0].keys["task"]}:{key}')
        assert shards.MOVING not in queue._shape.more
        await late.enqueue('mine', task_id=mine)
        assert sorted(await drain(queue, 3), key=str) == ['free', 'mine', 'new']


async def test_tasks_of_flows_are_waited_for(server: RealServer) -> None:
    group = goes()
    async with open_one(server, 2) as queue, open_one(server, 2) as late:
        await deafen(late)
        node = torrelque.Node
        await queue.enqueue_flow([node('a', 'a'), node('b', 'b', after={'a': 'then'}, group=group)])
        async with moves(queue) as task:
            await late.enqueue_flow([node('c', 'c', group=group)])
            assert late._shape.keyed == 4
            with pytest.raises(torrelque.TimeoutError, match='still have tasks'):
                await late.grow(4, keyed=True, timeout=0)
            assert await drain(queue, 3) == ['a', 'b', 'c']
            del task


async def test_what_cannot_move_is_refused_before_anything_is_written(server: RealServer) -> None:
    async with open_one(server, 2) as queue, open_one(server, 2) as late:
        await deafen(late)
        await queue.set_schedule('nightly', 1, every=1000, group=goes())
        await queue.set_schedule('own', 1, every=1000, overlap='queue')
        with pytest.raises(torrelque.ValueError, match='nightly'):
            await queue.grow(4, keyed=True)
        with pytest.raises(torrelque.ValueError, match='multiple'):
            await queue.grow(3, keyed=True)
        assert queue._shape.generation == 1
        assert await queue.remove_schedule('nightly')
        await queue.grow(4, keyed=True)
        with pytest.raises(torrelque.ValueError, match='first shard'):
            await late.set_schedule('nightly', 1, every=1000, group=goes())
        assert late._shape.keyed == 4
        assert await late.set_schedule('nightly', 1, every=1000, group=stays())
        assert not await late.set_schedule('nightly', 1, every=1000, group=stays())
        with pytest.raises(torrelque.ValueError):
            await queue.shrink(2)


async def test_one_that_stood_still_changes_nothing(server: RealServer) -> None:
    group = goes()
    async with open_one(server, 2) as queue:
        await queue.set_limit(group, concurrency=3)
        task_id = await queue.enqueue('delayed', group=group, delay=1000)
        # It has read limits, and the stage, and goes on when all is over.
        await die_after(queue, 'take')
        old, new = queue.shards[0], queue.shards[2]
        limits = await inside.run(old, growing.read_inherited)
        stage = await inside.run(old, growing.read_stage)
        assert [name for name, *_ in limits] == [group]
        assert stage[0] == task_id.encode()
        await queue.grow(4, keyed=True)
        await queue.set_limit(group, concurrency=5)
        assert await queue.cancel(task_id)
        await new.command('DEL', f'{new.keys["task"]}:{task_id}')
        before = {key: await new.command('TYPE', key) for key in new.keys.values()}
        await inside.run(new, growing.shut)
        await inside.run(new, lambda calls: growing.inherit(calls, limits))
        await inside.run(new, lambda calls: growing.put(calls, stage))
        await inside.run(old, growing.take_delayed)
        await inside.run(old, lambda calls: growing.fence(calls, 2, 1))
        await queue._take_steps(moving.carry(0, queue._shape))
        assert {key: await new.command('TYPE', key) for key in new.keys.values()} == before
        assert await old.command('HMGET', old.keys['growth'], 'keyed', 'number') == [b'4', b'0']
        assert (await queue.get_group_stats(group)).limit == 5
        assert (await queue.get_queue_stats()).tasks == 0
        await queue.enqueue('goes on', group=group)
        assert await drain(queue, 1) == ['goes on']


async def test_a_call_that_is_sent_again_finds_its_task_before_the_fence(server: RealServer) -> None:
    group = goes()
    async with open_one(server, 2) as queue:
        await queue.ready()
        calls = queue.shards[0]._calls
        known, fresh = (
            calls.words(calls.enqueue(1, 60, None, None, None, inside.Routed(group, 2), 0), resent=True)
            for _ in range(2)
        )
        assert await queue.home.command(*known) == b'ok'
        await die_after(queue, 'fence')
        assert await queue.home.command(*known) == b'ok'
        assert await queue.home.command(*fresh) == [b'stale']
        assert (await queue.get_queue_stats()).tasks == 1


async def test_an_id_is_taken_once_where_the_map_was_written_and_nothing_else(server: RealServer) -> None:
    mine = goes('mine')
    async with open_one(server, 2) as queue, open_one(server, 2) as late:
        await deafen(late)
        with pytest.raises(DeathError):
            steps = moving.grow(NAME, 4, 0.03, True, 0.01, None)
            await queue._take_steps(mortal(steps, lambda it: isinstance(it, moving.Write) and it.shape.keyed == 4))
        await queue.enqueue(1, task_id=mine)
        with pytest.raises(torrelque.DuplicateError):
            await late.enqueue(2, task_id=mine)
        assert late._shape.keyed == 4


async def test_a_task_of_a_flow_of_another_queue_is_not_taken_in_where_its_group_was(server: RealServer) -> None:
    group = goes()
    async with (
        open_one(server, 2) as queue, server.client() as client, torrelque.Torrelque(client, queue='home') as home
    ):  # fmt: skip
        await queue.ready()
        there = queue.shards[0].name
        nodes = [torrelque.Node('a', 1), torrelque.Node('b', 2, after={'a': 'then'}, group=group, queue=there)]
        flow = await home.enqueue_flow(nodes, on_failure='skip', result_ttl=100)
        await queue.grow(4, keyed=True)
        task_id, _ = await home.dequeue(10)
        assert await home.release(task_id)
        # The one has it told, the other tells of it.
        await home.sweep()
        await queue.sweep()
        await home.wait(flow, timeout=10)
        [_, ended] = sorted([it async for it in home.get_outcomes(flow)], key=lambda it: it.id)
        assert 'its group is in another shard by now' in str(ended.error)
        assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.long
async def test_groups_move_in_a_cluster(cluster: Cluster) -> None:
    async with open_cluster(cluster, 3) as queue, open_cluster(cluster, 3) as late:
        await deafen(late)
        for k in range(120):
            await queue.enqueue(k, group=f'g{k % 12}', delay=1000 if k % 60 < 12 else None)
        await queue.enqueue('mine', task_id='mine')
        task = asyncio.ensure_future(queue.grow(6, keyed=True))
        await until(lambda: task.done() or queue._shape.keyed == 6)
        for k in range(120, 180):
            await late.enqueue(k, group=f'g{k % 12}')
        found = await drain(late, 157)
        await asyncio.wait_for(task, 20)
        for number in range(12):
            own = [k for k in found if isinstance(k, int) and k % 12 == number]
            assert own == sorted(own)
        places = {queue.shards.index(queue.shard_of(group=f'g{number}')) for number in range(12)}
        assert {*places} & {3, 4, 5}
        assert (await queue.get_queue_stats()).delayed == 24


async def test_a_transaction_by_an_old_map_is_refused(server: RealServer) -> None:
    group = goes()
    async with open_one(server, 2) as queue, open_one(server, 2) as late:
        await deafen(late)
        await queue.grow(4, keyed=True)
        async with late.client.pipeline(transaction=True) as pipeline:
            await late.enqueue(1, group=group, pipeline=pipeline)
            [result] = await pipeline.execute()
        with pytest.raises(torrelque.ServerError, match='another shard'):
            torrelque.read_outcome(result)
        assert (await queue.get_queue_stats()).tasks == 0


def test_threads_move_groups_as_well(server: RealServer) -> None:
    group, mine = goes(), goes('mine')
    with server.sync_client() as client, contextlib.ExitStack() as stack:
        queue, late = (
            stack.enter_context(sharded_sync.Sharded(client, queue=NAME, shards=2)) for _ in range(2)
        )
        late.ready()
        late._known_until = time.monotonic() + 1000
        queue.enqueue('delayed', group=group, delay=0.01)
        queue.enqueue('mine', task_id=mine)
        queue.enqueue('dead', group=group)
        for _ in range(2):
            task_id, task = queue.dequeue(10)
            assert queue.bury(task_id) if task == 'dead' else queue.release(task_id)
        queue.set_limit(group, concurrency=1)
        queue.grow(4, keyed=True)
        assert late._shape.keyed == 2
        assert late.enqueue_many(['one', 'two'], group=group)
        assert late._shape.keyed == 4
        assert late.redrive() == 1
        late.enqueue('mine', task_id=mine)
        with pytest.raises(torrelque.DuplicateError):
            queue.enqueue('again', task_id=mine)
        late.pause(group)
        assert queue.get_group_stats(group).paused
        assert queue.get_group_stats(group).limit == 1
        late.resume(group)
        found = []
        for _ in range(5):
            task_id, task = queue.dequeue(10)
            found.append(task)
            assert queue.release(task_id)
        assert [task for task in found if task in ('one', 'two')] == ['one', 'two']
        assert sorted(found) == ['dead', 'delayed', 'mine', 'one', 'two']
        with pytest.raises(torrelque.ValueError):
            queue.shrink(2)
