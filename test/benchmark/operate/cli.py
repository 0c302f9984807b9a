"""How long a command takes from its start to its end, and what of it is Python, the client library and the package."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import redis.asyncio

import torrelque
from benchmark.operate.figures import Figure, Plan
from torrelque import Torrelque

COMMANDS: tuple[tuple[str, tuple[str, ...], float | None], ...] = (
    ('Python alone', ('-c', 'pass'), None),
    ('with the client library', ('-c', 'import redis.asyncio'), None),
    ('with the package', ('-c', 'import torrelque'), None),
    ('torrelque --help', ('-m', 'torrelque', '--help'), 400),
    ('torrelque stats', ('-m', 'torrelque', 'stats', '-q', 'cli'), 400),
    ('torrelque stats --json', ('-m', 'torrelque', 'stats', '--json', '-q', 'cli'), 400),
    ('torrelque check', ('-m', 'torrelque', 'check', '-q', 'cli'), 400),
)
"""What is started, and how many ms it may take."""


def _once(words: tuple[str, ...], environment: dict[str, str]) -> float:
    """ms by the clock."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begun) * 1000


async def measure(client: redis.asyncio.Redis, plan: Plan) -> list[Figure]:
    """The figures, on an empty server; of some starts the fastest, because a machine has other things to do."""
    environment = {
        **os.environ,
        'TORRELQUE_URL': f'unix://{client.connection_pool.connection_kwargs["path"]}',
        'PYTHONPATH': str(Path(torrelque.__file__).parents[1]),
    }
    async with Torrelque(client, queue='cli') as queue:
        await queue.enqueue(1)
        figures = []
        for name, words, goal in COMMANDS:
            taken = [await asyncio.to_thread(_once, words, environment) for _ in range(min(plan.rounds, 15))]
            figures.append(Figure(name, min(taken), 'ms', goal))
    return figures
