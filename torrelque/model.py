"""What the queue takes and gives: frozen values (ids, statuses, states, statistics), and the type of a watch."""

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

Duration = float | timedelta
"""How long something takes or is put off: a number of seconds, or a ``datetime.timedelta``, which do the same."""


class TorrelqueTaskStatus(enum.IntEnum):
    """Where a task is in its life."""

    PENDING = 0
    """Ready to be taken."""
    WORKING = 1
    """Taken by a consumer, which has a lease."""
    DELAYED = 2
    """Waits for its time."""
    COMPLETED = 3
    """Released, done.  Final."""
    REJECTED = 4
    """Released, refused.  Final."""
    DEAD = 5
    """Attempts used up, or buried.  Stays until it is redriven or cancelled."""
    CANCELLED = 6
    """Taken back by its producer.  Final."""
    WAITING = 7
    """Of a flow, and waits for other tasks of it; or a flow that goes on."""

    def isfinal(self) -> bool:
        """Whether no transition leads out of this status."""
        return self in _FINAL


_FINAL = frozenset({TorrelqueTaskStatus.COMPLETED, TorrelqueTaskStatus.REJECTED, TorrelqueTaskStatus.CANCELLED})


class TorrelqueTaskId(str):
    """A task's id; as `dequeue` gives it, it also carries the right to settle the task.

    It is a ``str`` and equal to the plain one.  The id of a delivery has an ``attempt`` (1 at the first), a ``token``
    by which the queue tells this delivery from any other of the same task, its ``group``, the ``timeout`` of its lease,
    and tells whether it is the ``probe`` of a pause.  Pickling keeps all; JSON keeps the plain string, which is not
    fenced.
    """

    __slots__ = ('_held_until', '_shard', '_touched', 'attempt', 'group', 'probe', 'timeout', 'token')

    attempt: int | None
    """Which hand-out of the task this is, forgiven ones included; None when it was not dequeued."""
    token: str
    """Attempt and server time (ms) of the claim, or '' when the task was not dequeued."""
    group: str | None
    """The task's group; None where it has none, and when it was not dequeued."""
    timeout: float | None
    """Length (s) of the lease that was taken; None when the task was not dequeued."""
    _held_until: float
    """Until when, by `time.monotonic` of this process, the lease is known to hold; not there where it is not known."""
    _touched: bool
    """Whether this process has moved the lease's end; not there where it has not."""
    _shard: int
    """The number of the shard that has handed it out; there only where a `torrelque.sharded.Sharded` gave it."""
    probe: bool
    """Whether it was handed out despite a pause of its group or of the queue, to see how it goes."""

    def __new__(
        cls,
        value: str,
        attempt: int | None = None,
        token: str = '',
        group: str | None = None,
        timeout: float | None = None,
        probe: bool = False,
    ) -> 'TorrelqueTaskId':
        """A plain id, or that of a delivery."""
        self = str.__new__(cls, value)
        self.attempt = attempt
        self.token = token
        self.group = group
        self.timeout = timeout
        self.probe = probe
        return self

    def __copy__(self) -> 'TorrelqueTaskId':
        # A copy is the same object, so that what is noted of the lease is known to everybody who has the id.
        return self

    def __deepcopy__(self, memo: object) -> 'TorrelqueTaskId':
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        made = type(self), (str(self), self.attempt, self.token, self.group, self.timeout, self.probe)
        return made if (shard := getattr(self, '_shard', None)) is None else (*made, (None, {'_shard': shard}))


class TorrelqueAttempt(NamedTuple):
    """An attempt of a task that has failed: it was requeued with an error, or buried, or its lease ran out."""

    number: int
    """Which hand-out of the task it was; 1 is the first."""
    start: float
    """When the task was handed out, a Unix time of the server (s)."""
    end: float
    """When it failed, or when its lease was found to be over."""
    error: str
    """The last line of the error that says something, at most 160 bytes of it in UTF-8; '' where none was given."""


