"""Flows on a Cluster, whose slots move meanwhile, behind a Sentinel, and with other kinds of clients."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

import torrelque.sync
from support.servers import RealServer
from support.topology import Cluster, Sentinel
from torrelque import Node, Torrelque, TorrelqueTaskStatus as Status


async def live(queue: Torrelque, count: int = 300) -> None:
    """All that there is of flows: a large one, results, named values, tasks that are added, joined, dead, cancelled."""
    wide = [Node(f'{number}', number, {'first': 'then'}) for number in range(count)]
    nodes = [Node('first', 0), *wide, Node('last', 1, {node.name: 'then' for node in wide}), Node('odd', 2)]
    await queue.enqueue_flow(nodes, flow_id='f', out=['last', 'first'], task='seen', name='mine')
    await queue.enqueue('behind', task_id='behind', depends_on=['f'])
    wait = asyncio.ensure_future(queue.wait('f', timeout=120))
    done: set[str] = set()
    while 'behind' not in done:
        for task_id, _ in await queue.dequeue_many(100, 60):
            if task_id == 'f.first':
                await queue.put_value('key', 'value', by=task_id)
                assert await queue.add_to_flow([Node('added', 5, before=['last'])], by=task_id) == ['f.added']
            if task_id == 'f.odd' and 'f.odd' not in done:
                assert await queue.bury(task_id, error='why')
                assert await queue.redrive('f') == 1
            else:
                assert await queue.release(task_id, result=str(task_id))
            done.add(str(task_id))
    state = await wait
    assert (state.status, state.result, state.total) == (Status.COMPLETED, ['f.last', 'f.first'], count + 4)
    assert len(done) == count + 5
    outcomes = await queue.get_results('f', *(f'f.{node.name}' for node in wide))
    assert [outcome.result for outcome in outcomes] == [outcome.id for outcome in outcomes]
    assert {outcome.how async for outcome in queue.get_outcomes('f')} == {'completed'}
    assert await queue.get_value('f', 'key') == 'value'
    assert (await queue.get_flow('f')).task == 'seen' and (await queue.get_task_state('f.odd')).result == 'f.odd'
    await queue.enqueue_flow(nodes, flow_id='other')
    assert await queue.cancel('other')
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize('decode_responses', [False, True])
@pytest.mark.parametrize('protocol', [2, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.first_server
async def test_protocols_and_decoding(server: RealServer, protocol: int, decode_responses: bool) -> None:
    async with server.client(protocol=protocol, decode_responses=decode_responses) as client:
        async with Torrelque(client, queue='any') as queue:
            await live(queue, 20)


@pytest.mark.long
async def test_a_cluster(cluster: Cluster) -> None:
    async with cluster.client() as client:
        for name in ('one', 'two', 'three'):
            async with Torrelque(client, queue=name) as queue:
                await live(queue)


# By redis-py 6 itself.
@pytest.mark.filterwarnings('ignore:Call to .__init__. function with deprecated usage:DeprecationWarning')
@pytest.mark.long
async def test_a_cluster_of_the_synchronous_queue(cluster: Cluster) -> None:
    def work() -> None:
        with redis.RedisCluster(host='127.0.0.1', port=cluster.ports[0]) as client:
            with torrelque.sync.Torrelque(client, queue='sync') as queue:
                nodes = [Node('a', 1), *(Node(f'{number}', number, {'a': 'then'}) for number in range(300))]
                queue.enqueue_flow(nodes, flow_id='f', out='a')
                left = 301
                while left:
                    for task_id, task in queue.dequeue(60, max_tasks=50):
                        assert queue.release(task_id, result=task)
                        left -= 1
                assert queue.get_task_state('f').result == 1
                assert len([*queue.get_outcomes('f')]) == 301

    await asyncio.to_thread(work)


@pytest.mark.long
async def test_a_slot_that_moves_harms_no_flow(cluster: Cluster) -> None:
    async with cluster.client() as client, Torrelque(client, queue='moving') as queue:
        slot = cluster.slot_of(queue.keys['pending'])
        over = asyncio.Event()

        async def move() -> int:
            count = 0
            while not over.is_set():
                to = (cluster.owner_of(slot) + 1) % 3
                await asyncio.to_thread(cluster.begin_move, slot, to)
                await asyncio.sleep(0.05)
                await asyncio.to_thread(cluster.finish_move, slot, to)
                await asyncio.sleep(0.2)
                count += 1
            return count

        moving = asyncio.ensure_future(move())
        try:
            await live(queue)
        finally:
            over.set()
        assert await moving


@pytest.mark.parametrize('name', ['needs', 'edges', 'done', 'task'])
@pytest.mark.long
async def test_a_half_moved_flow_is_not_taken_for_a_damaged_one(cluster: Cluster, name: str) -> None:
    async with cluster.client() as client, Torrelque(client, queue='half') as queue:
        nodes = [Node('a', 1), Node('b', 2), Node('c', 3, {'a': 'then', 'b': 'then'}), Node('d', 4, {'c': 'end'})]
        await queue.enqueue_flow(nodes, flow_id='f')
        held = {str(task_id): task_id for task_id, _ in await queue.dequeue_many(2, 60)}
        assert await queue.release(held['f.a'], result='a')
        slot = cluster.slot_of(queue.keys['pending'])
        to = (cluster.owner_of(slot) + 1) % 3
        await asyncio.to_thread(lambda: cluster.begin_move(slot, to, keys=[f'{queue.keys[name]}:f']))
        calls: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(call)
            for call in (queue.release(held['f.b']), queue.get_results('f', 'f.a'), queue.get_task_state('f'))
        ]
        await asyncio.sleep(0.3)
        assert not calls[0].done()
        await asyncio.to_thread(cluster.finish_move, slot, to)
        released, outcomes, state = await asyncio.gather(*calls)
        assert released and outcomes[0].result == 'a' and state.total == 4
        for task in ('c', 'd'):
            task_id, _ = await queue.dequeue(60)
            assert task_id == f'f.{task}' and await queue.release(task_id)
        assert (await queue.get_task_state('f')).status is Status.COMPLETED


@pytest.mark.first_server
@pytest.mark.long
async def test_a_failover_is_survived(sentinel: Sentinel) -> None:
    client: Any = sentinel.master_for()
    async with Torrelque(client) as queue:
        nodes = [Node('a', 1), *(Node(f'{number}', number, {'a': 'then'}) for number in range(300))]
        await queue.enqueue_flow([*nodes, Node('z', 1, {node.name: 'then' for node in nodes})], flow_id='f', out='z')
        wait = asyncio.ensure_future(queue.wait('f', timeout=120))
        task_id, _ = await queue.dequeue(60)
        assert await queue.release(task_id, result='a')
        await client.wait(1, 1000)
        await asyncio.to_thread(sentinel.kill_primary)
        left = 301
        while left:
            for task_id, task in await queue.dequeue_many(50, 60):
                assert await queue.release(task_id, result=task)
                left -= 1
        assert (await wait).result == 1
        assert len([outcome async for outcome in queue.get_outcomes('f')]) == 302
    await client.aclose()
