"""Python imports this before all else: the clock of the process is off by what a file says, which may change.

Clocks that only go on, as `time.monotonic`, are right; so they are where somebody sets the clock of a machine.
"""

import mmap
import os
import struct
import time


def _have_it_wrong(path: str) -> None:
    with open(path, 'rb') as file:
        off = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    right, right_ns = time.time, time.time_ns

    def read() -> float:
        seconds: float = struct.unpack('d', off[:8])[0]
        return seconds

    time.time = lambda: right() + read()
    time.time_ns = lambda: right_ns() + int(read() * 1e9)


if 'CHAOS_CLOCK' in os.environ:
    _have_it_wrong(os.environ['CHAOS_CLOCK'])
