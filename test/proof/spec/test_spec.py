"""The model of the queue: all that may happen to a small one, each rule left out, and the model beside the scripts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterable

import pytest

from proof.spec.checks import FENCING, Budget, Config
from proof.spec.explorer import CHOICE, FAULT, OWN, TIME, State, Step, explore, fingerprint
from proof.spec.kinds import KINDS
from proof.spec.spec import ORDINARY, RULES, Rule, look
from proof.spec.steps import Spec
from proof.spec.walk import Walk, walk
from support.processes import TEST
from support.servers import RealServer


class Toy:
    """A made-up system: a number, and where it may go."""

    def __init__(
        self,
        moves: Callable[[int], Iterable[tuple[int, int]]],
        bad: Iterable[int] = (),
        good: Iterable[int] = (),
        lost: Iterable[int] = (),
    ) -> None:
        self._moves, self._bad, self._good, self._lost = moves, {*bad}, {*good}, {*lost}

    def initial(self) -> Iterable[State]:
        return [0]

    def steps(self, state: State) -> Iterable[Step]:
        return [(f'to {after}', kind, after, '') for after, kind in self._moves(state)]

    def broken(self, state: State) -> str:
        return 'bad' if state in self._bad else ''

    def stuck(self, state: State) -> str:
        return 'stuck' if state in self._lost else ''

    def good(self, state: State) -> bool:
        return state in self._good


def _labels(result: object) -> list[str]:
    found = getattr(result, 'found', None)
    return [label for label, _ in found.path] if found else []


# The checker


def test_all_states_are_seen_once() -> None:
    result = explore(Toy(lambda n: [((n + 1) % 7, OWN), ((n + 2) % 7, OWN)]))
    assert (result.states, result.transitions, result.complete, result.found) == (7, 14, True, None)
    assert result.depth == 3


def test_the_shortest_way_to_a_fault_is_told() -> None:
    result = explore(Toy(lambda n: [(n + 1, OWN), (n * 3, OWN)] if n < 100 else [], bad=[10]))
    assert _labels(result) == ['at first', 'to 1', 'to 3', 'to 9', 'to 10']
    assert result.found is not None
    assert [state for _, state in result.found.path] == [0, 1, 3, 9, 10]
    assert str(result.found).splitlines()[0] == 'broken: bad'


def test_a_fault_of_a_step_into_a_known_state_is_told() -> None:
    class Stepping(Toy):
        def steps(self, state: State) -> Iterable[Step]:
            return [('on', OWN, 1, ''), ('back', OWN, 0, 'goes back' if state else '')]

    result = explore(Stepping(lambda n: []))
    assert _labels(result) == ['at first', 'on', 'back']


def test_two_who_wait_for_each_other_are_found() -> None:
    # Philosophers at a table of two: each takes the fork at his left, then the other, then lays both down.
    def moves(n: int) -> Iterable[tuple[int, int]]:
        hands = [n & 3, n >> 2]
        for k in range(2):
            left_taken = hands[1 - k] == 2
            right_taken = hands[1 - k] >= 1
            if hands[k] == 0 and not left_taken or hands[k] == 1 and not right_taken:
                yield n + (1 << 2 * k), OWN
            elif hands[k] == 2:
                yield n - (2 << 2 * k), OWN

    assert explore(Toy(moves, lost=range(16))).found is not None
    result = explore(Toy(moves, lost=range(16)))
    assert _labels(result) == ['at first', 'to 1', 'to 5']


def test_who_waits_is_stuck_though_somebody_could_choose_to_come() -> None:
    moves = {0: [(1, OWN)], 1: [(2, CHOICE)], 2: []}
    result = explore(Toy(moves.__getitem__, lost=[1]))
    assert _labels(result) == ['at first', 'to 1']


def test_what_cannot_be_reached_any_more_is_found() -> None:
    moves = {0: [(1, OWN), (2, TIME)], 1: [(0, OWN)], 2: [(3, OWN)], 3: [(2, OWN), (0, FAULT), (0, CHOICE)]}
    assert explore(Toy(moves.__getitem__, good=[1])).found is None
    result = explore(Toy(moves.__getitem__, good=[1]), reach='lost')
    assert _labels(result) == ['at first', 'to 2']
    moves[3].append((0, TIME))
    assert explore(Toy(moves.__getitem__, good=[1]), reach='lost').found is None


def test_what_is_bounded_says_so() -> None:
    result = explore(Toy(lambda n: [(n + 1, OWN)]), states=50)
    assert not result.complete
    assert result.states == 50
    assert result.found is None
    assert not explore(Toy(lambda n: [(n + 1, OWN)]), seconds=0.01).complete


def test_states_that_differ_have_other_fingerprints() -> None:
    states = [(a, (b, c), ()) for a in range(20) for b in range(20) for c in range(20)]
    assert len({fingerprint(state) for state in states}) == len(states)
    assert fingerprint((1, (2,), ())) == fingerprint((1, (*[2],), (*[],)))


# The queue

# Of more states than all others together.
LONG = {
    'a lost reply, a return, giving up',
    'a lost reply, a kill',
    'the bell, a kill',
    'the bell, a group',
    'own ids, holes',
    'a group of one at a time, lost replies',
    'two lost replies',
    'a lost reply, an ended lease',
    'every verb',
    'a lost reply, cancelling',
    'failed attempts, a lost reply',
    'the bell, a return',
    'the bell, giving up',
    'the bell, one task, giving up',
    'the bell, a delay',
    'the bell, an ended lease',
    'priorities, every verb',
    'the bell, priorities',
    *(name for name in ORDINARY if 'coming without a claim' in name),
    *(name for name in ORDINARY if any(word in name for word in ('a rate', 'pauses', 'probes', 'several at once'))),
}


@pytest.mark.parametrize(
    'name',
    [pytest.param(it, marks=[pytest.mark.long, pytest.mark.share(5)]) if it in LONG else it for it in ORDINARY],
)
def test_whatever_happens_all_holds(name: str) -> None:
    result = look(ORDINARY[name])
    assert result.complete
    assert result.found is None, str(result.found)
    assert result.states > 1000


@pytest.mark.parametrize(
    ('name', 'rule'),
    # Two of them take as long as thirty others.
    [
        pytest.param(name, rule, id=name, marks=[pytest.mark.long] if name in ('join-time', 'ring-token') else [])
        for name, rule in RULES.items()
    ],
)
def test_a_rule_that_is_left_out_is_missed(name: str, rule: Rule) -> None:
    sound = look(rule.config)
    assert sound.complete
    assert sound.found is None, str(sound.found)
    result = look(dataclasses.replace(rule.config, removed=name))
    assert result.found is not None
    assert result.found.name == rule.breaks
    assert len(result.found.path) > 1


def test_the_way_to_a_fault_can_be_read() -> None:
    result = look(Config(groups=(-1,), budget=Budget(ends=1), removed='attempt'))
    assert result.found is not None
    assert result.found.name == FENCING
    labels = [label for label, _ in result.found.path]
    assert labels[:2] == ['at first', 'enqueue 0 is answered: ok']
    assert labels[-1].endswith('release (0, 1) is answered')
    assert 'the lease of 0 ends' in labels
    assert len(labels) == 11


def test_consumers_that_are_alike_are_one_state() -> None:
    spec = Spec(Config(consumers=3, groups=(-1,)))
    (first,) = spec.initial()
    assert [label for label, *_ in spec.steps(first)] == ['enqueue 0 is answered: ok', '0 asks for a task']


def test_the_command_line_tells_its_figures() -> None:
    words = [sys.executable, '-m', 'proof.spec', '--tasks', '1', '--resend', '--groups']
    run = subprocess.run(words, cwd=TEST, capture_output=True, text=True, check=True)
    figures = json.loads(run.stdout.splitlines()[-1])
    assert figures['complete']
    assert figures['faults_found'] == 0
    assert figures['states'] > 100
    run = subprocess.run([*words, '--remove', 'record'], cwd=TEST, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout.startswith('broken: 6 sent twice')
    assert json.loads(run.stdout.splitlines()[-1])['faults_found'] == 1


# The scripts


@pytest.mark.parametrize('kind', KINDS)
def test_the_scripts_do_what_the_model_says(server: RealServer, kind: str) -> None:
    with server.sync_client() as client:
        # Seed 15 has a task in a group with a pause wait for its next attempt when a token of its group has come.
        assert sum(walk(client, kind, seed, 40) for seed in (*range(10), 15)) == 440


DIFFERENT = {
    'attempt': 'plain', 'slot-kept': 'group', 'ring-left': 'plain', 'holes': 'holes', 'priority-first': 'priorities',
    'token-waited': 'rates', 'pause-at-claim': 'pauses',
}  # fmt: skip
"""Rules that are left out, and the kind of queue in which that is seen."""


def test_a_model_that_differs_from_the_scripts_is_told(server: RealServer) -> None:
    told = []
    with server.sync_client() as client:
        for removed, kind in DIFFERENT.items():
            for seed in range(20):
                client.flushall()
                going = Walk(client, 'walk', kind, seed)
                going.model.removed = removed
                try:
                    for _ in range(40):
                        going.step()
                except AssertionError:
                    told.append(removed)
                    break
    assert told == [*DIFFERENT]
