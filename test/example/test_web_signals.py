"""The web example, as its operator knows it: by signals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from contextlib import aclosing, suppress

import pytest

from support import visiting
from support.processes import is_alive, wait_end
from support.servers import RealServer
from support.visiting import FAST, LIMIT, SLOW, WEB, Run, Visitor, all_in, running

run = visiting.run


# One event loop for all, that of the browser.
pytestmark = [pytest.mark.asyncio(loop_scope='module'), pytest.mark.long]


# By signals


@pytest.mark.one_server
async def test_page_that_takes_nothing_does_not_keep_the_process(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, *FAST, '--consumers', 20)
    visitor = await Visitor(web).come()
    with socket.socket() as page:
        page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        page.connect(('127.0.0.1', web.port))
        page.sendall(f'GET /events HTTP/1.1\r\nhost: x\r\ncookie: {visitor.cookie}\r\n\r\n'.encode())
        await visitor.start('film', 20)
        await visitor.follow(all_in('completed', count=20))
        await web.stop()
    assert web.errors == ''


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_open_streams_and_the_server(run: Run, number: signal.Signals) -> None:
    web = await run(*SLOW)
    visitor = await Visitor(web).come()
    async with aclosing(visitor.frames()) as frames:
        await anext(frames)
        await visitor.start('film', 10)
        async for frame in frames:
            if any(task['progress'] for task in frame['tasks']):
                break
        await web.stop(number)
        with suppress(asyncio.IncompleteReadError):  # else the stream's proper end
            async for _ in frames:
                pass
    assert web.errors == ''
    with pytest.raises(OSError):
        await asyncio.open_connection('127.0.0.1', web.port)


@pytest.mark.one_server
async def test_consumers_give_back_what_they_hold(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, *SLOW)
    visitor = await Visitor(web).come()
    (task_id,) = await visitor.start('film')
    await visitor.follow(lambda tasks: any(task['progress'] for task in tasks.values()))
    await web.stop()
    assert web.errors == ''
    with server.sync_client() as client:
        state = client.hgetall(f'{{web}}:task:{task_id}')
        assert client.lrange('{web}:pending', 0, -1) == [task_id.encode()]
    assert (state[b'dequeue_count'], state[b'forgiven'], state[b'status']) == (b'1', b'1', b'0')


async def test_port_that_is_taken_is_a_message() -> None:
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        async with running(WEB, '--port', port) as web:
            assert await asyncio.wait_for(web.process.wait(), LIMIT) == 1
            assert web.errors == (
                f'Cannot listen on port {port} of 127.0.0.1: Address already in use; '
                f'choose another one with --port, such as --port {port + 1}.\n'
            )


@pytest.mark.parametrize('option', ['--url=http://localhost', '--speed=0', '--consumers=-1', '--port=99999'])
async def test_option_that_makes_no_sense_is_a_message(option: str) -> None:
    async with running(WEB, option) as web:
        assert await asyncio.wait_for(web.process.wait(), LIMIT) == 2
        name, _, value = option.partition('=')
        assert re.search(f"argument {name}: invalid \\w+ value: '{value}'\\n", web.errors)


@pytest.mark.one_server
async def test_consumers_in_other_processes_end_with_the_first(run: Run, server: RealServer) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        web = await run('--url', server.url, *FAST, '--processes', 2)
        pids = [int((await web.wait_for(r'process (\d+) has started'))[1]) for _ in range(2)]
        visitor = await Visitor(web).come()
        await visitor.start('letter', 10)
        await visitor.follow(all_in('completed', count=10))
        assert all(map(is_alive, pids))
        if number == signal.SIGTERM:
            await web.stop()
        else:
            web.process.kill()
            await web.process.wait()
        for pid in pids:
            await asyncio.to_thread(wait_end, pid)


@pytest.mark.one_server
async def test_task_of_a_killed_consumer_goes_to_another(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, *SLOW, '--processes', 1)
    pid = int((await web.wait_for(r'process (\d+) has started'))[1])
    visitor = await Visitor(web).come()
    (task_id,) = await visitor.start('letter')
    await visitor.follow(all_in('working'))
    os.kill(pid, signal.SIGKILL)
    await web.wait_for(rf'process {pid} has ended \(-9\)')
    # Its lease ends now rather than in some seconds.
    with server.sync_client() as client:
        client.zadd('{web}:working', {task_id: 1})
    views = await visitor.follow(all_in('completed'))
    assert views[task_id][-1]['attempt'] == 2


@pytest.mark.one_server
async def test_consumers_can_be_started_by_hand(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, '--consumers', 0)).come()
    await visitor.start('letter', 3)
    await visitor.follow(all_in('pending', count=3))
    async with running(WEB / 'consumer.py', '--url', server.url, *FAST) as consumer:
        await consumer.wait_for('8 consumers on')
        await visitor.follow(all_in('completed', count=3))
        await consumer.stop()
        assert consumer.errors == ''
