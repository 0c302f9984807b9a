"""What all parts of the scale benchmark share: how much, the server and its log, how queues are filled and drained."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from benchmark.tables import Row
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.sharded import Sharded

Figures = dict[str, Any]

KIND = 'valkey9'
SLOW = 1000
"""µs from which the server notes a command."""
LONG = 10.0
"""ms; of the scripts that took longer it is told how many there were."""
LOG = 30_000
"""Commands of which the server keeps a note: more than any phase has scripts."""
LOOPS = 100
MOST = 250
"""Tasks of a claim, at the most."""
PATIENCE = 300.0
"""s in which a phase is over; else a task was lost."""

SCRIPTS = ['scripts', 'longest ms', 'over 10 ms', 'stall ms']

# Commands of scripts that take microseconds, whatever there is in the queue, and however large it is.
_BRIEF = frozenset({b'HINCRBY', b'DEL', b'EXISTS', b'ZSCORE', b'ZCARD', b'TIME'})


class Sharding(NamedTuple):
    """How much is measured of queues with shards; times are seconds."""

    rounds: int
    lives: int
    """Tasks of a round, for each queue."""
    primaries: tuple[int, ...]
    counted: int
    """Tasks of which the servers' instructions are counted."""
    trickle: float
    """For how long tasks trickle in, in each round."""
    crowd: int
    """Processes that wait for them, at the most."""
    waiting: tuple[int, ...]
    """Shards of a process that waits in vain, ..."""
    idle: float
    """... and for how long it is looked at."""
    away: float
    """For how long a server is dead; one that is stopped is for half of it."""
    steady: float
    """For how long everything goes on before that, and after."""
    producers: int
    """Of each kind, plain ones and those of strict groups."""
    killed: tuple[int, ...]
    """Shards of queues whose consumers are killed, 0 of one without; ..."""
    kills: float
    """... and for how long."""
    processes: tuple[int, ...]
    """Of a worker."""
    work: int
    """Tasks for such a worker."""


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    """What a drain by processes or consumers should take."""
    probe: int
    """Tasks of the first try, by which the number is learnt that takes so long."""
    million: int
    processes: tuple[int, ...]
    consumers: tuple[int, ...]
    grouped: int
    groups: tuple[int, ...]
    large: int
    """Tasks of the large group."""
    payloads: tuple[tuple[int, int], ...]
    """Bytes of a payload, and how many tasks."""
    primaries: tuple[int, ...]
    simulated: tuple[int, ...]
    """Shards, in the simulation."""
    sharding: Sharding


FULL = Plan(
    rounds=3,
    seconds=2.0,
    probe=5000,
    million=1_000_000,
    processes=(1, 2, 4, 8),
    consumers=(1, 10, 100, 1000),
    grouped=100_000,
    groups=(1, 100, 10_000, 100_000),
    large=1_000_000,
    payloads=((1000, 20_000), (100_000, 2000), (10_000_000, 20)),
    primaries=(1, 2, 3),
    simulated=(1, 2, 4, 8, 16, 32, 64, 128),
    sharding=Sharding(
        rounds=9,
        lives=12_000,
        primaries=(1, 2, 3, 4),
        counted=12_000,
        trickle=12,
        crowd=4,
        waiting=(1, 12, 48, 192),
        idle=10,
        away=4,
        steady=3,
        producers=40,
        killed=(0, 12, 48),
        kills=50,
        processes=(1, 2, 3),
        work=30_000,
    ),
)
SMALL = Plan(
    rounds=1,
    seconds=0.05,
    probe=500,
    million=5000,
    processes=(1, 2),
    consumers=(1, 10),
    grouped=1000,
    groups=(1, 100, 1000),
    large=3000,
    payloads=((1000, 100), (100_000, 20), (10_000_000, 2)),
    primaries=(1, 2, 3),
    simulated=(1, 2),
    sharding=Sharding(
        rounds=1,
        lives=500,
        primaries=(1, 2),
        counted=250,
        trickle=0.5,
        crowd=1,
        waiting=(12,),
        idle=0.5,
        away=0.6,
        steady=0.5,
        producers=5,
        killed=(12,),
        kills=1,
        processes=(1, 2),
        work=300,
    ),
)


class Tally:
    """How many tasks went in and came out, and what is left of the queues."""

    def __init__(self) -> None:
        self.enqueued = 0
        self.drained = 0
        self.keys: list[str] = []

    # Methods: an addition across an `await` would forget what others added meanwhile.

    def put(self, count: int) -> None:
        self.enqueued += count

    def take(self, count: int) -> None:
        self.drained += count

    def look_for_keys(self, client: redis.Redis) -> None:
        """Note the keys that remain; what has a time to live goes by itself, in a minute at the latest."""
        until = time.monotonic() + 100
        while (left := self._keys(client)) and time.monotonic() < until:
            time.sleep(0.05)
        self.keys += left

    def _keys(self, client: redis.Redis) -> list[str]:
        left: list[Any] = client.keys('*')
        return [key.decode() for key in left if b':claim:' not in key]


