"""The only place of this layer that uses what is private of the core; `test/project/test_layout.py` lists it."""

from typing import TYPE_CHECKING

from torrelque import Torrelque, TorrelqueTaskId
from torrelque.codec import JSON

if TYPE_CHECKING:
    import torrelque.sync

__all__ = ['JSON', 'end_ids', 'is_up', 'mark', 'marked']


def end_ids(shard: 'Torrelque | torrelque.sync.Torrelque', suffix: str) -> None:
    """Have the ids that a queue object makes end with the number of its shard."""
    shard._calls.ids.suffix = suffix


def is_up(shard: Torrelque) -> bool:
    """Whether the connection of a queue object for calls is up, or never was."""
    session = shard._session
    return session is None or session.well


def mark(task_id: TorrelqueTaskId, number: int) -> None:
    """Note with a delivery which shard has made it: its id need not tell, as that of a task of a flow."""
    task_id._shard = number


def marked(task_id: TorrelqueTaskId) -> int | None:
    """The shard that has made a delivery, where that was noted."""
    number: int | None = getattr(task_id, '_shard', None)
    return number
