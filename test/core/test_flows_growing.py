"""Flows that are large, that pass results on, that are joined from outside, or grow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.looking import dump
from support.standing import Either, StandingClock
from test_flows import do, hows, take
from torrelque import Node, Torrelque, TorrelqueTaskStatus as Status
from torrelque.protocol import flows
from torrelque.protocol.steps import Walk

pytestmark = pytest.mark.first_server


# Large flows


async def test_a_large_flow_is_made_in_several_calls_and_begins_with_the_last(
    either: Either, client: redis.asyncio.Redis
) -> None:
    wide = [Node(f'{number}', number) for number in range(600)]
    nodes = [Node('last', 0, {node.name: 'then' for node in wide}), *wide]
    await either.enqueue_flow(nodes, flow_id='f')
    assert await either.get_queue_stats() == (602, 600, 0, 0, 0, 2)
    for _ in range(3):
        assert all(await either.release_many([task_id for task_id, _ in await either.take(200)]))
    await either.sweep()
    await do(either, 'last')
    assert (await either.get_task_state('f')).status is Status.COMPLETED
    assert not await client.exists('{scheduled}:spread')


async def test_a_large_flow_begins_though_nobody_waits_for_tasks(either: Either, client: redis.asyncio.Redis) -> None:
    """Whoever makes it begins what waits for nothing, however little that is, but not all that others have put off."""
    nodes = [Node(f'{number}', number, {f'{number - 1}': 'then'} if number else {}) for number in range(300)]
    await either.enqueue_flow(nodes, flow_id='f')
    assert await either.get_queue_stats() == (301, 1, 0, 0, 0, 300)
    assert not await client.exists('{scheduled}:spread')
    await either.enqueue_flow([Node('a', 1), *(Node(f'{k}', k, {'a': 'then'}) for k in range(2000))], flow_id='g')
    for held, _ in await either.take():
        await either.release(held)
    await either.enqueue_flow([Node(f'{number}', number) for number in range(60)], flow_id='h')
    assert 600 <= (await either.get_queue_stats()).pending < 1000 and await client.exists('{scheduled}:spread')
    await either.sweep()
    assert (await either.get_queue_stats()).pending == 1 + 2000 + 60


@pytest.mark.parametrize('early', [False, True])
async def test_a_draft_that_nobody_goes_on_with_is_given_up(
    client: redis.asyncio.Redis, standing: StandingClock, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    async with Torrelque(client, queue='scheduled') as queue:
        # Whoever makes it is killed before the last of its calls.
        calls = queue._started().call
        sent = 0

        def call(name: str, args: Any, resent: bool = False) -> Any:
            nonlocal sent
            sent += name == 'flow'
            if name == 'flow' and sent == 2:
                raise asyncio.CancelledError
            return calls(name, args, resent)

        monkeypatch.setattr(queue._started(), 'call', call)
        with pytest.raises(asyncio.CancelledError):
            # What is to run at the end does not run where nothing has begun.
            kinds: list[Any] = [{}] * 100 + [{'0': 'end'}] * 150 + [{'0': 'then'}] * 50
            await queue.enqueue_flow([Node(f'{number}', 1, after) for number, after in enumerate(kinds)], flow_id='f')
        assert (await queue.get_task_state('f')).left == 250
        # It is behind one that is not there yet.
        late = await queue.enqueue('late', depends_on=['f.0'])
        if early:
            assert await queue.cancel('f.0')
        await standing.move(59)
        await queue.sweep()
        assert (await queue.get_queue_stats()).waiting == 252 - early
        await standing.move(1)
        await queue.sweep()
        assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)
        for task_id in ('f', late):
            assert (await queue.get_task_state(task_id)).status is Status.CANCELLED
        assert not await client.exists('{scheduled}:gate:f', '{scheduled}:spread')


@pytest.mark.parametrize('successors', [1, 400])
async def test_a_task_that_is_cancelled_before_those_are_there_that_wait_for_it_is_an_end_for_them(
    client: redis.asyncio.Redis, queue: Torrelque, monkeypatch: pytest.MonkeyPatch, successors: int
) -> None:
    ahead = [Node(f'{number}', number) for number in range(249)]
    behind = [Node(f'then{number}', 1, {'0': 'then', '1': 'then'}) for number in range(successors)]
    last = [
        Node('fail', 2, {'0': 'fail', '1': 'end'}), Node('end', 3, {'0': 'end', '1': 'end'}),
        Node('any', 4, {'0': 'then'}, 'any'), Node('behind', 5, {'then0': 'end', 'any': 'end'}),
    ]  # fmt: skip
    calls = queue._started().call
    sent = 0

    async def call(name: str, args: Any, resent: bool = False) -> Any:
        nonlocal sent
        sent += name == 'flow'
        if name == 'flow' and sent == 2:
            assert await queue.cancel('f.0')
        return await calls(name, args, resent)

    monkeypatch.setattr(queue._started(), 'call', call)
    await queue.enqueue_flow([*ahead, *behind, *last], flow_id='f')
    assert sent > 1
    monkeypatch.undo()
    left = 1
    while left:
        await queue.sweep()
        stats = await queue.get_queue_stats()
        some = await queue.dequeue_many(250, 60) if stats.pending else []
        assert all(await queue.release_many([task_id for task_id, _ in some]))
        left = len(some) or await client.exists(queue.keys['spread'])
    outcomes = {outcome.id.removeprefix('f.'): outcome async for outcome in queue.get_outcomes('f')}
    assert (len(outcomes), outcomes['0'].error) == (249 + successors + 4, 'cancelled')
    assert {outcomes[node.name].how for node in (*behind, last[2])} == {'failed'}
    assert {outcomes[node.name].how for node in (*ahead[1:], *last[:2], last[3])} == {'completed'}
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)


async def test_a_fan_out_is_told_of_by_whoever_waits_for_tasks(queue: Torrelque) -> None:
    """One call tells 200 successors; the others are found by a consumer that only waits."""
    nodes = [Node('a', 0), *(Node(f'b{number}', number, {'a': 'then'}) for number in range(450))]
    flow_id = await queue.enqueue_flow(nodes)
    first, _ = await queue.dequeue(60)
    assert await queue.release(first)
    done = 0
    while done < 450:
        some = await queue.dequeue_many(250, 60)
        assert all(await queue.release_many([task_id for task_id, _ in some]))
        done += len(some)
    assert (await queue.wait(flow_id, timeout=60)).status is Status.COMPLETED


# Results


async def test_results_are_kept_once_and_passed_on_whatever_their_time_to_live(
    either: Either, client: redis.asyncio.Redis
) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2), Node('c', 3)], flow_id='f', out=['b'])
    for (task_id, _), ttl in zip(await either.take(), (None, 0, 60), strict=True):
        assert await either.release(task_id, result=str(task_id), result_ttl=ttl)
        assert not await client.exists(f'{{scheduled}}:task:{task_id}')
    outcomes = await either.get_results('f', 'f.a', 'f.b', 'f.c')
    assert [outcome.result for outcome in outcomes] == ['f.a', 'f.b', 'f.c']
    assert (await either.get_task_state('f')).result == 'f.b'


async def test_a_rejected_task_tells_its_result_or_its_last_error(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2)], flow_id='f')
    for (task_id, _), result in zip(await either.take(), ({'why': 1}, None), strict=True):
        assert await either.requeue(task_id, error='not yet')
        [(task_id, _)] = await either.take()
        assert await either.release(task_id, result=result, status=Status.REJECTED)
    one, other = await either.get_results('f', 'f.a', 'f.b')
    assert (one.how, one.result, one.error) == ('failed', {'why': 1}, 'it was rejected')
    assert (other.how, other.result, other.error) == ('failed', None, 'not yet')
    state = await either.get_task_state('f.b')
    assert (state.status, state.error, state.flow) == (Status.REJECTED, 'not yet', 'f')


async def test_named_values_are_of_the_flow(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], flow_id='f')
    held = await take(either, 'a')
    await either.put_value('@a', 1, by=held)
    await either.put_value('@a', [2], by=held)
    assert await either.get_value('f', '@a') == [2]
    with pytest.raises(torrelque.LookupError):
        await either.get_value('f', 'b')
    assert await either.release(held)
    with pytest.raises(torrelque.LeaseLostError):
        await either.put_value('@a', 3, by=held)
    await do(either, 'b')
    assert await either.get_value('f', '@a') == [2]
    await either.enqueue(1)
    [(plain, _)] = await either.take()
    with pytest.raises(torrelque.ValueError):
        await either.put_value('a', 1, by=plain)


async def test_whoever_waits_for_a_flow_or_its_task_learns_how_it_has_ended(queue: Torrelque) -> None:
    flow_id = await queue.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], out='b')
    waits = [asyncio.ensure_future(queue.wait(one, timeout=60)) for one in (flow_id, f'{flow_id}.a', f'{flow_id}.b')]
    seen = []
    async for state in queue.watch(flow_id, timeout=60):
        if state.left not in seen:
            seen.append(state.left)
        if state.left:
            task_id, task = await queue.dequeue(60)
            assert await queue.release(task_id, result=task)
    assert seen[-1] == 0
    states = await asyncio.gather(*waits)
    assert [(state.status, state.result) for state in states] == [(3, 2), (3, 1), (3, 2)]
    assert (await queue.wait(f'{flow_id}.a')).result == 1


# depends_on


async def test_a_task_waits_for_others_and_nothing_stays_behind(either: Either, client: redis.asyncio.Redis) -> None:
    await either.enqueue('a', task_id='a')
    await either.enqueue('b', task_id='b')
    await either.enqueue('c', task_id='c', depends_on=iter(['a', 'b', 'a']), group='g')
    await either.enqueue('d', task_id='d', depends_on=['c'])
    assert await either.get_queue_stats() == (5, 2, 0, 0, 0, 3)
    for name in 'abcd':
        task_id, _ = await either.dequeue(0)
        assert task_id == name
        assert await either.release(task_id, result=name, result_ttl=60)
        assert (await either.get_task_state(name)).result == name
    assert sorted([key for key in await client.keys('{scheduled}:*') if b':claim:' not in key]) == [
        b'{scheduled}:task:' + name for name in (b'a', b'b', b'c', b'd')
    ]


async def test_a_task_joins_the_flow_of_those_that_it_waits_for(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], flow_id='f')
    await do(either, 'a')
    await either.enqueue('c', task_id='c', depends_on=['f.a', 'f.b'])
    assert (await either.get_task_state('c')).flow == 'f' and (await either.get_task_state('f')).total == 3
    await either.enqueue('z', task_id='z', depends_on=['f'])
    await do(either, 'b')
    assert await either.get_queue_stats() == (4, 1, 0, 0, 0, 3)
    for name in ('c', 'z'):
        [(task_id, _)] = await either.take()
        assert task_id == name and await either.release(task_id)
    assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)


async def test_what_has_ended_counts_as_it_did(either: Either) -> None:
    for name, status in (('good', Status.COMPLETED), ('bad', Status.REJECTED)):
        await either.enqueue(1, task_id=name)
        [(task_id, _)] = await either.take()
        assert await either.release(task_id, status=status, result_ttl=60)
    await either.enqueue(1, task_id='one', depends_on=['good'])
    await either.enqueue(1, task_id='other', depends_on=['good', 'bad'])
    assert await either.ids() == ['one']
    state = await either.get_task_state('other')
    assert (state.status, state.error) == (Status.CANCELLED, 'skipped: bad has not come to the end it waits for')
    with pytest.raises(torrelque.LookupError):
        await either.enqueue(1, task_id='third', depends_on=['nobody'])


async def test_a_result_that_is_not_kept_is_not_passed_on(either: Either) -> None:
    """With a `result_ttl` of 0 nothing is kept of a task that belongs to no flow by its id, for nobody."""
    for name, ttl, result in (('a', 0, None), ('b', 60, 'kept'), ('c', None, 'kept')):
        await either.enqueue(1, task_id=name)
        await either.enqueue(2, task_id=f'{name}{name}', depends_on=[name])
        [(held, _)] = await either.take()
        assert await either.release(held, result='kept', result_ttl=ttl)
        [(held, _)] = await either.take()
        [outcome] = await either.get_results((await either.get_task_state(held)).flow, name)
        assert (outcome.how, outcome.result) == ('completed', result)
        assert await either.release(held)
        assert await either.get_queue_stats() == (0, 0, 0, 0, 0, 0)


async def test_tasks_of_different_flows_are_not_waited_for_together(either: Either) -> None:
    for name in ('f', 'g'):
        await either.enqueue_flow([Node('a', 1)], flow_id=name)
    with pytest.raises(torrelque.ValueError):
        await either.enqueue(1, depends_on=['f.a', 'g.a'])
    # A flow does not end before what joins it.
    with pytest.raises(torrelque.ValueError):
        await either.enqueue(1, depends_on=['f', 'f.a'])
    await either.enqueue(1, task_id='z', depends_on=['f', 'g'])
    assert (await either.get_queue_stats()).waiting == 4


# add_to_flow


async def test_a_task_that_works_adds_others_before_and_behind(either: Either) -> None:
    await either.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'}), Node('z', 0)], flow_id='f')
    held = {task_id: task_id for task_id, _ in await either.take()}
    assert await either.release(held['f.z'])
    nodes = [
        Node('2', 2, {'1': 'then'}, before=['b']),
        Node('1', 1, {'z': 'then'}),
        Node('3', 3, {'a': 'end'}),
        Node('4', 4, {'z': 'fail'}),
    ]
    for _ in range(2):
        added = await either.add_to_flow(nodes, by=held['f.a'])
        assert added == ['f.2', 'f.1', 'f.3', 'f.4']
        assert (await either.get_task_state('f')).total == 7
    assert await hows(either) == {'z': 'completed', '4': 'skipped', **dict.fromkeys('ab123')}
    assert await either.release(held['f.a'])
    await do(either, '1', '3', '2', 'b')
    assert (await either.get_task_state('f')).status is Status.COMPLETED


@pytest.mark.parametrize(
    ('before', 'status', 'expected'),
    [
        (['b'], Status.COMPLETED, {'b': None, 'c': None}),
        (('b', 'c'), Status.REJECTED, {'b': 'failed', 'c': 'failed'}),
        ({'b': 'end', 'c': 'then'}, Status.REJECTED, {'b': None, 'c': 'failed'}),
        ({'b': 'end', 'c': 'fail'}, Status.REJECTED, {'b': None, 'c': None}),
        ({'b': 'then', 'c': 'fail'}, Status.COMPLETED, {'b': None, 'c': 'skipped'}),
    ],
)
async def test_what_is_held_back_begins_with_the_end_that_is_said(
    either: Either, before: Any, status: Status, expected: dict[str, str | None]
) -> None:
    """By names it waits until what was added has completed, by a mapping for the end that this says."""
    await either.enqueue_flow([Node('a', 1), *(Node(name, 2, {'a': 'then'}) for name in 'bc')], flow_id='f')
    [(held, _)] = await either.take()
    assert await either.add_to_flow([Node('new', 3, before=before)], by=held) == ['f.new']
    assert await either.release(held)
    [(new, _), *rest] = sorted(await either.take(), key=lambda pair: str(pair[0]) != 'f.new')
    # What is not held back has begun by now.
    assert new == 'f.new' and [task_id for task_id, _ in rest] == [f'f.{name}' for name in 'bc' if name not in before]
    assert await either.release(new, status=status)
    found = await hows(either)
    assert {name: found[name] for name in 'bc'} == expected
    assert sorted(await either.ids()) == [f'f.{name}' for name in 'bc' if name in before and expected[name] is None]


async def test_nothing_is_added_that_cannot_be(either: Either, client: redis.asyncio.Redis) -> None:
    nodes = [Node('a', 1), Node('b', 2, {'a': 'then'}), Node('c', 3, {'b': 'then'}), Node('z', 0)]
    await either.enqueue_flow(nodes, flow_id='f')
    held = {task_id: task_id for task_id, _ in await either.take()}
    await either.enqueue(1, task_id='f.there')
    before = await dump(client)
    for kind, node in (
        (torrelque.LookupError, Node('x', 1, {'nobody': 'then'})),
        (torrelque.LookupError, Node('x', 1, before=['nobody'])),
        (torrelque.ValueError, Node('x', 1, before=['a'])),
        (torrelque.ValueError, Node('x', 1, {'c': 'then'}, before=['b'])),
        (torrelque.DuplicateError, Node('there', 1)),
    ):
        with pytest.raises(kind):
            await either.add_to_flow([Node('y', 1), node], by=held['f.a'])
        assert await dump(client) == before
    assert await either.cancel('f')
    with pytest.raises(torrelque.LeaseLostError):
        await either.add_to_flow([Node('x', 1)], by=held['f.a'])
    [(plain, _)] = await either.take()
    with pytest.raises(torrelque.ValueError):
        await either.add_to_flow([Node('x', 1)], by=plain)


async def test_a_queue_without_room_takes_no_flow(client: redis.asyncio.Redis) -> None:
    async with Torrelque(client, queue='full', max_tasks=3) as queue:
        with pytest.raises(torrelque.FullError):
            await queue.enqueue_flow([Node(name, 1) for name in 'abc'])
        assert await client.keys('*') == []
        await queue.enqueue_flow([Node(name, 1) for name in 'ab'], flow_id='f')
        held, _ = await queue.dequeue(60)
        with pytest.raises(torrelque.FullError):
            await queue.enqueue(1, depends_on=[held])
        with pytest.raises(torrelque.FullError):
            await queue.add_to_flow([Node('c', 1)], by=held)


async def test_one_call_tells_two_hundred_successors(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    nodes = [Node('a', 0), *(Node(f'b{number}', number, {'a': 'then'}) for number in range(450))]
    await queue.enqueue_flow(nodes, flow_id='f')
    held, _ = await queue.dequeue(60)
    assert await queue.release(held)
    assert (await queue.get_queue_stats()).pending == 200
    left = []
    while await client.exists(queue.keys['spread']):
        transition = queue._calls.transitions['spread']
        left.append(await client.execute_command(*transition.words([], False)))
    assert left == [[b'ok', 1, 0], [b'ok', 0, 0]]
    assert (await queue.get_queue_stats()).pending == 450


async def test_one_call_has_two_hundred_tasks_of_a_large_flow_begin(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    calls = queue._calls

    async def send(name: str, args: Any) -> Any:
        return await client.execute_command(*calls.transitions[name].words([*calls.heads[name], *args], False))

    nodes = [Node(f'{number}', number) for number in range(450)]
    flow = flows.new_flow(calls, nodes, 60, None, 'f', None, 'wait', (), None, 0)
    walk, reply = Walk(flows.make_flow(calls, flow)), None
    while walk.go_on(reply) and walk.name == 'flow':
        reply = await send('flow', walk.args)
    began = [(await queue.get_queue_stats()).pending]
    while await client.exists(queue.keys['spread']):
        await send('spread', [])
        began.append((await queue.get_queue_stats()).pending)
    assert began == [0, 200, 400, 450]
