"""Where an application's queues are in a run, and what can happen to lines and servers there.

A `Site` has the addresses that the application is given, queue objects that no fault comes to, and a storm.  The
application's lines go through proxies everywhere: nodes of a Cluster announce their ports, and a Sentinel tells them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from proof.chaos.apps.app import LEASE, QUEUE, SIDE
from proof.chaos.apps.hosts import Hosts
from proof.chaos.apps.journal import Journal, now
from proof.chaos.faults import LINE, SERVER, FaultProxy, Lines, Storm, plan
from proof.servers.cluster import move_half
from proof.servers.failover import Confirmer
from support.servers import RealServer, free_port
from support.topology import Cluster, Sentinel, start_cluster, start_sentinel
from torrelque import Torrelque, TorrelqueQueue
from torrelque.sharded import Sharded

RATE = 12.0
"""Faults each second, on average."""
HOSTS = {'consumer killed': 2.0, 'consumer stopped beyond its lease': 2.0, 'told to end': 0.5, 'clock jumps': 1.5}
OF_SEVERAL = 2.0
"""How much more often processes are disturbed where few other faults of servers are, so that it is about as often as
elsewhere."""
KEEPING = {'appendfsync': 'always'}
DEFAULT = {'notify-keyspace-events': '""'}
"""A server as it is by itself; without a file, so that it is not killed, and nobody changes its settings."""
OF_NODES = {'server stopped': 0.6, 'memory full': 1.0, 'writes refused': 0.8}
"""What is done to a node of a Cluster while no slot moves, which wants all of them well."""
OF_OPERATORS = ('memory full', 'writes refused', 'server killed')
PLACES = ('one', 'default', 'shards', 'three', 'cluster', 'cluster shards', 'sentinel')
Strike = Callable[[float], Awaitable[bool]]


class Site:
    """A place of a run."""

    def __init__(self, name: str, urls: list[str], shards: int | None = None) -> None:
        self.name = name
        self.urls = urls
        self.shards = shards
        self.counts: Counter[str] = Counter()
        """Faults, by kinds."""
        self.queues: dict[str, Any] = {}
        self.clients: list[Any] = []
        """Those of the queues that no fault comes to."""
        self.pids: list[int] = []
        """Of servers."""
        self.proxies: list[FaultProxy] = []
        """What the application's lines go through."""
        self.is_whole = True
        """Whether all keys of a queue, or a shard, are in one place at any moment."""

    async def open_queues(self, stack: contextlib.AsyncExitStack) -> None:
        """Queue objects that no fault comes to."""
        for name in (QUEUE, SIDE):
            self.queues[name] = await stack.enter_async_context(self._make(name))

    def _make(self, name: str) -> Any:
        if len(self.clients) > 1:
            return Sharded(self.clients, queue=name)
        if self.shards is not None:
            return Sharded(self.clients[0], queue=name, shards=self.shards)
        return Torrelque(self.clients[0], queue=name)

    def shelves(self) -> list[TorrelqueQueue]:
        """The queues, shard by shard."""
        found: list[TorrelqueQueue] = []
        for queue in self.queues.values():
            found += getattr(queue, 'shards', [queue])
        return found

    async def run_script(self, shelf: Any, script: str) -> Any:
        """Run a script that is given the prefix of the keys of a queue, or a shard, where that is."""
        return await shelf.client.eval(script, 0, _prefix_of(shelf))

    async def rage(self, seed: int, seconds: float, hosts: Hosts, journal: Journal) -> None:
        """Have faults for so long."""
        raise NotImplementedError


def _prefix_of(shelf: TorrelqueQueue) -> str:
    return shelf.keys['pending'].removesuffix('pending')


# One server, and several


