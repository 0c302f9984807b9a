"""Reasons that lie in a task itself: its state, its place, its time."""

import math
from typing import Any

from torrelque import TorrelqueTaskStatus as Status

from . import remedies
from .ahead import may_go_on
from .elsewhere import is_elsewhere, of_away
from .hearts import GRACE, Crew
from .looking import LEFT, RIGHT, Seen
from .values import Holder, Reason

WAITING = 'and nobody has brought it back: no consumer waits, and nobody sweeps'
UNSEEN = 'consumers without a heartbeat are not seen'


def attempts(count: int) -> str:
    """So many attempts, in words."""
    return f'{count} attempt' + ('' if count == 1 else 's')


def broken(seen: Seen, text: str) -> Reason:
    """Something was lost or spoilt."""
    return Reason('broken', text, command=remedies.command(seen.queue, 'doctor'))


def of_keys(seen: Seen) -> list[Reason]:
    """Keys of the queue that hold something else."""
    if not seen.broken:
        return []
    named = ', '.join(sorted(seen.broken))
    return [broken(seen, f'keys of the queue hold something else than the queue wrote, so claims fail: {named}')]


def of_state(seen: Seen, crew: Crew) -> list[Reason]:
    """Why a task does not run that is not pending, or of which something is lost; none where it is pending, and in its
    place."""
    status = seen.status
    if status is None:
        return _of_no_status(seen)
    lease_end = seen.told('lease_end')
    if is_elsewhere(seen):
        return [of_away(seen)]
    if status.isfinal():
        return [_cancelled(seen, crew, lease_end)] if lease_end is not None else [_finished(seen, status)]
    if not seen.raw['stored']:
        return [broken(seen, 'its payload is lost')]
    if status == Status.WORKING and lease_end is not None:
        return [_working(seen, crew, lease_end)]
    if status == Status.DELAYED and seen.told('due') is not None:
        return [_delayed(seen)]
    if status == Status.DEAD and seen.told('died') is not None:
        text = f'it is dead after {attempts(seen.attempts)}'
        command = remedies.command(seen.queue, 'redrive', seen.id)
        return [Reason('dead', text, since=seen.told('died'), count=seen.attempts, error=seen.error, command=command)]
    if status == Status.PENDING and _is_no_number(seen.state.get('timeout')):
        return [broken(seen, 'its state cannot be read: the length of its leases is no number, so claims fail')]
    if status == Status.PENDING and not _is_lost(seen):
        return []
    if status == Status.PENDING and seen.raw.get('head_lost') and _is_in_group(seen):
        return [broken(seen, 'the task of the group whose turn is next is lost or spoilt, and stands before it')]
    if status == Status.PENDING and seen.group is not None and _is_in_group(seen):
        return [broken(seen, 'the next task of the group has no turn, so no claim comes to it')]
    return [broken(seen, f'it stands nowhere: it is {status.name.lower()}, and not in the place of such tasks')]


def _of_no_status(seen: Seen) -> list[Reason]:
    if seen.raw.get('spoilt'):
        return [broken(seen, 'its state cannot be read: its key holds something else')]
    if seen.state:
        return [broken(seen, 'its state cannot be read: it has a status that does not exist')]
    if seen.raw['stored'] or any(seen.raw[name] is not None for name in ('lease_end', 'due', 'died')):
        return [broken(seen, 'its state is lost')]
    text = 'the queue knows no such task: it was never enqueued, or is finished and forgotten'
    return [Reason('unknown', text)]


def _finished(seen: Seen, status: Status) -> Reason:
    left = seen.count('left')
    kept = seen.now + left / 1000 if left >= 0 else None
    text = f'it is {status.name.lower()}, and its state is kept for a while'
    return Reason('finished', text, since=seen.instant('release_time'), until=kept, error=seen.error)


def _cancelled(seen: Seen, crew: Crew, lease_end: float) -> Reason:
    if lease_end <= seen.now:
        return _overdue(seen, f'it was cancelled, the lease of its holder has ended, {WAITING}', lease_end)
    holder = _holder(seen, crew, lease_end)
    by = 'somebody' if holder.worker is None else f'worker {holder.worker}'
    text = f'it was cancelled while it was worked on, and {by} holds it still: it is gone when that is over'
    return Reason('cancelled', text, until=lease_end, holders=(holder,), workers=_names(holder))


