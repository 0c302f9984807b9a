"""The examples, run as a newcomer runs them: what they print adds up, and they leave nothing behind."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import pty
import re
import signal
from pathlib import Path

import pytest

from support import examples
from support.examples import COLUMNS, Example, Run, count_keys, read_terminal, server_of
from support.processes import is_alive, wait_end
from support.servers import RealServer
from support.sources import parse

run = examples.run


# Producers and consumers

ACCOUNT = re.compile(
    r'found at the start +([\d,]+)\n\+ enqueued +([\d,]+)\n- completed +([\d,]+) .*\n= expected +(-?[\d,]+)\n'
    r'  in the queue +([\d,]+)   (\d+) pending, (\d+) working, (\d+) delayed, (\d+) dead'
)


def read_account(text: str) -> dict[str, int]:
    match = ACCOUNT.search(text)
    assert match, text
    names = ('found', 'enqueued', 'completed', 'expected', 'left', 'pending', 'working', 'delayed', 'dead')
    account = {name: int(figure.replace(',', '')) for name, figure in zip(names, match.groups(), strict=True)}
    assert account['expected'] == account['found'] + account['enqueued'] - account['completed']
    assert account['left'] == sum(account[place] for place in ('pending', 'working', 'delayed', 'dead'))
    return account


@pytest.mark.parametrize('number', [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_producers_and_consumers_stop_when_told_and_lose_nothing(run: Run, number: signal.Signals) -> None:
    example = run('producer_consumer', '--pause', 0.01, '--failures', 0.5)
    server = server_of(example.wait_for(r'on (\S+);')[1])
    # Some are done, some have failed, and some are in work or wait.
    example.wait_for(r'[1-9]\d* completed .* [1-9]\d* failed')
    example.process.send_signal(number)

    account = read_account(example.finish())
    assert account['completed'] > 0
    assert account['expected'] == account['left'] > 0
    assert account['working'] == 0
    assert example.lines[-1] == 'Nothing was lost.'
    assert example.errors == ''
    assert not is_alive(server)


def test_producers_and_consumers_end_when_all_is_done_or_dead(run: Run) -> None:
    account = read_account(run('producer_consumer', '--tasks', 40, '--pause', 0, '--failures', 1).finish())
    assert account == {**dict.fromkeys(account, 0), 'enqueued': 40, 'expected': 40, 'left': 40, 'dead': 40}


def test_producers_and_consumers_end_after_a_time(run: Run) -> None:
    example = run('producer_consumer', '--seconds', 0.5)
    account = read_account(example.finish())
    assert account['expected'] == account['left']
    assert example.errors == ''


@pytest.mark.one_server
def test_two_processes_of_producers_and_consumers_share_a_queue(run: Run, server: RealServer) -> None:
    # The second one only consumes, so that what it completes is the first one's.
    examples = [
        run('producer_consumer', '--url', server.url, '--pause', 0.01),
        run('producer_consumer', '--url', server.url, '--producers', 0),
    ]
    for example in examples:
        example.wait_for(r'[1-9]\d* completed')
    accounts = []
    for example in examples:
        example.process.send_signal(signal.SIGINT)
        accounts.append(read_account(example.finish()))
        assert re.fullmatch(r'Nothing was lost\.|[-+][\d,]+ by other processes\.', example.lines[-1])
        assert example.errors == ''
    enqueued, completed = (sum(account[name] for account in accounts) for name in ('enqueued', 'completed'))
    assert enqueued - completed == accounts[-1]['left']
    with server.sync_client() as client:
        assert client.hlen('{orders}:tasks') == accounts[-1]['left']


@pytest.mark.long
def test_producers_and_consumers_rewrite_one_line_on_a_terminal(run: Run) -> None:
    master, slave = pty.openpty()
    example = run('producer_consumer', '--tasks', 20, '--pause', 0, '--failures', 0, stdout=slave)
    os.close(slave)
    output = read_terminal(master)
    os.close(master)
    example.finish()
    assert read_account(output.replace('\r\n', '\n'))['enqueued'] == 20
    first, *live = output[: output.index('found')].split('\r')
    assert 'Ctrl-C' in first
    assert all('\n' not in line.strip('\n') for line in live)


# Batch processing


def read_table(text: str) -> dict[str, dict[str, int]]:
    """The rows of the table by their titles."""
    rows = re.findall(r'^(process \d+|total|plain loop) +((?:[\d,]+ +){6})[\d.]+% ', text, re.M)
    assert rows, text
    return {
        title: dict(zip(COLUMNS, (int(figure.replace(',', '')) for figure in figures.split()), strict=True))
        for title, figures in rows
    }


def check_table(text: str, processes: int = 2) -> dict[str, int]:
    """The total, which is that of the plain loop and of the processes."""
    table = read_table(text)
    assert list(table) == [*(f'process {number}' for number in range(1, processes + 1)), 'total', 'plain loop']
    assert table['total'] == table['plain loop']
    for name in COLUMNS:
        assert table['total'][name] == sum(row[name] for title, row in table.items() if title.startswith('process'))
    assert text.endswith('The total is that of the plain loop.')
    return table['total']


def pids_of(example: Example) -> list[int]:
    return [int(pid) for pid in example.wait_for(r'processes \(([\d, ]+)\)')[1].split(', ')]


DEFINITIONS = """
import contextlib
class A:
    @property
    def one(self): return lambda: 1
    async def two(self):
        for n in range(3):
            def three(): pass
        else:
            class B: pass
