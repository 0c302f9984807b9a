"""Deaths that nobody saw: which are told of, to whom, and until when."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

import torrelque.sync
from support.dying import die_by_lease, die_by_requeue, untold, unwilling
from support.proxy import Proxy, calls_of
from support.servers import MakeServer, RealServer
from support.topology import Cluster
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueDeath, TorrelqueTaskSerialiser, TorrelqueTaskStatus as Status
from torrelque.codec import JSON
from torrelque.protocol.replies import UnreadableError, read_tell
from torrelque.testing import Clock

# Which


@pytest.mark.parametrize(
    ('die', 'error'),
    [
        (die_by_lease, 'its lease ran out, its attempts are used up'),
        (die_by_requeue, 'its attempts are used up'),
    ],
)
@pytest.mark.parametrize('group', [None, 'tenant'])
async def test_a_death_by_used_up_attempts_is_told_of_until_somebody_says_that_it_was(
    client: redis.asyncio.Redis, queue: Torrelque, die: Callable[..., Any], error: str, group: str | None
) -> None:
    task_id = await die(queue, {'a': 1}, group=group)
    (death,) = await queue.take_deaths()
    assert death == TorrelqueDeath(task_id, {'a': 1}, error, None)
    assert (death.id.attempt, death.id.token, death.id.group) == (1, task_id.token, group)
    assert pickle.loads(pickle.dumps(death)).id.token == task_id.token
    assert await queue.touch(death.id) is False
    # Somebody else has it for a minute.
    assert await queue.take_deaths() == []
    clock = Clock(queue)
    await clock.move(59)
    assert await queue.take_deaths() == []
    await clock.move(1)
    assert await queue.take_deaths() == [death]
    await queue.acknowledge_deaths([death.id])
    await clock.move(600)
    assert await queue.take_deaths() == []
    assert (await queue.get_queue_stats()).dead == 1
    assert await queue.cancel(death.id)
    await client.delete(f'{queue.keys["task"]}:{task_id}')
    assert await nothing_left(client, queue)


async def test_who_buries_a_task_knows_of_it(queue: Torrelque) -> None:
    await queue.enqueue(1)
    task_id, _ = await queue.dequeue()
    assert await queue.bury(task_id, error='no')
    assert await queue.take_deaths() == []


async def test_who_buries_a_task_may_have_its_death_told_of_should_he_not_come_to_it(queue: Torrelque) -> None:
    for n in range(2):
        await queue.enqueue(n)
        task_id, _ = await queue.dequeue()
        assert await queue.bury(task_id, error='no', tell_after=60)
    assert await queue.take_deaths() == []
    await queue.acknowledge_deaths([task_id])
    await Clock(queue).move(60)
    assert [(death.task, death.error) for death in await queue.take_deaths()] == [(0, 'no')]


@pytest.mark.parametrize('sync', [False, True])
async def test_a_task_that_could_not_be_read_is_told_of(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, sync: bool
) -> None:
    await queue.enqueue(1)
    await queue.command('HSET', queue.keys['tasks'], b'\xff', b'2')
    await queue.command('HSET', f'{queue.keys["task"]}:'.encode() + b'\xff', 'status', '0', 'timeout', '9')
    await queue.command('LPUSH', queue.keys['pending'], b'\xff')
    serialiser = TorrelqueTaskSerialiser(str, unwilling)
    if sync:
        with server.sync_client() as other:
            consumer = torrelque.sync.Torrelque(other, queue=queue.name, serialiser=serialiser)
            with consumer, pytest.raises(torrelque.TorrelqueTimeoutError):
                consumer.dequeue(0, max_tasks=2)
    else:
        async with Torrelque(client, queue=queue.name, serialiser=serialiser) as async_consumer:
            with pytest.raises(torrelque.TorrelqueTimeoutError):
                await async_consumer.dequeue(0, max_tasks=2)
            while (await queue.get_queue_stats()).dead < 2:
                pass
            deaths = await async_consumer.take_deaths(again_after=0)
            assert [(death.task, repr(death.unreadable)) for death in deaths] == [(None, "ValueError('not mine')")] * 2
    deaths = await queue.take_deaths()
    assert sorted(death.task for death in deaths) == [1, 2]
    assert sorted(death.error for death in deaths) == [
        'the payload cannot be read: UnicodeError: its id is not UTF-8',
        'the payload cannot be read: ValueError: not mine',
    ]
    await queue.acknowledge_deaths([death.id for death in deaths])
    assert not await untold(queue)


@pytest.mark.parametrize('finder', ['claim', 'sweep'])
async def test_a_task_whose_state_was_lost_is_told_of(queue: Torrelque, finder: str) -> None:
    task_id = await queue.enqueue(1)
    if finder == 'sweep':
        taken, _ = await queue.dequeue()
        await queue.command('ZADD', queue.keys['working'], 0, task_id)
    await queue.command('DEL', f'{queue.keys["task"]}:{task_id}')
    if finder == 'sweep':
        await queue.sweep()
    else:
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(0)
    (death,) = await queue.take_deaths()
    assert death == TorrelqueDeath(task_id, 1, 'its state was lost', None)
    assert death.id.attempt is None
    assert await queue.redrive(task_id) == 1
    taken, _ = await queue.dequeue()
    # Its token is no one's who holds the task.
    assert await queue.touch(death.id) is False
    assert await queue.bury(taken, tell_after=0)
    await queue.acknowledge_deaths([death.id])
    assert await untold(queue) == {task_id.encode()}
    await queue.acknowledge_deaths([taken])
    assert not await untold(queue)


@pytest.mark.parametrize('lost', ['payload', 'state', 'state of another kind'])
async def test_a_dead_task_of_which_a_part_was_lost_is_told_of_and_the_others_too(queue: Torrelque, lost: str) -> None:
    await die_by_requeue(queue, 1, task_id='damaged')
    await die_by_requeue(queue, 2, task_id='other')
    if lost == 'payload':
        await queue.command('HDEL', queue.keys['tasks'], 'damaged')
    else:
        await queue.command('DEL', f'{queue.keys["task"]}:damaged')
        if lost != 'state':
            await queue.command('SET', f'{queue.keys["task"]}:damaged', 'x')
    damaged, other = sorted(await queue.take_deaths())
    assert (other.id, other.task) == ('other', 2)
    assert damaged.id == 'damaged'
    if lost == 'payload':
        assert damaged.task is None and 'its payload was lost' in str(damaged.unreadable)
    else:
        assert (damaged.task, damaged.error) == (1, 'nothing is known of it')
    await queue.acknowledge_deaths([damaged.id, other.id])
    assert not await untold(queue)


# Until when


@pytest.mark.parametrize('way', ['redrive', 'redrive all', 'cancel'])
async def test_what_is_not_dead_any_more_is_told_of_no_more(
    client: redis.asyncio.Redis, queue: Torrelque, way: str
) -> None:
    task_id = await die_by_lease(queue)
    if way == 'cancel':
        assert await queue.cancel(task_id)
    else:
        assert await queue.redrive(*[task_id] * (way == 'redrive')) == 1
    assert not await untold(queue)
    assert await queue.take_deaths() == []


@pytest.mark.parametrize('part', ['state', 'both'])
async def test_a_redrive_that_finds_a_damaged_task_leaves_no_note_of_its_death(queue: Torrelque, part: str) -> None:
    task_id = await die_by_lease(queue)
    await queue.command('DEL', f'{queue.keys["task"]}:{task_id}')
    if part == 'both':
        await queue.command('HDEL', queue.keys['tasks'], task_id)
    assert await queue.redrive() == (part == 'state')
    assert not await untold(queue)


async def test_a_note_of_a_task_that_is_not_dead_is_dropped(queue: Torrelque) -> None:
    """A client that does not know of such notes has brought it back."""
    await queue.enqueue(1, task_id='here')
    await queue.command('ZADD', queue.keys['untold'], 0, 'here', 0, 'nowhere')
    await die_by_requeue(queue, 2, task_id='dead', priority=1)
    assert [death.id for death in await queue.take_deaths()] == ['dead']
    assert await untold(queue) == {b'dead'}


async def test_a_later_death_of_the_same_task_is_another(queue: Torrelque) -> None:
    first = await die_by_requeue(queue, task_id='own')
    (death,) = await queue.take_deaths()
    assert await queue.redrive('own') == 1
    second, _ = await queue.dequeue()
    assert await queue.requeue(second)
    # Whoever tells of the first one is late.
    await queue.acknowledge_deaths([death.id])
    assert first.token == death.id.token != second.token
    (death,) = await queue.take_deaths()
    assert (death.id.attempt, death.id.token) == (2, second.token)


async def test_a_death_whose_telling_was_lost_on_the_way_is_told_of_later(queue: Torrelque, proxy: Proxy) -> None:
    task_id = await die_by_requeue(queue)
    async with proxy.client() as client, Torrelque(client, queue=queue.name) as other:
        proxy.lose_reply(calls_of('tell'))
        # It is asked again, and the first asking has taken it.
        assert await other.take_deaths() == []
        await Clock(queue).move(60)
        (death,) = await other.take_deaths()
        proxy.lose_reply(calls_of('told'))
        await other.acknowledge_deaths([death.id])
    assert death.id == task_id and not await untold(queue)


async def test_deaths_in_a_cluster(cluster: Cluster) -> None:
    async with cluster.client() as client, Torrelque(client, queue='deaths') as queue:
        task_id = await die_by_lease(queue)
        (death,) = await queue.take_deaths()
        assert death.id == task_id
        await queue.acknowledge_deaths([death.id])
        await die_by_requeue(queue)
        assert await queue.redrive() == 2
        assert not await untold(queue)


# How many


async def test_deaths_come_in_their_order_and_a_few_at_a_time(queue: Torrelque) -> None:
    for n in range(60):
        task_id = await die_by_requeue(queue, n)
        await queue.command('ZADD', queue.keys['untold'], n, task_id)
    assert [death.task for death in await queue.take_deaths(3)] == [0, 1, 2]
    assert [death.task for death in await queue.take_deaths(1000)] == [*range(3, 53)]
    assert [death.task for death in await queue.take_deaths()] == [*range(53, 60)]
    assert await queue.take_deaths() == []


async def test_large_tasks_are_told_of_one_by_one(queue: Torrelque) -> None:
    for n in range(3):
        await die_by_requeue(queue, [n, 'x' * 600_000])
    counts = [len(await queue.take_deaths()) for _ in range(3)]
    assert counts == [2, 1, 0]


# Faults


async def test_deaths_are_noted_and_told_of_when_memory_is_full(make_server: MakeServer) -> None:
    server = make_server({'maxmemory-policy': 'noeviction'})
    async with server.client() as client, Torrelque(client) as queue:
        for name in ('lease', 'requeue', 'bury', 'cancelled', 'redriven'):
            await queue.enqueue(1, task_id=name, max_attempts=1, task_timeout=0.001 if name == 'lease' else 300)
        taken = {task_id: task_id for task_id, _ in await queue.dequeue(max_tasks=5)}
        await client.config_set('maxmemory', '1')
        while not (await queue.sweep()).dead:
            pass
        for name in ('requeue', 'cancelled', 'redriven'):
            assert await queue.requeue(taken[name])
        assert await queue.bury(taken['bury'], tell_after=0)
        assert await untold(queue) == {b'lease', b'requeue', b'bury', b'cancelled', b'redriven'}
        assert await queue.cancel('cancelled')
        assert await queue.redrive('redriven') == 1
        deaths = await queue.take_deaths()
        assert {death.id for death in deaths} == {'lease', 'requeue', 'bury'}
        assert await queue.take_deaths() == []
        await queue.acknowledge_deaths([death.id for death in deaths])
        assert not await untold(queue)
        assert (await queue.get_task_state('lease')).status is Status.DEAD
        await client.config_set('maxmemory', '0')


@pytest.mark.parametrize('words', [[b'no'], [b'ok', b'id'], [b'ok', 1, 2, 3, 4, 5, 6], b'ok', None])
def test_a_reply_of_another_kind_is_no_death(words: Any) -> None:
    with pytest.raises(UnreadableError):
        read_tell(words, JSON)
