"""How ``torrelque top`` looks: a screen of lines of a `State` and a `Look`.  Nothing here waits, or writes.

All data is `Text` that was made visible before; nothing of it is markup, and nothing of it reaches the terminal raw.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from torrelque.operate import Reason, TaskView

from .clean import shown, shown_lines
from .graph import braille, marks
from .out import Out, ago, number
from .stats import doubts
from .tables import draw
from .topkeys import DEEPER, LISTS, SORTS, TABS, Spot, State, index_of
from .toplook import NEWEST, Look
from .toptables import BAD, FINE, QUIET, Line, columns_of, lines_of, rows_of

GRAPH = 2
"""Lines of a graph."""

LEAST = 6
"""Lines below which no graph is shown."""

DOUBTS = 3
"""Lines of what is wrong with a queue, at the most."""

KEYS = (
    ('arrows, j k', 'another row; page up and down, home and end'),
    ('Enter', 'look at it'), ('Esc', 'back'), ('Tab, 1 2 3 4', 'functions, groups, workers, dead tasks of a queue'),
    ('/', 'only rows that have a text; Enter keeps it, Esc ends it'), ('s', 'another order'),
    ('p', 'pause or resume the queue, or the group'),
    ('r', 'redrive the dead task, or all dead ones of the queue, which are counted first'),
    ('^Z', 'suspend'), ('q', 'quit'),
)  # fmt: skip


class Frame(NamedTuple):
    """What it is drawn on."""

    width: int
    height: int
    server: str
    """The server, without name and password."""
    now: float
    """The server's time, as far as it is known."""
    silent: float | None = None
    """For how long (s) no answer has come, where that is to be told."""
    dots: bool = True
    """Whether Braille can be written."""


def screen(state: State, look: Look, frame: Frame, out: Out) -> RenderableType:
    """The whole screen."""
    spot = state.spot
    # Where there is hardly any room, something of it is for what is looked at.
    head, foot = _head(state, look, frame)[: max(0, frame.height - 2)], _foot(state, frame)
    room = max(1, frame.height - len(head) - len(foot))
    if state.help:
        body: list[RenderableType] = [_help()]
    elif spot.view == 'task':
        body = [*_task(spot, look, room, out)]
    else:
        lines = lines_of(spot, look, frame.now)
        below: list[Text] = []
        if spot.view == 'queues':
            below = _doubts(spot, look, lines, frame) if room > LEAST + DOUBTS else []
            below += _graph(state, look, lines, frame) if room > LEAST + GRAPH + len(below) else []
        above = _why_group(spot, look, frame) if spot.view == 'group' and room > LEAST else []
        table = _table(spot, lines, max(1, room - 1 - len(above) - len(below)), look, frame)
        body = [*above, table, *below]
    return Group(*head, _Filled(Group(*body), room), *foot)


class _Filled:
    """Something in so many lines: neither more nor less."""

    def __init__(self, inner: RenderableType, height: int) -> None:
        self.inner, self.height = inner, height

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.segment import Segment

        lines = console.render_lines(self.inner, options.update(height=None), pad=False)[: self.height]
        for line in [*lines, *[[]] * (self.height - len(lines))]:
            yield from line
            yield Segment.line()


def _line(*parts: str | tuple[str, str], width: int | None = None) -> Text:
    """One line of texts, each with a style or without."""
    text = Text(no_wrap=True, overflow='ellipsis', end='\n')
    for part in parts:
        content, style = part if isinstance(part, tuple) else (part, '')
        text.append(shown(content), style)
    if width is not None:
        text.truncate(width, overflow='ellipsis')
    return text


# Above and below


def _head(state: State, look: Look, frame: Frame) -> list[Text]:
    spot = state.spot
    path = ['torrelque top', *([f'queue {spot.queue!r}'] if spot.queue else [])]
    one = look.of(spot.queue) if spot.queue else None
    parts: list[str | tuple[str, str]] = [('  '.join(path), 'bold')]
    if one is not None:
        parts += [('  paused', 'yellow')] if one.paused else []
        parts.append(f'  {number(one.pending)} pending, {number(one.working)} working, {number(one.dead)} dead')
    parts.append((f'  {frame.server}', QUIET))
    first = _line(*parts, width=frame.width)
    if frame.silent is not None:
        why = f': {look.problem}' if look.problem is not None else ''
        return [first, _line((f'no answer for {ago(round(frame.silent))}{why}', BAD), width=frame.width)]
    if spot.view == 'task':
        return [first, _line((f'task {spot.task}', 'bold'), width=frame.width)]
    if spot.view in TABS:
        tabs: list[str | tuple[str, str]] = []
        for n, name in enumerate(TABS, 1):
            tabs += [(f'[{n} {name}]' if name == spot.view else f' {n} {name} ', 'reverse' * (name == spot.view)), ' ']
        return [first, _line(*tabs, *_window(spot, look), *_order(spot), width=frame.width)]
    if spot.view in LISTS:
        what = {'group': 'tasks that wait in group', 'function': 'dead tasks of function',
                'worker': 'tasks in hand of worker'}[spot.view]  # fmt: skip
        title = f'{what} {spot.of!r}'
        return [first, _line((title, 'bold'), *(f'  {part}' for part in _window(spot, look)), *_order(spot),
                             width=frame.width)]  # fmt: skip
    many = len(look.overviews)
    return [first, _line(f'{many} queue{"s" * (many != 1)}', *_order(spot), width=frame.width)]


