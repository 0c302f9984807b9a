"""The primary of a Sentinel set is killed under load, and its replica takes over.

    python -m proof.servers.failover --runs 100

In every other run the replica lags: what it is sent is held on the way for a while, and lost with the primary.
Replication is asynchronous, so the replica may not have what was answered last.  What it certainly has is told by
`WAIT`, from time to time: on one connection, a write of its own, then ``WAIT 1``.  Replication is one stream in one
order, so a replica that has this write has all that was answered, to anybody, before it was sent.  That must survive,
and nothing may be lost but what was answered later.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from proof.history import History, now
from proof.peers import FAILURES
from proof.servers import standing
from proof.servers.standing import Gap, Load, Outcome
from support.servers import free_port
from support.topology import Sentinel, start_sentinel


class Relay:
    """A line from a primary to its replica that holds back for `delay` (s) what the primary sends."""

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.port = free_port()
        self._primary = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        self._server = await asyncio.start_server(self._serve, '127.0.0.1', self.port)
        try:
            yield self
        finally:
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Close the line; what is held is lost."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_primary, to_primary = await asyncio.open_connection('127.0.0.1', self._primary)
        self._writers += [writer, to_primary]
        for call in (self._forward(reader, to_primary), self._hold(from_primary, writer)):
            task = asyncio.ensure_future(call)
            self._tasks.add(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        last = 0.0
        while data := await reader.read(1 << 16):
            # In order, also after the delay was made shorter.
            last = max(last, loop.time() + self.delay)
            loop.call_at(last, self._pass, writer, data)

    @staticmethod
    def _pass(writer: asyncio.StreamWriter, data: bytes) -> None:
        if not writer.transport.is_closing():
            writer.write(data)


class Confirmer:
    """Knows up to when a replica has what was answered."""

    def __init__(self, client: Any) -> None:
        self.until = 0.0
        """Whatever was answered before (ms)."""
        self.over = False
        self._client = client

    async def ask(self, timeout: float) -> None:
        """Ask once; `timeout` in s."""
        asked = now()
        # Without a transaction, in which WAIT would not wait; a pipeline has one connection for both.
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.set('confirmed', asked)
            pipe.execute_command('WAIT', 1, int(timeout * 1000))
            _, replicas = await pipe.execute()
        if replicas:
            self.until = max(self.until, asked)

    @contextlib.asynccontextmanager
    async def asking(self, timeout: float) -> AsyncIterator[None]:
        """Ask again and again until `over`, which it comes to by itself: the client library may swallow a cancellation
        while it connects anew."""

        async def ask() -> None:
            while not self.over:
                with contextlib.suppress(*FAILURES):
                    await self.ask(timeout)
                await asyncio.sleep(0.02)

        task = asyncio.ensure_future(ask())
        try:
            yield
        finally:
            self.over = True
            await task

    def mark(self, history: History) -> None:
        """Write down which tasks are confirmed."""
        for story in history.stories.values():
            for act in story.enqueues:
                if act.is_done and act.ended is not None and act.ended < self.until:
                    act.info['confirmed'] = True


@contextlib.asynccontextmanager
async def started_sentinel(kind: str) -> AsyncIterator[Sentinel]:
    with contextlib.ExitStack() as stack:
        sentinel = await asyncio.to_thread(stack.enter_context, start_sentinel(kind))
        yield sentinel
        await sentinel.aclose()


async def put_between(sentinel: Sentinel, relay: Relay, seconds: float) -> None:
    """Put the relay between the primary and its replica."""

    def attach() -> None:
        with sentinel.replica.sync_client() as link:
            link.execute_command('REPLICAOF', '127.0.0.1', relay.port)
            while link.info('replication')['master_link_status'] != 'up':
                pass

    await asyncio.to_thread(attach)
    relay.delay = seconds


async def run(chosen: argparse.Namespace, seed: int, directory: Path) -> Outcome:
    """One failover."""
    chance = random.Random(seed)
    lag = chance.uniform(0.1, 0.5) if chosen.lag == 'yes' or chosen.lag == 'half' and seed % 2 else 0.0
    async with started_sentinel(chosen.kind) as sentinel, contextlib.AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Relay(sentinel.primary.port).running())
        if lag:
            await put_between(sentinel, relay, lag)
        clients = [await stack.enter_async_context(sentinel.master_for()) for _ in range(4)]
        load = Load(directory, clients[:3], 'failover', seed)
        stack.push_async_callback(load.aclose)
        confirmer = Confirmer(clients[3])
        await load.start()
        await stack.enter_async_context(confirmer.asking(1 + 3 * lag))
        await asyncio.sleep(chosen.seconds * chance.uniform(0.5, 0.7))
        await asyncio.to_thread(sentinel.kill_primary)
        relay.cut()
        confirmer.over = True
        outcome = Outcome(disturbances=1)
        await _judge(chosen, sentinel, load, confirmer, outcome)
    return outcome


async def _judge(
    chosen: argparse.Namespace, sentinel: Sentinel, load: Load, confirmer: Confirmer, outcome: Outcome
) -> None:
    struck = now()
    await asyncio.sleep(0.05)
    gap = Gap(confirmer.until, now())
    await asyncio.to_thread(sentinel.wait_failover)
    recovered = now()
    with sentinel.replica.sync_client() as link:
        history = await standing.finish(outcome, load, link, chosen.seconds * 0.3)
    confirmer.mark(history)
    standing.judge_recovery(outcome, history, struck, recovered)
    standing.judge(outcome, history, gap=gap)


def main(arguments: list[str]) -> int:
    parser = standing.options(__doc__)
    parser.add_argument('--lag', choices=['half', 'yes', 'no'], default='half', help='runs with a lagging replica')
    return standing.drive(run, parser.parse_args(arguments))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
