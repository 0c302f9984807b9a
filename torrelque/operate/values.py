"""What an operator is told: frozen values, and how they are written as JSON.

Instants are Unix times of the server (s), durations seconds.  A figure that is None is not known; `math.inf` is no
limit.  Ids and names are texts as they are in the server; bytes that are no UTF-8 stand in them as surrogates.
"""

import enum
import math
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from typing import Any

from torrelque import TorrelqueTaskStatus

DEEPEST = 100
"""How deep values may be nested before the rest is told as a text."""


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it: one of these values is an object, a status its name, `math.inf` null, bytes a text.

    A number beyond 2^53, which many readers of JSON would round, stays as it is: the text is exact.  What is nested too
    deeply, or refers to itself, what no JSON has, and a number of more digits than Python writes, is told by a text.
    """
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**1000 else hex(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray)):
        return value.decode('utf-8', 'backslashreplace')
    if depth < DEEPEST:
        if is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name), depth + 1) for field in fields(value)}
        if isinstance(value, Mapping):
            return {_name_of(key): plain(one, depth + 1) for key, one in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(one, depth + 1) for one in value]
    return _repr_of(value)


def _name_of(key: Any) -> str:
    return str.__str__(key) if isinstance(key, str) else str(plain(key, DEEPEST))


def _repr_of(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        # A payload of somebody else's making, or one that is nested too deeply for Python as well.
        return f'<{type(value).__name__}>'


class Value:
    """What all of these values can do.  They are no named tuples: many have a count, which is a method there."""

    __slots__ = ()

    def as_json(self) -> dict[str, Any]:
        """The value as objects, lists, texts and numbers that ``json.dumps`` takes.  Fields are never renamed or taken
        away within a major version."""
        return dict(plain(self))


@dataclass(frozen=True, slots=True)
class AwayShard(Value):
    """A shard of a queue that has not answered within a second; what is told is that of the others."""

    queue: str
    number: int
    """As ``torrelque shards`` has it."""
    tag: str
    """The hash tag of its keys."""
    server: str
    """The address of its server."""
    why: str

    def __str__(self) -> str:
        return f'shard {self.number} ({self.tag} at {self.server})'


@dataclass(frozen=True, slots=True)
class Attempt(Value):
    """A failed attempt of a task."""

    number: int
    """1 is the first."""
    started: float
    ended: float
    error: str
    """The last line of its error, at most 160 bytes; '' where none was given."""


@dataclass(frozen=True, slots=True)
class TaskView(Value):
    """A task as an operator sees it."""

    queue: str
    id: str
    server_time: float
    status: TorrelqueTaskStatus | None
    """None where the task has no state, or one that cannot be read."""
    place: str | None
    """Where it was found: 'pending', 'priority', 'group', 'turns', 'working', 'delayed', 'dead', 'waiting', 'away' (it
    is worked on in another queue); None is nowhere, as what is final."""
    function: str | None
    """The name of the decorated function, where the payload is a call of one; None is no call, where `function_known`
    says so."""
    group: str | None
    priority: int
    attempt: int
    """How often it was handed out."""
    forgiven: int
    """Attempts of these that do not count."""
    max_attempts: int | None
    requeue_count: int
    timeout: float | None
    """Length of its leases."""
    enqueue_time: float | None
    ready_since: float | None
    """Since when it has been ready, where it is pending."""
    last_dequeue_time: float | None
    last_requeue_time: float | None
    due: float | None
    """When it is due, where it is delayed."""
    lease_end: float | None
    """When its lease ends, where it is worked on."""
    renewed: float | None
    """When its lease was renewed last, or began."""
    died: float | None
    release_time: float | None
    """When it became final."""
    kept_until: float | None
    """Until when a final state can be read."""
    worker: str | None
    """The live or lost worker that has it in hand, as far as hearts tell."""
    progress: Any
    result: Any
    error: str | None
    """Its last error, whole."""
    history: tuple[Attempt, ...]
    """Its failed attempts, at most ten: the first and the last nine."""
    payload: Any
    """What was enqueued; None where it is longer than was asked for, or cannot be read."""
    raw: bytes | None
    """The same as bytes; None where it is longer than was asked for, or gone."""
    size: int | None
    """Length of the payload in bytes; None where it is gone."""
    broken: str | None
    """What is wrong with what the server has of it: 'no state', 'no payload', 'the state is no hash' …; None where
    nothing is."""
    token: str = ''
    """What tells this hand-out from any other of the task, as in `torrelque.TorrelqueTaskId`; '' where it is not worked
    on."""
    function_known: bool = True
    """Whether the payload tells what it is a call of, if of anything.  One is not read, or cannot be; of one above
    64 kB, its beginning may not tell."""
    flow: str | None = None
    """The flow whose task it is."""
    gives_up: float | None = None
    """When it is cancelled, where it is a flow that has a timeout, or one that is being made."""
    total: int | None = None
    """Of a flow, as the rest: how many tasks it has had."""
    left: int | None = None
    """How many of them have not ended."""
    dead: int | None = None
    """How many of these are dead."""
    failed: int | None = None
    """How many have ended by a failure, skipped ones among them."""
    away: str | None = None
    """The queue where it is worked on, or will be, if that is another one than its flow's."""

    @property
    def error_line(self) -> str | None:
        """The last line of the error that says something."""
        lines = [line for line in (self.error or '').splitlines() if line.strip()]
        return lines[-1].strip() if lines else None


