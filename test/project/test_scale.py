"""The scale benchmark itself, with small counts: each figure is there, and nothing was lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from benchmark.scale.scale import PARTS, about, faults_of, measure, tables_of
from benchmark.scale.work import SMALL, Figures
from benchmark.tables import as_markdown, as_text

PLAN = SMALL._replace(payloads=((1000, 100), (10_000_000, 2)))
SCRIPTS = {'scripts', 'longest_ms', 'over_10_ms', 'stall_ms'}


def part(name: str) -> Figures:
    """The figures of a part, of which nothing was lost."""
    result = measure(PLAN, [name])
    assert faults_of(result) == []
    assert result['counts'][name]['drained'] > 0
    assert all(math.isfinite(figure) and figure >= 0 for figure in numbers(result['parts']))
    text = '\n'.join(as_text(tables_of(result)))
    assert text and text.count('\n') < '\n'.join(as_markdown(tables_of(result))).count('\n')
    assert 'Valkey' in about(result) and 'cores' in about(result)
    figures: Figures = result['parts'][name]
    return figures


def numbers(figures: Any) -> Iterator[float]:
    """All figures, however deep."""
    if isinstance(figures, dict):
        figures = [*figures.values()]
    if isinstance(figures, list):
        for figure in figures:
            yield from numbers(figure)
    elif not isinstance(figures, str):
        yield figures


def growth(rates: Figures, expected: tuple[int, ...]) -> None:
    """There is a rate and a ratio for each number, and the ratio of the first is one."""
    for what in rates.values():
        assert [*what] == [str(number) for number in expected]
        assert what[str(expected[0])]['ratio'] == 1
        assert all(each['rate'] > 0 and each['ratio'] > 0 for each in what.values())


def test_a_million() -> None:
    figures = part('million')
    assert {name: [*steps] for name, steps in figures.items() if name != 'tasks'} == {
        'pending': ['fill', 'drain'],
        'delayed': ['fill', 'sweep', 'drain'],
    }
    for place in ('pending', 'delayed'):
        assert figures[place]['fill']['bytes'] > 100
        for name, step in figures[place].items():
            # No script does more than 250 tasks; to drain, there are two for each.
            assert step['scripts'] >= PLAN.million / 250 * (2 if name == 'drain' else 1)
            assert step['rate'] > 0 and step['mean_ms'] > 0 and {*step} >= SCRIPTS
            assert name == 'sweep' or step['first'] > 0 and step['last'] > 0
    assert figures['delayed']['sweep']['swept'] == PLAN.million


@pytest.mark.long
def test_processes() -> None:
    rates = part('processes')['rates']
    assert {*rates} == {'loops', 'bulk'}
    growth(rates, PLAN.processes)


@pytest.mark.long
def test_consumers_share_three_connections() -> None:
    figures = part('consumers')
    growth(figures['rates'], PLAN.consumers)
    # Calls, the bell, and the notifications of the watch.
    assert figures['connections'] == {str(number): 3 for number in PLAN.consumers}


@pytest.mark.long
def test_calls_of_each_size() -> None:
    figures = part('bulk')
    assert [*figures] == ['1', '5', '10', '25', '50', '100', '250'] and figures['1']['ratio'] == 1
    for one in figures.values():
        assert one['rate'] > 0 and one['mean_ms'] > 0 and {*one} == {'rate', 'ratio', 'mean_ms'} | SCRIPTS
    assert figures['250']['scripts'] < figures['1']['scripts']


def test_groups() -> None:
    kinds = part('groups')['kinds']
    assert len(kinds) == len(PLAN.groups) + 3 and 'plain' in kinds
    for kind in kinds.values():
        assert {*kind} == {'fill', 'loops', 'bulk'} | SCRIPTS
        assert all(kind[step]['rate'] > 0 and kind[step]['ratio'] > 0 for step in ('fill', 'loops', 'bulk'))


@pytest.mark.long
def test_a_large_group_and_many() -> None:
    steps = part('large')['steps']
    assert len(steps) == 16
    assert all(step['scripts'] > 0 and {*step} >= SCRIPTS for step in steps)


def test_payloads() -> None:
    figures = part('payloads')
    assert [*figures] == [str(size) for size, _ in PLAN.payloads]
    for size, steps in figures.items():
        assert {*steps} == {'count', 'enqueue', 'drain', 'fill', 'bulk'}
        for name in ('enqueue', 'drain', 'fill', 'bulk'):
            assert steps[name]['mb'] == pytest.approx(steps[name]['rate'] * int(size) / 1e6)
            assert {*steps[name]} == {'rate', 'mb'} | SCRIPTS


@pytest.mark.long
def test_primaries_of_a_cluster() -> None:
    rates = part('cluster')['rates']
    assert {*rates} == {'fill', 'drain'}
    growth(rates, PLAN.primaries)


def test_the_simulation_of_shards() -> None:
    for cells in part('simulation')['growth'].values():
        assert [*cells] == [str(number) for number in PLAN.simulated]
        assert cells['1']['efficiency'] == 1


def test_each_part_is_tried_here() -> None:
    tried = ['million', 'processes', 'consumers', 'bulk', 'groups', 'large', 'payloads', 'cluster', 'simulation']
    assert [*PARTS] == tried


def test_a_lost_task_and_a_key_left_behind_are_told() -> None:
    counts = {'million': {'enqueued': 5, 'drained': 4, 'keys': ['{q}:tasks']}}
    assert len(faults_of({'counts': counts})) == 2
