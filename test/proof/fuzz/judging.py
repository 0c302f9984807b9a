"""What targets say of what they have seen: a fault is an `AssertionError` with its reason."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar('T')


class Refused(Exception):  # noqa: N818 - it is returned, not raised
    """Stands for the error that a call has raised as it may."""


def attempt(call: Callable[[], T], *kinds: type[BaseException], named: str | tuple[str, ...] = ()) -> T | Refused:
    """What a call gives, or the error that it may raise; any other is a fault, as is a message without some words."""
    try:
        return call()
    except kinds as exc:
        text = str(exc)
        for word in (named,) if isinstance(named, str) else named:
            assert word in text, f'the message does not have {word!r}: {text!r}'
        assert text, f'{type(exc).__name__} says nothing'
        refused = Refused(text)
        refused.__cause__ = exc
        return refused


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal and of the same kinds, nan being itself."""
    if type(first) is not type(second):
        return False
    if isinstance(first, float):
        return first == second and math.copysign(1, first) == math.copysign(1, second) or first != first != second
    if isinstance(first, dict):
        pairs = zip(first.items(), second.items(), strict=False)
        return len(first) == len(second) and all(a == c and same(b, d) for (a, b), (c, d) in pairs)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def strict_json(value: Any) -> str:
    """A value as JSON that all readers take: no number that is none."""
    return json.dumps(value, allow_nan=False)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError('it waits for something')
