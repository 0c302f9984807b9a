"""What ``torrelque top`` shows, as a value, and what a key makes of it.  Nothing here talks to a server or a terminal.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from torrelque.operate import Plan

from .out import ago, number

TABS = ('functions', 'groups', 'workers', 'dead')
"""What is shown of one queue."""

DEEPER = {'functions': 'function', 'groups': 'group', 'workers': 'worker'}
"""What is shown of one row of these: the dead tasks of a function, those that wait in a group, those that a worker has
in hand."""

LISTS = ('dead', *DEEPER.values())
"""Views whose rows are tasks."""

SORTS = {
    'queues': ('name', 'oldest', 'pending', 'dead'),
    'functions': ('most', 'failed', 'slowest', 'name'),
    'groups': ('waiting', 'oldest', 'slots', 'name'),
    'workers': ('name', 'busy', 'state'),
    'dead': ('newest', 'oldest', 'function', 'error'),
    'group': ('turn', 'oldest'),
    'function': ('newest', 'oldest', 'group', 'error'),
    'worker': ('longest', 'name'),
    'task': (),
}
"""The orders of a view, the first by itself."""

RATE = 50.0
"""Tasks a second that are redriven, where all of a queue are: what has failed before is not drowned once more."""

PAGE = 10
"""Rows of a page, for the keys that go by it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Spot:
    """A place that somebody looks at."""

    view: str
    """'queues', one of `TABS`, one of `LISTS`, or 'task'."""
    queue: str = ''
    task: str = ''
    chosen: str | None = None
    """Which row is marked, by its key, so that it stays when rows move; None is the first."""
    scroll: int = 0
    """Lines of a task that are above the screen."""
    sort: int = 0
    filter: str = ''
    of: str = ''
    """The function, group or worker whose tasks are shown."""

    @property
    def place(self) -> tuple[str, str, str, str | None, str]:
        """What is looked at, by which it is known what to ask for."""
        return self.view, self.queue, self.task, self.chosen, self.of


class Row(NamedTuple):
    """What keys have to know of a row."""

    key: str
    paused: bool = False
    queue: str = ''
    """The queue of a task, where that may be another one than is looked at."""


class Act(NamedTuple):
    """What is to be done, once it was said that it is."""

    name: str
    """'pause', 'resume', 'redrive', or 'count', which is done unasked and asks for 'redrive' then."""
    queue: str
    group: str | None = None
    task: str | None = None
    plan: Plan | None = None
    """What was counted, to be redriven."""

    def describe(self) -> str:
        """It in words, behind which a question mark can stand."""
        if self.task is not None:
            return f'redrive task {self.task} of queue {self.queue!r}'
        if self.plan is not None:
            many, seconds = self.plan.matched, self.plan.matched / RATE
            pace = f' at {RATE:g} a second, in {ago(seconds)}' if seconds > 1 else ''
            return f'redrive {number(many)} dead task{"s" * (many != 1)} of queue {self.queue!r}{pace}'
        if self.name == 'count':
            return f'count the dead tasks of queue {self.queue!r}'
        of = f'group {self.group!r} of ' if self.group is not None else ''
        return f'{self.name} {of}queue {self.queue!r}'


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """All that is not data of the server."""

    spots: tuple[Spot, ...] = (Spot('queues'),)
    """How somebody came here; the last is shown."""
    typing: bool = False
    """Whether keys are letters of the filter."""
    help: bool = False
    question: Act | None = None
    message: str = ''
    read_only: bool = False
    over: bool = False

    @property
    def spot(self) -> Spot:
        """What is shown."""
        return self.spots[-1]

    def at(self, **changed: object) -> 'State':
        """The same with another spot on top."""
        spot = dataclasses.replace(self.spot, **changed)  # type: ignore[arg-type]
        return dataclasses.replace(self, spots=(*self.spots[:-1], spot))

    def but(self, **changed: object) -> 'State':
        """The same with something changed."""
        return dataclasses.replace(self, **changed)  # type: ignore[arg-type]


def index_of(spot: Spot, rows: Sequence[Row]) -> int:
    """Which row is marked."""
    return next((n for n, row in enumerate(rows) if row.key == spot.chosen), 0)


