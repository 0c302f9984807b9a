"""What the workload drives: a queue by as few verbs as all of them have, so that others can be judged beside ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import redis.asyncio
import redis.asyncio.sentinel

from torrelque import Torrelque, TorrelqueError

if TYPE_CHECKING:
    from torrelque import TorrelqueTaskId

NO_CONNECTION = ('Too many connections', 'No connection available')
"""What the client library says of a pool whose connections are all in use."""
FAILURES = (TorrelqueError, redis.RedisError, OSError, TimeoutError)
"""What a call may raise while faults are on; anything else is a fault of the queue."""


DAMAGED = ('the payload cannot be read', 'its state was lost')
"""How errors begin of tasks that are dead because their keys were damaged."""


class Taken(NamedTuple):
    """A task that was handed out."""

    task_id: str
    job: int
    attempt: int | None
    claimed: float | None
    """When it was claimed, by the server's clock (ms), where one can know."""
    is_whole: bool = True
    """Whether its payload is the one that was enqueued."""


class Kind(NamedTuple):
    """What is special about tasks; a queue that has no such thing leaves it out."""

    delay: float | None = None
    """s."""
    max_attempts: int | None = None
    priority: int = 0
    own_id: bool = False
    """Whether its id is made of the job, so that enqueueing it again is refused."""
    size: int = 0
    """Bytes of the payload besides."""
    in_transaction: bool = False
    """Whether it is enqueued in a transaction of the caller's."""


PLAIN = Kind()


class Peer(Protocol):
    """A queue as the workload sees it.  What cannot be done answers None."""

    has_own_ids: bool
    """Whether a task may have an id of the caller's, so that it is in the queue once however often it is enqueued."""

    async def enqueue(
        self, jobs: Sequence[int], *, group: str | None = None, lease: float, kind: Kind = PLAIN
    ) -> list[str]: ...
    async def dequeue(self, count: int, timeout: float) -> list[Taken]: ...
    async def settle(self, verb: str, task_ids: Sequence[str], delay: float | None = None) -> list[bool | None]: ...
    async def cancel(self, task_id: str) -> bool | None: ...
    async def redrive(self) -> list[str]: ...
    async def resume(self) -> None: ...
    async def left(self) -> int: ...
    async def occupy(self, seconds: float) -> None: ...
    def losses(self) -> int | None: ...
    def watch(self, task_id: str, timeout: float | None) -> AsyncIterator[tuple[int, int, int]]: ...
    async def wait(self, task_id: str, timeout: float | None) -> tuple[int, int, int]: ...
    def judge(self, exc: BaseException, count: int, again: bool) -> list[bool | None]: ...
    async def aclose(self) -> None: ...


