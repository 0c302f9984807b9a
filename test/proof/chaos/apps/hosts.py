"""Whoever serves the application: `torrelque run` in its ways, and threads; each a tree of processes.

Any process of a tree is killed and stopped.  A program that ends is started again, as service managers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import mmap
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from proof.chaos.apps.aim import Running, running_in
from proof.chaos.apps.journal import Journal, now
from support.processes import TEST, environment

HEARTBEAT = 0.3
"""s."""
APP = 'proof.chaos.apps.app:app'
FILE = """
[queues.main]
[queues.side]

[workers.both]
app = "{app}"
queues = {{ main = 3, side = 1 }}
concurrency = 5
heartbeat = "{heartbeat}s"
shutdown_timeout = "2s"

[workers.aside]
app = "{app}"
queues = ["side"]
steal = ["main"]
concurrency = 3
heartbeat = "{heartbeat}s"
shutdown_timeout = "2s"
"""
WAYS = ('run', 'processes', 'weights', 'file', 'threads')
"""How an application is served."""
YOUNG = 30.0
"""s within which a program may not have heard yet that it is to end, or that its server is back."""
AIMED = 0.7
"""How many of those that are killed and stopped are chosen, where there is somebody to choose."""
ENDS = (1, 3)
"""How one may end while faults are on: because no process stayed, or it had no server."""


class Lines(logging.Handler):
    """Writes what is logged with a traceback as lines of JSON, as ``--log json`` does."""

    @classmethod
    def listen(cls) -> None:
        logging.getLogger().addHandler(cls())

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        if record.exc_info and record.exc_info[1]:
            exc = record.exc_info[1]
            said = {'event': getattr(record, 'event', ''), 'message': record.getMessage(),
                    'exception': f'{type(exc).__name__}: {exc}'}  # fmt: skip
            print(json.dumps({'logger': record.name, **said}), file=sys.stderr, flush=True)


def children_of(pid: int) -> list[int]:
    """The processes that one has started."""
    found: list[int] = []
    # Any of it may be gone by then.
    with contextlib.suppress(OSError):
        for thread in os.listdir(f'/proc/{pid}/task'):
            with contextlib.suppress(OSError):
                found += map(int, Path(f'/proc/{pid}/task/{thread}/children').read_text().split())
    return found


def tree_of(pid: int) -> Iterator[int]:
    """A process, and those below it."""
    yield pid
    for child in children_of(pid):
        yield from tree_of(child)


class Clock:
    """By how much (s) the clock of a tree of processes is off, which is changed while they run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(struct.pack('d', 0.0))

    def jump(self, seconds: float) -> None:
        with self.path.open('r+b') as file, mmap.mmap(file.fileno(), 8) as place:
            place[:] = struct.pack('d', seconds)


class Host:
    """A program that serves the application, or enqueues, and whatever it has started."""

    def __init__(self, folder: Path, name: str, way: str, chance: random.Random, settings: dict[str, Any]) -> None:
        self.way = way
        self.name = name
        self.clock = Clock(folder / f'{name}.clock')
        self.process: asyncio.subprocess.Process | None = None
        self.log = folder / f'{name}.log'
        self._folder = folder
        self._settings = settings
        self._concurrency = chance.choice([4, 8, 12])
        self.told = 0
        """How often it was told to end since it was started."""
        self._starts = 0
        self._started = 0.0

    @property
    def age(self) -> float:
        """s since it was started."""
        return time.monotonic() - self._started

    def _command(self) -> list[str]:
        run = ['torrelque', 'run', APP, '--heartbeat', f'{HEARTBEAT}s', '--shutdown-timeout', '2s', '--log', 'json',
               '--concurrency', str(self._concurrency)]  # fmt: skip
        if self.way == 'processes':
            return [*run, '--processes', '2']
        if self.way == 'weights':
            return [*run, '--queues', 'main=3,side=1']
        if self.way == 'file':
            path = self._folder / 'torrelque.toml'
            path.write_text(FILE.format(app=APP, heartbeat=HEARTBEAT))
            return ['torrelque', 'run', '-c', str(path), '--log', 'json']
        if self.way == 'threads':
            return ['proof.chaos.apps.threaded', str(self._concurrency)]
        if self.way == 'producer':
            return ['proof.chaos.apps.producing', json.dumps({'name': self.name, 'first': self._first()})]
        return run

    def _first(self) -> int:
        """The first number of a producer, so that no two have the same."""
        return (int(self.name.rpartition('-')[2]) * 1000 + self._starts) * 100_000

    async def start(self) -> None:
        self._starts += 1
        self.told = 0
        self._started = time.monotonic()
        told = {**environment(str(TEST / 'proof/chaos/apps/clock'), *sys.path), 'CHAOS_APP': json.dumps(self._settings),
                'CHAOS_CLOCK': str(self.clock.path), 'PYTHONDONTWRITEBYTECODE': '1'}  # fmt: skip
        told |= {'TORRELQUE_URL': self._settings['urls'][0]}
        with self.log.open('ab') as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, '-m', *self._command(), cwd=TEST, env=told, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def pids(self) -> list[int]:
        """Those that live."""
        alive = self.process is not None and self.process.returncode is None
        return [*tree_of(self.pid)] if alive else []

    def is_at_work(self) -> bool:
        """Whether one of them has written something down."""
        return any((Path(self._settings['journals']) / f'{pid}.json').exists() for pid in self.pids())

    def troubles(self) -> Iterator[str]:
        """What was logged that no fault of a run explains."""
        for text in self.log.read_text(errors='replace').splitlines() if self.log.exists() else []:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and (error := line.get('exception')) and not _is_explained(line, str(error)):
                yield f'{self.name} ({self.way}): {line.get("message")}: {error[-600:]}'


