"""A selection: what it is about, what cannot be meant, and how it is written."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shlex
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from torrelque import TorrelqueTaskStatus as Status, TorrelqueTypeError, TorrelqueValueError
from torrelque.cli.options import seconds
from torrelque.operate import Attempt, Selection, TaskView
from torrelque.operate.faults import find_fault
from torrelque.operate.selection import STATUSES, check_selection, escape_name, exact_name

pytestmark = pytest.mark.first_server

NOW = 1_800_000_000.0
NONE: dict[str, Any] = {field.name: None for field in dataclasses.fields(TaskView)}


def view(**fields: Any) -> TaskView:
    plain = {'queue': 'q', 'id': 'one', 'server_time': NOW, 'priority': 0, 'attempt': 0, 'forgiven': 0,
             'requeue_count': 0, 'history': (), 'token': '', 'function_known': True}  # fmt: skip
    return TaskView(**{**NONE, **plain, **fields})


# What it is about: beside a reference that is written otherwise


def like(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern, letter by letter."""
    if not pattern:
        return not name
    if pattern[0] == '*':
        return like(pattern[1:], name) or bool(name) and like(pattern, name[1:])
    if pattern[:3] in ('[*]', '[?]', '[[]'):
        return name[:1] == pattern[1] and like(pattern[3:], name[1:])
    return bool(name) and pattern[0] in ('?', name[0]) and like(pattern[1:], name[1:])


def expected(selection: Selection, task: TaskView) -> bool:
    if selection.status is not None:
        named = {'ready': 'PENDING', 'orphaned': 'WORKING'}.get(selection.status, selection.status.upper())
        lost = named == 'DEAD' and task.status is None and task.place == 'dead'
        if not lost and (task.status is None or task.status.name != named):
            return False
    if selection.function is not None and not task.function_known:
        return False
    for pattern, name in ((selection.function, task.function), (selection.group, task.group)):
        if pattern is not None and not (not name if pattern == '' else name is not None and like(pattern, name)):
            return False
    if selection.error is not None:
        error = task.error or ''
        alike = selection.error == find_fault(error).fingerprint and (task.error is not None or task.died is not None)
        if not alike and selection.error not in error:
            return False
    if selection.text is not None:
        if task.raw is None:
            return False
        written = [selection.text, *(json.dumps(selection.text, ensure_ascii=way)[1:-1] for way in (True, False))]
        if not any(way.encode() in task.raw for way in written):
            return False
    for bound, sign in ((selection.older, 1), (selection.newer, -1)):
        if bound is None:
            continue
        # No attempt of these has failed.
        if task.status is Status.DELAYED and task.attempt and (sign == 1 or task.last_dequeue_time is None):
            return False
        since = {
            Status.PENDING: task.ready_since,
            Status.WORKING: task.last_dequeue_time,
            Status.DEAD: task.died,
            Status.DELAYED: task.last_dequeue_time if task.attempt else task.enqueue_time,
            None: task.died,
        }.get(task.status, task.release_time)
        age = bound.total_seconds() if isinstance(bound, timedelta) else bound
        instant = bound.timestamp() if isinstance(bound, datetime) else task.server_time - age  # type: ignore[operator]
        if since is None or sign * since > sign * instant:
            return False
    if selection.attempts is not None and task.attempt < selection.attempts:
        return False
    return selection.ids is None or task.id in selection.ids


ERRORS = ['KeyError: 1', 'no 4f1a', '', 'x' * 50]
PRINTS = [find_fault(error).fingerprint for error in ERRORS]
instants = st.sampled_from([None, NOW - 100, NOW - 10, NOW])
ages = st.sampled_from([
    None, 0, 10, 100.0, timedelta(seconds=10), datetime.fromtimestamp(NOW - 10, timezone.utc),
    datetime.fromtimestamp(NOW - 100),
])  # fmt: skip
names = st.sampled_from([None, '', 'send', 'send.mail', '[ab]', 'a', '*', 'é\n', '[*]', 's?nd'])
patterns = st.sampled_from([
    None, '', 'send', 'send*', '*mail', '[ab]', '?', '*', '[!a]', 's?nd', 'é*', '**', '*.*', '[*]', '[[][*]]', 's[?]nd',
    '[[]*', '*[*]*',
])  # fmt: skip
selections = st.builds(
    Selection,
    status=st.sampled_from([None, *STATUSES]),
    function=patterns,
    group=patterns,
    error=st.sampled_from([None, '4f1', '4f1a', 'Key', *(one[:4] for one in PRINTS), *PRINTS, PRINTS[0].upper()]),
    text=st.sampled_from([None, 'x', 'é', '"', '\n', '\\u00e9']),
    older=ages,
    newer=ages,
    attempts=st.sampled_from([None, 0, 1, 3]),
    ids=st.sampled_from([None, ['one'], ('one', 'two'), ['two']]),
)
views = st.builds(
    view,
    status=st.sampled_from([None, *Status]),
    place=st.sampled_from([None, 'dead', 'pending']),
    function=names,
    group=names,
    error=st.sampled_from([None, *ERRORS]),
    raw=st.sampled_from([None, b'x', 'é'.encode(), b'\\u00e9', b'\\"', b'"', b'\\n', b'\n', b'\xff']),
    ready_since=instants,
    last_dequeue_time=instants,
    died=instants,
    enqueue_time=instants,
    release_time=instants,
    attempt=st.integers(0, 4),
    function_known=st.booleans(),
)


