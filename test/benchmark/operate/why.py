"""What it costs to tell why a task does not run: of any place, with limits and pauses, and among many holders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio

from benchmark.operate.figures import Figure, Plan
from torrelque import Torrelque
from torrelque.operate import Operator

LOOK, SEARCH, WHOLE = 250, 500, 2000
"""µs at the most: of one look, of one that searches a long list, and of all calls together."""
UNIT = 'µs of the server'


async def _cost(client: redis.asyncio.Redis, plan: Plan, ask: Callable[[], Awaitable[Any]]) -> float:
    """µs of the server that a question takes: its scripts, and the search of all holders, which is a command."""
    await ask()
    costs = []
    for _ in range(plan.rounds):
        await client.config_resetstat()
        for _ in range(plan.times):
            await ask()
        stats: dict[str, Any] = await client.info('commandstats')
        sent = ('cmdstat_eval', 'cmdstat_hscan')
        used: int = sum(stats[name]['usec'] for name in stats if name.startswith(sent))
        costs.append(used / plan.times)
    return min(costs)


async def measure(client: redis.asyncio.Redis, plan: Plan) -> list[Figure]:
    """The figures, on an empty server."""
    figures = []

    async def figure(name: str, goal: float, ask: Callable[[], Awaitable[Any]]) -> None:
        figures.append(Figure(name, await _cost(client, plan, ask), UNIT, goal))

    async with Torrelque(client, queue='why') as queue:
        operator = Operator(queue)
        members = 10
        plain = await queue.enqueue_many([{'task': 'f'}] * (plan.tasks - members * plan.groups))
        grouped = await queue.enqueue_many(
            [{'task': 'f', 'args': [number]} for number in range(members * plan.groups)],
            group=lambda task: f'group-{task["args"][0] // members}',
        )
        for name, goal, task_id in (
            ('first of the plain list', LOOK, plain[0]),
            ('near its right end', SEARCH, plain[min(9_000, len(plain) // 2)]),
            ('far from both ends', SEARCH, plain[len(plain) // 2]),
            ('last of the plain list', SEARCH, plain[-1]),
            ('head of a group', SEARCH, grouped[members * (plan.groups // 2)]),
            ('behind the head', SEARCH, grouped[-1]),
            ('unknown', LOOK, 'x'),
        ):
            await figure(name, goal, lambda task_id=task_id: operator.explain(task_id))  # type: ignore[misc]
        await figure('the queue', LOOK, operator.explain)
        await queue.set_limit(concurrency=5)
        await figure('behind a head, with limits', WHOLE, lambda: operator.explain(grouped[-1]))
        for number in range(min(200, plan.groups)):
            await queue.pause(f'group-{number}')
        await figure('behind 100 heads that do not go', WHOLE, lambda: operator.explain(plain[0]))
    async with Torrelque(client, queue='full') as queue:
        # One group has all its slots in use, among as many holders of others as there are groups.
        operator = Operator(queue)
        await queue.set_limit('busy', concurrency=3)
        busy = await queue.enqueue_many(['x'] * 4, group='busy')
        for _ in range(3):
            await queue.dequeue()
        await queue.enqueue_many(range(plan.groups), group=lambda number: f'group-{number}')
        await figure('a group at its limit, its holders searched', WHOLE, lambda: operator.explain(busy[3]))
    async with Torrelque(client, queue='many') as queue:
        operator = Operator(queue)
        await queue.set_limit('many', concurrency=plan.groups)
        ids = await queue.enqueue_many(range(plan.groups + 1), group='many')
        taken = 0
        while taken < plan.groups:
            taken += len(await queue.dequeue_many(100))
        await figure(f'a group with {plan.groups:,} holders', WHOLE, lambda: operator.explain(ids[-1]))
    return figures
