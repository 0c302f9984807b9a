"""What a server refuses, has lost, or has in a key by mistake: it harms what it is of, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.servers import MakeServer, RealServer
from torrelque import Torrelque, TorrelqueNode, TorrelqueTaskStatus as Status


async def test_full_memory_refuses_tasks_and_lets_leases_go_on(make_server: MakeServer, endless: None) -> None:
    server = make_server({'maxmemory-policy': 'noeviction'})
    async with server.client() as client, Torrelque(client) as queue:
        await queue.enqueue_many(range(30), max_attempts=100)
        due = await queue.enqueue(99, delay=60)
        async with Torrelque(client, queue='other') as other:
            await other.enqueue(1, delay=150)
        got = await queue.dequeue(max_tasks=20)
        await client.config_set('maxmemory', '100kb')
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await queue.enqueue(1)
        with pytest.raises(torrelque.TorrelqueBulkError) as caught:
            await queue.enqueue_many([1])
        assert isinstance(caught.value.__cause__, redis.exceptions.OutOfMemoryError)
        async with Torrelque(client, queue='other') as other:
            with pytest.raises(torrelque.TorrelqueTimeoutError):
                await other.dequeue(0.01)
        ids = [task_id for task_id, _ in got]
        assert await queue.touch(ids[0], progress='x') is True
        assert await queue.requeue(ids[0], 10) is True
        assert await queue.requeue(ids[1], error='x') is True
        assert await queue.requeue(ids[2], forgive=True) is True
        assert await queue.bury(ids[3]) is True
        assert await queue.redrive() == 1
        assert await queue.release(ids[4], result='x') is True
        assert await queue.release(ids[5]) is True
        assert await queue.cancel(ids[6]) is True
        assert await queue.release(ids[6]) is False
        assert await queue.cancel(ids[0]) is True
        for group in ('g', None):
            await queue.pause(group, probe=10)
            assert await client.smembers(queue.keys['paused']) == {(group or '').encode()}
            await queue.pause(group)
            assert not await client.exists(queue.keys['probes'])
            await queue.resume(group)
            await queue.pause(group)
            assert await client.smembers(queue.keys['paused']) == {(group or '').encode()}
            await queue.resume(group)
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                await queue.set_limit(group, concurrency=1)
            await queue.set_limit(group)
        await client.config_set('maxmemory', '0')
        await client.zadd(queue.keys['delayed'], {due: 1})
        await client.config_set('maxmemory', '100kb')
        await queue.sweep()
        assert len(await queue.dequeue(0, max_tasks=100)) == 14
        await client.config_set('maxmemory', '0')
        await queue.enqueue(1)


async def test_without_its_replicas_a_server_refuses_and_who_waits_goes_on(
    make_server: MakeServer, hasty: None
) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client) as queue:
        await queue.enqueue(1)
        held, _ = await queue.dequeue()
        waiting = asyncio.ensure_future(queue.dequeue(60))
        await client.config_set('min-replicas-to-write', 1)
        before = await queue.get_task_state(held)
        for call in (queue.enqueue(2), queue.touch(held), queue.requeue(held), queue.bury(held), queue.release(held)):
            with pytest.raises(redis.exceptions.ResponseError, match='NOREPLICAS'):
                await call
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(0)
        assert await queue.get_task_state(held) == before and await queue.get_queue_stats() == (1, 0, 1, 0, 0, 0)
        await client.config_set('min-replicas-to-write', 0)
        assert await queue.release(held) is True
        await queue.enqueue(2)
        assert (await waiting)[1] == 2


async def test_an_evicted_hash_of_payloads_is_reported(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    ids = await queue.enqueue_many(range(3))
    await client.delete(queue.keys['tasks'])
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert all(any(task_id in message for message in messages) for task_id in ids)
    await queue.enqueue('new')
    assert (await queue.dequeue(0))[1] == 'new'


@pytest.mark.parametrize('damage', ['none', 'state', 'both'])
async def test_an_id_that_is_no_text_harms_no_other(
    client: redis.asyncio.Redis, queue: Torrelque, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = b'\xff\xfe'
    await queue.enqueue(1)
    if damage != 'both':
        await client.hset(queue.keys['tasks'], foreign, b'2')
    if damage == 'none':
        key = queue.keys['task'].encode() + b':' + foreign
        await client.hset(key, mapping={'status': 0, 'timeout': 1000, 'enqueue_time': 1})
    await client.lpush(queue.keys['pending'], foreign)
    await queue.enqueue(3)
    assert [task for _, task in await queue.dequeue(0, max_tasks=5)] == [1, 3]
    assert any('xff' in record.getMessage() for record in caplog.records)
    await queue.sweep()
    if damage != 'both':
        while not await client.zscore(queue.keys['dead'], foreign):
            await asyncio.sleep(0.001)
        assert await queue.redrive() == 1


async def test_a_state_that_makes_no_sense_is_an_error_of_ours(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await client.hset(f'{queue.keys["task"]}:{task_id}', 'status', 'x')
    with pytest.raises(torrelque.TorrelqueError):
        await queue.get_task_state(task_id)


@pytest.mark.parametrize('hours', [-1, 1])
async def test_a_clock_that_is_wrong_moves_no_deadline(
    server: RealServer, queue: Torrelque, queue_name: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Time is the server's: what the clock of a client says has no part in it."""
    now, now_ns = time.time, time.time_ns
    async with server.client() as client, Torrelque(client, queue=queue_name) as wrong:
        await queue.enqueue('held', task_timeout=60)
        held, _ = await queue.dequeue()
        await queue.enqueue('later', delay=60)
        with monkeypatch.context() as patch:
            patch.setattr(time, 'time', lambda: now() + hours * 3600)
            patch.setattr(time, 'time_ns', lambda: now_ns() + hours * 3600 * 10**9)
            assert await wrong.sweep() == (0, 0, 0, 0)
            await wrong.enqueue('soon', delay=0.1)
            taken, task = await wrong.dequeue(60)
            assert task == 'soon' and await wrong.touch(taken, task_timeout=60)
            await wrong.enqueue('latest', delay=60)
        assert await queue.sweep() == (0, 0, 0, 0)
        assert await queue.get_queue_stats() == (4, 0, 2, 2, 0, 0)
        assert await wrong.release(taken) is True and await queue.release(held) is True


