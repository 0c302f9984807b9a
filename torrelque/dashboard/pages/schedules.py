"""Schedules of a queue, those first that fire next, a hundred at a time."""

import json
import math
from typing import Any

from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.visit import Visit
from torrelque.dashboard.wording import duration, number
from torrelque.operate import ScheduleView

ROWS = 100
LATE = 1.0
"""s that an instant is over before it is called late."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    name = visit.queue.name
    prefix, page = visit.text('prefix'), visit.number('page', 1, 10**6)
    found = await visit.schedules(name, prefix, (page - 1) * ROWS, ROWS)
    view: dict[str, Any] = {
        'now': found.server_time, 'prefix': prefix, 'page_number': page, 'rows': [rowed(one) for one in found],
        'pages': -(-found.total // ROWS), 'broken': found.broken,
    }  # fmt: skip
    return Answer({'queue': name, 'schedules': found}, view)


def rowed(view: ScheduleView) -> tuple[ScheduleView, str, bool]:
    """A schedule, what its instants are made from, and whether it is late."""
    return view, made_from(view), is_late(view)


def is_late(view: ScheduleView) -> bool:
    """Whether it should have fired, and nobody has it fire."""
    return view.state == 'on' and view.next is not None and view.next < view.server_time - LATE


def made_from(view: ScheduleView) -> str:
    """What the instants of a schedule are made from, in a few words."""
    if view.every is not None:
        return f'every {exactly(view.every)}' + (f', {exactly(view.phase)} behind' if view.phase else '')
    spec = view.spec
    if isinstance(spec, dict) and isinstance(spec.get('cron'), str):
        jitter = spec.get('jitter')
        later = f', up to {exactly(jitter)} later' if isinstance(jitter, (int, float)) and jitter else ''
        zone = f' in {spec["timezone"]}' if spec.get('timezone') else ''
        return f'{spec["cron"]}{zone}{later}'
    if isinstance(spec, dict) and isinstance(spec.get('calendar'), str):
        return f'calendar {spec["calendar"]}'
    if spec is not None:
        return json.dumps(spec, ensure_ascii=False, default=str)
    return f'{number(view.left)} instants' if view.left != 1 else '1 instant'


def exactly(seconds: float) -> str:
    """A time that somebody has set, which is not rounded: ``1 d 30 s``."""
    if not math.isfinite(seconds) or seconds < 1 or seconds > 1e10:
        return duration(seconds)
    whole, rest = divmod(round(seconds * 1000), 1000)
    words = []
    for size, unit in ((86400, 'd'), (3600, 'h'), (60, 'm')):
        many, whole = divmod(whole, size)
        words += [f'{number(many)} {unit}'] if many else []
    words += [f'{whole + rest / 1000:g} s'] if whole or rest else []
    return ' '.join(words)


PAGE = Page('schedules', 'Schedules', read, every=2.0)
