"""What a worker tells of itself, and the heartbeat by which other processes see it."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from torrelque import Torrelque

from .bounds import Bounds
from .scripts import run_script
from .trace import reason

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
    """'new', 'running', 'stopping' or 'stopped'."""
    started: float | None
    seen: float
    """When the worker said this."""
    queues: tuple[str, ...]
    concurrency: int
    running: tuple[RunningTask, ...]
    """The tasks in hand, the longest first."""
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

    @property
    def healthy(self) -> bool:
        """Whether the worker takes tasks, for a probe of an orchestrator.  When all its places hang it never will
        again.
        """
        return self.state == 'running' and self.hanging < self.concurrency


class Heart:
    """Writes the health of a worker into one of its queues, over that queue's own connection, until it is stopped.

    ``{queue}:workers`` is a sorted set of names by the time until which they count as alive (ms, of the server), and
    ``{queue}:worker:NAME`` the health as JSON, with a TTL of some beats; they vanish with the last worker.
    """

    def __init__(self, queue: Torrelque, interval: float, tell: Callable[[], WorkerHealth], bounds: Bounds) -> None:
        self._queue = queue
        self._interval = interval
        self._bounds = bounds
        self._tell = tell
        loop = asyncio.get_running_loop()
        # What the heart waits for may swallow a cancellation, so there is another sign for the end as well.
        self._over: asyncio.Future[None] = loop.create_future()
        self.living = loop.create_task(self._live(), name='torrelque heart')
        """The asyncio task of the heart: done when the goodbye was said."""

    def end(self) -> None:
        """Beat no more, and write down that the worker is gone; `living` is done then."""
        if not self._over.done():
            self._over.set_result(None)

    async def beat(self, health: WorkerHealth) -> None:
        """Write down that the worker lives.  A failure is logged only, because the next beat comes."""
        text = json.dumps({**health._asdict(), 'running': [task._asdict() for task in health.running]})
        try:
            await self._write(health.name, text)
        except Exception as exc:
            name = self._queue.name
            logger.warning('queue %r: the heartbeat could not be written: %s', name, reason(exc, name))

    async def _live(self) -> None:
        try:
            while not self._over.done():
                await self._until_over(self.beat(self._tell()))
                await asyncio.wait([self._over], timeout=self._interval)
        finally:
            await self._say_goodbye()

    async def _until_over(self, beat: Any) -> None:
        """Wait for a beat; at the end for a moment only, because the server may be away."""
        beating = asyncio.ensure_future(beat)
        try:
            await asyncio.wait([beating, self._over], return_when=asyncio.FIRST_COMPLETED)
            if not beating.done():
                await asyncio.wait([beating], timeout=self._bounds.beat_closing)
        finally:
            beating.cancel()

    async def _say_goodbye(self) -> None:
        # The goodbye must come behind the last beat.  It does, because both go over one connection, even when nobody
        # waits for them any more.
        try:
            await asyncio.wait_for(self._write(self._tell().name, ''), self._bounds.beat_closing)
        except Exception as exc:
            name = self._queue.name
            why = reason(exc, name) if str(exc) else 'no reply of the server'
            logger.warning('queue %r: the heartbeat could not be ended: %s', name, why)

    async def _write(self, name: str, text: str) -> None:
        keys = self._queue.keys['workers'], f'{self._queue.keys["worker"]}:{name}'
        life = max(1, round(self._interval * self._bounds.missed_beats * 1000))
        await run_script(self._queue, 'beat', keys, name, text, life)


async def stop_hearts(hearts: Sequence[Heart], bounds: Bounds) -> None:
    """Have hearts beat no more, and write down that the worker is gone; also when the call is cancelled."""
    for heart in hearts:
        heart.end()
    if hearts:
        _, late = await asyncio.wait([heart.living for heart in hearts], timeout=3 * bounds.beat_closing)
        for living in late:
            living.cancel()


async def get_workers(queue: Torrelque) -> list[WorkerHealth]:
    """The workers of a queue that have a heartbeat and live, in order of their names.

    The call goes over the queue's own connection.  A field that a worker of another version does not tell has a neutral
    value; a worker whose health cannot be read at all is left out, with a warning in the log.

    :raises TorrelqueConnectionError: the server gave no reply for some ten seconds.
    """
    names: list[bytes] = await queue.command('ZRANGE', queue.keys['workers'].encode(), 0, -1)
    prefix = queue.keys['worker'].encode()
    texts = await queue.command('MGET', *(prefix + b':' + name for name in names)) if names else []
    found = [_read(queue.name, name, text) for name, text in zip(names, texts, strict=True) if text is not None]
    return sorted((health for health in found if health is not None), key=lambda health: health.name)


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
    return WorkerHealth(
        who, _get(fields, 'host', ''), _get(fields, 'pid', 0), _get(fields, 'state', ''),
        _get(fields, 'started', 0.0) if _is_number(fields.get('started')) else None, _get(fields, 'seen', 0.0),
        tuple(each for each in queues if isinstance(each, str)) if isinstance(queues, list) else (),
        _get(fields, 'concurrency', 1), tuple(tasks),
        *(_get(fields, name, 0) for name in ('succeeded', 'failed', 'dead', 'lost', 'hanging')),
    )  # fmt: skip


def _read_task(fields: dict[str, Any]) -> RunningTask:
    group = fields.get('group')
    return RunningTask(
        _get(fields, 'id', ''), _get(fields, 'queue', ''), _get(fields, 'name', ''),
        group if isinstance(group, str) else None, _get(fields, 'attempt', 0), _get(fields, 'since', 0.0),
    )  # fmt: skip


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _get(fields: dict[str, Any], name: str, neutral: T) -> T:
    """A field of the kind of its neutral value, or that value."""
    value: Any = fields.get(name)
    return value if _is_like(value, neutral) else neutral


def _is_like(value: object, neutral: object) -> bool:
    if isinstance(neutral, float):
        return _is_number(value)
    return isinstance(value, type(neutral)) and not isinstance(value, bool)
