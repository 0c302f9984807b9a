"""What an operator is told of a queue at one moment: a value as those of `values`."""

from dataclasses import dataclass

from .values import AwayShard, Value


@dataclass(frozen=True, slots=True)
class Overview(Value):
    """A queue, or several together, at one moment."""

    queue: str
    """The name of the queue; of several, the names with commas between them."""
    server_time: float
    tasks: int
    """All of them: pending, working, delayed, dead and waiting."""
    pending: int
    working: int
    delayed: int
    dead: int
    ready: int
    """Pending tasks that could be handed out at once, if nothing is paused: plain ones, those with a priority, heads of
    groups.  The others are behind these; more workers would not help them."""
    priority: int
    """Tasks with a priority and without a group that are pending."""
    groups: int
    """Groups that have a task, or a slot in use."""
    rated: int
    """Groups that wait for a token, or for the probe of a pause."""
    paused: bool
    """Whether the whole queue is paused; of several queues, whether one is."""
    probe: float | None
    """When the pause of the queue lets the next task through; None where it lets none."""
    paused_groups: int
    oldest: float | None
    """Since when the longest-waiting pending task has been ready, as far as the ends of the lists tell: at least so
    long.  What waits in a group behind its head, or behind its pause or limit, is looked at only where nothing else
    waits, and in a few groups: the survey of groups is for that."""
    oldest_dead: float | None
    """Since when the task that died first has been dead."""
    newest_dead: float | None
    next_delayed: float | None
    """When the next delayed task is due."""
    overdue: int
    """Delayed tasks that are due, and were not moved by a sweep."""
    overdue_leases: int
    """Tasks whose lease has ended, and which were not brought back by a sweep."""
    workers: int
    """Workers that live and have a heartbeat.  Loops and workers without one are not seen."""
    lost: int
    """Workers that went without saying goodbye, in the last hour."""
    stuck: int
    """Workers that live and do not take tasks though some are ready, or whose event loop stands still."""
    slots: int
    """Tasks that these workers can have in hand at a time."""
    busy: int
    """Tasks that they have in hand."""
    exact: tuple[str, ...]
    """Names of the figures that are exact, as far as shards have answered.  Of the others, `oldest` is a bound: it is
    so long, or longer."""
    broken: tuple[str, ...]
    """Short names of the queue's keys that hold something else, so that figures of theirs are 0."""
    error: str | None
    """Why the queue could not be read, where that is so; its figures are 0 then."""
    schedules: int = 0
    late_schedules: int = 0
    """Schedules that are due, and not paused, and were not fired by a sweep.  Of these figures only some schedules are
    looked at where there are more than a hundred, see `exact`."""
    late_since: float | None = None
    """The first instant that these have missed."""
    late_names: tuple[str, ...] = ()
    """Ten of them at the most, the latest first."""
    dry_schedules: int = 0
    """Schedules whose instants are used up, so that whoever knows their calendar is to give them more."""
    dry_names: tuple[str, ...] = ()
    """Ten of them at the most."""
    paused_schedules: int = 0
    """Schedules that pass over what is due.  They are neither late nor dry."""
    waiting: int = 0
    """Tasks of flows that wait for others, and flows that go on."""
    overdue_since: float | None = None
    """When the first of those leases ended that have, and whose tasks were not brought back."""
    away: tuple[AwayShard, ...] = ()
    """Shards that have not answered: all figures are those of the others.  Without the first one, which has the hearts,
    nothing is known of workers and schedules."""

    @property
    def workers_known(self) -> bool:
        """Whether hearts could be read, so that the figures of workers are known."""
        return 'workers' not in self.broken and not any(shard.number == 0 for shard in self.away)

    @property
    def oldest_age(self) -> float | None:
        """For how long (s) the longest-waiting task has been ready, at least."""
        return None if self.oldest is None else max(0.0, self.server_time - self.oldest)

    @property
    def late_by(self) -> float:
        """For how long (s) nobody has fired the schedule that is the latest; 0 where none is late."""
        return 0.0 if self.late_since is None else max(0.0, self.server_time - self.late_since)
