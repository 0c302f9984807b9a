"""What replies are made of, what stands in hashes as limits, and the error of what is of another kind."""

import json
import math
from collections.abc import Iterable
from typing import Any

from torrelque.error import TorrelqueError
from torrelque.model import TorrelqueLimit

UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What a reader comes to with a reply of another kind, or with values in it that are nested too deeply."""


class UnreadableError(TorrelqueError):
    """The reply of the server is none of this package.  Whether the call had its effect is unknown."""


def unreadable(what: str, reply: Any) -> UnreadableError:
    """The error of a reply that is not understood."""
    shown = repr(reply)
    return UnreadableError(f'the reply of the server to {what} cannot be read: {shown[:200]}')


def text(word: Any) -> str:
    """A word of a reply, whether the client decodes or not."""
    return word.decode('utf-8', 'backslashreplace') if isinstance(word, bytes) else str(word)


def read_words(reply: Any) -> list[bytes]:
    """A list of words."""
    if not isinstance(reply, list) or not all(type(word) is bytes for word in reply):
        raise ValueError(reply)
    return reply


def read_numbers(what: str, reply: Any, words: Iterable[Any]) -> list[int]:
    """Whole numbers in a reply.

    :raises UnreadableError: one is none.
    """
    try:
        return [*map(int, words)]
    except UNREADABLE as exc:
        raise unreadable(what, reply) from exc


def read_limit(value: Any) -> TorrelqueLimit:
    """Limits as they stand in Redis, as they were set."""
    try:
        limits = json.loads(value or '{}')
        concurrency, rate = limits.get('concurrency'), limits.get('rate')
        if not (_is_measure(concurrency) and (not rate or _is_measure(rate[1]))):
            raise ValueError(value)
        return TorrelqueLimit(
            math.inf if concurrency == 0 else concurrency,
            math.inf if rate == 0 else None if rate is None else (int(rate[0]), rate[1] / 1000),
        )
    except UNREADABLE as exc:
        raise TorrelqueError(f'limits cannot be read: {value!r:.200}') from exc


def _is_measure(value: Any) -> bool:
    """Whether a limit is a number from 0 on, or None, which is no limit of its own."""
    return value is None or type(value) in (int, float) and value >= 0
