"""Connections to a database around tasks, in the threads and processes that work with them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.djangosite import fixtures
from torrelque import Torrelque, testing
from torrelque.tasks import Tasks, current
from torrelque.worker import Backoff, Delivery, ThreadWorker, Worker

site = fixtures.site
keep = fixtures.keep

pytestmark = [pytest.mark.usefixtures('site'), pytest.mark.one_server]


async def drain(app: Any, *args: Any, **options: Any) -> None:
    await asyncio.wait_for(Worker(app, *args, burst=True, **options).run(), 120)


def add(name: str) -> None:
    from support.djangosite.models import Order

    Order.objects.create(name=name)


async def add_here(name: str) -> None:
    from django.db import connection

    def add_alone() -> None:
        add(name)
        connection.close()

    await asyncio.to_thread(add_alone)


class Seen:
    """What functions have seen of their connections."""

    def __init__(self) -> None:
        self.before: list[bool] = []
        """Whether there was one when the function began."""
        self.raw: list[Any] = []
        """Those that were made, as the database's own module has them."""
        self.threads: list[int] = []

    def look(self) -> Any:
        """Count the orders."""
        from django.db import connection

        from support.djangosite.models import Order

        self.before.append(connection.connection is not None)
        self.threads.append(threading.get_ident())
        count = Order.objects.count()
        self.raw.append(connection.connection)
        return count

    @property
    def open(self) -> list[bool]:
        """Which of them are open."""
        return [is_open(raw) for raw in self.raw]


def is_open(raw: Any) -> bool:
    import sqlite3

    try:
        raw.total_changes  # noqa: B018 - it raises, in any thread
    except sqlite3.ProgrammingError as exc:
        return 'closed' not in str(exc)
    return True


# In threads


@pytest.mark.parametrize(('seconds', 'kept'), [(0, False), (None, True)])
async def test_a_thread_has_its_connection_for_as_long_as_the_settings_say(
    queue: Torrelque, keep: Callable[..., None], seconds: float | None, kept: bool
) -> None:
    keep(seconds)
    seen, app = Seen(), Tasks(queue)
    look = app.task(name='look')(lambda: seen.look())
    for _ in range(3):
        await look.enqueue()
    await drain(app, concurrency=1)
    assert len({*seen.threads}) == 1
    assert seen.before == [False, kept, kept]
    assert len({id(raw) for raw in seen.raw}) == (1 if kept else 3)
    assert seen.open == [kept] * 3


@pytest.mark.parametrize(('checks', 'attempts'), [(False, 2), (True, 1)])
async def test_a_connection_that_was_killed_between_two_tasks_costs_one_attempt_or_none(
    queue: Torrelque, keep: Callable[..., None], checks: bool, attempts: int
) -> None:
    from django.db import connection

    keep(None, checks)
    seen, app = Seen(), Tasks(queue)

    @app.task
    def look(kill: bool) -> int:
        seen.look()
        if kill:
            connection.kill()
        return current().attempt

    first = await look.enqueue(True)
    await drain(app, concurrency=1)
    assert await first.result() == 1
    # A worker of its own has threads of its own, so all of it is one worker's.
    handles = [await look.enqueue(True), await look.enqueue(False), await look.enqueue(False)]
    async with Worker(app, concurrency=1, retry=Backoff(base=0.01)):
        assert [await handle.result(60) for handle in handles] == [1, attempts, 1]


async def test_a_failed_function_leaves_no_transaction_open(queue: Torrelque, keep: Callable[..., None]) -> None:
    from django.db import connection, transaction

    keep(None)
    seen, app = Seen(), Tasks(queue)

    @app.task(max_attempts=1)
    def break_off() -> None:
        transaction.set_autocommit(False)
        add('never committed')
        raise RuntimeError('broken off')

    @app.task
    def look() -> Any:
        return [seen.look(), connection.get_autocommit()]

    await break_off.enqueue()
    handle = await look.enqueue()
    await drain(app, concurrency=1)
    assert await handle.result() == [0, True]
    assert seen.before == [False]


async def test_what_the_app_has_around_its_threads_is_inside(queue: Torrelque, keep: Callable[..., None]) -> None:
    from django.db import connection

    keep(0)
    told: list[Any] = []

    @contextlib.contextmanager
    def around(_: Delivery) -> Any:
        told.append(connection.connection is not None)
        add('before')
        yield
        told.append(connection.connection is not None)

    app = Tasks(queue, around_thread=around)
    seen = Seen()
    look = app.task(name='look')(lambda: seen.look())
    handle = await look.enqueue()
    await drain(app)
    assert (await handle.result(), told, seen.before, seen.open) == (1, [False, True], [True], [False])


