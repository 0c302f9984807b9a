"""The parts of a queue: the shards that it is made of, each of which is asked as a queue, and named as the whole.

What is read of a part is of one place of one server.  Hearts, records, acts and schedules are in the first one, `home`.

Other layers may import the names in `__all__`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from torrelque import Torrelque, TorrelqueLookupError, TorrelqueQueue, TorrelqueValueError

__all__ = ['home_of', 'part_of', 'parts_of']

T = TypeVar('T')


class _Part:
    """A shard under the name of its queue."""

    def __init__(self, name: str, shard: TorrelqueQueue, home: TorrelqueQueue | None) -> None:
        self.name = name
        self.place = shard.name
        """The name of the shard."""
        self._shard = shard
        self._home = home

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

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)


# The parts of each queue that has several; they know its shards, and not itself.
_known: WeakKeyDictionary[TorrelqueQueue, tuple[TorrelqueQueue, ...]] = WeakKeyDictionary()


async def parts_of(queue: TorrelqueQueue) -> tuple[TorrelqueQueue, ...]:
    """The parts of a queue; one in one place is its own.

    :raises TorrelqueError: they could not be found out.
    """
    if isinstance(queue, (Torrelque, _Part)):
        return (queue,)
    known = _known.get(queue)
    if known is None:
        await queue.ready()
        first, *others = queue.shards
        home = cast(TorrelqueQueue, _Part(queue.name, first, None))
        known = _known[queue] = home, *(cast(TorrelqueQueue, _Part(queue.name, one, home)) for one in others)
    return known


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


async def seek(queue: TorrelqueQueue, task_id: str, read: Callable[[TorrelqueQueue], Awaitable[T]]) -> T:
    """Read something of a task or a flow where its id says it is, else in each other part.

    :raises TorrelqueLookupError: no part knows it.
    """
    first = await part_of(queue, task_id)
    try:
        return await read(first)
    except TorrelqueLookupError as exc:
        missing = exc
    for part in await parts_of(queue):
        if part is not first:
            try:
                return await read(part)
            except TorrelqueLookupError:
                pass
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
