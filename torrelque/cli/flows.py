"""``torrelque show`` and ``torrelque watch`` of a flow: how far it is, and its tasks as a tree."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torrelque import TorrelqueLookupError
from torrelque.operate import FlowTaskView, FlowView, TaskView

from . import reasons
from .failure import Exit
from .flowtree import Drawing, added_by, bar_of, order_of, progress_words
from .out import Out, ago, number, shortened
from .session import Session

if TYPE_CHECKING:
    from rich.console import RenderableType

READ = 10_000
"""Tasks of a flow that are read at the most."""
LIVE = 1000
"""The same of a live tree, again and again."""
OFTEN = 0.2
"""s from one drawing of a live tree to the next, at the least."""


async def show_flow(session: Session, task: TaskView) -> int:
    """All of a flow; the exit code."""
    found, out = session.found, session.out
    try:
        view = await session.operator.flow(task.id, most=READ, queue=task.queue)
    except TorrelqueLookupError as exc:
        out.tell(exc.args[0])
        return Exit.ILL
    if found.mermaid:
        return _write_mermaid(out, view)
    if out.as_json:
        out.json(view)
        return Exit.WELL
    out.line(view.id, 'bold')
    out.pairs([(f'  {name}', value) for name, value in facts(out, view)])
    out.console.print(bar_of(view), soft_wrap=True)
    if view.broken:
        out.tell(f'tasks may be missing, for keys hold something else than they should: {", ".join(view.broken)}')
    tree, left_out = Drawing(out, view).draw()
    out.console.print(tree, soft_wrap=not out.terminal)
    if view.cursor is not None:
        left_out += view.total - len(view.tasks)
    if left_out > 0:
        out.tell(f'{number(left_out)} tasks are left out; --json has {number(len(view.tasks))}')
    if view.status is None or not view.status.isfinal() or view.left:
        out.line('why', 'bold')
        why = await session.operator.explain(view.id, queue=view.queue)
        # Of what is shown here it need not be said which command does.
        own = 'torrelque show '
        why = [replace(it, command=None) if (it.command or '').startswith(own) else it for it in why]
        reasons.write(session, why, view.server_time, view.queue, ' ')
    return Exit.WELL


def _write_mermaid(out: Out, view: FlowView) -> int:
    from torrelque.flows.drawing import draw

    tasks = {task.name: task for task in sorted(view.tasks, key=order_of(view))}
    how = {name: 'failed' if task.word == 'dead' else task.how for name, task in tasks.items()}
    # What has become of a task whose place others have taken is told by these.
    states = {name: word for name, word in how.items() if word not in (None, 'grafted')}
    nodes = []
    for name, task in tasks.items():
        by = added_by(name, tasks)
        if by is not None and tasks[by].each:
            # The calls of a map have no room; what has become of them is told by the map.
            if task.word != 'completed' and states.get(by) != 'failed':
                states[by] = states.get(name, '')
            continue
        edges = [(other, kind) for other, kind in task.after if _is_drawn(other, tasks)]
        edges = edges or ([(by, 'then')] if by is not None else [])
        nodes.append([name, edges, task.function, *(['each'] if task.each else [])])
    drawn = draw({'nodes': nodes}, {name: state for name, state in states.items() if state})
    if out.as_json:
        out.json({'mermaid': drawn})
    else:
        out.block(drawn.rstrip('\n'), indent='', most=None)
    if view.cursor is not None:
        out.tell(f'{number(view.total - len(view.tasks))} tasks are left out')
    return Exit.WELL


def _is_drawn(name: str, tasks: Mapping[str, FlowTaskView]) -> bool:
    return name in tasks and ((by := added_by(name, tasks)) is None or not tasks[by].each)


def facts(out: Out, view: FlowView) -> Iterator[tuple[str, str]]:
    """What is known of a flow, each with its name."""
    now = view.server_time

    def instant(at: float) -> str:
        return f'{out.when(at)}, {ago(now - at)} ago' if at <= now else f'{out.when(at)}, in {ago(at - now)}'

    yield 'queue', view.queue
    status = 'broken' if view.status is None else view.status.name.lower()
    yield 'status', 'being made' if view.draft else f'{status}, and tasks are dead' if view.stalled else status
    for name, text in (('name', view.name), ('of the flow', view.flow)):
        if text is not None:
            yield name, text
    yield 'on failure', view.on_failure
    for name, at in (('started', view.started), ('ended', view.ended), ('given up', view.gives_up)):
        if at is not None:
            yield name, instant(at)
    if view.error:
        yield 'error', shortened(reasons.last_line(view.error), 400)


# As it goes on


async def follow_flow(session: Session, views: AsyncIterator[TaskView]) -> TaskView | None:
    """A flow as a tree that is drawn again at each of its changes, on a terminal; the last that was seen of it."""
    from rich.live import Live

    last, drawn = None, 0.0
    with Live(console=session.out.console, auto_refresh=False, transient=False) as live:
        async for last in views:
            final = last.status is None or last.status.isfinal() or bool(last.dead)
            if final or time.monotonic() - drawn >= OFTEN:
                live.update(await _frame(session, last), refresh=True)
                drawn = time.monotonic()
    return last


async def _frame(session: Session, last: TaskView) -> 'RenderableType':
    from rich.console import Group
    from rich.text import Text

    out = session.out
    try:
        view = await session.operator.flow(last.id, most=LIVE, queue=last.queue)
    except TorrelqueLookupError:
        return Text(out.safe(flow_line(out, last)))
    tree, _ = Drawing(out, view, max(3, out.console.height - 3)).draw()
    return Group(Text(out.safe(flow_line(out, last)), no_wrap=True, overflow='ellipsis'), bar_of(view), tree)


def flow_line(out: Out, task: TaskView) -> str:
    """The line of a state of a flow."""
    status = '-' if task.status is None else task.status.name.lower()
    words = [out.when(task.server_time), status, progress_words(task.total, task.left, task.dead, task.failed)]
    if task.error_line:
        words.append(shortened(task.error_line, 400))
    return '  '.join(words)
