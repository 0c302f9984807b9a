"""Where answers go: tables that fit the terminal, sentences, or JSON.

Data is only shown as `Text`, never as markup of rich, and made visible before: nothing of it reaches the terminal raw.
"""

import datetime
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .clean import shown

WIDE = 10_000
"""Columns of what is no terminal: nothing is cut there."""


class Column(NamedTuple):
    """A column of a table."""

    title: str
    right: bool = False
    """Whether it is aligned at the right, as numbers are."""
    whole: bool = False
    """Whether it is never cut, as an id that somebody copies."""
    fold: bool = False
    """Whether what does not fit goes on in the next line."""


class Out:
    """The standard output of a command that asks or acts.

    :param as_json: JSON objects, one a line, instead of tables and sentences.
    :param utc: instants in UTC.
    """

    def __init__(self, as_json: bool = False, utc: bool = False) -> None:
        from rich.console import Console

        self.as_json = as_json
        self.utc = utc
        self.terminal = sys.stdout.isatty()
        width = None if self.terminal or os.environ.get('COLUMNS') else WIDE
        self.console = Console(highlight=False, markup=False, emoji=False, width=width, soft_wrap=False)
        self.error = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def json(self, value: Any) -> None:
        """A value with ``as_json``, or one that JSON has, as a line; at once, because others may wait for it."""
        data = value.as_json() if hasattr(value, 'as_json') else value
        # What is not of ASCII is escaped, so that no control character and no mark of direction is written.
        print(json.dumps(data), flush=True)

    def line(self, text: str = '', style: str = '') -> None:
        """A line of text, which is made visible; it is not wrapped."""
        from rich.text import Text

        self.console.print(Text(shown(text), style), soft_wrap=True)

    def tell(self, text: str) -> None:
        """A line on standard error: what is no answer."""
        from rich.text import Text

        self.error.print(Text(shown(text)), soft_wrap=True)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str | tuple[str, str]]]) -> None:
        """A table; a cell is a text, or a text and a style of rich."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style='bold', padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(Text(column.title), justify='right' if column.right else 'left',
                no_wrap=not column.fold, overflow='fold' if column.fold else 'ellipsis',
                min_width=None)  # fmt: skip
        for row in rows:
            cells = [cell if isinstance(cell, tuple) else (cell, '') for cell in row]
            table.add_row(*(Text(shown(text), style) for text, style in cells))
        self.console.print(table)

    def when(self, instant: float | None) -> str:
        """An instant for people: local time, or UTC, to the second; '-' where there is none."""
        if instant is None:
            return '-'
        zone = datetime.timezone.utc if self.utc else None
        try:
            moment = datetime.datetime.fromtimestamp(instant, zone)
        except (ValueError, OverflowError, OSError):
            return f'{instant:.0f}'
        return moment.isoformat(' ', 'seconds').replace('+00:00', 'Z')


def ago(seconds: float | None) -> str:
    """A time for people: ``340ms``, ``3s``, ``3m12s``, ``2h05m``, ``4d03h``; '-' where there is none."""
    if seconds is None:
        return '-'
    if seconds < 0:
        return f'-{ago(-seconds)}'
    if seconds < 1:
        return f'{seconds * 1000:.0f}ms' if seconds else '0s'
    whole = int(seconds)
    for size, small, unit, below in ((86400, 3600, 'd', 'h'), (3600, 60, 'h', 'm'), (60, 1, 'm', 's')):
        if whole >= size:
            return f'{whole // size}{unit}{whole % size // small:02}{below}'
    return f'{whole}s'


def number(value: float | None) -> str:
    """A number for people: ``1,204,118``; '-' where there is none."""
    return '-' if value is None else f'{value:,.0f}'
