"""In what a file of settings and the server differ: limits of groups, and schedules.  Nothing here writes by itself."""

import functools
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from torrelque import TorrelqueLimit, TorrelqueLookupError, TorrelqueQueue
from torrelque.config.amounts import instant, spell, spelt
from torrelque.operate import Operator, ScheduleView
from torrelque.operate.parts import limits_of

from .amounts import DEFAULT
from .listing import ALL
from .out import number
from .scheduling import API, ask_time
from .timetable import load_cron, made_from

if TYPE_CHECKING:
    from torrelque.config import Config, ScheduleConfig

NONE = TorrelqueLimit(None, None)


class Change(NamedTuple):
    """A difference, and what ends it."""

    kind: str
    """'limit' or 'schedule'."""
    queue: str
    name: str | None
    """That of the group, or of the schedule; None is all groups."""
    now: str
    """What the server has, in words."""
    file: str
    """What the file says, likewise."""
    do: Callable[[], Awaitable[Any]]

    @property
    def what(self) -> str:
        """What differs."""
        if self.name is None:
            return 'all groups'
        return f'group {self.name}' if self.kind == 'limit' else f'schedule {self.name}'


async def differences(config: 'Config', operator: Operator) -> tuple[list[Change], list[str]]:
    """What differs, and sentences on what the server has beside, which stays.

    :raises Failure: a schedule needs the extra ``cron``, and it is not there.
    """
    changes: list[Change] = []
    left: list[str] = []
    for queue in operator.queues:
        found, others = await _limits(config, operator, queue)
        changes += found
        if others:
            names = ', '.join('(all groups)' if name is None else name for name in others[:5])
            more = f' and {number(len(others) - 5)} more' if len(others) > 5 else ''
            left.append(f'queue {queue.name!r} has limits that are not in the file, and stay: {names}{more}')
    for name, schedule in config.sections.schedules.items():
        queues = [queue for queue in operator.queues if queue.name == schedule.queue]
        for queue in queues:
            await _Planned(name, schedule, operator, queue).compare(changes, left)
    return changes, left


# Limits


async def _limits(config: 'Config', operator: Operator, queue: TorrelqueQueue) -> tuple[list[Change], list[str | None]]:
    section = config.sections.queues.get(queue.name)
    wanted = {} if section is None else section.limits
    limits = await limits_of(queue)
    changes = []
    for group, limit in wanted.items():
        name = None if group == DEFAULT else group
        now, file = limits.get(name, NONE), TorrelqueLimit(limit.concurrency, limit.rate)
        if now != file:
            do = functools.partial(
                operator.set_limit, name, queue=queue.name, concurrency=file.concurrency, rate=file.rate
            )
            changes.append(Change('limit', queue.name, name, _words(now), _words(file), do))
    named = {None if group == DEFAULT else group for group in wanted}
    others = [name for name, limit in limits.items() if name not in named and limit != NONE]
    return changes, sorted(others, key=lambda name: (name is not None, name)) if wanted else []


def _words(limit: TorrelqueLimit) -> str:
    parts = (('concurrency', limit.concurrency), ('rate', limit.rate))
    return ', '.join(f'{name} {spelt(value)}' for name, value in parts if value is not None) or 'nothing'


# Schedules


