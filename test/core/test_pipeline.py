"""Calls that are part of a caller's transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
import torrelque.sync
from support.servers import RealServer
from support.topology import Cluster
from support.waiting import until_waiting
from torrelque import Torrelque, TorrelqueNode as Node, TorrelqueTaskStatus as Status, read_outcome


@pytest.fixture(params=[False, True])
async def decoding(server: RealServer, request: pytest.FixtureRequest) -> AsyncIterator[redis.asyncio.Redis]:
    async with server.client(decode_responses=request.param) as client:
        yield client


async def test_an_order_and_its_task_are_written_together(decoding: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(decoding, queue=queue_name) as queue:
        await decoding.script_flush()
        async with decoding.pipeline() as pipe:
            pipe.set('order:1', 'book')
            task_id = await queue.enqueue({'order': 1}, pipeline=pipe)
            own = await queue.enqueue({'order': 1}, task_id='own', delay=60, max_attempts=3, pipeline=pipe)
            assert len(task_id) == 32 and own == 'own'
            assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)
            results = await pipe.execute()
        assert read_outcome(results[1]) is True and read_outcome(results[2]) is True
        assert await queue.get_queue_stats() == (2, 1, 0, 1, 0, 0)

        taken, _ = await queue.dequeue()
        await decoding.script_flush()
        async with decoding.pipeline() as pipe:
            released: object = await queue.release(taken, result='done', pipeline=pipe)  # type: ignore[func-returns-value]
            next_id = await queue.enqueue('next', pipeline=pipe)
            requeued: object = await queue.requeue('own', pipeline=pipe)  # type: ignore[func-returns-value]
            assert released is requeued is None
            results = await pipe.execute()
        assert [read_outcome(result) for result in results] == [True, True, False]
        assert (await queue.get_task_state(task_id)).status is Status.COMPLETED
        assert await queue.dequeue(0) == (next_id, 'next')


async def test_outcomes_are_refusals_and_errors_too(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=queue_name, max_tasks=2) as queue:
        await queue.enqueue(1, task_id='own')
        async with client.pipeline() as pipe:
            await queue.enqueue(2, task_id='own', pipeline=pipe)
            await queue.enqueue(3, pipeline=pipe)
            await queue.enqueue(4, pipeline=pipe)
            await queue.release('no such', pipeline=pipe)
            pipe.set('other', 'written')
            results = await pipe.execute()
        with pytest.raises(torrelque.TorrelqueDuplicateError) as caught:
            read_outcome(results[0])
        assert caught.value.task_id == 'own'
        assert read_outcome(results[1]) is True
        with pytest.raises(torrelque.TorrelqueFullError) as full:
            read_outcome(results[2])
        assert full.value.size == 2
        assert read_outcome(results[3]) is False
        assert await client.get('other') == b'written'
    with pytest.raises(redis.exceptions.ResponseError):
        read_outcome(redis.exceptions.ResponseError('OOM'))
    rubbish: Any
    for rubbish in (None, 1, [], b'', 'ko', True, {}):
        with pytest.raises(torrelque.TorrelqueError):
            read_outcome(rubbish)


async def test_fenced_and_dead_outcomes(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue(1, max_attempts=1)
    old, _ = await queue.dequeue()
    await queue.requeue(old, forgive=True)
    taken, _ = await queue.dequeue()
    async with client.pipeline() as pipe:
        await queue.release(old, pipeline=pipe)
        await queue.requeue(taken, error='last', pipeline=pipe)
        results = await pipe.execute()
    assert [read_outcome(result) for result in results] == [False, True]
    assert (await queue.get_task_state(taken)).status is Status.DEAD


async def test_a_transaction_that_is_repeated_enqueues_once(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async with client.pipeline() as pipe:
        await queue.enqueue(1, pipeline=pipe)
        await queue.enqueue(2, task_id='own', pipeline=pipe)
        words = [command[0] for command in pipe.command_stack]
        await pipe.execute()
    for command in words:
        assert read_outcome(await client.execute_command(*command)) is True
    assert len(await queue.dequeue(0, max_tasks=5)) == 2


async def test_an_aborted_transaction_enqueues_nothing(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async with client.pipeline() as pipe:
        await pipe.watch('guard')
        with pytest.raises(torrelque.TorrelqueError, match='multi'):
            await queue.enqueue(1, pipeline=pipe)
        pipe.multi()
        await queue.enqueue(1, pipeline=pipe)
        await client.set('guard', 1)
        with pytest.raises(redis.exceptions.WatchError):
            await pipe.execute()
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)


async def test_a_transaction_wakes_who_waits(client: redis.asyncio.Redis, queue: Torrelque, endless: None) -> None:
    waiting = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    async with client.pipeline() as pipe:
        await queue.enqueue('now', pipeline=pipe)
        await pipe.execute()
    assert (await asyncio.wait_for(waiting, 60))[1] == 'now'


async def test_bad_pipelines_are_refused_and_nothing_is_queued(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async with server.client() as other, other.pipeline() as wrong, client.pipeline() as pipe:
        pipeline: Any
        for pipeline in (wrong, client, 'x', object()):
            with pytest.raises(torrelque.TorrelqueError):
                await queue.enqueue(1, pipeline=pipeline)
        with pytest.raises(torrelque.TorrelqueError):
            await queue.enqueue(1, delay=-1, pipeline=pipe)
        with pytest.raises(torrelque.TorrelqueError):
            await queue.enqueue(object(), pipeline=pipe)
        assert len(wrong) == len(pipe) == 0


@pytest.mark.parametrize('transaction', [True, False])
async def test_a_cluster_pipeline(cluster: Cluster, transaction: bool) -> None:
    async with cluster.client() as client, Torrelque(client, queue='{shop}mail') as queue:
        async with client.pipeline(transaction=transaction) as pipe:
            pipe.set('{shop}order', 'book')
            task_id = await queue.enqueue('task', pipeline=pipe)
            results = await pipe.execute()
        assert read_outcome(results[1]) is True
        taken, task = await queue.dequeue(60)
        assert (taken, task) == (task_id, 'task')
        async with client.pipeline(transaction=transaction) as pipe:
            await queue.release(taken, pipeline=pipe)
            await queue.enqueue('next', pipeline=pipe)
            assert [read_outcome(result) for result in await pipe.execute()] == [True, True]
        assert (await queue.dequeue(60))[1] == 'next'


async def test_a_transaction_that_is_repeated_after_the_end_enqueues_nothing(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async with client.pipeline() as pipe:
        await queue.enqueue(1, pipeline=pipe)
        (command,) = [command[0] for command in pipe.command_stack]
        await pipe.execute()
    taken, _ = await queue.dequeue(0)
    assert await queue.release(taken, result='kept')
    assert read_outcome(await client.execute_command(*command)) is True
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    assert (await queue.get_task_state(taken)).result == 'kept'


# Flows


async def test_an_order_and_its_flow_are_written_together(decoding: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(decoding, queue=queue_name) as queue:
        await decoding.script_flush()
        async with decoding.pipeline() as pipe:
            pipe.set('order:1', 'book')
            flow_id = await queue.enqueue_flow([Node('a', 1), Node('b', 2, {'a': 'then'})], out='b', pipeline=pipe)
            last = await queue.enqueue(3, depends_on=[flow_id], pipeline=pipe)
            assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)
            _, *outcomes = await pipe.execute()
        assert [*map(read_outcome, outcomes)] == [True, True]
        for name in 'ab':
            held, _ = await queue.dequeue(60)
            assert held == f'{flow_id}.{name}' and await queue.release(held, result=name)
        assert (await queue.wait(flow_id)).result == 'b'
        assert await queue.dequeue(60) == (last, 3)


async def test_what_is_refused_of_flows_is_told_as_by_the_calls_themselves(
    client: redis.asyncio.Redis, queue_name: str
) -> None:
    async with Torrelque(client, queue=queue_name, max_tasks=5) as queue:
        flow_id = await queue.enqueue_flow([Node('a', 1)])
        async with client.pipeline() as pipe:
            await queue.enqueue_flow([Node('a', 1)], flow_id=flow_id, pipeline=pipe)
            await queue.enqueue_flow([Node(name, 1) for name in 'abcd'], pipeline=pipe)
            await queue.enqueue(1, depends_on=['nobody'], pipeline=pipe)
            await queue.enqueue(1, depends_on=[flow_id, f'{flow_id}.a'], pipeline=pipe)
            before = await queue.get_queue_stats()
            outcomes = await pipe.execute()
        kinds = torrelque.DuplicateError, torrelque.FullError, torrelque.LookupError, torrelque.ValueError
        for outcome, kind in zip(outcomes, kinds, strict=True):
            with pytest.raises(kind):
                read_outcome(outcome)
        assert await queue.get_queue_stats() == before


async def test_a_flow_that_is_no_single_call_is_no_part_of_a_transaction(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async with client.pipeline() as pipe:
        with pytest.raises(torrelque.ValueError, match='a flow of 251 tasks takes 2 calls, so it is no part of a tran'):
            await queue.enqueue_flow([Node(f'{number}', 1) for number in range(251)], pipeline=pipe)
        assert len(pipe) == 0
        await queue.enqueue_flow([Node(f'{number}', 1) for number in range(250)], pipeline=pipe)
        assert [*map(read_outcome, await pipe.execute())] == [True]
    assert (await queue.get_queue_stats()).tasks == 251


def test_a_flow_is_part_of_a_synchronous_transaction(server: RealServer, queue_name: str) -> None:
    with server.sync_client() as client, torrelque.sync.Torrelque(client, queue=queue_name) as queue:
        with client.pipeline() as pipe:
            flow_id = queue.enqueue_flow([Node('a', 1)], pipeline=pipe)
            assert [*map(read_outcome, pipe.execute())] == [True]
        assert queue.dequeue(60)[0] == f'{flow_id}.a'
