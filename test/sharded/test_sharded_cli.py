"""The command line of a queue with shards: its name is enough, because the server says what it is."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from support.acting import Commands
from support.schemas import read_as
from support.servers import MakeServer, RealServer
from support.sharding import group_of, open_one, open_servers
from torrelque import Torrelque
from torrelque.cli.answers import ShardAnswer
from torrelque.cli.naming import find_sharded
from torrelque.config import Config
from torrelque.monitor import Metrics
from torrelque.operate import Operator, Overview
from torrelque.sharded import Sharded, grow

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


async def test_shards_are_more_and_fewer_after_whoever_is_there_was_asked(
    server: RealServer, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grow, 'EVERY', 0.05)
    monkeypatch.setattr(grow, 'KNOWN', 0.1)
    async with open_one(server, 2) as queue:
        await queue.ready()
        said = await command('shards', '-q', 'email', '--grow', '4', '--dry-run')
        assert "queue 'email' has 2 shards, and will have 4" in said.err
        said = await command('shards', '-q', 'email', '--grow', '4', code=2)
        assert 'nobody can be asked: --yes does it' in said.err
        said = await command('shards', '-q', 'email', '--grow', '4', '--yes', '--json')
        assert len(said.out.splitlines()) == 4
        said = await command('shards', '-q', 'email', '--shrink', '2', '--yes', '--json')
        assert len(said.out.splitlines()) == 2 and 'which have 0 tasks now' in said.err
        acts = [(act.act, act.what) for act in await Operator(queue).acts()]
        assert acts == [('shrink', 'from 4 shards to 2'), ('grow', 'from 2 shards to 4')]
        # Groups come to the new shards as well.
        said = await command('shards', '-q', 'email', '--grow', '4', '--keyed', '--yes', '--json')
        assert 'groups come to them' in said.err and len(said.out.splitlines()) == 4
        await queue.enqueue('x', group=group_of(3, 4))
        assert [one and one.tasks for one in await queue.stats_of_shards()][:2] == [0, 0]
    for words in (('--read-only',), ('--timeout', '5s', '--yes'), ('--yes',)):
        said = await command('shards', '-q', 'plain', '--grow', '4', *words, code=None)
        assert said.code, said
    said = await command('shards', '-q', 'email', '--shrink', '2', '--keyed', '--yes', code=2)
    assert '--keyed is for --grow' in said.err


HANDLER = """
import pathlib

def handle(delivery):
    with open({path!r}, 'a') as file:
        print(delivery.queue, delivery.task, file=file)
"""


async def serve(tmp_path: Path, *words: str) -> list[str]:
    """Have a worker do all that there is; the lines that its handler has written."""
    (tmp_path / 'spread_handler.py').write_text(HANDLER.format(path=str(tmp_path / 'done')))
    (tmp_path / 'done').touch()
    process = await asyncio.create_subprocess_exec(
        sys.executable, '-m', 'torrelque', 'run', *words, '--burst', cwd=tmp_path, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {'PYTHONPATH': str(Path(__file__).parents[2])},
    )  # fmt: skip
    _, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    return sorted((tmp_path / 'done').read_text().splitlines())


@pytest.mark.long
@pytest.mark.one_server
async def test_a_handler_serves_the_shards_that_are_there_and_those_that_it_says(
    server: RealServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORRELQUE_URL', server.url)
    async with open_one(server, 3) as queue:
        for shard in range(3):
            await queue.enqueue(shard, group=group_of(shard, 3))
        assert await find_sharded(['email', 'other'], None) == {'email'}
        done = await serve(tmp_path, 'spread_handler:handle', '-q', 'email')
        assert [line.split()[-1] for line in done] == ['0', '1', '2']
    await serve(tmp_path, 'spread_handler:handle', '-q', 'news', '--shards', '2')
    async with server.client() as client, Sharded(client, queue='news') as news:
        await news.ready()
        assert len(news.shards) == 2


@pytest.mark.long
@pytest.mark.one_server
async def test_a_file_says_how_many_shards_a_queue_has_and_on_which_servers(
    server: RealServer, make_server: MakeServer, command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('TORRELQUE_URL')
    monkeypatch.delenv('TORRELQUE_QUEUE')
    other = make_server()
    path = tmp_path / 'torrelque.toml'
    path.write_text(f"""
        [queues.email]
        servers = ['{server.url}', '{other.url}']
        shards = 4
        max_tasks = 100
        [workers.one]
        handler = 'spread_handler:handle'
        queues = ['email']
    """)
    said = await command('shards', '-c', str(path), '--json')
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [one['server'] for one in answers] == [server.url, other.url] * 2
    for shard in range(4):
        words = ('enqueue', str(shard), '--group', group_of(shard, 4), '-c', str(path))
        await command(*words)
    said = await command('stats', '-c', str(path), '--json')
    assert read_as(Overview, said.out.strip()).pending == 4
    assert len(await serve(tmp_path, '-c', str(path))) == 4
    async with Config.load(path) as config:
        found = config.queues['email'].make()
        await found.ready()
        assert isinstance(found, Sharded) and (found.max_tasks, len(found.shards)) == (100, 4)
        metrics = Metrics(found)
        assert b'torrelque_up{queue="email"} 1.0' in (await metrics.exposition())[0]
        await metrics.aclose()
    path.write_text(f"""
        [server]
        url = '{server.url}'
        [queues.news]
        shards = 2
    """)
    await command('enqueue', '1', '-c', str(path))
    said = await command('shards', '-c', str(path), '--json')
    assert len(said.out.splitlines()) == 2
    path.write_text('[queues."a{b}"]\nshards = 193\nservers = ["redis://a", "redis://a"]\n')
    said = await command('config', 'check', '-c', str(path), code=None)
    assert said.code
    for what in ('a whole number from 1 to 192', 'the list has a server twice'):
        assert what in said.out + said.err, said