class TorrelqueTaskState(NamedTuple):
    """All that the queue knows of one task but its payload.  Instants are Unix times of the server (s)."""

    status: TorrelqueTaskStatus
    timeout: float
    """Length of the task's leases (s)."""
    result: Any
    """What `release` was given, or None."""
    dequeue_count: int
    """How often the task was handed out."""
    requeue_count: int
    """How often it came back to pending after it had been handed out."""
    enqueue_time: float
    last_dequeue_time: float | None
    last_requeue_time: float | None
    release_time: float | None
    """When it became final."""
    error: str | None
    """The last error that was given with ``requeue`` or ``bury``, or that the queue found."""
    progress: Any
    """What the holder last gave to `touch`, or None."""
    max_attempts: int | None
    """How many attempts it has before it is dead; None is without end."""
    forgiven: int
    """Attempts that do not count: given back at a shutdown, redriven."""
    group: str | None
    """The group whose order, fairness and limits it shares."""
    priority: int
    """Tasks of a higher priority go first."""
    ready_time: float | None = None
    """When it became ready otherwise than by being enqueued or requeued: its first delay was over, or it was redriven,
    whichever was later; None where neither was."""
    due_time: float | None = None
    """When its delay is over; None where it is not delayed."""
    history: tuple[TorrelqueAttempt, ...] = ()
    """Its failed attempts, at most ten: the first and the last nine.  A requeue without an error, or one that forgives,
    is none."""
    flow: str | None = None
    """The flow whose task it is."""
    total: int | None = None
    """Of a flow, as the rest: how many tasks it has had."""
    left: int | None = None
    """How many of them have not ended."""
    dead: int | None = None
    """How many of these are dead."""
    failed: int | None = None
    """How many have ended by a failure, skipped ones among them."""
    queue: str | None = None
    """The queue where it is worked on, if that is another one than that of its flow; then it is WORKING here from when
    its turn has come."""


class TorrelqueNode(NamedTuple):
    """A task of a flow that is to be made."""

    name: str
    """Its name in the flow; the id is that of the flow, a full stop, and the name."""
    task: Any
    """As of `enqueue`."""
    after: Mapping[str, Literal['then', 'end', 'fail']] = MappingProxyType({})
    """Names of the tasks that it waits for, each with the end that it waits for: 'then' that it completes, 'fail' that
    it fails or is dead, 'end' any of these."""
    join: Literal['all', 'any'] = 'all'
    """Whether it waits for all of them, or for one."""
    before: Sequence[str] | Mapping[str, Literal['then', 'end', 'fail']] = ()
    """Only with `add_to_flow`: names of tasks that still wait, and wait for this one, too; until it has completed, or,
    in a mapping, each for the end that it says."""
    delay: Duration | None = None
    """As of `enqueue`, from the moment when it waits for others no more; the rest is as of `enqueue`, too."""
    group: str | None = None
    priority: int = 0
    max_attempts: int | None = None
    task_timeout: Duration | None = None
    queue: str | None = None
    """The name of another queue of the same server or Cluster, where it is worked on, with an equal serialiser; None is
    the queue of the flow."""


class TorrelqueOutcome(NamedTuple):
    """How a task of a flow has ended."""

    id: str
    how: Literal['completed', 'failed', 'skipped', 'cancelled'] | None
    """'failed' if it was rejected or cancelled, is dead and its flow has gone on, was lost, or waited for one that
    failed; 'skipped' if what it waited for cannot be, and nothing failed; 'cancelled' with its flow; None if it has not
    ended."""
    result: Any
    """What `release` was given, or None."""
    error: str | None
    """Why it has not completed."""


class TorrelqueFlow(NamedTuple):
    """A flow: a task that nobody is handed, made of other tasks."""

    id: str
    state: TorrelqueTaskState
    task: Any
    """What is to be seen of it, as it was given; None where that was lost."""
    name: str | None
    on_failure: Literal['wait', 'skip', 'cancel']
    """What becomes of it when one of its tasks is dead."""


class TorrelqueWatch(Protocol):
    """The states of one task, one after the other, as `Torrelque.watch` gives them: for ``async for``.

    ``contextlib.aclosing`` takes it as well, which ends the watch where its block is left.
    """

    def __aiter__(self) -> AsyncIterator[TorrelqueTaskState]: ...

    async def __anext__(self) -> TorrelqueTaskState: ...

    async def aclose(self) -> None:
        """Watch no longer, at once; whoever waits for the next state is told that it was the last.

        Nothing is sent, and nothing happens when the watch is over already.
        """
        ...