class Served(Site):
    """On servers with a faulty line to each."""

    def __init__(self, name: str, servers: list[RealServer], home: Path, shards: int | None) -> None:
        super().__init__(name, [f'unix://{home}/proxy{place}.sock' for place in range(len(servers))], shards)
        self.servers = servers
        for place, server in enumerate(servers):
            self.proxies.append(FaultProxy(server.socket, f'{home}/proxy{place}.sock', self.counts))
        self.kinds = {**LINE, **SERVER, 'writes refused': 0.4}
        if name == 'default':
            self.kinds = {kind: weight for kind, weight in self.kinds.items() if kind not in OF_OPERATORS}

    async def rage(self, seed: int, seconds: float, hosts: Hosts, journal: Journal) -> None:
        async with contextlib.AsyncExitStack() as stack:
            storms, others = [], _strikes_of(hosts)
            for place, (server, proxy) in enumerate(zip(self.servers, self.proxies, strict=True)):
                admin = await stack.enter_async_context(server.client())
                storm = Storm(proxy, server, admin, hosts, None, self.counts, LEASE, others)
                # Processes are those of all places.
                of_hosts = {kind: weight * len(self.servers) for kind, weight in HOSTS.items() if place == 0}
                kinds = {**self.kinds, **of_hosts}
                steps = plan(seed * 10 + place, seconds, RATE / len(self.servers), kinds)
                storms.append(storm.rage(steps, seconds))
            await asyncio.gather(*storms)
        self.pids = [server.pid for server in self.servers]


def _strikes_of(hosts: Hosts) -> dict[str, Strike]:
    return {'told to end': hosts.tell_one, 'clock jumps': hosts.move_clock}


@contextlib.asynccontextmanager
async def _open_served(name: str, kind: str, count: int = 1, shards: int | None = None) -> AsyncIterator[Site]:
    home = Path(tempfile.mkdtemp(prefix='trqapps'))
    try:
        async with contextlib.AsyncExitStack() as stack:
            servers = []
            for place in range(count):
                config, directory = (DEFAULT, None) if name == 'default' else (KEEPING, home / f'data{place}')
                servers.append(stack.enter_context(RealServer(kind, config, directory=directory)))
            site = Served(name, servers, home, shards)
            for server, proxy in zip(servers, site.proxies, strict=True):
                await stack.enter_async_context(proxy)
                site.clients.append(await stack.enter_async_context(server.client()))
            site.pids = [server.pid for server in servers]
            await site.open_queues(stack)
            yield site
    finally:
        shutil.rmtree(home, ignore_errors=True)


# A Cluster


class Clustered(Site):
    """In a Cluster, whose slots are moved, with a faulty line to each node."""

    def __init__(self, cluster: Cluster, ports: list[int], shards: int | None) -> None:
        name = 'cluster' if shards is None else 'cluster shards'
        places = ','.join(f'127.0.0.1:{port}' for port in ports)
        super().__init__(name, [f'redis+cluster://{places}'], shards)
        self.proxies = [
            FaultProxy(node.socket, '', self.counts, port) for node, port in zip(cluster.nodes, ports, strict=True)
        ]
        self.cluster = cluster
        self.is_whole = False
        self._chance = random.Random()
        self._busy = asyncio.Lock()
        """Held while a slot moves, and while something is done to a node."""

    async def run_script(self, shelf: Any, script: str) -> Any:
        prefix, slot = _prefix_of(shelf), self.cluster.slot_of(shelf.keys['pending'])
        owner = await asyncio.to_thread(self.cluster.owner_of, slot)
        with self.cluster.nodes[owner].sync_client() as link:
            return await asyncio.to_thread(link.eval, script, 0, prefix)

    async def move(self, size: float) -> bool:
        """Have a slot of a queue, or of a shard, be half moved for a while, and then all of it."""
        if self._busy.locked():
            return False
        async with self._busy:
            shelf: Any = self._chance.choice(self.shelves())
            slot = self.cluster.slot_of(shelf.keys['pending'])
            to = (await asyncio.to_thread(self.cluster.owner_of, slot) + self._chance.choice([1, 2])) % 3
            await asyncio.to_thread(move_half, self.cluster, slot, to, self._chance)
            await asyncio.sleep(size / 3)
            await asyncio.to_thread(self.cluster.finish_move, slot, to)
        return True

    async def rage(self, seed: int, seconds: float, hosts: Hosts, journal: Journal) -> None:
        self._chance = random.Random(f'slots {seed}')
        of_hosts = {kind: weight * OF_SEVERAL for kind, weight in HOSTS.items()}
        moves = {'slot moved': 2.0 * OF_SEVERAL}
        kinds = {**LINE, **of_hosts, **moves, 'SCRIPT FLUSH': 1.5, 'CLIENT KILL': 1.5, **OF_NODES}
        node = self._chance.choice(self.cluster.nodes)
        async with node.client() as admin:

            def striking(kind: str) -> Strike:
                async def strike(size: float) -> bool:
                    if self._busy.locked():
                        return False
                    async with self._busy:
                        return await storm.strike_server(kind, size)

                return strike

            others = {**_strikes_of(hosts), 'slot moved': self.move, **{kind: striking(kind) for kind in OF_NODES}}
            lines = Lines(self.proxies, self._chance)
            storm = Storm(lines, node, admin, hosts, None, self.counts, LEASE, others)
            await storm.rage(plan(seed, seconds, RATE, kinds), seconds)


