"""What a worker says first: what it serves, where, and how it is ended."""

import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .clean import shown
from .options import BURST

logger = logging.getLogger(__package__)

MOST = 12
"""Functions that are named at the most."""


class Offer(NamedTuple):
    """What a worker serves."""

    version: str
    target: str
    servers: Sequence[str]
    queues: Sequence[str]
    weights: Mapping[str, int]
    """Those of the queues that have one."""
    steal: Sequence[str]
    functions: Sequence[str]
    ordered: Sequence[str]
    """The groups of ordered queues, each with its queue."""
    concurrency: int
    burst: bool = False


def say(offer: Offer, processes: int, form: str) -> None:
    """Show it on standard error: as a table on a terminal, else in one line, or as a line of the log that is JSON."""
    if form == 'json':
        line = 'torrelque %s serves %s'
        logger.info(line, offer.version, offer.target, extra={**offer._asdict(), 'processes': processes})
        return
    # A reader that is gone, or a disk that is full, keeps no worker from its work.
    with contextlib.suppress(OSError):
        if sys.stderr.isatty():
            _show(offer, processes)
        else:
            print(one_line(offer, processes), file=sys.stderr, flush=True)


def one_line(offer: Offer, processes: int) -> str:
    """The same in a line."""
    rest = '; '.join(f'{name} {value}' for name, value in rows(offer, processes))
    return f'torrelque {offer.version}: {shown(offer.target)}; {rest}'


def rows(offer: Offer, processes: int) -> list[tuple[str, str]]:
    """What is told, as pairs of a heading and a line that may be shown."""
    weights = {name: f' (weight {weight})' for name, weight in offer.weights.items()}
    queues = [shown(name) + weights.get(name, '') for name in offer.queues]
    functions = [shown(name) for name in offer.functions[:MOST]]
    if len(offer.functions) > MOST:
        functions.append(f'and {len(offer.functions) - MOST} more')
    found = [
        ('server', ', '.join(map(shown, offer.servers))),
        ('queues', ', '.join(queues)),
        ('steals from', ', '.join(map(shown, offer.steal))),
        ('functions', ', '.join(functions)),
        ('ordered', ', '.join(map(shown, offer.ordered))),
        ('burst', BURST.replace('end', 'ends', 1) if offer.burst else ''),
        ('concurrency', f'{offer.concurrency}' + (f' in each of {processes} processes' if processes > 1 else '')),
        ('to stop', 'Ctrl-C or SIGTERM: what is in hand is finished; twice: given back'),
    ]
    return [(name, value) for name, value in found if value]


def _show(offer: Offer, processes: int) -> None:
    # The extra `cli` is looked for when a command begins; whatever imports this module for its values needs none.
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style='dim', no_wrap=True)
    table.add_column(overflow='fold')
    for name, value in rows(offer, processes):
        table.add_row(Text(name), Text(value))
    title = Text(f'torrelque {offer.version}', 'bold').append(f'  {shown(offer.target)}', 'not bold')
    Console(stderr=True, highlight=False).print(Panel(table, title=title, title_align='left', expand=False))
