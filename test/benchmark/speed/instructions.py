"""What a call costs the server, in instructions, and the client, in bytecodes, however busy the machine is.

    python -m benchmark.speed.instructions

It needs valgrind, which runs the server a hundred times slower and counts; the instructions are the same each time.  Of
the client, the bytecodes of Python count that a call takes in all frames, the event loop's among them: the fewest of
many calls, because the number of turns of the loop depends on when the reply comes.  A task has about 60 bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import redis
import redis.asyncio

import torrelque.sync
from benchmark.tables import Table, as_text
from support.servers import RealServer, binary_of
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.keys import make_keys
from torrelque.protocol.replies import Claimed, read_claim
from torrelque.protocol.transition import Transition

PAYLOAD = json.dumps({'addr': 'user0000001@example.com', 'subj': 'x' * 20})
FLOOR = 'a script of HSET and LPUSH, the floor'
CALLS = 300
BULKS = 20
CLIENT_CALLS = 40
# About what an enqueue writes.
WRITES = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) redis.call('LPUSH', KEYS[2], ARGV[1]) return 1"


class Counted:
    """A server under valgrind, and calls to it."""

    def __init__(self, folder: Path, server: subprocess.Popen[bytes], more: Sequence[str] = ()) -> None:
        self._folder = folder
        self._server = server
        self.client = redis.Redis(unix_socket_path=f'{folder}/socket', socket_timeout=60)
        self.keys = make_keys('counted')
        names = ('enqueue', 'claim', 'release', *more)
        self._transitions = {name: Transition(name, self.keys) for name in names}
        self._claims = 0
        self._taken: list[str] = []

    def wait(self) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                if time.monotonic() > until or self._server.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                break
        for transition in self._transitions.values():
            self.client.script_load(transition.script.text)

    def count(self, call: Callable[[], Any], times: int, tasks: int = 1) -> float:
        """Instructions of each task; the first calls do not count."""
        for _ in range(5):
            call()
        with self.counting():
            for _ in range(times):
                call()
        return self.counted() / times / tasks

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """What the server does meanwhile counts."""
        self._control('instrumentation on', 'zero')
        yield
        self._control('dump', 'instrumentation off')

    def counted(self) -> float:
        """Instructions of what was counted last."""
        last = max(self._folder.glob('out.*'), key=lambda path: path.stat().st_mtime_ns)
        totals = next(line for line in last.read_text().splitlines() if line.startswith(('totals:', 'summary:')))
        return int(totals.split()[1])

    def _control(self, *commands: str) -> None:
        words = [word for command in commands for word in ('-c', *command.split())]
        # A server that sleeps has to be woken for it, which by default is done after a tenth of a second.
        command = ['vgdb', f'--pid={self._server.pid}', '--max-invoke-ms=1', *words]
        subprocess.run(command, check=True, capture_output=True)

    def call(self, name: str, args: list[Any]) -> Any:
        """A call of a script."""
        transition = self._transitions[name]
        return self.client.execute_command('EVALSHA', transition.script.sha, 2, *transition.keys, '', *args)

    def enqueue(self, count: int) -> None:
        """Store so many plain tasks."""
        tasks = [word for _ in range(count) for word in (secrets.token_hex(16), PAYLOAD, '300000')]
        assert self.call('enqueue', ['', '2000', *tasks]) == b'ok'

    def claim(self, count: int) -> None:
        """Take so many tasks, which are there."""
        self._claims += 1
        record = f'{self.keys["claim"]}:counted:{self._claims}'
        reply = self.call('claim', ['', record, str(count), '0', '2000', str(BOUNDS.bulk_bytes)])
        claimed: Claimed = read_claim(reply)
        assert len(claimed.tasks) == count
        self._taken += [word for task_id, _ in claimed.tasks for word in (task_id, task_id.token, '')]

    def forget(self) -> None:
        """Forget what was taken, because the server has."""
        self._taken.clear()

    def release(self, count: int) -> None:
        """Finish the first of what was taken."""
        some, self._taken = self._taken[: 3 * count], self._taken[3 * count :]
        assert self.call('release', [f'{self.keys["claim"]}:counted:1', *some]) == b'ok'


class Clocked(Counted):
    """A server as it is, whose processor time counts instead; only on Linux."""

    _spent = 0.0

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        began = self._clock()
        yield
        self._spent = self._clock() - began

    def counted(self) -> float:
        """s of what was counted last."""
        return self._spent

    def _clock(self) -> float:
        # The clock of another process, as the system makes its number of that of the process.
        return time.clock_gettime(~self._server.pid << 3 | 2)


@contextlib.contextmanager
def counted_server(*more: str, clocked: bool = False) -> Iterator[Counted]:
    """A server under valgrind that knows the scripts of plain calls, and more; or one whose processor time counts."""
    with tempfile.TemporaryDirectory() as home:
        tool = ['valgrind', '--tool=callgrind', '--instr-atstart=no', f'--callgrind-out-file={home}/out']
        command = [] if clocked else tool
        command += [str(binary_of('valkey9')), '--port', '0', '--unixsocket', f'{home}/socket', '--dir', home]
        command += ['--save', '', '--hz', '1']
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        try:
            counted = (Clocked if clocked else Counted)(Path(home), server, more)
            counted.wait()
            yield counted
        finally:
            server.kill()
            server.wait()


def measure() -> Table:
    counts: dict[str, float] = {}
    with counted_server() as counted:
        client = counted.client
        counts['PING'] = counted.count(client.ping, CALLS)
        nothing, floor = client.script_load('return 1'), client.script_load(WRITES)
        for keys in (2, 18):
            words = ['EVALSHA', nothing, keys, *(f'{{counted}}:key{number}' for number in range(keys))]
            call = functools.partial(client.execute_command, *words)
            counts[f'a script that does nothing, {keys} keys'] = counted.count(call, CALLS)

        def write() -> None:
            client.execute_command('EVALSHA', floor, 2, 'tasks', 'pending', secrets.token_hex(16), PAYLOAD)

        counts[FLOOR] = counted.count(write, CALLS)
        client.flushall()
        for size, times in ((1, CALLS), (BOUNDS.bulk, BULKS)):
            counted.enqueue(BOUNDS.bulk)
            for what in (counted.enqueue, counted.claim, counted.release):
                title = f'{what.__name__}, {size} in a call: each task'
                counts[title] = counted.count(functools.partial(what, size), times, size)
            client.flushall()
    rows = [[title, f'{count:,.0f}', f'{count / counts[FLOOR]:.2f}'] for title, count in counts.items()]
    return Table('What it costs the server', ['', 'instructions', 'by comparison with the floor'], rows)


# The client


def bytecodes_of(call: Callable[[], Any]) -> int:
    """How many bytecodes of Python a call takes, in this thread."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == 'opcode':
            count += 1
        return trace

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def fewest(call: Callable[[], Any]) -> int:
    """The fewest bytecodes of a call that is made again and again; the first calls do not count."""
    for _ in range(3):
        call()
    return min(bytecodes_of(call) for _ in range(CLIENT_CALLS))


