"""Whoever waits for tasks of many shards is served: every event at any of them, on the real classes.

As `test_states` does with one shelf, servers and links are played, and time passes at once; the guards are asleep.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest

from support.playing import EVENTS, PASSING, Walk, walk_all
from torrelque.aio import guard
from torrelque.sharded.dispatch import Dispatcher

SHARDS = 2
STEPS: list[tuple[str, int]] = [
    (event, number)
    for event in EVENTS
    for number in range(1 if event == PASSING or hasattr(Walk, event) else SHARDS)
]  # fmt: skip


@pytest.fixture(autouse=True)
def _asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard does not look, nor does its clock keep the loop from standing still."""
    monkeypatch.setattr(guard.Guard, 'begin', lambda self: None)


async def walk_shards(steps: Iterable[tuple[str, int]]) -> None:
    random.seed(1)
    walk = Walk(SHARDS, Dispatcher)
    walk.join()
    for event, number in steps:
        await walk.happen(event, number)
    await walk.end()


@pytest.mark.parametrize('length', [1, pytest.param(2, marks=pytest.mark.long)])
def test_whoever_waits_is_served_after_any_events_at_any_shard(length: int) -> None:
    assert walk_all(walk_shards, itertools.product(STEPS, repeat=length)) == len(STEPS) ** length


@pytest.mark.parametrize('walks', [300, pytest.param(3000, marks=pytest.mark.long)])
def test_whoever_waits_is_served_after_many_events_at_any_shard(walks: int) -> None:
    chance = random.Random(walks)
    assert walk_all(walk_shards, (chance.choices(STEPS, k=chance.randrange(3, 40)) for _ in range(walks))) == walks
