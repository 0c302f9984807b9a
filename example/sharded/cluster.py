"""Three primaries of a Cluster, with the server that the extra ``embedded`` brings.

    python example/sharded/cluster.py           # at ports 7000, 7001 and 7002, until Ctrl-C; others by --port

Kill one of them (`kill -9`): after ten seconds it is started again, and has what it had acknowledged.
"""

import argparse
import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from torrelque.embedded import Server

SLOTS = 16384
SETTINGS = {'cluster-enabled': 'yes', 'cluster-require-full-coverage': 'no', 'loglevel': 'warning'}
PATIENCE = 60
"""s that the primaries may take to agree."""
AWAY = 10
"""s after which one that was killed is started again."""


class Cluster:
    """The primaries, for as long as a ``with`` block lasts.  Each keeps its data in a folder of its own."""

    def __init__(self, folder: Path, ports: Sequence[int], buses: Sequence[int]) -> None:
        self.ports = [*ports]
        self._servers = [
            Server(folder / str(port), config={**SETTINGS, 'port': str(port), 'cluster-port': str(bus)})
            for port, bus in zip(ports, buses, strict=True)
        ]
        self._buses = [*buses]
        self._stack = contextlib.ExitStack()

    @property
    def url(self) -> str:
        """It names two, because one may be away."""
        return f'redis+cluster://{",".join(f"127.0.0.1:{port}" for port in self.ports[:2])}'

    def __enter__(self) -> 'Cluster':
        with self._stack as stack:
            for server in self._servers:
                stack.enter_context(server)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def is_there(self, number: int) -> bool:
        with contextlib.suppress(ConnectionError), socket.create_connection(('127.0.0.1', self.ports[number])):
            return True
        return False

    def kill(self, number: int) -> None:
        os.kill(self._servers[number].pid, signal.SIGKILL)

    def start(self, number: int) -> None:
        """Start one again that was killed."""
        self._servers[number].__exit__()
        self._servers[number].__enter__()

    def pids(self) -> list[int]:
        return [server.pid for server in self._servers]

    def _join(self) -> None:
        """Give each a third of the slots, and have them know each other."""
        clients = [self._stack.enter_context(server.sync_client()) for server in self._servers]
        bounds = [SLOTS * number // len(clients) for number in range(len(clients) + 1)]
        for number, client in enumerate(clients):
            client.execute_command('CLUSTER ADDSLOTS', *range(bounds[number], bounds[number + 1]))
            client.execute_command('CLUSTER SET-CONFIG-EPOCH', number + 1)
            if number:
                client.execute_command('CLUSTER MEET', '127.0.0.1', self.ports[0], self._buses[0])
        deadline = time.monotonic() + PATIENCE
        while not all(self._knows_all(client) for client in clients):
            if time.monotonic() > deadline:
                raise TimeoutError(f'the primaries do not agree in {PATIENCE} s')
            time.sleep(0.05)

    def _knows_all(self, client: redis.Redis) -> bool:
        found: dict[str, Any] = client.execute_command('CLUSTER INFO')
        return found['cluster_state'] == 'ok' and int(found['cluster_known_nodes']) == len(self.ports)


@contextlib.contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in range(count)]
        yield [listener.getsockname()[1] for listener in found]


def main() -> None:
    description = (__doc__ or '').partition('\n')[0]
    parser = argparse.ArgumentParser(prog='python example/sharded/cluster.py', description=description)
    parser.add_argument('--port', type=int, default=7000, help='the first of three (default: %(default)s)')
    first = parser.parse_args().port
    ports = range(first, first + 3)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as at Ctrl-C
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix='cluster-') as folder:
        with Cluster(Path(folder), ports, [port + 10_000 for port in ports]) as cluster:
            print(f'{cluster.url}; process ids: {", ".join(map(str, cluster.pids()))}; Ctrl-C stops', flush=True)
            while True:
                time.sleep(0.5)
                for number, port in enumerate(ports):
                    if not cluster.is_there(number):
                        print(f'{port} is away for {AWAY} s', flush=True)
                        time.sleep(AWAY)
                        cluster.start(number)
                        print(f'{port} is there again, as process {cluster.pids()[number]}', flush=True)


if __name__ == '__main__':
    main()