@dataclass(frozen=True, slots=True)
class Page(Value):
    """Some tasks of one place, in its order."""

    queue: str
    place: str
    server_time: float
    tasks: tuple[TaskView, ...]
    cursor: str | None
    """What `Operator.page` takes as ``after`` for the next page; None where nothing is behind this one."""
    total: int
    """How many tasks are in the place, holes that cancelled ones left in the list counted; of 'orphaned', how many are
    worked on."""
    broken: tuple[str, ...] = ()
    """Short names of the queue's keys that were met and hold something else, so that tasks are missing."""
    looked_at: int = 0
    """How many tasks were looked at for it."""
    away: tuple[AwayShard, ...] = ()
    """Shards that have not answered, so that what they have is missing."""

    def __iter__(self) -> Iterator[TaskView]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)


@dataclass(frozen=True, slots=True)
class GroupView(Value):
    """A group of tasks."""

    queue: str
    name: str
    waiting: int
    """Tasks that are pending."""
    slots: int
    """Slots in use."""
    limit: float
    """How many there are; ``math.inf`` is no limit."""
    rate: tuple[int, float] | None
    """So many starts in so many seconds; None is no limit."""
    tokens: float | None
    """How many may start at once by the rate; None where there is none."""
    own_limit: bool
    own_rate: bool
    """Whether these are the group's own, and not the default."""
    paused: bool
    probe: float | None
    """When its pause lets the next task through."""
    head: str | None
    """The id of the task whose turn is next."""
    oldest: float | None
    """Since when its first task has been ready."""


@dataclass(frozen=True, slots=True)
class Groups(Value):
    """Groups in an order, out of a survey of all."""

    queue: str
    server_time: float
    """When the survey began."""
    took: float
    """How long it took (s): groups that came up or ended meanwhile may be missing, or be there."""
    groups: tuple[GroupView, ...]
    total: int
    """How many were looked at."""
    broken: tuple[str, ...] = ()
    """Short names of the queue's keys that hold something else, so that figures are missing."""
    away: tuple[AwayShard, ...] = ()
    """Shards that have not answered, so that what they have is missing."""

    def __iter__(self) -> Iterator[GroupView]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)


@dataclass(frozen=True, slots=True)
class RunningView(Value):
    """A task that a worker has, or had, in hand."""

    id: str
    queue: str
    name: str
    group: str | None
    attempt: int
    since: float
    """When the worker took it, as Unix time of the server as far as the beat tells."""


