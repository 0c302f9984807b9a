"""The scale benchmark itself, with small counts: each figure is there, and nothing was lost."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.scale import goals, life
from benchmark.scale.scale import PARTS, about, faults_of, measure, missed_of, tables_of
from benchmark.scale.work import SMALL, Figures
from benchmark.tables import as_markdown, as_text

PLAN = SMALL._replace(payloads=((1000, 100), (10_000_000, 2)))
SCRIPTS = {'scripts', 'longest_ms', 'over_10_ms', 'stall_ms'}


def part(name: str) -> Figures:
    """The figures of a part, of which nothing was lost."""
    result = measure(PLAN, [name])
    assert faults_of(result) == []
    assert result['counts'][name]['drained'] > 0 or name == 'idle'
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
    elif not isinstance(figures, str | None):
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


# Queues with shards


def judged(figures: Figures) -> list[str]:
    """Names of figures, each of which is shown with its goal."""
    shown = {row[0] for row in goals.table('', figures['figures']).rows}
    assert shown == {one['name'] for one in figures['figures']}
    return [*shown]


@pytest.mark.whole
@pytest.mark.long
def test_whole_lives_over_some_primaries() -> None:
    figures = part('growth')
    assert len(judged(figures)) == 4 * len(PLAN.sharding.primaries)
    assert {*figures['growth']} == {'in bulk', '100 loops'}
    for way, growth in figures['growth'].items():
        assert [*growth] == [str(number) for number in PLAN.sharding.primaries]
        # In bulk each run has its call, wherever it goes.
        assert [*figures['costs'][way]] == ['0', *growth]
        assert all(cost['scripts'] > 0 for cost in figures['costs'][way].values())


@pytest.mark.whole
@pytest.mark.long
@pytest.mark.skipif(not shutil.which('valgrind'), reason='valgrind counts')
def test_instructions_of_whole_lives() -> None:
    figures = part('counted')
    assert len(judged(figures)) == 2 * len(PLAN.sharding.primaries)
    for each in figures['counts'].values():
        assert {number: len(servers) for number, servers in each.items()} == {'0': 1, '1': 1, '2': 2}


def test_growth_that_was_measured_goes_into_the_picture(tmp_path: Path) -> None:
    file = tmp_path / 'throughput.json'
    file.write_text(json.dumps({'measured': {'what': 'it', 'figures': {}}, 'simulated': {}}))
    where = {'server': 'Valkey', 'python': '3', 'cores': 2, 'cpu': 'a kind', 'kernel': '6'}
    figures = {'lives': 24_000, 'rounds': 9, 'growth': {'in bulk': {'1': 1, '2': 1.9}}}
    life.show(figures, where, {}, file)
    told = json.loads(file.read_text())
    assert told['simulated'] == {}
    assert (told['measured']['what'], told['measured']['figures']) == ('it', {'in bulk': {'1': 1, '2': 1.9}})
    assert '24,000 tasks' in told['measured']['how'] and 'medians of 9 rounds' in told['measured']['how']


@pytest.mark.whole
@pytest.mark.long
def test_tasks_that_trickle_in() -> None:
    figures = part('waiting')
    assert len(judged(figures)) == 4
    for both in figures['loads'].values():
        # It is enqueued, claimed and released.
        assert all(one['tasks'] > 0 and one['scripts'] >= 3 for one in both)


@pytest.mark.whole
@pytest.mark.long
def test_waiting_in_vain() -> None:
    figures = part('idle')
    assert len(judged(figures)) == 2
    # Calls and the bell; of shards, two each at the most.
    assert figures['idle']['0']['connections'] == 2
    assert 12 < figures['idle']['12']['connections'] <= 25


@pytest.mark.long
@pytest.mark.parametrize('name', ['killed', 'stopped'])
def test_a_primary_that_is_away(name: str) -> None:
    figures = part(name)
    assert len(judged(figures)) == 4
    [found] = figures['rounds']
    assert found['entered'] > 0
    assert (found['lost'], found['disorder']) == (0, 0)


@pytest.mark.whole
@pytest.mark.long
def test_consumers_that_are_killed() -> None:
    figures = part('wakeups')
    assert len(judged(figures)) == 1
    assert all(one['kills'] > 0 and one['first'] > 0 for one in figures['wakeups'].values())


@pytest.mark.whole
@pytest.mark.long
def test_processes_of_a_worker() -> None:
    figures = part('run')
    assert len(judged(figures)) == 3
    for each in figures['runs'].values():
        assert [*each] == [*PLAN.sharding.processes]
        assert all(one['process'] > 0 and one['server'] > 0 for rounds in each.values() for one in rounds)


def test_each_part_is_tried_here() -> None:
    assert [*PARTS] == [
        'million', 'processes', 'consumers', 'bulk', 'groups', 'large', 'payloads', 'cluster', 'growth', 'counted',
        'waiting', 'idle', 'killed', 'stopped', 'wakeups', 'run', 'simulation',
    ]  # fmt: skip


def test_a_goal_that_is_missed_is_told_and_one_that_is_reached_is_not() -> None:
    rounds = goals.of_rounds('growth', [1.5, 1.7, 2.9], 'times', 1.6, least=True)
    assert (rounds.value, rounds.low, rounds.high, rounds.reached) == (1.7, 1.5, 2.9, True)
    figures = goals.told([rounds, goals.Figure('lost', 1, 'tasks', 0), goals.Figure('time', 1.5, 'ms')])
    assert [row[-1] for row in goals.table('', figures).rows] == ['reached', 'missed', '-']
    assert missed_of({'parts': {'growth': {'figures': figures}, 'million': {}}}) == [
        'growth: lost: 1 tasks, and not at most 0'
    ]


def test_a_lost_task_and_a_key_left_behind_are_told() -> None:
    counts = {'million': {'enqueued': 5, 'drained': 4, 'keys': ['{q}:tasks']}}
    assert len(faults_of({'counts': counts})) == 2
