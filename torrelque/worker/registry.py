"""The registry of queues: which there are, by the time when somebody wrote of each.

Its key is in a slot of its own of a Cluster.  Other layers may import the names in `__all__`.
"""

import logging
from typing import Any

import redis.asyncio

from torrelque import Torrelque, TorrelqueQueue
from torrelque.protocol.keys import REGISTRY

from .places import clients_of
from .scripts import run_script

__all__ = ['REGISTRY', 'note', 'registry_queue']

logger = logging.getLogger(__package__)


def registry_queue(client: Any) -> Torrelque:
    """A queue object whose connection reaches the registry in a Cluster, too: its keys have the registry's slot.  Its
    owner closes it; there is no such queue.
    """
    return Torrelque(client, queue=REGISTRY)


async def note(queue: TorrelqueQueue) -> None:
    """Note that a queue was seen now.  Nothing depends on it, so a server that refuses or does not answer is passed
    over.
    """
    name = queue.name.encode()
    try:
        client = clients_of(queue)[0]
        if isinstance(client, redis.asyncio.RedisCluster):
            async with registry_queue(client) as one:
                await run_script(one, 'note', [REGISTRY], name)
        else:
            await run_script(queue.home, 'note', [REGISTRY], name)
    except Exception as exc:
        logger.debug('queue %r is not noted: %s', queue.name, exc)
