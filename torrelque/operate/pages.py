"""Tasks, some at a time, by cursors: a walk misses no task that stays where it is."""

from collections.abc import AsyncIterator, Sequence

from torrelque import Torrelque

from .values import Page, TaskView

PLACES = ('pending', 'priority', 'group', 'turns', 'working', 'delayed', 'dead')
"""Where a task can be; a page of ``group:NAME`` is that of one group."""


async def read_page(queue: Torrelque, place: str, after: str | None, most: int, payload: int) -> Page:
    """A page; of payloads up to so many bytes.  Places are also 'orphaned' and 'ready'."""
    raise NotImplementedError


async def read_tasks(queue: Torrelque, ids: Sequence[str], payload: int) -> list[TaskView]:
    """What there is of these tasks, in their order; one that the queue does not know has no status and no payload."""
    raise NotImplementedError


def walk(queue: Torrelque, place: str, payload: int = 0) -> AsyncIterator[list[TaskView]]:
    """All tasks of a place, 250 at a time."""
    raise NotImplementedError
