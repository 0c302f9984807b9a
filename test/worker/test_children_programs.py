"""Programs whose handlers run in processes: signals to all of them, and no end that leaves a process behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from support.processes import is_alive, running, wait_end
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskStatus as Status

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = [pytest.mark.one_server, pytest.mark.long]

if sys.platform != 'linux':
    pytest.skip('of Linux: pidfd_open', allow_module_level=True)

PROGRAM = '''
import asyncio, os, subprocess, sys, time
import redis.asyncio, torrelque
from torrelque.worker import ThreadWorker, Worker

socket, name, folder = sys.argv[1:]

def wait_for(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.01)

def work(delivery):
    program = subprocess.Popen(['sleep', '602'])
    print('begun', os.getpid(), program.pid, flush=True)
    # Like a pattern that backtracks: no thread of the interpreter has a turn meanwhile.
    sum(range(10**12)) if delivery.task == 'compute' else wait_for('go')
    program.terminate()
    return program.wait()

def queue():
    return torrelque.Torrelque(redis.asyncio.Redis(unix_socket_path=socket), queue=name)

async def main():
    async with queue() as served:
        worker = Worker(served, work, run_in='process', concurrency=1, max_attempts=1)
        running = asyncio.ensure_future(worker.run())
        while worker.health().state in ('new', 'running') and not running.done():
            await asyncio.sleep(0.01)
        print('stopping', flush=True)
        await running
        await served.client.aclose()
    print('ended', flush=True)
'''
RUN = """
if __name__ == '__main__':
    asyncio.run(main())
"""


class Program:
    """A program of a worker, and what it says."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.pids: list[int] = []

    async def says(self, word: str) -> None:
        assert self.process.stdout is not None
        first, *rest = (await asyncio.to_thread(self.process.stdout.readline)).split()
        assert first == word
        self.pids += [int(pid) for pid in rest]

    def go(self) -> None:
        (self.folder / 'go').touch()

    async def ends(self) -> tuple[int, str, str]:
        out, errors = await asyncio.to_thread(self.process.communicate)
        return self.process.returncode, out, errors


@contextlib.contextmanager
def ended(program: Program) -> Iterator[None]:
    """Whatever the test finds, nothing is left of the program."""
    try:
        yield
    finally:
        for pid in (program.process.pid, *program.pids):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def begun(
    server: RealServer, queue: Torrelque, folder: Path, rest: str = RUN, words: Sequence[str] = ('begun',)
) -> AsyncIterator[Program]:
    """A program that runs, until it has said what it is to say."""
    path = folder / 'program.py'
    path.write_text(PROGRAM + rest)
    command = [sys.executable, '-W', 'error', str(path), server.socket, queue.name, str(folder)]
    options = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    with running(command, start_new_session=True, **options) as process:
        program = Program(process, folder)
        with ended(program):
            for word in words:
                await program.says(word)
            yield program


# Signals


@pytest.mark.one_server
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('whom', ['group', 'each'])
async def test_a_signal_to_all_processes_leaves_those_of_handlers_their_time(
    server: RealServer, queue: Torrelque, tmp_path: Path, number: signal.Signals, whom: str
) -> None:
    task_id = await queue.enqueue('wait', max_attempts=1)
    async with begun(server, queue, tmp_path) as program:
        # A terminal sends it to the group, a service manager to each process of the service.
        os.killpg(program.process.pid, number)
        if whom == 'each':
            os.kill(program.pids[0], number)
        await program.says('stopping')
        program.go()
        assert await program.ends() == (0, 'ended\n', '')
    state = await queue.get_task_state(task_id)
    assert (state.status, state.result) == (Status.COMPLETED, -signal.SIGTERM)
    assert not any(is_alive(pid) for pid in program.pids)


IMPORTED = """
if __name__ == '__mp_main__':
    print('imported', os.getpid(), flush=True)
    wait_for('import')
"""


async def test_a_signal_while_a_process_imports_the_main_program_leaves_it_alive(
    server: RealServer, queue: Torrelque, tmp_path: Path
) -> None:
    task_id = await queue.enqueue('wait', max_attempts=1)
    async with begun(server, queue, tmp_path, IMPORTED + RUN, ['imported']) as program:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(program.pids[0], number)
        (tmp_path / 'import').touch()
        await program.says('begun')
        assert program.pids[1] == program.pids[0]
        program.process.send_signal(signal.SIGTERM)
        await program.says('stopping')
        program.go()
        assert await program.ends() == (0, 'ended\n', '')
    assert (await queue.get_task_state(task_id)).status is Status.COMPLETED


