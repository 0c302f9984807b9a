"""Payloads that cannot be read, states that are lost, keys of another type: who is told, and who goes on."""

from __future__ import annotations

import asyncio
import logging
import pickle

import pytest
import redis.asyncio

import torrelque
from support.looking import places
from torrelque import Torrelque, TorrelqueTaskStatus as Status


async def test_an_unreadable_payload_is_dead_and_harms_no_other(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    ids = await queue.enqueue_many(range(3))
    await client.hset(queue.keys['tasks'], ids[1], b'\xff{')
    assert [n for _, n in await queue.dequeue(0, max_tasks=5)] == [0, 2]
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    state = await queue.get_task_state(ids[1])
    assert state.status is Status.DEAD and 'UnicodeDecodeError' in (state.error or '')
    assert any(ids[1] in record.getMessage() for record in caplog.records)

    await client.hset(queue.keys['tasks'], ids[1], b'{"mended":1}')
    assert await queue.redrive(ids[1]) == 1
    assert (await queue.dequeue(0))[1] == {'mended': 1}


async def harm(client: redis.asyncio.Redis, queue: Torrelque, task_id: str, damage: str) -> None:
    key = f'{queue.keys["task"]}:{task_id}'
    if damage in ('state', 'both', 'type'):
        await client.delete(key)
    if damage in ('payload', 'both'):
        await client.hdel(queue.keys['tasks'], task_id)
    if damage == 'type':
        await client.set(key, 'rubbish')


@pytest.mark.parametrize('damage', ['state', 'payload', 'both', 'type'])
@pytest.mark.parametrize('alone', [False, True])
async def test_a_damaged_task_is_reported_and_harms_no_other(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture, damage: str, alone: bool
) -> None:
    ids = await queue.enqueue_many(range(3))
    await harm(client, queue, ids[1], damage)
    got = [await queue.dequeue(0) for _ in range(2)] if alone else await queue.dequeue(0, max_tasks=5)
    assert [n for _, n in got] == [0, 2]
    assert any(ids[1] in record.getMessage() and record.levelno == logging.WARNING for record in caplog.records)
    if damage == 'both':
        with pytest.raises(torrelque.TorrelqueLookupError):
            await queue.get_task_state(ids[1])
    else:
        state = await queue.get_task_state(ids[1])
        assert state.status is (Status.REJECTED if damage == 'payload' else Status.DEAD)
        assert 'lost' in (state.error or '')
    if damage in ('state', 'type'):
        assert await queue.redrive() == 1
        assert (await queue.dequeue(0))[1] == 1


@pytest.mark.parametrize('damage', ['state', 'payload', 'both', 'type'])
@pytest.mark.parametrize('named', [True, False])
async def test_a_dead_task_that_is_damaged_is_brought_back_or_reported(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture, damage: str, named: bool
) -> None:
    ids = await queue.enqueue_many(range(3), group='g')
    for task_id, _ in await queue.dequeue(0, max_tasks=3):
        await queue.bury(task_id)
    await harm(client, queue, ids[1], damage)
    assert await queue.redrive(*(ids if named else ())) == (2 if damage == 'both' else 3)
    left = {0, 2} if damage in ('payload', 'both') else {0, 1, 2}
    assert {n for _, n in await queue.dequeue(0, max_tasks=5)} == left
    assert (await queue.get_queue_stats()).dead == 0
    if damage != 'both':
        assert any(ids[1] in record.getMessage() and record.levelno == logging.WARNING for record in caplog.records)
        state = await queue.get_task_state(ids[1])
        assert state.status is (Status.REJECTED if damage == 'payload' else Status.WORKING)
        assert 'lost' in (state.error or '')


async def test_a_key_of_another_type_hits_its_own_call_only(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await client.set(f'{queue.keys["task"]}:own', 'rubbish')
    outcomes = await asyncio.gather(
        queue.enqueue(1), queue.enqueue(2, task_id='own'), queue.enqueue(3, task_id='other'), return_exceptions=True
    )
    assert type(outcomes[1]) is torrelque.TorrelqueError
    assert [n for _, n in await queue.dequeue(0, max_tasks=5)] == [1, 3]
    assert await queue.get_queue_stats() == (2, 0, 2, 0, 0, 0)


async def test_serialisers_may_be_modules_and_speak_any_bytes(client: redis.asyncio.Redis, queue_name: str) -> None:
    import json

    for serialiser in (pickle, json, torrelque.TorrelqueTaskSerialiser(lambda b: b, bytes)):
        async with Torrelque(client, queue=queue_name, serialiser=serialiser) as queue:
            value = b'\xff\x00raw' if serialiser not in (json, pickle) else {'a': None}
            task_id = await queue.enqueue(value)
            taken, task = await queue.dequeue()
            assert task == value
            await queue.touch(taken, progress=value)
            assert (await queue.get_task_state(task_id)).progress == value
            await queue.release(taken, result=value)
            assert (await queue.get_task_state(task_id)).result == value


async def test_an_id_in_pending_counts_by_its_state(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    """Also where the set that names the holes was lost."""
    await queue.enqueue(1, task_id='own')
    ids = await queue.enqueue_many(range(600))
    await queue.cancel('own')
    await queue.enqueue(2, task_id='own', delay=60)
    await client.delete(queue.keys['holes'])
    first, _ = await queue.dequeue(0)
    assert [first, *(task_id for task_id, _ in await queue.dequeue(0, max_tasks=1000))] == ids
    assert await places(client, queue, 'own') == {'delayed'}


async def test_the_state_of_a_task_whose_payload_was_lost_ends(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await client.hdel(queue.keys['tasks'], task_id)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    assert 3_590_000 < await client.pttl(f'{queue.keys["task"]}:{task_id}') <= 3_600_000
