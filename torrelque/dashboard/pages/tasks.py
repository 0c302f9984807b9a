"""Tasks of a place, or those that match: some at a time, and no total of a filter, which would look at all."""

import asyncio
import time
from typing import Any

from torrelque import TorrelqueValueError
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.selecting import FILTERS, has_filters, selection_of
from torrelque.dashboard.visit import Visit
from torrelque.operate import Selection, TaskView

PLACES = ('pending', 'ready', 'working', 'delayed', 'dead', 'waiting', 'priority', 'turns', 'orphaned')
ROWS = 50
LOOKS, LEAST, FIRST, MOST = 6, 25, 50, 250
"""Looks that one request takes for a filter, and at how many tasks: at the least, at first, and at the most."""
SUGGESTED = 50
"""Names of functions, and of groups, that are suggested for a filter."""
ENOUGH = 0.04
"""s after which it looks no further; a look is as long as the time that is left."""
PAYLOAD = 4096
"""Bytes of a payload that are read for a row."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    name = visit.queue.name
    place = visit.text('place') or 'pending'
    if place not in PLACES and not (place.startswith('group:') and place != 'group:'):
        raise TorrelqueValueError(f'there is no place {place[:80]!r}: {", ".join(PLACES)}, group:NAME')
    selection = selection_of(visit)
    after = visit.text('after') or None
    newest = place in ('dead', 'working') or visit.text('order') == 'newest'
    # Of a place of which most may be passed over, not more are looked at than of a filter.
    search = has_filters(selection) or place in ('orphaned', 'ready')
    if search:
        tasks, seen, cursor, total = await _search(visit, name, place, selection, after, newest)
    else:
        page = await visit.operator.page(
            place, after=after, most=ROWS, payload=PAYLOAD, newest_first=newest, queue=name
        )
        tasks, seen, cursor, total = [*page.tasks], page.looked_at, page.cursor, page.total
    values: dict[str, Any] = {
        'queue': name, 'place': place, 'tasks': [visit.shield.task(task) for task in tasks], 'cursor': cursor,
        'seen': seen, 'total': total,
    }  # fmt: skip
    (functions, groups), overview = await asyncio.gather(
        visit.suggestions(name, SUGGESTED), visit.part(visit.overview(name))
    )
    view = {
        # A place is counted where that is one of the figures of its queue.
        'counts': {one: getattr(overview, one, 0) for one in PLACES},
        'functions': functions, 'groups': groups,
        'places': PLACES, 'filtered': has_filters(selection), 'search': search, 'filters': FILTERS,
        'first': after is None,
    }  # fmt: skip
    return Answer(values, view)


async def _search(
    visit: Visit, name: str, place: str, selection: Selection, after: str | None, newest: bool
) -> tuple[list[TaskView], int, str | None, int]:
    """Those of some pages that match: the tasks, how many were looked at, and where to go on.

    What is looked at is looked at whole, so there may be more than fit; these are shown too.
    """
    tasks: list[TaskView] = []
    seen, total, began = 0, 0, time.monotonic()
    count = FIRST
    for _ in range(LOOKS):
        page = await visit.operator.page(
            place, after=after, most=count, look=count, payload=PAYLOAD, newest_first=newest, queue=name
        )
        seen, total, after = seen + page.looked_at, page.total, page.cursor
        tasks += [task for task in page.tasks if selection.matches(task)]
        took = time.monotonic() - began
        if after is None or len(tasks) >= ROWS or took > ENOUGH:
            break
        # Where many match, few are looked at, so that there are not many more than fit.
        most = MOST if len(tasks) * 10 < seen else FIRST
        count = min(most, max(LEAST, int(seen * (ENOUGH / took - 1))))
    return tasks, seen, after, total


PAGE = Page('tasks', 'Tasks', read, every=2.0)
