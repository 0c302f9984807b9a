"""Acts of the dashboard that are about a queue, a group or a schedule: what it hands out, and when."""

from collections.abc import Mapping
from typing import Any

from torrelque import TorrelqueLimit, TorrelqueLookupError, TorrelqueQueue, TorrelqueValueError
from torrelque.operate import Operator, ScheduleView
from torrelque.operate.parts import is_paused, limits_of

from .asking import Ask, Do, Kind, group_of, named_queue
from .doing import Doing
from .fields import KEEP, Field, read_concurrency, read_probe, read_rate, spell
from .links import Query, link
from .visit import Visit
from .wording import age, duration, number, rate

# Pauses


async def ask_pause(kind: Kind, visit: Visit) -> Ask:
    """Tell what a pause is."""
    group = group_of(visit)
    notes = ['No task of it is handed out until it is resumed; what is worked on goes on.']
    if await is_paused(visit.queue, group):
        notes.insert(0, 'It is paused already: this changes no more than whether a task is let through.')
    notes += await _of_group(visit, group)
    return Ask(f'Pause {named_queue(visit, group)}', notes)


def make_pause(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    """Pause a queue or a group."""
    group, name, probe = group_of(visit), named_queue(visit, group_of(visit)), given['probe']

    async def do(doing: Doing, operator: Operator) -> None:
        await operator.pause(group, probe=probe)
        through = f' A task is let through each {duration(probe)}.' if probe else ''
        doing.told.append(f'{_begun(name)} is paused.{through}')
        doing.links = [_way_to(doing.queue, group)]

    return f'Pause {name}', do


async def ask_resume(kind: Kind, visit: Visit) -> Ask:
    """Tell what is resumed."""
    group = group_of(visit)
    name, queue = named_queue(visit, group), visit.queue
    if not await is_paused(queue, group):
        return Ask(f'{_begun(name)} is not paused', possible=False)
    notes = ['Its tasks are handed out again.']
    if group is not None and await is_paused(queue, None):
        notes = ['The whole queue is paused, so none of its tasks is handed out all the same.']
    return Ask(f'Resume {name}', notes)


def make_resume(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    """Resume a queue or a group."""
    group, name = group_of(visit), named_queue(visit, group_of(visit))

    async def do(doing: Doing, operator: Operator) -> None:
        done = await operator.resume(group)
        doing.told.append(f'{_begun(name)} {"goes on" if done else "was not paused"}.')
        doing.links = [_way_to(doing.queue, group)]

    return f'Resume {name}', do


async def _of_group(visit: Visit, group: str | None) -> list[str]:
    """What makes one doubt the name of a group."""
    if group is None:
        return []
    found = await visit.operator.group(group, queue=visit.queue.name)
    return [] if found.waiting or found.slots else ['The group has no task now.']


# Limits


async def ask_limit(kind: Kind, visit: Visit) -> Ask:
    """Tell the limits that are set."""
    group = group_of(visit)
    present = await _limit_of(visit.queue, group)
    fields = {'concurrency': _spell(present.concurrency, group), 'rate': _spell(present.rate, group)}
    if group is None:
        notes = ['They hold for each group that has none of its own.']
        return Ask(f'Set the limits of all groups of {named_queue(visit)}', notes, present=fields)
    default = await _limit_of(visit.queue, None)
    notes = [f'The default of all groups is: {_told(default)}.', *await _of_group(visit, group)]
    return Ask(f'Set the limits of {named_queue(visit, group)}', notes, present=fields)


def make_limit(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    """Set the limits of a group, or of all; the one of which nothing is said stays."""
    group, queue = group_of(visit), visit.queue
    name = f'all groups of {named_queue(visit)}' if group is None else named_queue(visit, group)

    async def do(doing: Doing, operator: Operator) -> None:
        present = await _limit_of(queue, group)
        limit = TorrelqueLimit(*(
            before if given[name] is KEEP else given[name] for name, before in present._asdict().items()
        ))  # fmt: skip
        await operator.set_limit(group, **limit._asdict())
        doing.told.append(f'The limits of {name} are: {_told(limit)}.')
        doing.links = [_way_to(doing.queue, group)]

    return f'Set the limits of {name}', do


async def _limit_of(queue: TorrelqueQueue, group: str | None) -> TorrelqueLimit:
    return (await limits_of(queue)).get(group, TorrelqueLimit(None, None))


def _spell(value: Any, group: str | None) -> str:
    # Of the default of all groups, the default is no limit.
    return 'none' if value is None and group is None else spell(value)


def _told(limit: TorrelqueLimit) -> str:
    slots = 'no limit' if limit.concurrency in (None, float('inf')) else f'{number(limit.concurrency)} tasks at a time'
    starts = rate(*limit.rate) if isinstance(limit.rate, tuple) else 'no limit'
    return slots if starts == 'no limit' else f'{slots}, {starts}'


# What is due


async def ask_sweep(kind: Kind, visit: Visit) -> Ask:
    """Tell what is due."""
    one = await visit.overview(visit.queue.name)
    notes = [
        f'{number(one.overdue)} delayed tasks are due, and the leases of {number(one.overdue_leases)} have ended.',
        'Workers do the same again and again by themselves.',
    ]
    return Ask(f'Bring back what is due in {named_queue(visit)}', notes)


def make_sweep(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    """Sweep."""

    async def do(doing: Doing, operator: Operator) -> None:
        found = await operator.sweep()
        fired = f'Schedules have enqueued {number(found.fired)}. ' if found.fired else ''
        doing.told.append(
            f'{fired}{number(found.delayed)} were due and are pending; the leases of '
            f'{number(found.stale + found.dead)} had ended: {number(found.stale)} are pending again, '
            f'{number(found.dead)} are dead.'
        )
        doing.links = [_way_to(doing.queue, None)]

    return f'Sweep {named_queue(visit)}', do


# Schedules


async def find_schedule(visit: Visit) -> ScheduleView:
    """The schedule that is meant.

    :raises TorrelqueLookupError: there is none of this name.
    """
    return await visit.operator.schedule(_name_of(visit), payload=0, queue=visit.queue.name)


def _name_of(visit: Visit) -> str:
    if not (name := visit.text('name') or visit.text('schedule')):
        raise TorrelqueValueError('no schedule is named')
    return name


async def ask_schedule(kind: Kind, visit: Visit) -> Ask:
    """Tell what becomes of a schedule."""
    view = await find_schedule(visit)
    notes = []
    if view.next is not None and not view.paused:
        notes.append(f'It fires next in {age(view.server_time, max(view.next, view.server_time))}.')
    possible = True
    if kind.name == 'pause-schedule':
        possible = not view.paused
        notes = ['What is due meanwhile is passed over.', *notes] if possible else ['It is paused already.']
    elif kind.name == 'resume-schedule':
        possible = view.paused
        notes = ['It fires what is due from now on.'] if possible else ['It is not paused.']
    elif kind.name == 'fire':
        notes.insert(0, 'Its task is enqueued now, whenever it is due.')
        if view.overlap == 'skip':
            notes.append('Nothing is enqueued while its last task is not finished.')
    elif (view.source or 'api') != 'api':
        notes.append(f'It was declared by {view.source}, of which the next worker that begins sets it again.')
    return Ask(f'{kind.label} schedule {view.name}', notes, possible)


def make_schedule(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    """Pause, resume, or remove a schedule."""
    name = _name_of(visit)
    told = {
        'pause-schedule': ('is paused', 'was paused before'), 'resume-schedule': ('goes on', 'was not paused'),
        'remove-schedule': ('is removed', 'was not there any more'),
    }[kind.name]  # fmt: skip

    async def do(doing: Doing, operator: Operator) -> None:
        done = await getattr(operator, kind.name.replace('-', '_'))(name)
        doing.told.append(f'Schedule {name} {told[not done]}.')
        doing.links = [('Schedules', link('schedules', q=doing.queue))]

    return f'{kind.label} schedule {name}', do


def make_fire(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    """Fire a schedule."""
    name = _name_of(visit)

    async def do(doing: Doing, operator: Operator) -> None:
        ids = await operator.fire(name)
        if ids:
            doing.told.append(f'Schedule {name} has fired.')
            doing.links = [('Its task', link('task', q=doing.queue, id=one)) for one in ids]
            return
        try:
            view = await operator.schedule(name, payload=0)
        except TorrelqueLookupError:
            doing.told.append('Nothing was fired: there is no such schedule any more.')
            return
        doing.told.append(f'Nothing was fired: task {view.last_id} is not finished, and the schedule passes over '
                          'firings that overlap.')  # fmt: skip
        doing.links = [('That task', link('task', q=doing.queue, id=view.last_id))]

    return f'Fire schedule {name}', do


# Parts


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _way_to(queue: str, group: str | None) -> tuple[str, str]:
    if group is None:
        return 'The queue', link('queue', q=queue)
    return 'The group', link('group', q=queue, name=group)


PROBE = Field('probe', 'Let a task through each', read_probe, 'none', 'A time such as 30s, to find out whether what is '
              'in the way is over; none, if nothing is said.')  # fmt: skip
CONCURRENCY = Field('concurrency', 'Tasks at a time', read_concurrency, 'as it is', 'A number, none or default.')
RATE = Field('rate', 'Starts', read_rate, 'as it is', 'A rate such as 50/s, 100/m or 5/10s, none or default.')

SWITCHES = (
    Kind('pause', 'Pause', 'pause', 'group', ask_pause, make_pause, (PROBE,)),
    Kind('resume', 'Resume', 'pause', 'group', ask_resume, make_resume),
    Kind('limit', 'Set limits', 'limit', 'group', ask_limit, make_limit, (CONCURRENCY, RATE)),
    Kind('sweep', 'Sweep', 'sweep', 'queue', ask_sweep, make_sweep),
    Kind('pause-schedule', 'Pause', 'schedule', 'schedule', ask_schedule, make_schedule),
    Kind('resume-schedule', 'Resume', 'schedule', 'schedule', ask_schedule, make_schedule),
    Kind('fire', 'Fire', 'schedule', 'schedule', ask_schedule, make_fire),
    Kind('remove-schedule', 'Remove', 'schedule', 'schedule', ask_schedule, make_schedule, danger=True),
)
