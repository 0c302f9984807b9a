"""The parts of a queue: the shards that it is made of, each of which is asked as a queue, and named as the whole.

What is read of a part is of one place of one server.  Hearts, records, acts and schedules are in the first one, `home`.
A part that does not answer soon is away: whoever asks is told what the others have, and which one is missing.

Other layers may import the names in `__all__`.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from torrelque import (
    Torrelque,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueLimit,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueValueError,
)
from torrelque.worker.places import server_of

from .asking import read
from .limits import read_limits
from .reading import text_of
from .values import AwayShard

__all__ = ['AwayError', 'away_of', 'home_of', 'is_paused', 'limits_of', 'part_of', 'parts_of']

T = TypeVar('T')

PATIENCE = 1.0
"""s that a part may take for one answer, where others can tell of theirs."""
PAGE = 250
"""Groups whose limits are read in one call."""


class AwayError(TorrelqueConnectionError):
    """A shard has not answered soon enough, of a queue that has others; of what was to be written there, whether it was
    is unknown."""

    away: AwayShard


class _Part:
    """A shard under the name of its queue."""

    def __init__(
        self, name: str, number: int, shard: TorrelqueQueue, home: TorrelqueQueue | None, patience: float | None
    ) -> None:
        self.name = name
        self.number = number
        self.shard = shard
        self.place = shard.name
        """The name of the shard."""
        self._home = home
        self._patience = patience
        """s that it may take for an answer; None is as long as a queue is waited for."""
        self._sign: asyncio.Task[Any] | None = None
        """Waits for a sign of life, after an answer did not come in time."""
        self.others: tuple[_Part, ...] = ()
        """Of the first one, all others."""
        self.away: AwayShard | None = None
        """What it was when it was asked last; None where it has answered."""

    @property
    def home(self) -> Any:
        return self if self._home is None else self._home

    @property
    def shards(self) -> tuple[Any, ...]:
        return (self,)

    def shard_of(self, task_id: str | None = None, group: str | None = None) -> Any:
        return self

    async def ready(self) -> None:
        pass

    async def command(self, *words: str | bytes | float) -> Any:
        return await self._soon(lambda: self.shard.command(*words))

    async def get_queue_stats(self) -> Any:
        return await self._soon(self.shard.get_queue_stats)

    async def get_task_state(self, task_id: str) -> Any:
        return await self._soon(lambda: self.shard.get_task_state(task_id))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shard, name)

    @property
    def lasting(self) -> Any:
        """The same part for whoever writes to it: it is waited for as long as a queue is."""
        return _Part(self.name, self.number, self.shard, self._home, None)

    async def _soon(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of a shard, where it comes soon.

        :raises AwayError: it does not.  Nor does one that is asked for before the shard has given a sign of life, or
            some ten seconds are over.
        """
        if self._patience is None:
            return await call()
        if self._sign is None or self._sign.done():
            asked = asyncio.ensure_future(call())
            asked.add_done_callback(_look)
            try:
                await asyncio.wait([asked], timeout=self._patience)
                if asked.done():
                    answer = asked.result()
                    self.away = None
                    return answer
            except TorrelqueConnectionError as exc:
                raise self._away(exc) from exc
            finally:
                asked.cancel()
            self._sign = asyncio.ensure_future(self.shard.command('PING'))
            self._sign.add_done_callback(_look)
        raise self._away(TorrelqueConnectionError(f'no answer in {self._patience:g} s'))

    def _away(self, error: TorrelqueConnectionError) -> AwayError:
        why = str(error).removeprefix(f'queue {str(error.queue)!r}: ')
        self.away = AwayShard(self.name, self.number, _tag_of(self.shard), server_of(self.shard), why)
        told = AwayError(f'{self.away} is away: {why}')
        told.queue, told.away = self.name, self.away
        return told


# The parts of each queue that has several; they know its shards, and not itself.
_known: WeakKeyDictionary[TorrelqueQueue, tuple[_Part, ...]] = WeakKeyDictionary()


async def parts_of(queue: TorrelqueQueue) -> tuple[TorrelqueQueue, ...]:
    """The parts of a queue; one in one place is its own.

    :raises TorrelqueError: they could not be found out.
    """
    if isinstance(queue, (Torrelque, _Part)):
        return (queue,)
    await queue.ready()
    known = _known.get(queue, ())
    if tuple(part.shard for part in known) != queue.shards:
        # It is asked for the first time, or has other shards than it had.
        by_shard = {part.shard: part for part in known}
        first, *others = queue.shards
        home: Any = by_shard.get(first) or _Part(queue.name, 0, first, None, PATIENCE)
        more = (by_shard.get(one) or _Part(queue.name, k, one, home, PATIENCE) for k, one in enumerate(others, 1))
        known = _known[queue] = home, *more
        home.others = known[1:]
    return cast(tuple[TorrelqueQueue, ...], known)


def away_of(queue: TorrelqueQueue) -> tuple[AwayShard, ...]:
    """The shards of a queue that had not answered when they were asked last, so that what was told is of the others."""
    return tuple(part.away for part in _known.get(queue, ()) if part.away is not None)


def others_of(part: TorrelqueQueue) -> Sequence[TorrelqueQueue]:
    """Of the first part of a queue, all others; a queue in one place has none."""
    return cast(Sequence[TorrelqueQueue], part.others) if isinstance(part, _Part) else ()


