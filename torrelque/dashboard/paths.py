"""How shapes of charts are written as paths of SVG: as short as may be, in units of a plot, a time each unit wide."""

import itertools
from collections.abc import Iterable, Sequence

from .scales import HEIGHT, Scale

__all__ = ['Values', 'area', 'bars_apart', 'line', 'part', 'rounded', 'seen', 'skyline']

WIDTH = 0.76
"""How much of its place a bar takes."""
SEEN = 15
"""Units that something has at the least that is not nothing: a failure among many is seen."""

Values = Sequence[float | None]
"""A value of each time; None is a gap."""


def seen(value: float | None, height: int, times: int = 1) -> int:
    """The height of something, which is 0 only where it is nothing."""
    return max(height, SEEN * times) if value else 0


def bars_apart(bases: Sequence[int], heights: Sequence[int]) -> str:
    """Bars with room between them."""
    wide, room = rounded(WIDTH), (1 - WIDTH) / 2
    bars = enumerate(zip(bases, heights, strict=True))
    return ''.join(
        f'M{rounded(n + room)} {HEIGHT - base}v-{height}h{wide}v{height}z' for n, (base, height) in bars if height
    )


def skyline(heights: Sequence[int]) -> str:
    """Bars without room between them: one outline for those that stand side by side."""
    parts, before = [], 0
    for n, height in enumerate(heights):
        if not height:
            parts.append(f'V{HEIGHT}z' if before else '')
        elif not before:
            parts.append(f'M{n} {HEIGHT}V{HEIGHT - height}h1')
        else:
            # What is shorter: where it goes to, or how far it is.
            parts.append(min('' if height == before else f'V{HEIGHT - height}', f'v{before - height}', key=len) + 'h1')
        before = height
    return ''.join([*parts, f'V{HEIGHT}z' if before else ''])


def _runs(values: Values) -> Iterable[list[tuple[int, float]]]:
    """Values that stand side by side, and their places."""
    run: list[tuple[int, float]] = []
    for n, value in enumerate([*values, None]):
        if value is not None:
            run.append((n, value))
        elif run:
            yield run
            run = []


def line(values: Values, scale: Scale) -> str:
    """A line from one to the next, with gaps; one that stands alone is a point."""
    return ''.join(_path([(n, scale.y(value)) for n, value in run]) for run in _runs(values))


def area(upper: Values, lower: Values, scale: Scale) -> str:
    """What is between two lines."""
    parts = []
    for run in _runs(upper):
        above = [(n, scale.y(value)) for n, value in run]
        below = [(n, scale.y(lower[n] or 0.0)) for n, _ in reversed(run)]
        if len(above) > 1:
            parts.append(f'{_path([*above, *below])}z')
    return ''.join(parts)


def _path(points: Sequence[tuple[int, int]]) -> str:
    """A line through the middle of times, of steps, which are shorter to write than places."""
    (x, y), *_ = points
    steps = [_pair(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(points)]
    written = ''.join(step if step[0] == '-' else f' {step}' for step in steps)
    return f'M{x}.5 {y}{"l" + written.lstrip() if steps else "h.01"}'


def _pair(x: int, y: int) -> str:
    return f'{x}{y}' if y < 0 else f'{x} {y}'


def part(number: float, whole: int) -> str:
    """So many of a whole, as a percentage."""
    return f'{rounded(100 * number / whole, 3)}%'


def rounded(value: float, digits: int = 2) -> str:
    """A number without what is not needed of it."""
    text = f'{value:.{digits}f}'.rstrip('0').rstrip('.') if value % 1 else f'{value:.0f}'
    return text.removeprefix('0') if text.startswith('0.') else text
