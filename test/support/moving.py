"""Groups and ids that come to new shards: names of such, queues that go by an old map, and steps that end too early."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from support.sharding import NAME
from torrelque.sharded import Sharded, grow, moving
from torrelque.sharded.shards import keyed_by


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the map does so often, so that tests need not wait for half a minute."""
    monkeypatch.setattr(grow, 'EVERY', 0.1)
    monkeypatch.setattr(grow, 'KNOWN', 0.02)
    monkeypatch.setattr(grow, 'LOOK', 0.01)


def goes(name: str = 'group') -> str:
    """A name of a group, or an id, that is in the first of two shards and comes to the third of four."""
    return next(it for k in range(10_000) if (keyed_by(it := f'{name}-{k}', 2), keyed_by(it, 4)) == (0, 2))


def stays(name: str = 'group') -> str:
    """One that stays in the first."""
    return next(it for k in range(10_000) if keyed_by(it := f'{name}-{k}', 4) == 0)


async def until(condition: Any) -> None:
    """Nothing tells what another process has done."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def deafen(queue: Sharded) -> None:
    """Have it go by the map that it knows, until a shard refuses that."""
    await queue.ready()
    assert queue._timer is not None
    queue._timer.cancel()
    queue._known_until = float('inf')


@contextlib.asynccontextmanager
async def moves(queue: Sharded) -> Any:
    """Groups are moving; at the end, all have."""
    task = asyncio.ensure_future(queue.grow(4, keyed=True))
    try:
        await until(lambda: task.done() or queue._shape.keyed == 4)
        while not task.done() and not await queue.shards[0].command('EXISTS', queue.shards[0].keys['growth']):
            await asyncio.sleep(0)
        yield task
        await asyncio.wait_for(task, 20)
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def together() -> AsyncIterator[Callable[[Coroutine[Any, Any, object]], None]]:
    """What begins coroutines that run beside what is done meanwhile; all come to an end."""
    tasks: list[asyncio.Future[object]] = []
    try:
        yield lambda coroutine: tasks.append(asyncio.ensure_future(coroutine))
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drain(queue: Sharded, count: int) -> list[object]:
    """Take so many tasks, and finish them."""
    found: list[object] = []
    while len(found) < count:
        task_id, task = await queue.dequeue(10)
        found.append(task)
        assert await queue.release(task_id)
    return found


class DeathError(Exception):
    """Of whoever moves the groups."""


def mortal(steps: Any, dies: Callable[[Any], bool]) -> Any:
    """Steps of which one is the last."""
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration:
            return
        answer = yield step
        if dies(step):
            raise DeathError


async def die_after(queue: Sharded, name: str) -> None:
    """Move groups, up to the last step of a kind, such as ``fence``."""
    before: list[str] = []

    def dies(step: Any) -> bool:
        its = getattr(step.make, '__qualname__', '') if isinstance(step, moving.At) else ''
        over = bool(before) and name in before[-1] and name not in its
        before.append(its)
        return over

    with pytest.raises(DeathError):
        await queue._take_steps(mortal(moving.grow(NAME, 4, 0.03, True, 0.01, None), dies))


def after(count: int) -> Callable[[Any], bool]:
    """So many steps."""
    left = iter(range(count))
    return lambda _: next(left, None) is None
