"""Bulk calls: any number of tasks in constant memory, in calls that keep the server responsive."""

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from typing import Any

from .check import serialise
from .error import TorrelqueBulkError, TorrelqueTypeError
from .model import TorrelqueSerialiser, TorrelqueTaskId
from .protocol import BULK, BULK_BYTES, FEW, GROUPED, Arg, outcome_error, read_outcomes, text, token_of, weight_of
from .session import Session

logger = logging.getLogger(__package__)

AWAY = 4
"""Calls of one `release_many` that are on their way at once, at the most."""


class _Enqueuer:
    """Puts tasks into calls.  While one is on its way the next is made, and sent when it has returned: so what is in
    the queue after a failure is a beginning of the iterable, without gaps."""

    def __init__(self, session: Session, serialiser: TorrelqueSerialiser, options: Callable[[Any], str] | str) -> None:
        self.task_ids: list[str] = []
        self._session = session
        self._serialiser = serialiser
        self._options = options
        self._made: list[TorrelqueTaskId] = []
        self._args: list[Arg] = []
        self._size = 0
        self._next: tuple[TorrelqueTaskId, bytes, str, int] | None = None
        self._away: asyncio.Future[Any] | None = None
        self._away_ids: list[TorrelqueTaskId] = []

    def add(self, task: Any) -> bool:
        """Take a task; whether it is time to send."""
        payload = serialise(self._serialiser, task, 'the task')
        options = self._options if isinstance(self._options, str) else self._options(task)
        task_id = TorrelqueTaskId(os.urandom(16).hex())
        size = len(payload) + (GROUPED if '"group"' in options else 0)
        if self._made and self._size + size > BULK_BYTES:
            self._next = task_id, payload, options, size
            return True
        self._take(task_id, payload, options, size)
        return len(self._made) >= BULK or self._size >= BULK_BYTES

    def _take(self, task_id: TorrelqueTaskId, payload: bytes, options: str, size: int) -> None:
        self._args += (task_id, payload, options)
        self._made.append(task_id)
        self._size += size

    async def send(self) -> None:
        """Wait for the call that is on its way, then send what was taken since."""
        await self.settle()
        if self._made:
            self._away_ids, self._made = self._made, []
            args, self._args, self._size = self._args, [], 0
            self._session.check()
            self._away = self._session.call('enqueue', args)
        if self._next is not None:
            one, self._next = self._next, None
            self._take(*one)

    async def finish(self) -> None:
        """Send all that is left, and wait for it."""
        while self._made or self._away is not None:
            await self.send()

    async def settle(self) -> None:
        """Wait for the call that is on its way, and keep the ids of the tasks that it took in."""
        if self._away is None:
            return
        away, self._away = self._away, None
        try:
            outcomes = read_outcomes(await away, len(self._away_ids))
            error = None
            for task_id, outcome in zip(self._away_ids, outcomes, strict=True):
                wrong = outcome_error(outcome, task_id)
                if wrong is None:
                    self.task_ids.append(task_id)
                error = error or wrong
            if error is not None:
                raise error
        except BaseException:
            # What comes after a gap is not sent.
            self._made, self._args, self._next = [], [], None
            raise


async def enqueue_all(
    session: Session,
    serialiser: TorrelqueSerialiser,
    tasks: Iterable[Any] | AsyncIterable[Any],
    options: Callable[[Any], str] | str,
) -> list[TorrelqueTaskId]:
    """Enqueue all tasks; `TorrelqueBulkError` when that fails on the way.  ``options`` may be made of each task."""
    if not isinstance(tasks, AsyncIterable):
        try:
            tasks = iter(tasks)
        except TypeError as exc:
            kind = type(tasks).__name__
            raise TorrelqueTypeError(f'tasks must be an iterable or an async iterable, not {kind}') from exc
    enqueuer = _Enqueuer(session, serialiser, options)
    try:
        try:
            if isinstance(tasks, AsyncIterable):
                async for task in tasks:
                    if enqueuer.add(task):
                        await enqueuer.send()
            else:
                for task in tasks:
                    if enqueuer.add(task):
                        await enqueuer.send()
        except Exception:
            # What was taken from the iterable before it failed would be lost to its owner.
            await enqueuer.finish()
            raise
        await enqueuer.finish()
    except Exception as exc:
        raise TorrelqueBulkError(enqueuer.task_ids) from exc
    return enqueuer.task_ids  # type: ignore[return-value]


def _calls_of(task_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    start = end = size = 0
    while start < len(task_ids):
        while end < len(task_ids) and end - start < BULK and size < BULK_BYTES:
            # To release takes half as long as all else, and here nobody waits for the first answer.
            size += weight_of(task_ids[end]) // 2
            end += 1
        yield task_ids[start:end]
        start, size = end, 0


async def settle_all(session: Session, name: str, task_ids: Sequence[str], rest: Sequence[Arg]) -> list[bool]:
    """Release or touch tasks; for each whether it was done, in their order.  Some calls are on their way at once."""
    done: list[bool] = []
    calls = _calls_of(task_ids)
    while some := [*itertools.islice(calls, AWAY)]:
        session.check()
        replies = await asyncio.gather(
            *(session.call(name, [word for i in ids for word in (i, token_of(i), *rest)]) for ids in some)
        )
        for ids, reply in zip(some, replies, strict=True):
            outcomes = zip(ids, read_outcomes(reply, len(ids)), strict=True)
            done += [session.told(name, task_id, outcome) for task_id, outcome in outcomes]
    return done


async def redrive_some(session: Session, mark: Callable[[], str], task_ids: Sequence[Arg]) -> int:
    """Redrive the tasks named; how many were dead."""
    count = 0
    for start in range(0, len(task_ids), FEW):
        some = task_ids[start : start + FEW]
        session.check()
        outcomes = read_outcomes(await session.call('redrive', [mark(), *some]), len(some))
        count += outcomes.count('ok')
        for task_id, outcome in zip(some, outcomes, strict=True):
            if outcome == 'state_lost':
                count += 1
                logger.warning('task %r of the queue was damaged: %s', text(task_id), outcome)
    return count


async def redrive_all(session: Session, mark: Callable[[], str], dead: str, limit: int | None) -> int:
    """Redrive the tasks that are dead now, the first to die first, at most so many of them; how many there were."""
    session.check()
    left = int(await session.command('ZCARD', dead))
    left = left if limit is None else min(left, limit)
    count = passed = 0
    while left > 0:
        names = await session.command('ZRANGE', dead, str(passed), str(passed + min(left, BULK) - 1))
        some = list(names)
        if not some:
            break
        done = await redrive_some(session, mark, some)
        count += done
        # What is not dead by its state, or brought back by another, is passed by.
        passed += len(some) - done
        left -= len(some)
    return count
