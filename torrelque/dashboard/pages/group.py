"""A group: its figures, why it does not move, who holds its slots, its tasks in their order."""

import asyncio
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from torrelque import TorrelqueValueError
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.reads import Trouble
from torrelque.dashboard.selecting import exactly
from torrelque.dashboard.visit import Visit
from torrelque.operate import GroupView, Holder, Page as Found, Reason, WorkerView

ROWS = 50
PAYLOAD = 4096
"""Bytes of a payload that are read for a row."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    queue, name = visit.queue.name, visit.text('name')
    if not name:
        raise TorrelqueValueError('name a group')
    after = visit.text('after') or None
    group, reasons, workers, page = await asyncio.gather(
        visit.group(queue, name),
        visit.part(visit.reasons(queue, group=name)),
        visit.part(visit.workers(queue)),
        visit.part(_tasks(visit, queue, name, after)),
    )
    values: dict[str, Any] = {
        'group': group, 'reasons': reasons, 'holders': holders_of(group, reasons, workers), 'tasks': page,
        'cursor': None,
    }  # fmt: skip
    view: dict[str, Any] = {'queue': queue, 'exact': exactly(name), 'first': after is None, 'why': reasons}
    if not isinstance(reasons, Trouble):
        # Who holds the slots is told below.
        view['why'] = [dataclasses.replace(reason, holders=(), workers=()) for reason in reasons]
    if not isinstance(page, Trouble):
        values |= {'tasks': [visit.shield.task(task) for task in page], 'cursor': page.cursor}
        view['now'] = page.server_time
    return Answer(values, view)


async def _tasks(visit: Visit, queue: str, name: str, after: str | None) -> Found:
    return await visit.operator.page(f'group:{name}', after=after, most=ROWS, payload=PAYLOAD, queue=queue)


def holders_of(
    group: GroupView, reasons: Sequence[Reason] | Trouble, workers: Sequence[WorkerView] | Trouble
) -> list[Holder]:
    """Tasks that hold a slot: those that are in the way of others, else the next one, and those that workers tell of.
    """
    if not isinstance(reasons, Trouble):
        for reason in reasons:
            if reason.holders:
                return [*reason.holders]
    found = {
        task.id: Holder(task.id, 'working', task.name or None, worker.name, task.since or None, None, None, None)
        for worker in ([] if isinstance(workers, Trouble) else workers)
        for task in worker.running
        if task.group == group.name and task.queue == group.queue and worker.state != 'lost'
    }
    if group.head is not None:
        found[group.head] = Holder(group.head, 'next', None, None, None, None, None, None)
    return sorted(found.values(), key=lambda one: one.since or math.inf)


PAGE = Page('group', 'Group', read, every=2.0, tab='groups')
