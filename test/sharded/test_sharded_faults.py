"""A server that goes: what is on it alone stands still, all else goes on, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import torrelque
from support.bounding import Bound
from support.servers import MakeServer, RealServer
from support.sharding import drain, group_of, numbers_of, open_cluster, open_servers
from support.topology import Cluster
from torrelque.sharded import Sharded, common, finding, inside, operators

pytestmark = [pytest.mark.first_server, pytest.mark.long]


@pytest.fixture
def trio(make_server: MakeServer, tmp_path: Path) -> list[RealServer]:
    """Three servers of the test's own that keep all that they have acknowledged when they are killed."""
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    return [make_server({'appendfsync': 'always'}, directory=folder) for folder in folders]


@pytest.fixture
async def queue(trio: list[RealServer], hasty: None, bound: Bound) -> AsyncIterator[Sharded]:
    bound(repeat=2.0)
    async with open_servers(trio) as queue:
        await queue.ready()
        # So that all servers were there once.
        await queue.sweep()
        yield queue


async def enqueue_some(queue: Sharded, count: int, shards: set[int]) -> list[torrelque.TaskId]:
    """Enqueue plain tasks one after the other; all go to these shards."""
    task_ids = [await queue.enqueue(k) for k in range(count)]
    assert {*numbers_of(queue, task_ids)} <= shards
    return task_ids


async def until_all_are_given_tasks(queue: Sharded) -> None:
    while {*numbers_of(queue, [await queue.enqueue('more') for _ in range(30)])} != {0, 1, 2}:
        await asyncio.sleep(0.01)


async def test_plain_tasks_go_on_where_a_server_is_killed_and_come_back_to_it(
    queue: Sharded, trio: list[RealServer]
) -> None:
    before = await queue.enqueue('before', group=group_of(1, 3))
    trio[1].kill()
    # The link may not know yet: what is sent to it then waits and is told, and nothing of it is sent elsewhere.
    done = await asyncio.gather(*(queue.enqueue(k) for k in range(20)), return_exceptions=True)
    assert {type(one) for one in done} <= {torrelque.TaskId, torrelque.ConnectionError}
    await enqueue_some(queue, 100, {0, 2})
    assert len(await queue.enqueue_many(range(600))) == 600
    assert [stats is None for stats in await queue.stats_of_shards()] == [False, True, False]
    for verb in (
        lambda: queue.enqueue('a', group=group_of(1, 3)), lambda: queue.set_limit(concurrency=9),
        lambda: queue.get_queue_stats(), lambda: queue.get_task_state(before),
    ):  # fmt: skip
        with pytest.raises(torrelque.ConnectionError):
            await verb()
    # What belongs to the others goes on.
    await queue.enqueue('a', group=group_of(0, 3))
    await queue.pause(group_of(2, 3))
    assert len(await queue.dequeue_many(10, 20)) > 0
    trio[1].start()
    await until_all_are_given_tasks(queue)
    assert (await queue.get_task_state(before)).status is torrelque.TaskStatus.PENDING


@pytest.mark.parametrize('stop', ['kill', 'pause'])
async def test_plain_tasks_go_elsewhere_from_the_first_on_where_a_server_was_there_only_for_the_map(
    trio: list[RealServer], hasty: None, bound: Bound, stop: str
) -> None:
    # Whoever is sent to it stays there.
    bound(repeat=1e6)
    async with open_servers(trio) as queue:
        await queue.ready()
        getattr(trio[1], stop)()
        try:
            done = await asyncio.gather(*(queue.enqueue(k) for k in range(300)))
            assert {*numbers_of(queue, done)} <= {0, 2}
            assert len(await queue.enqueue_many(range(600))) == 600
        finally:
            trio[1].resume() if stop == 'pause' else trio[1].start()
        await until_all_are_given_tasks(queue)


async def test_plain_tasks_do_not_go_to_a_primary_that_is_back_before_it_serves_its_slots(
    cluster: Cluster, hasty: None, bound: Bound, caplog: pytest.LogCaptureFixture
) -> None:
    bound(repeat=0.5)
    async with open_cluster(cluster) as queue:
        await queue.ready()
        await queue.sweep()
        with cluster.without_slot(cluster.slot_of(queue.shards[1].name)) as primary:
            primary.client_kill_filter(_type='normal')
            while inside.is_up(queue.shards[1]):
                await asyncio.sleep(0)
            await enqueue_some(queue, 50, {0, 2})
            while not inside.is_up(queue.shards[1]):
                await asyncio.sleep(0)
            # It answers again.
            await enqueue_some(queue, 50, {0, 2})
        assert 'tasks go to other shards' not in caplog.text
        await until_all_are_given_tasks(queue)


