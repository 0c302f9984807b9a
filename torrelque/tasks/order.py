"""Calls of one ordered queue in one event loop, which reach the server in the order in which they were made."""

import asyncio
import collections
import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar('T')


class Order:
    """Starts calls in the order in which they were added; calls that are on their way together share round trips.

    The first call sets the limit that makes the server keep the order.  So until the order is ``ready``, each call
    waits for the end of the one before.  A call that is to be ``alone`` waits for all calls before it, and the calls
    behind it wait for it.
    """

    def __init__(self) -> None:
        # Legend.  _waiting: for each call whose turn has not come, what gives it its turn, and whether it is to be
        # alone.  _active: how many calls are on their way.  _alone: whether the last of them keeps others from
        # beginning.
        self.ready = False
        """Whether the limit is known to be set, so that calls may be on their way together."""
        self.tasks: set[asyncio.Task[Any]] = set()
        """Calls that are on their way, or wait for their turn.  They are kept here because an event loop refers to its
        tasks weakly."""
        self._loop = asyncio.get_running_loop()
        self._waiting: collections.deque[tuple[asyncio.Future[None], bool]] = collections.deque()
        self._active = 0
        self._alone = False

    def open(self) -> None:
        """The limit is set: from now on calls are on their way together."""
        self.ready = True

    def add(self, make: Callable[[], Coroutine[Any, Any, T]], name: str, alone: bool = False) -> 'asyncio.Task[T]':
        """Begin a call, now or when its turn has come.

        The order holds because asyncio has its tasks take their first steps in the order in which they were made.
        """
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
            # The call was cancelled before its turn.
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
