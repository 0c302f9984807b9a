"""A shard whose server takes no writes: plain tasks go to the others, once; what has no other place is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

import pytest
import redis

import torrelque
from support.bounding import Bound
from support.proxy import calls_of, open_proxy
from support.servers import RealServer
from support.sharding import drain, group_of, numbers_of, open_servers
from torrelque.sharded import Sharded, common, sync

pytestmark = pytest.mark.one_server

Setting = dict[str, str]
FULL: Setting = {'maxmemory': '1'}
NO_REPLICAS: Setting = {'min-replicas-to-write': '1'}


@pytest.fixture
def trio(
    server: RealServer, _other_servers: list[RealServer], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[RealServer]]:
    monkeypatch.setattr(common, 'AGAIN', 0.01)
    servers = [server, *_other_servers]
    for one in servers:
        with one.sync_client() as client:
            client.flushall()
    yield servers
    allow(*servers)


def refuse(server: RealServer, setting: Setting) -> None:
    with server.sync_client() as client:
        for name, value in setting.items():
            client.config_set(name, value)


def refuse_all(servers: Sequence[RealServer]) -> None:
    for server in servers:
        refuse(server, FULL)


def allow(*servers: RealServer) -> None:
    for server in servers:
        refuse(server, {'maxmemory': '0', 'min-replicas-to-write': '0'})
        with server.sync_client() as client:
            client.replicaof('NO', 'ONE')


async def until_all_are_given_tasks(queue: Sharded) -> None:
    while {*numbers_of(queue, await queue.enqueue_many(range(750)))} != {0, 1, 2}:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize('setting', [
    pytest.param(FULL, id='its memory is full'),
    pytest.param(NO_REPLICAS, id='it lacks replicas', marks=pytest.mark.long),
])  # fmt: skip
async def test_plain_tasks_go_to_those_that_take_them(
    trio: list[RealServer], setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_servers(trio) as queue:
        before = await queue.enqueue('before', group=group_of(1, 3))
        refuse(trio[1], setting)
        task_ids = [*await asyncio.gather(*map(queue.enqueue, range(40))), *await queue.enqueue_many(range(40, 1000))]
        for k in range(1000, 1020):
            task_ids += [await queue.enqueue(k)]
        task_ids += await queue.enqueue_many(range(1020, 1100), group=lambda _: None)
        assert {*numbers_of(queue, task_ids)} == {0, 2}
        assert [one.levelname for one in caplog.records if 'other shards: shard 1: ' in one.message] == ['WARNING']
        for bound_to_it in ({'group': group_of(1, 3)}, {'task_id': group_of(1, 3)}):
            with pytest.raises(torrelque.ServerError, match='queue') as caught:
                await queue.enqueue('mine', **bound_to_it)  # type: ignore[arg-type]
            assert caught.value.passing and caught.value.untouched
            assert isinstance(caught.value, redis.exceptions.OutOfMemoryError) is (setting is FULL)
        if setting is FULL:
            # It hands out what it has.
            assert (await queue.shards[1].dequeue(20))[0] == before
        allow(trio[1])
        await until_all_are_given_tasks(queue)
        found = [task for _, task in await drain(queue)]
        assert [found.count(task) for task in range(750, 1100)] == [1] * 350


async def test_it_is_the_servers_refusal_where_no_shard_takes_tasks(trio: list[RealServer]) -> None:
    async with open_servers(trio) as queue:
        await queue.ready()
        refuse_all(trio)
        for _ in range(3):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                await queue.enqueue(1)
        with pytest.raises(torrelque.BulkError) as caught:
            await queue.enqueue_many(range(600))
        assert isinstance(caught.value.__cause__, redis.exceptions.OutOfMemoryError)
        assert caught.value.task_ids == []
        allow(*trio)
    async with open_servers(trio, max_tasks=3) as queue:
        task_ids = await queue.enqueue_many(range(3))
        assert await queue.cancel(next(one for one in task_ids if one.endswith('.000')))
        refuse(trio[0], FULL)
        with pytest.raises(torrelque.FullError, match='it has 2 tasks'):
            await queue.enqueue(1)


async def test_what_may_have_been_carried_out_is_put_nowhere_else(trio: list[RealServer]) -> None:
    async with open_proxy(trio[0]) as proxy, proxy.client() as line, trio[1].client() as other:
        async with Sharded([line, other], queue='email') as queue:
            await queue.ready()
            gate = proxy.hold_request(calls_of('enqueue'))
            calls: list[asyncio.Future[torrelque.TaskId]] = []
            while not gate.arrived.is_set():
                calls.append(asyncio.ensure_future(queue.enqueue(len(calls))))
                await asyncio.sleep(0.002)
            refuse(trio[0], FULL)
            # It is sent again, and refused; whether it was carried out at first, nobody knows.
            proxy.cut()
            done = await asyncio.gather(*calls, return_exceptions=True)
            [error] = [one for one in done if isinstance(one, Exception)]
            assert isinstance(error, torrelque.ServerError) and not error.untouched
            gate.open()
            allow(trio[0])
            others = [k for k in range(len(calls)) if done[k] is not error]
            assert sorted(task for _, task in await drain(queue)) == others


async def test_a_flow_that_was_begun_in_one_shard_is_begun_in_no_other(trio: list[RealServer]) -> None:
    nodes = [torrelque.Node(f'{number}', 'x' * 3000) for number in range(600)]
    async with contextlib.AsyncExitStack() as stack, open_servers(trio) as queue:
        await queue.sweep()
        for server in trio:
            with server.sync_client() as client:
                used = client.info('memory')['used_memory']
            # For its first call, or for two.
            refuse(server, {'maxmemory': str(used + 1_300_000)})
        with pytest.raises(redis.exceptions.OutOfMemoryError) as caught:
            await queue.enqueue_flow(nodes)
        assert not caught.value.untouched  # type: ignore[attr-defined]
        allow(*trio)
        clients = [await stack.enter_async_context(server.client()) for server in trio]
        assert sum([bool(await client.keys('*:task:*')) for client in clients]) == 1


@pytest.mark.long
async def test_what_a_read_only_server_never_took_goes_elsewhere_when_it_was_asked_for_long(
    trio: list[RealServer], hasty: None, bound: Bound
) -> None:
    bound(repeat=0.3)
    async with open_servers(trio) as queue:
        await queue.sweep()
        with trio[2].sync_client() as client:
            client.replicaof('127.0.0.1', '1')
        task_ids = await asyncio.gather(*(queue.enqueue(k) for k in range(20)))
        while not queue._refusing:
            task_ids += [await queue.enqueue('more')]
        task_ids += [await queue.enqueue(k) for k in range(50)]
        assert {*numbers_of(queue, task_ids)} == {0, 1}
        with pytest.raises(torrelque.ConnectionError, match='read only'):
            await queue.enqueue(1, group=group_of(2, 3))
        allow(trio[2])
        await until_all_are_given_tasks(queue)


def test_threads_put_plain_tasks_where_they_are_taken(trio: list[RealServer]) -> None:
    with sync.Sharded([server.sync_client() for server in trio], queue='email') as queue:
        queue.ready()
        refuse(trio[1], FULL)
        task_ids = [*[queue.enqueue(k) for k in range(600)], *queue.enqueue_many(range(600, 1500))]
        assert {int(task_id[-3:]) for task_id in task_ids} == {0, 2}
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            queue.enqueue(1, group=group_of(1, 3))
        allow(trio[1])
        while {int(task_id[-3:]) for task_id in queue.enqueue_many(range(750))} != {0, 1, 2}:
            pass
        refuse_all(trio)
        with pytest.raises(torrelque.BulkError) as caught:
            queue.enqueue_many(range(3))
        assert isinstance(caught.value.__cause__, redis.exceptions.OutOfMemoryError)
