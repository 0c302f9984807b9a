"""The public API of schedules as annotations see it, used as an application would; `test_typed_sample` runs it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import redis.asyncio

from torrelque import Torrelque, TorrelqueSchedule
from torrelque.flows import Step
from torrelque.tasks import Handle, Tasks, current

if TYPE_CHECKING:
    # Checkers have it in their own stubs.
    from typing_extensions import assert_type
else:

    def assert_type(value: Any, kind: Any) -> Any:
        return value


async def run_schedules(client: redis.asyncio.Redis, name: str) -> None:
    """Functions that are called again and again: declared in code, and set by calls."""
    async with Torrelque(client, queue=name) as queue, Tasks(queue, name='shop', revision=2) as app:

        @app.cron('0 9 * * *', timezone='Europe/Berlin', overlap='queue', missed='all', grace=3600, jitter=60)
        @app.task(max_attempts=3)
        async def report(copies: int = 1) -> str:
            due = current().scheduled
            assert_type(due, datetime | None)
            return f'{copies} of {due}'

        assert_type(report(copies=2).close(), None)
        schedules = app.schedules
        assert_type(report.s(copies=2), Step[str])
        assert assert_type(await schedules.add('lunch', '0 12 * * *', report.s(2)), bool)
        assert assert_type(await schedules.every('often', timedelta(hours=1), report.s(), overlap='replace'), bool)
        assert assert_type(await schedules.pause('often'), bool) and await schedules.resume('often')
        assert_type(await schedules.fire('lunch'), Handle[Any])
        start = datetime(2026, 1, 1, tzinfo=timezone.utc)
        assert assert_type(await schedules.backfill('lunch', start, start + timedelta(days=2)), int) == 2
        assert_type((await schedules.get('lunch')).next, float | None)
        names = [assert_type(schedule, TorrelqueSchedule).name async for schedule in schedules.list()]
        assert sorted(names) == ['lunch', 'often']
        assert len(assert_type(await schedules.next('lunch', 3), Sequence[datetime])) == 3
        assert await schedules.remove('lunch') and await schedules.remove('often')