try:
    with contextlib.suppress(ValueError): class_ = 1
    def four(): pass
except ValueError:
    def five(): pass
else:
    def six(): pass
finally:
    class C(A): 'def'
match A():
    case 1:
        def seven(): pass
if A: pass
elif A:
    async def eight(): pass
while False:
    def nine(): pass"""


@pytest.fixture
def known_folder(tmp_path: Path) -> Path:
    """A folder whose count is known: `KNOWN`."""
    folder = tmp_path / 'known'
    (folder / 'below' / 'not_a_file.py').mkdir(parents=True)
    (folder / 'empty.py').touch()
    (folder / 'broken.py').write_text('def broken(:\n    class Broken: pass\n')
    (folder / 'null.py').write_bytes(b'text = "\0"\n')
    (folder / 'nested.py').write_text('(' * 1000 + ')' * 1000)
    (folder / 'latin.py').write_bytes(b'# -*- coding: latin-1 -*-\nname = "\xe9"\n\n')
    (folder / 'binary.py').write_bytes(b'name = "\xe9"\r\n')
    (folder / 'warns.py').write_text("pattern = '\\d'\n")
    (folder / 'below' / 'größe 名前.py').write_text('class Größe:\n    def maß(self): pass\n', encoding='utf-8')
    (folder / 'below' / os.fsdecode(b'name \xff.py')).write_text('class Strange: pass')
    (folder / 'below' / 'definitions.py').write_text(DEFINITIONS)
    (folder / 'gone.py').symlink_to('nowhere')
    (folder / 'unreadable.py').symlink_to('/proc/self/mem')  # to root as well
    (folder / 'notes.txt').write_text('class Text: pass\n')
    return folder


KNOWN = {'files': 11, 'unreadable': 1, 'unparsable': 4, 'lines': 39, 'classes': 5, 'functions': 10}


@pytest.mark.parametrize('bulk', [3, *(pytest.param(bulk, marks=pytest.mark.long) for bulk in (1, 50))])
def test_batch_counts_what_is_there(run: Run, known_folder: Path, bulk: int) -> None:
    options = ('--processes', 2, '--consumers', 2, '--bulk', bulk)
    example = run('batch_processing', known_folder, *options)
    server = server_of(example.wait_for(r'tasks enqueued .* on (\S+)')[1])
    workers = pids_of(example)
    assert check_table(example.finish()) == KNOWN
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in (server, *workers))


@pytest.mark.one_server
def test_batch_counts_packages_on_any_server_and_leaves_no_key(run: Run, server: RealServer) -> None:
    folders = [Path(inspect.getfile(module)).parent for module in (json, asyncio)]
    for folder in folders:
        example = run('batch_processing', folder, '--url', server.url, '--processes', 2, '--bulk', 2)
        total = check_table(example.finish())
        nodes = [node for path in folder.rglob('*.py') for node in ast.walk(parse(path.read_text('utf-8')))]
        assert total == {
            'files': len(list(folder.rglob('*.py'))),
            'unreadable': 0,
            'unparsable': 0,
            'lines': sum(path.read_bytes().count(b'\n') for path in folder.rglob('*.py')),
            'classes': sum(isinstance(node, ast.ClassDef) for node in nodes),
            'functions': sum(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) for node in nodes),
        }
        assert example.errors == ''
    assert count_keys(server) == 0


@pytest.mark.one_server
@pytest.mark.parametrize('bulk', [1, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.long
def test_batch_measures_the_queue_alone(run: Run, server: RealServer, bulk: int) -> None:
    options = ('--url', server.url, '--processes', 2, '--tasks', 1000, '--bulk', bulk)
    example = run('batch_processing', *options)
    assert re.search(r'\n1,000 tasks without work in [\d.]+ s: [\d,]+/s$', example.finish())
    assert example.errors == ''
    assert count_keys(server) == 0


@pytest.fixture
def large_folder(tmp_path: Path) -> Path:
    """A folder that keeps two processes busy for some seconds: `LARGE`."""
    folder = tmp_path / 'large'
    folder.mkdir()
    for number in range(LARGE['files']):
        (folder / f'{number}.py').write_text('def function(a, b): return {a: [b, 1, 2], b: (a, 3)}\n' * 400)
    return folder


LARGE = {'files': 120, 'unreadable': 0, 'unparsable': 0, 'lines': 48_000, 'classes': 0, 'functions': 48_000}
LARGE_OPTIONS = ('--processes', 2, '--consumers', 2, '--bulk', 2)


@pytest.mark.long
def test_batch_counts_right_when_a_process_is_killed(run: Run, large_folder: Path) -> None:
    example = run('batch_processing', large_folder, *LARGE_OPTIONS, '--task-timeout', 1)
    workers = pids_of(example)
    example.wait_for('queue +[2-5]0%')
    os.kill(workers[0], signal.SIGKILL)
    assert check_table(example.finish()) == LARGE
    # What the process had in hand, somebody else has done.
    assert int(re.findall('Handed out more than once: (.*) files', '\n'.join(example.lines))[0]) > 0
    assert not any(is_alive(pid) for pid in workers)


@pytest.mark.long
@pytest.mark.one_server
def test_batch_fails_when_all_processes_are_killed(run: Run, large_folder: Path, server: RealServer) -> None:
    example = run('batch_processing', large_folder, '--url', server.url, *LARGE_OPTIONS)
    workers = pids_of(example)
    example.wait_for('queue +[2-5]0%')
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    example.finish(status=1)
    assert re.fullmatch(r'All processes have ended, and \d+ tasks are left.\n', example.errors)
    with server.sync_client() as client:
        # The last claims of the killed, which nobody has acknowledged.
        assert all(re.fullmatch(rb'.*:claim:.*', key) and client.ttl(key) > 0 for key in client.scan_iter())


@pytest.mark.long
def test_batch_tells_when_the_counts_differ(run: Run, large_folder: Path) -> None:
    example = run('batch_processing', large_folder, *LARGE_OPTIONS)
    example.wait_for('plain loop +10%')
    for path in large_folder.iterdir():
        with path.open('a') as file:
            file.write('class Late: pass\n')
    output = example.finish(status=1)
    assert output.endswith('The total is NOT that of the plain loop.')
    table = read_table(output)
    assert table['total'] == LARGE
    assert table['plain loop']['classes'] > 0


@pytest.mark.one_server
@pytest.mark.parametrize('number', [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
@pytest.mark.long
def test_batch_is_interrupted_without_a_trace(
    run: Run, large_folder: Path, server: RealServer, number: signal.Signals
) -> None:
    example = run('batch_processing', large_folder, '--url', server.url, *LARGE_OPTIONS)
    workers = pids_of(example)
    example.wait_for('queue +[2-5]0%')
    os.killpg(example.process.pid, number)
    example.finish(status=130)
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in workers)
    with server.sync_client() as client:
        assert all(re.fullmatch(rb'.*:claim:.*', key) and client.ttl(key) > 0 for key in client.scan_iter())


def test_batch_workers_end_when_the_main_process_is_killed(run: Run, large_folder: Path) -> None:
    example = run('batch_processing', large_folder, *LARGE_OPTIONS)
    server = server_of(example.wait_for(r'tasks enqueued .* on (\S+)')[1])
    guardian = int(Path(f'/proc/{server}/stat').read_text().rpartition(')')[2].split()[1])
    workers = pids_of(example)
    example.wait_for('queue +[2-5]0%')
    example.process.kill()
    for pid in (*workers, server, guardian):
        wait_end(pid)
    assert example.errors == ''


def test_batch_redraws_its_bar_on_a_terminal(run: Run) -> None:
    master, slave = pty.openpty()
    example = run('batch_processing', '--tasks', 500, '--processes', 1, stdout=slave)
    os.close(slave)
    output = read_terminal(master)
    os.close(master)
    example.finish()
    assert re.search(r'\rqueue +\[#{30}\] 500 of 500 \([\d,]+/s\) *\r\n', output)
