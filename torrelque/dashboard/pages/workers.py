"""Workers that have a heartbeat: those that are stuck, those that were lost, those that live; and what nobody works on.

Nothing is done to a worker here: whoever has started it ends it.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from torrelque import TorrelqueValueError
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.reads import Trouble
from torrelque.dashboard.visit import Visit
from torrelque.operate import Overview, Page as Found, WorkerView

ROWS = 50
STATES = ('stuck', 'lost', 'live')
FEW = 10
"""Tasks that are shown of a worker, and orphaned ones of a queue."""


async def read(visit: Visit) -> Answer:
    """Read it."""
    wanted, start = visit.text('state'), visit.number('from', 1, 10**6)
    if wanted and wanted not in STATES:
        raise TorrelqueValueError(f'workers are {", ".join(STATES)}, not {wanted[:40]!r}')
    overviews = await visit.overviews()
    parts = await asyncio.gather(*(visit.part(visit.workers(name)) for name in visit.names))
    found = together([part for part in parts if not isinstance(part, Trouble)])
    kinds = {state: [worker for worker in found if state_of(worker) == state] for state in STATES}
    listed = kinds[wanted] if wanted else [worker for state in STATES for worker in kinds[state]]
    shown = listed[start - 1 : start - 1 + ROWS]
    orphaned = await _orphaned(visit, [one for one in overviews if one.working])
    values: dict[str, Any] = {'workers': shown, 'total': len(found), 'from': start, 'orphaned': orphaned}
    view = {
        'now': max(one.server_time for one in overviews), 'kinds': kinds, 'wanted': wanted, 'states': STATES,
        'troubles': {name: part for name, part in zip(visit.names, parts, strict=True) if isinstance(part, Trouble)},
        'sections': [(kind, [(one, id_of(one)) for one in shown if state_of(one) == kind]) for kind in STATES],
        'next': start + ROWS if start - 1 + ROWS < len(listed) else None, 'start': start, 'few': FEW,
        'listed': len(listed),
    }  # fmt: skip
    return Answer(values, view)


async def _orphaned(visit: Visit, overviews: Sequence[Overview]) -> dict[str, Any]:
    """What nobody works on, as far as is known, of each queue."""
    pages = await asyncio.gather(*(visit.part(visit.orphaned(one.queue)) for one in overviews))
    return {
        one.queue: page if page is None or isinstance(page, Trouble) else shown_of(visit, page)
        for one, page in zip(overviews, pages, strict=True)
        if isinstance(page, Trouble) or page is not None and page.tasks
    }


def shown_of(visit: Visit, page: Found) -> dict[str, Any]:
    """Tasks of a page, as the visitor may see them."""
    return {'tasks': [visit.shield.task(task) for task in page], 'cursor': page.cursor, 'working': page.total}


def together(found: Sequence[Sequence[WorkerView]]) -> list[WorkerView]:
    """Workers of several queues; one that serves several is told once."""
    known = {(worker.name, worker.host, worker.pid): worker for part in reversed(found) for worker in part}
    return sorted(known.values(), key=lambda worker: worker.name)


def state_of(worker: WorkerView) -> str:
    """Under which heading a worker is."""
    return worker.state if worker.state in STATES else 'live'


def id_of(worker: WorkerView) -> str:
    """What a worker is called in the page, for what is unfolded to stay so."""
    words = f'{worker.name}\0{worker.host}\0{worker.pid}'
    return 'w-' + hashlib.sha256(words.encode('utf-8', 'backslashreplace')).hexdigest()[:10]


PAGE = Page('workers', 'Workers', read, every=2.0)