class _Planned:
    """A schedule of a file, and what the server has of it."""

    def __init__(self, name: str, section: 'ScheduleConfig', operator: Operator, queue: TorrelqueQueue) -> None:
        self._name, self._section, self._operator, self._queue = name, section, operator, queue

    async def compare(self, changes: list[Change], left: list[str]) -> None:
        """Add what differs, or what is to be told."""
        said, name = self._section, self._name
        now = await ask_time(self._queue)
        when, words = self._when(now)
        if when is None:
            left.append(f'schedule {name!r} is over, and is left as it is')
            return
        until = None if said.until is None else self._instant(said.until)
        before = await self._look()
        file = self._aspects(words, until)
        has = {} if before is None else self._has(before, when)
        if has == file and (before is None or before.state != 'dry'):
            return
        if before is not None and (before.source or API) != API:
            left.append(f'schedule {name!r} was of {before.source}, and the next worker that declares it sets it as '
                        'declared')  # fmt: skip
        differing = [aspect for aspect in file if has.get(aspect) != file[aspect]]
        telling = [aspect for aspect in differing if before is not None or file[aspect] != QUIET.get(aspect)]
        words_now = ', '.join(_told(aspect, has[aspect]) for aspect in differing) if before is not None else 'none'
        words_file = ', '.join(_told(aspect, file[aspect]) for aspect in telling)
        dry = before is not None and not differing
        do = functools.partial(
            self._operator.set_schedule, name, self._task(), queue=self._queue.name, overlap=said.overlap,
            missed=said.missed, grace=said.grace, until=until, source=API, **when, **self._of_tasks(),
        )  # fmt: skip
        changes.append(
            Change('schedule', self._queue.name, name, 'dry' if dry else words_now, words if dry else words_file, do)
        )

    async def _look(self) -> ScheduleView | None:
        try:
            return await self._operator.schedule(self._name, payload=ALL, queue=self._queue.name)
        except TorrelqueLookupError:
            return None

    def _task(self) -> Any:
        said = self._section
        if said.task is None:
            return said.payload
        call = {'task': said.task, 'args': said.args, 'kwargs': said.kwargs}
        return {name: value for name, value in call.items() if value}

    def _of_tasks(self) -> dict[str, Any]:
        said = self._section
        found = {'group': said.group, 'priority': said.priority or None, 'max_attempts': said.max_attempts,
                 'task_timeout': said.lease}  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}

    def _instant(self, text: str) -> float:
        """An instant of the file: where it has no zone, of that of the schedule, or UTC."""
        found: datetime = instant(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=ZoneInfo(self._section.timezone) if self._section.timezone else timezone.utc)
        return found.timestamp()

    def _when(self, now: float) -> tuple[dict[str, Any] | None, str]:
        """When it fires, as the queue's verb takes it, and in words; None where it is over."""
        said = self._section
        if said.at is not None:
            until = None if said.until is None else self._instant(said.until)
            times = sorted({self._instant(one) for one in said.at})
            ahead = [one for one in times if one > now and (until is None or one <= until)]
            return ({'times': ahead} if ahead else None), 'at ' + ', '.join(said.at)
        if said.cron is None and not said.jitter:
            assert said.every is not None
            return {'every': said.every, 'phase': said.phase or 0}, _every(said.every, said.phase or 0)
        cron = load_cron('cron expressions need' if said.cron is not None else 'jitter needs')
        zone = said.timezone or 'UTC'
        line, spec, phase = cron.When(said.cron, said.every, zone, said.phase or 0, said.jitter or 0).due(self._name)
        if line is None:
            return {'every': said.every, 'phase': phase}, _every(said.every or 0, phase)
        times = line.first(datetime.fromtimestamp(now, timezone.utc))
        later = f', up to {spell(said.jitter)} later' if said.jitter else ''
        return ({'times': times, 'spec': spec} if times else None), f'cron {said.cron} {zone}{later}'

    def _aspects(self, words: str, until: float | None) -> dict[str, Any]:
        """What the file says of it."""
        said = self._section
        lease = self._queue.task_timeout if said.lease is None else said.lease
        return {'when': words, 'overlap': said.overlap, 'missed': said.missed, 'grace': said.grace, 'until': until,
                'group': said.group, 'priority': said.priority, 'max_attempts': _attempts(said.max_attempts),
                'lease': lease, 'task': self._task()}  # fmt: skip

    def _has(self, view: ScheduleView, when: dict[str, Any]) -> dict[str, Any]:
        """The same of the server."""
        return {'when': self._has_when(view, when), 'overlap': view.overlap, 'missed': view.missed,
                'grace': view.grace, 'until': view.until, 'group': view.group, 'priority': view.priority,
                'max_attempts': _attempts(view.max_attempts), 'lease': view.timeout, 'task': view.payload}  # fmt: skip

    def _has_when(self, view: ScheduleView, when: dict[str, Any]) -> str:
        """When it fires now, in the words of the file where that is the same."""
        _, words = self._when(view.server_time)
        if 'every' in when:
            same = view.every is not None and (view.every, view.phase) == (when['every'], when['phase'])
        elif 'spec' in when:
            spec = view.spec if isinstance(view.spec, dict) else {}
            same = {name: value for name, value in spec.items() if name != 'edition'} == when['spec']
        else:
            times = when['times']
            same = view.every is None and view.spec is None
            same = same and (view.left, view.next, view.end) == (len(times), times[0], times[-1])
        return words if same else made_from(view)


QUIET = {'overlap': 'skip', 'missed': 'latest', 'grace': None, 'until': None, 'group': None, 'priority': 0,
         'max_attempts': None}  # fmt: skip
"""What goes without saying of a new schedule."""


def _attempts(value: int | None) -> int | None:
    """Without end is one thing, however it was said."""
    return None if value in (None, -1) else value


def _every(period: float, phase: float) -> str:
    return f'every {spell(period)}' + (f', {spell(phase)} behind' if phase else '')


def _told(aspect: str, value: Any) -> str:
    if aspect == 'when':
        return str(value)
    if aspect == 'task':
        # What it has else may be secret.
        name = value.get('task') if isinstance(value, dict) else None
        return f'a call of {name}' if isinstance(name, str) else 'a payload'
    if value is None:
        return f'no {aspect}'
    if aspect == 'until':
        return f'until {datetime.fromtimestamp(value, timezone.utc).isoformat().replace("+00:00", "Z")}'
    return f'{aspect} {spell(value)}' if aspect in ('grace', 'lease') else f'{aspect} {value}'
