"""What stands around a handler: middleware, and hooks, its simple form."""

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from .delivery import Delivery

logger = logging.getLogger(__package__)

CallNext = Callable[[Delivery], Awaitable[Any]]
"""What a middleware calls: the next one, or the handler."""
Middleware = Callable[[Delivery, CallNext], Awaitable[Any]]
"""``async def middleware(delivery, call_next)``: ``await call_next(delivery)`` is the handler's result, or raises what
the handler raises.  What the middleware returns or raises is what counts.

It may have a method ``idle``, which tells whether there is nothing to do now: where all of a worker's middleware is
idle, handlers are called as without any."""


def make_chain(handler: CallNext, middleware: Sequence[Middleware]) -> CallNext:
    """The handler behind all middleware, the first outermost."""
    call = handler
    for one in reversed(middleware):
        call = functools.partial(_call, one, call)
    return call


def idle_of(middleware: Sequence[Middleware]) -> Callable[[], bool] | None:
    """What tells whether all middleware is idle; None where some never is, or there is none."""
    idles: list[Callable[[], bool]] = [idle for one in middleware if (idle := getattr(one, 'idle', None)) is not None]
    if not idles or len(idles) < len(middleware):
        return None
    return idles[0] if len(idles) == 1 else lambda: all(idle() for idle in idles)


def _call(one: Middleware, call_next: CallNext, delivery: Delivery) -> Awaitable[Any]:
    return one(delivery, call_next)


async def call_hooks(
    hooks: Sequence[Callable[..., Any]], *args: Any, asked: Callable[[], bool] = lambda: True
) -> None:
    """Call hooks, async or not, one after the other.  What a hook raises is logged, and changes nothing.

    :param asked: whether a cancellation that comes out of a hook is that of the caller, and so goes on to the caller.
    """
    for hook in hooks:
        try:
            result = hook(*args)
            if inspect.isawaitable(result):
                await result
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and asked():
                raise
            if isinstance(exc, GeneratorExit) and not loop_runs():
                # The coroutine is thrown away with its event loop: the hook has not raised this.
                raise
            logger.exception('the hook %r failed', hook)


async def call_hooks_apart(
    hooks: Sequence[Callable[..., Any]],
    *args: Any,
    start: 'Callable[[Coroutine[Any, Any, None]], asyncio.Task[Any]] | None' = None,
) -> None:
    """As `call_hooks`, each in an asyncio task of its own, so that a hook that cancels itself can be told from the end
    of the caller.

    :param start: makes these asyncio tasks, for a caller that keeps account of them.
    """
    for hook in hooks:
        call = (start or asyncio.get_running_loop().create_task)(call_hooks([hook], *args))
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError:
            call.cancel()
            raise
        if call.cancelled():
            logger.error('the hook %r has cancelled itself', hook)


def loop_runs() -> bool:
    """Whether an event loop runs in this thread.  Where none does, a coroutine is being thrown away with the loop that
    it was in."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
