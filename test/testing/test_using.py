"""A test's queue under the app of a module."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from support.plugged import Run, run  # noqa: F401 - a fixture
from support.servers import RealServer
from support.waiting import nothing_left
from torrelque import (
    Torrelque,
    TorrelqueClosedError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueSerialiser,
    TorrelqueTaskSerialiser,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.sync import Torrelque as SyncTorrelque
from torrelque.tasks import Call, CallNext, Tasks, current
from torrelque.testing import Clock, run_until_idle, using
from torrelque.worker import ThreadWorker, Worker

NOWHERE = 'redis://nowhere.invalid'
"""Whoever uses the server of this address fails, and does so late."""


async def add(left: int, right: int) -> int:
    return left + right


async def where() -> str:
    return current().queue.name


def make_app(**options: Any) -> Tasks:
    """An app as a module makes one."""
    app = Tasks.from_url(NOWHERE, queue='shop', **options)
    app.task(name='add')(add)
    app.task(name='where')(where)
    app.task(name='where urgent', queue='urgent')(where)
    app.fifo(name='ordered', queue='orders')(add)
    return app


async def names_in(client: redis.asyncio.Redis) -> set[str]:
    """Names of the queues of which a server has keys."""
    keys: Any = await client.keys('{*')
    return {key.decode()[1:].rpartition('}')[0] for key in keys}


# What stands on the queue


async def test_an_app_of_a_module_uses_the_queue_of_the_test(queue: Torrelque) -> None:
    app = make_app()
    with using(app, queue):
        handles = [await app.enqueue('add', 1, 2), await app.functions['ordered'].enqueue(3, 4)]
        assert (await queue.get_queue_stats()).pending == 2
        await run_until_idle(app)
        assert [await handle.result(60) for handle in handles] == [3, 7]
        assert (await queue.get_task_state(handles[0].id)).result == 3
        assert [limit.concurrency for limit in (await queue.get_limits()).values()] == [1]
        assert app.queue is not queue and app.queue.name == queue.name


async def test_other_queues_of_the_app_are_beside_that_of_the_test(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    app = make_app()
    with using(app, queue) as used:
        own, urgent = await app.enqueue('where'), await app.enqueue('where urgent')
        another = await app.named('where').options(queue='another').enqueue()
        assert await names_in(client) == {queue.name, f'{queue.name}.urgent', f'{queue.name}.another'}
        assert (await used.queue('urgent').get_queue_stats()).pending == 1
        assert (await used.queue().get_queue_stats()).pending == 1
        assert used.queue() is used.queue('shop') is app.queue
        assert app.handle(urgent.id, queue='urgent').id == urgent.id
        async with Worker(app), Worker(app.serving(['another'])):
            assert await own.result(60) == queue.name
            assert await urgent.result(60) == f'{queue.name}.urgent'
            assert await another.result(60) == f'{queue.name}.another'
        assert [one.name for one in app.queues] == [queue.name, f'{queue.name}.urgent']


async def test_a_clock_moves_all_queues_of_the_app(queue: Torrelque) -> None:
    app = make_app()
    with using(app, queue):
        clock = Clock(*app.queues)
        handle = await app.named('where urgent').options(delay=3600, queue='urgent').enqueue()
        await clock.move(3600)
        async with Worker(app):
            assert await handle.result(60) == f'{queue.name}.urgent'


async def test_options_and_serialiser_stay_those_of_the_app(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    written = []

    def dumps(value: Any) -> str:
        written.append(value)
        return repr(value)

    serialiser: TorrelqueSerialiser = TorrelqueTaskSerialiser(dumps, lambda data: eval(data))
    own = Torrelque(client, queue='own', serialiser=serialiser, max_tasks=7)
    own.task_timeout, own.result_ttl = 11, 13
    app = Tasks(own)
    app.task(name='add')(add)
    written.clear()
    with using(app, queue):
        assert (app.queue.max_tasks, app.queue.task_timeout, app.queue.result_ttl) == (7, 11, 13)
        handle = await app.enqueue('add', (1,), (2,))
        await run_until_idle(app)
        assert await handle.result(60) == (1, 2)
    assert written == [{'task': 'add', 'args': ((1,), (2,))}, (1, 2)]


async def test_middleware_is_told_the_name_that_the_app_has_for_the_queue(queue: Torrelque) -> None:
    told = []

    async def note(call: Call, call_next: CallNext) -> str:
        told.append(call.queue)
        return await call_next(call)

    app = make_app(middleware=[note])
    with using(app, queue):
        await app.enqueue('where')
        await app.enqueue('where urgent')
        await app.named('where').map([])
        await app.named('add').starmap([(1, 2)])
    assert told == ['shop', 'urgent', 'shop']


async def test_several_apps_share_the_queues(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    shop, mail = make_app(), Tasks.from_url(NOWHERE, queue='mail')
    again = Tasks.from_url(NOWHERE, queue='shop')
    mail.task(name='mail')(where)
    mail.task(name='mail urgent', queue='urgent')(where)
    again.task(name='mail of the shop', queue='mail')(where)
    again.task(name='of the shop')(where)
    with using([shop, mail, again], queue):
        handles = [
            await app.enqueue(name)
            for app, names in ((mail, ('mail', 'mail urgent')), (again, ('mail of the shop', 'of the shop')))
            for name in names
        ]
        async with Worker([shop, mail, again]):
            found = [await handle.result(60) for handle in handles]
    assert found == [f'{queue.name}.mail', f'{queue.name}.urgent', f'{queue.name}.mail', queue.name]


def test_a_synchronous_test_pushes_and_waits(server: RealServer, queue_name: str) -> None:
    app = make_app()
    with using(app, Torrelque(server.client(), queue=queue_name)):
        handle = app.push('where urgent')
        with ThreadWorker(app):
            assert handle.wait_result(60) == f'{queue_name}.urgent'
        # A worker that runs to its end, in the event loop that the app has, or in another one.
        handles = [app.push('add', 1, 2)]
        assert app.call(run_until_idle(app)) == 0
        handles.append(app.push('add', 3, 4))
        assert asyncio.run(run_until_idle(app)) == 0
        assert [handle.wait_result(60) for handle in handles] == [3, 7]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith('torrelque')]


async def test_event_loops_of_other_threads_use_the_queue(queue: Torrelque) -> None:
    app = make_app()
    with using(app, queue):
        handle = await asyncio.to_thread(lambda: asyncio.run(app.enqueue('add', 1, 2)))
        pushed = await asyncio.to_thread(app.push, 'add', 3, 4)
        await run_until_idle(app)
        assert (await handle.result(60), await pushed.result(60)) == (3, 7)


# The end of the block


@pytest.fixture
async def own(client: redis.asyncio.Redis, queue_name: str) -> AsyncIterator[Torrelque]:
    """The queue that an app was made with."""
    async with Torrelque(client, queue=f'{queue_name} of the app') as own:
        yield own


async def test_all_is_as_before_behind_the_block(own: Torrelque, queue: Torrelque) -> None:
    app = Tasks(own)
    app.task(name='add')(add)
    before = await app.enqueue('add', 1, 2)
    pushed = await asyncio.to_thread(app.push, 'add', 3, 4)
    kept = {**app._loops.__dict__}
    with pytest.raises(ZeroDivisionError), using(app, queue):
        inside = await app.enqueue('add', 5, 6)
        with pytest.raises(TorrelqueLookupError):
            await before.state()
        assert (await own.get_queue_stats()).pending == 2
        raise ZeroDivisionError
    assert app._loops.__dict__ == kept
    assert app.queue is own
    with pytest.raises(TorrelqueLookupError):
        await inside.state()
    await run_until_idle(app)
    assert (await before.result(60), await pushed.result(60)) == (3, 7)
    assert (await queue.get_queue_stats()).pending == 1
    await app.aclose()


async def test_blocks_may_be_in_one_another(own: Torrelque, queue: Torrelque, client: redis.asyncio.Redis) -> None:
    app = make_app()
    with using(app, own):
        await app.enqueue('add', 1, 2)
        async with using(app, queue):
            await app.enqueue('add', 1, 2)
            await app.enqueue('add', 1, 2)
        await app.enqueue('where urgent')
        assert await names_in(client) == {own.name, queue.name, f'{own.name}.urgent'}
    assert [(await one.get_queue_stats()).pending for one in (own, queue)] == [1, 2]


async def test_a_block_that_is_left_before_the_one_in_it_is_refused(own: Torrelque, queue: Torrelque) -> None:
    app = make_app()
    with using(app, own) as outer:
        with using(app, queue):
            with pytest.raises(TorrelqueError, match=r"^of two blocks around the app of queue 'shop'"):
                outer.__exit__(None, None, None)
            assert app.queue.name == queue.name
        assert app.queue.name == own.name


async def test_a_block_is_entered_once(queue: Torrelque) -> None:
    app = make_app()
    block = using(app, queue)
    with block:
        with pytest.raises(TorrelqueError, match='entered once'):
            block.__enter__()
        assert app.queue.name == queue.name
    with pytest.raises(TorrelqueError, match='entered once'):
        await block.__aenter__()


async def connections(client: redis.asyncio.Redis) -> int:
    return len(await client.client_list())


async def test_what_was_made_in_the_block_is_closed(server: RealServer) -> None:
    async with server.client() as client, Torrelque(client) as queue:
        await queue.get_queue_stats()
        count = await connections(client)
        app = make_app()
        async with using(app, queue):
            await app.enqueue('add', 1, 2)
            await app.enqueue('where urgent')
            await asyncio.to_thread(app.push, 'add', 3, 4)
            await run_until_idle(app)
            inside, object_of_block = await connections(client), app.queue
        assert inside > count
        with pytest.raises(TorrelqueClosedError):
            await object_of_block.get_queue_stats()
        while await connections(client) > count:
            await asyncio.sleep(0.005)
        assert await queue.get_queue_stats()


async def test_a_block_without_async_closes_in_the_next_turns_of_the_loop(server: RealServer) -> None:
    async with server.client() as client, Torrelque(client) as queue:
        await queue.get_queue_stats()
        count = await connections(client)
        app = make_app()
        objects = []
        for _ in range(3):
            with using(app, queue):
                await app.enqueue('add', 1, 2)
                await asyncio.to_thread(app.push, 'add', 3, 4)
                await run_until_idle(app)
                # What is referred to is not collected, and must be closed.
                objects.append(app.queue)
        for each in objects:
            with pytest.raises(TorrelqueClosedError):
                while await each.get_queue_stats():
                    await asyncio.sleep(0)
        while await connections(client) > count:
            await asyncio.sleep(0.005)


def test_what_is_in_a_loop_that_stands_still_is_closed_when_that_runs_on(server: RealServer) -> None:
    app, loop = make_app(), asyncio.new_event_loop()
    with server.sync_client() as looking:
        client = server.client()
        queue = Torrelque(client)
        count = len(looking.client_list())
        with using(app, queue):
            loop.run_until_complete(app.enqueue('add', 1, 2))
        assert len(looking.client_list()) > count

        async def wait() -> None:
            while len(looking.client_list()) > count:
                await asyncio.sleep(0.005)
            await client.aclose()

        loop.run_until_complete(wait())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def test_calls_of_an_ordered_queue_that_are_on_their_way_are_carried_out(queue: Torrelque) -> None:
    app = make_app()
    ordered: Any = app.functions['ordered']
    async with using(app, queue):
        for number in range(20):
            ordered(number, 1)
    assert (await queue.get_queue_stats()).pending == 20


async def test_nothing_is_left_on_the_server_by_an_app_that_has_done_nothing(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    with using(make_app(), queue):
        pass
    assert await nothing_left(client, queue)


# What is refused


async def test_an_app_that_a_worker_serves_is_refused(own: Torrelque, queue: Torrelque) -> None:
    app, other = Tasks(own), make_app()
    app.task(name='where')(where)
    refused = pytest.raises(TorrelqueError, match=f"^the app of queue '{own.name}' is in use: a worker serves it")
    async with Worker(app):
        handle = await app.enqueue('where')
        assert await handle.result(60) == own.name
        with refused, using([other, app], queue):
            pass
        assert other._loops.ground is None
        handle = await app.enqueue('where')
        assert await handle.result(60) == own.name
    with using([other, app], queue):
        apps: list[Any] = [other, app.serving()]
        async with Worker(apps):
            handle = await app.enqueue('where')
            await handle.result(60)
            with refused, using(app, own):
                pass


def test_an_app_that_a_worker_in_a_thread_serves_is_refused(server: RealServer, queue_name: str) -> None:
    app = Tasks(Torrelque(server.client(), queue=queue_name))
    app.task(name='where')(where)
    with ThreadWorker(app):
        with pytest.raises(TorrelqueError, match='a worker serves it'), using(app, Torrelque(server.client())):
            pass
        assert app.push('where').wait_result(60) == queue_name
    app.close()


async def test_a_worker_that_is_left_in_the_block_is_told_of(queue: Torrelque) -> None:
    app = make_app()
    with pytest.raises(TorrelqueError, match='a worker that was begun in the block still serves'):
        async with using(app, queue):
            worker = Worker(app, signals=False)
            running = asyncio.ensure_future(worker.run())
            await (await app.enqueue('add', 1, 2)).result(60)
    assert app._loops.ground is None
    with pytest.raises(TorrelqueClosedError):
        await running


async def test_an_error_of_the_block_goes_before_that_of_its_end(queue: Torrelque) -> None:
    app = make_app()
    worker = Worker(queue, lambda delivery: None, signals=False)
    with contextlib.suppress(ZeroDivisionError), using(app, queue):
        worker = Worker(app, signals=False)
        running = asyncio.ensure_future(worker.run())
        await (await app.enqueue('add', 1, 2)).result(60)
        raise ZeroDivisionError
    worker.stop()
    await asyncio.wait([running])
    assert isinstance(running.exception(), TorrelqueClosedError | None)


def test_what_is_no_app_or_no_queue_is_refused(server: RealServer) -> None:
    app, queue = make_app(), Torrelque(server.client())
    bad: Any
    for bad in (None, 'app', queue, [app, 'app'], 3):
        with pytest.raises(TorrelqueTypeError, match=r'^an app is a torrelque\.tasks\.Tasks, not'):
            using(bad, queue)
    with pytest.raises(TorrelqueValueError, match='at least one'):
        using([], queue)
    with pytest.raises(TorrelqueValueError, match='named twice'):
        using([app, app], queue)
    with server.sync_client() as client, SyncTorrelque(client) as synchronous:
        for bad in (None, 'queue', app):
            with pytest.raises(TorrelqueTypeError, match=r'^queue must be a queue of torrelque, not'):
                using(app, bad)
        bad = synchronous
        with pytest.raises(TorrelqueTypeError, match='event loops of its own, also in synchronous tests'):
            using(app, bad)
