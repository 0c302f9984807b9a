"""Groups that come to new shards, while all goes on."""

from __future__ import annotations

from typing import Any

import pytest

import torrelque
from support.moving import deafen, die_after, drain, goes, hurry, moves, stays
from support.servers import RealServer
from support.sharding import open_one
from torrelque.sharded import placing

pytestmark = pytest.mark.first_server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


async def test_a_group_that_has_moved_goes_on_in_its_order(server: RealServer) -> None:
    group, other = goes(), stays()
    async with open_one(server, 2) as queue, open_one(server, 2) as late:
        await deafen(late)
        for k in range(3):
            await queue.enqueue(k, group=group)
        async with moves(queue) as task:
            # It goes by the old map, and is told so.
            assert late._shape.keyed == 2
            for k in range(3, 6):
                await late.enqueue(k, group=group)
            assert late._shape.keyed == 4
            assert late.shards.index(late.shard_of(group=group)) == 2
            # What is in the new shard waits for what was in the old one; other groups wait for nobody.
            with pytest.raises(torrelque.TimeoutError, match='still have tasks'):
                await late.grow(4, keyed=True, timeout=0)
            assert await late.shards[2].command('ZCARD', f'{late.shards[2].keys["group"]}:{group}') == 3
            await late.enqueue('other', group=other)
            with pytest.raises(torrelque.TimeoutError):
                await late.shards[2].dequeue(0)
            held, first = await late.dequeue(10)
            assert (first, await drain(late, 1)) == (0, ['other'])
            assert not task.done()
            assert await late.release(held)
            assert await drain(late, 5) == [1, 2, 3, 4, 5]
        await queue.enqueue(6, group=group)
        assert await drain(queue, 1) == [6]


async def test_limits_and_pauses_move_and_are_set_where_the_group_is(server: RealServer) -> None:
    limited, paused, probed = goes('limited'), goes('paused'), goes('probed')
    async with open_one(server, 2) as queue, open_one(server, 2) as late:
        await deafen(late)
        await queue.set_limit(limited, concurrency=3, rate=(5, 60))
        await queue.pause(paused)
        await queue.pause(probed, probe=100)
        await queue.grow(4, keyed=True)
        assert late._shape.keyed == 2
        await late.set_limit(goes('late'), concurrency=7)
        assert late._shape.keyed == 4
        stats = await queue.get_group_stats(limited)
        assert (stats.limit, stats.rate) == (3, (5, 60.0))
        assert (await queue.get_group_stats(goes('late'))).limit == 7
        assert (await queue.get_limits())[limited].concurrency == 3
        for group in (paused, probed):
            assert (await queue.get_group_stats(group)).paused
            assert await late.resume(group)
            assert not (await queue.get_group_stats(group)).paused
            await queue.enqueue('goes on', group=group)
        assert await drain(queue, 2) == ['goes on', 'goes on']
        # Where the group was, a limit is refused, whoever sets it.
        with pytest.raises(torrelque.ServerError, match='another shard'):
            await queue.shards[0].set_limit(limited, concurrency=1)


async def test_what_sets_a_limit_waits_until_those_of_the_group_have_come(
    server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, 'AGAINS', (0.0, 0.01))
    group = goes()
    async with open_one(server, 2) as queue:
        await queue.set_limit(group, concurrency=3)
        await die_after(queue, 'fence')
        with pytest.raises(torrelque.ServerError, match='have not come'):
            await queue.set_limit(group, concurrency=5)
        await queue.grow(4, keyed=True)
        assert (await queue.get_group_stats(group)).limit == 3
        await queue.set_limit(group, concurrency=5)
        await queue.grow(4, keyed=True)
        assert (await queue.get_group_stats(group)).limit == 5


