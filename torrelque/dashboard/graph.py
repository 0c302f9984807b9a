"""A flow as a graph: all geometry is computed here, and a template writes it as SVG.

Tasks stand in layers, each behind all that it waits for; an edge that passes a layer has a lane of its own there.
Calls of a map are one box where they are many.
"""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torrelque.operate import FlowTaskView

from .wording import number, shorten, visible

__all__ = ['ORDER', 'Box', 'Edge', 'Graph', 'draw']

ORDER = (
    'dead', 'failed', 'lost', 'working', 'delayed', 'pending', 'waiting', 'skipped', 'cancelled', 'grafted',
    'completed',
)  # fmt: skip
"""How a task stands, in the order in which it matters."""
MOST = 60
"""Boxes of a graph at the most; a flow of more is told by its table alone."""
CALLS = 4
"""Calls of a map that have boxes of their own at the most."""
LANES = 400
"""Lanes at the most."""
SWEEPS = 6
"""Times that layers are ordered by their neighbours."""

WIDTH, HEIGHT = 176, 42
"""Of a box, in pixels."""
BESIDE, BELOW = 56, 14
"""From one layer to the next, and from one box to the next of its layer."""
LANE = 6
"""How high a lane is."""
EDGE = 12
"""What is free around all."""
LETTERS = 20
"""Letters of a name that fit into its box."""


@dataclass(frozen=True, slots=True)
class Box:
    """A task, or the calls of a map."""

    name: str
    """What is written in it, cut to fit."""
    told: str
    """The same of how it stands."""
    word: str
    """How it stands."""
    title: str
    """All of this, whole."""
    task_id: str | None
    """None is several."""
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Edge:
    """Who waits for whom."""

    kind: str
    """For which end: 'then', 'end', 'fail'."""
    path: str


@dataclass(frozen=True, slots=True)
class Graph:
    """A flow that is small enough to be drawn."""

    title: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    kinds: tuple[str, ...]
    """Of edges, which there are."""


def draw(tasks: Sequence[FlowTaskView], most: int = MOST) -> Graph | None:
    """The graph of the tasks of a flow, which are all of it; None where it has none, or too many."""
    known = {task.name: task for task in tasks}
    places = _places(known)
    boxes = dict.fromkeys(places.values())
    if not 0 < len(boxes) <= most:
        return None
    members: dict[str, list[FlowTaskView]] = {box: [] for box in boxes}
    for name, box in places.items():
        members[box].append(known[name])
    edges = _edges(known, places)
    layout = _Layout([*boxes], edges)
    drawn = tuple(_box(box, members[box], *layout.corner(box)) for box in boxes)
    paths = tuple(Edge(kind, layout.path(one, other)) for (one, other), kind in edges.items() if layout.has(one, other))
    kinds = tuple(kind for kind in ('then', 'end', 'fail') if any(edge.kind == kind for edge in paths))
    width, height = layout.size
    return Graph(_title(tasks), width, height, drawn, paths, kinds)


# What is drawn


def added_by(name: str, tasks: Mapping[str, FlowTaskView]) -> str | None:
    """The task that has added another one, whose name begins with its own."""
    while '.' in name:
        name = name.rpartition('.')[0]
        if name in tasks:
            return name
    return None


def _places(tasks: Mapping[str, FlowTaskView]) -> dict[str, str]:
    """The box of each task, by names."""
    makers = {name: by for name in tasks if (by := added_by(name, tasks)) is not None and tasks[by].each}
    counts = Counter(makers.values())
    return {name: f'{makers[name]}.*' if counts[makers.get(name, '')] > CALLS else name for name in tasks}


