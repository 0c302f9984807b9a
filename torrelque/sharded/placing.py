"""Which shard something of a group or an id is sent to, also while these come to other shards.

What is sent says by how many shards its place was found.  A shard that has given groups away refuses who goes by fewer,
and then the map is read again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from torrelque import Torrelque, TorrelqueDuplicateError, TorrelqueValueError
from torrelque.protocol import check

from . import inside, moving, shards
from .anywhere import Anywhere

T = TypeVar('T')

AGAINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, *(0.5 for _ in range(20)))
"""How long (s) is waited before what was refused because of an old map is sent again: whoever writes the map has not
been to all shards yet, or has died, and somebody is to go on."""


class Placing(Anywhere):
    """The ways to the shard of a group or an id."""

    def _routed(self, name: str) -> inside.Routed:
        """A group or an id, with what its shard was found by."""
        return inside.Routed(name, self._shape.keyed)

    async def _ask_before(self, task_id: str) -> None:
        """See to it that an id of a caller's own is not in the shard where it was, and cannot come to be.

        :raises TorrelqueDuplicateError: that knows it.
        """
        shape = self._shape
        old = shards.before(task_id, shape)
        if old is None:
            return
        shard = await self._at(old)
        if (old, shape.keyed) not in self._fenced:
            await inside.run(shard, moving.fence(shape, old))
            self._fenced.add((old, shape.keyed))
        status, total = await shard.command('HMGET', f'{shard.keys["task"]}:{task_id}', 'status', 'total')
        if status is not None and (status != b'6' or total is not None):
            raise TorrelqueDuplicateError(task_id, self.name)

    async def _with_group(self, group: str, call: Callable[[Torrelque], Awaitable[T]]) -> T:
        """Carry something out at the shard of a group; where that has come to another one meanwhile, there."""
        return await self._heeding(lambda: self._call_of_group(group, call))

    async def _call_of_group(self, group: str, call: Callable[[Torrelque], Awaitable[T]]) -> T:
        return await call(await self._of_group(group))

    async def _heeding(self, call: Callable[[], Awaitable[T]]) -> T:
        """Carry out what a shard refuses to whoever goes by an old map, again by the newest."""
        for pause in (*AGAINS, None):
            try:
                return await call()
            except inside.ServerStaleError:
                if pause is None:
                    raise
            await self._learn()
            await asyncio.sleep(pause or 0)
        raise AssertionError

    async def _learn(self) -> None:
        """Have the map be the one that was written last, whether its copies were or not, as far as it can be read."""

    async def _place_for(
        self, group: str | None, task_id: str | None, others: Sequence[str]
    ) -> tuple[Torrelque, str | None, str | None]:
        """The shard for a task that has its place in one, with its group and its id as that is given them."""
        if not self._shards:
            await self._open()
        while True:
            shape = self._shape
            its_group = None if group is None else self._routed(check.check_name(group, 'a group'))
            if others:
                number = await self._number_of_all(others, group)
            elif group is not None:
                number = self._number_of_group(group)
            elif task_id is not None:
                number = self._number_of_id(task_id)[0]
                await self._ask_before(task_id)
                task_id = self._routed(task_id)
            else:
                number = self._chooser.choose(asyncio.get_running_loop().time())
            shard = await self._at(number)
            if self._shape is shape:
                return shard, its_group, task_id

    async def _number_of_all(self, task_ids: Sequence[str], group: str | None) -> int:
        """The shard that has all of some tasks, for one that waits for them."""
        found = await self._by_shard(task_ids)
        if len(found) > 1:
            what = 'the tasks of depends_on are in different shards; make a flow of them'
            raise self._told(TorrelqueValueError(what))
        [number] = found
        if group is not None and self._number_of_group(group) != number:
            what = f'group {group!r} is in another shard than the tasks of depends_on; make a flow of them'
            raise self._told(TorrelqueValueError(what))
        return number
