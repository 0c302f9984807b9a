"""What whoever measures and scales is told: values as those of `values`."""

from dataclasses import dataclass

from .values import Totals, Value


@dataclass(frozen=True, slots=True)
class Scale(Value):
    """How many slots of workers have something to do, in a queue or in several together."""

    pending: int
    working: int
    ready: int
    """As in `Overview`: pending tasks that could be handed out at once, of each group one."""
    useful: int
    """Slots that have something to do: tasks that are worked on, and those that could be beside them.  Plain tasks, and
    those with a priority, all could; of a group as many as it has free slots, and none where it is paused or waits for
    a token; of a queue that is paused none.  What is due, and was not moved because no worker is there, counts as well.
    What groups have come to is taken for true for 30 s; where there are more than 20,000, and any may be limited, it is
    tasks that are worked on, and those that are ready."""
    slots: int
    """Of workers that live and have a heartbeat."""
    oldest: float
    """For how long (s) the longest-waiting task has been ready, at least; 0 where nothing waits."""
    exact: bool
    """Whether all groups were looked at, where any may be limited."""


@dataclass(frozen=True, slots=True)
class FunctionCounts(Value):
    """What became of all attempts of a function."""

    name: str
    """``*other`` is those above the first 200; '' is tasks that are no call of a function."""
    totals: Totals
    run: tuple[int, ...]
    """Attempts by run time, in the 16 buckets of `torrelque.operate.BUCKETS`."""


@dataclass(frozen=True, slots=True)
class Counts(Value):
    """What workers with a heartbeat have counted in a queue since their counts began.  They only grow, until they begin
    anew: 30 days after the last beat, or when they were deleted."""

    queue: str
    functions: tuple[FunctionCounts, ...]
    wait: tuple[int, ...]
    """Tasks by the time that they had been ready when they were taken, in the same buckets: a sample, at most ten a
    second of each worker."""
    wait_time: float
    """The sum of these times (s)."""
