"""Flows: tasks that wait for tasks, by the verbs of both queues."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.looking import dump
from support.standing import START, Either, StandingClock
from torrelque import Node, TorrelqueTaskState, TorrelqueTaskStatus as Status

pytestmark = pytest.mark.first_server


async def do(queue: Any, *names: str, flow_id: str = 'f', result: Any = None) -> None:
    """Work on tasks, which are to be the next ones, in this order."""
    for name in names:
        task_id, _ = await queue.dequeue(0)
        assert task_id == f'{flow_id}.{name}'
        assert await queue.release(task_id, result=result and f'{result} {name}')


async def take(queue: Any, *names: str, flow_id: str = 'f') -> Any:
    """Tasks that can be had at once, which are to be these; the last of them."""
    taken = await queue.take()
    assert sorted(task_id for task_id, _ in taken) == sorted(f'{flow_id}.{name}' for name in names)
    return taken[-1][0] if taken else None


async def hows(queue: Any, flow_id: str = 'f') -> dict[str, str | None]:
    return {
        outcome.id.removeprefix(f'{flow_id}.'): outcome.how for outcome in sorted(await queue.get_outcomes(flow_id))
    }


DIAMOND = [
    Node('d', 'D', {'b': 'then', 'c': 'then'}),
    Node('b', 'B', {'a': 'then'}),
    Node('c', 'C', {'a': 'then'}),
    Node('a', 'A'),
]


async def test_a_diamond_is_worked_off_in_its_order_and_leaves_what_it_said(
    either: Either, client: redis.asyncio.Redis
) -> None:
    flow_id = await either.enqueue_flow(DIAMOND, task='all', flow_id='f', name='diamond', out=['d', 'a'], result_ttl=60)
    assert flow_id == 'f'
    assert await either.get_queue_stats() == (5, 1, 0, 0, 0, 4)
    state: TorrelqueTaskState = await either.get_task_state('f')
    assert state.status is Status.WAITING and (state.total, state.left, state.dead, state.failed) == (4, 4, 0, 0)
    waiting = await either.get_task_state('f.d')
    assert (waiting.status, waiting.flow, waiting.total) == (Status.WAITING, 'f', None)
    assert await hows(either) == dict.fromkeys('abcd')

    await do(either, 'a', result='of')
    assert (await either.get_task_state('f')).left == 3
    begun = await either.get_task_state('f.b')
    assert (begun.status, begun.ready_time) == (Status.PENDING, START)
    await do(either, 'b')
    assert await either.get_queue_stats() == (3, 1, 0, 0, 0, 2)
    await do(either, 'c', 'd', result='of')

    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    state = await either.get_task_state('f')
    assert (state.status, state.left, state.result) == (Status.COMPLETED, 0, ['of d', 'of a'])
    assert await hows(either) == dict.fromkeys('abcd', 'completed')
    results = await either.get_results('f', 'f.a', 'f.b', 'f.x')
    assert [outcome.result for outcome in results] == ['of a', None, None]
    assert [outcome.how for outcome in results] == ['completed', 'completed', None]
    flow = await either.get_flow('f')
    assert (flow.id, flow.task, flow.name, flow.on_failure, flow.state) == ('f', 'all', 'diamond', 'wait', state)
    assert (await either.get_task_state('f.a')).result == 'of a'
    keys = [*await dump(client)]
    assert [key for key in keys if key.startswith(b'{scheduled}')] == [b'{scheduled}:done:f', b'{scheduled}:task:f']
    for key in ('task', 'done'):
        assert 0 < await client.pttl(f'{{scheduled}}:{key}:f') <= 60_000


async def test_a_flow_without_tasks_has_completed_at_once(either: Either) -> None:
    flow_id = await either.enqueue_flow([])
    state = await either.get_task_state(flow_id)
    assert (state.status, state.total, state.left) == (Status.COMPLETED, 0, 0)
    assert (await either.get_flow(flow_id)).task is None


async def test_nothing_is_kept_of_a_flow_with_no_time_to_live(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue_flow([Node('a', 1)], flow_id='f', result_ttl=0)
    [(task_id, _)] = await either.take()
    await either.put_value('key', 1, by=task_id)
    assert await either.release(task_id, result=1)
    assert [key for key in await client.keys('{scheduled}:*') if b':claim:' not in key] == []
    for verb in (either.get_task_state, either.get_flow, either.get_outcomes):
        with pytest.raises(torrelque.LookupError):
            await verb('f')


ENDS = ('completed', 'rejected', 'cancelled', 'dead')
FITTING = {'then': {'completed'}, 'fail': {'rejected', 'cancelled', 'dead'}, 'end': {*ENDS}}


async def end(queue: Any, task_id: Any, how: str) -> None:
    if how == 'completed':
        assert await queue.release(task_id)
    elif how == 'rejected':
        assert await queue.release(task_id, status=Status.REJECTED, result_ttl=0)
    elif how == 'dead':
        assert await queue.bury(task_id, error='why')
    else:
        assert await queue.cancel(task_id)
        await queue.release(task_id)


@pytest.mark.parametrize('kind', FITTING)
@pytest.mark.parametrize('how', ENDS)
async def test_an_edge_takes_the_ends_of_its_kind(either: Either, kind: Any, how: str) -> None:
    await either.enqueue_flow([Node('b', 2, {'a': kind}), Node('a', 1)], flow_id='f')
    await end(either, await take(either, 'a'), how)
    if how in FITTING[kind]:
        await take(either, 'b')
    elif how == 'dead':
        await take(either)
        assert (await either.get_task_state('f.b')).status is Status.WAITING
        assert (await either.get_task_state('f')).error == 'f.a: why'
    else:
        await take(either)
        state = await either.get_task_state('f.b')
        assert (state.status, state.error) == (Status.CANCELLED, 'skipped: f.a has not come to the end it waits for')
        final = Status.COMPLETED if how == 'completed' else Status.REJECTED
        assert (await either.get_task_state('f')).status is final
        assert (await hows(either))['b'] == ('skipped' if how == 'completed' else 'failed')


@pytest.mark.parametrize('join', ['all', 'any'])
@pytest.mark.parametrize('ends', [*itertools.product('cf', repeat=2)])
async def test_a_join_is_of_all_or_of_any(either: Either, join: Any, ends: tuple[str, str]) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2), Node('c', 3, {'a': 'then', 'b': 'then'}, join)], flow_id='f')
    both = [task_id for task_id, _ in await either.take()]
    begins = []
    for task_id, how in zip(both, ends, strict=True):
        await end(either, task_id, 'completed' if how == 'c' else 'rejected')
        begins.append((await either.get_results('f', 'f.c'))[0].how is None and bool(await either.ids()))
    if join == 'all':
        assert begins == [False, ends == ('c', 'c')]
    else:
        assert begins == [ends[0] == 'c', ends[0] == 'f' and ends[1] == 'c']


@pytest.mark.parametrize('policy', ['wait', 'skip', 'cancel'])
async def test_a_death_holds_a_flow_back_or_is_gone_over_or_ends_it(either: Either, policy: Any) -> None:
    nodes = [Node('a', 1), Node('b', 2, {'a': 'then'}), Node('c', 3), Node('d', 4, {'c': 'end', 'b': 'end'})]
    await either.enqueue_flow(nodes, flow_id='f', on_failure=policy)
    held = {task_id: task_id for task_id, _ in await either.take()}
    assert await either.bury(held['f.a'], error='line\nwhy')
    await either.sweep()
    state = await either.get_task_state('f')
    assert (state.dead, state.error) == ((1, 'f.a: why') if policy == 'wait' else (0, 'f.a: why'))
    if policy == 'wait':
        assert state.status is Status.WAITING and (await either.get_task_state('f.b')).status is Status.WAITING
        assert await either.redrive('f') == 1
        state = await either.get_task_state('f')
        assert (state.dead, state.error) == (0, None)
        await do(either, 'a', 'b')
        assert await either.release(held['f.c'])
        await do(either, 'd')
        assert (await either.get_task_state('f')).status is Status.COMPLETED
        return
    skipped = await either.get_results('f', 'f.a', 'f.b')
    assert [outcome.how for outcome in skipped] == ['failed', 'failed']
    assert skipped[0].error == 'why'
    assert (await either.release(held['f.c'])) is (policy == 'skip')
    await do(either, 'd')
    assert (await either.get_task_state('f')).status is (Status.REJECTED if policy == 'skip' else Status.CANCELLED)
    # What is dead stays so for a person, and runs for itself when it is redriven.
    assert await either.get_queue_stats() == (1, 0, 0, 0, 1, 0)
    assert await either.redrive() == 1
    await do(either, 'a')


async def test_what_waits_for_a_death_is_not_told_again_when_the_task_comes_back(either: Either) -> None:
    nodes = [Node('a', 1), Node('x', 0), Node('b', 2, {'a': 'end', 'x': 'then'}), Node('c', 3, {'a': 'fail'})]
    await either.enqueue_flow(nodes, flow_id='f')
    held = {task_id: task_id for task_id, _ in await either.take()}
    assert await either.bury(held['f.a'])
    await do(either, 'c')
    assert await either.redrive('f.a') == 1
    await do(either, 'a')
    # 'b' has been told of one end, not of two: it still waits for the other one.
    await take(either)
    assert await either.release(held['f.x'])
    await do(either, 'b')
    assert (await either.get_task_state('f')).status is Status.COMPLETED


async def test_a_cancelled_flow_takes_back_all_but_what_cleans_up(either: Either) -> None:
    nodes = [
        *(Node(f'{name}', 1, group='g' if name % 2 else None, priority=0 if name else 9) for name in range(120)),
        *(Node(f'w{name}', 2, {'0': 'then'}) for name in range(120)),
        Node('late', 3, delay=60), Node('clean', 4, {'0': 'end'}), Node('more', 5, {'clean': 'end', '1': 'end'}),
    ]  # fmt: skip
    await either.enqueue_flow(nodes, flow_id='f')
    held, _ = await either.dequeue(0)
    assert held == 'f.0'
    assert await either.cancel('f') is True
    assert (await either.get_task_state('f')).status is Status.CANCELLED
    # The holder is told, and what is to clean up waits for it.
    assert await either.touch(held) is False
    assert await either.ids() == []
    assert await either.get_queue_stats() == (4, 0, 1, 0, 0, 3)
    assert await either.release(held) is False
    await do(either, 'clean', 'more')
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    state = await either.get_task_state('f')
    assert (state.status, state.left, state.failed) == (Status.CANCELLED, 0, 241)
    assert {how for name, how in (await hows(either)).items() if name not in ('clean', 'more')} == {'cancelled'}
    assert await either.cancel('f') is False


async def test_a_flow_that_is_cancelled_again_takes_back_what_cleans_up_too(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1), Node('clean', 2, {'a': 'end'})], flow_id='f')
    held = await take(either, 'a')
    assert [await either.cancel('f'), await either.cancel('f'), await either.cancel('f')] == [True] * 3
    assert await either.release(held) is False
    assert await either.cancel('f') is False
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    assert await hows(either) == {'a': 'cancelled', 'clean': 'cancelled'}


async def test_the_id_of_a_cancelled_flow_is_free_again(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2)], flow_id='f')
    with pytest.raises(torrelque.DuplicateError) as caught:
        await either.enqueue_flow([], flow_id='f')
    assert caught.value.task_id == 'f'
    assert await either.cancel('f')
    await either.enqueue_flow([Node('a', 1), Node('c', 2)], flow_id='f')
    assert await hows(either) == {'a': None, 'c': None}
    await do(either, 'a', 'c')
    with pytest.raises(torrelque.DuplicateError):
        await either.enqueue_flow([], flow_id='f')


async def test_nothing_is_written_where_the_id_of_a_task_is_known(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue(0, task_id='f.b')
    before = await dump(client)
    with pytest.raises(torrelque.DuplicateError) as caught:
        await either.enqueue_flow([Node('a', 1), Node('b', 2)], flow_id='f')
    assert caught.value.task_id == 'f.b'
    assert await dump(client) == before


async def test_a_task_of_a_group_with_a_priority_and_a_delay_takes_its_place_when_it_begins(
    either: Either, standing: StandingClock
) -> None:
    nodes = [
        Node('a', 1),
        *(Node(f'g{number}', 2, {'a': 'then'}, group='g') for number in range(2)),
        Node('late', 3, {'a': 'then'}, delay=5, group='h'),
        Node('first', 4, {'a': 'then'}, priority=9),
    ]
    await either.set_limit('g', concurrency=1)
    await either.enqueue_flow(nodes, flow_id='f')
    await do(either, 'a')
    assert (await either.get_task_state('f.late')).due_time == START + 5
    first, second = await either.take()
    assert (first[0], second[0], second[0].group) == ('f.first', 'f.g0', 'g')
    assert await either.release_many([first[0], second[0]]) == [True, True]
    await do(either, 'g1')
    await standing.move(5)
    await either.sweep()
    await do(either, 'late')
    assert (await either.get_task_state('f')).status is Status.COMPLETED


async def test_attempts_that_are_used_up_by_a_requeue_are_a_death(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1, max_attempts=1), Node('b', 2, {'a': 'fail'})], flow_id='f')
    assert await either.requeue(await take(either, 'a'), error='why')
    state = await either.get_task_state('f')
    assert (state.dead, state.error) == (1, 'f.a: why')
    await do(either, 'b')


async def test_attempts_and_leases_of_a_task_are_its_own(either: Either, standing: StandingClock) -> None:
    nodes = [Node('a', 1, max_attempts=2, task_timeout=10), Node('b', 2, {'a': 'fail'})]
    await either.enqueue_flow(nodes, flow_id='f')
    for _ in range(2):
        assert (await take(either, 'a')).timeout == 10
        await standing.move(11)
        await either.sweep()
    assert (await either.get_task_state('f')).dead == 1
    await do(either, 'b')
    # An error handler does not hide the failure: the task is dead, and the flow waits.
    assert (await either.get_task_state('f')).status is Status.WAITING
    assert await either.cancel('f.a')
    assert (await either.get_task_state('f')).status is Status.REJECTED


async def test_a_flow_is_given_up_when_its_time_is_over(either: Either, standing: StandingClock) -> None:
    await either.enqueue_flow([Node('a', 1), Node('clean', 2, {'a': 'end'})], flow_id='f', timeout=10)
    await standing.move(9)
    await either.sweep()
    assert (await either.get_task_state('f')).status is Status.WAITING
    await standing.move(1)
    await either.sweep()
    state = await either.get_task_state('f')
    assert (state.status, state.error) == (Status.CANCELLED, 'its time is over')
    await do(either, 'clean')
