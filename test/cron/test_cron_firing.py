"""What schedules fire, in workers: each instant once, and functions know theirs."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from torrelque import Torrelque
from torrelque.tasks import Tasks, current
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server

UTC = dt.timezone.utc
DAY = dt.timedelta(days=1)


async def test_a_due_instant_is_run_once_and_the_function_knows_its_instant(queue: Torrelque) -> None:
    app = Tasks(queue)
    came: asyncio.Queue[Any] = asyncio.Queue()

    @app.task(name='note')
    async def note() -> None:
        came.put_nowait((current().id, current().scheduled))

    async with Worker(app, concurrency=4):
        await app.schedules.every('often', 0.25, note.s(), overlap='allow')
        seen = [await asyncio.wait_for(came.get(), 60) for _ in range(4)]
        await app.schedules.remove('often')
        await note.enqueue()
        while (last := await asyncio.wait_for(came.get(), 60))[1] is not None:
            seen.append(last)
    assert last[1] is None
    instants = [instant for _, instant in seen]
    assert [task_id for task_id, _ in seen] == [f'often@{round(it.timestamp() * 1000)}' for it in instants]
    assert len({*instants}) == len(instants) and all(it.tzinfo is UTC and it.timestamp() % 0.25 == 0 for it in instants)


async def test_functions_in_threads_and_processes_know_their_instant(queue: Torrelque) -> None:
    app = Tasks(queue)
    for place in ('thread', 'process'):
        app.task(name=place, run_in=place)(tell_scheduled)
        await app.schedules.add(place, '@daily', app.named(place).s())
    instant = dt.datetime(2026, 1, 1, tzinfo=UTC)
    for place in ('thread', 'process'):
        assert await app.schedules.backfill(place, instant, instant + DAY) == 1
    await Worker(app, burst=True).run()
    for place in ('thread', 'process'):
        assert await app.handle(f'{place}@1767225600000').result(60) == '2026-01-01T00:00:00+00:00'


def tell_scheduled() -> str:
    scheduled = current().scheduled
    assert scheduled is not None
    return scheduled.isoformat()


@pytest.mark.parametrize('task_id', ['x', 'a@b.com', 'joe@163', 'x@1767225600000.zz', 'x@1767225600000.0', '@', 'x@'])
async def test_what_no_schedule_has_fired_has_no_instant(queue: Torrelque, task_id: str) -> None:
    app = Tasks(queue)

    @app.task(name='note')
    async def note() -> str:
        return repr(current().scheduled)

    handle = await note.options(task_id=task_id).enqueue()
    await Worker(app, burst=True).run()
    assert await handle.result(60) == 'None'
