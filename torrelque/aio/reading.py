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

from torrelque.protocol.bounds import Bounds
from torrelque.protocol.replies import STATE_FIELDS

from .link import Link
from .watcher import Task

LOOK_FIELDS = ('status', 'dequeue_count', 'enqueue_time', 'left', 'dead', 'progress')
"""Fields by which a change is noticed: no other one changes without one of these, and to read all of them takes twice
the time."""
brief_of = operator.itemgetter(*[STATE_FIELDS.index(name) for name in LOOK_FIELDS])
"""Takes the values of these fields out of the values of all."""


class Budget:
    """What the queue objects of one client and event loop may spend together."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.free = 0.0
        """The time from which on there may be another call."""
        self.schedules: weakref.WeakSet[Schedule] = weakref.WeakSet()
        """The schedules that share it."""
        self._idle = 0
        self._counted = float('-inf')

    def spent(self, cost: float, now: float) -> None:
        """Let later calls wait, after one that cost so much time."""
        self.free = max(self.free, now - self._bounds.look_burst) + cost
        if now - self._counted >= self._bounds.idle_age:
            self._idle, self._counted = sum(schedule.idle for schedule in self.schedules), now

    def pace(self, idle: int) -> float:
        """s from one look to the next at a task that has not changed for long, one of so many of its queue object."""
        return max(self._bounds.paces[-1], max(idle, self._idle) / self._bounds.idle_looks_per_second)


def budget_of(link: Link) -> Budget:
    """The budget of a link, which is shared by the hubs that share the link."""
    if link.budget is None:
        link.budget = Budget(link.bounds)
    budget: Budget = link.budget
    return budget


class Schedule:
    """When each task is looked at; the times are those of the event loop's clock."""

    def __init__(self, budget: Budget, bounds: Bounds) -> None:
        self._budget = budget
        self._bounds = bounds
        self._paces = bounds.paces
        # The time of the last look, by task.
        self._levels: list[collections.OrderedDict[Task, float]] = [collections.OrderedDict() for _ in self._paces]
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
            level = max(task.level + 1, bisect.bisect(self._paces, now - task.since))
            task.level = min(level, len(self._paces) - 1)
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
        for k in range(len(self._paces)):
            number = (k + self._turn) % len(self._paces)
            level, pace = self._levels[number], self._pace(number) * (1 - self._bounds.pace_slack)
            due: list[Task] = []
            for task, since in level.items():
                if since + pace > now or len(taken) + len(due) == self._bounds.bulk:
                    break
                due.append(task)
            for task in due:
                task.since = level.pop(task)
            taken += due
        return taken

    def spent(self, count: int, size: int, now: float) -> None:
        """Let later calls wait, after one that has looked at so many tasks, with so many bytes of progress."""
        bounds = self._bounds
        cost = max(bounds.min_look, count / bounds.looks_per_second, size / bounds.look_bytes_per_second)
        self._budget.spent(cost, now)

    def _pace(self, level: int) -> float:
        return self._paces[level] if level < len(self._paces) - 1 else self._budget.pace(self.idle)
