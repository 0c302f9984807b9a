"""What a worker tells of itself, and how other processes read it."""

import functools
import json
import logging
import os
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeGuard, TypeVar

from torrelque import TorrelqueQueue

from .bounds import BOUNDS
from .held import Held
from .scripts import run_script
from .version import version

logger = logging.getLogger(__package__)

T = TypeVar('T')


class RunningTask(NamedTuple):
    """A task that a worker has in hand."""

    id: str
    queue: str
    name: str
    """The name of its job, '' where that has none."""
    group: str | None
    attempt: int
    since: float
    """When the worker took it, a Unix time of its machine (s)."""


class WorkerHealth(NamedTuple):
    """How a worker is.  Instants are Unix times of its machine (s)."""

    name: str
    host: str
    pid: int
    state: str
    """'new', 'running', 'stopping' or 'stopped'; 'lost' where it went without a goodbye."""
    started: float | None
    seen: float
    """When the worker said this."""
    queues: tuple[str, ...]
    concurrency: int
    running: tuple[RunningTask, ...]
    """The tasks in hand, the longest first; of a worker of another process a hundred at the most."""
    succeeded: int
    failed: int
    """Attempts that failed, those of dead tasks too, and those that asked for another by `Retry`."""
    dead: int
    """Tasks that the worker buried; tasks whose death nobody saw, of which it told its hooks, are not among them."""
    lost: int
    """Deliveries whose lease was lost, or whose task was cancelled."""

    hanging: int = 0
    """Places that are taken by threads that hang: their task was given back, or has failed by its time limit, and the
    handler goes on all the same."""

    version: str = ''
    """Which version of the package it has."""
    functions: tuple[str, ...] = ()
    """Names of the functions that its app has; of a worker of another process a hundred at the most."""
    busy: int = 0
    """How many tasks are in hand, those too that are not in ``running``."""
    lag: float | None = None
    """How late (s) its event loop was at the most, since the last beat; None without a heartbeat."""
    claimed: float | None = None
    """How long (s) ago a claim of its was answered; None before the first one, while it waits for its own ``rate``, and
    without a heartbeat, unless it is observed."""
    rss: int | None = None
    """Memory of its process in bytes, where the system tells."""
    functions_cut: bool = False
    """Whether its app has more functions than ``functions`` names: they are too many, or their names too long, for a
    heart."""
    throttled: bool = False
    """Whether it waits for its own ``rate``, and so makes no claim."""

    @property
    def healthy(self) -> bool:
        """Whether the worker takes tasks, for a probe of an orchestrator.  When all its places hang it never will
        again.
        """
        return self.state == 'running' and self.hanging < self.concurrency


async def get_workers(queue: TorrelqueQueue, *, lost: bool = False) -> list[WorkerHealth]:
    """The workers of a queue that have a heartbeat and live, in order of their names.

    A worker lives until its last beat is older than three of its own intervals, by the server's clock.  The call goes
    over the queue's own connection.  A field that a worker of another version does not tell has a neutral value; a
    worker whose health cannot be read at all is left out, with a warning in the log.

    :param lost: have those in the list, too, that went without a goodbye in the last hour: with the state 'lost', and
        with what they had in hand at their last beat.
    :raises TorrelqueConnectionError: the server gave no reply for some ten seconds.
    """
    await queue.ready()
    found: dict[bytes, WorkerHealth] = {}
    passed, keys = 0, (queue.keys['pending'], queue.keys['never'])
    while True:
        now, count, *hearts = await run_script(queue, 'hearts', keys, passed, BOUNDS.health_page)
        passed += count
        for name, text, *times in hearts:
            lives = not times or now - _number(times[0]) < BOUNDS.missed_beats * _number(times[1])
            if (lives or lost) and (health := _read(queue.name, name, text)) is not None:
                found[name] = health if lives else health._replace(state='lost')
        if count < BOUNDS.health_page:
            return sorted(found.values(), key=lambda health: health.name)


def tell_running(held: Iterable[Held], offset: float) -> tuple[RunningTask, ...]:
    """What is told of tasks in hand.

    :param offset: what makes a Unix time (s) of one of the event loop's.
    """
    return tuple(
        RunningTask(str(each.id), each.queue.name, each.job.name, each.group, each.attempt, each.since + offset)
        for each in (one.delivery for one in held)
    )


current_version = functools.cache(version)
"""Which version of the package this is; it does not change while a process runs."""


def memory() -> int | None:
    """How much memory this process has in bytes; None where the system does not tell."""
    try:
        with open('/proc/self/statm', 'rb') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _read(queue: str, name: bytes, text: bytes) -> WorkerHealth | None:
    who = name.decode('utf-8', 'backslashreplace')
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as exc:
        logger.warning('queue %r: the health of worker %r cannot be read: %s', queue, who, exc)
        return None
    if not isinstance(fields, dict) or not any(isinstance(fields.get(name), str) for name in ('name', 'state')):
        logger.warning('queue %r: the health of worker %r cannot be read: it is none', queue, who)
        return None
    queues, running = fields.get('queues'), fields.get('running')
    tasks = [_read_task(task) for task in running if isinstance(task, dict)] if isinstance(running, list) else []
    functions = fields.get('functions')
    succeeded, failed, dead, lost_ones, hanging = (
        _get(fields, name, 0) for name in ('succeeded', 'failed', 'dead', 'lost', 'hanging')
    )
    return WorkerHealth(
        who, _get(fields, 'host', ''), _get(fields, 'pid', 0), _get(fields, 'state', ''),
        _optional(fields, 'started'), _get(fields, 'seen', 0.0),
        tuple(each for each in queues if isinstance(each, str)) if isinstance(queues, list) else (),
        _get(fields, 'concurrency', 1), tuple(tasks),
        succeeded, failed, dead, lost_ones, hanging, _get(fields, 'version', ''),
        tuple(each for each in functions if isinstance(each, str)) if isinstance(functions, list) else (),
        _get(fields, 'busy', len(tasks)), _optional(fields, 'lag'), _optional(fields, 'claimed'),
        _get(fields, 'rss', 0) or None, fields.get('functions_cut') is True, fields.get('throttled') is True,
    )  # fmt: skip


def _read_task(fields: dict[str, Any]) -> RunningTask:
    group = fields.get('group')
    return RunningTask(
        _get(fields, 'id', ''), _get(fields, 'queue', ''), _get(fields, 'name', ''),
        group if isinstance(group, str) else None, _get(fields, 'attempt', 0), _get(fields, 'since', 0.0),
    )  # fmt: skip


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number that anything can be made of."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < BOUNDS.health_number


def _optional(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    return float(value) if _is_number(value) else None


def _get(fields: dict[str, Any], name: str, neutral: T) -> T:
    """A field of the kind of its neutral value, or that value."""
    value: Any = fields.get(name)
    return value if _is_like(value, neutral) else neutral


def _is_like(value: object, neutral: object) -> bool:
    if isinstance(neutral, (int, float)):
        return _is_number(value) and isinstance(value, (int, type(neutral)))
    return isinstance(value, type(neutral)) and not isinstance(value, bool)
