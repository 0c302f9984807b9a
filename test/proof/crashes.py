"""A consumer is killed, or stopped for longer than its leases, before and after each of its commands.

The consumer is a child process; what it sends goes through here, one command at a time, so it can be stopped exactly
before the server gets a command, and exactly after the server has carried it out and before the child has the reply.

- Killed (SIGKILL), its tasks are handed out again, once, when their leases have ended, in the order of their groups;
  what it had finished is not; nothing else is left of it.
- Stopped (SIGSTOP) until somebody else has taken its tasks over, and let go on (SIGCONT), it is refused and told so for
  each task that is not its own any more, and does not change one byte of them; what is still its own goes through.

    python test/proof/crashes.py [--server KIND] [--seeds N] [--seed S] [--jobs J]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == '__main__':
    sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]

import hiredis

from crash_stories import LEASE, Calls, draw_story, stories
from invariants import check_empty, check_keys
from model_checks import DUMP, Seen, read_dump
from model_groups import CANCELLED, WORKING
from servers import RealServer
from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTimeoutError
from torrelque.protocol import load_script, pack, read_outcomes, text

LIMIT = 30.0
"""s that a run may wait for anything."""
SETTLING = {'release': 3, 'requeue': 4, 'touch': 4, 'bury': 3}
"""Transitions of a holder, and where the arguments of their tasks begin; see the scripts."""
NAMES = {
    load_script(name).sha: name
    for name in ('enqueue', 'claim', 'redrive', 'cancel', 'sweep', 'leave', 'stats', 'limit', 'advance', 'pause',
                 'resume', *SETTLING)
}  # fmt: skip

class FoundError(Exception):
    """Something that must not be."""


class Point(NamedTuple):
    """When a child is stopped, and how; without a signal it is not."""

    signal: signal.Signals | None = None
    number: int = 0
    after: bool = False

    def __str__(self) -> str:
        how = self.signal.name if self.signal else 'left alone'
        return f'{how} {"after" if self.after else "before"} command {self.number}'


# What a child sends


class Command(NamedTuple):
    """A script that settles tasks."""

    name: str
    resent: bool
    tasks: list[tuple[str, str]]
    """Ids and tokens."""


def read_settling(words: Sequence[bytes]) -> Command | None:
    """A command as a call of a holder, if it is one."""
    if words[0] not in (b'EVALSHA', b'EVAL'):
        return None
    name = NAMES.get(_hash_of(words), '')
    if name not in SETTLING:
        return None
    args = words[3 + int(words[2]) :]
    # The place of the last one tells how many arguments a task has; those of release that are kept have one more.
    width = {'release': 3, 'requeue': 7, 'touch': 4, 'bury': 4}[name]
    tasks, at = [], SETTLING[name] - 1
    while at < len(args):
        tasks.append((args[at].decode(), args[at + 1].decode()))
        at += width + (name == 'release' and args[at + 2] != b'')
    return Command(name, args[0] == b'1', tasks)


def name_of(words: Sequence[bytes]) -> str:
    """What a command is called in figures."""
    return NAMES.get(_hash_of(words), text(words[0]).lower())


def _hash_of(words: Sequence[bytes]) -> bytes:
    """The hash of the script that a command runs."""
    if words[0] == b'EVAL':
        return hashlib.sha1(words[1]).hexdigest().encode()
    return words[1] if words[0] == b'EVALSHA' else b''


def view(seen: Seen, task_id: str) -> tuple[Any, ...]:
    """All bytes of one task."""
    places = (seen.working, seen.delayed, seen.dead, seen.payloads, seen.states, seen.holders, seen.priority)
    waiting = [members.get(task_id) for members in seen.waiting.values()]
    return (*(place.get(task_id) for place in places), waiting, task_id in seen.pending, task_id in seen.turns)


def check_refusals(command: Command, outcomes: Sequence[Any], before: Seen, after: Seen) -> Iterator[str]:
    """Fencing: whether a call of a holder was done for the tasks that are its own, and did nothing to others."""
    own: set[str] = set()
    refused: dict[str, Any] = {}
    cleared = False
    for (task_id, token), outcome in zip(command.tasks, outcomes, strict=True):
        state = before.states.get(task_id, {})
        is_last = token == f'{state.get("dequeue_count")}-{state.get("last_dequeue_time")}' and task_id not in own
        is_own = is_last and state['status'] == WORKING
        if is_own is not (outcome in ('ok', 'dead')):
            yield f'{command.name} of {task_id} with {token} answered {outcome}, its state was {state}'
        if is_own:
            own.add(task_id)
        elif is_last and state['status'] == CANCELLED:
            cleared = True
        else:
            refused[task_id] = outcome
    for task_id, outcome in refused.items():
        # One who was handed the same task again may hold it by one token and not by the other.
        then, now = view(before, task_id), view(after, task_id)
        if task_id not in own and then != now:
            yield f'{command.name} of {task_id} was refused ({outcome}), and changed {then} to {now}'
    if not own and not cleared and _lasting(before) != _lasting(after):
        yield f'{command.name}, refused, changed {_lasting(before)} to {_lasting(after)}'


def _lasting(seen: Seen) -> Seen:
    # A call may take the record of a claim along, whose reply has come; and the bell is popped by who waits.
    names = seen.names - {'bell', 'claim'}
    return seen._replace(bell=[], records={}, lives={}, names=names)


# One child


class Run:
    """One child that makes the calls of a story, and what it told."""

    def __init__(self, rig: Rig, number: int, calls: Calls, point: Point) -> None:
        self.rig = rig
        self.calls = calls
        self.point = point
        self.queue = f'crash{number}'
        self.number = number
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
            outcomes = read_outcomes(reply, len(command.tasks))
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


# Many


class Rig:
    """A server, the process that children are forked from, and what was done with them."""

    def __init__(self, server: RealServer, home: str) -> None:
        self.server = server
        self.home = home
        self.figures: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.faults: list[str] = []
        self._runs: dict[int, Run] = {}
        self._numbers = iter(range(10**9))

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[Rig]:
        path = str(Path(self.home) / 'control')
        listener = await asyncio.start_unix_server(self._greet, path)
        self._nursery = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name('crash_child.py')), path, stdin=asyncio.subprocess.PIPE
        )
        try:
            async with self.server.client() as self.client:
                self.dump = self.client.register_script(DUMP)
                yield self
        finally:
            for run in self._runs.values():
                run.kill()
            assert self._nursery.stdin is not None
            self._nursery.stdin.close()
            await self._nursery.wait()
            listener.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = json.loads(await reader.readline())
            await self._runs[hello['run']].follow(hello['pid'], reader, writer)
        finally:
            writer.close()

    async def now(self) -> float:
        """The server's time (ms)."""
        seconds, micros = await self.client.time()
        return float(seconds * 1000 + micros / 1000)

    @contextlib.asynccontextmanager
    async def run(self, calls: Calls, point: Point) -> AsyncIterator[Run]:
        """Have a child make calls; at the end it is gone, and so are its keys."""
        number = next(self._numbers)
        run = self._runs[number] = Run(self, number, calls, point)
        try:
            async with run.listening():
                assert self._nursery.stdin is not None
                self._nursery.stdin.write(b'%d\n' % number)
                yield run
        finally:
            run.kill()
            del self._runs[number]
            keys = [key async for key in self.client.scan_iter(f'{{{run.queue}}}:*', count=1000)]
            if keys:
                await self.client.delete(*keys)

    # A point

    async def list_commands(self, calls: Calls) -> list[str]:
        """Which commands the calls are, when nothing happens."""
        async with self.run(calls, Point()) as run:
            await asyncio.wait_for(run.ended.wait(), LIMIT)
            if not run.events or 'bye' not in run.events[-1]:
                raise FoundError(f'the child failed: {run.events[-1:]}')
            return run.names

    async def try_point(self, calls: Calls, point: Point) -> list[str]:
        """Stop a child at one point; what is wrong then."""
        try:
            async with self.run(calls, point) as run:
                await asyncio.wait_for(run.stopped.wait(), LIMIT)
                if not run.reached:
                    # It was busy with something else this time.
                    self.figures['not reached'] += 1
                    return [*run.faults, *run.check_told()]
                async with Torrelque(self.client, queue=run.queue) as other:
                    if point.signal == signal.SIGKILL:
                        await asyncio.wait_for(run.ended.wait(), LIMIT)
                        await self._after_kill(run, other)
                    else:
                        await self._after_stop(run, other)
            self.figures[f'{point.signal.name} {"after" if point.after else "before"}'] += 1  # type: ignore[union-attr]
            self.points[run.reached] += 1
            return [*run.faults, *run.check_told()]
        except asyncio.TimeoutError:
            return [f'waited for {LIMIT} s: {run.events[-2:]}', *run.faults]
        except Exception as exc:
            return [str(exc) if isinstance(exc, FoundError) else repr(exc), *run.faults]

    async def _after_kill(self, run: Run, other: Torrelque) -> None:
        seen = await run.look()
        there = {int(payload) for payload in seen.payloads.values()}
        cancelled = {task_id for task_id in seen.working if seen.states[task_id]['status'] == CANCELLED}
        acknowledged, perhaps, finished, perhaps_finished = run.known_jobs()
        there -= {int(seen.payloads[task_id]) for task_id in cancelled}
        if lost := acknowledged - finished - perhaps_finished - there:
            run.faults.append(f'lost: {lost}')
        if odd := there - acknowledged - perhaps | there & finished:
            run.faults.append(f'there, and should not be: {odd}')
        await self._work_off(run, other, seen)

    async def _work_off(self, run: Run, other: Torrelque, seen: Seen) -> None:
        """Finish everything that is there: each task once, after its lease, in the order of its group."""
        await other.resume()
        for group in seen.paused:
            await other.resume(group or None)
        got = await _take_until(other, lambda stats: stats.tasks == stats.dead, self)
        died = {*(await run.look()).dead}
        await other.redrive()
        got += await _take_until(other, lambda stats: stats.tasks == 0, self)
        run.faults += check_work_off(seen, got, died)
        for group in seen.limits:
            await other.set_limit(group or None)
        await self._leave(other)
        run.faults += map(str, check_empty(await run.look()))
        self.figures['tasks handed out again'] += len(got)

    async def _leave(self, other: Torrelque) -> None:
        """Have the record of the last claim acknowledged, and the bell left."""
        await other.aclose()

    async def _after_stop(self, run: Run, other: Torrelque) -> None:
        seen = await run.look()
        now = await self.now()
        ends = [end for end in seen.working.values() if end < now + 5000]
        await asyncio.sleep(max([0.0, *((end - now) / 1000 + 0.005 for end in ends)]))
        await other.sweep()
        got = []
        with contextlib.suppress(TorrelqueTimeoutError):
            while True:
                got += await other.dequeue(0, max_tasks=50)
        run.faults += check_leases(seen, got)
        for task_id, _ in got:
            if not await other.touch(task_id, task_timeout=60):
                run.faults.append(f'{task_id} was handed out and is not the holder\'s')
        await run.look()

        run.resumed = True
        os.kill(run.pid, signal.SIGCONT)
        run.go_on.set()
        await asyncio.wait_for(run.ended.wait(), LIMIT)
        if 'bye' not in run.events[-1]:
            raise FoundError(f'it failed when it went on: {run.events[-1]}')
        await self._after_all(run, other, got)

    async def _after_all(self, run: Run, other: Torrelque, got: Sequence[tuple[TorrelqueTaskId, Any]]) -> None:
        """What was taken over is with who took it; then nothing is left."""
        seen = await run.look()
        for task_id, _ in got:
            cancelled = seen.states.get(task_id, {}).get('status', CANCELLED) == CANCELLED
            if await other.release(task_id) is cancelled:
                run.faults.append(f'the release of {task_id}, which was taken over, answered {cancelled}')
        seen = await run.look()
        for name in seen.working:
            # With the child, which has gone: its lease is ended by hand.
            if seen.states[name]['status'] == WORKING:
                await other.touch(name, task_timeout=0.001)
        await self._work_off(run, other, await run.look())