@dataclass(frozen=True, slots=True)
class WorkerView(Value):
    """A worker that has a heartbeat."""

    name: str
    queue: str
    """The queue whose key tells of it."""
    state: str
    """'running', 'stopping', 'stuck' (it lives, and takes nothing though something is ready, or its event loop stands
    still), 'lost' (it did not say goodbye, and does not live)."""
    host: str
    pid: int
    version: str
    started: float | None
    seen: float
    """When its last beat came, by the server's clock."""
    interval: float
    """From one beat to the next (s)."""
    queues: tuple[str, ...]
    functions: tuple[str, ...]
    """Names of the functions that it knows, at most 100, and see `functions_cut`; () where it calls a handler for all
    tasks."""
    concurrency: int
    busy: int
    running: tuple[RunningView, ...]
    """What it has in hand, the longest first, at most 100."""
    succeeded: int
    failed: int
    dead: int
    lost: int
    hanging: int
    lag: float | None
    """How late (s) its event loop was at the most, between its last two beats."""
    claimed: float | None
    """How long (s) before `seen` its last claim was answered."""
    rss: int | None
    """Memory of its process, in bytes."""
    why: str | None
    """What is wrong with it, in words, where it is stuck or lost."""
    functions_cut: bool = False
    """Whether it knows more functions than are named, because its heart had no room for them."""


@dataclass(frozen=True, slots=True)
class ErrorGroup(Value):
    """Failures that are alike."""

    fingerprint: str
    """Eight hexadecimal digits; `Selection.error` takes them."""
    count: int
    dead: int
    """How many of these are dead; the others are delayed for another attempt."""
    what: str
    """The class of the exception, or the first line."""
    where: str
    """File and function of the innermost frame that is the application's own, as ``mail.py:send``; '' where that is not
    known."""
    message: str
    """The message, with what differs from one to the other left out."""
    first: float
    last: float
    functions: tuple[str, ...]
    groups: tuple[str, ...]
    """Groups of tasks, at most ten."""
    attempts: tuple[int, int]
    """The fewest attempts of one, and the most."""
    sample: str
    """One whole error, the newest."""
    ids: tuple[str, ...]
    """Ids of the newest ten."""
    by_function: tuple[tuple[str | None, int], ...] = ()
    """How many there are of each function, the most first, at most 100; None is tasks that are no call of one."""
    by_group: tuple[tuple[str | None, int], ...] = ()
    """Likewise of each group of tasks; None is tasks without one."""


@dataclass(frozen=True, slots=True)
class Errors(Value):
    """What failed, grouped; of a window, the newest."""

    queue: str
    server_time: float
    errors: tuple[ErrorGroup, ...]
    """The most frequent first."""
    dead_seen: int
    dead: int
    """Dead tasks that were looked at, of all."""
    delayed_seen: int
    delayed: int
    """Delayed tasks that were looked at, of all; those without an error, which wait for their first time, are among
    them."""
    away: tuple[AwayShard, ...] = ()
    """Shards that have not answered, so that what they have is missing."""

    def __iter__(self) -> Iterator[ErrorGroup]:
        return iter(self.errors)

    def __len__(self) -> int:
        return len(self.errors)


@dataclass(frozen=True, slots=True)
class Totals(Value):
    """What became of attempts, as workers with a heartbeat have counted."""

    succeeded: int = 0
    failed: int = 0
    """Attempts that failed, those of dead tasks too."""
    dead: int = 0
    lost: int = 0
    run_time: float = 0.0
    """How long (s) handlers ran, all together."""

    @classmethod
    def together(cls, several: Iterable['Totals']) -> 'Totals':
        """The sums of several."""
        return cls(*map(sum, zip(*map(_FIGURES, several), strict=True)))


_FIGURES = operator.attrgetter(*(field.name for field in fields(Totals)))


@dataclass(frozen=True, slots=True)
class FunctionView(Value):
    """A decorated function over a time."""

    queue: str
    name: str
    """``*other`` is those above the first 200; '' is tasks that are no call of a function."""
    totals: Totals
    mean: float | None
    """Mean run time (s)."""
    p50: float | None
    p95: float | None
    """Run times (s), as far as buckets tell."""


@dataclass(frozen=True, slots=True)
class Sizes(Value):
    """How much there was, as a worker has sampled it; of an hour, the most of each."""

    pending: int
    working: int
    delayed: int
    dead: int
    oldest: float
    """For how long (s) the oldest task had been ready."""
    workers: int
    slots: int
    busy: int


