"""What an operator is told of a flow: values as those of `values`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torrelque import TorrelqueTaskStatus

from .values import AwayShard, Value


@dataclass(frozen=True, slots=True)
class FlowTaskView(Value):
    """A task of a flow."""

    name: str
    """Its name in the flow."""
    id: str
    status: TorrelqueTaskStatus | None
    """That of its end, where it has ended; None where its state was lost."""
    how: str | None
    """How it has ended: 'completed', 'failed', 'skipped', 'cancelled'; or 'grafted', where others have taken its place,
    whose names begin with its own; None is not yet."""
    error: str | None
    """The end of its last error, or why it has not completed."""
    attempts: int
    """How often it was handed out, as far as its state is there."""
    max_attempts: int | None
    since: float | None
    """Since when it is what it is, as far as that is known."""
    until: float | None
    """When its lease ends, or it is due."""
    group: str | None
    function: str | None
    """The name of the decorated function, as the flow's payload has it."""
    each: bool
    """Whether it adds a call for each element of a list: these are called after it, with a full stop and a number."""
    waits: int | None
    """For how many ends it waits still; 0 where it has begun; None where it has ended, or is dead."""
    any: bool
    """Whether one of these is enough."""
    after: tuple[tuple[str, str], ...]
    """The tasks that it waits for, or has waited for, by their names, and the kind of end: 'then', 'end', 'fail'.  Of a
    flow whose payload does not tell of its tasks, those that have not ended."""
    away: str | None = None
    """The queue where it is worked on, or will be, if that is another one than the flow's."""

    @property
    def word(self) -> str:
        """How it stands, in a word."""
        if self.how is not None:
            return self.how
        return 'lost' if self.status is None else self.status.name.lower()

    @property
    def error_line(self) -> str | None:
        """The last line of the error that says something."""
        lines = [line for line in (self.error or '').splitlines() if line.strip()]
        return lines[-1].strip() if lines else None


@dataclass(frozen=True, slots=True)
class FlowView(Value):
    """A flow as an operator sees it, and some of its tasks."""

    queue: str
    id: str
    server_time: float
    name: str | None
    """What people call it."""
    status: TorrelqueTaskStatus | None
    total: int
    """How many tasks it has had so far."""
    left: int
    """How many of them have not ended."""
    dead: int
    """How many of these are dead."""
    failed: int
    """How many have ended by a failure, skipped ones among them."""
    on_failure: str
    """What becomes of it when a task is dead: 'wait', 'skip', 'cancel'."""
    error: str | None
    started: float | None
    """When it was enqueued."""
    ended: float | None
    gives_up: float | None
    """When it is cancelled, where it has a timeout, or is being made."""
    draft: bool
    """Whether it is being made."""
    flow: str | None
    """The flow of which it is a task itself."""
    task: Any
    """What is to be seen of it; None where that is longer than 4 MB, or gone."""
    tasks: tuple[FlowTaskView, ...]
    """Some of its tasks, those first that have not ended; each was read at one moment, but not all at the same."""
    cursor: str | None
    """What `Operator.flow` takes as ``after`` for the next tasks; None where there are no more."""
    broken: tuple[str, ...] = ()
    """Short names of the queue's keys that were met and hold something else, so that tasks are missing."""

    @property
    def stalled(self) -> bool:
        """Whether it goes on no further than to its dead tasks, until somebody redrives them."""
        return bool(self.dead) and self.on_failure == 'wait' and self.status is TorrelqueTaskStatus.WAITING


@dataclass(frozen=True, slots=True)
class Flows(Value):
    """Flows that have not ended, of some of what waits; in no order."""

    queue: str
    server_time: float
    flows: tuple[FlowView, ...]
    """Without their tasks."""
    seen: int
    """How many tasks and flows that wait were looked at."""
    total: int
    """How many wait."""
    cursor: str | None
    """What `Operator.flows` takes as ``after`` for what was not looked at; None where that was all."""
    broken: tuple[str, ...] = ()
    """Short names of the queue's keys that were met and hold something else, so that flows are missing."""
    away: tuple[AwayShard, ...] = ()
    """Shards that have not answered, so that what they have is missing."""

    def __iter__(self) -> Iterator[FlowView]:
        return iter(self.flows)

    def __len__(self) -> int:
        return len(self.flows)
