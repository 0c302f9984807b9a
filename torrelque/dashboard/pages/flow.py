"""A flow: how far it is, its tasks as a graph and as a table, and why it does not go on."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torrelque.dashboard.graph import ORDER, draw
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.reads import Trouble
from torrelque.dashboard.visit import Visit
from torrelque.operate import FlowTaskView, FlowView, Reason

ROWS = 100
"""Tasks of one page, about."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    name = visit.queue.name
    after = visit.text('after') or None
    found = await visit.flow(name, visit.text('id'), after, ROWS)
    tasks = tuple(sorted(found.tasks, key=order_of(found)))
    flow = visit.shield.flow(replace(found, tasks=tasks, task=None))
    reasons: list[Reason] | Trouble | None = []
    if flow.status is None or not flow.status.isfinal() or flow.left:
        reasons = await visit.flow_reasons(flow)
    whole = after is None and flow.cursor is None
    words = Counter(task.word for task in flow.tasks)
    view: dict[str, Any] = {
        'now': flow.server_time, 'graph': draw(flow.tasks) if whole else None, 'first': after is None, 'whole': whole,
        'counts': [(word, words[word]) for word in ORDER if words[word]] if whole else [],
    }  # fmt: skip
    return Answer({'flow': flow, 'reasons': reasons}, view)


def order_of(view: FlowView) -> Callable[[FlowTaskView], Any]:
    """The order in which a flow was made, as far as its payload tells; others by their names."""
    nodes = view.task.get('nodes') if isinstance(view.task, Mapping) else None
    places: dict[Any, int] = {}
    with suppress(TypeError, LookupError):
        places = {node[0]: place for place, node in enumerate(nodes or ())}
    return lambda task: (places.get(task.name, len(places)), natural(task.name))


def natural(name: str) -> list[tuple[int, str]]:
    """A name, in whose order numbers count as such."""
    parts = re.split(r'(\d{1,20})', name, flags=re.ASCII)
    return [(int(part), '') if place % 2 else (0, part) for place, part in enumerate(parts)]


PAGE = Page('flow', 'Flow', read, every=1.5, tab='flows')
