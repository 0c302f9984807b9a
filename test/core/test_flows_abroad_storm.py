"""Flows over two queues under random calls, whose replies may be lost, carried by clients that may die.

`TORRELQUE_STORMS` is how many there are on each server, in pieces of `PIECE`, `TORRELQUE_SEED` the number of the first.
"""

from __future__ import annotations

import os

import pytest

from support.blowing import blow_all
from support.servers import RealServer
from support.wandering import Wandering

FULL = int(os.environ.get('TORRELQUE_STORMS', '5'))
FIRST = int(os.environ.get('TORRELQUE_SEED', '1000'))
PIECE = min(25, FULL)


@pytest.mark.first_server
def test_flows_over_two_queues_hold_in_a_storm(server: RealServer) -> None:
    with server.sync_client() as client:
        Wandering(client, 1).blow(60)


@pytest.mark.long
@pytest.mark.timeout(1800)  # what goes on, on a busy machine, stays far below
@pytest.mark.parametrize('start', range(FIRST, FIRST + FULL, PIECE))
def test_flows_over_two_queues_hold_in_many_storms(server: RealServer, start: int) -> None:
    blow_all(Wandering, server, range(start, start + PIECE))
