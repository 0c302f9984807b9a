"""Flows of a queue that have not ended, those first that need somebody, and which of them stand still."""

from typing import Any

from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.visit import Visit
from torrelque.operate import FlowView

ROWS = 50
LOOKED = 10_000
"""Tasks and flows that wait, of which as many are looked at for one page."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    name = visit.queue.name
    after, page = visit.text('after') or None, visit.number('page', 1, 10**6)
    found = await visit.flows(name, after, LOOKED)
    stalled = await visit.stalled(name)
    flows = sorted(found.flows, key=order_of)
    begin = (page - 1) * ROWS
    view: dict[str, Any] = {
        'now': found.server_time, 'seen': found.seen, 'waiting': found.total, 'known': len(flows),
        'page_number': page, 'more': begin + ROWS < len(flows), 'first': after is None and page == 1,
        'after': after, 'broken': found.broken,
    }  # fmt: skip
    return Answer(
        {'queue': name, 'flows': flows[begin : begin + ROWS], 'stalled': stalled, 'cursor': found.cursor}, view
    )


def order_of(flow: FlowView) -> tuple[bool, float, str]:
    """Those with dead tasks come first, and of others the newest."""
    return not flow.dead, -(flow.started or 0.0), flow.id


PAGE = Page('flows', 'Flows', read, every=2.0)
