"""Tasks that die, for tests of whoever is told of it."""

from __future__ import annotations

from typing import Any

from torrelque import Torrelque, TorrelqueTaskId


def unwilling(data: bytes) -> Any:
    raise ValueError('not mine')


async def die_by_lease(queue: Torrelque, task: Any = 'task', **options: Any) -> TorrelqueTaskId:
    """A task whose holder was killed, and that has no attempt left."""
    await queue.enqueue(task, max_attempts=1, task_timeout=0.001, **options)
    task_id, _ = await queue.dequeue()
    while not (await queue.sweep()).dead:
        pass
    return task_id


async def die_by_requeue(queue: Torrelque, task: Any = 'task', **options: Any) -> TorrelqueTaskId:
    """A task that was given back, and has no attempt left."""
    await queue.enqueue(task, max_attempts=1, **options)
    task_id, _ = await queue.dequeue()
    assert await queue.requeue(task_id)
    return task_id


async def untold(queue: Torrelque) -> set[bytes]:
    return {*await queue.command('ZRANGE', queue.keys['untold'], 0, -1)}
