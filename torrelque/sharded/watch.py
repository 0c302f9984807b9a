"""A watch of a task that is in one of several shards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from torrelque import Torrelque, TorrelqueError, TorrelqueTaskState, TorrelqueWatch

Seek = Callable[[str, Callable[[Torrelque], Awaitable[Any]]], Awaitable[Any]]
"""Asks where an id says, else everywhere."""


class Watch(AsyncIterator[TorrelqueTaskState]):
    """The states of one task: the watch of its shard, once that was found."""

    __slots__ = ('_beginning', '_found', '_over', '_seek', '_task_id', '_timeout')

    def __init__(self, seek: Seek, task_id: str, timeout: float | None) -> None:
        self._seek = seek
        """Finds the shard; it keeps the queue object alive."""
        self._task_id = task_id
        self._timeout = timeout
        """How long to watch (s) from the first step on; None for ever."""
        self._beginning: asyncio.Future[tuple[TorrelqueWatch, TorrelqueTaskState | None]] | None = None
        """Looks for the shard; None before and after."""
        self._found: TorrelqueWatch | None = None
        """The watch of the shard."""
        self._over = False
        """Whether it was closed."""

    async def __anext__(self) -> TorrelqueTaskState:
        if self._over:
            raise StopAsyncIteration
        if self._found is not None:
            return await self._found.__anext__()
        if self._beginning is not None:
            what = f'this watch of task {self._task_id!r} is being waited for already; begin another'
            raise TorrelqueError(what)
        beginning = self._beginning = asyncio.ensure_future(self._seek(self._task_id, self._begin))
        try:
            await asyncio.wait([beginning])
        except BaseException:
            self._over = True
            beginning.cancel()
            raise
        finally:
            self._beginning = None
        if beginning.cancelled():
            raise StopAsyncIteration
        try:
            self._found, state = beginning.result()
        except BaseException:
            self._over = True
            raise
        if state is None:
            raise StopAsyncIteration
        return state

    async def aclose(self) -> None:
        """Watch no longer; a reader that waits comes to the end of the iterator."""
        self._over = True
        if self._beginning is not None:
            self._beginning.cancel()
        if self._found is not None:
            await self._found.aclose()

    async def _begin(self, shard: Torrelque) -> tuple[TorrelqueWatch, TorrelqueTaskState | None]:
        watch = shard.watch(self._task_id, timeout=self._timeout)
        try:
            return watch, await watch.__anext__()
        except StopAsyncIteration:
            return watch, None
