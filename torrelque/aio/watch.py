"""A watch: the iterator over the states of one task."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from torrelque.error import TorrelqueError, TorrelqueLookupError, of_queue
from torrelque.model import TorrelqueTaskState, TorrelqueTaskStatus

from .hub import Hub
from .watcher import Watcher


class Watch(AsyncIterator[TorrelqueTaskState]):
    """The states of one task, as `Torrelque.watch` gives them.

    Not an async generator: one that is dropped unfinished is closed by a task that asyncio starts for it, which a
    closing loop does not run.
    """

    __slots__ = ('_find_heir', '_hub', '_make_hub', '_over', '_seen', '_task_id', '_timeout', '_until', '_watcher')

    def __init__(
        self,
        make_hub: Callable[[], Hub],
        find_heir: Callable[[str, str | None], Awaitable[str | None]],
        task_id: str,
        timeout: float | None,
    ) -> None:
        self._make_hub = make_hub
        """Gives the hub at the first step; it keeps the queue object alive."""
        self._find_heir = find_heir
        """Finds the task that has taken the place of one, by its id and that of its flow, where that is known."""
        self._task_id = task_id
        """What is watched."""
        self._timeout = timeout
        """How long to watch (s) from the first step on; None for ever."""
        self._until = 0.0
        """When that time is over, by the event loop's clock."""
        self._hub: Hub | None = None
        """Where it joined; None before the first step."""
        self._watcher: Watcher | None = None
        """What it was given there."""
        self._seen = False
        """Whether a state was given."""
        self._over = False
        """Whether the iterator has come to its end."""

    async def __anext__(self) -> TorrelqueTaskState:
        if self._over:
            raise StopAsyncIteration
        watcher = self._watcher
        if watcher is None:
            self._hub = self._make_hub()
            self._until = self._hub.loop.time() + (self._timeout or 0)
            watcher = self._watcher = self._hub.join(self._task_id, self._timeout)
        if not watcher.fresh and not watcher.over:
            await self._wait(watcher)
        if watcher.fresh and watcher.state is not None:
            watcher.fresh, self._seen = False, True
            # Of a task of a flow that is gone without a final state others may have taken the place.
            ended = watcher.state.flow is None or watcher.state.status.isfinal()
            self._over = watcher.over and watcher.error is None and ended
            return watcher.state
        if await self._go_on(watcher):
            return await self.__anext__()
        self._over = True
        # An heir may have ended before it was read.
        if watcher.error is not None and not (self._seen and isinstance(watcher.error, TorrelqueLookupError)):
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
        self._close()

    def _close(self) -> None:
        self._over = True
        if self._hub is not None and self._watcher is not None and not self._watcher.over:
            self._hub.leave(self._watcher)

    def __del__(self) -> None:
        if self._hub is not None and self._watcher is not None and not self._watcher.over:
            # Objects are collected in any thread and in the middle of anything, so leave by a callback of the loop.
            self._hub.leave_soon(self._watcher)

    async def _go_on(self, watcher: Watcher) -> bool:
        """Watch the task that has taken the place of the one that was watched, if one has."""
        hub, state = self._hub, watcher.state
        if hub is None or self._over or state is not None and (state.flow is None or state.status.isfinal()):
            return False
        if watcher.error is not None and not (state is None and isinstance(watcher.error, TorrelqueLookupError)):
            return False
        flow_id = None if state is None else state.flow
        with self._reading(watcher):
            heir = await self._find_heir(self._task_id, flow_id)
        if heir is None or self._over:
            return False
        self._task_id = heir
        left = None if self._timeout is None else max(0.0, self._until - hub.loop.time())
        self._watcher = hub.join(heir, left)
        # For messages: the time is that of the whole.
        self._watcher.timeout = self._timeout
        return True

    async def _wait(self, watcher: Watcher) -> None:
        with self._reading(watcher) as future:
            await future

    @contextlib.contextmanager
    def _reading(self, watcher: Watcher) -> Iterator['asyncio.Future[None]']:
        """What the only reader of a watch waits for, and what becomes of the watch when that is cancelled."""
        if watcher.future is not None:
            what = f'this watch of task {self._task_id!r} is being waited for already; begin another'
            raise of_queue(watcher.queue, TorrelqueError(what))
        loop = asyncio.get_running_loop()
        if self._hub is not None and self._hub.loop is not loop:
            what = f'this watch of task {self._task_id!r} belongs to the event loop that it was begun in'
            raise of_queue(watcher.queue, TorrelqueError(what))
        watcher.future = loop.create_future()
        try:
            yield watcher.future
        except BaseException:
            self._close()
            raise
        finally:
            watcher.future = None
