"""Checks of what a caller gave, before anything is sent: each returns the value, or as it is sent; or raises.

A value of the wrong kind is a `TorrelqueTypeError`, a value that cannot be meant a `TorrelqueValueError`.  Layers
import this module, so that nothing is checked in two places.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from torrelque.error import TorrelqueTypeError, TorrelqueValueError
from torrelque.model import Duration, TorrelqueTaskStatus

MAX_SECONDS = 10.0**10
"""The longest time (s) that can be meant, some 317 years; milliseconds stay exact in a double."""
MIN_SECONDS = 0.001
"""The shortest time (s) that a queue keeps, besides none: what is shorter is rounded up to it."""
MAX_COUNT = 2**53
"""What counts is below this, so that it is exact in a double."""
MAX_PRIORITY = 100
"""The order of a task, -priority x 2^45 + a running number, is exact in a double."""


# Of durations: seconds, or a timedelta.  This is the only place that tells one from the other.


def seconds_of(duration: Duration) -> float:
    """A duration in seconds.  What is none comes back as it is, for a check to refuse."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def milliseconds(seconds: Duration, what: str) -> int:
    """A duration as the whole milliseconds that stand in Redis; what is more than none is at least one."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= MAX_SECONDS:
        seconds = check_seconds(seconds, what)
    return max(1, round(seconds * 1000)) if seconds else 0


def check_seconds(
    duration: Duration, what: str, least: float = 0, positive: bool = False, most: float = MAX_SECONDS
) -> float:
    """A duration in seconds, from ``least`` to ``most``; 0 as well, unless it is to be ``positive``."""
    seconds = seconds_of(duration)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TorrelqueTypeError(f'{what} must be a number of seconds or a timedelta, not {type(duration).__name__}')
    if not least <= seconds <= most and (positive or seconds != 0):  # nan as well
        none = '' if positive or not least else '0, or '
        raise TorrelqueValueError(f'{what} must be {none}from {least:g} to {most:.0f} seconds, not {duration!r}')
    return seconds


# Of other values


def check_number(value: float, what: str, least: float) -> float:
    """A finite number that is at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TorrelqueTypeError(f'{what} must be a number, not {type(value).__name__}')
    if not least <= value < math.inf:
        raise TorrelqueValueError(f'{what} must be at least {least} and finite, not {value!r}')
    return value


def check_whole(value: int, what: str) -> int:
    """An int, which a bool is not."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TorrelqueTypeError(f'{what} must be an int, not {type(value).__name__}')
    return value


def check_count(count: int, what: str, least: int = 1) -> int:
    """A count that is at least ``least``."""
    if type(count) is not int:
        check_whole(count, what)
    if not least <= count < MAX_COUNT:
        bound = f'at least {least}' if count < least else f'less than {MAX_COUNT}'
        raise TorrelqueValueError(f'{what} must be {bound}, not {count}')
    return count


def check_attempts(attempts: int | None, what: str = 'max_attempts', least: int = 1) -> int | None:
    """A number of attempts, or of retries; -1 is without end, and None is as somebody else says."""
    if attempts is None or check_whole(attempts, what) == -1:
        return attempts
    return check_count(attempts, what, least)


def check_flag(value: bool, what: str) -> bool:
    """A bool: a value that is merely true may be a mistake."""
    if not isinstance(value, bool):
        raise TorrelqueTypeError(f'{what} must be a bool, not {value!r}')
    return value


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
    if isinstance(task_id, str) and task_id and task_id.isascii():
        return task_id
    return check_name(task_id, 'a task id')


def check_iterable(task_ids: Iterable[str]) -> Iterable[str]:
    """What is to give ids of many tasks, which are not looked at yet."""
    if isinstance(task_ids, (str, bytes)) or not isinstance(task_ids, Iterable):
        raise TorrelqueTypeError(f'task_ids must be an iterable of task ids, not {type(task_ids).__name__}')
    return task_ids


def check_ids(task_ids: Iterable[str]) -> list[str]:
    """Ids of many tasks."""
    return [check_id(task_id) for task_id in check_iterable(task_ids)]


def check_depends_on(task_ids: Iterable[str]) -> list[str]:
    """Ids of the tasks that another one waits for, each once."""
    if isinstance(task_ids, (str, bytes)) or not isinstance(task_ids, Iterable):
        raise TorrelqueTypeError(f'depends_on must be an iterable of task ids, not {type(task_ids).__name__}')
    return [*dict.fromkeys(check_id(task_id) for task_id in task_ids)]


def check_statuses(statuses: Iterable[TorrelqueTaskStatus], what: str) -> str:
    """Statuses that a task may have which is not final: a digit each."""
    if isinstance(statuses, (str, bytes)) or not isinstance(statuses, Iterable):
        raise TorrelqueTypeError(f'{what} must be a list of statuses, not {type(statuses).__name__}')
    found = [*statuses]
    for status in found:
        if not isinstance(status, TorrelqueTaskStatus):
            raise TorrelqueTypeError(f'{what} must be a list of statuses, not of {type(status).__name__}')
        if status.isfinal():
            raise TorrelqueValueError(f'{what} must not have {status.name}, which is final')
    if not found:
        raise TorrelqueValueError(f'{what} must not be empty: that would be no task at all')
    return ''.join(str(int(status)) for status in dict.fromkeys(found))


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


def check_rate(rate: tuple[int, Duration], others: str = ', None or math.inf') -> tuple[int, float]:
    """A rate: starts, and in how many milliseconds, which are not rounded.

    :param others: what may stand there instead of a rate, for the message.
    """
    if not isinstance(rate, (tuple, list)) or len(rate) != 2:
        raise TorrelqueTypeError(f'rate must be a pair (starts, seconds){others}, not {rate!r}')
    starts = check_count(rate[0], 'the starts of a rate')
    period = round(seconds_of(rate[1]) * 1000, 9) if milliseconds(rate[1], 'the seconds of a rate') else 0
    if not period:
        raise TorrelqueValueError('the seconds of a rate must be more than 0')
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


# Of functions that layers call


def is_async(call: Callable[..., Any]) -> bool:
    """Whether a function is a coroutine function, or an object that is called like one."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, '__call__', None))  # noqa: B004


def is_generator(call: Any) -> bool:
    """Whether a call would only make a generator, and nothing would be carried out."""
    return inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)


def check_call(call: Any, what: str, *arguments: str) -> Any:
    """Something that can be called with so many arguments, and is carried out by that."""
    if not callable(call) or is_generator(call):
        raise TorrelqueTypeError(f'{what} must be a function or a coroutine function, not {call!r}')
    try:
        own = inspect.signature(call)
    except (TypeError, ValueError):
        # Some of the interpreter's own functions do not tell what they take.
        return call
    try:
        own.bind(*arguments)
    except TypeError as exc:
        raise TorrelqueTypeError(f'{what} is called with {" and ".join(arguments)}, and takes {own}') from exc
    return call


def check_hooks(**hooks: Any) -> None:
    """Functions that are called with a delivery and what came of it; None is fine."""
    for name, hook in hooks.items():
        if hook is not None:
            check_call(hook, name, 'delivery', 'result' if name == 'on_success' else 'exception')


def check_run_in(run_in: str) -> str:
    """Where a plain function is to run."""
    if not isinstance(run_in, str):
        raise TorrelqueTypeError(f'run_in must be a str, not {type(run_in).__name__}')
    if run_in not in ('thread', 'process'):
        raise TorrelqueValueError(f"run_in must be 'thread' or 'process', not {run_in!r}")
    return run_in