@contextlib.asynccontextmanager
async def _open_cluster(kind: str, shards: int | None) -> AsyncIterator[Site]:
    async with contextlib.AsyncExitStack() as stack:
        ports = [free_port() for _ in range(3)]
        cluster = await asyncio.to_thread(stack.enter_context, start_cluster(kind, 3, ports))
        site = Clustered(cluster, ports, shards)
        for proxy in site.proxies:
            await stack.enter_async_context(proxy)
        site.clients.append(await stack.enter_async_context(cluster.client()))
        site.pids = [node.pid for node in cluster.nodes]
        await site.open_queues(stack)
        yield site


# A Sentinel


class Watched(Site):
    """A primary that is killed, and its replica, which takes over, with a faulty line to each, and to the Sentinel."""

    def __init__(self, sentinel: Sentinel) -> None:
        ports = {server.port: free_port() for server in (sentinel.primary, sentinel.replica)}
        told = free_port()
        super().__init__('sentinel', [f'redis+sentinel://127.0.0.1:{told}/{sentinel.name}'])
        self.proxies = [
            FaultProxy(server.socket, '', self.counts, ports[server.port])
            for server in (sentinel.primary, sentinel.replica)
        ]
        self.proxies.append(FaultProxy(sentinel.sentinel.socket, '', self.counts, told, _telling(ports)))
        self.sentinel = sentinel

    async def rage(self, seed: int, seconds: float, hosts: Hosts, journal: Journal) -> None:
        lines = Lines(self.proxies, random.Random(f'lines {seed}'))
        others = _strikes_of(hosts)
        storm = Storm(lines, self.sentinel.primary, self.clients[0], hosts, None, self.counts, LEASE, others)
        kinds = {**LINE, **{kind: weight * OF_SEVERAL for kind, weight in HOSTS.items()}}
        after = seconds * random.Random(f'over {seed}').uniform(0.3, 0.6)
        failover = asyncio.ensure_future(self._fail_over(after, journal))
        await storm.rage(plan(seed, seconds, RATE, kinds), seconds)
        await failover

    async def _fail_over(self, after: float, journal: Journal) -> None:
        confirmer = Confirmer(self.clients[1])
        async with confirmer.asking(1):
            await asyncio.sleep(after)
            await asyncio.to_thread(self.sentinel.kill_primary)
            confirmer.over = True
        await asyncio.to_thread(self.sentinel.wait_failover)
        self.counts['failover'] += 1
        self.pids = [self.sentinel.replica.pid]
        journal.write('gap', begin=confirmer.until, end=now())


def _telling(ports: Mapping[int, int]) -> Callable[[bytes], bytes]:
    """Has a Sentinel name other ports than it watches; all of them have five digits."""
    words = {b'\r\n%d\r\n' % port: b'\r\n%d\r\n' % other for port, other in ports.items()}

    def translate(data: bytes) -> bytes:
        for word, other in words.items():
            data = data.replace(word, other)
        return data

    return translate


@contextlib.asynccontextmanager
async def _open_sentinel(kind: str) -> AsyncIterator[Site]:
    async with contextlib.AsyncExitStack() as stack:
        sentinel = await asyncio.to_thread(stack.enter_context, start_sentinel(kind))
        stack.push_async_callback(sentinel.aclose)
        site = Watched(sentinel)
        for proxy in site.proxies:
            await stack.enter_async_context(proxy)
        for _ in range(2):
            site.clients.append(await stack.enter_async_context(sentinel.master_for()))
        others, site.clients = site.clients, site.clients[:1]
        site.pids = [sentinel.primary.pid]
        await site.open_queues(stack)
        site.clients = others
        yield site


def open_site(name: str, kind: str) -> contextlib.AbstractAsyncContextManager[Site]:
    """A place by its name, on servers of a kind."""
    if name in ('one', 'default'):
        return _open_served(name, kind)
    if name == 'shards':
        return _open_served(name, kind, shards=3)
    if name == 'three':
        return _open_served(name, kind, count=3)
    if name == 'sentinel':
        return _open_sentinel(kind)
    return _open_cluster(kind, 3 if name == 'cluster shards' else None)
