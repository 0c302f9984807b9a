"""A consumer that is killed, or stopped for too long, at any of its commands."""

from __future__ import annotations

import pytest

from model.model_checks import Seen, read_dump
from proof.crash.commands import Command
from proof.crash.crashes import try_points
from proof.crash.judging import check_refusals, check_work_off
from proof.crash.stories import LEASE, draw_story, stories
from support.servers import RealServer
from torrelque import TorrelqueTaskId

# Each is many tests, and has bounds of its own.
pytestmark = pytest.mark.timeout(1800)

STORIES = sorted(stories(LEASE, 60))


@pytest.mark.first_server
@pytest.mark.parametrize('thorough', [False, pytest.param(True, marks=[pytest.mark.long, pytest.mark.one_server])])
@pytest.mark.parametrize(
    'story', [it if n % 3 == 0 else pytest.param(it, marks=pytest.mark.long) for n, it in enumerate(STORIES)]
)
def test_a_consumer_may_be_killed_or_stopped_at_any_command(server: RealServer, story: str, thorough: bool) -> None:
    # In every run, and on the other servers, before and after the commands by turns.
    figures, faults = try_points(server, part=story, step=1 if thorough else 5)
    assert not faults
    assert figures['tasks handed out again'] > 0 and figures['settled by right'] > 0


@pytest.mark.long
def test_a_story_of_any_calls(server: RealServer) -> None:
    figures, faults = try_points(server, [1], step=3)
    assert not faults
    assert figures['SIGKILL before'] + figures['SIGKILL after'] > 0


def test_stories_are_drawn_by_their_seeds() -> None:
    assert draw_story(1, LEASE, 60) == draw_story(1, LEASE, 60) != draw_story(2, LEASE, 60)


# The checks see


def _seen(end: int = 2000, attempt: int = 1, status: str = '1') -> Seen:
    fields = {'status': status, 'dequeue_count': str(attempt), 'last_dequeue_time': '1000', 'group': 'g', 'order': '2'}
    pairs = [word.encode() for pair in fields.items() for word in pair]
    return read_dump([
        [b'working', b'zset', [b'a', str(end).encode()], -1],
        [b'tasks', b'hash', [b'a', b'7'], -1],
        [b'task:a', b'hash', pairs, -1],
        [b'limits', b'hash', [b'g', b'{"concurrency":1}'], -1],
    ])  # fmt: skip


def test_a_refusal_that_changes_a_byte_is_found() -> None:
    lost = Command('touch', False, [('a', '1-1000')])
    assert not [*check_refusals(lost, ['lease_lost'], _seen(attempt=2), _seen(attempt=2))]
    assert [*check_refusals(lost, ['lease_lost'], _seen(attempt=2), _seen(end=3000, attempt=2))]
    assert [*check_refusals(lost, ['ok'], _seen(attempt=2), _seen(attempt=2))]


def test_a_right_that_is_not_granted_is_found() -> None:
    own = Command('touch', False, [('a', '1-1000')])
    assert not [*check_refusals(own, ['ok'], _seen(), _seen(end=3000))]
    assert [*check_refusals(own, ['lease_lost'], _seen(), _seen())]


@pytest.mark.parametrize(
    ('got', 'complaint'),
    [
        ([('a', 2, '2-2000', 7)], ''),
        ([('a', 2, '2-1999', 7)], 'before its lease'),
        ([('a', 2, '2-2000', 8)], 'was handed out of'),
        ([('a', 2, '2-2000', 7), ('a', 3, '3-2500', 7)], 'was handed out of'),
        ([], 'was handed out of'),
    ],
)
def test_tasks_that_are_handed_out_wrongly_are_found(got: list[tuple[str, int, str, int]], complaint: str) -> None:
    deliveries = [(TorrelqueTaskId(task_id, attempt, token, 'g'), job) for task_id, attempt, token, job in got]
    faults = [*check_work_off(_seen(), deliveries, set())]
    assert bool(faults) is bool(complaint) and all(complaint in fault for fault in faults)
