"""Questions whose cost is not to grow with the queue: overview, pages, a survey of groups, a walk."""

from __future__ import annotations

import redis.asyncio

from benchmark.operate.figures import Figure, Plan, best_of, used_by
from torrelque import Torrelque
from torrelque.operate import Operator
from torrelque.operate.pages import walk


async def _fill(queue: Torrelque, plan: Plan) -> None:
    """Plain tasks, ten of each group, some of each other kind."""
    grouped = min(plan.groups * 10, plan.tasks // 2)
    await queue.enqueue_many(
        range(grouped), group=lambda number: f'group-{number % plan.groups}',
    )  # fmt: skip
    for priority in (5, -5):
        await queue.enqueue_many(range(plan.tasks // 100), priority=priority)
    await queue.enqueue_many(range(plan.tasks // 100), delay=3600)
    await queue.enqueue_many(
        {'task': 'mail', 'args': [number]} for number in range(plan.tasks - grouped - 3 * (plan.tasks // 100))
    )
    for task_id, _ in await queue.dequeue_many(250):
        await queue.bury(task_id, error='it failed')
    await queue.dequeue_many(250)


async def measure(client: redis.asyncio.Redis, plan: Plan) -> list[Figure]:
    """The figures, on an empty server."""
    figures = []
    async with Torrelque(client, queue='read') as queue:
        await _fill(queue, plan)
        operator = Operator(queue)

        async def survey() -> None:
            await operator.groups(most=20)

        async def walked() -> None:
            seen = 0
            async for part in walk(queue, 'pending'):
                seen += len(part)
                if seen >= plan.tasks // 10:
                    return

        taken = await best_of(plan, client, operator.overview)
        figures.append(Figure('overview', taken, 'µs of the server', 60))
        taken = await best_of(plan, client, lambda: operator.page('dead', most=50))
        figures.append(Figure('page of 50, all its calls', taken, 'µs of the server', 1500))
        # Between the calls are pauses, in which a server of so many tasks has work of its own.
        several = [await used_by(client, survey) for _ in range(min(5, plan.rounds))]
        used = min(several, key=lambda one: one.microseconds)
        figures.append(Figure('survey of all groups', used.microseconds / 1000, 'ms of the server', 150))
        figures.append(Figure('its calls', used.calls, 'calls'))
        figures.append(Figure('one of them', used.microseconds / used.calls, 'µs of the server', 2000))
        used = await used_by(client, walked)
        figures.append(Figure('walk, 250 tasks', used.processor / (plan.tasks / 2500), 'µs of processor time'))
    return figures
