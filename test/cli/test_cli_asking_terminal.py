"""The commands that look, in processes of their own: in a terminal, in a pipe that closes, without a locale."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from rich.cells import cell_len

from support.commanding import Folder
from support.made import HOSTILE
from support.terminal import OWN, open_terminal, strange
from torrelque import Torrelque

pytestmark = [pytest.mark.one_server, pytest.mark.long]


@pytest.mark.parametrize(('columns', 'lines'), [(80, 24), pytest.param(40, 10, marks=pytest.mark.long)])
async def test_figures_are_drawn_again_in_place_until_ctrl_c(
    columns: int, lines: int, queue: Torrelque, folder: Folder
) -> None:
    await queue.enqueue(1)
    words = ['-m', 'torrelque', 'stats', '--watch', '0.1', '-q', queue.name]
    with open_terminal(words, folder.environment, columns=columns, lines=lines) as terminal:
        terminal.wait_for(rb'PENDING')
        await queue.enqueue_many(range(1233))
        # What is wrong stands below.
        terminal.wait_for(rb'(?s)1,234.*no worker of this queue has a heartbeat')
        terminal.type(b'\x03')
        written = terminal.end(130)
    assert strange(written, live=True) == []
    # The cursor is there again, and the cursor went up over what was drawn before.
    assert written.rfind(b'\x1b[?25h') > written.rfind(b'\x1b[?25l') >= 0 and b'\x1b[1A' in written
    assert b'Traceback' not in written and b'KeyboardInterrupt' not in written


async def test_a_table_fits_a_terminal_and_ids_can_be_copied(queue: Torrelque, folder: Folder) -> None:
    name = HOSTILE.encode('ascii', 'replace').decode()
    ids = [await queue.enqueue({'task': name}, group='g' * 200) for _ in range(3)]
    for columns in 80, 40:
        words = ['-m', 'torrelque', 'tasks', 'pending', '-q', queue.name]
        with open_terminal(words, folder.environment, columns=columns) as terminal:
            written = terminal.end()
        assert strange(written) == [] and OWN.search(written)
        lines = OWN.sub(b'', written).decode().splitlines()
        assert max(map(cell_len, lines)) <= columns
        assert {line.split()[0] for line in lines[:4]} == {'ID', *ids}
        more = ' '.join(' '.join(lines[4:]).split())
        assert more == '' if columns == 80 else re.fullmatch(
            'left out, because the terminal is narrow: .*STATUS.*; in a pipe, or with --json, all are there', more
        )  # fmt: skip


async def test_a_walk_through_many_tasks_tells_how_far_it_is(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue_many({'task': 'often'} for _ in range(30_000))
    words = ['-m', 'torrelque', 'tasks', '--function', 'rare', '-q', queue.name]
    with open_terminal(words, folder.environment) as terminal:
        terminal.wait_for(rb'[0-9,]+ of 30,000 looked at, 0 found')
        written = terminal.end(1)
    # What was told is wiped away, and the cursor is there again.
    assert written.rfind(b'\x1b[2K') > written.rfind(b'looked at') and b'no task matches' in written
    assert written.rfind(b'\x1b[?25h') > written.rfind(b'\x1b[?25l') >= 0
    # Nothing of it is in the way of whoever reads JSON.
    with open_terminal([*words, '--json'], folder.environment) as terminal:
        written = terminal.end(1)
    assert b'looked at' not in written and strange(written) == []


@pytest.mark.parametrize('more', [(), ('--json',)])
async def test_a_pipe_that_closes_ends_it_quietly(more: tuple[str, ...], queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue_many([{'task': 'x' * 100, 'args': [place]} for place in range(800)])
    process = subprocess.Popen(
        [sys.executable, '-W', 'error', '-m', 'torrelque', 'tasks', 'pending', '--most', '800', '-q', queue.name,
         *more],
        env=folder.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(), re.sub('the first 800; --most N shows more\n', '', said)) == (0, '')


async def test_the_check_ends_with_1_even_if_nobody_reads_why(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue(1)
    await queue.pause()
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, '-W', 'error', '-m', 'torrelque', 'check', '-q', queue.name]
    with subprocess.Popen(words, env=folder.environment, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr is not None
        said = process.stderr.read()
    assert (process.returncode, said) == (1, b'')


async def test_figures_that_are_watched_leave_the_terminal_as_it_was(queue: Torrelque, folder: Folder) -> None:
    words = ['-m', 'torrelque', 'stats', '--watch', '0.1', '-q', queue.name]
    for number in signal.SIGTERM, signal.SIGHUP:
        with open_terminal(words, folder.environment) as terminal:
            terminal.wait_for(rb'PENDING')
            terminal.process.send_signal(number)
            written = terminal.end(130)
        assert written.rfind(b'\x1b[?25h') > written.rfind(b'\x1b[?25l') >= 0


async def test_a_stream_without_unicode_gets_escapes(queue: Torrelque, folder: Folder) -> None:
    await queue.pause()
    async with Torrelque(queue.client, queue='żółw') as other:
        await other.enqueue({'task': 'é'}, group='龜')
        for encoding in 'ascii', 'latin-1':
            plain = {'PYTHONIOENCODING': encoding, 'LC_ALL': 'C', 'PYTHONUTF8': '0'}
            said = folder.run('tasks', 'pending', '--payload', '-q', 'żółw', more=plain)
            assert r'\u9f9c' in said.out[1] and said.err == []
            # What is read here is taken for UTF-8, which a byte of Latin-1 is not.
            assert '\udce9' in said.out[1] if encoding == 'latin-1' else r'\xe9' in said.out[1]


async def test_figures_are_there_by_either_door(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue(1)
    # The script that is installed calls the same function.
    doors = ('-m', 'torrelque'), ('-c', 'import sys; from torrelque.cli import main; sys.exit(main())')
    told = [folder.run('check', '-q', queue.name, start=door).out for door in doors]
    assert told == [[], []]
    await queue.pause()
    told = [folder.run('check', '-q', queue.name, start=door, status=1).out for door in doors]
    assert [line.split(':')[:2] for [line] in told] == [[queue.name, ' the queue is paused, and 1 task is pending']] * 2


def test_help_and_parsing_need_nothing_of_what_commands_need(folder: Folder) -> None:
    heavy = {'rich', 'msgspec', 'torrelque.operate', 'torrelque.tasks', 'torrelque.worker', 'prometheus_client'}
    code = (
        'import sys, torrelque.monitor, torrelque.cli.parser as it; it.make_parser().format_help(); '
        f'print(sorted({heavy} & {{*sys.modules}}))'
    )
    assert folder.run('-c', code, start=()).out == ['[]']
