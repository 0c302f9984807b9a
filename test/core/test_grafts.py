"""Grafts: tasks that take the place of another one, in a flow or as one."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.looking import dump
from support.proxy import Proxy, calls_of
from support.servers import MakeServer
from support.standing import Either, StandingClock
from test_flows import do, hows, take
from test_flows_faults import faulty as faulty, refused
from torrelque import Node, Torrelque, TorrelqueTaskStatus as Status

pytestmark = pytest.mark.first_server

ROW = [Node('n', 'N', {'m': 'then'}), Node('m', 'M')]


async def held_of(queue: Any, *names: str, flow_id: str = 'f') -> dict[str, Any]:
    """Tasks that are taken, which are to be these, by their names."""
    taken = {task_id.removeprefix(f'{flow_id}.'): task_id for task_id, _ in await queue.take()}
    assert sorted(taken) == sorted(names)
    return taken


# In a flow


async def test_tasks_take_the_place_of_one_and_give_its_result(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], flow_id='f', out=['a'], result_ttl=0)
    held = await take(either, 'a')
    assert await either.graft(ROW, by=held, last='n')
    assert await client.hgetall(f'{either.keys["done"]}:f') == {b'f.a': b'>f.a.n'}
    assert await hows(either) == {'a': None, 'b': None, 'a.m': None, 'a.n': None}
    # The state of the task is that of its heir.
    state = await either.get_task_state('f.a')
    assert (state.status, state.flow) == (Status.WAITING, 'f')
    assert (await either.get_task_state('f')).left == 3
    await do(either, 'a.m', 'a.n', result='of')
    assert await hows(either) == {'a': 'completed', 'b': None, 'a.m': 'completed', 'a.n': 'completed'}
    [outcome] = await either.get_results('f', 'f.a')
    assert outcome == ('f.a', 'completed', 'of a.n', None)
    assert (await either.get_task_state('f.a')).result == 'of a.n'
    await do(either, 'b')
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    assert [key for key in await client.keys('*') if b'}:' in key] == []


async def test_heirs_have_heirs_and_whoever_comes_later_waits_for_the_last(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'}), Node('z', 0)], flow_id='f', out=['a'])
    held = await held_of(either, 'a', 'z')
    assert await either.graft(ROW, by=held['a'], last='m')
    # Work that nothing waits for is part of the flow all the same.
    held |= await held_of(either, 'a.m')
    assert await either.graft([Node('x', 1)], by=held['a.m'], last='x')
    assert await either.add_to_flow([Node('c', 3, {'a': 'then'})], by=held['z'])
    assert await either.enqueue(4, task_id='d', depends_on=['f.a'])
    assert await hows(either) == dict.fromkeys(('a', 'b', 'c', 'd', 'z', 'a.m', 'a.n', 'a.m.x'))
    assert (await either.get_queue_stats()).pending == 1
    await do(either, 'a.m.x', result='of')
    assert sorted(await either.ids()) == ['d', 'f.a.n', 'f.b', 'f.c']
    results = await either.get_results('f', 'f.a', 'f.a.m', 'f.a.m.x')
    assert [outcome.result for outcome in results] == ['of a.m.x'] * 3


ENDS = ['completed', 'rejected', 'dead', 'cancelled']


async def end(queue: Any, held: Any, how: str) -> None:
    if how == 'dead':
        assert await queue.bury(held, error='as it must')
    elif how == 'cancelled':
        assert await queue.cancel(held)
        assert not await queue.release(held)
    else:
        assert await queue.release(held, status=Status.COMPLETED if how == 'completed' else Status.REJECTED)


@pytest.mark.parametrize('policy', ['wait', 'skip', 'cancel'])
@pytest.mark.parametrize('how', ENDS)
async def test_whatever_waits_for_a_task_is_told_of_the_end_of_its_heir(either: Either, how: str, policy: Any) -> None:
    """By all kinds of edges, alone and beside others that have not ended, of which all or one are enough."""
    kinds: tuple[Any, ...] = ('then', 'end', 'fail')
    joins: tuple[Any, ...] = ('all', 'any')
    nodes = [
        Node(f'{kind}-{others}-{join}', 1, dict.fromkeys(others, kind), join)
        for kind, others, join in itertools.product(kinds, ('t', 'tu'), joins)
    ]
    seen: list[Any] = []
    for flow_id in ('plain', 'grafted'):
        nodes = [Node('t', 1), Node('u', 1, delay=60), *nodes[-12:]]
        await either.enqueue_flow(nodes, flow_id=flow_id, on_failure=policy)
        held = await take(either, 't', flow_id=flow_id)
        if flow_id == 'grafted':
            assert await either.graft(ROW, by=held, last='n')
            assert await either.release(await take(either, 't.m', flow_id=flow_id))
            held = await take(either, 't.n', flow_id=flow_id)
        await end(either, held, how)
        await either.sweep()
        begun = sorted(task_id.removeprefix(f'{flow_id}.') for task_id in await either.ids())
        told = {name: how for name, how in (await hows(either, flow_id)).items() if not name.startswith('t.')}
        state = await either.get_task_state(flow_id)
        seen.append((begun, told, state.status, state.dead, state.failed))
    assert seen[0] == seen[1] and len(seen[0][1]) == 14


async def test_a_heir_that_has_ended_before_is_told_of_at_once(either: Either) -> None:
    for how in ('completed', 'rejected', 'dead'):
        nodes = [Node('then', 1, {'t': 'then'}), Node('end', 1, {'t': 'end'}), Node('fail', 1, {'t': 'fail'})]
        await either.enqueue_flow([Node('t', 1), *nodes], flow_id=f'f-{how}')
        held = await take(either, 't', flow_id=f'f-{how}')
        await either.add_to_flow([Node('t.n', 2)], by=held)
        [(heir, _)] = await either.take()
        if how == 'dead':
            await either.bury(heir)
        else:
            await either.release(heir, status=Status.COMPLETED if how == 'completed' else Status.REJECTED)
        assert await either.graft([Node('n', 2)], by=held, last='n')
        begun = {'completed': ['end', 'then'], 'rejected': ['end', 'fail'], 'dead': ['end', 'fail']}[how]
        assert sorted(await either.ids()) == [f'f-{how}.{name}' for name in begun]
        if how == 'dead':
            # The others wait on, for what a redrive comes to.
            assert (await hows(either, f'f-{how}'))['then'] is None
            await either.redrive(f'f-{how}')
            await do(either, 't.n', 'then', flow_id=f'f-{how}')


async def test_a_failed_heir_is_what_has_failed(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1)], flow_id='f', on_failure='skip')
    assert await either.graft([Node('n', 1)], by=await take(either, 'a'), last='n')
    await either.bury(await take(either, 'a.n'), error='no')
    assert [(each.how, each.error) for each in await either.get_results('f', 'f.a', 'f.a.n')] == [
        ('failed', 'its graft has failed: f.a.n: no'), ('failed', 'no'),
    ]  # fmt: skip
    assert (await either.get_task_state('f.a')).status is Status.REJECTED
    state = await either.get_task_state('f')
    assert (state.status, state.failed, state.error) == (Status.REJECTED, 1, 'f.a.n: no')


async def test_a_task_that_was_cancelled_gives_its_place_to_nobody(
    either: Either, client: redis.asyncio.Redis
) -> None:
    await either.enqueue_flow([Node('a', 1, group='g'), Node('b', 2, {'a': 'end'})], flow_id='f')
    held = await take(either, 'a')
    await either.cancel('f.a')
    assert not await either.graft(ROW, by=held, last='n')
    await do(either, 'b')
    assert await hows(either) == {'a': 'failed', 'b': 'completed'}
    # A flow that is just being cancelled has not come to all of its tasks.
    await either.enqueue_flow([Node('a', 1, group='g'), Node('b', 2, {'a': 'end'})], flow_id='g')
    held = await take(either, 'a', flow_id='g')
    await client.hset(f'{either.keys["task"]}:g', 'status', int(Status.CANCELLED))
    assert not await either.graft(ROW, by=held, last='n')
    assert (await either.get_task_state('g.a')).status is Status.CANCELLED
    await do(either, 'b', flow_id='g')
    assert await hows(either, 'g') == {'a': 'cancelled', 'b': 'completed'}
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize('ended', [False, True])
async def test_a_task_whose_flow_is_not_there_keeps_its_place(
    either: Either, client: redis.asyncio.Redis, ended: bool
) -> None:
    await either.enqueue_flow([Node('a', 1)], flow_id='f', on_failure='skip')
    held = await take(either, 'a')
    if ended:
        await either.bury(held)
        await either.redrive('f.a')
        held = await take(either, 'a')
    else:
        await client.delete(f'{either.keys["task"]}:f')
    before = await dump(client)
    assert 'is not in this queue' in await refused(either.graft, ROW, by=held, last='n')
    assert await dump(client) == before


async def test_a_task_that_its_flow_goes_on_without_ends_once(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'fail'})], flow_id='f', on_failure='skip')
    await either.bury(await take(either, 'a'), error='no')
    await either.redrive('f.a')
    held = await held_of(either, 'a', 'b')
    assert await either.graft([Node('n', 1)], by=held['a'], last='n')
    # It runs for itself, and what takes its place is of the flow, which goes on.
    assert await client.hget(f'{either.keys["done"]}:f', 'f.a') == b'!f no'
    await do(either, 'a.n')
    assert await either.release(held['b'])
    assert await hows(either) == {'a': 'failed', 'b': 'completed', 'a.n': 'completed'}
    assert (await either.get_queue_stats()).tasks == 0


async def test_who_does_not_hold_a_task_any_more_changes_nothing(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], flow_id='f')
    stale = await take(either, 'a')
    await either.requeue(stale)
    held = await take(either, 'a')
    before = await dump(client)
    assert not await either.graft(ROW, by=stale, last='n')
    assert await dump(client) == before
    assert await either.graft(ROW, by=held, last='n')
    before = await dump(client)
    # It is told of what was done before, by whichever attempt.
    assert await either.graft(ROW, by=held, last='n') and not await either.graft(ROW, by=held, last='m')
    assert await dump(client) == before


async def test_what_cannot_take_a_place_is_refused(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue_flow([Node('a', 1)], flow_id='f')
    held = await take(either, 'a')
    await either.enqueue(1, task_id='f.a.m')
    before = await dump(client)
    bad: list[Any] = [[], [Node('x', 1, {'a': 'then'})], [Node('x', 1, before=['a'])], [Node('x', 1), Node('x', 2)]]
    for nodes in bad:
        await refused(either.graft, nodes, by=held, last='x')
    for last in ('', 'y', 5):
        await refused(either.graft, [Node('x', 1)], by=held, last=last)
    for by in ('f.a', '', 5):
        await refused(either.graft, [Node('x', 1)], by=by, last='x')
    for options in ({'on_failure': 'stop'}, {'timeout': 0}, {'result_ttl': -1}, {'name': ''}, {'task': object()}):
        await refused(either.graft, [Node('x', 1)], by=held, last='x', **options)
    with pytest.raises(torrelque.DuplicateError):
        await either.graft(ROW, by=held, last='n')
    assert await dump(client) == before
    assert await either.release(held)


async def test_a_large_graft_is_added_in_several_calls_of_which_the_last_counts(
    either: Either, client: redis.asyncio.Redis
) -> None:
    wide = [Node(f'{number}', number) for number in range(600)]
    nodes = [Node('last', 0, {node.name: 'then' for node in wide}), *wide]
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], flow_id='f')
    held = await take(either, 'a')
    # An attempt before has come to nearly half of it, and has been killed.
    await either.add_to_flow([Node(f'a.{node.name}', node.task) for node in wide[200:450]], by=held)
    await either.requeue(held)
    taken = [task_id for task_id, _ in await either.take(200)]
    assert all(await either.release_many(taken))
    *others, held = sorted((task_id for task_id, _ in await either.take(300)), key='f.a'.__eq__)
    assert held == 'f.a' and all(await either.release_many(others))
    assert await either.graft(nodes, by=held, last='last')
    assert (await either.get_task_state('f')).total == 603
    while taken := [task_id for task_id, _ in await either.take(200)]:
        assert all(await either.release_many(taken))
    assert await hows(either) == dict.fromkeys(['a', 'b', *(f'a.{node.name}' for node in nodes)], 'completed')


async def test_the_place_of_a_task_is_taken_once_though_replies_are_lost(faulty: Torrelque, proxy: Proxy) -> None:
    await faulty.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], flow_id='f')
    alone = await faulty.enqueue('alone')
    for flow_id in ('f', str(alone)):
        held, _ = await faulty.dequeue(60)
        for _ in range(2):
            proxy.lose_reply(calls_of('graft'))
        assert await faulty.graft(ROW, by=held, last='n') and proxy.lossless
        assert (await faulty.get_task_state(flow_id)).total == (4 if flow_id == 'f' else 2)


async def test_a_full_server_refuses_a_graft_whole_and_lets_a_cancelled_task_go(make_server: MakeServer) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client, queue='full') as queue:
        await queue.enqueue_flow([Node('a', 1), Node('b', 1), Node('c', 2, {'b': 'end'})], flow_id='f')
        one, two = [task_id for task_id, _ in await queue.dequeue_many(2, 60)]
        await queue.cancel(two)
        before = await dump(client)
        await client.config_set('maxmemory', 1)
        with pytest.raises(torrelque.ServerError):
            await queue.graft(ROW, by=one, last='n')
        assert await dump(client) == before
        assert not await queue.graft(ROW, by=two, last='n')
        assert (await queue.get_task_state('f.c')).status is Status.PENDING


async def test_a_queue_without_room_takes_no_graft(client: redis.asyncio.Redis) -> None:
    async with Torrelque(client, queue='full', max_tasks=3) as queue:
        await queue.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], flow_id='f')
        held, _ = await queue.dequeue(60)
        before = await dump(client)
        with pytest.raises(torrelque.FullError):
            await queue.graft(ROW, by=held, last='n')
        assert await dump(client) == before
        # The task itself makes room for one.
        assert await queue.graft([Node('n', 1)], by=held, last='n')
        assert (await queue.get_queue_stats()).tasks == 3


# As a flow


async def test_a_task_that_was_enqueued_alone_becomes_a_flow(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue(0, task_id='f', group='g', priority=5, max_attempts=3)
    await either.requeue(await take_one(either), error='again')
    held = await take_one(either)
    assert await either.graft(ROW, by=held, last='n', task='graph', name='why', result_ttl=60)
    assert await client.keys('*group*') == []
    state = await either.get_task_state('f')
    assert (state.status, state.total, state.left, state.dequeue_count) == (Status.WAITING, 2, 2, 2)
    assert (state.group, state.error, state.max_attempts) == (None, None, None)
    flow = await either.get_flow('f')
    assert (flow.task, flow.name, flow.on_failure) == ('graph', 'why', 'wait')
    assert await either.graft(ROW, by=held, last='n')
    assert not await either.release(held) and not await either.requeue(held)
    await do(either, 'm', 'n', result='of')
    state = await either.get_task_state('f')
    assert (state.status, state.result) == (Status.COMPLETED, 'of n')
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)


async def take_one(queue: Any) -> Any:
    [(held, _)] = await queue.take()
    return held


async def test_what_waits_for_a_task_waits_for_the_flow_that_it_has_become(either: Either) -> None:
    await either.enqueue(0, task_id='f')
    await either.enqueue(1, task_id='z', depends_on=['f'])
    assert await either.graft(ROW, by=await take_one(either), last='m')
    await do(either, 'm')
    assert (await either.get_task_state('z')).status is Status.WAITING
    await do(either, 'n')
    assert await either.ids() == ['z']


async def test_a_flow_that_a_task_has_become_has_a_policy_and_a_time(
    either: Either, standing: StandingClock
) -> None:
    await either.enqueue(0, task_id='f')
    assert await either.graft(ROW, by=await take_one(either), last='n', on_failure='skip')
    await either.bury(await take(either, 'm'), error='no')
    state = await either.get_task_state('f')
    assert (state.status, state.error) == (Status.REJECTED, 'f.m: no')
    await either.enqueue(0, task_id='g')
    assert await either.graft(ROW, by=await take_one(either), last='n', timeout=60)
    await standing.move(60)
    await either.sweep()
    assert (await either.get_task_state('g')).status is Status.CANCELLED


async def test_a_task_alone_gives_its_place_to_as_many_as_go_in_one_call(
    either: Either, client: redis.asyncio.Redis
) -> None:
    held = await either.enqueue(0) and await take_one(either)
    before = await dump(client)
    with pytest.raises(torrelque.ValueError, match='was enqueued alone'):
        await either.graft([Node(str(number), number) for number in range(251)], by=held, last='0')
    assert await dump(client) == before
    assert await either.graft([Node(str(number), number) for number in range(250)], by=held, last='0')
    assert len(await either.ids()) == 250


# Whoever follows a task


async def test_a_wait_and_a_watch_go_on_with_the_heir(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue_flow([Node('a', 1), Node('z', 1)], flow_id='f')
    waits = [asyncio.create_task(queue.wait('f.a', timeout=60)) for _ in range(3)]
    watch = queue.watch('f.a', timeout=60)
    states = [await watch.__anext__()]
    [held, _] = [task_id for task_id, _ in await queue.dequeue_many(2, 60)]
    while {state.status for state in states} < {Status.PENDING, Status.WORKING}:
        states.append(await watch.__anext__())
    assert held == 'f.a' and await queue.graft(ROW, by=held, last='n')
    waits.append(asyncio.create_task(queue.wait('f.a', timeout=60)))
    while Status.WAITING not in {state.status for state in states}:
        states.append(await watch.__anext__())
    with pytest.raises(torrelque.TimeoutError, match=r"'f.a.n' was not final within 0\.1 s"):
        await queue.wait('f.a', timeout=0.1)
    for name in ('m', 'n'):
        held_one, _ = await queue.dequeue(60)
        assert held_one == f'f.a.{name}'
        if name == 'n':
            assert await queue.graft([Node('x', 1)], by=held_one, last='x')
        else:
            assert await queue.release(held_one)
    held_one, _ = await queue.dequeue(60)
    assert held_one == 'f.a.n.x' and await queue.release(held_one, result='x')
    for state in await asyncio.gather(*waits):
        assert (state.status, state.result, state.flow) == (Status.COMPLETED, 'x', 'f')
    states += [state async for state in watch]
    assert (await queue.wait('f.a', timeout=60)).result == 'x'
    assert {state.flow for state in states} == {'f'}


async def test_a_wait_goes_on_with_a_task_that_becomes_a_flow(queue: Torrelque) -> None:
    task_id = await queue.enqueue('alone')
    wait = asyncio.create_task(queue.wait(task_id, timeout=60))
    async for state in queue.watch(task_id, timeout=60):
        if state.status is Status.PENDING:
            held, _ = await queue.dequeue(60)
        elif state.status is Status.WORKING:
            assert await queue.graft([Node('n', 1)], by=held, last='n')
        elif not state.status.isfinal():
            heir, _ = await queue.dequeue(60)
            assert await queue.release(heir, result='n')
    state = await wait
    assert (state.status, state.result, state.total) == (Status.COMPLETED, 'n', 1)
