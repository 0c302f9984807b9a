"""Limits of groups and their buckets, read as the core reads them; nothing here sends."""

import json
import math
import re
from typing import Any, NamedTuple

from torrelque.protocol import check

from .reading import number_of

_BUCKET = re.compile(rb'(\S{1,40}) ([0-9]{1,15})')


class Limits(NamedTuple):
    """What is set for a group, or for all; None is as the default."""

    concurrency: float | None
    """Tasks at a time; `math.inf` is no limit."""
    rate: tuple[float, float] | bool | None
    """So many starts in so many milliseconds; False is no limit."""


def read_limits(data: bytes | None) -> Limits:
    """Limits of their JSON; a member that is not there or cannot be read is as the default."""
    return _limits_of(_load(data) or {})


def _limits_of(value: dict[str, Any]) -> Limits:
    concurrency, rate = value.get('concurrency'), value.get('rate')
    slots = None
    if isinstance(concurrency, (int, float)) and not isinstance(concurrency, bool):
        slots = max(1, math.floor(concurrency)) if 0 < concurrency < 2**53 else math.inf
    return Limits(slots, _read_rate(rate))


def are_spoilt(data: bytes) -> bool:
    """Whether a member that is there cannot be read."""
    value = _load(data)
    return value is None or any(
        value.get(name) is not None and one is None
        for name, one in _limits_of(value)._asdict().items()
    )


def _load(data: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads((data or b'{}').decode('utf-8', 'replace'))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_rate(rate: Any) -> tuple[float, float] | bool | None:
    if isinstance(rate, list):
        numbers = [0.0 if isinstance(it, bool) else number_of(it) or 0.0 for it in [*rate[:2], 0, 0][:2]]
        starts, period = numbers
        return (starts, period) if 1 <= starts < 2**53 and 0 < period <= 1e13 else None
    return False if rate == 0 and not isinstance(rate, bool) else None


def tokens_of(data: bytes | None, rate: tuple[float, float], now: float) -> float:
    """How many tasks may start at once by a rate; ``now`` is in ms.  A bucket that is not there is full."""
    starts, period = rate
    match = _BUCKET.fullmatch(data or b'')
    left, at = (number_of(match[1]), float(match[2])) if match else (None, now)
    # An instant to come says that the clock went back: the bucket counts from now on.
    return min(starts, max(0.0, starts if left is None else left) + (now - min(at, now)) * starts / period)


_UNITS = {'d': 86400, 'h': 3600, 'm': 60}


def spell_limit(value: Any) -> str:
    """A limit, or a rate, as it is written for a command: ``4``, ``50/s``, ``5/10s``, ``none``, ``default``."""
    if value is None:
        return 'default'
    if not isinstance(value, (tuple, list)):
        return 'none' if value == math.inf else f'{value:g}' if isinstance(value, float) else str(value)
    starts, seconds = value[0], check.seconds_of(value[1])
    for unit, size in _UNITS.items():
        if seconds % size == 0:
            return f'{starts}/{unit}' if seconds == size else f'{starts}/{seconds / size:.0f}{unit}'
    return f'{starts}/s' if seconds == 1 else f'{starts}/{seconds:g}s'
