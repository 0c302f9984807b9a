"""Errors that are alike, the most frequent first, of a window that is told: what was not looked at is not counted."""

import dataclasses
from typing import Any

from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.troubles import plural
from torrelque.dashboard.visit import FEW_ERRORS, Visit
from torrelque.dashboard.wording import number
from torrelque.operate import ErrorGroup, Errors

ROWS = 50
MOST = 10_000
"""Dead tasks, and delayed ones, that can be looked at."""
LONG = 8000
"""Characters of an error up to which it is shown whole unless it is asked for."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    name = visit.queue.name
    most, start = visit.number('most', FEW_ERRORS, MOST), visit.number('from', 1, MOST)
    found = await visit.errors(name, most)
    if found is None:
        return Answer({'errors': None, 'total': None, 'from': start}, {'queue': name, 'more': None})
    wanted = visit.text('error').strip()
    first = [one for one in found if one.fingerprint == wanted]
    others = [one for one in found if one.fingerprint != wanted]
    shown = [*(first if start == 1 else ()), *others[start - 1 : start - 1 + ROWS]]
    values: dict[str, Any] = {
        'errors': dataclasses.replace(found, errors=tuple(shown)), 'total': len(found), 'from': start,
    }  # fmt: skip
    cut = found.dead_seen < found.dead or found.delayed_seen < found.delayed
    view = {
        'queue': name, 'wanted': wanted, 'missing': bool(wanted and not first), 'start': start,
        'window': window_of(found), 'cases': sum(one.count for one in found), 'cut': cut,
        'more': MOST if cut and most < MOST else None,
        'next': start + ROWS if start - 1 + ROWS < len(others) else None,
        'samples': {one.fingerprint: sample_of(one, one.fingerprint == wanted) for one in shown},
    }  # fmt: skip
    return Answer(values, view)


def window_of(found: Errors) -> str:
    """Of which tasks it is, in words."""
    dead = plural(found.dead, 'dead task', 'dead tasks')
    delayed = plural(found.delayed, 'delayed task', 'delayed tasks')
    if found.dead_seen < found.dead:
        dead = f'the newest {number(found.dead_seen)} of {dead}'
    if found.delayed_seen < found.delayed:
        delayed = f'the next {number(found.delayed_seen)} of {delayed}'
    cases = plural(sum(one.count for one in found), 'error', 'errors')
    return f'Of {dead} and {delayed}: {cases} of {plural(len(found), "kind", "kinds")}.'


def sample_of(group: ErrorGroup, whole: bool) -> tuple[str, bool]:
    """An error of a group, and whether something was left out of it: the middle, because the end tells the most."""
    text = group.sample
    if whole or len(text) <= LONG:
        return text, False
    return f'{text[: LONG // 4]}\n…\n{text[-LONG * 3 // 4 :]}', True


PAGE = Page('errors', 'Errors', read, every=10.0)
