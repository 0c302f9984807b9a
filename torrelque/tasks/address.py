"""What the address of a server means: which client is made of it.

Other layers may import the names in `__all__`.
"""

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.connection
import redis.asyncio.sentinel
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from torrelque import TorrelqueTypeError, TorrelqueValueError

__all__ = ['DEFAULT', 'close_client', 'find_url', 'is_same_server', 'make_client', 'shown']

DEFAULT = 'redis://localhost'
"""The server where nothing says another one."""

_PLAIN = ('redis', 'rediss', 'unix')
_KINDS = (*_PLAIN, 'redis+sentinel', 'rediss+sentinel', 'redis+cluster', 'rediss+cluster')


def find_url(url: str | None = None) -> str:
    """An address; without one that of the environment, ``TORRELQUE_URL`` or ``REDIS_URL``, or else `DEFAULT`."""
    if url is not None and not isinstance(url, str):
        raise TorrelqueTypeError(f'url must be a str, not {type(url).__name__}')
    return url or os.environ.get('TORRELQUE_URL') or os.environ.get('REDIS_URL') or DEFAULT


def make_client(url: str | None = None) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    """A client of the server at an address.

    ============================================  ==============================================
    ``redis://[USER:PASSWORD@]HOST[:PORT][/DB]``  a server; ``rediss://`` by TLS
    ``unix://[USER:PASSWORD@]/PATH[?db=DB]``      a socket of this machine
    ``redis+sentinel://HOST[:PORT],…/SERVICE``    the primary that these Sentinels name; ``/DB`` may follow
    ``redis+cluster://HOST[:PORT],…``             a Cluster, by some of its nodes
    ============================================  ==============================================

    What follows a ``?`` are arguments of the client, such as ``socket_timeout=10``.  The client of a Sentinel or of a
    Cluster belongs to one event loop.  Nothing is connected yet.

    :raises TorrelqueTypeError: it is no text.
    :raises TorrelqueValueError: it cannot be meant; the message shows no password.
    """
    url = find_url(url)
    kind = url.partition('://')[0].lower()
    if kind not in _KINDS or '://' not in url:
        kinds = ', '.join(f'{kind}://' for kind in _KINDS)
        raise TorrelqueValueError(f'the address of a server begins with one of {kinds}, not {shown(url)!r}')
    try:
        if kind in _PLAIN:
            _check_database(kind, url)
            client = redis.asyncio.from_url(url)
            assert isinstance(client, redis.asyncio.Redis)
            # Whether a connection has such arguments, none is told before one is made.  It does not connect yet.
            client.connection_pool.make_connection()
            return client
        return _make_sentinel(url) if kind.endswith('+sentinel') else _make_cluster(url)
    except TorrelqueValueError:
        raise
    except (ValueError, TypeError, redis.exceptions.RedisError) as exc:
        # A password with a slash in it is taken for a port, and told by the error; so that is not repeated.
        reason = 'in a password / # ? @ : and % are percent-encoded' if '@' in url else exc
        raise TorrelqueValueError(f'the address {shown(url)!r} cannot be meant: {reason}') from None


def _check_database(kind: str, url: str) -> None:
    """Refuse a database that is no number, which redis-py would take for the first one."""
    parts = urlsplit(url)
    given = [value for name, value in parse_qsl(parts.query, keep_blank_values=True) if name == 'db']
    path = '' if kind == 'unix' else unquote(parts.path)
    if (path not in ('', '/') and not _is_number(path[1:])) or not all(map(_is_number, given)):
        raise ValueError('the database is a number, as in redis://localhost/1')


def _is_number(text: str) -> bool:
    return re.fullmatch('[0-9]+', text) is not None


async def close_client(client: redis.asyncio.Redis | redis.asyncio.RedisCluster) -> None:
    """Close a client that `make_client` has made, and its connections to Sentinels, which it leaves open."""
    await client.aclose()
    pool = getattr(client, 'connection_pool', None)
    if isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def is_same_server(one: Any, other: Any) -> bool:
    """Whether two clients are of the same database, as far as their addresses tell."""
    return one is other or _place_of(one) == _place_of(other)


