"""Where a worker's tasks come from: one queue, several in order or by weight, and those that it serves when idle."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTimeoutError

Taken = tuple[Torrelque, list[tuple[TorrelqueTaskId, Any]]]
"""A queue, and what it gave."""


class Source:
    """Takes tasks from the worker's own queues, and from those to ``steal`` from only when its own have none.

    Where there are ``weights``, and work everywhere, so many tasks of so many come from each; else the first queue
    that has tasks goes before all behind it.
    """

    def __init__(
        self,
        queues: Sequence[Torrelque],
        steal: Sequence[Torrelque] = (),
        weights: Mapping[Torrelque, int] | None = None,
    ) -> None:
        self._queues = queues
        self._steal = steal
        self._weights = weights
        self._credit = dict.fromkeys(queues, 0)

    @property
    def queues(self) -> tuple[Torrelque, ...]:
        """All of them."""
        return (*self._queues, *self._steal)

    async def take(self, count: int, wait: bool) -> list[Taken]:
        """Tasks, ``count`` at the most; unless it is to ``wait``, there may be none.

        A call that is cancelled loses nothing.
        """
        if wait and len(self._queues) == 1 and not self._steal:
            return [await _dequeue(self._queues[0], None, count)]
        taken: list[Taken] = []
        try:
            if self._weights is not None:
                count -= await self._share(count, taken)
            for queue in (*self._queues, *self._steal):
                if count <= 0 or queue in self._steal and taken:
                    break
                count -= await _add(queue, count, taken)
            if not taken and wait:
                taken += await _wait_for_any([*self._queues, *self._steal], count)
        except BaseException:
            await give_back(taken)
            raise
        return taken

    async def _share(self, count: int, taken: list[Taken]) -> int:
        """Take of each queue what its weight says, by a weighted round robin: whose credit is highest is next."""
        assert self._weights is not None
        shares = dict.fromkeys(self._queues, 0)
        whole = sum(self._weights.values())
        for _ in range(count):
            for queue, weight in self._weights.items():
                self._credit[queue] += weight
            chosen = max(self._credit, key=lambda queue: self._credit[queue])
            self._credit[chosen] -= whole
            shares[chosen] += 1
        got = 0
        for queue, share in shares.items():
            if share:
                got += await _add(queue, share, taken)
        return got


async def give_back(taken: Sequence[Taken]) -> None:
    """Give tasks back that were not begun, uncounted, so that they are at the head of their queue in their order."""
    calls = [queue.requeue(task_id, forgive=True) for queue, tasks in reversed(taken) for task_id, _ in reversed(tasks)]
    await asyncio.shield(asyncio.gather(*calls, return_exceptions=True))


async def _dequeue(queue: Torrelque, timeout: float | None, count: int) -> Taken:
    got = await queue.dequeue(timeout, max_tasks=count)
    return queue, [got] if count == 1 else got


async def _add(queue: Torrelque, count: int, taken: list[Taken]) -> int:
    """Take what is there now; how many."""
    try:
        some = await _dequeue(queue, 0, count)
    except TorrelqueTimeoutError:
        return 0
    taken.append(some)
    return len(some[1])


async def _wait_for_any(queues: Sequence[Torrelque], count: int) -> list[Taken]:
    """Wait until one of the queues has a task.  Others may have one in the same moment."""
    calls = [asyncio.ensure_future(_dequeue(queue, None, 1)) for queue in queues]
    cancelled = False
    try:
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        cancelled = True
    ending = asyncio.ensure_future(_end(calls))
    while not ending.done():
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError:
            # What was taken meanwhile must not be forgotten.
            cancelled = True
    taken, errors = ending.result()
    if cancelled:
        await give_back(taken)
        raise asyncio.CancelledError
    if not taken and errors:
        raise errors[0]
    surplus = taken[count:]
    if surplus:
        try:
            await give_back(surplus)
        except asyncio.CancelledError:
            await give_back(taken[:count])
            raise
    return taken[:count]


async def _end(calls: Sequence['asyncio.Future[Taken]']) -> tuple[list[Taken], list[BaseException]]:
    """Cancel the calls, which give back what comes for them; what others have taken before, and errors."""
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    ended = [call for call in calls if not call.cancelled()]
    errors = [error for call in ended if (error := call.exception())]
    return [call.result() for call in ended if not call.exception()], errors
