"""The command line of a queue with shards: its name is enough, because the server says what it is."""

from __future__ import annotations

import json

import pytest

from support.acting import Commands
from support.schemas import read_as
from support.servers import MakeServer, RealServer
from support.sharding import group_of, open_one, open_servers
from torrelque import Torrelque
from torrelque.cli.answers import ShardAnswer
from torrelque.cli.failure import Failure
from torrelque.cli.naming import refuse_shards
from torrelque.operate import Operator, Overview

pytestmark = pytest.mark.first_server


async def test_each_command_takes_the_name_for_all_shards(server: RealServer, command: Commands) -> None:
    async with open_one(server, 3) as queue:
        await queue.ready()
        for shard in range(3):
            await queue.enqueue({'task': 'send'}, group=group_of(shard, 3))
        said = await command('stats', '--json', '-q', 'email')
        assert read_as(Overview, said.out.strip()).pending == 3
        page = await Operator(queue).page('pending')
        said = await command('tasks', 'pending', '-q', 'email')
        assert all(task.id[:8] in said.out for task in page)
        for task in page:
            assert 'send' in (await command('show', task.id, '-q', 'email')).out
        assert group_of(2, 3) in (await command('groups', '-q', 'email')).out
        await command('pause', '--group', group_of(2, 3), '-q', 'email')
        assert (await Operator(queue).group(group_of(2, 3))).paused
        said = await command('cancel', '--status', 'pending', '--yes', '-q', 'email')
        assert (await queue.get_queue_stats()).tasks == 0
        task_id = (await command('enqueue', '"x"', '-q', 'email')).out.split()[0]
        assert (await queue.get_task_state(task_id)).status.name == 'PENDING'
        assert not await queue.command('EXISTS', '{email}:tasks')


async def test_the_spread_over_shards_is_shown(server: RealServer, command: Commands) -> None:
    async with open_one(server, 3) as queue:
        await queue.ready()
        for _ in range(4):
            await queue.enqueue(1, group=group_of(1, 3))
        said = await command('shards', '-q', 'email', '--json')
        answers = [read_as(ShardAnswer, line) for line in said.out.splitlines()]
        assert [(one['queue'], one['shard'], one['tag'], one['pending']) for one in answers] == [
            ('email', 0, 'email:0', 0), ('email', 1, 'email:1', 4), ('email', 2, 'email:2', 0),
        ]  # fmt: skip
        assert {one['server'] for one in answers} == {server.url}
        said = await command('shards', '-q', 'email')
        assert 'SLOT' in said.out and 'email:2' in said.out


async def test_a_queue_in_one_place_is_its_only_shard(queue: Torrelque, command: Commands) -> None:
    await queue.enqueue(1)
    said = await command('shards', '--json')
    [one] = [json.loads(line) for line in said.out.splitlines()]
    assert (one['queue'], one['shard'], one['pending']) == (queue.name, 0, 1)


async def test_shards_are_found_as_the_queue_that_they_are_of(server: RealServer, command: Commands) -> None:
    async with open_one(server, 3) as queue, server.client() as client, Torrelque(client, queue='plain:7') as plain:
        await queue.enqueue_many(range(3), group=lambda k: group_of(k, 3))
        await plain.enqueue(1)
        said = await command('queues', '--scan', '--json')
        assert sorted(json.loads(line)['name'] for line in said.out.splitlines()) == ['email', 'plain:7']


async def test_a_queue_on_several_servers_is_for_an_app(
    server: RealServer, make_server: MakeServer, command: Commands
) -> None:
    async with open_servers([server, make_server()]) as queue:
        await queue.enqueue(1)
        said = await command('stats', '-q', 'email', code=None)
        assert said.code and "queue 'email': the queue is on 2 servers, and was given one server" in said.err


async def test_shards_are_not_served_as_a_queue_of_one_place(server: RealServer) -> None:
    async with open_one(server, 3) as queue, server.client() as client, Torrelque(client, queue='email') as plain:
        await refuse_shards([plain])
        await queue.ready()
        with pytest.raises(Failure, match="queue 'email' has shards: make a Worker"):
            await refuse_shards([plain])
