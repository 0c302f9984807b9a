"""Ends what is left of the process group of a handler's process, and waits for it."""

import contextlib
import os
import signal
import sys
import threading
import time

from .bounds import Bounds

_GET_SUBREAPER, _SET_SUBREAPER = 37, 36
"""Of prctl(2)."""


def end_group(number: int, bounds: Bounds) -> None:
    """Wait for the end of the processes of a group that were sent SIGTERM, and kill those that do not mind it."""
    with contextlib.suppress(OSError):  # the group has no process left, or none that is ours
        _wait(number, bounds)
        os.killpg(number, signal.SIGKILL)
        _wait(number, bounds)


def _wait(number: int, bounds: Bounds) -> None:
    end = time.monotonic() + bounds.group_grace
    while time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-number, os.WNOHANG)[0]:
                pass
        os.killpg(number, 0)
        time.sleep(bounds.group_look)


class Adoption:
    """While it lasts, processes whose parent dies are children of this one, as far as they descend from it.

    A dead process stays in its group until its parent has asked how it ended.  The parent of an orphan is the first
    process of the system, which may take its time, or may be an application that was never meant to be the first.  So
    this process adopts the programs of a process that it kills.  It does so for that time only, because an application
    does not count on children that are not its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._changed = False

    def begin(self) -> None:
        """Adopt, as long as at least one `begin` has had no `end`."""
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._changed = _adopt(True)

    def end(self) -> None:
        """Take one `begin` back."""
        with self._lock:
            self._count -= 1
            if self._count == 0 and self._changed:
                _adopt(False)


def _adopt(wanted: bool) -> bool:
    """Have the system adopt orphans for this process, or not; whether that was otherwise before."""
    if not sys.platform.startswith('linux'):
        return False
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        now = ctypes.c_int(0)
        if prctl(_GET_SUBREAPER, ctypes.byref(now), 0, 0, 0) or bool(now.value) is wanted:
            return False
        return not prctl(_SET_SUBREAPER, ctypes.c_ulong(wanted), 0, 0, 0)
    except (ImportError, AttributeError, OSError):  # no such call here: orphans are the system's
        return False
