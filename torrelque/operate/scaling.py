"""How many slots of workers have something to do: what whoever starts and stops workers goes by.

The length of a queue is no measure of that: ten thousand tasks of a group that runs one at a time need one slot, and
tasks that are worked on need theirs until they have ended.
"""

import time
from collections.abc import Iterable
from typing import NamedTuple
from weakref import WeakKeyDictionary

from torrelque import TorrelqueQueue, TorrelqueServerError

from .asking import ask
from .measures import Scale
from .overview import read_together
from .parts import parts_of

PART = 250
"""Groups of one call, about: half a millisecond of the server."""
CHEAP = 20_000
"""Groups that are looked at, at the most, where somebody waits for the answer."""
KEPT = 30.0
"""For how long (s) it is taken for true what groups have come to."""


class Useful(NamedTuple):
    """What one queue has to do."""

    number: int
    exact: bool


# Of a queue object, when its groups were looked at, and how many of their tasks could go.
_kept: WeakKeyDictionary[TorrelqueQueue, tuple[float, int]] = WeakKeyDictionary()


async def read_useful(queue: TorrelqueQueue) -> Useful:
    """How many slots have something to do.

    :raises TorrelqueServerError: the server refused to tell.
    """
    kept = _kept.get(queue)
    known = None if kept is None or time.monotonic() - kept[0] >= KEPT else kept[1]
    cursor: bytes | str = '0' if known is None else ''
    found: dict[bytes, int] = {}
    looked_at = 0
    while True:
        reply = await ask(queue, 'useful', cursor, PART)
        _, _, paused, working, *waiting, heads, groups, whole, cursor = reply[:11]
        pairs, others = reply[11:], working + sum(waiting)
        if paused:
            return Useful(working, True)
        if known is None and whole is None and groups > CHEAP:
            return Useful(others + heads, False)
        if known is not None or whole is not None:
            return Useful(others + (known if whole is None else whole), True)
        # A group may be met twice.
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        looked_at += PART
        if cursor == b'0' or looked_at > 2 * CHEAP:
            known = sum(found.values())
            _kept[queue] = time.monotonic(), known
            return Useful(others + known, True)


async def read_scale(queues: Iterable[TorrelqueQueue]) -> Scale:
    """What all of some queues have to do.

    :raises TorrelqueServerError: the server refused to tell of one: what is left out would have workers stopped.
    """
    queues = [*queues]
    overview = await read_together(queues)
    if overview.error is not None:
        raise TorrelqueServerError(overview.error)
    found = [await read_useful(part) for queue in queues for part in await parts_of(queue)]
    return Scale(
        pending=overview.pending,
        working=overview.working,
        ready=overview.ready,
        # A schedule that nobody fires has use for a worker.
        useful=sum(one.number for one in found) + overview.late_schedules,
        slots=overview.slots,
        oldest=overview.oldest_age or 0.0,
        exact=all(one.exact for one in found),
    )
