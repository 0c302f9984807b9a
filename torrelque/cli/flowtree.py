"""A flow as a tree in the terminal, in which each task is drawn once."""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torrelque import TorrelqueTaskStatus
from torrelque.operate import FlowTaskView, FlowView

from .out import Out, ago, number, shortened

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

LINES = 200
"""Lines of a tree at the most."""
BESIDE = 12
"""Tasks beside one another that are drawn; of more, those that matter most, and how many others there are."""
DEEPEST, LEAST = 12, 3
"""How deep a tree is at the most, and in a narrow terminal; what is deeper is drawn below."""
BAR = 20
"""Columns of the bar."""

STYLES = {
    'dead': 'red', 'failed': 'red', 'lost': 'red', 'working': 'yellow', 'delayed': 'yellow', 'pending': 'cyan',
    'waiting': '', 'skipped': 'dim', 'cancelled': 'dim', 'grafted': 'green',
    'completed': 'green',
}  # fmt: skip
"""How a task stands, in the order in which it matters, and what that is drawn in."""
KINDS = {'end': 'at end: ', 'fail': 'if failed: '}


def order_of(view: FlowView) -> Callable[[FlowTaskView], Any]:
    """The order in which a flow was made, as far as its payload tells; others by their names."""
    nodes = view.task.get('nodes') if isinstance(view.task, Mapping) else None
    places: dict[Any, int] = {}
    with contextlib.suppress(TypeError, LookupError):
        places = {node[0]: place for place, node in enumerate(nodes or ())}
    return lambda task: (places.get(task.name, len(places)), _natural(task.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """A name, in whose order numbers count as such."""
    parts = re.split(r'(\d{1,20})', name, flags=re.ASCII)
    return [(int(part), '') if place % 2 else (0, part) for place, part in enumerate(parts)]


def progress_words(total: int | None, left: int | None, dead: int | None, failed: int | None) -> str:
    """How far a flow is."""
    ended = (total or 0) - (left or 0)
    words = f'{number(ended)} of {number(total or 0)} tasks {"has" if total == 1 else "have"} ended'
    more = [f'{number(count)} {word}' for count, word in ((dead, 'dead'), (failed, 'failed')) if count]
    return ', '.join([words, *more])


def bar_of(view: FlowView) -> 'Text':
    """How far it is, as a bar and in words."""
    from rich.text import Text

    ended = view.total - view.left
    full = BAR if not view.left else min(BAR - 1, BAR * ended // max(1, view.total))
    style = 'red' if view.dead or view.failed else 'green'
    words = progress_words(view.total, view.left, view.dead, view.failed)
    return Text.assemble('  [', ('#' * full, style), ('-' * (BAR - full), 'dim'), f'] {words}')


def label_of(out: Out, task: FlowTaskView, kind: str, now: float, calls: int) -> 'Text':
    """The line of a task."""
    from rich.text import Text

    words = [(KINDS.get(kind, ''), 'dim'), (out.safe(task.name), 'bold' if task.word == 'working' else '')]
    if calls:
        words.append((f' x {number(calls)}', 'dim'))
    words += [('  ', ''), (out.safe(task.word), STYLES.get(task.word, ''))]
    details = [] if task.away is None else [f'at {task.away}']
    if task.status is TorrelqueTaskStatus.WORKING and task.since is not None:
        details.append(f'for {ago(max(0.0, now - task.since))}')
    if task.status is TorrelqueTaskStatus.DELAYED and task.until is not None:
        details.append(f'in {ago(max(0.0, task.until - now))}')
    if task.attempts > 1:
        details.append(f'attempt {number(task.attempts)}')
    if task.word == 'waiting' and task.waits is not None and task.waits > 1:
        details.append(f'for the first of {number(task.waits)}' if task.any else f'for {number(task.waits)}')
    if task.error_line not in (None, task.word) and task.how != 'completed':
        details.append(shortened(task.error_line or '', 200))
    if details:
        words.append(('  ' + out.safe(', '.join(details)), 'dim'))
    return Text.assemble(*words, no_wrap=True, overflow='ellipsis' if out.terminal else 'ignore')


def added_by(name: str, tasks: Mapping[str, FlowTaskView]) -> str | None:
    """The task that has added another one, whose name begins with its own."""
    while '.' in name:
        name = name.rpartition('.')[0]
        if name in tasks:
            return name
    return None


# The tree


class Step(NamedTuple):
    """What is to be drawn: a task, or how many others there are."""

    above: 'Tree'
    name: str
    kind: str
    depth: int
    rest: tuple[str, ...] = ()


class Drawing:
    """A flow as a tree: below each task those that wait for it.  What waits for several is drawn below the first, and
    referred to below the others."""

    def __init__(self, out: Out, view: FlowView, most: int = LINES) -> None:
        # Legend.  _below: what is drawn below a task, with the kind of end; _calls: how many tasks were added by one
        # that calls a function for each element of a list; _drawn, _counted: tasks that have a line, or are in one.
        self._out, self._view, self._most = out, view, most
        self._tasks = {task.name: task for task in sorted(view.tasks, key=order_of(view))}
        self._below: dict[str, list[tuple[str, str]]] = {}
        self._calls: Counter[str] = Counter()
        self._roots: list[tuple[str, str]] = []
        self._drawn: set[str] = set()
        self._counted: set[str] = set()
        for name, task in self._tasks.items():
            above = {other: kind for other, kind in task.after if other in self._tasks and other != name}
            by = added_by(name, self._tasks)
            if not above and by is not None:
                above = {by: 'then'}
                self._calls[by] += self._tasks[by].each
            for other, kind in above.items():
                # What waits for the calls of a map waits for the map as well, and is drawn below that.
                if (of := added_by(other, self._tasks)) is None or not self._tasks[of].each or of not in above:
                    self._below.setdefault(other, []).append((name, kind))
            if not above:
                self._roots.append((name, 'then'))
        for name, calls in self._calls.items():
            if calls:
                self._below[name].sort(key=lambda pair: added_by(pair[0], self._tasks) is None)

    def draw(self) -> tuple['Tree', int]:
        """The tree, and how many tasks are not in it."""
        from rich.text import Text
        from rich.tree import Tree

        top, later = Tree(Text(), hide_root=True), list[Step]()
        space = self._out.space or 200
        deepest = max(LEAST, min(DEEPEST, (space - 40) // 4))
        coming = self._steps(top, self._roots, 0)
        lines = 0
        while (coming or later) and lines < self._most:
            lines += 1
            if not coming:
                # What was too deep goes on at the beginning of a line.
                step = later.pop(0)
                branch = top.add(self._dim(f'{self._out.safe(step.name)}  goes on'))
                coming = self._steps(branch, self._below[step.name], 1)
                continue
            step = coming.pop()
            if step.rest:
                branch = step.above.add(self._dim(self._count(step.rest)))
                below = dict.fromkeys(pair for name in step.rest for pair in self._below.get(name, ()))
                coming += self._steps(branch, [pair for pair in below if pair[0] not in self._drawn], step.depth + 1)
            elif step.name in self._drawn:
                step.above.add(self._dim(f'{KINDS.get(step.kind, "")}{self._out.safe(step.name)}  is above'))
            else:
                self._drawn.add(step.name)
                below_it = self._below.get(step.name, ())
                label = self._label(step)
                if step.depth >= deepest and below_it:
                    step.above.add(label.append('  goes on below', 'dim'))
                    later.append(step)
                else:
                    coming += self._steps(step.above.add(label), below_it, step.depth + 1)
        return top, len(self._tasks) - len(self._drawn | self._counted)

    def _steps(self, above: 'Tree', below: Sequence[tuple[str, str]], depth: int) -> list[Step]:
        """What is to be drawn below a task, the last first; of many, those that matter, and how many others."""
        steps = [Step(above, name, kind, depth) for name, kind in below]
        if len(below) > BESIDE:
            order = [*STYLES]
            ranked = sorted(steps, key=lambda step: order.index(self._tasks[step.name].word))
            kept = {step.name for step in ranked[: BESIDE - 2]}
            rest = tuple(step.name for step in steps if step.name not in kept | self._drawn | self._counted)
            self._counted |= {*rest}
            steps = [step for step in steps if step.name in kept]
            if rest:
                steps.append(Step(above, '', '', depth, rest))
        return steps[::-1]

    def _label(self, step: Step) -> 'Text':
        task = self._tasks[step.name]
        return label_of(self._out, task, step.kind, self._view.server_time, self._calls[step.name])

    def _count(self, names: Sequence[str]) -> str:
        counts = Counter(self._tasks[name].word for name in names)
        return f'and {number(len(names))} more: ' + ', '.join(
            f'{number(counts[word])} {word}' for word in STYLES if counts[word]
        )

    def _dim(self, words: str) -> 'Text':
        from rich.text import Text

        return Text(words, 'dim', no_wrap=True, overflow='ellipsis' if self._out.terminal else 'ignore')
