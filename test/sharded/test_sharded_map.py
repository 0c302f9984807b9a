"""The map of the shards: who writes it, and who is refused before anything else is sent."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis
import redis.asyncio

import torrelque
import torrelque.sharded.sync
from support.bounding import Bound
from support.servers import MakeServer, RealServer
from support.sharding import NAME, all_keys, open_cluster, open_one, open_servers, tags_of
from support.topology import Cluster
from torrelque import Torrelque
from torrelque.aio.client import _links
from torrelque.cli.naming import as_it_is
from torrelque.sharded import Sharded, sync
from torrelque.sharded.finding import find_map

pytestmark = pytest.mark.first_server


@pytest.fixture
async def trio(make_server: MakeServer) -> AsyncIterator[list[RealServer]]:
    """Three servers of the test's own."""
    yield [make_server() for _ in range(3)]


async def test_making_a_queue_object_asks_nobody(make_server: MakeServer) -> None:
    server = make_server()
    server.kill()
    async with server.client() as client:
        queue = Sharded(client, queue=NAME, shards=3)
        for ask in (lambda: queue.shards, lambda: queue.home, lambda: queue.keys, lambda: queue.shard_of(group='a')):
            with pytest.raises(torrelque.Error, match=r"queue 'email': the shards are not known yet: await ready\(\)"):
                ask()
        await queue.aclose()


