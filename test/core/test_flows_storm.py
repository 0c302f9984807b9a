"""Flows under random calls, whose replies may be lost: what must hold between them, and that each flow ends.

`TORRELQUE_STORMS` is how many there are on each server, in pieces of `PIECE`, `TORRELQUE_SEED` the number of the first.
"""

from __future__ import annotations

import os

import pytest

from support.blowing import blow_all
from support.servers import RealServer
from support.storming import Storm
from torrelque import TorrelqueNode as Node, TorrelqueTaskStatus as Status
from torrelque.protocol import flows
from torrelque.protocol.steps import Walk

FULL = int(os.environ.get('TORRELQUE_STORMS', '10'))
FIRST = int(os.environ.get('TORRELQUE_SEED', '1000'))
PIECE = min(50, FULL)


@pytest.mark.first_server
@pytest.mark.long
def test_flows_hold_in_a_storm(server: RealServer) -> None:
    blow_all(Storm, server, range(3))


@pytest.mark.long
@pytest.mark.timeout(1800)  # what goes on, on a busy machine, stays far below
@pytest.mark.parametrize('start', range(FIRST, FIRST + FULL, PIECE))
def test_flows_hold_in_many_storms(server: RealServer, start: int) -> None:
    blow_all(Storm, server, range(start, start + PIECE))


def test_what_has_had_the_one_end_it_waits_for_begins_whatever_is_added_meanwhile(
    server: RealServer,
) -> None:
    """It is behind the gate, because the call that adds it has no room; another one is added before it, and fails."""
    with server.sync_client() as client:
        storm = Storm(client, 1)
        storm.budget, storm.loss = 1, 0

        def add(*nodes: Node) -> None:
            walk = Walk(flows.add_to_flow(storm.calls, nodes, storm.held['f.b'], 60))
            assert walk.go_on(None) and walk.go_on(b'f')
            assert storm.call('add', walk.args) == b'ok'

        storm.flows['f'] = 'wait'
        nodes = [Node('a', 1), Node('b', 2)]
        flow = flows.new_flow(storm.calls, nodes, 60, None, 'f', None, 'wait', (), None, 100)
        storm.run(flows.make_flow(storm.calls, flow))
        while len(storm.held) < 2:
            storm.spread()
            storm.claim()
        storm.call('release', storm.calls.release(storm.held.pop('f.a'), None, None, Status.COMPLETED, 50).args)
        add(*(Node(name, 1, {'a': 'then', 'b': 'then'}, 'any') for name in ('first', 'late')))
        add(Node('x', 1, before=['late']))
        assert storm.state('f.late')['status'] == '7'
        storm.call('cancel', storm.calls.cancel('f.x').args)
        storm.finish()
        assert storm.ended['f.late'] == 'c'
