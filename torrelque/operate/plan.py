"""What was counted before an act, so that consent for some tasks is not taken for others."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torrelque import TorrelqueTaskStatus

from .values import TaskView

KEPT = 100_000
"""Ids that a plan keeps at the most, of all queues together."""

_STATUSES = {'ready': TorrelqueTaskStatus.PENDING, 'orphaned': TorrelqueTaskStatus.WORKING}


@dataclass(slots=True)
class Plan:
    """Which tasks an act is about, by a dry run that was given this: the act with the same selection that is given it
    next changes no others, however long that is after the dry run.

    Ages are taken from the instant of the dry run.  A task that came, was handed out, or died since then is left out,
    and the ids that were found are kept, up to 100,000 of them, so that nothing is looked for twice.
    """

    begun: dict[str, float] = field(default_factory=dict)
    """When the dry run began, by the clock of each queue's server (s)."""
    ids: dict[str, list[str]] | None = field(default_factory=dict)
    """The ids that it has found, by queue; None where they were too many, or not looked at one by one."""
    matched: int = 0
    """How many tasks matched."""

    def begin(self) -> None:
        """A dry run begins: forget another."""
        self.begun, self.ids, self.matched = {}, {}, 0

    def note(self, queue: str, place: str, now: float) -> None:
        """It begins in a queue, or in one of the shards of it."""
        self.begun[place] = now
        # What is told of a task names the queue, and not its shard.
        self.begun[queue] = min(now, self.begun.get(queue, now))

    def began(self, queue: str, place: str) -> float | None:
        """When it began there; of one that was written down, what is known is when it began in the queue."""
        return self.begun.get(place, self.begun.get(queue))

    def add(self, queue: str, tasks: Sequence[TaskView]) -> None:
        """Tasks were found."""
        if self.ids is not None:
            self.ids.setdefault(queue, []).extend(task.id for task in tasks)
            if sum(map(len, self.ids.values())) > KEPT:
                self.ids = None

    def has(self, task: TaskView, places: Sequence[str]) -> bool:
        """Whether a task may be one that was found: nothing has happened to it since, as far as it tells.

        :param places: where tasks were looked for.
        """
        began = self.begun[task.queue]
        since = [task.enqueue_time, task.last_dequeue_time, task.died]
        if self.ids is None:
            # A retry that became due in between cannot be told from a task that was given back.
            since += [task.last_requeue_time, *(attempt.ended for attempt in task.history[-1:])]
        elif task.status is not None and task.status not in [_status_of(place) for place in places]:
            return False
        # After a clock was set back there are instants in its future, which are older than they seem.
        return not any(began < instant <= task.server_time for instant in since if instant is not None)


def _status_of(place: str) -> TorrelqueTaskStatus:
    return _STATUSES.get(place) or TorrelqueTaskStatus[place.upper()]
