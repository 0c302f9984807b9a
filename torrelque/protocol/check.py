"""Checks of what a caller gave, before anything is sent: each returns the value as it is sent, or raises."""

import math
from collections.abc import Iterable

from torrelque.error import TorrelqueTypeError, TorrelqueValueError

MAX_SECONDS = 10.0**10
"""The longest time that can be meant, some 317 years; milliseconds stay exact in a double."""
MAX_PRIORITY = 100
"""The order of a task, -priority x 2^45 + a running number, is exact in a double."""


def milliseconds(seconds: float, what: str) -> int:
    """Seconds as the whole milliseconds that stand in Redis; what is more than none is at least one."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TorrelqueTypeError(f'{what} must be a number of seconds, not {type(seconds).__name__}')
    if not 0 <= seconds <= MAX_SECONDS:  # nan as well
        raise TorrelqueValueError(f'{what} must be from 0 to {MAX_SECONDS:.0f} seconds, not {seconds!r}')
    return max(1, round(seconds * 1000)) if seconds else 0


def check_count(count: int, what: str, least: int = 1) -> int:
    """A count."""
    if isinstance(count, bool) or not isinstance(count, int):
        raise TorrelqueTypeError(f'{what} must be an int, not {type(count).__name__}')
    if not least <= count < 2**53:
        raise TorrelqueValueError(f'{what} must be at least {least}, not {count}')
    return count


def check_name(name: str, what: str) -> str:
    """A name: of a task, of a group."""
    if not isinstance(name, str):
        raise TorrelqueTypeError(f'{what} must be a str, not {type(name).__name__}')
    if not name:
        raise TorrelqueValueError(f'{what} must not be empty')
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            raise TorrelqueValueError(f'{what} must be encodable as UTF-8: {name!r}') from exc
    return name


def check_id(task_id: str) -> str:
    """A task's id."""
    return check_name(task_id, 'a task id')


def check_ids(task_ids: Iterable[str]) -> list[str]:
    """Ids of many tasks."""
    if isinstance(task_ids, (str, bytes)) or not isinstance(task_ids, Iterable):
        raise TorrelqueTypeError(f'task_ids must be an iterable of task ids, not {type(task_ids).__name__}')
    return [check_id(task_id) for task_id in task_ids]


def check_group(group: str | None) -> str:
    """A group's name; '' is none."""
    return '' if group is None else check_name(group, 'a group')


def check_priority(priority: int) -> int:
    """A priority."""
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TorrelqueTypeError(f'priority must be an int, not {type(priority).__name__}')
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise TorrelqueValueError(f'priority must be from -{MAX_PRIORITY} to {MAX_PRIORITY}, not {priority}')
    return priority


def check_rate(rate: tuple[int, float]) -> tuple[int, float]:
    """A rate: starts, and in how many milliseconds, which are not rounded."""
    if not isinstance(rate, (tuple, list)) or len(rate) != 2:
        raise TorrelqueTypeError(f'rate must be a pair (starts, seconds), None or math.inf, not {rate!r}')
    starts = check_count(rate[0], 'the starts of a rate')
    if not milliseconds(rate[1], 'the seconds of a rate'):
        raise TorrelqueValueError('the seconds of a rate must be more than 0')
    period = round(rate[1] * 1000, 9)
    return starts, int(period) if period == int(period) else period


def is_none(limit: object) -> bool:
    """Whether a limit is ``math.inf``, which is none."""
    return isinstance(limit, float) and limit == math.inf


def check_error(error: str | None) -> str:
    """An error's text as it is kept; '' is none."""
    if error is None:
        return ''
    if not isinstance(error, str):
        raise TorrelqueTypeError(f'error must be a str, not {type(error).__name__}')
    return error.encode('utf-8', 'backslashreplace').decode()
