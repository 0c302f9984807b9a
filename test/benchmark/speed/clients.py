"""What verbs cost the client in instructions, which are the same each time, however busy the machine is.

    python -m benchmark.speed.clients [FIGURE ...]

It needs valgrind, under which the process of the client runs; the server runs as it is.  With the root of another
checkout before this one's in ``PYTHONPATH``, it is the client of that one that is counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis.asyncio

from support.servers import RealServer
from torrelque import Torrelque

TASK = {'addr': 'user0000001@example.com', 'subj': 'x' * 20}
LOOPS = 100


async def by_loops(one: Callable[[], Awaitable[object]], count: int) -> None:
    async def loop() -> None:
        for _ in range(count // LOOPS):
            await one()

    await asyncio.gather(*(loop() for _ in range(LOOPS)))


async def enqueue(queue: Torrelque, count: int) -> None:
    await by_loops(lambda: queue.enqueue(TASK), count)


async def drain(queue: Torrelque, count: int) -> None:
    async def one() -> None:
        task_id, _ = await queue.dequeue()
        await queue.release(task_id)

    await by_loops(one, count)


async def enqueue_many(queue: Torrelque, count: int) -> None:
    await queue.enqueue_many([TASK] * count)


async def drain_many(queue: Torrelque, count: int) -> None:
    while count:
        taken = await queue.dequeue_many(250)
        count -= len(taken)
        await queue.release_many([task_id for task_id, _ in taken])


FIGURES: dict[str, tuple[Callable[[Torrelque, int], Awaitable[None]], int]] = {
    'enqueue': (enqueue, 4000),
    'drain': (drain, 4000),
    'enqueue_many': (enqueue_many, 20_000),
    'drain_many': (drain_many, 10_000),
}
"""What is done, and with how many tasks."""


async def serve(path: str, name: str) -> None:
    """The client's process: it says when it begins and when it is through, and waits to be told to go on."""
    do, count = FIGURES[name]
    async with redis.asyncio.Redis(unix_socket_path=path) as client, Torrelque(client, queue='counted') as queue:
        for number in (count // 5, count):
            if name.startswith('drain'):
                await enqueue_many(queue, number)
            if number == count:
                _wait('begins')
            await do(queue, number)
        _wait('through')


def _wait(word: str) -> None:
    print(word, flush=True)
    sys.stdin.readline()


def measure(name: str, path: str, home: str) -> float:
    """Instructions of each task."""
    command = ['valgrind', '--tool=callgrind', '--instr-atstart=no', f'--callgrind-out-file={home}/{name}']
    command += [sys.executable, '-m', 'benchmark.speed.clients', '--serve', path, name]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, 'PYTHONHASHSEED': '0'},
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    try:
        for word, controls in (('begins', 'instrumentation on'), ('through', 'dump')):
            assert child.stdout.readline().strip() == word
            control = ['vgdb', f'--pid={child.pid}', '--max-invoke-ms=1', '-c', *controls.split()]
            subprocess.run(control, check=True, capture_output=True)
            child.stdin.write('\n')
            child.stdin.flush()
        child.wait(60)
    finally:
        child.kill()
        child.wait()
    lines = Path(home, f'{name}.1').read_text(errors='replace').splitlines()
    total = next(line for line in lines if line.startswith(('totals:', 'summary:')))
    return int(total.split()[1]) / FIGURES[name][1]


def main(names: list[str]) -> None:
    with RealServer('valkey9') as server, server.sync_client() as client, tempfile.TemporaryDirectory() as home:
        path: str = client.connection_pool.connection_kwargs['path']
        print(json.dumps({name: round(measure(name, path, home)) for name in names}, indent=1))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--serve']:
        asyncio.run(serve(*sys.argv[2:]))
    else:
        main(sys.argv[1:] or [*FIGURES])
