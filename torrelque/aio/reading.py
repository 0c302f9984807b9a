"""The schedule of what is read when, where the server does not tell what has changed.

A task is looked at soon after it was joined or has changed, and less often the longer it stays as it is.  There is a
level for each pace, a queue in the order of the last look.  A task that was looked at in vain goes on to the next
level, and at the last one a look comes the later the more tasks there are.  Looks at many tasks are one call, and what
each call costs the server is time that the next one has to wait.
"""

import bisect
import collections
import operator
import weakref
from typing import Any

from torrelque.protocol.replies import unreadable
from torrelque.protocol.transition import BULK, STATE_FIELDS

from .link import Link
from .watcher import Task

PACES = (0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.23, 0.34, 0.5, 0.75, 1.0)
"""s from one look at a task to the next one, level by level."""
IDLE_RATE = 3000
"""Looks a second at all tasks of the last level together, so that ten thousand have each its look in 3.3 s: with 3 to
5 µs of the server for each look, 1 to 1.5 % of it."""
MOST_RATE = 4000
"""Looks a second at all tasks together."""
BYTES_RATE = 10_000_000
"""Bytes of progress a second that looks bring."""
LEAST = 0.005
"""s that a call counts for at the least."""
BURST = 0.1
"""s of calls that may go one behind the other, which costs the server less for each."""
COUNT = 0.5
"""s for which the tasks of all queue objects are taken to be as many as when they were counted."""
SLACK = 0.1
"""Part of its pace that a task is looked at early, together with others."""

LOOK_FIELDS = ('status', 'dequeue_count', 'enqueue_time', 'progress')
"""Fields by which a change is noticed: no other one changes without one of these, and to read all of them takes twice
the time."""
brief_of = operator.itemgetter(*[STATE_FIELDS.index(name) for name in LOOK_FIELDS])
"""Takes the values of these fields out of the values of all."""


class Budget:
    """What the queue objects of one client and event loop may spend together."""

    def __init__(self) -> None:
        self.free = 0.0
        """The time from which on there may be another call."""
        self.schedules: weakref.WeakSet[Schedule] = weakref.WeakSet()
        """The schedules that share it."""
        self._idle = 0
        self._counted = float('-inf')

    def spent(self, cost: float, now: float) -> None:
        """Let later calls wait, after one that cost so much time."""
        self.free = max(self.free, now - BURST) + cost
        if now - self._counted >= COUNT:
            self._idle, self._counted = sum(schedule.idle for schedule in self.schedules), now

    def pace(self, idle: int) -> float:
        """s from one look to the next at a task that has not changed for long, one of so many of its queue object."""
        return max(PACES[-1], max(idle, self._idle) / IDLE_RATE)


def budget_of(link: Link) -> Budget:
    """The budget of a link, which is shared by the hubs that share the link."""
    if link.budget is None:
        link.budget = Budget()
    budget: Budget = link.budget
    return budget


class Schedule:
    """When each task is looked at; the times are those of the event loop's clock."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        # The time of the last look, by task.
        self._levels: list[collections.OrderedDict[Task, float]] = [collections.OrderedDict() for _ in PACES]
        self._turn = 0
        budget.schedules.add(self)

    @property
    def idle(self) -> int:
        """Tasks of the last level."""
        return len(self._levels[-1])

    def __contains__(self, task: Task) -> bool:
        return task in self._levels[task.level]

    def begin(self, task: Task, now: float) -> None:
        """Look at a task soon: it is new, or has changed."""
        self.drop(task)
        task.level = 0
        self._levels[0][task] = now

    def go_on(self, task: Task, now: float) -> None:
        """Look at a task later than the last time: it is as it was."""
        if task not in self:
            # A task that had to wait for longer than its pace goes to the level of the time that it has waited.
            level = max(task.level + 1, bisect.bisect(PACES, now - task.since))
            task.level = min(level, len(PACES) - 1)
            self._levels[task.level][task] = now

    def give_back(self, tasks: list[Task]) -> None:
        """Look at tasks next that were taken in vain: the call had no room for them."""
        for task in reversed(tasks):
            if task not in self:
                level = self._levels[task.level]
                level[task] = task.since
                level.move_to_end(task, last=False)

    def drop(self, task: Task) -> None:
        """Look at a task no longer."""
        self._levels[task.level].pop(task, None)

    def when(self) -> float | None:
        """The time of the next call."""
        times = [next(iter(level.values())) + self._pace(k) for k, level in enumerate(self._levels) if level]
        return max(self._budget.free, min(times)) if times else None

    def take(self, now: float) -> list[Task]:
        """The tasks to look at now, which leave the schedule until they are put back."""
        taken: list[Task] = []
        if now < self._budget.free:
            return taken
        # Each level comes first in turn, so that none waits for ever when more is due than may be looked at.
        self._turn += 1
        for k in range(len(PACES)):
            number = (k + self._turn) % len(PACES)
            level, pace = self._levels[number], self._pace(number) * (1 - SLACK)
            due: list[Task] = []
            for task, since in level.items():
                if since + pace > now or len(taken) + len(due) == BULK:
                    break
                due.append(task)
            for task in due:
                task.since = level.pop(task)
            taken += due
        return taken

    def spent(self, count: int, size: int, now: float) -> None:
        """Let later calls wait, after one that has looked at so many tasks, with so many bytes of progress."""
        self._budget.spent(max(LEAST, count / MOST_RATE, size / BYTES_RATE), now)

    def _pace(self, level: int) -> float:
        return PACES[level] if level < len(PACES) - 1 else self._budget.pace(self.idle)


def read_items(reply: Any, count: int, width: int | None) -> list[Any]:
    """What a call of ``state`` for so many tasks has brought, of each so many values; an error where it is no such.

    Without a width the items are not looked into, because the caller compares each with one that is right.
    """
    if type(reply) is list and 1 < len(reply) <= count + 1 and reply[0] == b'ok':
        items = reply[1:]
        if width is None or all(_is_item(item, width) for item in items):
            return items
    raise unreadable('state', reply)


def _is_item(item: Any, width: int) -> bool:
    if type(item) is not list:
        return type(item) is bytes
    return len(item) == width and not any(value is not None and type(value) is not bytes for value in item)
