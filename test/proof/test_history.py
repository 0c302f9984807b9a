"""The checker, on made-up histories: each check finds its fault, and lets pass what only looks like one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from history import History, Recorder
from invariants import Fault, check_history, handed_out_twice, lost

LEASE = 1000.0


class Tale:
    """A history that is made up, line by line; times in ms."""

    def __init__(self) -> None:
        self.lines: list[list[Any]] = []
        self._numbers = itertools.count()
        self._enqueued: set[int] = set()

    def call(
        self,
        verb: str,
        job: int,
        began: float,
        answer: bool | None = True,
        *,
        hand: str = '',
        took: float | None = 2,
        info: dict[str, Any] | None = None,
        **end: Any,
    ) -> Tale:
        """A call and its answer; without one if it took None."""
        key = f'a/{next(self._numbers)}'
        self.lines.append(['begin', key, began, verb, [job], [hand] if hand else [], info or {}])
        if took is not None:
            self.lines.append(['end', key, began + took, None if answer is None else [answer], end])
        return self

    def enqueue(self, job: int = 1, began: float = 0, answer: bool | None = True, **options: Any) -> Tale:
        return self.call('enqueue', job, began, answer, **options)

    def hand(self, name: str, at: float, job: int = 1, attempt: int | None = 1, latest: float | None = None) -> Tale:
        latest = at if latest is None else latest
        self.lines.append(['hand', f'{name}/1', at + 1, job, attempt, at, latest, LEASE, {}])
        return self

    def act(self, verb: str, name: str, began: float, answer: bool | None = True, job: int = 1, **options: Any) -> Tale:
        return self.call(verb, job, began, answer, hand=f'{name}/1', **options)

    def watch(self, *states: tuple[int, int, int], end: str = 'left', job: int = 1) -> Tale:
        self.lines.append(['watch', f'w/{next(self._numbers)}', 900, job, 0, [*states], end])
        return self

    def judge(self, **options: Any) -> list[Fault]:
        return [*check_history(History(self.lines), **options)]


def begun() -> Tale:
    """A job that was enqueued and handed to Ann."""
    return Tale().enqueue().hand('ann', 10)


Made = Callable[[], Tale]

BAD: dict[str, tuple[int, Made]] = {
    'acknowledged, never handed out': (5, lambda: Tale().enqueue()),
    'handed out, given back, never again': (5, lambda: begun().act('requeue', 'ann', 20)),
    'released by who was refused': (5, lambda: begun().act('release', 'ann', 1200, False)),
    'never enqueued': (6, lambda: Tale().enqueue(answer=False).hand('ann', 10).act('release', 'ann', 20)),
    'handed out twice': (4, lambda: begun().hand('bob', 500, attempt=2).act('release', 'bob', 510)),
    'handed out twice at the end of a renewed lease': (
        4,
        lambda: begun().act('touch', 'ann', 900).hand('bob', 1500, attempt=2).act('release', 'bob', 1510),
    ),
    'handed out twice by a claim whose time is not known': (
        4,
        lambda: begun().hand('bob', 900, attempt=None, latest=1000).act('release', 'bob', 1005),
    ),
    'handed out though requeue was refused': (
        4,
        lambda: begun().act('requeue', 'ann', 20, False).hand('bob', 100, attempt=2).act('release', 'bob', 1300),
    ),
    'touched by who has lost it': (
        3,
        lambda: begun().hand('bob', 1100, attempt=2).act('touch', 'ann', 1200).act('release', 'bob', 1300),
    ),
    'released by who has lost it': (
        3,
        lambda: begun().hand('bob', 1100, attempt=2).act('release', 'ann', 1200).act('release', 'bob', 1300, False),
    ),
    'given back by who has lost it': (
        3,
        lambda: begun().hand('bob', 1100, attempt=2).act('requeue', 'ann', 1200).act('release', 'bob', 1300),
    ),
    'attempts that go down': (
        3,
        lambda: Tale().enqueue().hand('ann', 10, attempt=2).hand('bob', 1500, attempt=1).act('release', 'bob', 1600),
    ),
    'the same attempt twice': (
        3,
        lambda: begun().hand('bob', 1500, attempt=1).act('release', 'bob', 1600),
    ),
    'refused while it holds the task': (6, lambda: begun().act('release', 'ann', 20, False).act('touch', 'ann', 10)),
    'released twice by one': (6, lambda: begun().act('release', 'ann', 20).act('release', 'ann', 30)),
    'handed out after it was released': (
        6,
        lambda: begun().act('release', 'ann', 20).hand('bob', 100, attempt=2),
    ),
    'handed out after it was cancelled': (
        6,
        lambda: Tale().enqueue().call('cancel', 1, 5).hand('ann', 10).act('release', 'ann', 20, False),
    ),
    'refused as a duplicate of itself': (
        6,
        lambda: Tale().enqueue(duplicate=True).hand('ann', 10).act('release', 'ann', 20),
    ),
    'watched after its end': (11, lambda: begun().act('release', 'ann', 20).watch((3, 1, 0), (1, 1, 0))),
    'counts that go down': (11, lambda: begun().act('release', 'ann', 20).watch((1, 2, 1), (0, 1, 1))),
    'a watch that ended before the task': (11, lambda: begun().watch((1, 1, 0), end='gone')),
}

GOOD: dict[str, Made] = {
    'released': lambda: begun().act('release', 'ann', 20),
    'released in a call of which nobody heard': lambda: begun().act('release', 'ann', 20, took=None),
    'released in a call that raised': lambda: begun().act('release', 'ann', 20, None),
    'never acknowledged, and not there': lambda: Tale().enqueue(answer=None),
    'never acknowledged, and there': lambda: Tale().enqueue(answer=None).hand('ann', 10).act('release', 'ann', 20),
    'refused, and not there': lambda: Tale().enqueue(answer=False),
    'the producer was killed in the call': lambda: Tale().enqueue(took=None).hand('ann', 9).act('release', 'ann', 20),
    'cancelled': lambda: Tale().enqueue().call('cancel', 1, 5),
    'cancelled in a call that raised': lambda: Tale().enqueue().call('cancel', 1, 5, None),
    'cancelled while somebody works': lambda: begun().call('cancel', 1, 15).act('release', 'ann', 20, False),
    'handed out while it is cancelled': lambda: (
        Tale().enqueue().call('cancel', 1, 5, took=20).hand('ann', 10).act('release', 'ann', 30, False)
    ),
    'handed out when the lease had ended': lambda: (
        begun().hand('bob', 1010, attempt=2).act('release', 'bob', 1020).act('release', 'ann', 1030, False)
    ),
    'handed out within the rounding': lambda: begun().hand('bob', 1009.5, attempt=2).act('release', 'bob', 1020),
    'a claim that may have been late enough': lambda: (
        begun().hand('bob', 900, attempt=None, latest=1010).act('release', 'bob', 1020)
    ),
    'renewed, perhaps': lambda: (
        begun().act('touch', 'ann', 900, None).hand('bob', 1500, attempt=2).act('release', 'bob', 1510)
    ),
    'given back, and at once with another': lambda: (
        begun().act('requeue', 'ann', 20).hand('bob', 20.5, attempt=2).act('release', 'bob', 30)
    ),
    'given back in a call that raised': lambda: (
        begun().act('requeue', 'ann', 20, None).hand('bob', 50, attempt=2).act('release', 'bob', 60)
    ),
    'not given back in a call that raised': lambda: (
        begun().act('requeue', 'ann', 20, None).hand('bob', 1050, attempt=2).act('release', 'bob', 1060)
    ),
    'given back twice': lambda: (
        begun()
        .act('requeue', 'ann', 20)
        .act('release', 'ann', 30, False)
        .hand('bob', 40, attempt=2)
        .act('release', 'bob', 50)
    ),
    'refused, for nobody knows who has it': lambda: (
        begun().act('release', 'ann', 1100, False).hand('bob', 2500, attempt=3).act('release', 'bob', 2600)
    ),
    'released by both in the end, one of them asked twice': lambda: (
        begun().hand('bob', 1100, attempt=2).act('release', 'bob', 1150).act('release', 'ann', 1140, took=100)
    ),
    'refused what was done, for another had finished it before the repetition': lambda: (
        begun()
        .act('requeue', 'ann', 20, False, took=100)
        .hand('bob', 30, attempt=2)
        .act('release', 'bob', 40)
    ),
    'enqueued again by a repetition after it was finished': lambda: (
        Tale()
        .enqueue(took=100)
        .hand('ann', 10)
        .act('release', 'ann', 20)
        .hand('bob', 60, attempt=1)
        .act('release', 'bob', 70)
    ),
    'the same, and the release was sent twice, too': lambda: (
        Tale()
        .enqueue(took=100)
        .hand('ann', 10)
        .act('release', 'ann', 20, False, took=200)
        .hand('bob', 90, attempt=1)
        .act('release', 'bob', 110)
    ),
    'the same, and the hand-out came after all answers': lambda: (
        Tale()
        .enqueue(took=100)
        .hand('ann', 10)
        .act('release', 'ann', 20, False, took=60)
        .hand('bob', 90, attempt=1)
        .act('release', 'bob', 110)
    ),
    'a duplicate of a call that raised': lambda: (
        Tale().enqueue(answer=None).enqueue(began=5, duplicate=True).hand('ann', 10).act('release', 'ann', 20)
    ),
    'a duplicate of itself that was handed out before the repetition': lambda: (
        Tale().enqueue(took=100, duplicate=True).hand('ann', 10).act('release', 'ann', 120)
    ),
    'attempts of which nobody heard': lambda: (
        Tale().enqueue().hand('ann', 10, attempt=3).hand('bob', 1500, attempt=7).act('release', 'bob', 1600)
    ),
    'watched to the end': lambda: (
        begun().act('release', 'ann', 20).watch((0, 0, 0), (1, 1, 0), (3, 1, 0), end='final')
    ),
    'watched until it was gone, in a call that raised': lambda: (
        begun().act('release', 'ann', 20, None).watch((1, 1, 0), end='gone')
    ),
    'watched, and left': lambda: begun().act('release', 'ann', 20).watch((1, 1, 0), (0, 1, 1), end='left'),
}


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


def test_who_was_handed_out_before_and_lost_on_the_way_is_in_order() -> None:
    one = in_group(1, 0).hand('ann', 500, 1, attempt=2).act('release', 'ann', 520, job=1)
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