@pytest.mark.one_server
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_leaves_no_process_behind(
    server: RealServer, queue: Torrelque, tmp_path: Path, number: signal.Signals
) -> None:
    task_id = await queue.enqueue('wait', max_attempts=1)
    async with begun(server, queue, tmp_path) as program:
        os.killpg(program.process.pid, number)
        await program.says('stopping')
        os.killpg(program.process.pid, number)
        assert await program.ends() == (0, 'ended\n', '')
        assert not any(is_alive(pid) for pid in program.pids)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.forgiven) == (Status.PENDING, 1)


# The end of the program


# Its own processes are none of the worker's, but have what it has open.
FORKS = """
async def fork():
    while not os.path.exists(os.path.join(folder, 'fork')):
        await asyncio.sleep(0.01)
    if not (pid := os.fork()):
        time.sleep(603)
        os._exit(0)
    print('forked', pid, flush=True)

async def both():
    await asyncio.gather(main(), fork())

asyncio.run(both()) if __name__ == '__main__' else None
"""


@pytest.mark.one_server
@pytest.mark.parametrize('task', ['wait', 'compute'])
async def test_a_worker_that_is_killed_takes_its_processes_along(
    server: RealServer, queue: Torrelque, tmp_path: Path, task: str
) -> None:
    await queue.enqueue(task)
    async with begun(server, queue, tmp_path) as program:
        program.process.kill()
        for pid in program.pids:
            await asyncio.to_thread(wait_end, pid)


async def test_what_the_application_forked_does_not_keep_the_processes_of_a_killed_worker(
    server: RealServer, queue: Torrelque, tmp_path: Path
) -> None:
    await queue.enqueue('wait')
    async with begun(server, queue, tmp_path, FORKS) as program:
        (tmp_path / 'fork').touch()
        await program.says('forked')
        program.process.kill()
        for pid in program.pids[:2]:
            await asyncio.to_thread(wait_end, pid)
        assert is_alive(program.pids[2])
        os.kill(program.pids[2], signal.SIGKILL)


THREAD = """
if __name__ == '__main__':
    worker = ThreadWorker(queue(), work, run_in='process', concurrency=1, max_attempts=1).start()
    wait_for('leave')
    END
"""


@pytest.mark.one_server
@pytest.mark.parametrize(
    ('end', 'code'), [('pass', 0), ('raise ValueError', 1), ('sys.exit(5)', 5), ('os._exit(6)', 6)]
)
async def test_an_application_ends_whatever_its_worker_does(
    server: RealServer, queue: Torrelque, tmp_path: Path, end: str, code: int
) -> None:
    task_id = await queue.enqueue('wait')
    async with begun(server, queue, tmp_path, THREAD.replace('END', end)) as program:
        (tmp_path / 'leave').touch()
        returned, out, errors = await program.ends()
        assert (returned, out, errors.count('Traceback')) == (code, '', 1 if end.startswith('raise') else 0)
        for pid in program.pids:
            await asyncio.to_thread(wait_end, pid)
    state = await queue.get_task_state(task_id)
    # It is nobody's failure: the lease brings it back.
    assert (state.status, state.error) == (Status.WORKING, None)


# The main program in a process


@pytest.mark.parametrize(
    ('rest', 'told'),
    [
        ("if __name__ != '__main__': raise RuntimeError('only once')\n" + RUN, 'RuntimeError: only once'),
        ("if __name__ != '__main__': sys.exit('only once')\n" + RUN, 'SystemExit: only once'),
        ('asyncio.run(main())', "it needs its if __name__ == '__main__'"),
    ],
    ids=['error', 'exit', 'whole'],
)
async def test_a_main_program_that_no_process_can_import_is_told(
    server: RealServer, queue: Torrelque, tmp_path: Path, rest: str, told: str
) -> None:
    task_id = await queue.enqueue('wait', max_attempts=2)
    async with begun(server, queue, tmp_path, rest, []) as program:
        while (state := await queue.get_task_state(task_id)).status is not Status.DEAD:
            await asyncio.sleep(0.005)
        program.process.send_signal(signal.SIGTERM)
        returned, out, _ = await program.ends()
        assert (returned, out.endswith('stopping\nended\n')) == (0, True)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert 'Reject: the main program cannot be loaded in a process: ' in (state.error or '')
    assert (state.error or '').endswith(told)


async def test_a_program_from_standard_input_has_its_handlers_in_modules(
    server: RealServer, queue: Torrelque, tmp_path: Path
) -> None:
    (tmp_path / 'handlers.py').write_text('def work(delivery): return delivery.task\n')
    text = PROGRAM.replace('def work(', 'def other(') + (
        '\nsys.path.insert(0, folder)\nfrom handlers import work\n' + RUN
    )
    ids = [await queue.enqueue('wait')]
    command = [sys.executable, '-', server.socket, queue.name, str(tmp_path)]
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    with running(command, **pipes) as process:
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()
        state = await queue.wait(ids[0], timeout=200)
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait)
    assert (state.status, state.result) == (Status.COMPLETED, 'wait')
