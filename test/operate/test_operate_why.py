"""Each reason by itself: when it is told, its words, since and until when, who is in the way, and what changes it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.obeying import claim, parse
from support.servers import RealServer
from support.taking import take_all
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.cli.amounts import KEEP
from torrelque.operate import CODES, Act, Operator, Reason, RunningView, WorkerView
from torrelque.testing import Clock

NO_WORKER = 'no worker lives that has a heartbeat; nobody waits for tasks either: the bell rings'
UNSEEN = '(consumers without a heartbeat are not seen)'

Hire = Callable[..., None]


def worker(name: str, **fields: Any) -> WorkerView:
    """A worker that lives and has places free."""
    given: dict[str, Any] = {
        'name': name, 'queue': '', 'state': 'running', 'host': 'h', 'pid': 1, 'version': '1', 'started': 1.0,
        'seen': 2.0, 'interval': 5.0, 'queues': (), 'functions': (), 'concurrency': 2, 'busy': 0, 'running': (),
        'succeeded': 0, 'failed': 0, 'dead': 0, 'lost': 0, 'hanging': 0, 'lag': None, 'claimed': None, 'rss': None,
        'why': None,
    }  # fmt: skip
    return WorkerView(**{**given, **fields})


@pytest.fixture
async def hire(client: redis.asyncio.Redis, queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> Hire:
    """A function that has workers tell of themselves."""
    await client.zadd(queue.keys['workers'], {'any': 1})

    def change(*workers: WorkerView) -> None:
        async def read(_queue: Torrelque, _running: bool = True) -> list[WorkerView]:
            return [dataclasses.replace(one, queue=queue.name) for one in workers]

        monkeypatch.setattr('torrelque.operate.crew.read_workers', read)

    change()
    return change


async def why(queue: Torrelque, task_id: str | None = None, *, group: str | None = None) -> list[Reason]:
    return await Operator(queue).explain(task_id, group=group)


def brief(reasons: list[Reason]) -> list[tuple[str, str]]:
    return [(reason.code, reason.text) for reason in reasons]


async def first(queue: Torrelque, task_id: str | None = None, *, group: str | None = None) -> Reason:
    return (await why(queue, task_id, group=group))[0]


def by(queue: Torrelque, words: str) -> str:
    return f'torrelque {words} -q {queue.name}'


# A task by itself


async def test_task_that_nobody_knows(queue: Torrelque) -> None:
    text = 'the queue knows no such task: it was never enqueued, or is finished and forgotten'
    assert await why(queue, 'x') == [Reason('unknown', text)]


async def test_task_that_is_finished_and_kept(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await queue.dequeue(0)
    await queue.release(task_id, status=Status.REJECTED, result_ttl=600)
    state = await queue.get_task_state(task_id)
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text) == ('finished', 'it is rejected, and its state is kept for a while')
    assert reason.since == state.release_time
    assert reason.until is not None
    assert 500 < reason.until - (reason.since or 0) <= 600.1


async def test_task_that_was_cancelled_is_finished(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await queue.cancel(task_id)
    assert brief(await why(queue, task_id)) == [('finished', 'it is cancelled, and its state is kept for a while')]


async def test_task_that_somebody_works_on(queue: Torrelque) -> None:
    task_id, _ = await _working(queue)
    state = await queue.get_task_state(task_id)
    [reason] = await why(queue, task_id)
    assert reason.code == 'working'
    assert reason.text == f'it is worked on; by whom is not known {UNSEEN}'
    assert reason.since == pytest.approx(state.last_dequeue_time, abs=0.001)
    [holder] = reason.holders
    assert (holder.id, holder.doing, holder.worker, holder.until) == (task_id, 'working', None, reason.until)
    assert holder.renewed == pytest.approx(reason.since, abs=0.002)
    assert reason.until == pytest.approx((holder.renewed or 0) + 300)


async def _working(queue: Torrelque, **options: Any) -> tuple[str, Any]:
    await queue.enqueue({'task': 'shop.send'}, **options)
    task_id, task = await queue.dequeue(0)
    return str(task_id), task


def _running(task_id: str, queue: Torrelque, group: str | None = None, since: float = 3.0) -> tuple[RunningView, ...]:
    return (RunningView(task_id, queue.name, 'shop.send', group, 1, since),)


async def test_task_that_a_worker_works_on(queue: Torrelque, hire: Hire) -> None:
    task_id, _ = await _working(queue)
    hire(worker('web-1', busy=1, running=_running(task_id, queue)))
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text, reason.workers) == ('working', 'it is worked on, by worker web-1', ('web-1',))
    assert [(holder.worker, holder.function) for holder in reason.holders] == [('web-1', 'shop.send')]
    assert reason.command is None


async def test_task_whose_worker_was_lost(queue: Torrelque, hire: Hire) -> None:
    task_id, _ = await _working(queue)
    hire(worker('web-1', state='lost', busy=1, running=_running(task_id, queue)), worker('web-2'))
    [reason] = await why(queue, task_id)
    text = 'nobody works on it: worker web-1, which had it in hand, is lost; it comes back with its lease'
    assert (reason.code, reason.text, reason.workers) == ('orphaned', text, ('web-1',))
    assert reason.command == by(queue, f'requeue {task_id}')


async def test_task_that_no_worker_names_and_whose_lease_was_not_renewed_for_half_of_it(
    queue: Torrelque, hire: Hire
) -> None:
    task_id, _ = await _working(queue)
    hire(worker('web-1', busy=1, running=_running('other', queue)))
    await Clock(queue).move(100)
    assert (await first(queue, task_id)).code == 'working'
    await Clock(queue).move(60)
    reason = await first(queue, task_id)
    text = 'perhaps nobody works on it: no worker that lives tells of it, and its lease was not renewed for half its '
    assert (reason.code, reason.text) == ('orphaned', text + f'length; it comes back when that ends {UNSEEN}')
    # Whoever has more in hand than it names may have this one.
    hire(worker('web-1', busy=2, running=_running('other', queue)))
    assert (await first(queue, task_id)).code == 'working'


async def test_task_whose_lease_has_ended(queue: Torrelque) -> None:
    task_id, _ = await _working(queue)
    await Clock(queue).move(301)
    reason, *others = await why(queue, task_id)
    text = 'it was worked on, its lease has ended, and nobody has brought it back: no consumer waits, and nobody sweeps'
    assert (reason.code, reason.text, reason.command) == ('overdue', text, by(queue, 'sweep'))
    assert reason.since == pytest.approx(time.time() - 1, abs=60)
    assert [one.code for one in others] == ['no-worker']


async def test_task_that_is_dead(queue: Torrelque) -> None:
    task_id, _ = await _working(queue)
    await queue.bury(task_id, error='one\ntwo')
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text, reason.error) == ('dead', 'it is dead after 1 attempt', 'one\ntwo')
    assert reason.command == by(queue, f'redrive {task_id}')
    assert reason.since == pytest.approx(time.time(), abs=60)


async def test_task_that_was_cancelled_and_is_held_still(queue: Torrelque, hire: Hire) -> None:
    task_id, _ = await _working(queue)
    await queue.cancel(task_id)
    text = 'it was cancelled while it was worked on, and {} holds it still: it is gone when that is over'
    assert brief(await why(queue, task_id)) == [('cancelled', text.format('somebody'))]
    hire(worker('web-1', busy=1, running=_running(task_id, queue)))
    [reason] = await why(queue, task_id)
    assert (reason.text, reason.workers) == (text.format('worker web-1'), ('web-1',))
    assert reason.until is not None
    await Clock(queue).move(301)
    assert (await first(queue, task_id)).code == 'overdue'
    assert (await first(queue, task_id)).text.startswith('it was cancelled, the lease of its holder has ended, ')


async def test_task_that_was_enqueued_for_later(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=3600)
    state = await queue.get_task_state(task_id)
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text) == ('delayed', 'it was enqueued for later')
    assert (reason.since, reason.until, reason.command) == (state.enqueue_time, state.enqueue_time + 3600, None)


async def test_task_that_waits_for_a_retry(queue: Torrelque) -> None:
    task_id, _ = await _working(queue, group='acme')
    await queue.requeue(task_id, delay=3600, error='no\nanswer')
    [reason] = await why(queue, task_id)
    text = 'it has failed and waits for its next time, after 1 attempt; it keeps its slot of the group'
    assert (reason.code, reason.text, reason.error, reason.count) == ('retry', text, 'no\nanswer', 1)
    assert reason.until == pytest.approx(time.time() + 3600, abs=60)


async def test_task_that_was_given_back_for_later(queue: Torrelque) -> None:
    task_id, _ = await _working(queue)
    await queue.requeue(task_id, delay=3600)
    assert brief(await why(queue, task_id)) == [('retry', 'it waits for its next time, after 1 attempt')]


async def test_task_that_is_due_and_that_nobody_has_swept(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=3600)
    await Clock(queue).move(3601)
    reason, *_ = await why(queue, task_id)
    text = 'it is due, and nobody has brought it back: no consumer waits, and nobody sweeps'
    assert (reason.code, reason.text, reason.command) == ('overdue', text, by(queue, 'sweep'))
    assert reason.since == pytest.approx(time.time() - 1, abs=60)


async def test_pause_of_the_queue_is_told_of_a_task_that_is_delayed(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=3600)
    await queue.pause()
    assert brief(await why(queue, task_id)) == [
        ('delayed', 'it was enqueued for later'),
        ('queue-paused', 'the queue is paused'),
    ]


# What is lost


@pytest.mark.parametrize(
    ('spoil', 'text'),
    [
        (lambda c, q, i: c.delete(f'{q.keys["task"]}:{i}'), 'its state is lost'),
        (
            lambda c, q, i: c.set(f'{q.keys["task"]}:{i}', 'x'),
            'its state cannot be read: its key holds something else',
        ),
        (
            lambda c, q, i: c.hset(f'{q.keys["task"]}:{i}', 'status', '9'),
            'its state cannot be read: it has a status that does not exist',
        ),
        (lambda c, q, i: c.hdel(q.keys['tasks'], i), 'its payload is lost'),
        (
            lambda c, q, i: c.lrem(q.keys['pending'], 0, i),
            'it stands nowhere: it is pending, and not in the place of such tasks',
        ),
        (
            lambda c, q, i: c.sadd(q.keys['holes'], i),
            'it stands nowhere: it is pending, and not in the place of such tasks',
        ),
        (
            lambda c, q, i: c.hset(f'{q.keys["task"]}:{i}', 'status', '1'),
            'it stands nowhere: it is working, and not in the place of such tasks',
        ),
        (
            lambda c, q, i: c.hset(f'{q.keys["task"]}:{i}', 'status', '5'),
            'it stands nowhere: it is dead, and not in the place of such tasks',
        ),
        (
            lambda c, q, i: c.set(q.keys['priority'], 'x'),
            'keys of the queue hold something else than the queue wrote, so claims fail: priority',
        ),
    ],
)
async def test_task_of_which_something_is_lost(
    client: redis.asyncio.Redis, queue: Torrelque, spoil: Any, text: str
) -> None:
    task_id = await queue.enqueue(1)
    await spoil(client, queue, task_id)
    reason = await first(queue, task_id)
    assert (reason.code, reason.text, reason.command) == ('broken', text, by(queue, 'doctor'))


async def test_group_whose_head_has_no_turn(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    one, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.enqueue(1, group='beta')
    await client.lrem(queue.keys['turns'], 0, one)
    text = 'the next task of the group has no turn, so no claim comes to it'
    assert brief(await why(queue, one)) == brief(await why(queue, other)) == [('broken', text)]


async def test_keys_that_claims_read_past_are_no_reason(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, group='acme')
    for name in ('limits', 'probes', 'dead'):
        await client.set(queue.keys[name], 'x')
    await client.lpush(f'{queue.keys["rate"]}:acme', 'x')
    found = await why(queue, task_id)
    assert [reason.code for reason in found if reason.code != 'no-worker'] == []
    assert await claim(client, queue) == task_id


async def test_turns_that_were_lost_are_found_again_by_the_claim(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    ids = [await queue.enqueue(1, group=f'g{number}') for number in range(5)]
    await client.delete(queue.keys['turns'])
    counts: dict[str, int | None] = {}
    for task_id in ids:
        counts[task_id] = next((one.count for one in await why(queue, task_id) if one.code == 'behind'), 0)
    given = [await claim(client, queue) for _ in ids]
    assert [counts[str(task_id)] for task_id in given] == [0, 1, 2, 3, 4]


# Pauses


async def test_queue_that_is_paused(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await queue.pause()
    reason, *others = await why(queue, task_id)
    assert reason == Reason('queue-paused', 'the queue is paused', command=by(queue, 'resume'))
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
    assert reason == Reason('group-paused', 'the group is paused', command=by(queue, 'resume --group acme'))
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
    assert (of_queue.text, of_queue.since) == ('the queue is paused, by ann@h', 7.0)
    text = 'the group is paused, by bo@h; it lets one task through every 30 s, the next when its time comes'
    assert (of_group.text, of_group.since) == (text, 8.0)
    # A pause that was set behind the record's back is nobody's.
    record.insert(0, Act(queue.name, 10.0, 'dan@h', 'resume', 'the queue', 0))
    assert (await first(queue, task_id)).text == 'the queue is paused'


# Limits and rates


async def test_group_at_its_limit_names_those_that_are_in_the_way(queue: Torrelque, hire: Hire) -> None:
    await queue.set_limit('acme', concurrency=3)
    ids = [await queue.enqueue({'task': 'render', 'args': [n]}, group='acme') for n in range(5)]
    for _ in range(3):
        await queue.dequeue(0)
    await queue.requeue(ids[1], delay=600, error='TimeoutError')
    hire(worker('web-1', busy=1, running=_running(ids[0], queue, 'acme')))
    at_limit, behind, *_ = await why(queue, ids[4])
    text = 'the group is at its limit: 3 of 3 slots are in use, 1 of them by a task that is delayed for a retry and keeps'
    assert (at_limit.code, at_limit.text) == ('at-limit', text + ' its slot')
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
    assert (reason.code, reason.count, reason.limit) == ('at-limit', 3, 1.0)
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
    await queue.enqueue_many([{'task': 'f'}] * 30, group='beta')
    await take_all(queue, bulk=60)
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
    hire(worker('web-1', busy=1, running=_running(one, queue, 'acme')))
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


# Those that go first


async def behind(queue: Torrelque, task_id: str) -> tuple[str, int | None, int | None]:
    [reason] = [found for found in await why(queue, task_id) if found.code == 'behind']
    return reason.text, reason.count, reason.most


async def test_tasks_before_it_in_a_plain_list_are_counted(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    ids = [await queue.enqueue(n) for n in range(5)]
    assert [found.code for found in await why(queue, ids[0])] == ['no-worker']
    assert await behind(queue, ids[1]) == ('1 task goes first', 1, 1)
    assert await behind(queue, ids[4]) == ('4 tasks go first', 4, 4)
    assert [await claim(client, queue) for _ in ids] == ids


async def test_tasks_of_one_group_are_counted(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    ids = [await queue.enqueue(n, group='acme', priority=n % 2) for n in range(6)]
    order = [*ids[1::2], *ids[::2]]
    assert await behind(queue, order[1]) == ('1 task of the group goes first', 1, 1)
    assert await behind(queue, order[5]) == ('5 tasks of the group go first', 5, 5)
    assert [found.code for found in await why(queue, order[0])] == ['no-worker']
    assert [await claim(client, queue) for _ in ids] == order


async def test_strict_order_counts_as_one_group(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=1)
    ids = [await queue.enqueue(n, group='acme') for n in range(6)]
    assert await behind(queue, ids[5]) == ('5 tasks of the group go first', 5, 5)


async def test_heads_of_other_groups_and_plain_tasks_take_turns(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    plain = [await queue.enqueue(n) for n in range(4)]
    heads = [await queue.enqueue(n, group=f'g{n}') for n in range(3)]
    assert await behind(queue, plain[2]) == ('5 tasks go first', 5, 5)
    assert await behind(queue, heads[1]) == ('2 tasks go first', 2, 2)
    urgent = await queue.enqueue(1, priority=1)
    assert await behind(queue, heads[0]) == ('1 task with a priority goes first', 1, 1)
    last = await queue.enqueue(1, priority=-1)
    assert await behind(queue, last) == ('8 tasks go first, 1 with a priority among them', 8, 8)
    expected = [urgent, heads[0], plain[0], heads[1], plain[1], heads[2], plain[2], plain[3], last]
    assert [await claim(client, queue) for _ in expected] == expected


async def test_bounds_are_told_where_the_number_is_not_known(queue: Torrelque) -> None:
    ids = [await queue.enqueue(1, group=group) for group in 'abcccaca']
    assert await behind(queue, ids[5]) == ('3 tasks go first, 1 of its group among them', 3, 3)
    assert await behind(queue, ids[7]) == ('from 4 to 6 tasks go first, 2 of its group among them', 4, 6)


async def test_groups_that_cannot_go_do_not_count(queue: Torrelque) -> None:
    [await queue.enqueue(n, group=f'g{n}') for n in range(3)]
    last = await queue.enqueue(1, group='acme')
    for number in range(3):
        await queue.pause(f'g{number}')
    assert [found.code for found in await why(queue, last)] == ['no-worker']


async def test_holes_of_cancelled_tasks_do_not_count(queue: Torrelque) -> None:
    ids = [await queue.enqueue(n) for n in range(600)]
    for task_id in ids[:300:2]:
        await queue.cancel(task_id)
    assert await behind(queue, ids[599]) == ('449 tasks go first', 449, 449)


async def test_place_far_from_both_ends_is_not_looked_for(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(13_000))
    assert await behind(queue, ids[10_500]) == ('more than 10,000 tasks go first', 10_000, 11_000)
    assert await behind(queue, ids[9_000]) == ('9,000 tasks go first', 9_000, 9_000)
    assert await behind(queue, ids[12_999]) == ('12,999 tasks go first', 12_999, 12_999)


async def test_how_long_others_take_is_told_where_workers_have_counted(
    client: redis.asyncio.Redis, queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await queue.enqueue(n) for n in range(61)]
    await client.hset(queue.keys['totals'], 'any', 'x')
    totals = torrelque.operate.Totals(succeeded=8, failed=2, dead=2)
    minute = torrelque.operate.Record(queue.name, 0.0, 60.0, (('f', totals),), (), (), 0.0, None)

    async def read(_queue: Torrelque, _length: float) -> list[Any]:
        return [minute, minute]

    monkeypatch.setattr('torrelque.operate.records.read_history', read)
    text, *_ = await behind(queue, ids[60])
    assert text == '60 tasks go first; at the rate of the last minutes that takes about 6 min'


# Workers


async def test_nobody_is_there(queue: Torrelque, hire: Hire, client: redis.asyncio.Redis) -> None:
    task_id = await queue.enqueue(1)
    assert await why(queue, task_id) == [Reason('no-worker', NO_WORKER, count=0)]
    await client.delete(queue.keys['bell'])
    assert brief(await why(queue, task_id)) == [('no-worker', f'no worker lives that has a heartbeat {UNSEEN}')]
    hire(worker('web-1', state='lost'))
    [reason] = await why(queue, task_id)
    assert (reason.text, reason.since) == (f'no worker lives that has a heartbeat; 1 was lost {UNSEEN}', 2.0)
    assert (reason.count, reason.workers) == (0, ('web-1',))
    hire(worker('web-1', state='stopping'))
    assert brief(await why(queue, task_id)) == [('no-worker', f'all workers that live are stopping {UNSEEN}')]


async def test_worker_with_a_free_place_is_no_reason(queue: Torrelque, hire: Hire) -> None:
    task_id = await queue.enqueue({'task': 'f'})
    hire(worker('web-1', functions=('f',)), worker('web-2', busy=2, state='stuck'))
    assert await why(queue, task_id) == []


async def test_function_that_no_worker_knows(queue: Torrelque, hire: Hire) -> None:
    task_id = await queue.enqueue({'task': 'shop.send'})
    hire(worker('web-1', functions=('a', 'b')), worker('web-2', functions=('c',)))
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text) == ('not-known', f'no worker that lives knows its function, shop.send {UNSEEN}')
    assert (reason.count, reason.workers) == (2, ('web-1', 'web-2'))
    # Whoever tells a hundred names may know others.
    hire(worker('web-1', functions=tuple(map(str, range(100)))))
    assert await why(queue, task_id) == []


async def test_all_workers_are_busy(queue: Torrelque, hire: Hire) -> None:
    task_id = await queue.enqueue(1)
    hire(
        worker('web-1', busy=2, running=_running('x', queue, since=5.0) + _running('y', queue, since=4.0)),
        worker('web-2', busy=1, hanging=1),
    )
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text) == ('all-busy', 'all workers are busy: 4 of 4 tasks that they can have in hand')
    assert (reason.count, reason.limit, reason.workers) == (4, 4.0, ('web-1', 'web-2'))
    assert [(one.id, one.since, one.worker) for one in reason.holders] == [('y', 4.0, 'web-1'), ('x', 5.0, 'web-1')]


async def test_workers_that_live_and_take_nothing(queue: Torrelque, hire: Hire) -> None:
    task_id = await queue.enqueue(1)
    hire(worker('web-1', state='stuck', why='its event loop stands still'), worker('web-2', busy=2))
    busy, stuck = await why(queue, task_id)
    assert (busy.code, busy.workers) == ('all-busy', ('web-2',))
    text = 'workers live and take nothing: its event loop stands still'
    assert (stuck.code, stuck.text, stuck.count, stuck.workers) == ('stuck', text, 1, ('web-1',))


# Groups and queues


async def test_group_of_which_nothing_is_pending(queue: Torrelque) -> None:
    assert await why(queue, group='acme') == [Reason('unknown', 'the group has no tasks')]
    await queue.enqueue(1, group='acme', delay=60)
    assert await why(queue, group='acme') == [
        Reason('delayed', 'none of its tasks is pending: 1 waits for a first time', count=1)
    ]
    task_id, _ = await _working(queue, group='acme')
    working, _ = await why(queue, group='acme')
    assert working.text == 'none of its tasks is pending: 1 is worked on, or delayed for a retry'
    assert [one.id for one in working.holders] == [task_id]


async def test_group_is_explained_by_its_next_task(queue: Torrelque) -> None:
    await queue.enqueue(1, group='acme')
    assert brief(await why(queue, group='acme')) == [('no-worker', NO_WORKER)]
    await queue.pause('acme')
    assert [one.code for one in await why(queue, group='acme')] == ['group-paused', 'no-worker']


async def test_queue_in_which_nothing_is_pending(queue: Torrelque) -> None:
    assert await why(queue) == [Reason('unknown', 'the queue has no tasks')]
    task_id, _ = await _working(queue)
    assert brief(await why(queue)) == [('working', 'nothing is pending: 1 task is worked on')]
    await queue.requeue(task_id, delay=600)
    [reason] = await why(queue)
    assert (reason.code, reason.text) == ('delayed', 'nothing is pending: 1 task waits for a time')
    assert reason.until == pytest.approx(time.time() + 600, abs=60)
    await Clock(queue).move(601)
    text = 'something is due, and nobody has brought it back: no consumer waits, and nobody sweeps'
    assert brief(await why(queue))[0] == ('overdue', text)
    await queue.sweep()
    assert brief(await why(queue)) == [('no-worker', NO_WORKER)]
    await queue.dequeue(0)
    await queue.bury(task_id)
    assert brief(await why(queue)) == [('dead', 'nothing is pending: 1 task is dead')]


async def test_queue_of_which_no_group_may_go_on(queue: Torrelque) -> None:
    await queue.set_limit('full', concurrency=1)
    await queue.set_limit('dry', rate=(1, 600))
    for group in ('full', 'full', 'dry', 'dry'):
        await queue.enqueue(1, group=group)
    for _ in range(2):
        await queue.dequeue(0)
    for number in range(7):
        await queue.enqueue(1, group=f'p{number}')
        await queue.pause(f'p{number}')
    paused, full, dry = await why(queue)
    begin = 'only groups have tasks that are pending, and'
    assert (full.code, full.text, full.count) == ('at-limit', f'{begin} a group is at its limit: full', 1)
    assert (dry.code, dry.text) == ('no-token', f'{begin} a group has used up its rate: dry')
    assert (paused.code, paused.count) == ('group-paused', 7)
    assert paused.text.startswith(f'{begin} 7 groups are paused: p')
    assert paused.text.endswith(', and others')
    assert full.command == by(queue, 'why --group full')


async def test_queue_that_can_hand_something_out_has_no_reason_but_workers(queue: Torrelque, hire: Hire) -> None:
    await queue.enqueue(1, group='acme')
    await queue.enqueue(1, delay=1000)
    hire(worker('web-1'))
    assert await why(queue) == []
    await queue.pause(probe=600)
    assert [one.code for one in await why(queue)] == ['queue-paused']


# Names and servers


HOSTILE = ['a b', "it's", '-rf', '-', '--x', '$(x)', '`x`', 'a;b', '*', 'ü', '\x1b[31m', 'a\nb', '"']


@pytest.mark.parametrize('name', HOSTILE)
async def test_commands_are_safe_whatever_is_in_a_name(client: redis.asyncio.Redis, name: str) -> None:
    async with Torrelque(client, queue=name) as queue:
        await queue.set_limit(name, concurrency=1)
        ids = [await queue.enqueue(1, group=name, task_id=f'{name}{number}') for number in range(2)]
        task_id, _ = await queue.dequeue(0)
        await queue.pause(name)
        paused, at_limit, *_ = await why(queue, ids[1])
        said = parse(paused.command or '')
        assert (said.command.name, said.group, said.queue) == ('resume', name, [name])
        said = parse(at_limit.command or '')
        assert (said.command.name, said.group, said.queue) == ('limit', name, [name])
        assert (said.concurrency, said.rate) == (2, KEEP)
        await queue.bury(task_id)
        dead = await first(queue, ids[0])
        said = parse(dead.command or '')
        assert (said.command.name, said.ids, said.queue) == ('redrive', [ids[0]], [name])


@pytest.mark.parametrize('name', ['a\0b', '--'])
async def test_name_that_no_command_line_can_have_is_in_none(queue: Torrelque, name: str) -> None:
    task_id = await queue.enqueue(1, group=name)
    await queue.pause(name)
    assert (await first(queue, task_id)).command is None


async def test_ids_and_groups_that_are_no_text_are_explained(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    raw = b'\xff\xfe'
    await queue.enqueue(1, task_id='x', group='y')
    await client.rename(f'{queue.keys["task"]}:x', queue.keys['task'].encode() + b':' + raw)
    await client.hset(queue.keys['tasks'], raw, '1')
    await client.hset(queue.keys['task'].encode() + b':' + raw, 'group', raw)
    await client.hset(queue.keys['heads'], raw, raw)
    await client.lpush(queue.keys['turns'], raw)
    await client.sadd(queue.keys['paused'], raw)
    name = raw.decode('utf-8', 'surrogateescape')
    assert [one.code for one in await why(queue, name)] == ['group-paused', 'no-worker']
    assert [one.code for one in await why(queue, group=name)] == ['group-paused', 'no-worker']


async def test_user_who_may_only_read_is_told_why(server: RealServer, queue: Torrelque, server_kind: str) -> None:
    await queue.set_limit('acme', concurrency=1)
    ids = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    async with server.client() as admin:
        may = ('+@scripting',) if server_kind == 'redis6' else ('+evalsha_ro', '+eval_ro')
        reads = (f'~{queue.keys["never"][:-5]}*', '+@read', '+time', '+@connection', *may)
        await admin.execute_command('ACL', 'SETUSER', 'looker', 'reset', 'on', '>pass', *reads)
    async with server.client(username='looker', password='pass') as client, Torrelque(client, queue=queue.name) as one:
        assert [reason.code for reason in await why(one, ids[1])] == ['at-limit', 'no-worker']
        with pytest.raises(torrelque.TorrelqueServerError):
            await one.pause()


async def test_reasons_are_json(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=math.inf, rate=(1, 60))
    ids = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    [no_token, _] = [reason.as_json() for reason in await why(queue, ids[1])]
    assert (no_token['code'], no_token['limit'], no_token['most']) == ('no-token', 1.0, None)
    assert no_token['code'] in CODES