def _window(spot: Spot, look: Look) -> list[str]:
    """Of how many there are rows, where that is not of all."""
    if spot.view == 'function':
        page = look.function.get((spot.queue, spot.of))
        return [f'of the newest {number(NEWEST)} of {number(page.total)} dead'] if page and page.total > NEWEST else []
    if spot.view == 'group':
        page, _ = look.group.get((spot.queue, spot.of), (None, ()))
        return [f'{number(len(page))} of {number(page.total)}'] if page and len(page) < page.total else []
    page, groups = look.dead.get(spot.queue), look.groups.get(spot.queue)
    shown_of = {'dead': (len(page.tasks), page.total) if page else (0, 0),
                'groups': (len(groups.groups), groups.total) if groups else (0, 0)}  # fmt: skip
    some, of = shown_of.get(spot.view, (0, 0))
    return [f'{number(some)} of {number(of)}'] if some < of else []


def _order(spot: Spot) -> list[str | tuple[str, str]]:
    order = SORTS[spot.view][min(spot.sort, len(SORTS[spot.view]) - 1)]
    kept = [(f'  only with {spot.filter!r}', 'yellow')] if spot.filter else []
    return [(f'  by {order}', QUIET), *kept]


def _foot(state: State, frame: Frame) -> list[Text]:
    spot = state.spot
    if state.question is not None:
        # That something is asked is seen in any case.
        ending = '? [y/N]'
        question = _line((state.question.describe(), 'bold yellow'), width=max(1, frame.width - len(ending)))
        return [question.append(ending, 'bold yellow')]
    if state.typing:
        return [_line(('/', 'bold'), spot.filter, ('_', 'blink'), width=frame.width)]
    if state.message:
        return [_line((state.message, 'yellow'), width=frame.width)]
    can = (('  p pause', spot.view != 'group'),
           ('  r redrive', spot.view in ('queues', 'dead', 'function', 'task')))  # fmt: skip
    acts = '' if state.read_only else ''.join(text for text, may in can if may)
    back = '' if spot.view == 'queues' else '  Esc back'
    enter = '' if spot.view == 'task' else 'Enter look  '
    find = '' if spot.view == 'task' else '/ filter  s sort  '
    return [_line((f'{enter}{find}? help{back}{acts}  q quit', QUIET), width=frame.width)]


def _help() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for key, does in KEYS:
        table.add_row(Text(key, 'bold'), Text(does))
    return table


# Tables


