"""What came of a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """Counted after the time of warming up; times are seconds."""

    rate: float
    """Tasks a second that were released, of all."""
    waits: list[list[float]]
    """By shard: of each task that was taken, since it was enqueued."""
    claims: float
    """For each task."""
    empty: float
    """Claims that brought nothing, for each task."""
    wakes: float
    """Rings that woke a process, for each task."""
    batch: float
    """Tasks of a claim that brought some."""
    server: float
    """Time of all servers for each task."""
    busy: float
    """Share of the time that the servers work, on average."""
    busiest: float
    client: float
    """Share of the time that the processes work, on average."""
    entered: int
    left: int
    """Tasks in the shards."""
    held: int
    released: int

    def waited(self, shards: Sequence[int] | None = None) -> list[float]:
        """Of tasks of some shards, ascending; of all without."""
        chosen = self.waits if shards is None else [self.waits[number] for number in shards]
        return sorted(wait for waits in chosen for wait in waits)

    def figures(self) -> dict[str, Any]:
        """All but the waits, of which there are the median, the 99th of a hundred and the longest (ms)."""
        waits = self.waited()
        named = {name: value for name, value in self._asdict().items() if name != 'waits'}
        return {**named, **{name: quantile(waits, part) * 1000 for name, part in PARTS.items()}}


PARTS = {'p50': 0.5, 'p99': 0.99, 'max': 1.0}


def quantile(ascending: Sequence[float], part: float) -> float:
    """0 of nothing."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * part))] if ascending else 0.0
