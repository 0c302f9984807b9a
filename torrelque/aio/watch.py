"""A watch: the iterator over the states of one task."""

import asyncio
from collections.abc import AsyncIterator, Callable

from torrelque.error import TorrelqueError, of_queue
from torrelque.model import TorrelqueTaskState, TorrelqueTaskStatus

from .hub import Hub
from .watcher import Watcher


class Watch(AsyncIterator[TorrelqueTaskState]):
    """The states of one task, as `Torrelque.watch` gives them.

    Not an async generator: one that is dropped unfinished is closed by a task that asyncio starts for it, which a
    closing loop does not run.
    """

    __slots__ = ('_hub', '_make_hub', '_over', '_task_id', '_timeout', '_watcher')

    def __init__(self, make_hub: Callable[[], Hub], task_id: str, timeout: float | None) -> None:
        self._make_hub = make_hub
        """Gives the hub at the first step; it keeps the queue object alive."""
        self._task_id = task_id
        """What is watched."""
        self._timeout = timeout
        """How long to watch (s) from the first step on; None for ever."""
        self._hub: Hub | None = None
        """Where it joined; None before the first step."""
        self._watcher: Watcher | None = None
        """What it was given there."""
        self._over = False
        """Whether the iterator has come to its end."""

    async def __anext__(self) -> TorrelqueTaskState:
        if self._over:
            raise StopAsyncIteration
        watcher = self._watcher
        if watcher is None:
            self._hub = self._make_hub()
            watcher = self._watcher = self._hub.join(self._task_id, self._timeout)
        if not watcher.fresh and not watcher.over:
            await self._wait(watcher)
        if watcher.fresh and watcher.state is not None:
            watcher.fresh = False
            self._over = watcher.over and watcher.error is None
            return watcher.state
        self._over = True
        if watcher.error is not None:
            raise watcher.error
        raise StopAsyncIteration

    async def last(self) -> TorrelqueTaskState:
        """The final state; where none was kept, the last one, as that of a task that was completed."""
        try:
            state = await self.__anext__()
            async for newer in self:
                state = newer
        finally:
            await self.aclose()
        return state if state.status.isfinal() else state._replace(status=TorrelqueTaskStatus.COMPLETED)

    async def aclose(self) -> None:
        """Watch no longer; a reader that waits comes to the end of the iterator."""
        self._over = True
        if self._hub is not None and self._watcher is not None and not self._watcher.over:
            self._hub.leave(self._watcher)

    def __del__(self) -> None:
        if self._hub is not None and self._watcher is not None and not self._watcher.over:
            # Objects are collected in any thread and in the middle of anything, so leave by a callback of the loop.
            self._hub.leave_soon(self._watcher)

    async def _wait(self, watcher: Watcher) -> None:
        if watcher.future is not None:
            what = f'this watch of task {self._task_id!r} is being waited for already; begin another'
            raise of_queue(watcher.queue, TorrelqueError(what))
        loop = asyncio.get_running_loop()
        if self._hub is not None and self._hub.loop is not loop:
            what = f'this watch of task {self._task_id!r} belongs to the event loop that it was begun in'
            raise of_queue(watcher.queue, TorrelqueError(what))
        watcher.future = loop.create_future()
        try:
            await watcher.future
        except BaseException:
            await self.aclose()
            raise
        finally:
            watcher.future = None
