"""`torrelque run --processes`: who is started, replaced, stopped, and that nobody is left."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from support.commanding import APP, STOP, Command, Folder, Manager
from support.processes import is_alive, wait_end
from support.servers import MakeServer
from torrelque import Torrelque

pytestmark = [pytest.mark.one_server, pytest.mark.long]

TWO = ('run', 'shop:app', '--processes', '2', '--concurrency', '1')


@pytest.fixture
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    manager = Manager(tmp_path_factory.mktemp('m') / 's')
    yield manager
    manager.close()


async def send(queue: Torrelque, *words: str) -> None:
    await queue.enqueue_many({'task': 'shop.send', 'args': [word]} for word in words)


def begun(command: Command, count: int = 2) -> list[int]:
    """Wait until so many functions were begun; the processes that they run in."""
    pids = [int(match[1]) for match in command.wait_for(r'begun \w+ \d+ (\d+)', count)]
    assert len({*pids}) == count
    return pids


async def test_all_finish_what_is_in_hand_at_a_signal(queue: Torrelque, folder: Folder, manager: Manager) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await send(queue, 'a', 'b')
    with folder.command(*TWO, more=manager.environment) as command:
        pids = begun(command)
        assert command.process.pid not in pids
        manager.wait_for('READY=1')
        # A service manager signals all of them at once; that is no second signal.
        for pid in (*pids, command.process.pid, *pids):
            os.kill(pid, STOP)
        manager.wait_for('STOPPING=1')
        folder.let_go()
        command.end()
    assert sorted(line.split()[1] for line in command.out if line.startswith('done')) == ['a', 'b']
    assert (await queue.get_queue_stats()).tasks == 0


async def test_a_second_signal_has_all_give_back_what_is_in_hand(
    queue: Torrelque, folder: Folder, manager: Manager
) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await send(queue, 'a', 'b')
    with folder.command(*TWO, more=manager.environment) as command:
        begun(command)
        command.send(STOP)
        manager.wait_for('STOPPING=1')
        command.send(STOP)
        command.end()
    stats = await queue.get_queue_stats()
    assert (stats.pending, stats.working) == (2, 0)


async def test_nobody_is_left_when_the_parent_is_killed(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await send(queue, 'a', 'b')
    with folder.command(*TWO) as command:
        pids = begun(command)
        command.send(signal.SIGKILL)
        folder.let_go()
        for pid in pids:
            wait_end(pid)
        command.end(-signal.SIGKILL)
    # They have finished what they had in hand.
    assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.long
async def test_a_process_that_is_still_importing_ends_with_the_parent_too(folder: Folder) -> None:
    folder.write('shop.py', 'import os, time\nprint("importing", os.getpid(), flush=True)\ntime.sleep(1000)\n')
    with folder.command(*TWO) as command:
        (match,) = command.wait_for(r'importing (\d+)')
        command.send(signal.SIGKILL)
        wait_end(int(match[1]))
    with folder.command(*TWO) as command:
        command.wait_for('importing')
        command.send(STOP)
        command.end()


async def test_a_killed_process_is_replaced_and_its_task_comes_back(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    for word in 'ab':
        await queue.enqueue({'task': 'shop.send', 'args': [word]}, task_timeout=2)
    with folder.command(*TWO) as command:
        first, second = begun(command)
        os.kill(first, signal.SIGKILL)
        command.wait_for(r'process \d \(pid \d+\) has ended by signal 9, and is started again in 1 s')
        # The lease ends after two seconds, and whichever process has room takes the task.
        command.wait_for('begun [ab] 2')
        third = begun(command, 3)[-1]
        folder.let_go()
        command.wait_for('done', 2)
        assert third not in (first, second) and is_alive(second)
        command.send(STOP)
        command.end()
    assert (await queue.get_queue_stats()).tasks == 0


async def test_all_are_replaced_one_by_one_at_a_hang_up(queue: Torrelque, folder: Folder, manager: Manager) -> None:
    folder.write('shop.py', APP)
    await send(queue, 'a')
    with folder.command(*TWO, more=manager.environment) as command:
        manager.wait_for('READY=1')
        command.wait_for('worker .* starts', 2)
        command.send(signal.SIGHUP)
        command.wait_for('all processes are replaced')
        # Before each end there was a start, so somebody has worked all the time.
        events = re.findall(r' (starts|has stopped): ', '\n'.join(command.err))
        assert events == ['starts', 'starts', 'starts', 'has stopped', 'starts', 'has stopped']
        # What cannot be imported replaces nobody.
        folder.write('shop.py', 'raise ValueError("broken")\n')
        command.send(signal.SIGHUP)
        command.wait_for('has ended before it was ready')
        await send(queue, 'b')
        command.wait_for('done b')
        command.send(STOP)
        text = command.end()
    assert text.count('ValueError: broken') == 1 and len(re.findall('worker .* starts', text)) == 4


@pytest.mark.long
async def test_a_hang_up_while_a_replaced_process_finishes_leaves_nobody_over(
    queue: Torrelque, folder: Folder
) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await send(queue, 'a', 'b')
    with folder.command(*TWO) as command:
        begun(command)
        for n in (1, 2):
            command.send(signal.SIGHUP)
            command.wait_for(r'process 1 \(pid \d+\) takes over from', n)
        folder.let_go()
        command.wait_for('all processes are replaced')
        events = re.findall(r' (starts|has stopped): ', command.told)
        assert (events.count('starts'), events.count('has stopped')) == (5, 3)
        await send(queue, 'c')
        command.wait_for('done c')
        command.send(STOP)
        command.end()


@pytest.mark.long
async def test_a_server_that_refuses_ends_all_and_replaces_nobody(
    folder: Folder, make_server: MakeServer, manager: Manager
) -> None:
    server = make_server({'requirepass': 'right'}, tcp=True)
    address = f'redis://:{{}}@127.0.0.1:{server.port}'
    folder.write('shop.py', APP.replace('from_url(', "from_url(open('address').read(), "))
    folder.write('address', address.format('wrong'))
    said = folder.run(*TWO, status=4, more=manager.environment).err
    assert '\n'.join(said).count('refuses the worker') == 1 and 'READY=1' not in manager.said()
    folder.write('address', address.format('right'))
    async with server.client(password='right') as client, Torrelque(client, queue=folder.queue) as queue:
        with folder.command(*TWO, more=manager.environment) as command:
            manager.wait_for('READY=1')
            folder.write('address', address.format('wrong'))
            command.send(signal.SIGHUP)
            command.wait_for('has ended before it was ready')
            await send(queue, 'a')
            command.wait_for('done a')
            command.send(STOP)
            text = command.end()
    assert 'all processes are replaced' not in text and len(re.findall('worker .* starts', text)) == 3


@pytest.mark.long
async def test_a_burst_ends_when_all_have_ended(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    await send(queue, *(f'w{n}' for n in range(20)))
    command = folder.run(*TWO, '--burst')
    assert sorted({line.split()[1] for line in command.out}) == sorted(f'w{n}' for n in range(20))
    assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.long
async def test_processes_have_a_name_each(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    with folder.command(*TWO, '--name', 'mailer', '--log', 'json') as command:
        command.wait_for('"worker": "mailer-1"')
        command.wait_for('"worker": "mailer-2"')
        command.send(STOP)
        command.end()


@pytest.mark.long
async def test_three_that_end_early_end_all(folder: Folder) -> None:
    folder.write('shop.py', 'import os\nprint("begun", flush=True)\nos._exit(7)\n')
    command = folder.run(*TWO, status=1)
    assert command.out == ['begun'] * 3
    assert [re.findall(r'again in (\d) s', line) for line in command.err[:2]] == [['1'], ['2']]
    assert '3 processes have ended within 5 s of their start, the last with 7' in command.err[-1]


@pytest.mark.long
async def test_a_watchdog_is_fed_while_the_event_loops_of_all_processes_turn(
    queue: Torrelque, folder: Folder, manager: Manager
) -> None:
    folder.write('shop.py', APP.replace('await asyncio.sleep(0.01)', '__import__("time").sleep(0.01)'))
    with folder.command(*TWO, more={**manager.environment, 'WATCHDOG_USEC': '20000'}) as command:
        manager.wait_for('READY=1')
        manager.wait_for('WATCHDOG=1')
        folder.hold()
        await send(queue, 'a')
        command.wait_for('begun a')
        manager.wait_for_silence(1)
        folder.let_go()
        manager.wait_for('WATCHDOG=1')
        command.send(STOP)
        command.end()


@pytest.mark.long
@pytest.mark.one_server
async def test_a_process_whose_event_loop_is_blocked_does_not_outlive_the_parent(
    queue: Torrelque, folder: Folder
) -> None:
    folder.write('shop.py', APP.replace('await asyncio.sleep(0.01)', '__import__("time").sleep(0.01)'))
    folder.hold()
    await send(queue, 'a', 'b')
    with folder.command(*TWO, '--shutdown-timeout', '0') as command:
        pids = begun(command)
        command.send(signal.SIGKILL)
        for pid in pids:
            wait_end(pid)


@pytest.mark.long
async def test_what_a_handler_starts_finds_nothing_of_the_leash(queue: Torrelque, folder: Folder) -> None:
    """Neither the socket, which would keep it open, nor the variables, by which it would pass for the service."""
    folder.write('shop.py', APP + """

    @app.task(run_in='process')
    def look():
        import stat, sys
        kinds = []
        for fd in range(100):
            try:
                kinds.append(stat.S_ISSOCK(os.fstat(fd).st_mode))
            except OSError:
                pass
        return [sys.stdin.read(), 'NOTIFY_SOCKET' in os.environ]


    @app.task
    def start():
        import subprocess, sys
        code = 'import sys; print("child", repr(sys.stdin.read()), flush=True)'
        subprocess.run([sys.executable, '-c', code], check=True)
    """)  # fmt: skip
    await queue.enqueue({'task': 'shop.start'})
    look = await queue.enqueue({'task': 'shop.look'})
    command = folder.run(*TWO, '--burst', more={'NOTIFY_SOCKET': '/nowhere'})
    assert command.out == ["child ''"]
    assert (await queue.get_task_state(look)).result == ['', False]
