"""The command line in processes of its own, in a folder with an application, and what it says."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torrelque
from support.servers import RealServer

PACKAGES = Path(torrelque.__file__).parent.parent
PATIENCE = 90.0
"""s after which something that was waited for is taken for missing."""

APP = """
    import asyncio
    import os

    from torrelque.tasks import Tasks, current

    app = Tasks.from_url(queue=os.environ['QUEUE'])


    def tell(*words):
        # In one piece, because other processes write to the same stream.
        os.write(1, (' '.join(map(str, words)) + '\\n').encode())


    @app.task
    async def send(word):
        tell('begun', word, current().attempt, os.getpid())
        while os.path.exists('hold'):
            await asyncio.sleep(0.01)
        tell('done', word, os.getpid())
        return word
"""
"""An application with one function, which is kept from its end by the file ``hold``."""


class Command:
    """A command that runs: its lines as they come, its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        """Lines of standard output."""
        self.err: list[str] = []
        """Lines of standard error."""
        self._lock = threading.Condition()
        self._open = 2
        self._threads = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.err))
            if stream is not None
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Iterator[str], lines: list[str]) -> None:
        for line in stream:
            with self._lock:
                lines.append(line.rstrip('\n'))
                self._lock.notify_all()
        with self._lock:
            self._open -= 1
            self._lock.notify_all()

    def wait_for(self, pattern: str, count: int = 1) -> list[re.Match[str]]:
        """Wait until so many lines match, of either kind; the matches."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._matches(pattern)) >= count or not self._open, PATIENCE)
            found = self._matches(pattern)
            assert len(found) >= count, f'{len(found)} lines match {pattern!r}:\n{self.told}'
            return found

    def _matches(self, pattern: str) -> list[re.Match[str]]:
        return [match for line in (*self.out, *self.err) if (match := re.search(pattern, line))]

    @property
    def told(self) -> str:
        """All that was said so far."""
        return '\n'.join([*self.out, '--', *self.err])

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, status: int = 0) -> str:
        """Wait for the end; what was said on standard error.  Whoever holds the streams has ended as well."""
        ended = self.process.wait(PATIENCE)
        assert ended == status, f'it ended with {ended}:\n{self.told}'
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not self._open, 'something holds the streams'
        return '\n'.join(self.err)

    def close(self) -> None:
        """Once nobody holds the streams any more."""
        self.process.wait()
        for thread in self._threads:
            thread.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


LEFT_OUT = ('TORRELQUE_URL', 'NO_COLOR', 'PYTHONUNBUFFERED')
"""What of the environment of the tests may have a command do other than by itself."""


class Folder:
    """A folder with an application, and the environment of its commands."""

    def __init__(self, path: Path, server: RealServer | None, queue: str) -> None:
        self.path = path
        self.queue = queue
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in LEFT_OUT},
            'PYTHONPATH': str(PACKAGES), 'QUEUE': queue, 'PYTHONDONTWRITEBYTECODE': '1',
        }  # fmt: skip
        if server is not None:
            self.environment['REDIS_URL'] = server.url

    def write(self, name: str, code: str) -> Path:
        """Write a file, as editors do: a new one takes the place of the old one."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        new = path.with_name(path.name + '.new')
        new.write_text(textwrap.dedent(code))
        new.replace(path)
        return path

    def hold(self) -> None:
        """Keep functions from their end."""
        (self.path / 'hold').touch()

    def let_go(self) -> None:
        """Let them come to their end."""
        (self.path / 'hold').unlink()

    @contextmanager
    def command(self, *arguments: str, more: Mapping[str, str] | None = None,
                start: tuple[str, ...] = ('-m', 'torrelque')) -> Iterator[Command]:  # fmt: skip
        """A command for the length of the block; whatever of it has not ended by then is killed."""
        process = subprocess.Popen(
            [sys.executable, '-W', 'error', *start, *arguments], cwd=self.path,
            env={**self.environment, **(more or {})}, text=True, errors='surrogateescape', start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        command = Command(process)
        try:
            yield command
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            command.close()

    def run(self, *arguments: str, status: int = 0, more: Mapping[str, str] | None = None,
            start: tuple[str, ...] = ('-m', 'torrelque')) -> Command:  # fmt: skip
        """A command that ends by itself."""
        with self.command(*arguments, more=more, start=start) as command:
            command.end(status)
        return command


class Manager:
    """What systemd is to a service: a socket that is told how it is."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)
        self.environment = {'NOTIFY_SOCKET': str(path)}

    def wait_for(self, words: str) -> None:
        """Wait until the service says this."""
        while self._socket.recv(1000).decode() != words:
            pass

    def wait_for_match(self, start: str) -> str:
        """Wait until the service says what begins so; all of it."""
        while not (said := self._socket.recv(1000).decode()).startswith(start):
            pass
        return said

    def said(self) -> list[str]:
        """What the service has said and nobody has waited for."""
        found: list[str] = []
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                found.append(self._socket.recv(1000).decode())
        self._socket.settimeout(PATIENCE)
        return found

    def wait_for_silence(self, seconds: float) -> None:
        """Wait until the service has said nothing for so long."""
        self._socket.settimeout(seconds)
        end = time.monotonic() + PATIENCE
        with suppress(TimeoutError):
            while self._socket.recv(1000):
                assert time.monotonic() < end, 'it is never silent'
        self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self._socket.close()


STOP = signal.SIGTERM
