"""Any order of calls, time, lost replies and crashes, on a real server, beside a model of the queue.

The calls go through the public door.  What they send is seen on its way, carried out by the model too, and compared
with what the server replies; after each step all keys of the queue are compared with those of the model.  The server's
clock is replaced in the scripts, at their one line that reads it, so time stands still until the machine moves it, and
hours cost nothing.  Bounds that are in the hundreds are lowered, so that a few tasks reach them.

`TORRELQUE_STEPS` is how many steps are taken on each server, from random seeds then; `TORRELQUE_SEED` is the first, and
the one that follows it is the first by RESP3, because each goes on by two.
"""

from __future__ import annotations

import itertools
import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from model.machine_door import Door
from model.machine_flows import Flows
from model.machine_plots import Plots
from support.servers import RealServer, selected_kinds

FULL = int(os.environ.get('TORRELQUE_STEPS', '0'))
# By protocol: in length on the first kind of server, and less of what is the same on another one.
STEPS = [(2, FULL), (3, FULL)] if FULL else [
    pytest.param(2, 1000, marks=pytest.mark.one_server),
    pytest.param(2, 4000, marks=pytest.mark.long),
    pytest.param(3, 8000, marks=pytest.mark.long),
]  # fmt: skip
ELSEWHERE = FULL or 4000
STEPS_OF_FLOWS = [FULL // 10] if FULL else [150, pytest.param(2000, marks=pytest.mark.long)]
EXAMPLES = 100
EXAMPLE_STEPS = 50


@pytest.mark.timeout(0 if FULL else 1800)  # what fails is made small first
@pytest.mark.parametrize(('protocol', 'steps'), STEPS)
def test_any_order_of_calls_and_faults_is_as_the_model_has_it(
    server: RealServer, protocol: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = server.kind == selected_kinds()[0]
    run_machines(Plots, server, protocol, steps if first else min(steps, ELSEWHERE), monkeypatch)


@pytest.mark.first_server
@pytest.mark.timeout(0 if FULL else 1800)
@pytest.mark.parametrize('steps', STEPS_OF_FLOWS)
def test_flows_hold_in_any_order_of_calls_and_faults(
    server: RealServer, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_machines(Flows, server, 2, steps, monkeypatch)


def run_machines(kind: Any, server: RealServer, protocol: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    door.open(server, monkeypatch)
    kind.server, kind.protocol, kind.door = server, protocol, door
    first = int(os.environ.get('TORRELQUE_SEED') or (2 * random.randrange(2**31) if FULL else 2)) + protocol - 2
    for number in itertools.count(first, 2):
        # A run of hypothesis keeps all it has drawn: many short ones need less memory.
        machine = seed(number)(type('Machine', (kind,), {}))
        how = settings(
            max_examples=min(EXAMPLES, steps // 2 // EXAMPLE_STEPS),
            stateful_step_count=EXAMPLE_STEPS,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        try:
            run_state_machine_as_test(machine, settings=how)
        except Exception as exc:
            raise AssertionError(f'seed {number} fails') from exc
        if door.steps >= steps / 2:
            break
    # Two machines are summed up apart from one another.
    steps_of = 'steps' if kind is Plots else 'steps_of_flows'
    print(f'\n{{"{steps_of}": {door.steps}, "first": {first}, "last": {number}, "resp": {protocol}}}')