async def test_a_call_for_all_shards_says_where_it_was_not_done(queue: Sharded, trio: list[RealServer]) -> None:
    trio[2].kill()
    with pytest.raises(torrelque.ConnectionError, match=r"queue 'email': it is done at 2 of 3 shards, and not at 2: "):
        await queue.pause()
    assert [(await shard.get_group_stats('a')).paused for shard in queue.shards[:2]] == [True, True]
    trio[2].start()
    await queue.pause()
    assert (await queue.shards[2].get_group_stats('a')).paused


async def test_what_is_for_all_shards_does_not_wait_for_one_that_is_away(
    queue: Sharded, trio: list[RealServer], bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(repeat=1e6)
    monkeypatch.setattr(common, 'PATIENCE', 0.05)
    monkeypatch.setattr(operators, 'PATIENCE', 0.05)
    for number in range(3):
        await queue.enqueue(number, group=group_of(number, 3))
        await queue.bury((await queue.dequeue(20))[0])
    trio[1].pause()
    try:
        for verb in (queue.pause, queue.resume, queue.sweep, queue.redrive, queue.get_queue_stats):
            with pytest.raises(torrelque.ConnectionError, match=r'done at 2 of 3 shards, and not at 1: .*no answer in'):
                await verb()
        stats = await queue.stats_of_shards()
        assert [each and each.pending for each in stats] == [1, None, 1]
    finally:
        trio[1].resume()
    await queue.pause()
    # One that is there is waited for, however long it takes.
    done = asyncio.Event()

    async def take_long(shard: torrelque.Torrelque) -> bool:
        return await done.wait()

    waiting = asyncio.ensure_future(queue._everywhere(take_long))
    assert not (await asyncio.wait([waiting], timeout=0.3))[0]
    done.set()
    assert await waiting == [True] * 3


async def test_another_primary_tells_that_a_queue_has_shards_where_that_with_the_map_is_away(
    cluster: Cluster, hasty: None, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(repeat=1e6)
    for module in (common, finding):
        monkeypatch.setattr(module, 'PATIENCE', 0.3)
    async with cluster.client() as client:
        for count in (3, 12):
            name = f'email-{count}'
            one = torrelque.Torrelque(client, queue=name)
            async with Sharded(client, queue=name, shards=count) as queue, one:
                await queue.ready()
                home = cluster.nodes[cluster.owner_of(cluster.slot_of(one.keys['shards']))]
                home.pause()
                try:
                    found = await finding.find_map(one)
                finally:
                    home.resume()
                assert found is not None and len(found['tags']) == count
        async with torrelque.Torrelque(client, queue='mail') as one:
            assert await finding.find_map(one) is None and await one.command('EXISTS', one.keys['shards']) == 0


async def test_plain_tasks_go_on_where_a_server_hangs(queue: Sharded, trio: list[RealServer]) -> None:
    trio[0].pause()
    try:
        caught = [asyncio.ensure_future(queue.enqueue(k)) for k in range(3)]
        await asyncio.sleep(0)
        # Those that it was given before anybody could know wait; a producer that is not caught goes on.
        while len([one for one in caught if one.done()]) + 1 < len(caught):
            caught += [asyncio.ensure_future(queue.enqueue('a'))]
            await asyncio.sleep(0.005)
            if len(caught) > 200:
                break
        gone_on = [one.result() for one in caught if one.done() and one.exception() is None]
        assert {*numbers_of(queue, gone_on)} <= {1, 2}
        for _ in range(50):
            one = asyncio.ensure_future(queue.enqueue('b'))
            await asyncio.wait([one], timeout=20)
            assert one.done()
    finally:
        trio[0].resume()
    await asyncio.gather(*caught, return_exceptions=True)
    await until_all_are_given_tasks(queue)


async def test_a_call_that_was_given_up_leaves_the_next_ones_to_others(queue: Sharded, trio: list[RealServer]) -> None:
    trio[0].pause()
    try:
        given_up = 0
        for k in range(30):
            # A server that hangs is found out by the link much later.
            try:
                await asyncio.wait_for(queue.enqueue(k), 0.1)
            except asyncio.TimeoutError:
                given_up += 1
        assert given_up <= 1
    finally:
        trio[0].resume()
    await until_all_are_given_tasks(queue)


async def test_a_waiting_consumer_is_given_tasks_of_the_others_and_of_one_that_is_back(
    queue: Sharded, trio: list[RealServer]
) -> None:
    lost = await queue.enqueue('kept', group=group_of(1, 3))
    trio[1].kill()
    waiting = asyncio.ensure_future(queue.dequeue())
    task_id = await queue.enqueue('a', group=group_of(0, 3))
    found, _ = await waiting
    assert found == task_id and await queue.release(found)
    waiting = asyncio.ensure_future(queue.dequeue())
    await asyncio.sleep(0.2)
    trio[1].start()
    found, task = await waiting
    assert (found, task) == (lost, 'kept')
    assert await queue.release(found)


async def test_tasks_of_a_call_for_many_are_settled_once_where_one_server_is_away(
    queue: Sharded, trio: list[RealServer], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        await queue.enqueue(number, group=group_of(number, 3))
    taken = [(await queue.dequeue(20))[0] for _ in range(3)]
    trio[1].kill()
    with pytest.raises(torrelque.ConnectionError):
        await queue.release_many(taken)
    trio[1].start()
    # Those that were done are told as done, not as tasks of somebody else.
    assert await queue.release_many(taken) == [True, True, True]
    assert await queue.release_many(taken) == [False, False, False]
    assert (await queue.get_queue_stats()).tasks == 0
    assert caplog.text.count('its caller does not hold it') == 3


async def test_nothing_is_lost_while_a_server_goes_and_comes(queue: Sharded, trio: list[RealServer]) -> None:
    acknowledged: set[str] = set()
    doubtful: set[Any] = set()
    done: list[Any] = []
    strict = {group_of(number, 3): list[int]() for number in range(3)}
    for group in strict:
        await queue.set_limit(group, concurrency=1)
    over = False

    async def produce(start: int) -> None:
        k = start
        while not over:
            k += 100
            group = [None, *strict][k // 100 % 4]
            name = f'{group}:{k}'
            try:
                await queue.enqueue([group, k], group=group)
                acknowledged.add(name)
            except torrelque.ConnectionError:
                doubtful.add(name)

    async def consume() -> None:
        while True:
            task_id, (group, k) = await queue.dequeue()
            done.append(f'{group}:{k}')
            if group is not None and k % 100 == 0:
                strict[group].append(k)
            while True:
                try:
                    await queue.release(task_id)
                    break
                except torrelque.ConnectionError:
                    pass

    producers = [asyncio.ensure_future(produce(k)) for k in range(8)]
    consumers = [asyncio.ensure_future(consume()) for _ in range(8)]
    await asyncio.sleep(0.5)
    trio[2].kill()
    await asyncio.sleep(0.5)
    trio[2].start()
    await asyncio.sleep(0.5)
    over = True
    await asyncio.gather(*producers)
    while (await queue.get_queue_stats()).tasks:
        await asyncio.sleep(0.01)
    for consumer in consumers:
        consumer.cancel()
    await asyncio.wait(consumers)
    assert len(done) == len({*done})
    assert acknowledged <= {*done} <= acknowledged | doubtful
    assert all(numbers == sorted(numbers) for numbers in strict.values())


async def test_draining_goes_on_beside_a_server_that_is_away(queue: Sharded, trio: list[RealServer]) -> None:
    await queue.enqueue_many(range(1500))
    await queue.shards[0].get_queue_stats()
    left = sum(stats.tasks for number, stats in enumerate(await queue.stats_of_shards()) if stats and number != 1)
    trio[1].kill()
    while left:
        some = await queue.dequeue_many(100, 20)
        assert all(await queue.release_many([task_id for task_id, _ in some]))
        left -= len(some)
    trio[1].start()
    assert await drain(queue)


async def test_nothing_is_lost_while_the_slot_of_each_shard_moves(cluster: Cluster) -> None:
    async with open_cluster(cluster, 6) as queue:
        await queue.ready()
        for number in range(6):
            await queue.set_limit(group_of(number, 6), concurrency=1)
        enqueued, done, over = set[int](), list[int](), False
        strict = {group_of(number, 6): list[int]() for number in range(6)}

        async def produce(number: int) -> None:
            for k in range(number, 100_000, 12):
                if over:
                    return
                await queue.enqueue(k, group=group_of(number, 6) if number < 6 else None)
                enqueued.add(k)

        async def consume() -> None:
            while True:
                task_id, k = await queue.dequeue()
                if task_id.group is not None:
                    strict[task_id.group].append(k)
                done.append(k)
                assert await queue.release(task_id)

        producers = [asyncio.ensure_future(produce(number)) for number in range(12)]
        consumers = [asyncio.ensure_future(consume()) for _ in range(6)]
        for shard in queue.shards:
            slot = cluster.slot_of(shard.name)
            await asyncio.to_thread(cluster.move_slot, slot, (cluster.owner_of(slot) + 1) % 3)
        over = True
        await asyncio.gather(*producers)
        while (await queue.get_queue_stats()).tasks:
            await asyncio.sleep(0.01)
        for consumer in consumers:
            consumer.cancel()
        await asyncio.wait(consumers)
        assert sorted(done) == sorted(enqueued)
        assert all(numbers == sorted(numbers) and numbers for numbers in strict.values())
