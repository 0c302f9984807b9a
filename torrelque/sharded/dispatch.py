"""Waiting for a task at all shards."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

from torrelque import Torrelque, TorrelqueClosedError, TorrelqueTaskId, TorrelqueTimeoutError

from .inside import mark, marked

Delivery = tuple[TorrelqueTaskId, Any]


class Dispatcher:
    """Takes tasks of some shards for whoever waits: by public names, each call asks all shards at once."""

    def __init__(self, shards: Sequence[Torrelque]) -> None:
        self._shards = shards
        self._closed = False
        self._returning: set[asyncio.Future[None]] = set()
        """What gives back what was taken for calls that were cancelled."""

    async def fetch(self, timeout: float | None, wanted: int) -> list[Delivery]:
        """At least one task and at most ``wanted``, all of one shard, or `TorrelqueTimeoutError`."""
        if self._closed:
            raise TorrelqueClosedError('the queue was closed')
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        fetching = asyncio.ensure_future(self._fetch(timeout, wanted, gone))
        try:
            return await asyncio.shield(fetching)
        except asyncio.CancelledError:
            gone.set_result(None)
            # What was taken finds its way back, whatever becomes of this call.
            returning = asyncio.ensure_future(self._return(fetching))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
            await asyncio.shield(returning)
            raise

    async def close(self) -> None:
        """Nothing is taken any more; those who wait are told by their shards."""
        self._closed = True
        if self._returning:
            await asyncio.wait([*self._returning])

    def abandon(self) -> None:
        """As `close`, without an event loop."""
        self._closed = True

    async def _fetch(self, timeout: float | None, wanted: int, gone: 'asyncio.Future[None]') -> list[Delivery]:
        order = random.sample(range(len(self._shards)), len(self._shards))
        if timeout == 0:
            return await self._look(order, wanted, gone)
        calls = {asyncio.ensure_future(self._shards[i].dequeue_many(wanted, timeout)): i for i in order}
        late: set[asyncio.Future[Any]] = {*calls}
        while late:
            await asyncio.wait([*late, gone], return_when=asyncio.FIRST_COMPLETED)
            late = {call for call in late if not call.done()}
            errors = [call.exception() for call in calls if call.done()]
            if gone.done() or None in errors or any(isinstance(exc, TorrelqueClosedError) for exc in errors):
                break
        for call in late:
            call.cancel()
        if late:
            await asyncio.wait(late)
        ended = {call: number for call, number in calls.items() if not call.cancelled()}
        taken = [_marked(call.result(), number) for call, number in ended.items() if call.exception() is None]
        if not taken:
            raise _reason([exc for call in ended if (exc := call.exception())], timeout)
        await self._give_back(taken[1:])
        return taken[0]

    async def _look(self, order: Iterable[int], wanted: int, gone: 'asyncio.Future[None]') -> list[Delivery]:
        """What there is now: one shard after the other is asked."""
        errors: list[BaseException] = []
        for number in order:
            if gone.done():
                break
            try:
                return _marked(await self._shards[number].dequeue_many(wanted, 0), number)
            except TorrelqueClosedError:
                raise
            except Exception as exc:
                errors.append(exc)
        raise _reason(errors, 0)

    async def _return(self, fetching: 'asyncio.Future[list[Delivery]]') -> None:
        try:
            taken = await fetching
        except Exception:
            return
        await self._give_back([taken])

    async def _give_back(self, taken: Iterable[list[Delivery]]) -> None:
        for deliveries in taken:
            for task_id, _ in reversed(deliveries):
                await self._shards[marked(task_id) or 0].requeue(task_id, forgive=True)


def _marked(deliveries: list[Delivery], number: int) -> list[Delivery]:
    for task_id, _ in deliveries:
        mark(task_id, number)
    return deliveries


def _reason(errors: Sequence[BaseException], timeout: float | None) -> BaseException:
    """Why nobody has brought a task: that of a shard that does not reply, if there is one."""
    silent = [exc for exc in errors if isinstance(exc, TorrelqueTimeoutError) and not exc.replied]
    other = [exc for exc in errors if not isinstance(exc, TorrelqueTimeoutError)]
    return [*other, *silent, TorrelqueTimeoutError(f'no task came within {timeout or 0:g} s')][0]
