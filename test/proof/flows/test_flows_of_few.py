"""Every flow of two tasks, and of three, as far as the time goes; all of it by ``python -m proof.flows``."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proof.flows.exhaust import Plan, plans, try_all
from proof.flows.shapes import Shape, shapes
from support.servers import RealServer


def check(server: RealServer, tried: Sequence[Plan], most: int) -> None:
    """Try all of it, and see that as much as that was tried."""
    figures, faults = try_all(server, tried)
    assert not faults
    assert figures['steps'] > most


@pytest.mark.first_server
def test_flows_of_two_tasks_end_as_the_table_says(server: RealServer) -> None:
    check(server, plans(2, ['last', 'ends', 'drafts'], 0, 1), 1500)


@pytest.mark.first_server
def test_flows_of_three_tasks_end_as_the_table_says(server: RealServer) -> None:
    check(server, plans(3, ['last'], 15, 1), 3000)


@pytest.mark.first_server
@pytest.mark.long
def test_flows_of_two_tasks_end_as_the_table_says_whatever_happens(server: RealServer) -> None:
    tried = [plan for plan in plans(2, [], 0, 1) if plan[0] not in ('stops and deaths', 'stops and crashes')]
    check(server, tried, 10_000)


@pytest.mark.first_server
@pytest.mark.long
def test_all_flows_of_three_tasks_end_as_the_table_says(server: RealServer) -> None:
    check(server, plans(3, ['plain'], 0, 1), 60_000)


@pytest.mark.first_server
@pytest.mark.long
@pytest.mark.whole
def test_some_flows_of_three_tasks_end_as_the_table_says_with_a_crash_at_each_step(server: RealServer) -> None:
    check(server, [*plans(3, ['crashes'], 6, 1), *plans(3, ['drafts and crashes'], 2, 1)], 15_000)


def test_shapes_are_there_once_whatever_their_tasks_are_called() -> None:
    # Two tasks: apart, or with one of three edges; a join of one is a shape of its own where that is asked for.
    assert [len(shapes(2, single)) for single in (False, True)] == [4, 7]
    # So many graphs without circles there are of one to three points.
    def is_plain(shape: Shape) -> bool:
        return not any(part.any for part in shape) and {kind for part in shape for _, kind in part.after} <= {'then'}

    assert [sum(map(is_plain, shapes(count, False))) for count in (1, 2, 3)] == [1, 2, 6]