Deliveries = list[tuple[TorrelqueTaskId, Any]]


async def _take_until(other: Torrelque, over: Any, rig: Rig) -> Deliveries:
    """Take and release tasks until the statistics say that it is over."""
    got: Deliveries = []
    began = time.monotonic()
    while not over(await other.get_queue_stats()):
        with contextlib.suppress(TorrelqueTimeoutError):
            some = await other.dequeue(0.3, max_tasks=3)
            got += some
            for task_id, _ in some:
                if not await other.release(task_id):
                    raise FoundError(f'{task_id} could not be released')
        if time.monotonic() - began > LIMIT:
            raise FoundError(f'it is not over: {await other.get_queue_stats()}')
    return got


def _claimed(task_id: TorrelqueTaskId) -> float:
    """The server's time (ms) when a task was handed out."""
    return float(task_id.token.partition('-')[2])


def check_leases(seen: Seen, got: Iterable[tuple[TorrelqueTaskId, Any]]) -> Iterator[str]:
    """Nothing is handed out before the lease of the one before has ended."""
    for task_id, _ in got:
        end = seen.working.get(task_id)
        is_next = end is not None and task_id.attempt == int(seen.states[task_id]['dequeue_count']) + 1
        if end is not None and is_next and _claimed(task_id) < end:
            yield f'{task_id} was handed out {end - _claimed(task_id)} ms before its lease had ended'


