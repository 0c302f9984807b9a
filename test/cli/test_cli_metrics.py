"""``torrelque metrics``: printed once, or served until a signal comes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import redis.asyncio

from support.commanding import STOP, Command, Folder
from support.measuring import OPEN, samples_of, value
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.cli import main
from torrelque.operate import note

pytestmark = pytest.mark.first_server

LINE = r'^metrics of (.*) at (http://\S+/)metrics , for scaling at (http://\S+/scale.json)$'
WITHOUT = 'import sys; sys.modules[{0!r}] = None; from torrelque.cli import main; sys.exit(main())'


@contextmanager
def serving(folder: Folder, *words: str, end: int = STOP) -> Iterator[tuple[httpx.Client, re.Match[str], Command]]:
    """A client of an exporter, which ends in good order, and has said one line."""
    with folder.command('metrics', '--serve', '127.0.0.1:0', *words) as command:
        [line] = command.wait_for(LINE)
        with httpx.Client(base_url=line[2], timeout=60) as client:
            yield client, line, command
        command.send(end)
        assert command.end() == ''
        assert len(command.out) == 1


async def test_metrics_are_printed_once(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue_many(range(3), group='acme "1"')
    command = folder.run('metrics', '-q', queue.name, '--group', 'acme "1"')
    told = samples_of('\n'.join([*command.out, '']).encode())
    assert value(told, 'tasks', queue=queue.name, status='pending') == 3
    assert value(told, 'group_waiting', queue=queue.name, group='acme "1"') == 3
    assert command.err == []


async def test_metrics_are_served_until_a_signal(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue_many(range(3))
    with serving(folder, '-q', queue.name, end=signal.SIGINT) as (client, line, _):
        assert line[1] == repr(queue.name)
        assert value(samples_of(client.get('metrics').content), 'up', queue=queue.name) == 1
        answer = client.get('/', headers={'accept': OPEN})
        assert value(samples_of(answer.content, OPEN), 'tasks_ready', queue=queue.name) == 3
        assert client.get(line[3]).json()['useful'] == 3
        assert client.get('nope').status_code == 404


@pytest.mark.long
async def test_all_queues_that_are_known_are_told(queue: Torrelque, folder: Folder) -> None:
    async with Torrelque(queue.client, queue='second') as second:
        for one in queue, second:
            await one.enqueue(1)
            await note(one)
        with serving(folder) as (client, line, _):
            assert line[1] == '2 queues'
            told = samples_of(client.get('metrics').content)
            assert [value(told, 'up', queue=one.name) for one in (queue, second)] == [1, 1]
            assert client.get('scale.json').json()['pending'] == 2
            assert client.get('scale.json?q=second').json()['pending'] == 1


@pytest.mark.long
async def test_both_are_told_as_json(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue(1)
    lines = [json.loads(line) for line in folder.run('metrics', '-q', queue.name, '--json').out]
    assert {'name': 'torrelque_tasks', 'type': 'gauge', 'labels': {'queue': queue.name, 'status': 'pending'},
            'value': 1} in lines  # fmt: skip
    with folder.command('metrics', '-q', queue.name, '--serve', 'localhost:0', '--json') as command:
        [line] = command.wait_for(r'^\{.*\}$')
        told = json.loads(line[0])
        assert told['queues'] == [queue.name]
        async with httpx.AsyncClient(timeout=60) as client:
            answers = [await client.get(told[name]) for name in ('url', 'scale')]
        assert [answer.status_code for answer in answers] == [200, 200]
        command.send(STOP)
        assert command.end() == ''


async def test_what_cannot_be_served_says_why(
    queue: Torrelque, server: RealServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('TORRELQUE_URL', server.url)
    await queue.enqueue(1)
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        for words, code, text in (
            (['--serve', f'127.0.0.1:{port}'], 1, f'nothing can listen at 127.0.0.1:{port}: Address already in use'),
            (['--serve', '[::1:5]:0'], 1, 'nothing can listen at [::1:5]:0: '),
            (['--group', ''], 2, 'a group must not be empty'),
        ):
            assert await asyncio.to_thread(main, ['metrics', '-q', queue.name, *words]) == code, words
            assert text in capsys.readouterr().err


@pytest.mark.long
async def test_a_queue_that_cannot_be_read_is_an_exit_code(
    queue: Torrelque, client: redis.asyncio.Redis, folder: Folder
) -> None:
    await queue.enqueue(1)
    await client.acl_setuser('few', enabled=True, passwords=['+x'], categories=['+@all'], keys=[f'{{{queue.name}}}*'])
    url = folder.environment['REDIS_URL']
    more = {'REDIS_URL': url.replace('unix://', 'unix://few:x@').replace('redis://', 'redis://few:x@')}
    command = folder.run('metrics', '-q', queue.name, '-q', 'refused', status=4, more=more)
    told = samples_of('\n'.join([*command.out, '']).encode())
    assert [value(told, 'up', queue=name) for name in (queue.name, 'refused')] == [1, 0]
    assert "queue 'refused' could not be read" in command.err
    await client.acl_deluser('few')


@pytest.mark.long
async def test_what_is_missing_is_named_with_its_extra(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue(1)
    for name, words in ('prometheus_client', []), ('uvicorn', ['--serve']):
        command = folder.run('metrics', '-q', queue.name, *words, status=2, start=('-c', WITHOUT.format(name)))
        needed = name.replace('_', '-')
        assert f"the metrics need {needed}, of the extra 'monitor': pip install 'torrelque[monitor]'" in command.err[-1]
    folder.run('metrics', '-q', queue.name, start=('-c', WITHOUT.format('starlette')))
