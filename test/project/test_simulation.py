"""The simulation of many shards: that it is what it says, and what it finds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmark.simulation import growing, waiting
from benchmark.simulation.clock import Clock
from benchmark.simulation.costs import LINK, SERVER
from benchmark.simulation.outcome import Outcome
from benchmark.simulation.setup import Order, Setup
from benchmark.simulation.shard import Shard
from benchmark.simulation.simulation import FULL, GOAL, PARTS, SMALL, faults_of, main, measure, tables_of
from benchmark.simulation.world import simulate
from benchmark.tables import as_markdown, as_text

SEEN = Path(__file__).parents[2] / 'docs' / 'image' / 'throughput.json'


# What it is made of


def test_what_happens_at_the_same_time_happens_in_the_order_of_its_asking() -> None:
    clock, seen = Clock(), list[str]()
    clock.at(2.0, seen.append, 'c')
    clock.at(1.0, seen.append, 'a')
    clock.at(1.0, seen.append, 'b')
    clock.at(3.0, seen.append, 'd')
    clock.run(2.5)
    assert seen == ['a', 'b', 'c']
    assert clock.now == 2.5


def test_a_shard_does_one_call_after_the_other() -> None:
    clock, ended = Clock(), list[float]()
    shard = Shard(clock, 0, endless=False, since=0.0)
    for count in (2, 3):
        clock.at(0.0, shard.submit, 'enqueue', count, lambda _: ended.append(clock.now))
    clock.run(1.0)
    first = SERVER['enqueue'].of(2)
    assert ended == [pytest.approx(first), pytest.approx(first + SERVER['enqueue'].of(3))]
    assert shard.used == pytest.approx(ended[-1])


def test_a_shard_that_is_away_goes_on_when_it_is_back() -> None:
    clock, ended = Clock(), list[float]()
    shard = Shard(clock, 0, endless=False, since=0.0, away=(0.5, 2.0))
    for when in (0.0, 1.0):
        clock.at(when, shard.submit, 'leave', 0, lambda _: ended.append(clock.now))
    clock.run(3.0)
    assert ended == [pytest.approx(SERVER['leave'].call), pytest.approx(2.0 + SERVER['leave'].call)]


def test_one_who_is_blocked_is_rung_once_and_a_ring_for_nobody_is_kept() -> None:
    clock, rung = Clock(), list[tuple[str, float]]()
    shard = Shard(clock, 0, endless=False, since=0.0)
    shard.put(0.0, 1)
    shard.block(lambda _: rung.append(('a', clock.now)))
    shard.block(lambda _: rung.append(('b', clock.now)))
    clock.run(1.0)
    assert rung == [('a', LINK)]
    shard.leave()
    clock.run(2.0)
    assert rung == [('a', LINK), ('b', 1.0 + LINK)]
    # It leaves nothing, so nobody else is rung.
    assert not shard.take(1)
    assert rung[2:] == []


def test_one_task_waits_for_its_call_and_for_a_claim() -> None:
    found = simulate(Setup(shards=1, processes=1, loops=1, rate=10.0, warm=0.0, seconds=5.0))
    claim = SERVER['claim'].of(1)
    # The call, its time, the ring, the claim.
    assert found.waited()[0] >= LINK * 3 + SERVER['enqueue'].of(1) + claim
    assert found.waited()[len(found.waited()) // 2] < 0.001
    assert found.entered > 20
    whole(found)


# What it finds


def whole(found: Outcome) -> None:
    """Nothing was lost."""
    assert found.entered == found.left + found.held + found.released > 0


@pytest.mark.parametrize('order', ['random', 'in turn'])
def test_each_run_is_the_same_by_its_seed(order: Order) -> None:
    setup = growing.setup_of(2, order=order)
    first = simulate(setup)
    whole(first)
    assert simulate(setup) == first
    assert simulate(dataclasses.replace(setup, seed=2)) != first


def test_throughput_grows_with_the_shards() -> None:
    found = growing.grow((1, 2, 8))
    assert found['tasks of 5 ms']['1']['efficiency'] == 1
    assert found['tasks of 5 ms']['8']['efficiency'] >= GOAL
    assert [*faults_of({'growth': found})] == []


def test_shards_that_are_asked_in_turn_make_a_convoy() -> None:
    rates = [simulate(growing.setup_of(8, order=order)).rate for order in ('random', 'in turn')]
    assert rates[0] > 1.2 * rates[1]


def test_a_shard_that_is_away_does_not_stall_the_others_whose_claims_are_not_waited_for() -> None:
    found = waiting.lose(6, 6, 0.6)
    awaited, short = found['the others, claims are waited for'], found['the others, for 0.1 s at the most']
    assert awaited['late'] > 0.5
    assert short['late'] < 0.2
    assert short['p50'] < 1 < awaited['p50']


def test_what_has_owners_waits_where_one_has_more() -> None:
    found = waiting.skew(8, 8, 2000)
    assert found['1.2, all bells']['p99'] < 10 < found['1.2, shards have owners']['p99']


def test_bells_that_nobody_hears_cost_waiting() -> None:
    found = waiting.wait(((16, 4),), (0.1,), 1500)
    assert found['16, 4, 0.1, all bells']['p99'] < 10 < found['16, 4, 0.1, 1 bell, the others in rounds']['p50']


def test_what_is_lost_and_what_falls_short_is_told() -> None:
    cell = {'entered': 5, 'left': 1, 'held': 1, 'released': 2, 'efficiency': 0.7, 'rate': 1.0}
    turn = {'in turn': {'rate': 2.0}, 'random': {'rate': 1.0}}
    told = [*faults_of({'growth': {'tasks of 5 ms': {'8': cell}}, 'convoy': {'8, 25': turn}})]
    assert len(told) == 3
    assert '5 tasks went in, 4 are' in told[0]


def test_the_command_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ['--json', str(tmp_path / 'a'), '--markdown', str(tmp_path / 'b')]
    assert main(['--small', '--only', 'away', *files]) == 0
    printed = capsys.readouterr().out
    assert 'A shard does nothing for a while' in printed
    result = json.loads((tmp_path / 'a').read_text())
    assert [*result] == ['away']
    assert (tmp_path / 'b').read_text().startswith('\n'.join(as_markdown(tables_of(result))[:2]))
    with pytest.raises(SystemExit, match='unknown: nothing'):
        main(['--only', 'nothing'])


@pytest.mark.long
@pytest.mark.one_server
def test_every_part_of_a_small_plan_is_whole() -> None:
    result = measure(SMALL)
    assert [*result] == [*PARTS]
    assert [*faults_of(result)] == []
    assert as_text(tables_of(result))


@pytest.mark.long
@pytest.mark.one_server
def test_throughput_grows_to_many_shards() -> None:
    found = growing.grow((1, 16, 64))
    assert [*faults_of({'growth': found})] == []
    assert found['tasks of 5 ms, shards in turn']['64']['efficiency'] < 0.7
    convoy = growing.convoy((16,))
    assert [*faults_of({'convoy': convoy})] == []
    assert convoy['16, 25']['random']['rate'] > 1.4 * convoy['16, 25']['in turn']['rate']


# The picture


def test_what_the_picture_shows_is_what_is_simulated() -> None:
    """Where it is red: ``python -m benchmark.simulation --only growth --picture docs/image/throughput.json``."""
    told = json.loads(SEEN.read_text())['simulated']['figures']
    assert [int(number) for number in told['tasks of 5 ms']] == [*FULL.shards]
    found = growing.grow((1, 4))
    for case in told:
        assert told[case]['4'] == pytest.approx(4 * found[case]['4']['efficiency'], rel=0.01)
