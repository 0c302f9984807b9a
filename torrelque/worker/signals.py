"""SIGTERM and SIGINT stop the workers of an event loop, all of them."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

NUMBERS = (signal.SIGTERM, signal.SIGINT)


class _Caught:
    """What an event loop does at a signal, and the handlers that the signals had before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stops: list[Callable[[], None]] = []
        self._loop = loop
        self._before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in NUMBERS}
        try:
            for number in NUMBERS:
                loop.add_signal_handler(number, self._stop)
        except NotImplementedError:  # Windows
            for number in NUMBERS:
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._stop))

    def _stop(self) -> None:
        for stop in [*self.stops]:
            stop()

    def restore(self) -> None:
        for number, handler in self._before.items():
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_signal_handler(number)
            if handler is not None:  # None says that the handler is not Python's
                signal.signal(number, handler)


_caught: dict[asyncio.AbstractEventLoop, _Caught] = {}


@contextlib.contextmanager
def signals_handled(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """Have SIGTERM and SIGINT call ``stop``, and those of the loop's other workers.  The last worker to end restores
    the handlers that there were before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = _caught.get(loop)
    if caught is None:
        caught = _caught[loop] = _Caught(loop)
    caught.stops.append(stop)
    try:
        yield
    finally:
        caught.stops.remove(stop)
        if not caught.stops:
            del _caught[loop]
            caught.restore()
