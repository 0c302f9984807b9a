"""One child and its line to the server, on which it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hiredis

from model.model_checks import Seen, read_dump
from proof.crash.commands import name_of, read_settling
from proof.crash.judging import check_refusals
from proof.crash.stories import Calls
from proof.invariants import check_keys
from torrelque.protocol.replies import read_outcomes
from torrelque.protocol.transition import pack

if TYPE_CHECKING:
    from proof.crash.crashes import Rig

LIMIT = 120.0
"""s that a run may wait for anything."""


class Point(NamedTuple):
    """When a child is stopped, and how; without a signal it is not."""

    signal: signal.Signals | None = None
    number: int = 0
    after: bool = False

    def __str__(self) -> str:
        how = self.signal.name if self.signal else 'left alone'
        return f'{how} {"after" if self.after else "before"} command {self.number}'


class Run:
    """One child that makes the calls of a story, and what it told."""

    def __init__(self, rig: Rig, number: int, calls: Calls, point: Point) -> None:
        self.rig = rig
        self.calls = calls
        self.point = point
        self.queue = f'crash{number}'
        self.pid = 0
        self.reached = ''
        """The command at which the child was stopped."""
        self.resumed = False
        self.stopping = False
        self.stopped = asyncio.Event()
        self.go_on = asyncio.Event()
        self.ended = asyncio.Event()
        self.events: list[dict[str, Any]] = []
        self.names: list[str] = []
        """Of the commands."""
        self.settled: defaultdict[tuple[str, str, str], list[bool]] = defaultdict(list)
        """What the server answered a holder, by verb, id and token."""
        self.faults: list[str] = []
        self._asked = 0
        """Commands that the server has not answered yet, but for the one that waits at the bell."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._path = str(Path(rig.home) / f'{number}.sock')

    # Between the child and the server

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        listener = await asyncio.start_unix_server(self._accept, self._path)
        try:
            yield
        finally:
            listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        server_reader, server_writer = await asyncio.open_unix_connection(self.rig.server.socket)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._forward(reader, writer, server_reader, server_writer)
        finally:
            writer.transport.abort()
            server_writer.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        requests = hiredis.Reader(notEnoughData=None)
        while data := await reader.read(1 << 20):
            requests.feed(data)
            while (words := requests.gets()) is not None:
                number = len(self.names)
                self.names.append(name_of(words))
                here = self.point.signal is not None and number == self.point.number
                if here and not self.point.after:
                    await self._stop(words)
                elif self.stopping:
                    # What was on its way over another connection is behind the stop.
                    await self.go_on.wait()
                at_once = words[0] != b'BLPOP'
                self._asked += at_once
                try:
                    reply = await self._ask(words, server_reader, server_writer)
                finally:
                    self._asked -= at_once
                if here and self.point.after:
                    await self._stop(words)
                writer.write(reply)
                await writer.drain()

    async def _ask(
        self, words: list[bytes], server_reader: asyncio.StreamReader, server_writer: asyncio.StreamWriter
    ) -> bytes:
        command = read_settling(words)
        before = await self.look() if command and self.resumed else None
        server_writer.write(pack(words))
        replies = hiredis.Reader(notEnoughData=NOTHING)
        raw = b''
        while (reply := replies.gets()) is NOTHING:
            data = await server_reader.read(1 << 20)
            if not data:
                raise ConnectionResetError
            raw += data
            replies.feed(data)
        if command and not isinstance(reply, hiredis.ReplyError):
            outcomes = read_outcomes(command.name, reply, len(command.tasks))
            for (task_id, token), outcome in zip(command.tasks, outcomes, strict=True):
                self.settled[command.name, task_id, token].append(outcome in ('ok', 'dead'))
            if before is not None and not command.resent:
                done = sum(outcome in ('ok', 'dead') for outcome in outcomes)
                self.rig.figures['settled by right'] += done
                self.rig.figures['refused'] += len(outcomes) - done
                self.faults += check_refusals(command, outcomes, before, await self.look())
        return raw

    async def _stop(self, words: list[bytes]) -> None:
        assert self.point.signal is not None
        self.reached = name_of(words)
        self.stopping = True
        os.kill(self.pid, self.point.signal)
        while _state_of(self.pid) not in ('T', 'Z', '') or self._asked:
            await asyncio.sleep(0.001)
        self.stopped.set()
        await self.go_on.wait()

    # The child

    async def follow(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell a child that was started what to do, and take down what it tells."""
        self.pid = pid
        order = {'path': self._path, 'queue': self.queue, 'calls': self.calls}
        writer.write(json.dumps(order).encode() + b'\n')
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self.events.append(json.loads(line))
        self.ended.set()
        self.stopped.set()

    def kill(self) -> None:
        if self.pid and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def look(self) -> Seen:
        """What is there of the queue, in order at any time."""
        seen = read_dump(await self.rig.dump(args=[f'{{{self.queue}}}:']))
        self.faults += map(str, check_keys(seen))
        return seen

    # What it told

    def told(self) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Each call with what it answered, None where that was not heard of."""
        ends = {event['ended']: event for event in self.events if 'ended' in event}
        for event in self.events:
            if 'begun' in event:
                yield event, ends.get(event['begun'])

    def known_jobs(self) -> tuple[set[int], set[int], set[int], set[int]]:
        """Jobs that were acknowledged, those that may be in besides; that are finished, that may be."""
        acknowledged: set[int] = set()
        perhaps: set[int] = set()
        finished: set[int] = set()
        perhaps_finished: set[int] = set()
        for begin, end in self.told():
            if begin['verb'] not in ('enqueue', 'release', 'cancel'):
                continue
            for k, job in enumerate(begin['jobs']):
                if begin['verb'] == 'enqueue':
                    (perhaps if end is None else acknowledged).add(job)
                elif end is None:
                    perhaps_finished.add(job)
                elif end['done'][k]:
                    finished.add(job)
        return acknowledged, perhaps, finished, perhaps_finished

    def check_told(self) -> Iterator[str]:
        """What a holder was answered is what it was told, and a refusal is in the log."""
        for event in self.events:
            if 'error' in event:
                yield f'the child failed: {event["error"]}'
        for begin, end in self.told():
            if end is None or 'tokens' not in begin:
                continue
            for (task_id, token), done in zip(begin['tokens'], end['done'], strict=True):
                answers = self.settled[begin['verb'], task_id, token]
                if not answers or answers.pop(0) is not done:
                    yield f'{begin["verb"]} of {task_id} with {token} told {done}'
                if not done and not any(task_id in warning for warning in end['warnings']):
                    yield f'{begin["verb"]} of {task_id} was refused without a warning'


NOTHING = object()


def _state_of(pid: int) -> str:
    """The state of a process, as Linux has it; '' when it is gone."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2][0]
    except OSError:
        return ''
