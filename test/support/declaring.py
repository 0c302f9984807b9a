"""Apps that declare schedules, their workers, and the wait for what these do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.worker import Worker


def make(queue: Torrelque, *names: str, **options: Any) -> Tasks:
    """An app that declares schedules of these names."""
    app = Tasks(queue, **options)

    @app.task(name='report')
    async def report() -> None: ...

    for name in names:
        app.cron('0 9 * * *', name=name)(report)
    return app


def serving(app: Tasks) -> Worker:
    """A worker for a block."""
    return Worker(app, signals=False)


async def until(true: Callable[[], Any]) -> None:
    """Wait until what is asked for holds."""

    async def wait() -> None:
        while not await true():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 100)
