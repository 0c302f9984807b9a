"""Each transition through the public door, and the whole state after it."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.looking import dump, places
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueTaskStatus as Status


async def test_life_of_a_task_leaves_no_key(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue({'addr': 'joe@doe.com'})
    assert len(task_id) == 32 and int(task_id, 16) >= 0 and task_id.attempt is None
    assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)

    taken, task = await queue.dequeue()
    assert (taken, taken.attempt, task) == (task_id, 1, {'addr': 'joe@doe.com'})
    assert await queue.get_queue_stats() == (1, 0, 1, 0, 0, 0)
    assert await places(client, queue, task_id) == {'working'}

    assert await queue.requeue(taken) is True
    assert await places(client, queue, task_id) == {'pending'}
    taken, _ = await queue.dequeue()
    assert taken.attempt == 2
    assert await queue.release(taken) is True
    assert await nothing_left(client, queue)


@pytest.mark.parametrize('task', [None, 0, '', [], {}, False, 1.5, 'a', {'a': [1, None]}, 'ü\ud800\x00'])
async def test_every_value_round_trips(queue: Torrelque, task: Any) -> None:
    await queue.enqueue(task)
    _, again = await queue.dequeue(0)
    assert again == task and type(again) is type(task)


@pytest.mark.parametrize('result', [0, '', [], {}, False, 'done', {'a': 1}])
async def test_a_kept_result_is_found_by_anybody(
    client: redis.asyncio.Redis, queue: Torrelque, result: Any, queue_name: str
) -> None:
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    assert await queue.release(taken, result=result)
    async with Torrelque(client, queue=queue_name) as other:
        state = await other.get_task_state(task_id)
    assert state.status is Status.COMPLETED and state.result == result and type(state.result) is type(result)
    assert state.release_time and state.last_dequeue_time
    assert state.release_time >= state.last_dequeue_time >= state.enqueue_time > 1.7e9
    assert 3_590_000 < await client.pttl(f'{queue.keys["task"]}:{task_id}') <= 3_600_000
    assert await client.keys('*') == [f'{queue.keys["task"]}:{task_id}'.encode()]


async def test_a_released_state_is_kept_only_where_asked(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    for options, status in (
        ({'result_ttl': 5}, Status.COMPLETED),
        ({'status': Status.REJECTED}, Status.REJECTED),
        ({'status': Status.REJECTED, 'result': 'no', 'result_ttl': 3}, Status.REJECTED),
        ({'status': Status.CANCELLED, 'result_ttl': 5}, Status.CANCELLED),
    ):
        task_id = await queue.enqueue(1)
        await queue.dequeue()
        assert await queue.release(task_id, **options)
        assert (await queue.get_task_state(task_id)).status is status
    for options in ({}, {'result_ttl': 0}, {'status': Status.CANCELLED}):
        task_id = await queue.enqueue(1)
        await queue.dequeue()
        assert await queue.release(task_id, **options)
        with pytest.raises(torrelque.TorrelqueLookupError):
            await queue.get_task_state(task_id)


async def test_plain_tasks_are_first_in_first_out(queue: Torrelque) -> None:
    ids = [await queue.enqueue(n) for n in range(5)] + await queue.enqueue_many(range(5, 600))
    assert [(await queue.dequeue(0))[1] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert await queue.dequeue(0, max_tasks=1000) == [(ids[n], n) for n in range(5, 600)]


async def test_requeue_goes_to_the_end_and_forgiven_to_the_head(queue: Torrelque) -> None:
    await queue.enqueue_many('abc')
    a, _ = await queue.dequeue()
    await queue.requeue(a)
    b, _ = await queue.dequeue()
    await queue.requeue(b, forgive=True)
    assert [(await queue.dequeue(0))[1] for _ in range(3)] == ['b', 'c', 'a']


async def test_delay_holds_a_task_back_until_its_time(queue: Torrelque) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    task_id = await queue.enqueue(1, delay=1)
    assert (await queue.get_task_state(task_id)).status is Status.DELAYED
    assert await queue.get_queue_stats() == (1, 0, 0, 1, 0, 0)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    taken, _ = await queue.dequeue()
    assert loop.time() - started >= 1
    state = await queue.get_task_state(task_id)
    assert state.requeue_count == 0 and state.last_requeue_time is None

    await queue.requeue(taken, 0.5, task_timeout=7, error='not yet')
    state = await queue.get_task_state(task_id)
    assert state[:2] == (Status.DELAYED, 7) and state.error == 'not yet' and state.requeue_count == 0
    taken, _ = await queue.dequeue()
    state = await queue.get_task_state(task_id)
    assert (state.requeue_count, state.dequeue_count) == (1, 2) and state.last_requeue_time is not None


async def test_an_expired_lease_gives_the_task_to_the_next(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, task_timeout=0.1)
    first, _ = await queue.dequeue()
    second, _ = await queue.dequeue(60)
    assert (first, second.attempt) == (second, 2)
    state = await queue.get_task_state(task_id)
    assert (state.dequeue_count, state.requeue_count) == (2, 1)


async def test_who_lost_the_lease_changes_nothing_and_is_told(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    await queue.enqueue(1, task_timeout=0.05)
    late, _ = await queue.dequeue()
    holder, _ = await queue.dequeue(60)
    before = await dump(client)
    settle: Callable[..., Awaitable[object]]
    options: dict[str, Any]
    for settle, options in (
        (queue.release, {}),
        (queue.release, {'result': 1}),
        (queue.requeue, {}),
        (queue.requeue, {'delay': 5, 'error': 'x'}),
        (queue.requeue, {'forgive': True}),
        (queue.touch, {'progress': 1}),
        (queue.bury, {}),
    ):
        caplog.clear()
        assert await settle(late, **options) is False
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert await dump(client) == before
    assert await queue.release_many([late]) == [False]
    assert await queue.release(holder) is True
    for settle in (queue.release, queue.requeue, queue.touch, queue.bury):
        assert await settle(holder) is False and await settle('no such') is False
    assert await nothing_left(client, queue)


async def test_a_lease_that_nobody_saw_end_can_be_settled(queue: Torrelque) -> None:
    await queue.enqueue(1, task_timeout=0.01)
    task_id, _ = await queue.dequeue()
    await asyncio.sleep(0.03)
    assert await queue.touch(task_id) is True
    assert await queue.release(task_id) is True


async def test_an_id_used_anew_is_fenced_from_its_old_holder(queue: Torrelque) -> None:
    await queue.enqueue(1, task_id='own', task_timeout=0.05)
    old, _ = await queue.dequeue()
    await asyncio.sleep(0.06)
    await queue.sweep()
    new, _ = await queue.dequeue()
    await queue.release(new)
    await asyncio.sleep(0.002)
    await queue.enqueue(2, task_id='own')
    newest, _ = await queue.dequeue()
    assert newest.attempt == old.attempt == 1
    assert await queue.release(old) is False
    assert await queue.release(newest) is True


async def test_an_operator_settles_by_the_plain_id_what_is_working(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    assert await queue.release(task_id) is False
    assert await queue.bury(task_id) is False
    await queue.dequeue()
    assert await queue.touch(str(task_id), task_timeout=10) is True
    assert await queue.requeue(str(task_id)) is True
    await queue.dequeue()
    assert await queue.release(str(task_id)) is True


async def test_attempts_used_up_are_dead(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, max_attempts=2)
    await queue.requeue((await queue.dequeue())[0], error='first')
    taken, _ = await queue.dequeue()
    assert taken.attempt == 2
    assert await queue.requeue(taken, 60, error='second') is True
    state = await queue.get_task_state(task_id)
    assert (state.status, state.error, state.max_attempts) == (Status.DEAD, 'second', 2)
    assert await queue.get_queue_stats() == (1, 0, 0, 0, 1, 0)

    assert await queue.redrive(task_id) == 1
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count, state.forgiven) == (Status.PENDING, 2, 2)
    taken, _ = await queue.dequeue(0)
    assert taken.attempt == 3
    await queue.requeue(taken)
    assert (await queue.get_task_state(task_id)).status is Status.PENDING


async def test_a_lease_that_kills_its_consumer_is_counted(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, max_attempts=1, task_timeout=0.01)
    await queue.dequeue()
    await asyncio.sleep(0.02)
    assert await queue.sweep() == (0, 0, 1, 0)
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD and 'lease' in (state.error or '')


async def test_a_forgiven_attempt_does_not_count(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, max_attempts=1)
    for _ in range(5):
        assert await queue.requeue((await queue.dequeue())[0], forgive=True)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count, state.forgiven) == (Status.PENDING, 5, 5)


async def test_buried_tasks_wait_to_be_redriven(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(700))
    for task_id, _ in await queue.dequeue(max_tasks=700):
        assert await queue.bury(task_id, error='bad')
    assert await queue.get_queue_stats() == (700, 0, 0, 0, 700, 0)
    assert (await queue.get_task_state(ids[0])).error == 'bad'
    assert await queue.redrive(ids[3], 'no such', ids[3]) == 1
    assert await queue.redrive(limit=0) == 0
    assert await queue.redrive(limit=299) == 299
    assert await queue.redrive() == 400
    assert await queue.redrive() == 0
    assert {n for _, n in await queue.dequeue(max_tasks=700)} == set(range(700))


async def test_touch_moves_the_deadline_and_tells_progress(client: Any, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, task_timeout=100)
    taken, _ = await queue.dequeue()
    before = await client.zscore(queue.keys['working'], task_id)
    await asyncio.sleep(0.005)
    assert await queue.touch(taken, progress={'done': 0.5})
    assert 0 < await client.zscore(queue.keys['working'], task_id) - before < 5000
    assert await queue.touch(taken, task_timeout=1000)
    assert 899_000 < await client.zscore(queue.keys['working'], task_id) - before < 905_000
    state = await queue.get_task_state(task_id)
    assert state.progress == {'done': 0.5} and state.timeout == 100


async def test_an_own_id_never_has_the_same_token_again(queue: Torrelque) -> None:
    tokens = set()
    for _ in range(200):
        # Some of these lives are within one millisecond, unless the machine is busy.
        await queue.enqueue(1, task_id='own')
        task_id, _ = await queue.dequeue()
        tokens.add(task_id.token)
        assert await queue.release(task_id) is True
        assert await queue.release(task_id) is False
    assert len(tokens) == 200
    assert all(token[-4] == '.' for token in tokens)  # with microseconds


async def test_an_own_id_is_taken_once(queue: Torrelque) -> None:
    await queue.enqueue(1, task_id='own')
    with pytest.raises(torrelque.TorrelqueDuplicateError) as caught:
        await queue.enqueue(2, task_id='own')
    assert caught.value.task_id == 'own'
    taken, task = await queue.dequeue(0)
    assert task == 1
    with pytest.raises(torrelque.TorrelqueDuplicateError):
        await queue.enqueue(2, task_id='own')
    await queue.release(taken, result='kept')
    with pytest.raises(torrelque.TorrelqueDuplicateError):
        await queue.enqueue(2, task_id='own')
    outcomes = await asyncio.gather(
        *(queue.enqueue(n, task_id='same') for n in range(10)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ['TorrelqueDuplicateError'] * 9 + [
        'TorrelqueTaskId'
    ]


async def test_a_full_queue_refuses(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=queue_name, max_tasks=3) as queue:
        outcomes = await asyncio.gather(*(queue.enqueue(n) for n in range(10)), return_exceptions=True)
        assert [type(outcome).__name__ for outcome in outcomes] == ['TorrelqueTaskId'] * 3 + ['TorrelqueFullError'] * 7
        assert isinstance(refusal := outcomes[-1], torrelque.TorrelqueFullError) and refusal.size == 3
        taken, _ = await queue.dequeue()
        for options in ({}, {'delay': 5}, {'task_id': 'own'}):
            with pytest.raises(torrelque.TorrelqueFullError):
                await queue.enqueue(1, **options)
        await queue.bury(taken)
        await queue.enqueue('dead ones are not counted')
        assert (await queue.get_queue_stats()).tasks == 4


async def test_sweep_brings_back_what_is_due_in_bounded_steps(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    delayed = await queue.enqueue_many(range(1000), delay=60)
    await queue.enqueue_many(range(450), max_attempts=1)
    await queue.enqueue_many(range(450))
    taken = await queue.dequeue(max_tasks=900)
    await queue.enqueue('held')
    await queue.dequeue()
    await queue.enqueue('later', delay=60)
    # All but those two are due.
    await client.zadd(queue.keys['delayed'], dict.fromkeys(delayed, 1))
    await client.zadd(queue.keys['working'], {task_id: 1 for task_id, _ in taken})
    assert await queue.sweep() == torrelque.TorrelqueSweepResult(stale=450, delayed=1000, dead=450)
    assert await queue.get_queue_stats() == (1902, 1450, 1, 1, 450, 0)
    assert await queue.sweep() == (0, 0, 0, 0)


async def test_a_scheduled_sweep_works_where_nobody_waits(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, task_timeout=0.02)
    await queue.dequeue()
    queue.schedule_sweep(0.02)
    while (await queue.get_task_state(task_id)).status is not Status.PENDING:
        await asyncio.sleep(0.005)
    queue.unschedule_sweep()
    queue.unschedule_sweep()


async def test_ids_and_errors_survive_pickling(queue: Torrelque) -> None:
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    again = pickle.loads(pickle.dumps(taken))
    assert (again, again.attempt, type(again)) == (taken, 1, type(taken))
    assert await queue.release(again) is True
    for error in (
        torrelque.TorrelqueDuplicateError('x'),
        torrelque.TorrelqueFullError(3),
        torrelque.TorrelqueBulkError(['a']),
    ):
        assert pickle.loads(pickle.dumps(error)).__dict__ == error.__dict__


async def test_settling_the_same_task_at_once_is_done_once(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    assert await queue.release_many([taken, taken, 'no such', str(task_id)]) == [True, False, False, False]
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    outcomes = await asyncio.gather(*(queue.requeue(taken) for _ in range(5)))
    assert sorted(outcomes) == [False] * 4 + [True]
    assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)
    assert await queue.release_many(iter([])) == []


async def test_leases_are_renewed_in_bulk(client: Any, queue: Torrelque) -> None:
    await queue.enqueue_many(range(600), task_timeout=30)
    taken = [task_id for task_id, _ in await queue.dequeue(max_tasks=250)]
    while len(taken) < 600:
        taken += [task_id for task_id, _ in await queue.dequeue(max_tasks=250)]
    before = dict(await client.zrange(queue.keys['working'], 0, -1, withscores=True))
    again = await queue.requeue(taken.pop()), (await queue.dequeue())[0]
    assert await queue.touch_many([*taken, 'no such'], task_timeout=100) == [True] * 599 + [False]
    after = dict(await client.zrange(queue.keys['working'], 0, -1, withscores=True))
    for task_id in taken:
        assert after[task_id.encode()] - before[task_id.encode()] > 60_000
    assert after[again[1].encode()] - before[again[1].encode()] < 60_000


def test_final_statuses() -> None:
    assert [status for status in Status if status.isfinal()] == [Status.COMPLETED, Status.REJECTED, Status.CANCELLED]
    assert list(Status) == [0, 1, 2, 3, 4, 5, 6, 7]


async def test_a_command_goes_over_the_connection_of_the_queue(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    own = queue.keys['pending'].removesuffix('pending') + 'own'
    assert await queue.command('SET', own, 'wörd') == b'OK'
    assert await queue.command('GET', own.encode()) == 'wörd'.encode()
    assert await queue.command('INCRBYFLOAT', own + ':n', 1.5) == b'1.5'
    assert await queue.command('DEL', own, own + ':n') == 2
    assert await queue.command('GET', own) is None
    with pytest.raises(torrelque.TorrelqueServerError, match='unknown command'):
        await queue.command('NOSUCH')
    for words in ((), ('GET', None), ('GET', True)):
        with pytest.raises(torrelque.TorrelqueTypeError):
            await queue.command(*words)


async def test_a_subclass_takes_many_as_it_takes_one(client: redis.asyncio.Redis, queue_name: str) -> None:
    class Decrypting(Torrelque):
        async def dequeue(self, timeout: torrelque.Duration | None = None, *, max_tasks: int = 1) -> Any:
            got = await super().dequeue(timeout, max_tasks=max_tasks)
            return (got[0], got[1][::-1]) if max_tasks == 1 else [(task_id, task[::-1]) for task_id, task in got]

    async with Decrypting(client, queue=queue_name) as queue:
        await queue.enqueue_many(['eno', 'owt', 'eerht'])
        assert [task for _, task in await queue.dequeue_many(1)] == ['one']
        assert [task for _, task in await queue.dequeue_many(5, timeout=60)] == ['two', 'three']