async def test_first_delays_move_at_once_and_go_before_what_came_later(server: RealServer) -> None:
    group, other = goes(), stays()
    async with open_one(server, 2) as queue:
        kept = await queue.enqueue('kept', group=other, delay=1000)
        later = await queue.enqueue('later', group=group, delay=1000, task_id='mine', max_attempts=3)
        soon = await queue.enqueue('soon', group=group, delay=0.3)
        before = await queue.get_task_state(later)
        async with moves(queue):
            pass
        state = await queue.get_task_state(later)
        assert state == before
        assert [await shard.command('ZCARD', shard.keys['delayed']) for shard in queue.shards] == [1, 0, 2, 0]
        assert [await shard.command('EXISTS', shard.keys['stage']) for shard in queue.shards] == [0] * 4
        assert (await queue.get_task_state(kept)).due_time
        with pytest.raises(torrelque.DuplicateError):
            await queue.enqueue('again', group=group, task_id='mine')
        await queue.pause(group)
        await queue.enqueue('now', group=group)
        while (await queue.get_task_state(soon)).status is not torrelque.TaskStatus.PENDING:
            await queue.sweep()
        await queue.resume(group)
        assert await drain(queue, 2) == ['soon', 'now']
        assert await queue.cancel(later)
        assert await queue.cancel(kept)
        assert [await shard.command('EXISTS', shard.keys['later']) for shard in queue.shards] == [0] * 4


async def test_a_dead_task_is_redriven_where_its_group_is(server: RealServer) -> None:
    group = goes()
    async with open_one(server, 2) as queue, open_one(server, 2) as late:
        await deafen(late)
        for k in range(3):
            await queue.enqueue(k, group=group, max_attempts=2)
        ids = []
        for _ in range(3):
            task_id, _ = await queue.dequeue(10)
            ids.append(task_id)
            assert await queue.bury(task_id, error='why')
        await queue.grow(4, keyed=True)
        assert late._shape.keyed == 2
        # By its id, which names the old shard, and is asked for everywhere; then all.
        assert await late.redrive(str(ids[0])) == 1
        assert await late.redrive(str(ids[0])) == 0
        assert await queue.redrive() == 2
        assert [(await shard.get_queue_stats()).tasks for shard in queue.shards] == [0, 0, 3, 0]
        state = await late.get_task_state(ids[1])
        assert (state.group, state.forgiven, state.error) == (group, 1, 'why')
        held, task = await late.dequeue(10)
        assert (task, held.attempt) == (0, 2)
        # Its attempts begin anew.
        assert await queue.requeue(held, error='once more')
        assert await drain(queue, 3) == [0, 1, 2]


async def test_what_is_left_on_a_stage_is_carried_by_whoever_finds_it(server: RealServer) -> None:
    group = goes()
    async with open_one(server, 2) as queue:
        await queue.enqueue('dead', group=group)
        task_id, _ = await queue.dequeue(10)
        assert await queue.bury(task_id)
        await queue.grow(4, keyed=True)
        # Whoever redrives it dies behind the first step.
        assert await queue.shards[0].redrive(task_id) == 1
        with pytest.raises(torrelque.LookupError):
            await queue.shards[0].get_task_state(str(task_id))
        assert await drain(queue, 1) == ['dead']


async def test_many_are_enqueued_in_their_order_while_groups_move(server: RealServer) -> None:
    groups = [goes(f'g{k}') for k in range(3)] + [stays()]
    async with open_one(server, 2) as queue, open_one(server, 2) as late:
        await deafen(late)
        await queue.enqueue(-1, group=groups[0])

        async def come() -> Any:
            for k in range(160):
                if k == 70:
                    await die_after(queue, 'take')
                yield k

        ids = await late.enqueue_many(come(), group=lambda k: groups[k % 4])
        assert len(ids) == 160
        assert late._shape.keyed == 4
        await late.enqueue_many(range(160, 170), group=groups[1])
        async with moves(queue):
            found = await drain(queue, 171)
        for number in range(4):
            own = [k for k in found if isinstance(k, int) and 0 <= k < 160 and k % 4 == number]
            assert own == sorted(own)
        assert sorted(found) == [*range(-1, 170)]  # type: ignore[type-var]
