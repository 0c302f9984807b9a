"""The benchmark itself, with small counts and of what is here: each figure is taken, and told."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.speed import instructions, pickup, renew, run
from benchmark.speed.figures import FIGURES, FLOOR_FIGURES, Plan
from benchmark.speed.goals import goals_table
from benchmark.speed.report import Result, as_markdown, as_text
from benchmark.speed.systems import DECORATED, FLOOR, OURS, SYNC, SYSTEMS, WORKER, System
from support.servers import RealServer, free_port

LAYERS = (WORKER, DECORATED, SYNC)
PLAN = Plan(rounds=1, seconds=0.01, pickups=2, delays=2, patience=2, most=300, large=('pending',))


class Here(System):
    """A system in the environment of the tests."""

    home: Path

    @property
    def environment(self) -> Path:
        return self.home

    @property
    def python(self) -> Path:
        return Path(sys.executable)


@pytest.fixture(scope='module')
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    Here.home = tmp_path_factory.mktemp('bench')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, 'prepare', lambda system, fresh=False: None)
        systems = [Here(*system) for system in SYSTEMS if system.name in (OURS, *LAYERS, FLOOR)]
        return run.measure(PLAN, systems, argparse.Namespace(fresh=False, awake=False))


@pytest.mark.long
def test_each_figure_is_taken(result: Result) -> None:
    assert not any(result['failures'].values()) and not result['not_measured']
    figures = result['figures']
    assert {*figures['floor']} == {figure.key for figure in FLOOR_FIGURES}
    notified = {'enqueue_bulk_notified', 'drain_bulk_100_notified'}
    assert {*figures['torrelque']} == {figure.key for figure in FIGURES} | notified
    assert {*figures['torrelque']['pending']} == {'60', '300'}
    for key in ('enqueue_one', 'drain_100', 'drain_bulk_250'):
        taken = figures['torrelque'][key]['60']
        assert all(taken[part] > 0 for part in ('rate', 'commands', 'client_us'))


@pytest.mark.long
def test_who_keeps_the_task_of_a_killed_consumer_is_seen_to(result: Result) -> None:
    assert result['crashes']['torrelque']['again'] > 0


@pytest.mark.long
@pytest.mark.parametrize('name', LAYERS)
def test_each_figure_of_a_layer_that_makes_sense_is_taken(result: Result, name: str) -> None:
    system = next(system for system in SYSTEMS if system.name == name)
    figures = result['figures'][name]
    assert {*figures} == {*system.figures}
    assert all(figures[key]['60']['rate'] > 0 for key in figures if key.startswith(('enqueue', 'drain')))
    assert result['crashes'][name]['again'] > 0


@pytest.mark.long
@pytest.mark.parametrize('write', [as_text, as_markdown])
def test_all_is_told(result: Result, write: Callable[[Result], str]) -> None:
    text = write(result)
    assert 'failed' not in text and 'Python' in text
    for words in ('enqueue one by one', 'drain 1,000', 'pick-up p50', 'round trips', 'PING', 'torrelque'):
        assert words in text


def test_goals_are_judged_by_the_figures_that_there_are() -> None:
    ours = {'enqueue_one': {'60': {'rate': 900.0}}, 'late': {'60': {'p50': 2.5}}, 'pending': {'300': {'bytes': 500.0}}}
    floor = {'evalsha_held': {'60': {'rate': 1000.0}}}
    table = goals_table({'torrelque': ours, 'floor': floor})
    assert table
    assert table.rows == [
        ['enqueue one by one', 'EVALSHA, held connection', 'at least 0.8', '0.90', 'yes'],
        ['lateness p50 (ms)', '-', 'at most 2', '2.50', 'no'],
        ['bytes pending, 300', '-', 'at most 565', '500.00', 'yes'],
    ]
    assert goals_table({}) is None


def test_a_goal_is_beside_the_fastest_of_some() -> None:
    def drain(rate: float) -> dict[str, dict[str, dict[str, float]]]:
        return {'drain_100': {'60': {'rate': rate}}}

    table = goals_table({WORKER: drain(900), OURS: drain(1000), 'saq': drain(100), 'arq': drain(300)})
    assert table
    assert [row[2:] for row in table.rows] == [['at least 0.8', '0.90', 'yes'], ['at least 4', '3.00', 'no']]
    assert 'saq' in table.rows[1][1]


@pytest.mark.long
async def test_leases_that_a_worker_keeps_are_counted() -> None:
    with RealServer('valkey9', {'port': str(free_port())}) as server:
        figures = await renew.measure(f'redis://127.0.0.1:{server.port}', 20, 0.3, 3)
    assert figures['renewals'] >= 20 and figures['worker'] > 0 and figures['server'] >= 0
    assert '20 leases of 0.3 s' in renew.table_of([figures]).rows[0]


@pytest.mark.long
@pytest.mark.skipif(not shutil.which('valgrind'), reason='valgrind counts')
def test_instructions_of_calls_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, 'CALLS', 3)
    monkeypatch.setattr(instructions, 'BULKS', 2)
    table = instructions.measure()
    counts = {row[0]: float(row[1].replace(',', '')) for row in table.rows}
    assert len(counts) == 10 and all(count > 1000 for count in counts.values())
    assert counts[instructions.FLOOR] < counts['enqueue, 1 in a call: each task']


def test_an_idle_pick_up_is_measured_both_ways() -> None:
    table = asyncio.run(pickup.measure(2))
    assert [row[0] for row in table.rows] == [*pickup.STEPS]
    assert all(float(cell) > 0 for row in table.rows for cell in row[1:])
