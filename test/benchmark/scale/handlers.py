"""What `torrelque run` is given: handlers that do nothing, or wait for something else."""

from __future__ import annotations

import asyncio

from torrelque.worker import Delivery

WAIT = 0.02


async def do_nothing(delivery: Delivery) -> None:
    """The task is over at once."""


async def wait(delivery: Delivery) -> None:
    """As a handler does that asks another server."""
    await asyncio.sleep(WAIT)
