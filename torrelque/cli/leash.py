"""What holds a process to the one that supervises it: a socket in the place of its standard input.

The process tells how far it is, in lines of JSON.  The other one says ``stop``, then ``hurry``, and ``stuck`` before it
kills the process; when it is gone, however it ended, the socket is closed by the kernel, which says ``stop`` as well.
So no process is left behind, and signals, which a terminal or a service manager may send to all of them at once, are
not counted twice.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from .failure import Failure

logger = logging.getLogger(__package__)

BEAT = 1.0
"""s from one sign of life to the next."""
FRAMES = 20
"""Frames that are shown of an event loop that stands still, the innermost ones."""
LAST = 10.0
"""s that a process has to end once its worker has ended, or should have."""


class Leash:
    """The end of the socket that the supervised process has.

    :raises Failure: standard input is no socket.
    """

    def __init__(self) -> None:
        try:
            # A copy, which programs that are started from here do not inherit; what they find is an empty input.
            self._socket = socket.socket(fileno=os.dup(0))
        except OSError:
            raise Failure('--child is what a supervising process gives; use --processes') from None
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
        # Legend.  _heed: called with each word once there is something to be stopped.  _early: words that came before.
        # _lock: for both.  _ended: set by whatever was stopped, at its end.  _patience: how long (s) that may take when
        # the other process is gone.  _cut: whether what was told last had no room, so that its line is not complete.
        self._heed: Callable[[str], None] | None = None
        self._early: list[str] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._patience = 0.0
        self._cut = False
        threading.Thread(target=self._listen, name='torrelque leash', daemon=True).start()

    def tell(self, **words: Any) -> None:
        """Tell the supervising process, which may be gone."""
        with contextlib.suppress(OSError):
            self._socket.sendall(self._line(words))
            self._cut = False

    async def beat(self, state: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Give a sign of life while the event loop turns, until cancelled.

        :param state: what is told with it.
        """
        while True:
            line = self._line(state())
            # The other process may be stopped.  Signs that it has no room for are not waited for.
            with contextlib.suppress(OSError):
                self._cut = self._socket.send(line, socket.MSG_DONTWAIT) < len(line)
            await asyncio.sleep(BEAT)

    def _line(self, words: Mapping[str, Any]) -> bytes:
        return (b'\n' if self._cut else b'') + json.dumps(words).encode() + b'\n'

    def hold(self, heed: Callable[[str], None], patience: float) -> None:
        """From now on call a function with each word, in a thread of its own; before, the first word ends the process
        by SIGTERM."""
        self._patience = patience
        with self._lock:
            # An application may catch SIGTERM while it is imported, so what was said is said again.
            for word in self._early:
                heed(word)
            self._heed = heed

    def end(self) -> None:
        """What was held has ended, and the process is about to."""
        self._ended.set()

    def _listen(self) -> None:
        with self._socket.makefile('rb') as lines, contextlib.suppress(OSError):
            for line in lines:
                if (word := line.decode().strip()) == 'stuck':
                    _show_stack()
                else:
                    self._say(word)
        self._say('stop')
        # Nobody is left who would kill us.  An event loop that is blocked, or a thread that does not return, would keep
        # the process for ever.
        self._ended.wait(self._patience + LAST)
        time.sleep(LAST)
        os._exit(1)

    def _say(self, word: str) -> None:
        with self._lock:
            if self._heed is not None:
                self._heed(word)
                return
            self._early.append(word)
        os.kill(os.getpid(), signal.SIGTERM)


def _show_stack() -> None:
    """Write into the log where the event loop stands still."""
    if (frame := sys._current_frames().get(threading.main_thread().ident or 0)) is not None:
        stack = ''.join(traceback.format_stack(frame, FRAMES)).rstrip()
        told = 'the event loop stands still here'
        logger.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, told, (), None, None, None, stack))