def measure_client() -> Table:
    """Verbs of both queues, one by one and in bulk."""
    task = {'addr': 'user0000001@example.com', 'subj': 'x' * 20}
    with RealServer('valkey9') as server:
        with server.sync_client() as client, torrelque.sync.Torrelque(client, queue='threads') as queue:
            threads = {name: fewest(call) for name, call in _verbs(queue, task, lambda result: result).items()}

        async def open_queue() -> tuple[redis.asyncio.Redis, torrelque.Torrelque]:
            client = server.client()
            return client, torrelque.Torrelque(client, queue='asyncio')

        with contextlib.closing(asyncio.new_event_loop()) as loop:
            others, own = loop.run_until_complete(open_queue())
            coroutines = {name: fewest(call) for name, call in _verbs(own, task, loop.run_until_complete).items()}
            loop.run_until_complete(own.aclose())
            loop.run_until_complete(others.aclose())
    counts = {name: (coroutines[name], threads[name]) for name in threads}
    rows = [
        [name, *(f'{count / (BOUNDS.bulk if "many" in name else 1):,.0f}' for count in both)]
        for name, both in counts.items()
    ]
    return Table('What it costs the client, in bytecodes: each task', ['', 'asyncio', 'threads'], rows)


def _verbs(queue: Any, task: Any, run: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """Calls of a queue, each of which leaves it as the next one needs it."""
    taken: list[Any] = []

    def enqueue() -> None:
        run(queue.enqueue(task))

    def dequeue() -> None:
        taken.append(run(queue.dequeue())[0])

    def touch() -> None:
        run(queue.touch(taken[-1]))

    def release() -> None:
        run(queue.release(taken.pop()))

    def enqueue_many() -> None:
        run(queue.enqueue_many([task] * BOUNDS.bulk))

    def dequeue_many() -> None:
        taken.extend(task_id for task_id, _ in run(queue.dequeue(max_tasks=BOUNDS.bulk)))

    def release_many() -> None:
        run(queue.release_many([taken.pop() for _ in range(BOUNDS.bulk)]))

    calls = [enqueue, dequeue, touch, release, enqueue_many, dequeue_many, release_many]
    return {call.__name__: call for call in calls}


if __name__ == '__main__':
    print('\n'.join(as_text([measure(), measure_client()])))
