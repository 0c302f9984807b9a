"""Which shard something of a group or an id is sent to, of the synchronous queue; see `placing`."""

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from torrelque import TorrelqueDuplicateError, TorrelqueValueError
from torrelque.sync import Torrelque

from . import inside, moving, shards
from .placing import AGAINS
from .syncanywhere import Anywhere

T = TypeVar('T')


class Placing(Anywhere):
    """The ways to the shard of a group or an id."""

    def _ask_before(self, task_id: str, shape: shards.Shape) -> None:
        """See to it that an id of a caller's own is not in the shard where it was, and cannot come to be."""
        old = shards.before(task_id, shape)
        if old is None:
            return
        shard = self._at(old)
        if (old, shape.keyed) not in self._fenced:
            inside.run_sync(shard, moving.fence(shape, old))
            self._fenced.add((old, shape.keyed))
        status, total = shard.command('HMGET', f'{shard.keys["task"]}:{task_id}', 'status', 'total')
        if status is not None and (status != b'6' or total is not None):
            raise TorrelqueDuplicateError(task_id, self.name)

    def _with_group(self, group: str, call: Callable[[Torrelque], T]) -> T:
        """Carry something out at the shard of a group; where that has come to another one meanwhile, there."""
        return self._heeding(lambda: call(self._of_group(group)))

    def _heeding(self, call: Callable[[], T]) -> T:
        """Carry out what a shard refuses to whoever goes by an old map, again by the newest."""
        for pause in (*AGAINS, None):
            try:
                return call()
            except inside.ServerStaleError:
                if pause is None:
                    raise
            self._learn()
            time.sleep(pause or 0)
        raise AssertionError

    def _learn(self) -> None:
        """Have the map be the one that was written last, whether its copies were or not, as far as it can be read."""

    def _place_for(
        self, group: str | None, task_id: str | None, others: Sequence[str]
    ) -> tuple[Torrelque, str | None, str | None]:
        """The shard for a task that has its place in one, with its group and its id as that is given them."""
        self._all()
        # Another thread may read a newer map at any time: what is sent says by which this was decided.
        shape: shards.Shape = self._shape
        its_group = None if group is None else inside.Routed(group, shape.keyed)
        if others:
            return self._at(self._number_of_all(others, group)), its_group, task_id
        if group is not None:
            return self._at(shards.of_group(group, shape.keyed)), its_group, task_id
        if task_id is not None:
            self._ask_before(task_id, shape)
            return self._at(shards.of_id(task_id, shape)[0]), None, inside.Routed(task_id, shape.keyed)
        return self._at(random.randrange(self._chooser.count)), None, None

    def _number_of_all(self, task_ids: Sequence[str], group: str | None) -> int:
        """The shard that has all of some tasks, for one that waits for them."""
        found = self._by_shard(task_ids)
        if len(found) > 1:
            what = 'the tasks of depends_on are in different shards; make a flow of them'
            raise self._told(TorrelqueValueError(what))
        [number] = found
        if group is not None and self._number_of_group(group) != number:
            what = f'group {group!r} is in another shard than the tasks of depends_on; make a flow of them'
            raise self._told(TorrelqueValueError(what))
        return number
