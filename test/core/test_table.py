"""The table of transitions says what the scripts say, what the page says, and what builders and readers there are."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest

from support.sources import parse
from torrelque import TorrelqueGroupStats, TorrelqueQueueStats, TorrelqueSweepResult
from torrelque.codec import JSON
from torrelque.protocol import calls, replies
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.calls import Calls
from torrelque.protocol.replies import Swept
from torrelque.protocol.table import DONE, ROWS, TABLE, WITH_VALUE, Row

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / 'torrelque' / 'script'
HEAD_WORDS = {
    'max_tasks': 'max_tasks',
    'acknowledged': 'record of a claim whose reply has come',
    'block': 'block (ms)',
}
"""How the headers of the scripts call what a call has once."""


def header_of(row: Row) -> list[str]:
    """The lines of comment with which a script opens."""
    lines = (SCRIPTS / f'{row.name}.lua').read_text().splitlines()
    return [line[3:] for line in itertools.takewhile(lambda line: line == '--' or line.startswith('-- '), lines)]


def part_of(header: list[str], word: str) -> str:
    """What a header says behind a word, in as many lines as it does."""
    start = next(k for k, line in enumerate(header) if line.startswith(f'{word} '))
    rest = header[start + 1 :]
    end = next((k for k, line in enumerate(rest) if not line.startswith(' ')), len(rest))
    return '\n'.join([header[start], *rest[:end]])


by_name = pytest.mark.parametrize('row', TABLE, ids=lambda row: row.name)


def test_each_script_has_a_row() -> None:
    assert {path.stem for path in SCRIPTS.glob('[a-z]*.lua')} == {*ROWS}


def test_rows_stand_in_the_order_of_the_page() -> None:
    page = (ROOT / 'docs' / 'data-model.md').read_text()
    assert re.findall(r'```{lua-header} ([a-z]+)', page) == [row.name for row in TABLE]


@by_name
def test_a_script_opens_with_the_arrow_of_its_row(row: Row) -> None:
    assert header_of(row)[0] == row.arrow


@by_name
def test_a_call_has_once_what_the_header_says(row: Row) -> None:
    once = part_of(header_of(row), 'ARGV').partition('per ')[0]
    named = sorted((once.index(words), word) for word, words in HEAD_WORDS.items() if words in once)
    # A claim is of no task, so that its builder makes all that it has.
    assert row.head == (() if row.name == 'claim' else tuple(word for _, word in named))


@by_name
def test_outcomes_are_those_of_the_header(row: Row) -> None:
    said = part_of(header_of(row), 'Reply')
    of_each = re.findall(r"^ +'(\w+)'", said, re.M) if 'else a list' in said else []
    assert sorted(of_each) == sorted(row.outcomes)
    assert {outcome for outcome in of_each if re.search(rf"^ +'{outcome}', ", said, re.M)} == WITH_VALUE & {*of_each}


@by_name
def test_a_reply_is_as_long_as_the_row_says(row: Row) -> None:
    said = part_of(header_of(row), 'Reply')
    assert (row.width == 1) == (said.split()[1:] == ["'ok'"])
    assert not (row.outcomes and row.width)


def test_what_settles_is_known_by_its_token_and_mark() -> None:
    for row in TABLE:
        first = part_of(header_of(row), 'ARGV').partition('per task: ')[2].split(', ')
        marks = len(first) > 2 and first[2] == 'mark'
        # A lease may be renewed as often as you like, and a place that was given to others tells to whom.
        settles = 'cancelled' in row.outcomes and row.name not in ('touch', 'graft')
        assert row.known_by == (settles and 2 + marks), row.name


def test_there_is_one_builder_and_one_reader_of_each_in_the_same_order() -> None:
    names = [row.name for row in TABLE]
    (made,) = [node for node in parse(inspect.getsource(calls)).body if getattr(node, 'name', '') == 'Calls']
    assert isinstance(made, ast.ClassDef)
    methods = [node.name for node in made.body if isinstance(node, ast.FunctionDef)]
    assert [name for name in methods if name in ROWS] == names
    assert [*replies.READERS] == names


@by_name
def test_a_reader_takes_no_rubbish(row: Row) -> None:
    known: dict[str, list[object]] = {'tell': [JSON], 'schedules': [JSON], 'state': [1, 1]}
    more = known.get(row.name, [1] if row.outcomes else [])
    rubbish: list[object] = [None, b'no', 1, [], [b'no'], {}, [b'ok', [[]], {}]]
    for reply in rubbish:
        with pytest.raises(replies.UnreadableError):
            replies.READERS[row.name](reply, *more)


def test_heads_are_made_by_the_table() -> None:
    made = Calls('q', JSON, 5)
    assert made.heads['enqueue'] == ['5', '2000'] == made.make_head('enqueue', lambda: 'record')()
    assert made.heads['release'] == [''] and made.make_head('release', lambda: 'record')() == ['record']
    assert made.heads['requeue'] == ['', '2000'] and made.make_head('requeue', lambda: 'record')() == ['record', '2000']
    assert made.heads['cancel'] == [] == made.make_head('cancel', lambda: 'record')()


def test_what_is_done_is_an_outcome() -> None:
    assert {outcome for row in TABLE for outcome in row.outcomes} >= DONE | WITH_VALUE


GOOD: dict[str, tuple[list[Any], Any]] = {
    'enqueue': ([b'ok', 2], ['ok', 'ok']),
    'flow': ([[[b'duplicate', b'f.a']], 1], [['duplicate', 'f.a']]),
    'add': ([[b'not_held'], 1], ['not_held']),
    'depend': ([[[b'apart', b'f.a']], 1], [['apart', 'f.a']]),
    'claim': ([[b'ok', b'1.5', None, 0, [], [], b'a', b'1', 1, 2000]], ['a']),
    'touch': ([[b'ok', b'lease_lost'], 2], ['ok', 'lease_lost']),
    'requeue': ([[b'dead'], 1], ['dead']),
    'release': ([[b'unknown'], 1], ['unknown']),
    'bury': ([b'ok', 1], ['ok']),
    'tell': ([[b'ok', b'a', b'1', b'2', b'3', b'why', None], JSON], ['a']),
    'told': ([b'ok'], None),
    'redrive': ([[b'state_lost'], 1], ['state_lost']),
    'cancel': ([[b'final'], 1], ['final']),
    'sweep': (
        [[b'ok', 1, 2, 3, 1, [b'a', b'lost'], [b's'], 4, 1, 1]],
        Swept(TorrelqueSweepResult(1, 2, 3, 4), True, [('a', 'lost')], ['s'], True, True),
    ),
    'spread': ([[b'ok', 7, 1]], (7, True)),
    'collect': (
        [[b'ok', b'f.a', b'1', b'died', b'b', b'f', b'5', b'why', b'']],
        [(b'f.a', b'1', 'died', 'b', b'f', b'5', b'why', b'')],
    ),
    'host': ([[b'gone', [b'duplicate', b'f.a']], 2], ['gone', ['duplicate', 'f.a']]),
    'arrive': ([[b'ok', 1, 0]], (True, False)),
    'carried': ([[b'ok', 1500]], 1.5),
    'fire': ([[b'ok', 1, b's@1']], ['s@1']),
    'graft': ([[b'cancelled'], 1], ['cancelled']),
    'give': ([[b'no_flow'], 1], ['no_flow']),
    'stats': ([[b'ok', 10, 1, 2, 3, 2]], TorrelqueQueueStats(10, 2, 1, 2, 3, 2)),
    'limit': ([b'ok'], None),
    'advance': ([b'ok'], None),
    'pause': ([b'ok'], None),
    'resume': ([[b'paused'], 1], ['paused']),
    'group': ([[b'ok', 4, 2, b'{"concurrency":3}', b'', 0, 1]], TorrelqueGroupStats(4, 2, 3, math.inf, True)),
    'schedule': ([[b'same'], 1], ['same']),
    'extend': ([[b'changed'], 1], ['changed']),
    'unschedule': ([[b'older'], 1], ['older']),
    'hold': ([b'ok', 1], ['ok']),
    'schedules': ([[b'ok'], JSON], []),
    'state': ([[b'ok', [b'1', None]], 1, 2], [[b'1', None]]),
    'leave': ([b'ok'], None),
    'fence': ([b'ok'], None),
    'shut': ([b'ok'], None),
    'inherit': ([b'ok'], None),
    'take': ([b'ok'], None),
    'put': ([b'ok'], None),
    'open': ([[b'ok', b'17']], b'17'),
    'left': ([[b'ok', b'0', b'a']], (b'0', ['a'])),
}
"""A reply of each script with what else its reader takes, and what is read."""


@by_name
def test_a_reader_reads_a_reply_of_its_script(row: Row) -> None:
    (reply, *more), expected = GOOD[row.name]
    read = replies.READERS[row.name](reply, *more)
    if row.name == 'claim':
        read = [task_id for task_id, _ in read.tasks]
    elif row.name == 'tell':
        read = [death.id for death in read]
    assert read == expected
    if row.width is not None:
        assert (len(reply) if isinstance(reply, list) else 1) == row.width


def test_tasks_that_nobody_waits_for_any_more_are_left_out_of_what_stores_them_alone() -> None:
    """A call that settles a task is carried out though its caller is gone."""
    assert [row.name for row in TABLE if row.droppable] == ['enqueue']


def test_bounds_are_those_that_pages_promise() -> None:
    assert (BOUNDS.repeat, BOUNDS.silence, BOUNDS.connect, BOUNDS.grace, BOUNDS.block) == (10, 3, 3, 0.7, 2)
    assert (BOUNDS.bulk, BOUNDS.bulk_bytes, BOUNDS.grouped_tasks, BOUNDS.sweep) == (250, 1_000_000, 50, 200)
    assert BOUNDS.grouped_bytes * BOUNDS.grouped_tasks == BOUNDS.bulk_bytes
    claim = (SCRIPTS / 'claim.lua').read_text()
    assert f"'PX', {BOUNDS.record * 1000:.0f}" in claim or f'{BOUNDS.record * 1000:.0f}' in claim
    made = Calls('q', JSON, None)
    assert made.sweep() == ['200'] and made.claim('', 'r', 1000, 1)[2:] == ['250', '1', '2000', '1000000']
