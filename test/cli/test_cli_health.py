"""`torrelque run` and those who watch over it: pages of health, the file that is touched, the service manager."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commanding import APP, STOP, Command, Folder, Manager
from support.pages import fetch, fetch_until
from torrelque import Torrelque

pytestmark = pytest.mark.one_server

HEALTH = ('--health', '127.0.0.1:0')
TWO = ('run', 'shop:app', '--processes', '2', *HEALTH)
BLOCKING = APP.replace('await asyncio.sleep(0.01)', '__import__("time").sleep(0.01)')


@pytest.fixture
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    manager = Manager(tmp_path_factory.mktemp('m') / 's')
    yield manager
    manager.close()


def url_of(command: Command) -> str:
    (match,) = command.wait_for(r'health is told at (http://127\.0\.0\.1:\d+/)')
    return str(match[1])


def pids_at(url: str) -> dict[int, int]:
    """By the number of each process, which one it is."""
    told = json.loads(fetch(url + 'health.json').text)
    return {one['process']: one['health']['pid'] for one in told['processes']}


def wait_until_touched_after(path: Path, moment: float) -> None:
    end = time.monotonic() + 60
    while path.stat().st_mtime <= moment:
        assert time.monotonic() < end, 'it is touched no more'
        time.sleep(0.05)


# One process


async def test_pages_and_file_are_there_as_long_as_the_worker(
    queue: Torrelque, folder: Folder, manager: Manager
) -> None:
    folder.write('shop.py', APP)
    await queue.enqueue({'task': 'shop.send', 'args': ['mail']})
    more = {**manager.environment, 'WATCHDOG_USEC': '20000'}
    file = folder.path / 'alive'
    with folder.command('run', 'shop:app', *HEALTH, '--health-file', 'alive', more=more) as command:
        url = url_of(command)
        fetch_until(url + 'ready', 200)
        command.wait_for('done mail')
        assert [fetch(url + path).status for path in ('live', 'started', 'health.json', 'metrics')] == [200] * 4
        assert file.exists()
        manager.wait_for('READY=1')
        manager.wait_for('WATCHDOG=1')
        command.send(STOP)
        manager.wait_for('STOPPING=1')
        command.end()
    assert not file.exists()


@pytest.mark.parametrize('more', [(), pytest.param(('--processes', '2'), marks=pytest.mark.long)])
def test_a_port_that_is_taken_ends_it_before_anything_begins(folder: Folder, more: tuple[str, ...]) -> None:
    folder.write('shop.py', 'print("imported")\n' + APP.replace('\n    ', '\n'))
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        command = folder.run('run', 'shop:app', '--health', f'127.0.0.1:{port}', *more, status=1)
    assert command.out == []
    assert command.err == [f'torrelque: nothing can listen at 127.0.0.1:{port}: Address already in use']


@pytest.mark.long
def test_a_file_that_cannot_be_touched_ends_it_before_anything_begins(folder: Folder) -> None:
    folder.write('shop.py', 'print("imported")\n' + APP.replace('\n    ', '\n'))
    (folder.path / 'link').symlink_to('elsewhere')
    for name, why in (('nowhere/alive', 'No such file or directory'), ('link', 'Too many levels of symbolic links')):
        command = folder.run('run', 'shop:app', '--health-file', name, status=1)
        assert (command.out, command.err) == ([], [f'torrelque: the file {name} cannot be touched: {why}'])
    assert not (folder.path / 'elsewhere').exists()


@pytest.mark.long
def test_what_is_missing_or_cannot_be_meant_is_said(folder: Folder) -> None:
    without = 'import sys; sys.modules["uvicorn"] = None; from torrelque.cli import main; sys.exit(main())'
    folder.write('shop.py', APP)
    command = folder.run('run', 'shop:app', *HEALTH, status=2, start=('-c', without))
    assert command.err[-1].startswith("torrelque: --health: health pages need uvicorn, of the extra 'monitor'")
    assert 'too short: 3 s at the least' in folder.run('run', 'shop:app', '--stall', '2', status=2).err[-1]
    assert 'is no address' in folder.run('run', 'shop:app', '--health', '8080', status=2).err[-1]


@pytest.mark.long
async def test_the_only_process_tells_of_its_queues_but_not_of_those_that_it_steals_from(
    queue: Torrelque, folder: Folder
) -> None:
    folder.write('shop.py', 'async def work(delivery):\n    pass\n')
    served = ('-q', queue.name, '--steal', 'other')
    queued = ('--metrics', 'queue')
    with folder.command('run', 'shop:work', *served, *HEALTH, *queued) as command:
        url = url_of(command)
        fetch_until(url + 'ready', 200)
        text = fetch(url + 'metrics').text
        assert f'torrelque_up{{queue="{queue.name}"}} 1.0\n' in text and 'queue="other"' not in text
        assert 'torrelque_process_slots' in text
        assert json.loads(fetch(url + 'scale.json').text)['useful'] == 0
    with folder.command('run', 'shop:work', *served, *HEALTH) as command:
        url = url_of(command)
        assert 'torrelque_up' not in fetch(url + 'metrics').text and fetch(url + 'scale.json').status == 404
    told = '--metrics queue is for one process that serves by itself'
    for more in ('--processes', '2'), ('--reload',):
        assert told in folder.run('run', 'shop:work', *served, *HEALTH, *queued, *more, status=2).err[-1]
    assert 'give it an address' in folder.run('run', 'shop:work', *served, *queued, status=2).err[-1]
    folder.write('torrelque.toml', f"""
        [health]
        bind = "127.0.0.1:0"
        metrics = "queue"
        [workers.a]
        handler = "shop:work"
        queues = ["{queue.name}"]
        [workers.b]
        handler = "shop:work"
        queues = ["b"]
    """)
    assert told in folder.run('run', status=2).err[-1]
    with folder.command('run', '--only', 'a') as command:
        assert f'torrelque_up{{queue="{queue.name}"}} 1.0\n' in fetch(url_of(command) + 'metrics').text


@pytest.mark.long
async def test_an_event_loop_that_is_blocked_answers_nothing_and_touches_nothing(
    queue: Torrelque, folder: Folder
) -> None:
    folder.write('shop.py', BLOCKING)
    folder.hold()
    with folder.command('run', 'shop:app', *HEALTH, '--health-file', 'alive', '--stall', '3') as command:
        url = url_of(command)
        fetch_until(url + 'ready', 200)
        await queue.enqueue({'task': 'shop.send', 'args': ['mail']})
        command.wait_for('begun mail')
        os.utime(folder.path / 'alive', (0, 0))
        # How late it is was looked at a second before it was blocked, at the earliest.
        assert fetch(url + 'live', 5.5).status == 0
        assert (folder.path / 'alive').stat().st_mtime == 0
        folder.let_go()
        assert 'its event loop has stood still for' in fetch_until(url + 'live', 503).text
        command.send(STOP)
        command.end()


@pytest.mark.long
async def test_the_file_is_touched_again_and_again(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    file = folder.path / 'alive'
    with folder.command('run', 'shop:app', '--health-file', 'alive') as command:
        command.wait_for('starts')
        os.utime(file, (0, 0))
        wait_until_touched_after(file, 1)
        command.send(STOP)
        command.end()


# Several


CHILD = """
import asyncio

