"""Draw a flow at five moments of its life, for light and for dark pages.

    python docs/image/flow.py [DIR]

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

WIDTH, HEIGHT = 960, 330
BOX_WIDTH, BOX_HEIGHT = 78, 44
TITLE = 'A flow at five moments of its life'
DESCRIPTION = (
    'Clean and audit wait for extract, and load waits for both. When extract has completed, clean and audit begin in '
    'the same step. Clean completes and audit is dead: load waits for one, and the flow stands still. After a redrive '
    'audit is worked on again. When it has completed, load begins, and the flow is completed when load is.'
)
PLACES = {'extract': (90, 96), 'clean': (47, 176), 'audit': (133, 176), 'load': (90, 256)}
EDGES = (('extract', 'clean'), ('extract', 'audit'), ('clean', 'load'), ('audit', 'load'))


class Moment(NamedTuple):
    """What has happened, what the flow is then, and how its tasks stand, in the order of the places."""

    title: str
    flow: str
    tasks: tuple[str, str, str, str]


MOMENTS = (
    Moment('enqueued', 'waiting, 4 left', ('pending', 'waits for 1', 'waits for 1', 'waits for 2')),
    Moment('extract is done', 'waiting, 3 left', ('completed', 'working', 'pending', 'waits for 2')),
    Moment('audit is dead', 'stands still, 2 left', ('completed', 'completed', 'dead', 'waits for 1')),
    Moment('redrive', 'waiting, 2 left', ('completed', 'completed', 'working', 'waits for 1')),
    Moment('all are done', 'completed', ('completed', 'completed', 'completed', 'completed')),
)
TINTS = {'completed': 'final', 'waits for 1': 'waiting', 'waits for 2': 'waiting'}


def draw_moment(moment: Moment, left: float, theme: Theme) -> Iterator[str]:
    size = f'width="180" height="{HEIGHT - 24}"'
    yield f'<rect x="{left:g}" y="12" {size} rx="14" fill="{theme.zone}" stroke="{theme.border}"/>'
    yield words(left + 90, 40, moment.title, theme.text, f'600 14px {SANS}', 'middle')
    for before, after in EDGES:
        (x, y), (to_x, to_y) = PLACES[before], PLACES[after]
        down = (y + to_y) / 2
        top, end = y + BOX_HEIGHT / 2, to_y - BOX_HEIGHT / 2 - 2
        yield line(f'M {left + x:g} {top:g} C {left + x:g} {down + 8:g} {left + to_x:g} {down - 8:g} '
                   f'{left + to_x:g} {end:g}', theme.arrow)  # fmt: skip
    for (name, (x, y)), state in zip(PLACES.items(), moment.tasks, strict=True):
        tint = theme.tints[TINTS.get(state, state)]
        place = f'x="{left + x - BOX_WIDTH / 2:g}" y="{y - BOX_HEIGHT / 2:g}"'
        size = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
        yield f'<rect {place} {size} rx="9" fill="{tint.fill}" stroke="{tint.line}" stroke-width="1.6"/>'
        yield words(left + x, y - 3, name, theme.text, f'600 13px {SANS}', 'middle')
        yield words(left + x, y + 14, state, tint.line, f'12px {SANS}', 'middle')
    dead = moment.flow.startswith('stands')
    fill = theme.tints['dead'].line if dead else theme.quiet
    yield words(left + 90, HEIGHT - 26, f'the flow: {moment.flow}', fill, f'12px {SANS}', 'middle')


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
        *(part for place, moment in enumerate(MOMENTS) for part in draw_moment(moment, 12 + 189 * place, theme)),
        '</svg>',
        '',
    ]
    return '\n'.join(made)


def main(directory: Path) -> None:
    for name, theme in THEMES.items():
        (directory / f'flow-{name}.svg').write_text(draw(theme), 'utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
