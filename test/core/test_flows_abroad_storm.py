"""Flows over two queues under random calls, whose replies may be lost, carried by clients that may die.

`TORRELQUE_STORMS` is how many there are on each server, in pieces of `PIECE`.
"""

from __future__ import annotations

import os

import pytest
import redis

from support.servers import RealServer
from support.wandering import Wandering

PIECE = 25
FULL = int(os.environ.get('TORRELQUE_STORMS', '50'))


def storms(server: RealServer, seeds: range) -> None:
    with server.sync_client() as client:
        for seed in seeds:
            storm = Wandering(client, seed)
            try:
                storm.blow(storm.random.choice([60, 150, 300]))
            except (AssertionError, redis.RedisError) as exc:
                raise AssertionError(f'storm {seed}') from exc


@pytest.mark.first_server
def test_flows_over_two_queues_hold_in_a_storm(server: RealServer) -> None:
    with server.sync_client() as client:
        Wandering(client, 1).blow(60)


@pytest.mark.long
@pytest.mark.parametrize('start', range(1000, 1000 + FULL, PIECE))
def test_flows_over_two_queues_hold_in_many_storms(server: RealServer, start: int) -> None:
    storms(server, range(start, start + PIECE))