def _working(seen: Seen, crew: Crew, lease_end: float) -> Reason:
    if lease_end <= seen.now:
        return _overdue(seen, f'it was worked on, its lease has ended, {WAITING}', lease_end)
    holder = _holder(seen, crew, lease_end)
    worker = crew.holder(holder.id, holder.since)
    code, command = 'working', None
    if holder.orphaned:
        code, command = 'orphaned', remedies.command(seen.queue, 'requeue', seen.id)
        if worker is not None and (holder.renewed or 0) <= worker.seen + GRACE:
            text = (
                f'perhaps nobody works on it: worker {worker.name}, which had it in hand, has been silent for '
                f'{max(0.0, seen.now - worker.seen):.0f} s, and has not renewed its lease since; it comes back when '
                'that ends'
            )
        else:
            text = (
                'perhaps nobody works on it: no worker that lives tells of it, and its lease was not renewed for half '
                f'its length; it comes back when that ends ({UNSEEN})'
            )
    elif worker is not None and worker.state == 'lost':
        text = f'it is worked on: its lease is renewed, though worker {worker.name}, which has it in hand, is silent'
    elif worker is not None:
        text = f'it is worked on, by worker {worker.name}'
    else:
        text = f'it is worked on; by whom is not known ({UNSEEN})'
    return Reason(
        code, text, since=holder.since, until=lease_end, count=seen.attempts, holders=(holder,),
        workers=_names(holder), command=command,
    )  # fmt: skip


def _delayed(seen: Seen) -> Reason:
    due = seen.told('due')
    assert due is not None
    if due <= seen.now:
        return _overdue(seen, f'it is due, {WAITING}', due)
    if not seen.attempts:
        return Reason('delayed', 'it was enqueued for later', since=seen.instant('enqueue_time'), until=due)
    failed = 'has failed and ' if seen.error else ''
    text = f'it {failed}waits for its next time, after {attempts(seen.attempts)}'
    if seen.group is not None:
        text += '; it keeps its slot of the group'
    since = seen.instant('last_dequeue_time')
    return Reason('retry', text, since=since, until=due, count=seen.attempts, error=seen.error)


def _overdue(seen: Seen, text: str, since: float) -> Reason:
    return Reason('overdue', text, since=since, command=remedies.command(seen.queue, 'sweep'))


def _holder(seen: Seen, crew: Crew, lease_end: float) -> Holder:
    assert seen.id is not None
    renewed, since = lease_end - seen.lease, seen.instant('last_dequeue_time')
    worker = crew.holder(seen.id, since)
    return Holder(
        seen.id, 'working', crew.function(seen.id), None if worker is None else worker.name, since, renewed, lease_end,
        seen.error, crew.is_orphaned(seen.id, since, renewed, seen.lease, seen.now),
    )  # fmt: skip


def _names(holder: Holder) -> tuple[str, ...]:
    return () if holder.worker is None else (holder.worker,)


def _is_no_number(data: Any) -> bool:
    """Whether the core reads this as what C knows as no number; what it cannot read at all has a default there."""
    try:
        return data is not None and math.isnan(float(data))
    except ValueError:
        return False


def _is_in_group(seen: Seen) -> bool:
    return seen.group is not None and (seen.group.head == seen.id or seen.raw['member'] is not None)


def _is_lost(seen: Seen) -> bool:
    """Whether a pending task is in none of the places that it might be in, as far as was looked."""
    if seen.group is not None:
        met = seen.raw.get('at') is not None or seen.count('turns') > RIGHT + LEFT or seen.raw.get('lost')
        lost_turn = may_go_on(seen) and not met
        return not _is_in_group(seen) or lost_turn or bool(seen.raw.get('head_lost'))
    if seen.state.get('order') is not None:
        return seen.raw['at'] is None
    return bool(seen.raw['hole']) or seen.raw['at'] is None and seen.count('plain') <= RIGHT + LEFT
