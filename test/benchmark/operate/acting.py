"""What it costs to look at errors, and to act on many tasks: ``python -m benchmark.operate.acting [KIND [TASKS]]``."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import redis.asyncio

from benchmark.operate.hearts import server_time
from support.burying import die, traceback_of
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.operate import Operator, Selection

T = TypeVar('T')

TASKS = 100_000
FRAMES = [('/srv/app/mail.py', f'step{number}') for number in range(12)]


class Cost(NamedTuple):
    """What a call took."""

    seconds: float
    """By the clock, which on a busy machine goes on while others work."""
    server: float
    """Processor time (s) of the server."""
    client: float
    """Processor time (s) of this process."""
    scripts: float
    """How long (s) the server was in scripts, by the clock."""

    @property
    def share(self) -> float:
        """How much of the server it has used."""
        return self.scripts / self.seconds


def error_of(number: int) -> str:
    """One of twenty errors, each of which has numbers of its own."""
    error = f"ConnectionRefusedError: [Errno 111] Connect call {number} failed ('10.0.0.{number % 200}', {number})"
    error = error if number % 4 else f"KeyError: '{number}'"
    return traceback_of(*FRAMES[number % 5 :], error=error, line=number % 900)


async def cost_of(client: redis.asyncio.Redis, call: Callable[[], Awaitable[T]]) -> tuple[Cost, T]:
    """What a call costs, and what it comes to."""
    await client.config_resetstat()
    before = await server_time(client)
    began, own = time.perf_counter(), time.process_time()
    result = await call()
    seconds, own = time.perf_counter() - began, time.process_time() - own
    server = await server_time(client) - before
    stats: dict[str, Any] = await client.info('commandstats')
    scripts = sum(one['usec'] for name, one in stats.items() if name.startswith('cmdstat_eval'))
    return Cost(seconds, server, own, scripts / 1e6), result


async def measure(server: RealServer, tasks: int) -> dict[str, Cost]:
    """The figures."""
    async with server.client() as client, Torrelque(client, queue='acted') as queue:
        operator = Operator(queue)
        await die(queue, tasks, error_of)
        found: dict[str, Cost] = {}
        await operator.errors()
        for name, most in (('errors, newest 1,000', 1000), ('errors, newest 10,000', 10_000)):
            found[name], errors = await cost_of(client, functools.partial(operator.errors, most=most))
            assert errors.dead_seen == min(most, tasks) and len(errors.errors) <= 20
        for name, paced, limit in (('redrive, paced', True, tasks // 10), ('redrive, unpaced', False, None)):
            before = (await queue.get_queue_stats()).dead
            act = functools.partial(operator.redrive, Selection(), paced=paced, limit=limit)
            found[name], outcome = await cost_of(client, act)
            assert outcome.done == (before if limit is None else limit)
        left = (await queue.get_queue_stats()).pending
        found['cancel, unpaced'], outcome = await cost_of(client, lambda: operator.cancel(Selection(), paced=False))
        assert outcome.done == left == tasks
        return found


def main(kind: str = 'valkey9', tasks: str = str(TASKS)) -> None:
    """Print the figures."""
    count = int(tasks)
    with RealServer(kind) as server:
        found = asyncio.run(measure(server, count))
    goals = {
        'errors, newest 1,000': 'goal 50 ms',
        'redrive, unpaced': f'goal {TASKS:,} in 10 s',
        'redrive, paced': 'goal at most a quarter of the server',
    }
    print(f'{count:,} tasks on {kind}')
    for name, cost in found.items():
        words = [f'{name}: {cost.seconds * 1e3:,.0f} ms', f'{cost.server * 1e3:,.0f} ms of processor of the server']
        words += [f'{cost.client * 1e3:,.0f} of the client', f'{cost.scripts * 1e3:,.0f} in scripts']
        print(', '.join([*words, f'{cost.share:.0%} of the server', *filter(None, [goals.get(name)])]))


if __name__ == '__main__':
    main(*sys.argv[1:])
