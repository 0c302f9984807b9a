"""Calls of one ordered queue in one event loop, which reach the server in the order in which they were made."""

import asyncio
import collections
import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar('T')


class Line:
    """Starts calls in their order; those that are on their way together share round trips, in their order.

    Until it is ``ready`` each call waits for the end of the one before: the first sets the limit that makes the order.
    A call that is to be ``alone`` waits for those before it, and those behind it wait for it.
    """

    def __init__(self) -> None:
        self.ready = False
        self.tasks: set[asyncio.Task[Any]] = set()
        """Calls that are on their way, or wait for their turn.  An event loop alone would not keep them."""
        self._loop = asyncio.get_running_loop()
        self._waiting: collections.deque[tuple[asyncio.Future[None], bool]] = collections.deque()
        self._active = 0
        self._alone = False

    def add(self, make: Callable[[], Coroutine[Any, Any, T]], name: str, alone: bool = False) -> 'asyncio.Task[T]':
        """Begin a call, now or when it is its turn.  Tasks take their first steps in the order of their making."""
        turn: asyncio.Future[None] | None = None
        if self._waiting or not self._is_free(alone):
            turn = self._loop.create_future()
            self._waiting.append((turn, alone))
        else:
            self._take(alone)
        task = self._loop.create_task(_run(turn, make), name=name)
        self.tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, turn))
        return task

    def _is_free(self, alone: bool) -> bool:
        return not self._active or self.ready and not alone and not self._alone

    def _take(self, alone: bool) -> None:
        self._active += 1
        self._alone = alone or not self.ready

    def _ended(self, turn: 'asyncio.Future[None] | None', task: 'asyncio.Task[Any]') -> None:
        self.tasks.discard(task)
        if turn is None or turn.done() and not turn.cancelled():
            self._active -= 1
        else:
            # It was cancelled before its turn.
            turn.cancel()
        while self._waiting and (self._waiting[0][0].cancelled() or self._is_free(self._waiting[0][1])):
            following, alone = self._waiting.popleft()
            if not following.cancelled():
                self._take(alone)
                following.set_result(None)


async def _run(turn: 'asyncio.Future[None] | None', make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    if turn is not None:
        await turn
    return await make()
