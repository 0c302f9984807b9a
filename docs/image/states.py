"""Draw the states of a task, and the transitions between them, for light and for dark pages.

    python docs/image/states.py [DIR]

A test has it draw into a directory of its own, and compares; another compares the arrows with the table of transitions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rooms import MONOSPACE, SANS

HERE = Path(__file__).resolve().parent

WIDTH, HEIGHT = 960, 672
NODE_WIDTH, NODE_HEIGHT = 164, 72
TITLE = 'States of a task, and the transitions between them'
DESCRIPTION = (
    'A new task, of a caller or a schedule, is pending, or delayed until it is due, or, in a flow, waiting until what '
    'it waits for has ended; then it is pending, or delayed. A consumer takes a pending task, which is then working; '
    'touch renews its lease. From there release makes it completed or rejected, requeue makes it pending or delayed '
    'again, and bury makes it dead. A graft has others take its place: in a flow it is completed by that, else it is '
    'waiting for them. Where its lease ends it is pending again, and dead when its attempts are used up. '
    'Redrive makes a dead task pending. A task that is waiting, pending, delayed, working or dead can be cancelled, '
    'and a waiting one is where it cannot begin any more.'
)


class Tint(NamedTuple):
    """Colours of one kind of state."""

    line: str
    fill: str


class Theme(NamedTuple):
    page: str
    zone: str
    border: str
    text: str
    quiet: str
    arrow: str
    tints: dict[str, Tint]


THEMES = {
    'light': Theme(
        *('#ffffff', '#f8faf9', '#c5ced6', '#1b1f23', '#57606a', '#4a5560'),
        {
            'pending': Tint('#2563a8', '#e6effa'),
            'working': Tint('#0b6e4f', '#dff2ea'),
            'delayed': Tint('#8f5f00', '#fbf0d6'),
            'waiting': Tint('#6b4fa0', '#efe9f9'),
            'dead': Tint('#b42318', '#fce9e7'),
            'final': Tint('#57606a', '#f0f2f4'),
        },
    ),
    'dark': Theme(
        *('#131416', '#191c20', '#3a424a', '#e6e8ea', '#9aa4ae', '#a8b2bc'),
        {
            'pending': Tint('#7db4ec', '#17283b'),
            'working': Tint('#45c496', '#10291f'),
            'delayed': Tint('#e2b353', '#2f2510'),
            'waiting': Tint('#b79cea', '#271f38'),
            'dead': Tint('#f28b80', '#371b18'),
            'final': Tint('#9aa4ae', '#23282d'),
        },
    ),
}


class State(NamedTuple):
    """One box: its middle, what it is drawn like, and what a task does there."""

    x: float
    y: float
    tint: str
    note: str


STATES = {
    'waiting': State(232, 240, 'waiting', 'waits for other tasks'),
    'delayed': State(412, 104, 'delayed', 'waits for its time'),
    'pending': State(232, 408, 'pending', 'waits for a consumer'),
    'working': State(592, 408, 'working', 'somebody has its lease'),
    'dead': State(412, 576, 'dead', 'waits for a person'),
    'completed': State(860, 356, 'final', 'its result may stay'),
    'rejected': State(860, 460, 'final', 'its error may stay'),
    'cancelled': State(860, 576, 'final', 'told for a minute'),
}


class Arrow(NamedTuple):
    """One arrow: what it shows of the table of transitions, its line, and the words beside it."""

    shows: tuple[tuple[str, str, str], ...]
    """Script, from, to."""
    path: str
    words: str
    x: float
    y: float
    anchor: str = 'middle'
    by_time: bool = False
    """Whether nobody calls: a time is over, or attempts are used up."""


BEGUN = {
    state: [(script, 'new', state) for script in ('flow', 'add', 'depend')]
    for state in ('waiting', 'pending', 'delayed')
}
"""What those scripts do with a new task that make flows."""


ARROWS = (
    Arrow(
        (('enqueue', 'new', 'pending'), ('fire', 'new', 'pending'), ('sweep', 'new', 'pending'), *BEGUN['pending']),
        'M 32 408 H 146',
        *('enqueue', 74, 399),
    ),
    Arrow(
        (('enqueue', 'new', 'delayed'), *BEGUN['delayed']),
        'M 26 400 C 32 236 100 104 326 104',
        *('enqueue(delay=…)', 206, 104),
    ),
    Arrow(tuple(BEGUN['waiting']), 'M 30 401 C 40 310 70 240 144 240', *('enqueue_flow', 60, 336, 'start')),
    Arrow((), 'M 214 276 V 368', 'the others have ended', 223, 318, 'start', True),
    Arrow((), 'M 314 228 C 372 216 388 196 392 146', 'the same, with a delay', 316, 192, 'end', True),
    Arrow((('sweep', 'delayed', 'pending'),), 'M 432 140 C 432 290 380 350 300 370', 'due', 438, 214, 'start', True),
    Arrow((('claim', 'pending', 'working'),), 'M 314 387 H 506', 'dequeue', 412, 379),
    Arrow((('requeue', 'working', 'pending'),), 'M 510 410 H 318', 'requeue', 412, 403),
    Arrow((('sweep', 'working', 'pending'),), 'M 510 433 H 318', 'its lease has ended', 412, 426, by_time=True),
    Arrow(
        (('requeue', 'working', 'delayed'),),
        'M 602 372 C 596 240 570 106 498 104',
        *('requeue(delay=…)', 594, 246, 'start'),
    ),
    Arrow((('graft', 'working', 'waiting'),), 'M 566 372 C 548 300 440 248 318 250', 'graft', 508, 282, 'start'),
    Arrow((('touch', 'working', 'working'),), 'M 674 428 C 712 432 708 476 660 447', 'touch', 690, 480),
    Arrow(
        (
            ('release', 'working', 'completed'), ('release', 'working', 'rejected'), ('graft', 'working', 'completed'),
        ),
        'M 674 408 H 736 C 756 408 746 356 774 356',
        *('release', 702, 399),
    ),
    Arrow((('bury', 'working', 'dead'),), 'M 554 444 C 550 500 540 566 498 566', 'bury', 538, 504, 'end'),
    Arrow(
        (('requeue', 'working', 'dead'), ('sweep', 'working', 'dead')),
        'M 588 444 C 588 520 572 590 498 590',
        *('attempts used up', 594, 524, 'start', True),
    ),
    Arrow((('redrive', 'dead', 'pending'),), 'M 330 576 C 266 576 232 530 232 448', 'redrive', 242, 544, 'end'),
    Arrow(
        tuple(('cancel', name, 'marked' if name == 'working' else 'cancelled') for name in [*STATES][:5]),
        'M 731 564 H 774',
        *('cancel', 722, 564, 'end'),
    ),
    Arrow(
        (('sweep', 'waiting', 'cancelled'),),
        'M 731 598 H 774',
        *('a waiting one that cannot begin', 722, 602, 'end', True),
    ),
)


def words(x: float, y: float, text: str, fill: str, font: str, anchor: str = 'start') -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}" style="font: {font}">{text}</text>'


def line(path: str, color: str, *, dashed: bool = False, headed: bool = True) -> str:
    style = ' stroke-dasharray="5 4"' if dashed else ''
    head = ' marker-end="url(#head)"' if headed else ''
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.6" stroke-linecap="round"{style}{head}/>'


def draw_state(name: str, state: State, theme: Theme) -> Iterator[str]:
    tint = theme.tints[state.tint]
    left, top = state.x - NODE_WIDTH / 2, state.y - NODE_HEIGHT / 2
    size = f'width="{NODE_WIDTH}" height="{NODE_HEIGHT}"'
    yield f'<rect x="{left:g}" y="{top:g}" {size} rx="12" fill="{tint.fill}" stroke="{tint.line}" stroke-width="1.6"/>'
    yield words(state.x, state.y - 2, name.upper(), tint.line, f'700 15px {SANS}', 'middle')
    yield words(state.x, state.y + 19, state.note, theme.quiet, f'12px {SANS}', 'middle')


def draw_arrow(arrow: Arrow, theme: Theme) -> Iterator[str]:
    yield line(arrow.path, theme.arrow, dashed=arrow.by_time)
    font, fill = (f'italic 12px {SANS}', theme.quiet) if arrow.by_time else (f'12.5px {MONOSPACE}', theme.text)
    yield words(arrow.x, arrow.y, arrow.words, fill, font, arrow.anchor)


def draw_zone(x: float, y: float, width: float, height: float, title: str, theme: Theme) -> Iterator[str]:
    size = f'width="{width:g}" height="{height:g}"'
    yield f'<rect x="{x:g}" y="{y:g}" {size} rx="18" fill="{theme.zone}" stroke="{theme.border}"/>'
    yield words(x + 18, y + 28, title, theme.quiet, f'600 13px {SANS}')


def draw_legend(theme: Theme) -> Iterator[str]:
    yield line('M 24 652 H 64', theme.arrow)
    yield words(74, 656, 'a call', theme.quiet, f'12px {SANS}')
    yield line('M 136 652 H 176', theme.arrow, dashed=True)
    told = 'nobody calls: its time is over, by the clock of the server, its attempts are used up, or others have ended'
    yield words(186, 656, told, theme.quiet, f'12px {SANS}')


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
        *draw_zone(116, 16, 614, 612, 'in the queue', theme),
        *draw_zone(764, 272, 192, 356, 'finished', theme),
        *(part for arrow in ARROWS for part in draw_arrow(arrow, theme)),
        # The second end of a release; from where tasks come; and of which states a cancel is.
        line('M 736 408 C 756 408 746 460 774 460', theme.arrow),
        f'<circle cx="26" cy="408" r="7" fill="{theme.arrow}"/>',
        words(722, 580, 'of any state here', theme.quiet, f'12px {SANS}', 'end'),
        *(part for name, state in STATES.items() for part in draw_state(name, state, theme)),
        *draw_legend(theme),
        '</svg>',
        '',
    ]
    return '\n'.join(made)


def main(directory: Path) -> None:
    for name, theme in THEMES.items():
        (directory / f'states-{name}.svg').write_text(draw(theme), 'utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
