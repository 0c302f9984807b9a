"""What `Operator` is given beside names of things: times of the past, and words for the record."""

import getpass
import re
import socket
from contextlib import suppress

from torrelque import Duration, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

HISTORY = 14 * 86400.0
"""s of history that are kept at the most."""

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}


def length_of(length: Duration | str, what: str) -> float:
    """A time of the past in seconds; a text is a number with its unit, such as ``8h``."""
    if isinstance(length, str):
        match = re.fullmatch(r'(\d{1,9}(?:\.\d{1,9})?)([smhd])', length, re.A)
        if match is None:
            raise TorrelqueValueError(f'{what} as a text is a number and s, m, h or d, such as 8h, not {length!r}')
        length = float(match[1]) * _UNITS[match[2]]
    return check.check_seconds(length, what, positive=True, most=HISTORY)


def whoever() -> str:
    """User and host, as far as they are known."""
    name = 'unknown'
    with suppress(Exception):  # a user without a name in the system is a KeyError, or an OSError
        name = getpass.getuser()
    return f'{name}@{socket.gethostname()}'


def check_words(what: str) -> None:
    """What an act was done on, in words that can be shown."""
    if not isinstance(what, str):
        raise TorrelqueTypeError(f'what must be a str, not {type(what).__name__}')
    try:
        what.encode()
    except UnicodeEncodeError as exc:
        raise TorrelqueValueError(f'what must be encodable as UTF-8: {what!r}') from exc


def of_group(group: str | None, none: str = 'the queue') -> str:
    """A group in words; None is what holds for the whole queue."""
    return none if group is None else f'group {group}'