def _place_of(client: Any) -> object:
    """What tells the database of a client from others."""
    if isinstance(client, redis.asyncio.RedisCluster):
        return frozenset((node.host, node.port) for node in client.nodes_manager.startup_nodes.values())
    pool = client.connection_pool
    said = pool.connection_kwargs
    if isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool):
        places = (_place_of(sentinel) for sentinel in pool.sentinel_manager.sentinels)
        return pool.service_name, said.get('db') or 0, frozenset(places)
    address = said.get('path') or (said.get('host') or 'localhost', int(said.get('port') or 6379))
    return address, int(said.get('db') or 0)


def shown(url: str) -> str:
    """An address as it may be shown: without its password."""
    kind, separator, rest = url.partition('://')
    if not separator:
        return '…' if '@' in url else url
    base, mark, query = rest.partition('?')
    words, at, place = base.rpartition('@')
    user, colon, _ = words.partition(':')
    pairs = ['password=…' if 'password' in pair.lower() else pair for pair in query.split('&')]
    return f'{kind}{separator}{user}{colon and ":…"}{at}{place}{mark}{"&".join(pairs)}'


class _Parts:
    """What an address of several hosts says."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        words, _, hosts = parts.netloc.rpartition('@')
        user, _, password = words.partition(':')
        default = 26379 if 'sentinel' in parts.scheme else 6379
        self.hosts = [_host_of(host, default, url) for host in hosts.split(',') if host]
        if not self.hosts:
            raise TorrelqueValueError(f'the address {shown(url)!r} names no host')
        self.path = [unquote(part) for part in parts.path.split('/') if part]
        # The arguments of the client are read as the client library itself reads them of an address.
        query = redis.asyncio.connection.parse_url(f'redis://localhost?{parts.query}')
        self.options: dict[str, Any] = {name: value for name, value in query.items() if name != 'host'}
        self.named = {name for name, _ in parse_qsl(parts.query)}
        if user:
            self.options['username'] = unquote(user)
        if password:
            self.options['password'] = unquote(password)
        if parts.scheme.startswith('rediss'):
            self.options['ssl'] = True


def _host_of(text: str, default: int, url: str) -> tuple[str, int]:
    parts = urlsplit(f'//{text}')
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise TorrelqueValueError(f'the address {shown(url)!r} has a host or port that cannot be meant')
    return host, port or default


def _make_sentinel(url: str) -> redis.asyncio.Redis:
    parts = _Parts(url)
    if not 1 <= len(parts.path) <= 2:
        raise TorrelqueValueError(
            f'the address of Sentinels ends with the name of the service, and maybe a database: '
            f'redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB, not {shown(url)!r}'
        )
    service, *db = parts.path
    if db:
        parts.options['db'] = int(db[0])
    own: dict[str, Any] = {name: parts.options[name] for name in ('ssl', 'socket_timeout') if name in parts.options}
    # A Sentinel that is away is not asked again for seconds: there are others, and the queue repeats its calls anyway.
    own['retry'] = Retry(NoBackoff(), 0)
    sentinel = redis.asyncio.sentinel.Sentinel(parts.hosts, sentinel_kwargs=own, **parts.options)
    return sentinel.master_for(service)  # type: ignore[no-any-return]


def _make_cluster(url: str) -> redis.asyncio.RedisCluster:
    parts = _Parts(url)
    if parts.path:
        raise TorrelqueValueError(f'a Cluster has no databases: {shown(url)!r}')
    nodes = [redis.asyncio.cluster.ClusterNode(host, port) for host, port in parts.hosts]
    make: Callable[..., redis.asyncio.RedisCluster] = redis.asyncio.RedisCluster
    return make(startup_nodes=nodes, **parts.options)
