"""What an operator is told of a schedule: a value as those of `values`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .values import Value


@dataclass(frozen=True, slots=True)
class ScheduleView(Value):
    """A schedule as an operator sees it: what it enqueues, when, and what has happened."""

    queue: str
    name: str
    server_time: float
    state: str
    """'on'; 'paused'; 'over', where nothing is to come; 'dry', where its instants are used up, and whoever knows its
    calendar is to give it more; 'broken', where `broken` says why."""
    function: str | None
    """The name of the decorated function that it calls; None is no call, or one that was not read."""
    next: float | None
    """When it fires next, or, paused, passes over; None where no instant is known, or it is over."""
    times: tuple[float, ...]
    """The first instants, ten of them or as many as were asked for."""
    left: int | None
    """How many are known; None where it has ``every``."""
    end: float | None
    """The last one that is known; None where there is none, or it has ``every``."""
    every: float | None
    """The time from one to the next, where it needs no list of instants."""
    phase: float
    """Instants with ``every`` are so much behind its multiples since 1970."""
    overlap: str | None
    """What becomes of a firing while the task of the one before is not finished: 'skip', 'allow', 'replace', 'queue'.
    """
    missed: str | None
    """Which fire of several instants that are due at once: 'latest', 'all', 'none'."""
    grace: float | None
    """How late an instant may be and fire; None is as late as may be."""
    until: float | None
    """The last instant that may fire."""
    spec: Any
    """What it was made from: of a cron expression, an object with ``cron`` and ``timezone``."""
    source: str | None
    """Whose it is: 'api' was set by hand or by a call, and 'code:NAME' is declared in the code of an app."""
    revision: int | None
    """Of its maker."""
    paused: bool
    last: float | None
    """The last instant that was due, whether it has fired or not."""
    last_id: str | None
    """The task that was enqueued last."""
    fired: int
    """How many were."""
    skipped: int
    """How many instants were passed over: in a pause, by ``overlap``, ``missed`` or ``grace``."""
    timeout: float | None
    """Length of the leases of its tasks."""
    max_attempts: int | None
    group: str | None
    priority: int
    payload: Any
    """What it enqueues; None where it is longer than was asked for, or cannot be read."""
    raw: bytes | None
    """The same as bytes; None where it is longer than was asked for, or gone."""
    size: int | None
    """Length of the payload in bytes; None where it is gone."""
    broken: str | None
    """What is wrong with what the server has of it; None where nothing is."""

    @property
    def order(self) -> tuple[float, str, str]:
        """By it, those come first that fire next."""
        return (math.inf if self.next is None else self.next, self.name, self.queue)


@dataclass(frozen=True, slots=True)
class Schedules(Value):
    """Some schedules of a queue, those first that fire next."""

    queue: str
    server_time: float
    schedules: tuple[ScheduleView, ...]
    """Of each, only the next instant is told."""
    skipped: int
    """How many are before these."""
    total: int
    """How many there are in all, of those whose names begin as was asked for."""
    broken: tuple[str, ...] = ()
    """Short names of the queue's keys that were met and hold something else, so that schedules are missing."""

    def __iter__(self) -> Iterator[ScheduleView]:
        return iter(self.schedules)

    def __len__(self) -> int:
        return len(self.schedules)
