"""The verbs of bulk acts: each for many tasks at once, with what became of those that were not changed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from torrelque import TorrelqueError, TorrelqueQueue, TorrelqueTaskId, TorrelqueTaskStatus, TorrelqueValueError

from . import pages
from .hearts import Watch
from .selection import STATUSES, Selection, check_selection
from .values import TaskView

PART = 50
"""Tasks of one call of `redrive`, which goes to the server as one script."""
FINAL = (TorrelqueTaskStatus.COMPLETED, TorrelqueTaskStatus.REJECTED, TorrelqueTaskStatus.CANCELLED)


class Done(NamedTuple):
    """What came of an act on some tasks."""

    changed: int
    """Tasks that were."""
    refused: Counter[str]
    """Others, by why they were not."""
    failure: BaseException | None
    """Why nobody knows what became of the others, where that is so."""


class Terms(NamedTuple):
    """What is said of all tasks of an act."""

    error: str | None = None
    """Why tasks are buried."""
    only: Sequence[TorrelqueTaskStatus] | None = None
    """Statuses that a task is to have that is cancelled; None is any."""


class Verb(NamedTuple):
    """An act."""

    places: Sequence[str]
    """Where tasks are, unless the selection says so."""
    statuses: Sequence[str]
    """What a selection may say."""
    call: Callable[[TorrelqueQueue, Sequence[TaskView], Terms], Awaitable[Done]]


def only_of(name: str, status: str | None, by_ids: bool) -> Sequence[TorrelqueTaskStatus] | None:
    """The statuses that a task may have when it is cancelled: that of the selection, or, unless ids say which tasks are
    meant, those of the places that were looked at.  The other acts are for one status only."""
    if name != 'cancel' or status is None and by_ids:
        return None
    named = {'ready': 'pending', 'orphaned': 'working'}
    words = VERBS[name].places if status is None else [named.get(status, status)]
    return [TorrelqueTaskStatus[word.upper()] for word in words]


def judge(name: str, task: TaskView) -> str | None:
    """Why an act is nothing for a task, as it was looked at; None where it may be."""
    try:
        task.id.encode()
    except UnicodeEncodeError:
        # The verbs take texts.  Whoever has made this id must do something about it by hand.
        return 'no_text'
    if task.status is None:
        if task.broken == 'the state is no hash':
            return None if name == 'redrive' and task.place == 'dead' else 'broken'
        return None if name == 'redrive' and task.place == 'dead' else 'unknown'
    if name == 'redrive':
        # Of a flow, those of its tasks are meant that are dead.
        flow = task.status == TorrelqueTaskStatus.WAITING and task.total is not None
        return None if task.status == TorrelqueTaskStatus.DEAD or flow else 'not_dead'
    if name == 'cancel':
        # A flow that was cancelled has its cleanups left, which a second call takes back.
        return 'final' if task.status in FINAL and task.place != 'waiting' else None
    if task.status == TorrelqueTaskStatus.CANCELLED:
        return 'cancelled'
    return None if task.status == TorrelqueTaskStatus.WORKING else 'not_working'


async def _redrive(queue: TorrelqueQueue, tasks: Sequence[TaskView], terms: Terms) -> Done:
    """Bring tasks back.  The queue tells how many of a call it has brought back, but not which; so where some are
    missing, their states tell why, and those come first that cannot have been brought back."""
    ids = [task.id for task in tasks]
    parts = [ids[start : start + PART] for start in range(0, len(ids), PART)]
    replies = await asyncio.gather(*(queue.redrive(*part) for part in parts), return_exceptions=True)
    count, refused, failure = 0, Counter[str](), None
    for part, reply in zip(parts, replies, strict=True):
        if isinstance(reply, BaseException):
            failure = failure or reply
            continue
        count += reply
        if reply < len(part):
            reasons = Counter(await _reasons(queue, 'redrive', part))
            left = len(part) - reply
            for reason in ('broken', 'unknown', 'not_dead'):
                number = left if reason == 'not_dead' else min(left, reasons[reason])
                left -= number
                refused[reason] += number
    return Done(count, +refused, failure)


async def _reasons(queue: TorrelqueQueue, name: str, ids: Sequence[str]) -> list[str]:
    """Why tasks were refused, by what is known of them now; where that cannot be read, it is not known."""
    try:
        tasks = await pages.read_tasks(queue, ids, 0, function=False, watch=Watch(queue, silent=True))
    except TorrelqueError:
        # What was done is to be told all the same.  Where the server is gone, the next call says so.
        return [_OTHERWISE[name]] * len(ids)
    return [judge(name, task) or _OTHERWISE[name] for task in tasks]


def _one_by_one(
    name: str, call: Callable[[TorrelqueQueue, str, Terms], Awaitable[bool]]
) -> Callable[[TorrelqueQueue, Sequence[TaskView], Terms], Awaitable[Done]]:
    """A verb of one task, for many: their calls share round trips."""

    async def do(queue: TorrelqueQueue, tasks: Sequence[TaskView], terms: Terms) -> Done:
        replies: list[Any] = await asyncio.gather(
            *(call(queue, _held(task), terms) for task in tasks), return_exceptions=True
        )
        refused, failure = Counter[str](), None
        others: list[str] = []
        for task, reply in zip(tasks, replies, strict=True):
            if reply is False:
                others.append(task.id)
            elif type(reply) is TorrelqueError:
                # Nothing but a state that is no hash is told so.
                refused['broken'] += 1
            elif isinstance(reply, BaseException):
                failure = failure or reply
        if others:
            refused.update(await _reasons(queue, name, others))
        return Done(sum(reply is True for reply in replies), refused, failure)

    return do


def _held(task: TaskView) -> str:
    """The id of a task with the right to settle that its holder had when it was looked at.  So what was given back, or
    handed out anew, is not taken from whoever has it now."""
    return TorrelqueTaskId(task.id, task.attempt, task.token, task.group) if task.token else task.id


_OTHERWISE = {'redrive': 'not_dead', 'cancel': 'changed', 'requeue': 'lease_lost', 'bury': 'lease_lost'}
"""Why a task was refused, where its state is one that the act is for: it has changed once more since, or is not what
was looked at."""

VERBS = {
    'redrive': Verb(('dead',), ('dead',), _redrive),
    'cancel': Verb(
        ('pending', 'delayed'),
        STATUSES,
        _one_by_one('cancel', lambda queue, task_id, terms: queue.cancel(task_id, only=terms.only)),
    ),
    'requeue': Verb(
        ('working',),
        ('working', 'orphaned'),
        _one_by_one('requeue', lambda queue, task_id, _: queue.requeue(task_id)),
    ),
    'bury': Verb(
        ('working',),
        ('working', 'orphaned'),
        _one_by_one('bury', lambda queue, task_id, terms: queue.bury(task_id, error=terms.error)),
    ),
}
"""The acts, by name."""


def check_places(name: str, selection: Selection) -> Sequence[str]:
    """Where the tasks of an act are.

    :raises TorrelqueError: there is no such act, or the selection is nothing for it.
    """
    if name not in VERBS:
        raise TorrelqueValueError(f'there is no act {name!r}: {", ".join(VERBS)}')
    verb = VERBS[name]
    status = check_selection(selection).status
    if status is None:
        return verb.places
    if status not in verb.statuses:
        raise TorrelqueValueError(f'{name} is for tasks that are {" or ".join(verb.statuses)}, not for {status} ones')
    return (status,)
