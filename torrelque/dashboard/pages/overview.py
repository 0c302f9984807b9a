"""The first page: a row for each queue, and above it what is wrong now."""

import asyncio
from typing import Any

from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.reads import Trouble
from torrelque.dashboard.troubles import find_troubles, pauses_of
from torrelque.dashboard.visit import Visit
from torrelque.operate import Overview, Record

RECENT = 5
"""Whole minutes of which the present rate is made."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    overviews = await visit.overviews()
    records = await asyncio.gather(*(visit.part(visit.records(one.queue)) for one in overviews))
    history = dict(zip((one.queue for one in overviews), records, strict=True))
    fine = [one.queue for one in overviews if one.error is None]
    alerts = dict(zip(fine, await asyncio.gather(*map(visit.alerts, fine)), strict=True))
    acts = await visit.part(visit.acts()) if any(one.paused for one in overviews) else []
    pauses = {} if isinstance(acts, Trouble) else pauses_of(acts)
    now = max((one.server_time for one in overviews), default=0.0)
    view: dict[str, Any] = {
        'now': now,
        'history': history,
        'rates': {name: rate_of(found, now) for name, found in history.items() if not isinstance(found, Trouble)},
        'troubles': [
            it for one in overviews
            for it in find_troubles(one, pauses.get(one.queue), alerts.get(one.queue, ()))
        ],
        'total': total_of(overviews),
    }
    return Answer({'overviews': overviews}, view)


def rate_of(records: list[Record], now: float) -> tuple[float, float] | None:
    """Attempts a minute that were done, and that failed, in the last minutes; None where no worker has counted."""
    whole = [record for record in records if now - RECENT * 60 - 60 <= record.start <= now - 60]
    if not whole:
        return None
    length = max(1.0, (now - whole[0].start) // 60)
    totals = [record.totals for record in whole]
    return sum(it.succeeded for it in totals) / length, sum(it.failed for it in totals) / length


def total_of(overviews: list[Overview]) -> dict[str, Any]:
    """Sums, and the oldest of all."""
    fine = [one for one in overviews if one.error is None]
    names = ('pending', 'ready', 'working', 'delayed', 'waiting', 'dead', 'busy', 'slots', 'workers')
    ages = [one.oldest for one in fine if one.oldest is not None]
    return {
        **{name: sum(getattr(one, name) for one in fine) for name in names},
        'oldest': min(ages, default=None),
        'exact': all('oldest' in one.exact for one in fine),
    }


PAGE = Page('', 'Overview', read, every=1.0)