from torrelque.cli import leash

leash.BEAT = 0.0001


async def main():
    held = leash.Leash()
    beats = asyncio.ensure_future(held.beat(lambda: {'state': 'x' * 50_000}))
    while not held._cut:
        await asyncio.sleep(0.001)
    beats.cancel()
    print('full', flush=True)
    held.tell(ready=True)


asyncio.run(main())
"""


@pytest.mark.long
def test_what_is_told_after_a_sign_that_had_no_room_arrives(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, '-c', CHILD]
    with ours, subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.PIPE) as process:
        theirs.close()
        assert process.stdout is not None and process.stdout.readline() == b'full\n'
        lines = ours.makefile('rb').read().splitlines()
        process.wait()
    assert json.loads(lines[-1]) == {'ready': True}
    # One was cut; those before it are whole.
    assert len([line for line in lines if not line.endswith(b'}')]) == 1


@pytest.mark.long
async def test_a_process_whose_event_loop_is_blocked_is_not_live_and_is_replaced(
    queue: Torrelque, folder: Folder
) -> None:
    folder.write('shop.py', BLOCKING)
    folder.hold()
    with folder.command(*TWO, '--stall', '3') as command:
        url = url_of(command)
        fetch_until(url + 'ready', 200)
        await queue.enqueue({'task': 'shop.send', 'args': ['mail']}, max_attempts=1)
        (begun,) = command.wait_for(r'begun mail 1 (\d+)')
        page = fetch_until(url + 'live', 503)
        assert re.fullmatch(r'process [12]: its event loop has stood still for \d s\n', page.text)
        told = command.wait_for(r'the event loop of pid (\d+) has stood still for \d s, so the process is killed')
        assert [match[1] for match in told] == [begun[1]]
        # It has written down where; the innermost frame comes last.
        command.wait_for('the event loop stands still here')
        command.wait_for(r'shop\.py", line \d+, in send')
        fetch_until(url + 'live', 200)
        fetch_until(url + 'ready', 200)
        command.wait_for('worker .* starts', 3)
        folder.let_go()
        command.send(STOP)
        command.end()


@pytest.mark.long
async def test_a_process_that_is_killed_is_missed_until_another_is_ready(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    with folder.command(*TWO, '--health-file', 'alive') as command:
        url = url_of(command)
        fetch_until(url + 'ready', 200)
        pids = pids_at(url)
        os.kill(pids[2], signal.SIGKILL)
        assert fetch_until(url + 'ready', 503).text == 'process 2: the worker has not begun\n'
        assert fetch(url + 'live').status == 200
        fetch_until(url + 'ready', 200)
        assert 'torrelque_process_slots{process="2"} 10.0' in fetch(url + 'metrics').text
        again = pids_at(url)
        assert again[1] == pids[1] and again[2] != pids[2]
        command.send(STOP)
        command.end()
    assert not (folder.path / 'alive').exists()


@pytest.mark.long
async def test_a_service_manager_hears_how_several_are_and_that_they_begin_anew(
    queue: Torrelque, folder: Folder, manager: Manager
) -> None:
    folder.write('shop.py', APP)
    with folder.command('run', 'shop:app', '--processes', '2', more=manager.environment) as command:
        manager.wait_for('STATUS=0 of 2 processes are ready')
        manager.wait_for('READY=1')
        manager.wait_for('STATUS=2 of 2 processes are ready')
        command.send(signal.SIGHUP)
        assert re.fullmatch(r'RELOADING=1\nMONOTONIC_USEC=\d+', manager.wait_for_match('RELOADING=1'))
        command.wait_for('all processes are replaced')
        manager.wait_for('READY=1')
        # What does not come up replaces nobody, and the service is ready all the same.
        folder.write('shop.py', 'raise ValueError("broken")\n')
        command.send(signal.SIGHUP)
        manager.wait_for_match('RELOADING=1')
        manager.wait_for('READY=1')
        command.wait_for('has ended before it was ready')
        command.send(STOP)
        manager.wait_for('STOPPING=1')
        command.end()


@pytest.mark.long
async def test_a_service_manager_hears_what_one_worker_does(
    queue: Torrelque, folder: Folder, manager: Manager
) -> None:
    folder.write('shop.py', APP)
    await queue.enqueue({'task': 'shop.send', 'args': ['mail']})
    with folder.command('run', 'shop:app', '--concurrency', '3', more=manager.environment) as command:
        manager.wait_for('STATUS=running, 0 of 3 slots in use; 1 succeeded, 0 failed, 0 dead')
        command.send(STOP)
        command.end()
