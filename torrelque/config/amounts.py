"""What people write for times, rates, limits and addresses: the only place that reads these.

A file of settings and the command line have the same spellings.  What cannot be meant is a ``ValueError`` with a
sentence that may be shown.
"""

import datetime
import decimal
import math
import re
from typing import Any

from torrelque.protocol.check import MAX_COUNT

__all__ = [
    'concurrency', 'concurrency_of', 'count', 'instant', 'length', 'place', 'rate', 'rate_of', 'seconds', 'spell',
    'spelt',
]  # fmt: skip

UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}
MOST = 1e10
"""s, which is the longest time that the queue takes."""
WORDS: dict[str, float | None] = {'none': math.inf, 'default': None}
"""Limits that are no number."""

_DURATION = re.compile(r'(\d+(?:\.\d+)?)\s*([smhd]?)')
_RATE = re.compile(r'(\d{1,9}(?:\.\d{1,6})?)(?:\s*/\s*(\d{1,9}(?:\.\d{1,6})?)?\s*([smhd]))?', re.A)


def seconds(text: str) -> float:
    """A time: ``90``, ``90s``, ``1.5m``, ``2h``, ``1d``.

    :raises ValueError: it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is no time, such as 90, 90s, 5m or 2h')
    return float(match[1]) * UNITS[match[2] or 's']


def count(text: str) -> int:
    """A whole number that is at least 1.

    :raises ValueError: it is none.
    """
    if not re.fullmatch(r'0{0,9}[1-9]\d{0,15}', text, re.A) or int(text) >= MAX_COUNT:
        raise ValueError(f'{text!r} is no number from 1 on')
    return int(text)


def rate(text: str) -> tuple[str, float]:
    """A number, and in how many seconds: ``50``, ``50/s``, ``100/m``, ``5/10s``.

    :raises ValueError: it is none.
    """
    match = _RATE.fullmatch(text.strip())
    if match is not None:
        much, times, unit = match.groups()
        length = float(times or 1) * UNITS[unit or 's']
        if length > 0 and float(much) > 0:
            return much, length
    raise ValueError(f'{text!r} is no rate, such as 50, 50/s, 100/m or 5/10s')


def place(text: str) -> tuple[str, int]:
    """Where to listen: ``127.0.0.1:8765``, ``[::1]:8765``, ``localhost:0``; ``:8080`` is all addresses of this machine.

    :raises ValueError: it is no address.
    """
    # A command that listens nowhere has no use for it.
    from torrelque.monitor.listening import read_address

    found = read_address(text)
    if found is None:
        raise ValueError(f'{text!r} is no address, such as 127.0.0.1:8765 or [::1]:8765')
    return found


def instant(text: str) -> datetime.datetime:
    """An instant in ISO 8601, with a time zone or without.

    :raises ValueError: it is none.
    """
    # Python 3.10 has no word for the Z of UTC.
    return datetime.datetime.fromisoformat(re.sub('[zZ]$', '+00:00', text))


# Values of a file, where a number stands for itself


def length(value: Any) -> float:
    """A time in seconds, of a number or of a text.

    :raises ValueError: it is none.
    """
    given = seconds(value) if isinstance(value, str) else value
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= MOST:
        raise ValueError(f'{value!r} is no time, such as 90, "90s", "5m" or "2h"')
    return float(given)


def rate_of(value: Any) -> tuple[int, float] | float | None:
    """The rate of a group: so many starts in so many seconds; ``none``, which is infinite; ``default``, which is None.

    :raises ValueError: it is none of these.
    """
    if isinstance(value, str):
        if value in WORDS:
            return WORDS[value]
        much, period = rate(value)
        return count(much), period
    if type(value) is int and 0 < value < MAX_COUNT:
        return value, 1.0
    raise ValueError(f'{value!r} is no rate, such as "50/s", "100/m", "5/10s", "none" or "default"')


def concurrency_of(value: Any) -> float | None:
    """The slots of a group, likewise.

    :raises ValueError: it is none.
    """
    if type(value) is int and 0 < value < MAX_COUNT:
        return value
    if isinstance(value, str):
        return concurrency(value)
    raise ValueError(f'{value!r} is no number from 1 on, nor "none" or "default"')


def concurrency(text: str) -> float | None:
    """The slots of a group, of a text.

    :raises ValueError: it is none.
    """
    return WORDS[text] if text in WORDS else count(text)


# As they are written


def spelt(value: tuple[int, float] | float | None) -> str:
    """A limit as the command line has it."""
    if value is None:
        return 'default'
    if isinstance(value, tuple):
        starts, period = value
        for unit, size in reversed(UNITS.items()):
            if period % size == 0:
                times = period / size
                return f'{starts}/{unit}' if times == 1 else f'{starts}/{times:.0f}{unit}'
        return f'{starts}/{_plain(period)}s'
    return 'none' if math.isinf(value) else f'{value:.0f}'


def spell(length: float) -> str:
    """A time by its largest unit that goes into it: ``90s``, ``5m``, ``1d``."""
    for unit, size in reversed(UNITS.items()):
        if length and length % size == 0:
            return f'{length / size:.0f}{unit}'
    return f'{_plain(length)}s'


def _plain(number: float) -> str:
    """A number with all its digits and no exponent, so that it is read as the same."""
    return format(decimal.Decimal(repr(number)), 'f').removesuffix('.0')
