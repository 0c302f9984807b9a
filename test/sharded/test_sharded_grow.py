"""More shards for plain tasks, and fewer, while all goes on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.moving import until
from support.servers import MakeServer, RealServer
from support.sharding import NAME, numbers_of, open_cluster, open_one, open_servers, open_three
from support.topology import Cluster
from torrelque.sharded import Sharded, generations, grow, sync as sharded_sync

pytestmark = pytest.mark.first_server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the map does so often, so that tests need not wait for half a minute."""
    monkeypatch.setattr(grow, 'EVERY', 0.1)
    monkeypatch.setattr(grow, 'KNOWN', 0.3)
    monkeypatch.setattr(grow, 'LOOK', 0.05)


def used(queue: Sharded) -> int:
    """So many shards are given plain tasks."""
    return queue._chooser.count


async def test_a_queue_that_has_grown_has_all_its_tasks_and_new_shards_are_used(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    async with open_one(server, 3) as queue, open_one(server, 3) as other:
        plain = [await queue.enqueue(k) for k in range(9)]
        grouped = await queue.enqueue('g', group='a')
        own = await queue.enqueue('o', task_id='mine')
        await other.ready()
        await queue.grow(6)
        assert len(queue.shards) == 6
        assert used(queue) == 6
        await until(lambda: used(other) == 6)
        # What was there is found, by either, and stays where it was.
        for one in (queue, other):
            assert numbers_of(one, plain) == [int(task_id[-3:]) for task_id in plain]
            states = [(await one.get_task_state(task_id)).status for task_id in (*plain, grouped, own)]
            assert {*states} == {torrelque.TaskStatus.PENDING}
            assert one.shards.index(one.shard_of(group='a')) < 3
            assert one.shards.index(one.shard_of('mine')) < 3
        with pytest.raises(torrelque.DuplicateError):
            await other.enqueue('again', task_id='mine')
        # Another new map may come meanwhile, with which the order begins anew.
        more = [await other.enqueue_many([k] * 10) for k in range(18)]
        assert {number for ids in more for number in numbers_of(other, ids)} == {*range(6)}
        left = 9 + 2 + 180
        while left:
            some = await queue.dequeue_many(250, 20)
            assert all(await queue.release_many([task_id for task_id, _ in some]))
            left -= len(some)
        assert (await other.get_queue_stats()).tasks == 0
        found = json.loads(await client.get('{email}:shards') or b'')
        assert (found['generation'], found['keyed'], found['before'], len(found['tags'])) == (3, 3, [3], 6)
        for number, shard in enumerate(other.shards):
            copy = json.loads(await client.get(shard.keys['shards']) or b'')
            assert (copy['generation'], copy['shard'], copy['tags']) == (3, number, found['tags'])


async def test_tasks_go_into_new_shards_when_everybody_takes_from_them(
    server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grow, 'KNOWN', 1000.0)
    async with open_one(server, 2) as queue, open_one(server, 2) as other:
        await other.ready()
        growing = asyncio.ensure_future(queue.grow(4))
        await until(lambda: len(other.shards) == 4)
        assert (used(other), used(queue)) == (2, 2)
        # One that begins now does not know how long ago it was.
        async with open_one(server, 2) as late:
            ids = [task_id for k in range(4) for task_id in await late.enqueue_many([k] * 250)]
            assert {*numbers_of(late, ids)} == {0, 1}
        growing.cancel()


async def test_who_waits_takes_from_new_shards(server: RealServer) -> None:
    async with open_one(server, 2) as queue, open_one(server, 2) as other:
        await other.ready()
        waiting = [asyncio.ensure_future(other.dequeue(60)) for _ in range(2)]
        await asyncio.sleep(0)
        await queue.grow(4)
        await until(lambda: len(other.shards) == 4)
        for number in (2, 3):
            await queue.shards[number].enqueue(number)
        got = await asyncio.gather(*waiting)
        assert sorted(task for _, task in got) == [2, 3]
        assert numbers_of(other, [task_id for task_id, _ in got]) == [task for _, task in got]
        assert all(await other.release_many([task_id for task_id, _ in got]))


async def test_a_growth_that_has_failed_on_the_way_is_gone_on_with(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    async with open_one(server, 2) as queue, open_one(server, 2) as other:
        await queue.ready()
        await other.ready()
        # It has written the map, and nothing else.
        shape = generations.with_more(NAME, queue._shape, 4)
        assert await queue._drive(generations.write(NAME, shape)) == shape
        assert len(other.shards) == 2
        await other.grow(4)
        await until(lambda: used(queue) == 4)
        assert json.loads(await client.get('{email}:shards') or b'')['generation'] == 3
        await other.grow(4)
        assert json.loads(await client.get('{email}:shards') or b'')['generation'] == 3


async def test_whoever_reads_a_newer_map_writes_the_copies_that_are_missing(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    async with open_one(server, 2) as queue:
        await queue.ready()
        shape = generations.with_more(NAME, queue._shape, 4)
        await client.set(queue.shards[0].keys['shards'], shape.text(shard=0))
        await until(lambda: len(queue.shards) == 4)
        while not await client.exists(queue.shards[3].keys['shards']):
            await asyncio.sleep(0.01)
        assert json.loads(await client.get(queue.shards[3].keys['shards']) or b'')['shard'] == 3


async def test_of_two_who_grow_it_at_once_one_is_told(server: RealServer) -> None:
    async with open_one(server, 2) as queue, open_one(server, 2) as other:
        await queue.ready()
        await other.ready()
        done = await asyncio.gather(queue.grow(4), other.grow(6), return_exceptions=True)
        failed = [exc for exc in done if exc is not None]
        assert len(failed) == 1
        assert isinstance(failed[0], torrelque.Error)
        await until(lambda: len(queue.shards) == len(other.shards) > 2)


async def test_new_shards_are_paused_and_limited_as_the_others(server: RealServer) -> None:
    async with open_one(server, 2) as queue, open_one(server, 2) as other:
        await queue.pause()
        await queue.set_limit(concurrency=3)
        await other.ready()
        growing = asyncio.ensure_future(queue.grow(4))
        await asyncio.sleep(0)
        # It does not know of the others yet.
        await other.set_limit(concurrency=5, rate=(2, 10))
        await growing
        for shard in queue.shards:
            assert (await shard.get_limits())[None] == torrelque.Limit(5, (2, 10))
            await shard.enqueue('x')
            with pytest.raises(torrelque.TimeoutError):
                await shard.dequeue(0)
        assert await queue.resume()
        for _ in range(4):
            await queue.release((await queue.dequeue(20))[0])


async def test_whoever_knows_an_old_map_changes_new_shards_as_well(server: RealServer) -> None:
    async with open_one(server, 2) as queue, open_one(server, 2) as other:
        await other.ready()
        await stand_still(other)
        await queue.grow(4)
        assert len(other.shards) == 2
        await other.pause()
        for shard in queue.shards:
            await shard.enqueue('x')
            with pytest.raises(torrelque.TimeoutError):
                await shard.dequeue(0)


async def stand_still(queue: Sharded) -> None:
    """Have a queue object not come to read the map."""
    while queue._looking is not None and not queue._looking.done():
        await asyncio.sleep(0)
    assert queue._timer is not None
    queue._timer.cancel()


async def test_closed_shards_are_emptied_and_gone(server: RealServer, client: redis.asyncio.Redis) -> None:
    async with open_one(server, 2) as queue, open_one(server, 2) as other:
        await queue.grow(4)
        await other.ready()
        await until(lambda: used(other) == 4)
        ids = [task_id for k in range(12) for task_id in await queue.enqueue_many([k] * 10)]
        assert {*numbers_of(queue, ids)} == {0, 1, 2, 3}
        with pytest.raises(torrelque.TimeoutError, match=r'\d+ tasks are left in the shards that are closing'):
            await queue.shrink(2, timeout=0.1)
        await until(lambda: used(other) == 2)
        more = [task_id for k in range(12) for task_id in await other.enqueue_many([k] * 10)]
        assert {*numbers_of(other, more)} == {0, 1}
        closing = asyncio.ensure_future(queue.shrink(2))
        for _ in range(240):
            task_id, _task = await other.dequeue(20)
            assert await other.release(task_id)
        await closing
        await until(lambda: len(other.shards) == len(queue.shards) == 2)
        found = json.loads(await client.get('{email}:shards') or b'')
        assert (len(found['tags']), found['before']) == (2, [2, 4])
        assert 'closing' not in found
        # And there again, under the same tags.
        await other.grow(4)
        await until(lambda: used(queue) == 4)
        assert [shard.name for shard in queue.shards] == ['{email:0}', '{email:1}', '{email:2}', '{email:3}']


async def test_a_number_that_cannot_be_is_refused(server: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_one(server, 4) as queue:
        for count in (3, 193):
            with pytest.raises(torrelque.ValueError, match=f'shards must be from 4 to 192, not {count}'):
                await queue.grow(count)
        with pytest.raises(torrelque.ValueError, match='from 4, which have the groups and ids, to 3, not 2'):
            await queue.shrink(2)
        await queue.grow(8)
        await queue.shards[5].enqueue('x')
        # Its time is over at once, as for a process that was stopped for so long; it looks all the same.
        monkeypatch.setattr(grow, 'KNOWN', 1e-9)
        with pytest.raises(torrelque.TimeoutError):
            await queue.shrink(4, timeout=0)
        with pytest.raises(torrelque.ValueError, match='shards from 4 on are closing'):
            await queue.grow(12)
    async with open_one(server, 5) as queue:
        with pytest.raises(torrelque.ValueError, match='the queue has 8 shards, not 5'):
            await queue.ready()


def test_a_synchronous_queue_goes_by_the_newest_map(server: RealServer) -> None:
    with server.sync_client() as client, sharded_sync.Sharded(client, queue=NAME, shards=2) as queue:
        ids = [queue.enqueue(k) for k in range(4)]
        taken: list[Any] = []

        def take() -> None:
            with contextlib.suppress(torrelque.Error):
                while True:
                    task_id, task = queue.dequeue()
                    taken.append(task)
                    queue.release(task_id)

        async def write(count: int, closing: bool) -> None:
            async with open_one(server, 2) as other:
                await (other.shrink(count) if closing else other.grow(count))
                if not closing:
                    for number in range(count):
                        await other.shards[number].enqueue(f'new {number}')

        thread = threading.Thread(target=take)
        thread.start()
        asyncio.run(write(4, False))
        until_true(lambda: len(taken) == 8)
        assert {*taken} == {0, 1, 2, 3, 'new 0', 'new 1', 'new 2', 'new 3'}
        until_true(lambda: queue._chooser.count == 4)
        more = [task_id for k in range(12) for task_id in queue.enqueue_many([k] * 10)]
        assert {int(task_id[-3:]) for task_id in (*ids, *more)} == {0, 1, 2, 3}
        until_true(lambda: len(taken) == 128)
        asyncio.run(write(2, True))
        until_true(lambda: len(queue.shards) == 2)
        assert {int(queue.enqueue(k)[-3:]) for k in range(600)} == {0, 1}
        until_true(lambda: len(taken) == 728)
        queue.close()
        thread.join(60)
        assert not thread.is_alive()


def until_true(condition: Callable[[], bool]) -> None:
    """As `until`, in a thread."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_one_who_stood_still_reads_the_map_before_it_enqueues(
    server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_one(server, 2) as queue, open_one(server, 2) as other:
        await queue.grow(4)
        await other.ready()
        await until(lambda: used(other) == 4)
        await stand_still(other)
        await queue.shrink(2)
        assert len(other.shards) == 4
        ids = [task_id for k in range(4) for task_id in await other.enqueue_many([k] * 10)]
        assert {*numbers_of(queue, ids)} <= {0, 1}
        assert len(other.shards) == 2


class Load:
    """Producers and consumers of a queue that is changed meanwhile."""

    def __init__(self, queues: Sequence[Sharded]) -> None:
        self.acknowledged: dict[str, str] = {}
        """Which producer has enqueued it, by the task."""
        self.done: list[tuple[str, int]] = []
        """Task, and shard, in the order of their hand-outs."""
        self.stopped = False
        first, *others = queues
        self._calls = [
            *(asyncio.ensure_future(self._produce(first, f'plain-{k}', None)) for k in range(4)),
            *(asyncio.ensure_future(self._produce(first, f'group-{k}', f'group-{k}')) for k in range(4)),
            *(asyncio.ensure_future(self._consume(queue)) for queue in others for _ in range(8)),
        ]
        self._producers = self._calls[:8]

    async def _produce(self, queue: Sharded, name: str, group: str | None) -> None:
        number = 0
        while not self.stopped:
            task = f'{name} {number}'
            await queue.enqueue(task, group=group, task_id=f'own-{task}' if number % 5 == 4 else None)
            self.acknowledged[task] = name
            number += 1
            await asyncio.sleep(0.002)

    async def _consume(self, queue: Sharded) -> None:
        while True:
            task_id, task = await queue.dequeue()
            self.done.append((task, queue.shards.index(queue.shard_of(task_id))))
            assert await queue.release(task_id)

    async def finish(self) -> None:
        """Nothing is lost, nothing is done twice, and each group was in its order."""
        self.stopped = True
        await asyncio.gather(*self._producers)
        await until(lambda: len(self.done) >= len(self.acknowledged))
        tasks = [task for task, _ in self.done]
        assert sorted(tasks) == sorted(self.acknowledged)
        for name in {*self.acknowledged.values()}:
            own = [int(task.split()[1]) for task in tasks if self.acknowledged[task] == name]
            assert own == sorted(own) if name.startswith('group') else own
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


@pytest.mark.parametrize('where', ['servers', pytest.param('cluster', marks=pytest.mark.long)])
async def test_nothing_is_lost_while_it_grows_and_shrinks(
    where: str, make_server: MakeServer, request: pytest.FixtureRequest
) -> None:
    if where == 'cluster':
        cluster: Cluster = request.getfixturevalue('_shared_cluster')
        cluster.flush()
        opened = functools.partial(open_cluster, cluster, 3)
    else:
        opened = functools.partial(open_servers, [make_server() for _ in range(2)], shards=3)
    async with open_three(opened) as queues:
        for queue in queues:
            for k in range(4):
                await queue.set_limit(f'group-{k}', concurrency=1)
        load = Load(queues)
        await until(lambda: len(load.done) > 50)
        await queues[1].grow(6)
        await until(lambda: {shard for _, shard in load.done} == {*range(6)})
        await queues[2].shrink(3)
        await until(lambda: all(len(queue.shards) == 3 for queue in queues))
        seen = len(load.done)
        await until(lambda: len(load.done) > seen + 50)
        assert {shard for _, shard in load.done[seen:]} <= {0, 1, 2}
        await queues[0].grow(9)
        await until(lambda: {shard for _, shard in load.done[seen:]} == {*range(9)})
        await load.finish()


@pytest.mark.long
async def test_nothing_is_lost_while_slots_of_shards_are_moved(cluster: Cluster) -> None:
    chance = random.Random(1)
    async with open_three(functools.partial(open_cluster, cluster, 6)) as queues:
        for k in range(4):
            await queues[0].set_limit(f'group-{k}', concurrency=1)
        load = Load(queues)
        await until(lambda: len(load.done) > 50)
        for shard in queues[0].shards:
            slot = cluster.slot_of(shard.name)
            to = (await asyncio.to_thread(cluster.owner_of, slot) + 1) % 3
            await asyncio.to_thread(_half, cluster, slot, to, chance)
            seen = len(load.done)
            await until(lambda seen=seen: len(load.done) > seen + 20)
            await asyncio.to_thread(cluster.finish_move, slot, to)
            await until(lambda seen=seen: len(load.done) > seen + 100)
        await load.finish()


def _half(cluster: Cluster, slot: int, to: int, chance: random.Random) -> None:
    """Begin to move a slot, with some of its keys."""
    with cluster.nodes[cluster.owner_of(slot)].sync_client() as link:
        keys = [key.decode() for key in link.execute_command('CLUSTER', 'GETKEYSINSLOT', slot, 1000)]
    cluster.begin_move(slot, to, keys=chance.sample(keys, len(keys) // 2))
