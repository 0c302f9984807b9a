"""What replies are made of, and the error of one that is of another kind."""

from collections.abc import Iterable
from typing import Any

from torrelque.error import TorrelqueError

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