def check_work_off(seen: Seen, got: Deliveries, died: set[str]) -> Iterator[str]:
    """What was there was handed out, once, as it was, and in the order of its group where that is strict."""
    expected = {task_id: int(payload) for task_id, payload in seen.payloads.items()}
    for task_id in seen.working:
        if seen.states[task_id]['status'] == CANCELLED:
            del expected[task_id]
    if sorted((str(task_id), job) for task_id, job in got) != sorted(expected.items()):
        yield f'{got} was handed out of {expected}'
    yield from check_leases(seen, got)
    for group in {state.get('group') for state in seen.states.values()} - {None}:
        assert group is not None
        if seen.limit(group) == 1:
            # Who was dead, or delayed before it was ever handed out, comes when it may.
            away = {*died, *seen.dead, *(i for i in seen.delayed if 'dequeue_count' not in seen.states[i])}
            orders = [int(seen.states[i]['order']) for i, _ in got if seen.group_of(i) == group and i not in away]
            if orders != sorted(orders):
                yield f'out of the order of group {group}: {got}'


async def _try_all(rig: Rig, told: dict[str, tuple[Calls, Calls]], first: str, jobs: int, step: int) -> None:
    """Each point of each story; with a step, only every so many of them."""
    places = asyncio.Semaphore(jobs)

    async def one(name: str, calls: Calls, point: Point) -> None:
        async with places:
            for fault in (await rig.try_point(calls, point))[:3]:
                rig.faults.append(f'{name}, {point}: {fault}')

    runs = []
    for name, (killed, stopped) in told.items():
        # The first makes the server load the scripts.
        commands = [await rig.list_commands(killed) for _ in range(2)][1]
        rig.figures['stories'] += 1
        points = [(k, after) for k in range(len(commands)) for after in (False, True)]
        if name != first:
            # How a connection begins is the same in all of them.
            points = [(k, after) for k, after in points if commands[k] not in ('hello', 'client')]
        for number, after in points[::step]:
            runs.append(one(name, killed, Point(signal.SIGKILL, number, after)))
            runs.append(one(name, stopped, Point(signal.SIGSTOP, number, after)))
    await asyncio.gather(*runs)