class Ours:
    """Torrelque."""

    has_own_ids = True

    def __init__(self, client: Any, name: str, queue: Torrelque | None = None) -> None:
        self.client = client
        self.queue = queue or Torrelque(client, queue=name)
        self.queue.schedule_sweep(1)
        self._losses = 0
        self._count_losses(self.queue._started()._link)

    def _count_losses(self, link: Any) -> None:
        lose = link._lost

        def lose_and_count(*args: Any, **options: Any) -> None:
            self._losses += 1
            lose(*args, **options)

        link._lost = lose_and_count

    async def occupy(self, seconds: float) -> None:
        """Keep a connection of the client's pool, as somebody does who waits for something else."""
        await self.client.blpop('nobody rings here', seconds)

    def losses(self) -> int:
        """How often the connection for calls was lost: what was on its way is sent again."""
        return self._losses

    async def enqueue(
        self, jobs: Sequence[int], *, group: str | None = None, lease: float, kind: Kind = PLAIN
    ) -> list[str]:
        tasks = [make_task(job, kind) for job in jobs]
        options: dict[str, Any] = {
            'group': group,
            'task_timeout': lease,
            'delay': kind.delay,
            'max_attempts': kind.max_attempts,
            'priority': kind.priority,
        }
        if kind.in_transaction:
            return await self._enqueue_in_transaction(tasks, options)
        if len(jobs) == 1:
            task_id = f'own-{jobs[0]}' if kind.own_id else None
            return [await self.queue.enqueue(tasks[0], task_id=task_id, **options)]
        return [*await self.queue.enqueue_many(tasks, **options)]

    async def _enqueue_in_transaction(self, tasks: Sequence[Any], options: dict[str, Any]) -> list[str]:
        from torrelque import read_outcome

        async with self.client.pipeline(transaction=True) as pipeline:
            ids = [await self.queue.enqueue(task, pipeline=pipeline, **options) for task in tasks]
            for result in await pipeline.execute():
                if not read_outcome(result):
                    raise AssertionError('a task of a transaction was refused')
        return [*ids]

    async def dequeue(self, count: int, timeout: float) -> list[Taken]:
        if count == 1:
            found = await self.queue.dequeue(timeout)
            return [_taken(*found)] if found else []
        return [_taken(*item) for item in await self.queue.dequeue_many(count, timeout)]

    async def settle(self, verb: str, task_ids: Sequence[str], delay: float | None = None) -> list[bool | None]:
        if len(task_ids) > 1:
            return [*await self.queue.release_many(task_ids)]
        task_id = task_ids[0]
        if verb == 'release':
            # Of some the final state is kept.
            result = 'done' if task_id[-1] in '0369' else None
            return [await self.queue.release(task_id, result=result, result_ttl=5 if result else None)]
        if verb == 'requeue':
            return [await self.queue.requeue(task_id, delay=delay)]
        if verb == 'bury':
            return [await self.queue.bury(task_id, error='by the workload')]
        return [await self.queue.touch(task_id)]

    async def cancel(self, task_id: str) -> bool | None:
        return await self.queue.cancel(task_id)

    async def redrive(self) -> list[str]:
        """Bring back all that are dead, but for those that are damaged, which are cancelled; the ids of these."""
        from torrelque import TorrelqueLookupError

        damaged: list[str] = []
        whole: list[str] = []
        for task_id in await self.client.zrange(self.queue.keys['dead'], 0, -1):
            try:
                error = (await self.queue.get_task_state(task_id.decode())).error or ''
            except TorrelqueLookupError:
                error = ''
            (damaged if error.startswith(DAMAGED) else whole).append(task_id.decode())
        for task_id in damaged:
            await self.queue.cancel(task_id)
        if whole:
            await self.queue.redrive(*whole)
        return damaged

    async def resume(self) -> None:
        """End all pauses, those that a worker has left behind among them."""
        for name in await self.client.smembers(self.queue.keys['paused']):
            await self.queue.resume(name.decode() or None)

    async def left(self) -> int:
        stats = await self.queue.get_queue_stats()
        return stats.tasks + stats.dead

    async def watch(self, task_id: str, timeout: float | None) -> AsyncIterator[tuple[int, int, int]]:
        """Status, hand-outs and returns of a task, after each change."""
        async for state in self.queue.watch(task_id, timeout=timeout):
            yield int(state.status), state.dequeue_count, state.requeue_count

    async def wait(self, task_id: str, timeout: float | None) -> tuple[int, int, int]:
        """The last state of a task."""
        state = await self.queue.wait(task_id, timeout=timeout)
        return int(state.status), state.dequeue_count, state.requeue_count

    def judge(self, exc: BaseException, count: int, again: bool) -> list[bool | None]:
        """What is known of the tasks of an enqueue that raised, and was perhaps sent again."""
        from torrelque import TorrelqueBulkError, TorrelqueDuplicateError

        done = len(exc.task_ids) if isinstance(exc, TorrelqueBulkError) else 0
        reason = exc.__cause__ if isinstance(exc, TorrelqueBulkError) else exc
        if isinstance(reason, TorrelqueDuplicateError):
            return [True] * count
        if is_exhausted(exc):
            return [False] * count
        if isinstance(reason, redis.exceptions.OutOfMemoryError) and not again:
            # Sent twice, the first may have been carried out.
            return [*[True] * done, *[False] * (count - done)]
        return [True] * done + [None] * (count - done)

    async def aclose(self) -> None:
        await self.queue.aclose()


def is_exhausted(exc: BaseException) -> bool:
    """Whether a call was not made, because all connections of the client's pool are in use."""
    return isinstance(exc, redis.ConnectionError) and str(exc).startswith(NO_CONNECTION)


def make_task(job: int, kind: Kind = PLAIN) -> dict[str, Any]:
    """The payload of a job."""
    return {'job': job, 'size': kind.size, 'fill': f'{job} ' * (kind.size // (len(str(job)) + 1))} if kind.size else {
        'job': job
    }  # fmt: skip


def job_of(payload: bytes) -> int | None:
    """The job of a payload as it is in the server; None where it is damaged."""
    try:
        return int(json.loads(payload)['job'])
    except (ValueError, TypeError, LookupError):
        return None


def is_whole(task: dict[str, Any]) -> bool:
    """Whether a payload is as `make_task` has made it."""
    return task == make_task(task['job'], Kind(size=task.get('size', 0)))


def _taken(task_id: TorrelqueTaskId, task: Any) -> Taken:
    attempt, _, claimed = task_id.token.partition('-')
    return Taken(task_id, task['job'], int(attempt), float(claimed), is_whole(task))


def connect(address: dict[str, Any]) -> Any:
    """A client of a server by its socket, a Sentinel set or a Cluster by their ports."""
    if 'sentinels' in address:
        places = [('127.0.0.1', port) for port in address['sentinels']]
        return redis.asyncio.sentinel.Sentinel(places).master_for(address['service'])
    if 'nodes' in address:
        nodes = [redis.asyncio.cluster.ClusterNode('127.0.0.1', port) for port in address['nodes']]
        return redis.asyncio.RedisCluster(startup_nodes=nodes)
    options = address.get('options', {})
    if address.get('patience') is None:
        return redis.asyncio.Redis(unix_socket_path=address['socket'], **options)
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=redis.asyncio.UnixDomainSocketConnection,
        path=address['socket'],
        timeout=address['patience'],
        **options,
    )
    return redis.asyncio.Redis.from_pool(pool)