EXPLAINED = ('ConnectionError', 'TimeoutError', 'ServerError', 'OutOfMemoryError', 'NoScriptError', 'ReadOnlyError',
             'ResponseError', 'OSError', 'BusyLoadingError', 'ClusterDownError', 'MasterNotFoundError',
             'ConnectionRefusedError', 'BrokenPipeError', 'ConnectionResetError', 'LookupError', 'ClusterError',
             'SlotNotCoveredError', 'RedisClusterException', 'UnavailableError')  # fmt: skip
OF_ATTEMPTS = ('task_failed', 'task_retried', 'task_dead', 'task_lost', 'task_unsettled')


def _is_explained(line: dict[str, Any], error: str) -> bool:
    last = error.strip().rpartition('\n')[2]
    kind = last.partition(':')[0].partition('(')[0].rpartition('.')[2]
    return line.get('event') in OF_ATTEMPTS or kind.removeprefix('Torrelque') in EXPLAINED


class Hosts:
    """All of them; to a storm, what it kills and stops."""

    def __init__(self, journal: Journal, lease: float, chance: random.Random) -> None:
        self.all: list[Host] = []
        self.wrong: list[str] = []
        """What is wrong with how some ended."""
        self._calm_since = math.inf
        self._ending: set[Host] = set()
        self._journal = journal
        self._lease = lease
        self._chance = chance
        self._keepers: set[asyncio.Task[None]] = set()

    async def add(self, host: Host) -> None:
        """Start one, and start it again when it ends."""
        self.all.append(host)
        await host.start()
        self._keepers.add(asyncio.ensure_future(self._keep(host)))

    def calm(self) -> None:
        """The faults are over."""
        self._calm_since = time.monotonic()

    async def _keep(self, host: Host) -> None:
        while True:
            assert host.process is not None
            status = await host.process.wait()
            self._journal.write('ended', who=host.pid, way=host.way, status=status)
            # Who is told twice may hear the second time when Python has put its handlers away.
            may = {0, -signal.SIGTERM} if host.age < YOUNG or host.told > 1 else {0}
            if host not in self._ending:
                may |= {*ENDS, -signal.SIGKILL} if time.monotonic() < self._calm_since + YOUNG else set()
            if status not in may:
                self.wrong.append(f'{host.name} ({host.way}) ended with {status} after {host.age:.1f} s')
            if host in self._ending:
                return
            await asyncio.sleep(0.05)
            if host in self._ending:
                return
            await host.start()

    def _pick(self, number: float, is_aimed_at: Callable[[Running], bool]) -> int | None:
        """Any process of those that do something, now and then of the last one that does; or a worker of something that
        is to be aimed at, mostly."""
        working = [host for host in self.all if host.is_at_work()]
        if len(working) < 2 and self._chance.random() < 0.7:
            # To be started takes its time, and who is killed before that has nothing to lose.
            return None
        pids = [pid for host in working for pid in host.pids()]
        assert self._journal.folder is not None
        if self._chance.random() < AIMED:
            aims = [one.worker for one in running_in(self._journal.folder, pids) if is_aimed_at(one)]
            pids = [pid for pid in aims if pid in pids] or pids
        return pids[int(number * len(pids))] if pids else None

    # What a storm does

    async def kill_one(self, number: float) -> bool:
        """Kill any process of any tree, which a number from 0 to 1 tells."""
        # A lease that was just renewed shows whether it is kept to its end.
        if (pid := self._pick(number, lambda one: one.is_renewed)) is None:
            return False
        # Those below are ended by the system, or end because of it.
        for other in [*tree_of(pid)][1:]:
            self._journal.write('told', who=other)
        self._journal.write('kills', who=pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def pid_of_one(self, number: float) -> int | None:
        # What goes on for long in another process shows whether it is ended when its lease is lost.
        pid = self._pick(number, lambda one: one.is_long)
        if pid is not None:
            # So long a storm stops it.
            until = now() + self._lease * 1000 * (1.1 + number)
            self._journal.write('stops', who=pid, until=until)
        return pid

    async def tell_one(self, number: float) -> bool:
        """Have one end as service managers do; it is started again."""
        host = self.all[int(number * len(self.all))]
        if not host.is_at_work():
            return False
        host.told += 1
        for pid in host.pids():
            self._journal.write('told', who=pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(host.pid, signal.SIGTERM)
        return True

    async def move_clock(self, number: float) -> bool:
        """Set the clock of one forward or back, while it runs."""
        host = self._chance.choice(self.all)
        host.clock.jump(self._chance.choice([0.0, 3600.0, -3600.0, 2.0, -2.0, (number - 0.5) * 100]))
        return True

    # The end

    async def stop(self, hosts: list[Host], seconds: float) -> list[str]:
        """Let some come to their ends, each within so many seconds; who does not."""
        self._ending |= {*hosts}
        for host in hosts:
            host.told += 1
            for pid in host.pids():
                self._journal.write('told', who=pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(host.pid, signal.SIGTERM)
        late: list[str] = []
        for host in hosts:
            assert host.process is not None
            left = host.pids()[1:]
            try:
                await asyncio.wait_for(host.process.wait(), seconds)
            except asyncio.TimeoutError:
                late.append(f'{host.name} ({host.way}) did not end')
            late += [f'{host.name} ({host.way}) has left process {pid} behind' for pid in left if await _stays(pid)]
        return late

    async def kill(self) -> None:
        """End all that are left."""
        self._ending |= {*self.all}
        for host in self.all:
            for pid in host.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)


def _state_of(pid: int) -> str:
    return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]


async def _stays(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process is still there after so long."""
    for _ in range(int(seconds / 0.05)):
        try:
            if _state_of(pid) == 'Z':
                return False
        except OSError:
            return False
        await asyncio.sleep(0.05)
    return True


