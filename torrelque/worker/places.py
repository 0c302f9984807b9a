"""Where queues are: their clients, and which queue objects mean the same queue.

Other layers may import the names in `__all__`.
"""

from collections.abc import Hashable
from typing import Any

import redis.asyncio
import redis.asyncio.sentinel
import redis.crc
import redis.exceptions

from torrelque import Torrelque, TorrelqueQueue
from torrelque.protocol.keys import make_keys

__all__ = ['clients_of', 'describe', 'identity', 'is_one', 'server_of', 'slot_of']


def clients_of(queue: TorrelqueQueue) -> tuple[Any, ...]:
    """The clients that a queue object was made with: one, or one for each of several servers."""
    client: Any = queue.client
    return (*client,) if isinstance(client, (list, tuple)) else (client,)


def is_one(queue: TorrelqueQueue) -> bool:
    """Whether a queue is in one place of one server, and not made of shards; one with shards is another queue than that
    of the same name."""
    return isinstance(queue, Torrelque)


def identity(queue: TorrelqueQueue) -> Hashable:
    """What queue objects have in common that mean the same queue, as far as their clients tell."""
    return is_one(queue), tuple(map(id, clients_of(queue))), make_keys(queue.name)['pending']


def describe(client: Any) -> str:
    """The server of a client as an address, without name and password."""
    if isinstance(client, redis.asyncio.RedisCluster):
        nodes = ','.join(f'{node.host}:{node.port}' for node in client.nodes_manager.startup_nodes.values())
        return f'redis+cluster://{nodes}'
    pool = client.connection_pool
    options = pool.connection_kwargs
    database = options.get('db') or 0
    if isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool):
        sentinels = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
        nodes = ','.join(f'{one.get("host")}:{one.get("port")}' for one in sentinels)
        return f'redis+sentinel://{nodes}/{pool.service_name}/{database}'
    if 'path' in options:
        return f'unix://{options["path"]}' + (f'?db={database}' if database else '')
    secure = issubclass(pool.connection_class, redis.asyncio.SSLConnection)
    host = str(options.get('host', 'localhost'))
    host = f'[{host}]' if ':' in host else host
    return f'{"rediss" if secure else "redis"}://{host}:{options.get("port", 6379)}/{database}'


def slot_of(queue: TorrelqueQueue) -> int:
    """The slot of a queue in one place, or of a shard."""
    return redis.crc.key_slot(queue.keys['pending'].removesuffix(':pending').encode())


def server_of(queue: TorrelqueQueue) -> str:
    """The server of a queue in one place, or of a shard, as an address; in a Cluster the node that has its slot, as far
    as the client knows."""
    client: Any = queue.client
    if not isinstance(client, redis.asyncio.RedisCluster):
        return describe(client)
    try:
        node = client.nodes_manager.get_node_from_slot(slot_of(queue))
    except redis.exceptions.RedisClusterException:
        return describe(client)
    return f'{node.host}:{node.port}'
