"""What calls cost, in seconds: the only place of the simulation that has figures of a machine.

Whole lives of 24,000 tasks of 60 bytes cost a primary 17 µs each in calls of 250, and 21 µs where 100 loops of a
process have calls of 20 to 50 (Valkey 9.1.2, two cores of AMD EPYC, CPython 3.11, 2026-11-29, the best of 9 rounds).
How that divides among calls and tasks is by `fitting`, on the same machine on 2026-11-30: what it found was scaled by
0.57, because the machine was busy, so that the sums are those two.
"""

from __future__ import annotations

from typing import NamedTuple

US = 1e-6


class Cost(NamedTuple):
    """Of a call, and of each task in it."""

    call: float
    task: float = 0.0

    def of(self, tasks: int) -> float:
        return self.call + tasks * self.task


SERVER = {
    'enqueue': Cost(35 * US, 4.2 * US),
    'claim': Cost(75 * US, 6.5 * US),
    'release': Cost(22 * US, 5.4 * US),
    # Estimated: a script that does next to nothing, and a command.
    'leave': Cost(20 * US),
    'block': Cost(10 * US),
}
"""Of a primary: its processor time."""
CLIENT = Cost(45 * US, 7 * US)
"""Of a process, for a call or its reply.  By `fitting` it is less, because bulk calls resolve no future for each
task; with 100 loops a process needs 25 µs for the whole life of one."""
LINK = 100 * US
"""The way to a primary, or back: of a network within a data centre, assumed."""
