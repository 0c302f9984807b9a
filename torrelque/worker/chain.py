"""What stands around a handler: middleware, and hooks, its simple form."""

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


async def call_hooks(hooks: Sequence[Callable[..., Any]], *args: Any) -> None:
    """Call hooks, async or not, one after the other.  What one raises is logged, and changes nothing."""
    for hook in hooks:
        try:
            result = hook(*args)
            if inspect.isawaitable(result):
                await result
        except (Exception, KeyboardInterrupt, SystemExit):
            logger.exception('the hook %r failed', hook)
