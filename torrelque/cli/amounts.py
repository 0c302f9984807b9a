"""What acts are told beside names: rates, and limits that may be none or the default."""

import argparse
import datetime
import math
import re

from .options import count, seconds

KEEP = object()
"""Stands for a limit that the command line says nothing of."""

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}
_RATE = re.compile(r'(\d{1,9}(?:\.\d{1,6})?)(?:\s*/\s*(\d{1,9}(?:\.\d{1,6})?)?\s*([smhd]))?', re.A)


def _parts(text: str) -> tuple[str, float]:
    match = _RATE.fullmatch(text.strip())
    if match is not None:
        much, times, unit = match.groups()
        seconds = float(times or 1) * _UNITS[unit or 's']
        if seconds > 0 and float(much) > 0:
            return much, seconds
    raise argparse.ArgumentTypeError(f'{text!r} is no rate, such as 50, 50/s, 100/m or 5/10s')


def pace(text: str) -> float:
    """Tasks a second: ``50``, ``50/s``, ``100/m``, ``0.5``."""
    much, seconds = _parts(text)
    return float(much) / seconds


def rate(text: str) -> tuple[int, float] | float | None:
    """The rate of a group: so many starts in so many seconds, ``50/s``, ``100/m``, ``5/10s``; ``none``, which is
    infinite; ``default``, which is None."""
    if text in _WORDS:
        return _WORDS[text]
    much, seconds = _parts(text)
    return count(much), seconds


def concurrency(text: str) -> float | None:
    """The slots of a group, likewise."""
    return _WORDS[text] if text in _WORDS else count(text)


def read_iso(text: str) -> datetime.datetime:
    """An instant in ISO 8601.

    :raises ValueError: it is none.
    """
    # Python 3.10 has no word for the Z of UTC.
    return datetime.datetime.fromisoformat(re.sub('[zZ]$', '+00:00', text))


def instant(text: str) -> float | datetime.datetime:
    """An instant: ``2026-11-29T14:00``, with a zone or without; or a time from now, with its unit: ``2h``.

    :raises argparse.ArgumentTypeError: it is neither.
    """
    given = text.strip()
    # A number alone would be taken by some for seconds from now, and by others for seconds since 1970.
    if given.endswith(tuple('smhd')):
        if given.startswith('-'):
            raise argparse.ArgumentTypeError(
                f'{text!r} is over: a schedule takes an instant to come, 2026-11-29T14:00, or 2h from now'
            )
        return seconds(given)
    try:
        return read_iso(given)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no instant, such as 2026-11-29T14:00 or 2026-11-29T14:00Z, and no time from now, such as 2h'
        ) from None


_WORDS: dict[str, float | None] = {'none': math.inf, 'default': None}


def spelt(value: tuple[int, float] | float | None) -> str:
    """A limit as the command line has it."""
    if value is None:
        return 'default'
    if isinstance(value, tuple):
        starts, seconds = value
        for unit, size in reversed(_UNITS.items()):
            if seconds % size == 0:
                times = seconds / size
                return f'{starts}/{unit}' if times == 1 else f'{starts}/{times:.0f}{unit}'
        return f'{starts}/{seconds:g}s'
    return 'none' if math.isinf(value) else f'{value:.0f}'
