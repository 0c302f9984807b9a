"""The group of a process that has ended: what is left of it is ended as well, and waited for."""

import contextlib
import os
import signal
import sys
import threading
import time

GRACE = 0.5
"""s that processes have between SIGTERM and SIGKILL, and again that they are waited for after it."""

_GET_SUBREAPER, _SET_SUBREAPER = 37, 36
"""Of prctl(2)."""


def end_group(number: int) -> None:
    """Wait for the end of the processes of a group that were sent SIGTERM, and kill those that do not mind it."""
    with contextlib.suppress(OSError):  # there is none, or none of ours
        _wait(number)
        os.killpg(number, signal.SIGKILL)
        _wait(number)


def _wait(number: int) -> None:
    end = time.monotonic() + GRACE
    while time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-number, os.WNOHANG)[0]:
                pass
        os.killpg(number, 0)
        time.sleep(0.01)


class Adoption:
    """While it lasts, processes whose parent dies are children of this one, as far as they descend from it.

    A process that is dead is there until its parent has asked for how it ended; that of an orphan is the first of the
    system, which may take its time, or is an application that was never meant to be the first.  So the programs of a
    process that is killed are adopted.  Not for good: an application does not count on children of others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._changed = False

    def begin(self) -> None:
        """One more reason to adopt."""
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._changed = _adopt(True)

    def end(self) -> None:
        """One reason less."""
        with self._lock:
            self._count -= 1
            if self._count == 0 and self._changed:
                _adopt(False)


def _adopt(wanted: bool) -> bool:
    """Whether it was otherwise before."""
    if not sys.platform.startswith('linux'):
        return False
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        now = ctypes.c_int(0)
        if prctl(_GET_SUBREAPER, ctypes.byref(now), 0, 0, 0) or bool(now.value) is wanted:
            return False
        return not prctl(_SET_SUBREAPER, ctypes.c_ulong(wanted), 0, 0, 0)
    except (ImportError, AttributeError, OSError):  # without it, they are the system's
        return False
