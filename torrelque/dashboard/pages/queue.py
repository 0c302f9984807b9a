"""A queue: its places in the order of a task's life, why nothing moves, what ran in the last hour, what failed."""

import asyncio
from typing import Any

from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.reads import Trouble
from torrelque.dashboard.troubles import find_troubles, pauses_of
from torrelque.dashboard.visit import TOP_ERRORS, TOP_GROUPS, Visit
from torrelque.operate import Errors, Groups, Totals

from .overview import rate_of

TOP = 5
"""Rows of what comes first."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    name = visit.queue.name
    one = await visit.overview(name)
    records, errors, groups, functions, reasons, acts = await asyncio.gather(
        visit.part(visit.records(name)),
        visit.part(visit.errors(name, age=TOP_ERRORS)) if one.dead or one.delayed else _none(),
        visit.part(visit.groups(name, 'waiting', TOP, age=TOP_GROUPS)) if one.groups else _none(),
        visit.part(visit.functions(name)),
        visit.part(visit.reasons(name)) if one.pending and not one.error else _none(),
        visit.part(visit.acts(name)) if one.paused else _none(),
    )
    alerts = [] if one.error else await visit.alerts(name)
    rate = None if isinstance(records, Trouble) else rate_of(records, one.server_time)
    pause = None if not acts or isinstance(acts, Trouble) else pauses_of(acts).get(name)
    values: dict[str, Any] = {
        'overview': one, 'reasons': reasons or [], 'history': records, 'functions': functions, 'errors': errors,
        'groups': groups,
    }  # fmt: skip
    view = {
        'rate': rate,
        'top_errors': errors.errors[:TOP] if isinstance(errors, Errors) else (),
        'top_groups': groups.groups[:TOP] if isinstance(groups, Groups) else (),
        'troubles': find_troubles(one, pause, alerts),
        'totals': Totals.together(one.totals for one in records) if not isinstance(records, Trouble) else None,
    }
    return Answer(values, view)


async def _none() -> None:
    return None


PAGE = Page('queue', 'Queue', read, every=1.0)
