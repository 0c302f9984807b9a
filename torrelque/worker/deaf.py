"""The processes of handlers do not hear the signals that end a worker, because the worker ends them.

A service manager, a container or a terminal sends its signal to all processes, or to the whole group, and the worker
then waits for what is running.  A process is born with these signals blocked (`blocked`), and hears them by a handler
that does nothing as soon as it can set one (`be_deaf`).  Such a process does not ignore the signals: a program that is
started inherits what is ignored or blocked, but not what is handled, and the programs of a handler are to end at
SIGTERM, as everywhere.
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
"""The signals that end a worker: by default, or where its application has them call `stop`."""

_forking = threading.local()
# `signal.getsignal` looks for the name of the handler that it finds.  It is called twice for each task, so take the
# function below it, which does not.
_get: Callable[[int], Any] = getattr(importlib.import_module('_signal'), 'getsignal', signal.getsignal)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Have processes that this thread starts in the block be born with the signals blocked."""
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
        # None says that the signal has a handler that is not Python's; that one is let be.
        if _get(number) not in (_do_nothing, signal.SIG_IGN, None):
            signal.signal(number, _do_nothing)
            if hasattr(signal, 'siginterrupt'):
                # A signal interrupts system calls, and code that is not Python's may take that for a failure; so have
                # them go on.
                signal.siginterrupt(number, False)


def unblock() -> None:
    """Hear the signals, those too that came since the birth; after `be_deaf` they do nothing."""
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def hear_in_forks() -> None:
    """Have the forks of this process hear the signals again: `multiprocessing.Pool` ends its workers by SIGTERM."""
    if hasattr(os, 'register_at_fork'):
        # A signal that comes for a fork before the fork hears would be lost, and its sender would wait for ever.  So
        # signals are blocked meanwhile.
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
