"""Bulk calls: any number of tasks in constant memory, in calls that keep the server responsive."""

import asyncio
import itertools
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import Any

from torrelque.error import TorrelqueBulkError, TorrelqueConnectionError, TorrelqueServerError, TorrelqueTypeError
from torrelque.model import TorrelqueSerialiser, TorrelqueTaskId
from torrelque.protocol.steps import Enqueuer, calls_of, told_of_many
from torrelque.protocol.transition import Arg

from .session import Session

AWAY = 4
"""Calls of one `release_many` that are on their way at once, at the most."""


class _Sender(Enqueuer):
    """Makes the next call while one is on its way."""

    def __init__(self, session: Session, serialiser: TorrelqueSerialiser, options: Callable[[Any], str] | str) -> None:
        super().__init__(serialiser, options, session.queue)
        self._session = session
        self._call: asyncio.Future[Any] | None = None

    async def send(self) -> None:
        """Wait for the call that is on its way, then send what was taken since."""
        await self.settle()
        if args := self.take_call():
            self._session.check()
            self._call = self._session.call('enqueue', args)

    async def finish(self) -> None:
        """Send all that is left, and wait for it."""
        while self.waiting or self._call is not None:
            await self.send()

    async def settle(self) -> None:
        """Wait for the call that is on its way, and keep the ids of the tasks that it took in."""
        if self._call is None:
            return
        call, self._call = self._call, None
        try:
            self.returned(await call)
        except BaseException:
            self.drop()
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
    sender = _Sender(session, serialiser, options)
    try:
        try:
            if isinstance(tasks, AsyncIterable):
                async for task in tasks:
                    if sender.add(task):
                        await sender.send()
            else:
                for task in tasks:
                    if sender.add(task):
                        await sender.send()
        except Exception:
            # Tasks that were taken from the iterable before it failed would be lost to its owner, so send them.
            await sender.finish()
            raise
        await sender.finish()
    except Exception as exc:
        raise TorrelqueBulkError(sender.task_ids, session.queue) from exc
    return sender.task_ids


async def settle_all(session: Session, name: str, task_ids: Sequence[str], rest: Sequence[Arg]) -> list[bool]:
    """Release or touch tasks; for each whether it was done, in their order.  Some calls are on their way at once."""
    done: list[bool] = []
    sent: list[tuple[Sequence[str], list[Arg]]] = []
    calls = calls_of(name, task_ids, rest)
    try:
        while some := [*itertools.islice(calls, AWAY)]:
            session.check()
            sent += some
            replies = await asyncio.gather(*(_send(session, name, args, 2 + len(rest)) for _, args in some))
            for (ids, _), reply in zip(some, replies, strict=True):
                done += told_of_many(name, ids, reply, session.queue)
    except (TorrelqueConnectionError, TorrelqueServerError):
        # The error hides what became of the calls before it, and of those beside it: remember them all.
        session.unsure.note_all(name, (args for _, args in sent), 2 + len(rest))
        raise
    if session.unsure:
        session.unsure.forget_all(name, (args for _, args in sent), 2 + len(rest))
    return done


def _send(session: Session, name: str, args: list[Arg], length: int) -> 'asyncio.Future[Any]':
    """Send a call; each task in it has so many arguments."""
    if not session.unsure:
        return session.call(name, args)
    return session.call(name, *session.unsure.all_again(name, args, length))
