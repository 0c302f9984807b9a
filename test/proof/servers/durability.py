"""What the promise is worth under settings of the server that neither kills under load nor failovers show.

    python -m proof.servers.durability --server valkey9,redis6

Each experiment is a function that gives its figures; what it asserts is what must hold under the setting.  The others
are in `restart` (no persistence, `everysec`, `always`) and in `failover` (replicas).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import redis.exceptions

from proof.servers.failover import Relay, put_between, started_sentinel
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTimeoutError, read_outcome

POLICIES = ('noeviction', 'volatile-lru', 'volatile-ttl', 'allkeys-lru', 'allkeys-lfu', 'allkeys-random')
PAYLOAD = 'x' * 200
LEASE = 1.0
"""s."""


class Reports(logging.Handler):
    """Ids of tasks that the log calls damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if 'was damaged' in record.msg and record.args:
            self.ids.add(str(record.args[1]))  # type: ignore[index]


@contextlib.contextmanager
def _reports() -> Iterator[Reports]:
    logger, reports = logging.getLogger('torrelque'), Reports()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(reports)
    try:
        yield reports
    finally:
        logger.removeHandler(reports)
        logger.propagate = propagate


@contextlib.asynccontextmanager
async def _queue(server: RealServer, name: str = 'queue') -> AsyncIterator[tuple[Any, Torrelque]]:
    async with server.client() as client, Torrelque(client, queue=name) as queue:
        queue.task_timeout = LEASE
        yield client, queue


# Memory


async def memory(kind: str, policy: str, *, busy: bool) -> dict[str, Any]:
    """A queue beside a cache that needs more memory than there is.

    The queue has 1000 tasks: plain ones, some of groups, some delayed, some with a consumer that died; and 300 results.

    :param busy: whether the queue is worked off while the cache grows.  Else it stands still until the cache is full,
        so that its keys are the least recently used.
    """
    with RealServer(kind, {'maxmemory-policy': policy}) as server, _reports() as reports:
        async with _queue(server) as (client, queue):
            ids = await _fill(server, queue)
            used = (await client.info('memory'))['used_memory']
            await client.config_set('maxmemory', used + 2_000_000)
            done: set[str] = set()
            if busy:
                working = asyncio.ensure_future(_work_off(queue, done))
                refused = await _cache(client)
                await working
            else:
                refused = await _cache(client)
            late = await _enqueue_some(queue, ids)
            await _work_off(queue, done)
            dead = await queue.redrive()
            await _work_off(queue, done)
            kept = len([key async for key in client.scan_iter('{queue}:task:*')])
            stats = await queue.get_queue_stats()
            evicted = (await client.info('stats'))['evicted_keys']
            await client.config_set('maxmemory', 0)
            works = await _works(queue)
    found = {
        'server': kind, 'policy': policy, 'queue': 'busy' if busy else 'idle',
        'evicted': evicted, 'cache_refused': refused, 'enqueue_refused': late,
        'acknowledged': len(ids), 'handed_out': len(ids & done),
        'reported': len((reports.ids & ids) - done), 'recovered': dead,
        'silent': len(ids - done - reports.ids), 'still_counted': stats.tasks, 'results_of_300': min(kept, 300),
        'goes_on': works,
    }  # fmt: skip
    if not policy.startswith('allkeys'):
        assert found['handed_out'] == found['acknowledged'], found
    return found


async def _fill(server: RealServer, queue: Torrelque) -> set[str]:
    results = await queue.enqueue_many([PAYLOAD] * 300)
    for task_id, _ in await queue.dequeue_many(300):
        await queue.release(task_id, result='done')
    assert len(results) == 300
    ids = [*await queue.enqueue_many([PAYLOAD] * 100)]
    async with _queue(server) as (_, died):
        await died.dequeue_many(100)
    ids += await queue.enqueue_many([PAYLOAD] * 600)
    for group in range(4):
        ids += await queue.enqueue_many([PAYLOAD] * 50, group=f'group{group}')
    ids += await queue.enqueue_many([PAYLOAD] * 100, delay=0.5)
    return {str(task_id) for task_id in ids}


async def _cache(client: Any) -> int:
    """Write a cache of 8 MB, reading in it; how many writes were refused."""
    refused = 0
    chance = random.Random(1)
    for number in range(4000):
        try:
            await client.set(f'cache:{number}', b'x' * 2000, ex=chance.randint(1000, 5000))
        except redis.exceptions.OutOfMemoryError:
            refused += 1
        await client.get(f'cache:{chance.randint(max(0, number - 500), number)}')
    return refused


