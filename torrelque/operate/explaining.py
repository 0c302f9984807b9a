"""Why a task, a group or a queue does not move: one look at the server, the workers' hearts, then the reasons."""

from collections.abc import Sequence
from dataclasses import replace

from torrelque import TorrelqueError, TorrelqueLookupError, TorrelqueQueue, TorrelqueTaskStatus

from . import hands, obstacles, reasons, remedies, scheduled, stalls
from .ahead import ahead_of, pending_of
from .codes import CODES
from .hearts import Crew
from .holding import find_holders, read_crew
from .looking import Seen, look
from .reading import instant_of, number_of, text_of
from .values import Reason


async def explain(queue: TorrelqueQueue, task_id: str | None, group: str | None) -> list[Reason]:
    """Reasons, the decisive one first; [] where a claim made now would give the task, and somebody is there for it."""
    seen = await look(queue, task_id, group)
    crew = await read_crew(seen)
    if seen.id is not None:
        found = await _of_task(seen, crew)
    elif group is not None:
        found = await _of_idle_group(seen)
    else:
        found = await _of_queue(seen, crew)
    found = sorted([*reasons.of_keys(seen), *found], key=lambda reason: CODES.index(reason.code))
    return [replace(reason, queue=queue.name) for reason in found]


async def _of_task(seen: Seen, crew: Crew) -> list[Reason]:
    if stalls.is_of_flow(seen):
        return await _of_flow(seen, crew)
    found = reasons.of_state(seen, crew)
    if [reason.code for reason in found] == ['unknown'] and (end := await _of_ended(seen)) is not None:
        return [end]
    if seen.raw['schedules'] and [reason.code for reason in found] == ['unknown']:
        return [await _of_no_task(seen, found[0])]
    if not found:
        in_the_way = await obstacles.of_group(seen) if seen.group is not None else []
        others = await obstacles.of_others(seen)
        first = not in_the_way and not others and not ahead_of(seen).most
        pauses = await obstacles.of_pauses(seen, first)
        return [*pauses, *in_the_way, *others, *await hands.of_workers(seen, crew)]
    if found[0].code in ('delayed', 'retry', 'overdue') and seen.status == TorrelqueTaskStatus.DELAYED:
        # What stands in its way once it is due.
        found += await obstacles.of_pauses(seen, first=False)
    if found[0].code == 'overdue':
        found += await hands.of_workers(seen, crew)
    elif found[0].code in ('delayed', 'retry'):
        # A task of which nobody knows the function is given back again and again.
        found += await hands.of_unknown_function(seen, crew)
    return found


async def _of_flow(seen: Seen, crew: Crew) -> list[Reason]:
    """What is said of a flow, or of a task that waits for others."""
    assert seen.id is not None
    if seen.state.get('total') is not None:
        return await stalls.of_flow(seen)
    found = await stalls.of_task(seen)
    if found is None:
        # It has begun, or ended, since it was looked at.
        again = await look(seen.queue, seen.id, None)
        found = [] if stalls.is_of_flow(again) else await _of_task(again, crew)
    return found


async def _of_ended(seen: Seen) -> Reason | None:
    """What its flow tells of a task of which nothing else is left."""
    assert seen.id is not None
    if '.' not in seen.id:
        return None
    try:
        state = await seen.queue.get_task_state(seen.id)
    except TorrelqueError:
        return None
    if not state.flow:
        return None
    if not state.status.isfinal():
        # The state is that of the task which has taken its place.
        words = f'other tasks of flow {state.flow} have taken its place, and it ends with the last of them'
        command = remedies.command(seen.queue, 'show', state.flow)
        return Reason('waiting', words, error=state.error, command=command)
    words = f'it is {state.status.name.lower()}, and flow {state.flow} keeps that for a while'
    return Reason('finished', words, error=state.error)


