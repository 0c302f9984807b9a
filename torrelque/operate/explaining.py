"""Why a task, a group or a queue does not move: one look at the server, the workers' hearts, then the reasons."""

from torrelque import Torrelque

from .values import Reason

CODES = (
    'unknown', 'broken', 'finished', 'working', 'orphaned', 'dead', 'cancelled', 'delayed', 'retry', 'overdue',
    'queue-paused', 'group-paused', 'at-limit', 'no-token', 'behind', 'no-worker', 'not-known', 'all-busy', 'stuck',
)  # fmt: skip
"""What a reason can be, the decisive ones first."""


async def explain(queue: Torrelque, task_id: str | None, group: str | None) -> list[Reason]:
    """Reasons, the decisive one first; () where a claim made now would give the task."""
    raise NotImplementedError
