"""Tables, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Row = list[str]
NONE = '-'


class Table(NamedTuple):
    """The first column has names, the others figures."""

    title: str
    head: Row
    rows: list[Row]


def as_text(tables: Sequence[Table]) -> list[str]:
    """Lines, each table after an empty one.  A row of two cells is a remark, as wide as it likes."""
    lines = []
    for title, head, rows in tables:
        widths = [max(len(row[n]) for row in [head, *rows] if n < len(row) > 2) for n in range(len(head))]
        lines += ['', title]
        for row in [head, *rows]:
            cells = [row[0].ljust(widths[0]), *(cell.rjust(widths[n]) for n, cell in enumerate(row[1:], 1))]
            lines.append('  '.join(cells).rstrip())
    return lines


def as_markdown(tables: Sequence[Table]) -> list[str]:
    """As `as_text`."""
    lines = []
    for title, head, rows in tables:
        lines += ['', f'{title}:', '', _row(head), _row(['---', *['---:'] * (len(head) - 1)])]
        lines += [_row([*row, *[''] * (len(head) - len(row))]) for row in rows]
    return lines


def thousands(rate: float) -> str:
    """A rate in thousands."""
    if rate < 100:
        return f'{rate / 1000:.2g}'
    return f'{rate / 1000:.2f}' if rate < 10_000 else f'{rate / 1000:.1f}'


def _row(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cells) + ' |'
