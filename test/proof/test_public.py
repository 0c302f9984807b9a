"""The subset of `public` for every run."""

from __future__ import annotations

import pytest

from proof.peers import Ours
from proof.public import LEASES, run_machine
from support.servers import RealServer

# Each is many tests, and has bounds of its own.
pytestmark = pytest.mark.timeout(1800)


@pytest.mark.first_server
@pytest.mark.parametrize('steps', [60, pytest.param(300, marks=pytest.mark.long)])
def test_any_order_of_calls_and_faults_through_the_public_verbs(server: RealServer, steps: int) -> None:
    done, found = run_machine(server, Ours, LEASES['ours'], steps=steps, first=1)
    assert not found
    assert done >= steps
