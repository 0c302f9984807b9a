"""What was read a moment ago is not read again: all viewers share the answers, each as old as it may be."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple, TypeVar

T = TypeVar('T')

MOST = 500
"""Answers that are kept at the most."""


class Trouble(NamedTuple):
    """What stands in the place of something that could not be read."""

    text: str


class Reads:
    """Answers by their names.  What is asked for while it is being read is read once."""

    def __init__(self) -> None:
        # Legend.  _kept: by name, when an answer came, and the answer.  _coming: what is being read.  _changes: how
        # often everything was forgotten.
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._coming: dict[Hashable, asyncio.Task[Any]] = {}
        self._changes = 0

    async def get(self, name: Hashable, age: float, read: Callable[[], Awaitable[T]]) -> T:
        """An answer that is so old (s) at the most.

        Whoever is cancelled does not keep others from it.  What `read` raises is raised for all who wait for it, and
        not kept.
        """
        if (kept := self._kept.get(name)) is not None and time.monotonic() - kept[0] < age:
            return kept[1]  # type: ignore[no-any-return]
        return await asyncio.shield(self._begin(name, read))

    async def soon(
        self, name: Hashable, age: float, read: Callable[[], Awaitable[T]], patience: float, first: float | None = None
    ) -> T | None:
        """The same of what takes long: it is read on, for whoever asks next, where it takes too long.

        :param patience: s after which an older answer will do.
        :param first: s after which None will do, where there is no older answer; the same, if not given.
        """
        if (kept := self._kept.get(name)) is not None and time.monotonic() - kept[0] < age:
            return kept[1]  # type: ignore[no-any-return]
        task = self._begin(name, read)
        await asyncio.wait([task], timeout=first if kept is None and first is not None else patience)
        if task.done():
            return task.result()
        return None if kept is None else kept[1]

    def _begin(self, name: Hashable, read: Callable[[], Awaitable[T]]) -> 'asyncio.Task[T]':
        # What was begun before something was changed is nothing for whoever asks after it.
        key = self._changes, name
        if (task := self._coming.get(key)) is None:
            task = self._coming[key] = asyncio.ensure_future(self._read(key, read))
            task.add_done_callback(_look)
        return task

    async def _read(self, key: tuple[int, Hashable], read: Callable[[], Awaitable[T]]) -> T:
        changes, name = key
        try:
            answer = await read()
            if changes == self._changes:
                self._kept.pop(name, None)
                self._kept[name] = time.monotonic(), answer
            while len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]
            return answer
        finally:
            del self._coming[key]

    @property
    def busy(self) -> bool:
        """Whether something is being read."""
        return bool(self._coming)

    def forget(self) -> None:
        """Have everything read anew, because something was changed."""
        self._kept.clear()
        self._changes += 1

    async def aclose(self) -> None:
        """End what is being read."""
        tasks = [*self._coming.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _look(task: 'asyncio.Task[Any]') -> None:
    """Whoever waited may be gone, so that nobody hears of an error."""
    if not task.cancelled():
        task.exception()
