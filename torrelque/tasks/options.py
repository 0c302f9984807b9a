"""What can be said of a call, and of a function, checked before anything is sent."""

import dataclasses
import datetime
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.worker import Backoff
from torrelque.worker.check import check_count, check_whole
from torrelque.worker.retry import check_rule

Group = str | Callable[..., str | None]
"""A group, or a function that is called with the arguments of the call and says which."""
Priority = int | Callable[..., int]
"""A priority, or a function that is called with the arguments of the call and says which."""


@dataclass(frozen=True)
class Options:
    """How a call is enqueued.  None is as the function's decorator says, and there as the queue says."""

    delay: float | None = None
    eta: float | None = None
    group: Group | None = None
    priority: Priority | None = None
    task_id: str | None = None
    max_attempts: int | None = None
    task_timeout: float | None = None
    result_ttl: float | None = None
    max_tasks: int | None = None

    def __post_init__(self) -> None:
        for name in ('delay', 'result_ttl'):
            check_seconds(getattr(self, name), name)
        check_seconds(self.task_timeout, 'task_timeout', positive=True)
        if self.delay is not None and self.eta is not None:
            raise TorrelqueTypeError('delay and eta exclude each other')
        check_attempts(self.max_attempts, 'max_attempts')
        if self.max_tasks is not None:
            check_count(self.max_tasks, 'max_tasks')
        for name in ('group', 'task_id'):
            value = getattr(self, name)
            if value is not None and not (name == 'group' and callable(value)):
                check_name(value, name)
        if self.priority is not None and not callable(self.priority):
            check_whole(self.priority, 'priority')
            if not -100 <= self.priority <= 100:
                raise TorrelqueValueError(f'priority must be from -100 to 100, not {self.priority}')

    def changed(self, **changes: Any) -> 'Options':
        """These, but for what is not None; an ``eta`` takes the place of a ``delay``, and the other way round."""
        changes = {name: value for name, value in changes.items() if value is not None}
        if 'delay' in changes:
            changes.setdefault('eta', None)
        elif 'eta' in changes:
            changes['delay'] = None
        return dataclasses.replace(self, **changes)

    def delay_now(self) -> float | None:
        """How long (s) the task is to wait, from now on."""
        return self.delay if self.eta is None else max(0.0, self.eta - time.time())


def instant(eta: 'datetime.datetime | float | None') -> float | None:
    """A date with its time zone, or a Unix time, as a Unix time (s)."""
    if isinstance(eta, datetime.datetime):
        if eta.tzinfo is None or eta.utcoffset() is None:
            raise TorrelqueValueError(
                f'eta must have a time zone: {eta!r} is another instant for each reader; try datetime.now(timezone.utc)'
            )
        return eta.timestamp()
    if eta is not None and (isinstance(eta, bool) or not isinstance(eta, (int, float))):
        raise TorrelqueTypeError(f'eta must be a datetime or a Unix time, not {type(eta).__name__}')
    if eta is not None and not math.isfinite(eta):
        raise TorrelqueValueError(f'eta must be finite, not {eta!r}')
    return eta


def check_seconds(seconds: Any, what: str, positive: bool = False) -> None:
    """Refuse what is no time; None is fine."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TorrelqueTypeError(f'{what} must be a number of seconds, not {type(seconds).__name__}')
    if not 0 <= seconds < math.inf or positive and not seconds:
        raise TorrelqueValueError(f'{what} must be {"more than" if positive else "at least"} 0, not {seconds!r}')


def check_attempts(value: Any, what: str, least: int = 1) -> None:
    """Refuse what is neither a count nor -1, which is for ever; None is fine."""
    if value is not None:
        check_whole(value, what)
        if value != -1:
            check_count(value, what, least)


def check_name(value: Any, what: str) -> str:
    """A name."""
    if not isinstance(value, str):
        raise TorrelqueTypeError(f'{what} must be a str, not {type(value).__name__}')
    if not value:
        raise TorrelqueValueError(f'{what} must not be empty')
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise TorrelqueValueError(f'{what} must be encodable as UTF-8: {value!r}') from exc
    return value


def check_hooks(**hooks: Any) -> None:
    """Refuse what cannot be called; None is fine."""
    for name, hook in hooks.items():
        if hook is not None and not callable(hook):
            raise TorrelqueTypeError(f'{name} must be callable, not {hook!r}')


def check_retry(rule: Any, what: str) -> None:
    """Refuse what is no retry rule; None is fine."""
    if rule is not None and not isinstance(rule, (Backoff, Mapping)) and not callable(rule):
        check_seconds(rule, what)
    elif rule is not None:
        check_rule(rule)
