"""Very many tasks that are due at once: no script is long, and who waits is served meanwhile.

    python -m proof.due [--tasks N] [--groups N] [--server KIND]

The last line is JSON: how many tasks came back, in how many scripts, the median and the longest of the slow ones (ms,
of the server's own log), and how long (s) the first and the last task took.  `stall_ms` is the longest that one field
of a hash was read or written, which takes microseconds: for so long the machine itself kept the server waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from typing import Any

import redis.asyncio

from support.servers import RealServer
from torrelque import Torrelque

SLOW = 1000
"""µs from which the server notes a command."""


async def fill(client: redis.asyncio.Redis, queue: Torrelque, tasks: int, groups: int) -> None:
    """A half that waits for its time, a half with leases, each with and without groups; then all is due."""
    half = tasks // 2
    group = (lambda n: f'g{n % groups}' if n % 2 else None) if groups else None
    await queue.enqueue_many(range(half), group=group, task_timeout=3600)
    held = 0
    while held < half:
        held += len(await queue.dequeue_many(250))
    await queue.enqueue_many(range(half, 2 * half), group=group, delay=3600)
    for key in ('working', 'delayed'):
        await client.zunionstore(queue.keys[key], {queue.keys[key]: 0})


async def measure(client: redis.asyncio.Redis, queue: Torrelque, tasks: int) -> dict[str, Any]:
    """Let a consumer come while all is due, and finish everything."""
    await client.slowlog_reset()
    await client.config_resetstat()
    began = time.monotonic()
    first, done = 0.0, 0
    while done < tasks:
        some = await queue.dequeue_many(250, 5)
        first = first or time.monotonic() - began
        if not some:
            break
        await queue.release_many([task_id for task_id, _ in some])
        done += len(some)
    slow: list[Any] = await client.slowlog_get(10_000)
    stats = (await client.info('commandstats')).get('cmdstat_evalsha', {})
    durations = [entry['duration'] / 1000 for entry in slow if entry['command'].startswith(b'EVAL')]
    stalls = [entry['duration'] / 1000 for entry in slow if entry['command'].startswith((b'HGET', b'HINCRBY', b'DEL'))]
    return {
        'tasks': done,
        'scripts': stats.get('calls', 0),
        'median_ms': statistics.median(durations or [SLOW / 1000]),
        'longest_ms': max(durations, default=SLOW / 1000),
        'stall_ms': max(stalls, default=0),
        'over_10_ms': sum(duration > 10 for duration in durations),
        'first_s': round(first, 3),
        'last_s': round(time.monotonic() - began, 1),
    }


async def run(kind: str, tasks: int, groups: int) -> dict[str, Any]:
    with RealServer(kind, {'slowlog-log-slower-than': str(SLOW), 'slowlog-max-len': '10000'}) as server:
        async with server.client() as client, Torrelque(client, queue='due') as queue:
            await fill(client, queue, tasks, groups)
            return await measure(client, queue, 2 * (tasks // 2))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tasks', type=int, default=1_000_000)
    parser.add_argument('--groups', type=int, default=100_000, help='that half of the tasks are in; 0 is none')
    parser.add_argument('--server', default='valkey9')
    options = parser.parse_args()
    figures = asyncio.run(run(options.server, options.tasks, options.groups))
    missing = 2 * (options.tasks // 2) - figures['tasks']
    print(json.dumps({'server': options.server, **figures, 'faults_found': missing}))
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main())
