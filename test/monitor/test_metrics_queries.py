"""The page of metrics, the board and the rules name what there is, and no more."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from torrelque.monitor.series import OUTCOMES, ROWS, Row

DOCS = Path(__file__).parents[2] / 'docs'
PAGE = (DOCS / 'metrics.md').read_text()
BOARD = json.loads((DOCS / 'monitoring' / 'board.json').read_text())
RULES = DOCS / 'monitoring' / 'alerts.yml'

OWN = {'job', 'instance'}
"""Labels that Prometheus gives."""
VALUES = {
    ('torrelque_tasks', 'status'): {'pending', 'working', 'delayed', 'dead', 'waiting'},
    ('torrelque_groups', 'state'): {'all', 'paused', 'rated'},
    ('torrelque_schedules', 'state'): {'all', 'late', 'dry', 'paused'},
    ('torrelque_workers', 'state'): {'live', 'stuck', 'lost'},
    ('torrelque_attempts', 'outcome'): {*OUTCOMES},
}
SUFFIXES = {'gauge': ('',), 'counter': ('_total',), 'histogram': ('_bucket', '_count', '_sum')}
SERIES = {row.name + suffix: row for row in ROWS for suffix in SUFFIXES[row.kind]}


def told_name(row: Row) -> str:
    return row.name + ('_total' if row.kind == 'counter' else '')


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())['groups']
    found: list[dict[str, Any]] = group['rules']
    return found


def queries() -> Iterator[tuple[str, str]]:
    """Where an expression stands, and the expression."""
    for rule in rules():
        yield rule['alert'], rule['expr']
    for panel in BOARD['panels']:
        for target in panel['targets']:
            yield panel['title'], target['expr']
    for block in re.findall(r'(?ms)^```promql\n(.*?)^```', PAGE):
        for part in block.split('\n\n'):
            yield part.partition('\n')[0], re.sub(r'(?m)^#.*\n', '', part)


def troubles(query: str) -> Iterator[str]:
    """What an expression names that there is not."""
    found = re.findall(r'\b(torrelque_\w+)(\{[^}]*\})?', query)
    if not found:
        yield 'it names no metric'
    labels = set(OWN)
    for name, matchers in found:
        row = SERIES.get(name)
        if row is None:
            yield name
            continue
        own = {*row.labels} | ({'le'} if name.endswith('_bucket') else set())
        labels |= own
        for label, operator, text in re.findall(r'(\w+)\s*(=~|!~|!=|=)"([^"]*)"', matchers):
            if label not in own | OWN:
                yield f'{name}{{{label}}}'
            known = VALUES.get((row.name, label))
            if known is not None:
                yield from ({*(text.split('|') if '~' in operator else [text])} - known)
    for words in re.findall(r'\b(?:by|on|without|ignoring|group_left)\s*\(([\w\s,]*)\)', query):
        yield from {word.strip() for word in words.split(',') if word.strip()} - labels
    if query.count('(') != query.count(')'):
        yield 'a parenthesis'


@pytest.mark.parametrize(
    ('query', 'found'),
    [
        ('sum(torrelque_nothing)', ['torrelque_nothing']),
        ('torrelque_tasks{worker="a"}', ['torrelque_tasks{worker}']),
        ('torrelque_tasks{status="gone"}', ['gone']),
        ('torrelque_attempts_total{outcome=~"dead|buried"}', ['buried']),
        ('sum by (host) (torrelque_up)', ['host']),
        ('torrelque_run_seconds', ['torrelque_run_seconds']),
        ('sum by (le, queue, job) (rate(torrelque_wait_seconds_bucket[5m]))', []),
    ],
)
def test_what_there_is_not_is_found(query: str, found: list[str]) -> None:
    assert [*troubles(query)] == found


def test_queries_of_the_page_the_board_and_the_rules_name_what_there_is() -> None:
    assert len([*queries()]) > 40
    assert {where: found for where, query in queries() if (found := [*troubles(query)])} == {}


def test_the_page_has_all_metrics_with_their_types_and_labels() -> None:
    table = re.search(r'(?m)^\| name \| type \| labels \| what \|\n\|[-|]+\n((?:\|.*\n)+)', PAGE)
    assert table
    rows = [[cell.strip() for cell in row.strip('|').split('|')[:3]] for row in table[1].splitlines()]
    assert rows == [[f'`{told_name(row)}`', row.kind, ', '.join(row.labels)] for row in ROWS]


def test_the_page_has_all_values_of_labels() -> None:
    for (name, label), known in VALUES.items():
        [row] = re.findall(rf'(?m)^\| `{name}(?:_total)?` .*$', PAGE)
        assert label in row
        assert {value for value in known if f'`{value}`' not in row} == set(), name


def test_the_board_can_be_loaded() -> None:
    assert (BOARD['title'], BOARD['schemaVersion']) == ('Torrelque', 39)
    ids = [panel['id'] for panel in BOARD['panels']]
    assert len({*ids}) == len(ids) > 15
    variables = {variable['name'] for variable in BOARD['templating']['list']}
    assert variables == {'source', 'queue'}
    for panel in BOARD['panels']:
        assert panel['datasource']['uid'] == '${source}' and panel['title']
        letters = [target['refId'] for target in panel['targets']]
        assert letters and len({*letters}) == len(letters)
        used = {*re.findall(r'\$(\w+)', ' '.join(target['expr'] for target in panel['targets']))}
        assert used <= {*variables, '__rate_interval'}
        place = panel['gridPos']
        assert place['x'] + place['w'] <= 24
    taken = [(one['gridPos']['x'] + x, one['gridPos']['y'] + y) for one in BOARD['panels']
             for x in range(one['gridPos']['w']) for y in range(one['gridPos']['h'])]  # fmt: skip
    assert len({*taken}) == len(taken)


def test_the_rules_can_be_loaded() -> None:
    names = [rule['alert'] for rule in rules()]
    assert len({*names}) == len(names) > 10
    for rule in rules():
        assert {*rule} <= {'alert', 'expr', 'for', 'labels', 'annotations'}
        assert re.fullmatch(r'\d+[smh]', rule.get('for', '0s'))
        assert rule['labels']['severity'] in ('page', 'warning')
        assert {*rule['annotations']} == {'summary', 'description'}
        told = {*re.findall(r'\$labels\.(\w+)', ' '.join(rule['annotations'].values()))}
        kept = {word for words in re.findall(r'by \(([\w, ]+)\)', rule['expr']) for word in words.split(', ')}
        assert told <= kept, rule['alert']
    if promtool := shutil.which('promtool'):
        subprocess.run([promtool, 'check', 'rules', str(RULES)], check=True, capture_output=True)


def test_the_commands_that_rules_name_are_there() -> None:
    from torrelque.cli.parser import COMMANDS

    named = {word for rule in rules() for word in re.findall(r'torrelque ([a-z]+)', str(rule['annotations']))}
    assert named and named <= {command.name for command in COMMANDS}
