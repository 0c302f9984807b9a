"""Where answers go: tables that fit the terminal, sentences, or JSON.

Data is only shown as `Text`, never as markup of rich, and made visible before: nothing of it reaches the terminal raw.
"""

import datetime
import functools
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .clean import shown, shown_lines
from .tables import Cell, Column, Layout, draw_laid, lay_out, styled, widths_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ['MOST', 'Column', 'Out', 'ago', 'number', 'share', 'shortened', 'size']

MOST = 4096
"""Characters of a text that are shown, where not all of it was asked for."""
NARROW = 20
"""Columns that a sentence needs beside what stands before it; in fewer it is the terminal that breaks it."""
IN_CELL = 1000
"""The same of a cell of a table that may be cut."""

_PLAIN = {'…': '...', '≥': '>='}
"""Signs of ours, and what stands for them where the output has no such characters."""


class Out:
    """The standard output of a command that asks or acts.

    :param as_json: JSON objects, one a line, instead of tables and sentences.
    :param utc: instants in UTC.
    :param width: columns that tables have; None is those of the terminal, and without one as many as they take.
    """

    def __init__(self, as_json: bool = False, utc: bool = False, width: int | None = None) -> None:
        self.as_json = as_json
        self.utc = utc
        self.terminal = sys.stdout.isatty()
        self.width = width
        self._encoding = getattr(sys.stdout, 'encoding', None) or 'utf-8'

    @functools.cached_property
    def console(self) -> 'Console':
        """The console of rich that writes to standard output."""
        return _make_console(width=self.width)

    @functools.cached_property
    def error(self) -> 'Console':
        """The console of rich that writes to standard error."""
        return _make_console(stderr=True)

    @property
    def space(self) -> int | None:
        """Columns that a line may have; None is any number."""
        return self.console.width if self.terminal else self.width

    # What is written

    def json(self, value: Any) -> None:
        """A value with ``as_json``, or one that JSON has, as a line; at once, because others may wait for it."""
        data = value.as_json() if hasattr(value, 'as_json') else value
        # What is not of ASCII is escaped, so that no control character and no mark of direction is written.
        print(json.dumps(data), flush=True)

    def line(self, text: str = '', style: str = '') -> None:
        """A line of text, which is made visible; it is not wrapped."""
        from rich.text import Text

        self.console.print(Text(self.safe(text), style), soft_wrap=True)

    def sentence(self, text: str, first: str = '', command: str | None = None, style: str = '') -> None:
        """A sentence, which goes on in the next line where a terminal is too narrow, and maybe a command line, which is
        not broken, so that it can be copied.

        :param first: what stands before it; the lines below are indented by as much.
        """
        from rich.cells import cell_len
        from rich.text import Text

        text += ':' if command is not None else ''
        whole = f'{first}{text}' if command is None else f'{first}{text}  {command}'
        if self.space is None or cell_len(self.safe(whole)) <= self.space or self.space < len(first) + NARROW:
            self.line(whole, style)
            return
        indent = ' ' * len(first)
        for line in Text(self.safe(text), style).wrap(self.console, self.space - len(first)):
            line.rstrip()
            self.console.print(Text(first).append_text(line), soft_wrap=True)
            first = indent
        if command is not None:
            self.line(f'{indent}  {command}', style)

    def block(self, text: str, indent: str = '  ', most: int | None = MOST) -> None:
        """Lines of a text, which are made visible.

        :param most: characters that are shown, and how many bytes there are more is told; None is all.
        """
        from rich.text import Text

        lines = self._encodable(shown_lines(shortened(text, most))).split('\n')
        self.console.print(Text('\n'.join(indent + line for line in lines)), soft_wrap=True)

    def tell(self, text: str) -> None:
        """A line on standard error: what is no answer.  In a terminal it is broken at words."""
        from rich.text import Text

        self.error.print(Text(shown(text)), soft_wrap=not self.error.is_terminal)

    def table(
        self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], details: Sequence[str] | None = None,
        *, head: bool = True,
    ) -> None:  # fmt: skip
        """A table, with those columns left out that do not fit.

        :param details: a text for each row, which stands below it, and is not cut; no column is folded then.
        :param head: whether the titles are written.
        """
        layout, (first, *rest) = self._lines(columns, [*rows])
        if head:
            self.console.print(first, soft_wrap=True)
        for place, line in enumerate(rest):
            self.console.print(line, soft_wrap=True)
            if details is not None and details[place]:
                self.line(f'  {details[place]}')
        if layout.left_out:
            self.tell(f'left out, because the terminal is narrow: {", ".join(layout.left_out)}; in a pipe, or with '
                      '--json, all are there')  # fmt: skip

    def pairs(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names and what belongs to them, in two columns; what is too long goes on in the next line."""
        _, (_, *rest) = self._lines([Column('', whole=True), Column('', fold=True)], [*rows])
        for line in rest:
            self.console.print(line, soft_wrap=True)

    def drawing(
        self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], below: Iterable[str] = ()
    ) -> 'RenderableType':
        """A table as rich has it, for a live view, and lines below it."""
        from rich.text import Text

        lines = [Text(self.safe(line)) for line in below]
        return Text('\n').join([*self._lines(columns, [*rows])[1], *lines])

    def _lines(
        self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
    ) -> tuple[Layout, Iterator[Any]]:  # fmt: skip
        """How a table is laid out, and its lines."""
        cells = [
            [styled(_brief(cell, column), self.safe) for cell, column in zip(row, columns, strict=True)] for row in rows
        ]
        layout = lay_out(columns, widths_of(columns, cells), self.space)
        return layout, self._drawn(layout, cells)

    def _drawn(self, layout: Layout, cells: Sequence[Sequence[tuple[str, str]]]) -> Iterator[Any]:
        """The lines of a table; without the spaces that rich has at their ends."""
        from rich.text import Text

        table, width = draw_laid(layout, cells, 'ellipsis' if self._has('…') else 'crop')
        options = self.console.options.update(width=width, max_width=width)
        for segments in self.console.render_lines(table, options, pad=False):
            line = Text.assemble(*((segment.text, segment.style or '') for segment in segments))
            line.rstrip()
            yield line

    # What is fit to be written

    def safe(self, text: str) -> str:
        """One line that may be written: visible, and of characters that standard output has."""
        return self._encodable(shown(text))

    def _encodable(self, text: str) -> str:
        if text.isascii() or self._has(text):
            return text
        for sign, plain in _PLAIN.items():
            text = text.replace(sign, plain)
        return text.encode(self._encoding, 'backslashreplace').decode(self._encoding)

    def _has(self, text: str) -> bool:
        try:
            text.encode(self._encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    # Instants

    def when(self, instant: float | None) -> str:
        """An instant for people: local time, or UTC, to the second; '-' where there is none."""
        moment = self._moment(instant)
        return moment if isinstance(moment, str) else moment.isoformat(' ', 'seconds').replace('+00:00', 'Z')

    def clock(self, instant: float | None, now: float) -> str:
        """The same, without the day where it is that of another instant."""
        moment, today = self._moment(instant), self._moment(now)
        if isinstance(moment, str) or isinstance(today, str) or moment.date() != today.date():
            return self.when(instant)
        return moment.time().isoformat('seconds') + ('Z' if self.utc else '')

    def _moment(self, instant: float | None) -> datetime.datetime | str:
        if instant is None:
            return '-'
        try:
            return datetime.datetime.fromtimestamp(instant, datetime.timezone.utc if self.utc else None)
        except (ValueError, OverflowError, OSError):
            return f'{instant:.0f}'


def _make_console(**options: Any) -> 'Console':
    from rich.console import Console

    class Ending(Console):
        def on_broken_pipe(self) -> None:
            # Where nobody reads any more rich would end the process with a status of its own; the command ends well.
            raise  # noqa: PLE0704 - it is called in the handler of the error

    return Ending(highlight=False, markup=False, emoji=False, **options)


def ago(seconds: float | None) -> str:
    """A time for people: ``340ms``, ``3s``, ``3m12s``, ``2h05m``, ``4d03h``; '-' where there is none."""
    if seconds is None or not math.isfinite(seconds):
        return '-'
    if seconds < 0:
        return f'-{ago(-seconds)}'
    if seconds < 0.9995:
        return f'{seconds * 1000:.0f}ms' if seconds >= 0.0005 else '0s'
    whole = int(seconds + 0.0005)
    for size, small, unit, below in ((86400, 3600, 'd', 'h'), (3600, 60, 'h', 'm'), (60, 1, 'm', 's')):
        if whole >= size:
            return f'{whole // size}{unit}{whole % size // small:02}{below}'
    return f'{whole}s'


def number(value: float | None) -> str:
    """A number for people: ``1,204,118``; '-' where there is none.  A whole one is exact, however large it is."""
    if value is None or value != value:
        return '-'
    return f'{value:,}' if isinstance(value, int) else f'{value:,.0f}'


def share(part: float, whole: float) -> str:
    """A part of a whole: ``0.2%``, ``17%``; '-' where there is none."""
    if not whole or not part:
        return '-'
    percent = part / whole * 100
    return '<0.1%' if percent < 0.05 else f'{percent:.1f}%' if percent < 9.95 else f'{percent:.0f}%'


def size(count: int | None) -> str:
    """Bytes: ``88 MB``; '-' where that is not known."""
    if count is None:
        return '-'
    value = float(count)
    units = ['TB', 'GB', 'MB', 'kB', 'B']
    while value >= 999.5 and len(units) > 1:
        units.pop()
        value /= 1000
    return f'{value:,.0f} {units[-1]}'


def shortened(text: str, most: int | None = MOST) -> str:
    """A text, or its beginning and how many bytes it has more."""
    if most is None or len(text) <= most:
        return text
    more = len(text[most:].encode('utf-8', 'surrogatepass'))
    return f'{text[:most]}… and {more:,} more bytes'


def _brief(cell: Cell, column: Column) -> Cell:
    if column.whole or column.right:
        return cell
    if isinstance(cell, tuple):
        return shortened(cell[0], IN_CELL), cell[1]
    return shortened(cell, IN_CELL)
