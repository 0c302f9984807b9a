"""The lifespan of a worker's app: what is open from before its first task until after its last one."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

logger = logging.getLogger(__package__)


class Lifespan:
    """Entered and left in the asyncio task of the worker's run, as task groups want it, and cut short when it waits and
    the worker is told to stop: in vain for something at its begin, or the second time at its end.
    """

    def __init__(self) -> None:
        # Legend.  _task: that of the worker's run, while the lifespan is being entered or left.  _leaving: whether it
        # is left.  _cut: whether it was cut short, by a cancellation that is not its caller's.
        self._task: asyncio.Task[Any] | None = None
        self._leaving = False
        self._cut = False

    async def enter(
        self, stack: contextlib.AsyncExitStack, make: Callable[[], AbstractAsyncContextManager[Any]]
    ) -> Any:
        """Enter it for as long as the stack; what it yields.

        :raises CancelledError: it was cut short, see `was_cut`, or the caller is cancelled.
        """
        self._task = asyncio.current_task()
        try:
            state = await stack.enter_async_context(make())
        finally:
            self._task = None
        stack.callback(self._leave)
        return state

    def stop(self, times: int) -> None:
        """The worker is told to stop, for so many times by now."""
        if self._task is not None and (times > 1 or not self._leaving) and not self._cut:
            logger.warning('the lifespan of the app is cut short, because the worker is to stop')
            self._cut = True
            self._task.cancel()

    def was_cut(self) -> bool:
        """Whether a cancellation that came out of the run is of a lifespan that was cut short, and nobody else's."""
        if not self._cut:
            return False
        uncancel = getattr(asyncio.current_task(), 'uncancel', None)  # of Python 3.11
        return uncancel is None or uncancel() == 0

    def _leave(self) -> None:
        self._leaving = True
        self._task = asyncio.current_task()