@contextmanager
def start_server() -> Iterator[tuple[RealServer, redis.Redis]]:
    """A server without persistence and notifications, and a client to look at it, which waits as long as it takes."""
    config = {'notify-keyspace-events': '""', 'slowlog-log-slower-than': str(SLOW), 'slowlog-max-len': str(LOG)}
    with RealServer(KIND, config) as server, server.sync_client(socket_timeout=None) as client:
        yield server, client


class Log:
    """What the server notes of its scripts."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def reset(self) -> None:
        self._client.config_resetstat()
        self._client.slowlog_reset()

    def read(self) -> Figures:
        """Since `reset`, or since it was read last: how many scripts, how long they took on average and the longest
        (ms), how many took longer than `LONG`.

        ``stall_ms`` is the longest that one brief command took: for so long the machine kept the server waiting.
        What was too short to be noted counts as 0.
        """
        stats: dict[str, Any] = self._client.info('commandstats')
        ran = [stats[name] for name in ('cmdstat_eval', 'cmdstat_evalsha') if name in stats]
        scripts = sum(each['calls'] for each in ran)
        noted = [(entry['command'].split()[0], entry['duration'] / 1000) for entry in self._client.slowlog_get(LOG)]
        durations = [duration for name, duration in noted if name.startswith(b'EVAL')]
        self.reset()
        return {
            'scripts': scripts,
            'mean_ms': sum(each['usec'] for each in ran) / 1000 / max(scripts, 1),
            'longest_ms': max(durations, default=0.0),
            'over_10_ms': sum(duration > LONG for duration in durations),
            'stall_ms': max((duration for name, duration in noted if name in _BRIEF), default=0.0),
        }


def worst(parts: list[Figures]) -> Figures:
    """What `Log.read` told of several phases, as of one."""
    return {
        'scripts': sum(part['scripts'] for part in parts),
        'longest_ms': max(part['longest_ms'] for part in parts),
        'over_10_ms': sum(part['over_10_ms'] for part in parts),
        'stall_ms': max(part['stall_ms'] for part in parts),
    }


def script_cells(part: Figures) -> Row:
    """What `Log.read` told, in a table under `SCRIPTS`."""
    times = [f'{part[name]:.1f}' if part[name] else f'<{SLOW / 1000:.0f}' for name in ('longest_ms', 'stall_ms')]
    return [f'{part["scripts"]:,}', times[0], f'{part["over_10_ms"]:,}', times[1]]


def small_task(number: int) -> dict[str, str]:
    """Of about 60 bytes."""
    return {'addr': f'user{number:07}@example.com', 'subj': 'x' * 16}


async def timed(call: Awaitable[Any]) -> float:
    """How long (s) it takes."""
    began = time.perf_counter()
    await asyncio.wait_for(call, PATIENCE)
    return time.perf_counter() - began


async def fill(queue: Torrelque | Sharded, tally: Tally, tasks: Any, **options: Any) -> None:
    """Enqueue in bulk."""
    tally.put(len(await queue.enqueue_many(tasks, **options)))


async def enqueue_by_loops(queue: Torrelque | Sharded, count: int, loops: int = LOOPS) -> None:
    """Enqueue one by one, so many at the same time."""
    numbers = iter(range(count))

    async def loop() -> None:
        for number in numbers:
            await queue.enqueue(small_task(number))

    await asyncio.gather(*(loop() for _ in range(loops)))


async def drain_in_bulk(
    queue: Torrelque | Sharded, tally: Tally, count: int, most: int = MOST, note: Callable[[int], None] | None = None
) -> None:
    """Take and release so many tasks by one loop; ``note`` is told after each call how many are done."""
    done = 0
    while done < count:
        some = await queue.dequeue_many(most, PATIENCE)
        tally.take(sum(await queue.release_many([task_id for task_id, _ in some])))
        done += len(some)
        if note:
            note(done)


async def drain_by_loops(queue: Torrelque | Sharded, tally: Tally, count: int, loops: int = LOOPS) -> None:
    """Take and release so many tasks one by one, by plain loops."""
    left = count

    async def loop() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            task_id, _ = await queue.dequeue()
            tally.take(await queue.release(task_id))

    await asyncio.gather(*(loop() for _ in range(loops)))