async def _enqueue_some(queue: Torrelque, ids: set[str]) -> int:
    refused = 0
    for _ in range(50):
        try:
            ids.add(str(await queue.enqueue(PAYLOAD)))
        except redis.exceptions.OutOfMemoryError:
            refused += 1
    return refused


async def _work_off(queue: Torrelque, done: set[str]) -> None:
    """Take and release until nothing has come for a lease and a bit."""
    with contextlib.suppress(TorrelqueTimeoutError):
        while True:
            for task_id, _ in await queue.dequeue_many(50, LEASE + 1):
                if await queue.touch(task_id) and await queue.release(task_id):
                    done.add(str(task_id))
            await asyncio.sleep(0.02)


async def _works(queue: Torrelque) -> bool:
    """Whether new tasks, plain and of a group, are handed out."""
    fresh = {str(await queue.enqueue('new', group=group)) for group in (None, 'group0', 'new')}
    with contextlib.suppress(TorrelqueTimeoutError):
        while fresh:
            task_id, _ = await queue.dequeue(2)
            await queue.release(task_id)
            fresh.discard(str(task_id))
    return not fresh


# Persistence


async def nothing_kept(kind: str) -> dict[str, Any]:
    """Without persistence a killed server has lost everything; objects that were at work go on."""
    with RealServer(kind) as server:
        async with _queue(server) as (_, queue):
            await queue.enqueue_many(range(1000))
            task_id, _ = await queue.dequeue()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            left = (await queue.get_queue_stats()).tasks
            told = await queue.release(task_id)
            works = await _works(queue)
    assert works and told is False and left == 0
    return {'server': kind, 'acknowledged': 1000, 'left': left, 'holder_is_told': told is False, 'goes_on': works}


# Replicas


async def confirmed_one_by_one(kind: str, lag: float = 0.3) -> dict[str, Any]:
    """Each task is enqueued and confirmed over one connection; then the primary is killed.

    A pipeline that is no transaction has one connection for both, so `WAIT` is about the enqueue itself; in a
    transaction it would not wait.
    """
    ids: dict[str, int] = {}
    async with started_sentinel(kind) as sentinel, Relay(sentinel.primary.port).running() as relay:
        await put_between(sentinel, relay, lag)
        async with sentinel.master_for() as client, Torrelque(client, queue='queue') as queue:

            async def enqueue(patience: float) -> None:
                async with client.pipeline(transaction=False) as pipe:
                    task_id = await queue.enqueue('a task', pipeline=pipe)
                    pipe.execute_command('WAIT', 1, int(patience * 1000))
                    outcome, replicas = await pipe.execute()
                read_outcome(outcome)
                ids[str(task_id)] = replicas

            await asyncio.gather(*(enqueue(10) for _ in range(50)))
            # These are acknowledged, and nobody knows whether a replica has them.
            await asyncio.gather(*(enqueue(lag / 10) for _ in range(50)))
            await asyncio.to_thread(sentinel.kill_primary)
            relay.cut()
            await asyncio.to_thread(sentinel.wait_failover)
            done: set[str] = set()
            await _work_off(queue, done)
    confirmed = {task_id for task_id, replicas in ids.items() if replicas}
    found = {
        'server': kind, 'acknowledged': len(ids), 'confirmed': len(confirmed),
        'lost': len(ids.keys() - done), 'lost_confirmed': len(confirmed - done),
    }  # fmt: skip
    assert confirmed and not found['lost_confirmed'], found
    return found


async def everything(kinds: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {'memory': [], 'nothing_kept': [], 'confirmed_one_by_one': []}
    for kind in kinds:
        found['nothing_kept'].append(await nothing_kept(kind))
        found['confirmed_one_by_one'].append(await confirmed_one_by_one(kind))
        for policy in POLICIES:
            for busy in (False, True):
                found['memory'].append(await memory(kind, policy, busy=busy))
    return found


def _print(rows: list[dict[str, Any]]) -> None:
    """As a table of the documentation."""
    print('|', ' | '.join(name.replace('_', ' ') for name in rows[0]), '|')
    print('|', ' | '.join('---' for _ in rows[0]), '|')
    for row in rows:
        print('|', ' | '.join(str(value) for value in row.values()), '|')
    print()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--server', default='valkey9', help='kinds')
    chosen = parser.parse_args(arguments)
    found = asyncio.run(everything(chosen.server.split(',')))
    for rows in found.values():
        _print(rows)
    print(json.dumps({'server': chosen.server, **found, 'faults_found': 0}))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