async def _of_no_task(seen: Seen, unknown: Reason) -> Reason:
    """What is said of an id that no task has: it may be the name of a schedule."""
    assert seen.id is not None
    try:
        view = await scheduled.read_schedule(seen.queue, seen.id, 0)
    except TorrelqueLookupError:
        return unknown
    state = '' if view.state == 'on' else f', which is {view.state}'
    command = remedies.command(seen.queue, 'schedules', view.name)
    return replace(unknown, text=f'the queue knows no such task, but a schedule of this name{state}', command=command)


async def _of_idle_group(seen: Seen) -> list[Reason]:
    """Why a group does not move of which nothing is pending."""
    group, later = seen.group, int(number_of(seen.raw['later']) or 0)
    assert group is not None
    found = []
    if group.slots:
        slots = f'{group.slots} {"is" if group.slots == 1 else "are"}'
        words = f'none of its tasks is pending: {slots} worked on, or delayed for a retry'
        found.append(Reason('working', words, count=group.slots, holders=await find_holders(seen)))
    if later:
        words = f'none of its tasks is pending: {later} {"waits" if later == 1 else "wait"} for a first time'
        found.append(Reason('delayed', words, count=later))
    return found or [Reason('unknown', 'the group has no tasks')]


# The queue


async def _of_queue(seen: Seen, crew: Crew) -> list[Reason]:
    pending = pending_of(seen)
    movable = pending > 0 and _may_move(seen)
    found = await obstacles.of_pauses(seen, first=movable)
    if not movable:
        timetable = await scheduled.read_timetable(seen.queue) if seen.raw['schedules'] else None
        found += await stalls.of_spread(seen.queue) if seen.count('spread') else []
        found += _of_unswept(seen) + ([] if timetable is None else _of_schedules(seen, timetable))
        found += _of_groups(seen) if pending else _of_nothing_pending(seen, timetable)
    if movable or any(reason.code == 'overdue' for reason in found):
        found += await hands.of_workers(seen, crew)
    return found


def _may_move(seen: Seen) -> bool:
    """Whether a claim would give something, if nothing is paused as a whole."""
    if seen.count('plain') > seen.count('holes') or seen.count('ranked'):
        return True
    if seen.raw['simple']:
        return seen.count('turns') > 0
    return seen.count('going') > 0 or seen.count('tried') < seen.count('turns')


def _of_unswept(seen: Seen) -> list[Reason]:
    first = [seen.told(name) for name in ('first_working', 'first_delayed', 'first_rated')]
    since = min((instant for instant in first if instant is not None), default=None)
    if since is None or since > seen.now:
        return []
    words = f'something is due, {reasons.WAITING}'
    return [Reason('overdue', words, since=since, command=remedies.command(seen.queue, 'sweep'))]


def _of_schedules(seen: Seen, timetable: scheduled.Timetable) -> list[Reason]:
    """Schedules that ought to have fired, or cannot."""
    found, since = [], timetable.since
    if timetable.late and since is not None:
        words = f'{_named(timetable.late, timetable.late_names)} late, by up to {timetable.now - since:.0f} s, and '
        words += 'nobody fires ' + ('it' if timetable.late == 1 else 'them') + ': no consumer waits, and nobody sweeps'
        command = remedies.command(seen.queue, 'sweep')
        found.append(Reason('overdue', words, since=since, count=timetable.late, command=command))
    if timetable.dry:
        words = f'{_named(timetable.dry, timetable.dry_names)} dry, and nothing fires any more: {scheduled.WETTING}'
        command = remedies.command(seen.queue, 'schedules')
        found.append(Reason('dry', words, count=timetable.dry, command=command))
    return found


def _named(count: int, names: Sequence[str]) -> str:
    """Some schedules, and the verb."""
    shown = ', '.join(names[:5])
    if count == 1:
        return f'the schedule {shown} is'
    return f'the schedules {shown} are' if count == len(names[:5]) else f'{count:,} schedules, such as {shown}, are'


def _is_due(seen: Seen, name: str) -> bool:
    instant = seen.told(name)
    return instant is not None and instant <= seen.now


_NONE = {
    'working': ('task is worked on', 'tasks are worked on'),
    'delayed': ('task waits for a time', 'tasks wait for a time'),
    'waiting': ('task, or flow, waits for others', 'tasks and flows wait for others'),
    'dead': ('task is dead', 'tasks are dead'),
}
"""Where the tasks are of a queue of which none is pending, one and several."""


