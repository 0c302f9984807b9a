"""Makes what a function depends on, calls it, and cleans up behind it, in the reverse order.

Clean-up belongs to the attempt.  Where the function has returned, an error of clean-up fails the attempt, as an error
of the function does: what stands behind a ``yield`` may be a commit.  Where the function has failed, its own error is
that of the attempt, whatever clean-up does: one that raises another error is logged, and one that raises none has not
mended anything.
"""

import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from torrelque import TorrelqueError

from .depends import Need, Way

logger = logging.getLogger(__package__)


Made = dict[Any, Any]
"""Values that were made for a task, by what made them, so that others get the same."""


async def call_async(
    function: Callable[..., Any], args: Any, kwargs: dict[str, Any], needs: Mapping[str, Need], delivery: Any
) -> Any:
    """Call a coroutine function with what it depends on.  When cancelled, clean-up is run all the same."""
    failed: BaseException | None = None
    late: BaseException | None = None
    try:
        async with contextlib.AsyncExitStack() as stack:
            try:
                made = await _make_all_async(needs, delivery, stack, {})
                return await function(*args, **kwargs, **made)
            except BaseException as exc:
                failed = exc
                raise
    except BaseException as exc:
        late = exc
    try:
        raise _error_of(failed, late, delivery)
    finally:
        del failed, late  # they have tracebacks that refer to this call


def call_plain(
    function: Callable[..., Any], args: Any, kwargs: dict[str, Any], needs: Mapping[str, Need], delivery: Any
) -> Any:
    """Call a plain function with what it depends on.  Where it returns something to be awaited, so does this, and
    clean-up is run when that has ended."""
    failed: BaseException | None = None
    late: BaseException | None = None
    try:
        with contextlib.ExitStack() as stack:
            try:
                result = function(*args, **kwargs, **_make_all(needs, delivery, stack, {}))
                # A thread cannot be ended.  What it has done for an attempt that was given up meanwhile is not to be
                # kept, so clean-up is told of a failure.
                if getattr(delivery, 'over', False):
                    raise TorrelqueError(f'the attempt is over: {delivery!r} was given up while its function ran')
            except BaseException as exc:
                failed = exc
                raise
            return _rest(result, stack.pop_all(), delivery) if inspect.isawaitable(result) else result
    except BaseException as exc:
        late = exc
    try:
        raise _error_of(failed, late, delivery)
    finally:
        del failed, late


async def _rest(awaitable: Awaitable[Any], stack: contextlib.ExitStack, delivery: Any) -> Any:
    """The rest of a plain function that has returned an awaitable."""
    failed: BaseException | None = None
    late: BaseException | None = None
    try:
        with stack:
            try:
                return await awaitable
            except BaseException as exc:
                failed = exc
                raise
    except BaseException as exc:
        late = exc
    try:
        raise _error_of(failed, late, delivery)
    finally:
        del failed, late


async def _make_all_async(
    needs: Mapping[str, Need], delivery: Any, stack: contextlib.AsyncExitStack, made: Made
) -> dict[str, Any]:
    values = {}
    for name, need in needs.items():
        if need.use_cache and need.key in made:
            values[name] = made[need.key]
            continue
        inner = await _make_all_async(need.needs, delivery, stack, made)
        value = need.call(**dict.fromkeys(need.deliveries, delivery), **inner)
        if need.way is Way.AWAIT:
            value = await value
        elif need.way is Way.ENTER:
            value = stack.enter_context(value)
        elif need.way is Way.ENTER_ASYNC:
            value = await stack.enter_async_context(value)
        values[name] = value
        if need.use_cache:
            made[need.key] = value
    return values


def _make_all(needs: Mapping[str, Need], delivery: Any, stack: contextlib.ExitStack, made: Made) -> dict[str, Any]:
    values = {}
    for name, need in needs.items():
        if need.use_cache and need.key in made:
            values[name] = made[need.key]
            continue
        inner = _make_all(need.needs, delivery, stack, made)
        value = need.call(**dict.fromkeys(need.deliveries, delivery), **inner)
        values[name] = value = stack.enter_context(value) if need.way is Way.ENTER else value
        if need.use_cache:
            made[need.key] = value
    return values


def _error_of(failed: BaseException | None, late: BaseException | None, delivery: Any) -> BaseException:
    """What an attempt has failed with, of the function's error and the last one of clean-up."""
    if failed is None:
        assert late is not None
        return late
    if isinstance(late, Exception) and late is not failed:
        logger.error('clean-up has failed behind an attempt of %r that had failed', delivery, exc_info=late)
    return failed
