"""Actors in processes of their own.

    python -m proof.chaos.workload JSON

runs one of the kind, the address, the queue, the history file and the seed that the JSON tells, until its standard
input is closed or it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proof.actors import Actor, Work
from proof.history import Recorder
from proof.peers import FAILURES, Ours, Peer, connect
from proof.pulse import Pulse
from proof.standstill import Watchman
from support.processes import TEST, environment

if TYPE_CHECKING:
    from proof.chaos.workers import Worked


WORKLOAD = 'proof.chaos.workload'


class Child:
    """An actor in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, module: str = WORKLOAD, python: str = sys.executable, **what: Any) -> Child:
        """Start it: kind, address, queue, history, seed; see `_run`."""
        pipe = asyncio.subprocess.PIPE
        stdout = None if module == WORKLOAD else pipe
        # Another Python has a queue of its own, which one of this Python's places would hide.
        places = sys.path if python == sys.executable else []
        return cls(
            await asyncio.create_subprocess_exec(
                python, '-m', module, json.dumps(what), stdin=pipe, stdout=stdout, cwd=TEST, env=environment(*places)
            )
        )

    async def stop(self) -> int:
        """Let it come to its end; its exit status."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return await self.process.wait()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Reporter(logging.Handler):
    """Writes down of which tasks the log says that they are damaged."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        """Reports name the queue, then the task."""
        if str(record.msg).startswith('queue %r: task %r ') and isinstance(record.args, tuple):
            self._recorder.report(str(record.args[1]))


class Listener(logging.Handler):
    """What a worker logs with a traceback is a fault, unless the faults of the run explain it."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one."""
        exc = record.exc_info and record.exc_info[1]
        if getattr(record, 'event', '') in ('task_failed', 'task_dead', 'task_lost'):
            return  # of an attempt that was to fail
        if exc and not isinstance(exc, FAILURES):
            self._recorder.trouble(7, f'a worker logged {record.getMessage()!r}: {exc!r}')


def begin_process(what: dict[str, Any], recorder: Recorder) -> None:
    """What a process does first: write down what is reported, and have a clock that may be wrong."""
    logger = logging.getLogger('torrelque')
    logger.addHandler(Reporter(recorder))
    logger.propagate = False
    logging.getLogger('asyncio').addHandler(logging.NullHandler())
    logging.getLogger('asyncio').propagate = False
    if skew := what.get('skew'):
        time.time = _skewed(skew)


def make_watchman(what: dict[str, Any], recorders: Sequence[Recorder]) -> Watchman:
    """Who looks on in a process, when the faults are over, at those who write down here what they are handed."""
    place = what['watch']
    # The line to the server is in the process that has started this one.
    pulse = Pulse([os.getppid()]).start()
    count = functools.partial(_count_hands, recorders)
    return Watchman(Path(place['path']), pulse, place['socket'], place['prefix'], count)


def _count_hands(recorders: Sequence[Recorder]) -> int:
    return sum(recorder.hands for recorder in recorders)


def make_peer(what: dict[str, Any], client: Any) -> Peer:
    """The queue of a process."""
    if what.get('peer', 'ours') == 'ours':
        return Ours(client, what['queue'])
    peer: Peer = importlib.import_module(f'proof.{what["peer"]}').Reference(client, what['queue'])
    return peer


def make_actor(what: dict[str, Any], client: Any, recorder: Recorder) -> Actor:
    """Somebody with the queue of the process."""
    return Actor(make_peer(what, client), recorder, what['seed'], Work(**what.get('work', {})))


def make_worker(what: dict[str, Any], client: Any, number: int = 0) -> Worked:
    """A consumer that is a worker, with a history of its own."""
    # The queue that was there before has none.
    from proof.chaos.workers import Worked

    who = f'{what["who"]}-worker{number}'
    path = Path(what['history']).with_name(who)
    return Worked(client, what['queue'], path, who, what['seed'] + number, Work(**what.get('work', {})))


async def read_input() -> asyncio.StreamReader:
    """Standard input, without waiting for it."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _run(what: dict[str, Any]) -> int:
    recorder = Recorder(Path(what['history']), what['who'])
    begin_process(what, recorder)
    client = connect(what['address'])
    stopped = asyncio.Event()
    reader = await read_input()

    async def listen() -> None:
        await reader.read()
        stopped.set()
        actor.be_quick()
        if watchman is not None:
            watchman.start()

    actor = make_worker(what, client) if what['kind'] == 'worker' else make_actor(what, client, recorder)
    watchman = make_watchman(what, [actor.recorder]) if 'watch' in what else None
    listener = asyncio.ensure_future(listen())
    if what['kind'] == 'consumer':
        calls = [actor.consume(stopped.is_set) for _ in range(what.get('loops', 5))]
    elif what['kind'] == 'worker':
        calls = [actor.consume(stopped.is_set)]
    else:
        calls = [actor.produce(itertools.count(what['first']), stopped.is_set, what['who'])]
    await asyncio.gather(*calls)
    await listener
    if watchman is not None:
        await watchman.stop()
    await actor.peer.aclose()
    await client.aclose()
    for trouble in actor.troubles:
        print(f'{what["who"]}: {trouble!r}', file=sys.stderr)
    return 1 if actor.troubles else 0


def _skewed(seconds: float) -> Callable[[], float]:
    right = time.time
    return lambda: right() + seconds


if __name__ == '__main__':
    sys.exit(asyncio.run(_run(json.loads(sys.argv[1]))))
