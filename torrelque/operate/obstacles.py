"""Reasons that lie in what stands before a pending task: pauses, limits, rates, and tasks that go first."""

import math
import re
from collections.abc import Sequence

from . import acts, records, remedies
from .ahead import Ahead, ahead_of, may_go_on
from .holding import find_holders
from .looking import GroupSeen, Seen
from .reading import number_of
from .reasons import broken
from .selection import escape_name
from .values import Act, Holder, Reason

RECENT = 600
"""s by whose records it is told how long others take."""


async def of_pauses(seen: Seen, first: bool) -> list[Reason]:
    """The pauses of the queue and of the group.

    :param first: whether the task is the next that the pause lets through, should it let one through now.
    """
    group, reasons = seen.group, list[Reason]()
    stopped = bool(seen.raw['stopped'])
    record = await acts.read_acts(seen.queue) if seen.raw['acts'] and (stopped or group and group.halted) else ()
    probe, every = seen.told('probe'), number_of(seen.raw['probe_every'])
    if stopped and not (first and probe is not None and probe <= seen.now):
        command = remedies.command(seen.queue, 'resume')
        act = _last(record, 'the queue', every)
        reasons.append(_pause('queue-paused', 'queue', act, probe, every, seen.now, command))
    if group is not None and group.halted and (group.shut or group.index or not first):
        command = remedies.command(seen.queue, 'resume', group=group.name)
        act = _last(record, f'group {group.name}', group.every)
        reasons.append(_pause('group-paused', 'group', act, group.opens, group.every, seen.now, command))
    return reasons


def _last(record: Sequence[Act], what: str, every: float | None) -> Act | None:
    """The act that has paused it, where that is on record.

    Code pauses and resumes too, and circuit breakers do, and put nothing on record.  So an act counts only that has
    told the pause to let tasks through as far apart (ms) as it does.
    """
    ours = re.compile(re.escape(what) + r'(?:, probe ([0-9.e+-]{1,30})s)?', re.S)
    for act in record:
        match = ours.fullmatch(act.what) if act.act in ('pause', 'resume') else None
        if match is None:
            continue
        if act.act == 'resume':
            break
        apart = number_of(match[1])
        alike = apart and every and math.isclose(1000 * apart, every, rel_tol=1e-5, abs_tol=1)
        if alike or apart is every is None:
            return act
    return None


def _pause(
    code: str, what: str, act: Act | None, probe: float | None, every: float | None, now: float, command: str | None
) -> Reason:
    text = f'the {what} is paused' + (f', by {act.who} as the record has it' if act else '')
    if probe is not None and every is not None:
        when = 'at once' if probe <= now else 'when its time comes'
        text += f'; it lets one task through every {every / 1000:g} s, the next {when}'
    return Reason(code, text, since=act.time if act else None, until=probe, command=command)


async def of_group(seen: Seen) -> list[Reason]:
    """Why the group does not let the task go on: its limit, its rate, or that nobody has seen to it."""
    group = seen.group
    assert group is not None
    own_turn = group.head is not None and not group.index
    full = group.slots > group.limit if own_turn else group.slots >= group.limit
    if full and may_go_on(seen) and group.slots == 1:
        # Nothing of it is worked on: there is only the head, which may go.
        full = False
    reasons = []
    if full:
        holders = await find_holders(seen)
        ended = [one.until for one in holders if one.until is not None and one.until <= seen.now]
        if ended:
            reasons.append(_unswept(seen, 'a task that holds a slot of the group has had its time', min(ended)))
        reasons.append(_at_limit(seen, group, holders, group.slots if own_turn else group.slots + 1))
    if group.dry and group.rate is not None:
        reasons.append(_no_token(seen, group, group.rate))
    if group.head is None and not full and not group.dry and not group.shut:
        reasons.append(_unseen(seen, group))
    return reasons


def _unswept(seen: Seen, text: str, since: float) -> Reason:
    text += ', and nobody has seen to it: no consumer waits, and nobody sweeps'
    return Reason('overdue', text, since=since, command=remedies.command(seen.queue, 'sweep'))


def _unseen(seen: Seen, group: GroupSeen) -> Reason:
    if group.rated is not None and group.rated <= seen.now:
        return _unswept(seen, 'the group may go on', group.rated)
    if group.halted:
        return broken(seen, 'the group may let a task through, and nothing is there that sees to it')
    command = remedies.command(seen.queue, 'resume', group=group.name)
    text = 'the group may go on, and nobody is told to see to it; to resume it, though it is not paused, does'
    return Reason('overdue' if group.rated is not None else 'broken', text, until=group.rated, command=command)


