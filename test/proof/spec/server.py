"""The scripts of a queue as transitions of a model: what each reads and writes of its keys, and no more."""

from __future__ import annotations

from typing import NamedTuple

from proof.spec.keys import (
    BURY,
    CANCELLED,
    DEAD,
    DELAY,
    DELAYED,
    DUPLICATE,
    GIVE,
    IS_CANCELLED,
    IS_DEAD,
    IS_UNKNOWN,
    OK,
    PENDING,
    UNKNOWN,
    WORKING,
    Keys,
    bits,
)


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


class Server(Keys):
    """What a server does for a queue: a method for each script."""

    __slots__ = ()

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
        self.marks[task], self.bases[task], self.failed[task] = mark, self.tokens[task], 0
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
            if self.states[task] != PENDING or self.heads[group] != task:
                continue
            if self.slots[group] > self.limits[group] and self.removed != 'limit-at-claim':
                self.heads[group] = -1
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
            self.heads[group] = -1
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

    def release(self, task: int, token: int, resent: bool, unsure: int) -> int:
        """Finish a task and forget it."""
        outcome = self._judge(task, token)
        if outcome == OK:
            self._leave_working(task)
            self.payloads &= ~(1 << task)
            self.states[task] = UNKNOWN
            self.marks[task] = self.failed[task] = 0
            self._free(task)
        elif outcome == IS_CANCELLED:
            self._clear(task)
        elif outcome == IS_UNKNOWN and resent and self.removed != 'release-resent':
            return IS_UNKNOWN if unsure and self.removed != 'release-unsure' else OK
        self._come_up(self.group_of[task])
        self._forget()
        return outcome

    def give_back(self, task: int, token: int, mark: int, verb: int) -> int:
        """Requeue, now or after a delay or to the head, or bury."""
        group, state = self.group_of[task], self.states[task]
        outcome = self._judge(task, token)
        if state and self.marks[task] & mark and self.removed != 'requeue-mark':
            if self.removed == 'history-mark':
                self._fail(task, '')
            return IS_DEAD if state == DEAD and verb != BURY else OK
        if outcome == OK:
            self._leave_working(task)
            self.marks[task] |= mark
            if verb != GIVE:
                self._fail(task, 'history-settled')
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
        if group >= 0 and self.heads[group] != task:
            self.waiting[group] &= ~(1 << task)
        elif group >= 0:
            self.heads[group] = -1
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
            self._fail(task, 'history-swept')
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