def of_none(code: str, count: int) -> str:
    """What is told where nothing is pending; of shards, by the sum of their tasks."""
    one, several = _NONE[code]
    return f'nothing is pending: {count:,} {one if count == 1 else several}'


def is_of_none(reason: Reason) -> bool:
    """Whether it tells no more than how many tasks there are of which none is pending."""
    return reason.code in _NONE and reason.count is not None and reason.text == of_none(reason.code, reason.count)


def _of_nothing_pending(seen: Seen, timetable: scheduled.Timetable | None) -> list[Reason]:
    found = []
    if (count := seen.count('working')) and not _is_due(seen, 'first_working'):
        found.append(Reason('working', of_none('working', count), until=seen.told('first_working'), count=count))
    if (count := seen.count('delayed')) and not _is_due(seen, 'first_delayed'):
        found.append(Reason('delayed', of_none('delayed', count), until=seen.told('first_delayed'), count=count))
    if count := seen.count('waiting'):
        command = remedies.command(seen.queue, 'tasks', 'waiting')
        found.append(Reason('waiting', of_none('waiting', count), count=count, command=command))
    if all(reason.code == 'waiting' for reason in found) and (count := seen.count('dead')):
        found.append(Reason('dead', of_none('dead', count), count=count, command=None))
    if not found and timetable is not None and timetable.next is not None:
        words = f'nothing is pending: the schedule {timetable.next_name} is the next that fires'
        found.append(Reason('delayed', words, until=timetable.next))
    idle = timetable is None or not (timetable.late or timetable.dry)
    return found or ([] if seen.count('tasks') or not idle else [Reason('unknown', 'the queue has no tasks')])


_WHY = {
    'shut': ('group-paused', 'is paused', 'are paused'),
    'full': ('at-limit', 'is at its limit', 'are at their limits'),
    'dry': ('no-token', 'has used up its rate', 'have used up their rates'),
    'free': ('overdue', 'may go on, and nobody has seen to it', 'may go on, and nobody has seen to them'),
}
"""What a group that does not go on is told to be by the script, and what it is in words, one and several."""


def _of_groups(seen: Seen) -> list[Reason]:
    """Why no group goes on, by some groups: those that have tasks which are pending."""
    some = [(text_of(group), why.decode(), instant_of(at)) for group, _, _, why, at in seen.raw['some']]
    found = []
    for why, (code, one, several) in _WHY.items():
        names = [group for group, because, _ in some if because == why]
        if not names:
            continue
        shown = ', '.join(names[:5]) + (', and others' if len(names) > 5 else '')
        which = 'a group' if len(names) == 1 else f'{len(names)} groups'
        words = f'only groups have tasks that are pending, and {which} {one if len(names) == 1 else several}: {shown}'
        until = min((at for _, because, at in some if because == why and at is not None), default=None)
        found.append(Reason(code, words, until=until, count=len(names), command=_remedy(seen, why, names)))
    return found or [_of_nowhere(seen)]


def _of_nowhere(seen: Seen) -> Reason:
    """Where the pending tasks are, of which none was met."""
    count = pending_of(seen)
    tasks = f'{count:,} {"task is" if count == 1 else "tasks are"} pending'
    if seen.raw['all_groups']:
        return reasons.broken(seen, f'{tasks} by the counts, and none is in a place that claims take from')
    words = f'{tasks} by the counts, and none of the {seen.count("looked_at"):,} groups that were looked at has one'
    words += ': so they are of others, which are at their limits, it seems'
    return Reason('at-limit', words, count=count, command=remedies.command(seen.queue, 'groups'))


def _remedy(seen: Seen, why: str, names: list[str]) -> str | None:
    if why == 'free':
        return remedies.command(seen.queue, 'sweep')
    if why == 'shut' and len(names) == 1:
        return remedies.command(seen.queue, 'resume', group=names[0])
    return remedies.command(seen.queue, 'why', group=names[0])
