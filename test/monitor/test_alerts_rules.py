"""Rules: what they mean, their defaults, and what cannot be meant."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
import sys
from typing import Any

import pytest

from support.commanding import PACKAGES
from support.processes import environment
from torrelque import TorrelqueError
from torrelque.monitor import Rule, rules_of
from torrelque.monitor.measures import MEASURES
from torrelque.monitor.wording import command, duration
from torrelque.operate import Overview


def test_a_rule_has_what_was_said_and_else_what_its_measure_has() -> None:
    assert dataclasses.astuple(Rule('backlog', 'oldest')) == (
        'backlog', 'oldest', (), 300.0, 120.0, 300.0, 120.0, 14400.0, 20, ()
    )  # fmt: skip
    given = Rule(
        'backlog', 'oldest', queues='mail', above='10m', for_=datetime.timedelta(minutes=1), below='1m', clear_for=0,
        repeat=0, at_least=1, to=['log', 'ops', 'log'],
    )  # fmt: skip
    assert dataclasses.astuple(given) == (
        'backlog', 'oldest', ('mail',), 600.0, 60.0, 60.0, 0.0, 0.0, 1, ('log', 'ops')
    )  # fmt: skip
    assert (Rule('d', 'dead', above=1000).for_, Rule('d', 'dead_new').clear_for) == (60.0, 60.0)
    assert dataclasses.replace(given, above=700).above == 700


def test_what_it_is_measured_by_is_what_it_is_kept_under() -> None:
    one = Rule('a', 'oldest')
    assert one.field == Rule('a', 'oldest', repeat=1, to='ops', queues='mail').field
    others = [
        Rule('b', 'oldest'), Rule('a', 'running', above=300), Rule('a', 'oldest', above=301),
        Rule('a', 'oldest', for_=1), Rule('a', 'oldest', below=1), Rule('a', 'oldest', clear_for=1),
        Rule('a', 'oldest', at_least=1),
    ]  # fmt: skip
    assert len({one.field, *(other.field for other in others)}) == 8


BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({'when': 'oldst'}, "rule 'a': there is no measure 'oldst'; did you mean 'oldest'"),
    ({'when': 'zzz'}, "there is no measure 'zzz': busy, dead, "),
    ({'when': 1}, "rule 'a': when must be a str, not int"),
    ({'when': 'pending'}, "rule 'a': pending needs an above, because it has no default"),
    ({'when': 'pending', 'above': '5m'}, "rule 'a': above must be a number"),
    ({'when': 'pending', 'above': 0}, "rule 'a': above must be more than 0"),
    ({'when': 'pending', 'above': float('inf')}, "rule 'a': above must be at least 0 and finite"),
    ({'when': 'failed_share', 'above': 20}, "rule 'a': above must be from 0 to 1, not 20"),
    ({'when': 'oldest', 'above': 'soon'}, "rule 'a': above as a text is a number and s, m, h or d"),
    ({'when': 'oldest', 'below': '10m'}, "rule 'a': below must not be more than above"),
    ({'when': 'oldest', 'for_': -1}, "rule 'a': for must be"),
    ({'when': 'oldest', 'queues': [1]}, "rule 'a': queues must be a str, not int"),
    ({'when': 'oldest', 'to': 5}, "rule 'a': to must be a name or a list of names, not 5"),
    ({'when': 'oldest', 'at_least': 0}, "rule 'a': at_least must be at least 1"),
)


@pytest.mark.parametrize(('given', 'message'), BAD)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TorrelqueError) as caught:
        Rule('a', **given)
    assert message in str(caught.value)


@pytest.mark.parametrize('name', ['', 'a\nb', 'a' * 101])
def test_a_rule_has_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(TorrelqueError, match='the name of a rule'):
        Rule(name, 'oldest')


def test_rules_of_a_file() -> None:
    table = {
        'backlog': {'queue': 'mail', 'when': 'oldest', 'above': '5m', 'for': '2m', 'below': '1m', 'clear_for': '2m',
                    'repeat': '1h', 'to': ['log', 'ops']},
        'no_worker': {'when': 'no_worker', 'queue': ['mail', 'news']},
    }  # fmt: skip
    assert rules_of(table) == [
        Rule('backlog', 'oldest', queues='mail', above=300, for_=120, below=60, clear_for=120, repeat=3600,
             to=('log', 'ops')),
        Rule('no_worker', 'no_worker', queues=('mail', 'news')),
    ]  # fmt: skip


def test_default_rules_are_those_that_have_a_default_and_no_namesake() -> None:
    rules = rules_of({'defaults': True, 'oldest': {'when': 'oldest', 'above': '1h'}})
    assert [rule.name for rule in rules] == [
        'oldest', 'failed_share', 'dead_new', 'no_worker', 'stalled', 'stuck', 'overdue', 'paused',
        'shards_away', 'late', 'dry',
    ]  # fmt: skip
    assert rules[0].above == 3600
    assert rules_of({}) == rules_of({'defaults': False}) == []


@pytest.mark.parametrize(('table', 'message'), [
    ([], 'alerts must be a table'), ({'a': 1}, "rule 'a' must be a table, not 1"),
    ({'a': {'when': 'oldest', 'aboove': 1}}, "rule 'a' has no 'aboove'; did you mean 'above'"),
    ({'a': {'for_': 1}}, "rule 'a' has no 'for_'; did you mean 'for'"),
    ({'backlog': {}}, "rule 'backlog' does not say when: "), ({'defaults': 1}, 'alerts: defaults must be a bool'),
])  # fmt: skip
def test_a_table_that_cannot_be_meant_is_refused(table: Any, message: str) -> None:
    with pytest.raises(TorrelqueError) as caught:
        rules_of(table)
    assert message in str(caught.value)


def test_every_count_of_the_overview_is_a_measure() -> None:
    counts = {name for name, kind in Overview.__annotations__.items() if kind in (int, 'int')}
    assert counts - {*MEASURES} == set()


@pytest.mark.parametrize(('seconds', 'words'), [
    (0, '0s'), (0.04, '0s'), (0.5, '0.5s'), (9.96, '10s'), (59.6, '1m'), (432, '7m12s'), (7500, '2h05m'), (3600, '1h'),
    (86400 * 4 + 3 * 3600, '4d03h'),
])  # fmt: skip
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(('queue', 'line'), [
    ('mail', 'torrelque why -q mail'), ('a b', "torrelque why -q 'a b'"), ('-x', 'torrelque why -q-x'),
])  # fmt: skip
def test_a_command_names_its_queue(queue: str, line: str) -> None:
    assert command('why', queue) == line


@pytest.mark.long
def test_nothing_of_it_is_imported_that_nobody_asked_for() -> None:
    code = (
        'import sys\n'
        'import torrelque.tasks, torrelque.worker.names\n'
        "assert not [name for name in sys.modules if name.startswith('torrelque.monitor')]\n"
        'import torrelque.monitor\n'
        "assert [name for name in sys.modules if name.startswith('torrelque.monitor')] == ['torrelque.monitor']\n"
        'torrelque.monitor.Alerts\n'
        "assert not {'starlette', 'prometheus_client'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, '-c', code], check=True, env=environment(str(PACKAGES)))
