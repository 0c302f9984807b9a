"""What acts are told beside names: rates, and limits that may be none or the default."""

import argparse
import datetime

from torrelque.config import amounts

from .options import seconds, told

KEEP = object()
"""Stands for a limit that the command line says nothing of."""
DEFAULT = '*'
"""What the default of all groups is called, in files of settings too."""


def pace(text: str) -> float:
    """Tasks a second: ``50``, ``50/s``, ``100/m``, ``0.5``."""
    much, period = told(amounts.rate)(text)
    return float(much) / period


rate = told(amounts.rate_of)
"""The rate of a group: so many starts in so many seconds, ``50/s``, ``100/m``, ``5/10s``; ``none``, which is infinite;
``default``, which is None."""
concurrency = told(amounts.concurrency)
"""The slots of a group, likewise."""
read_iso = amounts.instant
"""An instant in ISO 8601, or a ``ValueError``."""
spelt = amounts.spelt
"""A limit as the command line has it."""


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
