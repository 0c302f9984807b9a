"""The sections of a file, as structs: their fields are the keys, and there are no others.

A field that is None says nothing, so that what the queue, the worker or the command line have by default holds.
"""

from typing import Any, ClassVar, Literal

from msgspec import Struct, field

from .kinds import (
    Address,
    Attempts,
    Concurrency,
    Count,
    Factor,
    Flag,
    Instant,
    Instants,
    Length,
    Names,
    Number,
    Priority,
    Processes,
    Rate,
    Serialiser,
    ShardCount,
    Share,
    Shares,
    SomeTime,
    StartRate,
    Target,
    Targets,
    Text,
    Url,
    Urls,
    Webhook,
)


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all have in common."""


class ServerConfig(Section, frozen=True):
    """``[server]``: where the queues are."""

    url: Url | None = None
    """Its address; what the environment says in ``TORRELQUE_URL`` or ``REDIS_URL`` goes before it."""
    embedded: Text | None = None
    """The folder, beside the file, in which an embedded server keeps its data: ``torrelque run`` starts it at that
    address, which is of this machine, and ends it with the workers."""


class LimitConfig(Section, frozen=True):
    """What limits a group, the whole of it: what is not said is the default of all groups."""

    concurrency: Concurrency = None
    """How many tasks of the group are worked on at a time; ``math.inf`` is no limit, None the default."""
    rate: Rate = None
    """How many begin, and in how many seconds; likewise."""


class QueueConfig(Section, frozen=True):
    """``[queues.NAME]``: a queue."""

    shards: ShardCount | None = None
    """How many shards it has; None is none where it has no ``servers``, and else one on each, or as many as there are.
    """
    servers: Urls | None = None
    """The addresses of the servers that it is on, in the same order everywhere, which know nothing of each other; None
    is that of ``[server]``, which may be a Cluster."""
    max_tasks: Count | None = None
    """How many tasks it may have before an enqueue is refused."""
    task_timeout: SomeTime = 300
    """Length of leases (s) where an enqueue says nothing."""
    result_ttl: Length = 3600
    """How long (s) results can be read where nothing else is said."""
    serialiser: Serialiser | None = None
    """The module, or what of a module, that has ``dumps`` and ``loads``; JSON by default."""
    limits: dict[str, LimitConfig] = {}
    """What limits its groups, by name; ``*`` is the default of all groups.  Only ``torrelque config apply`` sets it."""


class RetryConfig(Section, frozen=True):
    """When a failed task is tried again, see `torrelque.worker.Backoff`."""

    base: Length = 1
    factor: Factor = 2
    cap: Length = 300
    jitter: Flag = True


class BreakerConfig(Section, frozen=True):
    """When a worker pauses its queue, see `torrelque.worker.Breaker`."""

    failures: Count = 5
    share: Share | None = None
    window: Count = 20
    pause: SomeTime = 30
    per: Literal['queue', 'group'] = 'queue'


class WorkerConfig(Section, frozen=True):
    """``[workers.NAME]``: a worker, of an app or of a handler; see `torrelque.worker.Worker`."""

    app: Targets | None = None
    """Where its app is, ``module:name``, or several with commas between them."""
    handler: Target | None = None
    """Instead, where the handler of the tasks of its ``queues`` is."""
    queues: Shares | None = None
    """The queues that it serves, in this order, or by weights; None is all queues of the app."""
    steal: Names = ()
    """Queues that it serves while those have nothing."""
    concurrency: Count = 10
    processes: Processes = 1
    """How many processes it has, each with so much concurrency."""
    max_attempts: Attempts | None = None
    retry: RetryConfig | Length = RetryConfig()
    """Waits that grow, or always the same (s)."""
    timeout: SomeTime | None = None
    breaker: BreakerConfig | None = None
    rate: StartRate | None = None
    run_in: Literal['thread', 'process'] = 'thread'
    result_ttl: Length | None = None
    shutdown_timeout: Length = 30
    heartbeat: Length = 5
    """Time (s) between two beats; 0 is none."""
    imports: Names = ()
    """Modules that are imported first."""
    uvloop: Flag = False


class ScheduleConfig(Section, frozen=True):
    """``[schedules.NAME]``: what is enqueued again and again.  Only ``torrelque config apply`` sets it."""

    queue: Text
    task: Text | None = None
    """The name of the decorated function that is called."""
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    payload: Any = None
    """Instead of a call, the task as it is enqueued."""
    cron: Text | None = None
    every: SomeTime | None = None
    at: Instants | None = None
    """Instants, as ISO 8601."""
    timezone: Text | None = None
    phase: Length | None = None
    jitter: Length | None = None
    until: Instant | None = None
    """The last instant that may fire, as ISO 8601."""
    overlap: Literal['skip', 'allow', 'replace', 'queue'] = 'skip'
    missed: Literal['latest', 'all', 'none'] = 'latest'
    grace: Length | None = None
    group: Text | None = None
    priority: Priority = 0
    max_attempts: Attempts | None = None
    lease: SomeTime | None = None


class HealthConfig(Section, frozen=True):
    """``[health]``: what ``torrelque run`` tells of its health."""

    bind: Address | None = None
    """Where it answers probes."""
    file: Text | None = None
    """What it touches as long as its event loop turns."""
    stall: SomeTime = 60
    """How long (s) the event loop may stand still."""
    metrics: Literal['process', 'queue'] = 'process'
    """What ``/metrics`` tells there: of the worker alone, or of its queues too, where it is the only one of these."""


class MetricsConfig(Section, frozen=True):
    """``[metrics]``: where ``torrelque metrics --serve`` listens."""

    bind: Address | None = None


class RuleConfig(Section, frozen=True):
    """``[alerts.NAME]``: a rule."""

    when: Text
    """What is looked at."""
    queue: Names | None = None
    """The queues; None is all that the file has."""
    above: Number | None = None
    """The value from which on it is ill; None is as the rule has it."""
    for_: Length | None = field(default=None, name='for')
    """So long (s) without a break."""
    below: Number | None = None
    """The value below which it is well again; None is the other one."""
    clear_for: Length | None = None
    """So long (s)."""
    repeat: SomeTime | None = None
    """Time (s) after which it is told again while it lasts."""
    at_least: Count | None = None
    """Of a share, so many attempts there must have been."""
    to: Names | None = None
    """The sinks that are told; None is all."""


class AlertsConfig(Section, frozen=True):
    """``[alerts]``: the rules, by name."""

    REST: ClassVar[str] = 'rules'
    """The field that has the tables whose names are no keys."""

    defaults: Flag = False
    """Whether there are the rules that need no numbers of yours."""
    rules: dict[str, RuleConfig] = {}


class SinkConfig(Section, frozen=True):
    """``[sinks.NAME]``: where alerts are sent."""

    webhook: Webhook


class DashboardConfig(Section, frozen=True):
    """``[dashboard]``: what ``torrelque dashboard`` has where the command line says nothing."""

    bind: Address = ('127.0.0.1', 8765)
    host: Names = ()
    allow: Names = ()
    insecure: Flag = False
    payloads: Literal['redacted', 'hidden', 'full'] = 'redacted'
    title: Text | None = None


class FileConfig(Section, frozen=True):
    """A file."""

    server: ServerConfig = ServerConfig()
    queues: dict[str, QueueConfig] = {}
    workers: dict[str, WorkerConfig] = {}
    schedules: dict[str, ScheduleConfig] = {}
    health: HealthConfig = HealthConfig()
    metrics: MetricsConfig = MetricsConfig()
    alerts: AlertsConfig = AlertsConfig()
    sinks: dict[str, SinkConfig] = {}
    dashboard: DashboardConfig = DashboardConfig()
