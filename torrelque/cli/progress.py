"""How far a long act is: a bar on a terminal, a line now and then in a pipe.  All of it goes to standard error."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torrelque.operate import Outcome

from .out import Out, ago, number

EVERY = 10.0
"""s from one line to the next in a pipe."""

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


@contextlib.contextmanager
def following(out: Out, course: Course) -> Iterator[Tell]:
    """What is to be called with the outcome so far."""
    if out.error.is_terminal:
        with _bar(out, course) as tell:
            yield tell
        return
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
    with Progress(*columns, hint, console=out.error, transient=True, refresh_per_second=4) as progress:
        bar = progress.add_task(course.words(nothing), total=course.total)

        def tell(outcome: Outcome) -> None:
            progress.update(bar, completed=course.reached(outcome), description=course.words(outcome))

        yield tell
