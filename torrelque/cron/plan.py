"""A schedule as it is to be set: what is said of it, checked before anything is sent."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal
from zoneinfo import ZoneInfo

from torrelque import Duration, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import MIN_SECONDS, check_name, check_seconds
from torrelque.tasks.work import Packed, Work

from .ahead import Line, offset_of
from .asking import EPOCH
from .calendar import Calendar, Instants

Overlap = Literal['skip', 'allow', 'replace', 'queue']
Missed = Literal['latest', 'all', 'none']
OVERLAPS = ('skip', 'allow', 'replace', 'queue')
LATEST = datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp()
"""Beyond this instant no calendar goes."""
MISSED = ('latest', 'all', 'none')


@dataclass(frozen=True)
class Policies:
    """What a firing depends on.

    :raises TorrelqueTypeError: one is of the wrong kind.
    :raises TorrelqueValueError: one cannot be meant.
    """

    overlap: Overlap = 'skip'
    missed: Missed = 'latest'
    grace: Duration | None = None
    until: datetime | float | None = None

    def __post_init__(self) -> None:
        for name, known in (('overlap', OVERLAPS), ('missed', MISSED)):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise TorrelqueTypeError(f'{name} must be a str, not {type(value).__name__}')
            if value not in known:
                raise TorrelqueValueError(f'{name} must be one of {", ".join(map(repr, known))}, not {value!r}')
        if self.grace is not None:
            check_seconds(self.grace, 'grace')
        if self.until is not None:
            _check_until(self.until)

    @property
    def end(self) -> datetime | None:
        """``until`` as an instant; a ``datetime`` without a zone is the machine's time."""
        if self.until is None:
            return None
        if isinstance(self.until, datetime):
            return self.until.astimezone(timezone.utc)
        return EPOCH + timedelta(seconds=self.until)


def _check_until(until: datetime | float) -> None:
    if isinstance(until, bool) or not isinstance(until, (datetime, int, float)):
        raise TorrelqueTypeError(f'until must be a datetime or a Unix time, not {type(until).__name__}')
    try:
        unix = until.timestamp() if isinstance(until, datetime) else until
    except (OverflowError, OSError, ValueError) as exc:
        raise TorrelqueValueError(f'until is no instant of this clock: {until}') from exc
    if not 0 <= unix < LATEST:  # nan as well
        raise TorrelqueValueError(f'until must be an instant from 1970 to 9999, not {until!r}')


@dataclass(frozen=True)
class Plan:
    """A schedule: its work, and by a calendar or by a period when it is due."""

    name: str
    work: Packed
    policies: Policies
    line: Line | None
    spec: Any
    """What the calendar is made of, as a JSON value."""
    every: float | None
    """The period (s)."""
    phase: float
    """By how much (s) instants are later than multiples of the period since 1970."""


class When:
    """When something is due, as it was said: what a command line, or another layer, makes a schedule of.

    :param when: see `Schedules.add`; None where there is a period.
    :param every: the period (s), or None.
    :param timezone: see `Schedules.add`.
    :param phase: see `Schedules.every`.
    :param jitter: see `Schedules.add`.
    :raises TorrelqueTypeError: something is of the wrong kind, or both calendar and period are said, or neither.
    :raises TorrelqueValueError: something cannot be meant.
    """

    def __init__(
        self,
        when: str | Instants | None,
        every: Duration | None,
        timezone: str | ZoneInfo,
        phase: Duration,
        jitter: Duration,
    ) -> None:
        if (when is None) is (every is None):
            raise TorrelqueTypeError('a schedule has either a cron expression, or another calendar, or every=SECONDS')
        self._calendar: Instants | None = None
        self._every: float | None = None
        self._phase = check_seconds(phase, 'phase')
        self._jitter = check_seconds(jitter, 'jitter', least=MIN_SECONDS)
        if every is not None:
            self._every = check_seconds(every, 'every', least=MIN_SECONDS, positive=True)
        elif isinstance(when, str):
            self._calendar = Calendar(when, timezone)
        elif callable(getattr(when, 'after', None)):
            self._calendar = when
        else:
            raise TorrelqueTypeError(
                f'a calendar is a cron expression, or has a method after(instant), not {type(when).__name__}'
            )
        if self._calendar is not None and self._phase:
            raise TorrelqueTypeError('phase belongs to every=SECONDS')

    def plan(self, name: str, work: Work[Any], policies: Policies) -> Plan:
        """The schedule of a name.

        :raises TorrelqueTypeError: the work is none, or one of its options is of one call at one time.
        :raises TorrelqueValueError: it is a flow that cannot be meant.
        """
        check_name(name, 'the name of a schedule')
        if not isinstance(work, Work):
            raise TorrelqueTypeError(f'what is scheduled is a call, made by function.s(…), not {work!r}')
        packed = work.pack()
        if policies.overlap == 'queue' and packed.options.get('group') is not None:
            raise TorrelqueTypeError(
                f"the schedule {name!r} cannot queue its firings in a group of its own: its work has the group "
                f"{packed.options['group']!r}"
            )
        line, spec, phase = self.due(name)
        return Plan(name, packed, policies, line, spec, self._every, phase)

    def due(self, name: str) -> tuple[Line | None, Any, float]:
        """Of the schedule of a name, its instants and what these are made of, as a JSON value; of one by a period,
        None, None, and by how much (s) it is later than multiples of that."""
        offset = offset_of(name, self._jitter)
        if self._calendar is None:
            return None, None, (timedelta(seconds=self._phase) + offset).total_seconds()
        return Line(self._calendar, offset), self._spec(), 0

    def _spec(self) -> Any:
        calendar: Any = self._calendar
        if isinstance(calendar, Calendar):
            spec: dict[str, Any] = calendar.spec
        else:
            kind = type(calendar)
            spec = {'calendar': getattr(calendar, 'spec', f'{kind.__module__}.{kind.__qualname__}')}
        # One and the same number of seconds is written in one way.
        whole = self._jitter.is_integer() if isinstance(self._jitter, float) else True
        return {**spec, 'jitter': int(self._jitter) if whole else self._jitter} if self._jitter else spec
