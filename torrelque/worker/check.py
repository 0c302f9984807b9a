"""Checks of what a caller gave, for the worker and for decorated tasks: each returns the value, or raises.

What is of the wrong kind is a `TorrelqueTypeError`, what cannot be meant a `TorrelqueValueError`.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

from torrelque import TorrelqueTypeError, TorrelqueValueError

MAX_SECONDS = 10.0**10
"""The longest time that can be meant, some 317 years, as the queue's own."""


def check_number(value: float, what: str, least: float) -> float:
    """A finite number, or an error that tells what is wrong with it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TorrelqueTypeError(f'{what} must be a number, not {type(value).__name__}')
    if not least <= value < math.inf:
        raise TorrelqueValueError(f'{what} must be at least {least} and finite, not {value!r}')
    return value


def check_time(value: float, what: str, positive: bool = False) -> float:
    """A time (s) that can be meant; where it is to be ``positive``, a millisecond at least."""
    if not check_number(value, what, 0) <= MAX_SECONDS or positive and value < 0.001:
        least = 0.001 if positive else 0
        raise TorrelqueValueError(f'{what} must be from {least} to {MAX_SECONDS:.0f} seconds, not {value!r}')
    return value


def check_name(value: Any, what: str) -> str:
    """A name: a text that is not empty, and that UTF-8 can encode."""
    if not isinstance(value, str):
        raise TorrelqueTypeError(f'{what} must be a str, not {type(value).__name__}')
    if not value:
        raise TorrelqueValueError(f'{what} must not be empty')
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise TorrelqueValueError(f'{what} must be encodable as UTF-8: {value!r}') from exc
    return value


def check_whole(value: Any, what: str) -> int:
    """An int, which a bool is not."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TorrelqueTypeError(f'{what} must be an int, not {type(value).__name__}')
    return value


def check_count(value: Any, what: str, least: int = 1) -> int:
    """An int that is at least ``least``."""
    if check_whole(value, what) < least:
        raise TorrelqueValueError(f'{what} must be at least {least}, not {value}')
    return value  # type: ignore[no-any-return]


def check_flag(value: Any, what: str) -> bool:
    """A bool: what is merely true may be a mistake."""
    if not isinstance(value, bool):
        raise TorrelqueTypeError(f'{what} must be a bool, not {value!r}')
    return value


def is_async(call: Callable[..., Any]) -> bool:
    """Whether a handler is a coroutine function, or an object that is called like one."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, '__call__', None))  # noqa: B004


def is_generator(call: Any) -> bool:
    """Whether a call would only make a generator, and nothing would be carried out."""
    return inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)


def check_call(call: Any, what: str, *arguments: str) -> Any:
    """Something that can be called with so many arguments, and is carried out by that."""
    if not callable(call) or is_generator(call):
        raise TorrelqueTypeError(f'{what} must be a function or a coroutine function, not {call!r}')
    try:
        own = inspect.signature(call)
    except (TypeError, ValueError):
        return call
    try:
        own.bind(*arguments)
    except TypeError as exc:
        raise TorrelqueTypeError(f'{what} is called with {" and ".join(arguments)}, and takes {own}') from exc
    return call
