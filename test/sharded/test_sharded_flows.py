"""Flows in a queue with shards: each in one, its tasks with groups where their groups are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import torrelque
from support.sharding import group_of, numbers_of
from torrelque import TorrelqueNode as Node
from torrelque.sharded import Sharded

pytestmark = pytest.mark.first_server


async def work(queue: Any, count: int) -> list[Any]:
    """Take and finish so many tasks; what they were, in their order."""
    found = []
    for _ in range(count):
        task_id, task = await queue.dequeue(20)
        found.append(task)
        assert await queue.release(task_id, result=task)
    return found


@pytest.mark.parametrize('flow_id', [None, 'own'])
async def test_a_flow_lives_in_one_shard_by_its_id(sharded: Sharded, flow_id: str | None) -> None:
    nodes = [Node('a', 1), Node('b', 2, {'a': 'then'}), Node('c', 3, {'b': 'then'})]
    made = await sharded.enqueue_flow(nodes, flow_id=flow_id, out=['c'], name='three')
    assert {(await sharded.get_task_state(f'{made}.{name}')).flow for name in 'abc'} == {made}
    assert await work(sharded, 3) == [1, 2, 3]
    assert (await sharded.wait(made, timeout=20)).result == 3
    assert (await sharded.get_flow(made)).name == 'three'
    assert [one.result for one in await sharded.get_results(made, f'{made}.a', f'{made}.b')] == [1, 2]
    assert {one.id async for one in sharded.get_outcomes(made)} == {f'{made}.{name}' for name in 'abc'}
    if flow_id is not None:
        with pytest.raises(torrelque.DuplicateError):
            await sharded.enqueue_flow(nodes, flow_id=flow_id)
    assert {number for number, stats in enumerate(await sharded.stats_of_shards()) if stats and stats.tasks} == set()


async def test_tasks_of_a_flow_with_groups_are_worked_on_where_their_groups_are(sharded: Sharded) -> None:
    await sharded.ready()
    if isinstance(sharded.client, list) and len(sharded.client) > 1:
        with pytest.raises(torrelque.ValueError, match='would be worked on by another server than that of its flow'):
            await sharded.enqueue_flow([Node(f'n{k}', k, group=group_of(k, 3)) for k in range(3)])
        return
    groups = [group_of(number, 3) for number in range(3)]
    for group in groups:
        await sharded.set_limit(group, concurrency=1)
    nodes = [Node(f'n{k}', k, group=groups[k % 3]) for k in range(9)]
    made = await sharded.enqueue_flow([*nodes, Node('last', 'x', {f'n{k}': 'then' for k in range(9)})], out=['last'])
    for group in groups:
        while (await sharded.get_group_stats(group)).waiting < 3:
            await asyncio.sleep(0.005)
    for left in reversed(range(9)):
        task_id, task = await sharded.dequeue(20)
        assert numbers_of(sharded, [task_id]) == [task % 3]
        assert task_id.group == groups[task % 3]
        if not left:
            [added] = await sharded.add_to_flow([Node('more', 'y', before=['last'])], by=task_id)
            await sharded.put_value('key', [1], by=task_id)
        assert await sharded.release(task_id)
    assert await sharded.get_value(made, 'key') == [1]
    assert await work(sharded, 2) == ['y', 'x']
    assert (await sharded.get_task_state(added)).status is torrelque.TaskStatus.COMPLETED
    assert (await sharded.wait(made, timeout=20)).result == 'x'


async def test_a_task_is_finished_by_others_in_its_shard(sharded: Sharded) -> None:
    task_id = await sharded.enqueue('first', task_id='own')
    found, _ = await sharded.dequeue(20)
    assert await sharded.graft([Node('a', 1), Node('b', 2, {'a': 'then'})], by=found, last='b')
    assert await work(sharded, 2) == [1, 2]
    assert (await sharded.wait(task_id, timeout=20)).result == 2


async def test_a_task_may_wait_for_tasks_of_one_shard(sharded: Sharded) -> None:
    first = await sharded.enqueue('first')
    second = await sharded.enqueue('second', depends_on=[first])
    third = await sharded.enqueue('third', depends_on=[second, first], task_id='own')
    assert len({*numbers_of(sharded, [first, second])}) == 1
    assert await work(sharded, 3) == ['first', 'second', 'third']
    assert third == 'own'
    assert await sharded.enqueue('alone', depends_on=[])
    with pytest.raises(torrelque.LookupError):
        await sharded.enqueue('never', depends_on=['unknown'])
    own = [str(await sharded.enqueue('a', group=group_of(number, 3))) for number in range(2)]
    with pytest.raises(torrelque.ValueError, match='the tasks of depends_on are in different shards'):
        await sharded.enqueue('b', depends_on=own)
    with pytest.raises(torrelque.ValueError, match='is in another shard than the tasks of depends_on'):
        await sharded.enqueue('b', depends_on=own[:1], group=group_of(2, 3))


async def test_cancelling_a_flow_takes_back_what_is_in_other_shards(sharded: Sharded) -> None:
    await sharded.ready()
    if isinstance(sharded.client, list) and len(sharded.client) > 1:
        pytest.skip('its tasks are on one server')
    made = await sharded.enqueue_flow([Node(f'n{k}', k, group=group_of(k, 3)) for k in range(3)])
    assert await sharded.cancel(made)
    assert (await sharded.get_task_state(made)).status is torrelque.TaskStatus.CANCELLED
    while (await sharded.get_queue_stats()).tasks:
        await sharded.sweep()


async def test_a_sibling_has_shards_too_and_a_flow_may_use_it(sharded: Sharded) -> None:
    other = sharded.sibling('slow')
    assert other is sharded.sibling('slow')
    await other.ready()
    await sharded.ready()
    assert len(other.shards) == 3
    assert sharded.sibling(sharded.shards[2].name) is sharded.shards[2]
    made = await sharded.enqueue_flow([Node('a', 1, queue='slow'), Node('b', 2, {'a': 'then'})], out=['b'])
    assert await work(other, 1) == [1]
    # The news is carried by whoever waits there, or sweeps.
    await other.sweep()
    assert await work(sharded, 1) == [2]
    assert (await sharded.wait(made, timeout=20)).result == 2
