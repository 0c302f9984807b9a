"""Whether a queue that was named has shards, for whoever does not know; nothing is written.

Other layers may import the names in `__all__`.
"""

import asyncio
import json
from typing import Any

import redis.asyncio

from torrelque import TorrelqueConnectionError, TorrelqueError, TorrelqueQueue

from .common import PATIENCE
from .queue import Sharded

__all__ = ['find_map']


async def find_map(queue: TorrelqueQueue) -> dict[str, Any] | None:
    """The map of the shards of a queue of one place, if it has one: then it has no tasks there.

    Where the primary of a Cluster that has it does not answer soon, the others are asked for their copies.

    :raises TorrelqueError: it could not be found out.
    """
    asked = asyncio.ensure_future(queue.command('GET', queue.keys['shards']))
    try:
        await asyncio.wait([asked], timeout=PATIENCE)
        late = not asked.done() or isinstance(asked.exception(), TorrelqueConnectionError)
        if late and isinstance(queue.client, redis.asyncio.RedisCluster) and not {*'{}'} & {*queue.name}:
            try:
                copy = await Sharded(queue.client, queue=queue.name)._read_copies()
            except TorrelqueError:
                copy = None
            if copy is not None:
                return _read(copy.text())
        return _read(await asked)
    finally:
        asked.cancel()


def _read(text: Any) -> dict[str, Any] | None:
    found: dict[str, Any] | None = None if text is None else json.loads(text)
    return found

