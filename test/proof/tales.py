"""Histories that are made up, bad ones with the invariant that they break, and good ones that look like it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from proof.history import History
from proof.history_checks import check_history
from proof.invariants import Fault

LEASE = 1000.0


class Tale:
    """A history that is made up, line by line; times in ms."""

    def __init__(self) -> None:
        self.lines: list[list[Any]] = []
        self._numbers = itertools.count()

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

    def watch(self, *states: tuple[int, int, int], end: str = 'left', job: int = 1, began: float = 0) -> Tale:
        self.lines.append(['watch', f'w/{next(self._numbers)}', 900, job, began, [*states], end])
        return self

    def judge(self, **options: Any) -> list[Fault]:
        return [*check_history(History(self.lines), **options)]


def begun() -> Tale:
    """A job that was enqueued and handed to Ann."""
    return Tale().enqueue().hand('ann', 10)


def begun_early() -> Tale:
    """A job that was handed to Ann while the enqueue, which was sent again, had not answered."""
    return Tale().enqueue(took=100).hand('ann', 10)


Made = Callable[[], Tale]

BAD: dict[str, tuple[int, Made]] = {
    'acknowledged, never handed out': (5, lambda: Tale().enqueue()),
    'handed out, given back, never again': (5, lambda: begun().act('requeue', 'ann', 20)),
    'released by who was refused': (5, lambda: begun().act('release', 'ann', 1200, False, again=False)),
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
    'released by who has lost it, when another had, in a call sent once': (
        3,
        lambda: (
            begun()
            .hand('bob', 1100, attempt=2)
            .act('release', 'bob', 1150)
            .act('release', 'ann', 1160, again=False)
        ),
    ),
    'released by who has lost it, when it was cancelled': (
        3,
        lambda: begun().hand('bob', 1100, attempt=2).call('cancel', 1, 1110).act('release', 'ann', 1120),
    ),
    'released by who had given it back': (3, lambda: begun().act('requeue', 'ann', 20).act('release', 'ann', 30)),
    'touched by who was to be told that it is cancelled': (
        3,
        lambda: begun().call('cancel', 1, 15).act('touch', 'ann', 20).act('release', 'ann', 30, False),
    ),
    'released and cancelled': (6, lambda: begun().act('release', 'ann', 20, took=20).call('cancel', 1, 30)),
    'not cancelled, for no reason': (
        6,
        lambda: Tale().enqueue().call('cancel', 1, 5, False).hand('ann', 10).act('release', 'ann', 20),
    ),
    'handed out though requeue was refused, which was sent once': (
        4,
        lambda: (
            begun()
            .act('requeue', 'ann', 20, False, took=100, again=False)
            .hand('bob', 30, attempt=2)
            .act('release', 'bob', 40)
        ),
    ),
    'handed out though requeue was refused, and cancelled': (
        4,
        lambda: (
            begun().act('requeue', 'ann', 20, False, took=100).hand('bob', 50, attempt=2).call('cancel', 1, 60)
        ),
    ),
    'refused while a slow enqueue, sent once, was on its way': (
        6,
        lambda: (
            Tale()
            .enqueue(took=100, again=False)
            .hand('ann', 10)
            .act('release', 'ann', 20, False)
            .hand('bob', 1100, attempt=2)
            .act('release', 'bob', 1110)
        ),
    ),
    'a second life without a second enqueue': (
        6,
        lambda: (
            Tale()
            .enqueue(took=100, again=False)
            .hand('ann', 10)
            .act('release', 'ann', 20)
            .hand('bob', 60)
            .act('release', 'bob', 70)
        ),
    ),
    'handed out twice in a second life': (
        4,
        lambda: (
            Tale()
            .enqueue(took=100)
            .hand('ann', 10)
            .act('release', 'ann', 20)
            .hand('bob', 60)
            .hand('eve', 90, attempt=2)
            .act('release', 'eve', 95)
        ),
    ),
    'lost, and who had lost it before has perhaps released it': (
        5,
        lambda: (
            begun().hand('bob', 1100, attempt=2).act('requeue', 'bob', 1110).act('release', 'ann', 1200, None)
        ),
    ),
    'lost, and who had given it back has perhaps released it': (
        5,
        lambda: begun().act('requeue', 'ann', 20).act('release', 'ann', 30, None),
    ),
    'lost, and a release within the lease was refused': (
        5,
        lambda: begun().act('release', 'ann', 20, False, again=True),
    ),
    'lost, and a release after the lease was refused in a call sent once': (
        5,
        lambda: begun().act('release', 'ann', 1500, False, again=False),
    ),
    'refused as a duplicate of itself when it was handed out once': (
        6,
        lambda: Tale().enqueue(took=100, duplicate=True).hand('ann', 10).act('release', 'ann', 120),
    ),
    'enqueued twice by one id': (
        6,
        lambda: Tale().enqueue().enqueue(began=5).hand('ann', 10).act('release', 'ann', 20),
    ),
    'handed out before it was due': (
        10,
        lambda: Tale().enqueue(info={'delay': 0.3}).hand('ann', 10).act('release', 'ann', 20),
    ),
    'handed out again before it was due': (
        10,
        lambda: (
            begun()
            .act('requeue', 'ann', 20, info={'delay': 0.3})
            .hand('bob', 100, attempt=2)
            .act('release', 'bob', 110)
        ),
    ),
    'a watch that goes back': (
        11,
        lambda: begun().act('bury', 'ann', 20).call('cancel', 1, 30).watch((0, 1, 0), (5, 1, 0)),
    ),
    'a watch of what has been returned, and was not': (
        11,
        lambda: begun().act('release', 'ann', 20).watch((0, 1, 0)),
    ),
    'a watch of what cannot be': (11, lambda: begun().act('release', 'ann', 20).watch((1, 0, 0))),
    'a watch that ended before anybody finished the task': (
        11,
        lambda: begun().act('release', 'ann', 950).watch((3, 1, 0), end='final'),
    ),
    'a watch that ended as cancelled': (
        11,
        lambda: begun().act('release', 'ann', 20).watch((6, 1, 0), end='final'),
    ),
    'a watch that began with what had been': (
        11,
        lambda: begun().act('release', 'ann', 20).watch((0, 0, 0), began=15),
    ),
    'a watch that began after the end': (
        11,
        lambda: begun().act('release', 'ann', 20).watch((1, 1, 0), began=30),
    ),
}

GOOD: dict[str, Made] = {
    'released': lambda: begun().act('release', 'ann', 20),
    'released after the lease in a call sent twice': lambda: begun().act('release', 'ann', 1500, False, again=True),
    'released in a call of which nobody heard': lambda: begun().act('release', 'ann', 20, took=None),
    'released in a call that raised': lambda: begun().act('release', 'ann', 20, None),
    'never acknowledged, and not there': lambda: Tale().enqueue(answer=None),
    'never acknowledged, and there': lambda: Tale().enqueue(answer=None).hand('ann', 10).act('release', 'ann', 20),
    'refused, and not there': lambda: Tale().enqueue(answer=False),
    'the producer was killed in the call': lambda: Tale().enqueue(took=None).hand('ann', 9).act('release', 'ann', 20),
    'cancelled': lambda: Tale().enqueue().call('cancel', 1, 5),
    'not cancelled, and perhaps never enqueued': lambda: Tale().enqueue(answer=None).call('cancel', 1, 5, False),
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
        begun_early().act('release', 'ann', 20).hand('bob', 60, attempt=1).act('release', 'bob', 70)
    ),
    'enqueued again by a repetition, watched, and cancelled before anybody had it': lambda: (
        begun_early().act('release', 'ann', 20).call('cancel', 1, 110).watch((6, 0, 0), end='final', began=120)
    ),
    'the same, and the release was sent twice, too': lambda: (
        begun_early()
        .act('release', 'ann', 20, False, took=200)
        .hand('bob', 90, attempt=1)
        .act('release', 'bob', 110)
    ),
    'the same, and the hand-out came after all answers': lambda: (
        begun_early()
        .act('release', 'ann', 20, False, took=60)
        .hand('bob', 90, attempt=1)
        .act('release', 'bob', 110)
    ),
    'a duplicate of a call that raised': lambda: (
        Tale().enqueue(answer=None).enqueue(began=5, duplicate=True).hand('ann', 10).act('release', 'ann', 20)
    ),
    'a duplicate of itself that was given back often before the repetition': lambda: (
        Tale()
        .enqueue(took=100, duplicate=True)
        .hand('ann', 10)
        .act('requeue', 'ann', 20)
        .hand('bob', 60, attempt=5)
        .act('release', 'bob', 120)
    ),
    'enqueued again, and finished before': lambda: (
        Tale()
        .enqueue()
        .hand('ann', 10)
        .act('release', 'ann', 20)
        .enqueue(began=30)
        .hand('bob', 40)
        .act('release', 'bob', 50)
    ),
    'not cancelled, for it was released': lambda: begun().act('release', 'ann', 20).call('cancel', 1, 30, False),
    'released in a first life, cancelled in a second': lambda: (
        Tale().enqueue(took=100).hand('ann', 10).act('release', 'ann', 20).call('cancel', 1, 110)
    ),
    'dead, then redriven before its delay': lambda: (
        Tale()
        .enqueue(info={'most': 1})
        .hand('ann', 10)
        .act('requeue', 'ann', 20, info={'delay': 0.3})
        .hand('bob', 100, attempt=2)
        .act('release', 'bob', 110)
    ),
    'watched while it was buried and redriven': lambda: (
        begun().act('bury', 'ann', 20).hand('bob', 500, attempt=2).act('release', 'bob', 510).watch(
            (1, 1, 0), (5, 1, 0), (0, 1, 0), (1, 2, 0), end='gone'
        )
    ),
    'attempts of which nobody heard': lambda: (
        Tale().enqueue().hand('ann', 10, attempt=3).hand('bob', 1500, attempt=7).act('release', 'bob', 1600)
    ),
    'watched to the end': lambda: (
        begun().act('release', 'ann', 20).watch((2, 0, 0), (0, 0, 0), (1, 1, 0), (3, 1, 0), end='final')
    ),
    'watched until it was gone, in a call that raised': lambda: (
        begun().act('release', 'ann', 20, None).watch((1, 1, 0), end='gone')
    ),
    'watched, and left': lambda: begun().act('release', 'ann', 20).watch((1, 1, 0), (0, 1, 1), end='left'),
}
