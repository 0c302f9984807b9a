"""A schedule: what it enqueues, when, and what has become of it."""

from typing import Any

from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.visit import Visit

from .schedules import is_late, made_from
from .task import pretty

OVERLAPS = {
    'skip': 'passes the instant over', 'allow': 'enqueues another one', 'replace': 'cancels that one',
    'queue': 'enqueues another one when that is over',
}  # fmt: skip
"""What a schedule does at an instant while its task before is not finished."""
MISSED = {'latest': 'the latest fires', 'all': 'all fire', 'none': 'none fires'}
"""What becomes of several instants that are due at once."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    name = visit.queue.name
    one = await visit.schedule(name, visit.text('name'))
    view: dict[str, Any] = {
        'now': one.server_time, 'made_from': made_from(one), 'late': is_late(one), 'overlaps': OVERLAPS,
        'misses': MISSED, 'payload': None if one.payload is None else pretty(one.payload),
    }  # fmt: skip
    return Answer({'schedule': one}, view)


PAGE = Page('schedule', 'Schedule', read, every=2.0, tab='schedules')
