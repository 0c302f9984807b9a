"""``torrelque why``: why a task, a group or a queue does not move."""

import argparse
from collections.abc import Iterator, Sequence

from torrelque.operate import GroupView, Holder, Reason, TaskView

from .failure import Exit, Failure
from .flowtree import progress_words
from .listing import age, find_tasks, since_of, slots_of
from .naming import not_known
from .out import Out, ago, number, shortened
from .session import Session, answer, is_read_only
from .timetable import tell_schedules

HOLDERS = 10
"""Tasks in the way that are shown at the most, and names of workers; how many there are more is told."""

LABELS = {
    'at-limit': 'To let more run', 'queue-paused': 'To let it go on', 'group-paused': 'To let it go on',
    'dead': 'To bring it back', 'overdue': 'To move it now', 'broken': 'To look closer',
    'orphaned': 'To bring it back now', 'stalled': 'To have it go on', 'dry': 'To see more',
    'no-token': 'To let more begin',
}  # fmt: skip
"""What a command is for, by the reason that it is told with."""

MANY = 10_000
"""Groups among which one is looked for that may be meant."""

OF_FLOWS = ('waiting', 'stalled', 'cancelled')
"""Reasons whose holders are tasks of the same flow."""

LOOKING = tuple(
    f'torrelque {name}'
    for name in ('why', 'show', 'workers', 'groups', 'schedules', 'errors', 'tasks', 'doctor')
)
"""Beginnings of commands that change nothing."""