def lasting(part: TorrelqueQueue) -> TorrelqueQueue:
    """A part, or a queue, for whoever writes to it: where an answer is late, it is waited for as long as a queue is."""
    return cast(TorrelqueQueue, part.lasting) if isinstance(part, _Part) else part


async def home_of(queue: TorrelqueQueue) -> TorrelqueQueue:
    """The part where there is what the queue has once."""
    return (await parts_of(queue))[0]


async def part_of(queue: TorrelqueQueue, task_id: str | None = None, group: str | None = None) -> TorrelqueQueue:
    """The part that has a group, or that a task is looked for in first."""
    parts = await parts_of(queue)
    return parts[0] if len(parts) == 1 else parts[queue.shards.index(queue.shard_of(task_id, group))]


def place_of(queue: TorrelqueQueue) -> str:
    """What tells a part from the others, and a queue from others."""
    return getattr(queue, 'place', queue.name)


async def ask_parts(
    parts: Sequence[TorrelqueQueue], ask: Callable[[TorrelqueQueue], Awaitable[T]]
) -> tuple[list[T], tuple[AwayShard, ...]]:
    """Ask some parts at once: what those say that answer, in their order, and which do not.

    :raises AwayError: none does.
    """
    told = await asyncio.gather(*map(ask, parts), return_exceptions=True)
    found: list[T] = []
    away: list[AwayError] = []
    for one in told:
        if isinstance(one, AwayError):
            away.append(one)
        elif isinstance(one, BaseException):
            raise one
        else:
            found.append(one)
    if away and not found:
        raise away[0]
    return found, tuple(one.away for one in away)


async def is_paused(queue: TorrelqueQueue, group: str | None = None) -> bool:
    """Whether a group is paused by its own name or, without one, the queue, in any of its parts that answer."""
    name = (group or '').encode('utf-8', 'surrogateescape')

    async def look(part: TorrelqueQueue) -> bool:
        return bool(await read(part, 'SISMEMBER', part.keys['paused'].encode(), name))

    found, _ = await ask_parts(await parts_of(queue) if group is None else [await part_of(queue, group=group)], look)
    return any(found)


async def limits_of(queue: TorrelqueQueue) -> dict[str | None, TorrelqueLimit]:
    """The limits of all parts that answer, of which the first tells the default; what cannot be read was never set."""
    found, _ = await ask_parts(await parts_of(queue), _limits_at)
    return {group: limit for limits in reversed(found) for group, limit in limits.items()}


async def _limits_at(part: TorrelqueQueue) -> dict[str | None, TorrelqueLimit]:
    found: dict[str | None, TorrelqueLimit] = {}
    key, cursor = part.keys['limits'].encode(), b''
    while cursor != b'0':
        cursor, words = await read(part, 'HSCAN', key, cursor or b'0', 'COUNT', PAGE) or (b'0', ())
        for name, value in zip(words[::2], words[1::2], strict=True):
            slots, starts = read_limits(value)
            rate: tuple[int, float] | float | None = None if starts is None else math.inf
            if isinstance(starts, tuple):
                rate = int(starts[0]), starts[1] / 1000
            found[text_of(name) or None] = TorrelqueLimit(slots, rate)
    return found


async def find_living(queues: Sequence[TorrelqueQueue]) -> tuple[list[TorrelqueQueue], tuple[AwayShard, ...]]:
    """Those of some queues and parts that are there, and which parts are not; whole queues are not asked.

    :raises AwayError: none is there.
    """

    async def look(queue: TorrelqueQueue) -> TorrelqueQueue:
        if isinstance(queue, _Part):
            await queue.command('PING')
        return queue

    return await ask_parts(queues, look)


async def find_away(parts: Sequence[TorrelqueQueue]) -> None:
    """Have it known which of some parts are away, all at once: who asks one after the other waits for none of them."""
    if len(parts) > 1:
        with contextlib.suppress(AwayError):
            await find_living(parts)


async def seek(queue: TorrelqueQueue, task_id: str, read: Callable[[TorrelqueQueue], Awaitable[T]]) -> T:
    """Read something of a task or a flow where its id says it is, else in each other part.

    :raises TorrelqueLookupError: no part knows it.
    :raises AwayError: none does that answers.
    """
    first = await part_of(queue, task_id)
    missing: TorrelqueError
    try:
        return await read(first)
    except (TorrelqueLookupError, AwayError) as exc:
        missing = exc
    parts = await parts_of(queue)
    await find_away(parts)
    for part in parts:
        if part is not first:
            try:
                return await read(part)
            except TorrelqueLookupError:
                pass
            except AwayError as exc:
                missing = exc
    raise missing


def read_cursor(after: str | None, count: int) -> tuple[int, str | None]:
    """Which part a cursor goes on in, and where there.

    :raises TorrelqueValueError: it is none of a queue of so many parts.
    """
    if after is None:
        return 0, None
    number, colon, inner = after.partition(':')
    if not colon or not number.isdecimal() or not number.isascii() or len(number) > 6 or int(number) >= count:
        raise TorrelqueValueError('the cursor is not of a queue with shards')
    return int(number), inner or None


def write_cursor(number: int, inner: str | None, count: int) -> str | None:
    """A cursor that goes on in a part; None where all were gone through."""
    return None if number >= count else f'{number}:{inner or ""}'


def _look(task: 'asyncio.Future[Any]') -> None:
    """Nobody may wait any more to hear of an error."""
    if not task.cancelled():
        task.exception()


def _tag_of(shard: TorrelqueQueue) -> str:
    return shard.name.removeprefix('{').removesuffix('}')
