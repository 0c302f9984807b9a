"""What a worker tells of itself, and the heartbeat by which others see it."""

import json
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from torrelque import Torrelque

logger = logging.getLogger(__package__)

MISSED = 3
"""A worker whose heart missed so many beats is not told of any more."""


class RunningTask(NamedTuple):
    """A task that a worker has in hand."""

    id: str
    queue: str
    name: str
    """Of the job, '' where it has none."""
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
    """'new', 'running', 'stopping' or 'stopped'."""
    started: float | None
    seen: float
    """When this was told."""
    queues: tuple[str, ...]
    concurrency: int
    running: tuple[RunningTask, ...]
    """What it is doing, the longest first."""
    succeeded: int
    failed: int
    """Attempts that failed, those of dead tasks too."""
    dead: int
    """Tasks that it buried; not those of whose death it told because nobody else had."""
    lost: int
    """Deliveries whose lease was lost, or whose task was cancelled."""

    @property
    def healthy(self) -> bool:
        """Whether it takes tasks: for a probe of an orchestrator."""
        return self.state == 'running'


class Heart:
    """Writes the health of a worker into each of its queues.

    ``{queue}:workers`` is a sorted set of names by the time of their last beat (ms, of the worker's machine), and
    ``{queue}:worker:NAME`` the health as JSON, with a TTL of some beats; they vanish with the last worker.
    """

    def __init__(self, queues: Sequence[Torrelque], interval: float) -> None:
        self._queues = queues
        self._ttl = max(1, round(interval * MISSED * 1000))

    async def beat(self, health: WorkerHealth) -> None:
        """Tell that the worker lives.  What fails is logged: the next beat comes."""
        text = json.dumps({**health._asdict(), 'running': [task._asdict() for task in health.running]})
        now = round(health.seen * 1000)
        for queue in self._queues:
            names, key = _keys(queue, health.name)
            client: Any = queue.client
            try:
                await client.set(key, text, px=self._ttl)
                await client.zadd(names, {health.name.encode(): now})
                await client.zremrangebyscore(names, '-inf', now - 10 * self._ttl)
                await client.pexpire(names, 10 * self._ttl)
            except Exception as exc:
                logger.warning('the heartbeat could not be written: %s', exc)

    async def stop(self, name: str) -> None:
        """Tell that the worker is gone."""
        for queue in self._queues:
            names, key = _keys(queue, name)
            client: Any = queue.client
            try:
                await client.delete(key)
                await client.zrem(names, name.encode())
            except Exception as exc:
                logger.warning('the heartbeat could not be ended: %s', exc)


async def get_workers(queue: Torrelque) -> list[WorkerHealth]:
    """The workers of a queue that have a heartbeat and live, in order of their names."""
    names, _ = _keys(queue, '')
    client: Any = queue.client
    found = [name.decode() if isinstance(name, bytes) else name for name in await client.zrange(names, 0, -1)]
    texts = await client.mget([_keys(queue, name)[1] for name in found]) if found else []
    return sorted(_read(text) for text in texts if text is not None)


def _keys(queue: Torrelque, name: str) -> tuple[bytes, bytes]:
    # As bytes: the client, which is the caller's, may encode text otherwise.
    base = queue.keys['pending'].removesuffix('pending').encode()
    return base + b'workers', base + b'worker:' + name.encode()


def _read(text: bytes | str) -> WorkerHealth:
    fields = json.loads(text)
    running = tuple(RunningTask(**task) for task in fields.pop('running'))
    return WorkerHealth(**{**fields, 'queues': tuple(fields['queues']), 'running': running})
