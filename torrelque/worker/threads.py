"""Runs plain functions in threads that do not keep the process alive when they hang."""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

_Call = tuple[asyncio.AbstractEventLoop, 'asyncio.Future[Any]', Callable[[], Any]]


class Threads:
    """As many threads as calls run at once; each is used again.

    They are daemons, unlike those of `concurrent.futures`: a worker that was told to stop gives back the task of a
    handler that does not return, and the process can end.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._idle = 0
        self._count = 0

    def run(self, call: Callable[..., Any], *args: Any) -> 'asyncio.Future[Any]':
        """Begin a call, in the caller's context; the future is not cancelled with the call, which goes on."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        if self._idle:
            self._idle -= 1
        else:
            self._count += 1
            name = f'{self._name}-{self._count}'
            threading.Thread(target=_work, args=(self._calls,), name=name, daemon=True).start()
        future.add_done_callback(self._done)
        self._calls.put((loop, future, lambda: context.run(call, *args)))
        return future

    def close(self) -> None:
        """End the idle threads, and the others when their call ends."""
        for _ in range(self._count):
            self._calls.put(None)

    def _done(self, future: 'asyncio.Future[Any]') -> None:
        self._idle += 1


def _work(calls: 'queue.SimpleQueue[_Call | None]') -> None:
    while item := calls.get():
        loop, future, call = item
        try:
            result, error = call(), None
        except BaseException as exc:
            result, error = None, exc
        if isinstance(error, (StopIteration, GeneratorExit, KeyboardInterrupt)):
            # A future does not take them, or what waits for it does not.
            error = RuntimeError(f'the handler raised {error!r}')
        try:
            loop.call_soon_threadsafe(_tell, future, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits
        # What is kept here until the next call comes would live for as long.
        del item, call, result, error, future


def _tell(future: 'asyncio.Future[Any]', result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
