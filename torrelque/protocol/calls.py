"""Calls as values: the one builder of each verb, whoever sends it.

A builder checks all that the caller gave, and changes nothing.  What it makes is sent by the asynchronous queue,
together with calls of others, by the synchronous one, alone, or becomes a part of a transaction.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torrelque.error import reason_of
from torrelque.model import TorrelqueSerialiser, TorrelqueTaskId, TorrelqueTaskStatus

from .check import check_count, check_error, check_id, check_ids, check_serialiser, milliseconds, serialise
from .keys import make_keys
from .replies import Outcome, settled
from .transition import (
    BLOCK,
    BULK_BYTES,
    FEW,
    GROUPED,
    Arg,
    Transitions,
    enqueue_options,
    release_keep,
    release_token,
    token_of,
    weight_of,
)

logger = logging.getLogger('torrelque')

BLOCK_MS = str(int(BLOCK * 1000))

Call = tuple[str, list[Arg], str, int]
"""One task's part of a call: the transition, its arguments, the task's id, bytes that it counts as."""


class Plan:
    """What is the same for a queue object however it sends: its transitions, and the builders of its calls."""

    NAMES = (
        *('enqueue', 'claim', 'release', 'requeue', 'touch', 'bury'),
        *('redrive', 'cancel', 'sweep', 'stats', 'state', 'leave'),
        *('limit', 'advance', 'pause', 'resume', 'group', 'tell', 'told'),
    )

    def __init__(self, queue: str, serialiser: TorrelqueSerialiser, max_tasks: int | None) -> None:
        self.serialiser = check_serialiser(serialiser)
        self._limit = '' if max_tasks is None else str(check_count(max_tasks, 'max_tasks'))
        self.name = queue
        self.keys = make_keys(queue)
        self.transitions = Transitions(self.NAMES, self.keys, queue)

    def mark(self) -> str:
        """A name for a call, by which the scripts know it when it is sent twice: 15 characters.

        Nothing is kept for it that the threads of a synchronous queue, or the processes of a fork, would share.
        """
        return os.urandom(8).hex()[:15]

    def head(self, name: str, acknowledged: str = '') -> list[Arg]:
        """The arguments that a call has once, before those of its tasks."""
        if name == 'enqueue':
            return [self._limit, BLOCK_MS]
        if name in ('requeue', 'touch'):
            return [acknowledged, BLOCK_MS]
        if name in ('release', 'bury'):
            return [acknowledged]
        return []

    def words(self, call: Call, resent: bool = False) -> list[Arg | int]:
        """A call with the text of its script, for the pipeline of a caller."""
        name, args, *_ = call
        return self.transitions[name].words([*self.head(name), *args], resent)

    # One task

    def enqueue(
        self,
        task: Any,
        lease: float,
        delay: float | None,
        task_id: str | None,
        max_attempts: int | None,
        group: str | None,
        priority: int,
    ) -> tuple[str, list[Arg], TorrelqueTaskId, int]:
        """A task to store."""
        mark = None
        if task_id is None:
            new_id = TorrelqueTaskId(os.urandom(16).hex())
        else:
            # As a plain str, because a subclass may call itself something else: a member of an enumeration does.
            new_id, mark = TorrelqueTaskId(str.__str__(check_id(task_id))), self.mark()
        options = enqueue_options(lease, delay, max_attempts, mark, group, priority)
        payload = serialise(self.serialiser, task, 'the task')
        size = len(payload) + (0 if group is None else GROUPED)
        return 'enqueue', [new_id, payload, options], new_id, size

    def cancel(self, task_id: str) -> Call:
        """A task to take back."""
        return 'cancel', [check_id(task_id), self.mark()], task_id, GROUPED

    def requeue(
        self, task_id: str, delay: float | None, task_timeout: float | None, error: str | None, forgive: bool
    ) -> Call:
        """A task to give back."""
        args: list[Arg] = [
            check_id(task_id),
            token_of(task_id),
            self.mark(),
            str(0 if delay is None else milliseconds(delay, 'delay')),
            '' if task_timeout is None else str(milliseconds(task_timeout, 'task_timeout')),
            '1' if forgive else '',
            check_error(error),
        ]
        return 'requeue', args, task_id, len(error or '') + weight_of(task_id)

    def release(
        self, task_id: str, result: Any, result_ttl: float | None, status: TorrelqueTaskStatus, default_ttl: float
    ) -> Call:
        """A task to finish."""
        check_id(task_id)
        data = None if result is None else serialise(self.serialiser, result, 'the result')
        args = [task_id, release_token(task_id), *release_keep(status, data, result_ttl, default_ttl)]
        return 'release', args, task_id, (0 if data is None else len(data)) + weight_of(task_id)

    def touch(self, task_id: str, task_timeout: float | None, progress: Any) -> Call:
        """A lease to renew."""
        data = None if progress is None else serialise(self.serialiser, progress, 'the progress')
        args: list[Arg] = [
            check_id(task_id),
            token_of(task_id),
            '' if task_timeout is None else str(milliseconds(task_timeout, 'task_timeout')),
            b'' if data is None else b'=' + data,
        ]
        return 'touch', args, task_id, 0 if data is None else len(data)

    def bury(self, task_id: str, error: str | None, tell_after: float | None) -> Call:
        """A task to take out of the flow."""
        untold = '' if tell_after is None else str(milliseconds(tell_after, 'tell_after'))
        args: list[Arg] = [check_id(task_id), token_of(task_id), self.mark(), check_error(error), untold]
        return 'bury', args, task_id, len(error or '') + weight_of(task_id)

    # Tasks of a claim

    def reject(self, task_id: Arg, token: str, error: BaseException) -> list[Arg]:
        """A claimed task to bury because its payload cannot be read; nobody sees it die, so deaths are told of it."""
        why = f'the payload cannot be read: {type(error).__name__}: {error}'
        logger.warning('queue %r: task %r is dead: %s', self.name, task_id, why)
        return [task_id, token, self.mark(), why.encode('utf-8', 'backslashreplace'), '0']

    def give_back(self, task_ids: Sequence[TorrelqueTaskId]) -> Iterator[list[Arg]]:
        """Claimed tasks to put to the head of the queue, uncounted, the last of them first; in calls."""
        for start in range(0, len(task_ids), FEW):
            args: list[Arg] = []
            for task_id in task_ids[start : start + FEW]:
                args += [task_id, task_id.token, self.mark(), '0', '', '1', '']
            yield args


def options_of_many(
    lease: float,
    delay: float | None,
    max_attempts: int | None,
    group: str | Callable[[Any], str | None] | None,
    priority: int | Callable[[Any], int],
) -> Callable[[Any], str] | str:
    """Options of tasks to enqueue, or a function that makes those of a task."""

    def options_of(task: Any) -> str:
        its_group = group(task) if callable(group) else group
        its_priority = priority(task) if callable(priority) else priority
        return enqueue_options(lease, delay, max_attempts, None, its_group, its_priority)

    return options_of if callable(group) or callable(priority) else options_of(None)


def many_to_release(
    task_ids: Iterable[str], result_ttl: float | None, status: TorrelqueTaskStatus, default_ttl: float
) -> tuple[str, list[str], list[Arg]]:
    """Tasks to finish: the transition, their ids, and what is said of each."""
    return 'release', check_ids(task_ids), release_keep(status, None, result_ttl, default_ttl)


def many_to_touch(task_ids: Iterable[str], task_timeout: float | None) -> tuple[str, list[str], list[Arg]]:
    """Leases to renew: the transition, the ids of their tasks, and what is said of each."""
    ids = check_ids(task_ids)
    return 'touch', ids, ['' if task_timeout is None else str(milliseconds(task_timeout, 'task_timeout')), '']


def claim_args(acknowledged: str, record: str, wanted: int, staying: int, most: int = BULK_BYTES) -> list[Arg]:
    """A claim: of so many tasks, by a consumer that stays waiting when it gets fewer than ``staying``."""
    return [acknowledged, record, str(wanted), str(staying), BLOCK_MS, str(most)]


def told(name: str, task_id: str, outcome: Outcome, queue: str | None = None) -> bool:
    """Whether a call that settles a task did so; that its caller does not hold the task is logged as well."""
    done = settled(outcome, task_id, queue)
    if not done:
        # A task is cancelled because its producer wants it so: no warning.
        level = logging.INFO if outcome == 'cancelled' else logging.WARNING
        logger.log(level, 'queue %r: %s of task %r: its caller does not hold it: %s', queue, name, task_id, outcome)
    return done


def tell_troubles(troubles: Sequence[tuple[str, str]], queue: str) -> None:
    """Log which tasks of a queue a transition found damaged."""
    for task_id, trouble in troubles:
        logger.warning('queue %r: task %r was damaged: %s', queue, task_id, trouble)


def tell_not_returned(queue: str, task_ids: Sequence[str], error: BaseException) -> None:
    """Log that tasks of a claim, for which nobody waits, will come again only when their leases have ended."""
    ids = ', '.join(repr(str(task_id)) for task_id in task_ids[:10]) + (', …' if len(task_ids) > 10 else '')
    what = 'queue %r: nobody waits for task %s, which could not be given back before its lease ends: %s'
    logger.warning(what, queue, ids, reason_of(error))


def tell_not_buried(queue: str, task_id: str, error: BaseException) -> None:
    """Log that a task whose payload cannot be read will come again."""
    what = 'queue %r: task %r, whose payload cannot be read, could not be buried: %s'
    logger.warning(what, queue, task_id, reason_of(error))
