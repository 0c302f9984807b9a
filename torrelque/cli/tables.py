"""Tables: which columns fit a width, and how wide each of them is; rich draws them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2
"""Columns of the terminal between two of the table; one, where else some of the table would be left out."""
LEAST = 10
"""A text that may be cut keeps so many columns, or is left out."""

Cell = str | tuple[str, str]
"""A text, or a text and a style of rich."""


class Column(NamedTuple):
    """A column of a table."""

    title: str
    right: bool = False
    """Whether it is aligned at the right, as numbers are; these are not cut."""
    whole: bool = False
    """Whether it is never cut, as an id that somebody copies."""
    fold: bool = False
    """Whether what does not fit goes on in the next line."""
    rank: int = 0
    """Which columns are left out first where they do not all fit: those of the highest rank, of equals the last; 0 is
    never left out."""
    least: int = 0
    """How wide it is at the least, so that tables below one another agree."""
    kept: int = LEAST
    """So many columns of a text that may be cut are kept, where others can be left out instead."""
    lines: int = 0
    """Lines of a cell at the most, where what does not fit goes on in the next; 0 is any number."""
    short: str = ''
    """The title where the table is too wide with the other one."""


def fit(columns: Sequence[Column], widths: Sequence[int], space: int, gap: int = GAP) -> dict[int, int]:
    """Which columns are there, by their places, and how wide each is.

    :param widths: how wide each would be if nothing were cut.
    :param space: columns that there are; what is never cut or left out may take more.
    :param gap: columns between two of the table.
    """
    least = [
        width if column.right or column.whole else min(width, max(column.kept, len(column.title)))
        for column, width in zip(columns, widths, strict=True)
    ]
    kept = [*range(len(columns))]
    while len(kept) > 1 and sum(least[place] + gap for place in kept) - gap > space:
        first = max(kept, key=lambda place: (columns[place].rank, place))
        if not columns[first].rank:
            break
        kept.remove(first)
    found = {place: least[place] for place in kept}
    left = space - sum(found.values()) - gap * (len(kept) - 1)
    for place in kept:
        # Where nothing more can be left out, texts keep less.
        if left < 0 and least[place] > LEAST and not (columns[place].right or columns[place].whole):
            found[place] -= (less := min(-left, least[place] - LEAST))
            left += less
    # What is left goes to those that are cut, the same to each, but to none more than it can use.
    wanting = sorted((place for place in kept if widths[place] > found[place]), key=lambda place: widths[place])
    for number, place in enumerate(wanting):
        more = max(0, min(widths[place], found[place] + left // (len(wanting) - number)) - found[place])
        found[place] += more
        left -= more
    return found


class Layout(NamedTuple):
    """How a table is laid out."""

    columns: Sequence[Column]
    """All of them, with the titles that fit."""
    widths: dict[int, int]
    """Of those that are there, by their places."""
    gap: int

    @property
    def width(self) -> int:
        """Columns of the terminal that it takes."""
        return sum(self.widths.values()) + self.gap * (len(self.widths) - 1)

    @property
    def left_out(self) -> list[str]:
        """Titles of the columns that are not there."""
        return [column.title for place, column in enumerate(self.columns) if place not in self.widths and column.title]


def lay_out(columns: Sequence[Column], widths: Sequence[int], space: int | None) -> Layout:
    """How a table is laid out: as wide as it is, else closer, else with short titles, else with some left out.

    :param widths: how wide the cells of each column are.
    """
    short = [column._replace(title=column.short or column.title) for column in columns]
    best: Layout | None = None
    for named, gap in ((columns, GAP), (columns, 1), (short, 1)):
        whole = [max(len(it.title), it.least, width) for it, width in zip(named, widths, strict=True)]
        enough = sum(whole) + gap * len(whole)
        one = Layout(named, fit(named, whole, enough if space is None else space, gap), gap)
        if best is None or (len(one.widths), -one.width) > (len(best.widths), -best.width):
            best = one
        if len(best.widths) == len(columns) and (space is None or best.width <= space):
            break
    assert best is not None
    return best._replace(columns=[  # what is left out is told by its own title
        one if place in best.widths else column
        for place, (one, column) in enumerate(zip(best.columns, columns, strict=True))
    ])  # fmt: skip


def draw(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    space: int | None,
    safe: Callable[[str], str],
    cut: str,
) -> tuple['Table', int]:
    """A table of rich, and how wide it is.

    :param space: columns that there are; None is as many as it takes.
    :param safe: makes a text of a cell fit to be shown.
    :param cut: what rich does with a text that is too long: ``ellipsis`` or ``crop``.
    """
    cells = [[styled(cell, safe) for cell in row] for row in rows]
    return draw_laid(lay_out(columns, widths_of(columns, cells), space), cells, cut)


def widths_of(columns: Sequence[Column], cells: Sequence[Sequence[tuple[str, str]]]) -> list[int]:
    """How wide the cells of each column are."""
    from rich.cells import cell_len

    return [max((cell_len(row[place][0]) for row in cells), default=0) for place in range(len(columns))]


def draw_laid(layout: Layout, cells: Sequence[Sequence[tuple[str, str]]], cut: str) -> tuple['Table', int]:
    """A table of texts that may be shown, with their styles, laid out like this; and how wide it is for rich."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, layout.gap, 0, 0), header_style='bold')
    for place, width in layout.widths.items():
        column = layout.columns[place]
        table.add_column(
            Text(column.title), justify='right' if column.right else 'left', width=width, no_wrap=not column.fold,
            overflow='fold' if column.fold else cut,  # type: ignore[arg-type]
        )  # fmt: skip
    for row in cells:
        table.add_row(*(
            _in_lines(Text(*row[place]), layout.columns[place], width, cut) for place, width in layout.widths.items()
        ))  # fmt: skip
    return table, layout.width + layout.gap


def _in_lines(text: Any, column: Column, width: int, cut: str) -> Any:
    """A text in so many lines as its column allows, the last of which ends where the text was cut."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    if not (column.fold and column.lines) or cell_len(text.plain) <= width:
        return text
    lines = [*text.wrap(Console(width=width), width)]
    if len(lines) <= column.lines:
        return text
    kept = lines[: column.lines]
    for line in kept:
        line.rstrip()
    if cut == 'ellipsis':
        kept[-1].append('…')
        kept[-1].truncate(width, overflow='ellipsis')
    return Text('\n').join(kept)


def styled(cell: Cell, safe: Callable[[str], str]) -> tuple[str, str]:
    """The text of a cell, fit to be shown, and its style."""
    text, style = cell if isinstance(cell, tuple) else (cell, '')
    return safe(text), style
