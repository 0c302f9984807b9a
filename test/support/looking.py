"""Looks at the keys of a queue, for tests of what a call has left there."""

from __future__ import annotations

from typing import Any

import redis.asyncio

from torrelque import Torrelque


async def places(client: redis.asyncio.Redis, queue: Torrelque, task_id: str) -> set[str]:
    """Where an id is, by the keys."""
    sets = ('working', 'delayed', 'dead')
    found = {name for name in sets if await client.zscore(queue.keys[name], task_id) is not None}
    if task_id.encode() in await client.lrange(queue.keys['pending'], 0, -1):
        found.add('pending')
    return found


async def dump(client: Any) -> dict[bytes, Any]:
    """Everything there is but the deadlines of leases."""
    found = {}
    for key in sorted(await client.keys('*')):
        kind = await client.type(key)
        if kind == b'hash':
            found[key] = await client.hgetall(key)
        elif kind == b'zset':
            found[key] = await client.zrange(key, 0, -1, withscores=True)
        elif kind == b'list':
            found[key] = await client.lrange(key, 0, -1)
        elif b':claim:' not in key:
            found[key] = await client.get(key)
    return found
