"""How far a long act is: a bar on a terminal, a line now and then in a pipe.  All of it goes to standard error."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torrelque.operate import Outcome, Selection

from .out import Out, ago, number
from .session import Session

EVERY = 10.0
"""s from one line to the next in a pipe."""
MOMENT = 0.5
"""s after which a list tells how far it is."""
PLACES = {'ready': 'pending', 'orphaned': 'working'}
"""Where tasks are looked for that have a status which is no place."""

HINT, SHORT_HINT = '^C ends it; the same command does the rest', '^C ends it'

Tell = Callable[[Outcome], None]


class Course(NamedTuple):
    """What is told of an act on its way."""

    done: str | None
    """What becomes of its tasks, such as 'redriven'; None where they are only counted."""
    total: int | None
    """How many are acted on, or looked at; None is not known."""
    looking: bool = False
    """Whether it is so far as tasks were looked at; else as they were changed."""

    def reached(self, outcome: Outcome) -> int:
        """How far it is."""
        return outcome.seen if self.looking else outcome.done

    def words(self, outcome: Outcome) -> str:
        """How far it is, in words."""
        of = '' if self.total is None else f' of {number(self.total)}'
        looked = f'{number(outcome.seen)}{of} looked at'
        if self.done is None:
            return f'{looked}, {number(outcome.matched)} found'
        if not self.looking:
            return f'{number(outcome.done)}{of} {self.done}'
        return f'{number(outcome.done)} {self.done}, {looked}'


async def total_of(session: Session, selection: Selection, places: Sequence[str]) -> int | None:
    """How many tasks are looked at, at the most; None where that is not known, or nobody looks on.

    :param places: where they are looked for, unless the selection says so.
    """
    if not session.out.error.is_terminal:
        return None
    if selection.ids is not None:
        return len({*selection.ids})
    places = places if selection.status is None else (PLACES.get(selection.status, selection.status),)
    if selection.group is not None and 'pending' in places:
        return None  # of what waits, other groups are not looked at
    if (selection.older is not None or selection.newer is not None) and tuple(places) == ('dead',):
        return None  # nor are other times of the dead
    overviews = await session.operator.overviews()
    return sum(getattr(one, place) for one in overviews for place in places) or None


@contextlib.contextmanager
def looking(out: Out, course: Course) -> Iterator[Tell]:
    """The same for a list: a bar comes when it takes longer than a moment, and never between lines of JSON."""
    if out.as_json or not out.error.is_terminal:
        with _lines(out, course) as tell:
            yield tell
        return
    began, bar = time.monotonic(), None
    with contextlib.ExitStack() as stack:

        def late(outcome: Outcome) -> None:
            nonlocal bar
            if bar is None and time.monotonic() - began >= MOMENT:
                bar = stack.enter_context(_bar(out, course))
            if bar is not None:
                bar(outcome)

        yield late


@contextlib.contextmanager
def following(out: Out, course: Course) -> Iterator[Tell]:
    """What is to be called with the outcome so far."""
    if out.error.is_terminal:
        with _bar(out, course) as tell:
            yield tell
        return
    with _lines(out, course) as tell:
        yield tell


@contextlib.contextmanager
def _lines(out: Out, course: Course) -> Iterator[Tell]:
    began = told = time.monotonic()

    def line(outcome: Outcome) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < EVERY:
            return
        told, reached, total = now, course.reached(outcome), course.total
        left = '' if not (total and reached) else f', {ago((now - began) / reached * max(0, total - reached))} to go'
        out.tell(f'{course.words(outcome)}{left}')

    yield line


@contextlib.contextmanager
def _bar(out: Out, course: Course) -> Iterator[Tell]:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Words(ProgressColumn):
        """How far it is."""

        def render(self, task: Task) -> Text:
            return Text(task.description)

    nothing = Outcome('', '', 0, 0, 0, (), course.done is None, False, 0.0)
    # At 80 columns there is just room for all of it.
    one_line = Column(no_wrap=True, overflow='ellipsis')
    columns = [Words(one_line), BarColumn(12), TimeRemainingColumn(compact=True)]
    hint = TextColumn(SHORT_HINT if course.looking else HINT, markup=False, table_column=one_line.copy())
    made = Progress(
        *columns, hint, console=out.error, transient=True, refresh_per_second=4, redirect_stdout=False
    )
    with made as progress:
        task = progress.add_task(course.words(nothing), total=course.total)

        def tell(outcome: Outcome) -> None:
            progress.update(task, completed=course.reached(outcome), description=course.words(outcome))

        yield tell
