"""Tasks that die, for tests of whoever is told of it."""

from __future__ import annotations

import asyncio
from typing import Any

from torrelque import Torrelque, TorrelqueTaskId
from torrelque.testing import Clock
from torrelque.worker import Delivery, Worker


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


class Heard:
    """A hook, and what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Delivery, BaseException]] = []
        self.called = asyncio.Event()

    def __call__(self, delivery: Delivery, error: BaseException) -> None:
        self.calls.append((delivery, error))
        self.called.set()

    @property
    def ids(self) -> list[str]:
        return [str(delivery.id) for delivery, _ in self.calls]

    async def wait(self) -> None:
        await asyncio.wait_for(self.called.wait(), 90)


async def ignore(delivery: Delivery) -> None:
    pass


async def told_later(queue: Torrelque) -> list[str]:
    """What is told of by others when whoever took it to tell of it has had his time."""
    await Clock(queue).move(61)
    heard = Heard()
    await Worker(queue, ignore, on_dead=heard, burst=True).run()
    return heard.ids
