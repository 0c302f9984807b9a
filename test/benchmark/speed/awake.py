"""Keep the processors awake while something is measured.

A virtual processor that sleeps between a call and its reply takes tens of microseconds to wake, more than what is
measured, and a different time each time.  A process for each that runs only where nobody else wants to keeps it awake.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def awake(wanted: bool) -> Iterator[None]:
    """Where it is wanted, and can be done: on Linux."""
    cores = len(os.sched_getaffinity(0)) if wanted and hasattr(os, 'SCHED_IDLE') else 0
    spinners = [subprocess.Popen([sys.executable, __file__]) for _ in range(cores)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def spin(parent: int) -> None:
    """Run when nobody else does, for as long as the parent is there."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while os.getppid() == parent:
        for _ in range(100_000):
            pass


if __name__ == '__main__':
    spin(os.getppid())
