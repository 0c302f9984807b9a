"""Takes tasks, and looks at the keys of groups, for tests of who is next."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torrelque
from torrelque import Torrelque

INF = math.inf


async def take_all(queue: Torrelque, count: float = INF, bulk: int = 1) -> list[Any]:
    """Take tasks while there are any, without finishing them: ids and tasks."""
    taken: list[Any] = []
    with contextlib.suppress(torrelque.TorrelqueTimeoutError):
        while len(taken) < count:
            some = await queue.dequeue_many(bulk, 0)
            taken += some
    return taken


async def tasks_of(queue: Torrelque, count: float = INF, bulk: int = 1) -> list[Any]:
    return [task for _, task in await take_all(queue, count, bulk)]


async def drain(queue: Torrelque, bulk: int = 1) -> list[Any]:
    """Take and finish all there is; the tasks."""
    tasks = []
    with contextlib.suppress(torrelque.TorrelqueTimeoutError):
        while True:
            some = await queue.dequeue_many(bulk, 0)
            await queue.release_many([task_id for task_id, _ in some])
            tasks += [task for _, task in some]
    return tasks


async def look(client: Any, queue: Torrelque) -> tuple[dict[str, str], dict[str, str], dict[str, str], list[str]]:
    """The keys of groups, as text."""
    names: dict[str, dict[str, str]] = {'groups': {}, 'heads': {}, 'later': {}}
    for name in names:
        names[name] = {k.decode(): v.decode() for k, v in (await client.hgetall(queue.keys[name])).items()}
    turns = [task_id.decode() for task_id in await client.lrange(queue.keys['turns'], 0, -1)]
    return names['groups'], names['heads'], names['later'], turns[::-1]
