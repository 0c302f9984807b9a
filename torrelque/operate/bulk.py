"""Bulk acts: what is done to all tasks of a selection, slowly enough for the server to serve others."""

from collections.abc import AsyncIterator, Callable

from torrelque import Torrelque

from .selection import Selection
from .values import Outcome, TaskView


def select(queue: Torrelque, selection: Selection, payload: int) -> AsyncIterator[list[TaskView]]:
    """The tasks of a selection, as a walk finds them."""
    raise NotImplementedError


async def act(
    queue: Torrelque,
    name: str,
    selection: Selection,
    *,
    error: str | None = None,
    limit: int | None = None,
    rate: float | None = None,
    paced: bool = True,
    dry_run: bool = False,
    on_progress: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Carry an act out: 'redrive', 'cancel', 'requeue' or 'bury'."""
    raise NotImplementedError
