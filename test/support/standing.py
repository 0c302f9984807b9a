"""A clock of the server that stands still until a test moves it, and either queue, asked in the same way."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio

import torrelque
import torrelque.sync
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.protocol import scripts, transition

START = 1_700_000_000
CLOCK = 'the clock'
_LINE = "local time = redis.call('TIME')"
_READ = (
    f"local clock = redis.call('GET', '{CLOCK}') "
    "local time = {string.sub(clock, 1, -4), string.format('%d', string.sub(clock, -3)) .. '000'}"
)


def ticking(text: str) -> str:
    """A script, with the clock that stands still."""
    return text.replace(_LINE, _READ)


def firing(name: str, seconds: float) -> str:
    """The id of a task that fires so long after the start."""
    return f'{name}@{round((START + seconds) * 1000)}'


def ahead(*seconds: float) -> list[float]:
    """Instants so long after the start."""
    return [START + distance for distance in seconds]


class StandingClock:
    """The time of all scripts of queue objects that are made after it."""

    def __init__(self, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client = client
        self.now = 0.0
        load = scripts.load_script

        @functools.cache
        def load_script(name: str) -> scripts.Script:
            text = load(name).text.replace(_LINE.encode(), _READ.encode())
            return scripts.Script(text, hashlib.sha1(text).hexdigest().encode())

        for module in (transition, scripts):
            monkeypatch.setattr(module, 'load_script', load_script)

    async def set(self, now: float) -> None:
        """It is so late (s) from now on."""
        self.now = now
        await self._client.set(CLOCK, round(now * 1000))

    async def move(self, seconds: float) -> None:
        """The time passes, or goes back."""
        await self.set(self.now + seconds)


class Either:
    """A queue object whose verbs are awaited, though it may be a synchronous one; what it lists is a list."""

    def __init__(self, queue: Torrelque | torrelque.sync.Torrelque) -> None:
        self.queue = queue
        self.keys = queue.keys

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.queue, name)
        if not isinstance(self.queue, torrelque.sync.Torrelque):
            return self._listing(verb) if inspect.isasyncgenfunction(verb) else verb

        def call(*args: Any, **kwargs: Any) -> Any:
            reply = verb(*args, **kwargs)
            return [*reply] if isinstance(reply, Iterator) else reply

        return functools.partial(asyncio.to_thread, call)

    @staticmethod
    def _listing(verb: Any) -> Any:
        async def call(*args: Any, **kwargs: Any) -> list[Any]:
            return [one async for one in verb(*args, **kwargs)]

        return call

    async def take(self, most: int = 1000) -> list[Any]:
        """What can be had at once: ids and tasks."""
        try:
            return list(await self.dequeue(0, max_tasks=most))
        except torrelque.TorrelqueTimeoutError:
            return []

    async def ids(self) -> list[str]:
        """Ids of what can be had at once."""
        return [str(task_id) for task_id, _ in await self.take()]


async def open_either(
    kind: str, server: RealServer, client: redis.asyncio.Redis, name: str, **options: Any
) -> AsyncIterator[Either]:
    """The queue of a test, of one kind: 'aio' or 'sync'."""
    if kind == 'aio':
        async with Torrelque(client, queue=name, **options) as queue:
            yield Either(queue)
    else:
        with server.sync_client() as other, torrelque.sync.Torrelque(other, queue=name, **options) as sync_queue:
            yield Either(sync_queue)
