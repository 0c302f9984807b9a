"""What can be said besides of an act: fields of its form, and how their texts are read."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torrelque import TorrelqueValueError

from .selecting import seconds_of

LONGEST = 1000
"""Characters of a field."""
KEEP = object()
"""Stands for a limit that stays as it is."""

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}
_RATE = re.compile(r'(\d{1,9}(?:\.\d{1,6})?)(?:\s*/\s*(\d{1,9}(?:\.\d{1,6})?)?\s*([smhd]))?', re.A)
_WORDS: dict[str, Any] = {'none': math.inf, 'default': None}


class Field(NamedTuple):
    """A field.  Its name is none of those that queries have otherwise, so that its text can stand in one."""

    name: str
    label: str
    read: Callable[[str], Any]
    """Makes of a text what is meant; raises `TorrelqueValueError` where nothing can be."""
    hint: str = ''
    """Stands in it while it is empty."""
    more: str = ''
    """Stands below."""


def read_fields(fields: Iterable[Field], given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What was given, and what is wrong with the other fields."""
    found, wrong = {}, {}
    for field in fields:
        text = given.get(field.name, '').strip()
        try:
            if len(text) > LONGEST:
                raise TorrelqueValueError(f'this is longer than {LONGEST:,} characters')
            found[field.name] = field.read(text)
        except TorrelqueValueError as exc:
            wrong[field.name] = str(exc)
    return found, wrong


def read_pace(text: str) -> float | None:
    """Tasks a second: ``50``, ``50/s``, ``100/m``; '' is None."""
    if not text:
        return None
    much, seconds = _parts(text)
    return max(0.001, much / seconds)


def read_probe(text: str) -> float | None:
    """A time, such as ``30s``; '' is None."""
    if not text:
        return None
    if (seconds := seconds_of(text, 'this')) <= 0:
        raise TorrelqueValueError('this is a time such as 30s, and no less than nothing')
    return seconds


def read_reason(text: str) -> str | None:
    """A text that can be written; '' is None."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise TorrelqueValueError('this is nothing that can be written: it has bytes in it that are no text') from exc
    return text or None


def read_concurrency(text: str) -> Any:
    """The slots of a group: a number; ``none``, which is infinite; ``default``, which is None; '' is `KEEP`."""
    if text in _WORDS or not text:
        return _WORDS[text] if text else KEEP
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise TorrelqueValueError(f'this is a whole number from 1 on, none or default, not {text[:40]!r}')
    return int(text)


def read_rate(text: str) -> Any:
    """The rate of a group: so many starts in so many seconds, ``50/s``, ``100/m``, ``5/10s``; else likewise."""
    if text in _WORDS or not text:
        return _WORDS[text] if text else KEEP
    much, seconds = _parts(text)
    if much != int(much):
        raise TorrelqueValueError(f'this is a whole number of starts in a time, such as 1/2s, not {text[:40]!r}')
    return int(much), seconds


def spell(value: Any) -> str:
    """A limit as it is read."""
    if value is None:
        return 'default'
    if not isinstance(value, tuple):
        return 'none' if math.isinf(value) else f'{value:.0f}'
    starts, seconds = value
    for unit, size in reversed(_UNITS.items()):
        if seconds % size == 0:
            return f'{starts}/{unit}' if seconds == size else f'{starts}/{seconds / size:.0f}{unit}'
    return f'{starts}/{seconds:g}s'


def _parts(text: str) -> tuple[float, float]:
    match = _RATE.fullmatch(text)
    if match is not None:
        seconds = float(match[2] or 1) * _UNITS[match[3] or 's']
        if seconds > 0 and (much := float(match[1])) > 0:
            return much, seconds
    raise TorrelqueValueError(f'this is a rate such as 50, 50/s, 100/m or 5/10s, not {text[:40]!r}')