class TorrelqueDeath(NamedTuple):
    """A task that died where nobody saw it, as `take_deaths` gives it."""

    id: TorrelqueTaskId
    """Its id, with the attempt in which it died (None where its state was lost), the token of that, and its group.  An
    id that is no UTF-8, of somebody else's making, has its bytes as surrogates (``surrogateescape``)."""
    task: Any
    """What was enqueued; None where it cannot be read."""
    error: str
    """Why it is dead, as its state says."""
    unreadable: BaseException | None
    """Why the task cannot be read, if that is so."""


class TorrelqueQueueStats(NamedTuple):
    """Tasks of a queue by place, all read at one moment."""

    tasks: int
    """All of them: pending, working, delayed, dead and waiting."""
    pending: int
    working: int
    delayed: int
    dead: int
    waiting: int = 0
    """Tasks of flows that wait for others, and flows that go on."""


class TorrelqueLimit(NamedTuple):
    """Limits, as they were set for a group or as the default of all groups."""

    concurrency: float | None
    """How many of a group's tasks are worked on at once; None is as the default, ``math.inf`` no limit."""
    rate: tuple[int, float] | float | None
    """So many starts in so many seconds; None is as the default, ``math.inf`` no limit."""


class TorrelqueSchedule(NamedTuple):
    """A schedule: what it enqueues, when, and what has happened.  All instants are Unix time (s)."""

    name: str
    task: Any
    """What it enqueues."""
    next: float | None
    """When it fires next; None where no instant is known, or it is over."""
    times: tuple[float, ...]
    """The first ten instants."""
    left: int | None
    """How many are known; None where it has ``every``."""
    end: float | None
    """The last one that is known; None where there is none, or it has ``every``."""
    every: float | None
    """The time (s) from one to the next, where it needs no list of instants."""
    phase: float
    """Instants with ``every`` are so many seconds behind its multiples since 1970."""
    overlap: str
    """What becomes of a firing while the task of the one before is not finished: 'skip', 'allow', 'replace', 'queue'.
    """
    missed: str
    """Which fire of several instants that are due at once: 'latest', 'all', 'none'."""
    grace: float | None
    """How late (s) an instant may be and fire; None is as late as may be."""
    until: float | None
    """The last instant that may fire."""
    spec: Any
    """What it was made from, as its maker gave it."""
    source: str | None
    """Whose it is, likewise."""
    revision: int | None
    """Of its maker."""
    paused: bool
    last: float | None
    """The last instant that was due, whether it has fired or not."""
    last_id: TorrelqueTaskId | None
    """The task that was enqueued last."""
    fired: int
    """How many were."""
    skipped: int
    """How many instants were passed over: in a pause, by ``overlap``, ``missed`` or ``grace``."""
    task_timeout: float
    """Of its tasks, as the rest: the length (s) of the lease."""
    max_attempts: int | None
    group: str | None
    priority: int

    @property
    def dry(self) -> bool:
        """Whether no instant is known, though it is not over: somebody who knows its calendar is to extend it."""
        return self.next is None and self.every is None and (self.until is None or self.left == 0)


class TorrelqueGroupStats(NamedTuple):
    """What there is of one group, read at one moment."""

    waiting: int
    """Tasks that are pending."""
    slots: int
    """Slots in use: by tasks that are worked on, that are delayed for a retry, and by the one whose turn is next."""
    limit: float
    """How many slots there are, its own limit or the default; ``math.inf`` is without end."""
    rate: tuple[int, float] | float
    """So many starts in so many seconds, its own rate or the default; ``math.inf`` is no limit."""
    paused: bool
    """Whether the group, or the whole queue, hands nothing out."""


class TorrelqueSweepResult(NamedTuple):
    """What a sweep moved."""

    stale: int
    """Tasks whose lease had run out, now pending (or forgotten, where they were cancelled)."""
    delayed: int
    """Tasks whose time had come, now pending."""
    dead: int
    """Tasks whose lease had run out and whose attempts are used up, now dead."""
    fired: int = 0
    """Tasks that schedules have enqueued."""
