"""The times of probes, in the keys of a queue."""

from __future__ import annotations

from typing import Any

import redis.asyncio
import redis.exceptions

from torrelque import Torrelque


async def times_of(client: Any, queue: Torrelque, group: str | None) -> tuple[int, int]:
    """When the next probe is, and the time from one to the next (ms)."""
    instant, every = (await client.hget(queue.keys['probes'], group or '')).split()
    return int(instant), int(every)


async def clock(client: redis.asyncio.Redis) -> int:
    seconds, microseconds = await client.time()
    return seconds * 1000 + microseconds // 1000


async def make_due(client: redis.asyncio.Redis, queue: Torrelque, group: str | None) -> None:
    """Its time comes."""
    _, every = await times_of(client, queue, group)
    await client.hset(queue.keys['probes'], group or '', f'1 {every}')
    await client.zadd(queue.keys['rated'], {group or '': 1}, xx=True)
    await queue.sweep()


async def keys_of(client: Any, queue: Torrelque) -> set[str]:
    """Short names of the keys that are there, without states and the record of a claim."""
    base = queue.keys['pending'].removesuffix('pending')
    names = {key.decode().removeprefix(base) for key in await client.keys('*')}
    return {name for name in names if not name.startswith(('task:', 'claim:'))}
