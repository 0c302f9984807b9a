"""What stands around the enqueueing of a call: middleware of the producer."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torrelque import TorrelqueBulkError, TorrelqueTypeError
from torrelque.protocol.check import check_call, is_async


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

    The calls wait for one another where they have come through.  When one of them has failed by then, those before it
    are enqueued, and the others are not.

    :raises TorrelqueBulkError: a call has failed; it has the ids of those before.
    """
    loop = asyncio.get_running_loop()
    sent: list[asyncio.Future[str]] = [loop.create_future() for _ in calls]
    through: dict[int, Call] = {}
    gathered = asyncio.Event()

    def look(_: object = None) -> None:
        if all(number in through or way.done() for number, way in enumerate(ways)):
            gathered.set()

    async def wait(number: int, call: Call) -> str:
        through[number] = call
        look()
        return await sent[number]

    ways: list[asyncio.Future[str]] = []
    ways += [
        asyncio.ensure_future(enqueue_through(middleware, call, functools.partial(wait, number)))
        for number, call in enumerate(calls)
    ]
    try:
        for way in ways:
            way.add_done_callback(look)
        await gathered.wait()
        bad = next((number for number, way in enumerate(ways) if way.done() and _error_of(way)), len(ways))
        first = [number for number in sorted(through) if number < bad]
        ids = await enqueue_many([through[number] for number in first])
        for number, task_id in zip(first, ids, strict=True):
            sent[number].set_result(task_id)
        await asyncio.wait(ways[:bad]) if bad else None
        errors = [error for way in ways[: bad + 1] if (error := _error_of(way))]
        if errors:
            raise TorrelqueBulkError([way.result() for way in ways[:bad] if not _error_of(way)]) from errors[0]
        return [way.result() for way in ways]
    finally:
        for way in ways:
            way.cancel()
        if ways:
            await asyncio.wait(ways)


def _error_of(way: 'asyncio.Future[str]') -> BaseException | None:
    return asyncio.CancelledError() if way.cancelled() else way.exception()


def _call(one: EnqueueMiddleware, call_next: CallNext, call: Call) -> Awaitable[str]:
    awaitable = one(call, call_next)
    assert inspect.isawaitable(awaitable)
    return awaitable
