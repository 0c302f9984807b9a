"""Draw the figures of a result: a panel each, a bar for each system, the best on top.

    python -m benchmark.speed.plot RESULT.json DIR

It needs matplotlib, which the runner installs into an environment of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib import pyplot

PANELS = (
    ('enqueue_one', 'rate', 'enqueue one by one\nthousand tasks a second'),
    ('enqueue_100', 'rate', 'enqueue, 100 at a time\nthousand tasks a second'),
    ('enqueue_bulk', 'rate', 'enqueue in bulk\nthousand tasks a second'),
    ('drain_1', 'rate', 'drain, one consumer\nthousand tasks a second'),
    ('drain_100', 'rate', 'drain, 100 consumers\nthousand tasks a second'),
    ('drain_bulk_100', 'rate', 'drain in bulks of 100\nthousand tasks a second'),
    ('pickup', 'p50', 'idle pick-up, median\nms, less is better'),
    ('late', 'p50', 'lateness of a 1 s delay, median\nms, less is better'),
    ('pending', 'bytes', 'memory of a pending task\nbytes, less is better'),
)
OURS, KEEPS, LOSES = '#0b6e4f', '#6b8fb5', '#c9b18b'


def bars(result: dict[str, Any], key: str, part: str) -> list[tuple[str, float]]:
    """Systems and values, the best last, which a bar chart has on top."""
    found = []
    for name, figures in result['figures'].items():
        value = figures.get(key, {}).get('60', {}).get(part)
        if value is not None and name in result['systems'] and name != 'floor':
            found.append((name, value / 1000 if part == 'rate' else value))
    return sorted(found, key=lambda item: item[1], reverse=part != 'rate')


def colour(result: dict[str, Any], name: str) -> str:
    if name.startswith('torrelque') and name != 'torrelque 0.9':
        return OURS
    return KEEPS if result['systems'][name]['crash'] == 'keeps' else LOSES


def draw(result: dict[str, Any], directory: Path) -> None:
    pyplot.switch_backend('Agg')
    pyplot.rcParams.update({'svg.hashsalt': 'torrelque', 'font.size': 8})
    figure, axes = pyplot.subplots(3, 3, figsize=(11, 10), layout='constrained')
    for axis, (key, part, title) in zip(axes.flat, PANELS, strict=True):
        items = bars(result, key, part)
        axis.set_title(title, fontsize=9)
        axis.spines[['top', 'right', 'bottom']].set_visible(False)
        axis.set_xticks([])
        if not items:
            axis.set_yticks([])
            continue
        names, values = zip(*items, strict=True)
        # Latencies differ by orders of magnitude.
        if part == 'p50':
            axis.set_xscale('symlog', linthresh=0.5)
            axis.set_xticks([])
            axis.minorticks_off()
        drawn = axis.barh(names, [max(value, 0) for value in values], color=[colour(result, name) for name in names])
        axis.bar_label(drawn, [f'{value:.3g}' if value < 1000 else f'{value:.0f}' for value in values], padding=2)
        axis.margins(x=0.18)
    legend = [pyplot.Rectangle((0, 0), 1, 1, color=shade) for shade in (OURS, KEEPS, LOSES)]
    words = ['Torrelque', 'keeps the task of a killed consumer', 'loses it, or marks it as failed']
    figure.legend(legend, words, loc='outside lower center', ncols=3, frameon=False)
    directory.mkdir(parents=True, exist_ok=True)
    figure.savefig(directory / 'benchmark.png', dpi=110)
    figure.savefig(directory / 'benchmark.svg', metadata={'Date': None})


if __name__ == '__main__':
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
