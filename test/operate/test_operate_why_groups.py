"""Reasons that lie in a pause, a limit or a rate: who is in the way, until when, and what changes it."""

from __future__ import annotations

import time

import pytest
import redis.asyncio

from support.explaining import NO_WORKER, Hire, brief, by, first, running, why, worker
from support.taking import take_all
from torrelque import Torrelque
from torrelque.operate import Act, Operator, Reason
from torrelque.testing import Clock

pytestmark = pytest.mark.first_server

# Pauses


async def test_queue_that_is_paused(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await queue.pause()
    reason, *others = await why(queue, task_id)
    assert reason == Reason('queue-paused', 'the queue is paused', command=by(queue, 'resume'), queue=queue.name)
    assert brief(others) == [('no-worker', NO_WORKER)]


async def test_pause_with_probes_tells_when_the_next_comes(queue: Torrelque) -> None:
    one, other = [await queue.enqueue(1) for _ in range(2)]
    await queue.pause(probe=600)
    reason = await first(queue, one)
    text = 'the queue is paused; it lets one task through every 600 s, the next '
    assert (reason.code, reason.text) == ('queue-paused', text + 'when its time comes')
    assert reason.until == pytest.approx(time.time() + 600, abs=60)
    await Clock(queue).move(601)
    assert [found.code for found in await why(queue, one)] == ['no-worker']
    assert [found.code for found in await why(queue, other)] == ['queue-paused', 'behind', 'no-worker']
    assert (await first(queue, other)).text == text + 'at once'


async def test_group_that_is_paused(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, group='acme')
    await queue.pause('acme')
    reason = await first(queue, task_id)
    command = by(queue, 'resume --group acme')
    assert reason == Reason('group-paused', 'the group is paused', command=command, queue=queue.name)
    await queue.pause()
    assert [found.code for found in await why(queue, task_id)] == ['queue-paused', 'group-paused', 'no-worker']


async def test_whoever_has_paused_is_told_where_that_is_on_record(
    client: redis.asyncio.Redis, queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await queue.enqueue(1, group='acme')
    await queue.pause()
    await queue.pause('acme', probe=30)
    await client.lpush(queue.keys['acts'], 'any')
    record = [
        Act(queue.name, 9.0, 'cy@h', 'resume', 'group acm', 0),
        Act(queue.name, 8.0, 'bo@h', 'pause', 'group acme, probe 30s', 0),
        Act(queue.name, 7.0, 'ann@h', 'pause', 'the queue', 0),
        Act(queue.name, 6.0, 'dan@h', 'resume', 'the queue', 0),
    ]

    async def read(_queue: Torrelque) -> list[Act]:
        return record

    monkeypatch.setattr('torrelque.operate.acts.read_acts', read)
    of_queue, of_group, *_ = await why(queue, task_id)
    assert (of_queue.text, of_queue.since) == ('the queue is paused, by ann@h as the record has it', 7.0)
    text = 'the group is paused, by bo@h as the record has it; it lets one task through every 30 s, '
    text += 'the next when its time comes'
    assert (of_group.text, of_group.since) == (text, 8.0)
    # A pause that was set behind the record's back is nobody's.
    record.insert(0, Act(queue.name, 10.0, 'dan@h', 'resume', 'the queue', 0))
    assert (await first(queue, task_id)).text == 'the queue is paused'


async def test_pause_of_code_is_not_that_of_whoever_has_paused_before(queue: Torrelque) -> None:
    operator = Operator(queue, who='ann@h')
    task_id = await queue.enqueue(1, group='acme')
    await operator.pause()
    await queue.resume()
    # As a circuit breaker does.
    await queue.pause(probe=30)
    reason = await first(queue, task_id)
    assert (reason.text.partition(';')[0], reason.since) == ('the queue is paused', None)
    # To pause again leaves it as it is.
    await queue.resume()
    await operator.pause(probe=30.0004)
    await Operator(queue, who='bo@h').pause(probe=50)
    await queue.pause(probe=30.0004)
    assert 'ann@h' in (await first(queue, task_id)).text


async def test_record_of_a_group_is_not_that_of_one_whose_name_is_longer(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, group='acme')
    await queue.pause('acme')
    for name in ('acme, probe x', 'acme, probe ', 'acme, probe 5s', 'acme\n, probe 5s'):
        await Operator(queue, who='ann@h').pause(name)
    assert (await first(queue, task_id)).text == 'the group is paused'
    await Operator(queue, who='bo@h').pause('acme')
    assert (await first(queue, task_id)).text == 'the group is paused, by bo@h as the record has it'


# Limits and rates


async def test_group_at_its_limit_names_those_that_are_in_the_way(queue: Torrelque, hire: Hire) -> None:
    await queue.set_limit('acme', concurrency=3)
    ids = [await queue.enqueue({'task': 'render', 'args': [n]}, group='acme') for n in range(5)]
    for _ in range(3):
        await queue.dequeue(0)
    await queue.requeue(ids[1], delay=600, error='TimeoutError')
    hire(worker('web-1', busy=1, running=running(ids[0], queue, 'acme')))
    at_limit, behind, *_ = await why(queue, ids[4])
    text = 'the group is at its limit: 3 of 3 slots are in use, 1 of them by a task that is delayed for a retry and '
    assert (at_limit.code, at_limit.text) == ('at-limit', text + 'keeps its slot')
    assert (at_limit.count, at_limit.limit, at_limit.workers) == (3, 3.0, ('web-1',))
    assert at_limit.command == by(queue, 'limit acme --concurrency 4')
    told = [(one.id, one.doing, one.function, one.worker, one.error) for one in at_limit.holders]
    assert told == [
        (ids[0], 'working', 'shop.send', 'web-1', None),
        (ids[2], 'working', 'render', None, None),
        (ids[1], 'delayed', 'render', None, 'TimeoutError'),
    ]
    delayed = at_limit.holders[2]
    assert at_limit.until == delayed.until == pytest.approx(time.time() + 600, abs=60)
    assert (behind.code, behind.text, behind.count) == ('behind', '1 task of the group goes first', 1)


async def test_only_slot_that_a_retry_keeps(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=1)
    one, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    await queue.requeue(one, delay=600)
    text = 'the group is at its limit: 1 of 1 slots is in use, by a task that is delayed for a retry and keeps its slot'
    assert (await first(queue, other)).text == text


async def test_head_whose_turn_is_next_is_in_the_way_where_others_are_worked_on(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=2)
    ids = [await queue.enqueue(1, group='acme') for _ in range(3)]
    # Behind the head alone it is no matter of the limit.
    assert [found.code for found in await why(queue, ids[2])] == ['behind', 'no-worker']
    await queue.dequeue(0)
    reason = await first(queue, ids[2])
    text = 'the group is at its limit: 2 of 2 slots are in use, one of them by the task whose turn is next'
    assert (reason.code, reason.text) == ('at-limit', text)
    assert [(one.id, one.doing) for one in reason.holders] == [(ids[0], 'working'), (ids[1], 'next')]


async def test_limit_that_was_lowered_holds_the_head_back(queue: Torrelque) -> None:
    ids = [await queue.enqueue(1, group='acme') for _ in range(3)]
    for _ in range(2):
        await queue.dequeue(0)
    await queue.set_limit('acme', concurrency=1)
    reason = await first(queue, ids[2])
    text = 'the group is above its limit, which was lowered: 3 slots are in use of 1, '
    assert (reason.code, reason.text) == ('at-limit', text + 'one of them by the task whose turn is next')
    assert (reason.count, reason.limit) == (3, 1.0)
    assert reason.command == by(queue, 'limit acme --concurrency 3')


async def test_holder_whose_lease_has_ended_waits_for_a_sweep(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=1)
    _, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    await Clock(queue).move(301)
    overdue, at_limit, *_ = await why(queue, other)
    text = 'a task that holds a slot of the group has had its time, and nobody has seen to it: no consumer waits, and'
    assert (overdue.code, overdue.text, overdue.command) == ('overdue', f'{text} nobody sweeps', by(queue, 'sweep'))
    assert (at_limit.code, overdue.since) == ('at-limit', at_limit.holders[0].until)


async def test_holders_are_searched_for_among_all_and_twenty_are_named(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=30)
    await queue.enqueue_many([{'task': 'f'}] * 31, group='acme')
    await queue.enqueue_many([{'task': 'f'}] * 300, group='beta')
    await take_all(queue, bulk=50)
    [reason] = [found for found in await why(queue, group='acme') if found.code == 'at-limit']
    assert reason.text == 'the group is at its limit: 30 of 30 slots are in use; 20 of the tasks are named'
    assert {one.doing for one in reason.holders} == {'working'}
    assert len({one.id for one in reason.holders}) == 20


async def test_holder_that_a_search_does_not_find_is_told_by_hearts(
    client: redis.asyncio.Redis, queue: Torrelque, hire: Hire
) -> None:
    await queue.set_limit('acme', concurrency=1)
    one, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    # In a queue with very many holders the search ends before it finds this one.
    await client.delete(queue.keys['holders'])
    hire(worker('web-1', busy=1, running=running(one, queue, 'acme')))
    assert [holder.id for holder in (await first(queue, other)).holders] == [one]


async def test_slots_of_which_nobody_is_found(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=1)
    _, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    task_id, _ = await queue.dequeue(0)
    await queue.bury(task_id)
    await queue.dequeue(0)
    third = await queue.enqueue(1, group='acme')
    await client.delete(queue.keys['holders'])
    reason = await first(queue, third)
    text = 'the group is at its limit: 1 of 1 slots is in use; by which tasks was not found'
    assert (reason.text, reason.holders, other == '') == (text, (), False)


async def test_group_that_has_used_up_its_rate(queue: Torrelque) -> None:
    await queue.set_limit('acme', rate=(2, 600))
    ids = [await queue.enqueue(1, group='acme') for _ in range(4)]
    for _ in range(2):
        await queue.dequeue(0)
    no_token, behind, *_ = await why(queue, ids[3])
    text = 'the group has used up its rate, 2 in 600 s: its next task may begin when that allows'
    assert (no_token.code, no_token.text, no_token.limit) == ('no-token', text, 2.0)
    assert no_token.until == pytest.approx(time.time() + 300, abs=60)
    assert no_token.command == by(queue, 'limit acme --rate 4/600s')
    assert (behind.code, behind.count) == ('behind', 1)


async def test_token_that_has_come_and_that_nobody_has_swept(queue: Torrelque) -> None:
    await queue.set_limit('acme', rate=(1, 600))
    _, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    await Clock(queue).move(601)
    reason = await first(queue, other)
    text = 'the group may go on, and nobody has seen to it: no consumer waits, and nobody sweeps'
    assert (reason.code, reason.text, reason.command) == ('overdue', text, by(queue, 'sweep'))


async def test_group_that_was_not_told_of_a_new_default_goes_on_when_it_is_resumed(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await queue.set_limit(concurrency=1)
    _, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    await client.hset(queue.keys['limits'], '', '{"concurrency": 2}')
    reason = await first(queue, other)
    text = 'the group may go on, and nobody is told to see to it; to resume it, though it is not paused, does'
    assert (reason.code, reason.text) == ('broken', text)
    assert reason.command == by(queue, 'resume --group acme')
    await queue.resume('acme')
    assert [found.code for found in await why(queue, other)] == ['no-worker']
