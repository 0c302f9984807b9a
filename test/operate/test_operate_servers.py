"""Operators on all kinds of servers and clients, as users who may only read, and beside scripts that are forgotten."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.operating import check_overview, places, read_truth, walked
from support.servers import RealServer
from support.topology import Cluster, Sentinel
from torrelque import Torrelque
from torrelque.operate import Operator
from torrelque.operate.asking import load

READING: list[Callable[[Operator], Awaitable[object]]] = [
    lambda operator: operator.overview(),
    lambda operator: operator.page('pending'),
    lambda operator: operator.page('orphaned'),
    lambda operator: operator.groups(),
    lambda operator: operator.group('g'),
    lambda operator: operator.examine(),
]


async def fill(queue: Torrelque) -> None:
    await queue.enqueue_many(range(20))
    await queue.enqueue_many(range(20), group='g')
    await queue.enqueue(1, priority=1)
    await queue.enqueue(1, delay=60)
    await queue.dequeue_many(5)


async def compare(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    """All that is read is as the keys are."""
    truth = await read_truth(client, queue)
    check_overview(truth, await Operator(queue).overview())
    for place, ids in places(truth).items():
        assert {task.id for task in await walked(queue, place)} == ids


@contextlib.asynccontextmanager
async def reader(
    server: RealServer, client: redis.asyncio.Redis, name: str, *rights: str
) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of a user with some rights."""
    user = f'reader-{name}'
    await client.execute_command('ACL', 'SETUSER', user, 'reset', 'on', '>secret', *rights)
    async with server.client(username=user, password='secret') as limited:
        yield limited
    await client.execute_command('ACL', 'DELUSER', user)


def rights_of(kind: str, queue: Torrelque) -> list[str]:
    """What a user needs who only looks."""
    base = queue.keys['pending'].removesuffix('pending')
    if kind in ('redis6', 'keydb'):
        return [f'~{base}*', '+@read', '+@scripting', '+time']
    return [f'%R~{base}*', '+@read', '+evalsha_ro', '+eval_ro', '+time']


async def test_a_user_who_may_only_read_is_told_all_that_is_read(
    server: RealServer, server_kind: str, client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await fill(queue)
    async with reader(server, client, queue.name, *rights_of(server_kind, queue)) as limited:
        async with Torrelque(limited, queue=queue.name) as only:
            truth = await read_truth(client, queue)
            check_overview(truth, await Operator(only).overview())
            for place, ids in places(truth).items():
                assert {task.id for task in await walked(only, place)} == ids
            [task_id, *_] = truth.seen.pending
            assert (await Operator(only).task(task_id)).id == task_id
            for ask in READING:
                await ask(Operator(only))
            told = {it.subject: it.text for it in await Operator(only).examine() if it.level == 'note'}
            assert told['server'].startswith('not allowed to look')
            with pytest.raises(torrelque.ServerError, match=r'NOPERM|The user executing the script'):
                await only.enqueue(1)


async def test_a_user_who_may_not_read_is_told_so(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async with reader(server, client, queue.name, '+@read', '+@scripting', '+time', '~other') as limited:
        async with Torrelque(limited, queue=queue.name) as only:
            told = await Operator(only).overview()
            assert told.error is not None
            assert told.exact == ()
            with pytest.raises(torrelque.ServerError):
                await Operator(only).page('pending')
            levels = {it.subject: it.level for it in await Operator(only).examine()}
            assert levels['queue'] == 'error'


async def test_nothing_is_written_by_looking(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await fill(queue)
    before = await read_truth(client, queue)
    for ask in READING:
        await ask(Operator(queue))
    for place in places(before):
        await walked(queue, place)
    after = await read_truth(client, queue)
    # The record of a claim goes when the claim is acknowledged.
    gone: dict[str, Any] = {'records': {}, 'lives': {}, 'names': set()}
    assert after.seen._replace(**gone) == before.seen._replace(**gone)
    assert after.seen.names <= before.seen.names
    own = queue.keys['pending'].removesuffix('pending').encode()
    left: list[Any] = await client.keys('*')
    assert [key for key in left if not key.startswith(own)] == []


async def test_an_empty_queue_stays_no_key_at_all(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    for ask in READING:
        await ask(Operator(queue))
    assert await client.keys('*') == []


async def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await fill(queue)
    operator = Operator(queue)
    for _ in range(2):
        for ask in READING:
            await ask(operator)
        await client.script_flush()
    await compare(client, queue)


async def test_queues_of_a_cluster_are_read(cluster: Cluster) -> None:
    async with cluster.client() as client, Torrelque(client, queue='one') as one, Torrelque(client, queue='two') as two:
        for queue in (one, two):
            await fill(queue)
            for ask in READING:
                await ask(Operator(queue))
            assert len(await walked(queue, 'pending')) == 36
        assert (await Operator([one, two]).overview()).tasks == 84
        # The slot moves, and with it go the scripts that the new node does not know.
        slot = cluster.slot_of(one.keys['pending'])
        cluster.move_slot(slot, (cluster.owner_of(slot) + 1) % 3)
        for ask in READING:
            await ask(Operator(one))
        assert len(await walked(one, 'pending')) == 36


async def test_a_queue_is_read_that_a_sentinel_knows(sentinel: Sentinel) -> None:
    async with sentinel.master_for() as client, Torrelque(client) as queue:
        await fill(queue)
        for ask in READING:
            await ask(Operator(queue))
        assert len(await walked(queue, 'pending')) == 36
    async with sentinel.sentinel_client().slave_for(sentinel.name) as replica, Torrelque(replica) as queue:
        told = [it for it in await Operator(queue).examine() if it.subject == 'role']
        assert [it.level for it in told] == ['error']


def test_scripts_have_no_comments_when_they_are_sent() -> None:
    for name in ('overview', 'page', 'members', 'entries', 'names', 'survey', 'sample', 'books', 'holders', 'types',
                 'timetable'):  # fmt: skip
        text, digest = load(name)
        assert '--' not in text
        assert len(digest) == 40
