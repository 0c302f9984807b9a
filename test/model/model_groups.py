"""The groups of a queue in plain Python, for `model.py`: turns, order, limits, rates and pauses.

Who holds a slot of a group, and how many wait for their first time, is not kept but looked up: tasks are few here.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

PENDING, WORKING, DELAYED, COMPLETED, REJECTED, DEAD, CANCELLED = '0123456'


class Bucket(NamedTuple):
    """Tokens that were left at an instant; the bucket is full at its end, and forgotten."""

    left: float
    at: int
    end: int
    ttl: int


class Groups:
    """The part of the model that is about groups.  A call that meets some says so, and settles at its end."""

    now: int
    working: dict[str, int]
    delayed: dict[str, int]
    states: dict[str, dict[str, str]]

    def __init__(self) -> None:
        self.turns: list[str] = []
        """The next first.  Heads, and holes: who was cancelled in a long list."""
        self.heads: dict[str, str] = {}
        self.waiting: dict[str, dict[str, int]] = {}
        """By group, the order of the tasks behind the head."""
        self.limits: dict[str, str] = {}
        self.paused: set[str] = set()
        self.rated: dict[str, int] = {}
        self.buckets: dict[str, Bucket] = {}
        self.met: list[str] = []
        """Groups that the call has met so far."""
        self.came_up: list[str] = []
        """Heads since the call began, which have no place in `turns` yet."""

    # What is counted

    def group_of(self, task_id: str) -> str | None:
        return self.states.get(task_id, {}).get('group')

    @property
    def holders(self) -> dict[str, str]:
        """By task, the group of which it holds a slot."""
        retried = (task_id for task_id in self.delayed if 'dequeue_count' in self.states[task_id])
        ids = [*self.heads.values(), *self.working, *retried]
        return {task_id: self.states[task_id]['group'] for task_id in ids if 'group' in self.states[task_id]}

    @property
    def later(self) -> dict[str, int]:
        """By group, how many wait for the time that they were enqueued for."""
        counts: dict[str, int] = {}
        for task_id in self.delayed:
            state = self.states[task_id]
            if 'group' in state and 'dequeue_count' not in state:
                counts[state['group']] = counts.get(state['group'], 0) + 1
        return counts

    @property
    def groups(self) -> dict[str, int]:
        """The slots in use of each group that has tasks."""
        holders = [*self.holders.values()]
        return {group: holders.count(group) for group in {*holders, *self.waiting, *self.later}}

    # Limits

    def concurrency(self, group: str) -> float:
        own, default = self._limits(group)
        return own.get('concurrency', default.get('concurrency')) or math.inf

    def rate(self, group: str) -> tuple[int, int] | None:
        own, default = self._limits(group)
        return own.get('rate', default.get('rate')) or None

    def _limits(self, group: str) -> tuple[dict[str, Any], dict[str, Any]]:
        return json.loads(self.limits.get(group, '{}')), json.loads(self.limits.get('', '{}'))

    def tokens(self, group: str) -> float:
        """Starts that the group may have now; of one that has a rate."""
        rate = self.rate(group)
        if rate is None:
            return math.inf
        starts, period = rate
        if group not in self.buckets:
            return starts
        left, at, _, _ = self.buckets[group]
        return min(starts, max(0, left) + max(0, self.now - at) * starts / period)

    def is_dry(self, group: str) -> bool:
        """Whether there is no token, but for the rounding."""
        return self.tokens(group) < 1 - 1e-9

    def take_tokens(self, group: str, count: int) -> None:
        """Take tokens; none where only the instant is to be written, with the time to live by the rate of now."""
        rate = self.rate(group)
        if rate is not None:
            starts, period = rate
            left = self.tokens(group) - count
            ttl = max(1, math.ceil((starts - left) * period / starts))
            self.buckets[group] = Bucket(left, self.now, self.now + ttl, ttl)

    def is_late(self) -> bool:
        """Whether one of those that wait longest, or shortest, waits longer for a token than one takes: its rate is
        another now, or the clock went back."""
        waiting = sorted(self.rated, key=lambda group: (self.rated[group], group.encode()))
        for group in waiting[-5:] + waiting[:5]:
            starts, period = self.rate(group) or (1, 0)
            if self.rated[group] - self.now > math.ceil(period / starts) + 1000:
                return True
        return False

    # Heads

    def is_head(self, task_id: str) -> bool:
        return task_id in self.heads.values()

    def may_go(self, task_id: str) -> bool:
        """Whether a head may be handed out, which limits may have changed since it came up."""
        group = self.states[task_id]['group']
        slots = self.groups[group]
        return group not in self.paused and slots <= self.concurrency(group) and not self.is_dry(group)

    def join(self, task_id: str) -> None:
        """A task waits in its group from now on."""
        group = self.states[task_id]['group']
        self.met.append(group)
        self.waiting.setdefault(group, {})[task_id] = int(self.states[task_id]['order'])

    def step_back(self, task_id: str) -> None:
        """A head goes back into its group."""
        del self.heads[self.states[task_id]['group']]
        self.join(task_id)

    def best(self, head: str) -> str:
        """The task of a head's group that is handed out, which is the head then."""
        group = self.states[head]['group']
        waiting = self.waiting.get(group, {})
        first = min(waiting, key=waiting.__getitem__, default=head)
        if first != head and waiting[first] < int(self.states[head]['order']):
            self.step_back(head)
            self._lead(group, first)
            return first
        return head

    def leave_group(self, task_id: str) -> bool:
        """A task that waits in its group goes; whether it was the head."""
        group = self.states[task_id]['group']
        self.met.append(group)
        if self.heads.get(group) == task_id:
            del self.heads[group]
            return True
        self._unlist(group, task_id)
        return False

    def come_up(self, group: str) -> None:
        """Let the first that waits be the head, where it may."""
        waiting = self.waiting.get(group)
        if waiting and self._has_room(group) and not self.is_dry(group):
            first = min(waiting, key=waiting.__getitem__)
            self._lead(group, first)
            self.came_up.append(first)

    def settle_groups(self) -> bool:
        """Let all groups that the call has met go on; whether somebody should be told."""
        told = False
        for group in dict.fromkeys(self.met):
            self.come_up(group)
            rate = self.rate(group)
            if rate and group in self.buckets and self.buckets[group].at > self.now:
                # The clock went back: it counts from now on.
                self.take_tokens(group, 0)
            if group in self.waiting and rate and self._has_room(group) and self.is_dry(group):
                told |= group not in self.rated
                starts, period = rate
                self.rated[group] = self.now + max(1, math.ceil((1 - self.tokens(group)) * period / starts))
            elif rate:
                self.rated.pop(group, None)
        self.met.clear()
        told |= bool(self.came_up)
        self.turns += self.came_up
        self.came_up.clear()
        return told

    def _has_room(self, group: str) -> bool:
        slots = self.groups.get(group, 0)
        return group not in self.heads and group not in self.paused and slots < self.concurrency(group)

    def _lead(self, group: str, task_id: str) -> None:
        self._unlist(group, task_id)
        self.heads[group] = task_id

    def _unlist(self, group: str, task_id: str) -> None:
        del self.waiting[group][task_id]
        if not self.waiting[group]:
            del self.waiting[group]