def press(state: State, key: str, rows: Sequence[Row], paused: bool = False) -> tuple[State, Act | None]:
    """What a key makes of it; and what is to be done then, if anything.

    :param rows: those that are shown.
    :param paused: whether the queue is, that is looked at.
    """
    if state.question is not None:
        act = state.question if key in ('y', 'Y') else None
        return state.but(question=None, message='' if act else 'nothing was changed'), act
    state = state.but(message='')
    if state.help:
        return state.but(help=False, over=key == 'q'), None
    if state.typing:
        return _type(state, key), None
    if key in _MOVES:
        return _move(state, key, rows), None
    if key in ('p', 'r'):
        state = _ask(state, key, rows, paused)
        if state.question is not None and state.question.name == 'count':
            return state.but(question=None, message='counting ...'), state.question
        return state, None
    return _go(state, key, rows), None


def _type(state: State, key: str) -> State:
    text = state.spot.filter
    if key == 'enter':
        return state.but(typing=False)
    if key == 'escape':
        return state.at(filter='').but(typing=False)
    if key == 'clear':
        return state.at(filter='')
    if key == 'backspace':
        return state.at(filter=text[:-1])
    return state.at(filter=text + key) if len(key) == 1 and len(text) < 100 else state


_MOVES = {'up': -1, 'k': -1, 'down': 1, 'j': 1, 'page-up': -PAGE, 'page-down': PAGE, 'home': -1e9, 'g': -1e9,
          'end': 1e9, 'G': 1e9}  # fmt: skip


def _move(state: State, key: str, rows: Sequence[Row]) -> State:
    by = _MOVES[key]
    if state.spot.view == 'task':
        return state.at(scroll=max(0, int(min(1e6, state.spot.scroll + by))))
    if not rows:
        return state
    place = max(0, min(len(rows) - 1, index_of(state.spot, rows) + by))
    return state.at(chosen=rows[int(place)].key)


def _go(state: State, key: str, rows: Sequence[Row]) -> State:
    spot = state.spot
    if key == 'q':
        return state.but(over=True)
    if key == '?':
        return state.but(help=True)
    if key in ('escape', 'backspace'):
        if spot.filter:
            return state.at(filter='')
        return state.but(spots=state.spots[:-1]) if len(state.spots) > 1 else state
    if key == '/' and spot.view != 'task':
        return state.but(typing=True)
    if key == 's' and SORTS[spot.view]:
        return state.at(sort=(spot.sort + 1) % len(SORTS[spot.view]))
    if key == 'enter' and rows:
        return _enter(state, rows[index_of(spot, rows)])
    if spot.view in TABS:
        place = TABS.index(spot.view)
        wanted = {'tab': place + 1, 'right': place + 1, 'l': place + 1, 'back-tab': place - 1, 'left': place - 1,
                  'h': place - 1, **{str(n + 1): n for n in range(len(TABS))}}.get(key)  # fmt: skip
        if wanted is not None:
            return state.but(spots=(*state.spots[:-1], Spot(TABS[wanted % len(TABS)], spot.queue)))
    return state


def _enter(state: State, row: Row) -> State:
    spot = state.spot
    # The row stays the marked one for whoever comes back, though others may be the first by then.
    state = state.at(chosen=row.key)
    if spot.view == 'queues':
        deeper = Spot(TABS[0], row.key)
    elif spot.view in DEEPER:
        deeper = Spot(DEEPER[spot.view], spot.queue, of=row.key)
    else:
        deeper = Spot('task', row.queue or spot.queue, row.key)
    return state.but(spots=(*state.spots, deeper))


def _ask(state: State, key: str, rows: Sequence[Row], paused: bool) -> State:
    spot = state.spot
    if state.read_only:
        return state.but(message='only reading is allowed here')
    row = rows[index_of(spot, rows)] if rows else None
    queue = spot.queue or (row.key if row else '')
    act: Act | None = None
    if key == 'r' and spot.view == 'task':
        act = Act('redrive', queue, task=spot.task)
    elif key == 'r' and spot.view in ('dead', 'function') and row:
        act = Act('redrive', queue, task=row.key)
    elif key == 'r' and spot.view == 'queues' and row:
        act = Act('count', queue)
    elif key == 'p' and spot.view in ('queues', 'groups') and row:
        group = row.key if spot.view == 'groups' else None
        act = Act('resume' if row.paused else 'pause', queue, group)
    elif key == 'p' and spot.view not in ('queues', 'groups', 'group'):
        act = Act('resume' if paused else 'pause', queue)
    return state if act is None else state.but(question=act)
