"""What an `Operator` answers to whoever measures and scales: counts that only grow, and how much work there is."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torrelque import TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

from . import lazily
from .measures import Counts, Scale
from .parts import home_of
from .values import GroupView

if TYPE_CHECKING:
    from . import grouping, records, scaling, spread
else:
    grouping, records, scaling, spread = map(lazily.Module, ('grouping', 'records', 'scaling', 'spread'))


class Measuring:
    """Answers about some queues, as `Operator` has them."""

    queues: tuple[TorrelqueQueue, ...]

    async def scale(self) -> Scale:
        """How many slots of workers have something to do, in all queues together.

        :raises TorrelqueServerError: a queue could not be read: a sum without it would have workers stopped.
        """
        return await scaling.read_scale(self.queues)

    async def counts(self) -> list[Counts]:
        """What workers with a heartbeat have counted in each queue since their counts began."""
        return [await records.read_counts(await home_of(queue)) for queue in self.queues]

    async def groups_of(self, names: Iterable[str]) -> list[GroupView]:
        """Some groups of each queue by their names, 100 at the most; one that has no task and no slot in use is told
        with zeros, and what is set for it."""
        if isinstance(names, str):
            raise TorrelqueTypeError(f'names of groups are several, not {names!r}')
        found = [*dict.fromkeys(check.check_name(name, 'a group') for name in names)]
        most = grouping.MOST_NAMED
        if len(found) > most:
            raise TorrelqueValueError(f'{most} groups at the most are read by their names, not {len(found)}')
        return [view for queue in self.queues for view in await spread.read_groups(queue, found)]
