"""How much the machine let a process run: a heartbeat, and what the system says of who had to wait for a processor.

Deadlines of a rig count in time that the machine really ran; else a busy machine, or one that stood still, looks like a
fault of the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

BEAT = 0.02
"""s between two beats."""
FOREVER = 300.0
"""s after which even a time that does not pass is over."""


def waited_of(pid: int | str) -> float:
    """How long (s) a process was ready to run, and had no processor; 0 where the system does not tell."""
    try:
        return int(Path(f'/proc/{pid}/schedstat').read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class Load(NamedTuple):
    """What the processors of the machine were used for, in s since it began."""

    busy: float
    idle: float
    stolen: float
    """By other machines on the same host."""

    @classmethod
    def read(cls) -> Load:
        try:
            ticks = [int(word) for word in Path('/proc/stat').read_text().partition('\n')[0].split()[1:9]]
        except (OSError, ValueError):
            ticks = [0] * 8
        idle, stolen = ticks[3] + ticks[4], ticks[7]
        return cls((sum(ticks) - idle - stolen) / 100, idle / 100, stolen / 100)


class Pulse:
    """The heartbeat of a process, and of others without which it cannot go on: the server, the line to it.

    From one beat to the next, so much of the time was stolen as is longer than the beat and was not spent by the
    process itself, or as the others had to wait for a processor.  A process that is busy with itself was not robbed.
    """

    def __init__(self, others: Iterable[int] = ()) -> None:
        self.others = [*others]
        self.ran = 0.0
        """s in which all of them could run."""
        self.stolen = 0.0
        self.longest = 0.0
        """The longest time (s) without a turn of the event loop."""
        self._task: asyncio.Task[None] | None = None
        self._last = (0.0, 0.0, 0.0)

    def start(self) -> Pulse:
        """Begin to beat, in the running event loop."""
        self._last = self._look()
        self._task = asyncio.ensure_future(self._run())
        return self

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def time(self) -> float:
        """s that the machine really ran."""
        self.beat()
        return self.ran

    def beat(self) -> None:
        """Look at what happened since the last look."""
        before, self._last = self._last, self._look()
        gap, spent, waited = (new - old for new, old in zip(self._last, before, strict=True))
        stolen = min(gap, max(0.0, gap - BEAT - spent, waited))
        self.ran += gap - stolen
        self.stolen += stolen
        self.longest = max(self.longest, gap)

    def _look(self) -> tuple[float, float, float]:
        # What others waited may have been at the same time, and may have been one after the other.
        return time.monotonic(), time.process_time(), sum(waited_of(pid) for pid in self.others)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            self.beat()

    async def wait(self, awaitables: Iterable[Awaitable[Any]], seconds: float) -> set[asyncio.Future[Any]]:
        """Wait for all of them, for so much of the time that the machine runs; those that are not done."""
        late: set[asyncio.Future[Any]] = {asyncio.ensure_future(each) for each in awaitables}
        end, last = self.time() + seconds, time.monotonic() + FOREVER
        while late and (left := end - self.time()) > 0 and time.monotonic() < last:
            late = (await asyncio.wait(late, timeout=max(left, BEAT)))[1]
        return late

    async def wait_for(self, awaitable: Awaitable[Any], seconds: float) -> Any:
        """As `asyncio.wait_for`, in time that the machine runs."""
        future = asyncio.ensure_future(awaitable)
        if await self.wait([future], seconds):
            future.cancel()
            await asyncio.wait([future])
            if future.cancelled():
                raise TimeoutError
        return future.result()
