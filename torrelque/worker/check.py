"""Checks of what a caller gave, for the worker and for decorated tasks: each returns the value, or raises."""

import math
from typing import Any

from torrelque import TorrelqueTypeError, TorrelqueValueError


def check_number(value: float, what: str, least: float) -> float:
    """A finite number, or an error that tells what is wrong with it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TorrelqueTypeError(f'{what} must be a number, not {type(value).__name__}')
    if not least <= value < math.inf:
        raise TorrelqueValueError(f'{what} must be at least {least} and finite, not {value!r}')
    return value


def check_whole(value: Any, what: str) -> int:
    """An int."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TorrelqueTypeError(f'{what} must be an int, not {type(value).__name__}')
    return value


def check_count(value: Any, what: str, least: int = 1) -> int:
    """A count."""
    if check_whole(value, what) < least:
        raise TorrelqueValueError(f'{what} must be at least {least}, not {value}')
    return value  # type: ignore[no-any-return]
