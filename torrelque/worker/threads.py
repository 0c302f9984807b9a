"""Runs plain functions in threads that do not keep the process alive when they hang."""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar('T')


class _Call(NamedTuple):
    """A call for a thread to make."""

    loop: asyncio.AbstractEventLoop
    """The event loop that waits for it."""
    future: 'asyncio.Future[Any]'
    """What waits for its end there."""
    call: Callable[[], Any]
    settle: Callable[..., None]
    """Called in the event loop with the future and what came of the call."""


class Threads:
    """As many threads as calls run at once; each is used again.

    The threads are daemons, unlike those of `concurrent.futures`: a worker that was told to stop gives back the task of
    a handler that does not return, and then the process can end.
    """

    def __init__(self, name: str) -> None:
        # Legend.  _name: what the threads are called, before a number.  _calls: what they are to do; None ends one.
        # _idle: how many have nothing to do.  _count: how many there are.
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._idle = 0
        self._count = 0

    def run(self, call: Callable[..., T], *args: Any) -> 'asyncio.Future[T]':
        """Begin a call, in the caller's context; see `result_of` for its end.

        An exception of a call that nobody waits for any more is not logged.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()
        if self._idle:
            self._idle -= 1
        else:
            name = f'{self._name}-{self._count + 1}'
            threading.Thread(target=_work, args=(self._calls,), name=name, daemon=True).start()
            self._count += 1
        self._calls.put(_Call(loop, future, lambda: context.run(call, *args), self._settle))
        return future

    def close(self) -> None:
        """End the idle threads, and the others when their call ends."""
        for _ in range(self._count):
            self._calls.put(None)

    def _settle(self, future: 'asyncio.Future[Any]', result: Any, error: Exception | None) -> None:
        self._idle += 1
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            # asyncio logs an error that nobody has asked for, and here nobody may wait for it any more; so ask for it.
            future.exception()


async def result_of(call: 'asyncio.Future[T]') -> T:
    """Wait for a call in a thread; when cancelled, the call goes on.

    It is no `asyncio.shield`, because some versions of that log what is raised after the cancellation.
    """
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(call: 'asyncio.Future[T]') -> None:
        if not waiter.done():
            waiter.set_result(None)

    call.add_done_callback(end)
    await waiter
    return call.result()


def as_failure(error: BaseException) -> Exception:
    """An exception that may be raised in an event loop in the place of another: one that is no `Exception` ends the
    loop, and no future takes a `StopIteration`."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    try:
        text = repr(error)
    except Exception:
        text = type(error).__name__
    failure = RuntimeError(f'the handler raised {text}')
    failure.__cause__ = error
    return failure


def _work(calls: 'queue.SimpleQueue[_Call | None]') -> None:
    while item := calls.get():
        loop, future, call, settle = item
        try:
            result, error = call(), None
        except BaseException as exc:
            result, error = None, as_failure(exc)
        try:
            loop.call_soon_threadsafe(settle, future, result, error)
        except RuntimeError:
            return  # the event loop is closed, so nobody waits for the call
        # Drop the references: an idle thread would keep the last result alive until its next call.
        del item, call, settle, result, error, future
