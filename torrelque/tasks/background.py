"""An event loop in a thread, for the calls of synchronous code.

Other layers may import the names in `__all__`.
"""

import asyncio
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Awaitable, Callable

from torrelque import TorrelqueError

__all__ = ['Background']

logger = logging.getLogger(__package__)

CLOSING = 3.0
"""s that calls have to come to their end when the loop is told to end."""
PATIENCE = 15.0
"""s to wait for the end of a loop at the most, because a call that runs in it may block it."""

_loops: 'weakref.WeakSet[asyncio.AbstractEventLoop]' = weakref.WeakSet()


def is_background(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop is that of a `Background`, of any app."""
    return loop in _loops


class Background:
    """An event loop in a daemon thread; it runs until `stop`.

    :param name: what the thread is called.
    """

    def __init__(self, name: str = 'torrelque tasks') -> None:
        self.loop = asyncio.new_event_loop()
        self.stopped = False
        """Whether the loop was told to end."""
        self._finish: Callable[[], Awaitable[None]] | None = None
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        ready = threading.Event()
        self.loop.call_soon(ready.set)
        try:
            self._thread.start()
        except RuntimeError as exc:
            # There are too many threads, or the interpreter is about to end.
            self.loop.close()
            raise TorrelqueError(f'the event loop for synchronous calls cannot be started: {exc}') from exc
        _loops.add(self.loop)
        ready.wait()

    def stop(self, finish: Callable[[], Awaitable[None]] | None = None) -> None:
        """Have the loop come to its end: ``finish`` is called in it, calls have a moment, and are cancelled."""
        # In a fork the loop and its thread are the parent's, and not to be touched.
        if os.getpid() == self._pid:
            self.stopped, self._finish = True, finish
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.loop.stop)

    def join(self) -> None:
        """Wait for the end of the loop, as long as ``PATIENCE``; from its own thread, or in a fork, not at all."""
        if os.getpid() != self._pid or threading.current_thread() is self._thread:
            return
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            logger.warning('the event loop for synchronous calls does not end: something blocks it')

    def _run(self) -> None:
        try:
            while not self.stopped:
                # A call that raises one of these ends the loop.  Its caller gets the exception all the same; so run the
                # loop again, for the other calls to go on.
                with contextlib.suppress(SystemExit, KeyboardInterrupt):
                    self.loop.run_forever()
            self.loop.run_until_complete(self._end())
        finally:
            self.loop.close()

    async def _end(self) -> None:
        if self._finish is not None:
            try:
                await self._finish()
            except Exception:
                logger.exception('the queue objects of synchronous calls could not be closed')
        loop, own = asyncio.get_running_loop(), asyncio.current_task()
        if calls := asyncio.all_tasks() - {own}:
            _, late = await asyncio.wait(calls, timeout=CLOSING)
            for call in late:
                call.cancel()
            if late:
                await asyncio.wait(late, timeout=CLOSING)
        await loop.shutdown_asyncgens()
