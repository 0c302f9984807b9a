"""The only place that reads the limits of a group, as ``limit.lua`` writes them."""

import json
import math
from typing import Any

from torrelque.error import TorrelqueError
from torrelque.model import TorrelqueLimit

from .words import UNREADABLE


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
