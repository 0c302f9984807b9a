"""Some servers at once, which share a queue; and what they have done between two looks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import redis
import redis.asyncio

from benchmark.scale.crew import Left
from benchmark.scale.work import KIND
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.sharded import Sharded

Place = dict[str, Any]
"""Where a queue is, as a child is told."""

# What of a server's commands is a call of a client, and not a command in a script.
_CALLS = ('cmdstat_eval', 'cmdstat_evalsha', 'cmdstat_blpop')


class Used(NamedTuple):
    """What servers have done so far: all together, or each."""

    processor: tuple[float, ...]
    """s, of each."""
    commands: tuple[int, ...]
    """Of each, those in scripts as well."""
    scripts: int
    calls: int
    """Scripts, and blocks at a bell."""

    def since(self, before: Used) -> Used:
        """What they have done between two looks."""
        times = [now - then for now, then in zip(self.processor, before.processor, strict=True)]
        # The look itself was one.
        commands = [now - then - 1 for now, then in zip(self.commands, before.commands, strict=True)]
        return Used((*times,), (*commands,), self.scripts - before.scripts, self.calls - before.calls)


class Primaries:
    """Servers, and a client for each, to look at it."""

    def __init__(self, servers: Sequence[RealServer], clients: Sequence[redis.Redis]) -> None:
        self.servers = servers
        self.clients = clients

    def used(self, count: int | None = None) -> Used:
        """What the first ones have done."""
        times, commands, scripts, calls = [], [], 0, 0
        for client in self.clients[:count]:
            info: dict[str, Any] = client.info('cpu', 'stats', 'commandstats')
            times.append(float(info['used_cpu_user']) + float(info['used_cpu_sys']))
            commands.append(int(info['total_commands_processed']))
            ran = {name: info[name]['calls'] for name in _CALLS if name in info}
            calls += sum(ran.values())
            scripts += sum(ran.values()) - ran.get('cmdstat_blpop', 0)
        return Used((*times,), (*commands,), scripts, calls)

    def one(self, queue: str) -> Place:
        """A queue without shards, on the first."""
        return {'path': self.servers[0].socket, 'queue': queue}

    def many(self, queue: str, count: int, shards: int | None = None) -> Place:
        """A queue over the first ones, with a shard on each where nothing else is said."""
        return {'paths': [server.socket for server in self.servers[:count]], 'queue': queue, 'shards': shards}

    def forget_maps(self) -> None:
        """Maps of shards stay as long as their queues do."""
        for client in self.clients:
            if maps := client.keys('*:shards'):
                client.delete(*maps)

    def left(self, queue: Torrelque | Sharded) -> Left:
        """What there is in a queue, asked without a script."""
        shards = queue.shards if isinstance(queue, Sharded) else (queue,)
        return Left([(self.clients[n % len(self.clients)], shard.name) for n, shard in enumerate(shards)])

    def connections(self, name: str) -> int:
        """How many connections there are of clients that have a name."""
        return sum(one['name'].startswith(name) for client in self.clients for one in client.client_list())


@contextmanager
def start_primaries(count: int, directory: Path | None = None) -> Iterator[Primaries]:
    """So many servers that know nothing of each other; with a directory each writes what it does at once."""
    with ExitStack() as stack:
        servers = []
        for number in range(count):
            config = {'notify-keyspace-events': '""'}
            place = None
            if directory is not None:
                place = directory / str(number)
                place.mkdir()
                config |= {'appendfsync': 'always'}
            servers.append(stack.enter_context(RealServer(KIND, config, directory=place)))
        clients = [stack.enter_context(server.sync_client(socket_timeout=None)) for server in servers]
        yield Primaries(servers, clients)


@asynccontextmanager
async def connect(place: Place, **options: Any) -> AsyncIterator[Torrelque | Sharded]:
    """The queue of a place; it and its clients are closed with the block."""
    async with AsyncExitStack() as stack:
        clients = []
        for path in place.get('paths') or [place.get('path')]:
            client: Any = (
                redis.asyncio.RedisCluster(host='127.0.0.1', port=place['port'], **options)
                if path is None
                else redis.asyncio.Redis(unix_socket_path=path, **options)
            )
            clients.append(await stack.enter_async_context(client))
        if 'shards' in place:
            # The client of a Cluster is alone, those of servers that know nothing of each other are a list.
            of = clients if 'paths' in place else clients[0]
            yield await stack.enter_async_context(Sharded(of, queue=place['queue'], shards=place['shards']))
        else:
            yield await stack.enter_async_context(Torrelque(clients[0], queue=place['queue']))
