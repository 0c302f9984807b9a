"""Bulk calls: any number of tasks in constant memory, in calls that keep the server responsive."""

import asyncio
import itertools
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any

from torrelque.error import TorrelqueBulkError, TorrelqueConnectionError, TorrelqueServerError, TorrelqueTypeError
from torrelque.model import TorrelqueTaskId
from torrelque.protocol.bulk import BulkEnqueue, Many
from torrelque.protocol.steps import many_settled_or_logged
from torrelque.protocol.transition import Arg

from .session import Session


class _Sender:
    """Makes the next call while one is on its way."""

    def __init__(self, session: Session, made: BulkEnqueue) -> None:
        self.made = made
        self._session = session
        self._call: asyncio.Future[Any] | None = None

    async def send(self) -> None:
        """Wait for the call that is on its way, then send what was taken since."""
        await self.settle()
        if args := self.made.take_call():
            self._session.check()
            self._call = self._session.call('enqueue', args)

    async def finish(self) -> None:
        """Send all that is left, and wait for it."""
        while self.made.waiting or self._call is not None:
            await self.send()

    async def settle(self) -> None:
        """Wait for the call that is on its way, and keep the ids of the tasks that it took in."""
        if self._call is None:
            return
        call, self._call = self._call, None
        try:
            self.made.returned(await call)
        except BaseException:
            self.made.drop()
            raise


async def enqueue_all(
    session: Session, tasks: Iterable[Any] | AsyncIterable[Any], made: BulkEnqueue
) -> list[TorrelqueTaskId]:
    """Enqueue all tasks; `TorrelqueBulkError` when that fails on the way."""
    if not isinstance(tasks, AsyncIterable):
        try:
            tasks = iter(tasks)
        except TypeError as exc:
            kind = type(tasks).__name__
            raise TorrelqueTypeError(f'tasks must be an iterable or an async iterable, not {kind}') from exc
    sender = _Sender(session, made)
    try:
        try:
            if isinstance(tasks, AsyncIterable):
                async for task in tasks:
                    if made.add(task):
                        await sender.send()
            else:
                for task in tasks:
                    if made.add(task):
                        await sender.send()
        except Exception:
            # Tasks that were taken from the iterable before it failed would be lost to its owner, so send them.
            await sender.finish()
            raise
        await sender.finish()
    except Exception as exc:
        raise TorrelqueBulkError(made.task_ids, session.queue) from exc
    return made.task_ids


async def settle_all(session: Session, many: Many) -> list[bool]:
    """Release or touch tasks; for each whether it was done, in their order.  Some calls are on their way at once."""
    done: list[bool] = []
    sent: list[tuple[Sequence[str], list[Arg]]] = []
    parts, in_flight = session.calls.parts(many), session.calls.bounds.calls_in_flight
    try:
        while some := [*itertools.islice(parts, in_flight)]:
            session.check()
            sent += some
            replies = await asyncio.gather(*(_send(session, many, args) for _, args in some))
            for (ids, _), reply in zip(some, replies, strict=True):
                done += many_settled_or_logged(many.name, ids, reply, session.queue)
    except (TorrelqueConnectionError, TorrelqueServerError):
        # The error hides what became of the calls before it, and of those beside it: remember them all.
        session.unsure.note_all(many.name, (args for _, args in sent), many.width)
        raise
    if session.unsure:
        session.unsure.forget_all(many.name, (args for _, args in sent), many.width)
    return done


def _send(session: Session, many: Many, args: list[Arg]) -> 'asyncio.Future[Any]':
    if not session.unsure:
        return session.call(many.name, args)
    return session.call(many.name, *session.unsure.all_again(many.name, args, many.width))
