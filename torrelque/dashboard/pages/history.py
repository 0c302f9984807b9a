"""History of a queue: what workers have counted, by minutes or by hours, of all functions or of one."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torrelque import TorrelqueValueError
from torrelque.dashboard import charts
from torrelque.dashboard.page import Answer, Page
from torrelque.dashboard.reads import Trouble
from torrelque.dashboard.selecting import exactly
from torrelque.dashboard.visit import LENGTHS, RECORDS, Visit
from torrelque.operate import FunctionView, Record, Totals

ROWS = 50
"""Functions of the table at the most; there are two hundred."""


class History(NamedTuple):
    """What was counted over a time, and what is shown of it."""

    records: list[Record]
    functions: list[FunctionView]
    drawn: Sequence[tuple[str, str, charts.Chart]]
    figures: Mapping[str, float | None]


NOTHING = History([], [], (), {})


async def read(visit: Visit) -> Answer:
    """Read it."""
    name = visit.queue.name
    length = visit.text('length') or '1h'
    if length not in LENGTHS:
        raise TorrelqueValueError(f'length is one of {", ".join(LENGTHS)}, not {length[:40]!r}')
    # A text that is empty is left out of addresses.
    function = '' if visit.query.get('none') == 'function' else visit.text('function') or None
    overview, history = await asyncio.gather(
        visit.part(visit.overview(name)),
        # All viewers see the same, and it is drawn once.
        visit.part(visit.soon(
            ('history', name, length, function), RECORDS, lambda: read_history(visit, name, length, function)
        )),
    )  # fmt: skip
    shown = history if isinstance(history, History) else NOTHING
    view: dict[str, Any] = {
        'now': 0.0 if isinstance(overview, Trouble) else overview.server_time,
        'exact': exactly(function or ''), 'length': length, 'lengths': [*LENGTHS], 'function': function,
        'drawn': shown.drawn, 'figures': shown.figures,
        'rows': shown.functions[:ROWS], 'most': most_of(shown.functions),
        'one': next((one for one in shown.functions if one.name == function), None),
    }  # fmt: skip
    # What could not be read, or has not come yet, is told in both places.
    records = shown.records if history is shown else history
    functions = shown.functions if history is shown else history
    return Answer({'queue': name, 'history': records, 'functions': functions}, view)


async def read_history(visit: Visit, name: str, length: str, function: str | None) -> History:
    """Read what was counted, and draw it."""
    records = await visit.records(name, length)
    functions = await visit.functions(name, length)
    now, span = (await visit.overview(name)).server_time, LENGTHS[length]
    shown = [summed(record) if function is None else only(record, function) for record in records]
    charts = drawn(shown, now, span, function is None) if records else []
    return History(records, functions, charts, figures(shown, span))


def summed(record: Record) -> Record:
    """A record with all functions as one, so that they are added up once for all charts."""
    return replace(record, functions=(('', record.totals),))


def only(record: Record, function: str) -> Record:
    """A record of one function; run times by bucket, waits and sizes are of all functions only."""
    return replace(
        record, functions=tuple(pair for pair in record.functions if pair[0] == function), run=(), wait=(), sizes=None
    )


def drawn(records: Sequence[Record], now: float, span: float, whole: bool) -> list[tuple[str, str, charts.Chart]]:
    """The charts: of each its name, what it tells, and the chart."""
    found = [('Attempts', 'how many succeeded, and failed', charts.bars(records, now, span))]
    if whole:
        found += [
            ('Run time', 'how long attempts ran', charts.bands(records, now, span, 'run')),
            ('Wait', 'how long tasks were ready before they were taken', charts.bands(records, now, span, 'wait')),
            ('Pending', 'tasks that were pending', charts.lines(records, now, span, ['pending'])),
            ('Oldest', 'for how long the oldest task had been ready',
             charts.lines(records, now, span, ['oldest'], what='oldest age', of='seconds')),
            ('Workers', 'workers that lived', charts.lines(records, now, span, ['workers'])),
            ('Slots', 'slots that were busy, of all', charts.lines(records, now, span, ['busy', 'slots'])),
        ]  # fmt: skip
    return found


def figures(records: Sequence[Record], span: float) -> dict[str, float | None]:
    """Sums of the records."""
    whole = Totals.together(record.totals for record in records)
    done, failed, ran = whole.succeeded, whole.failed, whole.run_time
    sizes = [record.sizes for record in records if record.sizes is not None]
    return {
        'done': done, 'failed': failed, 'dead': whole.dead, 'lost': whole.lost,
        'mean': ran / (done + failed) if done + failed and ran else None, 'ran': ran,
        'rate': done / (len(records) * records[0].length / 60) if records else None,
        'pending': max((one.pending for one in sizes), default=None),
        'oldest': max((one.oldest for one in sizes), default=None),
        'known': sum(record.length for record in records), 'span': span,
    }  # fmt: skip


def most_of(functions: Sequence[FunctionView]) -> int:
    """Attempts of the function that ran most often."""
    return max((one.totals.succeeded + one.totals.failed for one in functions), default=0)


PAGE = Page('history', 'History', read, every=10.0)
