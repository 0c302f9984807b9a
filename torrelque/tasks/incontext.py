"""Calls of functions in the context that went along with them; whoever has none has nothing of this."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from torrelque.protocol.check import is_async
from torrelque.worker import Delivery

from .context import Contexts, Taken


def in_context(call: Callable[[Delivery], Any], contexts: Contexts) -> Callable[[Delivery], Any]:
    """What a worker calls with a delivery, where that has a context."""
    return AsyncInContext(call, contexts).run if is_async(call) else PlainInContext(call, contexts)


class AsyncInContext:
    """A call of a coroutine function."""

    def __init__(self, call: Callable[[Delivery], Awaitable[Any]], contexts: Contexts) -> None:
        self._call = call
        self._contexts = contexts

    async def run(self, delivery: Delivery) -> Any:
        """Run the function in the context of its task."""
        if 'context' not in delivery.task:
            return await self._call(delivery)
        with Taken(self._contexts, delivery.task):
            return await self._call(delivery)


class PlainInContext:
    """A call of a function that is no coroutine function, in its thread; or in a process, which has the contexts of the
    app that it imports."""

    def __init__(self, call: Callable[[Delivery], Any], contexts: Contexts) -> None:
        self._call = call
        self._contexts = contexts

    def __call__(self, delivery: Delivery) -> Any:
        if 'context' not in delivery.task:
            return self._call(delivery)
        with Taken(self._contexts, delivery.task):
            result = self._call(delivery)
        return self._rest(result, delivery) if inspect.isawaitable(result) else result

    async def _rest(self, awaitable: Awaitable[Any], delivery: Delivery) -> Any:
        with Taken(self._contexts, delivery.task):
            return await awaitable

    def __reduce__(self) -> tuple[Callable[..., 'PlainInContext'], tuple[Callable[[Delivery], Any]]]:
        return _restore, (self._call,)


def _restore(call: Any) -> PlainInContext:
    return PlainInContext(call, call.contexts)
