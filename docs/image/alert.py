"""Draw how a rule of alerts comes to fire, and to an end, for light and for dark pages.

    python docs/image/alert.py [DIR]

A test has it draw into a directory of its own, and compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rooms import SANS
from states import THEMES, Theme, words

HERE = Path(__file__).resolve().parent

WIDTH, HEIGHT = 960, 340
LEFT, RIGHT, TOP, BASE = 96, 936, 44, 236
ABOVE, BELOW = 108, 176
TITLE = 'How a rule comes to fire, and to an end'
DESCRIPTION = (
    'A value goes up and down over time. A short peak above the upper bound is over before its time is: the rule rises '
    'and is calm again, and nobody is told. Then the value stays above for its time, and the rule fires: that is told. '
    'It goes below the upper bound, and below the lower one for a moment, and the rule still fires. When it has stayed '
    'below the lower bound for the other time, the rule is over: that is told.'
)
POINTS = (
    (96, 200), (140, 196), (168, 92), (196, 88), (222, 186), (290, 178), (330, 100), (400, 70), (480, 64), (540, 80),
    (580, 140), (606, 190), (626, 194), (650, 132), (690, 128), (730, 182), (770, 208), (860, 212), (936, 206),
)  # fmt: skip
"""The value, from left to right."""
STATES = (
    (96, 164, 'calm', 'final'), (164, 201, 'rising', 'delayed'), (201, 327, 'calm', 'final'),
    (327, 430, 'rising', 'delayed'), (430, 597, 'firing', 'dead'), (597, 633, 'falling', 'waiting'),
    (633, 725, 'firing', 'dead'), (725, 832, 'falling', 'waiting'), (832, 936, 'calm', 'final'),
)  # fmt: skip
"""From, to, the state, and its colours."""


def draw_bounds(theme: Theme) -> Iterator[str]:
    for y, name in ((ABOVE, 'above'), (BELOW, 'below')):
        yield f'<path d="M {LEFT} {y} H {RIGHT}" stroke="{theme.quiet}" stroke-width="1.2" stroke-dasharray="5 4"/>'
        yield words(LEFT - 10, y + 4, name, theme.text, f'600 13px {SANS}', 'end')
    yield words(LEFT - 10, 204, 'value', theme.quiet, f'13px {SANS}', 'end')
    yield words(LEFT - 10, 266, 'state', theme.quiet, f'13px {SANS}', 'end')


def draw_time(left: float, right: float, y: float, name: str, theme: Theme) -> Iterator[str]:
    yield (f'<path d="M {left:g} {y - 5:g} V {y + 5:g} M {left:g} {y:g} H {right:g} M {right:g} {y - 5:g} V {y + 5:g}" '
           f'stroke="{theme.arrow}" stroke-width="1.4" fill="none"/>')  # fmt: skip
    yield words((left + right) / 2, y - 8, name, theme.text, f'13px {SANS}', 'middle')


def draw_told(x: float, name: str, theme: Theme) -> Iterator[str]:
    yield f'<path d="M {x:g} {TOP} V 310" stroke="{theme.text}" stroke-width="1.2"/>'
    yield f'<circle cx="{x:g}" cy="310" r="4" fill="{theme.text}"/>'
    yield words(x, 332, name, theme.text, f'600 13px {SANS}', 'middle')


def draw_states(theme: Theme) -> Iterator[str]:
    for left, right, name, kind in STATES:
        tint = theme.tints[kind]
        place = f'x="{left + 1}" y="248" width="{right - left - 2}" height="28"'
        yield f'<rect {place} rx="5" fill="{tint.fill}" stroke="{tint.line}" stroke-width="1.4"/>'
        if right - left > 40:
            yield words((left + right) / 2, 267, name, tint.line, f'600 12px {SANS}', 'middle')


def draw(theme: Theme) -> str:
    path = ' L '.join(f'{x} {y}' for x, y in POINTS)
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">{TITLE}</title>',
        f'<desc id="description">{DESCRIPTION}</desc>',
        f'<rect width="100%" height="100%" fill="{theme.page}"/>',
        f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BASE - TOP}" fill="{theme.zone}"/>',
        *draw_bounds(theme),
        f'<path d="M {path}" fill="none" stroke="{theme.tints["pending"].line}" stroke-width="2.4" '
        'stroke-linejoin="round"/>',
        *draw_states(theme),
        *draw_time(327, 430, 34, 'for', theme),
        *draw_time(725, 832, 34, 'clear_for', theme),
        *draw_told(430, 'told: firing', theme),
        *draw_told(832, 'told: over', theme),
        words(182, 76, 'too short', theme.quiet, f'12px {SANS}', 'middle'),
        words(616, 216, 'too short', theme.quiet, f'12px {SANS}', 'middle'),
        '</svg>',
        '',
    ]
    return '\n'.join(made)


def main(directory: Path) -> None:
    for name, theme in THEMES.items():
        (directory / f'alert-{name}.svg').write_text(draw(theme), 'utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
