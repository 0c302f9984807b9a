"""The benchmark of flows, with small counts and of what is here: each figure is taken, and told."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from benchmark.flows import beside, timing
from benchmark.flows.counting import count
from benchmark.flows.figures import SMALL, Figure
from benchmark.flows.run import measure, missed, selected, tables_of
from benchmark.speed import run as speed
from benchmark.speed.systems import ROOT, NodeSystem, System, prepare
from benchmark.tables import as_markdown, as_text


class Here(System):
    """A system in the environment of the tests."""

    home: Path

    @property
    def environment(self) -> Path:
        return self.home

    @property
    def python(self) -> Path:
        return Path(sys.executable)


@pytest.mark.parametrize('name', ['clock', *timing.PARTS])
def test_each_figure_of_a_part_is_measured(name: str) -> None:
    found = measure(SMALL, [name])
    if name == 'clock' and sys.platform != 'linux':
        pytest.skip('only Linux tells the processor time of another process')
    figures = found[name]
    assert figures
    # What the server has used is told by the system in steps of some length.
    assert all(one.value > 0 for one in figures if 'the server' not in one.name)
    text = '\n'.join(as_text(tables_of(SMALL, {name: figures})))
    assert all(one.name in text and one.unit in text for one in figures)


def test_a_goal_may_be_the_least_that_is_wanted() -> None:
    fast, slow = Figure('fast', 5, 'steps/s', 5, True), Figure('slow', 4.9, 'steps/s', 5, True)
    assert fast.reached and not slow.reached
    assert Figure('short', 5, 'ms', 5).reached and not Figure('long', 5.1, 'ms', 5).reached
    assert missed({'some': [fast, slow], 'beside': None}) == [slow]


def test_parts_are_known_by_their_names() -> None:
    assert selected('fans, beside') == ['fans', 'beside']
    with pytest.raises(SystemExit, match=r'unknown: fan; there are: counting, '):
        selected('fan')


@pytest.mark.long
@pytest.mark.skipif(not shutil.which('valgrind'), reason='valgrind counts')
@pytest.mark.whole
def test_instructions_are_counted_beside_those_of_another_checkout() -> None:
    figures = count(SMALL, ROOT)
    assert all(one.value > 0 for one in figures)
    ratios = [one for one in figures if one.name.endswith('by comparison with before')]
    # It is the same one, so but for what the tables of the server hold they are the same.
    assert len(ratios) == 7 and all(0.8 < one.value < 1.25 for one in ratios)


@pytest.fixture(scope='module')
def found(tmp_path_factory: pytest.TempPathFactory) -> beside.Found:
    Here.home = tmp_path_factory.mktemp('bench')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, 'prepare', lambda system, fresh=False: None)
        return beside.measure(SMALL, [Here(*system) for system in beside.SYSTEMS if system.is_ours])


@pytest.mark.long
def test_flows_are_made_and_worked_off_by_each_adapter_that_is_of_this_checkout(found: beside.Found) -> None:
    assert not found.failures
    for system in beside.SYSTEMS:
        if system.is_ours:
            taken = found.rates[system.name]
            assert [*taken] == [shape.title for shape in beside.shapes_of(SMALL)]
            assert all(one['rate'] > 0 and one['made'] > 0 for one in taken.values())


@pytest.mark.long
def test_what_was_not_measured_is_told_with_its_reason(found: beside.Found) -> None:
    failed = found._replace(failures=[('rq', 'not installed: no index')])
    for write in (as_text, as_markdown):
        text = '\n'.join(write(tables_of(SMALL, {'beside': failed})))
        assert 'torrelque tasks' in text and 'a chain of 20, steps/s' in text and 'not installed: no index' in text


def test_a_package_of_node_without_npm_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class There(NodeSystem):
        environment = tmp_path / 'there'

    monkeypatch.setenv('PATH', str(tmp_path))
    system = There('bullmq node', 'flows_of_bullmq.mjs', ('bullmq',))
    assert prepare(system) == 'not installed: there is no npm'
