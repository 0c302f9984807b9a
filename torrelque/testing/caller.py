"""The thread of synchronous code that waits for a coroutine, and meanwhile runs functions that the coroutine gives it.

So a function that is no coroutine function runs where its caller is, with whatever belongs to that thread: the
connection of a database, for instance, with the transaction that a test has begun.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from torrelque import TorrelqueClosedError
from torrelque.worker.crossing import ENDED, close_coroutine

T = TypeVar('T')

_waiting: contextvars.ContextVar[Caller | None] = contextvars.ContextVar('torrelque.testing.caller', default=None)
"""The thread that waits for what runs in this context."""


class Caller:
    """A thread while it waits, see `wait_in_thread`."""

    def __init__(self) -> None:
        # Legend.  _calls: what the thread is to run; None ends it.  _lock, _over: whether the thread takes no more.
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._over = False

    def wait(self, future: concurrent.futures.Future[T]) -> T:
        """Run what is given to this thread until a future is done; its result."""
        future.add_done_callback(lambda future: self._calls.put(None))
        try:
            while call := self._calls.get():
                call()
            return future.result()
        except concurrent.futures.CancelledError as exc:
            raise TorrelqueClosedError(ENDED) from exc
        finally:
            future.cancel()
            with self._lock:
                self._over = True
            while not self._calls.empty():
                if call := self._calls.get():
                    call()

    def give(self, call: Callable[[], None]) -> bool:
        """Have the thread run a function; False where it waits no more."""
        with self._lock:
            if not self._over:
                self._calls.put(call)
            return not self._over


def wait_in_thread(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the event loop of another thread, and in this one the functions of its `run_in_caller`.

    :raises TorrelqueClosedError: the loop is closed, or has ended meanwhile.
    """
    caller, context = Caller(), contextvars.copy_context()
    context.run(_waiting.set, caller)
    try:
        future = context.run(asyncio.run_coroutine_threadsafe, coroutine, loop)
    except RuntimeError as exc:
        close_coroutine(coroutine)
        raise TorrelqueClosedError('the event loop was closed') from exc
    return caller.wait(future)


async def run_in_caller(function: Callable[..., T], *args: Any) -> T:
    """Run a function in the thread that waits for this, or in another one where none does.  When cancelled, it goes on.

    An exception that is no `Exception`, but for `KeyboardInterrupt`, is the function's, and not the thread's.
    """
    caller = _waiting.get()
    if caller is None:
        return await asyncio.to_thread(function, *args)
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    ended: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result((result, error))

    def call() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = context.run(function, *args)
        except BaseException as exc:
            error = exc
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the loop is closed, so nobody waits
        if isinstance(error, KeyboardInterrupt):
            raise error

    if not caller.give(call):
        return await asyncio.to_thread(function, *args)
    result, error = await ended
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
