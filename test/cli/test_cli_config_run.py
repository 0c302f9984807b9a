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
    processes = 2

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


def write(folder: Folder, url: str, text: str = FILE) -> None:
    """An application of two kinds, and a file that has both; nothing but the file says where the server is."""
    folder.write('shop.py', APP)
    folder.write('plain.py', PLAIN)
    folder.write('torrelque.toml', text.format(url=url, q=folder.queue))
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
        write(folder, server.url)
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
    with filed.command('run', '--only', 'app', '--processes', '1', '--concurrency', '3', '--burst') as command:
        command.wait_for(f'done a {command.process.pid}')
        assert 'concurrency 3;' in command.end()


async def test_nobody_is_left_when_the_parent_of_several_workers_is_killed(queue: Torrelque, filed: Folder) -> None:
    with filed.command('run') as command:
        pids = [pid for one in processes(command, 3).values() for pid in one]
        command.send(signal.SIGKILL)
        for pid in pids:
            wait_end(pid)
        command.end(-signal.SIGKILL)


async def test_a_killed_process_is_replaced_by_one_of_the_same_worker(filed: Folder) -> None:
    with filed.command('run') as command:
        [pid] = processes(command, 3)['plain']
        os.kill(pid, signal.SIGKILL)
        command.wait_for(r'process 1 of plain \(pid \d+\) has ended by signal 9, and is started again in 1 s')
        assert len(processes(command, 4)['plain']) == 2
        command.send(STOP)
        command.end()


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
        processes(command, 3)
        text = FILE.replace('concurrency = 1', 'concurrency = 7')
        filed.write('torrelque.toml', text.format(url=server.url, q=filed.queue))
        command.wait_for('torrelque.toml has changed; starting again')
        command.wait_for(r'worker \w+-\S+ starts: .*concurrency 7;', 3)
        command.send(STOP)
        command.end()


REFUSED = [
    (['shop:app', '-c', 'torrelque.toml'], 'a TARGET, or a file with -c and --only: give one of them'),
    (['--only', 'other'], "torrelque.toml has no worker 'other': it has app, plain"),
    (['--concurrency', '3'], '--concurrency is of one worker, and torrelque.toml has 2: name it with --only'),
    (['-q', 'mail'], '-q and --url are for a TARGET; the workers of a file have the queues and the server of that'),
    (['--only', 'plain', '--steal', 'QUEUE-bulk'], 'a queue is served, or it is stolen from'),
]


@pytest.mark.parametrize(('words', 'told'), REFUSED)
def test_what_cannot_be_meant_is_refused(filed: Folder, words: list[str], told: str) -> None:
    command = filed.run('run', *(word.replace('QUEUE', filed.queue) for word in words), status=2)
    assert f'torrelque: {told}' in command.told


def test_a_file_without_workers_has_nothing_to_run(filed: Folder) -> None:
    filed.write('torrelque.toml', '[queues.a]\n')
    told = 'torrelque: torrelque.toml has no workers: there is no [workers.NAME]'
    assert told in filed.run('run', status=2).told
    filed.write('torrelque.toml', '[workers.a]\napp = "shop"\nconcurrency = 0\n')
    assert filed.run('run', status=2).err == [
        "torrelque.toml:2: workers.a.app: 'shop' is no module:name, such as shop.tasks:app",
        'torrelque.toml:3: workers.a.concurrency: expected a whole number from 1 on, not 0',
        'torrelque: torrelque.toml has 2 problems',
    ]


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
    filed.write('torrelque.toml', '[workers.a]\nhandler = "shop:app"\nqueues = "q"\n')
    told = 'handler of [workers.a] is for a handler, and shop:app is an app, which has queues of its own'
    assert told in filed.run('run', status=2).told


async def test_an_embedded_server_lives_as_long_as_the_workers_of_its_file(tmp_path: Path) -> None:
    port = free_port()
    folder = Folder(tmp_path, None, 'mail')
    write(folder, f'redis://localhost:{port}')
    folder.environment.pop('TORRELQUE_URL', None)
    text = (tmp_path / 'torrelque.toml').read_text().replace('[server]\n', '[server]\nembedded = "data"\n')
    (tmp_path / 'torrelque.toml').write_text(text)
    for turn in range(2):
        with folder.command('run') as command:
            processes(command, 3)
            client = redis.asyncio.Redis(port=port)
            async with client, Torrelque(client, queue='mail-bulk') as queue:
                # What the first one has kept is there again.
                assert await queue.enqueue(f'good {turn}') and await client.incr('turns') == turn + 1
            command.wait_for(f'handled good {turn}')
            with folder.command('run', '--only', 'plain') as other:
                processes(other, 1)
                other.send(STOP)
                assert other.end() == 0
            command.send(STOP)
            assert command.end() == 0
        with pytest.raises(redis.exceptions.ConnectionError):
            await redis.asyncio.Redis(port=port).ping()
    with socket.create_server(('127.0.0.1', port)), folder.command('run') as command:
        assert command.end() == 1
        assert 'the embedded server' in command.log and 'Address already in use' in command.log
