"""The live view in a terminal: drawn, steered, resized, and the terminal as it was before at any end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.acting import bury_all, recorded
from support.commanding import PACKAGES, PATIENCE, Folder
from support.servers import RealServer
from support.terminal import Terminal, open_terminal
from torrelque import Torrelque

pytestmark = pytest.mark.one_server

STYLES = re.compile(rb'\x1b\[[0-9;?]*[a-zA-Z]')


@contextmanager
def top(
    server: RealServer, queue: Torrelque, *words: str, start: tuple[str, ...] = ('-m', 'torrelque')
) -> Iterator[Terminal]:
    environment = {**os.environ, 'TORRELQUE_URL': server.url, 'TORRELQUE_QUEUE': queue.name,
                   'PYTHONIOENCODING': 'utf-8'}  # fmt: skip
    environment.pop('TORRELQUE_READ_ONLY', None)
    with open_terminal([*start, 'top', '--every', '0.2', *words], environment) as terminal:
        yield terminal


async def see(terminal: Terminal, pattern: bytes) -> str:
    """Wait for something to be drawn after now; what was drawn since."""
    del terminal.written[:]
    # The queue of the test is not kept from its own work meanwhile.
    await asyncio.to_thread(terminal.wait_for, pattern)
    return STYLES.sub(b'', bytes(terminal.written)).decode()


def check_restored(terminal: Terminal) -> None:
    flags = termios.tcgetattr(terminal.master)[3]
    assert flags & termios.ECHO and flags & termios.ICANON
    # The view's own screen was left, and the cursor is there.
    assert terminal.written.rfind(b'\x1b[?1049l') > terminal.written.rfind(b'\x1b[?1049h')
    assert terminal.written.rfind(b'\x1b[?25h') > terminal.written.rfind(b'\x1b[?25l')


async def test_queues_are_watched_and_acted_on(server: RealServer, queue: Torrelque) -> None:
    [dead] = await bury_all(queue, [{'task': 'send'}], 'Traceback\nKeyError: \x1b[2J[red]1')
    await queue.enqueue_many(['a', 'b'])
    with top(server, queue) as terminal:
        terminal.wait_for(rb'\x1b\[\?1049h')
        drawn = await see(terminal, b'q quit')
        assert queue.name in drawn and 'no worker with a heartbeat' in drawn
        # What happens is seen.
        await queue.enqueue_many([*range(41)])
        terminal.wait_for(rb'\b43\b')
        # From a queue to a dead task, and why it does not run.
        terminal.type(b'\r4')
        drawn = await see(terminal, rb'KeyError')
        assert dead[:6] in drawn and '\\x1b[2J[red]1' in drawn
        terminal.type(b'\r')
        assert 'send' in await see(terminal, rb'(?s)why .*it is dead')
        # It is brought back when that was agreed to.
        terminal.type(b'r')
        assert f'redrive task {dead} of queue' in await see(terminal, rb'\[y/N\]')
        terminal.type(b'y')
        await see(terminal, rb'1 redriven\x1b')
        # And the queue is paused from where it is looked at.
        terminal.type(b'\x1b')
        await see(terminal, rb'\[4 dead\]')
        terminal.type(b'py')
        await see(terminal, b'pause queue .*: done')
        await see(terminal, b"'.*  paused")
        terminal.type(b'q')
        await asyncio.to_thread(terminal.end)
        check_restored(terminal)
    assert [act for act, _, _ in await recorded(queue)] == ['redrive', 'pause']
    assert (await queue.get_queue_stats()).dead == 0


async def test_dead_tasks_are_counted_asked_for_and_brought_back_and_no_others(
    server: RealServer, queue: Torrelque
) -> None:
    for n in range(3):
        await bury_all(queue, [{'task': 'send'}], f'KeyError: {n}', task_id=f'dead-{n}')
    async with Torrelque(queue.client, queue=f'{queue.name}-2') as other:
        # A task of the same id in another queue is another task.
        await bury_all(other, [{'task': 'other'}], 'KeyError: other', task_id='dead-2')
        with top(server, queue, '-q', queue.name, '-q', other.name) as terminal:
            terminal.wait_for(rb'q quit')
            terminal.type(b'\x1b[Br')
            await see(terminal, rb'redrive 1 dead task of .*\[y/N\]')
            terminal.type(b'n\x1b[Ar')
            await see(terminal, rb'redrive 3 dead tasks of .*\[y/N\]')
            await bury_all(queue, ['later'], 'KeyError: later')
            terminal.type(b'y')
            await see(terminal, rb'3 redriven\x1b')
            assert (await queue.get_queue_stats()).dead == 1 and (await other.get_queue_stats()).dead == 1
            terminal.type(b'\x1b[B\r4')
            await see(terminal, rb'KeyError: other')
            terminal.type(b'\r')
            drawn = await see(terminal, rb'(?s)why .*it is dead')
            assert 'other' in drawn and 'send' not in drawn
            terminal.type(b'q')
            await asyncio.to_thread(terminal.end)
    assert [(act, count) for act, _, count in await recorded(queue)] == [('redrive', 3)]


async def test_it_follows_the_size_of_the_terminal(server: RealServer, queue: Torrelque) -> None:
    await queue.enqueue('a')
    with top(server, queue, '--read-only') as terminal:
        terminal.wait_for(b'q quit')
        assert b'DELAYED' in terminal.written and b'redrive' not in terminal.written
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack('HHHH', 7, 36, 0, 0))
        drawn = await see(terminal, rb'(?s)torrelque top.*\n.*\n.*\n.*\n.*\n.*\n')
        frame = drawn[drawn.rindex('torrelque top') :]
        assert 'DELAYED' not in frame and 'PENDING' in frame
        assert max(len(line) for line in frame.splitlines()) <= 36
        terminal.type(b'\x03')
        await asyncio.to_thread(terminal.end, 130)
        check_restored(terminal)


BROKEN = (
    'import sys, torrelque.cli.top as t; t.View._{0} = lambda *_: 1 / 0; from torrelque.cli import main; '
    'sys.exit(main())'
)


def kill(number: int) -> Callable[[Terminal], None]:
    return lambda terminal: os.kill(terminal.process.pid, number)


@pytest.mark.long
@pytest.mark.parametrize(
    ('start', 'end', 'status', 'said'),
    [
        (('-m', 'torrelque'), kill(signal.SIGTERM), 130, b''), (('-m', 'torrelque'), kill(signal.SIGHUP), 130, b''),
        (('-c', BROKEN.format('tick')), lambda _: None, 1, b'ZeroDivisionError'),
        (('-c', BROKEN.format('press')), lambda terminal: terminal.type(b'j'), 1, b'ZeroDivisionError'),
    ],
)  # fmt: skip
async def test_the_terminal_is_as_before_at_any_end(
    start: tuple[str, ...], end: Callable[[Terminal], None], status: int, said: bytes, server: RealServer,
    queue: Torrelque,
) -> None:  # fmt: skip
    with top(server, queue, start=start) as terminal:
        if b'tick' not in start[-1].encode():
            terminal.wait_for(b'q quit')
        end(terminal)
        assert said in await asyncio.to_thread(terminal.end, status)
        check_restored(terminal)


@pytest.mark.long
async def test_a_server_that_goes_is_told_of(server: RealServer, queue: Torrelque) -> None:
    await queue.enqueue('a')
    user = await queue.client.execute_command('ACL', 'SETUSER', 'watcher', 'on', '>secret', '~*', '&*', '+@all')
    assert user
    with top(server, queue, '--url', server.url.replace('://', '://watcher:secret@')) as terminal:
        terminal.wait_for(b'q quit')
        await queue.client.execute_command('ACL', 'SETUSER', 'watcher', 'reset')
        drawn = await see(terminal, b'no answer for')
        assert 'secret' not in drawn
        terminal.type(b'q')
        await asyncio.to_thread(terminal.end)
        check_restored(terminal)


@pytest.mark.long
async def test_where_there_is_no_terminal_it_is_a_line_now_and_then(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue('a')
    with folder.command('top', '--every', '0.2', '-q', queue.name) as command:
        command.wait_for(rf'{queue.name} +1 ', 2)
        command.send(signal.SIGINT)
        command.end(130)


TMUX = shutil.which('tmux')


class Tmux:
    """A shell in tmux, and what its screen shows."""

    def __init__(self, folder: Path) -> None:
        self._start = [str(TMUX), '-S', str(folder / 'tmux'), '-f', '/dev/null']

    def run(self, *words: str) -> str:
        return subprocess.run([*self._start, *words], capture_output=True, text=True, check=True).stdout

    def see(self, pattern: str) -> str:
        """Wait until the screen has something; the screen."""
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, screen := self.run('capture-pane', '-p')):
            assert time.monotonic() < end, f'{pattern!r} is not on the screen:\n{screen}'
            time.sleep(0.05)
        return screen


@pytest.mark.long
@pytest.mark.skipif(TMUX is None, reason='tmux is not installed')
async def test_it_is_suspended_and_comes_back_in_a_shell(
    server: RealServer, queue: Torrelque, tmp_path: Path
) -> None:
    await queue.enqueue('a')
    tmux, name = Tmux(tmp_path), queue.name[:6]
    start = f'env TORRELQUE_URL={server.url} PYTHONPATH={PACKAGES} {sys.executable} -m torrelque top -q {queue.name}'
    tmux.run('new-session', '-d', '-x', '80', '-y', '24', 'env PS1=ready: bash --norc')
    try:
        tmux.see('ready:')
        tmux.run('send-keys', start, 'Enter')
        screen = tmux.see('q quit')
        assert screen.startswith('torrelque top') and len(screen.splitlines()) == 24 and name in screen
        tmux.run('send-keys', 'C-z')
        screen = tmux.see('Stopped')
        assert 'q quit' not in screen
        tmux.run('send-keys', 'echo back $((6*7))', 'Enter')
        tmux.see('back 42')
        tmux.run('send-keys', 'fg', 'Enter')
        assert 'back 42' not in tmux.see('q quit')
        tmux.run('resize-window', '-x', '60', '-y', '12')
        assert name in tmux.see('(?s)q quit|redrive  q…')
        tmux.run('send-keys', 'C-c')
        tmux.see('back 42')
        tmux.run('send-keys', 'echo code $?; stty -a | grep -o " icanon.* echo "', 'Enter')
        tmux.see(r'(?m)^code 130\n icanon.* echo')
    finally:
        tmux.run('kill-server')
