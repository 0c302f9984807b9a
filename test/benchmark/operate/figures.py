"""A figure, and how the time of the server is measured: by its own statistics of commands, not by a clock here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import redis.asyncio


class Plan(NamedTuple):
    """How much there is to be asked about."""

    tasks: int
    groups: int
    times: int
    """How often something short is done in a round; its mean counts."""
    rounds: int
    """Of so many rounds the best counts: the server's time is by the clock, and a machine has other things to do."""


FULL = Plan(1_000_000, 10_000, 4, 200)
SMALL = Plan(2_000, 100, 10, 2)


class Figure(NamedTuple):
    """Something that was measured."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    """What it is to be at the most, or None."""

    @property
    def reached(self) -> bool:
        """Whether it is as small as it is to be."""
        return self.goal is None or self.value <= self.goal


class Used(NamedTuple):
    """What commands have cost the server."""

    calls: int
    microseconds: float
    """By the clock, so that what the machine did meanwhile counts."""
    processor: float
    """µs of processor time of the server, what it read and wrote counted."""


async def best_of(plan: Plan, client: redis.asyncio.Redis, ask: Callable[[], Awaitable[Any]]) -> float:
    """µs of the server that a question takes, all its calls together."""

    async def several() -> None:
        for _ in range(plan.times):
            await ask()

    await ask()
    return min([(await used_by(client, several)).microseconds / plan.times for _ in range(plan.rounds)])


async def used_by(client: redis.asyncio.Redis, what: Callable[[], Awaitable[Any]]) -> Used:
    """The commands that something sends, without those inside of scripts, and the time of the server that they took."""
    before = await _processor(client)
    await client.config_resetstat()
    await what()
    after = await _processor(client)
    stats: dict[str, Any] = await client.info('commandstats')
    outer = [stats[name] for name in stats if name.startswith(('cmdstat_eval', 'cmdstat_evalsha'))]
    return Used(sum(one['calls'] for one in outer), sum(one['usec'] for one in outer), (after - before) * 1e6)


async def _processor(client: redis.asyncio.Redis) -> float:
    found: dict[str, Any] = await client.info('cpu')
    return float(found['used_cpu_user']) + float(found['used_cpu_sys'])
