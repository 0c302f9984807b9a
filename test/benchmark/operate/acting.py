"""What it costs to look at errors, and to act on many tasks."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import redis.asyncio

from benchmark.operate.figures import Figure, Plan
from benchmark.operate.hearts import server_time
from support.burying import die, traceback_of
from torrelque import Torrelque
from torrelque.operate import Operator, Selection

T = TypeVar('T')

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


async def measure(client: redis.asyncio.Redis, plan: Plan) -> list[Figure]:
    """The figures, of a tenth of the tasks of the plan."""
    tasks = plan.tasks // 10
    async with Torrelque(client, queue='acted') as queue:
        operator = Operator(queue)
        await die(queue, tasks, error_of)
        found: dict[str, Cost] = {}
        await operator.errors()
        for name, most in (('newest 1,000', 1000), ('newest 10,000', 10_000)):
            found[name], errors = await cost_of(client, functools.partial(operator.errors, most=most))
            assert errors.dead_seen == min(most, tasks) and len(errors.errors) <= 20
        for name, paced, limit in (('paced', True, tasks // 10), ('unpaced', False, None)):
            before = (await queue.get_queue_stats()).dead
            act = functools.partial(operator.redrive, Selection(), paced=paced, limit=limit)
            found[name], outcome = await cost_of(client, act)
            assert outcome.done == (before if limit is None else limit)
        left = (await queue.get_queue_stats()).pending
        found['cancel'], outcome = await cost_of(client, lambda: operator.cancel(Selection(), paced=False))
        assert outcome.done == left == tasks
    return [
        Figure('errors of the newest 1,000', found['newest 1,000'].seconds * 1e3, 'ms', 50),
        Figure('errors of the newest 10,000', found['newest 10,000'].seconds * 1e3, 'ms'),
        Figure(f'redrive of {tasks * 9 // 10:,}, unpaced', found['unpaced'].seconds, 's', tasks * 0.9 / 10_000),
        Figure('redrive, paced: share of the server', found['paced'].share * 100, '%', 25),
        Figure(f'cancel of {tasks:,}, unpaced', found['cancel'].seconds, 's'),
    ]
