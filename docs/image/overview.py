"""Draw what becomes of a call, from the producer to the worker that runs it, for light and for dark pages.

    python docs/image/overview.py [DIR]

A test has it draw into a directory of its own, and compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rooms import MONOSPACE, SANS

HERE = Path(__file__).resolve().parent

WIDTH, HEIGHT = 960, 392
TITLE = 'From a call to the worker that runs it'
DESCRIPTION = (
    'An application enqueues calls; they wait in a queue on Redis or Valkey. Workers, each started by torrelque run, '
    'take them with a lease, which they renew while the function runs. When a worker is killed, the lease of its task '
    'ends, and another worker takes it over as its second attempt. The result goes back to the application.'
)


class Theme(NamedTuple):
    page: str
    room: str
    border: str
    text: str
    quiet: str
    arrow: str
    chip: str
    fine: str
    on_fine: str
    bad: str
    on_bad: str


THEMES = {
    'light': Theme(
        *('#ffffff', '#f8faf9', '#c5ced6', '#1b1f23', '#57606a', '#4a5560'),
        *('#ffffff', '#0b6e4f', '#dff2ea', '#b42318', '#fce9e7'),
    ),
    'dark': Theme(
        *('#131416', '#191c20', '#3a424a', '#e6e8ea', '#9aa4ae', '#a8b2bc'),
        *('#2a3036', '#45c496', '#10291f', '#f28b80', '#371b18'),
    ),
}


class Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float


APPLICATION = Box(20, 138, 216, 148)
SERVER = Box(352, 58, 252, 278)
WORKERS = [Box(704, 58 + 98 * n, 236, 82) for n in range(3)]


def words(x: float, y: float, text: str, fill: str, font: str, anchor: str = 'start') -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}" style="font: {font}">{text}</text>'


def box(place: Box, fill: str, line: str, *, radius: float = 8, dashed: bool = False) -> str:
    x, y, width, height = place
    style = ' stroke-dasharray="6 4"' if dashed else ''
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}" '
        f'stroke="{line}" stroke-width="1.4"{style}/>'
    )


def arrow(path: str, color: str, head: str, *, dashed: bool = False) -> str:
    style = ' stroke-dasharray="5 4"' if dashed else ''
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.8" marker-end="url(#{head})"{style}/>'


def head(name: str, color: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M 0 0.6 L 10 5 L 0 9.4 z" fill="{color}"/></marker>'
    )


def chip(x: float, y: float, text: str, line: str, fill: str, ink: str) -> Iterator[str]:
    yield box(Box(x, y, 228, 26), fill, line, radius=5)
    yield words(x + 10, y + 17.5, text, ink, f'12px {MONOSPACE}')


def draw_application(theme: Theme) -> Iterator[str]:
    x, y = APPLICATION.x + 16, APPLICATION.y
    yield box(APPLICATION, theme.room, theme.border)
    yield words(x, y + 28, 'your application', theme.text, f'bold 15px {SANS}')
    yield words(x, y + 48, 'web, script, cron job, a task', theme.quiet, f'13px {SANS}')
    yield words(x, y + 82, "await send.enqueue('joe')", theme.text, f'12px {MONOSPACE}')
    yield words(x, y + 122, 'await handle.result()', theme.text, f'12px {MONOSPACE}')


def draw_server(theme: Theme) -> Iterator[str]:
    x, y = SERVER.x + 12, SERVER.y
    yield box(SERVER, theme.room, theme.border)
    yield words(x, y + 26, 'Redis, Valkey', theme.text, f'bold 15px {SANS}')
    yield words(x + 228, y + 26, "queue 'email'", theme.quiet, f'12px {MONOSPACE}', 'end')
    yield words(x, y + 54, 'pending', theme.quiet, f'13px {SANS}')
    for n, name in enumerate(('joe', 'bob')):
        yield from chip(x, y + 62 + 32 * n, f"send('{name}')", theme.border, theme.chip, theme.text)
    yield words(x, y + 154, 'working, with a lease', theme.quiet, f'13px {SANS}')
    yield from chip(x, y + 162, "send('ann')", theme.fine, theme.on_fine, theme.text)
    yield words(x + 218, y + 179.5, 'renewed', theme.fine, f'13px {SANS}', 'end')
    yield from chip(x, y + 194, "send('eve')", theme.bad, theme.on_bad, theme.text)
    yield words(x + 218, y + 211.5, 'has ended', theme.bad, f'13px {SANS}', 'end')
    yield words(x, y + 248, 'Each step is one atomic script, and', theme.quiet, f'13px {SANS}')
    yield words(x, y + 265, 'whoever is late is told so.', theme.quiet, f'13px {SANS}')


def draw_workers(theme: Theme) -> Iterator[str]:
    told = (
        ('a worker', "runs send('ann')", 'and renews its lease', theme.border, theme.text),
        ('another one', "ran send('eve')", 'when it was killed', theme.bad, theme.bad),
        ('a third one', "runs send('eve')", 'attempt 2', theme.fine, theme.text),
    )
    yield words(WORKERS[0].x, 42, '$ torrelque run shop:app', theme.text, f'bold 14px {MONOSPACE}')
    for place, (title, call, note, line, ink) in zip(WORKERS, told, strict=True):
        killed = line == theme.bad
        yield box(place, theme.on_bad if killed else theme.room, line, dashed=killed)
        x, y = place.x + 16, place.y
        yield words(x, y + 26, title, ink, f'bold 15px {SANS}')
        yield words(x, y + 47, call, theme.quiet if killed else theme.text, f'12px {MONOSPACE}')
        yield words(x, y + 67, note, theme.quiet, f'13px {SANS}')
        if killed:
            a, b = place.x + place.width - 36, place.y + 16
            cross = f'M {a:g} {b:g} l 18 18 m 0 -18 l -18 18'
            yield f'<path d="{cross}" stroke="{theme.bad}" stroke-width="3" stroke-linecap="round" fill="none"/>'


def draw_arrows(theme: Theme) -> Iterator[str]:
    call, back = APPLICATION.y + 78, APPLICATION.y + 118
    left, right = APPLICATION.x + APPLICATION.width, SERVER.x + SERVER.width
    yield arrow(f'M {left + 4} {call} H {SERVER.x - 5}', theme.arrow, 'head')
    yield words((left + SERVER.x) / 2, call - 8, 'enqueue', theme.text, f'13px {SANS}', 'middle')
    yield arrow(f'M {SERVER.x - 4} {back} H {left + 5}', theme.arrow, 'head', dashed=True)
    yield words((left + SERVER.x) / 2, back + 18, 'result', theme.text, f'13px {SANS}', 'middle')
    middle, end = (right + WORKERS[0].x) / 2, WORKERS[0].x
    yield arrow(f'M {right + 4} 99 H {end - 5}', theme.arrow, 'head')
    yield words(middle, 91, 'take', theme.text, f'13px {SANS}', 'middle')
    yield arrow(f'M {right + 4} 197 H {end - 5}', theme.bad, 'bad', dashed=True)
    yield words(middle, 189, 'silent', theme.bad, f'13px {SANS}', 'middle')
    yield arrow(f'M {right + 4} 295 H {end - 5}', theme.fine, 'fine')
    yield words(middle, 287, 'take over', theme.fine, f'13px {SANS}', 'middle')


def draw(theme: Theme) -> str:
    said = 'As many workers as you like, on as many machines. No task is lost with any of them.'
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">{TITLE}</title>',
        f'<desc id="description">{DESCRIPTION}</desc>',
        '<defs>' + head('head', theme.arrow) + head('bad', theme.bad) + head('fine', theme.fine) + '</defs>',
        f'<rect width="100%" height="100%" fill="{theme.page}"/>',
        *draw_application(theme),
        *draw_server(theme),
        *draw_workers(theme),
        *draw_arrows(theme),
        words(WIDTH / 2, HEIGHT - 16, said, theme.quiet, f'14px {SANS}', 'middle'),
        '</svg>',
        '',
    ]
    return '\n'.join(made)


def main(directory: Path) -> None:
    for name, theme in THEMES.items():
        (directory / f'overview-{name}.svg').write_text(draw(theme), 'utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
