"""Charts as values: all geometry is computed here, and the macros of ``chart.html`` write it as SVG.

A time of which nobody wrote a record is a gap, and no zero.  Plots are as wide as there is room: shapes are in units of
an inner ``viewBox`` that is stretched, and texts at percentages of the width, so that these are not.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torrelque.operate import BUCKETS, Record
from torrelque.operate.records import percentile

from . import wording
from .paths import Values, area, bars_apart, line, part, seen, skyline
from .scales import HEIGHT, Grid, Scale, Tick, day_of, linear, logarithmic

__all__ = ['Chart', 'Shape', 'Slot', 'Spark', 'bands', 'bars', 'histogram', 'lines', 'spark']

SEPARATE = 96
"""Bars that have room between them at the most; more are one outline."""
SLOTS = 24
"""Parts of a chart that tell their values at the most, where it has more than `SEPARATE` times."""
SPREAD = 30.0
"""How many times as long as the shortest one the longest time is, before their scale is logarithmic."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is drawn as one path."""

    kind: str
    """Its classes."""
    path: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of a chart that tells its values, and a row of the table behind it."""

    x: str
    width: str
    """Percentages of the width."""
    title: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart that may be as wide as a page."""

    title: str
    """A sentence that tells the gist."""
    box: str = f'0 0 1 {HEIGHT}'
    """The ``viewBox`` of its shapes."""
    shapes: tuple[Shape, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    """Classes of the shapes that need an explanation, and the explanation."""
    rows: tuple[Tick, ...] = ()
    """What is written on its left, and where lines are."""
    columns: tuple[Tick, ...] = ()
    """What is written below."""
    slots: tuple[Slot, ...] = ()
    head: tuple[str, ...] = ()
    """The head of the table behind."""
    points: str = ''
    """The values as JSON for a script: a list for each series, null is a gap."""
    names: str = ''
    """What the series are, with a bar between them."""
    unit: str = ''
    """What the values are: 'count' or 'seconds'."""
    start: float = 0.0
    length: float = 0.0
    """When the first time begins, and how long each is (s)."""
    note: str = ''
    """What has to be known to read it."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no records."""
        return not self.slots


@dataclass(frozen=True, slots=True)
class Spark:
    """Bars in a cell of a table."""

    title: str
    box: str
    shapes: tuple[Shape, ...]


# Over time


def bars(records: Sequence[Record], now: float, span: float) -> Chart:
    """Attempts that succeeded and failed, in the last so many seconds."""
    grid, found = _grid(records, now, span)
    if not found:
        return Chart('No records.')
    done, failed = _counts(grid, found)
    top = max(_sum(done, failed))
    scale = linear(top, _short)
    shapes = (*_gaps(done), *_stacked(done, failed, scale, grid.count <= SEPARATE))

    def cells(numbers: range) -> tuple[str, ...]:
        return tuple(wording.number(sum(one[n] or 0 for n in numbers)) for one in (done, failed))

    slots = _slots(grid, done, now, cells, lambda it: f'{it[0]} done, {it[1]} failed')
    return Chart(
        _gist_of_bars(grid, done, failed), f'0 0 {grid.count} {HEIGHT}', _drawn(shapes),
        (('ok', 'succeeded'), ('bad', 'failed'), *_key_of_gaps(done)), scale.ticks, grid.ticks(), slots,
        ('time (UTC)', 'succeeded', 'failed'), _json(done, failed), 'succeeded|failed', 'count', grid.start,
        grid.length,
    )  # fmt: skip


def lines(
    records: Sequence[Record], now: float, span: float, names: Sequence[str], *, what: str = '', of: str = 'count',
) -> Chart:  # fmt: skip
    """Fields of `torrelque.operate.Sizes` over time, such as ``['oldest']``, or ``['busy', 'slots']``: three at most.

    :param what: what the first one is, in words, where its name does not tell: 'oldest age'.
    :param of: 'count' or 'seconds'.
    """
    kinds = ('one', 'two', 'three')
    grid, found = _grid(records, now, span)
    series = [[None if (one := found.get(n)) is None or one.sizes is None else float(getattr(one.sizes, name))
               for n in range(grid.count)] for name in names]  # fmt: skip
    if all(value is None for value in series[0]):
        return Chart('No records.')
    exact: Callable[[float | None], str] = wording.number if of == 'count' else wording.duration
    top = max(value for one in series for value in one if value is not None)
    scale = linear(top, _short if of == 'count' else wording.duration, of == 'seconds')
    shapes = [Shape(f'line {kind}', line(one, scale)) for kind, one in zip(kinds, series, strict=False)]
    # The first one is drawn last, so that it is seen where lines meet.
    shapes.reverse()
    if len(series) == 1:
        shapes.insert(0, Shape(f'area {kinds[0]}', area(series[0], [0.0] * grid.count, scale)))

    def cells(numbers: range) -> tuple[str, ...]:
        return tuple(_most(exact, one, numbers) for one in series)

    def sentence(it: Sequence[str]) -> str:
        return ', '.join(f'{value} {name}' for value, name in zip(it, names, strict=True))

    top, at = max((value, -n) for n, value in enumerate(series[0]) if value is not None)
    least = min(value for value in series[0] if value is not None)
    reach = exact(top) if least == top else f'{exact(least)} to {exact(top)}'
    most = '' if least == top else f', most at {_at(grid, -at)}'
    title = f'{(what or names[0]).capitalize()}: {reach} in {_span(grid)}{most}.'
    keys = tuple(zip(kinds, names, strict=False)) if len(names) > 1 else ()
    return Chart(
        title, f'0 0 {grid.count} {HEIGHT}', _drawn((*_gaps(series[0]), *shapes)), (*keys, *_key_of_gaps(series[0])),
        scale.ticks, grid.ticks(), _slots(grid, series[0], now, cells, sentence), ('time (UTC)', *names),
        _json(*series), '|'.join(names), of, grid.start, grid.length,
    )  # fmt: skip


def bands(records: Sequence[Record], now: float, span: float, of: str = 'run') -> Chart:
    """Between which times half of all and 95 of a hundred have run, or waited, below.

    :param of: 'run' or 'wait'.
    """
    grid, found = _grid(records, now, span)
    counted = [getattr(found[n], of) if n in found else () for n in range(grid.count)]
    middle, high = ([percentile(one, part) if one else None for one in counted] for part in (0.5, 0.95))
    known = [value for one in (middle, high) for value in one if value is not None]
    if not known:
        return Chart('No records.')
    spread = max(known) / max(0.001, min(known))
    scale = logarithmic(known, wording.duration) if spread > SPREAD else linear(max(known), wording.duration, True)

    def cells(numbers: range) -> tuple[str, ...]:
        together = _together(counted[n] for n in numbers)
        return tuple(wording.duration(percentile(together, part)) for part in (0.5, 0.95))

    whole = _together(counted)
    told = [wording.duration(percentile(whole, part)) for part in (0.5, 0.95)]
    verb = 'ran' if of == 'run' else 'waited'
    shapes = (
        *_gaps([None if not one else 0.0 for one in counted]), Shape('band', area(high, middle, scale)),
        Shape('line high', line(high, scale)), Shape('line one', line(middle, scale)),
    )  # fmt: skip
    return Chart(
        f'Half of {wording.number(sum(whole))} {verb} up to {told[0]}, 95 % up to {told[1]}, in {_span(grid)}.',
        f'0 0 {grid.count} {HEIGHT}', _drawn(shapes),
        (('one', 'median'), ('high', '95 %'), *_key_of_gaps([one or None for one in counted])),
        scale.ticks, grid.ticks(), _slots(grid, middle, now, cells, lambda it: f'median {it[0]}, 95 % {it[1]}'),
        ('time (UTC)', 'median', '95 %'), _json(middle, high), 'median|95 %', 'seconds', grid.start, grid.length,
        'logarithmic' if scale.low > 0 else '',
    )  # fmt: skip


def histogram(counts: Sequence[int], what: str = 'runs') -> Chart:
    """How many there were in each of `torrelque.operate.BUCKETS`."""
    whole, count = sum(counts), len(BUCKETS)
    if not whole:
        return Chart('No records.')
    scale = linear(max(counts), _short)
    heights = [seen(one, scale.height(one)) for one in counts]
    bounds = [0.0, *BUCKETS]
    found = []
    for n, one in enumerate(counts):
        words = _between(bounds[n], bounds[n + 1])
        told = f'{wording.number(one)}, {wording.percent(one, whole)}'
        cells = (words, wording.number(one), wording.percent(one, whole))
        found.append(Slot(part(n, count), part(1, count), f'{words}: {told}', cells))
    labels = [n for n, bound in enumerate(BUCKETS[:-1]) if bound in (0.01, 0.1, 1.0, 10.0, 60.0, 1800.0)]
    ticks = tuple(Tick(part(n + 1, count), wording.duration(BUCKETS[n]), minor=n == labels[-2]) for n in labels)
    half, most = (wording.duration(percentile(counts, part)) for part in (0.5, 0.95))
    return Chart(
        f'{wording.number(whole)} {what}: half up to {half}, 95 % up to {most}.', f'0 0 {count} {HEIGHT}',
        _drawn((Shape('bar plain', bars_apart([0] * count, heights)),)), (), scale.ticks, ticks, tuple(found),
        ('time', what, 'share'), unit='count',
    )  # fmt: skip


def spark(records: Sequence[Record], now: float, minutes: int = 60) -> Spark:
    """Attempts of the last minutes, for a cell of a table."""
    grid, found = _grid([one for one in records if one.length == 60], now, minutes * 60.0)
    box = f'0 0 {grid.count} {HEIGHT}'
    if not found:
        return Spark('No records.', box, ())
    done, failed = _counts(grid, found)
    top = max(_sum(done, failed), default=0)
    scale = Scale((), max(1.0, float(top)))
    shapes = (*_gaps(done), *_stacked(done, failed, scale, False, 4))
    return Spark(_gist_of_bars(grid, done, failed), box, _drawn(shapes))


# Parts


def _grid(records: Sequence[Record], now: float, span: float) -> tuple[Grid, dict[int, Record]]:
    """The times of a chart, the last of which goes on now, and those of which there is a record."""
    length = records[-1].length if records else 60.0
    count = max(1, math.ceil(span / length))
    grid = Grid((math.floor(now / length) - count + 1) * length, length, count)
    places = ((grid.place(one.start), one) for one in records if one.length == length)
    return grid, {place: one for place, one in places if place is not None}


def _counts(grid: Grid, found: dict[int, Record]) -> tuple[Values, Values]:
    totals = [None if n not in found else found[n].totals for n in range(grid.count)]
    done = [None if one is None else one.succeeded for one in totals]
    return done, [None if one is None else one.failed for one in totals]


def _sum(one: Values, other: Values) -> list[float]:
    return [(a or 0) + (b or 0) for a, b in zip(one, other, strict=True)]


def _stacked(done: Values, failed: Values, scale: Scale, apart: bool, times: int = 1) -> tuple[Shape, ...]:
    """What succeeded, and on it what failed.

    :param apart: whether there is room between bars; else what failed reaches to the ground, behind the other.
    :param times: how many times as high as in a chart the least is that is seen.
    """
    low = [seen(one, scale.height(one or 0), times) for one in done]
    high = [seen(one, scale.height(one or 0), times) for one in failed]
    if apart:
        return Shape('bar ok', bars_apart([0] * len(low), low)), Shape('bar bad', bars_apart(low, high))
    both = [one + other if other else 0 for one, other in zip(low, high, strict=True)]
    return Shape('bar bad solid', skyline(both)), Shape('bar ok solid', skyline(low))


def _together(buckets: Iterable[Sequence[int]]) -> Sequence[int]:
    return [sum(column) for column in zip(*filter(None, buckets), strict=True)] or [0] * len(BUCKETS)


def _slots(
    grid: Grid, values: Values, now: float, cells: Callable[[range], tuple[str, ...]],
    sentence: Callable[[Sequence[str]], str],
) -> tuple[Slot, ...]:  # fmt: skip
    """What parts of a chart tell; a gap has none."""
    found = []
    for numbers in grid.groups(SEPARATE if grid.count <= SEPARATE else SLOTS):
        if all(values[n] is None for n in numbers):
            continue
        at = _at(grid, numbers[0])
        if len(numbers) > 1:
            at += f' to {_at(grid, numbers[-1])}'
        told = cells(numbers)
        ahead = ' so far' if grid.begin(numbers[-1] + 1) > now else ''
        x, width = part(numbers[0], grid.count), part(len(numbers), grid.count)
        found.append(Slot(x, width, f'{at}: {sentence(told)}{ahead}', (at, *told)))
    return tuple(found)


def _gist_of_bars(grid: Grid, done: Values, failed: Values) -> str:
    both = _sum(done, failed)
    top = max(both)
    told = [wording.number(sum(one or 0 for one in it)) for it in (done, failed)]
    most = f', most at {_at(grid, both.index(top))}: {wording.number(top)}' if top else ''
    return f'{told[0]} done and {told[1]} failed in {_span(grid)}{most}.'


def _span(grid: Grid) -> str:
    if grid.length == 60:
        return f'{grid.count} minutes' if grid.count <= 120 or grid.count % 60 else f'{grid.count // 60} hours'
    return f'{grid.count} hours' if grid.count <= 48 or grid.count % 24 else f'{grid.count // 24} days'


def _at(grid: Grid, number: int) -> str:
    instant = grid.begin(number)
    time = wording.minute(instant)
    # More than a day has instants of one time of day, which their day tells apart.
    return time if grid.count * grid.length <= 86400 else f'{day_of(instant)} {time}'


def _most(tell: Callable[[float | None], str], values: Values, numbers: range) -> str:
    return tell(max((value for n in numbers if (value := values[n]) is not None), default=None))


def _between(lower: float, upper: float) -> str:
    if upper == math.inf:
        return f'above {wording.duration(lower)}'
    return f'{wording.duration(lower)} to {wording.duration(upper)}' if lower else f'up to {wording.duration(upper)}'


def _short(value: float) -> str:
    text, space, unit = wording.number(value, short=True).partition(' ')
    # A round number needs no zeros behind its point.
    return (text.rstrip('0').rstrip('.') if '.' in text else text) + space + unit


def _json(*series: Values) -> str:
    parts = (','.join('null' if one is None else _told(one) for one in it) for it in series)
    return f'[{",".join(f"[{part}]" for part in parts)}]'


def _told(value: float) -> str:
    return f'{value:.0f}' if value % 1 == 0 else f'{value:.3g}' if value < 1000 else f'{value:.0f}'


def _drawn(shapes: Iterable[Shape]) -> tuple[Shape, ...]:
    return tuple(shape for shape in shapes if shape.path)


def _gaps(values: Sequence[Any]) -> tuple[Shape, ...]:
    """The times of which there is no record."""
    missing = [0 if one is not None else HEIGHT for one in values]
    return (Shape('gap', path),) if (path := skyline(missing)) else ()


def _key_of_gaps(values: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    return (('gap', 'no records'),) if any(one is None for one in values) else ()
