"""The subset of `public` for every run."""

from peers import Ours
from public import LEASES, run_machine
from servers import RealServer


def test_any_order_of_calls_and_faults_through_the_public_verbs(server: RealServer) -> None:
    steps, found = run_machine(server, Ours, LEASES['ours'], steps=300, first=1)
    assert not found
    assert steps >= 300
