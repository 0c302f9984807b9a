"""What hearts have counted: minutes for 8 hours, hours for 14 days, totals by function."""

from torrelque import Torrelque

from .values import FunctionView, Record

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, float('inf'))
"""Upper bounds (s) of the buckets of run and wait times."""


async def read_history(queue: Torrelque, length: float) -> list[Record]:
    """Records of so many seconds, the oldest first: minutes up to 8 hours, else hours."""
    raise NotImplementedError


async def read_functions(queue: Torrelque, since: float | None) -> list[FunctionView]:
    """Functions over the last seconds, or since the totals began; those that ran most often first."""
    raise NotImplementedError
