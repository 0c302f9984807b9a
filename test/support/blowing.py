"""Storms of flows, one after the other, each by its number."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Protocol

import redis

from .servers import RealServer


class Blows(Protocol):
    """Random calls, and then on to the end of all of it."""

    random: random.Random

    def blow(self, count: int, /) -> None: ...


def blow_all(kind: Callable[[redis.Redis, int], Blows], server: RealServer, seeds: range) -> None:
    """Storms of a kind, of many calls; what went wrong tells which one it was."""
    with server.sync_client() as client:
        for seed in seeds:
            storm = kind(client, seed)
            try:
                storm.blow(storm.random.choice([60, 150, 300]))
            except (AssertionError, redis.RedisError) as exc:
                raise AssertionError(f'storm {seed} fails') from exc
    print(f'\n{json.dumps({"storms": len(seeds), "first": seeds[0], "last": seeds[-1]})}')