@dataclass(frozen=True, slots=True)
class Record(Value):
    """A minute or an hour of a queue.  A time in which no worker with a heartbeat wrote is no record: a gap."""

    queue: str
    start: float
    length: float
    """60 or 3600."""
    functions: tuple[tuple[str, Totals], ...]
    run: tuple[int, ...]
    """Attempts by run time, in the 16 buckets of `torrelque.operate.BUCKETS`."""
    wait: tuple[int, ...]
    """Samples of tasks, by how long they had been ready when they were taken."""
    wait_time: float
    """The same (s), all together."""
    sizes: Sizes | None

    @property
    def totals(self) -> Totals:
        """All functions together."""
        return Totals.together(one for _, one in self.functions)


@dataclass(frozen=True, slots=True)
class Holder(Value):
    """Who is in the way: a task that holds a slot."""

    id: str
    doing: str
    """'working', 'delayed' (for a retry: it keeps its slot), 'next' (its turn is next), 'unknown'; of tasks of a flow
    'pending', 'waiting' and 'dead', too."""
    function: str | None
    worker: str | None
    since: float | None
    renewed: float | None
    until: float | None
    """When its lease ends, or it is due."""
    error: str | None
    orphaned: bool = False
    """Whether it is worked on by nobody, as far as is known."""


@dataclass(frozen=True, slots=True)
class Reason(Value):
    """Why a task, a group or a queue does not move."""

    code: str
    """One of `torrelque.operate.CODES`."""
    text: str
    """A sentence for people, without the id.  Names in it are as they are in the server: show them made visible."""
    since: float | None = None
    until: float | None = None
    """When it is over by itself, as far as that is known."""
    count: int | None = None
    """How many: tasks that go first, slots in use, workers."""
    limit: float | None = None
    """Of how many, where it is a limit."""
    holders: tuple[Holder, ...] = ()
    workers: tuple[str, ...] = ()
    error: str | None = None
    command: str | None = None
    """The command line that changes it, quoted for a shell; None where only time or a worker does."""
    most: int | None = None
    """Of 'behind': how many tasks go first at the most, where ``count`` is how many do at the least."""
    queue: str = ''
    """Of which queue it is."""


@dataclass(frozen=True, slots=True)
class Act(Value):
    """What an operator did."""

    queue: str
    time: float
    who: str
    """Whoever did it: user and host, or the name of a visitor."""
    act: str
    """'redrive', 'cancel', 'requeue', 'bury', 'pause', 'resume', 'limit', 'sweep', 'enqueue', 'schedule', 'unschedule',
    'fire', 'stop', or another word that was given to `Operator.record`."""
    what: str
    """On what: a selection, a group, a limit; in words."""
    count: int
    """Tasks that it changed."""
    number: str = ''
    """That of the operator, where it has one; a bulk act on several queues, and what stands for two acts, has it each
    time."""


@dataclass(frozen=True, slots=True)
class Outcome(Value):
    """What a bulk act came to."""

    act: str
    queue: str
    seen: int
    """Tasks that were looked at."""
    matched: int
    done: int
    refused: tuple[tuple[str, int], ...]
    """Why others of those that matched were not changed, and how many: 'not_dead', 'unknown' …"""
    dry_run: bool
    finished: bool
    """Whether all was looked at; False after a ``limit``, or where the call was ended."""
    took: float
    examples: tuple[TaskView, ...] = ()
    """Some of those that matched; only the command line puts them there, after a dry run."""
    away: tuple[AwayShard, ...] = ()
    """Shards that have not answered, so that their tasks were not looked at: of a dry run, and of progress.  An act
    raises in the end, where there are some."""


@dataclass(frozen=True, slots=True)
class Finding(Value):
    """One finding about the soundness of a queue or its server."""

    queue: str
    level: str
    """'ok', 'note', 'warning', 'error'."""
    subject: str
    text: str
    advice: str | None


@dataclass(frozen=True, slots=True)
class Found(Value):
    """A queue that is known to the registry, or was found by a scan."""

    name: str
    seen: float | None
    """When something wrote of it last; None where a scan found it."""
