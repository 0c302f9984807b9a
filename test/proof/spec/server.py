"""The scripts of a queue as transitions of a model: what each reads and writes of its keys, and no more."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
    URGENT,
    WORKING,
    Keys,
    bits,
)


class Reply(NamedTuple):
    """The reply of a claim."""

    given: tuple[tuple[int, int], ...]
    """Tasks and tokens."""
    again: bool
    """It is from the record."""
    more: bool
    due: bool
    wait: int
    """What has a deadline, of which the nearest is told: tasks; behind them groups that wait for a token or a probe,
    and
    the queue itself."""


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
        if group >= 0 or self.urgencies[task]:
            others = bits(self.payloads & ~bit)
            number = 1 + max((self.orders[other] + URGENT * self.urgencies[other] for other in others), default=0)
            self.orders[task] = number - URGENT * self.urgencies[task]
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
                self._ring('ring-ranked' if self.urgencies[task] else 'ring-enqueue')
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

    def _take_ranked(self, urgent: bool) -> int:
        some = [task for task in bits(self.ranked) if self.orders[task] < 0 or not urgent]
        if not some:
            return -1
        choose = max if self.removed == 'priority-order' else min
        task = choose(some, key=self.orders.__getitem__)
        self.ranked &= ~(1 << task)
        return task if self._hand(task) else -1

    def _may(self, group: int) -> bool:
        if self.slots[group] > self.limits[group] and self.removed != 'limit-at-claim':
            return False
        return not (self.is_shut(1 << group) and self.removed != 'pause-at-head') and not self.is_dry(1 << group)

    def _take_head(self) -> int:
        while self.turns:
            task = self.turns.pop(0)
            group = self.group_of[task]
            if self.states[task] != PENDING or self.heads[group] != task:
                continue
            if not self._may(group):
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
            self.dry |= self.rates & 1 << group
            self.opened &= ~(self.paused & 1 << group)
            self._settle(group)
            return task
        return -1

    def _take(self, wanted: int) -> list[int]:
        if self.is_shut(self.queue) and self.removed != 'pause-at-claim':
            return []
        probing = self.paused & self.queue
        if probing and self.removed != 'probe-alone':
            wanted = 1
        given: list[int] = []
        if self.removed != 'priority-first':
            self._gather(given, wanted, functools.partial(self._take_ranked, self.removed != 'priority-last'))
        self._take_turns(given, wanted)
        self._gather(given, wanted, functools.partial(self._take_ranked, False))
        if given:
            self.opened &= ~probing
        return given

    def _gather(self, given: list[int], goal: int, take: Callable[[], int]) -> None:
        while len(given) < goal and (task := take()) >= 0:
            given.append(task)

    def _take_turns(self, given: list[int], wanted: int) -> None:
        if not self.turns or not self.pending:
            self._gather(given, wanted, self._take_head if self.turns else self._take_plain)
            return
        first, second = (self._take_plain, self._take_head) if self.first else (self._take_head, self._take_plain)
        before = len(given)
        self._gather(given, before + (wanted - before + 1) // 2, first)
        share = len(given) - before
        self._gather(given, wanted, second)
        if share > len(given) - before - share:
            self.first ^= 1
        self._gather(given, wanted, first)

    def claim(
        self, record: tuple[tuple[int, int], ...] | None, resent: bool, stays: bool, wanted: int = 1
    ) -> Reply:  # fmt: skip
        """``record`` is what the key of this claim holds."""
        again = record is not None and (resent or self.removed != 'late-claim') and self.removed != 'record'
        if record is not None and again:
            given = tuple(
                (task, token) for task, token in record
                if self.states[task] == WORKING and self.tokens[task] == token
            )  # fmt: skip
        else:
            given = tuple((task, self.tokens[task]) for task in self._take(wanted))
        more, due, wait = self._tend(stays and not given)
        return Reply(given, again, more, due, wait)

    def _tend(self, staying: bool) -> tuple[bool, bool, int]:
        running, due = self.clock()
        wait = running | due
        more = self.works() and not self.is_shut(self.queue)
        self.bell = 0
        if more:
            self._ring('ring-left')
        if wait and not staying:
            self._ring('ring-time')
        return more, bool(due), wait

    def works(self) -> bool:
        """Whether there is something to take, if the queue lets it."""
        return bool(self.pending or self.turns or self.ranked)

    def thirsty(self) -> int:
        """Groups that wait for a token or a probe which has come."""
        probed = self.paused & self.probes
        return self.rated & (probed & self.opened | ~probed & ~self.dry)

    def clock(self) -> tuple[int, int]:
        """What has a deadline that is to come, and what has one that is over; as the reply of a claim counts it."""
        count = len(self.states)
        running = self.working & ~self.ended | self.delayed & ~self.due
        due = self.ended & self.working | self.due & self.delayed
        if self.rated and self.removed != 'token-told':
            thirsty = self.thirsty()
            running, due = running | (self.rated & ~thirsty) << count, due | thirsty << count
        if self.paused & self.probes & ~self.opened & self.queue and self.works() and self.removed != 'probe-told':
            running |= self.queue << count
        return running, due

    def probed(self) -> int:
        """The queue among what has a deadline, where its probe has come and there is one to take."""
        return (self.paused & self.probes & self.opened & self.queue) << len(self.states) if self.works() else 0

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
        # Whether the script comes to the group.
        met = outcome == OK
        if outcome == OK:
            self._leave_working(task)
            self.payloads &= ~(1 << task)
            self.states[task] = UNKNOWN
            self.marks[task] = self.failed[task] = 0
            self._free(task)
        elif outcome == IS_CANCELLED:
            met = self._clear(task)
        elif outcome == IS_UNKNOWN and resent and self.removed != 'release-resent':
            return IS_UNKNOWN if unsure and self.removed != 'release-unsure' else OK
        if met:
            self._come_up(self.group_of[task])
        self._forget()
        return outcome

    def give_back(self, task: int, token: int, mark: int, verb: int) -> int:
        """Requeue, now or after a delay or to the head, or bury."""
        group, state = self.group_of[task], self.states[task]
        outcome = self._judge(task, token)
        # Whether the script comes to the group.
        met = outcome == OK
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
                # A slot that is kept is nothing to the group.
                met = self.removed == 'slot-kept'
                if met:
                    self._free(task)
                self._ring('ring-delay')
            else:
                self._free(task)
                self.states[task] = PENDING
                if verb == GIVE and group < 0 and not self.urgencies[task]:
                    self._append(task, head=True)
                else:
                    self._place(task)
                if group < 0:
                    self._ring('ring-requeue')
        elif outcome == IS_CANCELLED:
            met = self._clear(task)
        if met:
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
        elif self.urgencies[task]:
            if self.removed != 'priority-cancelled':
                self.ranked &= ~(1 << task)
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
        thirsty = 0 if self.removed == 'token-swept' else self.thirsty()
        self.rated &= ~thirsty
        for group in dict.fromkeys([*met, *bits(thirsty)]):
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
        self.rated &= ~(1 << group)
        if self.slots[group] >= 0:
            self._come_up(group)

    def pause(self, place: int, probing: bool) -> None:
        """An operator's, or with probes a circuit breaker's."""
        if probing and self.paused & ~self.probes & place and self.removed != 'pause-stays':
            return
        had = self.probes & place
        self.paused |= place
        if probing:
            self.probes |= place
            self.opened &= ~place
            if place != self.queue:
                self._settle(place.bit_length() - 1)
            if self.payloads:
                self._ring('ring-pause')
        elif had:
            self.probes &= ~place
            self.rated &= ~place

    def resume(self, place: int, probing: bool) -> bool:
        """Likewise; whether it is not paused any more."""
        if probing and self.paused & ~self.probes & place and self.removed != 'resume-stays':
            return False
        if self.probes & place:
            self.rated &= ~place
        self.paused &= ~place
        self.probes &= ~place
        self.opened &= ~place
        if place != self.queue:
            joined, news = self._settle(place.bit_length() - 1, self.removed != 'resume-advances')
            if joined or news:
                self._ring('ring-resume')
        elif self.payloads:
            self._ring('ring-resume')
        return True
