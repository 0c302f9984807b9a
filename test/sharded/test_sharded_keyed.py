"""Groups and ids of callers' own that come to new shards, while all goes on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

import torrelque
from support.servers import RealServer
from support.sharding import NAME, open_cluster, open_one
from support.topology import Cluster
from torrelque.sharded import Sharded, grow, inside, moving, placing, shards, sync as sharded_sync
from torrelque.sharded.inside import growing
from torrelque.sharded.shards import keyed_by

pytestmark = pytest.mark.first_server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the map does so often, so that tests need not wait for half a minute."""
    monkeypatch.setattr(grow, 'EVERY', 0.1)
    monkeypatch.setattr(grow, 'KNOWN', 0.02)
    monkeypatch.setattr(grow, 'LOOK', 0.01)


def goes(name: str = 'group') -> str:
    """A name of a group, or an id, that is in the first of two shards and comes to the third of four."""
    return next(it for k in range(10_000) if (keyed_by(it := f'{name}-{k}', 2), keyed_by(it, 4)) == (0, 2))


def stays(name: str = 'group') -> str:
    """One that stays in the first."""
    return next(it for k in range(10_000) if keyed_by(it := f'{name}-{k}', 4) == 0)


async def until(condition: Callable[[], bool]) -> None:
    """Nothing tells what another process has done."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def deafen(queue: Sharded) -> None:
    """Have it go by the map that it knows, until a shard refuses that."""
    await queue.ready()
    assert queue._timer is not None
    queue._timer.cancel()
    queue._known_until = float('inf')


@contextlib.asynccontextmanager
async def moves(queue: Sharded) -> Any:
    """Groups are moving; at the end, all have."""
    task = asyncio.ensure_future(queue.grow(4, keyed=True))
    try:
        await until(lambda: task.done() or queue._shape.keyed == 4)
        while not task.done() and not await queue.shards[0].command('EXISTS', queue.shards[0].keys['growth']):
            await asyncio.sleep(0)
        yield task
        await asyncio.wait_for(task, 20)
    finally:
        task.cancel()


async def drain(queue: Sharded, count: int) -> list[object]:
    """Take so many tasks, and finish them."""
    found: list[object] = []
    while len(found) < count:
        task_id, task = await queue.dequeue(10)
        found.append(task)
        assert await queue.release(task_id)
    return found


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


class DeathError(Exception):
    """Of whoever moves the groups."""


def mortal(steps: Any, dies: Callable[[Any], bool]) -> Any:
    """Steps of which one is the last."""
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration:
            return
        answer = yield step
        if dies(step):
            raise DeathError


async def die_after(queue: Sharded, name: str) -> None:
    """Move groups, up to the last step of a kind, such as ``fence``."""
    before: list[str] = []

    def dies(step: Any) -> bool:
        its = getattr(step.make, '__qualname__', '') if isinstance(step, moving.At) else ''
        over = bool(before) and name in before[-1] and name not in its
        before.append(its)
        return over

    with pytest.raises(DeathError):
        await queue._take_steps(mortal(moving.grow(NAME, 4, 0.03, True, 0.01, None), dies))


def after(count: int) -> Callable[[Any], bool]:
    """So many steps."""
    left = iter(range(count))
    return lambda _: next(left, None) is None


@pytest.mark.long
async def test_whoever_moves_groups_may_die_behind_each_step(server: RealServer) -> None:
    """The first one dies after one step, the second after two, and so on, while tasks come and go."""
    groups = [goes(f'g{k}') for k in range(2)] + [stays()]
    sent = dict.fromkeys(groups, 0)
    found: dict[str, list[int]] = {group: [] for group in groups}
    async with open_one(server, 2) as queue, open_one(server, 2) as producer:
        over = asyncio.Event()

        async def produce(group: str) -> None:
            while not over.is_set():
                await producer.enqueue(sent[group], group=group)
                sent[group] += 1
                await asyncio.sleep(0.002)

        async def consume() -> None:
            while not over.is_set() or sum(map(len, found.values())) < sum(sent.values()):
                with contextlib.suppress(torrelque.TimeoutError):
                    task_id, task = await producer.dequeue(0.05)
                    assert isinstance(task_id.group, str)
                    found[task_id.group].append(task)
                    assert await producer.release(task_id)

        delayed = await queue.enqueue('delayed', group=goes('delayed'), delay=1000)
        await queue.enqueue('mine', task_id=goes('mine'), delay=1000)
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                tasks.create_task(produce(group))
            tasks.create_task(consume())
            tasks.create_task(consume())
            for lives in range(1, 200):
                steps = moving.grow(NAME, 4, 0.0, True, 0.001, None)
                try:
                    await queue._take_steps(mortal(steps, after(lives)))
                except DeathError:
                    if lives == 40:
                        assert await queue.cancel(goes('mine'))
                else:
                    break
            assert lives > 30
            over.set()
        assert queue._shape.keyed == 4
        assert found == {group: [*range(sent[group])] for group in groups}
        assert (await queue.get_task_state(delayed)).status is torrelque.TaskStatus.DELAYED
        assert [(await shard.get_queue_stats()).tasks for shard in queue.shards] == [0, 0, 1, 0]


class Storm:
    """Tasks that come and go while groups move, and what became of them."""

    def __init__(self, queues: list[Sharded]) -> None:
        self.queues = queues
        self.over = asyncio.Event()
        self.sent = {goes(f's{k}') if k % 2 else stays(f's{k}'): 0 for k in range(6)}
        self.found: dict[str, list[int]] = {group: [] for group in self.sent}
        self.others: dict[str, int] = {}
        """How often each task without a promised order was finished."""
        self.expected: set[str] = set()
        self.taken: dict[str, int] = {}
        """How often each id was taken."""

    async def produce(self, queue: Sharded, group: str) -> None:
        while not self.over.is_set():
            if self.sent[group] % 5 == 4:
                ids = await queue.enqueue_many([('in order', self.sent[group] + k) for k in range(3)], group=group)
                assert len(ids) == 3
                self.sent[group] += 3
            else:
                await queue.enqueue(('in order', self.sent[group]), group=group)
                self.sent[group] += 1
            await asyncio.sleep(random.uniform(0, 0.1))

    async def produce_others(self, queue: Sharded, name: str) -> None:
        """Tasks with a first delay, and some that die."""
        for k in itertools.count():
            if self.over.is_set():
                return
            text = f'{name}-{k}'
            self.expected.add(text)
            delay = random.choice((None, 0.01, 0.05, 0.5))
            await queue.enqueue((random.choice(('dies', 'lives')), text), group=goes(f'{name}{k % 3}'), delay=delay)
            await asyncio.sleep(random.uniform(0, 0.1))

    async def produce_ids(self, queue: Sharded) -> None:
        for k in range(1000):
            if self.over.is_set():
                return
            task_id = f'id-{k}'
            with contextlib.suppress(torrelque.DuplicateError):
                await queue.enqueue(('own', task_id), task_id=task_id)
                self.taken[task_id] = self.taken.get(task_id, 0) + 1
                self.expected.add(task_id)
            await asyncio.sleep(random.uniform(0, 0.1))

    async def consume(self, queue: Sharded) -> None:
        while not (self.over.is_set() and self.is_empty()):
            with contextlib.suppress(torrelque.TimeoutError):
                for task_id, (kind, what) in await queue.dequeue_many(3, 0.05):
                    if kind == 'in order':
                        if random.random() < 0.05:
                            assert await queue.requeue(task_id, random.choice((None, 0.01)))
                            continue
                        assert isinstance(task_id.group, str)
                        self.found[task_id.group].append(what)
                    elif kind == 'dies' and task_id.attempt == 1:
                        assert await queue.bury(task_id)
                        continue
                    else:
                        self.others[what] = self.others.get(what, 0) + 1
                    kept = 1000 if kind == 'own' else None
                    assert await queue.release(task_id, result=kept and 'done', result_ttl=kept)

    async def redrive(self, queue: Sharded) -> None:
        while not (self.over.is_set() and self.is_empty()):
            await queue.redrive()
            await asyncio.sleep(random.uniform(0, 0.1))

    def is_empty(self) -> bool:
        return sum(map(len, self.found.values())) >= sum(self.sent.values()) and {*self.others} >= self.expected


@pytest.mark.long
@pytest.mark.parametrize('seed', range(2))
async def test_whoever_moves_groups_may_be_killed_at_any_time(server: RealServer, seed: int) -> None:
    random.seed(seed)
    async with contextlib.AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(open_one(server, 2)) for _ in range(4)]
        for queue in queues:
            await queue.ready()
        # One learns of new maps by being refused alone.
        await deafen(queues[1])
        storm = Storm(queues)
        for group in storm.sent:
            await queues[0].set_limit(group, concurrency=1)
        async with asyncio.TaskGroup() as tasks:
            for k, group in enumerate(storm.sent):
                tasks.create_task(storm.produce(queues[k % 3], group))
            for k in range(3):
                tasks.create_task(storm.produce_others(queues[k], f'other{k}'))
                tasks.create_task(storm.produce_ids(queues[k]))
                tasks.create_task(storm.consume(queues[k]))
            tasks.create_task(storm.redrive(queues[1]))
            tasks.create_task(storm.redrive(queues[0]))
            for life in range(25):
                task = asyncio.ensure_future(random.choice(queues).grow(4, keyed=True))
                await asyncio.wait([task], timeout=random.uniform(0, 0.006 * life))
                task.cancel()
                await asyncio.wait([task])
                if not task.cancelled() and (error := task.exception()) is not None:
                    # Two have written a map at the same time.
                    assert 'somebody else' in str(error)
            # At the end, one that lives waits for the groups; the ids are kept for longer than that.
            left = 'groups'
            while left.startswith('groups'):
                with pytest.raises(torrelque.TimeoutError) as caught:
                    await queues[3].grow(4, keyed=True, timeout=1)
                left = str(caught.value).partition(': ')[2]
            assert left.startswith('ids that have moved')
            await asyncio.sleep(0.5)
            storm.over.set()
        assert storm.found == {group: [*range(count)] for group, count in storm.sent.items()}
        assert {*storm.others.values()} == {1}
        assert {*storm.taken.values()} == {1}
        assert {*storm.others} == storm.expected
        assert (await queues[3].get_queue_stats()).tasks == 0
        assert [await shard.command('EXISTS', shard.keys['stage']) for shard in queues[3].shards] == [0] * 4
