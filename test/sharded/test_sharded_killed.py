"""Consumers of many shards that are killed at any moment: no task waits for ever, and none is lost."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.servers import RealServer
from support.sharding import NAME, open_one

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

CONSUMER = """
import asyncio, sys
import redis.asyncio
from torrelque.sharded import Sharded

async def consume(queue):
    while True:
        task_id, task = await queue.dequeue()
        await queue.release(task_id)

async def main():
    async with redis.asyncio.Redis(unix_socket_path=sys.argv[1]) as client, Sharded(client, queue=sys.argv[2]) as queue:
        queue.task_timeout = 1
        print('there', flush=True)
        await asyncio.gather(*(consume(queue) for _ in range(5)))

asyncio.run(main())
"""


@pytest.fixture
def crew(server: RealServer) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that consume."""
    crew: list[subprocess.Popen[bytes]] = []
    yield crew
    for process in crew:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.mark.long
async def test_tasks_that_trickle_in_while_consumers_are_killed_are_all_done(
    server: RealServer, crew: list[subprocess.Popen[bytes]]
) -> None:
    chance = random.Random(7)

    def hire() -> None:
        command = [sys.executable, '-c', CONSUMER, server.socket, NAME]
        crew.append(subprocess.Popen(command, stdout=subprocess.PIPE))

    async with open_one(server, 12) as queue:
        await queue.ready()
        for _ in range(3):
            hire()
        for process in crew:
            assert process.stdout
            await asyncio.to_thread(process.stdout.readline)
        for n in range(300):
            await queue.enqueue(n, task_timeout=1)
            if n % 30 == 29:
                victim = chance.choice([process for process in crew if process.poll() is None])
                victim.send_signal(signal.SIGKILL)
                hire()
            await asyncio.sleep(0.01)
        while (await queue.get_queue_stats()).tasks:
            await asyncio.sleep(0.01)
        assert len(crew) == 13
