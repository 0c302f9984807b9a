"""Whether a queue has shards, for whoever knows its name alone; nothing is written.

Other layers may import the names in `__all__`.
"""

import asyncio

import redis.asyncio

from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueQueue

from . import shards
from .base import PATIENCE

__all__ = ['find_map']


async def find_map(queue: TorrelqueQueue) -> bytes | None:
    """The map of the shards of a queue, as its server has it; None of a queue that is in one place.

    Where the primary of a Cluster that has it does not answer soon, a copy of it does, which others have.

    :raises TorrelqueConnectionError: the server is away, and so is who else would know.
    """
    try:
        return await asyncio.wait_for(_read(queue), PATIENCE)
    except (TorrelqueConnectionError, asyncio.TimeoutError):
        copy = await _find_copy(queue) if isinstance(queue.client, redis.asyncio.RedisCluster) else None
    # It was late only, maybe.
    return await _read(queue) if copy is None else copy


async def _read(queue: TorrelqueQueue) -> bytes | None:
    found: bytes | None = await queue.command('GET', queue.keys['shards'])
    return found


async def _find_copy(queue: TorrelqueQueue) -> bytes | None:
    """A copy that one of the likely shards has, if any answers soon."""
    places = [Torrelque(queue.client, queue=shards.queue_of(tag)) for tag in shards.likely_tags(queue.name)]
    asked = [asyncio.ensure_future(_read(place)) for place in places]
    try:
        for answer in asyncio.as_completed(asked, timeout=PATIENCE):
            try:
                if (copy := await answer) is not None:
                    return copy
            except TorrelqueConnectionError:
                pass
    except asyncio.TimeoutError:
        pass
    finally:
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.gather(*(place.aclose() for place in places))
    return None
