"""What stands around the enqueueing of a call: middleware of the producer."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torrelque import TorrelqueBulkError, TorrelqueTypeError
from torrelque.protocol.check import check_call, is_async

STILL = 0.05
"""s in which no call of a bulk moves before those are sent that have come through the middleware."""


@dataclass
class Call:
    """A call that is about to be enqueued.  A middleware may change it; arguments are checked once more then."""

    name: str
    """Of the function."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    headers: dict[str, Any]
    """What travels beside the arguments, to `torrelque.worker.Delivery.headers`."""
    queue: str
    """The name of the queue, to be read only."""


CallNext = Callable[[Call], Awaitable[str]]
"""What a middleware calls: the next one, or what enqueues; it gives the id of the task."""
EnqueueMiddleware = Callable[[Call, CallNext], Awaitable[str]]
"""``async def middleware(call, call_next)``: ``return await call_next(call)`` enqueues the call, or raises what
enqueueing raises.  Where a middleware raises before that, nothing is enqueued."""


def check_middleware(middleware: Sequence[EnqueueMiddleware]) -> tuple[EnqueueMiddleware, ...]:
    """Middleware, the first outermost.

    :raises TorrelqueTypeError: it is no sequence of coroutine functions of two arguments.
    """
    if isinstance(middleware, (str, bytes)) or not isinstance(middleware, Sequence):
        raise TorrelqueTypeError(f'middleware must be a sequence, not {middleware!r}')
    for one in middleware:
        check_call(one, 'middleware', 'call', 'call_next')
        if not is_async(one):
            raise TorrelqueTypeError(f'middleware of an app must be coroutine functions, not {one!r}')
    return tuple(middleware)


async def enqueue_through(middleware: Sequence[EnqueueMiddleware], call: Call, enqueue: CallNext) -> str:
    """Enqueue a call through middleware; the id of its task.

    :raises TorrelqueTypeError: a middleware gives no id, so that nobody could tell what became of the call.
    """
    last: CallNext = enqueue
    for one in reversed(middleware):
        last = functools.partial(_call, one, last)
    task_id = await last(call)
    if not isinstance(task_id, str):
        names = ', '.join(getattr(one, '__qualname__', repr(one)) for one in middleware)
        raise TorrelqueTypeError(f'middleware must return what call_next has given, not {task_id!r} ({names})')
    return task_id


async def enqueue_many_through(
    middleware: Sequence[EnqueueMiddleware],
    calls: Sequence[Call],
    enqueue_many: Callable[[list[Call]], Awaitable[list[str]]],
) -> list[str]:
    """Enqueue calls together, each through the middleware; the ids of their tasks.

    The calls wait for one another where they have come through, unless none moves any more, as where a middleware lets
    only so many pass at a time.  When one of them fails before that, the others behind it are not enqueued.

    :raises TorrelqueBulkError: a call has failed; it has the ids of those that are in the queue.
    """
    ways = _Ways(middleware, calls)
    try:
        while numbers := await ways.gather():
            ways.sent(numbers, await enqueue_many([ways.through[number] for number in numbers]))
        return await ways.end()
    finally:
        await ways.close()


class _Ways:
    """Calls of one bulk, each on its way through the middleware, by their numbers in it."""

    def __init__(self, middleware: Sequence[EnqueueMiddleware], calls: Sequence[Call]) -> None:
        # Legend.  _ids: of those that were sent.  _sending: what each waits for where it has come through.  _moved: set
        # when one has come through, or has ended.  _ways: asyncio tasks, one for each.
        loop = asyncio.get_running_loop()
        self.through: dict[int, Call] = {}
        """Calls that have come through, and were not sent yet."""
        self._ids: dict[int, str] = {}
        self._sending: list[asyncio.Future[str]] = [loop.create_future() for _ in calls]
        self._moved = asyncio.Event()
        self._ways = [
            asyncio.ensure_future(enqueue_through(middleware, call, functools.partial(self._wait, number)))
            for number, call in enumerate(calls)
        ]
        for way in self._ways:
            way.add_done_callback(lambda way: self._moved.set())

    async def gather(self) -> list[int]:
        """Calls that are to be sent together; none when there is none to wait for."""
        while True:
            bad = self._bad()
            ready = sorted(number for number in self.through if number < bad)
            late = [
                number
                for number, way in enumerate(self._ways[:bad])
                if number not in self.through and number not in self._ids and not way.done()
            ]
            if not late:
                return ready
            self._moved.clear()
            if not ready:
                await self._moved.wait()
            elif not await self._moves():
                return [number for number in ready if number < late[0]] or ready

    def sent(self, numbers: Sequence[int], ids: Sequence[str]) -> None:
        """Calls were sent, and these are the ids of their tasks."""
        for number, task_id in zip(numbers, ids, strict=True):
            del self.through[number]
            self._ids[number] = task_id
            self._sending[number].set_result(task_id)

    async def end(self) -> list[str]:
        """Wait until the middleware has done what it does behind the sending.

        :raises TorrelqueBulkError: one has failed.
        """
        bad = self._bad()
        going = [way for number, way in enumerate(self._ways) if number < bad or number in self._ids]
        if going:
            await asyncio.wait(going)
        errors = [error for way in [*self._ways[bad : bad + 1], *going] if (error := _error_of(way))]
        if not errors:
            return [way.result() for way in self._ways]
        # A middleware that has not called the next one may know of a task all the same.
        others = {number: way.result() for number, way in enumerate(self._ways[:bad]) if not _error_of(way)}
        ids = {**others, **self._ids}
        raise TorrelqueBulkError([ids[number] for number in sorted(ids)]) from errors[0]

    async def close(self) -> None:
        """Cancel those that are still on their way."""
        for way in self._ways:
            way.cancel()
        if self._ways:
            await asyncio.wait(self._ways)

    async def _wait(self, number: int, call: Call) -> str:
        self.through[number] = call
        self._moved.set()
        return await self._sending[number]

    async def _moves(self) -> bool:
        """Whether another one has come through, or has ended, within a moment."""
        try:
            await asyncio.wait_for(self._moved.wait(), STILL)
        except asyncio.TimeoutError:
            return False
        return True

    def _bad(self) -> int:
        """The first one that has failed before it was sent, or their number."""
        for number, way in enumerate(self._ways):
            if number not in self._ids and way.done() and _error_of(way):
                return number
        return len(self._ways)


def _error_of(way: 'asyncio.Future[str]') -> BaseException | None:
    return asyncio.CancelledError() if way.cancelled() else way.exception()


def _call(one: EnqueueMiddleware, call_next: CallNext, call: Call) -> Awaitable[str]:
    awaitable = one(call, call_next)
    assert inspect.isawaitable(awaitable)
    return awaitable
