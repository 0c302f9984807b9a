"""The keys of a queue as a model has them, and what its scripts share.

Tasks are the numbers 0, 1, ...; a set of tasks is a number with their bits.  Groups are numbered likewise, and what may
be paused are the groups and, behind the last of them, the queue.  Time is abstract: of a lease or a delay it is known
whether it has ended, of a group with a rate whether its bucket is dry, of a pause whether its probe may come.  `tokens`
never go back, also where an id is used again: in the queue the time of the claim is a part of the token.  What is
true of the world outside and cannot be read from the keys (`out`, `final`) is written here too, by what really was
done, and no transition looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator

UNKNOWN, PENDING, WORKING, DELAYED, DEAD, CANCELLED = range(6)
"""States of a task.  One that was released is unknown."""

REPLIES = ('', 'ok', 'dead', 'cancelled', 'lease_lost', 'not_working', 'unknown', 'duplicate')
OK, IS_DEAD, IS_CANCELLED, LEASE_LOST, NOT_WORKING, IS_UNKNOWN, DUPLICATE = range(1, len(REPLIES))

URGENT = 1000
"""By so much the order of a task is lower for each step of its priority, so that numbers do not come into it."""

RELEASE, REQUEUE, DELAY, BURY, GIVE = range(1, 6)
"""Settle calls: GIVE is what a client does with a task that nobody waits for any more."""

Frozen = tuple[object, ...]


def bits(members: int) -> Iterator[int]:
    """The tasks of a set."""
    task = 0
    while members:
        if members & 1:
            yield task
        members >>= 1
        task += 1


class Keys:
    """The keys of one queue.  ``removed`` is the rule that is left out."""

    __slots__ = (
        *('states', 'tokens', 'bases', 'marks', 'orders'),
        *('pending', 'holes', 'working', 'ended', 'delayed', 'due', 'dead', 'payloads', 'bell'),
        *('turns', 'heads', 'waiting', 'slots', 'holders', 'later', 'limits', 'first'),
        *('ranked', 'dry', 'rated', 'paused', 'probes', 'opened', 'urgencies', 'rates', 'queue'),
        *('failed', 'out', 'final', 'group_of', 'removed', 'long', 'history'),
    )

    def __init__(
        self, groups: tuple[int, ...], limits: tuple[int, ...], removed: str, long: bool, history: bool = False,
        urgencies: tuple[int, ...] = (), rates: int = 0,
    ) -> None:  # fmt: skip
        count = len(groups)
        self.urgencies, self.rates, self.queue = urgencies or (0,) * count, rates, 1 << len(limits)
        # Tasks that wait by their priority; groups whose bucket is dry, that wait for a token or a probe; what is
        # paused,
        # with probes, and whose probe may come.
        self.ranked = self.dry = self.rated = self.paused = self.probes = self.opened = 0
        self.group_of, self.removed, self.long, self.history = groups, removed, long, history
        self.states, self.tokens, self.bases, self.marks, self.orders = ([0] * count for _ in range(5))
        # Bits of the tokens whose attempts are noted as failed; the lowest is that one was noted twice.
        self.failed = [0] * count
        self.pending: list[int] = []
        self.turns: list[int] = []
        self.holes = self.working = self.ended = self.delayed = self.due = self.dead = self.payloads = self.bell = 0
        self.heads = [-1] * len(limits)
        self.waiting = [0] * len(limits)
        # -1 is no field.
        self.slots = [-1] * len(limits)
        self.later = [0] * len(limits)
        self.limits = list(limits)
        self.holders = self.first = self.out = self.final = 0

    def freeze(self) -> Frozen:
        """All of it."""
        return (
            tuple(self.states), tuple(self.tokens), tuple(self.bases), tuple(self.marks), tuple(self.orders),
            tuple(self.pending), self.holes, self.working, self.ended, self.delayed, self.due, self.dead,
            self.payloads, self.bell, tuple(self.turns), tuple(self.heads), tuple(self.waiting), tuple(self.slots),
            self.holders, tuple(self.later), tuple(self.limits), self.first, self.ranked, self.dry, self.rated,
            self.paused, self.probes, self.opened, tuple(self.failed), self.out, self.final,
        )  # fmt: skip

    def thaw(self, frozen: Frozen) -> None:
        """Take a state over."""
        (
            states, tokens, bases, marks, orders, pending, self.holes, self.working, self.ended, self.delayed,
            self.due, self.dead, self.payloads, self.bell, turns, heads, waiting, slots, self.holders, later, limits,
            self.first, self.ranked, self.dry, self.rated, self.paused, self.probes, self.opened, failed, self.out,
            self.final,
        ) = frozen  # type: ignore[assignment]  # fmt: skip
        self.states, self.tokens, self.bases, self.marks = list(states), list(tokens), list(bases), list(marks)  # type: ignore[call-overload]
        self.orders, self.pending, self.turns, self.heads = list(orders), list(pending), list(turns), list(heads)  # type: ignore[call-overload]
        self.waiting, self.slots, self.later, self.limits = list(waiting), list(slots), list(later), list(limits)  # type: ignore[call-overload]
        self.failed = list(failed)  # type: ignore[call-overload]

    # Shared functions

    def _ring(self, rule: str) -> None:
        if self.removed != rule:
            self.bell = 1

    def _forget(self) -> None:
        if not self.payloads:
            self.first = 0
            if self.removed != 'forget':
                self.bell = self.holes = 0
                self.pending, self.turns = [], []

    def _append(self, task: int, head: bool = False) -> None:
        if self.holes >> task & 1 and self.removed != 'hole-refilled':
            self.holes &= ~(1 << task)
        elif head:
            self.pending.insert(0, task)
        else:
            self.pending.append(task)

    def _place(self, task: int) -> None:
        if self.group_of[task] >= 0:
            self.waiting[self.group_of[task]] |= 1 << task
        elif self.urgencies[task]:
            self.ranked |= 1 << task
        else:
            self._append(task)

    def _fail(self, task: int, rule: str) -> None:
        if self.history and self.removed != rule:
            bit = 1 << self.tokens[task]
            self.failed[task] |= bit | bool(self.failed[task] & bit)

    def _judge(self, task: int, token: int) -> int:
        state = self.states[task]
        if state == UNKNOWN:
            return IS_UNKNOWN
        if not self._is_current(task, token):
            return LEASE_LOST
        return OK if state == WORKING else IS_CANCELLED if state == CANCELLED else NOT_WORKING

    def _is_current(self, task: int, token: int) -> bool:
        base = self.bases[task]
        if self.removed == 'token-time':
            token += base if token <= base else 0
        return token == self.tokens[task] > base or self.removed == 'attempt'

    def _leave_working(self, task: int) -> None:
        self.working &= ~(1 << task)
        self.ended &= ~(1 << task)

    def _clear(self, task: int) -> bool:
        if not self.working >> task & 1:
            return False
        self._leave_working(task)
        self.payloads &= ~(1 << task)
        self._free(task)
        return True

    # Groups

    def _free(self, task: int, rule: str = 'slot-freed-settled') -> None:
        group = self.group_of[task]
        if group >= 0 and self.removed != rule:
            self.slots[group] = max(0, self.slots[group] - 1)
            self.holders &= ~(1 << task)

    def _first_of(self, group: int) -> int:
        return min(bits(self.waiting[group]), key=self.orders.__getitem__, default=-1)

    def is_shut(self, place: int) -> bool:
        """Whether a group, or the queue, is paused and lets no probe through now."""
        if not self.paused & place or self.removed == 'probe-one' and self.probes & place:
            return False
        return not self.probes & self.opened & place

    def is_dry(self, place: int) -> bool:
        """Whether a group waits for a token."""
        return bool(self.dry & place) and self.removed != 'token-taken'

    def _advance(self, group: int) -> bool:
        task = self._first_of(group)
        if task < 0:
            return False
        self.waiting[group] &= ~(1 << task)
        self.heads[group] = task
        self.slots[group] = max(0, self.slots[group]) + 1
        self.holders |= 1 << task
        self.turns.append(task)
        return True

    def _ration(self, group: int, waits: bool) -> bool:
        """Note whether a group waits for its token or its probe; whether that is new."""
        place = 1 << group
        if not self.rates & place and not self.paused & self.probes & place:
            return False
        was = self.rated & place
        self.rated &= ~place
        if not waits or not self.waiting[group] or self.paused & ~self.probes & place or self.removed == 'token-waited':
            return False
        self.rated |= place
        return not was

    def _settle(self, group: int, advance: bool = True) -> tuple[bool, bool]:
        """Let the next of a group come up, and forget a group of which nothing is left; whether somebody came up, and
        whether it begins to wait for a token or a probe."""
        if group < 0:
            return False, False
        joined = waits = False
        if self.heads[group] < 0 and max(0, self.slots[group]) < self.limits[group]:
            waits = self.is_shut(1 << group) or self.is_dry(1 << group)
            joined = advance and not waits and self._advance(group)
        nothing = self.heads[group] < 0 and self.slots[group] <= 0 and not self.waiting[group] and not self.later[group]
        self.slots[group] = -1 if nothing else max(0, self.slots[group])
        return joined, self._ration(group, waits)

    def _come_up(self, group: int) -> None:
        joined, news = self._settle(group, self.removed != 'advance')
        if joined:
            self._ring('ring-head')
        if news:
            self._ring('ring-token')
