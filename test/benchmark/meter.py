"""What the server has done between two looks."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

import redis


class Look(NamedTuple):
    """The server's counters.

    Commands are those that were executed, in scripts as well; trips are reads from sockets, so a call that is larger
    than one read counts as several; memory is what the server uses, without the buffers of clients and the scripts.
    """

    commands: int
    trips: int
    cpu: float
    memory: int


def look(client: redis.Redis) -> Look:
    info: dict[str, Any] = client.info('stats', 'cpu', 'memory')
    others = ('mem_clients_normal', 'mem_clients_slaves', 'used_memory_scripts', 'used_memory_vm_total')
    return Look(
        info['total_commands_processed'],
        info['total_reads_processed'],
        info['used_cpu_user'] + info['used_cpu_sys'],
        info['used_memory'] - sum(info.get(name, 0) for name in others),
    )


def costs(before: Look, after: Look, count: int) -> dict[str, float]:
    """Of each of so many tasks; the look itself was one command."""
    return {
        'commands': (after.commands - before.commands - 1) / count,
        'trips': (after.trips - before.trips - 1) / count,
        'server_us': (after.cpu - before.cpu) / count * 1e6,
        'bytes': (after.memory - before.memory) / count,
    }


def machine(client: redis.Redis) -> dict[str, Any]:
    """Where this is measured."""
    info: dict[str, Any] = client.info('server')
    version = info.get('valkey_version')
    server = f'Valkey {version}' if version else f'Redis {info["redis_version"]}'
    return {
        'cpu': _cpu(),
        'cores': len(os.sched_getaffinity(0)),
        'kernel': platform.release(),
        'python': platform.python_version(),
        'implementation': sys.implementation.name,
        'server': server,
        'load': os.getloadavg()[0],
    }


def about(where: dict[str, Any], versions: dict[str, str], date: str, rounds: int, *, awake: bool = False) -> str:
    """Where, with what and when something was measured; `machine` tells where."""
    clients = [f'{name} {versions[name]}' for name in ('redis', 'hiredis') if name in versions]
    cores = f'{where["cores"]} cores of {where["cpu"]}' + (' kept awake' if awake else '')
    words = [where['server'], *clients, f'Python {where["python"]}', cores, f'Linux {where["kernel"]}']
    return f'{", ".join(words)}; {date}, medians of {rounds} rounds'


def _cpu() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.partition(':')[2].strip()
    return platform.machine()
