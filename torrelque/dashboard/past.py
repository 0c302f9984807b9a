"""The history of queues, of which only what is new is read: minutes that are over do not change any more."""

import time
from collections.abc import Awaitable, Callable

from torrelque.operate import Record

LENGTHS = {'1h': 3600.0, '8h': 8 * 3600.0, '3d': 3 * 86400.0, '14d': 14 * 86400.0}
"""Lengths that can be asked for (s)."""
BACK = 180.0
"""s that are read again behind what was read last."""
ANEW = 900.0
"""s after which all is read again, because somebody may have had it forgotten."""

Read = Callable[[float], Awaitable[list[Record]]]


class _Kept:
    """Minutes of one queue."""

    def __init__(self, span: float) -> None:
        self.span = span
        self.began = self.read = time.monotonic()
        self.records: dict[float, Record] = {}


class Past:
    """Histories by the names of queues."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    async def get(self, queue: str, length: str, now: float, read: Read) -> list[Record]:
        """Records of the last so many seconds, the oldest first.

        :param now: by the server's clock, s.
        :param read: reads those of so many seconds.
        """
        span = LENGTHS[length]
        if span > LENGTHS['8h']:
            return await read(span)
        kept = self._kept.get(queue)
        began = time.monotonic()
        if kept is None or kept.span < span or began - kept.began > ANEW:
            kept = _Kept(span)
            new = await read(span)
            self._kept[queue] = kept
        else:
            new = await read(min(span, began - kept.read + BACK))
        kept.read = began
        # A minute that was read and is not there now was forgotten, or the clock of the server was set.
        first = new[0].start if new else now
        records = {start: record for start, record in kept.records.items() if now - kept.span - 60 < start < first}
        records |= {record.start: record for record in new}
        kept.records = dict(sorted(records.items()))
        return [one for start, one in kept.records.items() if start > now - span - 60]

    def forget(self) -> None:
        """Have all read anew."""
        self._kept.clear()
