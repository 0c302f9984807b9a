"""One look at the server: all that tells why a task, a group or the queue does not move, at one moment."""

import math
from dataclasses import dataclass, field
from typing import Any

from torrelque import TorrelqueQueue, TorrelqueTaskStatus

from .asking import ask
from .parts import AwayError
from .reading import bytes_of, instant_of, number_of, text_of

RIGHT, LEFT = 10_000, 2_000
"""Ids of a list that are looked at from its right end, where claims take from, and from its left one."""
HEADS = 100
"""Heads of groups that are tried at the most."""
PAYLOAD = 65_536
"""Bytes of a payload that is read for the name of its function."""

_FIELDS = (
    'status', 'timeout', 'enqueue_time', 'dequeue_count', 'last_dequeue_time', 'last_requeue_time', 'ready_time',
    'release_time', 'order', 'group', 'priority', 'error', 'flow', 'total', 'queue', 'errand', 'tries', 'told_time',
)  # fmt: skip
"""Fields of a state, in the order in which the script reads them."""
TOLERATED = frozenset({'limits', 'probes', 'dead'})
"""Keys that may hold anything else, and claims go on."""


def lease_of(data: Any) -> float:
    """Length (s) of a lease, as the core reads it of a state."""
    return (number_of(data) or 300_000) / 1000


@dataclass(frozen=True)
class GroupSeen:
    """A group at that moment."""

    name: str
    slots: int
    limit: float
    own_limit: bool
    rate: tuple[float, float] | None
    """So many starts in so many seconds."""
    own_rate: bool
    dry: bool
    """Whether it has no token."""
    token_at: float | None
    """When it gets its next token, where it is dry."""
    halted: bool
    """Whether it is paused by its name."""
    shut: bool
    """Whether it is paused, and no probe may go now."""
    opens: float | None
    """When its next probe may go."""
    every: float | None
    """How far its probes are apart (ms)."""
    head: str | None
    rated: float | None
    """When it is to be looked at, because a token or a probe is due."""
    index: int
    """Tasks of the group that go before the one that was asked for."""


@dataclass(frozen=True)
class Seen:
    """What a look saw.  Instants are in seconds."""

    queue: TorrelqueQueue
    id: str | None
    """The task that was asked for; of a group, its next."""
    now: float
    raw: dict[str, Any]
    """All that the script told, by its names."""
    group: GroupSeen | None
    broken: tuple[str, ...]
    """Short names of keys that hold something else, so that claims fail."""
    state: dict[str, Any] = field(default_factory=dict)
    """Fields of the task's state; empty where it has none."""

    @property
    def status(self) -> TorrelqueTaskStatus | None:
        """The task's status; None where it cannot be read."""
        try:
            return TorrelqueTaskStatus(int(self.state['status']))
        except (KeyError, ValueError):
            return None

    def instant(self, name: str) -> float | None:
        """A field of the state that is an instant, in seconds."""
        return instant_of(self.state.get(name))

    def count(self, name: str) -> int:
        """A figure of the queue."""
        return int(self.raw[name] or 0)

    def told(self, name: str) -> float | None:
        """An instant that the script told, in seconds."""
        return instant_of(self.raw.get(name))

    @property
    def attempts(self) -> int:
        """How often the task was handed out."""
        return int(number_of(self.state.get('dequeue_count')) or 0)

    @property
    def lease(self) -> float:
        """Length of the task's lease."""
        return lease_of(self.state.get('timeout'))

    @property
    def error(self) -> str | None:
        """The task's last error."""
        found = self.state.get('error')
        return None if found is None else found.decode('utf-8', 'backslashreplace')


def _group(raw: dict[str, Any]) -> GroupSeen | None:
    if raw.get('group') is None:
        return None
    starts, period = number_of(raw['starts']), number_of(raw['period'])
    return GroupSeen(
        text_of(raw['group']), int(raw['slots']), number_of(raw['limit']) or math.inf, bool(raw['own_limit']),
        None if starts is None or period is None else (starts, period / 1000), bool(raw['own_rate']), bool(raw['dry']),
        instant_of(raw['token_at']), bool(raw['halted']), bool(raw['shut']), instant_of(raw['opens']),
        number_of(raw['every']), None if raw['head'] is None else text_of(raw['head']), instant_of(raw.get('rated')),
        int(raw.get('index') or 0),
    )  # fmt: skip


async def look(queue: TorrelqueQueue, task_id: str | None, group: str | None) -> Seen:
    """Look at a task, at a group and its next task, or at the queue."""
    words = bytes_of(task_id or ''), bytes_of(group or '', 'a group')
    reply = await ask(queue, 'look', *words, RIGHT, LEFT, HEADS, PAYLOAD)
    raw = {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
    next_id = text_of(raw['next']) if raw.get('next') else None
    known = raw.get('state') or []
    if queue.home is not queue:
        try:
            raw['workers'] = bool(await queue.home.command('EXISTS', queue.home.keys['workers']))
        except AwayError:
            # Nothing is known of workers, and the task can be told of all the same.
            raw['workers'] = False
    state: dict[str, Any] = {}
    if len(known) == len(_FIELDS) and known[0] is not None:
        state.update(zip(_FIELDS, known, strict=True))
    broken = tuple(name for name in map(text_of, raw['broken']) if name not in TOLERATED)
    return Seen(queue, task_id or next_id, raw['now'] / 1000, raw, _group(raw), broken, state)
