"""Draw throughput by primaries, measured and simulated, for light and for dark pages.

    python docs/image/throughput.py [DIR]

The figures are in `throughput.json`, which says of each what it is, when it was taken and how.  A test has it draw into
a directory of its own, and compares.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rooms import SANS

HERE = Path(__file__).resolve().parent

WIDTH, HEIGHT = 720, 470
LEFT, RIGHT, TOP, FOOT = 72, 560, 56, 404
MOST = 128
NUMBERS = (1, 2, 4, 8, 16, 32, 64, 128)
TITLE = 'Throughput of a queue of shards, by the number of primaries'
DESCRIPTION = (
    'Both axes are logarithmic, from 1 to 128. Throughput in multiples of what one primary gives: simulated, with '
    'tasks of 5 ms, it stays above 0.8 of the number of primaries up to 128; measured on 2, 3 and 4 primaries it does '
    'as well. Where processes ask the shards in turn instead of at random, it falls to about half.'
)


class Theme(NamedTuple):
    page: str
    grid: str
    text: str
    quiet: str
    good: str
    bad: str
    bulk: str
    loops: str


THEMES = {
    'light': Theme('#ffffff', '#e3e8ec', '#1b1f23', '#57606a', '#0b6e4f', '#b42318', '#1f5fa8', '#8a5a00'),
    'dark': Theme('#131416', '#2a3036', '#e6e8ea', '#9aa4ae', '#45c496', '#f28b80', '#7db4f0', '#e0b25c'),
}

Points = Sequence[tuple[float, float]]


def place(number: float, times: float) -> tuple[float, float]:
    """Where a point is."""
    across, up = (math.log(value) / math.log(MOST) for value in (number, times))
    return LEFT + across * (RIGHT - LEFT), FOOT - up * (FOOT - TOP)


def words(x: float, y: float, text: str, fill: str, size: int = 13, anchor: str = 'start') -> str:
    style = f'style="font: {size}px {SANS}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}" {style}>{text}</text>'


def line(points: Points, color: str, width: float = 2, dash: str = '') -> str:
    path = ' L '.join(f'{x:.1f} {y:.1f}' for x, y in (place(*point) for point in points))
    style = f' stroke-dasharray="{dash}"' if dash else ''
    return f'<path d="M {path}" fill="none" stroke="{color}" stroke-width="{width:g}"{style}/>'


def dot(point: tuple[float, float], color: str, page: str, size: float = 3.2) -> str:
    x, y = place(*point)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" fill="{color}" stroke="{page}" stroke-width="1"/>'


def square(point: tuple[float, float], color: str, page: str) -> str:
    x, y = place(*point)
    return (
        f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{color}" stroke="{page}" stroke-width="1"/>'
    )


def draw_grid(theme: Theme) -> Iterator[str]:
    for number in NUMBERS:
        yield line([(number, 1), (number, MOST)], theme.grid, 1)
        yield line([(1, number), (MOST, number)], theme.grid, 1)
        (x, _), (_, y) = place(number, 1), place(1, number)
        yield words(x, FOOT + 20, str(number), theme.quiet, 12, 'middle')
        yield words(LEFT - 10, y + 4, str(number), theme.quiet, 12, 'end')
    yield words((LEFT + RIGHT) / 2, FOOT + 44, 'primaries, a shard on each', theme.text, 13, 'middle')
    yield words(LEFT - 44, TOP - 22, 'throughput, in multiples of one primary', theme.text)


def points_of(figures: dict[str, float]) -> Points:
    return [(float(number), times) for number, times in figures.items()]


def draw_simulated(figures: dict[str, dict[str, float]], theme: Theme) -> Iterator[str]:
    ideal, goal = [(1, 1), (MOST, MOST)], [(1 / 0.8, 1), (MOST, 0.8 * MOST)]
    yield line(ideal, theme.quiet, 1)
    yield line(goal, theme.quiet, 1, '5 4')
    turn, chosen = (points_of(figures[case]) for case in ('tasks of 5 ms, shards in turn', 'tasks of 5 ms'))
    for points, color in ((turn, theme.bad), (chosen, theme.good)):
        yield line(points, color)
        yield from (dot(point, color, theme.page) for point in points)


def draw_key(data: dict[str, dict[str, dict[str, float]]], theme: Theme) -> Iterator[str]:
    x, _ = place(MOST, 1)
    shown = data['simulated']['figures']
    ends = {case: place(*points_of(shown[case])[-1])[1] for case in shown}
    top = place(MOST, MOST)[1]
    yield words(x + 12, top - 4, 'as many times', theme.quiet, 12)
    yield words(x + 12, top + 32, '0.8 of it, the goal', theme.quiet, 12)
    yield words(x + 12, top + 14, 'simulated', theme.good, 13)
    low = ends['tasks of 5 ms, shards in turn']
    yield words(x + 12, max(low + 4, top + 54), 'shards in turn,', theme.bad, 13)
    yield words(x + 12, max(low + 20, top + 70), 'simulated', theme.bad, 13)


def draw_measured(figures: dict[str, dict[str, float]], theme: Theme) -> Iterator[str]:
    x, y = place(8, 2)
    for row, (name, color) in enumerate((('in bulk', theme.bulk), ('100 loops', theme.loops))):
        for point in points_of(figures[name]):
            yield square(point, color, theme.page)
        at = y + 26 * row
        yield f'<rect x="{x - 4:.1f}" y="{at - 8:.1f}" width="8" height="8" fill="{color}"/>'
        yield words(x + 12, at, f'measured, {name}', color)


def draw(data: dict[str, dict[str, dict[str, float]]], theme: Theme) -> str:
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">{TITLE}</title>',
        f'<desc id="description">{DESCRIPTION}</desc>',
        f'<rect width="100%" height="100%" fill="{theme.page}"/>',
        *draw_grid(theme),
        *draw_simulated(data['simulated']['figures'], theme),
        *draw_key(data, theme),
        *draw_measured(data['measured']['figures'], theme),
        '</svg>',
        '',
    ]
    return '\n'.join(made)


def main(directory: Path) -> None:
    data = json.loads((HERE / 'throughput.json').read_text('utf-8'))
    for name, theme in THEMES.items():
        (directory / f'throughput-{name}.svg').write_text(draw(data, theme), 'utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
