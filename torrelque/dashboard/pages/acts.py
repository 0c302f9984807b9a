"""Who did what: the acts that are on record, the newest first, and those on their way."""

from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.visit import Visit
from torrelque.operate import Act

ROWS = 50


async def read(visit: Visit) -> Answer:
    """Read it."""
    known = await visit.acts(visit.name)
    who, name, text = visit.text('who').strip(), visit.text('act'), visit.text('what').strip()
    found = [act for act in known if _fits(act, who, name, text)]
    nth = visit.number('nth', 1, 1000)
    rows = found[(nth - 1) * ROWS : nth * ROWS]
    overviews = await visit.overviews()
    view = {
        'now': max((one.server_time for one in overviews), default=0.0),
        'several': visit.name is None, 'filtered': bool(who or name or text),
        'names': sorted({act.act for act in known} | ({name} if name else set())),
        'running': visit.site.doings.running(visit.name) if nth == 1 else [],
        'nth': nth, 'more': len(found) > nth * ROWS, 'known': len(known),
    }  # fmt: skip
    return Answer({'acts': rows, 'total': len(found)}, view)


def _fits(act: Act, who: str, name: str, text: str) -> bool:
    return (
        who.casefold() in act.who.casefold() and name in ('', act.act) and text.casefold() in act.what.casefold()
    )  # fmt: skip


PAGE = Page('acts', 'Acts', read, every=2.0)
