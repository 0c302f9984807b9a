"""A group that moves to a new shard: nothing goes wrong in any interleaving, and each rule is missed when left out."""

from __future__ import annotations

import dataclasses
import json

import pytest

from proof.growth.growth import CONFIGS, GROUP, RULES, Rule, look, main
from proof.growth.steps import Growth
from proof.growth.world import MOVING, OLD, OPENED, ORDER, SETTLED, World
from proof.spec.explorer import Step

LONG = {'two producers of two tasks', 'a first delay, a lost reply', 'an own id, by three', 'a limit, by three'}


@pytest.mark.parametrize('name', [pytest.param(it, marks=pytest.mark.long) if it in LONG else it for it in CONFIGS])
def test_whatever_happens_all_holds(name: str) -> None:
    result = look(CONFIGS[name])
    assert result.complete
    assert result.found is None, str(result.found)
    assert result.states > 100


@pytest.mark.parametrize(('name', 'rule'), RULES.items(), ids=RULES)
def test_a_rule_that_is_left_out_is_missed(name: str, rule: Rule) -> None:
    result = look(dataclasses.replace(rule.config, removed=name))
    assert result.found is not None
    assert result.found.name == rule.breaks, str(result.found)


def test_each_rule_has_a_configuration_in_which_all_holds() -> None:
    assert {rule.config for rule in RULES.values()} <= {*CONFIGS.values()} | {RULES['settle-place'].config}


def test_the_way_to_a_fault_can_be_read() -> None:
    result = look(dataclasses.replace(GROUP, removed='fence'))
    assert result.found is not None
    assert result.found.name == ORDER
    labels = [label for label, _ in result.found.path]
    assert labels[0] == 'at first'
    assert 'the map is written' in labels
    assert 'A is fenced' in labels


def follow(system: Growth, *labels: str) -> World:
    """Where steps of these names lead."""
    (state,) = system.initial()
    for label in labels:
        found: list[Step] = [step for step in system.steps(state) if step[0] == label]
        assert found, f'{label} is none of {[step[0] for step in system.steps(state)]}'
        state = found[0][2]
    return World(*state)


def test_an_ordinary_move_goes_step_by_step() -> None:
    moved = ['B holds', 'the map is written', 'A is fenced', 'A is seen to have none of it', 'B opens']
    world = follow(Growth(GROUP), *moved, 'the map says that it is over')
    assert (world.hold, world.map, world.fence) == (OPENED, SETTLED, MOVING)
    world = follow(Growth(GROUP), *moved, '0 is refused 0 by A', '0 enqueues 0 in B: ok', '0 is handed out by B')
    assert world.out == (-1, 0)
    assert world.cached == (MOVING, OLD)


def test_the_command_tells_the_way_to_what_a_rule_prevents(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--remove', 'own-ask']) == 1
    assert capsys.readouterr().out.startswith('broken: 6 an id')


@pytest.mark.long
@pytest.mark.whole
def test_the_command_tells_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures['faults_found'], figures['missed'], figures['rules']) == (0, 0, len(RULES))
