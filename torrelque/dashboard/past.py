"""History that was read is not read again: a time that is over for some minutes does not change any more."""

import math
from typing import NamedTuple

from torrelque.operate import Operator, Record

MINUTE, HOUR = 60.0, 3600.0
MINUTES = 8 * HOUR
"""Up to this length (s) records are those of minutes."""
LATE = 300.0
"""s after which no worker writes of a time any more."""
MOST = 8
"""Histories that are kept; of a queue there are two, by minutes and by hours."""


class Kept(NamedTuple):
    """Records that were read."""

    now: float
    """When that was, by the server."""
    span: float
    """Of how many seconds before they are."""
    records: dict[float, Record]
    """By their beginnings."""


class Past:
    """What was read of some queues."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, float], Kept] = {}

    async def read(self, operator: Operator, name: str, span: float, now: float) -> list[Record]:
        """The history of the last seconds, as `Operator.history` tells it; only what may be new is read.

        :param operator: of this queue alone.
        :param now: the time by the server.
        """
        one = MINUTE if span <= MINUTES else HOUR
        kept = self._kept.pop((name, one), None)
        if kept is None or kept.span < span or not 0 <= now - kept.now < kept.span - LATE:
            found, whole = {record.start: record for record in await operator.history(span)}, span
        else:
            # Hours are told of longer times only.
            least = now - kept.now + LATE if one == MINUTE else max(MINUTES + 1, now - kept.now + HOUR + LATE)
            recent = {record.start: record for record in await operator.history(min(least, kept.span))}
            found, whole = {**kept.records, **recent}, kept.span
        begin = _begin(now, whole, one)
        found = {start: found[start] for start in sorted(found) if start >= begin}
        self._kept[name, one] = Kept(now, whole, found)
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]
        begin = _begin(now, span, one)
        return [record for start, record in found.items() if start >= begin]

    def forget(self) -> None:
        """Have all of it read anew."""
        self._kept.clear()


def _begin(now: float, span: float, one: float) -> float:
    return (math.floor(now / one) - math.ceil(span / one)) * one
