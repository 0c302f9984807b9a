"""A consumer is killed, or stopped for longer than its leases, before and after each of its commands.

The consumer is a child process; what it sends goes through here, one command at a time, so it can be stopped exactly
before the server gets a command, and exactly after the server has carried it out and before the child has the reply.

- Killed (SIGKILL), its tasks are handed out again, once, when their leases have ended, in the order of their groups;
  what it had finished is not; nothing else is left of it.
- Stopped (SIGSTOP) until somebody else has taken its tasks over, and let go on (SIGCONT), it is refused and told so for
  each task that is not its own any more, and does not change one byte of them; what is still its own goes through.

    python -m proof.crash [--server KIND] [--seeds N] [--seed S] [--jobs J]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from model.model_checks import DUMP, Seen
from model.model_groups import CANCELLED, WORKING
from proof.crash.judging import Deliveries, check_leases, check_work_off
from proof.crash.run import LIMIT, Point, Run
from proof.crash.stories import LEASE, Calls, draw_story, stories
from proof.invariants import check_empty
from proof.layers import Found, FoundError, describe, drive
from support.processes import TEST, environment
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueQueueStats, TorrelqueTimeoutError


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
            *(sys.executable, '-m', 'proof.crash.child', path),
            stdin=asyncio.subprocess.PIPE,
            cwd=TEST,
            env=environment(*sys.path),
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
            return [describe(exc), *run.faults]

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
        got = await _take_until(other, lambda stats: stats.tasks == stats.dead)
        died = {*(await run.look()).dead}
        await other.redrive()
        got += await _take_until(other, lambda stats: stats.tasks == 0)
        run.faults += check_work_off(seen, got, died)
        for group in seen.limits:
            await other.set_limit(group or None)
        # The record of the last claim is acknowledged by that, and the bell left.
        await other.aclose()
        run.faults += map(str, check_empty(await run.look()))
        self.figures['tasks handed out again'] += len(got)

    async def _after_stop(self, run: Run, other: Torrelque) -> None:
        seen = await run.look()
        now = await self.now()
        ends = [end for end in seen.working.values() if end < now + 5000]
        await asyncio.sleep(max([0.0, *((end - now) / 1000 + 0.005 for end in ends)]))
        await other.sweep()
        got = []
        with contextlib.suppress(TorrelqueTimeoutError):
            while True:
                got += await other.dequeue_many(50, 0)
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

    async def _after_all(self, run: Run, other: Torrelque, got: Deliveries) -> None:
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


async def _take_until(other: Torrelque, over: Callable[[TorrelqueQueueStats], bool]) -> Deliveries:
    """Take and release tasks until the statistics say that it is over."""
    got: Deliveries = []
    began = time.monotonic()
    while not over(await other.get_queue_stats()):
        with contextlib.suppress(TorrelqueTimeoutError):
            some = await other.dequeue_many(3, 0.3)
            got += some
            for task_id, _ in some:
                if not await other.release(task_id):
                    raise FoundError(f'{task_id} could not be released')
        if time.monotonic() - began > LIMIT:
            raise FoundError(f'it is not over: {await other.get_queue_stats()}')
    return got


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
) -> Found:
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
    seeds = range(options.seed, options.seed + options.seeds)
    return drive(
        'crash points', options.server,
        lambda server: try_points(server, seeds, part=options.story, jobs=options.jobs),
    )  # fmt: skip
