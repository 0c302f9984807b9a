"""Other processes, and whether they are still there."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEST = Path(__file__).resolve().parents[1]
"""The folder in which Python finds the packages of the tests."""

# What a script ignores in what it starts in the background, and `nohup` in all that it starts.
_OF_A_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def hear_signals_in_children() -> None:
    """Have the programs that this process starts hear the signals that it was told to ignore.

    What is ignored is ignored by children too, to whom tests send these signals.  What is caught is not: a new program
    begins with the default.  So this process goes on without an ear for them, by a handler that does nothing; and so do
    the workers of pytest-xdist, which are new programs, and are told by the environment.
    """
    for number in _OF_A_TERMINAL:
        deaf = f'TORRELQUE_TEST_DEAF_TO_{number:d}'
        if signal.getsignal(number) is signal.SIG_IGN or deaf in os.environ:
            os.environ[deaf] = '1'
            signal.signal(number, lambda *_: None)


def environment(*places: str) -> dict[str, str]:
    """The environment of a program that imports from the packages of the tests, and from ``places``, which go first."""
    return {**os.environ, 'PYTHONPATH': os.pathsep.join([*filter(None, places), str(TEST)])}


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program, for the length of the block: who fails there does not wait for its end, but kills it."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_end(pid: int) -> None:
    """Wait for the end of a process that need not be a child of this one."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], 90)[0], f'process {pid} is still there'
    finally:
        os.close(fd)
