"""Groups, the first hundred by a figure, out of a survey of all, which says how old it is."""

from typing import Any

from torrelque import TorrelqueValueError
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.surveying import ORDERS
from torrelque.dashboard.visit import GROUPS, Visit

ROWS = 100
AGAIN = 3.0
"""How old (s) a survey may be where a new one is asked for."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    name, by, find = visit.queue.name, visit.text('by') or 'waiting', visit.text('find').strip()
    if by not in ORDERS:
        raise TorrelqueValueError(f'groups are ordered by {", ".join(ORDERS)}, not by {by[:40]!r}')
    age = AGAIN if visit.query.get('again') else GROUPS
    found = await visit.groups(name, by, ROWS, pattern_of(find), age=age)
    values: dict[str, Any] = {'groups': found}
    view = {
        'queue': name, 'by': by, 'orders': [*ORDERS], 'find': find, 'rows': ROWS,
        'named': find if find and '*' not in find and all(one.name != find for one in found or ()) else None,
    }  # fmt: skip
    return Answer(values, view)


def pattern_of(find: str) -> str | None:
    """What is looked for: a pattern, or names that have a text in them."""
    return None if not find else find if '*' in find else f'*{find}*'


PAGE = Page('groups', 'Groups', read, every=10.0)
