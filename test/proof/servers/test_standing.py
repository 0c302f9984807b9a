"""The server is killed, replaced by its replica, or its slots are moved, while work goes on: what every run does."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from proof.history import History
from proof.history_checks import check_history
from proof.servers import cluster, durability, failover, restart, standing
from proof.servers.standing import Gap, Outcome, Run
from proof.tales import Tale

# Each is many tests, and has bounds of its own.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    # What is lost and found again is told in thousands of lines.
    logger = logging.getLogger('torrelque')
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


async def do(run: Run, seeds: Sequence[int], **chosen: Any) -> Outcome:
    """Runs at once; they wait more than they work."""
    outcome = Outcome()
    options = argparse.Namespace(**{'seconds': 2.0, **chosen})
    for one in await asyncio.gather(*(standing.run_once(run, options, seed) for seed in seeds)):
        outcome.add(one)
    print(outcome.figures())
    assert not outcome.faults, '\n'.join(map(str, outcome.faults[:20]))
    assert outcome.runs == len(seeds) and outcome.acknowledged > 10 * len(seeds)
    return outcome


@pytest.mark.first_server
async def test_a_killed_server_that_syncs_always_loses_nothing(server_kind: str) -> None:
    outcome = await do(restart.run, range(3), server=server_kind, fsync='always', crash='process')
    assert outcome.lost == 0


@pytest.mark.long
async def test_a_killed_server_that_syncs_every_second_loses_what_it_may(server_kind: str) -> None:
    await do(restart.run, range(2), server=server_kind, fsync='everysec', crash='half')


@pytest.mark.first_server
@pytest.mark.long
async def test_a_failover_loses_what_the_replica_had_not(server_kind: str) -> None:
    outcome = await do(failover.run, range(2), server=server_kind, lag='half')
    assert outcome.confirmed > 10
    assert outcome.lost_confirmed == 0


@pytest.mark.first_server
@pytest.mark.long
async def test_moving_slots_loses_nothing(server_kind: str) -> None:
    outcome = await do(cluster.run, [1], server=server_kind)
    assert outcome.disturbances > 2
    assert outcome.lost == 0


@pytest.mark.long
async def test_settings_that_keep_what_they_are_said_to_keep(server_kind: str) -> None:
    full, evicting, bare, confirmed = await asyncio.gather(
        durability.memory(server_kind, 'noeviction', busy=True),
        durability.memory(server_kind, 'volatile-lru', busy=True),
        durability.nothing_kept(server_kind),
        durability.confirmed_one_by_one(server_kind),
    )
    assert full['enqueue_refused'] and full['handed_out'] == full['acknowledged']
    assert evicting['evicted'] and evicting['handed_out'] == evicting['acknowledged']
    assert full['goes_on'] and evicting['goes_on'] and bare['goes_on']
    assert confirmed['confirmed'] >= 50 and confirmed['lost_confirmed'] == 0


# The gap


def write(story: Sequence[tuple[Any, ...]]) -> History:
    """A history of one job: (verb, begin, end) with an attempt before the end for a hand-out, which then holds."""
    lines: list[list[Any]] = []
    hand = ''
    for number, (verb, begin, *rest) in enumerate(story):
        key = f'w{number}'
        if verb == 'hand':
            hand = key
            lines.append(['hand', key, begin, 1, rest[0], begin, begin, 1000, {}])
        else:
            hands = [] if verb in ('enqueue', 'cancel') else [hand]
            lines.append(['begin', key, begin, verb, [1], hands, {}])
            lines.append(['end', key, rest[0], [True], {}])
    return History(lines)


STORIES: dict[str, list[tuple[Any, ...]]] = {
    'lost': [('enqueue', 100, 110)],
    'handed out again after its release': [
        ('enqueue', 10, 20), ('hand', 50, 1), ('release', 100, 110), ('hand', 300, 2), ('release', 310, 320)
    ],
    'handed to two': [
        ('enqueue', 10, 20), ('hand', 105, 1), ('hand', 300, 1), ('release', 310, 320)
    ],
    'given back': [
        ('enqueue', 10, 20), ('hand', 50, 1), ('requeue', 100, 110), ('hand', 120, 2), ('hand', 1100, 2),
        ('release', 1110, 1120)
    ],
}  # fmt: skip


@pytest.mark.parametrize('name', STORIES)
def test_what_was_answered_in_the_gap_may_be_lost(name: str) -> None:
    history = write(STORIES[name])
    assert [*check_history(history)]
    assert not standing.forget(history, Gap(100, 200))
    assert not [*check_history(history)]


@pytest.mark.parametrize('name', STORIES)
@pytest.mark.parametrize('gap', [Gap(0, 5), Gap(150, 200)])
def test_what_was_answered_before_the_gap_must_be_kept(name: str, gap: Gap) -> None:
    history = write(STORIES[name])
    standing.forget(history, gap)
    assert [*check_history(history)]


@pytest.mark.parametrize(('handed', 'verb', 'faults'), [(105, 'bury', []), (105, 'requeue', []), (50, 'requeue', [9])])
def test_what_was_handed_out_in_the_gap_has_no_order(handed: float, verb: str, faults: list[int]) -> None:
    """One of a bulk call was buried, in the gap, and redriven, for all that is known."""
    lines = [
        ['begin', 'p/1', 0, 'enqueue', [1, 2], [], {'group': 'one', 'by': 'p'}],
        ['end', 'p/1', 2, [True, True], {}],
        *Tale().hand('ann', handed, 1).act(verb, 'ann', handed + 5, job=1).lines,
        *Tale().hand('bob', 300, 2).act('release', 'bob', 310, job=2).lines,
        *Tale().hand('eve', 500, 1, attempt=2).act('release', 'eve', 510, job=1).lines,
    ]
    for place, line in enumerate(lines[2:]):
        # Keys of calls are of each tale by itself.
        line[1] = f'{place // 3}{line[1]}' if line[0] != 'hand' else line[1]
    history = History(lines)
    standing.forget(history, Gap(100, 200))
    assert [fault.invariant for fault in check_history(history, limits={'one': 1})] == faults


def test_who_was_handed_a_task_in_the_gap_is_refused_when_it_went_to_another() -> None:
    history = write([('enqueue', 10, 20), ('hand', 105, 1), ('touch', 150, 250), ('hand', 300, 1), ('hand', 400, 2)])
    assert [fault.invariant for fault in standing.forget(history, Gap(100, 200))] == [3]


def test_a_confirmed_task_that_is_lost_is_a_fault_whatever_the_gap() -> None:
    history = write(STORIES['lost'])
    history.stories[1].enqueues[0].info['confirmed'] = True
    outcome = Outcome()
    standing.judge(outcome, history, gap=Gap(0, 1000))
    assert outcome.lost_confirmed == 1
    assert [fault.invariant for fault in outcome.faults] == [5]
