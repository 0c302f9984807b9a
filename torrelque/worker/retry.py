"""What becomes of a task whose handler failed: the rules by which it is tried again.

Other layers may import the names in `__all__`.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torrelque import Duration, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import check_call, check_flag, check_number, check_seconds, is_async, seconds_of

__all__ = ['Backoff', 'Reject', 'Retry', 'RetryRule', 'check_rule']

MOST_FACTOR = 1_000_000
"""The greatest factor by which waits grow."""


@dataclass(frozen=True)
class Backoff:
    """Waits that grow: before retry n up to ``base * factor ** (n - 1)`` seconds, and never more than ``cap``.

    With ``jitter`` the wait is drawn evenly between 0 and that, so that tasks which failed together do not come back
    together ("full jitter", Marc Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015).  Once made, it
    has both times in seconds.
    """

    base: Duration = 1
    factor: float = 2
    cap: Duration = 300
    jitter: bool = True

    def __post_init__(self) -> None:
        for name in ('base', 'cap'):
            object.__setattr__(self, name, check_seconds(getattr(self, name), f'{name} of a back-off'))
        if check_number(self.factor, 'factor of a back-off', 1) > MOST_FACTOR:
            raise TorrelqueValueError(f'factor of a back-off must be at most {MOST_FACTOR}, not {self.factor!r}')
        check_flag(self.jitter, 'jitter of a back-off')

    def delay(self, attempt: int) -> float:
        """How long to wait (s) after so many attempts; at least 1."""
        base, cap = seconds_of(self.base), seconds_of(self.cap)
        try:
            most = min(cap, base * self.factor ** (attempt - 1))
        except OverflowError:
            most = cap if base else 0.0
        return random.uniform(0, most) if self.jitter else most


RetryRule = (
    Backoff
    | Duration
    | Mapping[type[BaseException], Backoff | Duration | None]
    | Callable[[BaseException, int], Duration | None]
)
"""When a failed task is tried again: after growing waits, after a duration, by the class of the exception (the
nearest in its order of inheritance; None is not at all; an exception that is not named goes by ``Backoff()``), or by a
function of the exception and the attempt."""


class Retry(Exception):  # noqa: N818 - not an error
    """Raised by a handler: try the task again, after the ``delay`` or else by the rule.  The attempt counts."""

    delay: float | None
    """How long (s) to wait; None is by the rule."""

    def __init__(self, delay: Duration | None = None, reason: str = '') -> None:
        super().__init__(reason or 'the handler asks for another attempt')
        self.delay = None if delay is None else check_number(seconds_of(delay), 'delay', 0)

    def __reduce__(self) -> 'tuple[type[Retry], tuple[float | None, str]]':
        return type(self), (self.delay, str(self))


class Reject(Exception):  # noqa: N818 - not an error
    """Raised by a handler: the task will never succeed.  It is dead at once, whatever attempts are left."""


def check_rule(rule: RetryRule, what: str = 'retry') -> RetryRule:
    """A rule by which tasks can be tried again.

    :raises TorrelqueTypeError: the rule is of the wrong kind.
    :raises TorrelqueValueError: a time in it cannot be meant.
    """
    if isinstance(rule, Mapping):
        for kind, one in rule.items():
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TorrelqueTypeError(f'{what} as a mapping is by classes of exceptions, not by {kind!r}')
            if one is not None and not isinstance(one, Backoff):
                check_seconds(one, 'a wait before a retry')
    elif callable(rule):
        if isinstance(rule, type) or is_async(rule):
            raise TorrelqueTypeError(f'{what} as a function must be a plain one of exception and attempt, not {rule!r}')
        check_call(rule, what, 'exception', 'attempt')
    elif rule is None or isinstance(rule, (str, list, tuple, set)):
        raise TorrelqueTypeError(
            f'{what} must be a Backoff, a number of seconds or a timedelta, a mapping of exceptions to these, or a '
            f'function, not {rule!r}'
        )
    elif not isinstance(rule, Backoff):
        check_seconds(rule, what)
    return rule


def delay_after(rule: RetryRule, error: BaseException, attempt: int) -> float | None:
    """How long to wait (s) before the next attempt; None is that there is to be none."""
    if isinstance(error, Reject):
        return None
    if isinstance(error, Retry) and error.delay is not None:
        return error.delay
    if isinstance(rule, Mapping):
        own = [kind for kind in type(error).__mro__ if kind in rule]
        chosen = rule[own[0]] if own else Backoff()
    elif callable(rule):
        chosen = rule(error, attempt)
    else:
        chosen = rule
    if isinstance(chosen, Backoff):
        return chosen.delay(attempt)
    return None if chosen is None else seconds_of(chosen)