def test_a_worker_in_a_thread_of_the_site_looks_after_connections_too(server: Any, queue_name: str) -> None:
    seen, app = Seen(), Tasks.from_url(server.url, queue=queue_name)
    look = app.task(name='look')(lambda: seen.look())
    with contextlib.closing(app), ThreadWorker(app, concurrency=1):
        assert [look.push().wait_result(60) for _ in range(2)] == [0, 0]
    assert (seen.before, seen.open) == ([False, False], [False, False])


# In the event loop


async def test_a_coroutine_has_a_thread_and_connections_of_its_own(
    queue: Torrelque, keep: Callable[..., None]
) -> None:
    from asgiref.sync import sync_to_async

    keep(None)
    seen, app = Seen(), Tasks(queue)
    both = asyncio.Barrier(2) if hasattr(asyncio, 'Barrier') else None

    @app.task
    async def look() -> Any:
        first = await sync_to_async(seen.look)()
        if both is not None:
            await both.wait()
        second = await sync_to_async(seen.look)()
        return [first, second]

    handles = [await look.enqueue(), await look.enqueue()]
    await drain(app)
    assert [await handle.result() for handle in handles] == [[0, 0], [0, 0]]
    assert sorted(seen.before) == [False, False, True, True]
    assert len({id(raw) for raw in seen.raw}) == 2
    assert seen.open == [False] * 4


async def test_the_end_of_a_coroutine_takes_no_cursor_from_another(queue: Torrelque, keep: Callable[..., None]) -> None:
    keep(0)
    app, reading, ended = Tasks(queue), asyncio.Event(), asyncio.Event()

    @app.task
    async def read() -> list[str]:
        from support.djangosite.models import Order

        found = []
        async for order in Order.objects.order_by('pk').aiterator(chunk_size=1):
            found.append(order.name)
            reading.set()
            await ended.wait()
        return found

    @app.task
    async def write() -> None:
        from support.djangosite.models import Order

        await Order.objects.acount()

    for name in ('a', 'b', 'c'):
        await add_here(name)
    async with Worker(app):
        handle = await read.enqueue()
        await reading.wait()
        await (await write.enqueue()).result(60)
        ended.set()
        assert await handle.result(60) == ['a', 'b', 'c']


async def test_a_query_that_goes_on_after_its_coroutine_was_cancelled_holds_up_nothing(queue: Torrelque) -> None:
    from asgiref.sync import sync_to_async

    app, seen, begun, go, ended = Tasks(queue), Seen(), threading.Event(), threading.Event(), threading.Event()
    in_time: list[bool] = []

    def ask() -> None:
        seen.look()
        begun.set()
        in_time.append(go.wait(30))
        ended.set()

    @app.task
    async def look() -> None:
        await sync_to_async(ask)()

    @app.task
    async def other() -> str:
        return 'in time'

    async with Worker(app):
        handle = await look.enqueue()
        await asyncio.to_thread(begun.wait)
        assert await handle.cancel()
        # Were the end of the thread waited for in the event loop, nothing here would go on.
        assert await (await other.enqueue()).result(60) == 'in time'
        go.set()
        await asyncio.to_thread(ended.wait)
    assert (in_time, seen.open) == ([True], [False])


async def test_a_coroutine_that_asks_no_database_starts_no_thread(queue: Torrelque) -> None:
    app = Tasks(queue)
    look = app.task(name='look')(_count_threads)
    before = threading.active_count()
    handle = await look.enqueue()
    await drain(app)
    assert await handle.result() <= before
    assert threading.active_count() <= before


async def _count_threads() -> int:
    return threading.active_count()


# In processes


@pytest.mark.parametrize('seconds', [0, None])
async def test_django_is_set_up_in_the_process_of_a_handler(
    queue: Torrelque, keep: Callable[..., None], seconds: float | None
) -> None:
    from support.djangosite import handlers

    await add_here('one')
    ids = [await queue.enqueue({}) for _ in range(2)]
    await drain(queue, handlers.count, run_in='process', concurrency=1)
    results: list[Any] = [(await queue.get_task_state(one)).result for one in ids]
    assert [result[1:] for result in results] == [[False, 1], [False, 1]]
    assert results[0][0] == results[1][0]


# In tests


async def test_an_eager_block_keeps_the_transaction_of_the_test(queue: Torrelque, keep: Callable[..., None]) -> None:
    from asgiref.sync import async_to_sync
    from django.db import connection, transaction

    keep(0)
    app, seen = Tasks(queue), Seen()

    @app.task
    async def look() -> Any:
        from support.djangosite.models import Order

        count: int = await Order.objects.acount()
        return count

    plain = app.task(name='plain')(lambda: seen.look())

    def test_case() -> list[int]:
        with transaction.atomic():
            add('not committed')
            with testing.eager(app):
                found = [plain.push().wait_result()]
                found.append(async_to_sync(ask)())
            assert connection.in_atomic_block
            transaction.set_rollback(True)
        connection.close()
        return found

    async def ask() -> Any:
        return await (await look.enqueue()).result()

    assert await asyncio.to_thread(test_case) == [1, 1]
