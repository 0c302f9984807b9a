"""Which server a command talks to, and how it is named to people: without name and password."""

import os
from typing import Any

import redis.asyncio
import redis.asyncio.sentinel

from torrelque import TorrelqueError
from torrelque.tasks.address import find_url, make_client

from .failure import Failure

VARIABLES = ('TORRELQUE_URL', 'REDIS_URL')


def connect(url: str | None) -> Any:
    """A client of the server that the command line, or else the environment, names.  Nothing is connected yet.

    :raises Failure: it is no address.
    """
    try:
        return make_client(find_url(url))
    except TorrelqueError:
        # The cause may tell a part of a password that was taken for a port.
        given = ('--url',) if url else (name for name in VARIABLES if os.environ.get(name))
        raise Failure(
            f'{next(iter(given))} is no address of a server: redis://HOST:PORT/DB, rediss://…, unix:///PATH, '
            'redis+sentinel://HOST:PORT,…/SERVICE, redis+cluster://HOST:PORT,… ; in a password, / # ? @ : and % are '
            'percent-encoded'
        ) from None


def describe(client: Any) -> str:
    """The server of a client, as an address."""
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