@given(selections, views)
def test_a_selection_is_about_the_tasks_for_which_all_of_it_holds(selection: Selection, task: TaskView) -> None:
    assert selection.matches(task) == expected(selection, task)


@given(selections, views)
def test_each_condition_narrows(selection: Selection, task: TaskView) -> None:
    given = {field.name: getattr(selection, field.name) for field in dataclasses.fields(selection)}
    alone = [Selection(**{name: value}).matches(task) for name, value in given.items()]
    assert selection.matches(task) == all(alone)


@pytest.mark.parametrize(
    ('pattern', 'name', 'fits'),
    [
        ('send*', 'send', True),
        ('send*', 'Send', False),
        ('s?nd', 'send', True),
        ('s?nd', 'snd', False),
        ('*.mail', 'app.mail', True),
        ('[ab]', '[ab]', True),
        ('[ab]', 'a', False),
        ('[!x]*', '[!x]y', True),
        ('[ab]*', '[ab]c', True),
        ('[ab]*', 'ac', False),
        ('a*', 'a\nb', True),
        ('\\*', '\\x', True),
        ('*', None, False),
        ('', None, True),
        ('[*]', '*', True),
        ('[*]', 'x', False),
        ('[*]', '[*]', False),
        ('a[?]*', 'a?b', True),
        ('a[?]*', 'abb', False),
        ('[[]*]', '[*]', True),
        ('[[]*]', '[x]', True),
        ('[[][*]]', '[*]', True),
        ('[[][*]]', '[x]', False),
        ('[[]', '[', True),
        ('[]*', '[]x', True),
        ('*' * 500 + 'x', 'y' * 1000, False),
    ],
)
def test_only_a_star_and_a_question_mark_stand_for_something_else(pattern: str, name: str | None, fits: bool) -> None:
    assert Selection(function=pattern).matches(view(function=name)) is fits
    assert Selection(group=pattern).matches(view(group=name)) is fits


@given(st.text(st.sampled_from('*?[]!-a'), max_size=8), st.text(st.sampled_from('*?[]!-a'), max_size=8))
def test_a_name_is_written_so_that_it_stands_for_itself_alone(name: str, other: str) -> None:
    pattern = escape_name(name)
    assert exact_name(pattern) == (name or None)
    assert Selection(group=pattern).matches(view(group=other)) is (name == other)
    assert Selection(group=f'{pattern}*').matches(view(group=name + other)) is True


def test_an_error_is_found_by_its_whole_fingerprint_or_by_a_text() -> None:
    error = 'KeyError: 4f1a 4F1A 4f1 4f1a4f1a4 20261129'
    task, whole = view(error=error, died=NOW), find_fault(error).fingerprint
    for text in ('4f1a', '4F1A', '4f1', '4f1a4f1a4', ' 4f1a', '20261129', whole):
        assert Selection(error=text).matches(task)
    for text in (whole[:4], whole[:7], whole[1:], whole.upper() + ' '):
        assert not Selection(error=text).matches(task)


def test_a_delayed_task_is_in_its_place_since_its_last_attempt_ended() -> None:
    attempt = Attempt(2, NOW - 100, NOW - 50, 'no')
    task = view(status=Status.DELAYED, last_dequeue_time=NOW - 100, attempt=2, history=(attempt,))
    assert Selection(newer=60).matches(task) and not Selection(older=60).matches(task)
    first = view(status=Status.DELAYED, enqueue_time=NOW - 100)
    assert Selection(older=60).matches(first) and not Selection(newer=60).matches(first)


