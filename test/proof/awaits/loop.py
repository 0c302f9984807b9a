"""An event loop that counts its turns, who listens to what it complains of, and calls in it that are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

IDLE = 0.03
"""s without any event after which nothing is expected to happen by itself."""


class Turns(selectors.DefaultSelector):
    """The selector of an event loop, which counts its turns and does things at the beginning of some."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.idle = False
        """Whether there was no such turn, as nothing happened any more."""
        self._when = 0
        self._actions: list[Callable[[], object]] = []

    def after(self, turns: int, *actions: Callable[[], object]) -> None:
        """Do the first so many turns from now, or when nothing happens any more, each other one turn later."""
        self._when, self._actions, self.idle = self.count + 1 + turns, [*actions], False

    def forget(self) -> None:
        self._actions.clear()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.count += 1
        if self._actions and self.count >= self._when:
            self._actions.pop(0)()
            timeout = 0
        elif self._actions and (timeout is None or timeout > IDLE):
            events = super().select(IDLE)
            if not events:
                self.idle, self._when = True, self.count + 1
                self._actions.pop(0)()
            return events
        return super().select(timeout)

    async def quiet(self) -> None:
        """Wait until nothing happens any more."""
        while True:
            before = self.count
            await asyncio.sleep(0.008)
            if self.count - before <= 2:
                return


class Noise(logging.Handler):
    """What asyncio and the package complain of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(f'{record.name}: {record.getMessage()}')

    def complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.heard.append(f'event loop: {context}')

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        loggers = [logging.getLogger(name) for name in ('asyncio', 'torrelque')]
        for logger in loggers:
            logger.addHandler(self)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)


async def call_with_timeout(call: Awaitable[Any], outcome: asyncio.Future[Any], done: Callable[[], None]) -> None:
    """As asyncio.timeout does it: the task that makes the call is cancelled itself, and goes on."""
    try:
        try:
            result = await call
        finally:
            done()
        outcome.set_result(result)
    except asyncio.CancelledError:
        own = asyncio.current_task()
        if sys.version_info >= (3, 11) and own is not None:
            own.uncancel()
        outcome.cancel()
    except Exception as exc:
        outcome.set_exception(exc)
    await asyncio.sleep(0)
