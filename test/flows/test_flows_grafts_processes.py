"""Functions that return flows, in `torrelque run`, while its processes are killed."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from support.commanding import Command, Folder
from torrelque import Torrelque
from torrelque.flows import FlowHandle
from torrelque.tasks import Tasks

pytestmark = [pytest.mark.one_server, pytest.mark.long]

APP = """
    import asyncio
    import os
    import random
    import signal
    import zlib

    from torrelque.flows import Step, gather, given
    from torrelque.tasks import Tasks, Work, current

    app = Tasks.from_url(queue=os.environ['QUEUE'], name='shop')


    def die():
        # Some first attempts take their process along, before a function has returned or a moment later, as its task is
        # settled.
        name = current().id.partition('.')[2]
        if current().attempt == 1 and zlib.crc32(name.encode()) % 16 == 1:
            delay = random.choice([0, 0, 0.0005, 0.001, 0.002])
            kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
            asyncio.get_running_loop().call_later(delay, kill) if delay else kill()


    @app.task(name='fibonacci', task_timeout=1, max_attempts=-1)
    async def fibonacci(number: int) -> Work[int]:
        die()
        if number < 2:
            return given(number)
        return gather(fibonacci.s(number - 1), fibonacci.s(number - 2)) >> sum_up


    @app.task(name='sum_up', task_timeout=1, max_attempts=-1)
    async def sum_up(numbers: list[int]) -> int:
        die()
        return sum(numbers)


    @app.task(name='spread', task_timeout=1, max_attempts=-1)
    async def spread(count: int) -> Step[int]:
        die()
        return numbers.s(count).map(fibonacci) >> sum_up


    @app.task(name='numbers', task_timeout=1, max_attempts=-1)
    async def numbers(count: int) -> list[int]:
        die()
        return [*range(count)]


    @app.task(name='double', task_timeout=1, max_attempts=-1)
    async def double(number: int) -> int:
        return 2 * number
"""


async def test_places_are_taken_once_while_processes_are_killed(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    shell = Tasks(queue)
    spread, double = (shell.named(name, task_timeout=1) for name in ('spread', 'double'))
    flow: FlowHandle[Any] = await (spread.s(7) >> double).enqueue()
    alone = await spread.enqueue(6)
    with contextlib.ExitStack() as stack:
        commands: list[Command] = [
            stack.enter_context(folder.command('run', 'shop:app', '--processes', '2', '--concurrency', '4'))
            for _ in range(2)
        ]
        # 0 + 1 + 1 + 2 + 3 + 5 + 8, twice; and without the last of them.
        assert await flow.result(300) == 40
        assert await shell.flow(alone.id).result(300) == 12
    died = sum('SIGKILL' in line or 'has died' in line or 'killed' in line for each in commands for line in each.err)
    progress = await flow.progress()
    assert (progress.left, progress.dead, progress.failed) == (0, 0, 0)
    # A call gives its place away or has a result: nothing was there twice, and nothing is left.
    names = [outcome.name async for outcome in flow.outcomes()]
    assert len(names) == len({*names}) == progress.total
    calls = {name for name in names if name.rpartition('.')[2].partition('-')[0] in ('fibonacci', *map(str, range(7)))}
    # As many as the recursion has, 1 + 1 + 3 + 5 + 9 + 15 + 25, and the map.
    assert len(calls) == 60, sorted(calls)
    assert (await queue.get_queue_stats()).tasks == 0
    assert died
