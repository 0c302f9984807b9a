"""The server is killed under load, and comes back with what it kept.

    python -m proof.servers.restart --runs 500 --fsync always
    python -m proof.servers.restart --runs 500 --fsync everysec

With `everysec` and `no`, every other run is a crash of the whole machine: kill -9 alone loses next to nothing,
for what a process has written survives it.  It is played by cutting the append-only file to its length of some time
ago, in the middle of a write more often than not: the worst that the setting allows.

How much was lost is read from a mark, a key with the time that is written all along.  The file is in the order in which
the server worked, so what was answered before the mark that came back was sent has come back, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from proof.history import now
from proof.peers import FAILURES
from proof.servers import standing
from proof.servers.standing import Gap, Load, Outcome
from support.servers import RealServer

UNSYNCED = {'everysec': 1.0, 'no': 30.0}
"""s that a crash of the machine may lose at the end of the file."""


class Lengths:
    """How long the append-only file was when."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: list[tuple[float, Path, int]] = []

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[Lengths]:
        task = asyncio.ensure_future(self._watch())
        try:
            yield self
        finally:
            task.cancel()

    def cut(self, at: float) -> None:
        """Cut the file to what it was at a time (ms)."""
        before = [item for item in self._seen if item[0] <= at] or self._seen[:1]
        _, path, length = before[-1]
        os.truncate(path, length)

    async def _watch(self) -> None:
        while True:
            at, path = now(), self._file()
            if path is not None:
                self._seen.append((at, path, path.stat().st_size))
            await asyncio.sleep(0.01)

    def _file(self) -> Path | None:
        files = [*self._directory.glob('appendonly.aof'), *self._directory.glob('appendonlydir/*.incr.aof')]
        return next((path for path in files if path.is_file()), None)


async def _mark(server: RealServer) -> None:
    """Write the mark until the server is killed."""
    async with server.client(retry=None) as client:
        with contextlib.suppress(*FAILURES):
            while True:
                await client.set('mark', now())
                await asyncio.sleep(0.005)


async def run(chosen: argparse.Namespace, seed: int, directory: Path) -> Outcome:
    """One kill."""
    chance = random.Random(seed)
    data = directory / 'data'
    config = {'appendfsync': 'everysec' if chosen.fsync == 'none' else chosen.fsync}
    outcome = Outcome(disturbances=1)
    with RealServer(chosen.kind, config, directory=None if chosen.fsync == 'none' else data) as server:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.client()) for _ in range(3)]
            load = Load(directory, clients, 'restart', seed)
            stack.push_async_callback(load.aclose)
            lengths = await stack.enter_async_context(Lengths(data).watched())
            await load.start()
            marking = asyncio.ensure_future(_mark(server))
            await asyncio.sleep(chosen.seconds * chance.uniform(0.5, 0.7))
            machine = chosen.fsync in UNSYNCED and (chosen.crash == 'machine' or chosen.crash == 'half' and seed % 2)
            if chosen.fsync != 'none' and not machine and chance.random() < 0.3:
                await clients[0].execute_command('BGREWRITEAOF')
                await asyncio.sleep(chance.uniform(0, 0.05))
            await asyncio.to_thread(server.kill)
            struck = now()
            await marking
            # Answers that were on their way are read by now.
            await asyncio.sleep(0.05 + chance.uniform(0, 0.3))
            if machine:
                lengths.cut(struck - UNSYNCED[chosen.fsync] * 1000 * chance.random())
            await _recover(chosen, server, load, struck, outcome)
    return outcome


async def _recover(
    chosen: argparse.Namespace, server: RealServer, load: Load, struck: float, outcome: Outcome
) -> None:
    dead = now()
    await asyncio.to_thread(server.start)
    recovered = now()
    with server.sync_client() as link:
        mark = await asyncio.to_thread(link.get, 'mark')
        history = await standing.finish(outcome, load, link, chosen.seconds * 0.3)
    gap = None if chosen.fsync == 'always' else Gap(float(mark or 0), dead)
    standing.judge_recovery(outcome, history, struck, recovered)
    standing.judge(outcome, history, gap=gap, limited=mark is not None)


def main(arguments: list[str]) -> int:
    parser = standing.options(__doc__)
    settings = ['always', *UNSYNCED, 'none']
    parser.add_argument('--fsync', choices=settings, default='always', help='none is no append-only file at all')
    parser.add_argument('--crash', choices=['half', 'process', 'machine'], default='half', help='of what')
    return standing.drive(run, parser.parse_args(arguments))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
