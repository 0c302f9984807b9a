"""Which of several queues, or parts of one, have the tasks that are named."""

from collections.abc import Sequence
from dataclasses import replace

from torrelque import TorrelqueQueue

from . import pages
from .hearts import Watch
from .parts import place_of
from .reading import check_unique
from .selection import Selection

CALL = 250
"""Tasks that are looked for at a time."""


async def split_ids(queues: Sequence[TorrelqueQueue], selection: Selection, partly: bool) -> list[Selection]:
    """The selection for each queue: of ids those that it knows; the last one has those too that none knows, unless
    these are not all that may know them.

    :raises TorrelqueValueError: several know one of the ids.
    """
    if selection.ids is None or len(queues) == 1 and not partly:
        return [selection] * len(queues)
    known: dict[str, list[str]] = {task_id: [] for task_id in map(str, selection.ids)}
    ids = [*known]
    for queue in queues:
        for start in range(0, len(ids), CALL):
            some, nobody = ids[start : start + CALL], Watch(queue, silent=True)
            for task in await pages.read_tasks(queue, some, 0, function=False, watch=nobody):
                if task.status is not None or task.broken:
                    known[task.id].append(place_of(queue))
    check_unique(known)
    last = '' if partly else place_of(queues[-1])
    return [
        replace(selection, ids=[one for one in ids if (known[one] or [last]) == [place_of(queue)]]) for queue in queues
    ]
