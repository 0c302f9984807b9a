"""Concurrent calls share a round trip.

Calls of one kind that are made while one is on its way are sent together when it returns, as databases commit in
groups.  There is no timer, and a call that finds nothing on its way goes at once.
"""

import asyncio
import collections
import functools
from collections.abc import Callable, Sequence
from typing import Any

from torrelque.error import TorrelqueConnectionError, copy_error
from torrelque.protocol.bounds import Bounds
from torrelque.protocol.replies import Outcome, outcome_error, read_outcomes
from torrelque.protocol.transition import Arg, Transition

from .link import Link, Request

_Item = tuple[Sequence[Arg], str, 'asyncio.Future[Outcome]', int]
"""One task's part of a call: its arguments, the task's id, the future of the outcome, bytes of payload."""


class Batch:
    """The calls of one transition of one queue.

    ``head`` makes the arguments that a call has once; it is asked for each.  A task whose caller was cancelled before
    the call was sent is left out where it is ``droppable``.
    """

    def __init__(
        self,
        link: Link,
        transition: Transition,
        head: Callable[[], list[Arg]],
        bounds: Bounds,
        droppable: bool = False,
    ) -> None:
        self._link = link
        """Over which calls are sent."""
        self._transition = transition
        """The script that they are of."""
        self._head = head
        """Makes what a call has once."""
        self._droppable = droppable
        """Whether a task is left out whose caller was cancelled."""
        self._bulk, self._bulk_bytes = bounds.bulk, bounds.bulk_bytes
        self._waiting: collections.deque[_Item] = collections.deque()
        """Tasks for the next call, in the order in which they came."""
        self._size = 0
        """The bytes of these together."""
        self._away = 0
        """Calls that are on their way."""
        self._scheduled = False
        """Whether a call is going to be sent at the end of this turn of the loop."""
        self._crowd = False
        """Whether the last call was of several tasks, whose callers are likely to call again in one turn."""
        self._idle: asyncio.Event = asyncio.Event()
        """Set while nothing waits and nothing is on its way."""
        self._idle.set()

    def add(self, args: Sequence[Arg], task_id: str, size: int = 0) -> 'asyncio.Future[Outcome]':
        """One task's part of a call; the future is its outcome, or the error that the outcome stands for."""
        future: asyncio.Future[Outcome] = self._link.loop.create_future()
        self._waiting.append((args, task_id, future, size))
        self._size += size
        if not self._away and not self._scheduled:
            self._idle.clear()
            if self._crowd:
                # Coroutines that one reply resolved will call again in this turn of the loop.  Send at its end, so that
                # one call serves them all.
                self._scheduled = True
                self._link.loop.call_soon(self._send)
            else:
                self._send()
        return future

    def hurry(self) -> None:
        """Send what waits, whatever is on its way: a caller was cancelled, and the event loop may be about to end."""
        while self._waiting:
            self._send()

    async def drain(self) -> None:
        """Wait until nothing is on its way."""
        await self._idle.wait()

    def _send(self) -> None:
        self._scheduled = False
        if len(self._waiting) <= self._bulk and self._size <= self._bulk_bytes:
            items = [*self._waiting]
            self._waiting.clear()
            self._size = 0
            if self._droppable:
                items = [item for item in items if not item[2].cancelled()]
        else:
            items = self._take_some()
        if items:
            self._away += 1
            self._crowd = len(items) > 1
            args = [*self._head()]
            for item in items:
                args += item[0]
            self._link.submit(Request(self._transition, args, functools.partial(self._returned, items)))
        elif not self._away:
            self._idle.set()

    def _take_some(self) -> list[_Item]:
        """As many of the tasks that wait as a call may have; one in any case."""
        items: list[_Item] = []
        size = 0
        while self._waiting and len(items) < self._bulk and size < self._bulk_bytes:
            _, _, future, its_size = self._waiting[0]
            if size and size + its_size > self._bulk_bytes:
                break
            item = self._waiting.popleft()
            self._size -= its_size
            if self._droppable and future.cancelled():
                continue
            items.append(item)
            size += its_size
        return items

    def _returned(self, items: list[_Item], reply: Any, error: Exception | None) -> None:
        self._away -= 1
        if reply == b'ok':
            for _, _, future, _ in items:
                if not future.cancelled():
                    future.set_result('ok')
        else:
            self._tell(items, reply, error)
        if isinstance(error, TorrelqueConnectionError):
            # Each next call would be waited for as long once more, so fail what waited behind the lost call, too.  That
            # was never sent.
            self._size, error.untouched = 0, True
            while self._waiting:
                _, _, future, _ = self._waiting.popleft()
                if not future.cancelled():
                    future.set_exception(copy_error(error))
        if self._away or self._scheduled:
            return
        if self._waiting:
            # The callers that were just served may call again in this turn of the loop, so send at its end.
            self._scheduled = True
            self._link.loop.call_soon(self._send)
        else:
            self._idle.set()

    def _tell(self, items: list[_Item], reply: Any, error: Exception | None) -> None:
        outcomes: list[Outcome] = []
        if error is None:
            try:
                outcomes = read_outcomes(self._transition.name, reply, len(items), self._transition.queue)
            except Exception as exc:
                # Whatever the error is, the callers wait for it.
                error = exc
        for k, (_, task_id, future, _) in enumerate(items):
            if future.cancelled():
                continue
            wrong = error or outcome_error(outcomes[k], task_id, self._transition.queue)
            if wrong is None:
                future.set_result(outcomes[k])
            else:
                future.set_exception(wrong if error is None else copy_error(wrong))
