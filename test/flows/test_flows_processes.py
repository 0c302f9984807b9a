"""Flows in `torrelque run`, while its processes are killed; the producer knows no more than names."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from support.commanding import Command, Folder
from torrelque import Torrelque
from torrelque.flows import FlowFailedError, gather
from torrelque.tasks import Tasks

pytestmark = [pytest.mark.one_server, pytest.mark.long]

APP = """
    import asyncio
    import os
    import time

    from torrelque.tasks import Tasks, current

    app = Tasks.from_url(queue=os.environ['QUEUE'], name='shop')


    def tell(word):
        # All processes of a machine have one such clock.
        name = current().id.partition('.')[2]
        os.write(1, f'{word} {time.monotonic():.6f} {name} {current().attempt}\\n'.encode())


    @app.task(name='unpack', task_timeout=1)
    async def unpack(count):
        tell('begins')
        return [*range(count)]


    @app.task(name='thumbnail', task_timeout=1, max_attempts=-1)
    async def thumbnail(number):
        tell('begins')
        await asyncio.sleep(0.05)
        tell('ends')
        return number * number


    @app.task(name='gallery', task_timeout=1, max_attempts=-1)
    def gallery(numbers):
        tell('begins')
        time.sleep(0.05)
        tell('ends')
        return sum(numbers)


    @app.task(name='remove', task_timeout=1, max_attempts=-1)
    async def remove(count):
        tell('begins')
        return count


    @app.task(name='fail', task_timeout=1, max_attempts=1)
    async def fail(value):
        if not os.path.exists('mended'):
            raise ValueError('not mended')
        return value
"""

COUNT = 60


def told(commands: list[Command]) -> list[tuple[str, float, str, int]]:
    """What functions have told: word, time, name, attempt."""
    lines = [line.split() for command in commands for line in command.out if line.strip()]
    return [(line[0], float(line[1]), line[2], int(line[3])) for line in lines if line[0] in ('begins', 'ends')]


async def test_a_flow_comes_to_its_end_while_processes_are_killed(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    shell = Tasks(queue)
    unpack, thumbnail, gallery, remove = (
        shell.named(name, task_timeout=1) for name in ('unpack', 'thumbnail', 'gallery', 'remove')
    )
    thumbnails = unpack.s(COUNT).map(thumbnail, limit=8)
    page = thumbnails >> gallery
    gather(thumbnails, page).at_end(remove.s(COUNT))
    handle = await page.enqueue()
    commands: list[Command] = []
    with contextlib.ExitStack() as stack:
        blocks: list[Any] = []

        def begin() -> contextlib.ExitStack:
            block = stack.enter_context(contextlib.ExitStack())
            commands.append(block.enter_context(folder.command('run', 'shop:app')))
            return block

        blocks = [begin(), begin()]
        killed = 0
        async for progress in handle.watch(120):
            ended = progress.total - progress.left
            if progress.total > COUNT and ended >= 12 * (killed + 1) and killed < 4:
                # The whole group of processes is killed, in the midst of whatever they do.
                blocks[killed % 2].close()
                blocks[killed % 2] = begin()
                killed += 1
        assert await handle.result(60) == sum(number * number for number in range(COUNT))
        assert await handle.task('remove').result(60) == COUNT
    assert killed == 4
    found = told(commands)
    ends = {name: at for word, at, name, _ in found if word == 'ends'}
    assert {f'thumbnail.{number}' for number in range(COUNT)} <= {*ends}
    # Nothing of the gallery began before the last of its parts had ended, nor the clean-up before the gallery had.
    first_ends = {name: at for word, at, name, _ in reversed(found) if word == 'ends'}
    parts = [first_ends[f'thumbnail.{number}'] for number in range(COUNT)]
    begun = {
        which: min(at for word, at, name, _ in found if word == 'begins' and name == which)
        for which in ('gallery', 'remove')
    }
    assert max(parts) < begun['gallery'] < begun['remove']
    # No attempt was handed out twice.
    attempts = [(name, attempt) for word, _, name, attempt in found if word == 'begins']
    assert len(attempts) == len({*attempts})
    assert (await handle.progress())[1:] == (0, 0, 0)


async def test_a_flow_that_stands_still_is_mended_and_redriven(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    shell = Tasks(queue)
    unpack, fail, gallery = (shell.named(name) for name in ('unpack', 'fail', 'gallery'))
    numbers = unpack.s(4)
    handle = await (gather(fail.s(1), fail.s(2), numbers.map(shell.named('thumbnail'))) >> gallery).enqueue()
    with folder.command('run', 'shop:app'):
        with pytest.raises(FlowFailedError, match=r'stands still: .*ValueError: not mended'):
            await handle.result(60)
        while (await handle.progress()).dead < 2:
            await asyncio.sleep(0.05)
        folder.write('mended', '')
        assert await shell.flow(handle.id).redrive() == 2
        assert await handle.result(60) == 1 + 2 + 0 + 1 + 4 + 9