@pytest.mark.parametrize('place', ['working', 'delayed'])
async def test_a_broken_key_among_what_is_due_stops_no_sweep(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    ids = await queue.enqueue_many(range(3), task_timeout=0.05, delay=0.05 if place == 'delayed' else None)
    if place == 'working':
        assert len(await queue.dequeue(max_tasks=3)) == 3
    await client.set(f'{queue.keys["task"]}:{ids[1]}', 'rubbish')
    await asyncio.sleep(0.06)
    assert sorted(n for _, n in await queue.dequeue(60, max_tasks=3)) == [0, 2]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(ids[1] in message for message in warnings)
    assert (await queue.get_task_state(ids[1])).status is Status.DEAD


@pytest.mark.parametrize('name', ['release', 'requeue', 'touch', 'bury', 'cancel'])
async def test_a_broken_key_fails_no_other_settle_call(
    client: redis.asyncio.Redis, queue: Torrelque, name: str
) -> None:
    await queue.enqueue_many(range(4))
    ids = [task_id for task_id, _ in await queue.dequeue(max_tasks=4)]
    await client.set(f'{queue.keys["task"]}:{ids[2]}', 'rubbish')
    outcomes = await asyncio.gather(*(getattr(queue, name)(task_id) for task_id in ids), return_exceptions=True)
    assert type(outcomes[2]) is torrelque.TorrelqueError and ids[2] in str(outcomes[2])
    assert outcomes[:2] + outcomes[3:] == [True] * 3


async def test_a_scheduled_sweep_outlives_an_error(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = await queue.enqueue(1, delay=0.02)
    await client.set(queue.keys['working'], 'x')
    queue.schedule_sweep(0.02)
    while not any('scheduled sweep failed' in record.getMessage() for record in caplog.records):
        await asyncio.sleep(0.005)
    await client.delete(queue.keys['working'])

    async def swept() -> None:
        while (await queue.get_task_state(task_id)).status is not Status.PENDING:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(swept(), 60)
    queue.unschedule_sweep()


@pytest.mark.parametrize('group', [None, 'g'])
@pytest.mark.parametrize('last', ['release', 'cancel', 'sweep'])
async def test_a_task_that_lost_its_payload_is_told_of_though_it_is_the_last(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture, group: str | None, last: str
) -> None:
    ours = await queue.enqueue(1, task_id='ours')
    taken, _ = await queue.dequeue(0)
    lost = await queue.enqueue(2, task_id='lost', group=group)
    await client.hdel(queue.keys['tasks'], lost)
    if last == 'release':
        assert await queue.release(taken)
    elif last == 'cancel':
        assert await queue.requeue(taken, delay=600)
        assert await queue.cancel(ours)
    else:
        assert await queue.cancel(ours)
        await client.zadd(queue.keys['working'], {ours: 1})
        assert (await queue.sweep()).stale == 1
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    assert f"task '{lost}'" in caplog.text and 'payload_lost' in caplog.text
    assert (await queue.get_task_state(lost)).status is Status.REJECTED
    await queue.enqueue('new')
    assert (await queue.dequeue(0))[1] == 'new'


NO_NUMBER = ('nan', '-inf', '9' * 400, '-1', 'x', '')
"""What a field of a state may have that is a number by rights, where somebody has written by hand."""
WAYS = pytest.mark.parametrize('options', [{}, {'priority': 1}, {'group': 'g'}], ids=['plain', 'priority', 'group'])


@pytest.mark.first_server
@WAYS
async def test_a_number_in_a_state_that_is_none_harms_no_other_task(
    client: redis.asyncio.Redis, queue: Torrelque, options: dict[str, Any]
) -> None:
    fields = 'timeout', 'order', 'max_attempts', 'dequeue_count', 'forgiven', 'requeue_count'
    bad = {f'{field} {text:.6}': (field, text) for field in fields for text in NO_NUMBER}
    for task_id in ['a', *list(bad)[:20], 'b', *list(bad)[20:], 'c']:
        await queue.enqueue(task_id, task_id=task_id, **options)
    for task_id, (field, text) in bad.items():
        await client.hset(f'{queue.keys["task"]}:{task_id}', field, text)
    for turn in range(3):
        held = {str(one): one for one, _ in await queue.dequeue(0, max_tasks=50)}
        assert held.keys() >= {'a', 'b', 'c'}, turn
        await queue.touch_many(held.values())
        if turn == 0:
            for one in held.values():
                await queue.requeue(one, delay=0.001, error='x')
        # The leases of all others end.
        await client.zadd(queue.keys['working'], dict.fromkeys(held, 1), xx=True)
        while (stats := await queue.get_queue_stats()).delayed + stats.working:
            await queue.sweep()
    for one, _ in await queue.dequeue(0, max_tasks=50):
        released = await queue.release(one)
        assert released or str(one) in bad


@pytest.mark.first_server
@pytest.mark.parametrize('text', ['1', '[["f"],"f",1,1]'])
async def test_what_nobody_can_tell_of_the_home_of_a_task_harms_no_other(
    client: redis.asyncio.Redis, queue: Torrelque, text: str
) -> None:
    await queue.enqueue_flow([TorrelqueNode('a', 1), TorrelqueNode('b', 2)], flow_id='f')
    await queue.enqueue(1, task_id='own')
    await queue.enqueue(2, task_id='guest')
    await client.hset(f'{queue.keys["task"]}:guest', 'flow', 'of another queue')
    for task_id in ('f.a', 'f.b', 'own', 'guest'):
        await client.hset(queue.keys['guests'], task_id, text)
    await client.delete(f'{queue.keys["task"]}:own')
    held = [one for one, _ in await queue.dequeue(0, max_tasks=5)]
    assert sorted(held) == ['f.a', 'f.b', 'guest']
    for one in held:
        assert await queue.bury(one)
    assert await queue.redrive() == 4
    for one, _ in await queue.dequeue(0, max_tasks=5):
        assert await queue.release(one)
    assert (await queue.get_queue_stats()).tasks == 0
    assert (await queue.get_task_state('f')).status is Status.COMPLETED


@pytest.mark.first_server
@WAYS
async def test_a_status_that_nobody_can_mean_holds_up_no_other_and_is_told(
    client: redis.asyncio.Redis, queue: Torrelque, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bad = ['x', '-1', '1', '12', '']
    for task_id in ('a', *map(repr, bad), 'b'):
        await queue.enqueue(task_id, task_id=task_id, **options)
    for status in bad:
        await client.hset(f'{queue.keys["task"]}:{status!r}', 'status', status)
    got = []
    for _ in range(10):
        with contextlib.suppress(torrelque.TimeoutError):
            for one, _ in await queue.dequeue(0, max_tasks=3):
                got.append(str(one))
                assert await queue.release(one)
    assert got == ['a', 'b']
    for status in bad:
        # One that says neither where the task is nor that it is over has it be where somebody sees it.
        if status != '1':
            assert (await queue.get_task_state(repr(status))).status is Status.DEAD
            assert any(repr(repr(status)) in record.getMessage() for record in caplog.records), status


@pytest.mark.first_server
async def test_a_head_without_an_order_goes_back_into_its_group(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    for task_id in ('a', 'b'):
        await queue.enqueue(task_id, task_id=task_id, group='g')
    await queue.enqueue('plain')
    await client.hset(f'{queue.keys["task"]}:a', 'order', 'nan')
    await queue.pause('g')
    assert [task for _, task in await queue.dequeue(0, max_tasks=5)] == ['plain']
    await queue.resume('g')
    for task in ('a', 'b'):
        assert (await queue.dequeue(0))[1] == task


@pytest.mark.first_server
async def test_a_limit_that_is_no_whole_number_is_the_next_lower_one(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    for group, limit in (('a', '2.9'), ('b', '0.5')):
        await client.hset(queue.keys['limits'], group, f'{{"concurrency":{limit}}}')
        await queue.enqueue_many([group] * 5, group=group)
    assert sorted(task for _, task in await queue.dequeue(0, max_tasks=50)) == ['a', 'a', 'b']


@pytest.mark.first_server
@pytest.mark.parametrize('limit', [None, 1])
@pytest.mark.parametrize('command', [('SET', '1'), ('RPUSH', 'x'), ('HSET', 'x', '1'), ('SADD', 'x')], ids=' '.join)
async def test_a_group_whose_key_holds_something_else_harms_no_other(
    client: redis.asyncio.Redis, queue: Torrelque, command: tuple[str, ...], limit: int | None
) -> None:
    if limit is not None:
        await queue.set_limit(concurrency=limit)
    await queue.enqueue_many(['a', 'lost'], group='g')
    await queue.enqueue_many(['c', 'd'], group='other')
    await queue.enqueue('plain')
    name, *words = command
    await client.delete(f'{queue.keys["group"]}:g')
    await client.execute_command(name, f'{queue.keys["group"]}:g', *words)
    got = []
    for _ in range(2):
        taken = await queue.dequeue(0, max_tasks=5)
        got += [task for _, task in taken]
        if 'new' not in got:
            await queue.enqueue_many(['new', 'next'], group='g')
        await queue.release_many([task_id for task_id, _ in taken])
    while len(got) < 6:
        task_id, task = await queue.dequeue(0)
        got.append(task)
        await queue.release(task_id)
    assert sorted(got) == ['a', 'c', 'd', 'new', 'next', 'plain']
    assert await client.exists(f'{queue.keys["group"]}:g') == 0
