"""Tasks that failed, for tests of whoever looks at errors and acts on many tasks at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from torrelque import Torrelque, TorrelqueTaskId


async def hand_out(queue: Torrelque, count: int) -> list[TorrelqueTaskId]:
    """Take so many tasks, in their order."""
    held: list[TorrelqueTaskId] = []
    while len(held) < count:
        held += [task_id for task_id, _ in await queue.dequeue_many(count - len(held), timeout=60)]
    return held


async def work_on(queue: Torrelque, tasks: Sequence[Any], **options: Any) -> list[TorrelqueTaskId]:
    """Enqueue tasks, and take them."""
    await queue.enqueue_many(tasks, **options)
    return await hand_out(queue, len(tasks))


async def die(
    queue: Torrelque,
    tasks: Sequence[Any] | int,
    error: str | Callable[[int], str] | None = 'ValueError: 1',
    **options: Any,
) -> list[str]:
    """Tasks that are dead: their ids, in the order of their death."""
    tasks = [{'task': 'send', 'args': [n]} for n in range(tasks)] if isinstance(tasks, int) else tasks
    held = await work_on(queue, tasks, **options)
    await bury(queue, held, error)
    return [*map(str, held)]


async def bury(
    queue: Torrelque, held: Sequence[TorrelqueTaskId], error: str | Callable[[int], str] | None = 'ValueError: 1'
) -> None:
    for start in range(0, len(held), 250):
        some = held[start : start + 250]
        errors = [error(start + n) if callable(error) else error for n in range(len(some))]
        done = await asyncio.gather(
            *(queue.bury(task_id, error=why) for task_id, why in zip(some, errors, strict=True))
        )
        assert all(done)


def traceback_of(*frames: tuple[str, str], error: str = 'ValueError: 1', line: int = 7) -> str:
    """A traceback as Python writes it, of frames from the outermost to the innermost: file and function."""
    lines = [
        text
        for file, function in frames
        for text in (f'  File "{file}", line {line}, in {function}', '    call()', '    ~~~~^^')
    ]
    return '\n'.join(['Traceback (most recent call last):', *lines, error])
