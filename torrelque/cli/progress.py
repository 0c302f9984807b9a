"""How far a long act is: a bar on a terminal, a line now and then in a pipe.  All of it goes to standard error."""

import contextlib
import time
from collections.abc import Callable, Iterator

from torrelque.operate import Outcome

from .out import Out, ago, number

EVERY = 10.0
"""s from one line to the next in a pipe."""

HINT = '^C ends it; the same command does the rest'

Tell = Callable[[Outcome], None]


@contextlib.contextmanager
def following(out: Out, doing: str, total: int | None, count: Callable[[Outcome], int]) -> Iterator[Tell]:
    """What is to be called with the outcome so far.

    :param doing: what becomes of the tasks, such as 'redriven'.
    :param total: of how many, where that is known.
    :param count: which figure of an outcome says how far it is.
    """
    if out.error.is_terminal:
        with _bar(out, doing, total, count) as tell:
            yield tell
        return
    began = told = time.monotonic()

    def line(outcome: Outcome) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < EVERY:
            return
        told, done = now, count(outcome)
        of = '' if total is None else f' of {number(total)}'
        left = '' if not (total and done) else f', {ago((now - began) / done * max(0, total - done))} to go'
        out.tell(f'{number(done)}{of} {doing}{left}')

    yield line


@contextlib.contextmanager
def _bar(out: Out, doing: str, total: int | None, count: Callable[[Outcome], int]) -> Iterator[Tell]:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Done(ProgressColumn):
        """How many."""

        def render(self, task: Task) -> Text:
            return Text(f'{number(task.completed)} {doing}')

    # At 80 columns there is just room for all of it.
    one_line = Column(no_wrap=True, overflow='ellipsis')
    columns = [Done(one_line), BarColumn(12), TimeRemainingColumn(compact=True)]
    hint = TextColumn(HINT, markup=False, table_column=one_line.copy())
    with Progress(*columns, hint, console=out.error, transient=True, refresh_per_second=4) as progress:
        bar = progress.add_task('', total=total)
        yield lambda outcome: progress.update(bar, completed=count(outcome))