async def test_whoever_comes_first_writes_the_map_and_a_copy_into_each_shard(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    async with open_one(server, 4) as queue:
        await queue.ready()
        assert [shard.name for shard in queue.shards] == [f'{{email:{number}}}' for number in range(4)]
        found = json.loads(await client.get('{email}:shards') or b'')
        assert found == {
            'generation': 1, 'keyed': 4, 'tags': [f'email:{number}' for number in range(4)], 'servers': 1, 'server': 0,
        }  # fmt: skip
        del found['server']
        for number, shard in enumerate(queue.shards):
            copy = json.loads(await client.get(shard.keys['shards']) or b'')
            assert copy == {**found, 'shard': number}
    assert len(await all_keys(client)) == 5


async def test_shards_are_as_many_as_there_are_where_nobody_says_how_many(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    async with Sharded(client, queue='other') as queue:
        await queue.ready()
        assert len(queue.shards) == 12
    async with open_one(server, 5) as queue:
        await queue.ready()
    async with Sharded(client, queue=NAME) as queue:
        await queue.ready()
        assert len(queue.shards) == 5


async def test_another_number_of_shards_is_refused_and_nothing_is_written(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    async with open_one(server, 4) as queue:
        await queue.ready()
    before = {key: await client.get(key) for key in await all_keys(client)}
    async with open_one(server, 6) as queue:
        calls: list[Any] = [
            queue.enqueue('a'), queue.enqueue('a', group='b'), queue.enqueue_many(['a']), queue.dequeue(0),
            queue.get_queue_stats(), queue.cancel('a'), queue.set_limit(concurrency=1), queue.sweep(), queue.ready(),
        ]  # fmt: skip
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, torrelque.ValueError)
            assert str(error) == "queue 'email': the queue has 4 shards, not 6; shards=None takes as many as there are"
    assert {key: await client.get(key) for key in await all_keys(client)} == before


async def test_many_that_come_first_at_once_agree(server: RealServer, client: redis.asyncio.Redis) -> None:
    queues = [Sharded(client, queue=NAME, shards=3 + k % 2) for k in range(8)]
    done = await asyncio.gather(*(queue.ready() for queue in queues), return_exceptions=True)
    assert {type(error) for error in done if error is not None} == {torrelque.ValueError}
    assert done.count(None) == 4
    for queue in queues:
        await queue.aclose()


@pytest.mark.long
async def test_a_list_in_another_order_or_with_one_missing_is_refused(trio: list[RealServer]) -> None:
    async with open_servers(trio) as queue:
        await queue.ready()
        assert len(queue.shards) == 3
        task_id = await queue.enqueue('a')
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(one.client()) for one in trio]
        before = [await client.keys('*') for client in clients]
        a, b, c = clients
        wrong: list[tuple[list[Any], str]] = [
            ([b, a, c], 'server 0 of the list, counted from 0, is server 1 of the queue'),
            ([a, c, b], 'server 1 of the list, counted from 0, is server 2 of the queue'),
            ([a, b], 'the queue is on 3 servers, and was given 2 servers'),
            ([c], 'the queue is on 3 servers, and was given one server'),
        ]
        for given, message in wrong:
            async with Sharded(given, queue=NAME) as queue:
                for call in (queue.enqueue('b'), queue.enqueue('b', group='g'), queue.dequeue(0)):
                    with pytest.raises(torrelque.ValueError, match=re.escape(message)):
                        await call
        assert [await client.keys('*') for client in clients] == before
        async with Sharded(clients, queue=NAME) as queue:
            assert (await queue.get_task_state(task_id)).status == torrelque.TaskStatus.PENDING


@pytest.mark.long
async def test_a_server_that_was_emptied_is_given_its_number_again(trio: list[RealServer]) -> None:
    async with open_servers(trio) as queue:
        await queue.ready()
    async with trio[1].client() as client:
        await client.flushall()
        async with open_servers(trio) as queue:
            await queue.ready()
        assert json.loads(await client.get('{email}:shards') or b'')['server'] == 1
        assert json.loads(await client.get('{email:1}:shards') or b'')['shard'] == 1


@pytest.mark.long
async def test_one_who_comes_while_a_server_is_away_works_with_the_others_and_proves_it_later(
    trio: list[RealServer], bound: Any
) -> None:
    bound(repeat=1.0)
    async with open_servers(trio) as queue:
        await queue.ready()
    async with trio[0].client() as first, trio[2].client() as third:
        trio[1].stop()
        async with Sharded([first, trio[1].client(), third], queue=NAME) as queue:
            await asyncio.gather(*(queue.enqueue(k) for k in range(100)))
            assert queue.shards[0].name == '{email:0}'
            assert {*await queue.shards[0].client.keys('{email:1}*')} == set()
            groups = [group for k in range(100) if queue.shard_of(group=(group := f'g{k}')) is queue.shards[1]]
            with pytest.raises(torrelque.ConnectionError):
                await queue.enqueue('a', group=groups[0])
            trio[1].start()
            # It comes back empty, and is asked for its number before it is given anything.
            await queue.enqueue('a', group=groups[0])
            async with trio[1].client() as second:
                assert json.loads(await second.get('{email}:shards') or b'')['server'] == 1


@pytest.mark.long
async def test_a_queue_of_a_cluster_is_not_one_of_servers(cluster: Cluster) -> None:
    async with open_cluster(cluster, 12) as queue:
        await queue.ready()
        assert tuple(shard.name for shard in queue.shards) == tuple(f'{{{tag}}}' for tag in tags_of(12))
        owners = [cluster.owner_of(cluster.slot_of(shard.name)) for shard in queue.shards]
        assert sorted(owners) == [0] * 4 + [1] * 4 + [2] * 4
        # Any primary can tell the map.
        for number, shard in enumerate(queue.shards):
            copy = json.loads(await shard.command('GET', shard.keys['shards']))
            assert copy['shard'] == number
            assert len(copy['tags']) == 12


@pytest.mark.long
@pytest.mark.parametrize('said', [12, 24, None])
async def test_a_map_that_a_primary_has_lost_is_told_by_the_others(cluster: Cluster, said: int | None) -> None:
    async with open_cluster(cluster, 24) as queue:
        await queue.ready()
        task_id = await queue.enqueue('a', group='b')
        async with Torrelque(queue.client, queue=NAME) as own:
            assert await own.command('DEL', '{email}:shards') == 1
            async with Sharded(queue.client, queue=NAME, shards=said) as other:
                if said == 12:
                    # Another one is not made: there are tasks in the shards of this one.
                    with pytest.raises(torrelque.ValueError, match='the queue has 24 shards, not 12'):
                        await other.ready()
                else:
                    await other.ready()
                    assert [shard.name for shard in other.shards] == [shard.name for shard in queue.shards]
                    assert (await other.dequeue(20))[0] == task_id
            assert json.loads(await own.command('GET', '{email}:shards'))['generation'] == 1


@pytest.mark.long
async def test_the_map_is_found_soon_where_the_primary_that_has_it_is_away(cluster: Cluster, bound: Bound) -> None:
    bound(repeat=60.0)
    async with open_cluster(cluster, 12) as queue:
        await queue.ready()
        with cluster.without_slot(cluster.slot_of('{email}')):
            async with Torrelque(queue.client, queue=NAME) as own:
                assert (await find_map(own) or {})['generation'] == 1
            whole = await as_it_is(Torrelque(queue.client, queue=NAME))
            assert [shard.name for shard in whole.shards] == [shard.name for shard in queue.shards]
            await whole.aclose()
        async with Torrelque(queue.client, queue='other') as other:
            assert await find_map(other) is None
        assert await queue.client.exists('{other}:shards') == 0


@pytest.mark.long
def test_threads_wait_for_no_server_that_is_away_before_they_ask_others(cluster: Cluster, bound: Bound) -> None:
    bound(repeat=60.0)
    with redis.RedisCluster(host='127.0.0.1', port=cluster.ports[0]) as client:
        with sync.Sharded(client, queue=NAME, shards=12) as queue:
            queue.ready()
        with cluster.without_slot(cluster.slot_of('{email}')), sync.Sharded(client, queue=NAME) as queue:
            queue.ready()
        with sync.Sharded(client, queue=NAME) as queue:
            queue.ready()
            with cluster.without_slot(cluster.slot_of(queue.shards[3].name)):
                stats = queue.stats_of_shards()
            assert stats[3] is None
            assert None not in stats[-4:]


async def test_whoever_finds_the_map_lost_writes_it_again(server: RealServer, client: redis.asyncio.Redis) -> None:
    async with open_one(server, 2) as queue:
        await queue.ready()
        before = {key: await client.get(key) for key in await all_keys(client)}
        await client.flushall()
        assert not await queue._look()
        assert {key: await client.get(key) for key in await all_keys(client)} == before
        with server.sync_client() as own, torrelque.sharded.sync.Sharded(own, queue=NAME) as other:
            other.ready()
            await client.flushall()
            assert not other._look()
            assert {key: await client.get(key) for key in await all_keys(client)} == before
        # Somebody has begun anew, with other shards.
        await client.flushall()
        async with open_one(server, 3) as third:
            await third.ready()
        with pytest.raises(torrelque.Error, match='the map of the shards is that of another queue'):
            await queue._look()


async def test_one_server_twice_is_refused_and_nothing_is_left_of_it(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    async with server.client() as again, Sharded([client, again], queue=NAME) as queue:
        with pytest.raises(torrelque.ValueError, match=r'server 1 of the list, .* is server 0 of the queue'):
            await queue.enqueue('a')
    assert await all_keys(client) == set()
    async with open_one(server) as queue:
        await queue.enqueue('a')


async def test_what_is_no_client_or_no_list_of_them_is_refused(client: redis.asyncio.Redis) -> None:
    class_of_cluster: Any = redis.asyncio.RedisCluster(host='127.0.0.1', port=1)
    wrong: list[tuple[Any, type[Exception]]] = [
        ([], torrelque.ValueError),
        ([client, client], torrelque.ValueError),
        ([client, class_of_cluster], torrelque.TypeError),
        ([class_of_cluster], torrelque.TypeError),
        ('redis://', torrelque.TypeError),
        ([client, 'redis://'], torrelque.TypeError),
    ]
    for given, kind in wrong:
        with pytest.raises(kind):
            Sharded(given, queue=NAME)
    values: list[dict[str, Any]] = [{'shards': 0}, {'shards': 193}, {'max_tasks': 0}, {'queue': '{a}'}, {'queue': ''}]
    for options in values:
        with pytest.raises(torrelque.ValueError):
            Sharded(client, **{'queue': NAME, **options})
    kinds: list[dict[str, Any]] = [{'shards': 1.5}, {'serialiser': 1}, {'queue': b'a'}]
    for options in kinds:
        with pytest.raises(torrelque.TypeError):
            Sharded(client, **{'queue': NAME, **options})


WELL = {'generation': 1, 'keyed': 2, 'tags': ['email:0', 'email:1'], 'servers': 1, 'server': 0}


@pytest.mark.parametrize(
    'text',
    [
        'spoilt', '', 'null', '5', '[' * 100_000, json.dumps({**WELL, 'generation': float('inf')}),
        *(json.dumps({**WELL, **wrong}) for wrong in (
            {'generation': 1.5}, {'generation': -1}, {'keyed': 0}, {'keyed': 3}, {'keyed': '2'}, {'keyed': True},
            {'tags': 'ab'}, {'tags': [1, 2]}, {'tags': ['email:0'] * 2}, {'tags': ['', 'a']}, {'tags': ['a', 'a{b}']},
            {'tags': ['a', '\ud800']}, {'servers': 1.0}, {'servers': 'x'}, {'before': 4}, {'before': ['4']},
            {'fresh': 'x'}, {'closing': 0},
        )),
    ],
)  # fmt: skip
async def test_a_map_that_cannot_be_read_is_told(server: RealServer, client: redis.asyncio.Redis, text: str) -> None:
    await client.set('{email}:shards', text)
    async with open_one(server, 2) as queue:
        with pytest.raises(torrelque.Error, match="queue 'email': the map of the shards cannot be read"):
            await queue.enqueue('a')
        assert await all_keys(client) == {b'{email}:shards'}
        await client.delete('{email}:shards')
        await queue.enqueue('a')


async def test_a_shard_is_a_queue_like_any_other(server: RealServer) -> None:
    async with open_one(server) as queue:
        task_id = await queue.enqueue('a')
        shard = queue.shard_of(task_id)
        async with Torrelque(shard.client, queue=shard.name) as own:
            found, task = await own.dequeue(20)
            assert (found, task) == (task_id, 'a')
            assert await own.release(found)


async def test_opening_that_is_cancelled_at_any_turn_leaves_no_connection(server: RealServer) -> None:
    opened, turns = False, 0
    while not opened:
        async with server.client() as client:
            queue = Sharded(client, queue=f'opening-{turns}', shards=2)
            opening = asyncio.ensure_future(queue.ready())
            for _ in range(turns):
                await asyncio.sleep(0)
            opened, turns = opening.done(), turns + 1
            opening.cancel()
            await queue.aclose()
            await asyncio.wait([opening])
            assert not _links.get(client)
