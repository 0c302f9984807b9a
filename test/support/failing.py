"""Takes tasks and has them fail, and tells what their states say of it."""

from __future__ import annotations

from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTaskState


async def take(queue: Torrelque) -> TorrelqueTaskId:
    (taken, _), *_ = await queue.dequeue_many(1, 30)
    return taken


async def fail(queue: Torrelque, error: str = 'x') -> TorrelqueTaskId:
    """Take a task and give it back with an error."""
    taken = await take(queue)
    assert await queue.requeue(taken, error=error)
    return taken


def told(state: TorrelqueTaskState) -> list[tuple[int, str]]:
    return [(attempt.number, attempt.error) for attempt in state.history]
