"""Draw a trace from a request through a retry, for light and for dark pages.

    python docs/image/trace.py [DIR]

A test has it draw into a directory of its own, and compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rooms import SANS
from states import THEMES, Theme, line, words

HERE = Path(__file__).resolve().parent

WIDTH, HEIGHT, LEFT, BAR = 960, 306, 24, 26
TITLE = 'A trace from a request to its end, through a retry'
DESCRIPTION = (
    'A request enqueues a task: its span has the span of the producer in it. The first attempt is a trace of its own '
    'with a link to the producer; its handler fails, and it is retried. The second attempt has a link to the same '
    'producer; in it is what the handler does, and it is released.'
)


class Bar(NamedTuple):
    """A span: what it is called, when it begins and ends, on which line it is, what is told of it, and its colour."""

    name: str
    begin: float
    end: float
    row: int
    told: str
    tint: str


BARS = (
    Bar('POST /orders', 24, 250, 0, 'server', 'final'),
    Bar('enqueue shop', 96, 216, 1, 'producer', 'pending'),
    Bar('process shop', 300, 470, 3, 'attempt 1: retried', 'dead'),
    Bar('process shop', 620, 806, 3, 'attempt 2: released', 'working'),
    Bar('send the mail', 660, 790, 4, 'of the handler', 'final'),
)
LINKS = (300, 620)
TOP, STEP = 52, 44


def draw_bar(bar: Bar, theme: Theme) -> Iterator[str]:
    tint, top = theme.tints[bar.tint], TOP + STEP * bar.row
    size = f'width="{bar.end - bar.begin:g}" height="{BAR}"'
    place = f'x="{bar.begin:g}" y="{top}"'
    yield f'<rect {place} {size} rx="6" fill="{tint.fill}" stroke="{tint.line}" stroke-width="1.6"/>'
    yield words(bar.begin + 10, top + 17.5, bar.name, theme.text, f'600 13px {SANS}')
    yield words(bar.end + 8, top + 17.5, bar.told, tint.line, f'12px {SANS}')


def draw_link(begin: float, theme: Theme) -> Iterator[str]:
    """From an attempt back to the producer."""
    top, foot = TOP + STEP * 1 + BAR + 3, TOP + STEP * 3 - 2
    middle = (top + foot) / 2 + 4
    start = begin + 30
    yield line(f'M {start:g} {foot} C {start:g} {middle:g}, 200 {middle:g}, 180 {top + 1}', theme.arrow, dashed=True)
    yield words(start + 8, foot - 8, 'link', theme.quiet, f'12px {SANS}')


def draw(theme: Theme) -> str:
    head = '<path d="M 0 0.8 L 9 4.5 L 0 8.2 L 2 4.5 Z"'
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">{TITLE}</title>',
        f'<desc id="description">{DESCRIPTION}</desc>',
        '<defs><marker id="head" markerWidth="9" markerHeight="9" refX="8" refY="4.5" orient="auto" '
        f'markerUnits="userSpaceOnUse">{head} fill="{theme.arrow}"/></marker></defs>',
        f'<rect width="100%" height="100%" fill="{theme.page}"/>',
        words(LEFT, 32, 'the web application', theme.quiet, f'600 13px {SANS}'),
        *(part for begin in LINKS for part in draw_link(begin, theme)),
        *(part for bar in BARS for part in draw_bar(bar, theme)),
        words(LEFT, TOP + STEP * 3 + 17.5, 'the worker', theme.quiet, f'600 13px {SANS}'),
        line(f'M {LEFT} {HEIGHT - 26} H {WIDTH - LEFT}', theme.arrow),
        words(WIDTH - LEFT, HEIGHT - 8, 'time', theme.quiet, f'12px {SANS}', 'end'),
        '</svg>',
        '',
    ]
    return '\n'.join(made)


def main(directory: Path) -> None:
    for name, theme in THEMES.items():
        (directory / f'trace-{name}.svg').write_text(draw(theme), 'utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
