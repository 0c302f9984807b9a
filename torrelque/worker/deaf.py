"""The processes of handlers do not hear the signals that end a worker: it is the worker that ends them.

A service manager, a container or a terminal sends its signal to all processes, or to the whole group, and the worker
then waits for what is running.  A process is born with these signals blocked (`blocked`), and hears them by a handler
that does nothing as soon as it can set one (`be_deaf`).  It does not ignore them, for a program that is started
inherits what is ignored or blocked, but not what is handled: the programs of a handler end at SIGTERM, as everywhere.
A fork inherits handlers as well, so they are taken back there (`hear_in_forks`).
"""

import contextlib
import importlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

NUMBERS = tuple(
    getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGBREAK') if hasattr(signal, name)
)
"""What ends a worker: by default, or where its application has it call `stop`."""

_forking = threading.local()
# What is asked twice for each call does not look for a name of what it finds, as that of `signal` does.
_get: Callable[[int], Any] = getattr(importlib.import_module('_signal'), 'getsignal', signal.getsignal)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """What is started in the block, by this thread, is born with the signals blocked."""
    if not hasattr(signal, 'pthread_sigmask'):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def be_deaf() -> None:
    """Have the signals do nothing, in the main thread of a process of handlers; what is ignored stays ignored."""
    for number in NUMBERS:
        # None is a handler that is not Python's.
        if _get(number) not in (_do_nothing, signal.SIG_IGN, None):
            signal.signal(number, _do_nothing)
            if hasattr(signal, 'siginterrupt'):
                # Code that is not Python's may take an interrupted call for a failed one.
                signal.siginterrupt(number, False)


def unblock() -> None:
    """What came since the birth is heard, which does nothing after `be_deaf`."""
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def hear_in_forks() -> None:
    """Have the forks of this process hear the signals again: `multiprocessing.Pool` ends its workers by SIGTERM."""
    if hasattr(os, 'register_at_fork'):
        # Blocked meanwhile: what comes for a fork before it hears would be lost, and whoever sent it wait for ever.
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_hear)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def _before_fork() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _hear() -> None:
    for number in NUMBERS:
        if signal.getsignal(number) is _do_nothing:
            default: Any = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    _after_fork()
