"""``torrelque run`` of a file: several workers, each with processes of its own, or one of them."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions

from support.commanding import APP, STOP, Command, Folder
from support.processes import wait_end
from support.servers import RealServer, free_port
from torrelque import Torrelque, embedded

pytestmark = [pytest.mark.one_server, pytest.mark.long]

FILE = """
    [server]
    url = "{url}"

    [workers.app]
    app = "shop:app"
    concurrency = 1
    processes = {n}

    [workers.plain]
    handler = "plain:handle"
    queues = {{ {q}-bulk = 3, {q}-more = 1 }}
    concurrency = 1
    retry = 0
    max_attempts = 2
"""
PLAIN = """
    import os


    def handle(delivery):
        os.write(1, f'handled {delivery.task} {delivery.attempt} {os.getpid()}\\n'.encode())
        if delivery.task == 'bad':
            raise OSError('bad')
"""


def write(folder: Folder, url: str, count: int = 1) -> None:
    """An application of two kinds, and a file that has both; nothing but the file says where the server is."""
    folder.write('shop.py', APP)
    folder.write('plain.py', PLAIN)
    folder.write('torrelque.toml', FILE.format(url=url, q=folder.queue, n=count))
    folder.environment.pop('REDIS_URL', None)


@pytest.fixture
def filed(folder: Folder, server: RealServer) -> Folder:
    write(folder, server.url)
    return folder


async def send(queue: Torrelque, *words: str) -> None:
    await queue.enqueue_many({'task': 'shop.send', 'args': [word]} for word in words)


def processes(command: Command, count: int) -> dict[str, list[int]]:
    """The processes of workers that have started, by what their names begin with."""
    found: dict[str, list[int]] = {}
    for match in command.wait_for(r'worker (\w+)-\S+-(\d+)-\w+ starts', count):
        found.setdefault(match[1], []).append(int(match[2]))
    return found


async def test_two_workers_of_two_kinds_run_from_one_file_and_do_their_tasks(tmp_path: Path) -> None:
    with embedded.Server() as server:
        folder = Folder(tmp_path, None, 'mail')
        write(folder, server.url, 2)
        folder.hold()
        async with server.client() as client, Torrelque(client, queue='mail') as queue:
            bulk = queue.sibling('mail-bulk')
            with folder.command('run', '-c', 'torrelque.toml') as command:
                pids = processes(command, 3)
                assert {name: len(one) for name, one in pids.items()} == {'app': 2, 'plain': 1}
                await send(queue, 'a', 'b')
                command.wait_for(r'begun \w 1', 2)
                await bulk.enqueue('good')
                await bulk.enqueue('bad')
                command.wait_for(r'handled bad 2')
                folder.let_go()
                command.wait_for(r'done \w', 2)
                command.send(STOP)
                command.end()
            workers = {int(match[1]) for line in command.out if (match := re.match(r'handled \w+ \d (\d+)', line))}
            assert workers == {*pids['plain']}
            assert (await queue.get_queue_stats()).tasks == 0
            assert (await bulk.get_queue_stats()).dead == 1
    banners = [line for line in command.err if line.startswith('torrelque ')]
    assert len(banners) == 2
    assert any('app (shop:app); server ' in line and 'concurrency 1 in each of 2 processes' in line for line in banners)
    assert any('plain (plain:handle); server ' in line and 'mail-bulk (weight 3)' in line for line in banners)


async def test_one_worker_of_a_file_is_one_process(queue: Torrelque, filed: Folder) -> None:
    with filed.command('run', '-c', 'torrelque.toml', '--only', 'plain') as command:
        assert processes(command, 1) == {'plain': [command.process.pid]}
        command.send(STOP)
        command.end()
    await send(queue, 'a')
    with filed.command('run', '--only', 'app', '--concurrency', '3', '--burst') as command:
        command.wait_for(f'done a {command.process.pid}')
        assert 'concurrency 3;' in command.end()


async def test_a_killed_process_is_replaced_and_nobody_is_left_when_the_parent_is_killed(filed: Folder) -> None:
    with filed.command('run') as command:
        [pid] = processes(command, 2)['plain']
        os.kill(pid, signal.SIGKILL)
        command.wait_for(r'process 1 of plain \(pid \d+\) has ended by signal 9, and is started again in 1 s')
        pids = processes(command, 3)
        assert (len(pids['plain']), len(pids['app'])) == (2, 1)
        command.send(signal.SIGKILL)
        for pid in (*pids['plain'], *pids['app']):
            wait_end(pid)
        command.end(-signal.SIGKILL)


async def test_a_worker_that_cannot_be_imported_ends_all(filed: Folder) -> None:
    filed.write('plain.py', 'raise ValueError("broken")\n')
    command = filed.run('run', status=1)
    assert command.told.count('ValueError: broken') == 1
    assert 'torrelque: plain could not be imported: ValueError' in command.told


async def test_a_burst_ends_when_no_worker_has_anything_more(queue: Torrelque, filed: Folder) -> None:
    await send(queue, *'abc')
    await queue.sibling(f'{queue.name}-more').enqueue('good')
    command = filed.run('run', '--burst')
    assert sorted(line.split()[0] for line in command.out) == ['begun'] * 3 + ['done'] * 3 + ['handled']


async def test_a_change_of_the_file_starts_all_anew(filed: Folder, server: RealServer) -> None:
    with filed.command('run', '--reload') as command:
        processes(command, 2)
        text = FILE.replace('concurrency = 1', 'concurrency = 7')
        filed.write('torrelque.toml', text.format(url=server.url, q=filed.queue, n=1))
        command.wait_for('torrelque.toml has changed; starting again')
        command.wait_for(r'worker \w+-\S+ starts: .*concurrency 7;', 2)
        command.send(STOP)
        command.end()


def test_what_a_worker_that_is_made_already_cannot_be_told_is_refused(filed: Folder) -> None:
    filed.write('made.py', """
        import redis.asyncio
        from torrelque import Torrelque
        from torrelque.worker import Worker

        def make():
            return Worker(Torrelque(redis.asyncio.Redis()), print)
    """)
    filed.write('torrelque.toml', '[workers.a]\napp = "made:make"\nretry = "5s"\n')
    assert 'made:make is a Worker, which is made already, so retry comes too late' in filed.run('run', status=2).told


async def test_an_embedded_server_lives_as_long_as_the_workers_of_its_file(tmp_path: Path) -> None:
    port = free_port()
    folder = Folder(tmp_path, None, 'mail')
    write(folder, f'redis://localhost:{port}')
    folder.environment.pop('TORRELQUE_URL', None)
    text = (tmp_path / 'torrelque.toml').read_text().replace('[server]\n', '[server]\nembedded = "data"\n')
    (tmp_path / 'torrelque.toml').write_text(text)
    for turn in range(2):
        with folder.command('run') as command:
            processes(command, 2)
            client = redis.asyncio.Redis(port=port)
            async with client, Torrelque(client, queue='mail-bulk') as queue:
                # What the first one has kept is there again.
                assert await queue.enqueue(f'good {turn}') and await client.incr('turns') == turn + 1
            command.wait_for(f'handled good {turn}')
            with folder.command('run', '--only', 'plain') as other:
                processes(other, 1)
                other.send(STOP)
                other.end()
            command.send(STOP)
            command.end()
        with pytest.raises(redis.exceptions.ConnectionError):
            await redis.asyncio.Redis(port=port).ping()
    with socket.create_server(('127.0.0.1', port)), folder.command('run') as command:
        assert re.search(r'the embedded server .*Address already in use', command.end(1), re.S)