def try_points(
    server: RealServer, seeds: Sequence[int] = (), *, part: str = '', jobs: int = 16, step: int = 1
) -> tuple[dict[str, Any], list[str]]:
    """Stop children at all points of the stories, or of those drawn by seeds; figures, and what is wrong."""
    if seeds:
        told = {f'seed {s}': (draw_story(s, LEASE, 2 * LEASE), draw_story(s, LEASE, 60)) for s in seeds}
    else:
        killed, stopped = stories(LEASE, 2 * LEASE), stories(LEASE, 60)
        told = {name: (killed[name], stopped[name]) for name in killed}
    first = next(iter(told))

    async def run(home: str) -> Rig:
        async with Rig(server, home).started() as rig:
            await _try_all(rig, {name: told[name] for name in told if part in name}, first, jobs, step)
            return rig

    with tempfile.TemporaryDirectory(prefix='trq') as home:
        rig = asyncio.run(run(home))
    return {'points': sum(rig.points.values()), **rig.figures, 'at': dict(rig.points.most_common())}, rig.faults


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--server', default='valkey9')
    parser.add_argument('--seeds', type=int, default=0, help='stories to draw; without, those that are written down')
    parser.add_argument('--seed', type=int, default=1, help='the first')
    parser.add_argument('--story', default='', help='a part of the names of the stories to tell')
    parser.add_argument('--jobs', type=int, default=16, help='children at once')
    options = parser.parse_args(arguments)
    logging.getLogger('torrelque').addHandler(logging.NullHandler())
    began = time.monotonic()
    seeds = range(options.seed, options.seed + options.seeds)
    with RealServer(options.server) as server:
        figures, faults = try_points(server, seeds, part=options.story, jobs=options.jobs)
    for fault in faults:
        print(fault)
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({'layer': 'crash points', **figures, 'seconds': seconds, 'faults_found': len(faults)}))
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
