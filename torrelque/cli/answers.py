"""What acting commands write with ``--json``, where that is no value of `torrelque.operate`; ``docs/schema`` has it."""

from typing import Any, TypedDict


class PauseAnswer(TypedDict):
    """Of ``pause`` and ``resume``: a queue, or a group or a schedule of it."""

    queue: str
    group: str | None
    schedule: str | None
    paused: bool
    was_paused: bool
    probe: float | None
    """s from one task that goes through to the next; None where none does."""


class LimitAnswer(TypedDict):
    """Of ``limit``: what is set for a group, or, where that is None, for all that have nothing of their own."""

    queue: str
    group: str | None
    concurrency: int | str
    """How many at once; 'none' is no limit, 'default' that of all groups."""
    rate: tuple[int, float] | str
    """So many in so many seconds; or likewise."""


class ScheduleAnswer(TypedDict):
    """Of ``schedule`` and ``unschedule``."""

    queue: str
    name: str
    changed: bool
    """False where the very same was set already."""
    next: float | None
    """When it fires next; None where it is removed."""


class InstantAnswer(TypedDict):
    """Of ``schedules --next``: when a schedule fires."""

    queue: str | None
    """None of an expression of ``--cron``, which is in no queue."""
    name: str | None
    """None likewise."""
    instant: float


class ProblemAnswer(TypedDict):
    """Of ``config check``: something that is wrong with a file of settings."""

    file: str
    line: int | None
    """None where it was not found."""
    key: str
    """The path of the key; '' is the whole file."""
    text: str


class ChangeAnswer(TypedDict):
    """Of ``config apply``: what is to be set, and is set, unless it is a dry run."""

    kind: str
    """'limit' or 'schedule'."""
    queue: str
    name: str | None
    """That of the group, or of the schedule; None is the default of all groups."""
    now: str
    """What the server has, in words."""
    file: str
    """What the file says, likewise."""


class ConfigAnswer(TypedDict):
    """Of ``config show``: what holds by a file of settings."""

    file: str
    found: str
    """How it was found, in words."""
    config: dict[str, Any]
    """Its sections, as TOML has them."""


class SweepAnswer(TypedDict):
    """Of ``sweep``: how many tasks it has moved, as `torrelque.SweepResult` has them."""

    queue: str
    stale: int
    delayed: int
    dead: int
    fired: int


class ShardAnswer(TypedDict):
    """Of ``shards``: a shard of a queue; one in one place is its only one."""

    queue: str
    shard: int
    """Its number, from 0."""
    tag: str
    """The hash tag of its keys."""
    slot: int
    """The slot of a Cluster that it is in."""
    server: str
    """Where it is: the address of the primary that has the slot, or of the server."""
    tasks: int | None
    """None, as the rest, where no answer came."""
    pending: int | None
    working: int | None
    delayed: int | None
    dead: int | None
    waiting: int | None


class EnqueueAnswer(TypedDict):
    """Of ``enqueue``: a task that is there now."""

    queue: str
    id: str


class EndAnswer(EnqueueAnswer):
    """Of ``enqueue --wait``: what became of it."""

    status: str
    result: Any
    error: str | None


class SinkAnswer(TypedDict):
    """Of ``alerts --test``: whether a sink was told."""

    sink: str
    error: str | None
    """Why it was not."""
