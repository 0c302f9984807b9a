"""An act that somebody has asked for: how far it is, and what it came to."""

import hashlib
import math
import time
from typing import Any

from torrelque import TorrelqueLookupError, TorrelqueValueError
from torrelque.dashboard.acting import ACTS, is_number
from torrelque.dashboard.doing import Doing
from torrelque.dashboard.links import spell
from torrelque.dashboard.masses import PAYLOAD, REASONS
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.visit import Visit
from torrelque.operate import Operator, Selection, TaskView

SHOWN = 20
"""Tasks of those that were named, whose state is shown at the end."""
FRESH = 0.9
"""How old (s) that may be."""


async def read(visit: Visit) -> Answer:
    """Read it.

    :raises TorrelqueLookupError: nobody knows an act of this number.
    """
    number = visit.text('number')
    if not is_number(number):
        raise TorrelqueValueError('an act is found by its number')
    doing = visit.site.doings.get(number)
    if doing is None:
        return await _elsewhere(visit, number)
    kind = ACTS[doing.act]
    acts = [act for act in await visit.acts(doing.queue) if act.number == number]
    values: dict[str, Any] = {
        'number': number, 'state': doing.state, 'act': doing.act, 'queue': doing.queue, 'who': doing.who,
        'title': visit.shield.text(doing.title), 'told': [*map(visit.shield.text, doing.told)],
        'error': visit.shield.text(doing.error), 'stopped_by': doing.stopped_by, 'outcome': doing.outcome,
        'total': doing.total, 'acts': acts,
    }  # fmt: skip
    view: dict[str, Any] = {
        'kind': kind, 'links': doing.links, 'again': 'again' in visit.query, 'progress': progress_of(doing),
        'reasons': REASONS, 'tasks': await visit.part(_tasks_of(visit, doing)),
        'stop': _form_of(doing) if doing.running and visit.may(kind.grant) else None,
    }  # fmt: skip
    return Answer(values, view)


async def _elsewhere(visit: Visit, number: str) -> Answer:
    """What is known of an act that this process has not done, or has forgotten."""
    queue = visit.queue
    acts = [act for act in await visit.acts(queue.name) if act.number == number]
    if not acts and not await Operator(queue, number=number).is_claimed():
        raise TorrelqueLookupError('nobody knows an act of this number; nothing was done')
    values = {'number': number, 'state': 'on record' if acts else 'elsewhere', 'queue': queue.name, 'acts': acts}
    return Answer(values, {'again': 'again' in visit.query})


def progress_of(doing: Doing) -> dict[str, Any] | None:
    """How far a bulk act is: of how many, how fast, and for how long it goes on (s), as far as that can be told."""
    outcome = doing.outcome
    if outcome is None:
        return None
    settled = outcome.done + sum(count for _, count in outcome.refused)
    whole = max(doing.total or 0, settled) or None
    if not doing.running and outcome.finished:
        whole = settled or None
    speed = outcome.done / outcome.took if outcome.took > 0 else 0.0
    rest = None if doing.total is None or not speed or not doing.running else (doing.total - settled) / speed
    return {
        'done': outcome.done, 'whole': whole, 'seen': outcome.seen, 'speed': speed,
        'share': 1.0 if doing.state == 'done' else None if whole is None or doing.total is None else settled / whole,
        'left': None if rest is None or not math.isfinite(rest) or rest < 1 else rest,
        'took': outcome.took if not doing.running else max(outcome.took, time.time() - doing.began),
        'refused': outcome.refused,
    }  # fmt: skip


async def _tasks_of(visit: Visit, doing: Doing) -> list[TaskView]:
    """What became of tasks that were named."""
    if doing.running or not doing.ids:
        return []
    ids, operator = [*doing.ids[:SHOWN]], visit.site.operators[doing.queue]

    async def read() -> list[TaskView]:
        return [task async for task in operator.tasks(Selection(ids=ids), payload=PAYLOAD)]

    found = await visit.read(('named', doing.queue, *ids), FRESH, read)
    return [visit.shield.task(task) for task in found]


def _form_of(doing: Doing) -> dict[str, str]:
    """The form that ends it.  Its number stays the same, so that the part of the page does not change by that."""
    query = spell({'act': 'stop', 'q': doing.queue, 'number': doing.number})
    return {'query': query, 'number': hashlib.sha256(f'stop {doing.number}'.encode()).hexdigest()[:32]}


PAGE = Page('done', 'Act', read, every=1.0, tab='acts')

