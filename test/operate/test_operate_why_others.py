"""Tasks that go first are counted; workers that do not take tasks are told; a group, and a queue, have reasons too."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.explaining import NO_WORKER, UNSEEN, Hire, brief, by, first, running, why, worker, working
from support.obeying import claim
from torrelque import Torrelque
from torrelque.operate import Operator, Reason
from torrelque.testing import Clock
from torrelque.worker import Delivery, Worker

pytestmark = pytest.mark.first_server

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
    assert await why(queue, task_id) == [Reason('no-worker', NO_WORKER, count=0, queue=queue.name)]
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
    hire(worker('web-1', functions=('a', 'shop.send')), worker('web-2', functions=('c',)))
    assert await why(queue, task_id) == []
    # Whoever tells a hundred names may know others.
    hire(worker('web-1', functions=tuple(map(str, range(100)))))
    assert await why(queue, task_id) == []
    # And so may one whose names are fewer, and had no room all the same.
    hire(worker('web-1', functions=('a', 'b'), functions_cut=True))
    assert await why(queue, task_id) == []


async def test_a_function_that_no_worker_knows_is_told_while_its_task_is_delayed(
    queue: Torrelque, hire: Hire
) -> None:  # fmt: skip
    first = await queue.enqueue({'task': 'shop.send'})
    [(delivery, _)] = await queue.dequeue_many(1, timeout=60)
    await queue.requeue(delivery, delay=600)
    later = await queue.enqueue({'task': 'shop.send'}, delay=600)
    hire(worker('web-1', functions=('a', 'b')))
    for task_id, code in (first, 'retry'), (later, 'delayed'):
        found = await why(queue, task_id)
        assert [reason.code for reason in found] == [code, 'not-known'] and 'shop.send' in found[1].text
    # Where no worker lives, and where one knows it, there is nothing to say of a task that is not due.
    for workers in (), (worker('web-1', functions=('shop.send',)),):
        hire(*workers)
        assert [reason.code for reason in await why(queue, later)] == ['delayed']


async def test_all_workers_are_busy(queue: Torrelque, hire: Hire) -> None:
    task_id = await queue.enqueue(1)
    hire(
        worker('web-1', busy=2, running=running('x', queue, since=5.0) + running('y', queue, since=4.0)),
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


async def test_worker_that_beats_is_seen(queue: Torrelque) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        begun.set()
        await go.wait()

    async def until_codes(task_id: str, *codes: str) -> list[Reason]:
        while True:
            found = await why(queue, task_id)
            if [reason.code for reason in found] == [*codes]:
                return found
            await asyncio.sleep(0.01)

    one, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    async with Worker(queue, handle, heartbeat=0.05, concurrency=1, name='web-1'):
        await begun.wait()
        while not (await first(queue, one)).workers:
            await asyncio.sleep(0.01)
        [reason] = await why(queue, one)
        assert (reason.code, reason.text, reason.workers) == ('working', 'it is worked on, by worker web-1', ('web-1',))
        [busy] = await until_codes(other, 'all-busy')
        assert (busy.count, busy.limit, [holder.id for holder in busy.holders]) == (1, 1.0, [one])
        await queue.set_limit('acme', concurrency=1)
        await queue.enqueue(1, group='acme')
        third = await queue.enqueue(1, group='acme')
        at_limit, *_ = await until_codes(third, 'at-limit', 'behind', 'all-busy')
        assert [(holder.worker, holder.doing) for holder in at_limit.holders] == [('web-1', 'working'), (None, 'next')]
        go.set()
    await until_codes('x', 'unknown')


# Groups and queues


async def test_group_of_which_nothing_is_pending(queue: Torrelque) -> None:
    assert await why(queue, group='acme') == [Reason('unknown', 'the group has no tasks', queue=queue.name)]
    await queue.enqueue(1, group='acme', delay=60)
    assert await why(queue, group='acme') == [
        Reason('delayed', 'none of its tasks is pending: 1 waits for a first time', count=1, queue=queue.name)
    ]
    task_id, _ = await working(queue, group='acme')
    at_work, _ = await why(queue, group='acme')
    assert at_work.text == 'none of its tasks is pending: 1 is worked on, or delayed for a retry'
    assert [one.id for one in at_work.holders] == [task_id]


async def test_group_is_explained_by_its_next_task(queue: Torrelque) -> None:
    await queue.enqueue(1, group='acme')
    assert brief(await why(queue, group='acme')) == [('no-worker', NO_WORKER)]
    await queue.pause('acme')
    assert [one.code for one in await why(queue, group='acme')] == ['group-paused', 'no-worker']


async def test_queue_in_which_nothing_is_pending(queue: Torrelque) -> None:
    assert await why(queue) == [Reason('unknown', 'the queue has no tasks', queue=queue.name)]
    task_id, _ = await working(queue)
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


async def test_only_group_that_has_pending_tasks_is_found_among_many(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    for number in range(600):
        await queue.enqueue(1, group=f'g{number}')
    for _ in range(12):
        await queue.dequeue_many(50, timeout=10)
    await queue.set_limit('g7', concurrency=1)
    await queue.enqueue(1, group='g7')
    begin = 'only groups have tasks that are pending, and'
    assert brief(await why(queue)) == [('at-limit', f'{begin} a group is at its limit: g7')]
    await queue.pause('late')
    await queue.enqueue(1, group='late')
    # A group that is paused is found whatever the others are.
    await client.hset(queue.keys['groups'], mapping={f'h{number}': 1 for number in range(2000)})
    [paused, *_] = await why(queue)
    assert (paused.code, paused.text) == ('group-paused', f'{begin} a group is paused: late')
    await queue.resume('late')
    await queue.dequeue(0)
    await queue.cancel(next(one.id for one in await Operator(queue).page('group:g7')))
    await queue.set_limit('z', concurrency=1)
    await client.hset(queue.keys['tasks'], 'lost', '1')
    [told] = await why(queue)
    text = '1 task is pending by the counts, and none of the 1,'
    assert (told.code, told.text[: len(text)], told.command) == ('at-limit', text, by(queue, 'groups'))
    await client.hdel(queue.keys['groups'], *(f'h{number}' for number in range(2000)))
    text = '1 task is pending by the counts, and none is in a place that claims take from'
    assert brief(await why(queue)) == [('broken', text)]


async def test_queue_that_can_hand_something_out_has_no_reason_but_workers(queue: Torrelque, hire: Hire) -> None:
    await queue.enqueue(1, group='acme')
    await queue.enqueue(1, delay=1000)
    hire(worker('web-1'))
    assert await why(queue) == []
    await queue.pause(probe=600)
    assert [one.code for one in await why(queue)] == ['queue-paused']
