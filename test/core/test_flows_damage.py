"""Flows whose keys somebody has deleted or overwritten: no other task, flow or group is harmed, and all of it ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis.asyncio

import torrelque
from model.model_checks import DUMP, read_dump
from proof.invariants import check_keys
from support.looking import dump
from support.servers import RealServer
from support.standing import Either, StandingClock
from torrelque import Node, Torrelque, TorrelqueTaskStatus as Status

PREFIX = '{scheduled}:'
NODES = [
    Node('a', 1),
    Node('b', 2, {'a': 'then'}),
    Node('c', 3, {'b': 'end'}),
    Node('d', 4, {'c': 'then'}, delay=5),
    Node('g', 5, group='g'),
    Node('h', 6, {'g': 'then', 'a': 'fail'}, 'any', group='g'),
    Node('i', 7, {'g': 'fail'}),
]
DAMAGED = 'its keys were damaged: '
HELD = 'held something else'
# What is done to which key, and how the flow ends by that when a task of it does.
DAMAGES = [
    *((name, kind, f'{DAMAGED}{name}f {HELD}') for name in ('task:', 'needs:', 'edges:', 'done:') for kind in 'sl'),
    ('needs:', 'lost', f'{DAMAGED}needs:f was lost'),
    ('needs:', 'rubbish', f'{DAMAGED}ERR hash value is not an integer'),
    ('edges:', 'rubbish', f'{DAMAGED}Expected'),
    ('edges:', '{"then": 5}', DAMAGED),
    ('edges:', '{"then": [[5]]}', DAMAGED),
    ('edges:', '7', DAMAGED),
]
NAMES = ('task:', 'needs:', 'edges:', 'done:')
VERBS = ('bury', 'requeue', 'cancel', 'lease', 'timeout', 'spread')


def quick(rows: Sequence[tuple[str, ...]], *places: int) -> list[Any]:
    """Rows of parameters, all of which are long but those in these places."""
    return [
        pytest.param(*row, marks=() if place in places else pytest.mark.long) for place, row in enumerate(rows)
    ]


async def damage(client: redis.asyncio.Redis, key: str, how: str) -> None:
    fields: Any = await client.hkeys(key)
    if how in ('s', 'l', 'lost'):
        await client.delete(key)
    if how == 's':
        await client.set(key, 'rubbish')
    elif how == 'l':
        await client.rpush(key, 'rubbish', 'more')
    elif how != 'lost':
        await client.hset(key, mapping=dict.fromkeys(fields, how))


async def make(either: Either) -> dict[str, Any]:
    """Two flows that are alike, and a task behind theirs in a group; what is held of them."""
    await either.set_limit('g', concurrency=1)
    for flow_id in ('f', 'other'):
        await either.enqueue_flow(NODES, flow_id=flow_id, result_ttl=60)
    await either.enqueue('plain', task_id='plain', group='g')
    held = {str(task_id): task_id for task_id, _ in await either.take()}
    assert sorted(held) == ['f.a', 'f.g', 'other.a']
    return held


async def work_off(either: Either, standing: StandingClock) -> list[str]:
    """Do all that can be done; the ids of what was."""
    done: list[str] = []
    for _ in range(10):
        taken = [task_id for task_id, _ in await either.take()]
        if taken:
            # Those of the damaged flow may have been taken back meanwhile.
            fates = zip(taken, await either.release_many(taken), strict=True)
            assert all(is_done or str(task_id).startswith('f.') for task_id, is_done in fates)
        done += map(str, taken)
        await standing.move(1)
        await either.sweep()
    return done


async def check_end(either: Either, client: redis.asyncio.Redis, done: list[str]) -> None:
    """The others came to their end, and nothing is left of any."""
    assert {'plain', *(f'other.{name}' for name in 'bcdgh')} <= {*done}
    assert len(done) == len({*done})
    state = await either.get_task_state('other')
    assert (state.status, state.left, state.failed) == (Status.COMPLETED, 0, 0)
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    assert [*check_keys(read_dump(await client.eval(DUMP, 0, PREFIX)))] == []
    lasting = [key for key in await client.keys(f'{PREFIX}*') if await client.pttl(key) < 0]
    assert lasting == [f'{PREFIX}limits'.encode()]


@pytest.mark.first_server
@pytest.mark.parametrize(('name', 'how', 'error'), quick(DAMAGES, 3, 8))
async def test_a_flow_whose_keys_were_damaged_is_cancelled_and_harms_no_other(
    either: Either, client: redis.asyncio.Redis, standing: StandingClock, name: str, how: str, error: str
) -> None:
    held = await make(either)
    await damage(client, f'{PREFIX}{name}f', how)
    # One call is of the flow and of others, and of a group.
    assert await either.release_many([held['f.a'], held['f.g'], held['other.a']]) == [True] * 3
    done = await work_off(either, standing)
    state = await either.get_task_state('f')
    assert (state.status, state.left) == (Status.CANCELLED, 0)
    assert state.error.startswith(error)
    await check_end(either, client, done)


@pytest.mark.first_server
@pytest.mark.parametrize(('name', 'verb'), quick([*itertools.product(NAMES, VERBS)], 14))
@pytest.mark.share(2)
async def test_whatever_tells_a_damaged_flow_of_an_end_goes_on(
    either: Either, client: redis.asyncio.Redis, standing: StandingClock, name: str, verb: str
) -> None:
    await either.set_limit('g', concurrency=1)
    nodes = [node._replace(max_attempts=1) for node in NODES]
    for flow_id in ('f', 'other'):
        await either.enqueue_flow(nodes, flow_id=flow_id, timeout=30 if flow_id == 'f' else None)
    await either.enqueue('plain', task_id='plain', group='g')
    held = {str(task_id): task_id for task_id, _ in await either.take()}
    await damage(client, f'{PREFIX}{name}f', 's')
    if verb == 'cancel':
        assert await either.cancel('f.a') and await either.cancel('f.g')
        assert await either.release_many([held['f.a'], held['f.g']]) == [False] * 2
    elif verb == 'spread':
        await client.rpush(f'{PREFIX}spread', '["f.a","f","c",0]', '["","f","gate",0]', 'rubbish', '5', '[]', '["",5]')
        await either.sweep()
        await either.release_many([held['f.a'], held['f.g']])
    elif verb in ('lease', 'timeout'):
        assert await either.touch(held['other.a'], task_timeout=1000)
        await standing.move(301)
        await either.sweep()
    else:
        for task_id in ('f.a', 'f.g'):
            assert await getattr(either, verb)(held[task_id])
    assert await either.release(held['other.a'])
    done = await work_off(either, standing)
    # What is dead stays so for a person, and runs for itself.
    await either.redrive()
    done += await work_off(either, standing)
    await check_end(either, client, [task_id for task_id in done if not task_id.startswith('f.')])


@pytest.mark.first_server
@pytest.mark.parametrize('lost', quick([(name,) for name in ('needs:', 'edges:', 'done:', 'values:')], 0))
async def test_a_flow_that_has_lost_a_key_is_taken_back_whole_when_it_is_cancelled(
    either: Either, client: redis.asyncio.Redis, standing: StandingClock, lost: str
) -> None:
    held = await make(either)
    await either.enqueue_flow([Node(f'{number}', 1) for number in range(300)], flow_id='wide')
    await either.enqueue_flow([*NODES, *(Node(f'z{number}', 1, {'a': 'then'}) for number in range(300))], flow_id='g')
    for flow_id in ('f', 'g'):
        await client.delete(f'{PREFIX}{lost}{flow_id}')
        assert await either.cancel(flow_id)
        await either.cancel(flow_id)
    waiting: list[Any] = await client.zrange(f'{PREFIX}waiting', 0, -1)
    assert not [task_id for task_id in waiting if task_id.startswith((b'f.', b'g.'))]
    await either.release_many([*held.values()])
    await check_end(either, client, await work_off(either, standing))


@pytest.mark.first_server
@pytest.mark.parametrize('name', quick([(name,) for name in ('needs:', 'edges:', 'done:', 'values:')], 1))
async def test_what_changes_a_damaged_flow_is_refused_whole(
    either: Either, client: redis.asyncio.Redis, name: str
) -> None:
    held = await make(either)
    await damage(client, f'{PREFIX}{name}f', 's')
    await damage(client, f'{PREFIX}{name}new', 'l')
    calls: list[Callable[[], Any]] = [
        lambda: either.add_to_flow([Node('x', 1, {'a': 'then', 'i': 'end'})], by=held['f.a']),
        lambda: either.enqueue(1, task_id='x', depends_on=['f.a']),
        lambda: either.put_value('key', 1, by=held['f.a']),
        lambda: either.enqueue_flow([Node('x', 1)], flow_id='new'),
    ]
    for call in calls:
        before = await dump(client)
        try:
            await call()
        except torrelque.ServerError as exc:
            assert 'WRONGTYPE' in str(exc)
            assert await dump(client) == before


@pytest.mark.first_server
async def test_a_task_is_mended_though_what_may_be_its_flow_is_something_else(
    either: Either, client: redis.asyncio.Redis
) -> None:
    await either.enqueue(1, task_id='f.x.y')
    await either.enqueue(2, task_id='z')
    await client.delete(f'{PREFIX}task:f.x.y')
    for name in ('f', 'f.x'):
        await client.set(f'{PREFIX}needs:{name}', 'rubbish')
    assert await either.ids() == ['z']
    assert (await either.get_task_state('f.x.y')).status is Status.DEAD


@pytest.mark.first_server
@pytest.mark.parametrize(
    ('name', 'how'), quick([*itertools.product(NAMES, 's'), ('edges:', '{"then": 5}'), ('edges:', '7')], 2)
)
async def test_a_place_that_is_given_in_a_damaged_flow_harms_no_other(
    either: Either, client: redis.asyncio.Redis, standing: StandingClock, name: str, how: str
) -> None:
    held = await make(either)
    await damage(client, f'{PREFIX}{name}f', how)
    for task_id in ('f.a', 'f.g'):
        try:
            await either.graft([Node('x', 1), Node('y', 2, {'x': 'then'})], by=held[task_id], last='y')
        except torrelque.Error:
            # It was refused whole.
            await either.release(held[task_id])
    assert await either.release(held['other.a'])
    done = await work_off(either, standing)
    await either.cancel('f')
    await either.cancel('f')
    await check_end(either, client, done)


@pytest.mark.first_server
async def test_a_right_that_is_missing_is_no_damage(server: RealServer, client: redis.asyncio.Redis) -> None:
    await client.execute_command('ACL', 'SETUSER', 'limited', 'on', '>secret', '~*', '&*', '+@all', '-hincrby')
    async with server.client(username='limited', password='secret') as limited, Torrelque(limited, queue='q') as queue:
        await queue.enqueue_flow([Node('a', 1), Node('b', 2), Node('c', 3, {'a': 'then', 'b': 'then'})], flow_id='f')
        held, _ = await queue.dequeue(60)
        with pytest.raises(torrelque.ServerError):
            await queue.release(held)
        state = await queue.get_task_state('f')
        assert (state.status, state.error) == (Status.WAITING, None)
    await client.execute_command('ACL', 'DELUSER', 'limited')


@pytest.mark.first_server
async def test_what_leads_round_in_a_circle_is_gone_round_once(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1), Node('b', 2), Node('x', 3), Node('y', 4, {'x': 'then'})], flow_id='f')
    base = queue.keys['pending'].removesuffix('pending')
    held = {str(one): one for one, _ in await queue.dequeue_many(3)}
    # Two that have each other's place, and a flow that is a task of itself.
    for one in ('f.a', 'f.b'):
        assert await queue.release(held[one])
    await client.hset(f'{base}done:f', mapping={'f.a': '>f.b', 'f.b': '>f.a'})
    await client.hset(f'{base}task:f', 'flow', 'f')
    await queue.enqueue(5, task_id='stray')
    assert await queue.enqueue(6, task_id='after', depends_on=['f.a'])
    assert await queue.enqueue(7, task_id='behind', depends_on=['f.y', 'stray'])
    assert await queue.release(held['f.x'])
    tasks = set[int]()
    while len(tasks) < 4:
        task_id, task = await queue.dequeue(0)
        tasks.add(task)
        assert await queue.release(task_id)
        await queue.sweep()
    assert tasks == {4, 5, 6, 7}
    assert (await queue.get_task_state('f')).status is Status.COMPLETED
