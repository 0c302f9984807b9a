"""What workers have counted, for people: how much is done a minute, which part of it failed, how long it took."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torrelque.operate import BUCKETS, Record, Sizes, Totals

RECENT = 300.0
"""s of minutes whose mean is the present rate."""
STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Lengths (s) of a line of a history."""
LINES = 48
"""Lines of a history at the most, about."""


class Rate(NamedTuple):
    """The present rate of a queue."""

    done: float
    """Attempts that ended well, a minute."""
    totals: Totals


def rate_of(records: Sequence[Record], now: float) -> Rate | None:
    """The rate by the minutes up to now; None where there are none, so that it is not known."""
    found = [record for record in records if record.length == 60 and now - RECENT - 60 < record.start <= now]
    if not found:
        return None
    totals = total(found)
    # The present minute is not over.
    minutes = max(1.0, now - min(record.start for record in found)) / 60
    return Rate(totals.succeeded / minutes, totals)


def total(records: Iterable[Record]) -> Totals:
    """Several records together."""
    return Totals.together(record.totals for record in records)


class Step(NamedTuple):
    """A line of a history."""

    start: float
    length: float
    totals: Totals | None
    """None where no worker wrote: a gap."""
    p95: float | None
    """Run time (s), as far as buckets tell."""
    wait: float | None
    """Mean time (s) that tasks had been ready, when they were taken."""
    sizes: Sizes | None
    """The most of each."""


def steps_of(records: Sequence[Record], length: float) -> list[Step]:
    """A history in so few lines that it can be read, the oldest first."""
    if not records:
        return []
    step = next((step for step in STEPS if step >= max(record.length for record in records)
                 and length / step <= LINES), STEPS[-1])  # fmt: skip
    groups = {start: [*found] for start, found in itertools.groupby(records, lambda it: it.start // step * step)}
    first, last = min(groups), max(groups)
    starts = [first + number * step for number in range(round((last - first) / step) + 1)]
    return [_step(start, step, groups.get(start, [])) for start in starts]


def _step(start: float, length: float, records: Sequence[Record]) -> Step:
    if not records:
        return Step(start, length, None, None, None, None)
    waits = sum(sum(record.wait) for record in records)
    sizes = [record.sizes for record in records if record.sizes is not None]
    return Step(
        start, length, total(records),
        percentile([sum(column) for column in zip(*(record.run for record in records), strict=False)], 0.95),
        sum(record.wait_time for record in records) / waits if waits else None,
        _most(sizes) if sizes else None,
    )  # fmt: skip


def _most(sizes: Sequence[Sizes]) -> Sizes:
    return Sizes(*(max(getattr(it, field.name) for it in sizes) for field in dataclasses.fields(Sizes)))


def percentile(buckets: Sequence[int], part: float) -> float | None:
    """A time (s) that so large a part of the attempts did not take longer than: the upper bound of a bucket."""
    left = sum(buckets) * part
    if not left:
        return None
    for bound, count in zip(BUCKETS, buckets, strict=False):
        left -= count
        if left <= 1e-9:
            return bound
    return math.inf
