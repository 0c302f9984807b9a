"""A figure beside what it is to be, and how it is shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmark.tables import NONE, Row, Table

HEAD = ['figure', 'measured', 'range', 'unit', 'goal', '']


class Figure(NamedTuple):
    """Something that was measured."""

    name: str
    value: float
    unit: str = ''
    goal: float | None = None
    """What it is to be, or None."""
    least: bool = False
    """Whether it is to be so much at the least, and not at the most."""
    low: float | None = None
    high: float | None = None
    """The range of the rounds."""

    @property
    def reached(self) -> bool:
        """Whether it is what it is to be."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.least else self.value <= self.goal


def of_rounds(
    name: str, values: Sequence[float], unit: str = '', goal: float | None = None, *, least: bool = False
) -> Figure:
    """The median of some rounds."""
    return Figure(name, statistics.median(values), unit, goal, least, min(values), max(values))


def told(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Figures as they are kept."""
    return [one._asdict() for one in figures]


def table(title: str, figures: Sequence[dict[str, Any]]) -> Table:
    """Figures as they were kept, each with its goal."""
    return Table(title, HEAD, [_row(Figure(**one)) for one in figures])


def missed(figures: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Which of them are not what they are to be."""
    for kept in figures:
        one = Figure(**kept)
        if not one.reached:
            yield f'{one.name}: {_number(one.value)} {one.unit}, and not {_goal(one)}'.replace('  ', ' ')


def _row(one: Figure) -> Row:
    judged = NONE if one.goal is None else 'reached' if one.reached else 'missed'
    between = NONE if one.low is None or one.high is None else f'{_number(one.low)} to {_number(one.high)}'
    return [one.name, _number(one.value), between, one.unit, _goal(one), judged]


def _goal(one: Figure) -> str:
    return NONE if one.goal is None else f'at {"least" if one.least else "most"} {_number(one.goal)}'


def _number(value: float) -> str:
    if value == int(value):
        return f'{value:,.0f}'
    return f'{value:,.0f}' if value >= 1000 else f'{value:.1f}' if value >= 100 else f'{value:.2f}'
