"""What can be said of a call, and of a function, checked before anything is sent."""

import dataclasses
import datetime
import inspect
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torrelque import Duration, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import (
    MAX_SECONDS,
    MIN_SECONDS,
    check_attempts,
    check_count,
    check_name,
    check_priority,
    check_seconds,
    is_async,
    is_generator,
)

Group = str | Callable[..., str | None]
"""A group, or a function that is called with the arguments of the call and says which."""
Priority = int | Callable[..., int]
"""A priority, or a function that is called with the arguments of the call and says which."""


@dataclass(frozen=True)
class Options:
    """How a call is enqueued.  None is as the function's decorator says, and there as the queue says.

    Durations are in seconds; `changed` takes a ``datetime.timedelta`` as well.
    """

    delay: float | None = None
    eta: float | None = None
    group: Group | None = None
    priority: Priority | None = None
    task_id: str | None = None
    max_attempts: int | None = None
    task_timeout: float | None = None
    result_ttl: float | None = None
    max_tasks: int | None = None
    queue: str | None = None
    headers: Mapping[str, Any] | None = None
    expires: float | None = None
    """Seconds from the call on."""
    deadline: float | None = None
    """The same as a Unix time."""
    depends_on: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self._keep_seconds('delay')
        self._keep_seconds('result_ttl', least=MIN_SECONDS)
        self._keep_seconds('task_timeout', least=MIN_SECONDS, positive=True)
        self._keep_seconds('expires', least=MIN_SECONDS, positive=True)
        if self.delay is not None and self.eta is not None:
            raise TorrelqueTypeError('delay and eta exclude each other')
        check_attempts(self.max_attempts)
        if self.max_tasks is not None:
            check_count(self.max_tasks, 'max_tasks')
        if self.expires is not None and self.delay is not None and self.delay >= self.expires:
            raise TorrelqueValueError(
                f'a task that is delayed by {self.delay:g} s and expires after {self.expires:g} s would never run'
            )
        if self.headers is not None:
            check_headers(self.headers)
        if self.depends_on is not None:
            object.__setattr__(self, 'depends_on', _check_ids(self.depends_on))
        for name in ('group', 'task_id', 'queue'):
            value = getattr(self, name)
            if value is not None and not (name == 'group' and callable(value)):
                check_name(value, name)
        for name in ('group', 'priority'):
            check_choice(getattr(self, name), name)
        if self.priority is not None and not callable(self.priority):
            check_priority(self.priority)

    def _keep_seconds(self, name: str, **bounds: Any) -> None:
        """Keep a duration in seconds, whatever it was given as."""
        duration = getattr(self, name)
        if duration is not None:
            object.__setattr__(self, name, check_seconds(duration, name, **bounds))

    def changed(self, **changes: Any) -> 'Options':
        """The same options with changes, of which None changes nothing.  An ``eta`` takes the place of a ``delay``, and
        a ``deadline`` that of an ``expires``, and the other way round; ``headers`` are added to those that are there.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        if 'delay' in changes:
            changes.setdefault('eta', None)
        elif 'eta' in changes:
            changes['delay'] = None
        if 'expires' in changes:
            changes['deadline'] = None
        elif 'deadline' in changes:
            changes['expires'] = None
        if 'headers' in changes and self.headers is not None:
            changes['headers'] = {**self.headers, **check_headers(changes['headers'])}
        return dataclasses.replace(self, **changes)

    def delay_now(self) -> float | None:
        """How long (s) the task is to wait, from now on."""
        return self.delay if self.eta is None else max(0.0, self.eta - time.time())

    def expires_now(self) -> float | None:
        """How long (s) the task can be begun, from now on."""
        return self.expires if self.deadline is None else max(0.0, self.deadline - time.time())


def check_headers(headers: Any) -> Mapping[str, Any]:
    """Headers of a call: a mapping by text.  What its values may be, the serialiser of the queue says."""
    if not isinstance(headers, Mapping) or not all(isinstance(name, str) for name in headers):
        raise TorrelqueTypeError(f'headers must be a mapping by names, not {headers!r}')
    return headers


def _check_ids(task_ids: Any) -> tuple[str, ...]:
    """Ids of tasks."""
    if isinstance(task_ids, (str, bytes)) or not isinstance(task_ids, Iterable):
        raise TorrelqueTypeError(f'depends_on must be ids of tasks, not {task_ids!r}')
    return tuple(check_name(task_id, 'a task id') for task_id in task_ids)


def split_expiry(expires: 'Duration | datetime.datetime | None') -> 'dict[str, Duration | None]':
    """What is said by ``expires``: a time to be, or an instant."""
    if isinstance(expires, datetime.datetime):
        return {'deadline': instant(expires, 'expires')}
    return {'expires': expires}


def instant(eta: 'datetime.datetime | float | None', what: str = 'eta') -> float | None:
    """A date with its time zone, or a Unix time, as a Unix time (s)."""
    if isinstance(eta, datetime.datetime):
        if eta.tzinfo is None or eta.utcoffset() is None:
            raise TorrelqueValueError(
                f'{what} must have a time zone: {eta!r} is another instant for each reader; '
                'try datetime.now(timezone.utc)'
            )
        eta = eta.timestamp()
    if eta is not None and (isinstance(eta, bool) or not isinstance(eta, (int, float))):
        raise TorrelqueTypeError(f'{what} must be a datetime or a Unix time, not {type(eta).__name__}')
    if eta is not None and not -math.inf < eta <= time.time() + MAX_SECONDS:
        raise TorrelqueValueError(f'{what} must be at most {MAX_SECONDS:.0f} seconds from now, not {eta!r}')
    return eta


def check_choice(choose: Any, what: str) -> None:
    """Refuse a function of the arguments that gives no value at once; what cannot be called is fine."""
    if callable(choose) and (is_async(choose) or is_generator(choose)):
        raise TorrelqueTypeError(f'the function of a {what} must be a plain one: {choose!r}')


def check_fits(choose: Any, what: str, signature: inspect.Signature) -> None:
    """Refuse a function of the arguments that can be called with those of no call, by their place or by their names."""
    if not callable(choose):
        return
    try:
        own = inspect.signature(choose)
    except (TypeError, ValueError):
        # Some of the interpreter's own functions do not tell what they take.
        return
    parameters = [*signature.parameters.values()]
    if any(parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in parameters):
        return
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    for some in (required, parameters):
        placed = [parameter for parameter in some if parameter.kind is not parameter.KEYWORD_ONLY]
        for count in {len(placed), sum(parameter.kind is parameter.POSITIONAL_ONLY for parameter in placed)}:
            try:
                named = {parameter.name: None for parameter in some if parameter not in placed[:count]}
                own.bind(*[None] * count, **named)
                return
            except TypeError:
                continue
    raise TorrelqueTypeError(
        f'the function of a {what} is called with the arguments of the call, {signature}, and takes {own}'
    )
