"""Rules: when somebody is to be told of a queue, and whom."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torrelque import Duration, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

from .measures import MEASURES, Measure
from .wording import names_of, seconds_of

CLEAR = 60.0
"""s that a rule without a time of its own falls for, at the least."""
REPEAT = 4 * 3600.0
"""s after which it is told again that a rule fires."""
LONGEST_NAME = 100


@dataclass(frozen=True, init=False)
class Rule:
    """When to tell of a queue.

    It rises where its value is ``above`` or more, fires when that was so for ``for_`` without a break, falls below
    ``below``, and is over when that was so for ``clear_for``.  A time is a number of seconds, a ``datetime.timedelta``,
    or a text such as ``'5m'``.

    :param name: of the rule: it is told by it, and its state is kept by it.
    :param when: what it is about: a measure, or a count of `torrelque.operate.Overview`, such as 'dead'.
    :param queues: the name of a queue, or several; () is all that there are.
    :param above: a time, a number, or a share from 0 to 1, as the measure is; those that have a default need none.
    :param for_: a time; by default that of the measure, or a minute.
    :param below: by default what ``above`` is.
    :param clear_for: by default as long as ``for_``, and a minute at the least.
    :param repeat: after what time it is told again while it fires; 0 is never, and 4 hours are the default.
    :param at_least: attempts below which 'failed_share' measures nothing.
    :param to: names of sinks; () is all that there are.
    :raises TorrelqueError: something of these cannot be meant.
    """

    name: str
    when: str
    queues: tuple[str, ...]
    above: float
    for_: float
    below: float
    clear_for: float
    repeat: float
    at_least: int
    to: tuple[str, ...]

    def __init__(
        self,
        name: str,
        when: str,
        *,
        queues: str | Sequence[str] = (),
        above: Duration | str | None = None,
        for_: Duration | str | None = None,
        below: Duration | str | None = None,
        clear_for: Duration | str | None = None,
        repeat: Duration | str = REPEAT,
        at_least: int = 20,
        to: str | Sequence[str] = (),
    ) -> None:
        if len(check.check_name(name, 'the name of a rule')) > LONGEST_NAME or not name.isprintable():
            raise TorrelqueValueError(f'the name of a rule must be {LONGEST_NAME} printable characters at the most')
        what = f'rule {name!r}'
        found = find_measure(when, what)
        if above is None and found.above is None:
            raise TorrelqueValueError(f'{what}: {when} needs an above, because it has no default')
        high = _level(found, found.above if above is None else above, f'{what}: above')
        low = high if below is None else _level(found, below, f'{what}: below')
        if low > high:
            raise TorrelqueValueError(f'{what}: below must not be more than above')
        if not high:
            raise TorrelqueValueError(f'{what}: above must be more than 0, or it fires always')
        rise = seconds_of(found.for_ if for_ is None else for_, f'{what}: for')
        fall = max(rise, CLEAR) if clear_for is None else seconds_of(clear_for, f'{what}: clear_for')
        values = (
            name, when, names_of(queues, f'{what}: queues'), high, rise, low, fall,
            seconds_of(repeat, f'{what}: repeat'), check.check_count(at_least, f'{what}: at_least'),
            names_of(to, f'{what}: to'),
        )  # fmt: skip
        for field, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)

    @property
    def field(self) -> str:
        """Where its state is kept: what it is measured by is part of it, so that a changed rule begins calm."""
        told = (self.when, self.above, self.for_, self.below, self.clear_for, self.at_least)
        return f'{self.name}:{hashlib.sha256(repr(told).encode()).hexdigest()[:8]}'

    def is_of(self, queue: str) -> bool:
        """Whether it is about a queue."""
        return not self.queues or queue in self.queues


def find_measure(when: str, what: str) -> Measure:
    """The measure of a name.

    :param what: whose it is, for the message.
    :raises TorrelqueError: there is none.
    """
    if not isinstance(when, str):
        raise TorrelqueTypeError(f'{what}: when must be a str, not {type(when).__name__}')
    if when not in MEASURES:
        near = difflib.get_close_matches(when, MEASURES, 1)
        hint = f'; did you mean {near[0]!r}?' if near else f': {", ".join(sorted(MEASURES))}'
        raise TorrelqueValueError(f'{what}: there is no measure {when!r}{hint}')
    return MEASURES[when]


def _level(measure: Measure, given: Any, what: str) -> float:
    if measure.kind == 'time':
        return seconds_of(given, what)
    found = float(check.check_number(given, what, 0))
    if measure.kind in ('share', 'flag') and found > 1:
        raise TorrelqueValueError(f'{what} must be from 0 to 1, not {given!r}')
    return found


# What a file has

_KEYS = {
    'queue': 'queues', 'queues': 'queues', 'when': 'when', 'above': 'above', 'for': 'for_', 'below': 'below',
    'clear_for': 'clear_for', 'repeat': 'repeat', 'at_least': 'at_least', 'to': 'to',
}  # fmt: skip


def rules_of(table: Mapping[str, Any]) -> list[Rule]:
    """The rules of the table ``[alerts]`` of a configuration file.  With ``defaults = true`` there is one more for each
    measure that has a default, but for those that have the name of a rule in the file.

    :raises TorrelqueError: something of it cannot be meant.
    """
    if not isinstance(table, Mapping):
        raise TorrelqueTypeError(f'alerts must be a table, not {table!r}')
    rules = {name: _rule_of(name, given) for name, given in table.items() if name != 'defaults'}
    if check.check_flag(table.get('defaults', False), 'alerts: defaults'):
        for name in MEASURES:
            if MEASURES[name].above is not None and name not in rules:
                rules[name] = Rule(name, name)
    return [*rules.values()]


def _rule_of(name: str, given: Any) -> Rule:
    if not isinstance(given, Mapping):
        raise TorrelqueTypeError(f'rule {name!r} must be a table, not {given!r}')
    for key in given:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f'; did you mean {near[0]!r}?' if near else f': {", ".join(_KEYS)}'
            raise TorrelqueValueError(f'rule {name!r} has no {key!r}{hint}')
    options = {_KEYS[key]: value for key, value in given.items() if value is not None}
    if 'when' not in options:
        raise TorrelqueValueError(f'rule {name!r} does not say when: {", ".join(sorted(MEASURES))}')
    return Rule(name, **options)
