"""What the asynchronous queue with shards and the synchronous one have alike, and nothing that waits."""

from typing import Any, TypeVar

from . import shards

T = TypeVar('T')

PATIENCE = 1.0
"""s that a server may take to tell the map of a queue, where others can, or to give a sign of life, where others do."""
AGAIN = 0.5
"""After how long (s) a shard is asked again that refuses to say whether it is there, or refuses writes."""


class Common:
    """What is said of a queue by its name and its map."""

    name: str
    """The queue's name."""
    _shape: Any
    """The map of its shards, once that was read."""

    def _number_of_group(self, group: str) -> int:
        return shards.of_group(group, self._shape.keyed)

    def _number_of_id(self, task_id: str, now: bool = False) -> tuple[int, bool]:
        return shards.of_id(task_id, self._shape, now)

    def _told(self, error: T) -> T:
        """An error that says which queue it is about."""
        error.queue = self.name  # type: ignore[attr-defined]
        return error

    def _why(self, error: BaseException) -> str:
        """The text of an error, of a shard as a rule, for a line that names the queue itself."""
        return str(error).removeprefix(f'queue {self.name!r}: ')
