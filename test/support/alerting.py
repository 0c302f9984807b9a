"""Alerts on a clock that stands still until a test moves it, and those who are told."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable

import pytest
import redis.asyncio

from support.standing import CLOCK, ticking
from torrelque import Torrelque
from torrelque.monitor import Notice, Rule, scripts
from torrelque.operate import AlertView, read_alerts


def standing_still(load: Callable[[str], tuple[str, str]]) -> Callable[[str], tuple[str, str]]:
    """A script of alerts with that clock."""

    @functools.cache
    def load_standing(name: str) -> tuple[str, str]:
        text = ticking(load(name)[0])
        return text, hashlib.sha1(text.encode()).hexdigest()

    return load_standing


AT_ONCE = Rule('some', 'pending', above=1, for_=0, clear_for=0, repeat=0)
"""Fires as soon as a task is pending."""


class AlertClock:
    """The time of all looks at rules."""

    def __init__(self, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client = client
        self.now = 0.0
        monkeypatch.setattr(scripts, 'load', standing_still(scripts.load))

    async def set(self, now: float) -> None:
        """It is so late (s) from now on."""
        self.now = now
        await self._client.set(CLOCK, round(now * 1000))

    async def move(self, seconds: float) -> None:
        """The time passes, or goes back."""
        await self.set(self.now + seconds)


class Told:
    """A sink that keeps what it was told."""

    def __init__(self, name: str = 'told') -> None:
        self.__name__ = name
        self.notices: list[Notice] = []
        self.errors: list[Exception] = []
        """What it raises, one after the other."""

    async def __call__(self, notice: Notice) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.notices.append(notice)

    @property
    def words(self) -> list[tuple[str, str]]:
        """Rules, and what was told of them."""
        return [(one.rule, 'again' if one.again else one.state) for one in self.notices]


async def states(queue: Torrelque) -> dict[str, str]:
    """The states of rules that anybody looks at, or has."""
    return {view.rule: view.state for view in await read_alerts(queue)}


def states_of(views: list[AlertView]) -> dict[str, str]:
    """The same of what a look has found."""
    return {view.rule: view.state for view in views}


async def until_states(queue: Torrelque, **expected: str) -> None:
    """Wait until a look has found rules like this."""
    while await states(queue) != expected:
        await asyncio.sleep(0.005)


async def drain(queue: Torrelque) -> None:
    """Take what is pending, and have it done."""
    for task_id, _ in await queue.dequeue_many(1000, timeout=5):
        await queue.release(task_id)

