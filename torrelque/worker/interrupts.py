"""Keeps an event loop going where an asyncio task that a handler began raises `KeyboardInterrupt` or `SystemExit`.

asyncio raises these out of the event loop, which ends the loop with everything that runs there; and what waits for the
task is cancelled, without a reason.  Here the task raises a `RuntimeError` in their stead, as a handler in a thread
does.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator
from types import CodeType
from typing import Any

from .threads import as_failure


class _Kept(Coroutine[Any, Any, Any]):
    """A coroutine that raises neither `KeyboardInterrupt` nor `SystemExit`."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __getattr__(self, name: str) -> Any:
        # Debuggers, and the representation of an asyncio task, look at attributes of the coroutine.
        return getattr(self._coroutine, name)

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (KeyboardInterrupt, SystemExit) as exc:
            raise as_failure(exc) from exc

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        except (KeyboardInterrupt, SystemExit) as exc:
            raise as_failure(exc) from exc

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()


class _Factory:
    """Makes the asyncio tasks of an event loop; those that handlers begin are kept from ending the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.users = 0
        """How many workers of the loop need the factory."""
        self.codes: set[CodeType] = set()
        """Code of the coroutines that call handlers."""
        self._before: Callable[..., Any] | None = loop.get_task_factory()

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        beginner = asyncio.current_task(loop)
        if beginner is not None and inspect.iscoroutine(coroutine) and self._is_of_handler(beginner):
            coroutine = _Kept(coroutine)
        if self._before is not None:
            return self._before(loop, coroutine, **options)
        return asyncio.Task(coroutine, loop=loop, **options)

    def _is_of_handler(self, task: 'asyncio.Task[Any]') -> bool:
        coroutine = task.get_coro()
        return isinstance(coroutine, _Kept) or getattr(coroutine, 'cr_code', None) in self.codes

    def restore(self, loop: asyncio.AbstractEventLoop) -> None:
        # If another factory was set since, it is not ours to take away.
        if loop.get_task_factory() is self:
            loop.set_task_factory(self._before)


_factories: dict[asyncio.AbstractEventLoop, _Factory] = {}


@contextlib.contextmanager
def kept_going(loop: asyncio.AbstractEventLoop, handle: Callable[..., Any]) -> Iterator[None]:
    """Keep a loop going whatever tasks raise that were begun in ``handle``, a coroutine function, or by these."""
    factory = _factories.get(loop)
    if factory is None:
        factory = _factories[loop] = _Factory(loop)
        loop.set_task_factory(factory)
    factory.users += 1
    factory.codes.add(handle.__code__)
    try:
        yield
    finally:
        factory.users -= 1
        if not factory.users:
            del _factories[loop]
            factory.restore(loop)
