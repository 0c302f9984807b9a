"""What stands around a handler: middleware, and hooks, its simple form."""

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .delivery import Delivery

logger = logging.getLogger(__package__)

Handle = Callable[[Delivery], Awaitable[Any]]
Middleware = Callable[[Delivery, Handle], Awaitable[Any]]
"""``async def middleware(delivery, call_next)``: ``await call_next(delivery)`` is the handler's result, or raises what
the handler raises.  What the middleware returns or raises is what counts."""


def make_chain(handle: Handle, middleware: Sequence[Middleware]) -> Handle:
    """The handler behind all middleware, the first outermost."""
    for one in reversed(middleware):
        handle = functools.partial(_call, one, handle)
    return handle


def _call(one: Middleware, call_next: Handle, delivery: Delivery) -> Awaitable[Any]:
    return one(delivery, call_next)


async def call_hooks(
    hooks: Sequence[Callable[..., Any]], *args: Any, asked: Callable[[], bool] = lambda: True
) -> None:
    """Call hooks, async or not, one after the other.  What one raises is logged, and changes nothing.

    :param asked: whether a cancellation that comes out of a hook is that of the caller, who takes it.
    """
    for hook in hooks:
        try:
            result = hook(*args)
            if inspect.isawaitable(result):
                await result
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and asked() or isinstance(exc, GeneratorExit) and not in_loop():
                raise
            logger.exception('the hook %r failed', hook)


async def call_hooks_apart(hooks: Sequence[Callable[..., Any]], *args: Any) -> None:
    """As `call_hooks`, each in an asyncio task of its own: one that cancels itself is told from the caller's end."""
    for hook in hooks:
        call = asyncio.get_running_loop().create_task(call_hooks([hook], *args))
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError:
            call.cancel()
            raise
        if call.cancelled():
            logger.error('the hook %r has cancelled itself', hook)


def in_loop() -> bool:
    """Whether an event loop runs here; where none does, a coroutine is thrown away with the one that it was in."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