def _at_limit(seen: Seen, group: GroupSeen, holders: tuple[Holder, ...], wanted: int) -> Reason:
    are = 'is' if group.limit == 1 else 'are'
    if group.slots > group.limit:
        text = f'the group is above its limit, which was lowered: {group.slots} slots are in use of {group.limit:g}'
    else:
        text = f'the group is at its limit: {group.slots} of {group.limit:g} slots {are} in use'
    retries = sum(one.doing == 'delayed' for one in holders)
    if retries:
        text += ', ' if retries == group.slots else f', {retries} of them '
        text += 'by a task that is' if retries == 1 else 'by tasks that are'
        text += ' delayed for a retry and ' + ('keeps its slot' if retries == 1 else 'keep their slots')
    if any(one.doing == 'next' for one in holders):
        text += ', one of them by the task whose turn is next'
    if not holders:
        text += '; by which tasks was not found'
    elif len(holders) < group.slots:
        text += f'; {len(holders)} of the tasks are named'
    orphans = [one for one in holders if one.orphaned]
    if orphans:
        text += f'; {len(orphans)} of the tasks {"is" if len(orphans) == 1 else "are"} with nobody, it seems'
    workers = tuple(dict.fromkeys(one.worker for one in holders if one.worker is not None))
    until = [one.until for one in holders if one.until is not None and one.doing == 'delayed']
    return Reason(
        'at-limit', text, until=min(until, default=None), count=group.slots, limit=group.limit, holders=holders,
        workers=workers, command=_remedy(seen, group, orphans, wanted),
    )  # fmt: skip


def _remedy(seen: Seen, group: GroupSeen, orphans: Sequence[Holder], wanted: int) -> str | None:
    """Bring back what nobody works on; else raise the limit."""
    if not orphans:
        return remedies.of_limit(seen.queue, group.name, wanted)
    # As a filter its name may be a pattern, which others fit as well.
    return remedies.command(seen.queue, 'requeue', None, '--status', 'orphaned', group=escape_name(group.name))


def _no_token(seen: Seen, group: GroupSeen, rate: tuple[float, float]) -> Reason:
    starts, period = rate
    text = f'the group has used up its rate, {starts:g} in {period:g} s: its next task may begin when that allows'
    command = remedies.of_rate(seen.queue, group.name, math.ceil(2 * starts), period)
    return Reason('no-token', text, until=group.token_at, limit=starts, command=command)


async def of_others(seen: Seen) -> list[Reason]:
    """The tasks that go first."""
    ahead = ahead_of(seen)
    if not ahead.most or (seen.group is not None and not may_go_on(seen) and not ahead.own):
        return []
    text = _in_words(ahead, blocked=seen.group is not None and not may_go_on(seen)) + await _how_long(seen, ahead)
    return [Reason('behind', text, count=ahead.least, most=ahead.most)]


def _in_words(ahead: Ahead, blocked: bool) -> str:
    least, most = ahead.least, ahead.most
    if blocked or ahead.own == least == most:
        return f'{ahead.own:,} {_tasks(ahead.own)} of the group {_go(ahead.own)} first'
    if ahead.urgent == least == most:
        return f'{least:,} {_tasks(least)} with a priority {_go(least)} first'
    if least == most:
        text = f'{least:,} {_tasks(least)} {_go(least)} first'
    elif not least:
        text = f'perhaps other tasks go first, {most:,} at the most'
    elif not ahead.known:
        text = f'more than {least:,} tasks go first'
    else:
        text = f'from {least:,} to {most:,} tasks go first'
    parts = [f'{ahead.urgent:,} with a priority'] if ahead.urgent else []
    parts += [f'{ahead.own:,} of its group'] if ahead.own else []
    return text + (f', {" and ".join(parts)} among them' if parts else '')


def _tasks(count: int) -> str:
    return 'task' if count == 1 else 'tasks'


def _go(count: int) -> str:
    return 'goes' if count == 1 else 'go'


async def _how_long(seen: Seen, ahead: Ahead) -> str:
    """How long those may take, by what workers have counted in the last minutes; '' where nothing tells."""
    if not seen.raw['totals'] or ahead.least != ahead.most:
        return ''
    found = await records.read_history(seen.queue, RECENT)
    done = sum(record.totals.succeeded + record.totals.dead for record in found)
    span = sum(record.length for record in found)
    if not done or not span:
        return ''
    return f'; at the rate of the last minutes that takes about {_duration(ahead.least * span / done)}'


def _duration(seconds: float) -> str:
    for size, unit in ((86400, 'd'), (3600, 'h'), (60, 'min')):
        if seconds >= 2 * size:
            return f'{seconds / size:.0f} {unit}'
    return f'{max(1, seconds):.0f} s'
