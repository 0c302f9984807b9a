"""Tables: which columns fit a width, and how wide each of them is; rich draws them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2
"""Columns of the terminal between two of the table."""
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


def fit(columns: Sequence[Column], widths: Sequence[int], space: int) -> dict[int, int]:
    """Which columns are there, by their places, and how wide each is.

    :param widths: how wide each would be if nothing were cut.
    :param space: columns that there are; what is never cut or left out may take more.
    """
    least = [
        width if column.right or column.whole else min(width, max(LEAST, len(column.title)))
        for column, width in zip(columns, widths, strict=True)
    ]
    kept = [*range(len(columns))]
    while len(kept) > 1 and sum(least[place] + GAP for place in kept) - GAP > space:
        first = max(kept, key=lambda place: (columns[place].rank, place))
        if not columns[first].rank:
            break
        kept.remove(first)
    found = {place: least[place] for place in kept}
    left = space - sum(found.values()) - GAP * (len(kept) - 1)
    # What is left goes to those that are cut, the same to each, but to none more than it can use.
    wanting = sorted((place for place in kept if widths[place] > least[place]), key=lambda place: widths[place])
    for number, place in enumerate(wanting):
        more = max(0, min(widths[place], least[place] + left // (len(wanting) - number)) - least[place])
        found[place] += more
        left -= more
    return found


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
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [[_styled(cell, safe) for cell in row] for row in rows]
    widths = [
        max([len(column.title), column.least, *(cell_len(row[place][0]) for row in cells)])
        for place, column in enumerate(columns)
    ]
    found = fit(columns, widths, sum(widths) + GAP * len(widths) if space is None else space)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style='bold')
    for place, width in found.items():
        column = columns[place]
        table.add_column(
            Text(column.title), justify='right' if column.right else 'left', width=width, no_wrap=not column.fold,
            overflow='fold' if column.fold else cut,  # type: ignore[arg-type]
        )  # fmt: skip
    for row in cells:
        table.add_row(*(Text(*row[place]) for place in found))
    return table, sum(found.values()) + GAP * len(found)


def _styled(cell: Cell, safe: Callable[[str], str]) -> tuple[str, str]:
    text, style = cell if isinstance(cell, tuple) else (cell, '')
    return safe(text), style
