"""Draw the rooms and floors of the package, from what is in its folders, for light and for dark pages.

    python docs/image/rooms.py [DIR]

A test has it draw into a directory of its own, and compares.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent / 'torrelque'

WIDTH, MARGIN, GAP = 960, 16, 12
LINE, CHIP, LETTER = 18, 22, 6.7
MONOSPACE = 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace'
SANS = 'system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'


class Theme(NamedTuple):
    page: str
    room: str
    frame: str
    text: str
    quiet: str
    chip: str
    shared: str
    on_shared: str


THEMES = {
    'light': Theme('#ffffff', '#f4f7f6', '#6b8fb5', '#1b1f23', '#57606a', '#ffffff', '#0b6e4f', '#ffffff'),
    'dark': Theme('#131416', '#1d2125', '#6b8fb5', '#e6e8ea', '#9aa4ae', '#2a3036', '#3aa981', '#0d1410'),
}


class Room(NamedTuple):
    title: str
    rule: str
    names: Sequence[str]
    shared: Sequence[str] = ()
    """Those of them that the room beside it has as well."""


def modules(folder: str) -> list[str]:
    return sorted(path.stem for path in (PACKAGE / folder).glob('*.py') if path.stem != '__init__')


def floors() -> list[list[Room]]:
    """The rooms, floor by floor, the highest first."""
    aio, sync = modules('aio'), modules('sync')
    both = [name for name in aio if name in sync]
    scripts = sorted(path.stem for path in (PACKAGE / 'script').glob('[a-z]*.lua'))
    values = [name for name in modules('') if name not in ('__main__', 'base', 'embedded')]
    return [
        [Room('contrib/', 'joins it to frameworks', ['django'])],
        [Room('cli/', 'the command torrelque', ['parser', 'run', 'session', 'out', 'supervise', '…'])],
        [
            Room('dashboard/', 'pages on the web', ['app', 'site', 'visit', 'live', 'guard', 'pages', '…']),
            Room('config/', 'one file of all', ['finding', 'reading', 'sections', '…']),
        ],
        [
            Room('monitor/', 'metrics, alerts, health', ['metrics', 'rules', 'alerts', 'sinks', 'hosting', '…']),
            Room('telemetry/', 'traces', ['enqueueing', 'attempt', 'meters', '…']),
        ],
        [
            Room('flows/', 'calls that wait for calls', ['steps', 'graph', 'plan', 'handle', '…']),
            Room('cron/', 'calendars of schedules', ['schedules', 'calendar', 'keeper', '…']),
        ],
        [
            Room('tasks/', 'decorated functions', ['app', 'function', '…']),
            Room('testing/', 'aids for tests', ['clock', 'idle', 'eagerly', '…']),
            Room('operate/', 'answers operators', ['operator', 'explaining', 'bulk', '…']),
        ],
        [
            Room('worker/', 'has handlers called', ['worker', 'handling', 'settling', 'keeper', '…']),
            Room('sharded/', 'many servers', ['queue', 'shards', 'dispatch', '…']),
            Room('embedded.py', 'a private server', []),
        ],
        [
            Room('aio/', 'asyncio carries it', [*both, *(name for name in aio if name not in both)], both),
            Room('sync/', 'threads carry it', [*both, *(name for name in sync if name not in both)], both),
        ],
        [Room('base.py', 'what both queues are made of', [])],
        [Room('protocol/', 'decides what is sent and what it means; nothing here waits or sends', modules('protocol'))],
        [Room(', '.join(f'{name}.py' for name in values), 'errors and values', [])],
        [Room('script/', 'runs in the server: each transition is one script', scripts)],
    ]


def chips(room: Room, width: float) -> list[list[str]]:
    """The names of a room in lines; those that are shared have lines of their own."""
    lines: list[list[str]] = [[]]
    taken = 0.0
    for name in room.names:
        wide = len(name) * LETTER + 16 + 6
        fresh = bool(lines[-1]) and lines[-1][-1] in room.shared and name not in room.shared
        if lines[-1] and (taken + wide > width - 20 or fresh):
            lines.append([])
            taken = 0.0
        lines[-1].append(name)
        taken += wide
    return [line for line in lines if line]


def height_of(room: Room, width: float) -> float:
    lines = chips(room, width)
    return 30 + (len(lines) * (CHIP + 6) + 6 if lines else 0)


def text(x: float, y: float, words: str, fill: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" style="{style}">{words}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, frame: str, radius: int) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}" fill="{fill}" '
        f'stroke="{frame}"/>'
    )


def draw_room(room: Room, theme: Theme, x: float, y: float, width: float, height: float) -> list[str]:
    made = [
        box(x, y, width, height, theme.room, theme.frame, 6),
        text(x + 12, y + 20, room.title, theme.text, f'font: bold 13px {MONOSPACE}'),
        text(x + 12 + len(room.title) * 7.9 + 12, y + 20, room.rule, theme.quiet, f'font: 12px {SANS}'),
    ]
    top = y + 32
    for line in chips(room, width):
        left = x + 12
        for name in line:
            wide = len(name) * LETTER + 16
            shared = name in room.shared
            fill, ink = (theme.shared, theme.on_shared) if shared else (theme.chip, theme.text)
            made.append(box(left, top, wide, CHIP, fill, theme.shared if shared else theme.frame, 4))
            made.append(text(left + 8, top + 15, name, ink, f'font: 11px {MONOSPACE}'))
            left += wide + 6
        top += CHIP + 6
    return made


def draw(theme: Theme) -> str:
    made: list[str] = []
    y = float(MARGIN)
    for floor in floors():
        shares = {1: [1.0], 2: [0.6, 0.4], 3: [0.34, 0.33, 0.33]}[len(floor)]
        whole = WIDTH - 2 * MARGIN - GAP * (len(floor) - 1)
        height = max(height_of(room, whole * share) for room, share in zip(floor, shares, strict=True))
        x = float(MARGIN)
        for room, share in zip(floor, shares, strict=True):
            made += draw_room(room, theme, x, y, whole * share, height)
            x += whole * share + GAP
        y += height + GAP
    words = 'A room imports from those below it, never from one beside it.  Green: the same part, under the same name.'
    made.append(text(MARGIN, y + 10, words, theme.quiet, f'font: 12px {SANS}'))
    size = f'width="{WIDTH}" height="{y + 24:.0f}" viewBox="0 0 {WIDTH} {y + 24:.0f}"'
    page = f'<rect width="100%" height="100%" fill="{theme.page}"/>'
    return '\n'.join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', page, *made, '</svg>', ''])


def main(directory: Path) -> None:
    for name, theme in THEMES.items():
        (directory / f'rooms-{name}.svg').write_text(draw(theme), 'utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