def why(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    if found.id is not None and found.group is not None:
        raise Failure('why is about a task or about a group, not both')
    return answer(found, _why, several=found.group is None)


async def _why(session: Session) -> int:
    found = session.found
    if found.id is not None:
        return await _why_task(session)
    if found.group is not None:
        return await _why_group(session)
    overviews = [] if session.out.as_json else await session.operator.overviews()
    for place, queue in enumerate(session.queues):
        reasons = await session.operator.explain(queue=queue.name)
        if session.out.as_json:
            _print(session.out, reasons)
            continue
        overview = overviews[place]
        pending, working = number(overview.pending), number(overview.working)
        session.out.sentence(f'queue {queue.name!r}: {pending} pending, {working} at work')
        write(session, reasons, overview.server_time, queue.name)
    return Exit.WELL


async def _why_group(session: Session) -> int:
    """Why a group does not move, in each queue that has it."""
    out, name = session.out, session.found.group
    seen = False
    for queue in session.queues:
        reasons = await session.operator.explain(group=name, queue=queue.name)
        view = await session.operator.group(name, queue=queue.name)
        if not is_known(view, reasons):
            names = [one.name for one in await session.operator.groups(by='name', most=MANY, queue=queue.name)]
            out.tell(f'queue {queue.name!r}: {not_known("group", name, names)}')
        else:
            seen = True
            if not out.as_json:
                overviews = await session.operator.overviews()
                now = next(one.server_time for one in overviews if one.queue == queue.name)
                waiting, slots = number(view.waiting), slots_of(view)
                used = 'slot in use' if slots == '1' else 'slots in use'
                out.sentence(f'group {name!r} in queue {queue.name!r}: {waiting} pending, {slots} {used}')
                write(session, reasons, now, queue.name)
        if out.as_json:
            _print(out, reasons)
    return Exit.WELL if seen else Exit.ILL


def is_known(view: GroupView, reasons: Sequence[Reason]) -> bool:
    """Whether a queue has anything of a group: tasks, slots in use, or what was set for it."""
    there = view.waiting or view.slots or view.own_limit or view.own_rate or view.paused
    return bool(there) or any(reason.code not in ('unknown', 'broken') for reason in reasons)


async def _why_task(session: Session) -> int:
    from torrelque import TorrelqueLookupError

    out, task_id = session.out, session.found.id
    missing = TorrelqueLookupError('')
    try:
        tasks = await find_tasks(session, task_id, 1)
    except TorrelqueLookupError as exc:
        missing, tasks = exc, []
    for place, task in enumerate(tasks):
        reasons = await session.operator.explain(task_id, queue=task.queue)
        if out.as_json:
            _print(out, reasons)
            continue
        if place:
            out.line()
        out.sentence(heading(task))
        write(session, reasons, task.server_time, task.queue)
    if tasks:
        return Exit.WELL
    views = await tell_schedules(session, task_id)
    if views and not out.as_json:
        return Exit.ILL
    out.tell(missing.args[0])
    reasons = await session.operator.explain(task_id, queue=views[0].queue if views else None)
    if out.as_json:
        _print(out, reasons)
    elif reasons:
        write(session, reasons, 0.0, None)
    return Exit.ILL


def _print(out: Out, reasons: Sequence[Reason]) -> None:
    for reason in reasons:
        out.json(reason)


def heading(task: TaskView) -> str:
    """What it is, and where."""
    status = 'broken' if task.status is None else task.status.name.lower()
    since = since_of(task)
    since_words = '' if since is None else f' for {age(since, task.server_time)}'
    of = f', of group {task.group!r}' if task.group else ''
    far = '' if task.total is None else f', {progress_words(task.total, task.left, task.dead, task.failed)}'
    return f'{status}{since_words}{of} in queue {task.queue!r}{far}'


def write(session: Session, reasons: Sequence[Reason], now: float, queue: str | None, indent: str = '') -> None:
    """Reasons with their numbers, those in the way below them, and last the commands that change it."""
    out = session.out
    if not reasons:
        out.line(f'{indent}  nothing is in its way: a claim made now would have it handed out')
        return
    if not indent:
        out.line()
    for place, reason in enumerate(reasons, 1):
        out.sentence(shortened(reason.text) + _until(out, reason, now), f'{indent}  {place}  ')
        for line in lines_of(out, reason, now):
            out.sentence(line, f'{indent}       ')
    told = set()
    for reason in reasons:
        refused = is_read_only(session.found) and not (reason.command or '').startswith(LOOKING)
        if reason.command is not None and reason.command not in told and not refused:
            told.add(reason.command)
            out.sentence(label_of(reason), f'{indent}  ', session.command(reason.command, queue))


def label_of(reason: Reason) -> str:
    """What the command of a reason is for."""
    if reason.command is not None and reason.command.startswith(LOOKING):
        return 'To see more'
    if reason.command is not None and reason.command.startswith('torrelque requeue '):
        return LABELS['orphaned']
    return LABELS.get(reason.code, 'To change it')


def _until(out: Out, reason: Reason, now: float) -> str:
    """When it is over by itself, where the sentence has no such instant; without the server's time, the instant."""
    if reason.until is None or not now:
        return ''
    left = reason.until - now
    return f' (until {out.clock(reason.until, now)}, in {ago(left)})' if left > 0 else ''


def lines_of(out: Out, reason: Reason, now: float) -> Iterator[str]:
    """Whoever is in the way, a line for each."""
    for holder in reason.holders[:HOLDERS]:
        yield holder_line(out, holder, now, reason.code in OF_FLOWS)
    if len(reason.holders) > HOLDERS:
        yield f'and {number(len(reason.holders) - HOLDERS)} more'
    if reason.workers and not reason.holders:
        more = len(reason.workers) - HOLDERS
        rest = f' and {number(more)} more' if more > 0 else ''
        yield f'worker{"s" if len(reason.workers) > 1 else ""} {", ".join(reason.workers[:HOLDERS])}{rest}'
    if reason.error and not any(holder.error == reason.error for holder in reason.holders):
        yield shortened(last_line(reason.error), 400)


def last_line(error: str) -> str:
    """The line of an error that says what it is, which is the last of a traceback."""
    lines = [line for line in error.splitlines() if line.strip()] or ['']
    return lines[-1].strip()


def holder_line(out: Out, holder: Holder, now: float, of_flow: bool = False) -> str:
    """One that is in the way: which, what it does, and for how long.

    :param of_flow: whether it is waited for, and not for a slot that it has.
    """
    words = [holder.id]
    if holder.function:
        words.append(holder.function)
    if holder.orphaned:
        who = f'worker {holder.worker}, silent' if holder.worker else 'no worker tells of it'
        parts = [] if holder.renewed is None or not now else [f'was renewed {age(holder.renewed, now)} ago']
        parts += [] if holder.until is None or not now else [f'ends in {ago(max(0.0, holder.until - now))}']
        words.append('; its lease '.join(filter(None, (who, ', and '.join(parts)))))
    elif of_flow:
        words.append(_standing(out, holder, now))
    elif holder.doing == 'working':
        parts = [f'for {age(holder.since, now)}' if holder.since is not None else 'at work']
        if holder.renewed is not None:
            parts.append(f'renewed {age(holder.renewed, now)} ago')
        words.append((f'worker {holder.worker}  ' if holder.worker else '') + ', '.join(parts))
    elif holder.doing == 'delayed':
        error = f' ({shortened(last_line(holder.error), 200)})' if holder.error else ''
        until = '' if holder.until is None else f' until {out.clock(holder.until, now)}'
        words.append(f'delayed for a retry{until}{error}; it keeps its slot')
    elif holder.doing == 'next':
        words.append('its turn is next')
    else:
        words.append('has a slot, and nothing more is known of it')
    return '  '.join(words)


def _standing(out: Out, holder: Holder, now: float) -> str:
    """How a task of a flow stands, for which others wait."""
    if holder.doing == 'unknown':
        return 'its state was lost'
    since = '' if holder.since is None or not now else f' for {age(holder.since, now)}'
    until = ''
    if holder.doing == 'delayed' and holder.until is not None and now:
        until = f', due in {ago(max(0.0, holder.until - now))}'
    error = f'  {shortened(last_line(holder.error), 200)}' if holder.error else ''
    return f'{holder.doing}{since}{until}{error}'
