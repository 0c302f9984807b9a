"""The process of a handler, seen by its worker: how it is started, how its death is noticed, and what ends with it.

The process leads a session, and so a process group, of its own: signals that are sent to the group of the worker do not
reach it, and the programs that it starts are ended with it.
"""

import atexit
import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from multiprocessing import spawn
from multiprocessing.connection import Connection
from typing import Any

from .bounds import BOUNDS, Bounds
from .child import Seed, serve
from .deaf import blocked
from .group import Adoption, end_group


class Process:
    """A process with an interpreter of its own, which waits for handlers to call.

    :raises Exception: it could not be started: no memory, no file descriptor, no thread.
    """

    pipe: 'Connection[Any, Any]'
    """The way to the process; its user closes it.  The pipe breaks when the process dies, even where something that the
    process has forked lives on and holds the other end."""
    dead = False
    """Whether the process has died."""
    exit_code: int | None = None
    """How the process died, negative by a signal; None is not yet, or unknown."""
    exiting = False
    """Whether processes die because this interpreter ends.  Then no handler has failed: leases bring the tasks back."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._gone = threading.Event()
        self._lock = threading.Lock()
        self._adopting = self._asked = False
        self._owned = contextlib.ExitStack()
        try:
            # The fork of a process with threads and an event loop may hang, so an interpreter is started anew.
            if sys.platform == 'win32':
                self._spawn()
            else:
                self._launch()
            _living.add(self)
            threading.Thread(target=self._watch, name='torrelque-child-end', daemon=True).start()
        except BaseException:
            _living.discard(self)
            self._owned.close()
            if hasattr(self, 'pipe'):
                self.pipe.close()
            raise

    def _spawn(self) -> None:
        context = multiprocessing.get_context('spawn')
        self.pipe, other = context.Pipe()
        self._process: Any = context.Process(target=serve, args=(other, {}), daemon=True)
        self._process.start()
        other.close()

    def _launch(self) -> None:
        data = spawn.get_preparation_data('torrelque-child')
        # The main program is imported later, by `serve`, which can send its errors.  A program that was read from a
        # pipe has no file, so it is not imported.
        main = {key: str(data.pop(key)) for key in [*data] if key.startswith('init_main_')}
        if not os.path.exists(main.get('init_main_from_path', os.curdir)):
            main = {}
        data['authkey'] = bytes(data['authkey'])
        own = self._owned
        with contextlib.ExitStack() as passed:
            self._socket, other = socket.socketpair()
            own.callback(self._socket.close)
            passed.callback(other.close)
            seed, hold = os.pipe()
            passed.callback(os.close, seed)
            # The process is killed when this end is closed: see `end_with_parent`.
            self._hold = own.enter_context(open(hold, 'wb', buffering=0))
            self.pipe = Connection(os.dup(self._socket.fileno()))
            left = memoryview(pickle.dumps(data) + pickle.dumps(Seed(other.fileno(), main, os.getpid())))
            with blocked():
                self._process = subprocess.Popen(
                    spawn.get_command_line(pipe_handle=seed),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(seed, other.fileno()),
                    start_new_session=True,
                )
            # Python complains of a running process that is collected, so it is ended and waited for before.
            own.callback(self._process.wait)
            own.callback(self._process.kill)
        with contextlib.suppress(BrokenPipeError):  # the process has died; its first call will find that out
            while left:
                left = left[self._hold.write(left) :]

    def kill(self) -> None:
        """Kill the process, and what it started; `join` waits for that."""
        with self._lock:
            if not self._adopting and not self._gone.is_set():
                self._adopting = True
                _adoption.begin()
            if sys.platform == 'win32':
                self._process.kill()
            elif not self._asked:
                os.kill(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Have the process end in its own way, when it has nothing to do; `join` waits for that."""
        self.pipe.close()
        if sys.platform != 'win32':
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def join(self, timeout: float | None = None) -> None:
        """Wait (s) until the process has ended, and what it started; by default as long as for one that was killed."""
        self._gone.wait(self._bounds.killed if timeout is None else timeout)
        if Process.exiting and threading.current_thread() is not threading.main_thread():
            # This interpreter ends, so the process was killed for that.  A worker in another thread must not take its
            # death for a failure of the task; so the thread that would tell it waits for ever.
            threading.Event().wait()

    def forget(self) -> None:
        """In a fork of the worker's process: have nothing to do with it."""
        if sys.platform != 'win32':
            self._process.returncode = 0
            self._hold.close()
            self._socket.close()
            self.pipe.close()

    def _watch(self) -> None:
        """In a thread: wait for its death, by whatever cause, and clear away what it leaves."""
        try:
            if sys.platform == 'win32':
                self._process.join()
                self.exit_code = self._process.exitcode
            else:
                self._wait()
                # A fork of the process that has left its group may live on, and hold the other end open; so shut it.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        finally:
            _living.discard(self)
            self._owned.close()
            with self._lock:
                self._gone.set()
                if self._adopting:
                    _adoption.end()

    def _wait(self) -> None:
        pid, known = self._process.pid, True
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        except AttributeError:  # some systems have no such call
            self._process.wait()
        except ChildProcessError:
            # Other code of the application has waited for the process, so how it ended cannot be known.
            known = False
        self.dead = True
        # A dead process stays a member of its group until it is waited for.  So until then no other group can have its
        # number.
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGTERM)
        with self._lock:
            code = self._process.wait()
            # From now on the number of the process may be that of another process, which `kill` must not meet.
            self._asked = True
        self.exit_code = code if known else None
        end_group(pid, self._bounds)


def end_all(processes: Iterable[Process], bounds: Bounds, idle: Iterable[Process] = ()) -> None:
    """End processes, and wait for that within the bounds; those that are not idle are killed."""
    some = [*idle]
    for process in some:
        process.end()
    _join_all(some, bounds.leisure)
    some = [*processes]
    for process in some:
        process.kill()
    _join_all(some, bounds.killed)


def _join_all(processes: Iterable[Process], patience: float) -> None:
    end = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))


_living: set[Process] = set()
_adoption = Adoption()


def _exit() -> None:
    # An application may end without having ended its workers; no process is to be left behind.
    Process.exiting = True
    end_all(_living, BOUNDS)


def _forget_all() -> None:
    for process in [*_living]:
        process.forget()
    _living.clear()


atexit.register(_exit)
if hasattr(os, 'register_at_fork'):
    # A fork that lives on would hold pipes of the processes, and so keep them alive.
    os.register_at_fork(after_in_child=_forget_all)
