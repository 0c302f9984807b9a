"""What ``torrelque top`` knows of the server, and when it asks again: only for what is looked at."""

import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from torrelque.operate import (
    FunctionView,
    Groups,
    Operator,
    Overview,
    Page,
    Reason,
    Record,
    TaskView,
    WorkerView,
)

from .topkeys import Spot

HOUR = 3600.0
MINUTES = 3
"""Hours of the graph, whose columns are minutes."""

EVERY = {'workers': 2.0, 'history': 15.0, 'functions': 5.0, 'groups': 30.0, 'dead': 5.0, 'task': 2.0, 'group': 5.0,
         'function': 15.0}  # fmt: skip
"""s from one question to the next of its kind.  A survey of groups looks at all of them."""

MOST = 200
"""Rows of groups, and of tasks, at the most."""
NEWEST = 1000
"""The newest dead tasks that are looked at for those of a function."""


@dataclass
class Look:
    """What the server has told, and when (s, monotonic)."""

    every: float = 1.0
    """s from one overview to the next."""
    overviews: list[Overview] = field(default_factory=list)
    workers: list[WorkerView] = field(default_factory=list)
    history: dict[str, list[Record]] = field(default_factory=dict)
    functions: dict[str, list[FunctionView]] = field(default_factory=dict)
    groups: dict[str, Groups] = field(default_factory=dict)
    dead: dict[str, Page] = field(default_factory=dict)
    group: dict[tuple[str, str], tuple[Page, list[Reason]]] = field(default_factory=dict)
    """By queue and name: the tasks that wait in the group that is looked at, and why it does not move."""
    function: dict[tuple[str, str], Page] = field(default_factory=dict)
    """By queue and name: the dead tasks of the function that is looked at, of the newest ones."""
    tasks: dict[tuple[str, str], tuple[TaskView, list[Reason]]] = field(default_factory=dict)
    """By queue and id: the task that is looked at, and why it does not run."""
    problem: str | None = None
    """Why there is no answer."""
    answered: float | None = None
    """When the last answer came."""
    _asked: dict[tuple[str, Hashable], float] = field(default_factory=dict)

    def of(self, queue: str) -> Overview | None:
        """What is known of a queue."""
        return next((one for one in self.overviews if one.queue == queue), None)

    def again(self) -> None:
        """Have all that is looked at asked for at once."""
        self._asked.clear()

    async def ask(self, operator: Operator, spot: Spot, queue: str) -> None:
        """Ask for what is looked at, as far as it is time; what `Operator` raises.

        :param queue: whose graph is shown, or what is looked at.
        """
        await self._ask('overviews', '', operator.overviews, self._keep_overviews)
        await self._ask('workers', '', operator.workers, self._keep_workers)
        if spot.view == 'queues' and queue:
            await self._ask('history', queue, lambda: operator.history(MINUTES * HOUR, queue=queue), self.history)
        elif spot.view == 'functions':
            await self._ask('functions', queue, lambda: _functions(operator, queue), self.functions)
        elif spot.view == 'groups':
            await self._ask('groups', queue, lambda: operator.groups(most=MOST, queue=queue), self.groups)
        elif spot.view == 'dead':
            await self._ask('dead', queue, lambda: _dead(operator, queue, MOST), self.dead)
        elif spot.view == 'group':
            await self._ask('group', (queue, spot.of), lambda: _group(operator, spot), self.group)
        elif spot.view == 'function':
            await self._ask('function', (queue, spot.of), lambda: _dead_of(operator, spot), self.function)
        elif spot.view == 'task':
            await self._ask('task', (queue, spot.task), lambda: _task(operator, spot), self.tasks)
        self.problem, self.answered = None, time.monotonic()

    async def _ask(self, kind: str, of: Hashable, ask: Callable[[], Awaitable[Any]], keep: Any) -> None:
        now = time.monotonic()
        # A timer may end a little early.
        if now - self._asked.get((kind, of), -1e9) < 0.95 * EVERY.get(kind, self.every):
            return
        answer = await ask()
        self._asked[kind, of] = now
        if callable(keep):
            keep(answer)
        else:
            # What was looked at before is not kept: it may be of ten thousand groups.
            keep.clear()
            keep[of] = answer

    def _keep_overviews(self, overviews: list[Overview]) -> None:
        self.overviews = overviews

    def _keep_workers(self, workers: list[WorkerView]) -> None:
        self.workers = workers


async def _functions(operator: Operator, queue: str) -> list[FunctionView]:
    return [one for one in await operator.functions(since=HOUR) if one.queue == queue]


async def _task(operator: Operator, spot: Spot) -> tuple[TaskView, list[Reason]]:
    task = await operator.task(spot.task, queue=spot.queue)
    return task, await operator.explain(spot.task, queue=spot.queue)


async def _dead(operator: Operator, queue: str, most: int) -> Page:
    return await operator.page('dead', most=most, newest_first=True, queue=queue)


async def _dead_of(operator: Operator, spot: Spot) -> Page:
    page = await _dead(operator, spot.queue, NEWEST)
    return replace(page, tasks=tuple(task for task in page.tasks if (task.function or '') == spot.of))


async def _group(operator: Operator, spot: Spot) -> tuple[Page, list[Reason]]:
    page = await operator.page(f'group:{spot.of}', most=MOST, queue=spot.queue)
    return page, await operator.explain(group=spot.of, queue=spot.queue)
