"""A flow tells how it stands, and why it, or a task of it, does not go on; what waits is a place like others."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis.asyncio

from support.diamond import DIAMOND
from torrelque import (
    Torrelque,
    TorrelqueLookupError,
    TorrelqueNode,
    TorrelqueTaskId,
    TorrelqueTaskStatus,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.operate import Finding, FlowTaskView, Operator, Reason, Selection

pytestmark = pytest.mark.first_server

Node = TorrelqueNode


async def take(queue: Torrelque, count: int = 1) -> list[TorrelqueTaskId]:
    ids: list[TorrelqueTaskId] = []
    while len(ids) < count:
        ids.append((await queue.dequeue(60))[0])
    return ids


async def why(queue: Torrelque, task_id: str | None = None) -> list[Reason]:
    return await Operator(queue).explain(task_id)


def brief(reasons: list[Reason]) -> list[tuple[str, str]]:
    return [(reason.code, reason.text) for reason in reasons]


def doing(reason: Reason) -> dict[str, str]:
    return {holder.id: holder.doing for holder in reason.holders}


# The place


async def test_what_waits_is_a_place_that_is_counted_paged_and_selected(queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    operator = Operator(queue)
    overview = await operator.overview()
    assert (overview.tasks, overview.pending, overview.waiting) == (5, 1, 4) and 'waiting' in overview.exact
    page = await operator.page('waiting', most=3)
    rest = await operator.page('waiting', after=page.cursor)
    assert [task.id for task in (*page, *rest)] == ['F', 'F.b', 'F.c', 'F.d'] and (page.total, rest.cursor) == (4, None)
    flow, task = page.tasks[:2]
    assert (flow.place, flow.total, flow.left, flow.dead, flow.failed, flow.flow) == ('waiting', 4, 4, 0, 0, None)
    assert (task.place, task.total, task.flow, task.broken) == ('waiting', None, 'F', None)
    found = [task.id async for task in operator.tasks(Selection(status='waiting', older=0))]
    assert found == ['F', 'F.b', 'F.c', 'F.d']
    assert not [finding for finding in await operator.examine() if finding.level in ('warning', 'error')
                and finding.subject in ('waiting', 'pending', 'keys')]  # fmt: skip


async def test_what_waits_is_cancelled_by_its_place(queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    plain = await queue.enqueue(1)
    outcome = await Operator(queue).cancel(Selection(status='waiting', ids=['F.d']))
    assert (outcome.done, outcome.matched) == (1, 1)
    outcome = await Operator(queue).cancel(Selection(status='waiting'), paced=False)
    assert outcome.done and (await queue.get_queue_stats())[:2] == (1, 1)
    assert (await queue.get_task_state(plain)).status is TorrelqueTaskStatus.PENDING


# The view


async def test_a_flow_is_seen_with_its_tasks(queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F', name='etl', on_failure='skip', timeout=3600, task={'x': 1})
    [a] = await take(queue)
    await queue.release(a, result=7)
    [b, c] = await take(queue, 2)
    await queue.requeue(b, delay=60, error='Traceback\nKeyError: 1')
    operator = Operator(queue)
    view = await operator.flow('F')
    assert (view.name, view.status, view.total, view.left, view.dead, view.failed) == (
        'etl', TorrelqueTaskStatus.WAITING, 4, 3, 0, 0
    )  # fmt: skip
    assert (view.on_failure, view.draft, view.flow, view.task, view.cursor) == ('skip', False, None, {'x': 1}, None)
    assert view.started and view.gives_up and view.ended is None and not view.stalled
    tasks = {task.name: task for task in view.tasks}
    assert {name: task.word for name, task in tasks.items()} == {
        'a': 'completed', 'b': 'delayed', 'c': 'working', 'd': 'waiting'
    }  # fmt: skip
    assert (tasks['b'].error_line, tasks['b'].attempts, tasks['b'].id) == ('KeyError: 1', 1, 'F.b')
    assert tasks['b'].until and tasks['c'].until and tasks['b'].until > tasks['b'].since  # type: ignore[operator]
    assert (tasks['d'].after, tasks['d'].waits, tasks['d'].any) == ((('b', 'then'), ('c', 'end')), 2, False)
    assert json.loads(json.dumps(view.as_json()))['tasks'][-1]['how'] == 'completed'
    await queue.release(c)
    await queue.cancel('F')
    view = await operator.flow('F')
    assert view.status is TorrelqueTaskStatus.CANCELLED and view.ended and view.left == 0
    assert {task.name: task.how for task in view.tasks} == {
        'a': 'completed', 'b': 'cancelled', 'c': 'completed', 'd': 'cancelled'
    }  # fmt: skip


async def test_a_flow_of_many_tasks_is_seen_in_pages(queue: Torrelque) -> None:
    nodes = [Node(f'n{n}', n, {f'n{n - 1}': 'then'} if n else {}) for n in range(400)]
    await queue.enqueue_flow(nodes, flow_id='F')
    for _ in range(150):
        await queue.release((await take(queue))[0])
    operator, seen, after, pages = Operator(queue), dict[str, FlowTaskView](), None, 0
    while pages == 0 or after is not None:
        view = await operator.flow('F', after=after, most=120)
        after, pages = view.cursor, pages + 1
        seen |= {task.name: task for task in view.tasks}
    assert pages >= 2 and {*seen} == {node.name for node in nodes}
    assert seen['n399'].after == (('n398', 'then'),) and seen['n149'].how == 'completed'


async def test_a_flow_that_is_none_is_told_so(queue: Torrelque) -> None:
    await queue.enqueue(1, task_id='plain')
    operator = Operator(queue)
    for flow_id in ('plain', 'other'):
        with pytest.raises(TorrelqueLookupError, match=f"the queue has no flow '{flow_id}'"):
            await operator.flow(flow_id)
    wrong: Any
    for wrong in ('x', 'needs x', 'needs -1', 'needs'):
        with pytest.raises(TorrelqueValueError, match='the cursor is not of a flow'):
            await operator.flow('plain', after=wrong)
    for wrong in (1, b'x'):
        with pytest.raises(TorrelqueTypeError, match='a cursor must be a str'):
            await operator.flow('plain', after=wrong)


# Reasons


async def test_a_task_tells_for_whom_it_waits_and_what_they_do(queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    [reason] = await why(queue, 'F.b')
    assert brief([reason]) == [('waiting', 'it waits for task a to complete, in flow F')]
    assert doing(reason) == {'F.a': 'pending'} and reason.command == f'torrelque show F -q {queue.name}'
    [a] = await take(queue)
    assert doing((await why(queue, 'F.b'))[0]) == {'F.a': 'working'}
    await queue.release(a)
    [b, _] = await take(queue, 2)
    [reason] = await why(queue, 'F.d')
    assert brief([reason]) == [('waiting', 'it waits for 2 tasks to end, in flow F')]
    assert doing(reason) == {'F.b': 'working', 'F.c': 'working'} and reason.count == 2
    await queue.requeue(b, delay=60)
    assert doing((await why(queue, 'F.d'))[0]) == {'F.c': 'working', 'F.b': 'delayed'}


async def test_a_task_that_waits_for_the_first_of_several_says_so(queue: Torrelque) -> None:
    nodes = [Node('a', 1), Node('b', 1), Node('c', 1, {'a': 'fail', 'b': 'fail'}, 'any')]
    await queue.enqueue_flow(nodes, flow_id='F')
    assert brief(await why(queue, 'F.c')) == [('waiting', 'it waits for the first of 2 tasks to fail, in flow F')]


async def test_a_dead_task_far_before_it_is_in_the_way(queue: Torrelque) -> None:
    await queue.enqueue_flow([Node('z', 1), *DIAMOND], flow_id='F')
    [a, z] = sorted(await take(queue, 2))
    await queue.bury(a, error='Traceback\nValueError: no')
    stalled, waits = await why(queue, 'F.d')
    assert stalled.code == 'stalled' and waits.code == 'waiting'
    assert stalled.text == 'task a is dead, and it cannot begin before that is redriven'
    assert (stalled.error, stalled.command) == ('Traceback\nValueError: no', f'torrelque redrive F -q {queue.name}')
    assert stalled.since and doing(stalled) == {'F.a': 'dead'} and doing(waits) == {'F.b': 'waiting', 'F.c': 'waiting'}
    of_flow, goes_on = await why(queue, 'F')
    words = 'it cannot end: 1 of its tasks is dead, and 3 of its tasks wait'
    assert (of_flow.code, of_flow.text) == ('stalled', words)
    assert (of_flow.since, of_flow.command, of_flow.count) == (stalled.since, stalled.command, 1)
    assert brief([goes_on]) == [('waiting', 'it goes on: 0 of 5 tasks have ended; 1 at work, 3 waiting')]
    await queue.release(z)
    [of_flow] = await why(queue, 'F')
    assert of_flow.text.startswith('it stands still: 1 of its') and (await Operator(queue).flow('F')).stalled
    outcome = await Operator(queue).redrive(Selection(ids=['F']))
    assert (outcome.done, outcome.refused) == (1, ())
    assert brief(await why(queue, 'F')) == [
        ('waiting', 'it goes on: 1 of 5 tasks have ended; 1 pending, 3 waiting')
    ]  # fmt: skip
    assert [(act.act, act.what, act.count) for act in await Operator(queue).acts()] == [('redrive', 'F', 1)]


async def test_what_needs_the_end_of_a_task_that_is_stuck_is_stuck_as_well(queue: Torrelque) -> None:
    nodes = [
        Node('a', 1), Node('x', 1), Node('b', 1, {'a': 'then'}), Node('c', 1, {'b': 'end'}),
        Node('d', 1, {'b': 'then', 'x': 'then'}, 'any'), Node('e', 1, {'b': 'then', 'c': 'then'}, 'any'),
    ]  # fmt: skip
    await queue.enqueue_flow(nodes, flow_id='F')
    [a, _] = sorted(await take(queue, 2))
    await queue.bury(a)
    assert [reason.code for reason in await why(queue, 'F.c')] == ['stalled', 'waiting']
    # One of several is enough, as long as one can come.
    assert [reason.code for reason in await why(queue, 'F.d')] == ['waiting']
    assert [reason.code for reason in await why(queue, 'F.e')] == ['stalled', 'waiting']


async def test_what_an_end_of_any_kind_is_enough_for_is_not_stalled(queue: Torrelque) -> None:
    nodes = [Node('a', 1), Node('x', 1), Node('b', 1, {'a': 'end', 'x': 'then'}), Node('c', 1, {'b': 'then'})]
    await queue.enqueue_flow(nodes, flow_id='F')
    [a, _] = sorted(await take(queue, 2))
    await queue.bury(a)
    assert [reason.code for reason in await why(queue, 'F.b')] == ['waiting']
    assert [reason.code for reason in await why(queue, 'F.c')] == ['waiting']


async def test_a_flow_that_is_made_in_several_calls_says_so(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    # As the first of several calls leaves it.
    await client.hset(f'{queue.keys["task"]}:F', 'draft', 1)
    await client.rpush(f'{queue.keys["gate"]}:F', 'F.a')
    await client.zadd(queue.keys['waiting'], {'F': 10**13})
    [reason] = await why(queue, 'F')
    assert reason.code == 'draft' and reason.text.startswith('it is being made, and begins with the last call')
    assert reason.until == 10**10


async def test_a_flow_whose_time_is_over_says_so(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F', timeout=3600)
    reasons = await why(queue, 'F')
    assert [reason.code for reason in reasons] == ['waiting'] and reasons[0].until
    await client.zadd(queue.keys['waiting'], {'F': 1000})
    late = (await why(queue, 'F'))[0]
    assert (late.code, late.since, late.command) == ('overdue', 1.0, f'torrelque sweep -q {queue.name}')
    assert late.text == 'its time is over, and nobody has cancelled it: no consumer waits, and nobody sweeps'
    await queue.sweep()
    finished = await why(queue, 'F')
    assert [(reason.code, reason.error) for reason in finished] == [('finished', 'its time is over')]
    [ended] = await why(queue, 'F.d')
    assert ended.code == 'finished'


async def test_what_is_left_to_others_is_told_of(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    await client.rpush(queue.keys['spread'], '["","F","gate",0]')
    for task_id in ('F', 'F.d', None):
        reasons = {reason.code: reason for reason in await why(queue, task_id)}
        if task_id is not None:
            assert reasons['overdue'].command == f'torrelque sweep -q {queue.name}' and reasons['overdue'].count == 1
    await queue.sweep()
    assert 'overdue' not in {reason.code for reason in await why(queue, 'F')}


async def test_a_cancelled_flow_tells_what_is_left_of_it(queue: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1), Node('z', 1, {'a': 'end'})], flow_id='F')
    [a] = await take(queue)
    await queue.cancel('F')
    [reason] = await why(queue, 'F')
    assert (reason.code, reason.count) == ('cancelled', 2) and reason.text.startswith('it was cancelled, and 2 of its')
    assert doing(reason) == {'F.a': 'working', 'F.z': 'waiting'}
    # A second call takes the cleanup back as well.
    assert (await Operator(queue).cancel(Selection(ids=['F']))).done == 1
    await queue.release(a)
    assert (await queue.get_queue_stats()).tasks == 0


async def test_a_task_of_which_only_its_flow_knows_is_finished(queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    await queue.release((await take(queue))[0])
    assert brief(await why(queue, 'F.a')) == [('finished', 'it is completed, and flow F keeps that for a while')]


async def test_a_task_that_gave_its_place_away_says_whose_end_is_its_own(queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F', on_failure='skip')
    [a] = await take(queue)
    assert await queue.graft([Node('x', 1)], by=a, last='x')
    [reason] = await why(queue, 'F.a')
    assert (reason.code, reason.command) == ('waiting', f'torrelque show F -q {queue.name}')
    assert reason.text == 'other tasks of flow F have taken its place, and it ends with the last of them'
    await queue.bury((await take(queue))[0], error='boom')
    [reason] = await why(queue, 'F.a')
    assert (reason.code, reason.error) == ('finished', 'its graft has failed: F.a.x: boom')
    assert [reason.code for reason in await why(queue, 'F.x')] == ['unknown']


async def test_a_queue_in_which_all_waits_says_so(queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    await take(queue)
    assert brief(await why(queue))[1:] == [
        ('waiting', 'nothing is pending: 4 tasks and flows wait for others')
    ]  # fmt: skip


async def test_a_state_that_was_lost_does_no_harm(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    await client.delete(f'{queue.keys["task"]}:F.b')
    await client.set(f'{queue.keys["task"]}:F.c', 'x')
    view = await Operator(queue).flow('F')
    assert {task.name: task.word for task in view.tasks} == {'a': 'pending', 'b': 'lost', 'c': 'lost', 'd': 'waiting'}
    assert doing((await why(queue, 'F.d'))[-1]) == {'F.b': 'unknown', 'F.c': 'unknown'}
    await client.delete(f'{queue.keys["edges"]}:F')
    assert [reason.code for reason in await why(queue, 'F.d')] == ['broken']
    await client.delete(f'{queue.keys["task"]}:F')
    assert [reason.code for reason in await why(queue, 'F.d')] == ['broken']


async def test_a_task_whose_place_was_taken_says_so(queue: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1), Node('b', 1, {'a': 'then'})], flow_id='F')
    held, _ = await queue.dequeue(60)
    assert await queue.graft([Node('m', 1), Node('n', 1, {'m': 'then'})], by=held, last='n')
    held, _ = await queue.dequeue(60)
    await queue.bury(held, error='no')
    view = await Operator(queue).flow('F')
    assert {task.name: (task.word, task.status) for task in view.tasks} == {
        'a': ('grafted', TorrelqueTaskStatus.COMPLETED), 'a.m': ('dead', TorrelqueTaskStatus.DEAD),
        'a.n': ('waiting', TorrelqueTaskStatus.WAITING), 'b': ('waiting', TorrelqueTaskStatus.WAITING),
    }  # fmt: skip
    # What waits for it is held back by what has taken its place.
    reasons = await why(queue, 'F.b')
    assert brief(reasons)[0][1] == 'task a.m is dead, and it cannot begin before that is redriven'
    assert doing(reasons[1]) == {'F.a.n': 'waiting'}


# Those that stand still


def told(findings: list[Finding]) -> list[tuple[str, str | None]]:
    return [(finding.text, finding.advice) for finding in findings]


async def test_flows_with_dead_tasks_are_told_with_the_command_that_has_them_go_on(queue: Torrelque) -> None:
    operator, q = Operator(queue), queue.name
    for flow in 'FG':
        await queue.enqueue_flow(DIAMOND, flow_id=flow)
    await queue.enqueue_flow(DIAMOND, flow_id='H', on_failure='skip')
    assert await operator.stalled() == []
    for count, task_id in enumerate(await take(queue, 3), 1):
        if task_id == 'F.a':
            await queue.bury(task_id)
            text = "1 flow has dead tasks (1), and it cannot end before these are redriven: 'F'"
            assert told(await operator.stalled()) == [(text, f'torrelque redrive F -q {q}')]
        elif count != 1:
            await queue.bury(task_id)
    text = "2 flows have dead tasks (2), and they cannot end before these are redriven: 'F', 'G'"
    expected = [(text, f'torrelque redrive F G -q {q}')]
    assert told(await operator.stalled(queue=q)) == expected
    assert told([it for it in await operator.examine() if it.subject == 'flows']) == expected
    for flow in 'FG':
        assert await queue.redrive(flow) == 1
    assert await operator.stalled() == []


@pytest.mark.parametrize('lost', ['needs', 'edge', 'state'])
@pytest.mark.parametrize('size', [3, 300])
async def test_a_flow_in_which_nothing_can_begin_is_told_and_may_be_cancelled(
    queue: Torrelque, client: redis.asyncio.Redis, lost: str, size: int
) -> None:
    nodes = [Node('a', 1), *(Node(f'b{number}', 1, {'a': 'then'}) for number in range(size))]
    await queue.enqueue_flow(nodes, flow_id='F')
    await queue.enqueue_flow(nodes, flow_id='G')
    operator = Operator(queue)
    [one, other] = await take(queue, 2)
    first = one if one == 'F.a' else other
    assert await operator.stalled() == []
    if lost == 'needs':
        await client.delete(f'{queue.keys["needs"]}:F')
    elif lost == 'edge':
        await client.hdel(f'{queue.keys["edges"]}:F', 'F.a')
        await queue.release(first)
    else:
        await client.delete(f'{queue.keys["task"]}:F.a')
    text = "1 flow stands still, because a key was lost: nothing that is left of it can begin: 'F'"
    assert told(await operator.stalled()) == [(text, f'torrelque cancel F -q {queue.name}')]
    assert await queue.cancel('F')
    assert await operator.stalled() == []


async def test_what_nobody_sweeps_of_flows_is_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    operator, command = Operator(queue), f'torrelque sweep -q {queue.name}'
    await queue.enqueue_flow(DIAMOND, flow_id='F', timeout=60)
    await queue.enqueue_flow([*DIAMOND, Node('e', 1)], flow_id='G')
    assert await operator.stalled() == []
    await client.zadd(queue.keys['waiting'], {'F': 1000})
    [(text, advice)] = told(await operator.stalled())
    assert text.startswith('1 flow is past its time, the first by ') and text.endswith("nobody sweeps: 'F'")
    assert advice == command
    await client.rpush(queue.keys['spread'], json.dumps(['', 'G', 'gate', 0]))
    assert [it for _, it in told(await operator.stalled())] == [command] * 2
    await queue.sweep()
    assert await operator.stalled() == []