def test_when_a_delayed_task_was_given_back_without_an_error_is_not_known() -> None:
    attempt = Attempt(2, NOW - 200, NOW - 150, 'no')
    task = view(status=Status.DELAYED, enqueue_time=NOW - 300, last_dequeue_time=NOW - 100, attempt=3,
                history=(attempt,))  # fmt: skip
    for age in (0, 60, 120):
        assert not Selection(older=age).matches(task)
    # It was given back later than it was handed out.
    assert Selection(newer=120).matches(task) and not Selection(newer=60).matches(task)
    assert not Selection(newer=120).matches(dataclasses.replace(task, last_dequeue_time=None))


def test_a_function_that_is_not_known_is_none_and_no_other_one() -> None:
    task = view(function_known=False)
    assert not any(Selection(function=pattern).matches(task) for pattern in ('', 'send', '*'))
    assert Selection().matches(task)


def test_a_dead_task_that_has_lost_its_state_is_dead() -> None:
    task = view(place='dead', died=NOW - 10)
    assert Selection(status='dead', older=5).matches(task)
    assert not Selection(status='dead', older=15).matches(task)
    assert not Selection(status='pending').matches(task)


# What cannot be meant


@pytest.mark.parametrize(
    ('given', 'error', 'words'),
    [
        ({'status': 'completed'}, TorrelqueValueError, 'it is pending, working'),
        ({'status': 'Dead'}, TorrelqueValueError, "did you mean 'dead'?"),
        ({'status': 'workin'}, TorrelqueValueError, "did you mean 'working'?"),
        ({'status': ''}, TorrelqueValueError, 'no status'),
        ({'status': 5}, TorrelqueTypeError, 'status must be a str'),
        ({'function': b'x'}, TorrelqueTypeError, 'function must be a str'),
        ({'group': 7}, TorrelqueTypeError, 'group must be a str'),
        ({'group': 'x' * 1001}, TorrelqueValueError, '1000 characters'),
        ({'group': '\ud800'}, TorrelqueValueError, 'UTF-8'),
        ({'error': ''}, TorrelqueValueError, 'error must not be empty'),
        ({'error': 4}, TorrelqueTypeError, 'error must be a str'),
        ({'text': ''}, TorrelqueValueError, 'text must not be empty'),
        ({'text': '\ud800'}, TorrelqueValueError, 'UTF-8'),
        ({'older': -1}, TorrelqueValueError, 'older'),
        ({'newer': math.nan}, TorrelqueValueError, 'newer'),
        ({'newer': timedelta(seconds=-1)}, TorrelqueValueError, 'newer'),
        ({'older': '5m'}, TorrelqueTypeError, 'older'),
        ({'older': True}, TorrelqueTypeError, 'older'),
        ({'older': datetime(1, 1, 1)}, TorrelqueValueError, 'instant'),
        ({'attempts': -1}, TorrelqueValueError, 'attempts'),
        ({'attempts': 1.5}, TorrelqueTypeError, 'attempts'),
        ({'ids': 'abc'}, TorrelqueTypeError, 'list of task ids'),
        ({'ids': {'abc'}}, TorrelqueTypeError, 'list of task ids'),
        ({'ids': []}, TorrelqueValueError, 'no task at all'),
        ({'ids': ['a', 5]}, TorrelqueTypeError, 'task id'),
        ({'ids': ['']}, TorrelqueValueError, 'task id'),
        ({'ids': ['\ud800']}, TorrelqueValueError, 'UTF-8'),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], error: type[Exception], words: str) -> None:
    selection = Selection(**given)
    for refuse in (lambda: check_selection(selection), lambda: selection.matches(view())):
        with pytest.raises(error) as refused:
            refuse()
        assert words in str(refused.value)


def test_what_is_no_selection_is_refused() -> None:
    with pytest.raises(TorrelqueTypeError, match='by a Selection'):
        check_selection({'status': 'dead'})  # type: ignore[arg-type]


# How it is written


def parse(words: list[str]) -> Selection:
    """A command line, read as the command reads it."""

    def instant(text: str) -> float | datetime:
        try:
            return seconds(text)
        except argparse.ArgumentTypeError:
            return datetime.fromisoformat(text)

    parser = argparse.ArgumentParser()
    kinds: dict[str, Callable[[str], Any]] = {'older': instant, 'newer': instant, 'attempts': int}
    for field in dataclasses.fields(Selection):
        if field.name != 'ids':
            parser.add_argument(f'--{field.name}', type=kinds.get(field.name, str))
    parser.add_argument('ids', nargs='*')
    found = vars(parser.parse_args(words))
    return Selection(**{name: value for name, value in found.items() if value != []})


