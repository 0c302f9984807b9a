"""What an operator is told of tasks of flows that are worked on in other queues."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio

from support.acting import Commands
from torrelque import Torrelque, TorrelqueNode, TorrelqueTaskStatus
from torrelque.operate import Operator, Reason

pytestmark = pytest.mark.first_server

Node = TorrelqueNode


@pytest.fixture
def other(queue: Torrelque) -> Torrelque:
    return queue.sibling('other')


async def why(queue: Torrelque, task_id: str = 'F.a') -> Reason:
    [reason] = await Operator(queue).explain(task_id)
    return reason


async def stands(queue: Torrelque) -> Any:
    view = await Operator(queue).flow('F')
    return {task.name: (task.word, task.away) for task in view.tasks}


async def test_a_task_that_is_elsewhere_says_where_and_since_when(queue: Torrelque, other: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1, queue='other'), Node('b', 2, {'a': 'then'}, queue='other')], flow_id='F')
    reason = await why(queue)
    assert (reason.code, reason.text) == ('working', 'it is at queue other')
    assert reason.since is not None and reason.command == 'torrelque why F.a -q other'
    waits = await why(queue, 'F.b')
    assert (waits.code, waits.text) == ('waiting', 'it waits for task a to complete, in flow F')
    assert [(holder.id, holder.doing) for holder in waits.holders] == [('F.a', 'working')]
    assert await stands(queue) == {'a': ('working', 'other'), 'b': ('waiting', 'other')}
    view = await Operator(queue).task('F.a')
    assert (view.place, view.away, view.broken) == ('away', 'other', None)

    overview = await Operator(queue).overview()
    assert (overview.tasks, overview.pending, overview.working, overview.waiting) == (3, 0, 1, 2)
    assert [finding for finding in await Operator(queue).examine() if finding.level in ('error', 'warning')] == []


async def test_a_death_elsewhere_is_told_with_what_repairs_it(queue: Torrelque, other: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1, queue='other')], flow_id='F')
    task_id, _ = await other.dequeue(60)
    await other.bury(task_id, error='Traceback\nboom')
    await other.sweep()
    reason = await why(queue)
    assert (reason.code, reason.error) == ('dead', 'Traceback\nboom')
    assert reason.text == 'it is at queue other, and dead there'
    assert reason.command == 'torrelque redrive F.a -q other'
    assert await stands(queue) == {'a': ('dead', 'other')}
    [stalled] = await Operator(queue).explain('F')
    assert (stalled.code, stalled.count) == ('stalled', 1)


async def test_what_the_other_queue_is_to_be_told_is_told_with_how_often_it_was_tried(
    queue: Torrelque, other: Torrelque, client: redis.asyncio.Redis
) -> None:
    await other.enqueue(1)
    queue._calls._max_tasks = 1
    await queue.enqueue_flow([Node('a', 1, queue='other')], flow_id='F')
    reason = await why(queue)
    assert (reason.code, reason.text) == ('waiting', 'queue other is to be told of it')
    assert reason.until is not None and reason.command == f'torrelque sweep -q {queue.name}'
    await client.hset(f'{queue.keys["task"]}:F.a', 'tries', 3)
    assert (await why(queue)).text == 'queue other is to be told of it, which was tried 3 times'
    assert await queue.cancel('F')
    queue._calls._max_tasks = None
    await client.hset(f'{queue.keys["task"]}:F.a', mapping={'errand': 'cancel', 'status': 6, 'queue': 'other'})
    await client.zadd(queue.keys['away'], {'F.a': 1})
    assert (await why(queue)).text == 'queue other is to be told that it was cancelled'


async def test_a_task_that_was_cancelled_here_and_is_held_there_says_so(queue: Torrelque, other: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1, queue='other')], flow_id='F')
    await other.dequeue(60)
    assert await queue.cancel('F.a')
    reason = await why(queue)
    assert (reason.code, reason.command) == ('cancelled', 'torrelque why F.a -q other')
    assert reason.text.startswith('it was cancelled, and is at queue other still')
    assert (await Operator(queue).task('F.a')).status is TorrelqueTaskStatus.CANCELLED


async def test_the_terminal_shows_where_tasks_of_a_flow_are(
    queue: Torrelque, other: Torrelque, command: Commands
) -> None:
    await queue.enqueue_flow([Node('a', 1, queue='other'), Node('b', 2, {'a': 'then'})], flow_id='F')
    shown = (await command('show', 'F')).out
    assert 'a  working  at other, for ' in shown
    shown = (await command('show', 'F.a')).out
    assert 'it is at queue other' in shown and 'at queue' in shown
