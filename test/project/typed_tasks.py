"""A small application of decorated functions, with the type that each value has: mypy and pyright must agree.

The tests run it too, so what it says of the values is true.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any

import redis.asyncio

from torrelque import Torrelque, TorrelqueQueue, TorrelqueSchedule, TorrelqueTaskState
from torrelque.flows import Step
from torrelque.tasks import Depends, Handle, Tasks, current, injected
from torrelque.testing import (
    Eager,
    EagerTask,
    RecordedDelivery,
    Using,
    delivery,
    eager,
    run_until_idle,
    using,
)
from torrelque.worker import Delivery, Worker

if TYPE_CHECKING:
    # Checkers have it in their own stubs.
    from typing_extensions import assert_type
else:

    def assert_type(value: Any, kind: Any) -> Any:
        return value


@dataclasses.dataclass
class Item:
    number: int
    price: float = 0.0


class Session:
    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, item: Item) -> str:
        return f'{self.name}: {item.number}'


def name_of(delivery: Delivery) -> str:
    return str(delivery.id)


async def open_session(name: Annotated[str, Depends(name_of)]) -> AsyncIterator[Session]:
    yield Session(name)


def open_plain_session(name: str = Depends(name_of)) -> Iterator[Session]:
    yield Session(name)


async def add(item: Item, when: datetime, session: Annotated[Session, Depends(open_session)] = injected) -> str:
    assert_type(session, Session)
    return session.add(item)


async def add_again(item: Item, *, session: Session = Depends(open_session)) -> Item:
    return dataclasses.replace(item, price=float(bool(session.add(item))))


def add_here(item: Item, session: Session = Depends(open_plain_session)) -> date:
    assert session.add(item)
    return date(2026, 1, item.number)


async def run_tasks(client: redis.asyncio.Redis, name: str) -> None:
    """An application of decorated functions, of which parameters are made in the worker."""
    async with Torrelque(client, queue=name) as queue, Tasks(queue, types='msgspec') as app:
        sending, again, here = app.task(add), app.task(max_attempts=2)(add_again), app.task(add_here)
        now = datetime.now(timezone.utc)
        handle = await sending.enqueue(Item(1), now)
        assert_type(handle, Handle[str])
        other = await again.options(delay=timedelta(0)).enqueue(item=Item(2))
        assert_type(other, Handle[Item])
        others = await here.map([Item(3)])
        assert_type(others, list[Handle[date]])
        async with Worker(app):
            assert assert_type(await handle.result(60), str) == f'{handle.id}: 1'
            assert assert_type(await other.result(60), Item) == Item(2, 1.0)
            assert assert_type(await others[0].result(60), date) == date(2026, 1, 3)
        assert_type(await sending(Item(4), now, session=Session('mine')), str)
        assert_type(here(Item(4), Session('mine')), date)


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


async def try_tasks(client: redis.asyncio.Redis, name: str) -> None:
    """Tests of an application that a module has made."""
    app = Tasks.from_url('redis://nowhere.invalid', queue='shop')

    @app.task
    async def tell_attempt(number: int) -> str:
        await current().touch(progress=number)
        return f'{number} by attempt {current().attempt}'

    with delivery(attempt=2, headers={'tenant': 'joe'}, state=1, task_id='mine', group='g') as given:
        assert_type(given, RecordedDelivery)
        assert await tell_attempt(3) == '3 by attempt 2'
    assert_type((given.progress, given.ours), tuple[list[Any], bool])
    with eager(app, max_attempts=3, retry=60, timeout=timedelta(minutes=1)) as ran:
        assert_type(ran, Eager)
        assert assert_type(await (await tell_attempt.enqueue(1)).result(), str) == '1 by attempt 1'
    task = ran.tasks[0]
    assert_type(task, EagerTask)
    assert_type((task.name, task.args, task.kwargs), tuple[str | None, tuple[Any, ...], dict[str, Any]])
    assert_type(task.state, TorrelqueTaskState)
    async with eager([app]) as ran:
        assert_type(ran, Eager)
    async with Torrelque(client, queue=name) as queue:
        with using([app], queue) as used:
            assert_type(used, Using)
            handle = await tell_attempt.enqueue(2)
            assert_type(used.queue('urgent'), TorrelqueQueue)
            assert_type(await run_until_idle(app), float)
            assert assert_type(await handle.result(60), str) == '2 by attempt 1'
        async with using(app, queue) as used:
            assert_type(used, Using)
