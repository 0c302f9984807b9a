"""The checker, on made-up histories: each check finds its fault, and lets pass what only looks like one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proof.history import History, Recorder
from proof.history_checks import check_history, handed_out_twice, lost
from proof.tales import BAD, GOOD, LEASE, Tale, begun


@pytest.mark.parametrize('name', BAD)
def test_a_bad_history_is_found(name: str) -> None:
    invariant, made = BAD[name]
    assert invariant in {fault.invariant for fault in made().judge()}


@pytest.mark.parametrize('name', GOOD)
def test_a_good_history_is_accepted(name: str) -> None:
    assert GOOD[name]().judge() == []


def test_the_limits_of_repetitions_are_none_where_nothing_is_repeated() -> None:
    both = GOOD['released by both in the end, one of them asked twice']()
    assert {fault.invariant for fault in both.judge(resent=False)} == {3, 6}
    stale = begun().hand('bob', 1100, attempt=2).act('release', 'ann', 1150).act('release', 'bob', 1140)
    assert stale.judge() == []
    assert {fault.invariant for fault in stale.judge(resent=False)} == {3, 6}


# Groups


def in_group(job: int, began: float, by: str = 'p', **options: Any) -> Tale:
    return Tale().enqueue(job, began, info={'group': 'one', 'by': by, **options})


def tell(*tales: Tale) -> Tale:
    """One history of some; the keys of their calls are made different."""
    whole = Tale()
    for place, tale in enumerate(tales):
        for kind, key, *rest in tale.lines:
            who, _, number = key.partition('/')
            if kind in ('begin', 'end'):
                key = f'{who}{place}/{number}'
            whole.lines.append([kind, key, *rest])
    return whole


def test_more_of_a_group_than_its_limit_are_found() -> None:
    first = in_group(1, 0).hand('ann', 10, 1).act('release', 'ann', 100, job=1)
    second = in_group(2, 3).hand('bob', 50, 2).act('release', 'bob', 120, job=2)
    found = tell(first, second).judge(limits={'one': 1})
    assert [fault.invariant for fault in found] == [9]
    assert tell(first, second).judge(limits={'one': 2}) == []
    assert tell(first, second).judge(limits={'two': 1}) == []


@pytest.mark.parametrize('answer', [True, None])
def test_a_slot_is_free_when_its_holder_may_have_given_it_back(answer: bool | None) -> None:
    first = in_group(1, 0).hand('ann', 10, 1).act('release', 'ann', 40, answer, job=1)
    second = in_group(2, 3).hand('bob', 50, 2).act('release', 'bob', 120, job=2)
    assert tell(first, second).judge(limits={'one': 1}) == []


def test_a_slot_is_free_though_the_release_was_refused_for_the_task_was_enqueued_again() -> None:
    first = Tale().enqueue(1, 0, took=60, info={'group': 'one', 'by': 'p'}).hand('ann', 10, 1)
    first.act('release', 'ann', 20, False, job=1, took=300).hand('eve', 600, 1).act('release', 'eve', 610, job=1)
    second = in_group(2, 3, by='q').hand('bob', 50, 2).act('release', 'bob', 120, job=2)
    assert tell(first, second).judge(limits={'one': 1}) == []


@pytest.mark.parametrize(('ended', 'again', 'wrong'), [(1400, True, []), (900, True, [9]), (1400, False, [9])])
def test_a_slot_is_free_though_the_second_sending_of_a_release_came_when_the_lease_was_over(
    ended: float, again: bool, wrong: list[int]
) -> None:
    first = in_group(1, 0).hand('ann', 10, 1).act('release', 'ann', 40, False, job=1, took=ended - 40, again=again)
    second = in_group(2, 3).hand('bob', 50, 2).act('release', 'bob', 120, job=2)
    found = tell(first, second).judge(limits={'one': 1}, still=(1,))
    assert [fault.invariant for fault in found if fault.invariant == 9] == wrong


def test_a_wrong_order_is_found() -> None:
    first = in_group(1, 0).hand('ann', 500, 1).act('release', 'ann', 520, job=1)
    second = in_group(2, 3).hand('bob', 50, 2).act('release', 'bob', 60, job=2)
    assert [fault.invariant for fault in tell(first, second).judge(limits={'one': 1})] == [9]


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        ({'by': 'p'}, {'by': 'q'}),
        ({'by': 'p', 'delay': 0.3}, {'by': 'p'}),
    ],
    ids=['two producers', 'a first delay'],
)
def test_what_has_no_order_is_accepted(first: dict[str, Any], second: dict[str, Any]) -> None:
    one = in_group(1, 0, **first).hand('ann', 500, 1).act('release', 'ann', 520, job=1)
    other = in_group(2, 3, **second).hand('bob', 50, 2).act('release', 'bob', 60, job=2)
    assert tell(one, other).judge(limits={'one': 1}) == []


def test_who_was_given_back_is_handed_out_before_the_next() -> None:
    one = in_group(1, 0).hand('ann', 10, 1).act('requeue', 'ann', 20, job=1).hand('bob', 90, 1, attempt=2)
    one.act('release', 'bob', 95, job=1)
    other = in_group(2, 3).hand('eve', 50, 2).act('release', 'eve', 60, job=2)
    assert [fault.invariant for fault in tell(one, other).judge(limits={'one': 1})] == [9]


def test_what_was_dead_has_lost_its_place() -> None:
    one = in_group(1, 0, most=1).hand('ann', 500, 1, attempt=2).act('release', 'ann', 520, job=1)
    other = in_group(2, 3).hand('bob', 50, 2).act('release', 'bob', 60, job=2)
    assert tell(one, other).judge(limits={'one': 1}) == []


def test_calls_at_the_same_time_have_no_order() -> None:
    one = Tale().enqueue(1, 0, took=20, info={'group': 'one', 'by': 'p'})
    one.hand('ann', 500, 1).act('release', 'ann', 520, job=1)
    other = in_group(2, 3).hand('bob', 50, 2).act('release', 'bob', 60, job=2)
    assert tell(one, other).judge(limits={'one': 1}) == []


# What a server may lose


def test_of_a_server_that_forgets_only_what_was_confirmed_must_be_there() -> None:
    assert Tale().enqueue().judge(durable=False) == []
    assert [fault.invariant for fault in Tale().enqueue(confirmed=True).judge(durable=False)] == [5]
    assert begun().hand('bob', 500, attempt=1).judge(durable=False) == []


def test_what_is_still_in_the_queue_is_not_lost() -> None:
    assert Tale().enqueue().judge(drained=False) == []


# Reading


def test_what_is_recorded_is_read(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / 'ann', 'ann')
    call = recorder.begin('enqueue', [1, 2], group='g')
    recorder.end(call, [True, None], confirmed=True)
    hand = recorder.handed(1, attempt=1, earliest=5, latest=6, lease=LEASE)
    call = recorder.begin('release', [1], hands=[hand])
    recorder.end(call, None)
    recorder.watched(1, 3, [(0, 0, 0)], 'late')
    recorder.note('call cancelled')
    recorder.trouble(12, 'it took too long')
    recorder.begin('cancel', [2])
    with (tmp_path / 'ann').open('ab') as file:
        file.write(b'["begin","ann/9",1,')  # Its writer was killed.
    recorder.close()

    history = History.read(tmp_path.iterdir())
    one, two = history.story(1), history.story(2)
    assert one.is_acknowledged and one.is_confirmed and one.group == 'g' and one.is_finished
    assert not two.is_acknowledged and two.is_finished
    assert [hand.who for hand in history.hands] == ['ann']
    assert history.unknown == 3
    assert history.notes == {'call cancelled': 1}
    assert [(watched.job, watched.end) for watched in history.watches] == [(1, 'late')]
    assert [fault.invariant for fault in check_history(history)] == [12]


def test_sums_are_of_jobs() -> None:
    tale = tell(
        Tale().enqueue(1),
        Tale().enqueue(2).hand('ann', 10, 2).hand('bob', 20, 2, attempt=2).act('release', 'bob', 30, job=2),
        Tale().enqueue(3).hand('eve', 10, 3).act('release', 'eve', 30, job=3),
    )
    history = History(tale.lines)
    assert lost(history) == [1]
    assert handed_out_twice(history) == [2]
