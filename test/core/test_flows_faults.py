"""Flows where something goes wrong: bad input, lost replies, a full memory, states that were lost."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.looking import dump
from support.proxy import Proxy, calls_of
from support.servers import MakeServer
from support.standing import Either
from torrelque import Node, TaskId, Torrelque, TorrelqueTaskStatus as Status

# Bad input

BAD_NODES: list[Any] = [
    5, 'ab', b'ab', [5], ['a'], [('a', 1)], [Node('', 1)], [Node(None, 1)],  # type: ignore[arg-type]
    [Node('\ud800', 1)], [Node('a', 1), Node('a', 2)], [Node('a', object())], [Node('a', 1, ['b'])],  # type: ignore[arg-type]
    [Node('a', 1, {'b': 'then'})], [Node('a', 1, {'a': 'then'})],
    [Node('a', 1), Node('b', 1, {'a': 'ok'})], [Node('a', 1), Node('b', 1, {'a': None})],  # type: ignore[dict-item]
    [Node('a', 1, {'b': 'then'}), Node('b', 1, {'c': 'end'}), Node('c', 1, {'a': 'fail'})],
    [Node('a', 1, join='one')], [Node('a', 1, join=None)], [Node('a', 1, before=['b'])],  # type: ignore[arg-type]
    [Node('a', 1, before='b')], [Node('a', 1, delay=-1)], [Node('a', 1, group='')], [Node('a', 1, priority=101)],
    [Node('a', 1, max_attempts=0)], [Node('a', 1, task_timeout='1')],  # type: ignore[arg-type]
    [Node('a', 1), *(Node(str(number), 1, {'a': 'then'}) for number in range(10_001))],
]  # fmt: skip
BAD_OPTIONS: list[dict[str, Any]] = [
    {'task': object()}, {'flow_id': ''}, {'flow_id': 5}, {'name': ''}, {'name': 5}, {'on_failure': 'stop'},
    {'on_failure': None}, {'out': ['b']}, {'out': 5}, {'out': [5]}, {'timeout': 0}, {'timeout': '1'},
    {'timeout': -1}, {'result_ttl': -1}, {'result_ttl': '1'},
]  # fmt: skip


async def refused(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(torrelque.Error) as caught:
        await call(*args, **options)
    assert isinstance(caught.value, (TypeError, ValueError)), caught.value
    return str(caught.value)


@pytest.mark.first_server
async def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    either: Either, client: redis.asyncio.Redis
) -> None:
    before = await dump(client)
    for nodes in BAD_NODES:
        await refused(either.enqueue_flow, nodes)
    for options in BAD_OPTIONS:
        await refused(either.enqueue_flow, [Node('a', 1)], **options)
    by = TaskId('f.a', 1, '1-1')
    for wrong in ('f.a', TaskId('f.a'), None, 5, ''):
        await refused(either.add_to_flow, [Node('a', 1)], by=wrong)
        await refused(either.put_value, 'key', 1, by=wrong)
    for nodes in ([Node('a', 1, before=['b']), Node('b', 1)], [Node('a', 1, before=[5])], [Node('a', object())], 5):  # type: ignore[list-item]
        await refused(either.add_to_flow, nodes, by=by)
    for key, value in (('', 1), (5, 1), ('a', object())):
        await refused(either.put_value, key, value, by=by)
    for depends_on in ('abc', b'abc', 5, [5], [''], None, [str(number) for number in range(1001)]):
        await refused(either.enqueue, 1, depends_on=depends_on)
    for flow_id in ('', 5, None):
        await refused(either.get_results, flow_id)
        await refused(either.get_flow, flow_id)
        await refused(either.get_outcomes, flow_id)
        await refused(either.get_value, flow_id, 'a')
    await refused(either.get_results, 'f', 5)
    assert await dump(client) == before


async def test_a_circle_is_named(queue: Torrelque) -> None:
    nodes = [Node('a', 1, {'c': 'then'}), Node('b', 1, {'a': 'end'}), Node('c', 1, {'b': 'fail'}), Node('d', 1)]
    told = await refused(queue.enqueue_flow, nodes)
    assert "tasks of the flow wait for each other in a circle: 'a' -> 'b' -> 'c' -> 'a'" in told or (
        sum(told.count(f"'{name}'") for name in 'abc') == 4 and "'d'" not in told
    )


@pytest.mark.first_server
async def test_ids_and_names_are_any_text(either: Either) -> None:
    names = ['a.b', '@a', '1', '"', "'", '\\', 'ü\u2028', ' ', '\n', '=x', '!f', '%s', 'a' * 300]
    nodes = [Node('first', 0), *(Node(name, name, {'first': 'then'}) for name in names)]
    nodes.append(Node('last', 1, dict.fromkeys(names, 'then')))
    for flow_id in ('f.g', ' ', 'ü"'):
        await either.enqueue_flow(nodes, flow_id=flow_id, out=names)
        for count in (1, len(names), 1):
            taken = await either.take()
            assert len(taken) == count
            for task_id, task in taken:
                assert await either.release(task_id, result=task)
        assert (await either.get_task_state(flow_id)).result == names
        assert (await either.get_task_state(f'{flow_id}.a.b')).result == 'a.b'


# Lost replies


@pytest.fixture
async def faulty(proxy: Proxy, queue_name: str) -> AsyncIterator[Torrelque]:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        await queue.get_queue_stats()
        yield queue


@pytest.mark.parametrize('repeats', [1, 2])
async def test_each_call_of_a_flow_that_is_sent_again_is_carried_out_once(
    faulty: Torrelque, proxy: Proxy, repeats: int
) -> None:
    @contextlib.contextmanager
    def losing(name: str) -> Iterator[None]:
        for _ in range(repeats):
            proxy.lose_reply(calls_of(name))
        yield
        assert proxy.lossless

    nodes = [Node('a', 1), Node('b', 2, {'a': 'then'}), Node('c', 3, {'b': 'fail'})]
    with losing('flow'):
        await faulty.enqueue_flow(nodes, flow_id='f')
    assert (await faulty.get_task_state('f')).total == 3
    held, _ = await faulty.dequeue(60)
    with losing('add'):
        await faulty.add_to_flow([Node('d', 4, before=['b'])], by=held)
    assert (await faulty.get_task_state('f')).total == 4
    with losing('give'):
        await faulty.put_value('key', 1, by=held)
    with losing('depend'):
        await faulty.enqueue(5, task_id='z', depends_on=['f.c'])
    with losing('release'):
        assert await faulty.release(held, result='a')
    assert (await faulty.get_task_state('f')).left == 4
    held, _ = await faulty.dequeue(60)
    with losing('bury'):
        assert await faulty.bury(held)
    assert (await faulty.get_task_state('f')).dead == 1
    with losing('redrive'):
        assert await faulty.redrive('f') == 1
    assert (await faulty.get_task_state('f')).dead == 0
    with losing('cancel'):
        assert await faulty.cancel('f.d')
    assert [outcome.how for outcome in await faulty.get_results('f', 'f.b', 'f.c', 'z')] == ['failed', None, None]
    for name in ('f.c', 'z'):
        held, _ = await faulty.dequeue(60)
        assert held == name
        with losing('release'):
            assert await faulty.release(held)
    assert (await faulty.get_task_state('f')).status is Status.REJECTED


# A full memory


async def test_a_full_server_refuses_a_flow_whole_and_lets_what_ends_pass(make_server: MakeServer) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client, queue='full') as queue:
        await queue.enqueue_flow(
            [
                *(Node(name, 1) for name in 'abcde'),
                Node('b1', 2, {'a': 'then'}),
                Node('c1', 2, {'b': 'then'}),
                Node('d1', 3, {'c': 'fail'}),
                Node('g', 3, {'e': 'end'}, group='g'),
            ],
            flow_id='f',
        )
        await queue.enqueue_flow([Node(str(number), number) for number in range(5)], flow_id='other')
        held = [task_id for task_id, _ in await queue.dequeue_many(5, 60)]
        before = await dump(client)
        await client.config_set('maxmemory', 1)
        with pytest.raises(torrelque.ServerError):
            await queue.enqueue_flow([Node('x', 1), Node('y', 2)])
        with pytest.raises(torrelque.ServerError):
            await queue.enqueue(1, depends_on=['f.b1'])
        with pytest.raises(torrelque.ServerError):
            await queue.add_to_flow([Node('x', 1)], by=held[0])
        with pytest.raises(torrelque.ServerError):
            await queue.put_value('x', 1, by=held[0])
        assert await dump(client) == before
        assert await queue.release(held[0], result=1)
        assert await queue.requeue(held[1])
        assert await queue.bury(held[2])
        assert await queue.release(held[3], status=Status.REJECTED)
        assert await queue.cancel('f.b1') and await queue.cancel('other')
        assert await queue.redrive('f') == 1
        assert await queue.release(held[4])
        assert (await queue.get_task_state('other')).left == 0
        await client.config_set('maxmemory', 0)
        left = {outcome.id: outcome.how async for outcome in queue.get_outcomes('f')}
        assert left == {
            'f.a': 'completed', 'f.b1': 'failed', 'f.d': 'failed', 'f.e': 'completed',
            'f.b': None, 'f.c': None, 'f.c1': None, 'f.d1': None, 'f.g': None,
        }  # fmt: skip


# Lost states


async def test_a_task_whose_state_was_lost_ends_as_failed_when_it_is_told(
    either: Either, client: redis.asyncio.Redis
) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'}), Node('c', 3, {'b': 'end'})], flow_id='f')
    await client.delete('{scheduled}:task:f.b')
    [(task_id, _)] = await either.take()
    assert await either.release(task_id)
    [(task_id, _)] = await either.take()
    assert task_id == 'f.c' and await either.release(task_id)
    [outcome] = await either.get_results('f', 'f.b')
    assert (outcome.how, outcome.error) == ('failed', 'its state was lost')
    state = await either.get_task_state('f')
    assert (state.status, state.error) == (Status.REJECTED, 'f.b: its state was lost')


async def test_a_redrive_of_a_flow_finds_tasks_whose_state_was_lost(
    either: Either, client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [*(Node(str(number), 1) for number in range(60)), Node('z', 1, {'1': 'then'}), Node('y', 1, {'z': 'end'})]
    await either.enqueue_flow(nodes, flow_id='f')
    held = {task_id: task_id for task_id, _ in await either.take()}
    assert await either.bury(held['f.0'])
    await client.delete('{scheduled}:task:f.2', '{scheduled}:task:f.z')
    assert await either.redrive('f') == 1
    outcomes = await either.get_results('f', 'f.2', 'f.z')
    assert [(outcome.how, outcome.error) for outcome in outcomes] == [('failed', 'its state was lost')] * 2
    assert "task 'f.z' was damaged: lost" in caplog.text
    assert sorted(await either.ids()) == ['f.0', 'f.y']


async def test_a_damaged_task_that_is_found_by_a_consumer_is_dead_in_its_flow_too(
    either: Either, client: redis.asyncio.Redis
) -> None:
    nodes = [Node('a', 1), Node('b', 2), Node('c', 3), Node('d', 4, {'a': 'then', 'b': 'end', 'c': 'end'})]
    await either.enqueue_flow(nodes, flow_id='f')
    # Of one the state was lost, of one the payload, of one both.
    await client.delete('{scheduled}:task:f.a', '{scheduled}:task:f.c')
    await client.hdel('{scheduled}:tasks', 'f.b', 'f.c')
    assert await either.ids() == []
    await either.sweep()
    state = await either.get_task_state('f')
    assert (state.status, state.dead, state.left) == (Status.WAITING, 1, 2)
    outcomes = await either.get_results('f', 'f.b', 'f.c')
    assert [outcome.error for outcome in outcomes] == ['its payload was lost', 'its state was lost']
    assert await either.redrive('f') == 1
    for name in ('f.a', 'f.d'):
        [(task_id, _)] = await either.take()
        assert task_id == name and await either.release(task_id)
    assert (await either.get_task_state('f')).status is Status.REJECTED
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)


async def test_what_a_death_has_begin_and_the_flow_takes_back_leaves_its_group_free(
    either: Either, client: redis.asyncio.Redis
) -> None:
    """A death that a consumer finds is told of by a call that is not the one which takes the flow back."""
    nodes = [Node('a', 1), Node('b', 2, {'a': 'fail'}, group='g')]
    await either.enqueue_flow(nodes, flow_id='f', on_failure='cancel')
    await client.delete('{scheduled}:task:f.a')
    assert await either.ids() == []
    await either.sweep()
    assert (await either.get_task_state('f')).status is Status.CANCELLED
    await either.enqueue(3, task_id='free', group='g')
    assert await either.ids() == ['free']


async def test_nothing_stays_of_a_flow_whose_own_state_was_lost(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], flow_id='f')
    await client.delete('{scheduled}:task:f')
    for name in 'ab':
        [(task_id, _)] = await either.take()
        assert task_id == f'f.{name}' and await either.release(task_id)
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    assert [key for key in await client.keys('{scheduled}:*') if b':claim:' not in key] == []
