"""Runs coroutines in the event loop of another thread, and takes care of those that were never begun.

Other layers may import the names in `__all__`.
"""

import asyncio
import concurrent.futures
import inspect
from collections.abc import Coroutine
from typing import Any, TypeVar

from torrelque import TorrelqueClosedError, TorrelqueError, TorrelqueTypeError

__all__ = ['ENDED', 'close_coroutine', 'run_in_loop']

T = TypeVar('T')

ENDED = 'the event loop of the call has ended; whether it was carried out is unknown'
"""What a caller is told whose call was on its way when the event loop ended."""


def run_in_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the event loop of another thread, which may end before the coroutine does.

    :raises TorrelqueError: the loop is the one that runs here, which the call would block for ever.
    :raises TorrelqueClosedError: the loop was closed, or has ended meanwhile.
    """
    if not asyncio.iscoroutine(coroutine):
        raise TorrelqueTypeError(f'what is run in an event loop must be a coroutine, not {type(coroutine).__name__}')
    if asyncio._get_running_loop() is loop:
        close_coroutine(coroutine)
        raise TorrelqueError('this call would block the event loop that it waits for; await its asynchronous form')
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as exc:
        close_coroutine(coroutine)
        raise TorrelqueClosedError('the event loop was closed') from exc
    still = 0
    try:
        # An event loop that comes to its end stands still between two of its runs, and goes on.  So it counts as ended
        # only when it was found standing still twice, a second apart.
        while not future.done() and still < 2:
            concurrent.futures.wait([future], timeout=1)
            still = 0 if loop.is_running() else still + 1
        if future.done():
            return future.result()
    except concurrent.futures.CancelledError as exc:
        raise TorrelqueClosedError(ENDED) from exc
    finally:
        if loop.is_closed():
            close_coroutine(coroutine)
        else:
            future.cancel()
    raise TorrelqueClosedError(ENDED)


def close_coroutine(coroutine: Any) -> None:
    """Close a coroutine that was never begun, so that Python does not warn that nobody awaited it."""
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        coroutine.close()
