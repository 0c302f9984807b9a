"""The live view without a terminal: what keys make of what is shown, how it looks, and what is asked for."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from typing import Any

import pytest
from rich.console import Console

from support.pressing import pressed
from torrelque import TorrelqueTaskStatus
from torrelque.cli.graph import braille, marks
from torrelque.cli.out import Out
from torrelque.cli.topkeys import DEEPER, SORTS, TABS, Act, Row, Spot, State
from torrelque.cli.toplook import Look
from torrelque.cli.toptables import COLUMNS, lines_of, rows_of
from torrelque.cli.topview import Frame, per_minute, screen
from torrelque.operate import (
    Attempt,
    FunctionView,
    Groups,
    GroupView,
    Overview,
    Page,
    Reason,
    Record,
    RunningView,
    TaskView,
    Totals,
    WorkerView,
)

NOW = 1_000_000_000.0
HOSTILE = '\x1b[2J\x1b]0;x\x07 [red]x[/] \u202eabc\r\n'


def made(kind: Any, **given: Any) -> Any:
    """A value with the fields that are given; the others say nothing."""
    empty: dict[Any, Any] = {str: '', int: 0, float: 0.0, bool: False}
    values = {
        field.name: () if str(field.type).startswith('tuple') and 'None' not in str(field.type)
        else empty.get(field.type) for field in dataclasses.fields(kind)
    }  # fmt: skip
    return kind(**{**values, **given})


def overview(queue: str, **given: Any) -> Overview:
    found: Overview = made(Overview, queue=queue, server_time=NOW, **given)
    return found


def dead(task_id: str, **given: Any) -> TaskView:
    found: TaskView = made(TaskView, queue='mail', id=task_id, server_time=NOW, place='dead',
                           status=TorrelqueTaskStatus.DEAD, **given)  # fmt: skip
    return found


# Graphs


def test_a_graph_shows_gaps_nothing_and_the_most() -> None:
    assert braille([None, 0, 4, 8], 1) == ['\u2880\u28fc']
    assert braille([None, None, 8, 8], 1) == ['\u2800\u28ff']
    assert braille([0, 0], 1) == ['\u28c0'] and braille([], 2) == ['', '']
    assert braille([8, 8, 1, 1], 2) == ['\u28ff\u2800', '\u28ff\u28e4']
    assert [len(line) for line in braille([1.0] * 5, 3)] == [3, 3, 3]
    assert marks([None, 0, 1, 100], 2) == ['   #', ' .##'] and marks([], 1) == ['']
    assert all(line.isascii() for line in marks([1, 5, None, math.pi], 3))


def test_minutes_that_are_over_are_shown_and_gaps_are_gaps() -> None:
    def record(ago: float, done: int, length: float = 60.0) -> Record:
        found: Record = made(Record, queue='mail', start=(NOW // 60 - ago) * 60, length=length,
                             functions=(('f', Totals(done, done + 1)),))  # fmt: skip
        return found

    records = [record(4, 7), record(2, 5), record(1, 3), record(0, 9), record(3, 1, 3600.0)]
    assert per_minute(records, NOW, 4, 'succeeded') == [7, None, 5, 3]
    assert per_minute(records, NOW, 2, 'failed') == [6, 4]


# Looks


def drawn(state: State, look: Look, width: int = 80, height: int = 24, **given: Any) -> list[str]:
    """The lines of the screen; exactly so many, and none is wider."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, force_terminal=False, color_system=None, highlight=False,
                      emoji=False, markup=False, _environ={})  # fmt: skip
    frame = Frame(width, height, 'redis://localhost:6379/0', NOW, **given)
    console.print(screen(state, look, frame, Out(utc=True)), end='')
    lines = file.getvalue().removesuffix('\n').split('\n')
    assert len(lines) == height and not [line for line in lines if len(line) > width]
    assert all(line.isprintable() for line in lines)
    return lines


