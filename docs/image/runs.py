"""Draw how much of its goal each layer of the proof has reached, for light and for dark pages.

    python docs/image/runs.py [DIR]

It goes by the record of the runs, `docs/proof/runs.jsonl`.  A test has it draw into a directory of its own, and
compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rooms import SANS

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent), str(HERE.parent.parent / 'test')]

from proof_runs import tallies  # noqa: E402

from proof.record.campaigns import CAMPAIGNS  # noqa: E402 - it is found now
from proof.record.part import Record  # noqa: E402

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 170, 620, 64, 20
TITLE = 'How much of its goal each layer of the proof has reached'


class Theme(NamedTuple):
    page: str
    text: str
    quiet: str
    empty: str
    older: str
    newest: str


THEMES = {
    'light': Theme('#ffffff', '#1b1f23', '#57606a', '#eceff1', '#9cc9b6', '#0b6e4f'),
    'dark': Theme('#131416', '#e6e8ea', '#9aa4ae', '#22272b', '#2c6b55', '#45c496'),
}


def words(x: float, y: float, text: str, fill: str, size: int = 12, anchor: str = 'start') -> str:
    style = f'style="font: {size}px {SANS}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}" {style}>{text}</text>'


def bar(y: float, share: float, fill: str) -> str:
    return f'<rect x="{LEFT}" y="{y:.1f}" width="{share * (RIGHT - LEFT):.1f}" height="{ROW - 7}" fill="{fill}"/>'


def draw_key(theme: Theme) -> Iterator[str]:
    x = LEFT
    for fill, text in ((theme.newest, 'with the newest package'), (theme.older, 'with older ones')):
        yield f'<rect x="{x}" y="32" width="12" height="12" fill="{fill}"/>'
        yield words(x + 18, 42, text, theme.text)
        x += 180


def draw(record: Record, theme: Theme) -> str:
    shares = []
    for campaign in CAMPAIGNS:
        tally, present = tallies(record, campaign)
        goals = campaign.goals_of(tally)
        shares.append((campaign.name, tally.share(goals), present.share(goals)))
    complete = sum(share >= 1 for _, share, _ in shares)
    begun = sum(0 < share < 1 for _, share, _ in shares)
    height = TOP + len(shares) * ROW + 12
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">{TITLE}</title>',
        f'<desc id="description">Of {len(shares)} campaigns, {complete} have reached their goal, {begun} have begun; a '
        'table on the page has the figures.</desc>',
        f'<rect width="100%" height="100%" fill="{theme.page}"/>',
        words(16, 22, TITLE, theme.text, 15),
        *draw_key(theme),
    ]
    for place, (name, share, present) in enumerate(shares):
        y = TOP + place * ROW
        made += [
            words(LEFT - 10, y + 11, name, theme.text, anchor='end'),
            bar(y, 1, theme.empty),
            bar(y, share, theme.older),
            bar(y, present, theme.newest),
            words(RIGHT + 10, y + 11, f'{share:.0%}' if share in (0, 1) else f'{share:.1%}', theme.quiet),
        ]
    return '\n'.join([*made, '</svg>', ''])


def main(directory: Path) -> None:
    record = Record()
    for name, theme in THEMES.items():
        (directory / f'runs-{name}.svg').write_text(draw(record, theme), 'utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
