"""Servers that work together: a cluster, and a primary with its replica and a Sentinel.

Started directly on free loopback ports; a command-line tool is not needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.exceptions
from redis.crc import key_slot

from support.servers import RealServer, free_port

SLOTS = 16384
_PATIENCE = 90.0


def _until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again: servers of a cluster agree in their own time and announce it nowhere."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.01)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class Cluster:
    """`n` primaries that share the slots evenly; made by `start_cluster`."""

    def __init__(
        self, nodes: Sequence[RealServer], links: Sequence[redis.Redis], announced: Sequence[int] = ()
    ) -> None:
        self.nodes = list(nodes)
        self.ports = [node.port for node in nodes]
        self._behind = dict(zip(announced, self.ports, strict=False))
        """Ports of nodes by those that they announce."""
        self._links = list(links)
        self._ids = [_text(link.execute_command('CLUSTER', 'MYID')) for link in links]

    def client(self, **options: Any) -> redis.asyncio.RedisCluster:
        """A client of the nodes themselves, whatever ports they announce."""
        if self._behind:
            options = {'address_remap': self._remap, **options}
        return redis.asyncio.RedisCluster(host='127.0.0.1', port=self.ports[0], **options)

    def _remap(self, address: tuple[str, int]) -> tuple[str, int]:
        host, port = address
        return host, self._behind.get(port, port)

    @staticmethod
    def slot_of(key: str) -> int:
        return key_slot(key.encode())

    def owner_of(self, slot: int) -> int:
        """Index of the node that has the slot, in its own opinion."""
        # As two words: redis-py would parse the reply of the one word 'CLUSTER NODES'.
        for index, link in enumerate(self._links):
            for line in _text(link.execute_command('CLUSTER', 'NODES')).splitlines():
                if 'myself' in line and any(_covers(part, slot) for part in line.split()[8:]):
                    return index
        raise LookupError(slot)

    def begin_move(self, slot: int, to: int, *, keys: Sequence[str] = ()) -> None:
        """Leave the slot half moved: `keys` are at node `to` already, all others still at the owner."""
        source = self.owner_of(slot)
        self._links[to].execute_command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', self._ids[source])
        self._links[source].execute_command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', self._ids[to])
        self._migrate(source, to, list(keys))

    def finish_move(self, slot: int, to: int) -> None:
        """Move what is left at the owner, and tell every node."""
        source = self.owner_of(slot)
        while keys := self._links[source].execute_command('CLUSTER', 'GETKEYSINSLOT', slot, 100):
            self._migrate(source, to, keys)
        # The new owner first, then the old one: no moment at which nobody has the slot.
        rest = [index for index in range(len(self.nodes)) if index not in (to, source)]
        for index in [to, source, *rest]:
            self._links[index].execute_command('CLUSTER', 'SETSLOT', slot, 'NODE', self._ids[to])

    def move_slot(self, slot: int, to: int) -> None:
        self.begin_move(slot, to)
        self.finish_move(slot, to)

    @contextmanager
    def without_slot(self, slot: int) -> Iterator[redis.Redis]:
        """Meanwhile its owner refuses what is about a key, as one that has just come back; a client of that node."""
        owner = self._links[self.owner_of(slot)]
        owner.execute_command('CLUSTER', 'DELSLOTS', slot)
        try:
            yield owner
        finally:
            owner.execute_command('CLUSTER', 'ADDSLOTS', slot)
            _until(lambda: 'cluster_state:ok' in _text(owner.execute_command('CLUSTER', 'INFO')), 'it does not serve')

    def flush(self) -> None:
        for link in self._links:
            link.flushall()

    def _migrate(self, source: int, to: int, keys: Sequence[str | bytes]) -> None:
        if keys:
            destination = ('127.0.0.1', self.ports[to], '', 0, 5000)
            self._links[source].execute_command('MIGRATE', *destination, 'KEYS', *keys)


def _covers(part: str, slot: int) -> bool:
    if part.startswith('['):
        return False
    first, _, last = part.partition('-')
    return int(first) <= slot <= int(last or first)


@contextmanager
def start_cluster(kind: str, n: int = 3, announced: Sequence[int] = ()) -> Iterator[Cluster]:
    """A cluster that is in working order, until the block ends.

    :param announced: ports that the nodes tell their clients, one for each, instead of their own.
    """
    with ExitStack() as stack:
        nodes = []
        for place in range(n):
            config = {
                'port': str(free_port()),
                'cluster-enabled': 'yes',
                'cluster-config-file': 'nodes.conf',
                'cluster-node-timeout': '1500',
            }
            if announced:
                config['cluster-announce-port'] = str(announced[place])
            nodes.append(stack.enter_context(RealServer(kind, config)))
        links = [stack.enter_context(node.sync_client()) for node in nodes]
        bounds = [SLOTS * index // n for index in range(n + 1)]
        for index, link in enumerate(links):
            link.execute_command('CLUSTER', 'ADDSLOTS', *range(bounds[index], bounds[index + 1]))
            link.execute_command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
            if index:
                link.execute_command('CLUSTER', 'MEET', '127.0.0.1', nodes[0].port)
        for link in links:
            _until(lambda link=link: _is_formed(link, n), 'the cluster does not come up')  # type: ignore[misc]
        yield Cluster(nodes, links, announced)


def _is_formed(link: redis.Redis, n: int) -> bool:
    info = _text(link.execute_command('CLUSTER', 'INFO'))
    return 'cluster_state:ok' in info and f'cluster_known_nodes:{n}' in info


class Sentinel:
    """A primary with a replica, watched by one Sentinel; made by `start_sentinel`."""

    name = 'main'

    def __init__(self, primary: RealServer, replica: RealServer, sentinel: RealServer) -> None:
        self.primary = primary
        self.replica = replica
        self.sentinel = sentinel
        self._clients: list[redis.asyncio.sentinel.Sentinel] = []

    def sentinel_client(self, **options: Any) -> redis.asyncio.sentinel.Sentinel:
        """A client of the Sentinel; `aclose` closes it."""
        client = redis.asyncio.sentinel.Sentinel([('127.0.0.1', self.sentinel.port)], **options)
        self._clients.append(client)
        return client

    def master_for(self, **options: Any) -> redis.asyncio.Redis:
        """A client that follows the primary; whoever asks for it closes it."""
        client: redis.asyncio.Redis = self.sentinel_client().master_for(self.name, **options)
        return client

    async def aclose(self) -> None:
        """Close the connections to the Sentinel: a client that it made does not."""
        for client in self._clients:
            for link in client.sentinels:
                await link.aclose()

    def kill_primary(self) -> None:
        """SIGKILL; the failover takes place afterwards, `wait_failover` waits for it."""
        self.primary.kill()

    def wait_failover(self) -> None:
        """Return when the Sentinel names the former replica, and that takes writes."""
        with self.sentinel.sync_client(protocol=2) as link, self.replica.sync_client() as replica:
            _until(lambda: self._primary(link) == (self.replica.port, 'master'), 'no failover')
            _until(lambda: bool(replica.info('replication')['role'] == 'master'), 'the replica stays one')

    def _primary(self, link: redis.Redis) -> tuple[int, str]:
        """Port and flags.  ``get-master-addr-by-name`` tells the new port while clients are still sent to the old."""
        reply = [_text(word) for word in link.execute_command('SENTINEL', 'MASTER', self.name)]
        master = dict(zip(reply[::2], reply[1::2], strict=True))
        return int(master['port']), master['flags']


@contextmanager
def start_sentinel(kind: str) -> Iterator[Sentinel]:
    """A primary, a replica in step with it and a Sentinel that knows both, until the block ends."""
    with ExitStack() as stack:
        primary = stack.enter_context(RealServer(kind, {'port': str(free_port())}))
        follow = {'port': str(free_port()), 'replicaof': f'127.0.0.1 {primary.port}', 'repl-diskless-sync-delay': '0'}
        with primary.sync_client() as link:
            link.config_set('repl-diskless-sync-delay', 0)
        replica = stack.enter_context(RealServer(kind, follow))
        link = stack.enter_context(replica.sync_client())
        _until(lambda: bool(link.info('replication')['master_link_status'] == 'up'), 'the replica does not follow')
        watch = {
            'port': str(free_port()),
            f'sentinel monitor {Sentinel.name}': f'127.0.0.1 {primary.port} 1',
            f'sentinel down-after-milliseconds {Sentinel.name}': '600',
            f'sentinel failover-timeout {Sentinel.name}': '5000',
        }
        sentinel = stack.enter_context(RealServer(kind, watch, arguments=['--sentinel']))
        link = stack.enter_context(sentinel.sync_client())
        _until(lambda: len(link.execute_command('SENTINEL', 'REPLICAS', Sentinel.name)) == 1, 'no replica seen')
        yield Sentinel(primary, replica, sentinel)
