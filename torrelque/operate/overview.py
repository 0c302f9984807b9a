"""The figures of a queue at one moment: one script, whose cost does not grow with the queue, and the hearts."""

from collections.abc import Sequence

from torrelque import Torrelque

from .values import Overview


async def read_overview(queue: Torrelque) -> Overview:
    """The overview of one queue."""
    raise NotImplementedError


def add(overviews: Sequence[Overview]) -> Overview:
    """Several queues as one."""
    raise NotImplementedError