def _edges(tasks: Mapping[str, FlowTaskView], places: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Who waits for whom, by boxes, and for which end."""
    found: dict[tuple[str, str], str] = {}
    for name, task in tasks.items():
        above = {other: kind for other, kind in task.after if other in tasks and other != name}
        by = added_by(name, tasks)
        if not above and by is not None:
            above = {by: 'then'}
        # What waits for the calls of a map waits for the map as well, whose end is no news then.
        maps = {of for other in above if (of := added_by(other, tasks)) is not None and tasks[of].each}
        for other, kind in above.items():
            if other not in maps and places[other] != places[name]:
                found.setdefault((places[other], places[name]), kind)
    return found


def _box(name: str, tasks: Sequence[FlowTaskView], x: int, y: int) -> Box:
    first = tasks[0]
    if len(tasks) == 1 and first.name == name:
        told = first.word
        if first.attempts > 1:
            told += f', attempt {number(first.attempts)}'
        elif first.word == 'waiting' and first.waits is not None and first.waits > 1:
            told += f' for {"one" if first.any else "all"} of {number(first.waits)}'
        why = f': {shorten(first.error_line, 200)}' if first.error_line and first.how != 'completed' else ''
        away = f', in queue {first.away}' if first.away else ''
        return Box(_cut(name), _cut(told), first.word, f'{name}: {told}{away}{why}', first.id, x, y)
    words = Counter(task.word for task in tasks)
    ended = sum(task.how is not None for task in tasks)
    told = ', '.join(f'{number(words[word])} {word}' for word in ORDER if words[word])
    label = f'{_cut(name.removesuffix(".*"), LETTERS - 7)} \N{MULTIPLICATION SIGN} {number(len(tasks))}'
    worst = next((word for word in ORDER if words[word]), 'waiting')
    brief = told if len(words) == 1 else f'{number(ended)} ended, {number(words[worst])} {worst}'
    return Box(_cut(label), _cut(brief, LETTERS + 2), worst, f'{name}: {told}', None, x, y)


def _title(tasks: Sequence[FlowTaskView]) -> str:
    words = Counter(task.word for task in tasks)
    return f'{number(len(tasks))} tasks: ' + ', '.join(f'{number(words[it])} {it}' for it in ORDER if words[it])


def _cut(text: str, most: int = LETTERS) -> str:
    """A text that fits; letters of some scripts are as wide as two."""
    text, width = visible(shorten(text, 4 * most)), 0
    for place, letter in enumerate(text):
        width += 2 if unicodedata.east_asian_width(letter) in 'WF' else 1
        if width > most:
            return text[: max(0, place - 1)] + '…'
    return text


# Where it is drawn


class _Layout:
    """Boxes in layers, and lanes for edges that pass a layer."""

    def __init__(self, boxes: Sequence[str], edges: Iterable[tuple[str, str]]) -> None:
        # Legend.  _layer: the number of each box's layer.  _rows: what stands in each layer from above, a box or a
        # lane, which is the pair of its edge and the layer.  _y: where the middle of each is.
        self._layer, self._kept = _layers(boxes, [*edges])
        spans = {edge: range(self._layer[edge[0]] + 1, self._layer[edge[1]]) for edge in self._kept}
        with_lanes = sum(map(len, spans.values())) <= LANES
        self._lanes = {edge: [(edge, layer) for layer in span] if with_lanes else [] for edge, span in spans.items()}
        self._rows: list[list[object]] = [[] for _ in range(max(self._layer.values()) + 1)]
        for box in boxes:
            self._rows[self._layer[box]].append(box)
        self._above: dict[object, list[object]] = {}
        self._below: dict[object, list[object]] = {}
        for edge, lanes in self._lanes.items():
            for lane in lanes:
                self._rows[lane[1]].append(lane)
            chain: list[object] = [edge[0], *lanes, edge[1]]
            for one, other in itertools.pairwise(chain):
                self._below.setdefault(one, []).append(other)
                self._above.setdefault(other, []).append(one)
        self._order()
        self._y = self._heights()

    def has(self, one: str, other: str) -> bool:
        """Whether an edge is drawn: one that would lead back is not."""
        return (one, other) in self._lanes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all."""
        lowest = max(y + _high(it) / 2 for it, y in self._y.items())
        return len(self._rows) * (WIDTH + BESIDE) - BESIDE + 2 * EDGE, round(lowest) + EDGE

    def corner(self, box: str) -> tuple[int, int]:
        """Where a box begins."""
        return self._x(self._layer[box]), round(self._y[box] - HEIGHT / 2)

    def path(self, one: str, other: str) -> str:
        """The line of an edge, with its arrow."""
        lanes = self._lanes[one, other]
        x, y = self._x(self._layer[one]) + WIDTH, round(self._y[one])
        parts = [f'M{x} {y}']
        for it, layer in [*((lane, lane[1]) for lane in lanes), (other, self._layer[other])]:
            there, level = self._x(layer), round(self._y[it])
            bend = (there - x) // 2
            parts.append(f'C{x + bend} {y} {there - bend} {level} {there} {level}')
            if it is not other:
                parts.append(f'H{there + WIDTH}')
            x, y = there + WIDTH, level
        return ''.join(parts) + 'm-6-4l6 4l-6 4'

    def _x(self, layer: int) -> int:
        return EDGE + layer * (WIDTH + BESIDE)

    def _order(self) -> None:
        """Bring neighbours together, so that fewer edges cross."""
        for sweep in range(SWEEPS):
            rows, beside = (self._rows, self._above) if sweep % 2 == 0 else (self._rows[::-1], self._below)
            for before, row in itertools.pairwise(rows):
                at = {it: float(place) for place, it in enumerate(before)}
                own = {it: float(place) for place, it in enumerate(row)}
                middle = {it: _mean([at[one] for one in beside.get(it, ()) if one in at], own[it]) for it in row}
                row.sort(key=lambda it: middle[it])

    def _heights(self) -> dict[object, float]:
        """The middle of each: beside that of its neighbours, as far as there is room."""
        found: dict[object, float] = {}
        for row in self._rows:
            end = 0.0
            wanted, given = [], []
            for it in row:
                near = [found[one] for one in self._above.get(it, ()) if one in found]
                wish = _mean(near, end + _high(it) / 2)
                found[it] = max(wish, end + _high(it) / 2)
                end = found[it] + _high(it) / 2 + BELOW
                wanted.append(wish)
                given.append(found[it])
            # Those that were moved down for want of room go up together.
            shift = sum(one - other for one, other in zip(given, wanted, strict=True)) / len(row)
            for it in row:
                found[it] -= shift
        top = min(y - _high(it) / 2 for it, y in found.items())
        return {it: y - top + EDGE for it, y in found.items()}


def _high(it: object) -> int:
    return HEIGHT if isinstance(it, str) else LANE


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _layers(
    boxes: Sequence[str], edges: Sequence[tuple[str, str]]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The layer of each box, by the longest way to it, and the edges without those that would lead back."""
    left = dict.fromkeys(boxes)
    layer: dict[str, int] = {}
    kept = [*edges]
    while left:
        free = [box for box in left if not any(other == box and one in left for one, other in kept)]
        if not free:
            # A circle, as no flow has that was not spoilt: it is opened where it comes first.
            first = next(iter(left))
            kept = [(one, other) for one, other in kept if other != first or one not in left]
            continue
        found = {box: max((layer[one] + 1 for one, other in kept if other == box), default=0) for box in free}
        layer |= found
        for box in free:
            del left[box]
    return layer, kept
