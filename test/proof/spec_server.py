"""The scripts of a queue as transitions of a model: what each reads and writes, and no more.

Tasks are the numbers 0, 1, ...; a set of tasks is a number with their bits.  Time is abstract: of a lease or a delay it
is known whether it has ended.  `tokens` never go back, also where an id is used again: in the queue the time of the
claim is a part of the token.  What is true of the world outside and cannot be read from the keys (`out`, `final`) is
written here too, by what really was done, and no transition looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

UNKNOWN, PENDING, WORKING, DELAYED, DEAD, CANCELLED = range(6)
"""States of a task.  One that was released is unknown."""

REPLIES = ('', 'ok', 'dead', 'cancelled', 'lease_lost', 'not_working', 'unknown', 'duplicate')
OK, IS_DEAD, IS_CANCELLED, LEASE_LOST, NOT_WORKING, IS_UNKNOWN, DUPLICATE = range(1, len(REPLIES))

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


class Reply(NamedTuple):
    """The reply of a claim."""

    task: int
    """-1 is none."""
    token: int
    again: bool
    """It is from the record."""
    more: bool
    due: bool
    wait: int
    """Tasks with a deadline, of which the nearest is told."""


class Server:
    """The keys of one queue.  ``removed`` is the rule that is left out."""

    __slots__ = (
        *('states', 'tokens', 'bases', 'marks', 'orders'),
        *('pending', 'holes', 'working', 'ended', 'delayed', 'due', 'dead', 'payloads', 'bell'),
        *('turns', 'ring', 'waiting', 'slots', 'holders', 'later', 'limits', 'first'),
        *('out', 'final', 'group_of', 'removed', 'long'),
    )

    def __init__(self, groups: tuple[int, ...], limits: tuple[int, ...], removed: str, long: bool) -> None:
        count = len(groups)
        self.group_of, self.removed, self.long = groups, removed, long
        self.states, self.tokens, self.bases, self.marks, self.orders = ([0] * count for _ in range(5))
        self.pending: list[int] = []
        self.turns: list[int] = []
        self.holes = self.working = self.ended = self.delayed = self.due = self.dead = self.payloads = self.bell = 0
        self.ring = [-1] * len(limits)
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
            self.payloads, self.bell, tuple(self.turns), tuple(self.ring), tuple(self.waiting), tuple(self.slots),
            self.holders, tuple(self.later), tuple(self.limits), self.first, self.out, self.final,
        )  # fmt: skip

    def thaw(self, frozen: Frozen) -> None:
        """Take a state over."""
        (
            states, tokens, bases, marks, orders, pending, self.holes, self.working, self.ended, self.delayed,
            self.due, self.dead, self.payloads, self.bell, turns, ring, waiting, slots, self.holders, later, limits,
            self.first, self.out, self.final,
        ) = frozen  # type: ignore[assignment]  # fmt: skip
        self.states, self.tokens, self.bases, self.marks = list(states), list(tokens), list(bases), list(marks)  # type: ignore[call-overload]
        self.orders, self.pending, self.turns, self.ring = list(orders), list(pending), list(turns), list(ring)  # type: ignore[call-overload]
        self.waiting, self.slots, self.later, self.limits = list(waiting), list(slots), list(later), list(limits)  # type: ignore[call-overload]

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
        else:
            self._append(task)

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

    def _clear(self, task: int) -> None:
        if self.working >> task & 1:
            self._leave_working(task)
            self.payloads &= ~(1 << task)
            self._free(task)

    # Groups

    def _free(self, task: int, rule: str = 'slot-freed-settled') -> None:
        group = self.group_of[task]
        if group >= 0 and self.removed != rule:
            self.slots[group] = max(0, self.slots[group] - 1)
            self.holders &= ~(1 << task)

    def _first_of(self, group: int) -> int:
        return min(bits(self.waiting[group]), key=self.orders.__getitem__, default=-1)

    def _advance(self, group: int) -> bool:
        if self.ring[group] >= 0 or max(0, self.slots[group]) >= self.limits[group]:
            return False
        task = self._first_of(group)
        if task < 0:
            return False
        self.waiting[group] &= ~(1 << task)
        self.ring[group] = task
        self.slots[group] = max(0, self.slots[group]) + 1
        self.holders |= 1 << task
        self.turns.append(task)
        return True

    def _settle(self, group: int, advance: bool = True) -> bool:
        """Let the next of a group come up, and forget a group of which nothing is left; whether somebody came up."""
        if group < 0:
            return False
        joined = advance and self._advance(group)
        nothing = self.ring[group] < 0 and self.slots[group] <= 0 and not self.waiting[group] and not self.later[group]
        self.slots[group] = -1 if nothing else max(0, self.slots[group])
        return joined

    def _come_up(self, group: int) -> None:
        if self._settle(group, self.removed != 'advance'):
            self._ring('ring-head')

    # Scripts

    def enqueue(self, task: int, mark: int, resent: bool, delay: bool) -> int:
        """A mark says that the id is the caller's own; 0 is none."""
        state, bit, group = self.states[task], 1 << task, self.group_of[task]
        if (mark or resent) and state:
            if mark and self.marks[task] & mark and self.removed != 'enqueue-mark' or not mark and resent:
                if self.removed != 'enqueue-resent':
                    return OK
            elif state != CANCELLED:
                return DUPLICATE
            elif self.working & bit:
                self._clear(task)
        known = self.payloads & bit
        self.payloads |= bit
        if known and not mark and self.removed != 'enqueue-late' and (state != CANCELLED or self.working & bit):
            return OK
        self.marks[task], self.bases[task] = mark, self.tokens[task]
        if group >= 0:
            self.orders[task] = 1 + max((self.orders[other] for other in bits(self.payloads & ~bit)), default=0)
        self.states[task] = DELAYED if delay else PENDING
        self.final &= ~bit
        self.out &= ~bit
        if delay:
            self.delayed |= bit
            self.due &= ~bit
            self._ring('ring-delay')
            if group >= 0:
                self.later[group] += 1
        else:
            self._place(task)
            if group < 0:
                self._ring('ring-enqueue')
        self._come_up(group)
        return OK

    def _hand(self, task: int) -> bool:
        if self.removed != 'holes' and (self.states[task] != PENDING or not self.payloads >> task & 1):
            return False
        self.states[task] = WORKING
        self.tokens[task] += 1
        self.working |= 1 << task
        self.ended &= ~(1 << task)
        return True

    def _take_plain(self) -> int:
        while self.pending:
            task = self.pending.pop(0)
            hole = self.holes >> task & 1
            self.holes &= ~(1 << task)
            if not (hole and self.removed != 'holes') and self._hand(task):
                return task
        return -1

    def _take_head(self) -> int:
        while self.turns:
            task = self.turns.pop(0)
            group = self.group_of[task]
            if self.states[task] != PENDING or self.ring[group] != task:
                continue
            if self.slots[group] > self.limits[group] and self.removed != 'limit-at-claim':
                self.ring[group] = -1
                self._free(task)
                self._place(task)
                self._settle(group)
                continue
            better = self._first_of(group)
            if better >= 0 and self.orders[better] < self.orders[task] and self.removed != 'order-at-claim':
                self.waiting[group] ^= 1 << better | 1 << task
                self.holders ^= 1 << better | 1 << task
                task = better
            self._hand(task)
            self.ring[group] = -1
            self._settle(group)
            return task
        return -1

    def _take(self) -> int:
        if not self.turns or not self.pending:
            return self._take_head() if self.turns else self._take_plain()
        first, second = (self._take_plain, self._take_head) if self.first else (self._take_head, self._take_plain)
        task = first()
        if task >= 0:
            self.first ^= 1
            return task
        return second()

    def claim(self, record: tuple[int, int] | None, resent: bool, stays: bool) -> Reply:
        """``record`` is what the key of this claim holds."""
        task = token = -1
        again = False
        if record is not None and (resent or self.removed != 'late-claim') and self.removed != 'record':
            again = True
            if self.states[record[0]] == WORKING and self.tokens[record[0]] == record[1]:
                task, token = record
        else:
            task = self._take()
            token = self.tokens[task] if task >= 0 else -1
        more, due, wait = self._tend(stays and task < 0)
        return Reply(task, token, again, more, due, wait)

    def _tend(self, staying: bool) -> tuple[bool, bool, int]:
        wait = self.working | self.delayed
        more = bool(self.pending or self.turns)
        self.bell = 0
        if more:
            self._ring('ring-left')
        if wait and not staying:
            self._ring('ring-time')
        return more, bool(self.ended & self.working | self.due & self.delayed), wait

    def leave(self) -> None:
        """A consumer leaves the bell."""
        self._tend(False)

    def touch(self, task: int, token: int) -> int:
        """Renew a lease."""
        outcome = self._judge(task, token)
        if outcome == OK:
            self.ended &= ~(1 << task)
            self.bell = 1
        return outcome

    def release(self, task: int, token: int, resent: bool) -> int:
        """Finish a task and forget it."""
        outcome = self._judge(task, token)
        if outcome == OK:
            self._leave_working(task)
            self.payloads &= ~(1 << task)
            self.states[task] = UNKNOWN
            self.marks[task] = 0
            self._free(task)
        elif outcome == IS_CANCELLED:
            self._clear(task)
        elif outcome == IS_UNKNOWN and resent and self.removed != 'release-resent':
            return OK
        self._come_up(self.group_of[task])
        self._forget()
        return outcome

    def give_back(self, task: int, token: int, mark: int, verb: int) -> int:
        """Requeue, now or after a delay or to the head, or bury."""
        group, state = self.group_of[task], self.states[task]
        outcome = self._judge(task, token)
        if state and self.marks[task] & mark and self.removed != 'requeue-mark':
            return IS_DEAD if state == DEAD and verb != BURY else OK
        if outcome == OK:
            self._leave_working(task)
            self.marks[task] |= mark
            if verb == BURY:
                self.dead |= 1 << task
                self.states[task] = DEAD
                self._free(task)
            elif verb == DELAY:
                self.delayed |= 1 << task
                self.due &= ~(1 << task)
                self.states[task] = DELAYED
                if self.removed == 'slot-kept':
                    self._free(task)
                self._ring('ring-delay')
            else:
                self._free(task)
                self.states[task] = PENDING
                if verb == GIVE and group < 0:
                    self._append(task, head=True)
                else:
                    self._place(task)
                if group < 0:
                    self._ring('ring-requeue')
        elif outcome == IS_CANCELLED:
            self._clear(task)
        self._come_up(group)
        if outcome == IS_CANCELLED:
            self._forget()
        return outcome

    def cancel(self, task: int) -> bool:
        """An operator's; whether there was something to cancel."""
        state, bit, group = self.states[task], 1 << task, self.group_of[task]
        if state in (UNKNOWN, CANCELLED):
            return False
        if state != WORKING:
            self.payloads &= ~bit
            if state == DELAYED:
                self.delayed &= ~bit
                self.due &= ~bit
                if group >= 0 and self.tokens[task] > self.bases[task]:
                    self._free(task)
                elif group >= 0:
                    self.later[group] -= 1
            elif state == DEAD:
                self.dead &= ~bit
            else:
                self._take_out(task, group)
        self.states[task] = CANCELLED
        self.final |= bit
        self._come_up(group)
        self._forget()
        return True

    def _take_out(self, task: int, group: int) -> None:
        if group >= 0 and self.ring[group] != task:
            self.waiting[group] &= ~(1 << task)
        elif group >= 0:
            self.ring[group] = -1
            self._free(task, 'slot-freed-cancelled')
            if not self.long:
                self.turns = [other for other in self.turns if other != task]
        elif not self.long:
            self.pending.remove(task)
        else:
            self.holes |= 1 << task

    def over(self) -> int:
        """Leases that a sweep takes for ended."""
        return self.working if self.removed == 'lease-lasts' else self.ended & self.working

    def sweep(self) -> None:
        """Bring back what is due."""
        leases = self.over()
        met = []
        for task in bits(leases):
            met.append(self.group_of[task])
            if self.states[task] == CANCELLED and self.removed != 'sweep-clears':
                self._clear(task)
                continue
            self._leave_working(task)
            self._free(task, 'slot-freed-swept')
            self._return(task)
        for task in bits(self.due & self.delayed):
            group = self.group_of[task]
            met.append(group)
            self.delayed &= ~(1 << task)
            self.due &= ~(1 << task)
            if self.tokens[task] > self.bases[task] and self.removed != 'slot-kept':
                self._free(task)
            elif group >= 0 and self.tokens[task] == self.bases[task]:
                self.later[group] -= 1
            self._return(task)
        for group in dict.fromkeys(met):
            self._come_up(group)
        if leases:
            self._forget()

    def _return(self, task: int) -> None:
        self.states[task] = PENDING
        self._place(task)
        if self.group_of[task] < 0:
            self._ring('ring-sweep')

    def limit(self, group: int, most: int) -> None:
        """An operator's."""
        self.limits[group] = most
        if self.slots[group] >= 0:
            self._come_up(group)