def _table(spot: Spot, lines: Sequence[Line], room: int, look: Look, frame: Frame) -> RenderableType:
    if not lines:
        return _line((_nothing(spot, look), QUIET))
    place = index_of(spot, rows_of(lines))
    first = max(0, min(place - room // 2, len(lines) - room))
    rows = []
    for n, line in enumerate(lines[first : first + room], first):
        # The marked one is so without colours too.
        name, *rest = [cell if isinstance(cell, tuple) else (cell, '') for cell in line.cells]
        marked = ' reverse' if n == place else ''
        cells = [(f'{">" if marked else " "} {name[0]}', name[1]), *rest]
        cells = cells if frame.dots else [(text.replace('≥', '>='), style) for text, style in cells]
        rows.append([(text, f'{style}{marked}'.strip()) for text, style in cells])
    table, _ = draw(columns_of(spot.view), rows, frame.width, shown, 'ellipsis' if frame.dots else 'crop')
    return table


def _nothing(spot: Spot, look: Look) -> str:
    if spot.filter:
        return f'nothing has {spot.filter!r}'
    if spot.view in DEEPER.values():
        asked = {'group': look.group, 'function': look.function, 'worker': look.overviews}[spot.view]
        return {
            'group': 'no task waits in it', 'function': 'none of its tasks is dead',
            'worker': 'it has no task in hand, as far as it tells',
        }[spot.view] if asked else 'asking ...'  # fmt: skip
    known = {'queues': look.overviews, 'functions': look.functions, 'groups': look.groups, 'workers': look.overviews,
             'dead': look.dead}[spot.view]  # fmt: skip
    if not known:
        return 'asking ...'
    return {
        'queues': 'no queue',
        'functions': 'no worker with a heartbeat has counted anything in the last hour',
        'groups': 'no group has tasks', 'workers': 'no worker has a heartbeat', 'dead': 'no task is dead',
    }[spot.view]  # fmt: skip


# What is wrong


def _doubts(spot: Spot, look: Look, lines: Sequence[Line], frame: Frame) -> list[Text]:
    """What is wrong with the queue that is marked."""
    rows = rows_of(lines)
    one = look.of(rows[index_of(spot, rows)].key) if rows else None
    found = [] if one is None else [words for words, more in doubts(one) if more is not None]
    if len(found) > DOUBTS:
        found[DOUBTS - 1 :] = [f'{found[DOUBTS - 1]}; and {number(len(found) - DOUBTS)} more: torrelque stats']
    return [_line(''), *(_line((words, 'yellow'), width=frame.width) for words in found)] if found else []


def _why_group(spot: Spot, look: Look, frame: Frame) -> list[Text]:
    """Why the group that is looked at does not move: the decisive reason."""
    _, reasons = look.group.get((spot.queue, spot.of), (None, ()))
    return [_line((f'why  {reasons[0].text}', 'yellow'), width=frame.width)] if reasons else []


# The graph


def _graph(state: State, look: Look, lines: Sequence[Line], frame: Frame) -> list[Text]:
    """Tasks done and failed a minute, of the queue that is marked."""
    rows = rows_of(lines)
    if not rows:
        return []
    queue = rows[index_of(state.spot, rows)].key
    records = look.history.get(queue)
    half = max(4, (frame.width - 2) // 2)
    minutes = (2 if frame.dots else 1) * half
    done = per_minute(records or (), frame.now, minutes, 'succeeded')
    failed = per_minute(records or (), frame.now, minutes, 'failed')
    if not records or all(value is None for value in done):
        return [_line(''), _line((f'{queue}: no worker with a heartbeat; throughput is not known', QUIET),
                                 width=frame.width)]  # fmt: skip
    draw = braille if frame.dots else marks
    left, right = draw(done, GRAPH), draw(failed, GRAPH)
    titles = (f'{queue}: {_last(done, "done")}', _last(failed, 'failed'))
    first = _line(titles[0], width=half)
    first.pad_right(half - first.cell_len)
    head = _line('')
    head.append_text(first).append('  ').append_text(_line(titles[1], width=half))
    return [_line(''), head, *(_line((a, FINE), '  ', (b, BAD)) for a, b in zip(left, right, strict=True))]


def _last(values: Sequence[float | None], what: str) -> str:
    """The last minute that is known, and the most of all."""
    known = [value for value in values if value is not None]
    silent = next(n for n, value in enumerate(reversed(values)) if value is not None)
    # Of a minute that has just ended, the beats may be still to come.
    last = f'{number(known[-1])} {what}/min' if silent < 3 else f'none {what} for {silent} min'
    return f'{last}, most {number(max(known))}'


def per_minute(records: Sequence[Any], now: float, minutes: int, field: str) -> list[float | None]:
    """A figure of each of the last minutes that are over; None where no worker wrote."""
    known = {int(one.start // 60): getattr(one.totals, field) for one in records if one.length == 60}
    last = int(now // 60) - 1
    return [known.get(minute) for minute in range(last - minutes + 1, last + 1)]


# One task


def _task(spot: Spot, look: Look, room: int, out: Out) -> list[Text]:
    found = look.tasks.get((spot.queue, spot.task))
    if found is None:
        return [_line(('asking ...', QUIET))]
    lines = [*_fields(*found, out)]
    scroll = max(0, min(spot.scroll, len(lines) - room))
    return lines[scroll : scroll + room]


def _fields(task: TaskView, reasons: Sequence[Reason], out: Out) -> list[Text]:
    status = task.broken or ('-' if task.status is None else task.status.name.lower())
    most = '' if task.max_attempts is None else f' of {number(task.max_attempts)}'
    fields = {
        'status': status, 'function': task.function or '-', 'group': task.group or '-',
        'priority': str(task.priority), 'attempt': f'{number(task.attempt)}{most}',
        'enqueued': out.when(task.enqueue_time), 'ready since': out.when(task.ready_since),
        'due': out.when(task.due), 'lease ends': out.when(task.lease_end), 'worker': task.worker or '-',
        'died': out.when(task.died),
    }  # fmt: skip
    lines = [_line((f'{name:12}', QUIET), value) for name, value in fields.items() if value not in ('-', '0')]
    lines += [_line((f'{"why" if not n else "":12}', QUIET), one.text) for n, one in enumerate(reasons)]
    for one in task.history:
        took = ago(one.ended - one.started)
        lines.append(_line((f'attempt {one.number:<4}', QUIET), f'{out.when(one.started)} {took}  {one.error}'))
    shown_whole = task.payload is not None or not task.size
    payload = json.dumps(task.payload, ensure_ascii=False, default=repr) if shown_whole else f'{task.size} bytes'
    lines.append(_line((f'{"payload":12}', QUIET), payload))
    if task.error:
        lines += [_line(('error', QUIET)), *(_line(line) for line in shown_lines(task.error).split('\n'))]
    return lines