def make_look() -> Look:
    groups = [
        made(GroupView, queue='mail', name='acme', waiting=12, slots=3, limit=3, rate=(50, 1.0), oldest=NOW - 90),
        made(GroupView, queue='mail', name='zoo', waiting=40, slots=0, limit=math.inf, paused=True),
    ]
    worker = made(
        WorkerView, name='web-1', queue='mail', queues=('mail', 'x'), state='running', seen=NOW - 1, busy=2,
        concurrency=10, claimed=0.25, lag=0.002, rss=88 * 2**20, succeeded=900, failed=100,
        running=(made(RunningView, id='x', queue='mail', name='render', since=NOW - 62),),
    )  # fmt: skip
    stuck = made(WorkerView, name='web-0', queue='mail', state='lost', seen=NOW - 360, concurrency=10, why='gone')
    functions = [
        made(FunctionView, queue='mail', name='send', totals=Totals(90, 10, 2), mean=0.1, p50=0.05, p95=0.5),
        made(FunctionView, queue='mail', name='', totals=Totals(1)),
    ]
    tasks = [
        dead('t1', died=NOW - 10, attempt=3, function='send', error='Traceback\nKeyError: 1'),
        dead('t2', died=NOW - 99, attempt=1, group='acme', error='Boom'),
    ]
    minutes = [
        made(Record, queue='mail', start=(NOW // 60 - n) * 60, length=60.0, functions=(('f', Totals(1000 * n, n)),))
        for n in range(1, 60)
    ]
    task = dead('t1', died=NOW - 10, attempt=3, max_attempts=3, error='Traceback\n  x\nKeyError: 1', payload={'a': 1},
                size=7, enqueue_time=NOW - 100, history=(Attempt(1, NOW - 50, NOW - 49, 'KeyError: 1'),))  # fmt: skip
    look = Look(overviews=[
        overview('mail', pending=1_204_118, oldest=NOW - 840, ready=9821, working=300, delayed=1022, dead=41, workers=3,
                 slots=300, busy=299, lost=1),
        overview('report', pending=381, paused=True, exact=('oldest',), oldest=NOW - 7200),
        overview('void', error='WRONGTYPE'),
    ])  # fmt: skip
    look.workers, look.functions, look.dead = [worker, stuck], {'mail': functions}, {}
    look.groups = {'mail': made(Groups, queue='mail', groups=tuple(groups), total=2)}
    look.dead = {'mail': made(Page, queue='mail', place='dead', tasks=tuple(tasks), total=2)}
    look.function = {('mail', 'send'): made(Page, queue='mail', place='dead', tasks=tuple(tasks[:1]), total=4000)}
    waiting = made(TaskView, queue='mail', id='t3', server_time=NOW, status=TorrelqueTaskStatus.PENDING,
                   ready_since=NOW - 90, attempt=2, function='render', error='Boom')  # fmt: skip
    reason = made(Reason, code='at-limit', text='the group is at its limit: 3 of 3 slots are in use')
    look.group = {('mail', 'acme'): (made(Page, queue='mail', tasks=(waiting,), total=12), [reason])}
    look.tasks = {('mail', 't1'): (task, [made(Reason, code='dead', text='it is dead')])}
    look.history = {'mail': minutes}
    return look


def test_queues_are_shown_at_80_by_24() -> None:
    lines = drawn(State(), make_look())
    assert lines[0].startswith('torrelque top  redis://localhost:6379/0')
    # There is no room for all columns unless they are close to one another.
    assert lines[2].split() == ['QUEUE', 'PENDING', 'OLDEST', 'READY', 'WORKING', 'DELAYED', 'DEAD', 'WORKERS', 'BUSY']
    assert ' '.join(lines[3].split()) == '> mail 1,204,118 ≥ 14m00s 9,821 300 1,022 41 3 -1 299/300'
    assert ' '.join(lines[4].split()) == 'report 381 2h00m 0 0 0 0 0 - paused'
    assert ' '.join(lines[5].split()) == 'void - - - - - - - - WRONGTYPE'
    wide = drawn(State(), make_look(), 120)
    assert ' '.join(wide[3].split()) == '> mail 1,204,118 ≥ 14m00s 9,821 300 1,022 0 41 3 -1 299/300'
    text = '\n'.join(lines)
    assert 'mail: 1,000 done/min, most 59,000' in text and '1 failed/min, most 59' in text
    assert any('\u2801' <= character <= '\u28ff' for character in text)
    assert lines[-1] == 'Enter look  / filter  s sort  ? help  p pause  r redrive  q quit'
    plain = '\n'.join(drawn(State(), make_look(), dots=False))
    assert '##' in plain and plain.isascii()
    assert 'redrive' not in '\n'.join(drawn(State(read_only=True), make_look()))


@pytest.mark.parametrize('view', TABS)
def test_what_is_of_a_queue_is_shown(view: str) -> None:
    lines = drawn(State(spots=(Spot('queues'), Spot(view, 'mail'))), make_look())
    assert "queue 'mail'" in lines[0] and f'[{TABS.index(view) + 1} {view}]' in lines[1]
    assert lines[2].split() == [column.title for column in COLUMNS[view] if column.title]
    first, second = (' '.join(line.split()) for line in lines[3:5])
    assert (first, second) == {
        'functions': ('> send 90 10 10.0% 2 100ms 50ms 500ms', '(no call of a function) 1 0 0 - - -'),
        'groups': ('> zoo 40 - 0/none - paused', 'acme 12 1m30s 3/3 50/s'),
        'workers': ('> web-0 lost 6m00s 0/10 - - - 0 0 gone',
                    'web-1 running 2/10 200ms 2ms 88 MB 900 100 10.0% render 1m02s'),
        'dead': ('> t1 10s 3 send - KeyError: 1', 't2 1m39s 1 - acme Boom'),
    }[view]  # fmt: skip


def test_what_is_of_a_group_a_function_or_a_worker_is_shown() -> None:
    for spot, title, row in (
        (Spot('group', 'mail', of='acme'), "tasks that wait in group 'acme'  1 of 12  by turn",
         '> t3 1m30s 2 render Boom'),
        (Spot('function', 'mail', of='send'),
         "dead tasks of function 'send'  of the newest 1,000 of 4,000 dead  by newest", '> t1 10s 3 - KeyError: 1'),
        (Spot('worker', 'mail', of='web-1'), "tasks in hand of worker 'web-1'  by longest",
         '> x 1m02s 0 render - mail'),
    ):  # fmt: skip
        lines = drawn(State(spots=(Spot('queues'), Spot('groups', 'mail'), spot)), make_look())
        assert lines[1].rstrip() == title and row in [' '.join(line.split()) for line in lines]
        assert lines[-1].startswith('Enter look') and ('r redrive' in lines[-1]) == (spot.view == 'function')
        empty = '\n'.join(drawn(State(spots=(Spot(spot.view, 'mail', of='other'),)), make_look()))
        assert 'asking' not in empty and ('no task' in empty or 'none of its tasks' in empty)
        assert 'asking' in '\n'.join(drawn(State(spots=(spot,)), Look()))
    lines = drawn(State(spots=(Spot('group', 'mail', of='acme'),)), make_look())
    assert lines[2] == 'why  the group is at its limit: 3 of 3 slots are in use'


def test_what_is_wrong_with_the_marked_queue_is_told_below_the_queues() -> None:
    lines = drawn(State(), make_look())
    first = lines.index('the oldest task has waited for 14m00s or longer')
    assert lines[first + 1] == '1 worker was lost in the last hour' and lines[first + 2].startswith('41 tasks are dead')
    assert 'the queue is paused' in drawn(State(spots=(Spot('queues', chosen='report'),)), make_look())
    look = Look(overviews=[overview('a', paused=True, paused_groups=2, dead=1, lost=1, stuck=1, workers=1)])
    assert '2 groups are paused' in drawn(State(), look)
    assert any(line.endswith('; and 2 more: torrelque stats') for line in drawn(State(), look))
    assert 'paused' not in '\n'.join(drawn(State(), Look(overviews=[overview('a', workers=1)])))


def test_a_queue_whose_schedules_are_late_or_dry_is_marked() -> None:
    def mark(**given: Any) -> Any:
        [line] = lines_of(Spot('queues'), Look(overviews=[overview('mail', **given)]), NOW)
        return line.cells[-1]

    late = {'late_schedules': 2, 'late_since': NOW - 5, 'dry_schedules': 1}
    assert mark(**late) == ('2 late', 'red') and mark(**late, paused=True) == ('paused', 'yellow')
    assert mark(dry_schedules=3) == ('3 dry', 'red')
    assert mark(late_schedules=2, late_since=NOW - 0.5) == mark(paused_schedules=2) == ''


def test_a_graph_of_what_has_ended_says_so() -> None:
    look = make_look()
    look.history = {'mail': [one for one in look.history['mail'] if one.start < NOW - 19 * 60]}
    text = '\n'.join(drawn(State(), look))
    assert re.search(r'mail: none done for 1[89] min, most 59,000 +none failed for', text)


def test_a_task_is_shown_and_can_be_scrolled() -> None:
    state = State(spots=(Spot('queues'), Spot('dead', 'mail'), Spot('task', 'mail', 't1')))
    lines = drawn(state, make_look())
    text = '\n'.join(lines)
    assert 'it is dead' in text and 'KeyError: 1' in text and '{"a": 1}' in text and '3 of 3' in text
    assert 'attempt 1' in text and '2001-09-09 01:45:50Z' in text
    few = drawn(state, make_look(), height=8)
    scrolled = drawn(pressed(state, 'page-down page-down'), make_look(), height=8)
    assert 'KeyError: 1' in scrolled[-2] and few != scrolled
    assert any('asking' in line for line in drawn(State(spots=(Spot('task', 'mail', 'other'),)), make_look()))


def test_rows_are_filtered_and_put_in_order() -> None:
    look = make_look()
    assert [line.row.key for line in lines_of(Spot('queues'), look, NOW)] == ['mail', 'report', 'void']
    assert [line.row.key for line in lines_of(Spot('queues', sort=1), look, NOW)] == ['report', 'mail', 'void']
    assert [line.row.key for line in lines_of(Spot('queues', filter='REP'), look, NOW)] == ['report']
    assert lines_of(Spot('queues', filter='zzz'), look, NOW) == []
    assert "nothing has 'zzz'" in '\n'.join(drawn(State(spots=(Spot('queues', filter='zzz'),)), look))
    for view, orders in SORTS.items():
        for sort in range(len(orders)):
            lines_of(Spot(view, 'mail', sort=sort), look, NOW)
    assert [line.row.key for line in lines_of(Spot('dead', 'mail', sort=1), look, NOW)] == ['t2', 't1']
    assert rows_of(lines_of(Spot('groups', 'mail'), look, NOW))[0] == Row('zoo', True)


def test_many_rows_keep_the_marked_one_on_the_screen() -> None:
    look = Look(overviews=[overview(f'q{n:03}') for n in range(200)])
    for chosen in ('q000', 'q100', 'q199'):
        lines = drawn(State(spots=(Spot('queues', chosen=chosen),)), look, height=12)
        assert [line.split()[1] for line in lines if line[:1] == '>'] == [chosen]


@pytest.mark.parametrize('size', [(80, 24), (20, 5), (40, 10), (200, 60), (5, 3)])
def test_any_size_has_room_for_something(size: tuple[int, int]) -> None:
    width, height = size
    for spot in (Spot('queues'), *(Spot(view, 'mail') for view in TABS), Spot('task', 'mail', 't1')):
        drawn(State(spots=(spot,)), make_look(), width, height)
    drawn(State(help=True), make_look(), width, height)


def test_nothing_of_hostile_data_is_written_raw_or_taken_for_markup() -> None:
    look = Look(overviews=[overview(HOSTILE, dead=1), overview('b', error=HOSTILE)], problem=HOSTILE)
    look.functions = {HOSTILE: [made(FunctionView, name=HOSTILE, totals=Totals(1))]}
    look.groups = {HOSTILE: made(Groups, groups=(made(GroupView, name=HOSTILE),))}
    look.workers = [made(WorkerView, name=HOSTILE, queue=HOSTILE, state='lost', why=HOSTILE, seen=NOW)]
    task = dead(HOSTILE, error=HOSTILE + '\nlast' + HOSTILE, function=HOSTILE, group=HOSTILE, payload=HOSTILE,
                broken=HOSTILE)  # fmt: skip
    look.dead = {HOSTILE: made(Page, tasks=(task,))}
    look.function = {(HOSTILE, HOSTILE): made(Page, tasks=(task,), total=4000)}
    look.group = {(HOSTILE, HOSTILE): (made(Page, tasks=(task,), total=2), [made(Reason, text=HOSTILE)])}
    look.workers[0] = dataclasses.replace(look.workers[0], running=(made(RunningView, id=HOSTILE, name=HOSTILE),))
    look.tasks = {(HOSTILE, HOSTILE): (task, [made(Reason, text=HOSTILE)])}
    for spot in (Spot('queues', filter=''), *(Spot(view, HOSTILE) for view in TABS), Spot('task', HOSTILE, HOSTILE)):
        text = '\n'.join(drawn(State(spots=(spot,), message=HOSTILE), look, 200, silent=1.0))
        assert '[red]x[/]' in text and '\\x1b[2J' in text
    for view in DEEPER.values():
        text = '\n'.join(drawn(State(spots=(Spot(view, HOSTILE, of=HOSTILE),)), look, 200))
        assert '[red]x[/]' in text and '\\x1b[2J' in text
    question = State(question=Act('redrive', 'a', task=HOSTILE))
    assert '\\x1b[2J' in drawn(question, look, 200)[-1]


def test_a_silent_server_is_told_of() -> None:
    look = make_look()
    look.problem = 'no route'
    assert 'no answer for 12s: no route' in drawn(State(), look, silent=12.3)[1]
    assert 'no answer for 12s' in drawn(State(), Look(), silent=12.3)[1]


def test_questions_filters_and_help_are_shown() -> None:
    look = make_look()
    assert drawn(State(question=Act('pause', 'mail')), look)[-1] == "pause queue 'mail'? [y/N]"
    assert drawn(State(question=Act('pause', 'mail' * 40)), look)[-1].endswith('? [y/N]')
    assert drawn(State(spots=(Spot('queues', filter='ma'),), typing=True), look)[-1] == '/ma_'
    assert drawn(State(message='done'), look)[-1] == 'done'
    assert 'suspend' in '\n'.join(drawn(State(help=True), look))
