"""What stands in Redis as numbers, instants and names, read so that nothing written by hand does harm."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torrelque import TorrelqueTypeError, TorrelqueValueError

LATEST = 253_402_300_800.0
"""The end of the year 9999 (s), beyond which no calendar goes: an instant from then on counts as unreadable."""

_WHOLE = re.compile(rb'-?[0-9]{1,20}')
_PROBE = re.compile(rb'([0-9]{1,15}) ([1-9][0-9]{0,14})')
_ATTEMPT = re.compile(rb'([0-9]{1,15}) ([0-9]{1,15}) ([0-9]{1,15})(?: (.*))?')


def text_of(data: bytes) -> str:
    """An id or a name; bytes that are no UTF-8 become surrogates."""
    return data.decode('utf-8', 'surrogateescape')


def bytes_of(text: str, what: str = 'a task id') -> bytes:
    """The bytes of an id or a name.

    :raises TorrelqueValueError: it has none.
    """
    try:
        return text.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError as exc:
        raise TorrelqueValueError(f'{what} must be encodable as UTF-8: {text!r}') from exc


def check_text(text: str, what: str) -> str:
    """An id or a name; unlike what is enqueued, it may have surrogates in the place of bytes."""
    if not isinstance(text, str):
        raise TorrelqueTypeError(f'{what} must be a str, not {type(text).__name__}')
    if not text:
        raise TorrelqueValueError(f'{what} must not be empty')
    bytes_of(text, what)
    return text


def check_unique(places: Mapping[str, Sequence[str]], what: str = 'task') -> None:
    """Raise where a task id is in several queues, so that nobody can tell which task is meant.

    :param places: ids, and the names of the queues that know them.
    :param what: what is in them.
    """
    several = [(task_id, names) for task_id, names in places.items() if len(names) > 1]
    if several:
        task_id, names = several[0]
        where = f'{", ".join(map(repr, names[:-1]))} and {names[-1]!r}'
        if len(several) > 1:
            raise TorrelqueValueError(
                f'{len(several)} of the tasks are in several queues, such as {task_id!r} in {where}: name one queue'
            )
        raise TorrelqueValueError(f'{what} {task_id!r} is in queues {where}: name one of them')


def whole_of(data: bytes | None) -> int | None:
    """A whole number; None where it is none."""
    return int(data) if data is not None and _WHOLE.fullmatch(data) else None


def number_of(data: Any) -> float | None:
    """A finite number, such as a score; None where it is none."""
    try:
        number = float(data)
    except (TypeError, ValueError):
        return None
    if isinstance(data, bytes) and b'_' in data:
        return None  # Python alone takes that for a number
    return number if math.isfinite(number) else None


def instant_of(data: Any) -> float | None:
    """An instant (s), of milliseconds; None where it is none that a calendar has."""
    number = number_of(data)
    return None if number is None or not 0 <= number < LATEST * 1000 else number / 1000


def probe_of(data: bytes | None, now: float) -> float | None:
    """When a pause lets its next task through (s); None where it lets none.  As in the core, a time that is further
    ahead than probes are apart says that the clock went back: the probe may come ``now``."""
    match = _PROBE.fullmatch(data or b'')
    if match is None:
        return None
    at, every = int(match[1]) / 1000, int(match[2]) / 1000
    return now if at - every > now else min(at, LATEST)


def attempt_of(line: bytes) -> tuple[int, float, float, str] | None:
    """Number, start and end (s) and error of a line of a task's history; None where it is none."""
    match = _ATTEMPT.fullmatch(line)
    if match is None:
        return None
    start, end = instant_of(match[2]), instant_of(match[3])
    if start is None or end is None:
        return None
    return int(match[1]), start, end, (match[4] or b'').decode('utf-8', 'replace')
