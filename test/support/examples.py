"""Examples in processes of their own, and what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

import torrelque
from support.servers import RealServer

ROOT = Path(__file__).parents[2]
PACKAGE = Path(torrelque.__file__).parent
COLUMNS = ('files', 'unreadable', 'unparsable', 'lines', 'classes', 'functions')


class Example:
    """A run of an example: its lines as they come, its end, and what it wrote to standard error."""

    def __init__(self, name: str, *arguments: object, temporary: Path, stdout: int = subprocess.PIPE) -> None:
        # The package that this process has imported, be it installed or the working tree.
        path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get('PYTHONPATH')]))
        environment = {**os.environ, 'PYTHONPATH': path, 'TMPDIR': str(temporary), 'COLUMNS': '120'}
        environment.pop('REDIS_URL', None)
        self._errors = tempfile.TemporaryFile('w+')  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, '-W', 'error', str(ROOT / 'example' / f'{name}.py'), *map(str, arguments)],
            stdout=stdout,
            stderr=self._errors,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from now on that matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n'))
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f'no line matches {pattern!r}:\n{self.describe()}')

    def finish(self, status: int = 0) -> str:
        """Read to the end; all that was printed."""
        if self.process.stdout is not None:
            self.lines += self.process.stdout.read().splitlines()
        assert self.process.wait() == status, self.describe()
        return '\n'.join(self.lines)

    @property
    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def describe(self) -> str:
        return '\n'.join([*self.lines, self.errors])

    def __enter__(self) -> Example:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()


Run = Callable[..., Example]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start an example.  All of them together have to leave the directory for temporary files empty."""
    with tempfile.TemporaryDirectory(prefix='trq') as temporary, ExitStack() as stack:

        def start(name: str, *arguments: object, **options: Any) -> Example:
            return stack.enter_context(Example(name, *arguments, temporary=Path(temporary), **options))

        yield start
        assert os.listdir(temporary) == []


def server_of(url: str) -> int:
    """Process id of a running server."""
    with redis.Redis.from_url(url) as client:
        return int(client.info('server')['process_id'])


def count_keys(server: RealServer) -> int:
    with server.sync_client() as client:
        return int(client.dbsize())


def read_terminal(fd: int) -> str:
    """What is written to a pseudo-terminal until its other end is closed."""
    data = b''
    with suppress(OSError):  # how Linux tells the end
        while chunk := os.read(fd, 10_000):
            data += chunk
    return data.decode()
