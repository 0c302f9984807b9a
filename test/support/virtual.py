"""An event loop whose time passes at once, and which says so where it would wait for ever."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar('T')


class StandstillError(Exception):
    """Somebody waits, and nothing will ever happen."""


class _Selector(selectors.DefaultSelector):
    """Passes the time in which nothing would happen."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events and timeout is None:
            raise StandstillError
        if not events and timeout:
            self.loop.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """It has no real connection: nothing comes from outside."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        """s since it was made."""
        return self.now


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run it to its end; `StandstillError` where that would never come."""
    loop = VirtualLoop()
    asyncio.set_event_loop(None)
    try:
        return loop.run_until_complete(main)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        main.close()
        loop.close()
