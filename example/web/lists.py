"""Who has started what: each visitor's list of tasks.

The only place that spells the example's own key: ``visitor:{web}:TOKEN``, a hash of records by task id.  A record is
written in one transaction with its task, so that neither is there without the other, and with the look whether there is
room for it, so that no list is ever longer than it may be.  It outlives pages and web processes.  What becomes of a
task is the queue's to tell.
"""

import asyncio
import json
import random
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import redis.asyncio
import redis.exceptions
from redis.asyncio.client import Pipeline

import torrelque
from consumer import ATTEMPTS, KEEP, KINDS
from torrelque import TaskState, Torrelque

LIMIT = 500
"""Tasks that a list has room for."""
AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
"""What is raised when the server cannot be reached; `torrelque.ConnectionError` is one of these."""


class ListFullError(Exception):
    """The list has no room for so many; nothing was started."""


class Record(NamedTuple):
    """What a list keeps of a task: its payload is gone when it is finished, and its state some time later."""

    kind: str
    title: str
    started: int
    """Sorts the list."""
    cancelled: bool = False
    """The queue keeps the state of a cancelled task for a minute only."""


class Lists:
    """The lists of all visitors, by their tokens."""

    def __init__(self, client: 'redis.asyncio.Redis', queue: Torrelque, speed: float) -> None:
        self._client = client
        self._queue = queue
        self._lease = max(2, 10 / speed)
        self._changing: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def load(self, token: str) -> dict[str, Record]:
        records = await self._client.hgetall(self._key(token))
        return {str(task_id): Record(*json.loads(data)) for task_id, data in records.items()}

    async def owns(self, token: str, task_id: str) -> bool:
        return bool(await self._client.hexists(self._key(token), task_id))

    async def start(self, token: str, kinds: list[str]) -> dict[str, Record]:
        """Enqueue tasks of these kinds: all of them, or none."""
        key = self._key(token)
        records: dict[str, Record] = {}

        async def write(pipeline: Pipeline) -> None:
            if records and await pipeline.hexists(key, next(iter(records))):
                # It was written, and the reply was lost.
                return
            if await pipeline.hlen(key) + len(kinds) > LIMIT:
                raise ListFullError
            pipeline.multi()
            records.clear()
            for number, kind in enumerate(kinds):
                record = Record(kind, random.choice(KINDS[kind].titles), time.time_ns() // 1000 + number)
                task_id = await self._queue.enqueue(
                    {'kind': kind, 'title': record.title},
                    task_timeout=self._lease,
                    max_attempts=ATTEMPTS,
                    pipeline=pipeline,
                )
                pipeline.hset(key, task_id, json.dumps(record))
                records[task_id] = record
            pipeline.expire(key, KEEP)

        await self._change(token, write)
        return records

    async def cancel(self, token: str, task_id: str) -> dict[str, Record]:
        """Cancel a task: its record from now on, or nothing if it was final, or is not on the list any more."""
        if not await self._queue.cancel(task_id):
            return {}
        key = self._key(token)
        records: dict[str, Record] = {}

        async def write(pipeline: Pipeline) -> None:
            records.clear()
            data = await pipeline.hget(key, task_id)
            pipeline.multi()
            if data is not None:
                records[task_id] = Record(*json.loads(data))._replace(cancelled=True)
                pipeline.hset(key, task_id, json.dumps(records[task_id]))

        await self._change(token, write)
        return records

    async def redrive(self, task_id: str) -> bool:
        return await self._queue.redrive(task_id) == 1

    async def clear(self, token: str) -> list[str]:
        """Take what is finished off the list; the ids."""
        task_ids = [str(task_id) for task_id in await self._client.hkeys(self._key(token))]
        # Calls at the same time share round trips.
        states = await asyncio.gather(*map(self._get_state, task_ids))
        found = zip(task_ids, states, strict=True)
        finished = [task_id for task_id, state in found if state is None or state.status.isfinal()]
        if finished:
            await self._client.hdel(self._key(token), *finished)
        return finished

    async def read_clock(self) -> float | None:
        """The time (s) by the server's clock, of which the instants in states are; None while the server is away."""
        try:
            seconds, microseconds = await self._client.time()
        except AWAY:
            return None
        return float(seconds + microseconds / 1_000_000)

    async def _change(self, token: str, write: Callable[[Pipeline], Awaitable[None]]) -> None:
        """Look at a list and write to it in one transaction, which begins anew when the list was changed in between.

        What comes at once to this process goes one after the other, so that is left to those of other processes.
        """
        async with self._changing.setdefault(token, asyncio.Lock()):
            await self._client.transaction(write, self._key(token))

    def _key(self, token: str) -> str:
        return f'visitor:{{{self._queue.name}}}:{token}'

    async def _get_state(self, task_id: str) -> TaskState | None:
        try:
            return await self._queue.get_task_state(task_id)
        except torrelque.LookupError:
            return None
