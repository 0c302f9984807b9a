"""Clients of other kinds than a plain one: of one connection, and such as follow the primary that a Sentinel names."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import redis
import redis.sentinel

import torrelque
from support.servers import MakeServer, RealServer
from support.sharding import drain, group_of, numbers_of
from support.topology import Sentinel
from torrelque.sharded import Sharded, sync

pytestmark = pytest.mark.one_server


async def test_clients_of_a_single_connection_serve_for_all_shards(server: RealServer) -> None:
    async with server.client(single_connection_client=True) as client, Sharded(client, shards=3) as queue:
        task_ids = [await queue.enqueue('a', group='g'), *await queue.enqueue_many(range(750))]
        assert {*numbers_of(queue, task_ids)} == {0, 1, 2}
        assert len(await drain(queue)) == 751
        waiting = asyncio.ensure_future(queue.dequeue(20))
        await asyncio.sleep(0)
        task_id = await queue.enqueue('late', group='g')
        assert (await waiting)[0] == task_id and await client.ping()
    with redis.Redis(unix_socket_path=server.socket, single_connection_client=True) as other:
        with sync.Sharded(other) as threads:
            threads.enqueue_many(range(20))
            assert threads.release(task_id) and len(threads.dequeue(20, max_tasks=20)) > 0 and other.ping()


@pytest.mark.long
async def test_a_list_may_have_primaries_that_sentinels_name(
    sentinel: Sentinel, make_server: MakeServer, hasty: None
) -> None:
    plain = make_server()
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client) for client in (sentinel.master_for(), plain.client())]
        queue = await stack.enter_async_context(Sharded(clients, queue='email'))
        before = await queue.enqueue('kept', group=group_of(0, 2))
        await sentinel_has(sentinel, before)
        sentinel.kill_primary()
        await asyncio.gather(*(queue.enqueue(k) for k in range(50)))
        await asyncio.to_thread(sentinel.wait_failover)
        while {*numbers_of(queue, await queue.enqueue_many(range(500)))} != {0, 1}:
            await asyncio.sleep(0.01)
        await queue.pause()
        assert (await queue.get_task_state(before)).status is torrelque.TaskStatus.PENDING
        with (
            redis.sentinel.Sentinel([('127.0.0.1', sentinel.sentinel.port)]).master_for(sentinel.name) as first,
            plain.sync_client() as second, sync.Sharded([first, second], queue='email') as threads,
        ):
            assert await asyncio.to_thread(threads.enqueue, 1, group=group_of(0, 2))


async def sentinel_has(sentinel: Sentinel, task_id: str) -> None:
    """Wait until the replica has a task."""
    async with sentinel.replica.client() as replica:
        while not await replica.exists(f'{{email:0}}:task:{task_id}'):
            await asyncio.sleep(0.001)
