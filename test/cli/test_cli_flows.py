"""Flows in the terminal: the tree, in which each task is drawn once, why it stalls, and acts on a flow by its id."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from support.acting import Commands, recorded
from support.commanding import Folder
from support.made import NOW
from support.schemas import TYPES, read_as
from support.servers import RealServer
from support.terminal import OWN, open_terminal, strange
from torrelque import Torrelque, TorrelqueNode, TorrelqueTaskStatus
from torrelque.cli.flowtree import Drawing
from torrelque.cli.out import Out
from torrelque.operate import FlowTaskView, FlowView

pytestmark = pytest.mark.one_server

Node = TorrelqueNode
S = TorrelqueTaskStatus


def made(name: str, after: Mapping[str, str] | None = None, status: S | None = S.WAITING, **given: Any) -> FlowTaskView:
    plain: dict[str, Any] = {
        'how': None, 'error': None, 'attempts': 0, 'max_attempts': None, 'since': None, 'until': None, 'group': None,
        'function': None, 'each': False, 'waits': None, 'any': False,
    }  # fmt: skip
    return FlowTaskView(name, f'F.{name}', status, **{**plain, 'after': tuple((after or {}).items()), **given})


def flow(*tasks: FlowTaskView) -> FlowView:
    nodes = {'nodes': [[task.name] for task in tasks if '.' not in task.name]}
    return FlowView(
        'mail', 'F', NOW, None, S.WAITING, len(tasks), len(tasks), 0, 0, 'wait', None, NOW, None, None, False, None,
        nodes, tasks, None,
    )  # fmt: skip


def drawn(view: FlowView, most: int = 200, width: int | None = None) -> tuple[list[str], int]:
    tree, left_out = Drawing(Out(width=width), view, most).draw()
    stream = io.StringIO()
    Console(file=stream, width=500).print(tree)
    return [line.rstrip() for line in stream.getvalue().splitlines()], left_out


# The tree


def test_a_task_of_several_parents_is_drawn_once_and_referred_to_after_that() -> None:
    tasks = [
        made('a', status=S.COMPLETED, how='completed'),
        made('b', {'a': 'then'}, S.DEAD, error='Traceback\nKeyError: 1', attempts=3),
        made('c', {'a': 'then'}, S.WORKING, since=NOW - 5),
        made('d', {'b': 'then', 'c': 'then'}, waits=2),
        made('e', {'d': 'end'}, waits=1),
        made('f', {'b': 'fail', 'c': 'fail'}, waits=2, any=True),
    ]
    assert drawn(flow(*tasks)) == ([
        'a  completed',
        '├── b  dead  attempt 3, KeyError: 1',
        '│   ├── d  waiting  for 2',
        '│   │   └── at end: e  waiting',
        '│   └── if failed: f  waiting  for the first of 2',
        '└── c  working  for 5s',
        '    ├── d  is above',
        '    └── if failed: f  is above',
    ], 0)  # fmt: skip


def test_the_calls_of_a_map_are_below_it_and_of_many_those_that_matter() -> None:
    calls = [made(f'm.{n}', status=S.COMPLETED, how='completed') for n in range(1000)]
    calls[700] = made('m.700', status=S.DEAD, error='no')
    after = {'m': 'then', **{f'm.{n}': 'then' for n in range(1000)}}
    lines, left_out = drawn(flow(made('m', each=True, status=S.COMPLETED, how='completed'), made('z', after), *calls))
    assert lines[:2] == ['m x 1,000  completed', '├── m.0  completed'] and left_out == 0 and len(lines) == 12
    assert lines[-3:] == ['├── m.700  dead  no', '├── z  waiting', '└── and 991 more: 991 completed']


def test_what_waits_for_those_that_are_not_drawn_is_drawn_below_their_number() -> None:
    tasks = [made('a'), *(made(f'b{n}', {'a': 'then'}) for n in range(20)), made('z', {'b15': 'then'})]
    lines, left_out = drawn(flow(*tasks))
    assert lines[-2:] == ['└── and 10 more: 10 waiting', '    └── z  waiting'] and left_out == 0


def test_a_tree_is_no_deeper_than_the_terminal_is_wide() -> None:
    tasks = [made(f't{n}', {f't{n - 1}': 'then'} if n else {}) for n in range(20)]
    lines, left_out = drawn(flow(*tasks), width=60)
    assert max(map(len, lines)) < 60 and left_out == 0
    assert lines[5:8] == [f'{" " * 16}└── t5  waiting  goes on below', 't5  goes on', '└── t6  waiting']
    assert len(drawn(flow(*tasks))[0]) < len(lines)


def test_a_large_flow_is_drawn_as_far_as_there_is_room() -> None:
    tasks = [made(f't{n}', {f't{n - 1}': 'then'} if n else {}) for n in range(10_000)]
    lines, left_out = drawn(flow(*tasks), most=50)
    assert len(lines) == 50 and 9_950 <= left_out < 9_960


def test_tasks_that_wait_for_each_other_by_mistake_do_no_harm() -> None:
    assert drawn(flow(made('a', {'b': 'then'}), made('b', {'a': 'then'}), made('c', {'x': 'then', 'c': 'then'}))) == (
        ['c  waiting'], 2
    )  # fmt: skip


def test_nothing_of_a_name_or_an_error_reaches_the_terminal_raw() -> None:
    bad = '\x1b[31m[red]\u202e'
    lines, _ = drawn(flow(made(bad, status=S.DEAD, error=f'x\n{bad}'), made('b', {bad: 'fail'})))
    assert lines[0].count('[red]') == 2 and not {'\x1b', '\u202e'} & {*''.join(lines)}


# On a server


@pytest.fixture
def say(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(server, queue_name, monkeypatch, capsys)


DIAMOND = [
    Node('a', 1), Node('b', 1, {'a': 'then'}), Node('c', 1, {'a': 'then'}), Node('d', 1, {'b': 'then', 'c': 'then'}),
]  # fmt: skip


async def stall(queue: Torrelque) -> None:
    """A flow one of whose tasks is dead."""
    await queue.enqueue_flow(DIAMOND, flow_id='F', name='etl')
    await queue.release((await queue.dequeue(60))[0])
    for _ in range(2):
        task_id, _ = await queue.dequeue(60)
        await (queue.bury(task_id, error='Traceback\nKeyError: 1') if task_id == 'F.b' else queue.release(task_id))


async def test_a_stalled_flow_tells_why_and_goes_on_by_the_command_that_it_names(
    say: Commands, queue: Torrelque
) -> None:
    await stall(queue)
    said = await say('why', 'F')
    assert re.fullmatch(
        r'(?s)waiting for \w+ in queue .*, 2 of 4 tasks have ended, 1 dead\n\n'
        r'  1  it stands still: 1 of its tasks is dead, and 1 of its tasks waits\n'
        r'       F\.b  dead for \w+  KeyError: 1\n'
        r'  To have it go on:  torrelque redrive F -q \S+\n', said.out
    ), said.out  # fmt: skip
    why = (await say('why', 'F.d', '--json')).json
    assert [reason['code'] for reason in why] == ['stalled', 'waiting']
    [line] = [line for line in said.lines if 'redrive' in line]
    assert (await say(*line.split('torrelque ')[1].split())).lines == ['1 redriven']
    assert await recorded(queue) == [('redrive', 'F', 1)]
    assert [(await queue.dequeue(60))[0]] == ['F.b']


async def test_a_flow_is_shown_as_a_tree_as_json_and_as_mermaid(say: Commands, queue: Torrelque) -> None:
    await stall(queue)
    said = await say('show', 'F')
    assert said.lines[0] == 'F' and '  [##########----------] 2 of 4 tasks have ended, 1 dead' in said.lines
    # Of a flow that does not tell of its tasks by its payload, edges are known for as long as they are waited for.
    at = said.lines.index('a  completed')
    assert said.lines[at:][:5] == ['a  completed', 'b  dead  KeyError: 1', '└── d  waiting', 'c  completed', 'why']
    [line] = (await say('show', 'F', '--json')).lines
    view: FlowView = read_as(TYPES['flow'], line)
    assert view.id == 'F' and len(view.tasks) == 4
    text = (await say('show', 'F', '--mermaid')).out
    assert text.startswith('flowchart LR\n') and text.count(':::completed') == 2 and text.count('-->') == 1
    assert (await say('show', 'F', '--mermaid', '--json')).json[0]['mermaid'] == text
    plain = await queue.enqueue(1, task_id='plain')
    assert (await say('show', plain, '--mermaid', code=1)).err == "'plain' is no flow\n"


async def test_a_task_that_has_ended_is_shown_as_its_flow_tells_of_it(say: Commands, queue: Torrelque) -> None:
    nodes = [Node('a', 1), Node('b', 1), Node('c', 1, {'b': 'then'})]
    await queue.enqueue_flow(nodes, flow_id='F', result_ttl=60)
    for _ in range(2):
        task_id, _ = await queue.dequeue(60)
        if task_id == 'F.a':
            await queue.release(task_id, result={'rows': 7})
        else:
            await queue.release(task_id, result='bad', status=S.REJECTED)
    said = await say('show', 'F.a')
    assert [line.split() for line in said.lines] == [
        ['F.a'], ['queue', queue.name], ['status', 'completed'], ['of', 'the', 'flow', 'F'], ['result'],
        ['{'], ['"rows":', '7'], ['}'],
    ]  # fmt: skip
    shown = (await say('show', 'F.b', '--json')).json
    assert (shown[0]['status'], shown[0]['result'], shown[0]['flow']) == ('rejected', 'bad', 'F')
    assert 'F.b' in (await say('show', 'F.c')).out
    assert (await say('show', 'F.d', code=1)).err.startswith("the queue has no task 'F.d'\n")


async def test_check_and_doctor_tell_of_flows_that_stand_still(say: Commands, queue: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1), Node('b', 1, {'a': 'then'})], flow_id='F')
    assert (await say('check')) == (0, '', '')
    task_id, _ = await queue.dequeue(60)
    await queue.bury(task_id)
    text = "1 flow has dead tasks (1), and it cannot end before these are redriven: 'F'"
    said = await say('check', code=1)
    assert said.out.split() == f'{queue.name}: {text}: torrelque redrive F -q {queue.name}'.split()
    finding = (await say('check', '--json', code=1)).json[0]
    assert (finding['level'], finding['subject'], finding['text']) == ('error', 'flows', text)
    [finding] = [it for it in (await say('doctor', '--json', code=1)).json if it['subject'] == 'flows']
    assert (finding['level'], finding['advice']) == ('warning', f'torrelque redrive F -q {queue.name}')
    assert (await say(*finding['advice'].split()[1:])).lines == ['1 redriven']
    assert (await say('check')) == (0, '', '')


async def test_what_waits_is_listed_and_counted(say: Commands, queue: Torrelque) -> None:
    await stall(queue)
    said = await say('tasks', 'waiting')
    assert [line.split()[0] for line in said.lines] == ['ID', 'F', 'F.d'] and '2/4' in said.lines[1].split()
    assert 'WAITING' in (await say('stats')).lines[0].split()
    assert (await say('stats', '--json')).json[0]['waiting'] == 2


async def test_acts_on_a_flow_are_asked_for_and_on_record(say: Commands, queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    said = await say('cancel', 'F', code=2)
    words = '4 tasks of the flow have not ended, and nobody can be asked: --yes has them cancelled'
    assert said.err == f'torrelque: {words}\n'
    assert await recorded(queue) == [] and (await queue.get_queue_stats()).tasks == 5
    assert (await say('cancel', 'F', '--yes')).lines == ['1 cancelled']
    assert await recorded(queue) == [('cancel', 'F', 1)] and (await queue.get_queue_stats()).tasks == 0
    said = await say('why', 'F')
    assert 'it is cancelled, and its state is kept for a while' in said.out


async def test_a_flow_is_watched_line_by_line_in_a_pipe(say: Commands, queue: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1), Node('b', 1, {'a': 'then'})], flow_id='F')
    watching = asyncio.create_task(say('watch', 'F'))
    for _ in range(2):
        await queue.release((await queue.dequeue(60))[0])
    said = await watching
    assert said.lines[-1].endswith('completed  2 of 2 tasks have ended')


async def test_a_watch_ends_when_a_flow_has_a_dead_task_if_it_is_to(say: Commands, queue: Torrelque) -> None:
    await stall(queue)
    said = await say('watch', 'F', '--until', 'dead')
    assert len(said.lines) == 1 and '2 of 4 tasks have ended, 1 dead' in said.lines[0]


@pytest.mark.long
async def test_a_flow_is_watched_live_as_a_tree_on_a_terminal(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    with open_terminal(['-m', 'torrelque', 'watch', 'F', '-q', queue.name], folder.environment) as terminal:
        terminal.wait_for(rb'0 of 4 tasks have ended')
        for _ in range(4):
            await queue.release((await queue.dequeue(60))[0])
        terminal.wait_for(rb'4 of 4 tasks have ended')
        written = terminal.end(0)
    assert strange(written, live=True) == [] and 'a  completed' in OWN.sub(b'', written).decode()
    assert written.rfind(b'\x1b[?25h') > written.rfind(b'\x1b[?25l') >= 0


@pytest.mark.long
async def test_whoever_sits_there_is_asked_before_a_flow_is_cancelled(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    words = ['-m', 'torrelque', 'cancel', 'F', '-q', queue.name]
    for answer, code, left in ((b'n\n', 1, 5), (b'y\n', 0, 0)):
        with open_terminal(words, folder.environment) as terminal:
            terminal.wait_for(rb'The flow has 4 tasks that have not ended.  Are they to be cancelled\?')
            terminal.type(answer)
            terminal.end(code)
        assert (await queue.get_queue_stats()).tasks == left