def same(value: Any) -> Any:
    """A value, so that those that mean the same are equal."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    return [*value] if isinstance(value, (list, tuple)) else value


def meaning(selection: Selection) -> dict[str, Any]:
    fields = {field.name: same(getattr(selection, field.name)) for field in dataclasses.fields(selection)}
    return {**fields, 'attempts': fields['attempts'] or None}


texts = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), min_size=1, max_size=10)
durations = st.integers(0, 10**12).map(lambda ms: ms / 1000) | st.integers(0, 10**6).map(lambda s: timedelta(seconds=s))
moments = st.datetimes(datetime(2000, 1, 2), datetime(2100, 1, 1)) | st.datetimes(
    datetime(2000, 1, 2), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=5, minutes=30)))
)
any_selection = st.builds(
    Selection,
    status=st.sampled_from([None, *STATUSES]),
    function=st.none() | texts | st.just(''),
    group=st.none() | texts | st.just(''),
    error=st.none() | texts,
    text=st.none() | texts,
    older=st.none() | durations | moments,
    newer=st.none() | durations | moments,
    attempts=st.none() | st.integers(0, 100),
    ids=st.none() | st.lists(texts, min_size=1, max_size=5),
)


@given(any_selection)
@example(Selection(error='-x', text='--error', ids=['-', '--', '-a']))
@example(Selection(function='', group='-1'))
def test_what_it_is_described_as_is_read_as_the_same(selection: Selection) -> None:
    assert meaning(parse(shlex.split(selection.describe()))) == meaning(selection)


@given(any_selection)
def test_its_json_is_read_as_the_same(selection: Selection) -> None:
    written = json.dumps(selection.as_json())
    again = Selection.from_json(json.loads(written))
    assert meaning(again) == meaning(selection)
    assert json.dumps(again.as_json()) == written


@pytest.mark.parametrize(
    ('selection', 'text'),
    [
        (Selection(), ''),
        (Selection(status='dead', error='4f1a'), '--status dead --error 4f1a'),
        (Selection(group='a b', older=3600, attempts=2), "--group 'a b' --older 1h --attempts 2"),
        (Selection(older=timedelta(days=2), newer=90), '--older 2d --newer 90s'),
        (Selection(older=0, newer=0.25), '--older 0s --newer 0.25s'),
        (Selection(newer=300), '--newer 5m'),
        (Selection(older=datetime(2026, 11, 29, tzinfo=timezone.utc)), '--older '),
        (Selection(error='-x', ids=['a', "b'c"]), "--error=-x a 'b'\"'\"'c'"),
        (Selection(group='', ids=['-a']), "--group '' -- -a"),
        (Selection(text='$(rm) \x1b[31m'), "--text '$(rm) \x1b[31m'"),
    ],
)
def test_it_is_described_as_the_options_of_the_command(selection: Selection, text: str) -> None:
    assert selection.describe().startswith(text) if text.endswith(' ') else selection.describe() == text


def test_an_instant_may_end_with_a_letter() -> None:
    found = Selection.from_json({'older': '2026-11-29T10:00:00Z', 'newer': None})
    assert found == Selection(older=datetime(2026, 11, 29, 10, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ('data', 'error', 'words'),
    [
        ({'stauts': 'dead'}, TorrelqueValueError, "no 'stauts': did you mean 'status'?"),
        ({'limit': 5}, TorrelqueValueError, "no 'limit': it has status, function"),
        ({5: 5}, TorrelqueValueError, "no '5'"),
        ([], TorrelqueTypeError, 'not list'),
        (None, TorrelqueTypeError, 'not NoneType'),
        ({'status': 'dead', 'older': 'yesterday'}, TorrelqueValueError, 'older must be seconds, or an instant'),
        ({'older': True}, TorrelqueTypeError, 'older'),
        ({'ids': 'abc'}, TorrelqueTypeError, 'list of task ids'),
        ({'status': ['dead']}, TorrelqueTypeError, 'status must be a str'),
    ],
)
def test_json_that_is_no_selection_is_refused(data: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as refused:
        Selection.from_json(data)
    assert words in str(refused.value)
