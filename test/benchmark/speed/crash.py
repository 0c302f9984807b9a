"""What becomes of a task whose consumer is killed while it works on it: tried, with leases as short as they can be.

One child enqueues a task and is killed by its handler; another one then waits for the task.  All systems are tried at
once, each in a database of its own, because nothing is timed here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmark.speed.children import Child, FailedError, MissingError
from benchmark.speed.systems import System

LEASE = 1.0
"""s; the shortest that all take."""
PATIENCE = 15.0
"""s that the second consumer waits: arq adds ten to the lease, others look every few seconds."""


def judge_crashes(systems: list[System], url: str) -> dict[str, dict[str, Any]]:
    with ThreadPoolExecutor(len(systems) or 1) as pool:
        outcomes = pool.map(_judge, systems, [f'{url}/{number + 1}' for number in range(len(systems))])
        return {system.name: outcome for system, outcome in zip(systems, outcomes, strict=True)}


def _judge(system: System, url: str) -> dict[str, Any]:
    """``again``: after how many seconds the task was handed out again, None if it was not; or ``error``."""
    child = Child(system)
    try:
        child.ask('open', url=url, lease=LEASE)
        try:
            child.ask('die')
            return {'error': 'the consumer was not killed'}
        except FailedError as exc:
            if 'status -9' not in str(exc):
                return {'error': str(exc)}
        child.ask('open', url=url, lease=LEASE)
        return child.ask('again', patience=PATIENCE)
    except (FailedError, MissingError) as exc:
        return {'error': str(exc)}
    finally:
        child.stop()
