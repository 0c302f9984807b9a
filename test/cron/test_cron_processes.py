"""`torrelque run` serves what its application declares, in several processes, while they are killed and begin again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from support.commanding import STOP, Command, Folder
from torrelque import Torrelque, TorrelqueLookupError, TorrelqueSchedule
from torrelque.tasks import Tasks

pytestmark = [pytest.mark.one_server, pytest.mark.long]

APP = """
    import os

    from torrelque.tasks import Tasks, current

    app = Tasks.from_url(queue=os.environ['QUEUE'], name='shop')


    @app.cron('* * * * * *', name='tick', overlap='allow', missed='all')
    @app.task(name='tick', task_timeout=2)
    async def tick():
        line = f'ran {current().scheduled.timestamp():.0f} {current().attempt} {os.getpid()}\\n'
        os.write(1, line.encode())
"""


async def fired(queue: Torrelque, count: int) -> TorrelqueSchedule:
    """Wait until the schedule has fired so often."""
    while True:
        with contextlib.suppress(TorrelqueLookupError):
            record = await queue.get_schedule('tick')
            if record.fired >= count:
                return record
        await asyncio.sleep(0.05)


def ran(commands: list[Command]) -> list[tuple[int, int]]:
    """Instant and attempt of each run."""
    lines = [line.split() for command in commands for line in command.out if line.startswith('ran ')]
    return [(int(line[1]), int(line[2])) for line in lines]


async def test_each_instant_fires_once_while_processes_are_killed_and_begin_again(
    queue: Torrelque, folder: Folder
) -> None:
    folder.write('shop.py', APP)
    commands: list[Command] = []
    with contextlib.ExitStack() as stack:
        blocks = []

        def begin(*more: str) -> contextlib.ExitStack:
            block = stack.enter_context(contextlib.ExitStack())
            commands.append(block.enter_context(folder.command('run', 'shop:app', *more)))
            return block

        blocks = [begin(), begin(), begin('--processes', '2')]
        for number in range(6):
            record = await asyncio.wait_for(fired(queue, 2 * number + 2), 90)
            # The whole group of processes is killed, in the midst of whatever they do.
            blocks[number % 3].close()
            blocks[number % 3] = begin()
        record = await asyncio.wait_for(fired(queue, record.fired + 4), 90)
        assert record.last is not None
        first, last = round(record.last) - record.fired + 1, round(record.last)
        # Of a task whose process was killed the lease comes to its end, and another one runs it.
        while not {*range(first, last + 1)} <= {instant for instant, _ in ran(commands)}:
            await asyncio.sleep(0.05)
        for command in commands[-3:]:
            command.send(STOP)
        for command in commands[-3:]:
            command.end()
    found = Counter(ran(commands))
    # No instant is left out from the first on, each was enqueued once, and each of its attempts was handed out once.
    assert min(instant for instant, _ in found) == first
    assert {*range(first, last + 1)} <= {instant for instant, _ in found}
    assert {run: count for run, count in found.items() if count > 1} == {}


async def test_a_shell_that_never_imported_the_code_adds_pauses_and_removes(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    with folder.command('run', 'shop:app') as command:
        await asyncio.wait_for(fired(queue, 1), 90)
        shell = Tasks(queue)
        await shell.schedules.pause('tick')
        await shell.schedules.every('by hand', 0.2, shell.named('tick').s(), overlap='allow')
        # What is declared fires on whole seconds only, and is paused.
        command.wait_for(r'ran \d+', 10)
        assert await shell.schedules.remove('by hand')
        handle = await shell.schedules.fire('tick')
        await handle.result(60)
        command.send(STOP)
        command.end()
